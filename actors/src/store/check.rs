//! Reads everything once, so that every checksum is looked at.

use super::chain::MARK_KEY;
use super::error::guarded;
use super::{RowStore, StoreError, chain};
use crate::machine::Space;
use crate::model::Offset;

/// What an integrity check has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The position it was read at.
    pub at: Option<Offset>,
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl RowStore {
    /// Reads every row at one position. [`StoreError::Damaged`] if a checksum does not hold or a key is where it cannot be.
    pub fn check(&self) -> Result<Checked, StoreError> {
        let snapshot = self.snapshot()?;
        let mut checked = Checked {
            at: snapshot.at(),
            rows: 0,
            bytes: 0,
        };
        for keyspace in 0..chain::KEYSPACES {
            let mut rows = snapshot.stored(keyspace);
            while let Some((key, value)) = guarded("check rows", || {
                rows.next().map(fjall::Guard::into_inner).transpose()
            })? {
                let Some(space) = key.first().map(|byte| Space(*byte)) else {
                    return Err(StoreError::Damaged("a row has no key".into()));
                };
                if space.keyspace() != keyspace {
                    return Err(StoreError::Damaged(format!(
                        "a row of space {:#04x} stands in keyspace {keyspace}",
                        space.0
                    )));
                }
                if chain::reserved(space)
                    && key[..] != MARK_KEY
                    && key[..2] != chain::link_prefix(keyspace)
                {
                    return Err(StoreError::Damaged(
                        "an unknown row of the store itself".into(),
                    ));
                }
                checked.rows += u64::from(!chain::reserved(space));
                checked.bytes += (key.len() + value.len()) as u64;
            }
        }
        Ok(checked)
    }
}
