//! Mending an event by rule: the same few changes for many dead letters.
//!
//! A field is named by its path, `properties.items.0.price`: names of objects and numbers of lists, parted by dots. Only
//! what stands on the way is taken apart: everything else keeps its bytes, numbers all their digits. Fields of an object
//! come out by name.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// Fields on the way to one: deeper events are not taken in anyway.
const PATH_MAX: usize = 64;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// What stands in one field moves to another, which must not be there.
    Rename {
        /// From here.
        field: String,
        /// To here.
        to: String,
    },
    /// A field gets this value, whatever it had.
    Set {
        /// The field.
        field: String,
        /// Its value.
        value: Value,
    },
    /// A field goes. One that is not there is gone already.
    Remove {
        /// The field.
        field: String,
    },
    /// A value becomes one of another type.
    Cast {
        /// The field.
        field: String,
        /// Which.
        to: Cast,
    },
    /// What stands in a field (an object, its JSON as text, or a list of one) becomes the event, or replaces `into`.
    Unwrap {
        /// The field.
        field: String,
        /// What it replaces; empty: the whole event.
        into: String,
    },
}

/// What a value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// Text.
    Text,
    /// Number, out of text or a boolean.
    Number,
    /// Boolean, out of text or 0 and 1.
    Bool,
    /// Whatever the JSON in a text says.
    Json,
}

/// Why a change does not fit an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Unfit {
    /// Where.
    pub field: String,
    /// What.
    pub what: String,
}

/// Applies changes to the JSON of an event, one after the other; answers its JSON then.
///
/// ```
/// use ingest::mend::{Cast, Change, mend};
/// let changes = [
///     Change::Rename { field: "amt".into(), to: "properties.amount".into() },
///     Change::Cast { field: "properties.amount".into(), to: Cast::Number },
/// ];
/// let mended = mend(r#"{"amt": "10.50", "id": 12345678901234567890123}"#, &changes).unwrap();
/// assert_eq!(mended, r#"{"id":12345678901234567890123,"properties":{"amount":10.50}}"#);
/// ```
pub fn mend(event: &str, changes: &[Change]) -> Result<String, Unfit> {
    let mut raw: Box<RawValue> =
        serde_json::from_str(event).map_err(|error| unfit("", format!("no JSON: {error}")))?;
    for change in changes {
        raw = one(&raw, change)?;
    }
    Ok(raw.get().to_owned())
}

fn one(raw: &RawValue, change: &Change) -> Result<Box<RawValue>, Unfit> {
    let there = |field: &str| {
        find(raw, &path(field)?)
            .ok_or_else(|| unfit(field, "the event has no such field".to_owned()))
    };
    match change {
        Change::Rename { field, to } => {
            let value = there(field)?;
            if find(raw, &path(to)?).is_some() {
                return Err(unfit(to, "the event has this field already".to_owned()));
            }
            let without = put(raw, &path(field)?, None, field)?;
            put(&without, &path(to)?, Some(value), to)
        }
        Change::Set { field, value } => put(raw, &path(field)?, Some(written(value)), field),
        Change::Remove { field } => match find(raw, &path(field)?) {
            Some(_) => put(raw, &path(field)?, None, field),
            None => Ok(raw.to_owned()),
        },
        Change::Cast { field, to } => {
            let value = cast(&there(field)?, *to).map_err(|what| unfit(field, what))?;
            put(raw, &path(field)?, Some(value), field)
        }
        Change::Unwrap { field, into } => {
            let mut inner = there(field)?;
            if let Ok(mut list) = serde_json::from_str::<Vec<Box<RawValue>>>(inner.get()) {
                inner = match (list.pop(), list.is_empty()) {
                    (Some(only), true) => only,
                    _ => return Err(unfit(field, "the list has not exactly one item".to_owned())),
                };
            }
            if let Ok(text) = serde_json::from_str::<String>(inner.get()) {
                inner = serde_json::from_str(&text)
                    .map_err(|error| unfit(field, format!("the text is no JSON: {error}")))?;
            }
            if !inner.get().starts_with('{') {
                return Err(unfit(field, "there is no object in it".to_owned()));
            }
            match into.as_str() {
                "" => Ok(inner),
                into => put(raw, &path(into)?, Some(inner), into),
            }
        }
    }
}

fn unfit(field: &str, what: String) -> Unfit {
    Unfit {
        field: field.to_owned(),
        what,
    }
}

fn path(field: &str) -> Result<Vec<&str>, Unfit> {
    let path: Vec<&str> = field.split('.').collect();
    match path.iter().any(|name| name.is_empty()) || path.len() > PATH_MAX {
        true => Err(unfit(
            field,
            "a field is named like properties.items.0.price".to_owned(),
        )),
        false => Ok(path),
    }
}

fn written(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a JSON value can be written")
}

type Object = BTreeMap<String, Box<RawValue>>;

fn find(raw: &RawValue, path: &[&str]) -> Option<Box<RawValue>> {
    let Some((name, rest)) = path.split_first() else {
        return Some(raw.to_owned());
    };
    let inner = match raw.get().as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Object>(raw.get())
            .ok()?
            .remove(*name)?,
        Some(b'[') => {
            let list: Vec<Box<RawValue>> = serde_json::from_str(raw.get()).ok()?;
            list.into_iter().nth(name.parse().ok()?)?
        }
        _ => return None,
    };
    find(&inner, rest)
}

/// The value with `new` at a place, or without what is there. Objects on the way are made.
fn put(
    raw: &RawValue,
    path: &[&str],
    new: Option<Box<RawValue>>,
    field: &str,
) -> Result<Box<RawValue>, Unfit> {
    let Some((name, rest)) = path.split_first() else {
        return new.ok_or_else(|| unfit(field, "the whole event does not go".to_owned()));
    };
    let damaged = |error: serde_json::Error| unfit(field, error.to_string());
    let empty = || serde_json::from_str::<Box<RawValue>>("{}").expect("it is JSON");
    let inner = |raw: &RawValue| match (rest.is_empty(), &new) {
        (true, None) => Ok(None),
        _ => put(raw, rest, new.clone(), field).map(Some),
    };
    let whole = match raw.get().as_bytes().first() {
        Some(b'{') => {
            let mut object: Object = serde_json::from_str(raw.get()).map_err(damaged)?;
            let present = object.remove(*name).unwrap_or_else(empty);
            if let Some(value) = inner(&present)? {
                object.insert((*name).to_owned(), value);
            }
            serde_json::value::to_raw_value(&object)
        }
        Some(b'[') => {
            let mut list: Vec<Box<RawValue>> = serde_json::from_str(raw.get()).map_err(damaged)?;
            let at = name.parse::<usize>().ok().filter(|at| *at < list.len());
            let at = at.ok_or_else(|| unfit(field, format!("the list has no item {name}")))?;
            match inner(&list[at])? {
                Some(value) => list[at] = value,
                None => drop(list.remove(at)),
            }
            serde_json::value::to_raw_value(&list)
        }
        _ => return Err(unfit(field, format!("`{name}` stands in no object"))),
    };
    whole.map_err(damaged)
}

fn cast(raw: &RawValue, to: Cast) -> Result<Box<RawValue>, String> {
    let value: Value = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    let words = |text: &str| text.trim().to_lowercase();
    let made = match (to, &value) {
        (Cast::Text, Value::String(_))
        | (Cast::Number, Value::Number(_))
        | (Cast::Bool, Value::Bool(_)) => {
            return Ok(raw.to_owned());
        }
        // As it is written: all digits stay.
        (Cast::Text, Value::Number(_) | Value::Bool(_)) => Value::String(raw.get().to_owned()),
        (Cast::Number, Value::Bool(yes)) => Value::from(u8::from(*yes)),
        (Cast::Number, Value::String(text)) => {
            let digits: String = text.trim().chars().filter(|char| *char != ',').collect();
            let number = serde_json::from_str::<Box<RawValue>>(digits.trim_start_matches('+'));
            let number = number
                .ok()
                .filter(|it| serde_json::from_str::<serde_json::Number>(it.get()).is_ok());
            return number.ok_or_else(|| "the text is no decimal number".to_owned());
        }
        (Cast::Bool, Value::Number(number)) => match number.as_f64() {
            Some(0.0) => Value::Bool(false),
            Some(1.0) => Value::Bool(true),
            _ => return Err("only 0 and 1 are booleans".to_owned()),
        },
        (Cast::Bool, Value::String(text)) => match words(text).as_str() {
            "true" | "1" | "yes" | "y" | "是" => Value::Bool(true),
            "false" | "0" | "no" | "n" | "否" => Value::Bool(false),
            _ => return Err("the text is neither true nor false".to_owned()),
        },
        (Cast::Json, Value::String(text)) => {
            return serde_json::from_str(text)
                .map_err(|error| format!("the text is no JSON: {error}"));
        }
        _ => return Err("its type cannot become that".to_owned()),
    };
    Ok(written(&made))
}

#[cfg(test)]
mod tests;
