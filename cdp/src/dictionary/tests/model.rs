//! The catalogue against naive counters.

use std::collections::{BTreeMap, BTreeSet};

use actors::model::{BrandId, SourceId, Time};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::top::SLOTS;
use super::super::*;

const KEY: [u8; 32] = [7; 32];
const DAY: i64 = 86_400_000;

/// An event of the model.
#[derive(Debug, Clone)]
struct Event {
    brand: u32,
    name: u8,
    source: u32,
    person: u32,
    at: i64,
    properties: BTreeMap<u8, Value>,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..4i64).prop_map(|n| json!(n)),
        (0..3u8).prop_map(|n| json!(format!("v{n}"))),
        Just(json!(1.5)),
        Just(json!(true)),
        Just(json!("2026-11-22")),
        Just(json!("2026-11-22T08:00:00Z")),
        Just(json!([1])),
        Just(json!({"a": 1})),
        Just(Value::Null),
        Just(json!("a@example.org")),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let properties = prop::collection::btree_map(0..4u8, value(), 0..4);
    (0..3u32, 0..3u8, 0..4u32, 0..8u32, 0..40i64, properties).prop_map(
        |(brand, name, source, person, day, properties)| Event {
            brand,
            name,
            source,
            person,
            at: day * DAY,
            properties,
        },
    )
}

fn catalogue(events: &[Event]) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for event in events {
        let fields: BTreeMap<String, &Value> = event
            .properties
            .iter()
            .map(|(name, value)| (format!("p{name}"), value))
            .collect();
        let properties = serde_json::to_string(&fields).unwrap();
        let seen = Seen {
            brand: BrandId(event.brand),
            name: &format!("e{}", event.name),
            source: SourceId(event.source),
            received: Time(event.at),
            day: (event.at / DAY) as i32,
            person: event.person,
            identifiers: &[],
            properties: Some(&properties),
            traits: None,
        };
        catalogue.observe(&seen, &Personal::default(), &KEY);
    }
    catalogue
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains('@') => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(actors::testkit::seeds(200, 5_000).count() as u32))]

    #[test]
    fn counts_are_those_of_naive_counters(mut events in prop::collection::vec(event(), 0..150), brands in 0..8u32) {
        // Receive times only grow.
        events.sort_by_key(|event| event.at);
        let catalogue = catalogue(&events);
        let sees = |brand: BrandId| brands & (1 << brand.0) != 0;
        let visible: Vec<&Event> = events.iter().filter(|event| sees(BrandId(event.brand))).collect();
        let listed = catalogue.events(sees);
        let names: BTreeSet<String> = visible.iter().map(|event| format!("e{}", event.name)).collect();
        prop_assert_eq!(listed.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), names.clone());
        for name in &names {
            let these: Vec<&&Event> = visible.iter().filter(|event| format!("e{}", event.name) == *name).collect();
            let entry = catalogue.event_named(sees, name).unwrap();
            prop_assert_eq!(entry.total, these.len() as u64);
            prop_assert_eq!(listed[name.as_str()].total, entry.total);
            prop_assert_eq!(entry.first.0, these.iter().map(|event| event.at).min().unwrap());
            prop_assert_eq!(entry.last.0, these.iter().map(|event| event.at).max().unwrap());
            for source in 0..4 {
                let count = these.iter().filter(|event| event.source == source).count() as u64;
                prop_assert_eq!(entry.sources.get(&SourceId(source)).copied().unwrap_or(0), count);
            }
            let newest = (entry.last.0 / DAY) as i32;
            for day in newest - 29..=newest {
                let count = these.iter().filter(|event| event.at / DAY == i64::from(day)).count() as u64;
                prop_assert_eq!(entry.days.count(day), count, "day {}", day);
            }
            for field in 0..4u8 {
                let values: Vec<(&Value, &Event)> =
                    these.iter().filter_map(|event| Some((event.properties.get(&field)?, **event))).collect();
                let Some(property) = entry.properties.get(&*format!("p{field}")) else {
                    prop_assert!(values.is_empty());
                    continue;
                };
                prop_assert_eq!(property.present, values.len() as u64);
                prop_assert_eq!(property.nulls, values.iter().filter(|(value, _)| value.is_null()).count() as u64);
                let typed: u64 = property.types.values().map(|seen| seen.count).sum();
                prop_assert_eq!(typed + property.nulls, property.present);
                let numbers: Vec<f64> = values.iter().filter_map(|(value, _)| value.as_f64()).collect();
                prop_assert_eq!(property.numbers.map(|range| range.min), numbers.iter().copied().reduce(f64::min));
                prop_assert_eq!(property.numbers.map(|range| range.max), numbers.iter().copied().reduce(f64::max));
                // Fewer different values than slots: counts are exact. A brand shows what enough of its people had.
                let mut shown: BTreeMap<String, (u64, bool)> = BTreeMap::new();
                for brand in (0..3).filter(|brand| sees(BrandId(*brand))) {
                    let mut people: BTreeMap<String, (u64, BTreeSet<u32>)> = BTreeMap::new();
                    for (value, event) in values.iter().filter(|(_, event)| event.brand == brand) {
                        if let Some(text) = text(value) {
                            let (count, who) = people.entry(text).or_default();
                            *count += 1;
                            who.insert(event.person);
                        }
                    }
                    prop_assert!(people.len() < SLOTS);
                    for (value, (count, who)) in people {
                        let (sum, enough) = shown.entry(value).or_default();
                        *sum += count;
                        *enough |= who.len() >= PEOPLE_MIN;
                    }
                }
                shown.retain(|_, (_, enough)| *enough);
                let found: BTreeMap<String, u64> =
                    property.values().into_iter().map(|(value, count, _)| (value.to_owned(), count)).collect();
                let wanted: BTreeMap<String, u64> = shown.into_iter().map(|(value, (count, _))| (value, count)).collect();
                prop_assert_eq!(found, wanted);
            }
        }
        let bytes = postcard::to_stdvec(&catalogue).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Catalogue>(&bytes).unwrap(), catalogue);
    }

    #[test]
    fn frequent_values_are_found_within_their_error(
        values in prop::collection::vec(prop_oneof![3 => 0..4u64, 2 => 4..400u64], 200..2_000),
    ) {
        let mut top = Top::default();
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for (at, value) in values.iter().enumerate() {
            // Ten people take turns, so that every frequent value is had by enough.
            top.add(*value, at as u32 % 10, || value.to_string().into());
            *counts.entry(*value).or_default() += 1;
        }
        let found: BTreeMap<u64, (u64, u64)> =
            top.values().into_iter().map(|(value, count, over)| (value.parse().unwrap(), (count, over))).collect();
        for (value, (count, over)) in &found {
            let real = counts[value];
            prop_assert!(real <= *count && *count - over <= real, "{} {} {} {}", value, real, count, over);
        }
        let share = values.len() as u64 / SLOTS as u64;
        for (value, real) in counts {
            if real > share * 3 {
                prop_assert!(found.contains_key(&value), "{} came {} times of {}", value, real, values.len());
            }
        }
    }
}
