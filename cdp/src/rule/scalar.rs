//! One value at a time: what a condition looks at, borrowed from an attribute or from JSON text.

use std::borrow::Cow;
use std::cmp::Ordering;

use actors::model::Time;
use jiff::civil;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::ast::Path;
use super::scan;
use crate::profile::Value;
use crate::profile::value::{Number, days_of};

/// A value that is no list. Absent values (null, empty text, empty list) never become one.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// Yes or no.
    Bool(bool),
    /// Whole number.
    Int(i64),
    /// Decimal number.
    Number(Number),
    /// Calendar day.
    Date(i32),
    /// Instant.
    Time(Time),
    /// Text, as sent.
    Text(Cow<'a, str>),
    /// JSON text of an object.
    Object(&'a str),
}

impl<'a> Scalar<'a> {
    /// The values of a value: those of a list in turn, nothing for absent ones.
    pub fn each(value: &'a Value, f: &mut dyn FnMut(Scalar<'a>)) {
        match value {
            Value::Cleared => {}
            Value::Bool(yes) => f(Scalar::Bool(*yes)),
            Value::Int(number) => f(Scalar::Int(*number)),
            Value::Number(number) => f(Scalar::Number(*number)),
            Value::Date(day) => f(Scalar::Date(*day)),
            Value::Time(at) => f(Scalar::Time(*at)),
            Value::Text(text) if text.is_empty() => {}
            Value::Text(text) => f(Scalar::Text(Cow::Borrowed(text))),
            Value::Object(text) => f(Scalar::Object(text)),
            Value::List(values) => values.iter().for_each(|value| Scalar::each(value, f)),
        }
    }

    /// The values at a path below a value: objects are entered, lists are collected.
    pub fn each_at(value: &'a Value, rest: &[Box<str>], f: &mut dyn FnMut(Scalar<'a>)) {
        match value {
            _ if rest.is_empty() => Scalar::each(value, f),
            Value::Object(text) => scan::each_at(text, rest, f),
            Value::List(values) => values.iter().for_each(|it| Scalar::each_at(it, rest, f)),
            _ => {}
        }
    }

    /// The value of its own. Whole numbers become [`Value::Int`], text is NFKC.
    pub fn to_value(&self) -> Value {
        match self {
            Scalar::Bool(yes) => Value::Bool(*yes),
            Scalar::Int(number) => Value::Int(*number),
            Scalar::Number(number) => match number.as_int() {
                Some(whole) => Value::Int(whole),
                None => Value::Number(*number),
            },
            Scalar::Date(day) => Value::Date(*day),
            Scalar::Time(at) => Value::Time(*at),
            Scalar::Text(text) => Value::Text(nfkc(text).into()),
            Scalar::Object(text) => Value::Object((*text).into()),
        }
    }

    /// The number, if it is one.
    pub fn decimal(&self) -> Option<Decimal> {
        match self {
            Scalar::Int(number) => Some(Decimal::from(*number)),
            Scalar::Number(number) => Some(number.decimal()),
            _ => None,
        }
    }

    /// The day or instant that it is; a text that is written as one counts, in the forms of [`When::parse`].
    pub fn when(&self, zone: &TimeZone) -> Option<When> {
        match self {
            Scalar::Date(day) => Some(When::Day(*day)),
            Scalar::Time(at) => Some(When::Instant(*at)),
            Scalar::Text(text) => When::parse(text).or_else(|| When::parse_wall(text, zone)),
            _ => None,
        }
    }
}

/// A day or an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Days since 1970-01-01.
    Day(i32),
    /// Instant.
    Instant(Time),
}

impl When {
    /// Reads `2026-01-31` and RFC 3339 with an offset; nothing else is certain.
    pub fn parse(text: &str) -> Option<When> {
        let bytes = text.as_bytes();
        if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        if bytes.len() == 10 {
            let number = |range: std::ops::Range<usize>| -> Option<i16> {
                let digits = text.get(range)?;
                digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then_some(())?;
                digits.parse().ok()
            };
            let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
            let date = civil::Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
            return (date.year() >= 1).then(|| When::Day(days_of(date)));
        }
        let at = Time::from_rfc3339(text)?;
        (Time::MIN..=Time::MAX)
            .contains(&at)
            .then_some(When::Instant(at))
    }

    /// Reads `2026-01-31 10:00:00`, with a space or `T`, as the wall clock of the zone.
    fn parse_wall(text: &str, zone: &TimeZone) -> Option<When> {
        let bytes = text.as_bytes();
        if bytes.len() < 16 || bytes[4] != b'-' || bytes[7] != b'-' || !text.is_ascii() {
            return None;
        }
        let wall: civil::DateTime = text.parse().ok()?;
        let at = wall.to_zoned(zone.clone()).ok()?.timestamp();
        let at = Time(at.as_millisecond());
        (Time::MIN..=Time::MAX)
            .contains(&at)
            .then_some(When::Instant(at))
    }
}

/// The values at a path below an attribute's root value, as one value: `None` if there is none, a list if there are several.
pub fn value_at(root: &Value, path: &Path) -> Option<Value> {
    let mut values = Vec::new();
    Scalar::each_at(root, path.rest(), &mut |scalar| {
        values.push(scalar.to_value())
    });
    gathered(values)
}

/// Several values as one: absent, itself, or a list.
pub(crate) fn gathered(mut values: Vec<Value>) -> Option<Value> {
    match values.len() {
        0 => None,
        1 => values.pop(),
        _ => Some(Value::List(values)),
    }
}

/// Text after NFKC.
pub fn nfkc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfkc().collect())
    }
}

/// Text after NFKC, without case: what *contains* compares. Letter by letter, so that it works inside of words.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in nfkc(text).chars() {
        match letter {
            'ς' => folded.push('σ'),
            _ => folded.extend(letter.to_lowercase()),
        }
    }
    folded
}

/// The order of texts: by code point after NFKC (UTF-8 keeps that order).
pub fn text_order(a: &str, b: &str) -> Ordering {
    nfkc(a).as_bytes().cmp(nfkc(b).as_bytes())
}
