//! What is answered of events and their properties.

use std::collections::BTreeMap;

use actors::model::{FieldClass, Time};
use cdp::dictionary::{Entry, Naming, OnBlock, Property, PropertyNaming, Status, Titled};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Said;
use super::super::list::NameRow;
use super::{DriftAnswer, SeenAnswer};

/// Days that a detail shows.
const DAYS_SHOWN: i32 = 30;

/// A name of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventNameAnswer {
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
    pub event: EventNameAnswer,
    /// How many per day, the last 30 days on which there were some, by day of receipt.
    pub days: Vec<DayCount>,
    /// How many per source.
    pub sources: Vec<SourceCount>,
    /// Its properties, seen or named.
    pub properties: Vec<PropertyAnswer>,
    /// Values of properties that found no room and are not counted.
    pub left_out: u64,
    /// What has changed.
    pub drift: Vec<DriftAnswer>,
}

/// A day.
#[derive(Debug, Serialize, ToSchema)]
pub struct DayCount {
    /// The day in the installation's zone.
    #[schema(example = "2026-11-22")]
    pub day: String,
    /// How many.
    pub count: u64,
}

/// A source.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceCount {
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

impl EventNameAnswer {
    /// Of what is seen and said.
    pub fn of(
        name: &str,
        entry: Option<&Entry>,
        said: Option<&Said>,
        merged: Vec<String>,
    ) -> EventNameAnswer {
        let empty = Naming::default();
        let naming = said.map_or(&empty, |said| &said.naming);
        EventNameAnswer {
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

impl NameRow for EventNameAnswer {
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
        event: EventNameAnswer,
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
            (count > 0).then(|| DayCount {
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
                .map(|(source, count)| SourceCount {
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
