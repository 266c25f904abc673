//! Windows of time: which events count now, and when the clock alone changes that.
//!
//! An event dated in the future counts from its own time on, so no window reaches beyond `now`.

use actors::model::Time;
use jiff::tz::TimeZone;

use super::calendar::{day_end, day_of, day_start, month_start};
use super::constant::{Constant, Motion, Point};
use super::measure::Hit;

/// A window of a checked rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// All history.
    All,
    /// Today and the days before, so many in all.
    Days(u32),
    /// This calendar month and those before, so many in all.
    Months(u32),
    /// So many milliseconds back; an event exactly so old counts.
    Slide(i64),
    /// From a bound to a bound, both included; a day counts as a whole.
    Between(Constant, Constant),
    /// The days from so many ago to so many ago, both included.
    DaysAgo(u32, u32),
    /// The calendar months from so many ago to so many ago, both included.
    MonthsAgo(u32, u32),
}

/// Instants from one to another, both included. Empty if `to` lies before `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub from: Time,
    /// The last.
    pub to: Time,
}

impl Span {
    /// Whether an instant is inside.
    pub fn has(self, at: Time) -> bool {
        self.from <= at && at <= self.to
    }

    /// The part of a history (sorted by time) that is inside.
    pub fn of(self, hits: &[Hit]) -> &[Hit] {
        let from = hits.partition_point(|hit| hit.time < self.from);
        let to = hits.partition_point(|hit| hit.time <= self.to);
        hits.get(from..to).unwrap_or_default()
    }
}

fn whole(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl Window {
    /// The instants that count at `now`.
    pub fn at(&self, now: Time, zone: &TimeZone) -> Span {
        let (from, to) = match self {
            Window::All => (Time(i64::MIN), now),
            Window::Slide(ms) => (now.plus_ms(-ms), now),
            Window::Between(a, b) => {
                let from = match a.at(now, zone) {
                    Point::Day { from, .. } => from,
                    Point::Instant { at, .. } => at,
                    _ => Time::MAX,
                };
                let to = match b.at(now, zone) {
                    Point::Day { to, .. } => Time(to.0 - 1),
                    Point::Instant { at, .. } => at,
                    _ => Time::MIN,
                };
                (from, to)
            }
            _ => {
                let today = day_of(now, zone);
                match self.days(today) {
                    (from, None) => (day_start(from, zone), now),
                    (from, Some(to)) => (day_start(from, zone), Time(day_end(to, zone).0 - 1)),
                }
            }
        };
        Span {
            from,
            to: to.min(now),
        }
    }

    /// First and last day of a window of whole days; no last day: up to now.
    fn days(&self, today: i32) -> (i32, Option<i32>) {
        match self {
            Window::Days(n) => (today - whole(*n) + 1, None),
            Window::Months(n) => (month_start(today, 1 - whole(*n)), None),
            Window::DaysAgo(a, b) => (today - whole(*a), Some(today - whole(*b))),
            Window::MonthsAgo(a, b) => (
                month_start(today, -whole(*a)),
                Some(month_start(today, 1 - whole(*b)) - 1),
            ),
            Window::All | Window::Slide(_) | Window::Between(..) => (today, None),
        }
    }

    /// How its bounds move, future events aside.
    pub fn motion(&self) -> Motion {
        match self {
            Window::All => Motion::Still,
            Window::Slide(_) => Motion::Slides,
            Window::Between(a, b) => match (a.motion(), b.motion()) {
                (Motion::Slides, _) | (_, Motion::Slides) => Motion::Slides,
                (Motion::Steps, _) | (_, Motion::Steps) => Motion::Steps,
                _ => Motion::Still,
            },
            Window::Days(_) | Window::DaysAgo(..) | Window::Months(_) | Window::MonthsAgo(..) => {
                Motion::Steps
            }
        }
    }

    /// The next instant at which a bound steps: a day or month turns. `None`: bounds stay or slide.
    pub fn next_step(&self, now: Time, zone: &TimeZone) -> Option<Time> {
        let today = day_of(now, zone);
        match self {
            Window::All | Window::Slide(_) => None,
            Window::Between(a, b) => {
                let steps = [a.next_step(now, zone), b.next_step(now, zone)];
                steps.into_iter().flatten().min()
            }
            Window::Days(_) | Window::DaysAgo(..) => Some(day_end(today, zone)),
            Window::Months(_) | Window::MonthsAgo(..) => {
                Some(day_start(month_start(today, 1), zone))
            }
        }
    }

    /// The first instant after `now` at which another set of these events (sorted by time) may count.
    pub fn next_change(&self, hits: &[Hit], now: Time, zone: &TimeZone) -> Option<Time> {
        if hits.is_empty() {
            return None;
        }
        let span = self.at(now, zone);
        let oldest = span.of(hits).first().map(|hit| hit.time);
        let behind = hits.partition_point(|hit| hit.time <= span.to);
        let coming = hits.get(behind).map(|hit| hit.time);
        let leaves = oldest.and_then(|at| self.leaves(at, now, zone));
        let enters = coming.and_then(|at| self.enters(at, now, zone));
        let moves = match self {
            Window::Between(a, b) => {
                let steps = |constant: &Constant| match constant.motion() {
                    Motion::Still => None,
                    Motion::Steps => constant.next_step(now, zone),
                    Motion::Slides => constant.breakpoint(now, zone),
                };
                [steps(a), steps(b)].into_iter().flatten().min()
            }
            _ => None,
        };
        [leaves, enters, moves]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    /// When an event that counts does so no longer. For moving bounds of `between`: while they keep their motion.
    pub fn leaves(&self, event: Time, now: Time, zone: &TimeZone) -> Option<Time> {
        let day = || day_of(event, zone);
        match self {
            Window::All => None,
            Window::Days(n) => Some(day_start(day() + whole(*n), zone)),
            Window::Months(n) => Some(day_start(month_start(day(), whole(*n)), zone)),
            Window::Slide(ms) => Some(event.plus_ms(ms + 1)),
            Window::DaysAgo(a, _) => Some(day_start(day() + whole(*a) + 1, zone)),
            Window::MonthsAgo(a, _) => Some(day_start(month_start(day(), whole(*a) + 1), zone)),
            Window::Between(a, _) => match (a.motion(), a.at(now, zone)) {
                (Motion::Slides, Point::Instant { at, .. }) => {
                    Some(now.plus_ms(event.0 - at.0 + 1))
                }
                _ => None,
            },
        }
    }

    /// When an event behind the window begins to count.
    fn enters(&self, event: Time, now: Time, zone: &TimeZone) -> Option<Time> {
        let day = || day_of(event, zone);
        let at = match self {
            Window::All | Window::Days(_) | Window::Months(_) | Window::Slide(_) => event,
            Window::DaysAgo(_, b) => day_start(day() + whole(*b), zone),
            Window::MonthsAgo(_, b) => day_start(month_start(day(), whole(*b)), zone),
            Window::Between(_, b) => match (b.motion(), b.at(now, zone)) {
                (Motion::Slides, Point::Instant { at, .. }) => now.plus_ms(event.0 - at.0),
                (_, Point::Day { to, .. }) if event >= to => return None,
                (_, Point::Instant { at, .. }) if event > at => return None,
                _ => event,
            },
        };
        Some(at.max(event))
    }
}
