//! What a telling does to an attribute, beside naming its value: it may set only what has no value, add a number, or add
//! values to a list. The value is what comes out when all tellings are taken in the order of their event times, in
//! whatever order they arrived and however they were joined.
//!
//! A cell cannot keep every addition for ever. It keeps each while there are few ([`EACH_MAX`]), and from the first on
//! what is enough for the usual cases however many there are: only additions (their sum), only appended values (their
//! union), only first values (the earliest), each with no plain telling in between. What is left, a plain telling amid
//! hundreds of additions, is read from the timeline. Which of these it is depends on the set of tellings alone.

use actors::model::{EventKind, Position, Time};
use serde::{Deserialize, Serialize};

use super::{SET_VALUES_MAX, Told, elements};
use crate::profile::value::{Nanos, Value};

/// Operations that a cell keeps one by one: with them any order of tellings is decided without the timeline.
const EACH_MAX: u32 = 32;

/// What a telling does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operation {
    /// It is the value; a clearing takes it away.
    Set,
    /// It is the value if there is none yet.
    SetOnce,
    /// The number is added.
    Add,
    /// The values are added to the list.
    Append,
    /// All attributes of the member are cleared.
    Delete,
}

impl Operation {
    /// What the attributes of an event do: the **name** of an `identify` event says it. Any other name than the five of
    /// 神策 (`profile_set_once` …) sets.
    pub fn of(kind: EventKind, name: &str) -> Operation {
        match (kind, name) {
            (EventKind::Identify, "profile_set_once") => Operation::SetOnce,
            (EventKind::Identify, "profile_increment") => Operation::Add,
            (EventKind::Identify, "profile_append") => Operation::Append,
            (EventKind::Identify, "profile_delete") => Operation::Delete,
            _ => Operation::Set,
        }
    }

    /// Whether it can be done with this value at all.
    pub fn takes(self, value: &Value) -> bool {
        match self {
            Operation::Set => true,
            Operation::Add => value.nanos().is_some(),
            Operation::SetOnce | Operation::Append => *value != Value::Cleared,
            Operation::Delete => false,
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

type Stamp = (Time, Position);

/// Operations that an attribute was told, in part one by one. See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    /// How many.
    pub count: u32,
    /// Which there are.
    sorts: u8,
    /// The earliest.
    first: Stamp,
    /// The latest.
    pub latest: Told,
    /// Sum of what was added.
    pub sum: Nanos,
    /// The earliest that sets only once.
    pub once: Option<Told>,
    /// All appended values, if not too many.
    set: Option<Vec<Value>>,
    /// Each, by stamp, if there are few.
    each: Option<Vec<(Operation, Told)>>,
}

/// What plain tellings and operations come to.
pub(super) enum Outcome {
    Value(Told),
    Absent,
    /// The cell does not know: the timeline does.
    Unknown,
}

impl Operations {
    pub(super) fn once(operation: Operation, told: Told) -> Operations {
        Operations {
            count: 1,
            sorts: operation.bit(),
            first: told.stamp(),
            sum: match operation {
                Operation::Add => told.value.nanos().unwrap_or_default(),
                _ => Nanos::default(),
            },
            once: (operation == Operation::SetOnce).then(|| told.clone()),
            set: Some(match operation {
                Operation::Append => elements(&told.value),
                _ => Vec::new(),
            }),
            each: Some(vec![(operation, told.clone())]),
            latest: told,
        }
    }

    pub(super) fn merge(&mut self, other: Operations) {
        self.count = self.count.saturating_add(other.count);
        self.sorts |= other.sorts;
        self.first = self.first.min(other.first);
        if self.latest.stamp() < other.latest.stamp() {
            self.latest = other.latest;
        }
        self.sum = self.sum.plus(other.sum);
        super::keep(&mut self.once, other.once, |a, b| a.stamp().cmp(&b.stamp()));
        self.set = match (self.set.take(), other.set) {
            (Some(mut a), Some(b)) => {
                a.extend(b);
                a.sort_unstable();
                a.dedup();
                (a.len() <= SET_VALUES_MAX).then_some(a)
            }
            _ => None,
        };
        self.each = match (self.each.take(), other.each) {
            (Some(mut a), Some(b)) if self.count <= EACH_MAX => {
                a.extend(b);
                a.sort_by_key(|(_, told)| told.stamp());
                Some(a)
            }
            _ => None,
        };
    }

    /// The value with `base`, the latest plain telling.
    pub(super) fn resolve(&self, base: Option<&Told>) -> Outcome {
        if let Some(base) = base.filter(|base| base.stamp() > self.latest.stamp()) {
            return known(Some(base.clone()));
        }
        if let Some(each) = &self.each {
            let later = |told: &Told| base.is_none_or(|base| told.stamp() > base.stamp());
            let rest = each.iter().filter(|(_, told)| later(told)).cloned();
            let tellings = base.map(|base| (Operation::Set, base.clone())).into_iter();
            return known(fold(tellings.chain(rest)));
        }
        let value = base.filter(|base| base.value != Value::Cleared);
        if self.sorts == Operation::SetOnce.bit()
            && let Some(value) = value
        {
            return known(Some(value.clone()));
        }
        if base.is_some_and(|base| base.stamp() > self.first) {
            return Outcome::Unknown;
        }
        let of_latest = |value: Value| Told {
            value,
            ..self.latest.clone()
        };
        if self.sorts == Operation::SetOnce.bit() {
            known(self.once.clone())
        } else if self.sorts == Operation::Add.bit() {
            match value.map(|told| told.value.nanos()) {
                None => known(Some(of_latest(self.sum.value()))),
                Some(Some(number)) => known(Some(of_latest(number.plus(self.sum).value()))),
                Some(None) => known(value.cloned()),
            }
        } else if self.sorts == Operation::Append.bit()
            && let Some(set) = &self.set
        {
            let values = value.map(|told| told.value.clone());
            known(Some(of_latest(union(values, set.clone()))))
        } else {
            Outcome::Unknown
        }
    }

    /// Leaves only what was told, when and by whom: positions differ between two logs of the same events.
    pub(crate) fn forget_positions(&mut self) {
        self.first.1 = Position::default();
        let each = self.each.iter_mut().flatten().map(|(_, told)| told);
        for told in each.chain(self.once.iter_mut()).chain([&mut self.latest]) {
            told.position = Position::default();
        }
        if let Some(each) = &mut self.each {
            each.sort_by(|(a, x), (b, y)| {
                (x.time, a, &x.value, x.source).cmp(&(y.time, b, &y.value, y.source))
            });
        }
        // Of equal times the position decides which is the latest.
        self.latest.value = Value::Cleared;
        self.latest.source = Default::default();
    }
}

fn known(told: Option<Told>) -> Outcome {
    match told {
        Some(told) if told.value != Value::Cleared => Outcome::Value(told),
        _ => Outcome::Absent,
    }
}

/// Takes tellings in order of their stamps: what every shorter way must agree with.
pub(crate) fn fold(tellings: impl Iterator<Item = (Operation, Told)>) -> Option<Told> {
    tellings.fold(None, |state: Option<Told>, (operation, told)| {
        let state = state.filter(|state| state.value != Value::Cleared);
        match operation {
            Operation::Set => Some(told),
            Operation::Delete => None,
            Operation::SetOnce => state.or(Some(told)),
            Operation::Add => {
                let Some(added) = told.value.nanos() else {
                    return state;
                };
                match state.as_ref().map(|state| state.value.nanos()) {
                    None => Some(Told {
                        value: added.value(),
                        ..told
                    }),
                    Some(Some(number)) => Some(Told {
                        value: number.plus(added).value(),
                        ..told
                    }),
                    // A number cannot be added to a text.
                    Some(None) => state,
                }
            }
            Operation::Append => Some(Told {
                value: union(state.map(|state| state.value), elements(&told.value)),
                ..told
            }),
        }
    })
}

fn union(known: Option<Value>, mut added: Vec<Value>) -> Value {
    added.extend(known.iter().flat_map(elements));
    added.sort_unstable();
    added.dedup();
    Value::List(added)
}
