//! Columns that are computed: aggregates of events, sequences, values inside objects, distances, random shares.
//!
//! One column serves every clause that differs only in what it asks of the result. It is kept for members whose facts
//! change, and for those whose time has come.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors::model::{MemberNo, Time};
use smallvec::SmallVec;

use super::bits::{BLOCK, join, split};
use super::column::{Column, Lane};
use super::due::Due;
use super::series::Inside;
use super::store::Store;
use crate::profile::Value;
use crate::rule::behaviour::aggregate;
use crate::rule::scalar::value_at;
use crate::rule::{
    Aggregate, Filter, Hit, Leaf, Matcher, Near, Over, Path, Sequence, Share, Span, Window,
};

/// How a column is computed.
#[derive(Debug)]
pub(crate) enum What {
    /// An aggregate over the events of a measure.
    Behaviour {
        series: usize,
        window: Window,
        aggregate: Aggregate,
        over: Over,
    },
    /// Whether there is a sequence.
    Sequence {
        series: Vec<usize>,
        sequence: Sequence,
    },
    /// Whether an object of an attribute satisfies a filter.
    Some { path: Path, filter: Filter },
    /// The values at a path inside an attribute.
    Path(Path),
    /// Whether a place is near.
    Near(Near),
    /// Whether a member is in a random share.
    Share(Share),
}

/// A computed column.
#[derive(Debug)]
pub(crate) struct Derived {
    pub key: Box<str>,
    pub what: What,
    pub column: Column,
    /// What those have of whom the column says nothing.
    pub default: Option<Value>,
    due: Due,
    /// Members below this are computed.
    built: u32,
    /// When it was last asked for, as a count of questions.
    pub used: u64,
    /// Made for one `now`: reused while the clock stands.
    present: Option<Present>,
}

/// Members that are computed before their values are put in place: some tens of megabytes of values at most.
const ROUND: u32 = 1 << 19;

/// What was computed of the members of one block.
#[derive(Default)]
struct Made {
    block: usize,
    /// The lane of most values, and these by place.
    lane: Option<Lane>,
    numbers: Vec<(u16, i64)>,
    /// Values of other lanes and sorts.
    values: Vec<(u32, Value)>,
    /// Whom to look at again, by the bucket of [`Due`].
    due: HashMap<i64, Vec<u32>>,
    /// Whom within the minute.
    soon: Vec<(u32, Time)>,
}

/// What depends on the clock but on no member.
#[derive(Debug, Clone)]
struct Present {
    now: Time,
    span: Option<Span>,
    matcher: Option<Matcher>,
}

impl What {
    /// The column that a leaf reads, if it reads a computed one. `None` as well if a measure is missing.
    pub fn of(leaf: &Leaf, store: &Store) -> Option<What> {
        Some(match leaf {
            Leaf::Attr { path, .. } if !path.rest().is_empty() => What::Path(path.clone()),
            Leaf::Attr { .. } | Leaf::Tag { .. } | Leaf::Segment(_) | Leaf::List(_) => return None,
            Leaf::Some { path, filter } => What::Some {
                path: path.clone(),
                filter: filter.clone(),
            },
            Leaf::Behaviour(it) => What::Behaviour {
                series: store.measure(it.measure.key())?,
                window: it.window.clone(),
                aggregate: it.aggregate,
                over: it.over,
            },
            Leaf::Sequence(sequence) => What::Sequence {
                series: sequence
                    .steps
                    .iter()
                    .map(|step| store.measure(step.key()))
                    .collect::<Option<_>>()?,
                sequence: sequence.clone(),
            },
            Leaf::Random(share) => What::Share(*share),
            Leaf::Near(near) => What::Near(near.clone()),
        })
    }

    /// Equal for equal columns.
    pub fn key(&self) -> String {
        match self {
            // The steps are known by their numbers.
            What::Sequence { series, sequence } => {
                format!(
                    "sequence {series:?} {:?} {:?}",
                    sequence.within_ms, sequence.lookback
                )
            }
            other => format!("{other:?}"),
        }
    }

    /// The measures that it reads.
    pub fn series(&self) -> &[usize] {
        match self {
            What::Behaviour { series, .. } => std::slice::from_ref(series),
            What::Sequence { series, .. } => series,
            _ => &[],
        }
    }

    /// The attribute that it reads.
    pub fn attribute(&self) -> Option<&str> {
        match self {
            What::Some { path, .. } | What::Path(path) => Some(path.root()),
            What::Near(near) => near.attribute(),
            _ => None,
        }
    }

    /// The sort of place that it reads.
    pub fn place(&self) -> Option<&str> {
        match self {
            What::Near(near) => Some(&near.of),
            _ => None,
        }
    }
}

impl Derived {
    /// A column that is not computed yet.
    pub fn new(key: Box<str>, what: What, store: &Store) -> Derived {
        let default = match &what {
            What::Behaviour {
                aggregate: kind,
                over,
                ..
            } => aggregate(*kind, *over, &[], &store.zone),
            _ => None,
        };
        Derived {
            key,
            what,
            column: Column::default(),
            default,
            due: Due::default(),
            built: 0,
            used: 0,
            present: None,
        }
    }

    /// Computes members that are not computed yet, about `limit` of them, by whole blocks; answers whether all are.
    pub fn build(&mut self, store: &Store, now: Time, limit: u32, threads: usize) -> bool {
        let all = store.people.ordinals;
        let until = match self.built.checked_add(limit) {
            Some(until) => all.min(until.checked_next_multiple_of(BLOCK as u32).unwrap_or(all)),
            None => all,
        };
        let present = self.present_at(store, now);
        while self.built < until {
            let end = until.min(self.built.saturating_add(ROUND));
            for made in self.compute_all(store, &present, self.built..end, threads) {
                self.take(made);
            }
            self.built = end;
        }
        self.present = Some(present);
        self.built == all
    }

    fn take(&mut self, made: Made) {
        for (bucket, members) in &made.due {
            self.due.enter_all(*bucket, members);
        }
        for (member, at) in made.soon {
            self.due.enter(member, at);
        }
        if let Some(lane) = made.lane {
            self.column.fill(lane, made.block, &made.numbers);
        }
        for (member, value) in &made.values {
            self.column.set(*member, Some(value));
        }
    }

    /// What is to be kept of members; blocks are shared out between threads where they are many.
    fn compute_all(
        &self,
        store: &Store,
        present: &Present,
        members: Range<u32>,
        threads: usize,
    ) -> Vec<Made> {
        let blocks: Vec<Range<u32>> = (split(members.start).0..=split(members.end - 1).0)
            .map(|block| {
                let from = join(block, 0);
                let to = from.saturating_add(BLOCK as u32);
                members.start.max(from)..members.end.min(to)
            })
            .collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut all = Vec::new();
            while let Some(members) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                all.push(self.compute_block(store, present, members.clone()));
            }
            all
        };
        let threads = threads.min(blocks.len());
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut made = work();
            for other in others {
                match other.join() {
                    Ok(it) => made.extend(it),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            // Ascending, as the lists of whom to look at again want it.
            made.sort_unstable_by_key(|made| made.block);
            made
        })
    }

    /// Members of one block.
    fn compute_block(&self, store: &Store, present: &Present, members: Range<u32>) -> Made {
        let mut made = Made {
            block: split(members.start).0,
            ..Made::default()
        };
        let begun = Due::bucket(present.now);
        for member in members {
            let (value, next) = self.value(store, MemberNo(member), present);
            if let Some(next) = next {
                match Due::bucket(next) {
                    bucket if bucket > begun => made.due.entry(bucket).or_default().push(member),
                    _ => made.soon.push((member, next)),
                }
            }
            let Some(value) = value.filter(|value| Some(value) != self.default.as_ref()) else {
                continue;
            };
            match Column::plain(&value) {
                Some((lane, number)) if made.lane.is_none_or(|it| it == lane) => {
                    made.lane = Some(lane);
                    made.numbers.push((split(member).1, number));
                }
                _ => made.values.push((member, value)),
            }
        }
        made
    }

    /// Members below this are computed.
    pub fn built(&self) -> u32 {
        self.built
    }

    /// Whether every member is computed.
    pub fn is_built(&self, store: &Store) -> bool {
        self.built == store.people.ordinals
    }

    /// Begins again: the clock went back.
    pub fn rebuild(&mut self) {
        self.built = 0;
        self.column = Column::default();
        self.due.clear();
    }

    /// A member's facts changed. Answers whether the value did.
    pub fn touch(&mut self, store: &Store, member: MemberNo, now: Time) -> bool {
        member.0 < self.built && self.compute(store, member, now)
    }

    /// Looks again at members whose time has come, up to `limit` of them; shows those whose value changed. Answers how many
    /// were looked at.
    pub fn advance(
        &mut self,
        store: &Store,
        now: Time,
        limit: usize,
        changed: &mut dyn FnMut(u32),
    ) -> usize {
        let due = self.due.take(now, limit);
        for &member in &due {
            if self.touch(store, MemberNo(member), now) {
                changed(member);
            }
        }
        due.len()
    }

    /// Whether members wait to be looked at again.
    pub fn is_due(&self, now: Time) -> bool {
        self.due.is_due(now)
    }

    pub fn bytes(&self) -> usize {
        self.column.bytes() + self.due.bytes()
    }

    fn compute(&mut self, store: &Store, member: MemberNo, now: Time) -> bool {
        let present = match self.present.take() {
            Some(present) if present.now == now => present,
            _ => self.present_at(store, now),
        };
        let (value, next) = self.value(store, member, &present);
        self.present = Some(present);
        if let Some(next) = next {
            self.due.enter(member.0, next);
        }
        let value = value.filter(|value| Some(value) != self.default.as_ref());
        if self.column.get(member.0) == value {
            return false;
        }
        self.column.set(member.0, value.as_ref());
        true
    }

    fn present_at(&self, store: &Store, now: Time) -> Present {
        let (mut span, mut matcher) = (None, None);
        match &self.what {
            What::Behaviour { window, .. } => span = Some(window.at(now, &store.zone)),
            What::Sequence { sequence, .. } => span = Some(sequence.lookback.at(now, &store.zone)),
            What::Some { filter, .. } => matcher = Some(filter.at(now, &store.zone)),
            _ => {}
        }
        Present { now, span, matcher }
    }

    fn value(
        &self,
        store: &Store,
        member: MemberNo,
        present: &Present,
    ) -> (Option<Value>, Option<Time>) {
        let now = present.now;
        let yes = |holds: bool| holds.then_some(Value::Bool(true));
        match &self.what {
            What::Behaviour {
                series,
                window,
                aggregate: kind,
                over,
            } => {
                let span = present.span.expect("made for behaviour");
                let mut inside = Inside::default();
                for fragment in store.people.fragments(member) {
                    store.series[*series].add_inside(fragment, span, &mut inside, |_| ());
                }
                if !inside.any {
                    return (None, None);
                }
                let value = match quick(*kind, *over, &inside, store) {
                    Some(value) => value,
                    None => {
                        let hits = store.hits(*series, member);
                        aggregate(*kind, *over, span.of(&hits), &store.zone)
                    }
                };
                (value, next_change(window, &inside, now, store))
            }
            What::Sequence { series, sequence } => {
                let span = present.span.expect("made for sequences");
                let mut steps: SmallVec<[(SmallVec<[Time; 8]>, Inside); 3]> = SmallVec::new();
                for &series in series {
                    let (mut times, mut inside) = (SmallVec::new(), Inside::default());
                    for fragment in store.people.fragments(member) {
                        let series = &store.series[series];
                        series.add_inside(fragment, span, &mut inside, |at| times.push(at));
                    }
                    // Without one of its steps no sequence comes true by the clock.
                    if !inside.any {
                        return (None, None);
                    }
                    times.sort_unstable();
                    steps.push((times, inside));
                }
                let times: SmallVec<[&[Time]; 3]> = steps.iter().map(|step| &*step.0).collect();
                let begins = sequence.begins(&times);
                let next = match (&sequence.lookback, begins) {
                    (lookback @ Window::Between(..), _) | (lookback, None) => (steps.iter())
                        .filter_map(|(_, inside)| next_change(lookback, inside, now, store))
                        .min(),
                    (lookback, Some(at)) => {
                        let inside = Inside {
                            oldest: Some(at.0),
                            ..Inside::default()
                        };
                        next_change(lookback, &inside, now, store)
                    }
                };
                (yes(begins.is_some()), next)
            }
            What::Some { path, filter } => {
                let column = store.attributes.get(path.root());
                let Some(root) = column.and_then(|column| column.get(member.0)) else {
                    return (None, None);
                };
                let matcher = present.matcher.as_ref().expect("made for filters");
                let next = filter.next_change(&root, path.rest(), now, &store.zone);
                (yes(matcher.some(&root, path.rest())), next)
            }
            What::Path(path) => {
                let column = store.attributes.get(path.root());
                let root = column.and_then(|column| column.get(member.0));
                (root.and_then(|root| value_at(&root, path)), None)
            }
            What::Near(near) => {
                let place = store.place(&near.of, member);
                (
                    yes(place.is_some_and(|(lat, lon)| near.has(lat, lon))),
                    None,
                )
            }
            What::Share(share) => (yes(share.has(member)), None),
        }
    }
}

/// As [`aggregate`] for what one pass without values tells; `None`: it does not tell this.
fn quick(kind: Aggregate, over: Over, inside: &Inside, store: &Store) -> Option<Option<Value>> {
    let own = |at: i64| match over {
        Over::Day => Value::Date(store.days.of(Time(at))),
        _ => Value::Time(Time(at)),
    };
    Some(match (over, kind) {
        (Over::Events, _) => Some(Value::Int(inside.count)),
        (Over::Time | Over::Day, Aggregate::Count) => Some(Value::Int(inside.count)),
        (Over::Time | Over::Day, Aggregate::Min | Aggregate::First) => inside.oldest.map(own),
        (Over::Time | Over::Day, Aggregate::Max | Aggregate::Last) => inside.newest.map(own),
        (Over::Field, Aggregate::Count) if !inside.coded => Some(Value::Int(inside.valued)),
        // Sums are kept in billionths: those of which there may be too many go the other way.
        (Over::Field, Aggregate::Sum) if !inside.coded => {
            Some(Value::Int(i64::try_from(inside.sum).ok()?))
        }
        _ => return None,
    })
}

/// As [`Window::next_change`], by the table of days where it is enough.
fn next_change(window: &Window, inside: &Inside, now: Time, store: &Store) -> Option<Time> {
    let days = &store.days;
    let (oldest, coming) = (inside.oldest.map(Time), inside.coming.map(Time));
    let starts = |at: Time, n: i32| days.start(days.of(at) + n);
    let (leaves, enters) = match window {
        Window::All => (None, coming),
        Window::Slide(ms) => (oldest.map(|at| at.plus_ms(ms + 1)), coming),
        Window::Days(n) => {
            let n = i32::try_from(*n).ok()?;
            (oldest.map(|at| starts(at, n)), coming)
        }
        Window::DaysAgo(a, b) => {
            let a = i32::try_from(*a).ok()?.checked_add(1)?;
            let b = i32::try_from(*b).ok()?;
            (
                oldest.map(|at| starts(at, a)),
                coming.map(|at| starts(at, b).max(at)),
            )
        }
        other => {
            // Only the first inside and the first behind decide; without either, that there is any.
            let hit = |time: Time| Hit { time, value: None };
            let mut hits: SmallVec<[Hit; 2]> = oldest.into_iter().chain(coming).map(hit).collect();
            if hits.is_empty() {
                hits.push(hit(Time(i64::MIN)));
            }
            return other.next_change(&hits, now, &store.zone);
        }
    };
    let both = leaves.into_iter().chain(enters);
    both.filter(|at| *at > now).min()
}
