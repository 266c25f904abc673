//! A value of an attribute: typed, exact, and ordered where order means something.

use std::cmp::Ordering;
use std::fmt;

use actors::model::Time;
use jiff::ToSpan;
use jiff::civil;
use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an attribute was told to be. Types count: text never equals a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Value {
    /// Told to have no value any more (JSON `null`).
    Cleared,
    /// Yes or no.
    Bool(bool),
    /// Whole number.
    Int(i64),
    /// Decimal number, exact.
    Number(Number),
    /// Calendar day: days since 1970-01-01.
    Date(i32),
    /// Instant.
    Time(Time),
    /// Text, as sent.
    Text(Box<str>),
    /// JSON object, as sent.
    Object(Box<str>),
    /// Several values.
    List(Vec<Value>),
}

/// A decimal number of up to 28 digits, without trailing zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(Decimal);

/// Sum of numbers in billionths. Adding wraps, so that the order of adding never matters; a real sum stays far below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nanos(pub i128);

/// Billionths in one.
const NANOS: i128 = 1_000_000_000;

impl Value {
    /// The JSON form: dates as `2026-11-22`, instants as RFC 3339 in UTC, numbers that a double would change as text.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Cleared => Json::Null,
            Value::Bool(yes) => Json::Bool(*yes),
            Value::Int(number) => Json::from(*number),
            Value::Number(number) => number.to_json(),
            Value::Date(days) => Json::String(day_text(*days)),
            Value::Time(time) => Json::String(time.rfc3339()),
            Value::Text(text) => Json::String(text.to_string()),
            Value::Object(text) => serde_json::from_str(text).unwrap_or(Json::Null),
            Value::List(values) => Json::Array(values.iter().map(Value::to_json).collect()),
        }
    }

    /// What the value adds to a sum; `None` for what cannot be added.
    pub(crate) fn nanos(&self) -> Option<Nanos> {
        match self {
            Value::Int(number) => Some(Nanos(i128::from(*number) * NANOS)),
            Value::Number(number) => Some(number.nanos()),
            _ => None,
        }
    }

    /// Whether *smallest* and *largest* mean something.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(
            self,
            Value::Int(_) | Value::Number(_) | Value::Date(_) | Value::Time(_)
        )
    }

    /// The order behind *smallest* and *largest*: whole and decimal numbers compare as numbers.
    pub(crate) fn compare(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Int(a), Value::Number(b)) => Decimal::from(*a).cmp(&b.0),
            (Value::Number(a), Value::Int(b)) => a.0.cmp(&Decimal::from(*b)),
            _ => self.cmp(other),
        }
    }

    /// Bytes of text in it, for limits.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Value::Text(text) | Value::Object(text) => text.len(),
            Value::List(values) => values.iter().map(|value| 8 + value.text_bytes()).sum(),
            _ => 8,
        }
    }
}

impl Number {
    /// Takes a decimal.
    pub fn new(decimal: Decimal) -> Number {
        Number(decimal.normalize())
    }

    /// Reads `12`, `-0.5`, `1e3`. `None`: no number, or one that needs more than 28 digits.
    pub fn parse(text: &str) -> Option<Number> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_digit() || b".-+eE".contains(&byte);
        if !text.bytes().all(plain) || text.starts_with(['.', '+', 'e', 'E']) {
            return None;
        }
        let decimal = if text.contains(['e', 'E']) {
            Decimal::from_scientific(text).ok()?
        } else {
            Decimal::from_str_exact(text).ok()?
        };
        Some(Number::new(decimal))
    }

    /// The whole number, if it is one that fits.
    pub fn as_int(self) -> Option<i64> {
        (self.0.scale() == 0)
            .then(|| i64::try_from(self.0.mantissa()).ok())
            .flatten()
    }

    /// The number times ten to the power of `digits`, if that is whole and fits.
    pub(crate) fn scaled(self, digits: u32) -> Option<i64> {
        let missing = digits.checked_sub(self.0.scale())?;
        let whole = self
            .0
            .mantissa()
            .checked_mul(10i128.checked_pow(missing)?)?;
        i64::try_from(whole).ok()
    }

    /// The inverse of [`Number::scaled`].
    pub(crate) fn from_scaled(scaled: i64, digits: u32) -> Number {
        Number::new(Decimal::new(scaled, digits))
    }

    /// The decimal.
    pub(crate) fn decimal(self) -> Decimal {
        self.0
    }

    /// In billionths, rounded half away from zero.
    pub(crate) fn nanos(self) -> Nanos {
        let rounded = self
            .0
            .round_dp_with_strategy(9, rust_decimal::RoundingStrategy::MidpointAwayFromZero);
        let steps = 10i128.pow(9 - rounded.scale().min(9));
        Nanos(rounded.mantissa().wrapping_mul(steps))
    }

    fn to_json(self) -> serde_json::Value {
        if let Some(whole) = self.as_int() {
            return whole.into();
        }
        let text = self.to_string();
        match text.parse::<f64>() {
            Ok(double) if double.to_string() == text => double.into(),
            _ => text.into(),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let scale = u8::try_from(self.0.scale()).expect("a decimal has at most 28 digits");
        (self.0.mantissa(), scale).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mantissa, scale) = <(i128, u8)>::deserialize(deserializer)?;
        Decimal::try_from_i128_with_scale(mantissa, scale.into())
            .map(Number::new)
            .map_err(D::Error::custom)
    }
}

impl Nanos {
    /// Adds.
    #[must_use]
    pub fn plus(self, other: Nanos) -> Nanos {
        Nanos(self.0.wrapping_add(other.0))
    }

    /// The sum as a value: whole if it is, otherwise a decimal (without fraction where that would need 29 digits).
    pub fn value(self) -> Value {
        if self.0 % NANOS == 0
            && let Ok(whole) = i64::try_from(self.0 / NANOS)
        {
            return Value::Int(whole);
        }
        let decimal = Decimal::try_from_i128_with_scale(self.0, 9)
            .or_else(|_| Decimal::try_from_i128_with_scale(self.0 / NANOS, 0))
            .unwrap_or(if self.0 < 0 {
                Decimal::MIN
            } else {
                Decimal::MAX
            });
        Value::Number(Number::new(decimal))
    }
}

/// Days since 1970-01-01 of a calendar day.
pub(crate) fn days_of(date: civil::Date) -> i32 {
    (date - civil::date(1970, 1, 1)).get_days()
}

fn day_text(days: i32) -> String {
    match civil::date(1970, 1, 1).checked_add(days.days()) {
        Ok(date) => date.to_string(),
        Err(_) => days.to_string(),
    }
}
