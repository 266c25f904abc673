//! What a fragment was told about one attribute: enough for every survivorship rule, mergeable in any order.
//!
//! Kept: the latest telling of every source (latest, priority), the earliest (first), smallest and largest, the sum, and,
//! while the rule is `union`, the set of values. Everything is a function of the *set* of tellings, never of their order
//! of arrival, so facts of one fragment may come in pieces: `merge(a, b) = merge(b, a)`.

mod operation;
mod pack;

use std::cmp::Ordering;

use actors::model::{BrandId, Position, SourceId, Time};
use serde::{Deserialize, Serialize};

use operation::Outcome;
pub(crate) use operation::fold;
pub use operation::{Operation, Operations};
pub(crate) use pack::{pack, plain_values, unpack};

use super::value::{Nanos, Value};
use crate::definition::{AttributeDefinition, Survivorship};

/// Values that a set in a cell may hold. A longer one is read from the timeline, so that no cell outgrows its row.
pub const SET_VALUES_MAX: usize = 256;

/// One telling: a value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The value.
    pub value: Value,
    /// Event time.
    pub time: Time,
    /// Raw position of the event: decides between equal times.
    pub position: Position,
    /// Source.
    pub source: SourceId,
}

impl Told {
    /// Later by event time; between equal times what stands later in the log.
    pub(crate) fn stamp(&self) -> (Time, Position) {
        (self.time, self.position)
    }
}

/// All that a fragment knows of one attribute from one brand's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Name.
    pub name: Box<str>,
    /// Brand of the events that told it.
    pub brand: BrandId,
    /// The facts.
    pub facts: Facts,
}

/// Mergeable facts of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// How often it was told.
    pub tellings: u32,
    /// Latest telling of each source, by source.
    pub latest: Vec<Told>,
    /// Earliest telling that was not a clearing.
    pub first: Option<Told>,
    /// Smallest; of equal ones the earliest.
    pub min: Option<Told>,
    /// Largest; of equal ones the earliest.
    pub max: Option<Told>,
    /// Sum of numbers.
    pub sum: Option<Nanos>,
    /// All values, in order, if kept from the first telling on and not too many.
    pub set: Option<Vec<Value>>,
    /// Tellings that do something else than naming the value; all but `tellings` and `set` leaves them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Box<Operations>>,
}

/// An attribute's value by its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// The value and the telling it comes from (for sets and sums: the latest one).
    Value(Told),
    /// Absent: cleared, or never told a value.
    Absent,
    /// A union whose set is not in the cell: read it from the timeline.
    FromTimeline(Told),
    /// Plain tellings amid so many operations that the cell does not hold them all: fold the timeline.
    FoldTimeline,
}

impl Facts {
    /// What one telling says. `set`: the rule is `union`.
    pub fn once(told: Told, set: bool) -> Facts {
        let cleared = told.value == Value::Cleared;
        let extreme = told.value.is_ordered().then(|| told.clone());
        Facts {
            tellings: 1,
            first: (!cleared).then(|| told.clone()),
            min: extreme.clone(),
            max: extreme,
            sum: told.value.nanos(),
            set: set.then(|| elements(&told.value)),
            latest: vec![told],
            operations: None,
        }
    }

    /// What one telling says that does `operation`; it must take the value ([`Operation::takes`]).
    pub fn done(operation: Operation, told: Told, set: bool) -> Facts {
        if operation == Operation::Set {
            return Facts::once(told, set);
        }
        Facts {
            tellings: 1,
            latest: Vec::new(),
            first: None,
            min: None,
            max: None,
            sum: None,
            set: set.then(|| match operation {
                Operation::Add | Operation::Delete => Vec::new(),
                _ => elements(&told.value),
            }),
            operations: Some(Box::new(Operations::once(operation, told))),
        }
    }

    /// Everything was cleared then.
    pub(crate) fn clear(&mut self, told: &Told) {
        let set = self.set.is_some();
        let cleared = Facts::once(told.clone(), set);
        self.merge(Facts {
            tellings: 0,
            ..cleared
        });
    }

    /// Joins facts of disjoint sets of tellings.
    pub fn merge(&mut self, other: Facts) {
        self.tellings = self.tellings.saturating_add(other.tellings);
        for told in other.latest {
            match self
                .latest
                .binary_search_by_key(&told.source, |known| known.source)
            {
                Ok(at) if self.latest[at].stamp() < told.stamp() => self.latest[at] = told,
                Ok(_) => {}
                Err(at) => self.latest.insert(at, told),
            }
        }
        keep(&mut self.first, other.first, |a, b| {
            a.stamp().cmp(&b.stamp())
        });
        keep(&mut self.min, other.min, |a, b| {
            a.value.compare(&b.value).then(a.stamp().cmp(&b.stamp()))
        });
        keep(&mut self.max, other.max, |a, b| {
            b.value.compare(&a.value).then(a.stamp().cmp(&b.stamp()))
        });
        self.sum = match (self.sum, other.sum) {
            (Some(a), Some(b)) => Some(a.plus(b)),
            (a, b) => a.or(b),
        };
        self.set = match (self.set.take(), other.set) {
            (Some(mut a), Some(b)) => {
                a.extend(b);
                a.sort_unstable();
                a.dedup();
                (a.len() <= SET_VALUES_MAX).then_some(a)
            }
            _ => None,
        };
        match (&mut self.operations, other.operations) {
            (Some(mine), Some(other)) => mine.merge(*other),
            (mine @ None, other) => *mine = other,
            (Some(_), None) => {}
        }
    }

    /// The value by a rule; without a definition the latest.
    pub fn resolve(&self, definition: Option<&AttributeDefinition>) -> Resolved {
        let rule = definition.map_or(Survivorship::Latest, |it| it.survivorship);
        let latest = self.latest.iter().max_by_key(|told| told.stamp());
        let last_done = self.operations.as_ref().map(|it| &it.latest);
        let newest = latest
            .into_iter()
            .chain(last_done)
            .max_by_key(|it| it.stamp());
        let once = self.operations.as_ref().and_then(|it| it.once.as_ref());
        let first = self.first.iter().chain(once).min_by_key(|it| it.stamp());
        let of_latest = |value: Value| match newest {
            Some(told) => Resolved::Value(Told {
                value,
                ..told.clone()
            }),
            None => Resolved::Absent,
        };
        let told = match rule {
            Survivorship::Latest => None,
            Survivorship::First => first,
            Survivorship::Min => self.min.as_ref(),
            Survivorship::Max => self.max.as_ref(),
            Survivorship::Priority => self.most_trusted(definition.map_or(&[], |it| &it.sources)),
            Survivorship::Sum => {
                let added = self.operations.as_ref().map(|it| it.sum);
                return match self.sum.into_iter().chain(added).reduce(Nanos::plus) {
                    Some(sum) => of_latest(sum.value()),
                    None => Resolved::Absent,
                };
            }
            Survivorship::Union => {
                return match (&self.set, newest) {
                    (Some(set), _) if set.is_empty() => Resolved::Absent,
                    (Some(set), _) => of_latest(Value::List(set.clone())),
                    (None, Some(told)) => Resolved::FromTimeline(told.clone()),
                    (None, None) => Resolved::Absent,
                };
            }
        };
        // Rules of one telling (first, smallest …) know plain tellings; where there are none, operations come to a value.
        if let Some(operations) = &self.operations
            && told.is_none()
        {
            return match operations.resolve(latest) {
                Outcome::Value(told) => Resolved::Value(told),
                Outcome::Absent => Resolved::Absent,
                Outcome::Unknown => Resolved::FoldTimeline,
            };
        }
        let told = match rule {
            Survivorship::Latest => latest,
            _ => told,
        };
        match told {
            Some(told) if told.value != Value::Cleared => Resolved::Value(told.clone()),
            _ => Resolved::Absent,
        }
    }

    /// The latest of the first source in `order` that has a value; of unlisted sources the latest of all.
    fn most_trusted(&self, order: &[SourceId]) -> Option<&Told> {
        let rank = |source| {
            order
                .iter()
                .position(|listed| *listed == source)
                .unwrap_or(order.len())
        };
        self.latest
            .iter()
            .filter(|told| told.value != Value::Cleared)
            .min_by(|a, b| {
                rank(a.source)
                    .cmp(&rank(b.source))
                    .then(b.stamp().cmp(&a.stamp()))
            })
    }
}

/// The values that a telling adds to a set, in order.
pub(crate) fn elements(value: &Value) -> Vec<Value> {
    match value {
        Value::Cleared => Vec::new(),
        Value::List(values) => {
            let mut values = values.clone();
            values.sort_unstable();
            values.dedup();
            values
        }
        value => vec![value.clone()],
    }
}

fn keep(slot: &mut Option<Told>, other: Option<Told>, order: impl Fn(&Told, &Told) -> Ordering) {
    let Some(other) = other else { return };
    let better = slot
        .as_ref()
        .is_none_or(|known| order(&other, known) == Ordering::Less);
    if better {
        *slot = Some(other);
    }
}

/// Finds or adds the facts of (`name`, `brand`) in a list sorted by both, and joins `facts` to them.
pub fn join(attributes: &mut Vec<Attribute>, name: &str, brand: BrandId, facts: Facts) {
    let found =
        attributes.binary_search_by(|known| (&*known.name, known.brand).cmp(&(name, brand)));
    match found {
        Ok(at) => attributes[at].facts.merge(facts),
        Err(at) => attributes.insert(
            at,
            Attribute {
                name: name.into(),
                brand,
                facts,
            },
        ),
    }
}

#[cfg(test)]
mod tests;
