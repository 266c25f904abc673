//! How rows of one table refer to each other, also to those that are not there yet.
//!
//! New rows get an alias until they have a number: what refers to them is checked with it, and the registry puts the number
//! in its place. So they are made in an order in which each finds those that it refers to.

use std::collections::HashMap;

use actors::registry::ImportRow;
use serde_json::{Map, Value};

use super::super::super::{Coming, Resource};
use super::super::sheet::Table;
use super::Matched;
use crate::error::ApiError;

/// What rows of the table are called by others of it: elsewhere, here, and until they are here.
pub(super) struct Aliases {
    /// By the number that a row has where the table comes from: what it is called here.
    numbers: HashMap<String, String>,
    /// What new rows are called.
    pub(super) new: Vec<Option<String>>,
    /// The row of each of them.
    rows: HashMap<String, usize>,
}

impl Aliases {
    pub(super) fn of<R: Resource>(
        table: &Table,
        matched: &[Result<Matched<'_>, ApiError>],
        nonce: u64,
    ) -> Aliases {
        let new = |(at, row): (usize, &Result<Matched<'_>, ApiError>)| {
            let row = row.as_ref().ok().filter(|row| row.item.is_none())?;
            match R::KIND.by_code {
                true => Some(row.text("code").to_owned()).filter(|code| !code.is_empty()),
                // No text of anybody's rule is like this.
                false => Some(format!("row {} of import {nonce}", at + 1)),
            }
        };
        let new: Vec<Option<String>> = matched.iter().enumerate().map(new).collect();
        let rows = (new.iter().enumerate())
            .filter_map(|(at, alias)| Some((alias.clone()?, at)))
            .collect();
        let here = matched.iter().zip(&new).map(|(row, alias)| {
            let known = row.as_ref().ok().and_then(|row| row.item);
            known.map(|item| item.id.to_string()).or(alias.clone())
        });
        // What is referred to by its code is called the same everywhere.
        let numbers = table.column("id").zip(here).filter(|_| !R::KIND.by_code);
        Aliases {
            numbers: numbers
                .filter_map(|(id, here)| Some((id.to_owned(), here?)))
                .collect(),
            new,
            rows,
        }
    }

    /// What comes with the table.
    pub(super) fn coming<R: Resource>(
        &self,
        matched: &[Result<Matched<'_>, ApiError>],
    ) -> Vec<Coming> {
        let coming = self.new.iter().zip(matched).filter_map(|(alias, row)| {
            Some(Coming {
                kind: R::KIND.name,
                handle: alias.clone()?,
                body: row.as_ref().ok()?.body(),
            })
        });
        coming.collect()
    }

    /// Makes references of a row to other rows, `{"segment": "7"}`, lead to what these rows are called here.
    pub(super) fn renumber<R: Resource>(&self, fields: &mut Map<String, Value>) {
        for value in fields.values_mut() {
            renumber::<R>(value, &self.numbers);
        }
    }
}

/// The rows that can be taken, so that each stands behind those that it refers to. What refers to a row that cannot be
/// taken, or to itself by way of others, cannot be either.
pub(super) fn order<R: Resource>(
    rows: &mut [Result<ImportRow, ApiError>],
    aliases: &Aliases,
) -> Vec<usize> {
    let needs: Vec<Vec<usize>> = rows
        .iter()
        .map(|row| {
            let uses = row.iter().flat_map(|row| &row.new.uses);
            let of_kind = uses.filter(|used| used.kind == R::KIND.name);
            of_kind
                .filter_map(|used| aliases.rows.get(&used.handle).copied())
                .collect()
        })
        .collect();
    let mut waits: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); rows.len()];
    for (at, needs) in needs.iter().enumerate() {
        for needed in needs {
            needed_by[*needed].push(at);
        }
    }
    let mut ready: Vec<usize> = (0..rows.len()).rev().filter(|at| waits[*at] == 0).collect();
    let mut order = Vec::with_capacity(rows.len());
    while let Some(at) = ready.pop() {
        if rows[at].is_err() {
            continue;
        }
        order.push(at);
        for user in needed_by[at].iter().rev() {
            waits[*user] -= 1;
            if waits[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    for (at, needs) in needs.iter().enumerate() {
        if rows[at].is_ok()
            && waits[at] > 0
            && let Some(needed) = needs
                .iter()
                .find(|needed| waits[**needed] > 0 || rows[**needed].is_err())
        {
            let message = format!("it refers to row {}, which cannot be taken", needed + 1);
            rows[at] = Err(ApiError::new("reference_unknown", message));
        }
    }
    order
}

fn renumber<R: Resource>(value: &mut Value, numbers: &HashMap<String, String>) {
    match value {
        Value::Array(values) => {
            for value in values {
                renumber::<R>(value, numbers);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let id = match value {
                    Value::String(id) if name == R::KIND.name => Some(id.clone()),
                    Value::Number(id) if name == R::KIND.name => Some(id.to_string()),
                    _ => None,
                };
                match id.and_then(|id| numbers.get(&id)) {
                    Some(here) => *value = here.as_str().into(),
                    None => renumber::<R>(value, numbers),
                }
            }
        }
        _ => {}
    }
}
