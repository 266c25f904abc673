//! From a plan to columns: which of them it reads, computed as far as the question needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use actors::model::Time;

use super::super::derived::{Derived, What};
use super::super::filter::Filter;
use super::super::live::Input;
use super::super::query::Query;
use super::super::view::Told;
use super::Engine;
use crate::profile::Value;
use crate::rule::{Fixed, Leaf, Measure, Plan};

/// Computed columns that are kept although no segment in force reads them: what somebody who edits a rule comes back to.
const RESTING_MAX: usize = 48;

/// A question that cannot be answered yet.
#[derive(Debug, Clone)]
pub struct NotReady {
    /// Measures without their history.
    pub measures: Vec<Arc<Measure>>,
    /// Segments that are not there or not computed.
    pub segments: Vec<Box<str>>,
    /// Something that only concerns who may see some brands only.
    pub unseen: Option<Unseen>,
}

/// Why a question for somebody who may see some brands only cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// What is seen has to be told first: [`Engine::view_begin`].
    Reading,
    /// The rule looks into an object, or at a place, that events of several brands tell: that is not kept by brand.
    Mixed(Box<str>),
}

impl NotReady {
    pub(super) fn unseen(unseen: Unseen) -> NotReady {
        NotReady {
            measures: Vec::new(),
            segments: Vec::new(),
            unseen: Some(unseen),
        }
    }
}

/// A plan with the computed column of each leaf that reads one.
#[derive(Debug)]
pub(super) struct Prepared {
    pub derived: Vec<Option<usize>>,
}

/// A leaf for one member at a time.
pub(super) enum Clause<'a> {
    /// A column, and the condition on it; without one, that there is a value.
    Column(&'a super::Column, Option<Fixed>, Option<&'a Value>),
    /// A column, what those have of whom the asker sees another value, and the condition.
    Apart(&'a super::Column, &'a Told, Fixed),
    Set(&'a super::super::bits::Set),
    Nobody,
}

impl Clause<'_> {
    pub fn holds(&self, ordinal: u32) -> bool {
        match self {
            Clause::Column(column, Some(test), default) => {
                let value = column.get(ordinal);
                test.holds(value.as_ref().or(*default))
            }
            Clause::Column(column, None, _) => column.get(ordinal).is_some(),
            Clause::Apart(column, told, test) => test.holds(told.value(column, ordinal).as_ref()),
            Clause::Set(set) => set.has(ordinal),
            Clause::Nobody => false,
        }
    }

    /// The value that it reads, whatever its condition.
    pub fn value(&self, ordinal: u32) -> Option<Value> {
        match self {
            Clause::Column(column, _, default) => column.get(ordinal).or_else(|| default.cloned()),
            Clause::Apart(column, told, _) => told.value(column, ordinal),
            Clause::Set(_) | Clause::Nobody => None,
        }
    }
}

impl Engine {
    /// What is missing for a plan.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), NotReady> {
        let measures = self.measure_wanted(plan);
        let segments: Vec<Box<str>> = plan
            .leaves
            .iter()
            .filter_map(|leaf| match leaf {
                Leaf::Segment(id) => Some(id.clone()),
                _ => None,
            })
            .filter(|id| {
                let live = self.segments.by_id.get(id);
                live.is_none_or(|live| live.edition.is_none())
            })
            .collect();
        match measures.is_empty() && segments.is_empty() {
            true => Ok(()),
            false => Err(NotReady {
                measures,
                segments,
                unseen: None,
            }),
        }
    }

    /// Makes the computed columns of a plan, empty ones where they are new.
    pub(super) fn prepare(&mut self, plan: &Plan) -> Result<Prepared, NotReady> {
        self.check(plan)?;
        self.asked += 1;
        let mut derived = Vec::with_capacity(plan.leaves.len());
        for leaf in &plan.leaves {
            derived.push(What::of(leaf, &self.store).map(|what| self.derive(what)));
        }
        self.check_seen(plan, &derived)?;
        self.let_go();
        Ok(Prepared { derived })
    }

    /// Computed columns of attributes and places are the same for everybody.
    fn check_seen(&self, plan: &Plan, derived: &[Option<usize>]) -> Result<(), NotReady> {
        let Some((number, _)) = &self.seen_as else {
            return Ok(());
        };
        for (leaf, derived) in plan.leaves.iter().zip(derived) {
            let mixed = match leaf {
                Leaf::Near(near) => match near.attribute() {
                    Some(name) => self.views[*number].told(name).map(|_| name),
                    None => Some(&*near.of),
                },
                Leaf::Attr { path, .. } | Leaf::Some { path, .. } if derived.is_some() => {
                    let told = self.views[*number].told(path.root());
                    told.map(|_| path.root())
                }
                _ => None,
            };
            if let Some(mixed) = mixed {
                return Err(NotReady::unseen(Unseen::Mixed(mixed.into())));
            }
        }
        Ok(())
    }

    /// An attribute that is another one for some of those whom the asker sees.
    pub(super) fn told_apart(&self, leaf: &Leaf, derived: Option<usize>) -> Option<&Told> {
        let (number, _) = self.seen_as.as_ref()?;
        match (leaf, derived) {
            (Leaf::Attr { path, .. }, None) => self.views[*number].told(path.root()),
            _ => None,
        }
    }

    fn derive(&mut self, what: What) -> usize {
        let key = what.key();
        let number = match self.by_key.get(&*key) {
            Some(number) => *number,
            None => {
                let free = self.derived.iter().position(Option::is_none);
                let number = free.unwrap_or(self.derived.len());
                if free.is_none() {
                    self.derived.push(None);
                }
                let key: Box<str> = key.into();
                self.derived[number] = Some(Derived::new(key.clone(), what, &self.store));
                self.by_key.insert(key, number);
                self.index_derived();
                number
            }
        };
        if let Some(column) = &mut self.derived[number] {
            column.used = self.asked;
        }
        number
    }

    /// Lets go of computed columns that rest longest.
    fn let_go(&mut self) {
        let kept = self.kept();
        let mut resting: Vec<(u64, usize)> = (self.derived.iter().enumerate())
            .filter_map(|(number, column)| Some((column.as_ref()?.used, number)))
            .filter(|(used, number)| !kept.contains(number) && *used != self.asked)
            .collect();
        if resting.len() <= RESTING_MAX {
            return;
        }
        resting.sort_unstable();
        for (_, number) in &resting[..resting.len() - RESTING_MAX] {
            if let Some(column) = self.derived[*number].take() {
                self.by_key.remove(&column.key);
            }
        }
        self.index_derived();
    }

    /// Who reads what, after computed columns came or went.
    fn index_derived(&mut self) {
        self.by_series.iter_mut().for_each(Vec::clear);
        self.by_attribute.clear();
        self.by_place.clear();
        for (number, column) in self.derived.iter().enumerate() {
            let Some(column) = column else { continue };
            let series: BTreeSet<usize> = column.what.series().iter().copied().collect();
            for series in series {
                self.by_series[series].push(number);
            }
            if let Some(name) = column.what.attribute() {
                self.by_attribute
                    .entry(name.into())
                    .or_default()
                    .push(number);
            }
            if let Some(of) = column.what.place() {
                self.by_place.entry(of.into()).or_default().push(number);
            }
        }
    }

    /// What a leaf reads, for [`super::super::live::Segments`].
    pub(super) fn input(leaf: &Leaf, derived: Option<usize>) -> Option<Input> {
        match (leaf, derived) {
            (_, Some(number)) => Some(Input::Derived(number)),
            (Leaf::Attr { path, .. }, None) => Some(Input::Attribute(path.root().into())),
            (Leaf::Tag { code, .. }, None) => Some(Input::Tag(code.clone())),
            (Leaf::Segment(id), None) => Some(Input::Segment(id.clone())),
            (Leaf::List(id), None) => Some(Input::List(id.clone())),
            _ => None,
        }
    }

    /// A node of a plan as a query over blocks.
    pub(super) fn query<'a>(&'a self, plan: &Plan, prepared: &Prepared, node: usize) -> Query<'a> {
        Query::new(plan, node, &|number| self.leaf(plan, prepared, number))
    }

    /// A leaf of a plan as a query over blocks.
    pub(super) fn leaf<'a>(&'a self, plan: &Plan, prepared: &Prepared, number: usize) -> Query<'a> {
        let (zone, threads) = (&self.store.zone, self.threads);
        match self.clause(&plan.leaves[number], prepared.derived[number]) {
            Clause::Column(column, Some(test), default) => {
                let filter = Filter::new(&test, column, zone, default, threads);
                Query::Column(column, Box::new(filter))
            }
            Clause::Apart(column, told, test) => {
                let of = |column| {
                    let filter = Filter::new(&test, column, zone, None, threads);
                    Query::Column(column, Box::new(filter))
                };
                let others = Query::Not(Box::new(Query::Set(&told.who)));
                Query::Or(vec![
                    Query::And(vec![others, of(column)]),
                    Query::And(vec![Query::Set(&told.who), of(&told.column)]),
                ])
            }
            Clause::Column(column, None, _) => Query::Column(column, Box::new(Filter::exists())),
            Clause::Set(set) => Query::Set(set),
            Clause::Nobody => Query::Nobody,
        }
    }

    /// A leaf at the engine's time.
    pub(super) fn clause<'a>(&'a self, leaf: &Leaf, derived: Option<usize>) -> Clause<'a> {
        let at = |test: &crate::rule::Test| Some(test.at(self.now, &self.store.zone));
        if let Some(column) = derived.and_then(|number| self.derived[number].as_ref()) {
            let test = match leaf {
                Leaf::Attr { test, .. } => at(test),
                Leaf::Behaviour(it) => at(&it.test),
                _ => None,
            };
            return Clause::Column(&column.column, test, column.default.as_ref());
        }
        match leaf {
            Leaf::Attr { path, test } => {
                let column = self.store.attributes.get(path.root());
                let column = column.unwrap_or(&self.empty);
                match self.told_apart(leaf, derived) {
                    None => Clause::Column(column, at(test), None),
                    Some(told) => Clause::Apart(column, told, test.at(self.now, &self.store.zone)),
                }
            }
            Leaf::Tag { code, test } => {
                let column = self.store.tags.get(code);
                Clause::Column(column.unwrap_or(&self.empty), at(test), None)
            }
            Leaf::Segment(id) => match self.segments.by_id.get(id) {
                Some(live) => Clause::Set(&live.members),
                None => Clause::Nobody,
            },
            Leaf::List(id) => {
                let listed = self.store.lists.get(id);
                listed.map_or(Clause::Nobody, |listed| Clause::Set(&listed.members))
            }
            _ => Clause::Nobody,
        }
    }

    /// When the clock next changes a constant of a plan's conditions, for all members at once. Windows are none of it:
    /// their columns follow member by member.
    pub(super) fn next_look(&self, plan: &Plan) -> Option<Time> {
        use crate::rule::Motion;
        let tests = plan.leaves.iter().filter_map(|leaf| match leaf {
            Leaf::Attr { test, .. } | Leaf::Tag { test, .. } => Some(test),
            Leaf::Behaviour(it) => Some(&it.test),
            _ => None,
        });
        tests
            .filter_map(|test| match test.motion() {
                Motion::Still => None,
                Motion::Steps => test.next_step(self.now, &self.store.zone),
                // With every tick.
                Motion::Slides => Some(self.now.plus_ms(1)),
            })
            .min()
    }
}
