//! One batch's decision as it stands in the result log, and its frame.
//!
//! Layout of a frame (schema [`SCHEMA`]): `header_len u32 | header | sealed result part | outgoing payloads | checksums`. The
//! header says who decided what slice and where each outgoing record lies, so that a reader finds its own without opening
//! the rest; the checksums are those of each outgoing record and of what stands before the result part, so that it need not
//! read the rest either (frames of before have none). The result part (rows, delta, counters) is sealed with the day's key: it is needed only until
//! every cache has it. Outgoing records carry their personal part sealed with the fragment's own key.

mod frame;
mod part;
#[cfg(test)]
pub(crate) use part::tests as frames;

pub use frame::{Decoded, FrameError, OutgoingRef, SCHEMA, SealedRecord};
pub use part::Partial;

use serde::{Deserialize, Serialize};

use crate::machine::{Counters, Outgoing, RecordAt, RowWrite};
use crate::model::{Offset, PartitionId, Time, Unit};

/// A slice of a log partition that a batch consumed: offsets `from` (included) to `to` (excluded).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// `raw` partition for identity; the result log's partition for members.
    pub partition: PartitionId,
    /// First offset.
    pub from: Offset,
    /// One past the last.
    pub to: Offset,
}

/// What stands before the sealed part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Who decided.
    pub unit: Unit,
    /// The owner's epoch; a lower one after a higher one is ignored.
    pub epoch: u64,
    /// Dense number of this batch within the unit, from 1.
    pub batch: u64,
    /// Logic that decided.
    pub logic: u16,
    /// The batch's time.
    pub now: Time,
    /// Input consumed, in this order.
    pub slices: Vec<Slice>,
    /// Parked records that were tried again, before the slices.
    pub retried: Vec<RecordAt>,
}

/// The part that only caches need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inner {
    /// Row writes, in order; timers and effects are rows too.
    pub rows: Vec<RowWrite>,
    /// The machine's memory delta.
    pub delta: Vec<u8>,
    /// Counter changes.
    pub counters: Counters,
}

#[cfg(test)]
impl Inner {
    /// Only these rows.
    pub(crate) fn of(rows: &[RowWrite]) -> std::sync::Arc<Inner> {
        std::sync::Arc::new(Inner {
            rows: rows.to_vec(),
            ..Inner::default()
        })
    }
}

/// One batch's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResult {
    /// Who, when, which input.
    pub header: Header,
    /// For the caches.
    pub inner: Inner,
    /// For other units.
    pub outgoing: Vec<Outgoing>,
}
