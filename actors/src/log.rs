//! The durable log: append-only partitions of records with dense offsets.
//!
//! Everything durable is a record here; what else lies on disk is a cache of it with a position. The embedded form is
//! [`segment`]; Kafka implements the same trait.

pub mod archive;
pub mod bench;
pub mod frame;
mod scan;
pub mod segment;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{ErrorKind, Fault, Offset, PartitionId};

/// One record as stored: the schema of its payload and the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Which schema (and version of it) the payload has; upcasters go by it.
    pub schema: u16,
    /// The payload.
    pub payload: Bytes,
}

/// A record read back, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Dense number within the partition.
    pub offset: Offset,
    /// The record.
    pub record: LogRecord,
}

/// Called once when an append is durable (first offset of the group's part) or has failed. Runs on the log's writer
/// thread: hand over, never block.
pub type OnDurable = Box<dyn FnOnce(Result<Offset, LogError>) + Send>;

/// What can go wrong with a log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// A stored frame is damaged before the last synced position. The partition refuses to open or to be read there.
    #[error(
        "partition {partition} is damaged at offset {offset} (file {file}, byte {byte}): {what}. {hint}"
    )]
    Corrupt {
        /// Partition.
        partition: PartitionId,
        /// First offset that cannot be read.
        offset: Offset,
        /// File name.
        file: String,
        /// Byte within the file.
        byte: u64,
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The offset is before the first kept one.
    #[error("partition {partition}: offset {offset} is gone, the first kept one is {first}")]
    Trimmed {
        /// Partition.
        partition: PartitionId,
        /// Asked for.
        offset: Offset,
        /// First kept.
        first: Offset,
    },
    /// The disk is full; nothing was written. Appends work again when space is there.
    #[error("the disk that holds the log is full")]
    Full,
    /// A record is larger than the limit.
    #[error("a record of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Another process holds the folder.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// Input or output failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        source: Arc<std::io::Error>,
    },
}

impl LogError {
    /// Input or output failed while doing `what`.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> LogError {
        LogError::Io {
            what: what.into(),
            source: Arc::new(source),
        }
    }
}

impl Fault for LogError {
    fn kind(&self) -> ErrorKind {
        match self {
            LogError::Corrupt { .. } => ErrorKind::Corrupt,
            LogError::Trimmed { .. } => ErrorKind::NotFound,
            LogError::Full => ErrorKind::Full,
            LogError::TooLarge { .. } => ErrorKind::Invalid,
            LogError::Locked(_) => ErrorKind::Conflict,
            LogError::Closed => ErrorKind::Unavailable,
            LogError::Io { .. } => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            LogError::Corrupt { .. } => "log_corrupt",
            LogError::Trimmed { .. } => "log_trimmed",
            LogError::Full => "disk_full",
            LogError::TooLarge { .. } => "record_too_large",
            LogError::Locked(_) => "folder_locked",
            LogError::Closed => "log_closed",
            LogError::Io { .. } => "log_io",
        }
    }
}

/// A large record of a log, to be read in parts. Its checksum is that of the whole: whoever reads a part has to know by itself
/// that it is right.
pub trait Parts: Send + Sync {
    /// Bytes of its payload.
    fn bytes(&self) -> u64;
    /// Some of them. Errors: beyond the end, or the disk.
    fn read(&self, range: Range<u64>) -> Result<Bytes, LogError>;
}

/// A record that is in memory.
impl Parts for Bytes {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, LogError> {
        if range.start > range.end || range.end > self.bytes() {
            let kind = std::io::ErrorKind::UnexpectedEof;
            return Err(LogError::io("reading a part of a record", kind.into()));
        }
        Ok(self.slice(range.start as usize..range.end as usize))
    }
}

/// A partitioned durable log. Cheap to share.
pub trait Log: Send + Sync + 'static {
    /// How many partitions there are.
    fn partitions(&self) -> u16;

    /// Appends a group: all of it or nothing, consecutive offsets. `done` is called when it is durable.
    fn append(&self, partition: PartitionId, group: Vec<LogRecord>, done: OnDurable);

    /// Reads durable records from `from` on: at least one if there is one, then up to about `bytes_max`. Empty at the end.
    /// Reads archived segments transparently.
    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Stored>, LogError>;

    /// A durable record whose parts can be read without the rest of it. `None`: it is read as fast as a whole, because it is
    /// small, or near others, or in memory; or this log cannot.
    fn parts(
        &self,
        _partition: PartitionId,
        _offset: Offset,
    ) -> Result<Option<Box<dyn Parts>>, LogError> {
        Ok(None)
    }

    /// The offset that the next durable record will have: all below are durable and readable.
    fn end(&self, partition: PartitionId) -> Offset;

    /// The first kept offset.
    fn start(&self, partition: PartitionId) -> Offset;

    /// Calls `wake` after each time the durable end of a partition moves. Listeners live as long as the log.
    fn on_advance(&self, wake: Arc<dyn Fn(PartitionId, Offset) + Send + Sync>);
}
