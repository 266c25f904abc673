//! What can go wrong with the cache of rows.

use std::sync::Arc;

use crate::model::{ErrorKind, Fault, Offset, Unit};

/// What can go wrong with the cache of rows.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Stored bytes are damaged, or batches are missing between others. Set the folder aside and build it anew.
    #[error(
        "the row store is damaged: {0}. It is a cache: set its folder aside, it is rebuilt from backup and log"
    )]
    Damaged(String),
    /// Another process has it open.
    #[error("the row store in {0} is in use by another process")]
    Locked(String),
    /// The disk is full.
    #[error("the disk that holds the row store is full")]
    Full,
    /// An earlier write or a background task failed, so the store takes no more writes until it is opened anew.
    #[error("the row store stopped after a failed write: {0}")]
    Stopped(String),
    /// Frames were not given in order.
    #[error("expected the frame at {expected}, got {got}")]
    Order {
        /// The next offset.
        expected: Offset,
        /// The one given.
        got: Offset,
    },
    /// A unit's frame does not follow its last one.
    #[error("frame at {at}: {unit} {what}")]
    Unit {
        /// The frame.
        at: Offset,
        /// Whose it is.
        unit: Unit,
        /// What does not fit.
        what: String,
    },
    /// A row uses the space that every keyspace keeps for the store itself.
    #[error("space {0:#04x} belongs to the store")]
    Reserved(u8),
    /// Input or output failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        source: Arc<std::io::Error>,
    },
}

impl Fault for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            StoreError::Damaged(_) => ErrorKind::Corrupt,
            StoreError::Locked(_) => ErrorKind::Conflict,
            StoreError::Full => ErrorKind::Full,
            StoreError::Stopped(_) => ErrorKind::Unavailable,
            StoreError::Order { .. }
            | StoreError::Unit { .. }
            | StoreError::Reserved(_)
            | StoreError::Io { .. } => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            StoreError::Damaged(_) => "store_damaged",
            StoreError::Locked(_) => "folder_locked",
            StoreError::Full => "disk_full",
            StoreError::Stopped(_) => "store_stopped",
            StoreError::Order { .. } | StoreError::Unit { .. } => "store_order",
            StoreError::Reserved(_) => "store_reserved",
            StoreError::Io { .. } => "store_io",
        }
    }
}

/// Classifies what fjall says. Everything that means "these bytes are not what was written" is damage.
pub(super) fn from_fjall(what: &str, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            from_io(what, source)
        }
        fjall::Error::Locked => StoreError::Locked(what.to_owned()),
        fjall::Error::Poisoned => StoreError::Stopped(what.to_owned()),
        other => StoreError::Damaged(format!("{what}: {other:?}")),
    }
}

/// Classifies an input or output error of a file that should be whole.
pub(super) fn from_io(what: &str, source: std::io::Error) -> StoreError {
    use std::io::ErrorKind::{
        AlreadyExists, InvalidData, InvalidInput, NotFound, StorageFull, UnexpectedEof,
    };
    match source.kind() {
        StorageFull => StoreError::Full,
        // A file that ends early (also a seek before its start), is missing or half made: what a crash or a lost file leaves.
        UnexpectedEof | InvalidData | InvalidInput | NotFound | AlreadyExists => {
            StoreError::Damaged(format!("{what}: {source}"))
        }
        _ => StoreError::Io {
            what: what.to_owned(),
            source: Arc::new(source),
        },
    }
}

/// Runs a call into fjall; a panic there (its sources assert on bytes in places) is damage, not the caller's poison.
pub(super) fn guarded<T>(
    what: &str,
    call: impl FnOnce() -> Result<T, fjall::Error>,
) -> Result<T, StoreError> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| from_fjall(what, error)),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no text");
            Err(StoreError::Damaged(format!(
                "{what}: fjall panicked: {text}"
            )))
        }
    }
}
