//! One member held against a plan: the reference for every other way to evaluate, and what explain is made of.

use std::borrow::Cow;

use actors::model::{MemberNo, Place, Time};
use jiff::tz::TimeZone;

use super::measure::{Hit, Measure};
use super::plan::{Leaf, Node, Plan};
use super::scalar::value_at;
use crate::profile::Value;

/// What is known of one member.
pub trait Facts {
    /// The member.
    fn member(&self) -> MemberNo;
    /// An attribute's value.
    fn attribute(&self, name: &str) -> Option<Cow<'_, Value>>;
    /// A tag's value.
    fn tag(&self, code: &str) -> Option<Cow<'_, Value>>;
    /// The events of a measure, sorted by time (ties in the order of arrival), each once, future ones too.
    fn hits(&self, measure: &Measure) -> Cow<'_, [Hit]>;
    /// Whether the member is in a segment.
    fn in_segment(&self, id: &str) -> bool;
    /// Whether the member is in an uploaded list.
    fn in_list(&self, id: &str) -> bool;
    /// A place of the member.
    fn place(&self, of: &str) -> Option<Place>;
}

/// Whether a member satisfies a plan at `now`.
pub fn evaluate(plan: &Plan, facts: &dyn Facts, now: Time, zone: &TimeZone) -> bool {
    holds(plan, plan.root(), facts, now, zone)
}

fn holds(plan: &Plan, node: usize, facts: &dyn Facts, now: Time, zone: &TimeZone) -> bool {
    let each = |node: &usize| holds(plan, *node, facts, now, zone);
    match &plan.nodes[node] {
        Node::And(nodes) => nodes.iter().all(each),
        Node::Or(nodes) => nodes.iter().any(each),
        Node::Not(node) => !each(node),
        Node::Leaf(leaf) => plan.leaves[*leaf].holds(facts, now, zone),
    }
}

/// The first instant after `now` at which the outcome for this member may differ without new facts; segments of segments
/// aside, whose own plans say so. `None`: never.
pub fn next_change(plan: &Plan, facts: &dyn Facts, now: Time, zone: &TimeZone) -> Option<Time> {
    let changes = plan
        .leaves
        .iter()
        .map(|it| it.next_change(facts, now, zone));
    // At the end of time nothing comes after.
    changes.flatten().filter(|at| *at > now).min()
}

impl Leaf {
    /// Whether a member satisfies the clause.
    pub fn holds(&self, facts: &dyn Facts, now: Time, zone: &TimeZone) -> bool {
        match self {
            Leaf::Attr { path, test } => {
                let value = facts.attribute(path.root());
                let value = value.and_then(|root| value_at(&root, path));
                test.holds(value.as_ref(), now, zone)
            }
            Leaf::Tag { code, test } => test.holds(facts.tag(code).as_deref(), now, zone),
            Leaf::Some { path, filter } => match facts.attribute(path.root()) {
                Some(root) => filter.at(now, zone).some(&root, path.rest()),
                None => false,
            },
            Leaf::Behaviour(it) => it.holds(&facts.hits(&it.measure), now, zone),
            Leaf::Sequence(it) => {
                let steps: Vec<_> = it.steps.iter().map(|step| facts.hits(step)).collect();
                let steps: Vec<&[Hit]> = steps.iter().map(|hits| &**hits).collect();
                it.evaluate(&steps, now, zone).is_some()
            }
            Leaf::Segment(id) => facts.in_segment(id),
            Leaf::List(id) => facts.in_list(id),
            Leaf::Random(share) => share.has(facts.member()),
            Leaf::Near(near) => {
                let place = facts.place(&near.of);
                place.is_some_and(|it| near.has(it.lat, it.lon))
            }
        }
    }

    /// The first instant after `now` at which the clause may come out otherwise for this member without new facts.
    pub fn next_change(&self, facts: &dyn Facts, now: Time, zone: &TimeZone) -> Option<Time> {
        match self {
            Leaf::Attr { path, test } => {
                let value = facts.attribute(path.root());
                let value = value.and_then(|root| value_at(&root, path));
                test.next_change(value.as_ref(), now, zone)
            }
            Leaf::Tag { code, test } => test.next_change(facts.tag(code).as_deref(), now, zone),
            Leaf::Some { path, filter } => {
                let root = facts.attribute(path.root())?;
                filter.next_change(&root, path.rest(), now, zone)
            }
            Leaf::Behaviour(it) => it.next_change(&facts.hits(&it.measure), now, zone),
            Leaf::Sequence(it) => {
                let steps: Vec<_> = it.steps.iter().map(|step| facts.hits(step)).collect();
                let steps: Vec<&[Hit]> = steps.iter().map(|hits| &**hits).collect();
                it.next_change(&steps, now, zone)
            }
            Leaf::Segment(_) | Leaf::List(_) | Leaf::Random(_) | Leaf::Near(_) => None,
        }
    }
}
