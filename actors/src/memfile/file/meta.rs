//! `NAME.meta`: position, the owner's bytes, and the place and checksums of every page; checksummed as a whole.

use std::collections::BTreeMap;

use super::super::CHUNK_PAGES;
use super::{PageTable, Place};
use crate::model::{Offset, PartitionId, Position};

const MAGIC: &[u8; 8] = b"trbmeta2";
/// Of meta files that named a place per chunk. They are read, not written.
const MAGIC_CHUNKS: &[u8; 8] = b"trbmeta1";

/// What a checkpoint is of, and where its pages lie.
pub struct Meta {
    pub position: Position,
    pub blob: Vec<u8>,
    pub table: PageTable,
}

impl Meta {
    pub fn encode(&self) -> Vec<u8> {
        let places = self.table.chunks.len() * (8 + CHUNK_PAGES * 8);
        let mut out = Vec::with_capacity(64 + self.blob.len() + places);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.position.partition.0.to_le_bytes());
        out.extend_from_slice(&self.position.offset.0.to_le_bytes());
        out.extend_from_slice(&(self.blob.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.blob);
        out.extend_from_slice(&(self.table.chunks.len() as u32).to_le_bytes());
        for ((section, chunk), places) in &self.table.chunks {
            let places = places.iter().flat_map(|place| [place.number, place.crc]);
            for number in [*section, *chunk].into_iter().chain(places) {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Errors: what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Meta, String> {
        let damaged = || "the meta file is damaged".to_owned();
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        Meta::fields(&mut Cursor(body)).ok_or_else(damaged)
    }

    fn fields(from: &mut Cursor<'_>) -> Option<Meta> {
        let by_chunk = match from.array()? {
            magic if magic == *MAGIC => false,
            magic if magic == *MAGIC_CHUNKS => true,
            _ => return None,
        };
        if by_chunk {
            // A generation.
            from.take(8)?;
        }
        let position = Position {
            partition: PartitionId(u16::from_le_bytes(from.array()?)),
            offset: Offset(u64::from_le_bytes(from.array()?)),
        };
        let len = from.number()? as usize;
        let blob = from.take(len)?.to_vec();
        if by_chunk {
            // How many places there are, and which are free.
            from.number()?;
            let free = from.number()? as usize;
            from.take(free.checked_mul(4)?)?;
        }
        let mut chunks = BTreeMap::new();
        for _ in 0..from.number()? {
            let at = (from.number()?, from.number()?);
            let mut places = [Place::default(); CHUNK_PAGES];
            let first = match by_chunk {
                true => from.number()?.checked_mul(CHUNK_PAGES as u32)?,
                false => 0,
            };
            for (page, place) in (0..).zip(&mut places) {
                place.number = match by_chunk {
                    true => first + page,
                    false => from.number()?,
                };
                place.crc = from.number()?;
            }
            chunks.insert(at, places);
        }
        Some(Meta {
            position,
            blob,
            table: PageTable {
                chunks,
                ..PageTable::default()
            },
        })
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}
