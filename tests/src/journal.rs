//! What a client knows of what it sent: a line is written *before* the request and completed *after* the answer.
//!
//! Acknowledged events must be there, exactly once. Events whose answer was lost may be there or not, never twice.
//! Events that were never sent must not be there.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};

/// What is known of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Sent, no answer yet or the answer was lost.
    Unknown,
    /// Answered with success.
    Acked,
}

/// The journal of one test, shared by its writers.
#[derive(Debug, Default)]
pub struct Journal {
    lines: Mutex<BTreeMap<String, Fate>>,
    acked: Condvar,
}

impl Journal {
    /// Before the request.
    pub fn sent(&self, ids: &[String]) {
        let mut lines = self.lines.lock().expect("no writer panics with it");
        for id in ids {
            lines.entry(id.clone()).or_insert(Fate::Unknown);
        }
    }

    /// After an answer of success.
    pub fn acked(&self, ids: &[String]) {
        let mut lines = self.lines.lock().expect("no writer panics with it");
        for id in ids {
            lines.insert(id.clone(), Fate::Acked);
        }
        self.acked.notify_all();
    }

    /// How many are acknowledged.
    pub fn acked_count(&self) -> usize {
        count(&self.lines.lock().expect("no writer panics with it"))
    }

    /// Waits until at least so many are acknowledged, or until `over` says that it is no use.
    pub fn wait_for_acked(&self, wanted: usize, over: impl Fn() -> bool) {
        let mut lines = self.lines.lock().expect("no writer panics with it");
        while count(&lines) < wanted && !over() {
            let step = std::time::Duration::from_millis(50);
            let (next, _) = self
                .acked
                .wait_timeout(lines, step)
                .expect("no writer panics with it");
            lines = next;
        }
    }

    /// A copy of all lines.
    pub fn lines(&self) -> BTreeMap<String, Fate> {
        self.lines.lock().expect("no writer panics with it").clone()
    }

    /// Compares with what was found: message id to number of times. Every difference is in the answer.
    pub fn compare(&self, found: &BTreeMap<String, usize>) -> Vec<String> {
        let lines = self.lines();
        let mut wrong = Vec::new();
        for (id, fate) in &lines {
            match (fate, found.get(id).copied().unwrap_or(0)) {
                (_, 1) | (Fate::Unknown, 0) => {}
                (Fate::Acked, 0) => wrong.push(format!("{id}: acknowledged and lost")),
                (_, times) => wrong.push(format!("{id}: counted {times} times")),
            }
        }
        for id in found.keys() {
            if !lines.contains_key(id) {
                wrong.push(format!("{id}: was never sent"));
            }
        }
        wrong
    }
}

fn count(lines: &BTreeMap<String, Fate>) -> usize {
    lines.values().filter(|fate| **fate == Fate::Acked).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_seen() {
        let journal = Journal::default();
        let ids = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        journal.sent(&ids("a b c d e"));
        journal.acked(&ids("a b c"));
        let found = [("a", 1), ("b", 2), ("d", 1), ("x", 1)];
        let found = found.map(|(id, times)| (id.to_owned(), times)).into();
        assert_eq!(
            journal.compare(&found),
            [
                "b: counted 2 times",
                "c: acknowledged and lost",
                "x: was never sent"
            ]
        );
        assert_eq!(journal.acked_count(), 3);
    }
}
