//! Drift: what is seen now and was not before. Computed when somebody asks, from what is counted anyway.

use std::collections::BTreeMap;

use actors::model::Time;
use serde::Serialize;

use super::entry::{DAYS, Entry, Property, TypeSeen};
use super::naming::{Naming, PropertyNaming, Status};
use super::value::Sort;
use crate::definition::{AttributeType, Basic};

const DAY_MS: i64 = 86_400_000;

/// An event is known from a day after it was first seen: before, all its properties are new.
const KNOWN_AFTER_MS: i64 = DAY_MS;

/// A change is listed for so long: what nobody minded for a month is how it is.
const LISTED_MS: i64 = DAYS as i64 * DAY_MS;

/// Whole days without an event after which it has stopped: shops close for one.
const STOPPED_DAYS: i32 = 2;

/// Of the week before it stopped, days on which it came: what came on fewer comes when it comes.
const REGULAR_DAYS: usize = 3;

/// Days that a day is compared with.
const BASE_DAYS: i32 = 7;

/// Fewest of them: two days make no habit.
const BASE_DAYS_MIN: i32 = 3;

/// A day's volume has changed when it is this many times more or less than the mean of the days before.
const VOLUME_FACTOR: f64 = 3.0;

/// Events a day below which volume says nothing.
const VOLUME_MIN: f64 = 20.0;

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// Values of another type than before.
    TypeChanged,
    /// Values of another type than people expect.
    TypeUnexpected,
    /// A property that a known event did not have.
    NewProperty,
    /// An event that came regularly comes no more.
    Stopped,
    /// Far fewer a day than in the week before.
    VolumeFell,
    /// Far more.
    VolumeRose,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// What.
    pub kind: DriftKind,
    /// Of which property; `None`: of the event.
    pub property: Option<String>,
    /// Since when.
    pub since: Time,
    /// What it was before: a type, or events a day.
    pub before: Option<String>,
    /// What it is now.
    pub now: Option<String>,
}

/// Changes of an event. `day_start`: the first instant of a day; `today`: the day of `now`.
pub fn drift(
    entry: &Entry,
    naming: Option<&Naming>,
    now: Time,
    today: i32,
    day_of: &dyn Fn(Time) -> i32,
    day_start: &dyn Fn(i32) -> Time,
) -> Vec<Drift> {
    let mut found = Vec::new();
    for (name, property) in &entry.properties {
        let said = naming.and_then(|naming| naming.properties.get(&**name));
        let expected = said.and_then(|said| said.expected_type.as_deref());
        found.extend(types(Some(name), property, expected, now));
        let accepted = |said: &PropertyNaming| said.status == Status::Accepted;
        let known = property.first.0 - entry.first.0 >= KNOWN_AFTER_MS;
        if known && now.0 - property.first.0 <= LISTED_MS && !said.is_some_and(accepted) {
            found.push(Drift {
                kind: DriftKind::NewProperty,
                property: Some(name.to_string()),
                since: property.first,
                before: None,
                now: property
                    .types
                    .keys()
                    .next()
                    .map(|sort| sort.as_str().to_owned()),
            });
        }
    }
    let (first, last) = (day_of(entry.first), day_of(entry.last));
    match stopped(entry, last, today) {
        true => found.push(Drift {
            kind: DriftKind::Stopped,
            property: None,
            since: entry.last,
            before: Some(rate(mean(entry, last + 1, first).unwrap_or_default())),
            now: Some("0".to_owned()),
        }),
        false => found.extend(volume(entry, first, today, day_start)),
    }
    found
}

/// Changes of an attribute.
pub fn attribute_drift(property: &Property, expected: Option<&str>, now: Time) -> Vec<Drift> {
    types(None, property, expected, now)
}

fn types(name: Option<&str>, property: &Property, expected: Option<&str>, now: Time) -> Vec<Drift> {
    let mut families: BTreeMap<Sort, (Sort, TypeSeen)> = BTreeMap::new();
    for (sort, seen) in &property.types {
        families
            .entry(sort.family())
            .and_modify(|(first, all)| {
                if seen.first < all.first {
                    *first = *sort;
                }
                all.count += seen.count;
                all.first = all.first.min(seen.first);
                all.last = all.last.max(seen.last);
            })
            .or_insert((*sort, *seen));
    }
    let listed = |seen: &TypeSeen| now.0 - seen.last.0 <= LISTED_MS;
    let word = |sort: Sort| Some(sort.as_str().to_owned());
    let mut found = Vec::new();
    let expected = expected.and_then(AttributeType::parse);
    if let Some(kind) = expected {
        for (sort, seen) in &property.types {
            if !fits(kind, *sort) && listed(seen) {
                found.push(Drift {
                    kind: DriftKind::TypeUnexpected,
                    property: name.map(str::to_owned),
                    since: seen.first,
                    before: Some(kind.word()),
                    now: word(*sort),
                });
            }
        }
        return found;
    }
    let oldest = families
        .values()
        .min_by_key(|(sort, seen)| (seen.first, *sort));
    let Some(&(before, oldest)) = oldest else {
        return found;
    };
    for (sort, seen) in families.values() {
        if seen.first > oldest.first && listed(seen) {
            found.push(Drift {
                kind: DriftKind::TypeChanged,
                property: name.map(str::to_owned),
                since: seen.first,
                before: word(before),
                now: word(*sort),
            });
        }
    }
    found
}

/// Whether a value is of the type that people expect. What is written as a date is a text as well.
fn fits(kind: AttributeType, sort: Sort) -> bool {
    if kind.list {
        return sort == Sort::List;
    }
    match kind.basic {
        Basic::Text => matches!(sort, Sort::Text | Sort::Date | Sort::Time),
        Basic::Int => sort == Sort::Int,
        Basic::Number => matches!(sort, Sort::Int | Sort::Number),
        Basic::Bool => sort == Sort::Bool,
        Basic::Date => matches!(sort, Sort::Date | Sort::Time),
        // Epoch milliseconds are times as well.
        Basic::Time => matches!(sort, Sort::Date | Sort::Time | Sort::Int),
        Basic::Object => sort == Sort::Object,
    }
}

fn stopped(entry: &Entry, last: i32, today: i32) -> bool {
    let came = (last - BASE_DAYS + 1..=last).filter(|day| entry.days.count(*day) > 0);
    today - last > STOPPED_DAYS && came.count() >= REGULAR_DAYS
}

/// Events a day in the week before a day, without the day on which the event was first seen, which is not whole.
fn mean(entry: &Entry, before: i32, first: i32) -> Option<f64> {
    let from = (first + 1).max(before - BASE_DAYS);
    let days = before - from;
    if days < BASE_DAYS_MIN {
        return None;
    }
    let sum: u64 = (from..before).map(|day| entry.days.count(day)).sum();
    Some(sum as f64 / f64::from(days))
}

/// The longest run of days up to yesterday that differ from the week before it.
fn volume(entry: &Entry, first: i32, today: i32, day_start: &dyn Fn(i32) -> Time) -> Option<Drift> {
    let yesterday = today - 1;
    (1..=BASE_DAYS).rev().find_map(|run| {
        let start = today - run;
        let before = mean(entry, start, first)?;
        let count = |day: i32| entry.days.count(day) as f64;
        let mut days = start..=yesterday;
        let fell =
            before >= VOLUME_MIN && days.clone().all(|day| count(day) * VOLUME_FACTOR < before);
        let rose = days.all(|day| count(day) >= VOLUME_MIN && count(day) > before * VOLUME_FACTOR);
        let kind = match (fell, rose) {
            (true, _) => DriftKind::VolumeFell,
            (_, true) => DriftKind::VolumeRose,
            _ => return None,
        };
        Some(Drift {
            kind,
            property: None,
            since: day_start(start),
            before: Some(rate(before)),
            now: Some(rate(count(yesterday))),
        })
    })
}

/// Events a day, for people.
fn rate(a_day: f64) -> String {
    match a_day < 10.0 && a_day.fract() > 0.0 {
        true => format!("{a_day:.1}"),
        false => format!("{a_day:.0}"),
    }
}
