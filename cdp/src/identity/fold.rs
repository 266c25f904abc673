//! The fold that makes members of links: who may be joined with whom, and what a link leaves out. Pure.
//!
//! A link is an event's list of identifiers, strongest first. Links are taken in order of arrival. A link joins its first
//! identifier with the next ones as long as no rule is broken:
//! - **limits**: if joining the next identifier would give a member too many of one kind and scope, or too many at all, it
//!   and all weaker ones are left out: in a conflict the weakest goes first, and what arrived earlier keeps it;
//! - **separations**: an identifier that an unmerge took apart from those joined so far is passed over, as if the event
//!   had not named both; what was passed over is joined among itself in the same way. (Leaving out all weaker ones here
//!   would tear apart identifiers that hang together without the one taken out.)

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

/// What the rules need to know of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub no: u32,
    /// Its kind's number.
    pub kind: u8,
    /// Hash of its scope.
    pub scope: u32,
}

/// Why a link leaves an identifier out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The member would have too many identifiers of this kind (its number) and scope.
    Limit {
        /// The kind.
        kind: u8,
    },
    /// The member would have too many identifiers.
    TooMany,
    /// An unmerge took them apart.
    Separated,
    /// It was left out with so many people that it no longer links anybody.
    Shared,
    /// A stronger identifier of the same event was left out.
    Behind,
}

/// Pairs that were taken apart: (lower, higher) and the unmerge that did it.
pub type Pairs = BTreeMap<(u32, u32), u32>;

/// Limits as the fold asks for them.
pub struct Limits<'a> {
    /// By kind number.
    pub kind: &'a dyn Fn(u8) -> u8,
    /// The same for links that pair only once.
    pub pair: &'a dyn Fn(u8) -> u8,
    /// In total.
    pub total: usize,
    /// Pairs that must not come together.
    pub separations: &'a Pairs,
}

/// A set of identifiers.
pub type Parts = SmallVec<[Part; 8]>;

/// Disjoint sets of identifiers that links join.
pub struct Groups<'a> {
    limits: Limits<'a>,
    sets: Vec<Parts>,
    of: BTreeMap<u32, usize>,
}

impl<'a> Groups<'a> {
    /// No sets yet.
    pub fn new(limits: Limits<'a>) -> Self {
        Groups {
            limits,
            sets: Vec::new(),
            of: BTreeMap::new(),
        }
    }

    /// Adds a set. Its identifiers must be in no set yet.
    pub fn add(&mut self, set: Parts) {
        for part in &set {
            self.of.insert(part.no, self.sets.len());
        }
        self.sets.push(set);
    }

    /// Whether the identifier is in a set.
    pub fn has(&self, no: u32) -> bool {
        self.of.contains_key(&no)
    }

    /// The set of an identifier.
    pub fn set(&self, no: u32) -> &Parts {
        &self.sets[self.of[&no]]
    }

    /// The sets that are left, each in order of number.
    pub fn into_sets(self) -> Vec<Vec<Part>> {
        let mut sets: Vec<Vec<Part>> = self
            .sets
            .into_iter()
            .filter(|set| !set.is_empty())
            .map(|mut set| {
                set.sort_unstable_by_key(|part| part.no);
                set.into_vec()
            })
            .collect();
        sets.sort_unstable_by_key(|set| set[0].no);
        sets
    }

    /// Takes one link: joins what may be joined and answers the places left out of the first identifier's set. `once`: it
    /// pairs only what is not paired yet.
    pub fn take(&mut self, link: &[u32], once: bool) -> SmallVec<[(u8, Reason); 2]> {
        let mut left = SmallVec::new();
        let mut places: SmallVec<[usize; 8]> = (0..link.len()).collect();
        let mut first = true;
        while let Some((&lead, others)) = places.split_first() {
            let mut passed: SmallVec<[usize; 8]> = smallvec![];
            for (nth, &place) in others.iter().enumerate() {
                match self.join(link[lead], link[place], once) {
                    Ok(()) => {}
                    Err(Reason::Separated) => {
                        passed.push(place);
                        if first {
                            left.push((place as u8, Reason::Separated));
                        }
                    }
                    Err(reason) => {
                        if first {
                            left.push((place as u8, reason));
                            let behind = others[nth + 1..].iter();
                            left.extend(behind.map(|&place| (place as u8, Reason::Behind)));
                        }
                        break;
                    }
                }
            }
            places = passed;
            first = false;
        }
        left
    }

    fn join(&mut self, lead: u32, other: u32, once: bool) -> Result<(), Reason> {
        let (a, b) = (self.of[&lead], self.of[&other]);
        if a == b {
            return Ok(());
        }
        self.may_join(&self.sets[a], &self.sets[b], once)?;
        let (into, from) = match self.sets[a].len() >= self.sets[b].len() {
            true => (a, b),
            false => (b, a),
        };
        for part in std::mem::take(&mut self.sets[from]) {
            self.of.insert(part.no, into);
            self.sets[into].push(part);
        }
        Ok(())
    }

    /// Only what joining itself breaks counts: a set that is over a limit already (the rule was tightened) may still get
    /// identifiers of other kinds.
    fn may_join(&self, a: &Parts, b: &Parts, once: bool) -> Result<(), Reason> {
        let pair = |x: u32, y: u32| (x.min(y), x.max(y));
        let separations = self.limits.separations;
        if !separations.is_empty()
            && a.iter().any(|x| {
                b.iter()
                    .any(|y| separations.contains_key(&pair(x.no, y.no)))
            })
        {
            return Err(Reason::Separated);
        }
        let classes = |set: &Parts| -> BTreeSet<(u8, u32)> {
            set.iter().map(|part| (part.kind, part.scope)).collect()
        };
        for class in classes(a).intersection(&classes(b)) {
            let count = a
                .iter()
                .chain(b)
                .filter(|part| (part.kind, part.scope) == *class)
                .count();
            let limit = match once {
                true => self.limits.pair,
                false => self.limits.kind,
            };
            if count > usize::from(limit(class.0)) {
                return Err(Reason::Limit { kind: class.0 });
            }
        }
        if a.len() + b.len() > self.limits.total {
            return Err(Reason::TooMany);
        }
        Ok(())
    }
}
