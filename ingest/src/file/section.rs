//! One table of a mapping while it is read: what is wrong is noted, not thrown, so that all mistakes are told at once.

use std::cell::RefCell;

use super::mapping::{Column, Given, MappingProblem};

/// What is gathered while a mapping is read.
#[derive(Default)]
pub(super) struct Notes {
    pub problems: RefCell<Vec<MappingProblem>>,
    pub columns: RefCell<Vec<String>>,
}

/// One table of the mapping; mistakes go to the notes instead of ending the reading.
pub(super) struct Section<'t> {
    pub table: &'t toml::Table,
    path: String,
    pub notes: &'t Notes,
}

impl Notes {
    pub fn column(&self, name: &str) -> Column {
        let mut columns = self.columns.borrow_mut();
        match columns.iter().position(|known| known == name) {
            Some(at) => at,
            None => {
                columns.push(name.to_owned());
                columns.len() - 1
            }
        }
    }
}

impl<'t> Section<'t> {
    pub fn new(table: &'t toml::Table, path: String, notes: &'t Notes) -> Section<'t> {
        Section { table, path, notes }
    }

    pub fn path(&self, key: &str) -> String {
        match &*self.path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    pub fn problem(&self, key: &str, what: String) {
        self.notes.problems.borrow_mut().push(MappingProblem {
            place: self.path(key),
            what,
        });
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub fn text(&self, key: &str) -> Option<String> {
        match self.table.get(key)? {
            toml::Value::String(text) if !text.is_empty() => Some(text.clone()),
            _ => {
                self.problem(key, "expected a text".into());
                None
            }
        }
    }

    pub fn required(&self, key: &str) -> Option<String> {
        if !self.has(key) {
            self.problem(key, "is missing".into());
        }
        self.text(key)
    }

    pub fn word(&self, key: &str, known: &[&str]) -> Option<String> {
        let word = self.required(key)?;
        if known.contains(&&*word) {
            return Some(word);
        }
        self.problem(
            key,
            format!("`{word}` is unknown; known are {}", known.join(", ")),
        );
        None
    }

    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        let list = match self.table.get(key)? {
            toml::Value::Array(list) => list,
            toml::Value::String(one) => return Some(vec![one.clone()]),
            _ => {
                self.problem(key, "expected a list of texts".into());
                return None;
            }
        };
        let texts: Vec<_> = list
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect();
        if texts.len() < list.len() {
            self.problem(key, "expected a list of texts".into());
        }
        Some(texts)
    }

    pub fn flag(&self, key: &str) -> bool {
        match self.table.get(key) {
            None => false,
            Some(toml::Value::Boolean(flag)) => *flag,
            Some(_) => {
                self.problem(key, "expected true or false".into());
                false
            }
        }
    }

    pub fn character(&self, key: &str, default: u8) -> Option<u8> {
        if !self.has(key) {
            return Some(default);
        }
        match self.text(key)?.as_bytes() {
            [one] if one.is_ascii() => Some(*one),
            _ => {
                self.problem(
                    key,
                    "expected one ASCII character, e.g. \",\" or \"\\t\"".into(),
                );
                None
            }
        }
    }

    pub fn column(&self, key: &str) -> Option<Column> {
        self.text(key).map(|name| self.notes.column(&name))
    }

    /// A fixed text under `key`, or a column under `column_key`.
    pub fn given(&self, key: &str, column_key: &str) -> Option<Given> {
        if self.has(key) && self.has(column_key) {
            self.problem(key, format!("say either `{key}` or `{column_key}`"));
        }
        match self.text(key) {
            Some(text) => Some(Given::Text(text)),
            None => self.column(column_key).map(Given::Column),
        }
    }

    pub fn table(&self, key: &str) -> Option<Section<'t>> {
        match self.table.get(key)? {
            toml::Value::Table(table) => Some(Section::new(table, self.path(key), self.notes)),
            _ => {
                self.problem(key, format!("expected a table [{}]", self.path(key)));
                None
            }
        }
    }

    pub fn tables(&self, key: &str) -> Vec<Section<'t>> {
        let mut tables = Vec::new();
        match self.table.get(key) {
            None => {}
            Some(toml::Value::Array(list)) => {
                for (at, item) in list.iter().enumerate() {
                    match item {
                        toml::Value::Table(table) => tables.push(Section::new(
                            table,
                            format!("{}[{at}]", self.path(key)),
                            self.notes,
                        )),
                        _ => self.problem(key, format!("expected tables [[{}]]", self.path(key))),
                    }
                }
            }
            Some(_) => self.problem(key, format!("expected tables [[{}]]", self.path(key))),
        }
        tables
    }

    /// Refuses keys that nobody asked for.
    pub fn finish(&self, known: &[&str]) {
        for key in self.table.keys().filter(|key| !known.contains(&&***key)) {
            self.problem(key, format!("unknown key; known are {}", known.join(", ")));
        }
    }
}
