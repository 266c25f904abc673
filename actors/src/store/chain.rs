//! Proof that no batch is missing.
//!
//! fjall cuts a damaged journal file at the damage and goes on with the next file, without an error; a keyspace that was
//! flushed meanwhile keeps rows that another has lost. So each batch writes into each keyspace it touches a *link*: its own
//! number and the number of the batch before it in that keyspace. The mark (the position, in the same batch) names the last
//! batch of every keyspace. At open the links must be whole up to the mark; otherwise the store is damaged. A journal cut
//! at its end passes, at an earlier position, which is what a crash leaves.

use std::collections::VecDeque;

use super::StoreError;
use crate::machine::Space;
use crate::model::Offset;

/// Keyspaces; the upper three bits of a [`Space`] choose one.
pub(super) const KEYSPACES: usize = 8;

/// The last space of each keyspace is the store's own.
const OWN: u8 = 0x1f;

/// Whether a space belongs to the store itself: how it was written there differs between stores of equal rows.
pub fn reserved(space: Space) -> bool {
    space.0 & OWN == OWN
}

/// Key of the mark, in keyspace 0.
pub(super) const MARK_KEY: [u8; 2] = [OWN, b'p'];

/// Where the store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// Offset of the next frame to apply.
    pub next: u64,
    /// Number of the last batch.
    pub batch: u64,
    /// Per keyspace, the last batch that touched it; 0 if none did.
    pub last: [u64; KEYSPACES],
}

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 * (2 + KEYSPACES));
        for number in [self.next, self.batch].iter().chain(&self.last) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Mark> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        if numbers.len() != 2 + KEYSPACES || !rest.is_empty() {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(numbers[at]);
        Some(Mark {
            next: number(0),
            batch: number(1),
            last: std::array::from_fn(|keyspace| number(2 + keyspace)),
        })
    }

    /// The last applied frame.
    pub(super) fn applied(&self) -> Option<Offset> {
        self.next.checked_sub(1).map(Offset)
    }
}

/// Prefix of the links of a keyspace.
pub(super) fn link_prefix(keyspace: usize) -> [u8; 2] {
    [(keyspace as u8) << 5 | OWN, b'l']
}

/// Key of one link.
pub(super) fn link_key(keyspace: usize, batch: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&link_prefix(keyspace));
    key[2..].copy_from_slice(&batch.to_be_bytes());
    key
}

/// The links of one keyspace that are still on disk, oldest first: batch number, and a sequence number of fjall that was
/// visible after it.
#[derive(Debug, Default)]
pub(super) struct Links(VecDeque<(u64, u64)>);

impl Links {
    /// Takes the links found at open and checks them against the mark.
    pub(super) fn check(
        keyspace: usize,
        found: Vec<(u64, u64)>,
        last: u64,
        visible: u64,
    ) -> Result<Links, StoreError> {
        for pair in found.windows(2) {
            if pair[1].1 != pair[0].0 {
                return Err(missing(keyspace, pair[0].0, pair[1].0));
            }
        }
        let newest = found.last().map_or(0, |(batch, _)| *batch);
        if newest != last {
            return Err(missing(keyspace, newest, last));
        }
        Ok(Links(
            found
                .into_iter()
                .map(|(batch, _)| (batch, visible))
                .collect(),
        ))
    }

    /// Notes a link that was written.
    pub(super) fn push(&mut self, batch: u64, visible: u64) {
        self.0.push_back((batch, visible));
    }

    /// Links that are proof of nothing any more: they and their rows are in synced tables, up to sequence number
    /// `persisted`. The newest of them stays: the next one names it.
    pub(super) fn spent(&self, persisted: u64) -> usize {
        let settled = self.0.partition_point(|(_, seen)| *seen <= persisted);
        settled.saturating_sub(1)
    }

    /// The first `count` batch numbers.
    pub(super) fn first(&self, count: usize) -> impl Iterator<Item = u64> {
        self.0.iter().take(count).map(|(batch, _)| *batch)
    }

    /// Forgets the first `count`, which were deleted.
    pub(super) fn forget(&mut self, count: usize) {
        self.0.drain(..count);
    }
}

fn missing(keyspace: usize, found: u64, wanted: u64) -> StoreError {
    StoreError::Damaged(format!(
        "keyspace {keyspace} has batch {found} where it should have {wanted}: journal entries between them are lost"
    ))
}
