//! The stored form of a cell's attributes: every value and every place of a telling stands once, tellings are pairs of
//! numbers. A person whose five traits were told four times by two sources takes 200 bytes instead of 500.

use std::collections::BTreeMap;

use actors::model::{BrandId, Position, SourceId, Time};
use serde::{Deserialize, Serialize};

use super::{Attribute, Facts, Operations, Told};
use crate::definition::Survivorship;
use crate::profile::value::{Nanos, Value};

/// Where a telling came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place(Time, Position, SourceId);

/// Numbers of place and value.
type Pair = (u32, u32);

/// `V` is [`Value`] or a reference to one, `N` the name likewise: the same bytes.
#[derive(Serialize, Deserialize)]
struct Table<V, N> {
    places: Vec<Place>,
    values: Vec<V>,
    entries: Vec<(N, BrandId, Form)>,
}

#[derive(Serialize, Deserialize)]
enum Form {
    /// A single telling is all its own aggregates.
    Once { told: Pair, set: bool },
    Many {
        tellings: u32,
        latest: Vec<Pair>,
        first: Option<Pair>,
        min: Option<Pair>,
        max: Option<Pair>,
        sum: Option<Nanos>,
        set: Option<Vec<u32>>,
    },
    /// Facts with operations, as they are: few attributes have any.
    Whole(Box<WholeForm>),
}

#[derive(Serialize, Deserialize)]
struct WholeForm {
    tellings: u32,
    latest: Vec<Told>,
    first: Option<Told>,
    min: Option<Told>,
    max: Option<Told>,
    sum: Option<Nanos>,
    set: Option<Vec<Value>>,
    operations: Operations,
}

/// Gives numbers in order of first use, so that equal facts are equal bytes.
#[derive(Default)]
struct Numbers<'a> {
    places: Vec<Place>,
    values: Vec<&'a Value>,
    place_numbers: BTreeMap<Place, u32>,
    value_numbers: BTreeMap<&'a Value, u32>,
}

impl<'a> Numbers<'a> {
    fn value(&mut self, value: &'a Value) -> u32 {
        let values = &mut self.values;
        *self.value_numbers.entry(value).or_insert_with(|| {
            values.push(value);
            values.len() as u32 - 1
        })
    }

    fn pair(&mut self, told: &'a Told) -> Pair {
        let place = Place(told.time, told.position, told.source);
        let places = &mut self.places;
        let number = *self.place_numbers.entry(place).or_insert_with(|| {
            places.push(place);
            places.len() as u32 - 1
        });
        (number, self.value(&told.value))
    }

    fn form(&mut self, facts: &'a Facts) -> Form {
        if let Some(operations) = &facts.operations {
            let facts = facts.clone();
            return Form::Whole(Box::new(WholeForm {
                tellings: facts.tellings,
                latest: facts.latest,
                first: facts.first,
                min: facts.min,
                max: facts.max,
                sum: facts.sum,
                set: facts.set,
                operations: (**operations).clone(),
            }));
        }
        match &facts.latest[..] {
            [told] if facts.tellings == 1 => Form::Once {
                told: self.pair(told),
                set: facts.set.is_some(),
            },
            latest => Form::Many {
                tellings: facts.tellings,
                latest: latest.iter().map(|told| self.pair(told)).collect(),
                first: facts.first.as_ref().map(|told| self.pair(told)),
                min: facts.min.as_ref().map(|told| self.pair(told)),
                max: facts.max.as_ref().map(|told| self.pair(told)),
                sum: facts.sum,
                set: facts
                    .set
                    .as_ref()
                    .map(|set| set.iter().map(|value| self.value(value)).collect()),
            },
        }
    }
}

/// Appends the stored form; nothing for no attributes.
pub(crate) fn pack(attributes: &[Attribute], out: &mut Vec<u8>) {
    if attributes.is_empty() {
        return;
    }
    let mut numbers = Numbers::default();
    let mut entries = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let form = numbers.form(&attribute.facts);
        entries.push((&*attribute.name, attribute.brand, form));
    }
    let table = Table {
        places: numbers.places,
        values: numbers.values,
        entries,
    };
    let taken = std::mem::take(out);
    *out = postcard::to_extend(&table, taken).expect("our own types always serialise");
}

/// The values of attributes by their rules, straight from what [`pack`] wrote, where that is as simple as it mostly is: one
/// brand, rules that take one telling, plain tellings. `None`: the facts must be looked at.
///
/// Whoever reads ten million members has no use for facts, of which each would hold its value four times.
pub(crate) fn plain_values(
    bytes: &[u8],
    rule: impl Fn(&str) -> Survivorship,
) -> Option<Vec<(Box<str>, Value)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let Table {
        places,
        values: known,
        entries,
    } = postcard::from_bytes::<Table<Value, &str>>(bytes).ok()?;
    let mut values: Vec<(Box<str>, Value)> = Vec::with_capacity(entries.len());
    // Everything deleted stands under the empty name, another brand's facts under the same one.
    let mut before = "";
    for (name, _, form) in entries {
        if name <= before {
            return None;
        }
        before = name;
        let number = match (form, rule(name)) {
            (
                Form::Once {
                    told: (_, value), ..
                },
                Survivorship::Latest | Survivorship::First | Survivorship::Priority,
            ) => value,
            (Form::Many { latest, .. }, Survivorship::Latest) => {
                let mut newest: Option<(Time, Position, u32)> = None;
                for (place, value) in latest {
                    let Place(time, position, _) = *places.get(place as usize)?;
                    newest = newest.max(Some((time, position, value)));
                }
                newest?.2
            }
            _ => return None,
        };
        match known.get(number as usize)? {
            Value::Cleared => {}
            value => values.push((name.into(), value.clone())),
        }
    }
    Some(values)
}

/// Reads what [`pack`] wrote. `None`: not of this form.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Vec<Attribute>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let Table {
        places,
        values,
        entries,
    } = postcard::from_bytes::<Table<Value, Box<str>>>(bytes).ok()?;
    let told = |(place, value): Pair| {
        let Place(time, position, source) = *places.get(place as usize)?;
        Some(Told {
            value: values.get(value as usize)?.clone(),
            time,
            position,
            source,
        })
    };
    // An absent pair stays absent, one that points nowhere is damage.
    let optional = |pair: Option<Pair>| match pair {
        Some(pair) => told(pair).map(Some),
        None => Some(None),
    };
    let mut attributes = Vec::with_capacity(entries.len());
    for (name, brand, form) in entries {
        let facts = match form {
            Form::Once { told: pair, set } => Facts::once(told(pair)?, set),
            Form::Many {
                tellings,
                latest,
                first,
                min,
                max,
                sum,
                set,
            } => Facts {
                tellings,
                latest: latest.into_iter().map(told).collect::<Option<_>>()?,
                first: optional(first)?,
                min: optional(min)?,
                max: optional(max)?,
                sum,
                set: match set {
                    None => None,
                    Some(set) => Some(
                        set.into_iter()
                            .map(|value| values.get(value as usize).cloned())
                            .collect::<Option<_>>()?,
                    ),
                },
                operations: None,
            },
            Form::Whole(whole) => Facts {
                tellings: whole.tellings,
                latest: whole.latest,
                first: whole.first,
                min: whole.min,
                max: whole.max,
                sum: whole.sum,
                set: whole.set,
                operations: Some(Box::new(whole.operations)),
            },
        };
        attributes.push(Attribute { name, brand, facts });
    }
    Some(attributes)
}
