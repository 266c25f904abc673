//! A look at the begin of an object: what its format is and what its first rows would be, without copying all of it.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use ingest::file::Content;
use tokio::runtime::Handle;

use super::{Object, ObjectError, Pin};

/// Bytes of one request.
const PIECE_BYTES: u64 = 1024 * 1024;
/// Bytes of a table that one has to go back and forth in (XLSX, Parquet) up to which it is looked at in memory.
pub const TABLE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The content of an object from its first byte on, fetched as it is read.
pub struct Head {
    runtime: Handle,
    object: Object,
    pin: Pin,
    next: u64,
    piece: Bytes,
}

impl Read for Head {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && self.next < self.pin.bytes {
            let range = self.next..self.pin.bytes.min(self.next + PIECE_BYTES);
            self.next = range.end;
            let read = self.object.range(&self.pin, range);
            self.piece = self.runtime.block_on(read).map_err(io::Error::other)?;
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Whether it is a table that one has to go back and forth in. Blocks its thread.
pub fn is_table(runtime: &Handle, object: &Object, pin: &Pin) -> Result<bool, ObjectError> {
    let first = pin.bytes.min(4);
    if first == 0 {
        return Ok(false);
    }
    let magic = runtime.block_on(object.range(pin, 0..first))?;
    Ok(magic.starts_with(b"PK") || magic.starts_with(b"PAR1"))
}

/// The content for a look at its begin; `None`: a table too large for that. Blocks its thread.
pub fn content(
    runtime: &Handle,
    object: &Object,
    pin: &Pin,
) -> Result<Option<Content>, ObjectError> {
    if !is_table(runtime, object, pin)? {
        return Ok(Some(Content::stream(Head {
            runtime: runtime.clone(),
            object: object.clone(),
            pin: pin.clone(),
            next: 0,
            piece: Bytes::new(),
        })));
    }
    if pin.bytes > TABLE_BYTES_MAX {
        return Ok(None);
    }
    let all = runtime.block_on(object.range(pin, 0..pin.bytes))?;
    Ok(Some(Content::memory(all)))
}
