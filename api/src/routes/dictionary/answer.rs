//! What the dictionary answers.

use std::collections::BTreeMap;

use actors::model::{FieldClass, Time};
use cdp::definition::AttributeDefinition;
use cdp::dictionary::{
    Drift, DriftKind, Entry, Naming, OnBlock, Property, PropertyNaming, Status, Titled,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Said;
use super::list::Listed;
use crate::error::ApiError;

/// Days that a detail shows.
const DAYS_SHOWN: i32 = 30;

/// What people write of a name.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct NamingInput {
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// How far people have come with it.
    #[serde(default)]
    #[schema(inline)]
    pub status: Status,
    /// Of a change: the version that it starts from, as in `If-Match`; 0: nobody had written anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The rest.
    #[serde(flatten)]
    pub naming: Naming,
}

/// What is said of a name after a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamingAnswer {
    /// The name.
    pub name: String,
    /// Grows with every change; `If-Match` takes it.
    pub version: i64,
    /// What is said of it.
    #[serde(flatten)]
    pub said: NamingInput,
}

/// A name of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventAnswer {
    /// The name, as events bring it.
    pub name: String,
    /// Names for people.
    pub title: Titled,
    /// What it is.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// How far people have come with it.
    #[schema(inline)]
    pub status: Status,
    /// The name that it is recorded as.
    pub alias_of: Option<String>,
    /// Names that are recorded as this one.
    pub merged: Vec<String>,
    /// Where events go if it is blocked.
    #[schema(inline)]
    pub on_block: OnBlock,
    /// When one was first received; null: none was.
    pub first_seen: Option<String>,
    /// When one was last received.
    pub last_seen: Option<String>,
    /// How many were.
    pub total: u64,
    /// Version of what people say of it; 0: nobody has said anything.
    pub version: i64,
    #[serde(skip)]
    times: Option<(Time, Time)>,
}

/// A name of events, whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventDetail {
    /// What the list says.
    #[serde(flatten)]
    pub event: EventAnswer,
    /// How many per day, the last 30 days on which there were some, by day of receipt.
    pub days: Vec<DayAnswer>,
    /// How many per source.
    pub sources: Vec<SourceAnswer>,
    /// Its properties, seen or named.
    pub properties: Vec<PropertyAnswer>,
    /// Values of properties that found no room and are not counted.
    pub left_out: u64,
    /// What has changed.
    pub drift: Vec<DriftAnswer>,
}

/// A day.
#[derive(Debug, Serialize, ToSchema)]
pub struct DayAnswer {
    /// The day in the installation's zone.
    #[schema(example = "2026-11-22")]
    pub day: String,
    /// How many.
    pub count: u64,
}

/// A source.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceAnswer {
    /// Its number.
    pub source: u32,
    /// How many.
    pub count: u64,
}

/// A property of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct PropertyAnswer {
    /// Its name.
    pub name: String,
    /// Names for people.
    pub title: Titled,
    /// What it is.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// How far people have come with it.
    #[schema(inline)]
    pub status: Status,
    /// The property that it is recorded as.
    pub alias_of: Option<String>,
    /// The type that its values should have.
    pub expected_type: Option<String>,
    /// What is seen in it; null: it was not seen.
    pub seen: Option<SeenAnswer>,
}

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

/// An attribute.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttributeAnswer {
    /// Its name, as in traits.
    pub name: String,
    /// Names for people.
    pub title: Titled,
    /// What it is.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// How far people have come with it; what is defined is accepted unless somebody says otherwise.
    #[schema(inline)]
    pub status: Status,
    /// The attribute that it is recorded as.
    pub alias_of: Option<String>,
    /// Names that are recorded as this one.
    pub merged: Vec<String>,
    /// The type that its definition gives it; null: `/api/v1/attributes` does not define it.
    pub defined_type: Option<String>,
    /// The type that its values should have.
    pub expected_type: Option<String>,
    /// When it was first received; null: it was not.
    pub first_seen: Option<String>,
    /// When it was last received.
    pub last_seen: Option<String>,
    /// How often.
    pub total: u64,
    /// Version of what people say of it; 0: nobody has said anything.
    pub version: i64,
    #[serde(skip)]
    times: Option<(Time, Time)>,
}

/// An attribute, whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttributeDetail {
    /// What the list says.
    #[serde(flatten)]
    pub attribute: AttributeAnswer,
    /// What is seen of it; null: nothing.
    pub seen: Option<SeenAnswer>,
    /// What has changed.
    pub drift: Vec<DriftAnswer>,
}

/// A change.
#[derive(Debug, Serialize, ToSchema)]
pub struct DriftAnswer {
    /// `type_changed type_unexpected new_property stopped volume_fell volume_rose`.
    pub kind: &'static str,
    /// Of which event.
    pub event: Option<String>,
    /// Of which of its properties; null: of the event itself.
    pub property: Option<String>,
    /// Of which attribute.
    pub attribute: Option<String>,
    /// Since when.
    pub since: String,
    /// What it was before: a type, or events a day.
    pub before: Option<String>,
    /// What it is now.
    pub now: Option<String>,
}

const KINDS: [(DriftKind, &str); 6] = [
    (DriftKind::TypeChanged, "type_changed"),
    (DriftKind::TypeUnexpected, "type_unexpected"),
    (DriftKind::NewProperty, "new_property"),
    (DriftKind::Stopped, "stopped"),
    (DriftKind::VolumeFell, "volume_fell"),
    (DriftKind::VolumeRose, "volume_rose"),
];

/// The kinds of changes that a query asks for.
pub fn kinds(words: Option<&str>) -> Result<Option<Vec<&'static str>>, ApiError> {
    let Some(words) = words else { return Ok(None) };
    let known = |word: &str| {
        KINDS
            .iter()
            .map(|(_, known)| *known)
            .find(|known| *known == word)
    };
    let found: Option<Vec<_>> = words.split(',').map(|word| known(word.trim())).collect();
    found.map(Some).ok_or_else(|| {
        let all: Vec<_> = KINDS.iter().map(|(_, word)| *word).collect();
        ApiError::new(
            "parameter_form",
            format!("expected some of {}", all.join(", ")),
        )
        .field("kind")
    })
}

/// The type that values of an attribute should have.
pub fn expected(defined: Option<&AttributeDefinition>, said: Option<&Said>) -> Option<String> {
    said.and_then(|said| said.naming.expected_type.clone())
        .or_else(|| defined.map(|attribute| attribute.kind.word()))
}

impl NamingAnswer {
    /// Of what is kept.
    pub fn of(said: &Said) -> NamingAnswer {
        NamingAnswer {
            name: said.item.name.clone(),
            version: said.item.version,
            said: NamingInput {
                description: said.item.description.clone(),
                status: said.status,
                version: None,
                naming: said.naming.clone(),
            },
        }
    }
}

impl EventAnswer {
    /// Of what is seen and said.
    pub fn of(
        name: &str,
        entry: Option<&Entry>,
        said: Option<&Said>,
        merged: Vec<String>,
    ) -> EventAnswer {
        let empty = Naming::default();
        let naming = said.map_or(&empty, |said| &said.naming);
        EventAnswer {
            name: name.to_owned(),
            title: naming.title.clone(),
            description: said.map_or_else(String::new, |said| said.item.description.clone()),
            owner: naming.owner.clone(),
            status: said.map_or(Status::New, |said| said.status),
            alias_of: naming.alias_of.clone(),
            merged,
            on_block: naming.on_block,
            first_seen: entry.map(|entry| entry.first.rfc3339()),
            last_seen: entry.map(|entry| entry.last.rfc3339()),
            total: entry.map_or(0, |entry| entry.total),
            version: said.map_or(0, |said| said.item.version),
            times: entry.map(|entry| (entry.first, entry.last)),
        }
    }
}

impl Listed for EventAnswer {
    fn name(&self) -> &str {
        &self.name
    }
    fn texts(&self) -> Vec<&str> {
        vec![
            &self.name,
            &self.title.zh,
            &self.title.en,
            &self.description,
            &self.owner,
        ]
    }
    fn owner(&self) -> &str {
        &self.owner
    }
    fn status(&self) -> Status {
        self.status
    }
    fn total(&self) -> u64 {
        self.total
    }
    fn times(&self) -> Option<(Time, Time)> {
        self.times
    }
}

impl EventDetail {
    /// Of what is seen and said. `today` ends the days; `fields`: what the reader may see.
    pub fn of(
        event: EventAnswer,
        entry: Option<&Entry>,
        said: Option<&Said>,
        drift: Vec<DriftAnswer>,
        today: i32,
        fields: FieldClass,
    ) -> EventDetail {
        let empty = Naming::default();
        let naming = said.map_or(&empty, |said| &said.naming);
        let days = (today - DAYS_SHOWN + 1..=today).filter_map(|day| {
            let count = entry.map_or(0, |entry| entry.days.count(day));
            (count > 0).then(|| DayAnswer {
                day: cdp::rule::calendar::date_of(day).to_string(),
                count,
            })
        });
        let mut properties: BTreeMap<&str, (Option<&Property>, Option<&PropertyNaming>)> =
            BTreeMap::new();
        for (name, property) in entry.iter().flat_map(|entry| &entry.properties) {
            properties.entry(name).or_default().0 = Some(property);
        }
        for (name, said) in &naming.properties {
            properties.entry(name).or_default().1 = Some(said);
        }
        let total = entry.map_or(0, |entry| entry.total);
        EventDetail {
            days: days.collect(),
            sources: entry
                .iter()
                .flat_map(|entry| &entry.sources)
                .map(|(source, count)| SourceAnswer {
                    source: source.0,
                    count: *count,
                })
                .collect(),
            properties: properties
                .into_iter()
                .map(|(name, (seen, said))| PropertyAnswer::of(name, seen, said, total, fields))
                .collect(),
            left_out: entry.map_or(0, |entry| entry.left_out),
            drift,
            event,
        }
    }
}

impl PropertyAnswer {
    fn of(
        name: &str,
        seen: Option<&Property>,
        said: Option<&PropertyNaming>,
        total: u64,
        fields: FieldClass,
    ) -> PropertyAnswer {
        let said = said.cloned().unwrap_or_default();
        PropertyAnswer {
            name: name.to_owned(),
            title: said.title,
            description: said.description,
            owner: said.owner,
            status: said.status,
            alias_of: said.alias_of,
            expected_type: said.expected_type,
            seen: seen.map(|seen| SeenAnswer::of(seen, Some(total), fields)),
        }
    }
}

impl SeenAnswer {
    fn of(property: &Property, total: Option<u64>, fields: FieldClass) -> SeenAnswer {
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

impl AttributeAnswer {
    /// Of what is seen, defined and said.
    pub fn of(
        name: &str,
        seen: Option<&Property>,
        defined: Option<&AttributeDefinition>,
        said: Option<&Said>,
        merged: Vec<String>,
    ) -> AttributeAnswer {
        let empty = Naming::default();
        let naming = said.map_or(&empty, |said| &said.naming);
        let mut title = naming.title.clone();
        if let Some(defined) = defined {
            for (own, of) in [
                (&mut title.zh, &defined.title.zh),
                (&mut title.en, &defined.title.en),
            ] {
                if own.is_empty() {
                    *own = of.to_string();
                }
            }
        }
        let status = match (said, defined) {
            (Some(said), _) => said.status,
            (None, Some(_)) => Status::Accepted,
            (None, None) => Status::New,
        };
        AttributeAnswer {
            name: name.to_owned(),
            title,
            description: said.map_or_else(String::new, |said| said.item.description.clone()),
            owner: naming.owner.clone(),
            status,
            alias_of: naming.alias_of.clone(),
            merged,
            defined_type: defined.map(|attribute| attribute.kind.word()),
            expected_type: naming.expected_type.clone(),
            first_seen: seen.map(|seen| seen.first.rfc3339()),
            last_seen: seen.map(|seen| seen.last.rfc3339()),
            total: seen.map_or(0, |seen| seen.present),
            version: said.map_or(0, |said| said.item.version),
            times: seen.map(|seen| (seen.first, seen.last)),
        }
    }
}

impl Listed for AttributeAnswer {
    fn name(&self) -> &str {
        &self.name
    }
    fn texts(&self) -> Vec<&str> {
        vec![
            &self.name,
            &self.title.zh,
            &self.title.en,
            &self.description,
            &self.owner,
        ]
    }
    fn owner(&self) -> &str {
        &self.owner
    }
    fn status(&self) -> Status {
        self.status
    }
    fn total(&self) -> u64 {
        self.total
    }
    fn times(&self) -> Option<(Time, Time)> {
        self.times
    }
}

impl AttributeDetail {
    /// Of what is seen and said.
    pub fn of(
        attribute: AttributeAnswer,
        seen: Option<&Property>,
        drift: Vec<DriftAnswer>,
        fields: FieldClass,
    ) -> AttributeDetail {
        AttributeDetail {
            attribute,
            seen: seen.map(|seen| SeenAnswer::of(seen, None, fields)),
            drift,
        }
    }
}

impl DriftAnswer {
    /// Of an event.
    pub fn event(name: &str, drift: &Drift) -> DriftAnswer {
        DriftAnswer {
            event: Some(name.to_owned()),
            ..DriftAnswer::bare(drift)
        }
    }

    /// Of an attribute.
    pub fn attribute(name: &str, drift: &Drift) -> DriftAnswer {
        DriftAnswer {
            attribute: Some(name.to_owned()),
            ..DriftAnswer::bare(drift)
        }
    }

    fn bare(drift: &Drift) -> DriftAnswer {
        let word = KINDS.iter().find(|(kind, _)| *kind == drift.kind);
        DriftAnswer {
            kind: word.map_or("", |(_, word)| *word),
            event: None,
            property: drift.property.clone(),
            attribute: None,
            since: drift.since.rfc3339(),
            before: drift.before.clone(),
            now: drift.now.clone(),
        }
    }
}
