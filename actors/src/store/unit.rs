//! What the cache remembers of each unit: how far it has come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Committed, StoreError};
use crate::machine::Counters;
use crate::model::{Offset, PartitionId, Time, Unit, UnitKind};

/// A unit's row in [`crate::machine::Space::UNITS`]: the fold of its frames' headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRow {
    /// The highest epoch seen; frames of lower ones are ignored.
    pub epoch: u64,
    /// Its last batch.
    pub batch: u64,
    /// Logic that decided the last batch.
    pub logic: u16,
    /// The last batch's time: `now` never goes back.
    pub now: Time,
    /// Per input partition, the next offset to read.
    pub consumed: BTreeMap<PartitionId, Offset>,
    /// Per destination, the last number given to an outgoing record.
    pub sent: BTreeMap<Unit, u64>,
    /// Totals of the counters.
    pub counters: Counters,
}

/// The key of a unit's row.
pub fn unit_key(unit: Unit) -> [u8; 3] {
    let kind = match unit.kind {
        UnitKind::Identity => 0,
        UnitKind::Member => 1,
    };
    let [high, low] = unit.partition.0.to_be_bytes();
    [kind, high, low]
}

/// The unit of a row's key.
pub(super) fn unit_of(key: &[u8]) -> Option<Unit> {
    let [kind, high, low] = key.try_into().ok()?;
    let kind = match kind {
        0 => UnitKind::Identity,
        1 => UnitKind::Member,
        _ => return None,
    };
    Some(Unit {
        kind,
        partition: PartitionId(u16::from_be_bytes([high, low])),
    })
}

impl UnitRow {
    /// Takes in the next frame of this unit. `Ok(false)`: it was written by an earlier owner after a later one had begun,
    /// and counts for nothing. An error if it is not the next batch, or its input is not what comes next.
    pub fn fold(&mut self, frame: &Committed) -> Result<bool, StoreError> {
        let header = &frame.header;
        if header.epoch < self.epoch {
            return Ok(false);
        }
        let wrong = |what: String| StoreError::Unit {
            at: frame.at,
            unit: header.unit,
            what,
        };
        if header.batch != self.batch + 1 {
            return Err(wrong(format!(
                "wrote batch {} after batch {}",
                header.batch, self.batch
            )));
        }
        for slice in &header.slices {
            let next = self.consumed.entry(slice.partition).or_insert(slice.from);
            if slice.from != *next || slice.to < slice.from {
                return Err(wrong(format!(
                    "read partition {} from {} to {}, but {next} comes next",
                    slice.partition, slice.from, slice.to
                )));
            }
            *next = slice.to;
        }
        self.epoch = header.epoch;
        self.batch = header.batch;
        self.logic = header.logic;
        self.now = self.now.max(header.now);
        for (unit, number) in &frame.sent {
            self.sent.insert(*unit, *number);
        }
        for (name, by) in &frame.inner.counters {
            match self.counters.get_mut(name) {
                Some(total) => *total = total.wrapping_add(*by),
                None => {
                    self.counters.insert(name.clone(), *by);
                }
            }
        }
        Ok(true)
    }
}
