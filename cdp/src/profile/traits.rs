//! From the traits of one event to typed tellings.

use std::fmt;

use actors::model::CONSENT_PREFIX;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::coerce::{Misfit, coerce};
use super::left_out::{self, ATTRIBUTE_LENGTH, ATTRIBUTE_NAME, ATTRIBUTE_TYPE, ATTRIBUTE_UNKNOWN};
use super::value::Value;
use crate::definition::AttributeSchema;

/// The front of an [`crate::routed::EventBody`], borrowed: all that a profile reads of it. The rest stays in the log.
#[derive(Deserialize)]
pub(crate) struct BodyFront<'a> {
    pub message_id: &'a str,
    #[serde(rename = "identifiers")]
    _identifiers: Skipped,
    pub traits: Option<&'a str>,
}

/// Identifiers, read over.
struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Over;
        impl<'de> Visitor<'de> for Over {
            type Value = Skipped;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("identifiers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Skipped, A::Error> {
                while seq.next_element::<(&str, &str, &str)>()?.is_some() {}
                Ok(Skipped)
            }
        }
        from.deserialize_seq(Over)
    }
}

impl<'a> BodyFront<'a> {
    /// Reads the front of an encoded body.
    pub fn read(body: &'a [u8]) -> Option<BodyFront<'a>> {
        postcard::take_from_bytes(body).ok().map(|(front, _)| front)
    }
}

/// Members of a JSON object, values unread.
struct Pairs<'a>(Vec<(Box<str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::with_capacity(8);
                while let Some(pair) = map.next_entry::<Box<str>, &'de RawValue>()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(All)
    }
}

/// Traits, typed.
#[derive(Default)]
pub(crate) struct Read {
    /// By name.
    pub told: Vec<(Box<str>, Value)>,
    /// Names and the codes why.
    pub left_out: Vec<(Box<str>, &'static str)>,
}

/// Types the traits of one event: what was told, by name, and what had to be left out with its code.
pub(crate) fn read(traits: &str, schema: &AttributeSchema, zone: &TimeZone) -> Read {
    let mut read = Read::default();
    let Ok(Pairs(mut pairs)) = serde_json::from_str::<Pairs>(traits) else {
        return read;
    };
    // A name that stands twice means its last value, as JSON readers have it.
    pairs.reverse();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.dedup_by(|later, kept| later.0 == kept.0);
    for (name, raw) in pairs {
        if name.is_empty() || name.len() > crate::definition::NAME_BYTES_MAX {
            read.left_out
                .push((left_out::shortened(&name), ATTRIBUTE_NAME));
            continue;
        }
        let definition = schema.get(&name);
        if definition.is_none() && schema.strict && !name.starts_with(CONSENT_PREFIX) {
            read.left_out.push((name, ATTRIBUTE_UNKNOWN));
            continue;
        }
        match coerce(definition.map(|it| it.kind), raw.get(), zone) {
            Ok(Some(value)) => read.told.push((name, value)),
            Ok(None) => {}
            Err(Misfit::Type) => read.left_out.push((name, ATTRIBUTE_TYPE)),
            Err(Misfit::Length) => read.left_out.push((name, ATTRIBUTE_LENGTH)),
        }
    }
    read
}
