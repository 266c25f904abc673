//! The writer of one partition: takes what waits, writes it, syncs it, tells everybody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tracing::{error, warn};

use super::index::Index;
use super::partition::{Group, Partition, segment_path};
use super::read::Segment;
use super::tail::Chunk;
use crate::crash::point;
use crate::disk::{Disk, DiskFile, is_full, write_all_at};
use crate::log::LogError;
use crate::log::frame::{FRAME_HEAD, Head, SEGMENT_HEAD, SegmentKey, flag};
use crate::model::Offset;

/// Why a write did not happen.
enum Failed {
    /// No room; the file is as it was.
    Full,
    /// What is on disk is unknown.
    Fatal(LogError),
}

/// Writes one partition. There is one, so offsets have no gaps.
pub(super) struct Writer {
    partition: Arc<Partition>,
    segment_bytes: u64,
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    /// Bytes of the file, marks included.
    len: u64,
    /// Bytes of the file that a sync covered.
    synced: u64,
    /// The offset that comes next.
    next: u64,
    /// Whether the file ends with a mark that covers everything before it.
    marked: bool,
    /// Set when a write or sync failed and `on_fatal` came back.
    dead: Option<LogError>,
}

impl Writer {
    /// `segment` is `file`, of which all `len` bytes are synced.
    pub(super) fn new(
        partition: Arc<Partition>,
        segment_bytes: u64,
        segment: Arc<Segment>,
        file: Arc<dyn DiskFile>,
        len: u64,
        next: u64,
    ) -> Writer {
        Writer {
            partition,
            segment_bytes,
            segment,
            file,
            len,
            synced: len,
            next,
            marked: false,
            dead: None,
        }
    }

    /// Works until the partition is closed and nothing waits.
    pub(super) fn run(mut self) {
        let on_fatal = Arc::clone(&self.partition.on_fatal);
        let work = AssertUnwindSafe(|| {
            loop {
                let groups = self.partition.take(true);
                if groups.is_empty() {
                    break;
                }
                self.commit(groups);
                if self.partition.waiting().0 == 0 {
                    self.mark();
                }
            }
            self.finish();
        });
        if catch_unwind(work).is_err() {
            // Who waits for an answer would wait for ever.
            let cause = std::io::Error::other("panic");
            fatal(&on_fatal, &LogError::io("the log writer failed", cause));
        }
    }

    /// Commits what waits now; `false` if nothing waited.
    pub(super) fn pump(&mut self) -> bool {
        let groups = self.partition.take(false);
        if groups.is_empty() {
            return false;
        }
        self.commit(groups);
        if self.partition.waiting().0 == 0 {
            self.mark();
        }
        true
    }

    /// Marks the end and syncs the mark, so that all that lies before it is known to have been synced.
    pub(super) fn finish(&mut self) {
        if self.dead.is_some() {
            return;
        }
        self.mark();
        if let Err(error) = self.file.sync_data() {
            // All acknowledged was synced before; only the mark is in doubt.
            error!(%error, partition = %self.partition.id, "the last mark of the log was not synced");
        }
    }

    fn commit(&mut self, groups: Vec<Group>) {
        if let Some(dead) = &self.dead {
            let dead = dead.clone();
            return refuse(groups, &dead);
        }
        match self.write(&groups) {
            Ok(chunk) => {
                if !chunk.frames.is_empty() {
                    self.partition.set_no_room(0);
                }
                self.tell(groups, chunk);
            }
            Err(Failed::Full) => {
                if self.partition.no_room() == 0 {
                    warn!(partition = %self.partition.id, "the disk is full, appends are refused");
                }
                let bytes: usize = groups.iter().map(|group| group.bytes).sum();
                self.partition.set_no_room(bytes.max(1) as u64);
                refuse(groups, &LogError::Full);
            }
            Err(Failed::Fatal(cause)) => {
                self.dead = Some(cause.clone());
                fatal(&self.partition.on_fatal, &cause);
                refuse(groups, &cause);
            }
        }
    }

    /// Writes and syncs groups. After an error nothing of them is in the file, or the error is fatal.
    fn write(&mut self, groups: &[Group]) -> Result<Chunk, Failed> {
        if self.len >= self.segment_bytes && self.next > self.segment.key.first {
            self.roll()?;
        }
        let chunk = self.frames(groups);
        if chunk.frames.is_empty() {
            return Ok(chunk);
        }
        point("log-before-write");
        let len = self.len + chunk.bytes.len() as u64;
        if let Err(error) = write_all_at(&*self.file, &chunk.bytes, self.len) {
            if !is_full(&error) {
                return Err(self.fatal("writing", error));
            }
            // Synced, so that no group that was refused comes back after a power cut.
            self.file
                .truncate(self.synced)
                .and_then(|()| self.file.sync_data())
                .map_err(|error| self.fatal("taking back a write to", error))?;
            self.len = self.synced;
            self.marked = false;
            return Err(Failed::Full);
        }
        point("log-after-write");
        let began = Instant::now();
        self.file
            .sync_data()
            .map_err(|error| self.fatal("syncing", error))?;
        metrics::histogram!("tributary_log_sync_seconds").record(began.elapsed());
        metrics::counter!("tributary_log_written_bytes").increment(chunk.bytes.len() as u64);
        point("log-after-sync");
        let start = std::mem::replace(&mut self.len, len);
        self.synced = len;
        self.marked = false;
        self.next += chunk.frames.len() as u64;
        let places = chunk.frames.iter().map(|frame| start + u64::from(*frame));
        self.segment
            .grow(self.next, len, (chunk.first..).zip(places));
        Ok(chunk)
    }

    /// The frames of these groups, as they will stand at the end of the file.
    fn frames(&self, groups: &[Group]) -> Chunk {
        let bytes = groups.iter().map(|group| group.bytes).sum();
        let records = groups.iter().map(|group| group.records.len()).sum();
        let mut out = BytesMut::with_capacity(bytes);
        let mut frames = Vec::with_capacity(records);
        for group in groups {
            let last = group.records.len().saturating_sub(1);
            for (at, record) in group.records.iter().enumerate() {
                let head = Head {
                    length: record.payload.len() as u32,
                    flags: if at == last { flag::LAST } else { 0 },
                    schema: record.schema,
                    offset: self.next + frames.len() as u64,
                    synced: self.synced,
                };
                frames.push(out.len() as u32);
                let byte = self.len + out.len() as u64;
                self.segment.key.put(&mut out, byte, head, &record.payload);
            }
        }
        Chunk {
            first: self.next,
            bytes: out.freeze(),
            frames,
        }
    }

    /// Visible first, then answered: who has an answer can read what it is about.
    fn tell(&self, groups: Vec<Group>, chunk: Chunk) {
        let mut offset = chunk.first;
        let moved = !chunk.frames.is_empty();
        if moved {
            self.partition.publish(chunk, groups.len() as u64);
        }
        for group in groups {
            let first = Offset(offset);
            offset += group.records.len() as u64;
            guarded("an answer of the log", || (group.done)(Ok(first)));
        }
        if moved {
            self.partition.tell_listeners();
        }
    }

    /// Says in the file that all before is synced, without syncing that. Damage before the mark is then known to be
    /// damage; without it, the last write would pass for a torn one.
    fn mark(&mut self) {
        if self.marked || self.dead.is_some() || self.synced != self.len {
            return;
        }
        let mark = self.segment.key.mark(self.len, self.next, 0);
        match write_all_at(&*self.file, &mark, self.len) {
            Ok(()) => {
                self.len += mark.len() as u64;
                self.marked = true;
            }
            // A part of a mark is a torn tail, and the next write covers it.
            Err(error) if is_full(&error) => {}
            Err(error) => warn!(%error, partition = %self.partition.id, "a mark was not written"),
        }
    }

    /// Begins the next segment, then seals this one. In this order a sealed segment always has a successor, so that a
    /// missing one is noticed.
    fn roll(&mut self) -> Result<(), Failed> {
        let partition = Arc::clone(&self.partition);
        let key = SegmentKey::new(partition.id, self.next);
        let path = segment_path(&partition.dir, key.first);
        let file = create(&*partition.disk, &partition.dir, key)?;
        let sealed = seal(&*self.file, self.segment.key, self.synced, self.next);
        let bytes = match sealed {
            Ok(bytes) => bytes,
            Err(error) if is_full(&error) => {
                // The next open seals it: it has a successor.
                warn!(partition = %partition.id, "no room to seal a segment");
                self.synced
            }
            Err(error) => return Err(self.fatal("sealing", error)),
        };
        self.segment.seal(&*partition.disk, bytes);
        let len = SEGMENT_HEAD as u64;
        let index = Index::default();
        let next = Segment::active(key, path, self.next, len, Arc::clone(&file), index);
        self.segment = Arc::new(next);
        let mut segments = partition.segments.write();
        segments.insert(key.first, Arc::clone(&self.segment));
        drop(segments);
        self.file = file;
        self.len = len;
        self.synced = len;
        self.marked = false;
        Ok(())
    }

    fn fatal(&self, doing: &str, error: std::io::Error) -> Failed {
        let file = self.segment.path.display();
        Failed::Fatal(LogError::io(format!("{doing} {file}"), error))
    }
}

/// Makes the file of a segment, so that after a power cut it is there with its head, or not there.
fn create(disk: &dyn Disk, dir: &Path, key: SegmentKey) -> Result<Arc<dyn DiskFile>, Failed> {
    let path = segment_path(dir, key.first);
    let beside = path.with_extension("tmp");
    let failed = |error| match is_full(&error) {
        true => Failed::Full,
        false => Failed::Fatal(LogError::io(format!("creating {}", path.display()), error)),
    };
    let unknown = |error| Failed::Fatal(LogError::io(format!("syncing {}", path.display()), error));
    let file = disk.create(&beside).map_err(failed)?;
    if let Err(error) = write_all_at(&*file, &key.segment_head(), 0) {
        // What is left of it is removed at open, or overwritten by the next try.
        return Err(failed(error));
    }
    file.sync_data().map_err(unknown)?;
    point("segment-before-rename");
    disk.rename(&beside, &path).map_err(failed)?;
    point("segment-after-rename");
    // From here on the name may survive or not: a segment that is begun and then not used would stand in the way of
    // records that the one before it takes.
    disk.sync_dir(dir).map_err(unknown)?;
    Ok(file)
}

/// The same for who has no groups to refuse.
pub(super) fn create_segment(
    disk: &dyn Disk,
    dir: &Path,
    key: SegmentKey,
) -> Result<Arc<dyn DiskFile>, LogError> {
    create(disk, dir, key).map_err(|failed| match failed {
        Failed::Full => LogError::Full,
        Failed::Fatal(error) => error,
    })
}

/// Writes the seal behind the first `len` bytes of a segment that ends before `end`, and syncs. Returns its whole length.
pub(super) fn seal(
    file: &dyn DiskFile,
    key: SegmentKey,
    len: u64,
    end: u64,
) -> std::io::Result<u64> {
    let seal = key.mark(len, end, flag::SEAL);
    file.truncate(len)?;
    write_all_at(file, &seal, len)?;
    file.sync_data()?;
    Ok(len + FRAME_HEAD as u64)
}

fn refuse(groups: Vec<Group>, why: &LogError) {
    for group in groups {
        guarded("an answer of the log", || (group.done)(Err(why.clone())));
    }
}

fn fatal(on_fatal: &super::OnFatal, cause: &LogError) {
    error!(error = %cause, "the log cannot go on, what is on disk is unknown");
    on_fatal(cause);
}

/// Calls somebody else's code, whose panic must not end the writer.
pub(super) fn guarded(what: &str, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        error!("{what} panicked");
    }
}
