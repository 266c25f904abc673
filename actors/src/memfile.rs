//! Flat memory with a checkpoint file: what a machine keeps in memory and must not rebuild from rows at every start.
//!
//! A [`MemFile`] holds numbered **sections** of 32-bit words that read as zero until written and grow by chunks, so that
//! growth copies nothing. Changes of a batch can be taken back ([`MemFile::rollback`]). A **checkpoint** writes the pages
//! changed since the last one beside those that they replace, and then a position; whatever tears, the next
//! [`MemFile::open`] finds the old or the new one, or says that a page is damaged (and the owner rebuilds it).
//!
//! The memory is anonymous and read at open, not a map of the file: every page is checked at open, so it is read anyway,
//! and a page of ours never changes under us. Chunks are shared with a running checkpoint and copied when written to, so
//! deciding goes on while a checkpoint is written by another thread.
//!
//! Absent on purpose: what the words mean (see [`MemVec`] for typed access), and file locks (the data folder has one).

mod file;

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

pub use file::{CheckpointDone, CheckpointJob, MemFileError, Opened};

/// Words of a page: 4 KiB, the unit that is checked and written. Larger pages write more per random change.
pub const PAGE_WORDS: usize = 1024;
/// Pages of a chunk: 64 KiB, the unit that is allocated and copied while a checkpoint runs. Chunk tables of a few GiB of
/// memory then still fit the second-level cache.
const CHUNK_PAGES: usize = 16;
const CHUNK_WORDS: usize = PAGE_WORDS * CHUNK_PAGES;

type Words = [u32; CHUNK_WORDS];

/// Growable zeroed memory in sections, with undo per batch and checkpoints. See the module.
pub struct MemFile {
    sections: Vec<Section>,
    undo: Undo,
    in_batch: bool,
    base: PathBuf,
    /// Where pages lie in the file. Away while a checkpoint runs.
    table: Option<file::PageTable>,
}

#[derive(Default)]
struct Section {
    chunks: Vec<Option<Arc<Words>>>,
    /// One bit per page changed since the last checkpoint.
    dirty: Vec<u16>,
}

#[derive(Default)]
struct Undo {
    heads: Vec<UndoHead>,
    old: Vec<u32>,
}

struct UndoHead {
    section: u32,
    len: u32,
    word: u64,
}

/// A value of `N` words. `N` is a power of two up to [`PAGE_WORDS`], so that no value lies across two pages.
pub trait Plain<const N: usize>: Copy {
    /// As words.
    fn into_words(self) -> [u32; N];
    /// From words; all zeros must be a sensible value, because that is what unwritten memory reads as.
    fn from_words(words: [u32; N]) -> Self;
}

impl<const N: usize> Plain<N> for [u32; N] {
    fn into_words(self) -> [u32; N] {
        self
    }
    fn from_words(words: [u32; N]) -> Self {
        words
    }
}

/// Typed view of one section: element `i` of type `T`.
///
/// ```
/// use actors::memfile::{MemFile, MemVec};
/// let mut file = MemFile::in_memory(1);
/// let pairs: MemVec<[u32; 2], 2> = MemVec::new(0);
/// file.begin();
/// pairs.set(&mut file, 1_000_000, [7, 8]);
/// assert_eq!(pairs.get(&file, 1_000_000), [7, 8]);
/// file.rollback();
/// assert_eq!(pairs.get(&file, 1_000_000), [0, 0]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MemVec<T, const N: usize> {
    section: usize,
    of: PhantomData<fn() -> T>,
}

impl<T: Plain<N>, const N: usize> MemVec<T, N> {
    /// The view of `section`.
    pub const fn new(section: usize) -> Self {
        MemVec {
            section,
            of: PhantomData,
        }
    }

    /// Element `index`; zeros if it was never written.
    pub fn get(&self, file: &MemFile, index: u64) -> T {
        T::from_words(file.read(self.section, index))
    }

    /// Writes element `index`.
    pub fn set(&self, file: &mut MemFile, index: u64, value: T) {
        file.write(self.section, index, value.into_words());
    }
}

impl MemFile {
    /// Memory without a file: checkpoints of it fail. For tests and measurements.
    pub fn in_memory(sections: usize) -> MemFile {
        MemFile {
            sections: (0..sections).map(|_| Section::default()).collect(),
            undo: Undo::default(),
            in_batch: false,
            base: PathBuf::new(),
            table: None,
        }
    }

    /// Reads `N` words at element `index` of `section`.
    #[inline]
    pub fn read<const N: usize>(&self, section: usize, index: u64) -> [u32; N] {
        const { assert!(N.is_power_of_two() && N <= PAGE_WORDS) };
        let word = index as usize * N;
        match self.sections[section].chunks.get(word / CHUNK_WORDS) {
            Some(Some(chunk)) => *chunk[word % CHUNK_WORDS..]
                .first_chunk()
                .expect("a value never lies across two chunks"),
            _ => [0; N],
        }
    }

    /// Writes `N` words at element `index` of `section`. Inside a batch it can be taken back.
    #[inline]
    pub fn write<const N: usize>(&mut self, section: usize, index: u64, new: [u32; N]) {
        const { assert!(N.is_power_of_two() && N <= PAGE_WORDS) };
        let word = index as usize * N;
        let target = &mut self.sections[section];
        let slot: &mut [u32; N] = target.slot(word)[..]
            .first_chunk_mut()
            .expect("a value never lies across two chunks");
        if *slot == new {
            return;
        }
        if self.in_batch {
            self.undo.heads.push(UndoHead {
                section: section as u32,
                len: N as u32,
                word: word as u64,
            });
            self.undo.old.extend_from_slice(slot);
        }
        *slot = new;
        target.mark(word);
    }

    /// Starts a batch: writes from here on can be taken back.
    pub fn begin(&mut self) {
        self.commit();
        self.in_batch = true;
    }

    /// Ends a batch: its writes stay.
    pub fn commit(&mut self) {
        self.undo.heads.clear();
        self.undo.old.clear();
        self.in_batch = false;
    }

    /// Takes back every write since [`MemFile::begin`] and ends the batch.
    pub fn rollback(&mut self) {
        while let Some(head) = self.undo.heads.pop() {
            let keep = self.undo.old.len() - head.len as usize;
            let target = &mut self.sections[head.section as usize];
            let word = head.word as usize;
            target.slot(word)[..head.len as usize].copy_from_slice(&self.undo.old[keep..]);
            target.mark(word);
            self.undo.old.truncate(keep);
        }
        self.in_batch = false;
    }

    /// Empties a section and frees its memory.
    ///
    /// # Panics
    /// Inside a batch: this cannot be taken back.
    pub fn clear(&mut self, section: usize) {
        assert!(!self.in_batch, "a section is cleared between batches only");
        let target = &mut self.sections[section];
        target.chunks.clear();
        target.dirty.clear();
    }

    /// Bytes of memory allocated.
    pub fn bytes(&self) -> u64 {
        let chunks: usize = self
            .sections
            .iter()
            .map(|section| section.chunks.iter().flatten().count())
            .sum();
        (chunks * CHUNK_WORDS * 4) as u64
    }

    /// Bytes that the next checkpoint has to write.
    pub fn dirty_bytes(&self) -> u64 {
        let pages: u32 = self
            .sections
            .iter()
            .flat_map(|section| &section.dirty)
            .map(|mask| mask.count_ones())
            .sum();
        u64::from(pages) * PAGE_WORDS as u64 * 4
    }
}

impl Section {
    /// The words from `word` to the end of its chunk, ready to be written.
    #[inline]
    fn slot(&mut self, word: usize) -> &mut [u32] {
        let chunk = word / CHUNK_WORDS;
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
            self.dirty.resize(chunk + 1, 0);
        }
        let words = self.chunks[chunk].get_or_insert_with(|| {
            // All pages: a cleared section's chunk may still lie in the file under this number.
            self.dirty[chunk] = u16::MAX;
            Arc::new([0; CHUNK_WORDS])
        });
        &mut Arc::make_mut(words)[word % CHUNK_WORDS..]
    }

    #[inline]
    fn mark(&mut self, word: usize) {
        self.dirty[word / CHUNK_WORDS] |= 1 << (word % CHUNK_WORDS / PAGE_WORDS);
    }
}

#[cfg(test)]
mod tests;
