//! What is computed of the events of a measure, and what is asked of the result.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use actors::model::Time;
use jiff::tz::TimeZone;

use super::ast::Aggregate;
use super::calendar::day_of;
use super::condition::Test;
use super::measure::{Hit, Measure};
use super::window::Window;
use crate::profile::Value;
use crate::profile::value::Nanos;

/// An event clause.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Of which events.
    pub measure: Arc<Measure>,
    /// Of which time.
    pub window: Window,
    /// What is computed.
    pub aggregate: Aggregate,
    /// Of what.
    pub over: Over,
    /// What is asked of the result.
    pub test: Test,
}

/// What an aggregate is computed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The events themselves: `count` without a field.
    Events,
    /// Their instants: `@time`.
    Time,
    /// Their days: `@day`.
    Day,
    /// The values of the measure's field.
    Field,
}

impl Behaviour {
    /// The aggregate over a history: events of the measure, sorted by time (ties in the order of arrival), each once.
    pub fn evaluate(&self, hits: &[Hit], now: Time, zone: &TimeZone) -> Option<Value> {
        let hits = self.window.at(now, zone).of(hits);
        aggregate(self.aggregate, self.over, hits, zone)
    }

    /// Whether the clause holds.
    pub fn holds(&self, hits: &[Hit], now: Time, zone: &TimeZone) -> bool {
        let value = self.evaluate(hits, now, zone);
        self.test.holds(value.as_ref(), now, zone)
    }

    /// The first instant after `now` at which the outcome may differ without new events.
    pub fn next_change(&self, hits: &[Hit], now: Time, zone: &TimeZone) -> Option<Time> {
        let events = self.window.next_change(hits, now, zone);
        let value = self.evaluate(hits, now, zone);
        let test = self.test.next_change(value.as_ref(), now, zone);
        [events, test].into_iter().flatten().min()
    }
}

/// An aggregate over events that all count.
pub fn aggregate(kind: Aggregate, over: Over, hits: &[Hit], zone: &TimeZone) -> Option<Value> {
    match over {
        Over::Events => Some(whole(hits.len())),
        Over::Time => of_own(kind, hits, |hit| Value::Time(hit.time)),
        Over::Day => of_own(kind, hits, |hit| Value::Date(day_of(hit.time, zone))),
        Over::Field => of_field(kind, hits),
    }
}

fn whole(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Over a value that every event has and that grows with its time.
fn of_own(kind: Aggregate, hits: &[Hit], value: impl Fn(&Hit) -> Value) -> Option<Value> {
    match kind {
        Aggregate::Count => Some(whole(hits.len())),
        Aggregate::Min | Aggregate::First => hits.first().map(value),
        Aggregate::Max | Aggregate::Last => hits.last().map(value),
        Aggregate::Distinct => {
            let mut values: Vec<Value> = hits.iter().map(value).collect();
            values.dedup();
            Some(whole(values.len()))
        }
        Aggregate::MostFrequent => most_frequent(hits.iter().map(|hit| (value(hit), 1))),
        Aggregate::Sum | Aggregate::Avg => None,
    }
}

fn of_field(kind: Aggregate, hits: &[Hit]) -> Option<Value> {
    let values = || {
        hits.iter()
            .filter_map(|hit| hit.value.as_ref())
            .flat_map(each)
    };
    let comparable = || values().filter(|value| !matches!(value, Value::Object(_)));
    match kind {
        Aggregate::Count => Some(whole(hits.iter().filter(|hit| hit.value.is_some()).count())),
        Aggregate::Sum => {
            let sum = values()
                .filter_map(Value::nanos)
                .fold(Nanos(0), Nanos::plus);
            Some(sum.value())
        }
        Aggregate::Avg => {
            let numbers = values().filter_map(Value::nanos);
            let (sum, count) = numbers.fold((Nanos(0), 0), |(sum, n), it| (sum.plus(it), n + 1));
            mean(sum, count)
        }
        Aggregate::Min => extreme(values(), Ordering::is_lt),
        Aggregate::Max => extreme(values(), Ordering::is_gt),
        Aggregate::Distinct => {
            let mut distinct: Vec<&Value> = comparable().collect();
            distinct.sort_unstable();
            distinct.dedup();
            Some(whole(distinct.len()))
        }
        Aggregate::First => comparable().next().cloned(),
        Aggregate::Last => comparable().next_back().cloned(),
        Aggregate::MostFrequent => most_frequent(comparable().map(|value| (value.clone(), 1))),
    }
}

fn each(value: &Value) -> &[Value] {
    match value {
        Value::List(values) => values,
        one => std::slice::from_ref(one),
    }
}

/// The mean of numbers by their sum; absent for none. Rounded half away from zero to billionths.
pub fn mean(sum: Nanos, count: u64) -> Option<Value> {
    let count = i128::from(count);
    if count == 0 {
        return None;
    }
    let (quotient, rest) = (sum.0 / count, sum.0 % count);
    let up = if rest.abs() * 2 >= count {
        rest.signum()
    } else {
        0
    };
    Some(Nanos(quotient + up).value())
}

/// Numbers go before texts: if there is a number, texts do not count.
fn extreme<'a>(
    values: impl Iterator<Item = &'a Value>,
    better: impl Fn(Ordering) -> bool,
) -> Option<Value> {
    let mut best: Option<&Value> = None;
    for value in values {
        let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Number(_));
        if !is_number(value) && !matches!(value, Value::Text(_)) {
            continue;
        }
        let wins = match best {
            None => true,
            Some(best) if is_number(best) != is_number(value) => is_number(value),
            Some(best) => better(value.compare(best)),
        };
        if wins {
            best = Some(value);
        }
    }
    best.cloned()
}

/// The value that came most often; of several the first in text order (a number before the text that looks like it).
pub fn most_frequent(values: impl Iterator<Item = (Value, u64)>) -> Option<Value> {
    let mut counts: BTreeMap<Value, u64> = BTreeMap::new();
    for (value, count) in values {
        *counts.entry(value).or_default() += count;
    }
    let most = counts.values().copied().max()?;
    counts
        .into_iter()
        .filter(|(_, count)| *count == most)
        .map(|(value, _)| (text_of(&value), value))
        .min()
        .map(|(_, value)| value)
}

/// A value as people read it, and as ties of `most_frequent` are ordered.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Number(number) => number.to_string(),
        other => match other.to_json() {
            serde_json::Value::String(text) => text,
            json => json.to_string(),
        },
    }
}
