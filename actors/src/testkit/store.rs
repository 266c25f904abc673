//! A store of rows in memory that applies results only when the simulator says so, and forgets what was not persisted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Random;
use crate::machine::{RowWrite, Rows, RowsError, Space};
use crate::model::Offset;
use crate::runtime::runner::RowCache;

type Table = BTreeMap<(Space, Vec<u8>), Bytes>;

#[derive(Default)]
struct State {
    rows: Table,
    end: Offset,
    queue: VecDeque<(Offset, Arc<Vec<RowWrite>>)>,
    persisted: (Table, Offset),
}

/// A simulated store.
#[derive(Default)]
pub struct SimStore(Mutex<State>);

impl SimStore {
    /// Applies the oldest pushed result. Answers whether there was one.
    pub fn apply(&self) -> bool {
        let mut state = self.0.lock();
        let Some((at, rows)) = state.queue.pop_front() else {
            return false;
        };
        assert_eq!(at, state.end, "results reach the store in order, each once");
        for row in rows.iter() {
            let key = (row.space, row.key.to_vec());
            match &row.value {
                Some(value) => state.rows.insert(key, value.clone()),
                None => state.rows.remove(&key),
            };
        }
        state.end = Offset(at.0 + 1);
        true
    }

    /// What stands now survives a crash.
    pub fn persist(&self) {
        let mut state = self.0.lock();
        state.persisted = (state.rows.clone(), state.end);
    }

    /// The power fails: back to what was persisted, or (kill) only the queue is lost.
    pub fn crash(&self, random: &mut Random) {
        let mut state = self.0.lock();
        state.queue.clear();
        if random.chance(50) {
            (state.rows, state.end) = state.persisted.clone();
        }
    }

    /// Loses everything: the folder was damaged and is rebuilt from the log.
    pub fn lose(&self) {
        *self.0.lock() = State::default();
    }

    /// All rows but the runtime's own, for comparison.
    pub fn facts(&self) -> Vec<(Space, Vec<u8>, Bytes)> {
        let state = self.0.lock();
        let mut facts: Vec<_> = state
            .rows
            .iter()
            .filter(|((space, _), _)| *space != Space::UNITS)
            .map(|((space, key), value)| (*space, key.clone(), value.clone()))
            .collect();
        facts.sort();
        facts
    }
}

impl Rows for SimStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        Ok(self.0.lock().rows.get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let found: Vec<_> = self
            .0
            .lock()
            .rows
            .range((space, prefix.to_vec())..)
            .take_while(|((s, key), _)| *s == space && key.starts_with(prefix))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in found {
            if !each(&key, &value) {
                break;
            }
        }
        Ok(())
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

    fn push(&self, at: Offset, rows: Arc<Vec<RowWrite>>, _: u64) {
        self.0.lock().queue.push_back((at, rows));
    }

    fn end(&self) -> Offset {
        self.0.lock().end
    }

    fn backlog_bytes(&self) -> u64 {
        0
    }
}
