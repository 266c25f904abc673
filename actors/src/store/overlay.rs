//! A unit's own rows that are not in the store yet: decided, or committed and on their way through the write-behind queue.
//!
//! A unit reads its [`View`]: the overlay over a snapshot. It drops a batch's rows once the snapshot it reads from has
//! passed that batch's frame. Keys of different units never meet, so what the snapshot has beyond that is never older.

use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::machine::{RowWrite, Rows, RowsError, Space};
use crate::model::Offset;
use crate::result::Inner;

/// Entries of dropped batches that may stand in the index before it is swept: a sweep costs a look at every entry.
const STALE_MIN: usize = if cfg!(test) { 4 } else { 1024 };

/// Rows written by batches that a snapshot may not have.
///
/// It holds the batches' own rows and an index of the newest write of each key: no row is copied. Most rows are asked for
/// by key or never; a prefix sorts the rows of its space, once for each batch. A dropped batch leaves its entries behind:
/// they are taken for nothing when met, and swept together once they are as many as the living ones.
#[derive(Default)]
pub struct Overlay {
    /// The newest write of each key, and entries of batches that are gone.
    newest: HashTable<Place>,
    /// Batches, oldest first.
    layers: VecDeque<Layer>,
    /// Number of the oldest layer.
    first: u64,
    /// Entries of batches that are gone.
    stale: usize,
    hasher: RandomState,
}

/// Where a row stands: its layer's number and its place in it, with half of its key's hash, so that the index can grow
/// and be swept without a look at the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    layer: u64,
    row: u32,
    hash: u32,
}

struct Layer {
    batch: u64,
    at: Option<Offset>,
    inner: Arc<Inner>,
    /// Rows that no later batch wrote again.
    newest: usize,
    /// Rows of a space in order of their keys, the last write of each; made when a prefix of that space is asked for.
    sorted: [OnceCell<Box<[u32]>>; 256],
}

impl Layer {
    fn sorted(&self, space: Space) -> &[u32] {
        self.sorted[usize::from(space.0)].get_or_init(|| {
            let rows = &self.inner.rows;
            let of_space = (0u32..).zip(rows).filter(|(_, row)| row.space == space);
            let last: BTreeMap<&[u8], u32> = of_space.map(|(at, row)| (&row.key[..], at)).collect();
            last.into_values().collect()
        })
    }

    /// Rows whose keys start with a prefix.
    fn under<'a>(&'a self, space: Space, prefix: &'a [u8]) -> impl Iterator<Item = &'a RowWrite> {
        let sorted = self.sorted(space);
        let rows = &self.inner.rows;
        let from = sorted.partition_point(|at| &rows[*at as usize].key[..] < prefix);
        let behind = sorted[from..].iter().map(|at| &rows[*at as usize]);
        behind.take_while(move |row| row.key.starts_with(prefix))
    }
}

impl Overlay {
    /// Adds a decided batch. Batches come in order.
    pub fn push(&mut self, batch: u64, inner: Arc<Inner>) {
        let layer = self.first + self.layers.len() as u64;
        self.layers.push_back(Layer {
            batch,
            at: None,
            inner: inner.clone(),
            newest: 0,
            sorted: [const { OnceCell::new() }; 256],
        });
        let (layers, first) = (&mut self.layers, self.first);
        self.newest.reserve(inner.rows.len(), spread_of);
        for (at, row) in (0u32..).zip(&inner.rows) {
            let place = Place {
                layer,
                row: at,
                hash: hash(&self.hasher, row.space, &row.key),
            };
            let known = self.newest.entry(
                spread_of(&place),
                |known| is(layers, first, known, place.hash, row.space, &row.key),
                spread_of,
            );
            match known {
                Entry::Occupied(mut known) => {
                    let older = std::mem::replace(known.get_mut(), place);
                    layers[(older.layer - first) as usize].newest -= 1;
                }
                Entry::Vacant(free) => {
                    free.insert(place);
                }
            }
            layers[(layer - first) as usize].newest += 1;
        }
    }

    /// The batch has been committed as the frame at `at`.
    pub fn committed(&mut self, batch: u64, at: Offset) {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.batch == batch) {
            layer.at = Some(at);
        }
    }

    /// Drops the batches that a snapshot at `applied` has. From then on, only read through later snapshots than that.
    pub fn evict(&mut self, applied: Option<Offset>) {
        while let Some(layer) = self.layers.front()
            && layer.at.is_some()
            && layer.at <= applied
        {
            self.stale += layer.newest;
            self.layers.pop_front();
            self.first += 1;
        }
        if self.stale > STALE_MIN.max(self.rows()) {
            self.newest.retain(|place| place.layer >= self.first);
            self.stale = 0;
        }
    }

    /// Batches that it holds.
    pub fn batches(&self) -> usize {
        self.layers.len()
    }

    /// Keys that it holds.
    pub fn rows(&self) -> usize {
        self.newest.len() - self.stale
    }

    /// The overlay over rows that are older.
    pub fn view<'a>(&'a self, below: &'a dyn Rows) -> View<'a> {
        View {
            overlay: self,
            below,
        }
    }

    /// The newest write of a key, if a batch here wrote it.
    fn find(&self, space: Space, key: &[u8]) -> Option<&RowWrite> {
        let (layers, first) = (&self.layers, self.first);
        let hash = hash(&self.hasher, space, key);
        let found = self.newest.find(spread(hash), |known| {
            is(layers, first, known, hash, space, key)
        });
        found.map(|place| row_at(layers, first, *place))
    }

    /// The newest writes of keys that start with a prefix, in order.
    fn under<'a>(&'a self, space: Space, prefix: &'a [u8]) -> BTreeMap<&'a [u8], &'a RowWrite> {
        let layers = self.layers.iter();
        let rows = layers.flat_map(|layer| layer.under(space, prefix));
        rows.map(|row| (&row.key[..], row)).collect()
    }
}

fn row_at(layers: &VecDeque<Layer>, first: u64, place: Place) -> &RowWrite {
    let layer = &layers[(place.layer - first) as usize];
    &layer.inner.rows[place.row as usize]
}

/// Whether an entry is a key's, of a batch that is still here.
fn is(
    layers: &VecDeque<Layer>,
    first: u64,
    known: &Place,
    hash: u32,
    space: Space,
    key: &[u8],
) -> bool {
    known.hash == hash && known.layer >= first && {
        let row = row_at(layers, first, *known);
        row.space == space && row.key[..] == *key
    }
}

fn hash(hasher: &RandomState, space: Space, key: &[u8]) -> u32 {
    (hasher.hash_one((space.0, key)) >> 32) as u32
}

fn spread_of(place: &Place) -> u64 {
    spread(place.hash)
}

/// Half a hash as a whole one: the table takes its place from the low bits and a tag from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Rows as the unit sees them.
#[derive(Clone, Copy)]
pub struct View<'a> {
    overlay: &'a Overlay,
    below: &'a dyn Rows,
}

impl Rows for View<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        match self.overlay.find(space, key) {
            Some(row) => Ok(row.value.clone()),
            None => self.below.get(space, key),
        }
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let above = self.overlay.under(space, prefix);
        if above.is_empty() {
            return self.below.scan(space, prefix, each);
        }
        let mut above = above.into_iter().peekable();
        let mut more = true;
        self.below.scan(space, prefix, &mut |key, value| {
            // Rows of the overlay that stand before this one.
            while let Some((new, row)) = above.next_if(|(new, _)| *new < key) {
                if let Some(value) = &row.value {
                    more = each(new, value);
                    if !more {
                        return false;
                    }
                }
            }
            more = match above.next_if(|(new, _)| *new == key) {
                Some((_, row)) => row.value.as_ref().is_none_or(|new| each(key, new)),
                None => each(key, value),
            };
            more
        })?;
        for (key, row) in above {
            if !more {
                break;
            }
            if let Some(value) = &row.value {
                more = each(key, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
