//! Writes the guessed mapping as TOML.

use std::fmt::Write;

use super::values;
use super::words::{Meaning, STATUSES};
use super::{Column, FileOptions};
use crate::file::options::Delimiter;
use crate::protocol::order;

/// The mapping, and where each column went.
pub(super) fn mapping(
    format: &str,
    options: &FileOptions,
    columns: &[Column],
) -> (String, Vec<String>) {
    let mut plan = Plan {
        columns,
        places: vec![String::new(); columns.len()],
    };
    let text = plan.write(format, options);
    let places = plan
        .places
        .into_iter()
        .map(|place| match place.is_empty() {
            true => "-".to_owned(),
            false => place,
        })
        .collect();
    (text, places)
}

struct Plan<'c> {
    columns: &'c [Column],
    places: Vec<String>,
}

impl Plan<'_> {
    /// The first column that is still free and means this.
    fn take(&mut self, meaning: Meaning, place: &str) -> Option<usize> {
        let at = (0..self.columns.len())
            .find(|at| self.places[*at].is_empty() && self.columns[*at].meaning == Some(meaning))?;
        self.places[at] = place.to_owned();
        Some(at)
    }

    fn write(&mut self, format: &str, options: &FileOptions) -> String {
        let mut text = String::from(
            "# Guessed from the names and the first values of the columns: check every line, then look at the first rows\n\
             # with `tributary import --dry-run`.\n\n",
        );
        let own = ["message_id", "type", "identifiers"];
        if format == "jsonl" && own.iter().all(|name| self.has(name)) {
            text += "# These look like events of our own JSON: import them without a mapping.\n\n";
        }
        let order_id = self.take(Meaning::OrderId, "order.order_id");
        let event_name = match order_id {
            None => self.take(Meaning::EventName, "event.name_column"),
            Some(_) => None,
        };
        let time = self.take(Meaning::Time, "event.time");
        let identifiers: Vec<(usize, &str)> = (0..self.columns.len())
            .filter_map(|at| match self.columns[at].meaning {
                Some(Meaning::Identifier(kind)) => Some((at, kind)),
                _ => None,
            })
            .collect();
        for (at, kind) in &identifiers {
            self.places[*at] = format!("identifiers.{kind}");
        }
        let kind = match (order_id, event_name) {
            (Some(_), _) => "order",
            (None, Some(_)) => "track",
            (None, None) => "identify",
        };
        let order = order_id.map(|at| self.order(at));
        let mut fields = self.fields(kind == "order" || kind == "track");
        if order.is_some() {
            self.countable(&mut fields);
        }

        let mut forms = Vec::new();
        let timed = self
            .columns
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) == time || fields.times.contains(at));
        for (_, column) in timed {
            for form in values::time_forms(column.each()).unwrap_or_default() {
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        if time.is_some() || !fields.times.is_empty() {
            text += "# Of times without an offset.\ntime_zone = \"Asia/Shanghai\"\n";
            let forms: Vec<String> = forms.iter().map(|form| quoted(form)).collect();
            match forms.is_empty() {
                true => text.push('\n'),
                false => line(
                    &mut text,
                    format_args!("time_formats = [{}]\n", forms.join(", ")),
                ),
            }
        }
        if format == "csv" && options.delimiter != Delimiter::Byte(b',') {
            let delimiter = match options.delimiter {
                Delimiter::Blanks => "whitespace".to_owned(),
                Delimiter::Byte(byte) => char::from(byte).to_string(),
            };
            line(
                &mut text,
                format_args!("[file]\ndelimiter = {}\n", quoted(&delimiter)),
            );
        }
        line(&mut text, format_args!("[event]\ntype = \"{kind}\""));
        if let Some(at) = event_name {
            line(&mut text, format_args!("name_column = {}", self.name(at)));
        }
        let key = self.key(order_id, event_name, time, &identifiers);
        text += "# Key columns: they tell rows apart. Rows with equal values are counted.\n";
        line(&mut text, format_args!("message_id = [{key}]"));
        match time {
            Some(at) => line(&mut text, format_args!("time = {}", self.name(at))),
            None if kind == "identify" => {}
            None => {
                text += "# No column says when: everything happens at the time of the import.\n"
            }
        }
        for (at, kind) in &identifiers {
            line(
                &mut text,
                format_args!("\n[[identifiers]]\nkind = \"{kind}\""),
            );
            if *kind == "openid" {
                text += "# The app that the openid belongs to.\nscope = \"wx-app-id\"\n";
            }
            line(&mut text, format_args!("column = {}", self.name(*at)));
            if values::pointed(self.columns[*at].each()) {
                text += "whole_number = true\n";
            }
        }
        if identifiers.is_empty() {
            text += "\n# No column names a person.\n";
        }
        for (table, lines) in [
            ("traits", &fields.traits),
            ("properties", &fields.properties),
        ] {
            if !lines.is_empty() {
                line(&mut text, format_args!("\n[{table}]\n{}", lines.join("\n")));
            }
        }
        if let Some(order) = order {
            text.push('\n');
            text += &order;
        }
        text
    }

    /// The columns that tell rows apart.
    fn key(
        &self,
        order_id: Option<usize>,
        event_name: Option<usize>,
        time: Option<usize>,
        identifiers: &[(usize, &str)],
    ) -> String {
        let sku = (0..self.columns.len()).find(|at| self.places[*at] == "order.line.sku");
        let mut key: Vec<usize> = order_id.into_iter().chain(sku).collect();
        if key.is_empty() {
            key.extend(identifiers.first().map(|(at, _)| *at));
            key.extend(event_name);
            if event_name.is_some() {
                key.extend(time);
            }
        }
        if key.is_empty() {
            key.extend(0..self.columns.len().min(3));
        }
        let names: Vec<String> = key.into_iter().map(|at| self.name(at)).collect();
        names.join(", ")
    }

    fn order(&mut self, order_id: usize) -> String {
        let mut text = format!("[order]\norder_id = {}\n", self.name(order_id));
        if let Some(at) = self.take(Meaning::Shop, "order.shop_column") {
            line(&mut text, format_args!("shop_column = {}", self.name(at)));
        }
        match self.take(Meaning::Currency, "order.currency_column") {
            Some(at) => line(
                &mut text,
                format_args!("currency_column = {}", self.name(at)),
            ),
            None => text += "currency = \"CNY\"\n",
        }
        let line_columns: Vec<(&str, usize)> = [
            (Meaning::Sku, "sku"),
            (Meaning::Title, "name"),
            (Meaning::Quantity, "quantity"),
            (Meaning::UnitPrice, "unit_price"),
            (Meaning::LineAmount, "amount"),
        ]
        .into_iter()
        .filter_map(|(meaning, name)| {
            let at = self.take(meaning, &format!("order.line.{name}"))?;
            Some((name, at))
        })
        .collect();
        // A total beside lines is that of the order; alone it is that of the row.
        if let Some(at) = self.take(Meaning::Total, "order.total") {
            line(&mut text, format_args!("total = {}", self.name(at)));
        }
        let mut when = String::new();
        match self.take(Meaning::Status, "order.status_column") {
            None => text += "status = \"paid\"\n",
            Some(at) => {
                let column = &self.columns[at];
                let known = |value: &str| order::status(value).is_some();
                if column.each().any(known)
                    && column.each().all(|value| value.is_empty() || known(value))
                {
                    line(&mut text, format_args!("status_column = {}", self.name(at)));
                } else {
                    text += "status = \"paid\"\n";
                    self.places[at] = "order.status_when".to_owned();
                    for (word, status) in STATUSES {
                        if column.each().any(|value| value == *word) {
                            line(
                                &mut when,
                                format_args!(
                                    "\n[[order.status_when]]\ncolumn = {}\nequals = {}\nstatus = \"{status}\"",
                                    self.name(at),
                                    quoted(word)
                                ),
                            );
                        }
                    }
                    if when.is_empty() {
                        self.places[at].clear();
                    }
                }
            }
        }
        text += &when;
        if !line_columns.is_empty() {
            text += "\n[order.line]\n";
            for (name, at) in line_columns {
                line(&mut text, format_args!("{name} = {}", self.name(at)));
            }
        }
        text
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }

    /// Rules of segments and tags see the properties of an event, not its order: an order's number and total stand there,
    /// too. Not where rows are lines: each would have the total of the whole.
    fn countable(&self, fields: &mut Fields) {
        let at = |place: &str| self.places.iter().position(|it| it == place);
        let (Some(order_id), Some(total), None) = (
            at("order.order_id"),
            at("order.total"),
            at("order.line.sku"),
        ) else {
            return;
        };
        // A total that is no number everywhere is a reason to set the order aside, not the property.
        if !values::numbers(self.columns[total].each()) {
            return;
        }
        if ["properties.order_id", "properties.total"]
            .iter()
            .any(|place| at(place).is_some())
        {
            return;
        }
        fields.properties.extend([
            "# Rules of segments and tags see these, not what stands under [order].".to_owned(),
            format!("order_id = {}", self.name(order_id)),
            format!(
                "total = {{ column = {}, type = \"number\" }}",
                self.name(total)
            ),
        ]);
    }

    /// What is left: attributes of a person, or properties of what happened.
    fn fields(&mut self, happened: bool) -> Fields {
        let mut fields = Fields::default();
        let mut used: Vec<String> = Vec::new();
        for at in 0..self.columns.len() {
            if !self.places[at].is_empty() {
                continue;
            }
            let column = &self.columns[at];
            let personal = match (&column.known, column.meaning) {
                (Some(known), _) => Some(known.clone()),
                (None, Some(Meaning::Trait(name))) => Some(name.to_owned()),
                _ => None,
            };
            let traits = personal.is_some() || !happened;
            let property = column.property.clone().filter(|_| !traits);
            let mut name = personal
                .or(property)
                .unwrap_or_else(|| field_name(&column.name));
            if used.contains(&name) {
                // A column may be called as the next one with a number behind would be.
                let mut numbered = (at + 1..).map(|number| format!("{name}_{number}"));
                let free = numbered.find(|it| !used.contains(it));
                name = free.expect("numbers do not end");
            }
            used.push(name.clone());
            let kind = if values::time_forms(column.each()).is_some() {
                fields.times.push(at);
                Some("time")
            } else if values::numbers(column.each()) {
                Some("number")
            } else {
                None
            };
            let written = match kind {
                None => format!("{} = {}", quoted_key(&name), self.name(at)),
                Some(kind) => format!(
                    "{} = {{ column = {}, type = \"{kind}\" }}",
                    quoted_key(&name),
                    self.name(at)
                ),
            };
            let (table, list) = match traits {
                true => ("traits", &mut fields.traits),
                false => ("properties", &mut fields.properties),
            };
            self.places[at] = format!("{table}.{name}");
            list.push(written);
        }
        fields
    }

    fn name(&self, at: usize) -> String {
        quoted(&self.columns[at].name)
    }
}

#[derive(Default)]
struct Fields {
    traits: Vec<String>,
    properties: Vec<String>,
    /// Columns that are times.
    times: Vec<usize>,
}

fn line(text: &mut String, written: std::fmt::Arguments<'_>) {
    writeln!(text, "{written}").expect("a String takes all text");
}

/// A name for a field: as the column is called, blanks and signs as `_`.
fn field_name(column: &str) -> String {
    let mut name = String::new();
    for char in column.trim().chars() {
        match char.is_alphanumeric() {
            true => name.extend(char.to_lowercase()),
            false if !name.ends_with('_') => name.push('_'),
            false => {}
        }
    }
    let name = name.trim_matches('_');
    match name.is_empty() {
        true => "field".to_owned(),
        false => name.chars().take(60).collect(),
    }
}

/// A TOML text.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn quoted_key(name: &str) -> String {
    let bare = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match bare {
        true => name.to_owned(),
        false => quoted(name),
    }
}
