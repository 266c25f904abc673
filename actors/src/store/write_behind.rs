//! The thread that puts committed frames into the row store.
//!
//! It takes whatever has queued up, merges it into one fjall batch and publishes the position. fjall's own back-pressure
//! (it sleeps in its writer) is felt here only: the queue fills, [`WriteBehind::push`] waits, admission sees the lag.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use super::{Committed, Progress, RowStore, StoreError};
use crate::disk::{DiskSpace, space};
use crate::model::Offset;

/// Bounds of the write-behind thread.
#[derive(Debug, Clone)]
pub struct WriteBehindConfig {
    /// Frames waiting or being written, bytes. More makes `push` wait.
    pub queue_bytes_max: usize,
    /// Frames merged into one fjall batch, bytes. A larger batch merges more writes of the same rows; a smaller one is
    /// visible sooner.
    pub batch_bytes_max: usize,
    /// How long a frame may wait for others to be merged with.
    pub linger: Duration,
    /// A checkpoint (sync) at least this often while there is something to sync.
    pub checkpoint_every: Duration,
    /// A checkpoint after this many bytes of frames.
    pub checkpoint_bytes: usize,
    /// Stops writing while less than this is free on the disk, bytes (at most a twentieth of it): fjall does not survive
    /// a full disk without being opened anew, and the log, which clients wait for, needs the space more.
    pub disk_reserve_bytes: u64,
}

impl Default for WriteBehindConfig {
    fn default() -> Self {
        WriteBehindConfig {
            queue_bytes_max: 64 << 20,
            batch_bytes_max: 8 << 20,
            linger: Duration::from_millis(5),
            checkpoint_every: Duration::from_secs(10),
            checkpoint_bytes: 256 << 20,
            disk_reserve_bytes: 256 << 20,
        }
    }
}

/// How often free space is looked at while the disk is full.
const FULL_LOOK: Duration = Duration::from_millis(200);

/// The queue and its thread. Dropping it writes what is queued, syncs, and ends the thread.
pub struct WriteBehind {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    store: RowStore,
    config: WriteBehindConfig,
    queue: Mutex<Queue>,
    filled: Condvar,
    drained: Condvar,
    applied: Progress,
    durable: Progress,
    paused: AtomicBool,
    rows_written: AtomicU64,
    watchers: RwLock<Vec<Watcher>>,
}

/// Hears of frames whose rows have just been written, before their position is told. Runs on the write-behind thread:
/// note and return.
pub type Watcher = Box<dyn Fn(&[Committed]) + Send + Sync>;

struct Queue {
    frames: VecDeque<Committed>,
    /// Bytes of the queued frames and of those being written.
    bytes: usize,
    next: Offset,
    closing: bool,
    checkpoint_wanted: bool,
    failed: Option<StoreError>,
}

impl WriteBehind {
    /// Starts the thread. The store is this thread's to write from now on.
    pub fn start(store: RowStore, config: WriteBehindConfig) -> Result<WriteBehind, StoreError> {
        let applied = store.applied();
        // What a reopened store has may still be in the system's cache only.
        let durable = store.sync()?;
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                bytes: 0,
                next: Offset(applied.map_or(0, |at| at.0 + 1)),
                closing: false,
                checkpoint_wanted: false,
                failed: None,
            }),
            store,
            config,
            filled: Condvar::new(),
            drained: Condvar::new(),
            applied: Progress::new(applied),
            durable: Progress::new(durable),
            paused: AtomicBool::new(false),
            rows_written: AtomicU64::new(0),
            watchers: RwLock::default(),
        });
        let thread = std::thread::Builder::new()
            .name("write-behind".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared)
            })
            .map_err(|source| StoreError::Io {
                what: "start the write-behind thread".into(),
                source: Arc::new(source),
            })?;
        Ok(WriteBehind {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues the next frame; waits while the queue is full. An error once a write has failed: the store must be opened
    /// anew.
    pub fn push(&self, frame: Committed) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let bytes = frame.bytes();
        let mut queue = shared.queue.lock();
        loop {
            if let Some(failed) = &queue.failed {
                return Err(failed.clone());
            }
            // A frame larger than the whole queue passes when the queue is empty.
            if queue.bytes == 0 || queue.bytes + bytes <= shared.config.queue_bytes_max {
                break;
            }
            shared.drained.wait(&mut queue);
        }
        if frame.at != queue.next {
            return Err(StoreError::Order {
                expected: queue.next,
                got: frame.at,
            });
        }
        queue.next = Offset(frame.at.0 + 1);
        queue.bytes += bytes;
        queue.frames.push_back(frame);
        shared.filled.notify_one();
        Ok(())
    }

    /// The offset of the frame that must be pushed next.
    pub fn next(&self) -> Offset {
        self.shared.queue.lock().next
    }

    /// The last frame whose rows snapshots have.
    pub fn applied(&self) -> &Progress {
        &self.shared.applied
    }

    /// The last frame that survives a power cut in the store: the log may be trimmed behind it, as far as rows go.
    pub fn durable(&self) -> &Progress {
        &self.shared.durable
    }

    /// Bytes of frames queued or being written.
    pub fn queued_bytes(&self) -> usize {
        self.shared.queue.lock().bytes
    }

    /// Whether it waits for space on the disk.
    pub fn paused(&self) -> bool {
        self.shared.paused.load(Ordering::Relaxed)
    }

    /// Rows written since the start, after equal keys were merged.
    pub fn rows_written(&self) -> u64 {
        self.shared.rows_written.load(Ordering::Relaxed)
    }

    /// Why it stopped, if it did.
    pub fn failure(&self) -> Option<StoreError> {
        self.shared.queue.lock().failed.clone()
    }

    /// Lets somebody hear of every frame written from now on: whoever sees a position in [`WriteBehind::applied`] knows
    /// that the watcher has heard of all frames up to it.
    pub fn watch(&self, watcher: Watcher) {
        self.shared.watchers.write().push(watcher);
    }

    /// Asks for a checkpoint soon; [`WriteBehind::durable`] tells when it has happened. For backup and shutdown.
    pub fn checkpoint(&self) {
        self.shared.queue.lock().checkpoint_wanted = true;
        self.shared.filled.notify_one();
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the write-behind thread panicked");
        }
    }
}

/// Written bytes that are brought to the disk ahead of a checkpoint, as soon as there are so many.
const FLUSH_AHEAD_BYTES: usize = 4 << 20;

/// Writes, with a thread beside it that brings to the disk what is written.
fn run(shared: &Shared) {
    let (wanted, want) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let flusher = std::thread::Builder::new().name("row-flush".into());
        let flush = move || {
            while want.recv().is_ok() {
                if let Err(error) = shared.store.flush_ahead() {
                    // The checkpoint, which is the one that counts, will say what it means.
                    tracing::warn!(%error, "rows are not flushed ahead any more");
                    break;
                }
            }
        };
        if let Err(error) = flusher.spawn_scoped(scope, flush) {
            tracing::warn!(%error, "rows are not flushed ahead");
        }
        write_all(shared, &wanted);
        drop(wanted);
    });
}

fn write_all(shared: &Shared, flush: &mpsc::SyncSender<()>) {
    let mut unflushed = 0;
    let mut since_checkpoint = 0;
    let mut last_checkpoint = Instant::now();
    loop {
        let (frames, bytes, closing, wanted) = take(shared, last_checkpoint);
        let result = write(shared, &frames).and_then(|()| {
            since_checkpoint += bytes;
            unflushed += bytes;
            // While one waits already, it takes this along with what comes next.
            if unflushed >= FLUSH_AHEAD_BYTES && flush.try_send(()).is_ok() {
                unflushed = 0;
            }
            let due = since_checkpoint >= shared.config.checkpoint_bytes
                || last_checkpoint.elapsed() >= shared.config.checkpoint_every
                || wanted
                || (closing && frames.is_empty());
            if due {
                if shared.durable.get() < shared.applied.get() {
                    let synced = shared.store.sync()?;
                    shared.durable.advance(synced);
                }
                since_checkpoint = 0;
                last_checkpoint = Instant::now();
            }
            Ok(())
        });
        let mut queue = shared.queue.lock();
        queue.bytes -= bytes;
        if let Err(error) = result {
            tracing::error!(%error, "the row store takes no more writes");
            queue.failed = Some(error);
            queue.frames.clear();
            queue.bytes = 0;
        }
        shared.drained.notify_all();
        if queue.failed.is_some() || (queue.closing && queue.frames.is_empty() && frames.is_empty())
        {
            return;
        }
    }
}

/// Waits for frames, lets some more gather, and takes as many as one batch may have. Empty when a checkpoint is due or
/// the queue is closing.
fn take(shared: &Shared, last_checkpoint: Instant) -> (Vec<Committed>, usize, bool, bool) {
    let config = &shared.config;
    let mut queue = shared.queue.lock();
    while queue.frames.is_empty() && !queue.closing && !queue.checkpoint_wanted {
        if shared.durable.get() == shared.applied.get() {
            shared.filled.wait(&mut queue);
        } else {
            let due = last_checkpoint + config.checkpoint_every;
            if shared.filled.wait_until(&mut queue, due).timed_out() {
                break;
            }
        }
    }
    let end = Instant::now() + config.linger;
    while !queue.frames.is_empty()
        && queue.bytes < config.batch_bytes_max
        && !queue.closing
        && !queue.checkpoint_wanted
    {
        if shared.filled.wait_until(&mut queue, end).timed_out() {
            break;
        }
    }
    let mut frames = Vec::new();
    let mut bytes = 0;
    while let Some(frame) = queue.frames.front() {
        let more = frame.bytes();
        if !frames.is_empty() && bytes + more > config.batch_bytes_max {
            break;
        }
        bytes += more;
        frames.extend(queue.frames.pop_front());
    }
    // A wish for a checkpoint means all that was queued when it was made.
    let wanted = queue.checkpoint_wanted && queue.frames.is_empty();
    if wanted {
        queue.checkpoint_wanted = false;
    }
    (frames, bytes, queue.closing, wanted)
}

fn write(shared: &Shared, frames: &[Committed]) -> Result<(), StoreError> {
    if frames.is_empty() {
        return Ok(());
    }
    wait_for_space(shared)?;
    let rows = shared.store.apply(frames)?;
    shared
        .rows_written
        .fetch_add(rows as u64, Ordering::Relaxed);
    for watcher in shared.watchers.read().iter() {
        watcher(frames);
    }
    shared.applied.advance(frames.last().map(|frame| frame.at));
    Ok(())
}

fn wait_for_space(shared: &Shared) -> Result<(), StoreError> {
    loop {
        let DiskSpace { free, size } = space(shared.store.folder())
            .map_err(|error| super::error::from_io("look at the disk", error))?;
        if enough(free, size, shared.config.disk_reserve_bytes) {
            shared.paused.store(false, Ordering::Relaxed);
            return Ok(());
        }
        if !shared.paused.swap(true, Ordering::Relaxed) {
            tracing::error!(
                free,
                "the disk is nearly full: rows are not written until there is space"
            );
        }
        let mut queue = shared.queue.lock();
        if queue.closing {
            // What is queued is in the log; it is applied at the next start.
            return Err(StoreError::Full);
        }
        shared.filled.wait_for(&mut queue, FULL_LOOK);
    }
}

/// Whether `free` bytes leave the reserve, on a disk of `size` bytes.
fn enough(free: u64, size: u64, reserve: u64) -> bool {
    /// A small disk keeps this part of itself instead.
    const PART: u64 = 20;
    free >= reserve.min(size / PART)
}

#[cfg(test)]
mod tests;
