//! Sequences: one event after the other, each strictly later.

use std::sync::Arc;

use actors::model::Time;
use jiff::tz::TimeZone;

use super::measure::{Hit, Measure};
use super::window::Window;

/// A sequence clause.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// The events of each step.
    pub steps: Vec<Arc<Measure>>,
    /// Longest time from the first step to the last, in milliseconds.
    pub within_ms: Option<i64>,
    /// The window in which all steps lie.
    pub lookback: Window,
}

/// Events that satisfy a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(pub Vec<Time>);

impl Sequence {
    /// The chain that begins last, and of those the one that ends first. One history per step, sorted by time.
    pub fn evaluate(&self, steps: &[&[Hit]], now: Time, zone: &TimeZone) -> Option<Chain> {
        let span = self.lookback.at(now, zone);
        let (first, rest) = steps.split_first()?;
        let rest: Vec<&[Hit]> = rest.iter().map(|hits| span.of(hits)).collect();
        let mut tried = None;
        for start in span.of(first).iter().rev() {
            if tried == Some(start.time) {
                continue;
            }
            tried = Some(start.time);
            let mut chain = vec![start.time];
            let mut last = start.time;
            for hits in &rest {
                let next = hits.partition_point(|hit| hit.time <= last);
                match hits.get(next) {
                    Some(hit) => last = hit.time,
                    None => break,
                }
                chain.push(last);
            }
            let whole = chain.len() == steps.len();
            let in_time = self.within_ms.is_none_or(|ms| last.0 - start.time.0 <= ms);
            if whole && in_time {
                return Some(Chain(chain));
            }
        }
        None
    }

    /// When the chain of [`Sequence::evaluate`] begins, by the instants of each step inside the lookback, ascending.
    pub(crate) fn begins(&self, steps: &[&[Time]]) -> Option<Time> {
        let (first, rest) = steps.split_first()?;
        let chain = |start: Time| {
            rest.iter().try_fold(start, |last, times| {
                times.get(times.partition_point(|at| *at <= last)).copied()
            })
        };
        first.iter().rev().copied().find(|start| {
            let last = chain(*start);
            last.is_some_and(|last| self.within_ms.is_none_or(|ms| last.0 - start.0 <= ms))
        })
    }

    /// The first instant after `now` at which the outcome may differ without new events.
    ///
    /// A sequence that holds does so until the chain that begins last leaves the lookback; one that does not hold can only
    /// come true by an event that begins to count.
    pub fn next_change(&self, steps: &[&[Hit]], now: Time, zone: &TimeZone) -> Option<Time> {
        let moves = steps
            .iter()
            .filter_map(|hits| self.lookback.next_change(hits, now, zone));
        match (&self.lookback, self.evaluate(steps, now, zone)) {
            (Window::Between(..), _) => moves.min(),
            (lookback, Some(chain)) => lookback.leaves(*chain.0.first()?, now, zone),
            (_, None) => moves.min(),
        }
    }
}
