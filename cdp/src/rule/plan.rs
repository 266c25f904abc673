//! A checked rule: leaves and a boolean tree over them. Live evaluation, block queries, backfill and explain read this.
//!
//! Complements stay where the rule has them: `not` is a node, and a negative operator is the complement of its positive one
//! over all members.

use std::sync::Arc;

use actors::model::{BrandId, MemberNo, Place, Time};
use jiff::tz::TimeZone;

use super::ast::{Path, Rule};
use super::behaviour::Behaviour;
use super::condition::Test;
use super::constant::Motion;
use super::measure::{Filter, Measure};
use super::sequence::Sequence;
use super::window::Window;
use crate::profile::Value;

/// A checked rule.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rule as it was written.
    pub rule: Rule,
    /// Nodes, children before parents; the last is the root.
    pub nodes: Vec<Node>,
    /// Where each node stands in the rule, such as `and[1]`.
    pub places: Vec<Box<str>>,
    /// Leaves.
    pub leaves: Vec<Leaf>,
    /// Only what somebody knows who sees these brands counts, and the group's facts. `None`: everything.
    pub brands: Option<Arc<[BrandId]>>,
}

/// A node of the tree. Numbers are those of [`Plan::nodes`] and [`Plan::leaves`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// All of them; none is everybody.
    And(Vec<usize>),
    /// One of them; none is nobody.
    Or(Vec<usize>),
    /// The complement.
    Not(usize),
    /// A leaf.
    Leaf(usize),
}

/// A clause.
#[derive(Debug, Clone)]
pub enum Leaf {
    /// A condition on an attribute, or on what lies at a path inside it.
    Attr {
        /// The path; its root is the attribute's name.
        path: Path,
        /// The condition.
        test: Test,
    },
    /// A condition on a tag.
    Tag {
        /// The tag's code.
        code: Box<str>,
        /// The condition.
        test: Test,
    },
    /// One object of an attribute satisfies a filter.
    Some {
        /// The path; its root is the attribute's name.
        path: Path,
        /// The filter. Its constants may depend on the present.
        filter: Filter,
    },
    /// What a member did.
    Behaviour(Behaviour),
    /// Events one after the other.
    Sequence(Sequence),
    /// Members of a segment.
    Segment(Box<str>),
    /// Members of an uploaded list.
    List(Box<str>),
    /// A random share.
    Random(Share),
    /// Near a point.
    Near(Near),
}

/// A random share that stays the same for a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Hash of the seed.
    pub seed: u64,
    /// Share in millionths.
    pub millionths: u32,
}

/// Not farther than some distance from a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// Latitude in degrees, WGS-84.
    pub lat: f64,
    /// Longitude in degrees.
    pub lon: f64,
    /// Distance in kilometres.
    pub km: f64,
    /// Which place of the member: [`LAST_SCAN`], or an attribute with a point ([`point_of`]).
    pub of: Box<str>,
}

/// Something that a leaf reads: when it changes, the leaf is evaluated again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read<'a> {
    /// An attribute, by name.
    Attribute(&'a str),
    /// A tag, by code.
    Tag(&'a str),
    /// A measure, by key.
    Measure(&'a str),
    /// A segment.
    Segment(&'a str),
    /// A list.
    List(&'a str),
    /// A place of the member.
    Place(&'a str),
}

impl Plan {
    /// The plan of a leaf alone: for what reads the same, whatever the rule said.
    pub fn of_leaf(leaf: Leaf) -> Plan {
        Plan {
            rule: Rule::And(Vec::new()),
            nodes: vec![Node::Leaf(0)],
            places: vec!["".into()],
            leaves: vec![leaf],
            brands: None,
        }
    }

    /// The root's number.
    pub fn root(&self) -> usize {
        self.nodes.len() - 1
    }

    /// All measures, each once, by key.
    pub fn measures(&self) -> Vec<Arc<Measure>> {
        let mut measures: Vec<Arc<Measure>> = Vec::new();
        for leaf in &self.leaves {
            match leaf {
                Leaf::Behaviour(it) => measures.push(it.measure.clone()),
                Leaf::Sequence(it) => measures.extend(it.steps.iter().cloned()),
                _ => {}
            }
        }
        measures.sort_by(|a, b| a.key().cmp(b.key()));
        measures.dedup_by(|a, b| a.key() == b.key());
        measures
    }

    /// The same rule for somebody who may see these brands only: their events and the group's count.
    #[must_use]
    pub fn within(&self, brands: &[BrandId]) -> Plan {
        let mut plan = self.clone();
        plan.brands = Some(brands.into());
        for leaf in &mut plan.leaves {
            match leaf {
                Leaf::Behaviour(it) => it.measure = Arc::new(it.measure.within(brands)),
                Leaf::Sequence(it) => {
                    for step in &mut it.steps {
                        *step = Arc::new(step.within(brands));
                    }
                }
                _ => {}
            }
        }
        plan
    }

    /// What it looks into that is not kept by brand: a place, or the inside of an attribute.
    pub fn mixes(&self) -> Option<&str> {
        self.leaves.iter().find_map(|leaf| match leaf {
            Leaf::Near(near) => Some(&*near.of),
            Leaf::Some { path, .. } => Some(path.root()),
            Leaf::Attr { path, .. } if !path.rest().is_empty() => Some(path.root()),
            _ => None,
        })
    }

    /// The rule that somebody is in a segment.
    pub fn of_segment(id: &str) -> Plan {
        Plan::of_leaf(Leaf::Segment(id.into()))
    }

    /// All that its leaves read, each once.
    pub fn reads(&self) -> Vec<Read<'_>> {
        let mut reads: Vec<Read<'_>> = self.leaves.iter().flat_map(Leaf::reads).collect();
        reads.sort();
        reads.dedup();
        reads
    }

    /// The next instant at which the clock alone changes a constant or a window of days or months, for all members at once.
    /// Leaves that [`Motion::Slides`] are apart: they change per member ([`super::next_change`]).
    pub fn next_change(&self, now: Time, zone: &TimeZone) -> Option<Time> {
        let steps = self.leaves.iter().map(|leaf| leaf.next_step(now, zone));
        steps.flatten().filter(|at| *at > now).min()
    }
}

impl Leaf {
    /// What it reads.
    pub fn reads(&self) -> Vec<Read<'_>> {
        match self {
            Leaf::Attr { path, .. } | Leaf::Some { path, .. } => vec![Read::Attribute(path.root())],
            Leaf::Tag { code, .. } => vec![Read::Tag(code)],
            Leaf::Behaviour(it) => vec![Read::Measure(it.measure.key())],
            Leaf::Sequence(it) => it.steps.iter().map(|it| Read::Measure(it.key())).collect(),
            Leaf::Segment(id) => vec![Read::Segment(id)],
            Leaf::List(id) => vec![Read::List(id)],
            Leaf::Random(_) => Vec::new(),
            Leaf::Near(near) => vec![match near.attribute() {
                Some(name) => Read::Attribute(name),
                None => Read::Place(&near.of),
            }],
        }
    }

    fn tests(&self) -> Vec<&Test> {
        match self {
            Leaf::Attr { test, .. } | Leaf::Tag { test, .. } => vec![test],
            Leaf::Some { filter, .. } => filter.tests(),
            Leaf::Behaviour(it) => vec![&it.test],
            _ => Vec::new(),
        }
    }

    fn window(&self) -> Option<&Window> {
        match self {
            Leaf::Behaviour(it) => Some(&it.window),
            Leaf::Sequence(it) => Some(&it.lookback),
            _ => None,
        }
    }

    /// How its constants and its window move with the clock.
    pub fn motion(&self) -> Motion {
        let tests = self.tests().into_iter().map(Test::motion);
        let motions: Vec<Motion> = tests.chain(self.window().map(Window::motion)).collect();
        if motions.contains(&Motion::Slides) {
            Motion::Slides
        } else if motions.contains(&Motion::Steps) {
            Motion::Steps
        } else {
            Motion::Still
        }
    }

    /// The next instant at which a constant or bound steps, for all members at once.
    pub fn next_step(&self, now: Time, zone: &TimeZone) -> Option<Time> {
        let tests = self.tests().into_iter();
        let steps = tests.filter_map(|it| it.next_step(now, zone));
        steps
            .chain(self.window().and_then(|it| it.next_step(now, zone)))
            .min()
    }
}

impl Share {
    /// The share of a seed.
    pub fn new(seed: &str, millionths: u32) -> Share {
        let hash = blake3::hash(seed.as_bytes());
        let mut head = [0; 8];
        head.copy_from_slice(&hash.as_bytes()[..8]);
        Share {
            seed: u64::from_le_bytes(head),
            millionths,
        }
    }

    /// Whether a member is in it: the same answer for ever, and more members for a larger share of one seed.
    pub fn has(self, member: MemberNo) -> bool {
        // The finaliser of SplitMix64: every bit of the number moves every bit of the place.
        let mut z = self.seed ^ u64::from(member.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let place = (u128::from(z) * 1_000_000) >> 64;
        place < u128::from(self.millionths)
    }
}

/// Mean radius of the earth in kilometres (IUGG).
const EARTH_KM: f64 = 6371.0088;

/// The place where a member was scanned last, which events tell; all other places are attributes.
pub const LAST_SCAN: &str = "last_scan";

/// Where the value of an attribute lies: an object with `lat` and `lon` in degrees, such as an address. `None`: it says
/// nothing of that, or of no point of the earth.
pub fn point_of(value: &Value) -> Option<Place> {
    #[derive(serde::Deserialize)]
    struct Point {
        #[serde(alias = "latitude")]
        lat: f64,
        #[serde(alias = "longitude", alias = "lng")]
        lon: f64,
    }
    let Value::Object(text) = value else {
        return None;
    };
    let Point { lat, lon } = serde_json::from_str(text).ok()?;
    let on_earth = lat.abs() <= 90.0 && lon.abs() <= 180.0;
    on_earth.then_some(Place {
        lat,
        lon,
        accuracy_m: None,
    })
}

impl Near {
    /// The attribute that the place is, if no event tells it.
    pub fn attribute(&self) -> Option<&str> {
        (*self.of != *LAST_SCAN).then_some(&self.of)
    }

    /// Whether a place lies inside the circle.
    pub fn has(&self, lat: f64, lon: f64) -> bool {
        self.distance_km(lat, lon) <= self.km
    }

    /// Kilometres on the sphere (haversine).
    pub fn distance_km(&self, lat: f64, lon: f64) -> f64 {
        let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let h = half(lat - self.lat)
            + self.lat.to_radians().cos() * lat.to_radians().cos() * half(lon - self.lon);
        2.0 * EARTH_KM * h.clamp(0.0, 1.0).sqrt().asin()
    }
}
