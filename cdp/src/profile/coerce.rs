//! From what a sender wrote to a typed value.
//!
//! Lenient where the meaning is certain (`"12"` is a whole number, `20260131` written as text is a day), strict where it
//! would be a guess. Nothing is cut or rounded: what does not fit is left out and listed.

use actors::model::Time;
use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use super::value::{Number, Value, days_of};
use crate::definition::{AttributeType, Basic};

/// Longest value in bytes. A profile holds facts, not documents.
pub const VALUE_BYTES_MAX: usize = 4096;

/// Instants written as a whole number from here on are milliseconds, below seconds: 1973 in milliseconds, 5138 in seconds.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// The value does not fit the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// Not of the type, and no rule makes it so.
    Type,
    /// Longer than [`VALUE_BYTES_MAX`].
    Length,
}

/// Reads the JSON text `raw` as a value of type `wanted`; without a type as what it looks like.
///
/// `Ok(None)`: nothing was told (empty text, empty list). JSON `null` clears.
pub fn coerce(
    wanted: Option<AttributeType>,
    raw: &str,
    zone: &TimeZone,
) -> Result<Option<Value>, Misfit> {
    let raw = raw.trim();
    if raw == "null" {
        return Ok(Some(Value::Cleared));
    }
    let value = match wanted {
        None => infer(raw).ok_or(Misfit::Type)?,
        Some(AttributeType { basic, list: false }) => one(basic, raw, zone).ok_or(Misfit::Type)?,
        Some(AttributeType { basic, list: true }) => list(basic, raw, zone).ok_or(Misfit::Type)?,
    };
    match value {
        Value::Text(text) if text.is_empty() => Ok(None),
        Value::List(values) if values.is_empty() => Ok(None),
        value if value.text_bytes() > VALUE_BYTES_MAX => Err(Misfit::Length),
        value => Ok(Some(value)),
    }
}

fn one(basic: Basic, raw: &str, zone: &TimeZone) -> Option<Value> {
    let text = match raw.as_bytes().first()? {
        b'"' => Some(serde_json::from_str::<String>(raw).ok()?),
        _ => None,
    };
    let is_number = raw.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    if let Some(text) = &text
        && text.is_empty()
        && basic != Basic::Object
    {
        return Some(Value::Text("".into()));
    }
    match basic {
        Basic::Text => match text {
            Some(text) => Some(Value::Text(text.into())),
            None if is_number => Some(Value::Text(raw.into())),
            None => None,
        },
        Basic::Int => Number::parse(text.as_deref().unwrap_or(raw).trim())?
            .as_int()
            .map(Value::Int),
        Basic::Number => Number::parse(text.as_deref().unwrap_or(raw).trim()).map(Value::Number),
        Basic::Bool => match text.as_deref().unwrap_or(raw).trim() {
            "1" => Some(Value::Bool(true)),
            "0" => Some(Value::Bool(false)),
            word if word.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
            word if word.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
            _ => None,
        },
        Basic::Date => match text {
            Some(text) => day(text.trim(), zone),
            None if is_number => instant_number(raw).and_then(|at| day_of(at, zone)),
            None => None,
        },
        Basic::Time => match text {
            Some(text) => instant(text.trim(), zone),
            None if is_number => instant_number(raw),
            None => None,
        }
        .map(Value::Time),
        Basic::Object => raw.starts_with('{').then(|| Value::Object(raw.into())),
    }
}

/// A list; a single value is a list of one. One element that does not fit leaves the whole list out: half a list would
/// be a different fact. Empty elements are absent.
fn list(basic: Basic, raw: &str, zone: &TimeZone) -> Option<Value> {
    if !raw.starts_with('[') {
        return match one(basic, raw, zone)? {
            Value::Text(text) if text.is_empty() => Some(Value::List(Vec::new())),
            value => Some(Value::List(vec![value])),
        };
    }
    let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    let mut values = Vec::with_capacity(elements.len());
    for element in elements {
        match element.get() {
            "null" | "\"\"" => {}
            text => values.push(one(basic, text, zone)?),
        }
    }
    Some(Value::List(values))
}

/// The value as it looks. Numbers that no exact type holds stay text; no text is ever read as a number or date.
fn infer(raw: &str) -> Option<Value> {
    Some(match raw.as_bytes().first()? {
        b'"' => Value::Text(serde_json::from_str::<String>(raw).ok()?.into()),
        b't' => Value::Bool(true),
        b'f' => Value::Bool(false),
        b'{' => Value::Object(raw.into()),
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            let mut values = Vec::with_capacity(elements.len());
            for element in elements {
                match element.get() {
                    "null" | "\"\"" => {}
                    text => values.push(infer(text)?),
                }
            }
            Value::List(values)
        }
        _ => match Number::parse(raw) {
            Some(number) if !raw.contains(['.', 'e', 'E']) => match number.as_int() {
                Some(whole) => Value::Int(whole),
                None => Value::Text(raw.into()),
            },
            Some(number) => Value::Number(number),
            None => Value::Text(raw.into()),
        },
    })
}

/// `2026-01-31`, `2026/01/31`, `20260131`, or an instant, whose day in the installation's zone it is.
fn day(text: &str, zone: &TimeZone) -> Option<Value> {
    let date = plain_day(text).or_else(|| {
        let at = jiff::Timestamp::from_millisecond(instant(text, zone)?.0).ok()?;
        Some(at.to_zoned(zone.clone()).date())
    })?;
    Some(Value::Date(days_of(date)))
}

fn day_of(at: Time, zone: &TimeZone) -> Option<Value> {
    let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
    Some(Value::Date(days_of(at.to_zoned(zone.clone()).date())))
}

fn plain_day(text: &str) -> Option<civil::Date> {
    let mut parts = [0i16; 3];
    match text.len() {
        8 if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            parts = [
                text[..4].parse().ok()?,
                text[4..6].parse().ok()?,
                text[6..].parse().ok()?,
            ];
        }
        8..=10 => {
            let separator = if text.contains('-') { '-' } else { '/' };
            let mut pieces = text.split(separator);
            for (index, part) in parts.iter_mut().enumerate() {
                let piece = pieces.next()?;
                let digits = piece.bytes().all(|byte| byte.is_ascii_digit());
                if !digits || (index == 0) != (piece.len() == 4) {
                    return None;
                }
                *part = piece.parse().ok()?;
            }
            if pieces.next().is_some() {
                return None;
            }
        }
        _ => return None,
    }
    civil::Date::new(
        parts[0],
        i8::try_from(parts[1]).ok()?,
        i8::try_from(parts[2]).ok()?,
    )
    .ok()
}

/// RFC 3339; without an offset the wall clock of the installation's zone; a day is its midnight there.
fn instant(text: &str, zone: &TimeZone) -> Option<Time> {
    if let Some(at) = Time::from_rfc3339(text) {
        return in_bounds(at);
    }
    let wall = match plain_day(text) {
        Some(date) => date.at(0, 0, 0, 0),
        None => text.replace('/', "-").parse::<civil::DateTime>().ok()?,
    };
    let at = wall.to_zoned(zone.clone()).ok()?.timestamp();
    in_bounds(Time(at.as_millisecond()))
}

fn instant_number(raw: &str) -> Option<Time> {
    let number = Number::parse(raw)?.as_int()?;
    if number.unsigned_abs() >= MILLISECONDS_FROM.unsigned_abs() {
        in_bounds(Time(number))
    } else {
        in_bounds(Time(number.checked_mul(1000)?))
    }
}

fn in_bounds(at: Time) -> Option<Time> {
    (Time::MIN..=Time::MAX).contains(&at).then_some(at)
}

#[cfg(test)]
mod tests;
