//! An event's identifiers: those it states and those among its attributes, normalised, strongest first.

use actors::model::{Event, Identifier, OrderChange, RawJson};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use smallvec::SmallVec;

use super::normalise::text;
use super::{ORDER_KIND, Rules, TraitForm, Unusable};

/// Most identifiers that one event may name; weaker ones are not looked at. Real events name fewer than ten.
const EVENT_IDENTIFIERS_MAX: usize = 64;

/// What an event says of who it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Usable identifiers, strongest first; equals appear once.
    pub identifiers: SmallVec<[Identifier; 4]>,
    /// The first one that points to nobody, and why; tells the sender what is wrong if none is usable.
    pub unusable: Option<(Identifier, Unusable)>,
}

impl Rules {
    /// Reads an event's identifiers.
    pub fn named(&self, event: &Event) -> Named {
        let mut named = Named::default();
        let mut ranked: SmallVec<[(u16, Identifier); 4]> = SmallVec::new();
        let mut take = |sent: &Identifier| match self.normalise(sent) {
            Ok(normal) => {
                if !ranked.iter().any(|(_, known)| *known == normal) {
                    ranked.push((self.kind(&normal.kind).rank, normal));
                }
            }
            Err(why) => {
                named.unusable.get_or_insert_with(|| (sent.clone(), why));
            }
        };
        for sent in &event.identifiers {
            take(sent);
        }
        if let Some(traits) = &event.traits {
            for sent in self.identifiers_among(traits, event) {
                take(&sent);
            }
        }
        // Stable: of equal strength, the message's own order.
        ranked.sort_by_key(|(rank, _)| *rank);
        named.identifiers = ranked
            .into_iter()
            .map(|(_, normal)| normal)
            .take(EVENT_IDENTIFIERS_MAX)
            .collect();
        named
    }

    fn identifiers_among(&self, traits: &RawJson, event: &Event) -> Vec<Identifier> {
        let wanted: Vec<&str> = self.form.traits.iter().map(|entry| &*entry.name).collect();
        let values = fields(traits, &wanted);
        let mut found = Vec::new();
        for (entry, value) in self.form.traits.iter().zip(values) {
            if let Some(value) = value {
                let scope = scope_of(entry, traits, event);
                found.push(Identifier::new(&entry.kind, &scope, &value));
            }
        }
        found
    }
}

/// The identifier under which an order is remembered: kind `order`, scope the shop. `None`: the id or shop is unusable.
pub fn order_identifier(change: &OrderChange) -> Option<Identifier> {
    let normal = Identifier::new(ORDER_KIND, &text(&change.shop), &text(&change.order_id));
    normal.check().is_ok().then_some(normal)
}

fn scope_of(entry: &TraitForm, traits: &RawJson, event: &Event) -> String {
    if entry.scope_from.is_empty() {
        return String::new();
    }
    let wanted: Vec<&str> = entry.scope_from.iter().map(|name| &**name).collect();
    let first = |json: &RawJson| fields(json, &wanted).into_iter().flatten().next();
    let app = || {
        let context = event.context.as_ref()?.parse();
        let app = context.get("app").and_then(|app| app.as_object());
        app.into_iter()
            .chain([&context])
            .flat_map(|object| wanted.iter().filter_map(|name| object.get(*name)))
            .find_map(|value| value.as_str().map(str::to_owned))
    };
    first(traits)
        .or_else(|| event.properties.as_ref().and_then(first))
        .or_else(app)
        .unwrap_or_default()
}

/// The text (or whole number) of each of the `wanted` fields of an object; nothing else of it is built.
fn fields(json: &RawJson, wanted: &[&str]) -> Vec<Option<String>> {
    let mut found = vec![None; wanted.len()];
    let mut from = serde_json::Deserializer::from_str(json.as_str());
    // An object that no longer parses has no identifiers; admission has checked it before.
    let _ = from.deserialize_map(Pick {
        wanted,
        found: &mut found,
    });
    found
}

struct Pick<'a> {
    wanted: &'a [&'a str],
    found: &'a mut [Option<String>],
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(Place(self.wanted))? {
            match place {
                Some(place) => {
                    let value: serde_json::Value = map.next_value()?;
                    self.found[place] = match value {
                        serde_json::Value::String(text) if !text.trim().is_empty() => Some(text),
                        serde_json::Value::Number(n) if n.is_u64() => Some(n.to_string()),
                        _ => None,
                    };
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Which of the wanted names a key is.
struct Place<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}
