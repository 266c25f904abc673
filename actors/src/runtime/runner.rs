//! One unit at work: read input, decide, commit, and only then let anything leave.
//!
//! A runner has no thread. [`Runner::turn`] does what can be done now and returns; it is called again when input, a
//! commit or the store has moved. At most one batch is on its way into the result log; the next one is decided
//! meanwhile. So frames of a unit stand in the log in the order of their decisions, whatever an append answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::core::{Batch, StepError, UnitCore, numbering, parked};
use super::feed::{FeedError, Feeds, RESULTS};
use super::guard::{CAREFUL_BATCHES, Guard, Mark};
use super::progress::Progress;
use crate::log::{Log, LogError, LogRecord};
use crate::machine::{Rows, RowsError};
use crate::model::{Offset, PartitionId, Time, Unit, UnitKind};
use crate::result::{self, BatchResult};
use crate::seal::{SealError, Sealer};
use crate::store::{Committed, Overlay};

/// Records that one unit decides together. Larger batches hide a stuck unit for too long and delay the first of them;
/// smaller ones spend the time in fsync.
pub const BATCH_RECORDS_MAX: usize = 2_048;

/// Rows on their way into the store above which units wait. Bounds the memory of what is committed and not yet stored.
/// Half of the store's queue: what all units may have on their way besides fits into the other half.
pub const BACKLOG_BYTES_MAX: u64 = 32 << 20;

type Consumed = BTreeMap<PartitionId, Offset>;

/// What a runner needs of the store of rows.
pub trait RowCache: Send + Sync + 'static {
    /// Rows as stored now.
    fn rows(&self) -> Box<dyn Rows + '_>;
    /// Takes a committed result; called in order of its offset, and must not block for long.
    fn push(&self, result: Committed);
    /// All results below are stored.
    fn end(&self) -> Offset;
    /// Calls `listener` with the end after each time it moved.
    fn on_advance(&self, listener: Arc<dyn Fn(Offset) + Send + Sync>);
    /// Bytes pushed and not yet stored.
    fn backlog_bytes(&self) -> u64;
    /// Why it takes no more, if so: the process must start again.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// What runners of a node share.
pub struct Shared {
    /// Input.
    pub feeds: Feeds,
    /// Where results go.
    pub results: Arc<dyn Log>,
    /// Seals them.
    pub sealer: Arc<dyn Sealer>,
    /// Caches their rows.
    pub store: Arc<dyn RowCache>,
    /// Tells how far units are.
    pub progress: Arc<Progress>,
    /// Member partitions.
    pub partitions: u16,
    /// Epoch of this owner.
    pub epoch: u64,
    /// Units with an append on its way. A unit is rebuilt only when it has none.
    pub appending: Mutex<BTreeSet<Unit>>,
}

/// Why a unit stands still. Nothing committed is touched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// Input cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A batch cannot be decided.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A result cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A result cannot be appended.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl RunError {
    /// Whether the next turn may succeed with the unit as it is.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            RunError::Log(LogError::Full) | RunError::Step(StepError::Rows(RowsError(_)))
        )
    }
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something moved: turn again.
    Moved,
    /// Nothing to do until woken.
    Idle,
}

/// State of the one append that may be on its way. The log's writer thread answers into it.
#[derive(Debug, Clone)]
enum Commit {
    None,
    OnItsWay,
    Done(Offset),
    Failed(LogError),
}

/// A decided batch that is not yet durable.
struct Ready {
    frame: LogRecord,
    header: result::Header,
    inner: Arc<result::Inner>,
    sent: Vec<(Unit, u64)>,
    sends: bool,
    consumed: Consumed,
}

/// How the crash-loop guard looks at a unit.
struct Watch {
    guard: Arc<Guard>,
    /// Batches for which the unit is careful yet.
    careful: usize,
}

/// One unit at work.
pub struct Runner {
    core: UnitCore,
    shared: Arc<Shared>,
    wake: Arc<dyn Fn() + Send + Sync>,
    overlay: Overlay,
    commit: Arc<Mutex<Commit>>,
    appended: Option<Ready>,
    /// Decided and to be appended, in order; at most two, after an append that failed.
    queue: VecDeque<Ready>,
    /// Position behind frames that held nothing for this unit; ahead of the committed one.
    seen: Consumed,
    reported: Consumed,
    batch_records_max: usize,
    watch: Option<Watch>,
    retry_parked: Option<Option<u64>>,
    /// Memory is to go to disk: nothing is decided until it can.
    checkpoint_wanted: bool,
}

impl Runner {
    /// A runner at the committed state of `core`. `wake` is called (from any thread) when a turn can do something.
    pub fn new(core: UnitCore, shared: Arc<Shared>, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let seen = core.state().consumed.clone();
        let unit = core.unit();
        let state = core.state();
        let (consumed, batches) = (state.consumed.clone(), state.batch);
        let checkpointed = core.machine().checkpointed();
        shared.progress.report(unit, |progress| {
            progress.consumed = consumed;
            progress.checkpointed = checkpointed;
            progress.batches = batches;
            progress.stopped = None;
        });
        Runner {
            core,
            shared,
            wake,
            overlay: Overlay::default(),
            commit: Arc::new(Mutex::new(Commit::None)),
            appended: None,
            queue: VecDeque::new(),
            reported: seen.clone(),
            seen,
            batch_records_max: BATCH_RECORDS_MAX,
            watch: None,
            retry_parked: None,
            checkpoint_wanted: false,
        }
    }

    /// Who this is.
    pub fn unit(&self) -> Unit {
        self.core.unit()
    }

    /// The unit's core.
    pub fn core(&self) -> &UnitCore {
        &self.core
    }

    /// Under the eyes of the crash-loop guard. `careful`: one record at a time, and nobody else meanwhile.
    pub fn watched(&mut self, guard: Arc<Guard>, careful: bool) {
        if careful {
            self.batch_records_max = 1;
        }
        self.core.watched(guard.mark(self.core.unit(), careful));
        self.watch = Some(Watch {
            guard,
            careful: if careful { CAREFUL_BATCHES } else { 0 },
        });
    }

    /// One more batch went well: a careful unit has not for ever to be careful.
    fn went_well(&mut self) {
        let unit = self.core.unit();
        let Some(watch) = self.watch.as_mut().filter(|watch| watch.careful > 0) else {
            return;
        };
        watch.careful -= 1;
        if watch.careful == 0 {
            tracing::info!(%unit, "no crash loop any more: full batches again");
            watch.guard.relieved(unit);
            self.batch_records_max = BATCH_RECORDS_MAX;
            self.core.watched(watch.guard.mark(unit, false));
        }
    }

    /// Sets the batch size.
    pub fn batch_records_max(&mut self, records: usize) {
        self.batch_records_max = records.max(1);
    }

    /// Tries parked records again (of one key, or all) with the next batch.
    pub fn retry_parked(&mut self, key: Option<u64>) {
        self.retry_parked = Some(key);
    }

    /// Nothing decided waits for its commit.
    pub fn settled(&self) -> bool {
        self.appended.is_none() && self.queue.is_empty()
    }

    /// Has the machine's memory written to disk as soon as no batch is in between: at once, or when the one on its way is
    /// durable. Until then nothing more is decided, because under load there is always a next batch.
    pub fn want_checkpoint(&mut self) {
        self.checkpoint_wanted = self.core.machine().checkpointed().is_some();
    }

    fn checkpoint_if_wanted(&mut self) {
        if !self.checkpoint_wanted || !self.settled() {
            return;
        }
        self.checkpoint_wanted = false;
        self.checkpoint();
    }

    /// Writes the machine's memory to disk if no batch is in between, and tells of a failure.
    pub fn checkpoint(&mut self) {
        if let Some(Err(error)) = self.try_checkpoint() {
            tracing::error!(unit = %self.core.unit(), error, "checkpoint failed");
        }
    }

    fn try_checkpoint(&mut self) -> Option<Result<(), String>> {
        if !self.settled() {
            return None;
        }
        // Nothing of this unit is on its way, so its memory has all that stands in the log of it.
        let at = self.shared.results.end(RESULTS);
        let known = self.core.machine().checkpointed();
        if known.is_none_or(|known| known >= at) {
            return None;
        }
        let written = self.core.machine_mut().checkpoint(at);
        let checkpointed = self.core.machine().checkpointed();
        self.shared.progress.report(self.core.unit(), |progress| {
            progress.checkpointed = checkpointed;
        });
        Some(written)
    }

    /// Waits until the machine's memory is on disk.
    pub fn checkpoint_wait(&mut self) -> Result<(), String> {
        self.core.machine_mut().checkpoint_wait()
    }

    /// Does what can be done now. `decide` false: only finishes what is on its way (drain).
    pub fn turn(&mut self, now: Time, decide: bool) -> Result<Turn, RunError> {
        let mut moved = self.take_commit()?;
        self.evict();
        self.checkpoint_if_wanted();
        if decide && self.queue.is_empty() && !self.checkpoint_wanted {
            moved |= self.decide(now)?;
        }
        if self.appended.is_none()
            && let Some(ready) = self.queue.pop_front()
        {
            self.append(ready);
            moved = true;
        }
        self.report_seen();
        Ok(if moved { Turn::Moved } else { Turn::Idle })
    }

    /// What the log answered to the append on its way.
    fn take_commit(&mut self) -> Result<bool, RunError> {
        let answer = {
            let mut commit = self.commit.lock();
            match &*commit {
                Commit::None | Commit::OnItsWay => return Ok(false),
                Commit::Done(_) | Commit::Failed(_) => {
                    std::mem::replace(&mut *commit, Commit::None)
                }
            }
        };
        let appended = self
            .appended
            .take()
            .expect("an answered commit has its batch");
        match answer {
            Commit::Done(at) => {
                crate::crash::point("unit-after-commit");
                self.overlay.committed(appended.header.batch, at);
                Ok(true)
            }
            Commit::Failed(error) => {
                // Nothing of the group was written: the same frame goes again, before any later one.
                self.queue.push_front(appended);
                Err(error.into())
            }
            Commit::None | Commit::OnItsWay => Ok(false),
        }
    }

    fn evict(&mut self) {
        let applied = self.shared.store.end().0.checked_sub(1).map(Offset);
        self.overlay.evict(applied);
    }

    fn decide(&mut self, now: Time) -> Result<bool, RunError> {
        if self.shared.store.backlog_bytes() > BACKLOG_BYTES_MAX {
            return Ok(false);
        }
        let unit = self.core.unit();
        let mut batch = self
            .shared
            .feeds
            .next(unit, &self.seen, self.batch_records_max)?;
        self.add_parked(&mut batch)?;
        if batch.inputs.is_empty() {
            return Ok(self.read_on(&batch));
        }
        // Frames that held nothing are part of the slice, so that slices have no gap.
        if unit.kind == UnitKind::Member
            && let Some(slice) = batch.slices.first_mut()
        {
            let consumed = &self.core.state().consumed;
            slice.from = consumed.get(&RESULTS).copied().unwrap_or_default();
        }
        // Both end with this block: waiting for the commit is not deciding.
        let watch = self
            .watch
            .as_ref()
            .map(|watch| (watch.guard.clone(), watch.careful > 0));
        let _right = watch
            .as_ref()
            .map(|(guard, alone)| guard.may_decide(*alone));
        let mark = self.core.mark();
        let _deciding = mark.as_ref().map(Mark::deciding);
        let sent_before = self.core.state().sent.clone();
        let stored = self.shared.store.rows();
        let rows = self.overlay.view(&*stored);
        let result = self.core.step(&rows, &batch, now, self.shared.epoch)?;
        drop(stored);
        self.seen = self.core.state().consumed.clone();
        let ready = self.prepare(result, sent_before)?;
        self.queue.push_back(ready);
        self.went_well();
        Ok(true)
    }

    /// Puts parked records at the front of the batch when a retry was asked for.
    fn add_parked(&mut self, batch: &mut Batch) -> Result<(), RunError> {
        let Some(key) = self.retry_parked.take() else {
            return Ok(());
        };
        let unit = self.core.unit();
        let stored = self.shared.store.rows();
        let rows = self.overlay.view(&*stored);
        let waiting = parked(&rows, unit, key).map_err(StepError::from)?;
        let mut inputs = Vec::with_capacity(waiting.len() + batch.inputs.len());
        for (_, at) in waiting {
            inputs.push(super::core::Input {
                record: self.shared.feeds.record(unit, at)?,
                from: None,
            });
        }
        batch.retried = inputs.len();
        inputs.append(&mut batch.inputs);
        batch.inputs = inputs;
        Ok(())
    }

    /// The log moved on without anything for this unit: remember it, without a commit.
    fn read_on(&mut self, batch: &Batch) -> bool {
        let mut moved = false;
        for slice in &batch.slices {
            moved |= self.seen.insert(slice.partition, slice.to) != Some(slice.to);
        }
        moved
    }

    fn report_seen(&mut self) {
        if self.settled() && self.seen != self.reported {
            self.reported = self.seen.clone();
            let seen = self.seen.clone();
            self.shared
                .progress
                .report(self.core.unit(), |progress| progress.consumed = seen);
        }
    }

    fn prepare(
        &mut self,
        result: BatchResult,
        sent_before: BTreeMap<Unit, u64>,
    ) -> Result<Ready, RunError> {
        let payload = result.encode(
            &*self.shared.sealer,
            numbering(sent_before, self.shared.partitions),
        )?;
        let inner = Arc::new(result.inner);
        self.overlay.push(result.header.batch, inner.clone());
        let sent = self.core.state().sent.iter();
        Ok(Ready {
            frame: LogRecord {
                schema: result::SCHEMA,
                payload: payload.into(),
            },
            sends: !result.outgoing.is_empty(),
            header: result.header,
            inner,
            sent: sent.map(|(unit, number)| (*unit, *number)).collect(),
            consumed: self.core.state().consumed.clone(),
        })
    }

    fn append(&mut self, ready: Ready) {
        crate::crash::point("unit-before-commit");
        *self.commit.lock() = Commit::OnItsWay;
        self.shared.appending.lock().insert(self.core.unit());
        let commit = self.commit.clone();
        let shared = self.shared.clone();
        let wake = self.wake.clone();
        let unit = self.core.unit();
        let sends = ready.sends;
        let batch = ready.header.batch;
        let (header, inner, sent) = (
            ready.header.clone(),
            ready.inner.clone(),
            ready.sent.clone(),
        );
        let consumed = ready.consumed.clone();
        let frame = ready.frame.clone();
        self.appended = Some(ready);
        let done = move |answer: Result<Offset, LogError>| {
            let answer = match answer {
                Ok(at) => {
                    shared.store.push(Committed {
                        at,
                        header,
                        inner,
                        sent,
                    });
                    shared.progress.report(unit, |progress| {
                        progress.consumed = consumed;
                        progress.batches = batch;
                        if sends {
                            progress.last_sent = Some(at);
                        }
                    });
                    Commit::Done(at)
                }
                Err(error) => Commit::Failed(error),
            };
            *commit.lock() = answer;
            shared.appending.lock().remove(&unit);
            wake();
        };
        self.shared
            .results
            .append(RESULTS, vec![frame], Box::new(done));
    }
}
