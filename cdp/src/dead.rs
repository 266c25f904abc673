//! Dead letters: events that could not be taken, kept with the reason until somebody mends, replays or drops them.
//!
//! The row says why; the bytes stay in the raw log at the letter's position as long as raw records are kept.

use std::fmt;
use std::str::FromStr;

use actors::machine::{Rows, RowsError, Space};
use actors::model::{BrandId, Offset, PartitionId, Position, SourceId, Time};
use serde::{Deserialize, Serialize};

/// The table of dead letters, in order of receive time.
pub const SPACE: Space = Space::DEAD;

/// A dead letter's name: when it was received and where its raw record stands.
///
/// ```
/// use cdp::dead::DeadId;
/// let id: DeadId = "1700000000000-1-42".parse().unwrap();
/// assert_eq!(id.to_string(), "1700000000000-1-42");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeadId {
    /// When it was received.
    pub received: Time,
    /// Its record in the raw log.
    pub position: Position,
}

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadRow {
    /// Stable code of the reason.
    pub code: Box<str>,
    /// What is wrong and what to do. May quote the event: treat it as personal.
    pub reason: Box<str>,
    /// Where in the event.
    pub field: Option<Box<str>>,
    /// Source.
    pub source: SourceId,
    /// Brand.
    pub brand: BrandId,
    /// The sender's message id, if it could be read.
    pub message_id: Box<str>,
    /// What became of it.
    pub status: DeadStatus,
    /// When that was decided; the receive time while open.
    pub decided: Time,
    /// Name of the event, if it could be read.
    pub event: Option<Box<str>>,
}

/// The form before letters kept the name of their event.
#[derive(Deserialize)]
struct DeadRowBefore {
    code: Box<str>,
    reason: Box<str>,
    field: Option<Box<str>>,
    source: SourceId,
    brand: BrandId,
    message_id: Box<str>,
    status: DeadStatus,
    decided: Time,
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadStatus {
    /// Waits for somebody.
    Open,
    /// Was decided again, once.
    Replayed,
    /// Is not wanted.
    Dropped,
}

impl DeadId {
    /// Key of the row; keys are in order of receive time.
    pub fn key(&self) -> [u8; 18] {
        let mut key = [0; 18];
        key[..8].copy_from_slice(&time_key(self.received));
        key[8..10].copy_from_slice(&self.position.partition.0.to_be_bytes());
        key[10..].copy_from_slice(&self.position.offset.0.to_be_bytes());
        key
    }

    /// Reads a key.
    pub fn from_key(key: &[u8]) -> Option<DeadId> {
        let (time, place) = key.split_first_chunk()?;
        let (partition, offset) = place.split_first_chunk()?;
        Some(DeadId {
            received: time_of(*time),
            position: Position {
                partition: PartitionId(u16::from_be_bytes(*partition)),
                offset: Offset(u64::from_be_bytes(offset.try_into().ok()?)),
            },
        })
    }
}

impl DeadRow {
    /// The row of a letter, if it is known.
    pub fn get(rows: &dyn Rows, id: DeadId) -> Result<Option<DeadRow>, RowsError> {
        Ok(rows
            .get(SPACE, &id.key())?
            .and_then(|value| DeadRow::decode(&value)))
    }

    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("our own types always serialise")
    }

    /// Reads a row's value.
    pub fn decode(value: &[u8]) -> Option<DeadRow> {
        postcard::from_bytes(value).ok().or_else(|| {
            let before: DeadRowBefore = postcard::from_bytes(value).ok()?;
            Some(DeadRow {
                code: before.code,
                reason: before.reason,
                field: before.field,
                source: before.source,
                brand: before.brand,
                message_id: before.message_id,
                status: before.status,
                decided: before.decided,
                event: None,
            })
        })
    }
}

/// The key from which on letters were received at this instant or later.
pub fn key_from(received: Time) -> [u8; 8] {
    time_key(received)
}

impl fmt::Display for DeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.received.0, self.position)
    }
}

impl FromStr for DeadId {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (head, offset) = text.rsplit_once('-').ok_or(())?;
        let (received, partition) = head.rsplit_once('-').ok_or(())?;
        Ok(DeadId {
            received: Time(received.parse().map_err(|_| ())?),
            position: Position {
                partition: PartitionId(partition.parse().map_err(|_| ())?),
                offset: Offset(offset.parse().map_err(|_| ())?),
            },
        })
    }
}

/// A time as eight bytes that sort as times do.
pub(crate) fn time_key(time: Time) -> [u8; 8] {
    (time.0 as u64 ^ 1 << 63).to_be_bytes()
}

/// The inverse of [`time_key`].
pub(crate) fn time_of(key: [u8; 8]) -> Time {
    Time((u64::from_be_bytes(key) ^ 1 << 63) as i64)
}
