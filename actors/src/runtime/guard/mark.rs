//! What each unit decides at this moment, kept where the end of the process does not take it.
//!
//! A small file, mapped: one slot per unit, and setting it is a few stores into memory, with no call of the system. The
//! kernel holds the page, so a process that is killed leaves its last word. A power cut may leave an older one or a
//! mixture; a slot names the run it is of, so what such a slot can do is count one death too many or too few.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use memmap2::{MmapOptions, MmapRaw};

use crate::machine::RecordAt;
use crate::model::{Offset, PartitionId, Position};

/// Nothing is being decided.
const NOTHING: u64 = 0;
/// A batch is, at a place that belongs to no single record.
const BATCH: u64 = 1;
/// A record is.
const RECORD: u64 = 2;
/// Added to the two above when no other unit decides meanwhile.
const ALONE: u64 = 4;

/// One unit's word. As long as a line of the processor's cache: units on other cores do not touch it.
#[repr(C, align(64))]
struct Slot {
    run: AtomicU64,
    what: AtomicU64,
    offset: AtomicU64,
    /// Partition above 32 bits of index.
    place: AtomicU64,
}

/// A unit died deciding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Death {
    /// The record, unless it was between records.
    pub record: Option<RecordAt>,
    /// No other unit was deciding.
    pub alone: bool,
}

/// The file.
pub(super) struct Marks {
    map: MmapRaw,
    slots: usize,
}

impl Marks {
    /// Opens the file, or makes it. Its blocks are written, so that a disk that is full later cannot fail a store.
    pub fn open(path: &Path, slots: usize) -> io::Result<Marks> {
        let bytes = slots * size_of::<Slot>();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let known = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if known < bytes {
            use std::os::unix::fs::FileExt;
            file.write_all_at(&vec![0; bytes - known], known as u64)?;
        }
        let map = MmapOptions::new().len(bytes).map_raw(&file)?;
        Ok(Marks { map, slots })
    }

    fn slot(&self, index: usize) -> &Slot {
        assert!(index < self.slots, "every unit has a slot");
        // SAFETY: a map begins at a page, so slots are aligned; `index` is within its length; all fields are atomics, for
        // which every pattern of bits is a value; the map lives as long as `self`.
        unsafe { &*self.map.as_ptr().cast::<Slot>().add(index) }
    }

    /// What a slot says of a run.
    pub fn death(&self, index: usize, run: u64) -> Option<Death> {
        let slot = self.slot(index);
        let what = slot.what.load(Ordering::Acquire);
        if slot.run.load(Ordering::Acquire) != run || what == NOTHING {
            return None;
        }
        let place = slot.place.load(Ordering::Acquire);
        let record = RecordAt {
            position: Position {
                partition: PartitionId((place >> 32) as u16),
                offset: Offset(slot.offset.load(Ordering::Acquire)),
            },
            index: place as u32,
        };
        Some(Death {
            record: (what & RECORD != 0).then_some(record),
            alone: what & ALONE != 0,
        })
    }

    /// The newest run that a slot names.
    pub fn last_run(&self) -> u64 {
        let runs = (0..self.slots).map(|index| self.slot(index).run.load(Ordering::Acquire));
        runs.max().unwrap_or(0)
    }
}

/// One unit's hand on its slot.
#[derive(Clone)]
pub struct Mark {
    pub(super) marks: Arc<Marks>,
    pub(super) index: usize,
    pub(super) run: u64,
    pub(super) alone: bool,
}

impl Mark {
    /// A batch is decided until the answer is dropped, also by a panic.
    pub fn deciding(&self) -> Deciding<'_> {
        let slot = self.marks.slot(self.index);
        self.set(slot, NOTHING);
        slot.run.store(self.run, Ordering::Relaxed);
        self.batch();
        Deciding(self)
    }

    /// From here on it is this record that is decided.
    #[inline]
    pub fn record(&self, at: RecordAt) {
        let slot = self.marks.slot(self.index);
        // At no moment does the slot name a record that is half the one and half the other.
        self.set(slot, BATCH);
        let place = u64::from(at.position.partition.0) << 32 | u64::from(at.index);
        slot.offset.store(at.position.offset.0, Ordering::Relaxed);
        slot.place.store(place, Ordering::Relaxed);
        self.set(slot, RECORD);
    }

    /// From here on no single record is decided.
    #[inline]
    pub fn batch(&self) {
        self.set(self.marks.slot(self.index), BATCH);
    }

    /// The order of stores is the thread's own: who reads them comes after its end.
    #[inline]
    fn set(&self, slot: &Slot, what: u64) {
        let alone = match what {
            NOTHING => 0,
            _ if self.alone => ALONE,
            _ => 0,
        };
        compiler_fence(Ordering::SeqCst);
        slot.what.store(what | alone, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }
}

/// A batch is being decided. Dropping it says that it no longer is.
pub struct Deciding<'a>(&'a Mark);

impl Drop for Deciding<'_> {
    fn drop(&mut self) {
        let mark = self.0;
        mark.set(mark.marks.slot(mark.index), NOTHING);
    }
}
