//! One Parquet file of the lake: written sorted by (fragment, time), removed when its last reader lets go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actors::history::Wanted;
use actors::model::{EventKind, IdentNo, Offset, Time};
use arrow::array::{PrimitiveArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::ArrowNumericType;
use arrow::datatypes::{ArrowPrimitiveType, TimestampMillisecondType, UInt32Type, UInt64Type};
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{PageIndexPolicy, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::LakeError;
use super::block::{CheckedFile, SummingFile, sums_path};
use super::lend::numbers;
use super::manifest::FileEntry;
use super::schema::{READ, SCHEMA, column};

/// Rows of a page: what is read at least when one fragment is looked up.
const PAGE_ROWS: usize = 4_096;

/// Bytes of a row group at most, before compression: bounds the memory of whoever writes or reads one.
const GROUP_BYTES_MAX: usize = 64 << 20;

/// Chance that a bloom filter says "maybe" of a fragment that is not there.
const BLOOM_ERRORS: f64 = 0.02;

/// How texts are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Zstandard at level 1: the smaller files.
    Zstd,
    /// LZ4: the faster reads.
    Lz4,
}

/// A file that is being written. Dropped before [`FileWriter::finish`], it goes away.
pub(super) struct FileWriter {
    entry: FileEntry,
    path: PathBuf,
    writer: Option<ArrowWriter<SummingFile>>,
}

impl FileWriter {
    /// Makes the file that `entry` names.
    pub fn create(
        folder: &Path,
        entry: FileEntry,
        packing: Packing,
        group_rows: usize,
    ) -> Result<FileWriter, LakeError> {
        let path = folder.join(entry.file_name());
        let file = SummingFile::create(&path).map_err(LakeError::io("make a file"))?;
        let properties = properties(packing, group_rows);
        let writer = ArrowWriter::try_new(file, SCHEMA.clone(), Some(properties));
        Ok(FileWriter {
            writer: Some(writer.map_err(LakeError::parquet(&path))?),
            entry,
            path,
        })
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.entry.rows
    }

    /// Adds rows, sorted and behind those before.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let form = |what: String| LakeError::Form(what);
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let entry = &mut self.entry;
        entry.rows += batch.num_rows() as u64;
        entry.events += super::schema::events(batch);
        let (first, last) = ends(numbers::<UInt32Type>(batch, column::FRAGMENT).map_err(form)?);
        entry.fragments.0 = entry.fragments.0.min(IdentNo(first));
        entry.fragments.1 = entry.fragments.1.max(IdentNo(last));
        let (first, last) = ends(numbers::<UInt64Type>(batch, column::OFFSET).map_err(form)?);
        entry.offsets.0 = entry.offsets.0.min(Offset(first));
        entry.offsets.1 = entry.offsets.1.max(Offset(last));
        let times = numbers::<TimestampMillisecondType>(batch, column::TIME).map_err(form)?;
        let (first, last) = ends(times);
        entry.times.0 = entry.times.0.min(Time(first));
        entry.times.1 = entry.times.1.max(Time(last));
        let writer = self.writer.as_mut().expect("only finish takes it");
        writer.write(batch).map_err(LakeError::parquet(&self.path))
    }

    /// Writes the end and syncs. The file counts from the manifest that names it on.
    pub fn finish(mut self) -> Result<FileEntry, LakeError> {
        let writer = self.writer.take().expect("only finish takes it");
        let done = writer
            .into_inner()
            .map_err(LakeError::parquet(&self.path))
            .and_then(|file| file.seal(&self.path).map_err(LakeError::io("sync a file")));
        match done {
            Ok((bytes, sums)) => {
                self.entry.bytes = bytes;
                self.entry.sums = sums;
                Ok(self.entry.clone())
            }
            Err(error) => {
                remove(&self.path);
                Err(error)
            }
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            remove(&self.path);
        }
    }
}

/// What cannot be removed now is removed at the next start: the manifest does not name it.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(sums_path(path));
}

fn ends<T: ArrowNumericType + ArrowPrimitiveType>(
    numbers: &PrimitiveArray<T>,
) -> (T::Native, T::Native)
where
    T::Native: Default,
{
    let min = compute::min(numbers).unwrap_or_default();
    (min, compute::max(numbers).unwrap_or_default())
}

fn properties(packing: Packing, group_rows: usize) -> WriterProperties {
    let path = ColumnPath::from;
    let packing = match packing {
        Packing::Zstd => Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level of zstd")),
        Packing::Lz4 => Compression::LZ4_RAW,
    };
    let sorting = [0, 5].map(|column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: false,
    });
    let mut properties = WriterProperties::builder()
        .set_compression(packing)
        .set_max_row_group_row_count(Some(group_rows))
        .set_max_row_group_bytes(Some(GROUP_BYTES_MAX))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(path(column::FRAGMENT), EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting.to_vec()))
        .set_created_by("tributary".into())
        .set_column_bloom_filter_enabled(path(column::FRAGMENT), true)
        .set_column_bloom_filter_fpp(path(column::FRAGMENT), BLOOM_ERRORS)
        .set_column_bloom_filter_max_ndv(path(column::FRAGMENT), group_rows as u64);
    // Numbers that are all different: a dictionary would only be in the way.
    for name in [column::FRAGMENT, column::TIME, column::RECEIVED] {
        properties = properties
            .set_column_dictionary_enabled(path(name), false)
            .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    let different = [
        column::OFFSET,
        column::RAW_OFFSET,
        column::INDEX,
        column::MESSAGE_ID,
        column::PROPERTIES,
        column::TRAITS,
        column::CONTEXT,
        column::ORDER_ID,
        column::LINES,
    ];
    for name in different {
        properties = properties.set_column_dictionary_enabled(path(name), false);
    }
    for name in super::schema::PERSONAL {
        // Texts of persons belong into rows only, where an erase finds them.
        properties = properties.set_column_statistics_enabled(path(name), EnabledStatistics::None);
    }
    properties.build()
}

/// A file of the lake.
pub(super) struct LakeFile {
    /// What the manifest says of it.
    pub entry: FileEntry,
    path: PathBuf,
    /// Removed from the manifest: goes when the last reader lets go.
    doomed: AtomicBool,
    /// Damage was found in it.
    suspect: AtomicBool,
    opened: Mutex<Option<Opened>>,
}

/// A file, open, with what its end says of it.
#[derive(Clone)]
pub(super) struct Opened {
    pub file: CheckedFile,
    pub meta: ArrowReaderMetadata,
}

impl LakeFile {
    /// The file of an entry.
    pub fn new(folder: &Path, entry: FileEntry) -> Arc<LakeFile> {
        Arc::new(LakeFile {
            path: folder.join(entry.file_name()),
            entry,
            doomed: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
            opened: Mutex::new(None),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it go away with its last reader.
    pub fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// Whether damage was found in it.
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// Damage was found: says so, and remembers it for who makes the file again.
    pub fn damaged(&self, what: impl ToString) -> LakeError {
        self.suspect.store(true, Ordering::Release);
        LakeError::Damaged {
            file: self.entry.file_name(),
            what: what.to_string(),
        }
    }

    /// Opens it, or takes it as it is open.
    pub fn open(&self) -> Result<Opened, LakeError> {
        let mut opened = self.opened.lock();
        if let Some(opened) = &*opened {
            return Ok(opened.clone());
        }
        let file = CheckedFile::open(&self.path, self.entry.bytes, self.entry.sums)
            .map_err(|error| self.damaged(error))?;
        let options = ArrowReaderOptions::new()
            .with_schema(READ.clone())
            .with_page_index_policy(PageIndexPolicy::Optional);
        let meta =
            ArrowReaderMetadata::load(&file, options).map_err(|error| self.damaged(error))?;
        let made = Opened { file, meta };
        *opened = Some(made.clone());
        Ok(made)
    }

    /// Closes it, so that not all files of years stay open.
    pub fn close(&self) {
        *self.opened.lock() = None;
    }

    /// Whether it can hold anything that is wanted.
    pub fn may_hold(&self, wanted: &Wanted, until: Offset) -> bool {
        let entry = &self.entry;
        let (first, last) = entry.fragments;
        entry.offsets.0 < until
            && wanted.from <= entry.offsets.1
            && wanted
                .times
                .as_ref()
                .is_none_or(|times| entry.times.0 < times.end && times.start <= entry.times.1)
            && (wanted.kinds.as_ref()).is_none_or(|kinds| kinds.contains(&entry.kind()))
            && (wanted.fragments.as_ref())
                .is_none_or(|fragments| fragments.range(first..=last).next().is_some())
    }

    /// The sort of its events.
    pub fn kind(&self) -> EventKind {
        self.entry.kind()
    }
}

impl Drop for LakeFile {
    fn drop(&mut self) {
        if *self.doomed.get_mut() {
            remove(&self.path);
        }
    }
}
