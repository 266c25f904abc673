//! Bytes by number, packed: for lists, objects and series of events, of which there are many and most are short.
//!
//! One arena per block of 65,536 numbers. A change appends; what is left behind is swept when it outweighs what lives.

use super::bits::{BLOCK, join, split};

/// Entries that are found by searching a list before a table of all places is kept.
const LIST_MAX: usize = 4096;

/// Garbage below this is not worth sweeping, in bytes.
const GARBAGE_MIN: usize = 16 << 10;

/// Bytes by number. Empty bytes are no entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blobs {
    blocks: Vec<Option<Box<Arena>>>,
}

#[derive(Debug, Clone)]
struct Arena {
    index: Index,
    bytes: Vec<u8>,
    garbage: usize,
}

/// Where each entry begins, plus one.
#[derive(Debug, Clone)]
enum Index {
    List(Vec<u16>, Vec<u32>),
    Table(Box<[u32; BLOCK]>),
}

impl Blobs {
    /// The bytes; empty if there are none.
    pub fn get(&self, number: u32) -> &[u8] {
        let (block, place) = split(number);
        match self.blocks.get(block) {
            Some(Some(arena)) => arena.get(place),
            _ => &[],
        }
    }

    /// Sets the bytes; none take the entry away.
    pub fn set(&mut self, number: u32, bytes: &[u8]) {
        let (block, place) = split(number);
        if self.blocks.len() <= block {
            if bytes.is_empty() {
                return;
            }
            self.blocks.resize_with(block + 1, || None);
        }
        match &mut self.blocks[block] {
            Some(arena) => arena.set(place, bytes),
            None if bytes.is_empty() => {}
            empty => empty.insert(Box::new(Arena::new())).set(place, bytes),
        }
    }

    /// All entries, by number.
    pub fn each(&self, mut each: impl FnMut(u32, &[u8])) {
        for block in 0..self.blocks.len() {
            self.each_in(block, |place, bytes| each(join(block, place), bytes));
        }
    }

    /// Entries of one block, by place.
    pub fn each_in(&self, block: usize, mut each: impl FnMut(u16, &[u8])) {
        let Some(Some(arena)) = self.blocks.get(block) else {
            return;
        };
        arena
            .index
            .each(|place, at| each(place, entry(&arena.bytes, at)));
    }

    /// Whether there never was an entry.
    pub fn is_unused(&self) -> bool {
        self.blocks.is_empty()
    }

    pub fn bytes(&self) -> usize {
        let arena = |arena: &Arena| {
            let index = match &arena.index {
                Index::List(places, at) => places.capacity() * 2 + at.capacity() * 4,
                Index::Table(_) => BLOCK * 4,
            };
            arena.bytes.capacity() + index + size_of::<Arena>()
        };
        self.blocks.iter().flatten().map(|it| arena(it)).sum()
    }
}

impl Arena {
    fn new() -> Arena {
        Arena {
            index: Index::List(Vec::new(), Vec::new()),
            bytes: Vec::new(),
            garbage: 0,
        }
    }

    fn get(&self, place: u16) -> &[u8] {
        match self.index.get(place) {
            0 => &[],
            at => entry(&self.bytes, at),
        }
    }

    fn set(&mut self, place: u16, bytes: &[u8]) {
        let was = self.index.get(place);
        if was != 0 {
            let old = entry(&self.bytes, was).len();
            if old == bytes.len() {
                let end = was as usize - 1 + head(old) + old;
                self.bytes[end - old..end].copy_from_slice(bytes);
                return;
            }
            self.garbage += head(old) + old;
        }
        if bytes.is_empty() {
            self.index.set(place, 0);
        } else {
            if self.garbage > GARBAGE_MIN && self.garbage > self.bytes.len() / 2 {
                self.index.set(place, 0);
                self.sweep();
            }
            let at =
                u32::try_from(self.bytes.len() + 1).expect("a block's entries stay below 4 GB");
            push_varint(&mut self.bytes, bytes.len() as u64);
            self.bytes.extend_from_slice(bytes);
            self.index.set(place, at);
        }
    }

    fn sweep(&mut self) {
        let mut kept = Vec::with_capacity(self.bytes.len() - self.garbage);
        let old = &self.bytes;
        self.index.each_mut(|at| {
            let bytes = entry(old, *at);
            *at = kept.len() as u32 + 1;
            push_varint(&mut kept, bytes.len() as u64);
            kept.extend_from_slice(bytes);
        });
        self.bytes = kept;
        self.garbage = 0;
    }
}

impl Index {
    fn get(&self, place: u16) -> u32 {
        match self {
            Index::List(places, at) => places.binary_search(&place).map_or(0, |found| at[found]),
            Index::Table(table) => table[place as usize],
        }
    }

    fn set(&mut self, place: u16, value: u32) {
        match self {
            Index::Table(table) => table[place as usize] = value,
            Index::List(places, at) => {
                match places.binary_search(&place) {
                    Ok(found) if value == 0 => {
                        places.remove(found);
                        at.remove(found);
                    }
                    Ok(found) => at[found] = value,
                    Err(_) if value == 0 => {}
                    Err(found) => {
                        places.insert(found, place);
                        at.insert(found, value);
                    }
                }
                if places.len() > LIST_MAX {
                    let mut table: Box<[u32; BLOCK]> = vec![0; BLOCK]
                        .into_boxed_slice()
                        .try_into()
                        .expect("made with this length");
                    for (&place, &at) in places.iter().zip(&*at) {
                        table[place as usize] = at;
                    }
                    *self = Index::Table(table);
                }
            }
        }
    }

    fn each(&self, mut each: impl FnMut(u16, u32)) {
        match self {
            Index::List(places, at) => places.iter().zip(at).for_each(|(&p, &at)| each(p, at)),
            Index::Table(table) => {
                for (place, &at) in table.iter().enumerate().filter(|(_, at)| **at != 0) {
                    each(place as u16, at);
                }
            }
        }
    }

    fn each_mut(&mut self, each: impl FnMut(&mut u32)) {
        match self {
            Index::List(_, at) => at.iter_mut().for_each(each),
            Index::Table(table) => table.iter_mut().filter(|at| **at != 0).for_each(each),
        }
    }
}

fn entry(bytes: &[u8], at: u32) -> &[u8] {
    let mut rest = &bytes[at as usize - 1..];
    let len = take_varint(&mut rest) as usize;
    &rest[..len]
}

/// Bytes of a length in front of an entry.
fn head(len: usize) -> usize {
    (64 - (len as u64 | 1).leading_zeros() as usize).div_ceil(7)
}

/// Writes seven bits per byte, lowest first.
pub(crate) fn push_varint(out: &mut impl Extend<u8>, mut value: u64) {
    while value >= 0x80 {
        out.extend([value as u8 | 0x80]);
        value >>= 7;
    }
    out.extend([value as u8]);
}

/// Reads what [`push_varint`] wrote; 0 at the end.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    value
}

/// Signed numbers near zero as small unsigned ones.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests;
