//! Who a key belongs to, remembered for a moment: every request asks, the answer hardly ever changes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// How long an answer holds. On one node changes are seen at once; on another one after this long.
const FRESH: Duration = Duration::from_secs(5);

/// Answers remembered; then all are forgotten. Far more keys than an installation has.
const ANSWERS_MAX: usize = 10_000;

/// Answers by key hash. Only keys that exist are remembered, so guesses fill nothing.
pub(super) struct Lookup<T>(RwLock<State<T>>);

struct State<T> {
    answers: HashMap<String, (Instant, T)>,
    /// Grows with each change, so that an answer read before it is not remembered after it.
    changes: u64,
}

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Lookup(RwLock::new(State {
            answers: HashMap::new(),
            changes: 0,
        }))
    }
}

impl<T: Clone> Lookup<T> {
    /// A fresh answer, or the ticket with which to remember the one that is read now.
    pub(super) fn get(&self, hash: &str) -> Result<T, u64> {
        let state = self.0.read();
        match state.answers.get(hash) {
            Some((since, answer)) if since.elapsed() < FRESH => Ok(answer.clone()),
            _ => Err(state.changes),
        }
    }

    /// Remembers an answer that was read after `ticket` was given.
    pub(super) fn remember(&self, hash: String, answer: T, ticket: u64) {
        let mut state = self.0.write();
        if state.changes == ticket {
            if state.answers.len() >= ANSWERS_MAX {
                state.answers.clear();
            }
            state.answers.insert(hash, (Instant::now(), answer));
        }
    }

    /// Something has changed.
    pub(super) fn forget(&self) {
        let mut state = self.0.write();
        state.answers.clear();
        state.changes += 1;
    }
}
