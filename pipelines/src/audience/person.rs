//! What is known of one member, for rules: from rows and from the history of events, now or as of then.
//!
//! It reads what the audience reads and shares nothing else with it, so explain is a second opinion on every membership.
//!
//! *As of then* is what had been received by then: events by their time of receipt, attributes by the events that told
//! them, tags and segments by the timeline. Who belongs together is today's: identifiers of people who were merged since
//! are looked at together. Lists are today's as well.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use actors::history::{Columns, Each, History, HistoryError, HistoryEvent, NameWanted, Wanted};
use actors::machine::{Rows, RowsError};
use actors::model::{
    BrandSet, EventKind, FieldClass, IdentNo, MemberNo, Place, Position, Scope, SegmentId, TagId,
    Time,
};
use cdp::definition::AttributeSchema;
use cdp::identity::row::{self, MemberRow};
use cdp::profile::Value;
use cdp::profile::concluded::{memberships, tags};
use cdp::profile::row::{TAG_NEW, What};
use cdp::profile::view::{attributes_as_told, member_view, whole_attributes};
use cdp::rule::{EventNames, Extractor, Facts, Hit, LAST_SCAN, Measure, Plan, point_of};
use jiff::tz::TimeZone;

use super::orders::Orders;

/// Why a person cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// Rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// History.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Words of rules and the numbers that rows know them by.
#[derive(Debug, Clone, Default)]
pub struct Codes {
    /// Tags by code.
    pub tags: BTreeMap<Box<str>, TagId>,
}

/// What is asked about a person.
pub struct Question<'a> {
    /// Rows, at one position.
    pub rows: &'a dyn Rows,
    /// All events.
    pub history: &'a dyn History,
    /// Attributes.
    pub schema: &'a AttributeSchema,
    /// The installation's.
    pub zone: &'a TimeZone,
    /// Numbers of tags.
    pub codes: &'a Codes,
    /// Who asks: facts of other brands do not exist.
    pub scope: &'a Scope,
    /// As of when: what had been received by then. `None`: now.
    pub then: Option<Time>,
}

/// What is known of one member.
pub struct Person {
    member: MemberNo,
    attributes: BTreeMap<Box<str>, Value>,
    tags: BTreeMap<Box<str>, Value>,
    segments: BTreeSet<SegmentId>,
    lists: BTreeSet<Box<str>>,
    hits: BTreeMap<Box<str>, Vec<Hit>>,
    places: BTreeMap<&'static str, (Time, Place)>,
    /// Events that a plan asks for and that were received after `then`.
    pub late: u64,
}

impl Person {
    /// Reads all that `plans` ask of a member of today. `lists`: the uploaded lists that it is in.
    pub fn read(
        question: &Question<'_>,
        member: MemberNo,
        lists: BTreeSet<Box<str>>,
        plans: &[&Plan],
    ) -> Result<Person, PersonError> {
        let rows = question.rows;
        let fragments = match row::get::<MemberRow>(rows, row::MEMBER, &row::key32(member.0))? {
            Some(row) => row::fragments_of(rows, &row)?,
            None => Vec::new(),
        };
        let mut person = Person {
            member,
            attributes: BTreeMap::new(),
            tags: BTreeMap::new(),
            segments: BTreeSet::new(),
            lists,
            hits: BTreeMap::new(),
            places: BTreeMap::new(),
            late: 0,
        };
        person.read_events(question, &fragments, plans)?;
        match question.then {
            None => {
                person.attributes = match question.scope.brands {
                    BrandSet::All => {
                        let attributes = whole_attributes(rows, member, question.schema)?;
                        attributes.into_iter().collect()
                    }
                    BrandSet::Only(_) => visible(question, member)?,
                };
                let held = tags(rows, member)?.into_iter();
                person.tags = named(held.map(|(tag, held)| (tag, held.value)), question.codes);
                let held = memberships(rows, member)?.into_iter();
                person.segments = held.map(|(segment, _)| segment).collect();
            }
            Some(then) => person.read_past(question, &fragments, then)?,
        }
        Ok(person)
    }

    fn read_events(
        &mut self,
        question: &Question<'_>,
        fragments: &[IdentNo],
        plans: &[&Plan],
    ) -> Result<(), PersonError> {
        let mut measures: Vec<Arc<Measure>> =
            plans.iter().flat_map(|plan| plan.measures()).collect();
        measures.sort_by(|a, b| a.key().cmp(b.key()));
        measures.dedup_by(|a, b| a.key() == b.key());
        let (of_orders, measures): (Vec<_>, Vec<_>) =
            measures.into_iter().partition(|it| it.is_of_orders());
        self.read_orders(question, fragments, &of_orders)?;
        if measures.is_empty() && plans.iter().all(|plan| !asks_place(plan)) {
            return Ok(());
        }
        let wanted = Wanted {
            names: (!plans.iter().any(|plan| asks_place(plan)))
                .then(|| measures.iter().flat_map(|it| names(&it.names)).collect()),
            fragments: Some(fragments.iter().copied().collect()),
            columns: Columns {
                place: true,
                ..Columns::FACTS
            },
            ..Wanted::default()
        };
        let extractors: Vec<Extractor> = measures
            .iter()
            .map(|measure| Extractor::new(measure.clone(), question.zone))
            .collect();
        let mut found: Vec<Vec<(Position, Hit)>> = vec![Vec::new(); extractors.len()];
        let then = question.then;
        let mut late = 0;
        let mut scanned: Option<(Time, Place)> = None;
        let mut each = |event: &HistoryEvent<'_>| {
            if event.test || !question.scope.sees(event.brand) {
                return ControlFlow::Continue(());
            }
            let in_time = then.is_none_or(|then| event.received <= then);
            let mut counted = false;
            let facts = event.facts();
            for (extractor, found) in extractors.iter().zip(&mut found) {
                if extractor.measure().sees(event.brand)
                    && let Some(hit) = extractor.of(event.name, event.time, facts.as_deref())
                {
                    counted = true;
                    if in_time {
                        found.push((event.raw, hit));
                    }
                }
            }
            late += u64::from(counted && !in_time);
            if let (true, EventKind::Scan, Some(place)) = (in_time, event.kind, event.place)
                && scanned.is_none_or(|(time, _)| time <= event.time)
            {
                scanned = Some((event.time, place));
            }
            ControlFlow::Continue(())
        };
        let sink: &mut Each<'_> = &mut each;
        question.history.scan(&wanted, &mut [sink])?;
        self.late += late;
        self.places
            .extend(scanned.map(|scanned| (LAST_SCAN, scanned)));
        for (measure, mut hits) in measures.iter().zip(found) {
            // By time; of one instant in the order of arrival.
            hits.sort_by_key(|(raw, hit)| (hit.time, *raw));
            let hits = hits.into_iter().map(|(_, hit)| hit).collect();
            self.hits.insert(measure.key().into(), hits);
        }
        Ok(())
    }

    fn read_orders(
        &mut self,
        question: &Question<'_>,
        fragments: &[IdentNo],
        measures: &[Arc<Measure>],
    ) -> Result<(), PersonError> {
        if measures.is_empty() {
            return Ok(());
        }
        let (orders, late) = match question.then {
            None => (Orders::now(question.rows, self.member)?, 0),
            Some(then) => Orders::as_of(question.history, fragments, then)?,
        };
        self.late += late;
        for measure in measures {
            let hits = orders.hits(measure, question.scope, question.zone);
            self.hits.insert(measure.key().into(), hits);
        }
        Ok(())
    }

    /// What had been received by `then`.
    fn read_past(
        &mut self,
        question: &Question<'_>,
        fragments: &[IdentNo],
        then: Time,
    ) -> Result<(), PersonError> {
        let mut known: BTreeSet<Position> = BTreeSet::new();
        let wanted = Wanted {
            fragments: Some(fragments.iter().copied().collect()),
            ..Wanted::default()
        };
        let mut each = |event: &HistoryEvent<'_>| {
            if event.received <= then && question.scope.sees(event.brand) {
                known.insert(event.raw);
            }
            ControlFlow::Continue(())
        };
        let sink: &mut Each<'_> = &mut each;
        question.history.scan(&wanted, &mut [sink])?;
        let mut tags: BTreeMap<TagId, Option<Value>> = BTreeMap::new();
        let mut segments: BTreeMap<SegmentId, bool> = BTreeMap::new();
        let attributes = attributes_as_told(
            question.rows,
            self.member,
            question.schema,
            &|position| known.contains(&position),
            // Newest first: the first that is old enough is what held.
            &mut |time, line| match line.what {
                _ if time > then => {}
                What::Segment(note) => {
                    segments.entry(note.segment).or_insert(note.entered);
                }
                What::Tag(note) => {
                    let new = line.told.iter().find(|(name, _)| **name == *TAG_NEW);
                    let new = new.map(|(_, value)| value.clone());
                    tags.entry(note.tag).or_insert(new);
                }
                What::Event(_) | What::Note(_) => {}
            },
        )?;
        self.attributes = attributes.into_iter().collect();
        let held = tags
            .into_iter()
            .filter_map(|(tag, value)| Some((tag, value?)));
        self.tags = named(held, question.codes);
        let held = segments.into_iter().filter(|(_, entered)| *entered);
        self.segments = held.map(|(segment, _)| segment).collect();
        Ok(())
    }

    /// Takes what somebody else found of a segment: explain of a segment of segments asks the rule, not the row.
    pub fn set_segment(&mut self, segment: SegmentId, holds: bool) {
        match holds {
            true => self.segments.insert(segment),
            false => self.segments.remove(&segment),
        };
    }
}

/// Attributes by the events that the asker sees.
fn visible(
    question: &Question<'_>,
    member: MemberNo,
) -> Result<BTreeMap<Box<str>, Value>, RowsError> {
    let scope = Scope {
        fields: FieldClass::P3,
        ..question.scope.clone()
    };
    let view = member_view(question.rows, member, question.schema, &scope)?;
    let attributes = view.into_iter().flat_map(|view| view.attributes);
    Ok(attributes.map(|(name, told)| (name, told.value)).collect())
}

fn named(held: impl Iterator<Item = (TagId, Value)>, codes: &Codes) -> BTreeMap<Box<str>, Value> {
    let by_number: BTreeMap<TagId, &Box<str>> =
        codes.tags.iter().map(|(code, tag)| (*tag, code)).collect();
    held.filter_map(|(tag, value)| Some(((*by_number.get(&tag)?).clone(), value)))
        .collect()
}

fn asks_place(plan: &Plan) -> bool {
    let reads = plan.reads();
    reads
        .iter()
        .any(|read| matches!(read, cdp::rule::Read::Place(_)))
}

/// Names of a measure as history understands them.
pub fn names(names: &EventNames) -> Vec<NameWanted> {
    match names {
        EventNames::Names(names) => names.iter().cloned().map(NameWanted::Is).collect(),
        EventNames::Prefix(prefix) => vec![NameWanted::StartsWith(prefix.clone())],
        EventNames::Orders => Vec::new(),
    }
}

impl Facts for Person {
    fn member(&self) -> MemberNo {
        self.member
    }

    fn attribute(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.attributes.get(name).map(Cow::Borrowed)
    }

    fn tag(&self, code: &str) -> Option<Cow<'_, Value>> {
        self.tags.get(code).map(Cow::Borrowed)
    }

    fn hits(&self, measure: &Measure) -> Cow<'_, [Hit]> {
        let hits = self.hits.get(measure.key());
        Cow::Borrowed(hits.map_or(&[][..], Vec::as_slice))
    }

    fn in_segment(&self, id: &str) -> bool {
        id.parse()
            .is_ok_and(|id| self.segments.contains(&SegmentId(id)))
    }

    fn in_list(&self, id: &str) -> bool {
        self.lists.contains(id)
    }

    fn place(&self, of: &str) -> Option<Place> {
        let told = self.places.get(of).map(|(_, place)| *place);
        told.or_else(|| point_of(self.attributes.get(of)?))
    }
}
