//! A record of the raw log: what admission stamped, and what the sender said, sealed.
//!
//! Layout: `envelope_len u32 | envelope | personal sealed with the day's key`. Nothing personal stands in the envelope.

use bytes::Bytes;

use crate::log::LogRecord;
use crate::machine::{Personal, Record, RecordAt};
use crate::model::{Position, ShardId, Time};
use crate::result::FrameError;
use crate::seal::{SealError, Sealer};

/// Partition of the raw log that holds commands, definitions, timers. Identity reads it first.
pub const CONTROL: crate::model::PartitionId = crate::model::PartitionId(0);

/// One record on its way into the raw log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Which payload this is.
    pub schema: u16,
    /// Not personal.
    pub envelope: Bytes,
    /// Sealed; may be empty.
    pub personal: Bytes,
}

impl RawRecord {
    /// Seals it for the log.
    pub fn seal(&self, now: Time, sealer: &dyn Sealer) -> Result<LogRecord, SealError> {
        let mut payload = Vec::with_capacity(self.envelope.len() + self.personal.len() + 48);
        let len = u32::try_from(self.envelope.len()).expect("an envelope is far below 4 GiB");
        payload.extend_from_slice(&len.to_le_bytes());
        payload.extend_from_slice(&self.envelope);
        if !self.personal.is_empty() {
            sealer.seal_day(now, &self.personal, &mut payload)?;
        }
        Ok(LogRecord {
            schema: self.schema,
            payload: payload.into(),
        })
    }
}

/// Opens a record of the raw log as input of identity.
pub fn open(
    position: Position,
    stored: &LogRecord,
    sealer: &dyn Sealer,
) -> Result<Record, FrameError> {
    let payload = &stored.payload;
    let form = |what: &str| FrameError::Form(position, what.to_owned());
    let len = payload.get(..4).ok_or_else(|| form("too short"))?;
    let envelope_end = 4 + u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
    if payload.len() < envelope_end {
        return Err(form("envelope cut"));
    }
    let sealed = &payload[envelope_end..];
    let personal = if sealed.is_empty() {
        Personal::None
    } else {
        match sealer.open_day(sealed)? {
            Some(plain) => Personal::Open(plain.into()),
            None => Personal::Erased,
        }
    };
    Ok(Record {
        at: RecordAt { position, index: 0 },
        schema: stored.schema,
        shard: ShardId(0),
        envelope: payload.slice(4..envelope_end),
        personal,
    })
}
