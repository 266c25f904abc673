//! Counting: every committed event goes through [`Catalogue::observe`], once and in order.
//!
//! Pure: the state is a function of the events and of the bounds below. Beyond them nothing is counted but how much was
//! left out; names that are there go on being counted. In all some 70 MB when everything is full.

use std::collections::BTreeMap;

use actors::model::{BrandId, SourceId, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entry::{Entry, Property, Range, SOURCES_MAX, TypeSeen};
use super::personal::Personal;
use super::top::VALUE_BYTES_MAX;
use super::value::{Sort, looks_personal, shape};

/// Names of events, each once per brand. More is ids in names.
pub const EVENTS_MAX: usize = 2_000;

/// Properties of one event.
pub const PROPERTIES_MAX: usize = 200;

/// Properties of all events, and attributes: 3.5 KB each when full.
const PROPERTIES_ALL_MAX: usize = 20_000;

/// Longest name of a property that is counted, in bytes; admission lets 255 through.
const NAME_BYTES_MAX: usize = 255;

/// An event, as far as the dictionary counts it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Brand.
    pub brand: BrandId,
    /// Name.
    pub name: &'a str,
    /// Source.
    pub source: SourceId,
    /// When it was received.
    pub received: Time,
    /// The day of that in the installation's zone, since 1970-01-01.
    pub day: i32,
    /// Whose it is: the fragment.
    pub person: u32,
    /// Values of its identifiers: what equals one is personal.
    pub identifiers: &'a [&'a str],
    /// Properties: JSON object.
    pub properties: Option<&'a str>,
    /// Attributes told: JSON object.
    pub traits: Option<&'a str>,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    events: BTreeMap<(Box<str>, BrandId), Entry>,
    attributes: BTreeMap<(Box<str>, BrandId), Property>,
    properties: usize,
    left_out: LeftOut,
}

/// What was not counted because the bounds were reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Events whose name did not find room.
    pub events: u64,
    /// Values of properties and attributes that did not.
    pub values: u64,
}

/// What goes with every value of an event.
struct Context<'a> {
    seen: &'a Seen<'a>,
    personal: &'a Personal,
    key: &'a [u8; 32],
}

impl Catalogue {
    /// Counts an event. `key` hashes values, so that what is kept of them tells nothing without it.
    pub fn observe(&mut self, seen: &Seen<'_>, personal: &Personal, key: &[u8; 32]) {
        let context = Context {
            seen,
            personal,
            key,
        };
        self.event(&context);
        for (name, value) in object(seen.traits) {
            let at = (Box::from(&*name), seen.brand);
            if !self.attributes.contains_key(&at) {
                if self.properties >= PROPERTIES_ALL_MAX || name.len() > NAME_BYTES_MAX {
                    self.left_out.values += 1;
                    continue;
                }
                self.properties += 1;
                let new = Property::new(seen.received, personal.attribute(&name));
                self.attributes.insert(at.clone(), new);
            }
            if let Some(property) = self.attributes.get_mut(&at) {
                context.value(property, &value);
            }
        }
    }

    fn event(&mut self, context: &Context<'_>) {
        let seen = context.seen;
        let at = (Box::from(seen.name), seen.brand);
        if !self.events.contains_key(&at) {
            if self.events.len() >= EVENTS_MAX {
                self.left_out.events += 1;
                return;
            }
            self.events.insert(at.clone(), Entry::new(seen.received));
        }
        let Some(entry) = self.events.get_mut(&at) else {
            return;
        };
        entry.total += 1;
        entry.first = entry.first.min(seen.received);
        entry.last = entry.last.max(seen.received);
        entry.days.add(seen.day, 1);
        if entry.sources.len() < SOURCES_MAX || entry.sources.contains_key(&seen.source) {
            *entry.sources.entry(seen.source).or_default() += 1;
        }
        for (name, value) in object(seen.properties) {
            if !entry.properties.contains_key(&*name) {
                if entry.properties.len() >= PROPERTIES_MAX
                    || self.properties >= PROPERTIES_ALL_MAX
                    || name.len() > NAME_BYTES_MAX
                {
                    entry.left_out += 1;
                    self.left_out.values += 1;
                    continue;
                }
                self.properties += 1;
                let new = Property::new(seen.received, context.personal.property(&name));
                entry.properties.insert(name.as_str().into(), new);
            }
            if let Some(property) = entry.properties.get_mut(&*name) {
                context.value(property, &value);
            }
        }
    }

    /// Names that are personal from now on: forgets what was kept of their values.
    pub fn close(&mut self, personal: &Personal) {
        for entry in self.events.values_mut() {
            for (name, property) in &mut entry.properties {
                if !property.personal && personal.property(name) {
                    property.close();
                }
            }
        }
        for ((name, _), property) in &mut self.attributes {
            if !property.personal && personal.attribute(name) {
                property.close();
            }
        }
    }

    /// Names of events with their figures, without properties; those of several brands joined. `sees`: which brands.
    pub fn events(&self, sees: impl Fn(BrandId) -> bool) -> BTreeMap<&str, Entry> {
        let mut all: BTreeMap<&str, Entry> = BTreeMap::new();
        for ((name, brand), entry) in &self.events {
            if sees(*brand) {
                let joined = all.entry(name);
                joined
                    .or_insert_with(|| Entry::new(entry.first))
                    .join(entry, false);
            }
        }
        all
    }

    /// One event with its properties.
    pub fn event_named(&self, sees: impl Fn(BrandId) -> bool, name: &str) -> Option<Entry> {
        let mut found: Option<Entry> = None;
        let brands = (name.into(), BrandId(0))..=(name.into(), BrandId(u32::MAX));
        for ((_, brand), entry) in self.events.range(brands) {
            if sees(*brand) {
                let joined = found.get_or_insert_with(|| Entry::new(entry.first));
                joined.join(entry, true);
            }
        }
        found
    }

    /// Attributes by name.
    pub fn attributes(&self, sees: impl Fn(BrandId) -> bool) -> BTreeMap<&str, Property> {
        let mut all: BTreeMap<&str, Property> = BTreeMap::new();
        for ((name, brand), property) in &self.attributes {
            if sees(*brand) {
                match all.get_mut(&**name) {
                    Some(known) => known.join(property),
                    None => drop(all.insert(name, property.clone())),
                }
            }
        }
        all
    }

    /// What was not counted.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Names of events, and of properties and attributes, that are counted.
    pub fn sizes(&self) -> (usize, usize) {
        (self.events.len(), self.properties)
    }
}

impl Context<'_> {
    fn value(&self, property: &mut Property, value: &Value) {
        let at = self.seen.received;
        property.first = property.first.min(at);
        property.last = property.last.max(at);
        property.present += 1;
        let Some((sort, number)) = Sort::of(value) else {
            property.nulls += 1;
            return;
        };
        let seen = property.types.entry(sort).or_insert(TypeSeen {
            count: 0,
            first: at,
            last: at,
        });
        seen.count += 1;
        seen.first = seen.first.min(at);
        seen.last = seen.last.max(at);
        let text = match value {
            Value::String(text) => std::borrow::Cow::Borrowed(&**text),
            Value::Bool(_) | Value::Number(_) => value.to_string().into(),
            Value::Null | Value::Array(_) | Value::Object(_) => return,
        };
        property.distinct.add(self.hash(&text));
        let person = self.seen.person;
        if property.personal {
            let shape = shape(&text);
            property
                .values
                .add(self.hash(&shape), person, || shape.clone());
            return;
        }
        if let Some(number) = number
            && !number_of_somebody(sort, number)
        {
            let range = match sort.family() {
                Sort::Time => &mut property.times,
                _ => &mut property.numbers,
            };
            *range = Range::with(*range, number);
        }
        let dated = sort.family() == Sort::Time;
        if text.len() > VALUE_BYTES_MAX
            || self.seen.identifiers.contains(&&*text)
            || (!dated && looks_personal(&text))
        {
            property.hidden += 1;
            return;
        }
        property
            .values
            .add(self.hash(&text), person, || Box::from(&*text));
    }

    fn hash(&self, text: &str) -> u64 {
        let hash = blake3::keyed_hash(self.key, text.as_bytes());
        let (first, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
        u64::from_le_bytes(*first)
    }
}

/// A mobile number of China, or more digits than amounts and instants have: no range is kept of it.
fn number_of_somebody(sort: Sort, number: f64) -> bool {
    sort == Sort::Int && ((1.3e10..2e10).contains(&number) || number.abs() >= 1e14)
}

/// The fields of a JSON object; none of what does not read.
fn object(text: Option<&str>) -> Map<String, Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
