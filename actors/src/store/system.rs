//! Rows of the runtime itself: timers and effects.
//!
//! A timer has two rows: one by due time, which the wheel scans, and one by shard and id, which replacing and cancelling
//! need. Within a frame cancels come before sets, so a timer that fires and is set again stays.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::machine::{Effect, RowsError, Space, Timer};
use crate::model::{Offset, ShardId, Time};
use crate::result::Inner;

/// An effect intent that waits for its dispatcher, in [`Space::EFFECTS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectRow {
    /// What to do.
    pub effect: Effect,
    /// Marked as being sent; found so after a crash, an at-most-once effect is not sent again.
    pub sending: bool,
    /// The frame that asked for it.
    pub at: Offset,
    /// When it was decided.
    pub since: Time,
}

/// Rows of the runtime as bytes.
pub trait RowForm: Serialize + DeserializeOwned {
    /// The row's value.
    fn to_row(&self) -> Bytes {
        postcard::to_stdvec(self)
            .expect("our own types always serialise")
            .into()
    }

    /// Reads a value.
    fn from_row(bytes: &[u8]) -> Result<Self, RowsError> {
        postcard::from_bytes(bytes).map_err(|error| RowsError(format!("a row's form: {error}")))
    }
}

impl RowForm for Timer {}
impl RowForm for EffectRow {}
impl RowForm for super::UnitRow {}

/// Key of a timer by due time: sorts by time, then shard and id.
pub fn timer_due_key(at: Time, shard: ShardId, id: u64) -> [u8; 19] {
    let mut key = [0; 19];
    key[0] = b'd';
    // The sign bit flipped, so that instants before 1970 sort first.
    key[1..9].copy_from_slice(&(at.0 as u64 ^ 1 << 63).to_be_bytes());
    key[9..11].copy_from_slice(&shard.0.to_be_bytes());
    key[11..].copy_from_slice(&id.to_be_bytes());
    key
}

/// Key of a timer by shard and id; the value is its due time.
pub fn timer_id_key(shard: ShardId, id: u64) -> [u8; 11] {
    let mut key = [0; 11];
    key[0] = b'i';
    key[1..3].copy_from_slice(&shard.0.to_be_bytes());
    key[3..].copy_from_slice(&id.to_be_bytes());
    key
}

/// Key of an effect.
pub fn effect_key(key: u64) -> [u8; 8] {
    key.to_be_bytes()
}

/// Reads and writes of rows while frames are turned into them.
pub(super) trait Edit {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    fn put(&mut self, space: Space, key: &[u8], value: Option<Bytes>);
}

/// Writes a frame's timers and effects as rows.
pub(super) fn write(
    inner: &Inner,
    at: Offset,
    now: Time,
    edit: &mut dyn Edit,
) -> Result<(), StoreError> {
    for (shard, id) in &inner.cancelled {
        take_timer(*shard, *id, edit)?;
    }
    for timer in &inner.timers {
        take_timer(timer.shard, timer.id, edit)?;
        let due = Bytes::copy_from_slice(&timer.at.0.to_le_bytes());
        edit.put(
            Space::TIMERS,
            &timer_id_key(timer.shard, timer.id),
            Some(due),
        );
        let key = timer_due_key(timer.at, timer.shard, timer.id);
        edit.put(Space::TIMERS, &key, Some(timer.to_row()));
    }
    for effect in &inner.effects {
        let row = EffectRow {
            effect: effect.clone(),
            sending: false,
            at,
            since: now,
        };
        edit.put(Space::EFFECTS, &effect_key(effect.key), Some(row.to_row()));
    }
    for (key, finished) in &inner.effect_marks {
        let key = effect_key(*key);
        let marked = match edit.get(Space::EFFECTS, &key)? {
            Some(_) if *finished => None,
            Some(row) => {
                let mut row = EffectRow::from_row(&row)
                    .map_err(|error| StoreError::Damaged(error.to_string()))?;
                row.sending = true;
                Some(row.to_row())
            }
            // Finished before: a mark that came twice.
            None => continue,
        };
        edit.put(Space::EFFECTS, &key, marked);
    }
    Ok(())
}

fn take_timer(shard: ShardId, id: u64, edit: &mut dyn Edit) -> Result<(), StoreError> {
    let key = timer_id_key(shard, id);
    if let Some(due) = edit.get(Space::TIMERS, &key)? {
        let due = due
            .as_ref()
            .try_into()
            .map_err(|_| StoreError::Damaged("a timer's due time has another length".into()))?;
        let due = Time(i64::from_le_bytes(due));
        edit.put(Space::TIMERS, &timer_due_key(due, shard, id), None);
        edit.put(Space::TIMERS, &key, None);
    }
    Ok(())
}
