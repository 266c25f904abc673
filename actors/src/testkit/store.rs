//! A store of rows in memory that applies results only when the simulator says so, and forgets what was not persisted.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Random;
use crate::machine::{Rows, RowsError, Space};
use crate::model::Offset;
use crate::runtime::replay::ReplayRows;
use crate::runtime::runner::RowCache;
use crate::store::{Committed, MemoryStore};

#[derive(Default)]
struct State {
    rows: Arc<MemoryStore>,
    queue: VecDeque<Committed>,
    persisted: Arc<MemoryStore>,
}

/// A simulated store.
#[derive(Default)]
pub struct SimStore(Mutex<State>);

impl SimStore {
    /// Applies the oldest pushed result. Answers whether there was one.
    pub fn apply(&self) -> bool {
        let mut state = self.0.lock();
        let Some(result) = state.queue.pop_front() else {
            return false;
        };
        if let Err(error) = Arc::make_mut(&mut state.rows).apply(&[result]) {
            panic!("results reach the store in order, each once: {error}");
        }
        true
    }

    /// What stands now survives a crash.
    pub fn persist(&self) {
        let mut state = self.0.lock();
        state.persisted = state.rows.clone();
    }

    /// The power fails: back to what was persisted, or (kill) only the queue is lost.
    pub fn crash(&self, random: &mut Random) {
        let mut state = self.0.lock();
        state.queue.clear();
        if random.chance(50) {
            state.rows = state.persisted.clone();
        }
    }

    /// Loses everything: the folder was damaged and is rebuilt from the log.
    pub fn lose(&self) {
        *self.0.lock() = State::default();
    }

    /// The rows as they stand: a reader may read on while it scans.
    fn now(&self) -> Arc<MemoryStore> {
        self.0.lock().rows.clone()
    }

    /// All rows but the runtime's own of units, for comparison.
    pub fn facts(&self) -> Vec<(Space, Vec<u8>, Bytes)> {
        let state = self.0.lock();
        state
            .rows
            .iter()
            .filter(|(space, _, _)| ![Space::STATES, Space::UNITS].contains(space))
            .map(|(space, key, value)| (space, key.to_vec(), value.clone()))
            .collect()
    }
}

impl Rows for SimStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        self.now().get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        self.now().scan(space, prefix, each)
    }
}

struct View<'a>(&'a SimStore);

impl Rows for View<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        self.0.get(space, key)
    }
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        self.0.scan(space, prefix, each)
    }
}

impl RowCache for SimStore {
    fn rows(&self) -> Box<dyn Rows + '_> {
        Box::new(View(self))
    }

    fn push(&self, result: Committed) {
        self.0.lock().queue.push_back(result);
    }

    fn end(&self) -> Offset {
        Offset(self.0.lock().rows.applied().map_or(0, |at| at.0 + 1))
    }

    fn on_advance(&self, _: Arc<dyn Fn(Offset) + Send + Sync>) {}

    fn backlog_bytes(&self) -> u64 {
        0
    }
}

impl ReplayRows for SimStore {
    fn rows(&self) -> Result<Box<dyn Rows + '_>, String> {
        Ok(Box::new(View(self)))
    }

    fn apply(&self, result: Committed) -> Result<(), String> {
        let mut state = self.0.lock();
        Arc::make_mut(&mut state.rows)
            .apply(&[result])
            .map_err(|error| error.to_string())
    }
}
