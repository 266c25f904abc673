//! The embedded log: segment files in a folder per partition.
//!
//! ```text
//! <dir>/lock                              held while the log is open
//! <dir>/<partition>/manifest              first kept offset, segments in the archive
//! <dir>/<partition>/<first offset>.seg    frames, see `frame`
//! <dir>/<partition>/<first offset>.idx    sparse index of a sealed segment; a cache
//! ```
//! One writer thread per partition commits groups: while one fsync runs, groups gather; they share the next write and the
//! next fsync. A group is visible to readers before its appender hears of it, and never before it is synced.
//!
//! Opening cuts a torn tail, and nothing else: damage that lies before a byte known synced refuses the partition
//! ([`LogError::Corrupt`]), until somebody runs [`repair`].
//!
//! Absent on purpose: bounds on what waits. Callers hold permits; [`SegmentLog::waiting`] tells what is queued.

mod index;
mod keep;
mod manifest;
mod partition;
mod read;
mod recover;
mod repair;
mod tail;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use tracing::error;

pub use index::Index;
pub use keep::Archived;
pub use partition::Counts;
pub use repair::{PartitionReport, Repaired, repair, verify};

use super::archive::ArchiveStore;
use super::{Log, LogError, LogRecord, OnDurable, Parts, Stored};
use crate::disk::{Disk, FolderLock, RealDisk};
use crate::model::{Offset, PartitionId};
use partition::{Partition, Taken};
use writer::Writer;

/// Size at which a segment is sealed and the next one begun, in bytes. Small enough that opening reads one in well under
/// a second, large enough that a terabyte is a few thousand files.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Newest groups kept in memory per partition, in bytes: seconds of full load, so that a reader that keeps up never
/// reads from the disk.
pub const TAIL_BYTES_MAX: usize = 32 << 20;
/// Largest group, in bytes with frame heads: it is written at once and kept whole in memory meanwhile.
pub const GROUP_BYTES_MAX: usize = 128 << 20;

/// Places where a process built with the feature `failpoints` can be made to end: with `FAILPOINTS=log-after-write=return`
/// (and `fail::FailScenario::setup()` at its start) it aborts there, as a kill would.
pub const FAIL_POINTS: [&str; 3] = ["log-before-write", "log-after-write", "log-after-sync"];

type Listener = Arc<dyn Fn(PartitionId, Offset) + Send + Sync>;
type OnFatal = Arc<dyn Fn(&LogError) + Send + Sync>;

/// How to open a log.
#[derive(Clone)]
pub struct SegmentOptions {
    /// How many partitions there are. A folder of a partition beyond them refuses to open.
    pub partitions: u16,
    /// See [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// See [`TAIL_BYTES_MAX`].
    pub tail_bytes_max: usize,
    /// Where sealed segments go to, and are read from when they are gone here.
    pub archive: Option<Arc<dyn ArchiveStore>>,
    /// What to do when an fsync or a write failed in a way that leaves unknown what is on disk. The default logs and
    /// aborts the process; a test may observe instead, and finds the partition closed for appends.
    pub on_fatal: OnFatal,
    /// Without threads nothing is written until [`SegmentLog::pump`], which makes a run repeatable.
    pub threads: bool,
}

impl SegmentOptions {
    /// The defaults, with so many partitions.
    pub fn new(partitions: u16) -> SegmentOptions {
        SegmentOptions {
            partitions,
            segment_bytes: SEGMENT_BYTES,
            tail_bytes_max: TAIL_BYTES_MAX,
            archive: None,
            on_fatal: Arc::new(|_| std::process::abort()),
            threads: true,
        }
    }
}

/// The embedded log. See the module.
///
/// ```
/// use actors::log::segment::{SegmentLog, SegmentOptions};
/// use actors::log::{Log, LogRecord};
/// use actors::model::{Offset, PartitionId};
/// let folder = tempfile::tempdir()?;
/// let log = SegmentLog::open(folder.path(), SegmentOptions::new(1))?;
/// let (tell, told) = std::sync::mpsc::channel();
/// let record = LogRecord { schema: 1, payload: "hello".into() };
/// log.append(PartitionId(0), vec![record.clone()], Box::new(move |done| tell.send(done).unwrap()));
/// assert_eq!(told.recv()??, Offset(0));
/// assert_eq!(log.read(PartitionId(0), Offset(0), 1 << 20)?[0].record, record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SegmentLog {
    partitions: Vec<Result<Arc<Partition>, LogError>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    by_hand: Vec<Mutex<Option<Writer>>>,
    listeners: Arc<RwLock<Vec<Listener>>>,
    _lock: FolderLock,
}

/// What partitions are opened with.
struct Setup {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: SegmentOptions,
    listeners: Arc<RwLock<Vec<Listener>>>,
}

impl SegmentLog {
    /// Opens the log of a folder on the real disk, making it if need be. Fails if any partition is damaged.
    pub fn open(dir: &Path, options: SegmentOptions) -> Result<SegmentLog, LogError> {
        Self::open_on(Arc::new(RealDisk), dir, options)
    }

    /// The same on any disk.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: SegmentOptions,
    ) -> Result<SegmentLog, LogError> {
        let log = Self::open_what_is_whole(disk, dir, options)?;
        match log.refused().pop() {
            Some((_, refusal)) => Err(refusal),
            None => Ok(log),
        }
    }

    /// Opens what can be opened: a damaged partition answers every call with its [`LogError::Corrupt`], the others work.
    pub fn open_what_is_whole(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: SegmentOptions,
    ) -> Result<SegmentLog, LogError> {
        let lock = FolderLock::take_on(&*disk, dir)?;
        recover::refuse_strange_partitions(&*disk, dir, options.partitions)?;
        let threads = options.threads;
        let setup = Setup {
            disk,
            dir: dir.to_path_buf(),
            options,
            listeners: Arc::default(),
        };
        let mut log = SegmentLog {
            partitions: Vec::new(),
            threads: Mutex::default(),
            by_hand: Vec::new(),
            listeners: Arc::clone(&setup.listeners),
            _lock: lock,
        };
        for id in 0..setup.options.partitions {
            let mut by_hand = None;
            let opened = match recover::open(PartitionId(id), &setup) {
                Ok((partition, writer)) => {
                    match threads {
                        true => log.threads.lock().push(spawn(writer)?),
                        false => by_hand = Some(writer),
                    }
                    Ok(partition)
                }
                Err(refusal @ LogError::Corrupt { .. }) => {
                    error!(error = %refusal, "partition refused");
                    Err(refusal)
                }
                Err(error) => return Err(error),
            };
            log.partitions.push(opened);
            log.by_hand.push(Mutex::new(by_hand));
        }
        Ok(log)
    }

    /// The partitions that were refused at open, and why.
    pub fn refused(&self) -> Vec<(PartitionId, LogError)> {
        let refusals = self.partitions.iter().zip(0..);
        refusals
            .filter_map(|(partition, id)| {
                Some((PartitionId(id), partition.as_ref().err()?.clone()))
            })
            .collect()
    }

    /// Fails if the partition does not reach `end`: a checkpoint knows of records that the log no longer has, or the log
    /// begins behind what the checkpoint needs next.
    pub fn require(&self, partition: PartitionId, end: Offset) -> Result<(), LogError> {
        self.partition(partition)?.require(end.0)
    }

    /// One record.
    pub fn read_one(
        &self,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Option<Stored>, LogError> {
        Ok(self.read(partition, offset, 0)?.into_iter().next())
    }

    /// Groups and bytes that wait for the writer.
    pub fn waiting(&self, partition: PartitionId) -> (usize, usize) {
        self.partition(partition)
            .map_or((0, 0), |partition| partition.waiting())
    }

    /// Bytes for which the disk had no room at the newest write of a partition, the most of all; 0: all had room. Nothing
    /// looks at the disk by itself: what was refused stays so here until the next append.
    pub fn no_room(&self) -> u64 {
        let partitions = self.partitions.iter().flatten();
        partitions
            .map(|partition| partition.no_room())
            .max()
            .unwrap_or(0)
    }

    /// What was written since open.
    pub fn counts(&self, partition: PartitionId) -> Counts {
        self.partition(partition)
            .map_or_else(|_| Counts::default(), |partition| partition.counts())
    }

    /// Copies sealed segments to the archive, then removes them here except the newest `keep`. Each is removed only after
    /// the copy was read back and compared. To be called from a job, by one caller at a time; takes as long as it takes.
    pub fn archive(&self, partition: PartitionId, keep: usize) -> Result<Archived, LogError> {
        self.archive_below(partition, keep, Offset(u64::MAX))
    }

    /// As [`SegmentLog::archive`]; removed here are only segments that end at `below` or before.
    pub fn archive_below(
        &self,
        partition: PartitionId,
        keep: usize,
        below: Offset,
    ) -> Result<Archived, LogError> {
        self.partition(partition)?.archive(keep, below.0)
    }

    /// Forgets whole segments below `below`, here and in the archive. Returns the new first offset.
    pub fn trim(&self, partition: PartitionId, below: Offset) -> Result<Offset, LogError> {
        Ok(Offset(self.partition(partition)?.trim(below.0)?))
    }

    /// Without threads: commits what waits in a partition, as one fsync's worth. `false` if nothing waited.
    pub fn pump(&self, partition: PartitionId) -> bool {
        let Some(by_hand) = self.by_hand.get(usize::from(partition.0)) else {
            return false;
        };
        by_hand.lock().as_mut().is_some_and(Writer::pump)
    }

    /// Commits what waits, marks the end, and ends the threads. Appends fail from now on; reads go on. Harmless twice.
    pub fn close(&self) {
        for partition in self.partitions.iter().flatten() {
            partition.close();
        }
        for writer in &self.by_hand {
            if let Some(mut writer) = writer.lock().take() {
                while writer.pump() {}
                writer.finish();
            }
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // The last handle of a log may go in a callback, which runs on the writer itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                error!("a log writer panicked");
            }
        }
    }

    fn partition(&self, id: PartitionId) -> Result<&Arc<Partition>, LogError> {
        match self.partitions.get(usize::from(id.0)) {
            Some(Ok(partition)) => Ok(partition),
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Err(LogError::io(
                format!("there is no partition {id}"),
                std::io::ErrorKind::NotFound.into(),
            )),
        }
    }
}

fn spawn(writer: Writer) -> Result<JoinHandle<()>, LogError> {
    std::thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || writer.run())
        .map_err(|error| LogError::io("starting a log writer", error))
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Log for SegmentLog {
    fn partitions(&self) -> u16 {
        self.partitions.len() as u16
    }

    fn append(&self, partition: PartitionId, group: Vec<LogRecord>, done: OnDurable) {
        match self.partition(partition) {
            Ok(partition) => match partition.enqueue(group, done) {
                Taken::Yes => {}
                Taken::No(done, error) => done(Err(error)),
            },
            Err(error) => done(Err(error)),
        }
    }

    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Stored>, LogError> {
        self.partition(partition)?.read(from.0, bytes_max)
    }

    fn parts(
        &self,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Option<Box<dyn Parts>>, LogError> {
        let parts = self.partition(partition)?.parts(offset.0)?;
        Ok(parts.map(|parts| Box::new(parts) as Box<dyn Parts>))
    }

    fn end(&self, partition: PartitionId) -> Offset {
        let partition = self.partition(partition);
        Offset(partition.map_or(0, |partition| partition.end()))
    }

    fn start(&self, partition: PartitionId) -> Offset {
        let partition = self.partition(partition);
        Offset(partition.map_or(0, |partition| partition.start()))
    }

    fn on_advance(&self, wake: Listener) {
        self.listeners.write().push(wake);
    }
}

#[cfg(test)]
mod tests;
