//! How a record lies in a segment file.
//!
//! A segment begins with a head of [`SEGMENT_HEAD`] bytes, then frames follow without gaps. A frame, little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | crc32c over all that follows in the frame, begun with partition, first offset of the segment and place in the file |
//! | 4 | length of the payload |
//! | 1 | version of this layout |
//! | 1 | [`flag`]s |
//! | 2 | schema of the payload |
//! | 8 | offset of the record; of a mark: of the record that would come next |
//! | 8 | every byte of this file below this one was synced when the frame was written |
//! | n | payload |
//!
//! The checksum knows its place, so a frame that was copied elsewhere (by a disk, or inside a payload) is no frame there.

use std::path::Path;

use bytes::{BufMut, BytesMut};

use super::LogError;
use crate::model::{Offset, PartitionId};

/// Bytes of a frame before its payload.
pub const FRAME_HEAD: usize = 28;
/// Bytes of a segment file before its first frame.
pub const SEGMENT_HEAD: usize = 32;
/// Largest payload, in bytes. A reader holds a record in memory at once, and a damaged length must not make it ask for
/// gigabytes. The largest are batch results, in which rows stand whole: two thousand members with thirty kilobytes of
/// attributes each.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

const FRAME_VERSION: u8 = 1;
const MAGIC: &[u8; 8] = b"TRIBSEG1";

/// What a frame is.
pub mod flag {
    /// The last record of its group: a group without one is cut at open.
    pub const LAST: u8 = 1;
    /// No record: says what was synced.
    pub const MARK: u8 = 2;
    /// The last mark of a segment that has a successor.
    pub const SEAL: u8 = 4;
    pub(super) const ALL: u8 = LAST | MARK | SEAL;
}

/// Which segment a frame belongs to; its checksums begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentKey {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset of the segment.
    pub first: u64,
    seed: u32,
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the payload.
    pub length: u32,
    /// See [`flag`].
    pub flags: u8,
    /// Schema of the payload.
    pub schema: u16,
    /// Offset of the record, or of the next one for a mark.
    pub offset: u64,
    /// Bytes of the file known synced when this was written.
    pub synced: u64,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFrame {
    /// The frame would need so many bytes, if its length is to be believed.
    Short(usize),
    /// They cannot be a frame.
    Damaged(&'static str),
}

impl SegmentKey {
    /// The key of the segment that begins at `first`.
    pub fn new(partition: PartitionId, first: u64) -> SegmentKey {
        let seed = crc32c::crc32c(&partition.0.to_le_bytes());
        SegmentKey {
            partition,
            first,
            seed: crc32c::crc32c_append(seed, &first.to_le_bytes()),
        }
    }

    fn checksum(&self, at: u64, frame: &[u8]) -> u32 {
        let seed = crc32c::crc32c_append(self.seed, &at.to_le_bytes());
        crc32c::crc32c_append(seed, &frame[4..])
    }

    /// Writes a frame that will stand at byte `at` of the file.
    pub fn put(&self, into: &mut BytesMut, at: u64, head: Head, payload: &[u8]) {
        let start = into.len();
        into.put_u32_le(0);
        into.put_u32_le(head.length);
        into.put_u8(FRAME_VERSION);
        into.put_u8(head.flags);
        into.put_u16_le(head.schema);
        into.put_u64_le(head.offset);
        into.put_u64_le(head.synced);
        into.put_slice(payload);
        let crc = self.checksum(at, &into[start..]);
        into[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// A mark: everything below byte `at` is synced, the next record is `offset`.
    pub fn mark(&self, at: u64, offset: u64, flags: u8) -> BytesMut {
        let mut mark = BytesMut::with_capacity(FRAME_HEAD);
        let head = Head {
            length: 0,
            flags: flags | flag::MARK,
            schema: 0,
            offset,
            synced: at,
        };
        self.put(&mut mark, at, head, &[]);
        mark
    }

    /// Reads the frame at the start of `bytes`, which stand at byte `at` of the file.
    pub fn get(&self, bytes: &[u8], at: u64) -> Result<Head, NoFrame> {
        let head = peek(bytes)?;
        let whole = FRAME_HEAD + head.length as usize;
        let frame = bytes.get(..whole).ok_or(NoFrame::Short(whole))?;
        let crc = u32::from_le_bytes(frame[..4].try_into().expect("four bytes"));
        if crc != self.checksum(at, frame) {
            return Err(NoFrame::Damaged("the checksum does not match"));
        }
        Ok(head)
    }

    /// The head of the segment file.
    pub fn segment_head(&self) -> [u8; SEGMENT_HEAD] {
        let mut head = [0; SEGMENT_HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..10].copy_from_slice(&self.partition.0.to_le_bytes());
        head[16..24].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c(&head[..28]);
        head[28..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// A [`LogError::Corrupt`] in this segment's file.
    pub fn corrupt(&self, path: &Path, at: u64, offset: u64, what: &str) -> LogError {
        corrupt(self.partition, path, at, offset, what)
    }
}

/// Reads the head of a frame without checking anything that is not cheap to check.
pub(super) fn peek(bytes: &[u8]) -> Result<Head, NoFrame> {
    let head = bytes.get(..FRAME_HEAD).ok_or(NoFrame::Short(FRAME_HEAD))?;
    let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let read = Head {
        length: u32::from_le_bytes(head[4..8].try_into().expect("four bytes")),
        flags: head[9],
        schema: u16::from_le_bytes(head[10..12].try_into().expect("two bytes")),
        offset: u64_at(12),
        synced: u64_at(20),
    };
    if head[8] != FRAME_VERSION {
        return Err(NoFrame::Damaged("the layout version is unknown"));
    }
    if read.flags & !flag::ALL != 0 {
        return Err(NoFrame::Damaged("a flag is unknown"));
    }
    if read.length as usize > RECORD_BYTES_MAX {
        return Err(NoFrame::Damaged("the length is over the limit"));
    }
    Ok(read)
}

impl Head {
    /// Whether it is no record.
    pub fn is_mark(&self) -> bool {
        self.flags & flag::MARK != 0
    }

    /// Whether it is the last record of its group.
    pub fn is_last(&self) -> bool {
        self.flags & flag::LAST != 0
    }

    /// Bytes of the whole frame.
    pub fn bytes(&self) -> usize {
        FRAME_HEAD + self.length as usize
    }
}

/// A [`LogError::Corrupt`] with the hint that fits all of them.
pub fn corrupt(partition: PartitionId, path: &Path, at: u64, offset: u64, what: &str) -> LogError {
    LogError::Corrupt {
        partition,
        offset: Offset(offset),
        file: path.display().to_string(),
        byte: at,
        what: what.to_owned(),
        hint: "Bring the file back from a backup or the archive, or run repair, which cuts the \
               partition there and says how many records it drops"
            .to_owned(),
    }
}
