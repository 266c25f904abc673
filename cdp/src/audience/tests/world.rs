//! A small world that is told everything the engine is told, and answers by the reference evaluation.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use actors::model::{IdentNo, MemberNo, Offset, PartitionId, Place, Position, Time};
use jiff::tz::TimeZone;

use crate::audience::{Change, Engine};
use crate::identity::row::MemberState;
use crate::profile::Value;
use crate::rule::{Extractor, Facts, Hit, Measure, Plan, evaluate};

/// Numbers that look random and are the same for a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len() as u64) as usize]
    }
}

#[derive(Debug, Clone)]
pub struct Happened {
    pub fragment: IdentNo,
    pub position: Position,
    pub time: Time,
    pub name: String,
    pub properties: String,
    pub place: Option<Place>,
}

#[derive(Debug, Default)]
pub struct Person {
    pub counts: bool,
    pub fragments: BTreeSet<IdentNo>,
    pub attributes: BTreeMap<String, Value>,
    pub tags: BTreeMap<String, Value>,
}

pub struct World {
    pub zone: TimeZone,
    pub now: Time,
    pub people: BTreeMap<MemberNo, Person>,
    pub events: Vec<Happened>,
    pub lists: BTreeMap<String, BTreeSet<IdentNo>>,
    /// Orders by number: who holds it, when it was placed, its facts.
    pub orders: BTreeMap<IdentNo, (IdentNo, Time, String)>,
    /// Segments by id, in force.
    pub segments: BTreeMap<String, std::sync::Arc<Plan>>,
}

struct Known<'a> {
    world: &'a World,
    member: MemberNo,
    person: &'a Person,
}

impl Facts for Known<'_> {
    fn member(&self) -> MemberNo {
        self.member
    }
    fn attribute(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.person.attributes.get(name).map(Cow::Borrowed)
    }
    fn tag(&self, code: &str) -> Option<Cow<'_, Value>> {
        self.person.tags.get(code).map(Cow::Borrowed)
    }
    fn hits(&self, measure: &Measure) -> Cow<'_, [Hit]> {
        let extractor = Extractor::new(measure.clone().into(), &self.world.zone);
        if measure.is_of_orders() {
            let mut orders: Vec<_> = self.world.orders.iter().collect();
            orders.retain(|(_, (holder, ..))| self.person.fragments.contains(holder));
            orders.sort_by_key(|(number, (_, time, _))| (*time, **number));
            let hits = orders.into_iter();
            return hits
                .filter_map(|(_, (_, time, facts))| extractor.of_order(*time, facts))
                .collect();
        }
        let events = self.world.events.iter();
        let mut hits: Vec<(Position, Hit)> = events
            .filter(|event| self.person.fragments.contains(&event.fragment))
            .filter_map(|event| {
                let hit = extractor.of(&event.name, event.time, Some(&event.properties))?;
                Some((event.position, hit))
            })
            .collect();
        hits.sort_by_key(|(position, hit)| (hit.time, *position));
        hits.into_iter().map(|(_, hit)| hit).collect()
    }
    fn in_segment(&self, id: &str) -> bool {
        let plan = self.world.segments.get(id);
        plan.is_some_and(|plan| self.world.holds(plan, self.member))
    }
    fn in_list(&self, id: &str) -> bool {
        self.world
            .lists
            .get(id)
            .is_some_and(|list| !list.is_disjoint(&self.person.fragments))
    }
    fn place(&self, of: &str) -> Option<Place> {
        if of != "last_scan" {
            return None;
        }
        let events = self.world.events.iter();
        events
            .filter(|event| event.name == "scan" && self.person.fragments.contains(&event.fragment))
            .filter(|event| event.place.is_some())
            .max_by_key(|event| (event.time, event.position))?
            .place
    }
}

impl World {
    pub fn new(zone: &str, now: Time) -> World {
        World {
            zone: TimeZone::get(zone).expect("a zone"),
            now,
            people: BTreeMap::new(),
            events: Vec::new(),
            lists: BTreeMap::new(),
            orders: BTreeMap::new(),
            segments: BTreeMap::new(),
        }
    }

    pub fn holds(&self, plan: &Plan, member: MemberNo) -> bool {
        let Some(person) = self.people.get(&member).filter(|person| person.counts) else {
            return false;
        };
        let facts = Known {
            world: self,
            member,
            person,
        };
        evaluate(plan, &facts, self.now, &self.zone)
    }

    pub fn members(&self, plan: &Plan) -> Vec<MemberNo> {
        let members = self.people.keys().copied();
        members.filter(|member| self.holds(plan, *member)).collect()
    }

    /// Tells the engine of a member as it is here.
    pub fn tell_member(&self, engine: &mut Engine, member: MemberNo, test: bool) {
        let person = &self.people[&member];
        let fragments: Vec<IdentNo> = person.fragments.iter().copied().collect();
        let state = match (person.counts || test, fragments.is_empty()) {
            (true, _) => MemberState::Member,
            (false, true) => MemberState::Absorbed,
            (false, false) => MemberState::Visitor,
        };
        engine.apply(Change::Member {
            member,
            state,
            test,
            fragments: &fragments,
        });
    }

    pub fn tell_attributes(&self, engine: &mut Engine, member: MemberNo) {
        let person = &self.people[&member];
        let values: Vec<(&str, Value)> = (person.attributes.iter())
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        engine.apply(Change::Attributes {
            member,
            values: &values,
        });
    }
}

impl Happened {
    pub fn tell(&self, engine: &mut Engine) {
        engine.apply(Change::Event {
            fragment: self.fragment,
            position: self.position,
            time: self.time,
            name: &self.name,
            properties: Some(&self.properties),
            place: self.place,
            brand: actors::model::BrandId(0),
        });
    }
}

pub fn position(offset: u64) -> Position {
    Position {
        partition: PartitionId(1 + (offset % 2) as u16),
        offset: Offset(offset),
    }
}
