//! Where in a segment file a record may be found: one entry for every [`INDEX_STEP`] bytes.

/// Bytes between two entries. A read looks through half of it on average; at 64 KiB that is far below the cost of the
/// call, and a segment of 64 MiB needs 16 KiB of index.
pub const INDEX_STEP: u64 = 64 << 10;

const MAGIC: u32 = 0x5849_4254;

/// A sparse index: offsets and the bytes where their frames begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    entries: Vec<(u64, u64)>,
}

impl Index {
    /// Tells of a record; keeps it if the last one kept is far enough away.
    pub fn note(&mut self, offset: u64, byte: u64) {
        let far = |(_, last): &(u64, u64)| byte >= last + INDEX_STEP;
        if self.entries.last().is_none_or(far) {
            self.entries.push((offset, byte));
        }
    }

    /// Forgets records from `end` on.
    pub fn cut(&mut self, end: u64) {
        let keep = self.entries.partition_point(|(offset, _)| *offset < end);
        self.entries.truncate(keep);
    }

    /// The nearest known record at or before `offset`.
    pub fn find(&self, offset: u64) -> Option<(u64, u64)> {
        let after = self.entries.partition_point(|(known, _)| *known <= offset);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// As kept beside a sealed segment of so many bytes. The file is a cache: one that does not read back is made again.
    pub fn to_bytes(&self, segment_first: u64, segment_bytes: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.entries.len() * 16);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&segment_first.to_le_bytes());
        out.extend_from_slice(&segment_bytes.to_le_bytes());
        for (offset, byte) in &self.entries {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&byte.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads it back; `None` if it is damaged or of another file.
    pub fn from_bytes(bytes: &[u8], segment_first: u64, segment_bytes: u64) -> Option<Index> {
        let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        let (head, entries) = body.split_at_checked(20)?;
        let expected = Index::default().to_bytes(segment_first, segment_bytes);
        if crc != crc32c::crc32c(body).to_le_bytes() || head != &expected[..20] {
            return None;
        }
        let number = |at: &[u8]| u64::from_le_bytes(at.try_into().expect("eight bytes"));
        let entries = entries.chunks_exact(16);
        Some(Index {
            entries: entries
                .map(|entry| (number(&entry[..8]), number(&entry[8..])))
                .collect(),
        })
    }
}
