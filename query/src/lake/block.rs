//! Files of the lake on disk: written in order, checked block by block when read.
//!
//! Parquet has no checksum that everybody writes, so each file has a list of CRC-32C beside it (`<name>.sums`), one per
//! block of [`BLOCK_BYTES`], and its entry in the manifest holds the CRC of that list. A flipped bit is found when its
//! block is read, never lent as an event.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// Bytes that share a checksum. Small enough that reading a page checks little beside it, large enough that the list of a
/// gigabyte is 64 KiB.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// Where the checksums of a file are.
pub(super) fn sums_path(path: &Path) -> PathBuf {
    path.with_extension("sums")
}

/// Writes a file and remembers the checksum of each block.
pub(super) struct SummingFile {
    file: io::BufWriter<File>,
    sums: Vec<u8>,
    /// Checksum and length of the block that is being written.
    open: (u32, usize),
    bytes: u64,
}

impl SummingFile {
    /// Makes a file that does not exist yet.
    pub fn create(path: &Path) -> io::Result<SummingFile> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(SummingFile {
            file: io::BufWriter::with_capacity(256 << 10, file),
            sums: Vec::new(),
            open: (0, 0),
            bytes: 0,
        })
    }

    /// Syncs the file and its checksums. Answers length and the checksum of the list.
    pub fn seal(mut self, path: &Path) -> io::Result<(u64, u32)> {
        if self.open.1 > 0 {
            self.sums.extend_from_slice(&self.open.0.to_le_bytes());
        }
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        let mut list = File::create(sums_path(path))?;
        list.write_all(&self.sums)?;
        list.sync_data()?;
        Ok((self.bytes, crc32c::crc32c(&self.sums)))
    }
}

impl Write for SummingFile {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.file.write_all(from)?;
        self.bytes += from.len() as u64;
        let mut rest = from;
        while !rest.is_empty() {
            let (sum, filled) = &mut self.open;
            let (part, behind) = rest.split_at(rest.len().min(BLOCK_BYTES - *filled));
            *sum = crc32c::crc32c_append(*sum, part);
            *filled += part.len();
            if *filled == BLOCK_BYTES {
                self.sums.extend_from_slice(&sum.to_le_bytes());
                self.open = (0, 0);
            }
            rest = behind;
        }
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file whose blocks are checked whenever they are read.
#[derive(Clone)]
pub(super) struct CheckedFile(Arc<Checked>);

struct Checked {
    file: File,
    bytes: u64,
    sums: Vec<u32>,
}

impl CheckedFile {
    /// Opens a file of this length whose list of checksums has this checksum.
    pub fn open(path: &Path, bytes: u64, sums_crc: u32) -> io::Result<CheckedFile> {
        let damaged = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let file = File::open(path)?;
        if file.metadata()?.len() != bytes {
            return Err(damaged("it has another length than the manifest says"));
        }
        let list = std::fs::read(sums_path(path))?;
        if crc32c::crc32c(&list) != sums_crc {
            return Err(damaged("its list of checksums is damaged"));
        }
        let sums = list
            .chunks_exact(4)
            .map(|sum| u32::from_le_bytes(sum.try_into().expect("chunks of four")))
            .collect();
        Ok(CheckedFile(Arc::new(Checked { file, bytes, sums })))
    }

    /// Reads all of it, for the sake of the checksums.
    pub fn verify(&self) -> io::Result<()> {
        let mut at = 0;
        while at < self.0.bytes {
            let length = (self.0.bytes - at).min(1 << 20) as usize;
            self.read(at, length)?;
            at += length as u64;
        }
        Ok(())
    }

    fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let file = &*self.0;
        let end = start + length as u64;
        if end > file.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = start / BLOCK_BYTES as u64;
        let from = first * BLOCK_BYTES as u64;
        let to = end.next_multiple_of(BLOCK_BYTES as u64).min(file.bytes);
        let mut buffer = vec![0; (to - from) as usize];
        file.file.read_exact_at(&mut buffer, from)?;
        for (block, number) in buffer.chunks(BLOCK_BYTES).zip(first as usize..) {
            if file.sums.get(number) != Some(&crc32c::crc32c(block)) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("block {number} is not what was written"),
                ));
            }
        }
        let skip = (start - from) as usize;
        Ok(Bytes::from(buffer).slice(skip..skip + length))
    }
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.0.bytes
    }
}

impl ChunkReader for CheckedFile {
    type T = CheckedRead;

    fn get_read(&self, start: u64) -> Result<CheckedRead, ParquetError> {
        Ok(CheckedRead {
            file: self.clone(),
            at: start,
            buffer: Bytes::new(),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        Ok(self.read(start, length)?)
    }
}

/// Reads on from a place, a block at a time.
pub(super) struct CheckedRead {
    file: CheckedFile,
    at: u64,
    buffer: Bytes,
}

impl Read for CheckedRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            let left = self.file.0.bytes.saturating_sub(self.at);
            let in_block = BLOCK_BYTES as u64 - self.at % BLOCK_BYTES as u64;
            let length = left.min(in_block) as usize;
            self.buffer = self.file.read(self.at, length)?;
            self.at += length as u64;
        }
        let length = into.len().min(self.buffer.len());
        into[..length].copy_from_slice(&self.buffer.split_to(length));
        Ok(length)
    }
}
