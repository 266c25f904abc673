//! `NAME.meta`: position, the owner's bytes, and the place and checksums of every page; checksummed as a whole.

use std::collections::BTreeMap;

use super::super::CHUNK_PAGES;
use super::{META_MAGIC, PageTable, Place};
use crate::model::{Offset, PartitionId, Position};

/// What a checkpoint is of, and where its pages lie.
pub struct Meta {
    pub position: Position,
    pub blob: Vec<u8>,
    pub table: PageTable,
}

impl Meta {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.blob.len() + self.table.chunks.len() * 76);
        out.extend_from_slice(META_MAGIC);
        out.extend_from_slice(&self.table.generation.to_le_bytes());
        out.extend_from_slice(&self.position.partition.0.to_le_bytes());
        out.extend_from_slice(&self.position.offset.0.to_le_bytes());
        out.extend_from_slice(&(self.blob.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.blob);
        out.extend_from_slice(&self.table.slots.to_le_bytes());
        out.extend_from_slice(&(self.table.free.len() as u32).to_le_bytes());
        for slot in &self.table.free {
            out.extend_from_slice(&slot.to_le_bytes());
        }
        out.extend_from_slice(&(self.table.chunks.len() as u32).to_le_bytes());
        for ((section, chunk), place) in &self.table.chunks {
            for number in [*section, *chunk, place.slot].iter().chain(&place.crc) {
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
        if from.take(8)? != META_MAGIC {
            return None;
        }
        let generation = u64::from_le_bytes(from.array()?);
        let position = Position {
            partition: PartitionId(u16::from_le_bytes(from.array()?)),
            offset: Offset(u64::from_le_bytes(from.array()?)),
        };
        let len = from.number()? as usize;
        let blob = from.take(len)?.to_vec();
        let slots = from.number()?;
        let free = (0..from.number()?)
            .map(|_| from.number())
            .collect::<Option<_>>()?;
        let mut chunks = BTreeMap::new();
        for _ in 0..from.number()? {
            let at = (from.number()?, from.number()?);
            let slot = from.number()?;
            let mut crc = [0; CHUNK_PAGES];
            for page in &mut crc {
                *page = from.number()?;
            }
            chunks.insert(at, Place { slot, crc });
        }
        Some(Meta {
            position,
            blob,
            table: PageTable {
                generation,
                slots,
                free,
                chunks,
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
