//! The lake: all events of all time in Parquet, tailed from identity's committed results.
//!
//! A folder of Parquet files and a manifest. One writer follows the result log, keeps the newest rows in memory (the
//! **tail**) and writes them, sorted by (fragment, time), into files by day and sort of event; the manifest names the files
//! and the result up to which they reach, and is swapped whole. So a restart goes on at that result: each event is in the
//! lake once, by construction. Readers ([`actors::history::History`]) see files and tail at one position. Merges rewrite
//! many small files into few, at last a month of a sort into one; replaced files go when their last reader lets go.
//!
//! It is a cache: everything in it can be made again from the result log. A file in which damage is found is set aside and
//! its rows are made again; without the manifest all of it is.
//!
//! Erased fragments are shown without their personal columns at once ([`Lake::erase`]), and rewrites take these out of the
//! files: amounts, times and names stay, the person is gone.
//!
//! Absent on purpose: members (an event belongs to its fragment for ever, see the port), SQL, threads (the wiring has them).

pub mod bench;
mod block;
mod erase;
mod file;
mod heal;
mod lend;
mod manifest;
mod merge;
mod scan;
mod schema;
mod span;
mod write;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actors::crash;
use actors::disk::{Disk, RealDisk};
use actors::history::{HistoryError, HistoryEvent};
use actors::model::{ErrorKind, Fault, IdentNo, Offset, Time};
use arrow::array::RecordBatch;
use jiff::tz::TimeZone;
use parking_lot::{Mutex, RwLock};

pub use file::Packing;
pub use manifest::NAME as MANIFEST;
pub use merge::Progress;

use erase::Erased;
use file::LakeFile;
use manifest::{Erasure, Manifest, Unreadable};
use schema::Builder;

/// Frames of the result log read before the tail is looked at again.
const FRAMES_AT_ONCE: u64 = 16;

/// Rows that make a whole batch of the tail; smaller ones are put together.
const TAIL_BATCH_ROWS: usize = 8_192;

/// Bytes of texts gathered before they become a batch of the tail.
const TAIL_BATCH_BYTES: usize = 8 << 20;

/// Files kept open between scans. More are closed after each scan, so that years of files do not eat the descriptors.
const OPEN_FILES_MAX: usize = 256;

/// How a lake is kept.
#[derive(Debug, Clone)]
pub struct LakeConfig {
    /// Its folder.
    pub folder: PathBuf,
    /// Days and months are those of this zone.
    pub zone: TimeZone,
    /// Rows of the tail that are written at once.
    pub flush_rows: usize,
    /// Bytes of the tail in memory after which it is written.
    pub flush_bytes: usize,
    /// Milliseconds after which the tail is written however little it is: bounds what a restart reads again.
    pub flush_age_ms: i64,
    /// How texts are packed.
    pub packing: Packing,
    /// Rows of a row group.
    pub group_rows: usize,
    /// Rows of a file, about: a merge begins another one behind them.
    pub file_rows_max: u64,
    /// Files of one sort, month and level that are merged into one.
    pub merge_files: usize,
    /// Milliseconds that an erasure may wait before files are rewritten for it alone: readers do not see the person from the
    /// first moment, and one rewrite serves all of a week.
    pub erase_after_ms: i64,
}

impl LakeConfig {
    /// The defaults for a folder and a zone.
    pub fn new(folder: impl Into<PathBuf>, zone: TimeZone) -> LakeConfig {
        LakeConfig {
            folder: folder.into(),
            zone,
            flush_rows: 256 << 10,
            flush_bytes: 128 << 20,
            flush_age_ms: 300_000,
            packing: Packing::Zstd,
            group_rows: 128 << 10,
            file_rows_max: 8 << 20,
            merge_files: 8,
            erase_after_ms: 7 * 86_400_000,
        }
    }
}

/// Why the lake cannot do something. Nothing that it holds is touched by a failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LakeError {
    /// Input or output failed.
    #[error("lake: cannot {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// A file is damaged. It is made again from the result log.
    #[error("lake: {file} is damaged: {what}")]
    Damaged {
        /// Which.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// Columns are not what they should be: a bug of ours.
    #[error("lake: {0}")]
    Form(String),
    /// The result log cannot be read.
    #[error("lake: the result log cannot be read: {0}")]
    Results(String),
    /// Somebody asked to stop; what was being done is given up.
    #[error("lake: stopped")]
    Stopped,
}

impl LakeError {
    fn io(what: &'static str) -> impl Fn(io::Error) -> LakeError {
        move |source| LakeError::Io {
            what,
            source: Arc::new(source),
        }
    }

    fn parquet(path: &Path) -> impl Fn(parquet::errors::ParquetError) -> LakeError + '_ {
        move |error| match error {
            parquet::errors::ParquetError::External(error) => LakeError::Io {
                what: "write a file",
                source: Arc::new(io::Error::other(error)),
            },
            error => LakeError::Form(format!("{}: {error}", path.display())),
        }
    }
}

impl Fault for LakeError {
    fn kind(&self) -> ErrorKind {
        match self {
            LakeError::Io { source, .. } if actors::disk::is_full(source) => ErrorKind::Full,
            LakeError::Io { .. } | LakeError::Form(_) => ErrorKind::Internal,
            LakeError::Damaged { .. } => ErrorKind::Corrupt,
            LakeError::Results(_) | LakeError::Stopped => ErrorKind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            LakeError::Damaged { .. } => "history_damaged",
            _ => "history_io",
        }
    }
}

impl From<LakeError> for HistoryError {
    fn from(error: LakeError) -> HistoryError {
        match error {
            LakeError::Damaged { file, what } => HistoryError::Damaged { file, what },
            error => HistoryError::Io(error.to_string()),
        }
    }
}

/// The result log, as the lake reads it.
pub trait Results: Send + Sync {
    /// The first offset kept.
    fn start(&self) -> Offset;

    /// The first offset that is not there yet.
    fn end(&self) -> Offset;

    /// Shows the events of these results, in order: to `pick` without its personal part, and if that takes it, whole to
    /// `each`.
    fn read(
        &self,
        range: Range<Offset>,
        pick: &mut dyn FnMut(&HistoryEvent<'_>) -> bool,
        each: &mut dyn FnMut(&HistoryEvent<'_>),
    ) -> Result<(), String>;
}

/// The lake of an installation. One writer calls [`Lake::follow`] and one [`Lake::tend`]; anybody reads.
pub struct Lake {
    config: LakeConfig,
    manifest: Mutex<Manifest>,
    view: RwLock<Arc<View>>,
    next_file: AtomicU64,
    /// Held by who moves the tail.
    writer: Mutex<Writer>,
    /// Held by who rewrites files.
    tending: Mutex<()>,
    progress: Mutex<Option<Progress>>,
}

#[derive(Default)]
struct Writer {
    builder: Builder,
    /// When the oldest of what is not in the manifest came.
    since: Option<Time>,
}

/// What readers see: all at one position.
pub(crate) struct View {
    position: Offset,
    files: Arc<Vec<Arc<LakeFile>>>,
    tail: Vec<TailPart>,
    erased: Arc<Erased>,
}

/// Rows that are in no file yet, and the position behind them.
#[derive(Clone)]
struct TailPart {
    batch: Arc<RecordBatch>,
    /// Rows that are not only about an order.
    events: u64,
    end: Offset,
}

/// What the lake is like now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LakeStats {
    /// Events of all results below are seen by readers.
    pub position: Offset,
    /// Events of all results below are in files.
    pub written: Offset,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Events, in files and in memory: rows that are not only about an order.
    pub events: u64,
    /// Rows in files.
    pub rows: u64,
    /// Rows in memory.
    pub tail_rows: u64,
    /// Bytes in memory.
    pub tail_bytes: u64,
    /// Erased fragments whose personal columns are still in some file. Readers do not see them.
    pub erasing: u64,
    /// Files in which damage was found and which are not made again yet.
    pub damaged: u64,
    /// The rewrite that goes on, if one does.
    pub progress: Option<Progress>,
}

/// Files that stay until this is dropped, and the manifest that names them.
pub struct Pinned {
    manifest: Manifest,
    view: Arc<View>,
}

impl Pinned {
    /// The files to copy. One that is lost is left out: who opens the copy makes it again.
    pub fn paths(&self) -> Vec<PathBuf> {
        let files = self.view.files.iter();
        files
            .flat_map(|file| [file.path().to_path_buf(), block::sums_path(file.path())])
            .filter(|path| path.exists())
            .collect()
    }

    /// The content of [`MANIFEST`].
    pub fn manifest(&self) -> Vec<u8> {
        self.manifest.to_bytes()
    }
}

/// What following came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// There is more to read.
    More,
    /// Up to the end of the result log.
    All,
}

impl Lake {
    /// Opens the lake of a folder, or makes an empty one. What the manifest does not name is removed; a lake without a
    /// readable manifest, or one that is ahead of its log, is made again from the log's start.
    pub fn open(config: LakeConfig, results: &dyn Results) -> Result<Lake, LakeError> {
        let folder = &config.folder;
        std::fs::create_dir_all(folder).map_err(LakeError::io("make the folder"))?;
        let again = |what: String| {
            if Offset(0) < results.start() {
                // What came before the log's start is nowhere else: nothing is removed.
                return Err(LakeError::Damaged {
                    file: manifest::NAME.into(),
                    what: format!(
                        "{what}; the log begins at result {}: restore the lake from a backup",
                        results.start()
                    ),
                });
            }
            tracing::warn!(what, "the lake is made again from the result log");
            Ok(Manifest::new(results.start()))
        };
        let manifest = match Manifest::load(folder) {
            Ok(None) => Ok(Manifest::new(results.start())),
            Ok(Some(manifest)) if manifest.position > results.end() => again(format!(
                "it reaches to result {}, the log to {}",
                manifest.position,
                results.end()
            )),
            Ok(Some(manifest)) => Ok(manifest),
            Err(Unreadable::Damaged(what)) => again(format!("its manifest is damaged: {what}")),
            Err(Unreadable::Io(error)) => Err(LakeError::io("read the manifest")(error)),
        }?;
        remove_unnamed(folder, &manifest)?;
        let files = manifest.files.iter().cloned();
        let files: Vec<_> = files.map(|entry| LakeFile::new(folder, entry)).collect();
        let view = View {
            position: manifest.position,
            files: Arc::new(files),
            tail: Vec::new(),
            erased: Arc::new(Erased::of(&manifest.pending, manifest.erasure)),
        };
        Ok(Lake {
            next_file: AtomicU64::new(manifest.next_file),
            manifest: Mutex::new(manifest),
            view: RwLock::new(Arc::new(view)),
            writer: Mutex::default(),
            tending: Mutex::default(),
            progress: Mutex::default(),
            config,
        })
    }

    /// Reads on in the result log, a bounded piece. Writes the tail when it is large enough, or old enough at `now`.
    pub fn follow(&self, results: &dyn Results, now: Time) -> Result<Followed, LakeError> {
        let mut writer = self.writer.lock();
        // First what is due, so that a full disk stops the reading and the tail stays bounded.
        if self.is_due(&writer, now) {
            self.flush_with(&mut writer)?;
        }
        let (from, end) = (self.view().position, results.end());
        let mut at = from;
        while at < end {
            let to = Offset(end.0.min(at.0 + FRAMES_AT_ONCE));
            let builder = &mut writer.builder;
            let read = results.read(at..to, &mut |_| true, &mut |event| builder.push(event));
            if let Err(error) = read {
                // Half a piece must not be seen.
                writer.builder = Builder::default();
                return Err(LakeError::Results(error));
            }
            at = to;
            let whole = writer.builder.rows() >= TAIL_BATCH_ROWS
                || writer.builder.text_bytes() >= TAIL_BATCH_BYTES;
            if whole {
                break;
            }
        }
        if from < at {
            writer.since.get_or_insert(now);
            let batch = (writer.builder.rows() > 0).then(|| writer.builder.finish());
            self.show(batch, at);
        }
        match at < end {
            true => Ok(Followed::More),
            false => Ok(Followed::All),
        }
    }

    /// Writes the tail into files.
    pub fn flush(&self) -> Result<(), LakeError> {
        self.flush_with(&mut self.writer.lock())
    }

    fn is_due(&self, writer: &Writer, now: Time) -> bool {
        let view = self.view();
        let (rows, bytes) = view.tail_size();
        rows >= self.config.flush_rows as u64
            || bytes >= self.config.flush_bytes as u64
            || writer
                .since
                .is_some_and(|since| now.0.saturating_sub(since.0) >= self.config.flush_age_ms)
    }

    fn flush_with(&self, writer: &mut Writer) -> Result<(), LakeError> {
        let view = self.view();
        let batches: Vec<&RecordBatch> = view.tail.iter().map(|part| &*part.batch).collect();
        let mut number = || self.number();
        let folder = &self.config.folder;
        let written = write::files(folder, &self.config, &batches, &view.erased, &mut number)?;
        crash::point("lake-files-written");
        self.commit(|manifest| {
            let moved = manifest.position != view.position;
            manifest.position = view.position;
            manifest.files.extend(written);
            moved
        })?;
        writer.since = None;
        Ok(())
    }

    /// Lets readers see more of the tail.
    fn show(&self, batch: Option<RecordBatch>, end: Offset) {
        let mut view = self.view.write();
        let mut tail = view.tail.clone();
        if let Some(batch) = batch {
            tail.push(TailPart {
                events: schema::events(&batch),
                batch: Arc::new(batch),
                end,
            });
            gather(&mut tail);
        }
        *view = Arc::new(View {
            position: end,
            files: view.files.clone(),
            tail,
            erased: view.erased.clone(),
        });
    }

    /// Takes the personal columns of these fragments out: from readers' sight at once (when this returns, durably), from
    /// files with rewrites within [`LakeConfig::erase_after_ms`] of `now`. The keys must be destroyed before, so that nothing of
    /// them comes in later.
    pub fn erase(&self, fragments: &[IdentNo], now: Time) -> Result<(), LakeError> {
        if fragments.is_empty() {
            return Ok(());
        }
        // Rows that are being read are shown before the position is taken.
        let _writer = self.writer.lock();
        let position = self.view().position;
        self.commit(|manifest| {
            manifest.erasure += 1;
            manifest.pending.push(Erasure {
                number: manifest.erasure,
                at: now,
                position,
                fragments: fragments.to_vec(),
            });
            true
        })?;
        Ok(())
    }

    /// What it is like.
    pub fn stats(&self) -> LakeStats {
        let (written, erasing) = {
            let manifest = self.manifest.lock();
            let fragments = manifest.pending.iter().map(|e| e.fragments.len() as u64);
            (manifest.position, fragments.sum())
        };
        let view = self.view();
        let (tail_rows, tail_bytes) = view.tail_size();
        LakeStats {
            position: view.position,
            written,
            files: view.files.len() as u64,
            bytes: view.files.iter().map(|file| file.entry.bytes).sum(),
            events: view.files.iter().map(|file| file.entry.events).sum::<u64>()
                + view.tail.iter().map(|part| part.events).sum::<u64>(),
            rows: view.files.iter().map(|file| file.entry.rows).sum(),
            tail_rows,
            tail_bytes,
            erasing,
            damaged: view.files.iter().filter(|f| f.is_suspect()).count() as u64,
            progress: self.progress.lock().clone(),
        }
    }

    /// The lake as it is in files now, for who copies it: nothing of it goes away while this is held.
    pub fn pin(&self) -> Pinned {
        let manifest = self.manifest.lock();
        Pinned {
            manifest: manifest.clone(),
            view: self.view(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &LakeConfig {
        &self.config
    }

    fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    fn number(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    /// Swaps the manifest, then what readers see. `change` answers whether there is a change.
    fn commit(&self, change: impl FnOnce(&mut Manifest) -> bool) -> Result<bool, LakeError> {
        let folder = &self.config.folder;
        let mut manifest = self.manifest.lock();
        let mut next = manifest.clone();
        if !change(&mut next) {
            return Ok(false);
        }
        next.next_file = self.next_file.load(Ordering::Relaxed);
        next.settle_erasures();
        // Names before the manifest that names them.
        RealDisk
            .sync_dir(folder)
            .map_err(LakeError::io("sync the folder"))?;
        crash::point("lake-before-manifest");
        next.save(folder)
            .map_err(LakeError::io("write the manifest"))?;
        crash::point("lake-after-manifest");
        *manifest = next;
        let mut view = self.view.write();
        *view = Arc::new(view.after(&manifest, folder));
        Ok(true)
    }

    /// Closes files when many are open.
    fn close_some(&self, view: &View) {
        if view.files.len() > OPEN_FILES_MAX {
            for file in view.files.iter().skip(OPEN_FILES_MAX) {
                file.close();
            }
        }
    }
}

impl View {
    /// The view after the manifest has changed.
    fn after(&self, manifest: &Manifest, folder: &Path) -> View {
        let mut before: HashMap<u64, &Arc<LakeFile>> = self
            .files
            .iter()
            .map(|file| (file.entry.number, file))
            .collect();
        let mut files = Vec::with_capacity(manifest.files.len());
        for entry in &manifest.files {
            files.push(match before.remove(&entry.number) {
                Some(file) if file.entry == *entry => file.clone(),
                _ => LakeFile::new(folder, entry.clone()),
            });
        }
        for gone in before.into_values() {
            gone.doom();
        }
        let in_tail = |part: &&TailPart| part.end > manifest.position;
        View {
            position: self.position,
            files: Arc::new(files),
            tail: self.tail.iter().filter(in_tail).cloned().collect(),
            erased: Arc::new(Erased::of(&manifest.pending, manifest.erasure)),
        }
    }

    /// Rows and bytes of the tail.
    fn tail_size(&self) -> (u64, u64) {
        self.tail.iter().fold((0, 0), |(rows, bytes), part| {
            let batch = &part.batch;
            let size = batch.get_array_memory_size() as u64;
            (rows + batch.num_rows() as u64, bytes + size)
        })
    }
}

/// Puts small batches at the end together, each time two are of about one size: so there are few, and a row is copied
/// only so often.
fn gather(tail: &mut Vec<TailPart>) {
    while let [.., before, last] = &tail[..] {
        let (a, b) = (before.batch.num_rows(), last.batch.num_rows());
        if a > 2 * b || a + b > TAIL_BATCH_ROWS {
            return;
        }
        let both = [&*before.batch, &*last.batch];
        let Ok(batch) = arrow::compute::concat_batches(&schema::SCHEMA, both) else {
            return;
        };
        let (events, end) = (before.events + last.events, last.end);
        tail.truncate(tail.len() - 2);
        tail.push(TailPart {
            batch: Arc::new(batch),
            events,
            end,
        });
    }
}

/// Removes what a crash left: files that were written and never named, or unnamed and not yet removed.
fn remove_unnamed(folder: &Path, manifest: &Manifest) -> Result<(), LakeError> {
    let listing = LakeError::io("list the folder");
    for entry in std::fs::read_dir(folder).map_err(&listing)? {
        let path = entry.map_err(&listing)?.path();
        let ours = path
            .extension()
            .is_some_and(|end| end == "parquet" || end == "sums" || end == "tmp");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse::<u64>().ok());
        let named = number.is_some_and(|n| manifest.files.iter().any(|file| file.number == n));
        if ours && !named {
            std::fs::remove_file(&path).map_err(LakeError::io("remove a file"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
