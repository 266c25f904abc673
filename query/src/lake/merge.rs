//! Rewrites: many small files into few, months that are over into one, erased persons out.
//!
//! Files are sorted by (fragment, time), so a rewrite reads its inputs side by side, a batch of each in memory, and its
//! outputs are sorted too. What is written counts from the manifest on that names it instead of the inputs; a crash
//! leaves the inputs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actors::crash;
use actors::model::{EventKind, IdentNo, Time};
use arrow::array::RecordBatch;
use arrow::compute;
use arrow::datatypes::{TimestampMillisecondType, UInt32Type, UInt64Type};
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::erase::Erased;
use super::file::{FileWriter, LakeFile};
use super::lend::numbers;
use super::manifest::FileEntry;
use super::schema::{SCHEMA, column};
use super::span::{Calendar, Unit};
use super::{Lake, LakeError, View};

/// How long a month must be over before it is merged: late events of its last days have come by then.
const MONTH_GRACE_MS: i64 = 3 * 86_400_000;

/// Files that one rewrite reads at most: bounds its memory, about 3 MB each.
const INPUTS_MAX: usize = 64;

/// Rows of files that reach over several months that one rewrite takes apart at once: it has a file of each month open.
const APART_ROWS_MAX: u64 = 2 << 20;

/// A merged month is merged again when its late events are more than one in this many.
const LATE_SHARE: u64 = 10;

/// Rows that one input has in memory.
const READ_ROWS: usize = 4_096;

/// Rows put together at once.
const WRITE_ROWS: usize = 8_192;

/// Levels are counted up to here; below [`FileEntry::MONTH`].
const LEVEL_MAX: u8 = 50;

/// A rewrite that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What for: `merge`, `month`, `erase`.
    pub what: &'static str,
    /// Rows written.
    pub done: u64,
    /// Of how many.
    pub rows: u64,
}

/// Files to rewrite into one or a few.
pub(super) struct Job {
    what: &'static str,
    inputs: Vec<Arc<LakeFile>>,
    level: u8,
    /// The outputs are cut at the ends of months.
    by_month: bool,
}

impl Lake {
    /// Does the next rewrite that is due at `now`, if there is one, and says whether there was. Stops between two batches
    /// when `stop` is set. Call it from a thread that stands back.
    pub fn tend(&self, now: Time, stop: &AtomicBool) -> Result<bool, LakeError> {
        let _one = self.tending.lock();
        let erase = self.erasures_due(now);
        if erase && self.stamp()? {
            return Ok(true);
        }
        let view = self.view();
        let Some(job) = next(&view, self, now, erase) else {
            return Ok(false);
        };
        let done = self.rewrite(&view, &job, stop);
        *self.progress.lock() = None;
        done.map(|()| true)
    }

    /// Whether an erasure has waited long enough. Merges for other reasons take erased persons out too.
    fn erasures_due(&self, now: Time) -> bool {
        let manifest = self.manifest.lock();
        let oldest = manifest.pending.iter().map(|erasure| erasure.at).min();
        oldest.is_some_and(|at| at.plus_ms(self.config.erase_after_ms) <= now)
    }

    /// Marks files that have none of the erased fragments as clean, without rewriting them.
    fn stamp(&self) -> Result<bool, LakeError> {
        let view = self.view();
        let behind = |file: &&Arc<LakeFile>| file.entry.erasure < view.erased.number;
        let mut clean = Vec::new();
        for file in view.files.iter().filter(behind).filter(|f| !f.is_suspect()) {
            if !holds_erased(file, &view.erased)? {
                clean.push(file.entry.number);
            }
        }
        if clean.is_empty() {
            return Ok(false);
        }
        let number = view.erased.number;
        self.commit(|manifest| {
            for file in &mut manifest.files {
                if clean.contains(&file.number) {
                    file.erasure = number;
                }
            }
            true
        })
    }

    fn rewrite(&self, view: &View, job: &Job, stop: &AtomicBool) -> Result<(), LakeError> {
        let rows = job.inputs.iter().map(|file| file.entry.rows).sum();
        *self.progress.lock() = Some(Progress {
            what: job.what,
            done: 0,
            rows,
        });
        let mut outputs = Outputs {
            lake: self,
            kind: job.inputs[0].kind(),
            level: job.level,
            erased: &view.erased,
            calendar: job
                .by_month
                .then(|| Calendar::new(self.config.zone.clone(), Unit::Month)),
            open: BTreeMap::new(),
            written: Vec::new(),
        };
        let mut inputs = Inputs::open(&job.inputs)?;
        while let Some(places) = inputs.next()? {
            if stop.load(Ordering::Acquire) {
                return Err(LakeError::Stopped);
            }
            outputs.write(&inputs.held, &places)?;
            inputs.forget();
            if let Some(progress) = &mut *self.progress.lock() {
                progress.done += places.len() as u64;
            }
        }
        let written = outputs.finish()?;
        let wrote: u64 = written.iter().map(|entry| entry.rows).sum();
        if wrote != rows {
            return Err(LakeError::Form(format!("{wrote} rows written of {rows}")));
        }
        crash::point("lake-merged");
        let inputs: Vec<u64> = job.inputs.iter().map(|file| file.entry.number).collect();
        let swapped = self.commit(|manifest| {
            let before = manifest.files.len();
            manifest.files.retain(|file| !inputs.contains(&file.number));
            // An input was made again meanwhile: what was written of it does not count.
            let all = before - manifest.files.len() == inputs.len();
            manifest.files.extend(written.iter().cloned());
            all
        })?;
        if !swapped {
            for entry in written {
                LakeFile::new(&self.config.folder, entry).doom();
            }
        }
        Ok(())
    }
}

/// Whether a file has rows of erased fragments.
fn holds_erased(file: &LakeFile, erased: &Erased) -> Result<bool, LakeError> {
    let fragments = erased.within(&file.entry);
    if fragments.is_empty() {
        return Ok(false);
    }
    let opened = file.open()?;
    for group in 0..opened.meta.metadata().num_row_groups() {
        let ends = super::scan::fragment_ends(opened.meta.metadata().row_group(group));
        let (first, last) = ends.unwrap_or(file.entry.fragments);
        let inside = fragments.iter().copied();
        let inside = inside.filter(|fragment| (first..=last).contains(fragment));
        if inside.clone().next().is_some() && super::scan::holds_some(file, &opened, group, inside)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rewrite that is due next.
fn next(view: &View, lake: &Lake, now: Time, erase: bool) -> Option<Job> {
    let sound = || view.files.iter().filter(|file| !file.is_suspect());
    let behind = |file: &&Arc<LakeFile>| erase && file.entry.erasure < view.erased.number;
    if let Some(file) = sound().find(behind) {
        return Some(Job {
            what: "erase",
            inputs: vec![file.clone()],
            level: file.entry.level,
            by_month: false,
        });
    }
    let mut months = Calendar::new(lake.config.zone.clone(), Unit::Month);
    let mut apart: BTreeMap<EventKind, Vec<Arc<LakeFile>>> = BTreeMap::new();
    let mut within: BTreeMap<(EventKind, Time, Time), Vec<Arc<LakeFile>>> = BTreeMap::new();
    for file in sound() {
        let (first, last) = file.entry.times;
        let (from, to) = months.around(first);
        match last < to {
            true => within.entry((file.kind(), from, to)).or_default(),
            false => apart.entry(file.kind()).or_default(),
        }
        .push(file.clone());
    }
    let enough = lake.config.merge_files.max(2);
    if let Some(files) = apart.into_values().find(|files| files.len() >= enough) {
        return Some(Job {
            what: "merge",
            inputs: up_to_rows(files, APART_ROWS_MAX),
            level: 1,
            by_month: true,
        });
    }
    within
        .into_iter()
        .find_map(|((_, _, end), files)| month(files, end, enough, now))
}

/// What is due within one month of one sort of event.
fn month(files: Vec<Arc<LakeFile>>, end: Time, enough: usize, now: Time) -> Option<Job> {
    let job = |what, inputs: Vec<Arc<LakeFile>>, level| {
        Some(Job {
            what,
            inputs,
            level,
            by_month: false,
        })
    };
    let (merged, small): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| file.entry.level == FileEntry::MONTH);
    let mut levels: BTreeMap<u8, Vec<Arc<LakeFile>>> = BTreeMap::new();
    for file in &small {
        levels
            .entry(file.entry.level)
            .or_default()
            .push(file.clone());
    }
    for (level, mut files) in levels {
        if files.len() >= enough {
            files.truncate(INPUTS_MAX);
            return job("merge", files, (level + 1).min(LEVEL_MAX));
        }
    }
    let rows = |files: &[Arc<LakeFile>]| files.iter().map(|file| file.entry.rows).sum::<u64>();
    let over = end.plus_ms(MONTH_GRACE_MS) <= now;
    let late_enough = merged.is_empty() || rows(&small) * LATE_SHARE >= rows(&merged);
    let all = merged.len() + small.len();
    if over && !small.is_empty() && late_enough && all <= INPUTS_MAX {
        return job("month", [merged, small].concat(), FileEntry::MONTH);
    }
    None
}

fn up_to_rows(files: Vec<Arc<LakeFile>>, rows_max: u64) -> Vec<Arc<LakeFile>> {
    let mut rows = 0;
    let few = files.into_iter().take(INPUTS_MAX).take_while(|file| {
        let first = rows == 0;
        rows += file.entry.rows;
        first || rows <= rows_max
    });
    few.collect()
}

/// Order of rows, and whose they are.
type Key = (u32, i64, u64, u32);

/// The inputs, side by side.
struct Inputs {
    cursors: Vec<Cursor>,
    heap: BinaryHeap<Reverse<(Key, usize)>>,
    /// Batches that places point into.
    held: Vec<RecordBatch>,
}

/// Where a row to write stands, and when it happened.
struct Place {
    batch: usize,
    row: usize,
    time: i64,
    fragment: u32,
}

impl Inputs {
    fn open(files: &[Arc<LakeFile>]) -> Result<Inputs, LakeError> {
        let mut inputs = Inputs {
            cursors: Vec::with_capacity(files.len()),
            heap: BinaryHeap::new(),
            held: Vec::new(),
        };
        for (number, file) in files.iter().enumerate() {
            let mut cursor = Cursor::open(file.clone())?;
            if cursor.load(&mut inputs.held)? {
                inputs.heap.push(Reverse((cursor.key()?, number)));
            }
            inputs.cursors.push(cursor);
        }
        Ok(inputs)
    }

    /// The next rows in order; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<Place>>, LakeError> {
        let mut places = Vec::with_capacity(WRITE_ROWS);
        while places.len() < WRITE_ROWS
            && let Some(Reverse((key, number))) = self.heap.pop()
        {
            let cursor = &mut self.cursors[number];
            places.push(Place {
                batch: cursor.slot,
                row: cursor.row,
                time: key.1,
                fragment: key.0,
            });
            if cursor.advance(&mut self.held)? {
                self.heap.push(Reverse((cursor.key()?, number)));
            }
        }
        Ok((!places.is_empty()).then_some(places))
    }

    /// Lets batches go that all rows are written of.
    fn forget(&mut self) {
        let mut kept = Vec::with_capacity(self.cursors.len());
        for cursor in self
            .cursors
            .iter_mut()
            .filter(|cursor| cursor.batch.is_some())
        {
            kept.push(self.held[cursor.slot].clone());
            cursor.slot = kept.len() - 1;
        }
        self.held = kept;
    }
}

/// One input and the place in it.
struct Cursor {
    file: Arc<LakeFile>,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    slot: usize,
    row: usize,
}

impl Cursor {
    fn open(file: Arc<LakeFile>) -> Result<Cursor, LakeError> {
        let opened = file.open()?;
        let options = ArrowReaderOptions::new().with_schema(SCHEMA.clone());
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(opened.file, options)
            .and_then(|builder| builder.with_batch_size(READ_ROWS).build())
            .map_err(|error| file.damaged(error))?;
        Ok(Cursor {
            file,
            reader,
            batch: None,
            slot: 0,
            row: 0,
        })
    }

    /// The next batch. `false`: there is none.
    fn load(&mut self, held: &mut Vec<RecordBatch>) -> Result<bool, LakeError> {
        let batch = self.reader.next().transpose();
        self.batch = batch.map_err(|error| self.file.damaged(error))?;
        self.row = 0;
        if let Some(batch) = &self.batch {
            held.push(batch.clone());
            self.slot = held.len() - 1;
        }
        Ok(self.batch.is_some())
    }

    fn advance(&mut self, held: &mut Vec<RecordBatch>) -> Result<bool, LakeError> {
        self.row += 1;
        match &self.batch {
            Some(batch) if self.row < batch.num_rows() => Ok(true),
            _ => self.load(held),
        }
    }

    fn key(&self) -> Result<Key, LakeError> {
        let batch = self
            .batch
            .as_ref()
            .expect("asked only where there is a row");
        let read = || {
            Ok((
                numbers::<UInt32Type>(batch, column::FRAGMENT)?.value(self.row),
                numbers::<TimestampMillisecondType>(batch, column::TIME)?.value(self.row),
                numbers::<UInt64Type>(batch, column::OFFSET)?.value(self.row),
                numbers::<UInt32Type>(batch, column::INDEX)?.value(self.row),
            ))
        };
        read().map_err(LakeError::Form)
    }
}

/// The files that a rewrite writes.
struct Outputs<'a> {
    lake: &'a Lake,
    kind: EventKind,
    level: u8,
    erased: &'a Erased,
    /// For outputs by month.
    calendar: Option<Calendar>,
    /// By the start of their month, or all at one place. With the fragment of the last row.
    open: BTreeMap<Time, (FileWriter, IdentNo)>,
    written: Vec<FileEntry>,
}

impl Outputs<'_> {
    fn write(&mut self, held: &[RecordBatch], places: &[Place]) -> Result<(), LakeError> {
        let mut months: BTreeMap<Time, Vec<&Place>> = BTreeMap::new();
        for place in places {
            let month = match &mut self.calendar {
                Some(calendar) => calendar.around(Time(place.time)).0,
                None => Time(0),
            };
            months.entry(month).or_default().push(place);
        }
        let batches: Vec<&RecordBatch> = held.iter().collect();
        for (month, places) in months {
            self.cut(month, places[0])?;
            let rows: Vec<_> = places
                .iter()
                .map(|place| (place.batch, place.row))
                .collect();
            let batch = compute::interleave_record_batch(&batches, &rows)
                .and_then(|batch| self.erased.blank(batch))
                .map_err(|error| LakeError::Form(error.to_string()))?;
            let last = IdentNo(places[places.len() - 1].fragment);
            let (file, behind) = self.file(month)?;
            file.write(&batch)?;
            *behind = last;
        }
        Ok(())
    }

    /// Ends the file of a month that has grown large, where another fragment begins.
    fn cut(&mut self, month: Time, first: &Place) -> Result<(), LakeError> {
        let rows_max = self.lake.config.file_rows_max;
        let large = self.open.get(&month).is_some_and(|(file, last)| {
            file.rows() >= rows_max && *last != IdentNo(first.fragment)
        });
        if large && let Some((file, _)) = self.open.remove(&month) {
            self.written.push(file.finish()?);
        }
        Ok(())
    }

    fn file(&mut self, month: Time) -> Result<&mut (FileWriter, IdentNo), LakeError> {
        use std::collections::btree_map::Entry;
        let config = &self.lake.config;
        match self.open.entry(month) {
            Entry::Occupied(file) => Ok(file.into_mut()),
            Entry::Vacant(place) => {
                let number = self.lake.number();
                let entry = FileEntry::empty(number, self.kind, self.level, self.erased.number);
                let file =
                    FileWriter::create(&config.folder, entry, config.packing, config.group_rows)?;
                Ok(place.insert((file, IdentNo(0))))
            }
        }
    }

    fn finish(mut self) -> Result<Vec<FileEntry>, LakeError> {
        for (file, _) in std::mem::take(&mut self.open).into_values() {
            self.written.push(file.finish()?);
        }
        Ok(self.written)
    }
}
