//! What readers, appenders and the writer of one partition share.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, RwLock};

use super::manifest::Manifest;
use super::read::{Opened, Segment, SegmentParts};
use super::tail::{Chunk, Tail, collect};
use super::{GROUP_BYTES_MAX, Listener, OnFatal};
use crate::disk::Disk;
use crate::log::archive::ArchiveStore;
use crate::log::frame::{FRAME_HEAD, RECORD_BYTES_MAX, corrupt};
use crate::log::{LogError, LogRecord, OnDurable, Stored};
use crate::model::{Offset, PartitionId};

/// Bytes that one write and one fsync take at most, unless a single group is larger. Beyond this the write dominates the
/// fsync, and larger batches only make the first group of them wait.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Sealed segments that are kept open with their index, per partition. Readers are few and read forward.
const OPENED_MAX: usize = 32;

/// What was written to a partition since open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups made durable.
    pub groups: u64,
    /// Records made durable.
    pub records: u64,
    /// Bytes made durable, with frame heads.
    pub bytes: u64,
    /// Syncs that made them so.
    pub syncs: u64,
}

/// Records that become durable together, and who wants to know.
pub(super) struct Group {
    pub(super) records: Vec<LogRecord>,
    pub(super) bytes: usize,
    pub(super) done: OnDurable,
}

/// Whether a group was taken into the queue.
pub(super) enum Taken {
    Yes,
    No(OnDurable, LogError),
}

#[derive(Default)]
struct Queue {
    groups: VecDeque<Group>,
    bytes: usize,
    closed: bool,
}

/// What readers, appenders and the writer of one partition share.
pub(super) struct Partition {
    pub(super) id: PartitionId,
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) archive: Option<Arc<dyn ArchiveStore>>,
    pub(super) on_fatal: OnFatal,
    pub(super) manifest: Mutex<Manifest>,
    pub(super) segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    start: AtomicU64,
    end: AtomicU64,
    no_room: AtomicU64,
    queue: Mutex<Queue>,
    arrived: Condvar,
    tail: RwLock<Tail>,
    opened: Mutex<VecDeque<Arc<Segment>>>,
    listeners: Arc<RwLock<Vec<Listener>>>,
    counts: Mutex<Counts>,
}

impl Partition {
    pub(super) fn new(
        id: PartitionId,
        setup: &super::Setup,
        manifest: Manifest,
        segments: BTreeMap<u64, Arc<Segment>>,
        end: u64,
    ) -> Partition {
        Partition {
            id,
            dir: partition_dir(&setup.dir, id),
            disk: Arc::clone(&setup.disk),
            archive: setup.options.archive.clone(),
            on_fatal: Arc::clone(&setup.options.on_fatal),
            start: AtomicU64::new(manifest.start),
            manifest: Mutex::new(manifest),
            segments: RwLock::new(segments),
            end: AtomicU64::new(end),
            no_room: AtomicU64::new(0),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            tail: RwLock::new(Tail::new(setup.options.tail_bytes_max)),
            opened: Mutex::default(),
            listeners: Arc::clone(&setup.listeners),
            counts: Mutex::default(),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    pub(super) fn set_start(&self, start: u64) {
        self.start.store(start, Ordering::Release);
    }

    /// Bytes for which the disk had no room at the newest write; 0: it had.
    pub(super) fn no_room(&self) -> u64 {
        self.no_room.load(Ordering::Relaxed)
    }

    pub(super) fn set_no_room(&self, bytes: u64) {
        self.no_room.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    pub(super) fn waiting(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.groups.len(), queue.bytes)
    }

    pub(super) fn enqueue(&self, records: Vec<LogRecord>, done: OnDurable) -> Taken {
        let mut bytes = 0;
        for record in &records {
            let payload = record.payload.len();
            if payload > RECORD_BYTES_MAX {
                let max = RECORD_BYTES_MAX;
                return Taken::No(
                    done,
                    LogError::TooLarge {
                        bytes: payload,
                        max,
                    },
                );
            }
            bytes += FRAME_HEAD + payload;
        }
        if bytes > GROUP_BYTES_MAX {
            let max = GROUP_BYTES_MAX;
            return Taken::No(done, LogError::TooLarge { bytes, max });
        }
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            return Taken::No(done, LogError::Closed);
        }
        queue.bytes += bytes;
        queue.groups.push_back(Group {
            records,
            bytes,
            done,
        });
        drop(queue);
        self.arrived.notify_one();
        Taken::Yes
    }

    /// What waits, as much as one write takes. Waits for something if told so; empty if there is nothing and never will
    /// be, or there is nothing and it was told not to wait.
    pub(super) fn take(&self, wait: bool) -> Vec<Group> {
        let mut queue = self.queue.lock();
        while wait && queue.groups.is_empty() && !queue.closed {
            self.arrived.wait(&mut queue);
        }
        let mut bytes = 0;
        let fits = queue.groups.iter().take_while(|group| {
            bytes += group.bytes;
            bytes <= BATCH_BYTES_MAX
        });
        let count = fits.count().max(1).min(queue.groups.len());
        let groups: Vec<_> = queue.groups.drain(..count).collect();
        queue.bytes -= groups.iter().map(|group| group.bytes).sum::<usize>();
        groups
    }

    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Makes a durable write visible: first the records, then the end, so that who sees the end finds the records.
    pub(super) fn publish(&self, chunk: Chunk, groups: u64) {
        let end = chunk.first + chunk.frames.len() as u64;
        let mut counts = self.counts.lock();
        counts.groups += groups;
        counts.records += chunk.frames.len() as u64;
        counts.bytes += chunk.bytes.len() as u64;
        counts.syncs += 1;
        drop(counts);
        self.tail.write().push(chunk);
        self.end.store(end, Ordering::Release);
    }

    pub(super) fn tell_listeners(&self) {
        let listeners = self.listeners.read().clone();
        let end = Offset(self.end());
        for listener in listeners {
            super::writer::guarded("a listener of the log", || listener(self.id, end));
        }
    }

    pub(super) fn read(&self, from: u64, bytes_max: usize) -> Result<Vec<Stored>, LogError> {
        if from >= self.end() {
            return Ok(Vec::new());
        }
        let chunks = self.tail.read().chunks(from, bytes_max);
        if let Some(chunks) = chunks {
            return Ok(collect(&chunks, from, bytes_max));
        }
        self.in_segment(from, |segment, opened| {
            segment.read(&opened, from, bytes_max)
        })
    }

    /// A durable record that is worth reading in parts.
    pub(super) fn parts(&self, offset: u64) -> Result<Option<SegmentParts>, LogError> {
        if offset >= self.end() || self.tail.read().chunks(offset, 0).is_some() {
            return Ok(None);
        }
        self.in_segment(offset, |segment, opened| segment.parts(opened, offset))
    }

    /// Reads in the segment that holds a record.
    fn in_segment<T>(
        &self,
        offset: u64,
        read: impl FnOnce(&Arc<Segment>, Arc<Opened>) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.check_start(offset)?;
        let segment = self
            .segments
            .read()
            .range(..=offset)
            .next_back()
            .map(clone_value);
        let read = match segment {
            Some(segment) => segment.open(self).and_then(|opened| read(&segment, opened)),
            None => Err(corrupt(
                self.id,
                &self.dir,
                0,
                offset,
                "no segment holds it",
            )),
        };
        // A trim may have taken the segment meanwhile.
        read.or_else(|error| self.check_start(offset).and(Err(error)))
    }

    pub(super) fn check_start(&self, from: u64) -> Result<(), LogError> {
        let first = self.start();
        if from < first {
            return Err(LogError::Trimmed {
                partition: self.id,
                offset: Offset(from),
                first: Offset(first),
            });
        }
        Ok(())
    }

    pub(super) fn require(&self, end: u64) -> Result<(), LogError> {
        self.check_start(end)?;
        if self.end() < end {
            let what = format!("it ends at {}, {end} records were there", self.end());
            return Err(corrupt(self.id, &self.dir, 0, self.end(), &what));
        }
        Ok(())
    }

    /// Remembers that a sealed segment is open, and closes the one that was opened longest ago if they are too many.
    pub(super) fn note_opened(&self, segment: Arc<Segment>) {
        let mut opened = self.opened.lock();
        opened.push_back(segment);
        let oldest = (opened.len() > OPENED_MAX).then(|| opened.pop_front());
        drop(opened);
        if let Some(oldest) = oldest.flatten() {
            oldest.shut();
        }
    }
}

fn clone_value((_, segment): (&u64, &Arc<Segment>)) -> Arc<Segment> {
    Arc::clone(segment)
}

/// The folder of a partition.
pub(super) fn partition_dir(dir: &Path, id: PartitionId) -> PathBuf {
    dir.join(id.to_string())
}

/// The file of the segment that begins at `first`.
pub(super) fn segment_path(partition_dir: &Path, first: u64) -> PathBuf {
    partition_dir.join(format!("{first:020}.seg"))
}

/// The first offset that a file name tells, if it is one of a segment.
pub(super) fn segment_first(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}
