//! What rules mean, a second time: straight from the tree over raw events, as simply as it can be said. The oracle.

use std::cmp::Ordering;
use std::str::FromStr;

use actors::model::{MemberNo, Time};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value as Json;
use unicode_normalization::UnicodeNormalization;

use crate::definition::{AttributeType, Basic};
use crate::profile::Value;
use crate::rule::Share;
use crate::rule::ast::*;
use crate::rule::testkit::{Dictionary, Happened, Person};

/// A value.
#[derive(Debug, Clone, PartialEq)]
enum V {
    Text(String),
    Number(Decimal),
    Bool(bool),
    Day(Date),
    At(Timestamp),
    Object(Json),
}

/// Everything that a rule is held against.
pub struct World<'a> {
    pub person: &'a Person,
    pub names: &'a Dictionary,
    pub now: Time,
    pub zone: TimeZone,
}

fn stamp(at: Time) -> Timestamp {
    Timestamp::from_millisecond(at.0).unwrap()
}

fn nfkc(text: &str) -> String {
    text.nfkc().collect()
}

fn lower(text: &str) -> String {
    nfkc(text).to_lowercase().replace('ς', "σ")
}

impl World<'_> {
    pub fn holds(&self, rule: &Rule) -> bool {
        match rule {
            Rule::And(rules) => rules.iter().all(|it| self.holds(it)),
            Rule::Or(rules) => rules.iter().any(|it| self.holds(it)),
            Rule::Not(rule) => !self.holds(rule),
            Rule::Attr { path, ask } => {
                let kind = self.names.attributes.get(path.root()).copied().flatten();
                let value = self.person.attributes.get(path.root());
                let values = self.attribute(value, &path.0[1..]);
                let basic = kind.map(|it| it.basic).filter(|_| path.0.len() == 1);
                self.ask(ask, &values, basic)
            }
            Rule::Tag { code, ask } => {
                let kind: Option<&AttributeType> = self.names.tags.get(&**code);
                let values = self.attribute(self.person.tags.get(&**code), &[]);
                self.ask(ask, &values, kind.map(|it| it.basic))
            }
            Rule::Some { path, rule } => {
                let value = self.person.attributes.get(path.root());
                let values = self.attribute(value, &path.0[1..]);
                values.iter().any(|it| match it {
                    V::Object(json) => self.on_object(rule, json, None),
                    _ => false,
                })
            }
            Rule::Event(event) => {
                let basic = match (
                    event.agg,
                    event.field.as_ref().map(Path::display).as_deref(),
                ) {
                    (
                        Aggregate::Count | Aggregate::Sum | Aggregate::Avg | Aggregate::Distinct,
                        _,
                    ) => Some(Basic::Number),
                    (_, Some("@time")) => Some(Basic::Time),
                    (_, Some("@day")) => Some(Basic::Date),
                    _ => None,
                };
                let result = self.aggregate(event);
                self.ask(&event.ask, result.as_slice(), basic)
            }
            Rule::Sequence {
                steps,
                within,
                lookback,
            } => {
                let within_ms = within.map(|it| {
                    let hours = match it.unit {
                        Unit::Day => 24 * 3_600_000,
                        Unit::Hour => 3_600_000,
                        Unit::Minute => 60_000,
                        _ => 1_000,
                    };
                    i64::from(it.n) * hours
                });
                self.follows(steps, within_ms, lookback, None, None)
            }
            Rule::Segment(id) => self.person.segments.contains(&**id),
            Rule::List(id) => self.person.lists.contains(&**id),
            Rule::Random { seed, percent } => {
                let millionths =
                    Decimal::from_str(&percent.to_string()).unwrap() * Decimal::from(10_000);
                let millionths = millionths.normalize().to_string().parse().unwrap();
                Share::new(seed, millionths).has(MemberNo(self.person.member))
            }
            Rule::Near { lat, lon, km, of } => {
                let Some(&(here_lat, here_lon)) = self.person.places.get(&**of) else {
                    return false;
                };
                let radians = |text: String| text.parse::<f64>().unwrap().to_radians();
                let (a, b) = (radians(lat.to_string()), here_lat.to_radians());
                let turn = radians(lon.to_string()) - here_lon.to_radians();
                let angle = (a.sin() * b.sin() + a.cos() * b.cos() * turn.cos()).clamp(-1.0, 1.0);
                angle.acos() * 6371.0088 <= km.to_string().parse().unwrap()
            }
        }
    }

    /// Whether steps are followed by events, each strictly later than the one before.
    fn follows(
        &self,
        steps: &[Step],
        within_ms: Option<i64>,
        lookback: &WindowRule,
        first: Option<Time>,
        last: Option<Time>,
    ) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            return match (first, last, within_ms) {
                (Some(first), Some(last), Some(ms)) => last.0 - first.0 <= ms,
                _ => true,
            };
        };
        self.events(&step.event, &step.conditions, lookback)
            .iter()
            .any(|event| {
                last.is_none_or(|last| event.time > last)
                    && self.follows(
                        rest,
                        within_ms,
                        lookback,
                        first.or(Some(event.time)),
                        Some(event.time),
                    )
            })
    }

    fn events(
        &self,
        names: &EventNames,
        conditions: &[Rule],
        window: &WindowRule,
    ) -> Vec<&Happened> {
        let fits = |event: &&Happened| {
            let name = nfkc(&event.name);
            let named = match names {
                EventNames::Names(names) => names.iter().any(|it| nfkc(it) == name),
                EventNames::Prefix(prefix) => {
                    name != EventNames::ORDERS && name.starts_with(&nfkc(prefix))
                }
                // Orders stand among the events of a test's person.
                EventNames::Orders => name == EventNames::ORDERS,
            };
            let json: Json = serde_json::from_str(&event.properties).unwrap();
            named
                && self.counts(event.time, window)
                && conditions
                    .iter()
                    .all(|it| self.on_object(it, &json, Some(event.time)))
        };
        self.person.events.iter().filter(fits).collect()
    }

    fn date(&self, at: Time) -> Date {
        stamp(at).to_zoned(self.zone.clone()).date()
    }

    fn counts(&self, at: Time, window: &WindowRule) -> bool {
        let month = |date: Date| i32::from(date.year()) * 12 + i32::from(date.month());
        let (day, today) = (self.date(at), self.date(self.now));
        let inside = match window {
            WindowRule::All => true,
            WindowRule::Within(Length { n, unit }) => match unit {
                Unit::Day => day > today - i64::from(*n).days(),
                Unit::Month => month(day) > month(today) - *n as i32,
                Unit::Hour => self.now.0 - at.0 <= i64::from(*n) * 3_600_000,
                Unit::Minute => self.now.0 - at.0 <= i64::from(*n) * 60_000,
                _ => self.now.0 - at.0 <= i64::from(*n) * 1_000,
            },
            WindowRule::Ago(a, b) if a.unit == Unit::Day => {
                today - i64::from(a.n).days() <= day && day <= today - i64::from(b.n).days()
            }
            WindowRule::Ago(a, b) => {
                let ago = month(today) - month(day);
                (b.n as i32..=a.n as i32).contains(&ago)
            }
            WindowRule::Between(a, b) => {
                let at = V::At(stamp(at));
                let order = |it: &Const| self.compare(&at, &self.constant(it, Some(Basic::Time)));
                order(a).unwrap().is_ge() && order(b).unwrap().is_le()
            }
        };
        inside && at <= self.now
    }

    fn aggregate(&self, event: &EventRule) -> Option<V> {
        let events = self.events(&event.event, &event.conditions, &event.window);
        let number = |count: usize| Some(V::Number(Decimal::from(count)));
        let Some(field) = &event.field else {
            return number(events.len());
        };
        let of_event = |event: &Happened| match &*field.display() {
            "@time" => vec![V::At(stamp(event.time))],
            "@day" => vec![V::Day(self.date(event.time))],
            _ => collect(&serde_json::from_str(&event.properties).unwrap(), &field.0),
        };
        if event.agg == Aggregate::Count {
            return number(events.iter().filter(|it| !of_event(it).is_empty()).count());
        }
        let values: Vec<V> = events.iter().flat_map(|it| of_event(it)).collect();
        let values: Vec<V> = (values.into_iter())
            .filter(|it| !matches!(it, V::Object(_)))
            .collect();
        let numbers: Vec<Decimal> = (values.iter())
            .filter_map(|it| match it {
                V::Number(number) => Some(*number),
                _ => None,
            })
            .collect();
        match event.agg {
            Aggregate::Count => None,
            Aggregate::Sum => Some(V::Number(numbers.iter().sum())),
            Aggregate::Avg if numbers.is_empty() => None,
            Aggregate::Avg => {
                let mean = numbers.iter().sum::<Decimal>() / Decimal::from(numbers.len());
                let rounding = RoundingStrategy::MidpointAwayFromZero;
                Some(V::Number(mean.round_dp_with_strategy(9, rounding)))
            }
            Aggregate::Min | Aggregate::Max => {
                let mut of: Vec<V> = match numbers.is_empty() {
                    true => values
                        .into_iter()
                        .filter(|it| !matches!(it, V::Bool(_)))
                        .collect(),
                    false => numbers.into_iter().map(V::Number).collect(),
                };
                of.sort_by(|a, b| order(a, b).unwrap());
                match event.agg {
                    Aggregate::Min => of.first().cloned(),
                    _ => of.last().cloned(),
                }
            }
            Aggregate::Distinct => {
                let mut seen: Vec<&V> = Vec::new();
                for value in &values {
                    if !seen.contains(&value) {
                        seen.push(value);
                    }
                }
                number(seen.len())
            }
            Aggregate::First => values.first().cloned(),
            Aggregate::Last => values.last().cloned(),
            Aggregate::MostFrequent => {
                let count = |value: &V| values.iter().filter(|it| *it == value).count();
                let most = values.iter().map(count).max()?;
                let mut often: Vec<&V> = values.iter().filter(|it| count(it) == most).collect();
                often.sort_by_key(|it| match it {
                    V::Text(text) => (text.clone(), 1),
                    V::Number(number) => (number.normalize().to_string(), 0),
                    V::Bool(yes) => (yes.to_string(), 0),
                    V::Day(day) => (day.to_string(), 0),
                    V::At(at) => (format!("{at:.3}"), 0),
                    V::Object(_) => unreachable!(),
                });
                often.first().map(|it| (*it).clone())
            }
        }
    }

    fn attribute(&self, value: Option<&Value>, rest: &[Box<str>]) -> Vec<V> {
        let Some(value) = value else {
            return Vec::new();
        };
        match value {
            Value::List(values) => values
                .iter()
                .flat_map(|it| self.attribute(Some(it), rest))
                .collect(),
            Value::Object(text) => collect(&serde_json::from_str(text).unwrap(), rest),
            _ if !rest.is_empty() => Vec::new(),
            Value::Cleared => Vec::new(),
            Value::Bool(yes) => vec![V::Bool(*yes)],
            Value::Int(number) => vec![V::Number(Decimal::from(*number))],
            Value::Number(number) => {
                vec![V::Number(Decimal::from_str(&number.to_string()).unwrap())]
            }
            Value::Date(days) => vec![V::Day(Date::constant(1970, 1, 1) + i64::from(*days).days())],
            Value::Time(at) => vec![V::At(stamp(*at))],
            Value::Text(text) if text.is_empty() => Vec::new(),
            Value::Text(text) => vec![V::Text(nfkc(text))],
        }
    }

    fn on_object(&self, rule: &Rule, object: &Json, time: Option<Time>) -> bool {
        match rule {
            Rule::And(rules) => rules.iter().all(|it| self.on_object(it, object, time)),
            Rule::Or(rules) => rules.iter().any(|it| self.on_object(it, object, time)),
            Rule::Not(rule) => !self.on_object(rule, object, time),
            Rule::Attr { path, ask } => match (&*path.display(), time) {
                ("@time", Some(time)) => self.ask(ask, &[V::At(stamp(time))], Some(Basic::Time)),
                ("@day", Some(time)) => {
                    self.ask(ask, &[V::Day(self.date(time))], Some(Basic::Date))
                }
                _ => self.ask(ask, &collect(object, &path.0), None),
            },
            Rule::Some { path, rule } => collect(object, &path.0).iter().any(|it| match it {
                V::Object(inner) => self.on_object(rule, inner, time),
                _ => false,
            }),
            other => panic!("{other:?} has no place in an object"),
        }
    }

    /// Whether values are as asked. `basic`: their type, if one is known.
    fn ask(&self, ask: &Ask, values: &[V], basic: Option<Basic>) -> bool {
        let texts = matches!(
            ask.op,
            Op::Contains | Op::StartsWith | Op::EndsWith | Op::Regex
        );
        let constants: Vec<V> = match &ask.value {
            Operand::None => Vec::new(),
            Operand::One(Const::Text(text)) if texts => vec![V::Text(text.to_string())],
            Operand::One(it) => vec![self.constant(it, basic)],
            Operand::Many(them) => them.iter().map(|it| self.constant(it, basic)).collect(),
        };
        let some = |holds: &dyn Fn(&V) -> bool| values.iter().any(holds);
        let is = |value: &V, constant: &V, wanted: &[Ordering]| {
            self.compare(value, constant)
                .is_some_and(|it| wanted.contains(&it))
        };
        use Ordering::{Equal, Greater, Less};
        let one_is = |wanted: &[Ordering]| some(&|it| is(it, &constants[0], wanted));
        let among = || some(&|it| constants.iter().any(|constant| is(it, constant, &[Equal])));
        let text = |holds: &dyn Fn(&str, &str) -> bool| match &constants[0] {
            V::Text(part) if part.is_empty() => true,
            V::Text(part) => some(&|it| match it {
                V::Text(text) => holds(&lower(text), &lower(part)),
                _ => false,
            }),
            _ => false,
        };
        match ask.op {
            Op::Exists => !values.is_empty(),
            Op::Missing => values.is_empty(),
            Op::Eq => one_is(&[Equal]),
            Op::Ne => !one_is(&[Equal]),
            Op::Gt => one_is(&[Greater]),
            Op::Gte => one_is(&[Greater, Equal]),
            Op::Lt => one_is(&[Less]),
            Op::Lte => one_is(&[Less, Equal]),
            Op::Between => some(&|it| {
                is(it, &constants[0], &[Greater, Equal]) && is(it, &constants[1], &[Less, Equal])
            }),
            Op::In | Op::HasAny => among(),
            Op::NotIn | Op::HasNone => !among(),
            Op::HasAll => constants
                .iter()
                .all(|constant| some(&|it| is(it, constant, &[Equal]))),
            Op::Contains => text(&|text, part| text.contains(part)),
            Op::StartsWith => text(&|text, part| text.starts_with(part)),
            Op::EndsWith => text(&|text, part| text.ends_with(part)),
            Op::IsDay => {
                let day = self.day(&constants[0]);
                some(&|it| self.when(it).is_some_and(|it| self.day(&it) == day))
            }
            Op::Regex => {
                let V::Text(pattern) = &constants[0] else {
                    return false;
                };
                let whole = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
                some(&|it| match it {
                    V::Text(text) => whole.is_match(text),
                    _ => false,
                })
            }
        }
    }

    fn day(&self, when: &V) -> Date {
        match when {
            V::Day(day) => *day,
            V::At(at) => at.to_zoned(self.zone.clone()).date(),
            other => panic!("{other:?} is no date"),
        }
    }

    /// A value as a date, for comparing with one.
    fn when(&self, value: &V) -> Option<V> {
        match value {
            V::Day(_) | V::At(_) => Some(value.clone()),
            V::Text(text) => date_of_text(text).or_else(|| {
                let wall = DateTime::from_str(text).ok().filter(|_| text.len() >= 16)?;
                Some(V::At(wall.to_zoned(self.zone.clone()).unwrap().timestamp()))
            }),
            _ => None,
        }
    }

    fn compare(&self, value: &V, constant: &V) -> Option<Ordering> {
        match constant {
            V::Day(_) | V::At(_) => match (self.when(value)?, constant) {
                (V::At(a), V::At(b)) => Some(a.cmp(b)),
                (a, b) => Some(self.day(&a).cmp(&self.day(b))),
            },
            _ => order(value, constant),
        }
    }

    fn constant(&self, constant: &Const, basic: Option<Basic>) -> V {
        match constant {
            Const::Number(number) => V::Number(Decimal::from_str(&number.to_string()).unwrap()),
            Const::Bool(yes) => V::Bool(*yes),
            Const::Text(text) => match basic {
                Some(Basic::Text) => V::Text(nfkc(text)),
                _ => date_of_text(text).unwrap_or_else(|| V::Text(nfkc(text))),
            },
            Const::Date(date) => self.computed(date),
        }
    }

    fn computed(&self, date: &DateExpr) -> V {
        let mut value = match date.base {
            Base::Now => V::At(stamp(self.now)),
            Base::Instant(at) => V::At(stamp(at)),
            Base::Day(days) => V::Day(Date::constant(1970, 1, 1) + i64::from(days).days()),
        };
        for &(n, unit) in &date.shift {
            let n = i64::from(n);
            let span = match unit {
                Unit::Year => n.years(),
                Unit::Month => n.months(),
                Unit::Week => n.weeks(),
                Unit::Day => n.days(),
                Unit::Hour => n.hours(),
                Unit::Minute => n.minutes(),
                Unit::Second => n.seconds(),
            };
            let on_line = matches!(unit, Unit::Hour | Unit::Minute | Unit::Second);
            value = match value {
                V::Day(day) if on_line => V::At((self.midnight(day) + span).timestamp()),
                V::Day(day) => V::Day(day + span),
                V::At(at) => V::At((at.to_zoned(self.zone.clone()) + span).timestamp()),
                other => other,
            };
        }
        let Some((round, to)) = date.round else {
            return value;
        };
        let day = self.day(&value);
        let (floor, next) = match to {
            RoundTo::Day => (day, day + 1.day()),
            RoundTo::Month => (day.first_of_month(), day.first_of_month() + 1.month()),
        };
        match value {
            V::Day(day) => V::Day(match round {
                Round::Ceil if floor != day => next,
                _ => floor,
            }),
            V::At(at) => {
                let floor = self.midnight(floor).timestamp();
                V::At(match round {
                    Round::Ceil if floor != at => self.midnight(next).timestamp(),
                    _ => floor,
                })
            }
            other => other,
        }
    }

    fn midnight(&self, day: Date) -> Zoned {
        day.to_zoned(self.zone.clone())
            .unwrap()
            .start_of_day()
            .unwrap()
    }
}

fn date_of_text(text: &str) -> Option<V> {
    if text.len() == 10 {
        return Date::from_str(text).ok().map(V::Day);
    }
    Timestamp::from_str(text).ok().map(V::At)
}

/// Values of one type in their order.
fn order(a: &V, b: &V) -> Option<Ordering> {
    match (a, b) {
        (V::Text(a), V::Text(b)) => Some(a.chars().cmp(b.chars())),
        (V::Number(a), V::Number(b)) => Some(a.cmp(b)),
        (V::Bool(a), V::Bool(b)) => Some(a.cmp(b)),
        (V::Day(a), V::Day(b)) => Some(a.cmp(b)),
        (V::At(a), V::At(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// All values at a path; null, empty text and empty lists are none.
fn collect(json: &Json, path: &[Box<str>]) -> Vec<V> {
    match (json, path.split_first()) {
        (Json::Array(items), _) => items.iter().flat_map(|it| collect(it, path)).collect(),
        (Json::Object(pairs), Some((key, rest))) => {
            pairs.get(&**key).map_or(Vec::new(), |it| collect(it, rest))
        }
        (_, Some(_)) => Vec::new(),
        (Json::Null, None) => Vec::new(),
        (Json::String(text), None) if text.is_empty() => Vec::new(),
        (Json::String(text), None) => vec![V::Text(nfkc(text))],
        (Json::Bool(yes), None) => vec![V::Bool(*yes)],
        (Json::Number(number), None) => {
            vec![V::Number(
                Decimal::from_str(&number.to_string()).unwrap().normalize(),
            )]
        }
        (Json::Object(_), None) => vec![V::Object(json.clone())],
    }
}
