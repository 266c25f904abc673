//! Effects as rows.
//!
//! An effect is one row by key until it is done, and one row of an index that says what it waits for:
//!
//! | leading byte | rest of the key | which |
//! |---|---|---|
//! | 0 | lane, due time, key | waiting or being sent |
//! | 1 | key | all, with what is known of them |
//! | 2 | time of death, key | given up |
//! | 3 | lane, due time, key | as 0, released by a person while effects are held |
//!
//! A **lane** is a channel and a target within it, so that one endpoint with a million effects in front of it hides nobody
//! else's. A mark is a record of the raw log; it changes the row once, and one that comes late or twice changes nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::machine::{Effect, EffectMark, Rows, RowsError, Space, WriteSet};
use crate::model::Time;

const WAITING: u8 = 0;
const BY_KEY: u8 = 1;
const DEAD: u8 = 2;
const RELEASED: u8 = 3;

/// Version of a row's stored form.
const VERSION: u8 = 1;

/// Bytes of a reason that are kept: enough for a sentence of somebody else's server.
const REASON_BYTES_MAX: usize = 500;

/// How far an effect has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EffectState {
    /// To be sent from its due time on.
    Waiting,
    /// Marked as being sent; of effects that are sent at most once only.
    Sending,
    /// Given up: it waits for a person.
    Dead,
}

/// An effect and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectRow {
    /// What to do.
    pub effect: Effect,
    /// Time of the batch that made it.
    pub created: Time,
    /// How far it has come.
    pub state: EffectState,
    /// Calls so far.
    pub attempts: u32,
    /// Waiting: not before. Dead: since.
    pub due: Time,
    /// Why the last call did not work.
    pub reason: Option<Box<str>>,
    /// Goes although effects are held.
    pub released: bool,
}

/// A channel and a target within it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// Which dispatcher.
    pub channel: Box<str>,
    /// Whom.
    pub target: u64,
}

/// Turns the effects and marks of a batch into rows of it. `before` reads rows as they were before the batch.
///
/// An effect whose key waits already is the same one, decided again: it changes nothing.
pub fn write(out: &mut WriteSet, before: &dyn Rows, now: Time) -> Result<(), RowsError> {
    let (effects, marks) = (
        std::mem::take(&mut out.effects),
        std::mem::take(&mut out.effect_marks),
    );
    let mut touched = Touched::new();
    for effect in effects {
        let slot = slot(&mut touched, before, effect.key)?;
        if slot.1.is_none() {
            out.count("effects_made", 1);
            slot.1 = Some(EffectRow {
                effect,
                created: now,
                state: EffectState::Waiting,
                attempts: 0,
                due: now,
                reason: None,
                released: false,
            });
        }
    }
    for (key, mark) in marks {
        let slot = slot(&mut touched, before, key)?;
        if let Some(row) = slot.1.take() {
            slot.1 = marked(row, mark, now, out);
        }
    }
    for (key, (old, new)) in touched {
        if old == new {
            continue;
        }
        let (old, place) = (old.as_ref().map(index_key), new.as_ref().map(index_key));
        if let Some(old) = old.filter(|old| Some(old) != place.as_ref()) {
            out.delete(Space::EFFECTS, old);
        }
        match (new, place) {
            (Some(row), Some(place)) => {
                out.put(Space::EFFECTS, place, Bytes::new());
                out.put(Space::EFFECTS, row_key(key), encode(&row));
            }
            _ => out.delete(Space::EFFECTS, row_key(key)),
        }
    }
    Ok(())
}

/// A row before the batch and after it.
type Change = (Option<EffectRow>, Option<EffectRow>);
type Touched = BTreeMap<u64, Change>;

fn slot<'a>(
    touched: &'a mut Touched,
    before: &dyn Rows,
    key: u64,
) -> Result<&'a mut Change, RowsError> {
    Ok(match touched.entry(key) {
        Entry::Occupied(slot) => slot.into_mut(),
        Entry::Vacant(free) => {
            let row = get(before, key)?;
            free.insert((row.clone(), row))
        }
    })
}

/// The row after a mark; `None`: it is done with.
fn marked(
    mut row: EffectRow,
    mark: EffectMark,
    now: Time,
    out: &mut WriteSet,
) -> Option<EffectRow> {
    use EffectState::{Dead, Sending, Waiting};
    match (mark, row.state) {
        (EffectMark::Done, _) => {
            out.count("effects_done", 1);
            return None;
        }
        (EffectMark::Discard, _) => {
            out.count("effects_discarded", 1);
            return None;
        }
        (EffectMark::Sending, Waiting) => row.state = Sending,
        (
            EffectMark::Failed {
                attempts,
                due,
                reason,
            },
            Waiting | Sending,
        ) => {
            row.state = Waiting;
            row.attempts = attempts;
            row.due = due;
            row.reason = Some(short(reason));
        }
        (EffectMark::Dead { attempts, reason }, Waiting | Sending) => {
            out.count("effects_given_up", 1);
            row.state = Dead;
            row.attempts = attempts;
            row.due = now;
            row.reason = Some(short(reason));
        }
        (EffectMark::Retry, Dead) => {
            row.state = Waiting;
            row.attempts = 0;
            row.due = now;
        }
        (EffectMark::Release, Waiting | Sending) => row.released = true,
        // Too late: somebody was faster.
        (EffectMark::Sending, Sending | Dead)
        | (EffectMark::Failed { .. } | EffectMark::Dead { .. } | EffectMark::Release, Dead)
        | (EffectMark::Retry, Waiting | Sending) => {}
    }
    Some(row)
}

/// One effect.
pub fn get(rows: &dyn Rows, key: u64) -> Result<Option<EffectRow>, RowsError> {
    match rows.get(Space::EFFECTS, &row_key(key))? {
        Some(row) => decode(&row).map(Some),
        None => Ok(None),
    }
}

/// Which effects a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All, in order of key.
    All,
    /// Given up, the longest dead first.
    Dead,
}

/// Keys of effects from the place `from` on, at most `max`, each with its place: for lists that page.
pub fn list(
    rows: &dyn Rows,
    which: Which,
    from: &[u8],
    max: usize,
) -> Result<Vec<(Vec<u8>, u64)>, RowsError> {
    let prefix = [match which {
        Which::All => BY_KEY,
        Which::Dead => DEAD,
    }];
    let start = [&prefix[..], from].concat();
    let mut found = Vec::new();
    rows.scan_from(Space::EFFECTS, &prefix, &start, &mut |place, _| {
        if let Some(key) = place.last_chunk() {
            found.push((place[1..].to_vec(), u64::from_be_bytes(*key)));
        }
        found.len() < max
    })?;
    Ok(found)
}

/// Lanes that have effects waiting (`released`: of these, only such as were released).
pub fn lanes(rows: &dyn Rows, released: bool) -> Result<Vec<Lane>, RowsError> {
    let mut lanes: Vec<Lane> = Vec::new();
    let front = [lead(released)];
    let mut from = front.to_vec();
    loop {
        let mut found = None;
        rows.scan_from(Space::EFFECTS, &front, &from, &mut |place, _| {
            found = Some(lane_of(place));
            false
        })?;
        match found {
            None => return Ok(lanes),
            Some(None) => return Err(RowsError("a place of an effect does not read".into())),
            Some(Some(lane)) => {
                // Behind everything of this lane: times and keys are shorter than this.
                from = lane_front(released, &lane);
                from.extend_from_slice(&[u8::MAX; 17]);
                lanes.push(lane);
            }
        }
    }
}

/// Keys of effects of a lane that are due at `now`, in order of their due time, until `each` answers `false`.
pub fn due(
    rows: &dyn Rows,
    released: bool,
    lane: &Lane,
    now: Time,
    each: &mut dyn FnMut(u64) -> bool,
) -> Result<(), RowsError> {
    let front = lane_front(released, lane);
    let end = order(now);
    rows.scan(Space::EFFECTS, &front, &mut |place, _| {
        let rest = &place[front.len()..];
        match (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
            (Some(at), Some(key)) if *at <= end => each(u64::from_be_bytes(*key)),
            _ => false,
        }
    })
}

fn lead(released: bool) -> u8 {
    match released {
        true => RELEASED,
        false => WAITING,
    }
}

fn index_key(row: &EffectRow) -> Vec<u8> {
    let mut key = match row.state {
        EffectState::Dead => vec![DEAD],
        EffectState::Waiting | EffectState::Sending => {
            let lane = Lane {
                channel: row.effect.channel.clone(),
                target: row.effect.target,
            };
            lane_front(row.released, &lane)
        }
    };
    key.extend_from_slice(&order(row.due));
    key.extend_from_slice(&row.effect.key.to_be_bytes());
    key
}

/// `lead | length of the channel's name u8 | name | target u64`.
fn lane_front(released: bool, lane: &Lane) -> Vec<u8> {
    let name = lane.channel.as_bytes();
    let length = u8::try_from(name.len()).expect("names of channels are words of ours");
    let mut key = vec![lead(released), length];
    key.extend_from_slice(name);
    key.extend_from_slice(&lane.target.to_be_bytes());
    key
}

fn lane_of(place: &[u8]) -> Option<Lane> {
    let length = usize::from(*place.get(1)?);
    let channel = std::str::from_utf8(place.get(2..2 + length)?).ok()?;
    let target = place.get(2 + length..10 + length)?.try_into().ok()?;
    Some(Lane {
        channel: channel.into(),
        target: u64::from_be_bytes(target),
    })
}

/// Sorts negative times before positive ones.
fn order(at: Time) -> [u8; 8] {
    (at.0 as u64 ^ 1 << 63).to_be_bytes()
}

fn row_key(key: u64) -> Vec<u8> {
    let mut bytes = vec![BY_KEY];
    bytes.extend_from_slice(&key.to_be_bytes());
    bytes
}

fn encode(row: &EffectRow) -> Vec<u8> {
    postcard::to_extend(row, vec![VERSION]).expect("an effect serialises")
}

fn decode(bytes: &[u8]) -> Result<EffectRow, RowsError> {
    let wrong = |what: String| RowsError(format!("row of an effect: {what}"));
    match bytes.split_first() {
        Some((&VERSION, row)) => {
            postcard::from_bytes(row).map_err(|error| wrong(error.to_string()))
        }
        _ => Err(wrong("of a newer version".into())),
    }
}

fn short(reason: Box<str>) -> Box<str> {
    match reason.len() > REASON_BYTES_MAX {
        true => reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].into(),
        false => reason,
    }
}

#[cfg(test)]
mod tests;
