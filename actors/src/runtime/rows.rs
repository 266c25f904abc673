//! The row store on disk, as runners use it.

use std::sync::Arc;

use bytes::Bytes;

use super::runner::RowCache;
use crate::machine::{Rows, RowsError, Space};
use crate::model::Offset;
use crate::store::{Committed, RowStore, Snapshot, StoreError, WriteBehind, WriteBehindConfig};

/// A row store and the thread that writes it.
pub struct DiskRows {
    store: RowStore,
    writer: WriteBehind,
}

impl DiskRows {
    /// Starts the write-behind thread over an open store.
    pub fn start(store: RowStore, config: WriteBehindConfig) -> Result<DiskRows, StoreError> {
        let writer = WriteBehind::start(store.clone(), config)?;
        Ok(DiskRows { store, writer })
    }

    /// All rows at one position, for readers.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.store.snapshot()
    }

    /// The store.
    pub fn store(&self) -> &RowStore {
        &self.store
    }

    /// The thread.
    pub fn writer(&self) -> &WriteBehind {
        &self.writer
    }
}

impl RowCache for DiskRows {
    fn rows(&self) -> Box<dyn Rows + '_> {
        match self.store.snapshot() {
            Ok(snapshot) => Box::new(snapshot),
            Err(error) => Box::new(Unreadable(error.to_string())),
        }
    }

    fn push(&self, result: Committed) {
        if let Err(error) = self.writer.push(result) {
            // The result is in the log; the supervisor sees the failure and ends the process, which then catches up.
            tracing::error!(error = %error, "result not passed to the row store");
        }
    }

    fn end(&self) -> Offset {
        Offset(self.writer.applied().get().map_or(0, |at| at.0 + 1))
    }

    fn on_advance(&self, listener: Arc<dyn Fn(Offset) + Send + Sync>) {
        let applied = self.writer.applied();
        applied.on_move(move |at| listener(Offset(at.0 + 1)));
    }

    fn backlog_bytes(&self) -> u64 {
        self.writer.queued_bytes() as u64
    }

    fn failure(&self) -> Option<String> {
        let failure = self.writer.failure().or_else(|| self.store.damage());
        failure.map(|error| error.to_string())
    }
}

/// Rows that cannot be read now.
struct Unreadable(String);

impl Rows for Unreadable {
    fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, RowsError> {
        Err(RowsError(self.0.clone()))
    }

    fn scan(
        &self,
        _: Space,
        _: &[u8],
        _: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        Err(RowsError(self.0.clone()))
    }
}
