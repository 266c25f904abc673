//! Rows: a cache of the committed results, on disk and in memory.
//!
//! ```text
//! unit ── commits a frame to the result log ──► Overlay (the unit's own rows, at once)
//!                        └────────────────────► WriteBehind (one thread) ──► RowStore ──► Snapshot (reads of everybody)
//! ```
//! Truth is the result log. A [`RowStore`] holds the rows of all frames up to one position, which stands in the same
//! atomic batch; after a crash it opens at an earlier position and is given the frames behind it again. What does not add
//! up (a checksum, a missing batch in the middle) is [`StoreError::Damaged`]: the caller sets the folder aside and builds
//! it anew from backup and log, see [`RowStore::open_or_set_aside`].
//!
//! Absent on purpose: decisions, and any answer to "is it committed": that is the log's.

mod chain;
mod check;
mod dump;
mod error;
mod expand;
mod memory;
mod overlay;
mod progress;
pub(crate) mod rows;
mod snapshot;
mod system;
mod unit;
mod write_behind;

pub use chain::reserved;
pub use check::Checked;
pub use dump::DumpError;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use overlay::{Overlay, View};
pub use progress::Progress;
pub use rows::{Opened, RowStore, StoreConfig};
pub use snapshot::{Direction, Snapshot};
pub use system::RowForm;
pub use unit::{UnitRow, unit_key};
pub use write_behind::{Watcher, WriteBehind, WriteBehindConfig};

use std::sync::Arc;

use crate::model::{Offset, Unit};
use crate::result::{Header, Inner};

/// A committed frame, as the caches take it.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its offset in the result log.
    pub at: Offset,
    /// Who, when, which input.
    pub header: Header,
    /// Rows and the rest.
    pub inner: Arc<Inner>,
    /// The last number that this frame gave to a record for each destination it wrote to.
    pub sent: Vec<(Unit, u64)>,
}

impl Committed {
    /// About how much memory it holds, bytes.
    pub fn bytes(&self) -> usize {
        /// What a row costs beside its key and value: two handles and a tag.
        const ROW: usize = 96;
        let rows: usize = self
            .inner
            .rows
            .iter()
            .map(|row| ROW + row.key.len() + row.value.as_ref().map_or(0, |value| value.len()))
            .sum();
        ROW + rows + self.inner.delta.len()
    }
}
