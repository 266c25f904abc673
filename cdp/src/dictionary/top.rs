//! The most frequent values of a property: space-saving counting in a fixed number of slots.
//!
//! A slot holds a keyed hash of a value; the value itself only once enough different people had it.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Values of one property that are counted at a time. Whatever occurs in more than 1 of 24 cases is among them.
pub const SLOTS: usize = 24;

/// Different people (fragments) who must have had a value before it is kept in plain: fewer could tell who somebody is, and
/// an erase would have to find it.
pub const PEOPLE_MIN: usize = 5;

/// Longest value that is kept, in bytes: longer ones are texts, not values.
pub const VALUE_BYTES_MAX: usize = 64;

/// Counts of the most frequent values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    hash: u64,
    /// At least as often as it came.
    count: u64,
    /// How often of that another value came, at most.
    over: u64,
    /// Who had it, until they are enough.
    people: SmallVec<[u32; PEOPLE_MIN]>,
    /// The value, once they are.
    text: Option<Box<str>>,
}

impl Top {
    /// Counts a value that `person` has. `text` is asked for when it may be kept.
    pub fn add(&mut self, hash: u64, person: u32, text: impl FnOnce() -> Box<str>) {
        let slot = match self.slots.iter().position(|slot| slot.hash == hash) {
            Some(at) => &mut self.slots[at],
            None if self.slots.len() < SLOTS => {
                self.slots.push(Slot {
                    hash,
                    count: 0,
                    over: 0,
                    people: SmallVec::new(),
                    text: None,
                });
                self.slots.last_mut().expect("it was pushed")
            }
            None => {
                let rarest = self.slots.iter_mut().min_by_key(|slot| slot.count);
                let slot = rarest.expect("there are slots");
                *slot = Slot {
                    hash,
                    count: slot.count,
                    over: slot.count,
                    people: SmallVec::new(),
                    text: None,
                };
                slot
            }
        };
        slot.count += 1;
        if slot.text.is_none() {
            if !slot.people.contains(&person) {
                slot.people.push(person);
            }
            if slot.people.len() >= PEOPLE_MIN {
                slot.people = SmallVec::new();
                slot.text = Some(text());
            }
        }
    }

    /// Values that enough people had, the most frequent first: value, how often at most, and how far that may be too much.
    pub fn values(&self) -> Vec<(&str, u64, u64)> {
        let known = self.slots.iter();
        let mut values: Vec<_> = known
            .filter_map(|slot| Some((slot.text.as_deref()?, slot.count, slot.over)))
            .collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        values
    }

    /// Joins what another brand has seen. A value is shown if one of them may show it.
    pub fn join(&mut self, other: &Top) {
        for theirs in &other.slots {
            match self.slots.iter_mut().find(|slot| slot.hash == theirs.hash) {
                Some(ours) => {
                    ours.count += theirs.count;
                    ours.over += theirs.over;
                    if ours.text.is_none() {
                        ours.text.clone_from(&theirs.text);
                    }
                }
                None => self.slots.push(theirs.clone()),
            }
        }
        self.slots.sort_by_key(|slot| std::cmp::Reverse(slot.count));
        self.slots.truncate(SLOTS);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.clear();
    }
}

/// About how many different values there were: 64 registers of a HyperLogLog, within some 13 % (fewer than 100: exact but
/// for a few).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct(Box<[u8]>);

/// Registers: a power of two.
const REGISTERS: usize = 64;

impl Default for Distinct {
    fn default() -> Self {
        Distinct(vec![0; REGISTERS].into())
    }
}

impl Distinct {
    /// Notes the hash of a value.
    pub fn add(&mut self, hash: u64) {
        let at = (hash % REGISTERS as u64) as usize;
        // The bits of the register's number are used up; a guard bit bounds the rank.
        let rank = ((hash / REGISTERS as u64) | 1 << 57).trailing_zeros() as u8 + 1;
        if let Some(register) = self.0.get_mut(at) {
            *register = (*register).max(rank);
        }
    }

    /// Joins another one.
    pub fn join(&mut self, other: &Distinct) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours = (*ours).max(*theirs);
        }
    }

    /// The estimate.
    pub fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|rank| 2f64.powi(-i32::from(*rank))).sum();
        // The constant of 64 registers (Flajolet et al. 2007).
        let raw = 0.709 * registers * registers / sum;
        let empty = self.0.iter().filter(|rank| **rank == 0).count();
        match raw <= 2.5 * registers && empty > 0 {
            true => (registers * (registers / empty as f64).ln()).round() as u64,
            false => raw.round() as u64,
        }
    }
}
