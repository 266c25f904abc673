//! From what is on disk to units at their committed state: fill the store up, make machines, absorb.
//!
//! Nothing is decided here: results behind the caches are applied as they were committed.

use std::sync::Arc;

use super::core::{UnitCore, read_state};
use super::feed::{FeedError, RESULTS};
use super::runner::Shared;
use crate::machine::{Machines, RowsError};
use crate::model::{ErrorKind, Fault, Offset, PartitionId, Unit};
use crate::store::Committed;

/// Why a unit cannot be restored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RestoreError {
    /// A frame cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The store cannot be read.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// A machine cannot be made.
    #[error("{unit}: {what}")]
    Machine {
        /// The unit.
        unit: Unit,
        /// Why.
        what: String,
    },
    /// The frame's day key is destroyed, so its rows cannot be applied again.
    #[error(
        "results at {0} are older than the keys that open them: restore the newest backup, then start again"
    )]
    KeyGone(Offset),
    /// The store stands behind the end of the log: it belongs to another log, or the log was cut.
    #[error(
        "the store holds results up to {store} but the log ends at {log}: the log was cut or replaced"
    )]
    LogBehind {
        /// Next offset the store expects.
        store: Offset,
        /// End of the log.
        log: Offset,
    },
    /// A unit has consumed more than its input log holds: what would be appended there next would never be decided.
    #[error(
        "{unit} has consumed partition {partition} up to {consumed} but the log ends at {log}: the log was cut or replaced; \
         restore the newest backup"
    )]
    InputBehind {
        /// The unit.
        unit: Unit,
        /// Partition of its input.
        partition: PartitionId,
        /// Next offset that it expects.
        consumed: Offset,
        /// End of the log.
        log: Offset,
    },
}

impl Fault for RestoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            RestoreError::Feed(error) => error.kind(),
            RestoreError::Rows(error) => error.kind(),
            RestoreError::Machine { .. } => ErrorKind::Internal,
            RestoreError::KeyGone(_)
            | RestoreError::LogBehind { .. }
            | RestoreError::InputBehind { .. } => ErrorKind::Corrupt,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            RestoreError::Feed(error) => error.code(),
            RestoreError::Rows(error) => error.code(),
            RestoreError::Machine { .. } => "machine_restore",
            RestoreError::KeyGone(_) => "result_key_gone",
            RestoreError::LogBehind { .. } => "log_behind_store",
            RestoreError::InputBehind { .. } => "log_behind_unit",
        }
    }
}

/// Pushes the rows of all results that the store does not have yet. `tell` hears how many are done of how many.
pub fn fill_store(shared: &Shared, mut tell: impl FnMut(u64, u64)) -> Result<u64, RestoreError> {
    let (from, end) = (shared.store.end(), shared.results.end(RESULTS));
    if end < from {
        return Err(RestoreError::LogBehind {
            store: from,
            log: end,
        });
    }
    let total = end.0 - from.0;
    for offset in (from.0..end.0).map(Offset) {
        let frame = shared.feeds.frame(offset)?;
        let inner = frame
            .inner(&*shared.sealer)
            .map_err(FeedError::from)?
            .ok_or(RestoreError::KeyGone(offset))?;
        shared.store.push(Committed {
            at: offset,
            header: frame.header.clone(),
            inner: Arc::new(inner),
            sent: frame.sent(shared.partitions),
        });
        tell(offset.0 + 1 - from.0, total);
    }
    Ok(total)
}

/// A unit at its committed state. The store must hold all results.
pub fn unit(
    unit: Unit,
    shared: &Shared,
    machines: &dyn Machines,
) -> Result<UnitCore, RestoreError> {
    let rows = shared.store.rows();
    let state = read_state(&*rows, unit)?.unwrap_or_default();
    for (&partition, &consumed) in &state.consumed {
        let log = shared.feeds.end(unit, partition);
        if log < consumed {
            return Err(RestoreError::InputBehind {
                unit,
                partition,
                consumed,
                log,
            });
        }
    }
    let broken = |what: String| RestoreError::Machine { unit, what };
    let mut made = machines.make(unit, &*rows).map_err(broken)?;
    if let Some(from) = made.absorbed {
        for offset in (from.0..shared.results.end(RESULTS).0).map(Offset) {
            let frame = shared.feeds.frame(offset)?;
            if frame.header.unit != unit {
                continue;
            }
            let inner = frame
                .inner(&*shared.sealer)
                .map_err(FeedError::from)?
                .ok_or(RestoreError::KeyGone(offset))?;
            made.machine
                .absorb(&inner.delta)
                .map_err(|error| broken(error.to_string()))?;
        }
    }
    Ok(UnitCore::new(unit, shared.partitions, made.machine, state))
}
