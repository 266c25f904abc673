//! Columns that are computed: aggregates of events, sequences, values inside objects, distances, random shares.
//!
//! One column serves every clause that differs only in what it asks of the result. It is kept for members whose facts
//! change, and for those whose time has come.

use actors::model::{MemberNo, Time};

use super::column::Column;
use super::due::Due;
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

/// Members for which another thread is worth starting.
const SHARE_MIN: usize = 4096;

/// A member, the value, and when to look again.
type Computed = (u32, Option<Value>, Option<Time>);

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

    /// Computes members that are not computed yet, up to `limit` of them; answers whether all are.
    pub fn build(&mut self, store: &Store, now: Time, limit: u32, threads: usize) -> bool {
        let all = store.people.ordinals;
        let until = all.min(self.built.saturating_add(limit));
        let present = self.present_at(store, now);
        while self.built < until {
            let end = until.min(self.built.saturating_add(ROUND));
            let found = self.compute_all(store, &present, self.built..end, threads);
            for (member, value, next) in found.into_iter().flatten() {
                if let Some(next) = next {
                    self.due.enter(member, next);
                }
                self.column.set(member, value.as_ref());
            }
            self.built = end;
        }
        self.present = Some(present);
        self.built == all
    }

    /// What is to be kept of members; shared out between threads where they are many.
    fn compute_all(
        &self,
        store: &Store,
        present: &Present,
        members: std::ops::Range<u32>,
        threads: usize,
    ) -> Vec<Vec<Computed>> {
        let work = |members: std::ops::Range<u32>| -> Vec<Computed> {
            members
                .filter_map(|member| {
                    let (value, next) = self.value(store, MemberNo(member), present);
                    let value = value.filter(|value| Some(value) != self.default.as_ref());
                    (value.is_some() || next.is_some()).then_some((member, value, next))
                })
                .collect()
        };
        let share = members.len().div_ceil(threads).max(SHARE_MIN) as u32;
        let mut shares: Vec<_> = (members.clone().step_by(share as usize))
            .map(|from| from..members.end.min(from.saturating_add(share)))
            .collect();
        let Some(mine) = shares.pop() else {
            return Vec::new();
        };
        let work = &work;
        std::thread::scope(|scope| {
            let others: Vec<_> = shares
                .into_iter()
                .map(|share| scope.spawn(move || work(share)))
                .collect();
            let mut found = vec![work(mine)];
            for other in others {
                match other.join() {
                    Ok(it) => found.push(it),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            found
        })
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
                let hits = store.hits(*series, member);
                if hits.is_empty() {
                    return (None, None);
                }
                let span = present.span.expect("made for behaviour");
                let value = aggregate(*kind, *over, span.of(&hits), &store.zone);
                (value, next_change(window, span, &hits, now, store))
            }
            What::Sequence { series, sequence } => {
                let steps: Vec<Vec<Hit>> =
                    series.iter().map(|it| store.hits(*it, member)).collect();
                if steps.iter().all(Vec::is_empty) {
                    return (None, None);
                }
                let steps: Vec<&[Hit]> = steps.iter().map(|hits| &**hits).collect();
                let holds = sequence.evaluate(&steps, now, &store.zone).is_some();
                (yes(holds), sequence.next_change(&steps, now, &store.zone))
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

/// As [`Window::next_change`], by the table of days where it is enough.
fn next_change(
    window: &Window,
    span: Span,
    hits: &[Hit],
    now: Time,
    store: &Store,
) -> Option<Time> {
    let days = &store.days;
    let (leave, enter) = match window {
        Window::All => (None, 0),
        Window::Days(n) => (Some(i32::try_from(*n).ok()?), 0),
        Window::DaysAgo(a, b) => (
            Some(i32::try_from(*a).ok()?.checked_add(1)?),
            i32::try_from(*b).ok()?,
        ),
        other => return other.next_change(hits, now, &store.zone),
    };
    let oldest = span.of(hits).first().map(|hit| hit.time);
    let behind = hits.partition_point(|hit| hit.time <= span.to);
    let coming = hits.get(behind).map(|hit| hit.time);
    let leaves = oldest.zip(leave).map(|(at, n)| days.start(days.of(at) + n));
    let enters = coming.map(|at| match enter {
        0 => at,
        n => days.start(days.of(at) + n).max(at),
    });
    let both = leaves.into_iter().chain(enters);
    both.filter(|at| *at > now).min()
}
