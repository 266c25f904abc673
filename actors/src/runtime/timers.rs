//! Timers and effects as rows.
//!
//! A timer is two rows: by due time, for the pump, and by (shard, id), so that setting it again replaces it and a record
//! that fires late or twice finds nothing. An effect is one row until it is finished.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::machine::{Effect, Fired, Misfire, Rows, RowsError, Space, Timer, WriteSet};
use crate::model::{ShardId, Time};

/// Leading byte of rows by due time.
const BY_TIME: u8 = 0;
/// Leading byte of rows by shard and id.
const BY_ID: u8 = 1;

/// An effect that waits for its dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEffect {
    /// What to do.
    pub effect: Effect,
    /// The mark "sending" is committed.
    pub sending: bool,
}

/// Turns the timers and effects of a batch into rows of it.
///
/// `before` reads rows as they were before the batch: replacing a timer must remove its old due time. Cancels come before
/// sets, so a timer that fires and is set again stays.
pub fn write(out: &mut WriteSet, before: &dyn Rows) -> Result<(), RowsError> {
    for (shard, id) in std::mem::take(&mut out.cancelled) {
        remove(out, before, shard, id)?;
    }
    for timer in std::mem::take(&mut out.timers) {
        remove(out, before, timer.shard, timer.id)?;
        let value: Bytes = postcard::to_stdvec(&timer)
            .expect("a timer serialises")
            .into();
        out.put(
            Space::TIMERS,
            time_key(timer.at, timer.shard, timer.id),
            value.clone(),
        );
        out.put(Space::TIMERS, id_key(timer.shard, timer.id), value);
    }
    for effect in std::mem::take(&mut out.effects) {
        let pending = PendingEffect {
            effect,
            sending: false,
        };
        put_effect(out, &pending);
    }
    for (key, finished) in std::mem::take(&mut out.effect_marks) {
        match effect(before, key)? {
            Some(_) if finished => out.delete(Space::EFFECTS, effect_key(key)),
            Some(mut pending) => {
                pending.sending = true;
                put_effect(out, &pending);
            }
            // Finished before: a mark that came twice.
            None => {}
        }
    }
    Ok(())
}

/// Whether a fired record is the timer's present due time; and whether its misfire policy lets it act.
pub fn due(
    rows: &dyn Rows,
    shard: ShardId,
    fired: &Fired,
    now: Time,
) -> Result<Option<bool>, RowsError> {
    let Some(row) = rows.get(Space::TIMERS, &id_key(shard, fired.id))? else {
        return Ok(None);
    };
    let Ok(timer) = postcard::from_bytes::<Timer>(&row) else {
        return Ok(None);
    };
    if timer.at != fired.at {
        return Ok(None);
    }
    Ok(Some(match timer.misfire {
        Misfire::Fire => true,
        Misfire::SkipAfterMs(ms) => now.0.saturating_sub(timer.at.0) <= ms,
    }))
}

/// The timers that are due at `now`, oldest first, at most `max`.
pub fn due_timers(rows: &dyn Rows, now: Time, max: usize) -> Result<Vec<Timer>, RowsError> {
    let mut found = Vec::new();
    rows.scan(Space::TIMERS, &[BY_TIME], &mut |_, value| {
        match postcard::from_bytes::<Timer>(value) {
            Ok(timer) if timer.at > now => return false,
            Ok(timer) => found.push(timer),
            Err(error) => tracing::error!(error = %error, "timer row does not read"),
        }
        found.len() < max
    })?;
    Ok(found)
}

/// Effects that wait, in order of key, at most `max`.
pub fn pending_effects(rows: &dyn Rows, max: usize) -> Result<Vec<PendingEffect>, RowsError> {
    let mut found = Vec::new();
    rows.scan(Space::EFFECTS, &[], &mut |_, value| {
        match postcard::from_bytes(value) {
            Ok(pending) => found.push(pending),
            Err(error) => tracing::error!(error = %error, "effect row does not read"),
        }
        found.len() < max
    })?;
    Ok(found)
}

/// One waiting effect.
pub fn effect(rows: &dyn Rows, key: u64) -> Result<Option<PendingEffect>, RowsError> {
    let row = rows.get(Space::EFFECTS, &effect_key(key))?;
    Ok(row.and_then(|row| postcard::from_bytes(&row).ok()))
}

fn remove(out: &mut WriteSet, before: &dyn Rows, shard: ShardId, id: u64) -> Result<(), RowsError> {
    let key = id_key(shard, id);
    // The batch itself may have set it already.
    let here = out
        .rows
        .iter()
        .rev()
        .find(|row| row.space == Space::TIMERS && row.key == key)
        .map(|row| row.value.clone());
    let old = match here {
        Some(value) => value,
        None => before.get(Space::TIMERS, &key)?,
    };
    if let Some(old) = old.and_then(|row| postcard::from_bytes::<Timer>(&row).ok()) {
        out.delete(Space::TIMERS, time_key(old.at, shard, id));
        out.delete(Space::TIMERS, key);
    }
    Ok(())
}

fn put_effect(out: &mut WriteSet, pending: &PendingEffect) {
    let value = postcard::to_stdvec(pending).expect("an effect serialises");
    out.put(Space::EFFECTS, effect_key(pending.effect.key), value);
}

fn time_key(at: Time, shard: ShardId, id: u64) -> Bytes {
    let mut key = vec![BY_TIME];
    // Sorts negative times before positive ones.
    key.extend_from_slice(&(at.0 as u64 ^ 1 << 63).to_be_bytes());
    key.extend_from_slice(&shard.0.to_be_bytes());
    key.extend_from_slice(&id.to_be_bytes());
    key.into()
}

fn id_key(shard: ShardId, id: u64) -> Bytes {
    let mut key = vec![BY_ID];
    key.extend_from_slice(&shard.0.to_be_bytes());
    key.extend_from_slice(&id.to_be_bytes());
    key.into()
}

fn effect_key(key: u64) -> Bytes {
    key.to_be_bytes().to_vec().into()
}

#[cfg(test)]
mod tests;
