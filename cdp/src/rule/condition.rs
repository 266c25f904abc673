//! A condition on one value: operator and typed constants, and whether it holds.
//!
//! A [`Test`] belongs to a plan; [`Test::at`] makes it a [`Fixed`] one for one `now` and zone, which is what values are held
//! against.

use std::cmp::Ordering;

use actors::model::Time;
use jiff::tz::TimeZone;
use regex::Regex;
use smallvec::SmallVec;

use super::ast::Op;
use super::constant::{Constant, Motion, Point};
use super::scalar::{Scalar, When, folded, nfkc};
use crate::profile::Value;
use crate::profile::value::Number;

/// An operator with typed constants.
#[derive(Debug, Clone)]
pub struct Test {
    /// The operator.
    pub op: Op,
    /// Its constants, of the number that the operator takes.
    pub constants: Vec<Constant>,
    /// The compiled expression of `regex`, anchored at both ends.
    pub regex: Option<Regex>,
}

/// A condition whose constants are computed.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// The complement of what `want` says.
    pub negative: bool,
    /// What one value has to satisfy.
    pub want: Want,
    zone: TimeZone,
}

/// What is wanted. A list satisfies it if one value does, apart from [`Want::All`].
#[derive(Debug, Clone)]
pub enum Want {
    /// Nothing: everybody satisfies it (`has_all []`, and everything contains the empty text).
    Anything,
    /// There is a value.
    Value,
    /// Compares so with a point.
    Compare(Compare, Point),
    /// From a point to a point, both included.
    Between(Point, Point),
    /// Equals one of these.
    Among(Among),
    /// Each of these equals one of the values.
    All(Vec<Point>),
    /// Lies on the day.
    OnDay {
        /// Days since 1970-01-01.
        day: i32,
        /// Its first instant.
        from: Time,
        /// The first instant of the next day.
        to: Time,
    },
    /// Holds this text ([`folded`]).
    Contains(Box<str>),
    /// Begins with this text ([`folded`]).
    StartsWith(Box<str>),
    /// Ends with this text ([`folded`]).
    EndsWith(Box<str>),
    /// Matches as a whole.
    Matches(Regex),
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
}

/// A set of constants, sorted by type for lists of thousands.
#[derive(Debug, Clone, Default)]
pub struct Among {
    /// Texts, sorted.
    pub texts: Vec<Box<str>>,
    /// Numbers, sorted.
    pub numbers: Vec<Number>,
    /// The rest.
    pub others: Vec<Point>,
}

impl Compare {
    /// Whether an order is as wanted.
    pub fn allows(self, order: Ordering) -> bool {
        match self {
            Compare::Eq => order.is_eq(),
            Compare::Gt => order.is_gt(),
            Compare::Gte => order.is_ge(),
            Compare::Lt => order.is_lt(),
            Compare::Lte => order.is_le(),
        }
    }
}

impl Test {
    /// The condition at one instant.
    pub fn at(&self, now: Time, zone: &TimeZone) -> Fixed {
        let mut points = self.constants.iter().map(|it| it.at(now, zone));
        let mut first = || points.next();
        let negative = matches!(self.op, Op::Ne | Op::NotIn | Op::HasNone | Op::Missing);
        let compare = match self.op {
            Op::Gt => Compare::Gt,
            Op::Gte => Compare::Gte,
            Op::Lt => Compare::Lt,
            Op::Lte => Compare::Lte,
            _ => Compare::Eq,
        };
        let text = |point: Option<Point>, make: fn(Box<str>) -> Want| match point {
            Some(Point::Text(text)) if text.is_empty() => Want::Anything,
            Some(Point::Text(text)) => make(folded(&text).into()),
            _ => Want::Among(Among::default()),
        };
        let want = match self.op {
            Op::Exists | Op::Missing => Want::Value,
            Op::Eq | Op::Ne | Op::Gt | Op::Gte | Op::Lt | Op::Lte => match first() {
                Some(point) => Want::Compare(compare, point),
                None => Want::Among(Among::default()),
            },
            Op::Between => match (first(), first()) {
                (Some(low), Some(high)) => Want::Between(low, high),
                _ => Want::Among(Among::default()),
            },
            Op::In | Op::NotIn | Op::HasAny | Op::HasNone => Want::Among(Among::new(points)),
            Op::HasAll if self.constants.is_empty() => Want::Anything,
            Op::HasAll => Want::All(points.collect()),
            Op::IsDay => match first()
                .and_then(|it| it.as_day())
                .map(|it| Point::day(it, zone))
            {
                Some(Point::Day { day, from, to }) => Want::OnDay { day, from, to },
                _ => Want::Among(Among::default()),
            },
            Op::Contains => text(first(), Want::Contains),
            Op::StartsWith => text(first(), Want::StartsWith),
            Op::EndsWith => text(first(), Want::EndsWith),
            Op::Regex => match &self.regex {
                Some(regex) => Want::Matches(regex.clone()),
                None => Want::Among(Among::default()),
            },
        };
        Fixed {
            negative,
            want,
            zone: zone.clone(),
        }
    }

    /// How its constants move: [`Motion::Slides`] if one slides.
    pub fn motion(&self) -> Motion {
        let motions = || self.constants.iter().map(Constant::motion);
        if motions().any(|it| it == Motion::Slides) {
            Motion::Slides
        } else if motions().any(|it| it == Motion::Steps) {
            Motion::Steps
        } else {
            Motion::Still
        }
    }

    /// The next instant at which a constant that steps is another one.
    pub fn next_step(&self, now: Time, zone: &TimeZone) -> Option<Time> {
        let steps = self.constants.iter().map(|it| it.next_step(now, zone));
        steps.flatten().min()
    }

    /// The first instant after `now` at which the outcome for this value may differ by the clock alone.
    pub fn next_change(&self, value: Option<&Value>, now: Time, zone: &TimeZone) -> Option<Time> {
        if self.motion() == Motion::Still {
            return None;
        }
        let value = value?;
        let mut next: Option<Time> = None;
        let mut offer = |at: Time| {
            if at > now && next.is_none_or(|known| at < known) {
                next = Some(at);
            }
        };
        for constant in &self.constants {
            match (constant.motion(), constant.at(now, zone)) {
                (Motion::Still, _) => {}
                (Motion::Slides, Point::Instant { at: from, .. }) => {
                    constant
                        .breakpoint(now, zone)
                        .into_iter()
                        .for_each(&mut offer);
                    Scalar::each(value, &mut |scalar| {
                        if let Some(When::Instant(at)) = scalar.when(zone) {
                            let meets = now.plus_ms(at.0.saturating_sub(from.0));
                            offer(meets);
                            offer(meets.plus_ms(1));
                        }
                    });
                }
                _ => constant
                    .next_step(now, zone)
                    .into_iter()
                    .for_each(&mut offer),
            }
        }
        next
    }

    /// Whether the condition holds at `now`; for many values make it [`Fixed`] once.
    pub fn holds(&self, value: Option<&Value>, now: Time, zone: &TimeZone) -> bool {
        self.at(now, zone).holds(value)
    }
}

impl Among {
    fn new(points: impl Iterator<Item = Point>) -> Among {
        let mut among = Among::default();
        for point in points {
            match point {
                Point::Text(text) => among.texts.push(text),
                Point::Number(number) => among.numbers.push(number),
                other => among.others.push(other),
            }
        }
        among.texts.sort_unstable();
        among.numbers.sort_unstable();
        among
    }

    fn has(&self, scalar: &Scalar<'_>, zone: &TimeZone) -> bool {
        let known = match scalar {
            Scalar::Text(text) if !self.texts.is_empty() => {
                let text = nfkc(text);
                self.texts.binary_search_by(|it| (**it).cmp(&text)).is_ok()
            }
            Scalar::Int(_) | Scalar::Number(_) => match scalar.decimal() {
                Some(number) => self
                    .numbers
                    .binary_search_by(|it| it.decimal().cmp(&number))
                    .is_ok(),
                None => false,
            },
            _ => false,
        };
        known
            || (self.others.iter())
                .any(|point| compare(scalar, point, zone) == Some(Ordering::Equal))
    }
}

impl Fixed {
    /// Whether the condition holds for a value, a list, or nothing.
    pub fn holds(&self, value: Option<&Value>) -> bool {
        let mut probe = self.probe();
        if let Some(value) = value {
            Scalar::each(value, &mut |scalar| probe.feed(&scalar));
        }
        probe.holds()
    }

    /// Takes values one by one.
    pub fn probe(&self) -> Probe<'_> {
        let seen = match &self.want {
            Want::All(points) => SmallVec::from_elem(0, points.len().div_ceil(64)),
            _ => SmallVec::new(),
        };
        Probe {
            test: self,
            hit: matches!(self.want, Want::Anything),
            seen,
        }
    }

    /// Whether one value satisfies what is wanted, complement and [`Want::All`] aside.
    fn wants(&self, scalar: &Scalar<'_>) -> bool {
        let is = |point: &Point, wanted: Compare| {
            compare(scalar, point, &self.zone).is_some_and(|order| wanted.allows(order))
        };
        match &self.want {
            Want::Anything | Want::Value => true,
            Want::Compare(wanted, point) => is(point, *wanted),
            Want::Between(low, high) => is(low, Compare::Gte) && is(high, Compare::Lte),
            Want::Among(among) => among.has(scalar, &self.zone),
            Want::All(_) => false,
            Want::OnDay { day, from, to } => match scalar.when(&self.zone) {
                Some(When::Day(of)) => of == *day,
                Some(When::Instant(at)) => (*from..*to).contains(&at),
                None => false,
            },
            Want::Contains(text) => is_text(scalar, |it| it.contains(&**text)),
            Want::StartsWith(text) => is_text(scalar, |it| it.starts_with(&**text)),
            Want::EndsWith(text) => is_text(scalar, |it| it.ends_with(&**text)),
            Want::Matches(regex) => match scalar {
                Scalar::Text(text) => regex.is_match(&nfkc(text)),
                _ => false,
            },
        }
    }
}

/// A condition that is shown one value after the other.
pub struct Probe<'a> {
    test: &'a Fixed,
    hit: bool,
    /// Bits of the constants of [`Want::All`] that were met.
    seen: SmallVec<[u64; 2]>,
}

impl Probe<'_> {
    /// Shows a value.
    pub fn feed(&mut self, scalar: &Scalar<'_>) {
        match &self.test.want {
            _ if self.hit => {}
            Want::All(points) => {
                for (index, point) in points.iter().enumerate() {
                    if compare(scalar, point, &self.test.zone) == Some(Ordering::Equal) {
                        self.seen[index / 64] |= 1 << (index % 64);
                    }
                }
                let met: u32 = self.seen.iter().map(|bits| bits.count_ones()).sum();
                self.hit = met as usize == points.len();
            }
            _ => self.hit = self.test.wants(scalar),
        }
    }

    /// Whether the condition holds after all that was shown.
    pub fn holds(&self) -> bool {
        self.hit != self.test.negative
    }
}

fn is_text(scalar: &Scalar<'_>, holds: impl Fn(&str) -> bool) -> bool {
    match scalar {
        Scalar::Text(text) => holds(&folded(text)),
        _ => false,
    }
}

/// Compares a value with a constant; `None` where types differ. An instant compared with a day compares days.
pub fn compare(scalar: &Scalar<'_>, point: &Point, zone: &TimeZone) -> Option<Ordering> {
    match point {
        Point::Text(wanted) => match scalar {
            Scalar::Text(text) => Some(nfkc(text).as_bytes().cmp(wanted.as_bytes())),
            _ => None,
        },
        Point::Number(wanted) => match scalar {
            // Both whole: the common case without a decimal library.
            Scalar::Int(number) if let Some(wanted) = wanted.as_int() => Some(number.cmp(&wanted)),
            _ => Some(scalar.decimal()?.cmp(&wanted.decimal())),
        },
        Point::Bool(wanted) => match scalar {
            Scalar::Bool(yes) => Some(yes.cmp(wanted)),
            _ => None,
        },
        Point::Day { day, from, to } => match scalar.when(zone)? {
            When::Day(of) => Some(of.cmp(day)),
            When::Instant(at) if at < *from => Some(Ordering::Less),
            When::Instant(at) if at >= *to => Some(Ordering::Greater),
            When::Instant(_) => Some(Ordering::Equal),
        },
        Point::Instant { at, day } => match scalar.when(zone)? {
            When::Day(of) => Some(of.cmp(day)),
            When::Instant(of) => Some(of.cmp(at)),
        },
    }
}
