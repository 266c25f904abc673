//! Hash tables in a memory file: open addressing, split into sub-tables that grow one at a time.
//!
//! A key is a keyed fingerprint of 128 bits ([`Fp`]). Its upper bits choose the sub-table and are not stored; the slot
//! stores the rest of what it needs, so that growing never asks for the key again. Growing one of [`SUBS`] sub-tables
//! rehashes a 64th of the table: the pause is a few milliseconds at 30 million entries.

use std::marker::PhantomData;

use actors::memfile::MemFile;

/// A keyed fingerprint of something: evenly spread, not to be guessed from outside.
pub type Fp = [u32; 4];

/// Sub-tables of a table.
pub const SUBS: usize = 64;
/// Slots of a sub-table when it gets its first entry.
const SLOTS_FIRST_LOG2: u32 = 5;

/// What a slot holds and how it is compared.
pub trait Slot<const N: usize> {
    /// The stored form of a fingerprint, with empty payload. Never all zeros in the words that are compared.
    fn key(fp: &Fp) -> [u32; N];
    /// Same key?
    fn same(stored: &[u32; N], key: &[u32; N]) -> bool;
}

/// Identifiers: 96 bits of fingerprint and a number. Two of 30 million collide with a probability of 10⁻¹⁶.
pub enum ByIdent {}

impl Slot<4> for ByIdent {
    fn key(fp: &Fp) -> [u32; 4] {
        [fp[0].max(1), fp[1], fp[2], 0]
    }
    fn same(stored: &[u32; 4], key: &[u32; 4]) -> bool {
        stored[..3] == key[..3]
    }
}

/// Members of a set: 64 bits stored and 6 by sub-table.
pub enum InSet {}

impl Slot<2> for InSet {
    fn key(fp: &Fp) -> [u32; 2] {
        [fp[0].max(1), fp[1]]
    }
    fn same(stored: &[u32; 2], key: &[u32; 2]) -> bool {
        stored == key
    }
}

/// A table in a memory file. Holds no state: where it lies is all it knows.
pub struct Table<S, const N: usize> {
    /// Section of the heads and the index of this table's first head.
    heads: (usize, u64),
    /// First of [`SUBS`] sections.
    sections: usize,
    of: PhantomData<fn() -> S>,
}

impl<S, const N: usize> Clone for Table<S, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S, const N: usize> Copy for Table<S, N> {}

/// A sub-table's state: log2 of its slots (0: none yet) and its entries.
type Head = [u32; 2];

impl<S: Slot<N>, const N: usize> Table<S, N> {
    /// The table whose heads begin at element `first_head` of section `heads` and whose sub-tables are the sections from
    /// `sections` on.
    pub const fn new(heads: usize, first_head: u64, sections: usize) -> Self {
        Table {
            heads: (heads, first_head),
            sections,
            of: PhantomData,
        }
    }

    /// The entry of a fingerprint.
    pub fn find(&self, file: &MemFile, fp: &Fp) -> Option<[u32; N]> {
        let sub = sub(fp);
        let (log2, _) = self.head(file, sub);
        if log2 == 0 {
            return None;
        }
        let key = S::key(fp);
        self.seek(file, sub, log2, &key).1
    }

    /// Adds an entry made from `fp`, with `payload` in the last word if the slot has one. `false`: it is there already.
    pub fn insert(&self, file: &mut MemFile, fp: &Fp, payload: Option<u32>) -> bool {
        let sub = sub(fp);
        let (mut log2, count) = self.head(file, sub);
        let mut key = S::key(fp);
        // At most three quarters full: probe runs stay within a cache line or two.
        if log2 == 0 || u64::from(count + 1) * 4 > (1u64 << log2) * 3 {
            if log2 != 0 && self.seek(file, sub, log2, &key).1.is_some() {
                return false;
            }
            log2 = self.grow(file, sub, log2);
        }
        let (slot, found) = self.seek(file, sub, log2, &key);
        if found.is_some() {
            return false;
        }
        if let Some(payload) = payload {
            key[N - 1] = payload;
        }
        file.write(self.sections + sub, slot, key);
        self.set_head(file, sub, (log2, count + 1));
        true
    }

    /// Takes an entry out; `false`: it was not there. Entries behind it move up, so no mark is left and every entry is still
    /// found (Knuth, The Art of Computer Programming 3, 6.4, algorithm R).
    pub fn remove(&self, file: &mut MemFile, fp: &Fp) -> bool {
        let sub = sub(fp);
        let (log2, count) = self.head(file, sub);
        if log2 == 0 {
            return false;
        }
        let (mut hole, Some(_)) = self.seek(file, sub, log2, &S::key(fp)) else {
            return false;
        };
        let (section, mask) = (self.sections + sub, (1u64 << log2) - 1);
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let stored: [u32; N] = file.read(section, slot);
            if stored[0] == 0 {
                break;
            }
            // It may stand in the hole unless its home lies behind the hole.
            let from_home = slot.wrapping_sub(home(&stored)) & mask;
            let from_hole = slot.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                file.write(section, hole, stored);
                hole = slot;
            }
        }
        file.write(section, hole, [0; N]);
        self.set_head(file, sub, (log2, count - 1));
        true
    }

    /// Entries.
    pub fn len(&self, file: &MemFile) -> u64 {
        (0..SUBS).map(|sub| u64::from(self.head(file, sub).1)).sum()
    }

    /// Bytes of slots.
    pub fn bytes(&self, file: &MemFile) -> u64 {
        let slots: u64 = (0..SUBS)
            .map(|sub| match self.head(file, sub).0 {
                0 => 0,
                log2 => 1 << log2,
            })
            .sum();
        slots * N as u64 * 4
    }

    /// Removes everything; not inside a batch.
    pub fn clear(&self, file: &mut MemFile) {
        for sub in 0..SUBS {
            file.clear(self.sections + sub);
            self.set_head(file, sub, (0, 0));
        }
    }

    /// Every entry with its sub-table, in no order that means anything.
    pub fn each(&self, file: &MemFile, mut visit: impl FnMut(usize, [u32; N])) {
        for sub in 0..SUBS {
            let log2 = self.head(file, sub).0;
            if log2 != 0 {
                for slot in 0..1 << log2 {
                    let stored: [u32; N] = file.read(self.sections + sub, slot);
                    if stored[0] != 0 {
                        visit(sub, stored);
                    }
                }
            }
        }
    }

    /// The slot of a key: where it stands, or where it would.
    fn seek(
        &self,
        file: &MemFile,
        sub: usize,
        log2: u32,
        key: &[u32; N],
    ) -> (u64, Option<[u32; N]>) {
        let mask = (1u64 << log2) - 1;
        let mut slot = home(key) & mask;
        loop {
            let stored: [u32; N] = file.read(self.sections + sub, slot);
            if stored[0] == 0 {
                return (slot, None);
            }
            if S::same(&stored, key) {
                return (slot, Some(stored));
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&self, file: &mut MemFile, sub: usize, log2: u32) -> u32 {
        let section = self.sections + sub;
        let bigger = if log2 == 0 {
            SLOTS_FIRST_LOG2
        } else {
            log2 + 1
        };
        let mut entries = Vec::new();
        if log2 != 0 {
            for slot in 0..1 << log2 {
                let stored: [u32; N] = file.read(section, slot);
                if stored[0] != 0 {
                    entries.push(stored);
                    file.write(section, slot, [0; N]);
                }
            }
        }
        let mask = (1u64 << bigger) - 1;
        for entry in &entries {
            let mut slot = home(entry) & mask;
            while file.read::<N>(section, slot)[0] != 0 {
                slot = (slot + 1) & mask;
            }
            file.write(section, slot, *entry);
        }
        self.set_head(file, sub, (bigger, entries.len() as u32));
        bigger
    }

    fn head(&self, file: &MemFile, sub: usize) -> (u32, u32) {
        let [log2, count]: Head = file.read(self.heads.0, self.heads.1 + sub as u64);
        (log2, count)
    }

    fn set_head(&self, file: &mut MemFile, sub: usize, (log2, count): (u32, u32)) {
        file.write(self.heads.0, self.heads.1 + sub as u64, [log2, count]);
    }
}

fn sub(fp: &Fp) -> usize {
    (fp[3] >> 26) as usize
}

/// Where probing begins, from stored words only.
fn home<const N: usize>(key: &[u32; N]) -> u64 {
    u64::from(key[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table<ByIdent, 4> = Table::new(0, 0, 1);
    const SET: Table<InSet, 2> = Table::new(0, SUBS as u64, 1 + SUBS);

    fn fp(n: u32) -> Fp {
        let hash = blake3::hash(&n.to_le_bytes());
        std::array::from_fn(|i| {
            u32::from_le_bytes(hash.as_bytes()[i * 4..i * 4 + 4].try_into().unwrap())
        })
    }

    #[test]
    fn what_was_removed_is_gone_and_all_else_is_found() {
        let mut file = MemFile::in_memory(1 + 2 * SUBS);
        for n in 0..10_000 {
            TABLE.insert(&mut file, &fp(n), Some(n));
        }
        for n in (0..10_000).filter(|n| n % 3 == 0) {
            assert!(TABLE.remove(&mut file, &fp(n)));
            assert!(!TABLE.remove(&mut file, &fp(n)));
        }
        file.begin();
        for n in (0..10_000).filter(|n| n % 3 == 1) {
            assert!(TABLE.remove(&mut file, &fp(n)));
        }
        file.rollback();
        for n in 0..10_000 {
            let found = TABLE.find(&file, &fp(n)).map(|slot| slot[3]);
            assert_eq!(found, (n % 3 != 0).then_some(n));
        }
        assert_eq!(TABLE.len(&file), 6_666);
        assert!(TABLE.insert(&mut file, &fp(3), Some(77)));
        assert_eq!(TABLE.find(&file, &fp(3)).map(|slot| slot[3]), Some(77));
    }

    #[test]
    fn what_was_inserted_is_found_after_growth_and_rollback() {
        let mut file = MemFile::in_memory(1 + 2 * SUBS);
        for n in 0..20_000 {
            if n % 1_000 == 0 {
                file.begin();
                for lost in n + 1_000_000..n + 1_005_000 {
                    assert!(TABLE.insert(&mut file, &fp(lost), Some(lost)));
                }
                file.rollback();
            }
            assert!(TABLE.insert(&mut file, &fp(n), Some(n + 7)));
            assert!(!TABLE.insert(&mut file, &fp(n), Some(1)));
            assert!(SET.insert(&mut file, &fp(n), None));
            assert!(!SET.insert(&mut file, &fp(n), None));
        }
        for n in 0..20_000 {
            assert_eq!(TABLE.find(&file, &fp(n)).map(|slot| slot[3]), Some(n + 7));
            assert!(SET.find(&file, &fp(n)).is_some());
        }
        for n in 20_000..30_000 {
            assert!(TABLE.find(&file, &fp(n)).is_none());
            assert!(SET.find(&file, &fp(n)).is_none());
        }
        assert_eq!((TABLE.len(&file), SET.len(&file)), (20_000, 20_000));
        let mut seen = 0;
        SET.each(&file, |_, _| seen += 1);
        assert_eq!(seen, 20_000);
        SET.clear(&mut file);
        assert_eq!((SET.len(&file), TABLE.len(&file)), (0, 20_000));
    }
}
