//! Reading a segment: from its file, or from the archive when the file is gone.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};
use tracing::warn;

use super::index::{INDEX_STEP, Index};
use super::partition::Partition;
use crate::disk::{Disk, DiskFile, read_exact_at, read_whole, write_all_at};
use crate::log::archive::{ArchiveStore, archive_name};
use crate::log::frame::{FRAME_HEAD, NoFrame, SEGMENT_HEAD, SegmentKey, peek};
use crate::log::scan::Scan;
use crate::log::{LogError, LogRecord, Parts, Stored};
use crate::model::Offset;

/// Bytes that one call to the disk reads at most, unless a single record is larger: bounds what a reader that keeps one
/// record holds in memory.
const BLOCK_BYTES_MAX: u64 = 4 << 20;

/// A payload below this is read as a whole, checksum and all: that costs no more than looking for parts of it.
const PARTS_BYTES_MIN: u64 = 128 << 10;

/// One segment, of which readers may see the part below `readable`.
pub(super) struct Segment {
    pub(super) key: SegmentKey,
    pub(super) path: PathBuf,
    end: AtomicU64,
    readable: AtomicU64,
    sealed: AtomicBool,
    /// Whether the file is here; otherwise the archive has it.
    hot: AtomicBool,
    opened: Mutex<Option<Arc<Opened>>>,
}

/// What is needed to read it.
pub(super) struct Opened {
    source: Source,
    index: RwLock<Index>,
}

/// A record of a segment, to be read in parts.
pub(super) struct SegmentParts {
    segment: Arc<Segment>,
    opened: Arc<Opened>,
    /// Where its payload begins.
    at: u64,
    bytes: u64,
    /// What of it was read when it was found.
    first: Bytes,
}

impl Parts for SegmentParts {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, LogError> {
        let bytes = range.end.saturating_sub(range.start);
        if range.end > self.bytes {
            let kind = std::io::ErrorKind::UnexpectedEof;
            return Err(self.segment.failed("reading", kind.into()));
        }
        if range.end <= self.first.len() as u64 {
            return Ok(self.first.slice(range.start as usize..range.end as usize));
        }
        self.segment
            .fetch(&self.opened.source, self.at + range.start, bytes)
    }
}

enum Source {
    File(Arc<dyn DiskFile>),
    Archive(Arc<dyn ArchiveStore>, String),
}

impl Segment {
    /// A sealed segment, in a file or in the archive.
    pub(super) fn sealed(
        key: SegmentKey,
        path: PathBuf,
        end: u64,
        bytes: u64,
        hot: bool,
    ) -> Segment {
        Segment {
            key,
            path,
            end: AtomicU64::new(end),
            readable: AtomicU64::new(bytes),
            sealed: AtomicBool::new(true),
            hot: AtomicBool::new(hot),
            opened: Mutex::default(),
        }
    }

    /// The segment that is written to.
    pub(super) fn active(
        key: SegmentKey,
        path: PathBuf,
        end: u64,
        readable: u64,
        file: Arc<dyn DiskFile>,
        index: Index,
    ) -> Segment {
        let segment = Segment::sealed(key, path, end, readable, true);
        segment.sealed.store(false, Ordering::Release);
        *segment.opened.lock() = Some(Arc::new(Opened {
            source: Source::File(file),
            index: RwLock::new(index),
        }));
        segment
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(super) fn is_hot(&self) -> bool {
        self.hot.load(Ordering::Acquire)
    }

    /// More of the active segment is durable: records up to `end`, in the bytes below `readable`.
    pub(super) fn grow(&self, end: u64, readable: u64, frames: impl Iterator<Item = (u64, u64)>) {
        if let Some(opened) = &*self.opened.lock() {
            let mut index = opened.index.write();
            frames.for_each(|(offset, byte)| index.note(offset, byte));
        }
        self.readable.store(readable, Ordering::Release);
        self.end.store(end, Ordering::Release);
    }

    /// Nothing is written to it from now on. Its index goes beside it, so that nobody has to read it all to find a place.
    pub(super) fn seal(&self, disk: &dyn Disk, bytes: u64) {
        self.readable.store(bytes, Ordering::Release);
        let opened = self.opened.lock().take();
        if let Some(opened) = opened {
            self.save_index(disk, &opened.index.read());
        }
        self.sealed.store(true, Ordering::Release);
    }

    pub(super) fn shut(&self) {
        if self.is_sealed() {
            *self.opened.lock() = None;
        }
    }

    /// Takes the file away; from now on the archive is read.
    pub(super) fn cool(&self, disk: &dyn Disk) -> std::io::Result<()> {
        let mut opened = self.opened.lock();
        self.hot.store(false, Ordering::Release);
        *opened = None;
        disk.unlink(&self.path)
    }

    /// Opens it for reading, if it is not open.
    pub(super) fn open(self: &Arc<Self>, partition: &Partition) -> Result<Arc<Opened>, LogError> {
        let mut slot = self.opened.lock();
        if let Some(opened) = &*slot {
            return Ok(Arc::clone(opened));
        }
        let source = match self.is_hot() {
            true => Source::File(
                partition
                    .disk
                    .open(&self.path)
                    .map_err(|error| self.failed("opening", error))?,
            ),
            false => {
                let store = partition.archive.clone();
                let missing = || {
                    let kind = std::io::ErrorKind::NotFound.into();
                    self.failed("the archive that should have it is not configured:", kind)
                };
                Source::Archive(store.ok_or_else(missing)?, archive_name(self.key))
            }
        };
        let index = match self.load_index(&*partition.disk) {
            Some(index) => index,
            None => self.rebuild_index(&*partition.disk, &source)?,
        };
        let opened = Arc::new(Opened {
            source,
            index: RwLock::new(index),
        });
        *slot = Some(Arc::clone(&opened));
        drop(slot);
        partition.note_opened(Arc::clone(self));
        Ok(opened)
    }

    fn failed(&self, doing: &str, error: std::io::Error) -> LogError {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let what = "the file is shorter than it was";
                self.key.corrupt(&self.path, self.bytes(), self.end(), what)
            }
            _ => LogError::io(format!("{doing} {}", self.path.display()), error),
        }
    }

    fn index_path(&self) -> PathBuf {
        self.path.with_extension("idx")
    }

    fn load_index(&self, disk: &dyn Disk) -> Option<Index> {
        let stored = read_whole(disk, &self.index_path()).ok()?;
        Index::from_bytes(&stored, self.key.first, self.bytes())
    }

    fn rebuild_index(&self, disk: &dyn Disk, source: &Source) -> Result<Index, LogError> {
        let content = self.fetch(source, 0, self.bytes())?;
        let scan = Scan::of(self.key, &content);
        // A damaged segment gets an index of its good part, and the read that meets the damage tells of it.
        if scan.damage.is_none() {
            self.save_index(disk, &scan.index);
        }
        Ok(scan.index)
    }

    fn save_index(&self, disk: &dyn Disk, index: &Index) {
        let bytes = index.to_bytes(self.key.first, self.bytes());
        let saved = disk
            .create(&self.index_path())
            .and_then(|file| write_all_at(&*file, &bytes, 0));
        if let Err(error) = saved {
            warn!(%error, file = %self.index_path().display(), "index of a segment not kept");
        }
    }

    /// Bytes of the segment, wherever it is.
    pub(super) fn content(&self, opened: &Opened) -> Result<Bytes, LogError> {
        self.fetch(&opened.source, 0, self.bytes())
    }

    fn fetch(&self, source: &Source, at: u64, bytes: u64) -> Result<Bytes, LogError> {
        let read = match source {
            Source::File(file) => {
                let mut block = BytesMut::zeroed(bytes as usize);
                read_exact_at(&**file, &mut block, at).map(|()| block.freeze())
            }
            Source::Archive(store, name) => store.get(name, at..at + bytes).and_then(|block| {
                match block.len() as u64 == bytes {
                    true => Ok(block),
                    false => Err(std::io::ErrorKind::UnexpectedEof.into()),
                }
            }),
        };
        read.map_err(|error| self.failed("reading", error))
    }

    /// Reads records from `from` on, which this segment holds: at least one, then up to about `bytes_max`, no further than
    /// its end. Every frame is checked.
    pub(super) fn read(
        &self,
        opened: &Opened,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<Stored>, LogError> {
        // The end first: it is raised last, so all below it lies in what is readable.
        let end = self.end();
        let readable = self.bytes();
        let found = opened.index.read().find(from);
        let (mut next, mut at) = found.unwrap_or((self.key.first, SEGMENT_HEAD as u64));
        let mut want = INDEX_STEP
            .saturating_add(bytes_max as u64)
            .min(BLOCK_BYTES_MAX);
        let mut out = Vec::new();
        let mut taken = 0;
        while next < end {
            let block = self.fetch(&opened.source, at, want.min(readable.saturating_sub(at)))?;
            let mut used = 0;
            while next < end {
                let head = match self.key.get(&block[used..], at + used as u64) {
                    Ok(head) => head,
                    Err(NoFrame::Short(bytes)) if used > 0 || at + (bytes as u64) <= readable => {
                        want = want.max(bytes as u64);
                        break;
                    }
                    Err(NoFrame::Short(_)) => {
                        return Err(self.damaged(at, used, next, "a frame is cut short"));
                    }
                    Err(NoFrame::Damaged(what)) => {
                        return Err(self.damaged(at, used, next, what));
                    }
                };
                if head.offset != next {
                    return Err(self.damaged(at, used, next, "a record is missing"));
                }
                let payload = used + FRAME_HEAD..used + head.bytes();
                used = payload.end;
                if head.is_mark() {
                    continue;
                }
                if next >= from {
                    taken += payload.len();
                    if taken > bytes_max && !out.is_empty() {
                        return Ok(out);
                    }
                    out.push(Stored {
                        offset: Offset(next),
                        record: LogRecord {
                            schema: head.schema,
                            payload: block.slice(payload),
                        },
                    });
                }
                next += 1;
            }
            at += used as u64;
        }
        Ok(out)
    }

    /// A large record, to be read in parts. `None`: it is small; or it is not where it should be, which [`Segment::read`]
    /// tells about.
    pub(super) fn parts(
        self: &Arc<Self>,
        opened: Arc<Opened>,
        offset: u64,
    ) -> Result<Option<SegmentParts>, LogError> {
        let readable = self.bytes();
        let found = opened.index.read().find(offset);
        let (_, at) = found.unwrap_or((self.key.first, SEGMENT_HEAD as u64));
        // What begins further behind an entry has one itself.
        let want = INDEX_STEP + FRAME_HEAD as u64;
        let block = self.fetch(&opened.source, at, want.min(readable.saturating_sub(at)))?;
        let mut used = 0;
        while let Some(head) = block.get(used..).and_then(|rest| peek(rest).ok()) {
            used += FRAME_HEAD;
            let payload = at + used as u64;
            if head.is_mark() || head.offset < offset {
                used += head.length as usize;
                continue;
            }
            let bytes = u64::from(head.length);
            let is_it = head.offset == offset && payload + bytes <= readable;
            return Ok((is_it && bytes >= PARTS_BYTES_MIN).then(|| SegmentParts {
                segment: Arc::clone(self),
                opened,
                at: payload,
                bytes,
                first: block.slice(used.min(block.len())..),
            }));
        }
        Ok(None)
    }

    fn damaged(&self, at: u64, used: usize, offset: u64, what: &str) -> LogError {
        self.key.corrupt(&self.path, at + used as u64, offset, what)
    }
}
