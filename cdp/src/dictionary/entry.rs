//! What is counted of one name.

use std::collections::BTreeMap;

use actors::model::{SourceId, Time};
use serde::{Deserialize, Serialize};

use super::top::{Distinct, Top};
use super::value::Sort;

/// Days that are counted apart.
pub const DAYS: usize = 30;

/// Sources of one name that are counted apart; the rest is in the total.
pub const SOURCES_MAX: usize = 50;

/// What is counted of an event's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When one was first received.
    pub first: Time,
    /// When one was last received.
    pub last: Time,
    /// How many.
    pub total: u64,
    /// How many per day.
    pub days: Days,
    /// How many per source.
    pub sources: BTreeMap<SourceId, u64>,
    /// Its properties by name.
    pub properties: BTreeMap<Box<str>, Property>,
    /// Values of properties beyond the bounds, which are not counted.
    pub left_out: u64,
}

/// Counts of the last [`DAYS`] days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    /// The newest day, since 1970-01-01.
    newest: i32,
    /// The newest last.
    counts: Vec<u64>,
}

/// What is counted of a property or an attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Property {
    /// When it was first received.
    pub first: Time,
    /// When it was last received.
    pub last: Time,
    /// How often it was there, null included.
    pub present: u64,
    /// How often it was null.
    pub nulls: u64,
    /// What its values were.
    pub types: BTreeMap<Sort, TypeSeen>,
    /// Smallest and largest number.
    pub numbers: Option<Range>,
    /// Smallest and largest time, in milliseconds since 1970.
    pub times: Option<Range>,
    /// Its values are personal: only their shapes are kept.
    pub personal: bool,
    /// The most frequent values; of what is personal the most frequent shapes.
    pub(super) values: Top,
    pub(super) distinct: Distinct,
    /// Values that look personal in a property that does not: they are not kept.
    pub hidden: u64,
}

/// Smallest and largest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// When a type came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeSeen {
    /// How often.
    pub count: u64,
    /// First.
    pub first: Time,
    /// Last.
    pub last: Time,
}

impl Range {
    /// A range with one more value in it.
    pub fn with(range: Option<Range>, value: f64) -> Option<Range> {
        Some(match range {
            None => Range {
                min: value,
                max: value,
            },
            Some(Range { min, max }) => Range {
                min: min.min(value),
                max: max.max(value),
            },
        })
    }

    fn join(a: Option<Range>, b: Option<Range>) -> Option<Range> {
        match b {
            None => a,
            Some(b) => Range::with(Range::with(a, b.min), b.max),
        }
    }
}

impl Days {
    /// Counts on a day; days older than the oldest that is kept are left out.
    pub fn add(&mut self, day: i32, count: u64) {
        if self.counts.is_empty() {
            self.newest = day;
            self.counts.push(0);
        }
        if day > self.newest {
            let gap = usize::try_from(day - self.newest).unwrap_or(usize::MAX);
            self.counts.extend(std::iter::repeat_n(0, gap.min(DAYS)));
            self.newest = day;
            let over = self.counts.len().saturating_sub(DAYS);
            self.counts.drain(..over);
        }
        let back = usize::try_from(self.newest - day).unwrap_or(usize::MAX);
        if back >= DAYS {
            return;
        }
        while self.counts.len() <= back {
            self.counts.insert(0, 0);
        }
        let at = self.counts.len() - 1 - back;
        self.counts[at] += count;
    }

    /// How many on a day; 0 for days that are not kept.
    pub fn count(&self, day: i32) -> u64 {
        let back = i64::from(self.newest) - i64::from(day);
        usize::try_from(back)
            .ok()
            .and_then(|back| self.counts.len().checked_sub(back + 1))
            .map_or(0, |at| self.counts[at])
    }

    fn join(&mut self, other: &Days) {
        let first = other.newest - (other.counts.len() as i32 - 1);
        for (at, count) in other.counts.iter().enumerate() {
            if *count > 0 {
                self.add(first + at as i32, *count);
            }
        }
    }
}

impl Entry {
    /// Nothing yet.
    pub(super) fn new(at: Time) -> Entry {
        Entry {
            first: at,
            last: at,
            total: 0,
            days: Days::default(),
            sources: BTreeMap::new(),
            properties: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Joins what another brand has seen under the same name; without properties where only figures are wanted.
    pub(super) fn join(&mut self, other: &Entry, properties: bool) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.total += other.total;
        self.days.join(&other.days);
        for (source, count) in &other.sources {
            *self.sources.entry(*source).or_default() += count;
        }
        self.left_out += other.left_out;
        if properties {
            for (name, property) in &other.properties {
                match self.properties.get_mut(name) {
                    Some(ours) => ours.join(property),
                    None => drop(self.properties.insert(name.clone(), property.clone())),
                }
            }
        }
    }
}

impl Property {
    /// Nothing yet.
    pub(super) fn new(at: Time, personal: bool) -> Property {
        Property {
            first: at,
            last: at,
            present: 0,
            nulls: 0,
            types: BTreeMap::new(),
            numbers: None,
            times: None,
            personal,
            values: Top::default(),
            distinct: Distinct::default(),
            hidden: 0,
        }
    }

    /// Joins what another brand has seen under the same name.
    pub(super) fn join(&mut self, other: &Property) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.present += other.present;
        self.nulls += other.nulls;
        for (sort, seen) in &other.types {
            let ours = self
                .types
                .entry(*sort)
                .or_insert(TypeSeen { count: 0, ..*seen });
            ours.count += seen.count;
            ours.first = ours.first.min(seen.first);
            ours.last = ours.last.max(seen.last);
        }
        self.numbers = Range::join(self.numbers, other.numbers);
        self.times = Range::join(self.times, other.times);
        self.personal |= other.personal;
        self.values.join(&other.values);
        self.distinct.join(&other.distinct);
        self.hidden += other.hidden;
    }

    /// It has turned out to be personal: forgets values and ranges.
    pub(super) fn close(&mut self) {
        self.personal = true;
        self.values.clear();
        self.numbers = None;
        self.times = None;
    }

    /// The most frequent values that enough people had (of what is personal: shapes): value, how often at most, how far
    /// that may be too much.
    pub fn values(&self) -> Vec<(&str, u64, u64)> {
        self.values.values()
    }

    /// About how many different values there were.
    pub fn distinct(&self) -> u64 {
        self.distinct.estimate()
    }
}
