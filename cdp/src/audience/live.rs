//! Live segments: a rule and the set of members who satisfy it now, kept by looking again at whom a change concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors::model::{BrandId, MemberNo, Time};

use super::bits::Set;
use crate::profile::Value;
use crate::rule::Plan;
use crate::tag::TagPlan;

/// A member entered or left a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The segment.
    pub segment: Arc<str>,
    /// Version of its definition.
    pub version: u32,
    /// The member.
    pub member: MemberNo,
    /// Entered, or left.
    pub entered: bool,
    /// The rule is new or was edited: nothing happened to the member.
    pub rebuilt: bool,
    /// The engine's time.
    pub at: Time,
}

/// A member's value of a tag is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retag {
    /// The tag's code.
    pub code: Arc<str>,
    /// Version of its definition.
    pub version: u32,
    /// The member.
    pub member: MemberNo,
    /// The value from now on.
    pub value: Option<Arc<Value>>,
    /// The definition is new or was edited: nothing happened to the member.
    pub rebuilt: bool,
    /// The engine's time.
    pub at: Time,
}

/// What is evaluated.
#[derive(Debug, Clone)]
pub(super) enum Rules {
    /// Who is in a segment.
    Segment(Arc<Plan>),
    /// Who has which value of a tag.
    Tag(Arc<TagPlan>),
}

impl Rules {
    /// All leaves.
    pub fn plan(&self) -> &Arc<Plan> {
        match self {
            Rules::Segment(plan) => plan,
            Rules::Tag(tag) => &tag.plan,
        }
    }
}

/// Something that a segment reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Input {
    Attribute(Box<str>),
    Tag(Box<str>),
    Derived(usize),
    List(Box<str>),
    Segment(Box<str>),
}

/// A rule in force, or the next one.
#[derive(Debug, Clone)]
pub(super) struct Edition {
    pub version: u32,
    pub rules: Rules,
    pub inputs: Vec<Input>,
}

/// A segment, or a tag that is calculated: that one keeps who has which value in the tag's column.
#[derive(Debug)]
pub(super) struct Live {
    pub id: Box<str>,
    /// The code of a tag.
    pub tag: Option<Arc<str>>,
    /// Computed when somebody asks, and left alone otherwise.
    pub on_demand: bool,
    /// What was to be computed last was given up.
    pub broken_off: bool,
    /// In force. `None`: the first edition is still being computed.
    pub edition: Option<Edition>,
    /// Its members are those of before a restart: they serve until an edition is computed.
    pub restored: bool,
    /// To be computed, and then swapped in.
    pub next: Option<(u32, Rules)>,
    pub members: Set,
    /// Whom to look at again.
    pub dirty: Vec<u32>,
    /// Everybody is to be looked at again.
    pub all: bool,
    /// When the clock changes a constant of the rule, for all members at once.
    pub look_at: Option<Time>,
}

impl Live {
    pub fn new(id: &str) -> Live {
        Live {
            id: id.into(),
            tag: None,
            on_demand: false,
            broken_off: false,
            edition: None,
            restored: false,
            next: None,
            members: Set::default(),
            dirty: Vec::new(),
            all: false,
            look_at: None,
        }
    }

    /// Somebody to look at again. Without an edition there is nothing to look with, and the first one looks at everybody.
    pub fn mark(&mut self, member: u32) {
        if (self.edition.is_some() || self.on_demand)
            && !self.all
            && self.dirty.last() != Some(&member)
        {
            self.dirty.push(member);
        }
    }

    /// Its members may be shown: computed, or known from before a restart.
    pub fn serves(&self) -> bool {
        self.edition.is_some() || self.restored
    }

    /// Nobody is to be looked at again.
    pub fn rests(&self, now: Time) -> bool {
        !self.all && self.dirty.is_empty() && self.look_at.is_none_or(|at| at > now)
    }

    pub fn mark_all(&mut self) {
        self.all = true;
        self.dirty = Vec::new();
    }
}

/// The id of a tag among segments, whose ids are numbers.
pub(super) fn tag_id(code: &str) -> Box<str> {
    format!("#{code}").into()
}

/// All segments and calculated tags, and who reads what.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pub by_id: BTreeMap<Box<str>, Live>,
    /// Ids, those that are read before those that read them.
    pub order: Vec<Box<str>>,
    /// Codes of calculated tags.
    calculated: BTreeSet<Arc<str>>,
    readers: BTreeMap<Input, Vec<Box<str>>>,
}

impl Segments {
    /// Marks a member in every segment that reads an input.
    pub fn mark(&mut self, input: &Input, member: u32) {
        for id in self.readers.get(input).into_iter().flatten() {
            if let Some(live) = self.by_id.get_mut(id) {
                live.mark(member);
            }
        }
    }

    /// Whether no segment reads anything.
    pub fn read_nothing(&self) -> bool {
        self.readers.is_empty()
    }

    /// Whether a segment reads an input.
    pub fn is_read(&self, input: &Input) -> bool {
        self.readers.contains_key(input)
    }

    /// Marks everybody in every segment that reads an input.
    pub fn mark_all(&mut self, input: &Input) {
        for id in self.readers.get(input).into_iter().flatten() {
            if let Some(live) = self.by_id.get_mut(id) {
                live.mark_all();
            }
        }
    }

    /// Whether a tag is calculated.
    pub fn calculates(&self, code: &str) -> bool {
        self.calculated.contains(code)
    }

    /// Marks a member in every segment whose rule is about what these brands know.
    pub fn mark_owned(&mut self, brands: &[BrandId], member: u32) {
        for live in self.by_id.values_mut() {
            let edition = live.edition.as_ref();
            let owner = edition.and_then(|it| it.rules.plan().brands.as_deref());
            if owner == Some(brands) {
                live.mark(member);
            }
        }
    }

    /// Marks a member in every segment.
    pub fn mark_everywhere(&mut self, member: u32) {
        self.by_id.values_mut().for_each(|live| live.mark(member));
    }

    /// Who reads what, and in which order: to be asked after editions change.
    pub fn index(&mut self) {
        self.readers.clear();
        let tags = self.by_id.values().filter_map(|live| live.tag.clone());
        self.calculated = tags.collect();
        for live in self.by_id.values() {
            for input in live.edition.iter().flat_map(|it| &it.inputs) {
                let readers = self.readers.entry(input.clone()).or_default();
                readers.push(live.id.clone());
            }
        }
        self.order.clear();
        let mut path = Vec::new();
        let ids: Vec<Box<str>> = self.by_id.keys().cloned().collect();
        for id in ids {
            self.place(&id, &mut path);
        }
    }

    /// Puts a segment behind all that it reads. A cycle is refused where rules are checked; here it would only mean that
    /// one of its segments is looked at before what it reads.
    fn place(&mut self, id: &str, path: &mut Vec<Box<str>>) {
        if self
            .order
            .iter()
            .chain(&*path)
            .any(|placed| **placed == *id)
        {
            return;
        }
        let Some(live) = self.by_id.get(id) else {
            return;
        };
        let edition = live.edition.iter().flat_map(|it| &it.inputs);
        let read: Vec<Box<str>> = edition
            .filter_map(|input| match input {
                Input::Segment(id) => Some(id.clone()),
                Input::Tag(code) => Some(tag_id(code)),
                _ => None,
            })
            .collect();
        path.push(id.into());
        for id in read {
            self.place(&id, path);
        }
        path.pop();
        self.order.push(id.into());
    }
}
