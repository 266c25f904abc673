//! Constants of conditions: typed once, and computed again when they depend on the present.

use actors::model::Time;
use jiff::tz::TimeZone;

use super::ast::{Base, DateExpr, Round, RoundTo, Unit};
use super::calendar::{
    add_months, day_end, day_of, day_start, month_start, near_transition, shift_wall,
};
use super::scalar::When;
use crate::profile::value::Number;

/// A constant, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constant {
    /// Text after NFKC.
    Text(Box<str>),
    /// Number.
    Number(Number),
    /// Yes or no.
    Bool(bool),
    /// A day.
    Day(i32),
    /// An instant.
    Instant(Time),
    /// A computed date.
    Computed(DateExpr),
}

/// A constant at one `now` in one zone, with all that comparing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// Text after NFKC.
    Text(Box<str>),
    /// Number.
    Number(Number),
    /// Yes or no.
    Bool(bool),
    /// A day.
    Day {
        /// Days since 1970-01-01.
        day: i32,
        /// Its first instant.
        from: Time,
        /// The first instant of the next day.
        to: Time,
    },
    /// An instant.
    Instant {
        /// It.
        at: Time,
        /// Its day.
        day: i32,
    },
}

/// How a constant or a bound moves while time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// Not at all.
    Still,
    /// In steps: it stays as it is until [`Constant::breakpoint`].
    Steps,
    /// With `now`, at its pace, until [`Constant::breakpoint`].
    Slides,
}

/// Granularity of looking again near a change of the zone's offset. Zones change their offset at quarter hours.
const QUARTER_MS: i64 = 15 * 60_000;

impl Constant {
    /// The constant at `now`.
    pub fn at(&self, now: Time, zone: &TimeZone) -> Point {
        match self {
            Constant::Text(text) => Point::Text(text.clone()),
            Constant::Number(number) => Point::Number(*number),
            Constant::Bool(yes) => Point::Bool(*yes),
            Constant::Day(day) => Point::day(*day, zone),
            Constant::Instant(at) => Point::instant(*at, zone),
            Constant::Computed(date) => match compute(date, now, zone, &mut |_| {}) {
                When::Day(day) => Point::day(day, zone),
                When::Instant(at) => Point::instant(at, zone),
            },
        }
    }

    /// How it moves.
    pub fn motion(&self) -> Motion {
        match self {
            Constant::Computed(date) if date.base == Base::Now => match date.round {
                Some(_) => Motion::Steps,
                None => Motion::Slides,
            },
            _ => Motion::Still,
        }
    }

    /// An instant after `now` before which the constant keeps its [`Motion`]: a step stays where it is, a slide moves
    /// exactly with `now` and within one day. `None`: for ever.
    pub fn breakpoint(&self, now: Time, zone: &TimeZone) -> Option<Time> {
        let Constant::Computed(date) = self else {
            return None;
        };
        if date.base != Base::Now {
            return None;
        }
        let mut next = Time::MAX;
        let mut near = false;
        let is_up = matches!(date.round, Some((Round::Ceil, _)));
        let mut look = |at: Time| {
            let day = day_of(at, zone);
            let midnight = day_end(day, zone);
            next = next.min(now.plus_ms((midnight.0 - at.0).max(1)));
            // A beginning of a day is rounded up to itself, the instant after it to the next.
            if is_up && at == day_start(day, zone) {
                next = now.plus_ms(1);
            }
            near |= near_transition(at, zone);
        };
        look(now);
        compute(date, now, zone, &mut look);
        if near {
            let quarter = now.0 - now.0.rem_euclid(QUARTER_MS) + QUARTER_MS;
            next = next.min(Time(quarter));
        }
        (now < next).then_some(next)
    }

    /// The next instant at which a constant that steps is another one. `None`: it never is, or it slides.
    pub fn next_step(&self, now: Time, zone: &TimeZone) -> Option<Time> {
        /// Breakpoints to pass at most before answering one where nothing changes: a month of days, with a change of offset.
        const BREAKPOINTS_MAX: usize = 400;
        if self.motion() != Motion::Steps {
            return None;
        }
        let present = self.at(now, zone);
        let mut at = self.breakpoint(now, zone)?;
        for _ in 0..BREAKPOINTS_MAX {
            if self.at(at, zone) != present {
                break;
            }
            at = self.breakpoint(at, zone)?;
        }
        Some(at)
    }
}

impl Point {
    /// A day.
    pub fn day(day: i32, zone: &TimeZone) -> Point {
        Point::Day {
            day,
            from: day_start(day, zone),
            to: day_end(day, zone),
        }
    }

    /// An instant.
    pub fn instant(at: Time, zone: &TimeZone) -> Point {
        Point::Instant {
            at,
            day: day_of(at, zone),
        }
    }

    /// The day it is, or lies on; `None` for what is no date.
    pub fn as_day(&self) -> Option<i32> {
        match self {
            Point::Day { day, .. } | Point::Instant { day, .. } => Some(*day),
            _ => None,
        }
    }
}

/// Computes a date; `seen` is shown every instant on the way, before rounding.
fn compute(date: &DateExpr, now: Time, zone: &TimeZone, seen: &mut dyn FnMut(Time)) -> When {
    let mut when = match date.base {
        Base::Now => When::Instant(now),
        Base::Instant(at) => When::Instant(at),
        Base::Day(day) => When::Day(day),
    };
    for &(n, unit) in &date.shift {
        let (months, days) = match unit {
            Unit::Year => (n.saturating_mul(12), 0),
            Unit::Month => (n, 0),
            Unit::Week => (0, n.saturating_mul(7)),
            Unit::Day => (0, n),
            Unit::Hour | Unit::Minute | Unit::Second => (0, 0),
        };
        when = match (when, unit.line_ms()) {
            (When::Instant(at), Some(ms)) => When::Instant(at.plus_ms(ms * i64::from(n))),
            (When::Day(day), Some(ms)) => {
                When::Instant(day_start(day, zone).plus_ms(ms * i64::from(n)))
            }
            (When::Instant(at), None) => When::Instant(shift_wall(at, months, days, zone)),
            (When::Day(day), None) => When::Day(add_months(day, months).saturating_add(days)),
        };
        if let When::Instant(at) = when {
            seen(at);
        }
    }
    let Some((round, to)) = date.round else {
        return when;
    };
    match when {
        When::Day(day) => {
            let floor = match to {
                RoundTo::Day => day,
                RoundTo::Month => month_start(day, 0),
            };
            When::Day(match round {
                Round::Ceil if floor < day => month_start(day, 1),
                _ => floor,
            })
        }
        When::Instant(at) => {
            let day = day_of(at, zone);
            let (floor, next) = match to {
                RoundTo::Day => (day, day.saturating_add(1)),
                RoundTo::Month => (month_start(day, 0), month_start(day, 1)),
            };
            let floor = day_start(floor, zone);
            When::Instant(match round {
                Round::Ceil if floor < at => day_start(next, zone),
                _ => floor,
            })
        }
    }
}
