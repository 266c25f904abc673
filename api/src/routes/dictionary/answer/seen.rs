//! What is answered of what is seen in a property or an attribute.

use actors::model::{FieldClass, Time};
use cdp::dictionary::Property;
use serde::Serialize;
use utoipa::ToSchema;

/// What is seen of a property or an attribute.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeenAnswer {
    /// When it was first received.
    pub first_seen: String,
    /// When it was last received.
    pub last_seen: String,
    /// How often it was there, null included.
    pub present: u64,
    /// How often of that it was null, from 0 to 1.
    pub null_share: f64,
    /// In how many of the events it was missing, from 0 to 1; null for attributes.
    pub missing_share: Option<f64>,
    /// How often its values were of which type.
    pub types: Vec<TypeAnswer>,
    /// Smallest number, or smallest time.
    pub min: Option<serde_json::Value>,
    /// Largest.
    pub max: Option<serde_json::Value>,
    /// About how many different values there were.
    pub distinct: u64,
    /// Its values are personal: `values` are shapes (`9{11}`: eleven digits).
    pub personal: bool,
    /// The most frequent values that five different people had at least.
    pub values: Vec<ValueAnswer>,
    /// Values that look personal or are long, which are not kept.
    pub hidden: u64,
}

/// A type.
#[derive(Debug, Serialize, ToSchema)]
pub struct TypeAnswer {
    /// `text int number bool date time list object`.
    #[serde(rename = "type")]
    pub word: &'static str,
    /// How often.
    pub count: u64,
    /// Since when.
    pub first_seen: String,
    /// Until when.
    pub last_seen: String,
}

/// A value.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValueAnswer {
    /// The value, numbers as text.
    pub value: String,
    /// How often, at most.
    pub count: u64,
    /// How much that may be too much.
    pub over: u64,
}

impl SeenAnswer {
    /// As a caller who may see fields of this class sees it. `total`: events that might have had the property.
    pub fn of(property: &Property, total: Option<u64>, fields: FieldClass) -> SeenAnswer {
        let share = |part: u64, whole: u64| match whole {
            0 => 0.0,
            whole => part as f64 / whole as f64,
        };
        let number =
            |value: f64| serde_json::Number::from_f64(value).map(serde_json::Value::Number);
        let time = |value: f64| serde_json::Value::from(Time(value as i64).rfc3339());
        let (min, max) = match (property.numbers, property.times) {
            (Some(range), _) => (number(range.min), number(range.max)),
            (None, Some(range)) => (Some(time(range.min)), Some(time(range.max))),
            (None, None) => (None, None),
        };
        // Many people had them, but a key that sees nothing personal at all sees no values either.
        let shown = fields >= FieldClass::P1 || property.personal;
        let values = match shown {
            true => property.values(),
            false => Vec::new(),
        };
        SeenAnswer {
            first_seen: property.first.rfc3339(),
            last_seen: property.last.rfc3339(),
            present: property.present,
            null_share: share(property.nulls, property.present),
            missing_share: total.map(|total| share(total.saturating_sub(property.present), total)),
            types: property
                .types
                .iter()
                .map(|(sort, seen)| TypeAnswer {
                    word: sort.as_str(),
                    count: seen.count,
                    first_seen: seen.first.rfc3339(),
                    last_seen: seen.last.rfc3339(),
                })
                .collect(),
            min,
            max,
            distinct: property.distinct(),
            personal: property.personal,
            values: values
                .into_iter()
                .map(|(value, count, over)| ValueAnswer {
                    value: value.to_owned(),
                    count,
                    over,
                })
                .collect(),
            hidden: property.hidden,
        }
    }
}
