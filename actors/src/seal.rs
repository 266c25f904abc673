//! Keys: what is sealed can be made unreadable by destroying a key, without touching the logs.
//!
//! Two sorts. **Day keys** seal raw records and the inner part of results; they are destroyed after at most
//! [`DAY_KEYS_KEPT`] days. **Fragment keys** seal the personal part of what identity sends to members; an erase destroys
//! them. Fragment numbers are dense, so their secrets stand in block files of 4,096, each made ahead of use with one
//! fsync; erasing rewrites a block without the secret (no tombstone, no old copy).

mod cipher;
mod day;
mod file;
mod fragment;
mod memory;
mod ring;

pub use day::day_of;
pub use memory::TestSealer;
pub use ring::{BLOCKS_MAPPED_MAX, KeyRing};

use crate::model::{ErrorKind, Fault, IdentNo, Time};

/// Days that a day key is kept. The stated delay of an erase for raw bytes.
pub const DAY_KEYS_KEPT: u16 = 30;

/// What can go wrong with keys.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SealError {
    /// The sealed bytes were changed or belong to another installation.
    #[error("sealed bytes do not open: they are damaged or belong to another installation")]
    Damaged,
    /// A key file cannot be read or written.
    #[error("key file {file}: {what}")]
    Io {
        /// Which file.
        file: String,
        /// What went wrong.
        what: String,
    },
}

impl Fault for SealError {
    fn kind(&self) -> ErrorKind {
        match self {
            SealError::Damaged => ErrorKind::Corrupt,
            SealError::Io { .. } => ErrorKind::Internal,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            SealError::Damaged => "seal_damaged",
            SealError::Io { .. } => "key_io",
        }
    }
}

/// Seals and opens. Implemented by the key ring on disk and by the simulator's in-memory one.
pub trait Sealer: Send + Sync + 'static {
    /// Appends `plain`, sealed with the key of the day of `now`, to `out`. Makes the key (durably) if the day is new.
    fn seal_day(&self, now: Time, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError>;

    /// Opens what [`Sealer::seal_day`] wrote. `None`: the key has been destroyed.
    fn open_day(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError>;

    /// Appends `plain`, sealed with the fragment's key, to `out`. Makes the key's block (durably) if it is new.
    fn seal_fragment(
        &self,
        fragment: IdentNo,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError>;

    /// Opens what [`Sealer::seal_fragment`] wrote. `None`: the key has been destroyed.
    fn open_fragment(&self, fragment: IdentNo, sealed: &[u8])
    -> Result<Option<Vec<u8>>, SealError>;
}
