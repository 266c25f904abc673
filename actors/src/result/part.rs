//! A large frame of which some records are read, and little else.

use bytes::Bytes;

use super::frame::{Head, OutgoingRef, WORD};
use crate::log::{LogError, Parts};
use crate::machine::{Record, RecordAt};
use crate::model::Position;
use crate::seal::Sealer;

/// What is read at first: enough for the head of a frame with a few hundred records.
const FIRST_BYTES: u64 = 16 << 10;

/// A frame of which the head was read, and where the rest of it can be read.
pub struct Partial {
    at: Position,
    refs: Vec<OutgoingRef>,
    /// Where outgoing records begin.
    body_at: u64,
    /// Their checksums.
    sums: Bytes,
    parts: Box<dyn Parts>,
}

impl Partial {
    /// Reads the head and the checksums. `None`: parts cannot be known to be right, because it is a frame of before, or damaged,
    /// which who reads it as a whole will be told about.
    pub fn open(at: Position, parts: Box<dyn Parts>) -> Result<Option<Partial>, LogError> {
        let len = parts.bytes();
        let mut first = parts.read(0..len.min(FIRST_BYTES))?;
        let Some(head_end) = Head::end(&first).filter(|end| *end as u64 <= len) else {
            return Ok(None);
        };
        if head_end > first.len() {
            first = parts.read(0..head_end as u64)?;
        }
        let Ok((head, _)) = Head::read(&first) else {
            return Ok(None);
        };
        let body_at = head_end as u64 + u64::from(head.inner_len);
        let sums_at = body_at + head.body_len() as u64;
        if sums_at + head.sums_len() as u64 != len {
            return Ok(None);
        }
        let sums = parts.read(sums_at..len)?;
        let of_head = crc32c::crc32c(&first[..head_end]).to_le_bytes();
        Ok(sums.ends_with(&of_head).then_some(Partial {
            at,
            refs: head.outgoing,
            body_at,
            sums,
            parts,
        }))
    }

    /// One outgoing record by its number within the frame. `None`: there is none, it is damaged, or it does not open; who
    /// reads the frame as a whole will be told which.
    pub fn record_at(&self, index: u32, sealer: &dyn Sealer) -> Result<Option<Record>, LogError> {
        let number = index as usize;
        let Some(outgoing) = self.refs.get(number) else {
            return Ok(None);
        };
        let before: usize = self.refs[..number].iter().map(OutgoingRef::bytes).sum();
        let start = self.body_at + before as u64;
        let bytes = self.parts.read(start..start + outgoing.bytes() as u64)?;
        let sum = crc32c::crc32c(&bytes).to_le_bytes();
        if self.sums[number * WORD..][..WORD] != sum {
            return Ok(None);
        }
        let at = RecordAt {
            position: self.at,
            index,
        };
        Ok(outgoing.record(at, bytes, sealer).ok())
    }

    /// Where the frame stands.
    pub fn at(&self) -> Position {
        self.at
    }
}

#[cfg(test)]
pub(crate) mod tests;
