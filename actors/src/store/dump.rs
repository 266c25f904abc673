//! All rows at one position as a stream, for backups: portable, checked, in constant memory.
//!
//! Form: `magic 8 | next offset u64 | chunk… | 0 u32 | rows u64 | blake3 of everything before`, a chunk being
//! `length u32 | crc32c u32 | (key length u32, value length u32, key, value)…`. Keys begin with their space and come in
//! order. Numbers are little-endian.

use std::io::{Read, Write};
use std::path::Path;

use fjall::Keyspace;

use super::chain::{self, KEYSPACES};
use super::error::guarded;
use super::{RowStore, Snapshot, StoreConfig, StoreError};
use crate::machine::Space;
use crate::model::{ErrorKind, Fault, Offset};

const MAGIC: &[u8; 8] = b"TRBROWS1";

/// Bytes gathered before a chunk is written. A single larger row makes a larger chunk.
const CHUNK_BYTES: usize = 64 << 10;

/// No chunk is longer: what says so is damaged. A row is far smaller.
const CHUNK_BYTES_MAX: usize = 256 << 20;

/// Why a dump does not write or load.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// Writing or reading the stream failed.
    #[error("dump of rows: {0}")]
    Io(#[from] std::io::Error),
    /// The stream is no dump, ends early, or its checks fail.
    #[error("this dump of rows is damaged: {0}")]
    Damaged(&'static str),
    /// Only an empty store can be filled.
    #[error("rows can only be loaded into an empty store")]
    NotEmpty,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for DumpError {
    fn kind(&self) -> ErrorKind {
        match self {
            DumpError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                ErrorKind::Full
            }
            DumpError::Io(_) => ErrorKind::Internal,
            DumpError::Damaged(_) => ErrorKind::Corrupt,
            DumpError::NotEmpty => ErrorKind::Conflict,
            DumpError::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            DumpError::Io(_) => "dump_io",
            DumpError::Damaged(_) => "dump_damaged",
            DumpError::NotEmpty => "dump_not_empty",
            DumpError::Store(error) => error.code(),
        }
    }
}

impl Snapshot {
    /// Writes all rows at this position. Answers how many.
    pub fn dump(&self, to: &mut dyn Write) -> Result<u64, DumpError> {
        let mut out = Checked {
            stream: to,
            hash: blake3::Hasher::new(),
        };
        out.write(MAGIC)?;
        let next = self.at().map_or(0, |at| at.0 + 1);
        out.write(&next.to_le_bytes())?;
        let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
        let mut count = 0u64;
        for keyspace in 0..KEYSPACES {
            let mut rows = self.stored(keyspace);
            while let Some((key, value)) = guarded("dump rows", || {
                rows.next().map(fjall::Guard::into_inner).transpose()
            })? {
                if chain::reserved(Space(key[0])) {
                    continue;
                }
                chunk.extend_from_slice(&len32(key.len()));
                chunk.extend_from_slice(&len32(value.len()));
                chunk.extend_from_slice(&key);
                chunk.extend_from_slice(&value);
                count += 1;
                if chunk.len() >= CHUNK_BYTES {
                    out.chunk(&mut chunk)?;
                }
            }
        }
        if !chunk.is_empty() {
            out.chunk(&mut chunk)?;
        }
        out.write(&0u32.to_le_bytes())?;
        out.write(&count.to_le_bytes())?;
        let hash = out.hash.finalize();
        out.stream.write_all(hash.as_bytes())?;
        out.stream.flush()?;
        Ok(count)
    }
}

impl RowStore {
    /// Makes a store in `folder` from a dump. On an error the folder holds a part of it: load into a temporary name and
    /// rename.
    pub fn load(
        folder: &Path,
        config: &StoreConfig,
        from: &mut dyn Read,
    ) -> Result<(RowStore, Option<Offset>), DumpError> {
        let mut stream = Checked {
            stream: from,
            hash: blake3::Hasher::new(),
        };
        if stream.read::<8>()? != *MAGIC {
            return Err(DumpError::Damaged("it does not begin like one"));
        }
        let next = u64::from_le_bytes(stream.read()?);
        let position = next.checked_sub(1).map(Offset);
        let (store, _) = RowStore::open(folder, config)?;
        store.fill(position, |spaces| load_rows(&mut stream, spaces))?;
        Ok((store, position))
    }
}

fn load_rows(
    stream: &mut Checked<&mut dyn Read>,
    spaces: &[Keyspace; KEYSPACES],
) -> Result<(), DumpError> {
    let mut rows = Loading {
        stream,
        chunk: Vec::new(),
        at: 0,
        last: Vec::new(),
        count: 0,
        ended: false,
    };
    // Keys come in order and a keyspace is the upper bits of their first byte, so one keyspace comes after another.
    while let Some(keyspace) = rows.keyspace()? {
        let mut ingestion = guarded("load rows", || spaces[keyspace].start_ingestion())?;
        while rows.keyspace()? == Some(keyspace) {
            let (key, value) = rows.take()?;
            guarded("load rows", || ingestion.write(key, value))?;
        }
        guarded("load rows", || ingestion.finish())?;
    }
    let count = rows.count;
    if count != u64::from_le_bytes(stream.read()?) {
        return Err(DumpError::Damaged(
            "it has another number of rows than it says",
        ));
    }
    let hash = stream.hash.finalize();
    let mut stored = [0; 32];
    stream.stream.read_exact(&mut stored).map_err(cut)?;
    if hash.as_bytes() != &stored {
        return Err(DumpError::Damaged("its checksum does not hold"));
    }
    Ok(())
}

/// The rows of a stream, one after another.
struct Loading<'a, 'b> {
    stream: &'a mut Checked<&'b mut dyn Read>,
    chunk: Vec<u8>,
    at: usize,
    last: Vec<u8>,
    count: u64,
    ended: bool,
}

impl Loading<'_, '_> {
    /// The keyspace of the next row; `None` at the end.
    fn keyspace(&mut self) -> Result<Option<usize>, DumpError> {
        if self.at == self.chunk.len() && !self.ended {
            self.at = 0;
            self.ended = !self.stream.next_chunk(&mut self.chunk)?;
        }
        if self.ended {
            return Ok(None);
        }
        let (key, _) = row_at(&self.chunk[self.at..]).ok_or(DumpError::Damaged("a row is cut"))?;
        match key.first() {
            Some(space) if key > &self.last[..] && !chain::reserved(Space(*space)) => {
                Ok(Some(Space(*space).keyspace()))
            }
            _ => Err(DumpError::Damaged("rows are not in order")),
        }
    }

    /// The row that [`Loading::keyspace`] has looked at.
    fn take(&mut self) -> Result<(&[u8], &[u8]), DumpError> {
        let (key, value) =
            row_at(&self.chunk[self.at..]).ok_or(DumpError::Damaged("a row is cut"))?;
        self.at += 8 + key.len() + value.len();
        self.last.clear();
        self.last.extend_from_slice(key);
        self.count += 1;
        Ok((key, value))
    }
}

fn row_at(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, body) = bytes.split_first_chunk::<8>()?;
    let (lens, _) = head.as_chunks::<4>();
    let (key, body) = body.split_at_checked(u32::from_le_bytes(lens[0]) as usize)?;
    let (value, _) = body.split_at_checked(u32::from_le_bytes(lens[1]) as usize)?;
    Some((key, value))
}

fn len32(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("a row is far below 4 GiB")
        .to_le_bytes()
}

fn cut(error: std::io::Error) -> DumpError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        DumpError::Damaged("it ends early")
    } else {
        DumpError::Io(error)
    }
}

/// A stream whose bytes are hashed as they pass.
struct Checked<S> {
    stream: S,
    hash: blake3::Hasher,
}

impl Checked<&mut dyn Write> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), DumpError> {
        self.hash.update(bytes);
        Ok(self.stream.write_all(bytes)?)
    }

    fn chunk(&mut self, chunk: &mut Vec<u8>) -> Result<(), DumpError> {
        self.write(&len32(chunk.len()))?;
        self.write(&crc32c::crc32c(chunk).to_le_bytes())?;
        self.write(chunk)?;
        chunk.clear();
        Ok(())
    }
}

impl Checked<&mut dyn Read> {
    fn read<const N: usize>(&mut self) -> Result<[u8; N], DumpError> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).map_err(cut)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    /// Reads a chunk; `false` at the end.
    fn next_chunk(&mut self, chunk: &mut Vec<u8>) -> Result<bool, DumpError> {
        let len = u32::from_le_bytes(self.read()?) as usize;
        if len == 0 {
            return Ok(false);
        }
        if len > CHUNK_BYTES_MAX {
            return Err(DumpError::Damaged("a chunk is too long"));
        }
        let crc = u32::from_le_bytes(self.read()?);
        chunk.resize(len, 0);
        self.stream.read_exact(chunk).map_err(cut)?;
        self.hash.update(chunk);
        if crc32c::crc32c(chunk) == crc {
            Ok(true)
        } else {
            Err(DumpError::Damaged("a chunk's checksum does not hold"))
        }
    }
}

#[cfg(test)]
mod tests;
