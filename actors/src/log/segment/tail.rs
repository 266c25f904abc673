//! The newest groups in memory, so that who reads at the end never touches the disk.
//!
//! A chunk is the very buffer that was written to the file; records are slices of it. A reader that keeps a record keeps
//! its chunk.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::log::frame::FRAME_HEAD;
use crate::log::{LogRecord, Stored};
use crate::model::Offset;

/// What one write put into the file.
pub(super) struct Chunk {
    pub(super) first: u64,
    pub(super) bytes: Bytes,
    /// Where each frame begins within `bytes`.
    pub(super) frames: Vec<u32>,
}

/// The newest chunks, bounded in bytes.
pub(super) struct Tail {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    bytes_max: usize,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Memory that it holds.
    fn weight(&self) -> usize {
        self.bytes.len() + self.frames.len() * size_of::<u32>() + size_of::<Chunk>()
    }

    fn record(&self, at: usize) -> Stored {
        let start = self.frames[at] as usize;
        let head = &self.bytes[start..start + FRAME_HEAD];
        let length = u32::from_le_bytes(head[4..8].try_into().expect("four bytes"));
        let schema = u16::from_le_bytes(head[10..12].try_into().expect("two bytes"));
        let payload = start + FRAME_HEAD;
        Stored {
            offset: Offset(self.first + at as u64),
            record: LogRecord {
                schema,
                payload: self.bytes.slice(payload..payload + length as usize),
            },
        }
    }

    /// Appends records from `from` on to `out` until about `bytes_max` are taken. `false` when that is reached.
    fn collect(
        &self,
        from: u64,
        bytes_max: usize,
        taken: &mut usize,
        out: &mut Vec<Stored>,
    ) -> bool {
        for at in from.saturating_sub(self.first) as usize..self.frames.len() {
            let stored = self.record(at);
            *taken += stored.record.payload.len();
            if *taken > bytes_max && !out.is_empty() {
                return false;
            }
            out.push(stored);
        }
        true
    }
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Tail {
        Tail {
            chunks: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.weight();
        self.chunks.push_back(Arc::new(chunk));
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.bytes -= oldest.weight();
        }
    }

    /// The chunks that hold up to about `bytes_max` from `from` on; `None` if `from` is no longer here. Cheap, so that
    /// the writer does not wait for it: the records are taken out by [`collect`].
    pub(super) fn chunks(&self, from: u64, bytes_max: usize) -> Option<Vec<Arc<Chunk>>> {
        if self.chunks.front().is_none_or(|oldest| from < oldest.first) {
            return None;
        }
        let start = self.chunks.partition_point(|chunk| chunk.end() <= from);
        let mut bytes = 0;
        let mut found = Vec::new();
        for (at, chunk) in self.chunks.range(start..).enumerate() {
            found.push(Arc::clone(chunk));
            // The first may be entered at its end, so it does not count.
            bytes += if at == 0 { 0 } else { chunk.bytes.len() };
            if bytes > bytes_max {
                break;
            }
        }
        Some(found)
    }
}

/// The records of these chunks from `from` on, at least one if there is one, then up to about `bytes_max`.
pub(super) fn collect(chunks: &[Arc<Chunk>], from: u64, bytes_max: usize) -> Vec<Stored> {
    let mut out = Vec::new();
    let mut taken = 0;
    for chunk in chunks {
        if !chunk.collect(from, bytes_max, &mut taken, &mut out) {
            break;
        }
    }
    out
}
