//! Timers as rows.
//!
//! A timer is two rows: by due time, for the pump, and by (shard, id), so that setting it again replaces it and a record
//! that fires late or twice finds nothing.

use bytes::Bytes;

use crate::machine::{Fired, Misfire, Rows, RowsError, Space, Timer, WriteSet};
use crate::model::{ShardId, Time};

/// Leading byte of rows by due time.
const BY_TIME: u8 = 0;
/// Leading byte of rows by shard and id.
const BY_ID: u8 = 1;

/// Turns the timers of a batch into rows of it.
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
    due_timers_behind(rows, now, None, max)
}

/// As [`due_timers`], from behind the timer `(at, shard, id)` on: for lists that page.
pub fn due_timers_behind(
    rows: &dyn Rows,
    now: Time,
    behind: Option<(Time, ShardId, u64)>,
    max: usize,
) -> Result<Vec<Timer>, RowsError> {
    let mut found = Vec::new();
    let from = match behind {
        // The smallest key above.
        Some((at, shard, id)) => [&time_key(at, shard, id)[..], &[0]].concat(),
        None => vec![BY_TIME],
    };
    rows.scan_from(Space::TIMERS, &[BY_TIME], &from, &mut |_, value| {
        match postcard::from_bytes::<Timer>(value) {
            Ok(timer) if timer.at > now => return false,
            Ok(timer) => found.push(timer),
            Err(error) => tracing::error!(error = %error, "timer row does not read"),
        }
        found.len() < max
    })?;
    Ok(found)
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

#[cfg(test)]
mod tests;
