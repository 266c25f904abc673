//! What a value looks like: its type, its shape, and whether it may tell who somebody is.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Text that is no date and no time.
    Text,
    /// Whole number.
    Int,
    /// Number with a fraction.
    Number,
    /// Yes or no.
    Bool,
    /// Text that is a calendar day.
    Date,
    /// Text that is an instant.
    Time,
    /// List.
    List,
    /// JSON object.
    Object,
}

impl Sort {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Sort::Text => "text",
            Sort::Int => "int",
            Sort::Number => "number",
            Sort::Bool => "bool",
            Sort::Date => "date",
            Sort::Time => "time",
            Sort::List => "list",
            Sort::Object => "object",
        }
    }

    /// Sorts that rules may compare with one another: going from one to another within a family is no drift.
    pub fn family(self) -> Sort {
        match self {
            Sort::Int => Sort::Number,
            Sort::Date => Sort::Time,
            other => other,
        }
    }

    /// What a value is; `None` for null. With the number or instant that it stands for, to keep a range.
    pub fn of(value: &Value) -> Option<(Sort, Option<f64>)> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => (Sort::Bool, None),
            Value::Number(number) => {
                let sort = match number.is_f64() {
                    true => Sort::Number,
                    false => Sort::Int,
                };
                (sort, number.as_f64())
            }
            Value::String(text) => text_sort(text),
            Value::Array(_) => (Sort::List, None),
            Value::Object(_) => (Sort::Object, None),
        })
    }
}

/// A text is a day or an instant if it is written as ISO 8601 has it.
fn text_sort(text: &str) -> (Sort, Option<f64>) {
    let bytes = text.as_bytes();
    let dated = bytes.len() >= 10
        && bytes.len() <= 40
        && bytes[..10].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !dated {
        return (Sort::Text, None);
    }
    if bytes.len() == 10 {
        return match text.parse::<Date>() {
            Ok(date) => {
                let day = crate::profile::value::days_of(date);
                (Sort::Date, Some(f64::from(day) * 86_400_000.0))
            }
            Err(_) => (Sort::Text, None),
        };
    }
    match text.parse::<Timestamp>() {
        Ok(instant) => (Sort::Time, Some(instant.as_millisecond() as f64)),
        Err(_) if text.parse::<jiff::civil::DateTime>().is_ok() => (Sort::Time, None),
        Err(_) => (Sort::Text, None),
    }
}

/// Characters of a shape: enough to tell a phone number from an address.
const SHAPE_CHARS: usize = 24;

/// The shape of a text: runs of digits are `9`, of letters `a`, of other scripts `字`, everything else `·` but for the few
/// signs that numbers, dates and addresses are made of. The lengths of runs of digits stand behind them.
pub fn shape(text: &str) -> Box<str> {
    let mut shape = String::new();
    let mut chars = text.chars().peekable();
    let mut left = SHAPE_CHARS;
    while let Some(char) = chars.next() {
        if left == 0 {
            shape.push('…');
            break;
        }
        left -= 1;
        let class = class(char);
        let mut run = 1u32;
        while class != '·' && chars.peek().is_some_and(|next| self::class(*next) == class) {
            chars.next();
            run += 1;
        }
        shape.push(class);
        if class == '9' && run > 1 {
            shape.push_str(&format!("{{{run}}}"));
        }
    }
    shape.into()
}

fn class(char: char) -> char {
    match char {
        _ if char.is_ascii_digit() => '9',
        _ if char.is_ascii_alphabetic() => 'a',
        '@' | '.' | '-' | '_' | '+' | '/' | ':' | ' ' => char,
        _ if char.is_alphanumeric() => '字',
        _ => '·',
    }
}

/// Digits from which on a number is somebody's: phone numbers have 7 and more, ids of documents 15 and more.
const DIGITS_OF_PEOPLE: std::ops::RangeInclusive<usize> = 7..=32;

/// Whether a text looks like a way to reach or name somebody: an e-mail address, a phone or card number, a long id. Rather
/// once too often: what it hides is counted by its shape.
pub fn looks_personal(text: &str) -> bool {
    if text.contains('@') {
        return true;
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let others = text
        .chars()
        .filter(|char| !char.is_ascii_digit() && !matches!(char, ' ' | '-' | '+' | '(' | ')' | '.'))
        .count();
    // A Chinese id card ends with X; licences and account ids have a letter or two.
    if DIGITS_OF_PEOPLE.contains(&digits) && others <= 2 {
        return true;
    }
    // Ids: long, without blanks, letters and digits mixed (openids, unionids, UUIDs, tokens).
    let long = text.len() >= 20 && text.is_ascii() && !text.contains(' ');
    long && digits > 0
}
