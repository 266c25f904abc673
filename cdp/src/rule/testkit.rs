//! For tests of everything that evaluates rules: a dictionary, a person with a history, cases in JSON, random rules and
//! histories from a seed.
//!
//! The cases in `tests/cases` say what rules mean, sentence by sentence; whoever evaluates plans in another way runs them
//! too ([`cases`]).

mod case;
mod hostile;
mod make;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors::model::{MemberNo, Place, Time};
use jiff::tz::TimeZone;

pub use case::{Case, cases};
pub use hostile::hostile;
pub use make::{Maker, dictionary};

use super::ast::EventNames;
use super::measure::{Extractor, Hit, Measure};
use super::{Facts, Known, Names};
use crate::definition::AttributeType;
use crate::profile::Value;

/// A dictionary in memory.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    /// Attributes with their type; `None`: seen only.
    pub attributes: BTreeMap<String, Option<AttributeType>>,
    /// Tags with their type.
    pub tags: BTreeMap<String, AttributeType>,
    /// Segments and the segments that they name.
    pub segments: BTreeMap<String, Vec<Box<str>>>,
    /// Uploaded lists.
    pub lists: BTreeSet<String>,
    /// Places.
    pub places: BTreeSet<String>,
}

impl Names for Dictionary {
    fn attribute(&self, name: &str) -> Known {
        match self.attributes.get(name) {
            Some(Some(kind)) => Known::Typed(*kind),
            Some(None) => Known::Seen,
            None => Known::Unknown,
        }
    }
    fn tag(&self, code: &str) -> Known {
        self.tags
            .get(code)
            .map_or(Known::Unknown, |it| Known::Typed(*it))
    }
    fn segment(&self, id: &str) -> Option<Vec<Box<str>>> {
        self.segments.get(id).cloned()
    }
    fn list(&self, id: &str) -> bool {
        self.lists.contains(id)
    }
    fn place(&self, of: &str) -> bool {
        self.places.contains(of)
    }
    fn attribute_names(&self) -> Vec<&str> {
        self.attributes.keys().map(String::as_str).collect()
    }
    fn tag_codes(&self) -> Vec<&str> {
        self.tags.keys().map(String::as_str).collect()
    }
    fn place_names(&self) -> Vec<&str> {
        self.places.iter().map(String::as_str).collect()
    }
}

/// An event of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Name.
    pub name: String,
    /// When.
    pub time: Time,
    /// JSON text of its properties.
    pub properties: String,
}

/// All that is known of one member.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// Number.
    pub member: u32,
    /// Attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Tags.
    pub tags: BTreeMap<String, Value>,
    /// Segments.
    pub segments: BTreeSet<String>,
    /// Uploaded lists.
    pub lists: BTreeSet<String>,
    /// Places: latitude and longitude.
    pub places: BTreeMap<String, (f64, f64)>,
    /// Events, sorted by time; those named [`EventNames::ORDERS`] are orders.
    pub events: Vec<Happened>,
    /// The installation's zone.
    pub zone: Option<TimeZone>,
}

impl Person {
    /// The zone.
    pub fn zone(&self) -> TimeZone {
        self.zone.clone().unwrap_or(TimeZone::UTC)
    }
}

impl Facts for Person {
    fn member(&self) -> MemberNo {
        MemberNo(self.member)
    }
    fn attribute(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.attributes.get(name).map(Cow::Borrowed)
    }
    fn tag(&self, code: &str) -> Option<Cow<'_, Value>> {
        self.tags.get(code).map(Cow::Borrowed)
    }
    fn hits(&self, measure: &Measure) -> Cow<'_, [Hit]> {
        let extractor = Extractor::new(Arc::new(measure.clone()), &self.zone());
        let hits = self.events.iter();
        hits.filter_map(|it| match &*it.name {
            EventNames::ORDERS => extractor.of_order(it.time, &it.properties),
            name => extractor.of(name, it.time, Some(&it.properties)),
        })
        .collect()
    }
    fn in_segment(&self, id: &str) -> bool {
        self.segments.contains(id)
    }
    fn in_list(&self, id: &str) -> bool {
        self.lists.contains(id)
    }
    fn place(&self, of: &str) -> Option<Place> {
        self.places.get(of).map(|(lat, lon)| Place {
            lat: *lat,
            lon: *lon,
            accuracy_m: None,
        })
    }
}
