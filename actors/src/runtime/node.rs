//! A node: all units of an installation in one process, kept alive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::feed::{Feeds, RESULTS};
use super::gate::{Busy, Gate, Limits};
use super::guard::Guard;
use super::progress::{Progress, UnitProgress, Waiting};
use super::restore::{self, RestoreError};
use super::runner::{RowCache, Runner, Shared};
use super::timers;
use super::worker::{Ask, Pulse, System, Worker};
use crate::log::{Log, LogError};
use crate::machine::Machines;
use crate::model::{Clock, ErrorKind, Fault, Offset, PartitionId, Position, Retry, Token, Unit};
use crate::raw::{CONTROL, RawRecord};
use crate::seal::{SealError, Sealer};

/// How often workers get a tick, timers are looked at and heartbeats are checked.
const TICK: Duration = Duration::from_millis(100);
/// Memory of machines goes to disk this often: bounds what a restart must absorb.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// And for the first time so long after the start, when there may be no checkpoint at all or an old one.
const CHECKPOINT_FIRST: Duration = Duration::from_secs(5);
/// A worker that shows no sign for so long is reported as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// Rebuilds of one worker within [`REBUILD_WINDOW`] after which it stays down.
const REBUILDS_MAX: usize = 10;
/// See [`REBUILDS_MAX`].
const REBUILD_WINDOW: Duration = Duration::from_secs(600);
/// Timers fired per tick: after downtime they catch up at this rate, not all at once.
const TIMERS_PER_TICK: usize = 1_000;
/// Wall time that runs this far from monotonic time within one process is a jump: timers are held.
const CLOCK_JUMP_MS: i64 = 5 * 60 * 1_000;

/// What a node is made of.
pub struct Parts {
    /// Raw log: partition 0 for control, the rest for events.
    pub raw: Arc<dyn Log>,
    /// Result log.
    pub results: Arc<dyn Log>,
    /// Keys.
    pub sealer: Arc<dyn Sealer>,
    /// Rows.
    pub store: Arc<dyn RowCache>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Makes machines.
    pub machines: Arc<dyn Machines>,
    /// Member partitions.
    pub partitions: u16,
    /// Worker threads for member units; identity has one of its own.
    pub workers: u16,
    /// Admission bounds.
    pub limits: Limits,
    /// Small files of the runtime.
    pub dir: PathBuf,
    /// Called when the process must end and start again; the default aborts it.
    pub on_fatal: Arc<dyn Fn() + Send + Sync>,
}

/// Why an admission failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdmitError {
    /// Too much at once.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The log refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The keys failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The node is going down.
    #[error("the server is shutting down")]
    Draining,
}

impl Fault for AdmitError {
    fn kind(&self) -> ErrorKind {
        match self {
            AdmitError::Busy(error) => error.kind(),
            AdmitError::Log(error) => error.kind(),
            AdmitError::Seal(error) => error.kind(),
            AdmitError::Draining => ErrorKind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            AdmitError::Busy(error) => error.code(),
            AdmitError::Log(error) => error.code(),
            AdmitError::Seal(error) => error.code(),
            AdmitError::Draining => "draining",
        }
    }
    fn retry(&self) -> Retry {
        match self {
            AdmitError::Busy(error) => error.retry(),
            AdmitError::Log(error) => error.retry(),
            AdmitError::Seal(error) => error.retry(),
            AdmitError::Draining => Retry::After(5),
        }
    }
}

/// A read waited in vain for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the write is not visible yet: {lag} events wait before it")]
pub struct Lagging {
    /// Raw records that identity has not consumed.
    pub lag: u64,
}

impl Fault for Lagging {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
    fn code(&self) -> &'static str {
        "lagging"
    }
}

/// Why a read does not see a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// Not yet.
    #[error(transparent)]
    Lagging(#[from] Lagging),
    /// There is no such write: the token is of another installation, or of what a restore does not have.
    #[error("no write of this installation has the token {token}")]
    Unknown {
        /// What was asked for.
        token: Token,
    },
}

impl Fault for Unseen {
    fn kind(&self) -> ErrorKind {
        match self {
            Unseen::Lagging(error) => error.kind(),
            Unseen::Unknown { .. } => ErrorKind::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Unseen::Lagging(error) => error.code(),
            Unseen::Unknown { .. } => "after_unknown",
        }
    }
    fn field(&self) -> Option<&str> {
        matches!(self, Unseen::Unknown { .. }).then_some("after")
    }
}

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    raw: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    gate: Gate,
    workers: Vec<Arc<Place>>,
    draining: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    system: Mutex<Option<Arc<System>>>,
    clock_held: Arc<AtomicBool>,
}

/// A worker's place: its units, whoever runs them now.
struct Place {
    units: Vec<Unit>,
    pulse: Arc<Pulse>,
    rebuilds: Mutex<Vec<Instant>>,
}

impl Node {
    /// Starts a node: fills the store from the log, restores units, starts workers. `tell` hears of the filling.
    pub fn start(parts: Parts, tell: impl FnMut(u64, u64)) -> Result<Node, RestoreError> {
        let progress: Arc<Progress> = Arc::default();
        let mut shared = Shared {
            feeds: Feeds::new(
                parts.raw.clone(),
                parts.results.clone(),
                parts.sealer.clone(),
                parts.partitions,
            ),
            results: parts.results.clone(),
            sealer: parts.sealer,
            store: parts.store.clone(),
            progress: progress.clone(),
            partitions: parts.partitions,
            epoch: 0,
            appending: Mutex::default(),
        };
        restore::fill_store(&shared, tell)?;
        wait_until(|| shared.store.end() >= shared.results.end(RESULTS));
        progress.stored(shared.store.end());
        let units: Vec<Unit> = std::iter::once(Unit::IDENTITY)
            .chain((0..parts.partitions).map(|p| Unit::member(PartitionId(p))))
            .collect();
        shared.epoch = 1 + last_epoch(&shared, &units)?;
        let shared = Arc::new(shared);
        let guard = Arc::new(Guard::open(&parts.dir, parts.partitions));
        let system = Arc::new(System::start().map_err(|error| RestoreError::Machine {
            unit: Unit::IDENTITY,
            what: error.to_string(),
        })?);
        let workers = place(&units, parts.workers);
        // Before anything is decided: what moves before somebody listens is told to nobody.
        listen(&parts.raw, &shared, &workers);
        for place in &workers {
            let runners = runners(place, &shared, &*parts.machines, &guard)?;
            Worker::start_on(
                &system.arbiter(),
                runners,
                place.pulse.clone(),
                parts.clock.clone(),
                progress.clone(),
            );
        }
        let node = Node {
            shared: shared.clone(),
            raw: parts.raw.clone(),
            clock: parts.clock.clone(),
            gate: Gate::new(parts.limits),
            workers: workers.clone(),
            draining: Arc::default(),
            stopping: Arc::default(),
            supervisor: Mutex::default(),
            system: Mutex::new(Some(system.clone())),
            clock_held: Arc::default(),
        };
        let supervisor = Supervisor {
            shared,
            raw: parts.raw,
            clock: parts.clock,
            machines: parts.machines,
            workers,
            guard,
            system: Arc::downgrade(&system),
            stopping: node.stopping.clone(),
            clock_held: node.clock_held.clone(),
            fired: BTreeMap::new(),
            on_fatal: parts.on_fatal,
        };
        let thread = std::thread::Builder::new()
            .name("supervisor".into())
            .spawn(move || supervisor.run())
            .map_err(|error| RestoreError::Machine {
                unit: Unit::IDENTITY,
                what: error.to_string(),
            })?;
        *node.supervisor.lock() = Some(thread);
        Ok(node)
    }

    /// Appends events durably. Answers the token of the last one.
    pub async fn append(&self, records: &[RawRecord]) -> Result<Token, AdmitError> {
        // One partition for events when embedded; a source's events stay in order.
        self.append_to(PartitionId(1), records).await
    }

    /// Appends commands, definitions, timers durably. Not held back by the gate: they are few and undo congestion.
    pub async fn append_control(&self, records: &[RawRecord]) -> Result<Token, AdmitError> {
        self.append_to(CONTROL, records).await
    }

    async fn append_to(
        &self,
        partition: PartitionId,
        records: &[RawRecord],
    ) -> Result<Token, AdmitError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(AdmitError::Draining);
        }
        let bytes: usize = records
            .iter()
            .map(|record| record.envelope.len() + record.personal.len())
            .sum();
        let _permit = match partition {
            CONTROL => None,
            _ => Some(self.gate.admit(bytes as u64, self.lag())?),
        };
        let now = self.clock.now();
        let mut group = Vec::with_capacity(records.len());
        for record in records {
            group.push(record.seal(now, &*self.shared.sealer)?);
        }
        let count = group.len() as u64;
        if count == 0 {
            let end = self.raw.end(partition).0;
            return Ok(token(partition, end.saturating_sub(1)));
        }
        let (tell, told) = tokio::sync::oneshot::channel();
        self.raw.append(
            partition,
            group,
            Box::new(move |answer| {
                let _ = tell.send(answer);
            }),
        );
        let first = told.await.map_err(|_| LogError::Closed)??;
        crate::crash::point("node-before-answer");
        Ok(token(partition, first.0 + count - 1))
    }

    /// Raw records that identity has not consumed yet.
    pub fn lag(&self) -> u64 {
        let units = self.shared.progress.units();
        let consumed = units.get(&Unit::IDENTITY).map(|unit| &unit.consumed);
        (0..self.raw.partitions())
            .map(PartitionId)
            .map(|partition| {
                let done = consumed
                    .and_then(|consumed| consumed.get(&partition))
                    .copied()
                    .unwrap_or_default();
                self.raw.end(partition).0.saturating_sub(done.0)
            })
            .sum()
    }

    /// The token of the last control record: for writes that do not go through the log, so that every write answers one.
    pub fn token(&self) -> Token {
        token(CONTROL, self.raw.end(CONTROL).0.saturating_sub(1))
    }

    /// Waits until a read sees the write of `token`. A token is given once its write is durable, so one beyond the end of
    /// the log is refused at once: nobody knows what will stand there.
    pub async fn wait(&self, token: Token, limit: Duration) -> Result<(), Unseen> {
        let Position { partition, offset } = token.0;
        let end = self.raw.end(partition);
        let known = partition.0 < self.raw.partitions();
        if known && (offset, end) == (Offset(0), Offset(0)) {
            // See `token`: there was nothing to wait for.
            return Ok(());
        }
        if !known || offset >= end {
            return Err(Unseen::Unknown { token });
        }
        let mut changes = self.shared.progress.subscribe();
        let end = || self.shared.results.end(RESULTS);
        let mut waiting = Waiting::Identity(token);
        let seen = tokio::time::timeout(limit, async {
            loop {
                changes.borrow_and_update();
                waiting = self.shared.progress.advance(waiting, end);
                if waiting == Waiting::Done || changes.changed().await.is_err() {
                    return;
                }
            }
        })
        .await;
        Ok(seen.map_err(|_| Lagging { lag: self.lag() })?)
    }

    /// How far each unit is.
    pub fn units(&self) -> BTreeMap<Unit, UnitProgress> {
        self.shared.progress.units()
    }

    /// What runners share: feeds for reading bodies, the sealer, the store.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The raw log.
    pub fn raw(&self) -> &Arc<dyn Log> {
        &self.raw
    }

    /// Something that keeps the node from working, if there is such.
    pub fn trouble(&self) -> Option<String> {
        if self.draining.load(Ordering::Acquire) {
            return Some("shutting down".into());
        }
        let units = self.units();
        let stopped = units
            .iter()
            .find_map(|(unit, progress)| Some((unit, progress.stopped.as_ref()?)));
        if let Some((unit, what)) = stopped {
            return Some(format!("{unit} stands still: {what}"));
        }
        let dead = self.workers.iter().find(|place| !place.pulse.alive());
        dead.map(|place| format!("the worker of {} is being rebuilt", place.units[0]))
    }

    /// Whether timers are held because the clock jumped.
    pub fn timers_held(&self) -> bool {
        self.clock_held.load(Ordering::Acquire)
    }

    /// Lets timers go on after a clock jump: the present time is right.
    pub fn release_timers(&self) {
        self.clock_held.store(false, Ordering::Release);
    }

    /// Tries parked records of a unit again: of one key, or all.
    pub fn retry_parked(&self, unit: Unit, key: Option<u64>) {
        for place in &self.workers {
            if place.units.contains(&unit) {
                place.pulse.ask(Ask::RetryParked(unit, key));
            }
        }
    }

    /// Writes machines' memory to disk now, where no batch is in between.
    pub fn checkpoint(&self) {
        for place in &self.workers {
            place.pulse.ask(Ask::Checkpoint);
        }
    }

    /// Refuses new records, finishes what is on its way, writes memory to disk, ends all threads. Harmless twice.
    pub fn drain(&self) {
        let Some(system) = self.system.lock().take() else {
            return;
        };
        self.draining.store(true, Ordering::Release);
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.supervisor.lock().take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        let (tell, told) = std::sync::mpsc::channel();
        let mut asked = 0;
        for place in &self.workers {
            let tell = tell.clone();
            let done = Box::new(move || {
                let _ = tell.send(());
            });
            asked += usize::from(place.pulse.ask(Ask::Drain(done)));
        }
        for _ in 0..asked {
            // A worker that died meanwhile never answers; what it had on its way is in the log or was never answered.
            let _ = told.recv_timeout(STUCK_AFTER);
        }
        drop(system);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.drain();
    }
}

/// The thread that watches.
struct Supervisor {
    shared: Arc<Shared>,
    raw: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    machines: Arc<dyn Machines>,
    workers: Vec<Arc<Place>>,
    guard: Arc<Guard>,
    system: std::sync::Weak<System>,
    stopping: Arc<AtomicBool>,
    clock_held: Arc<AtomicBool>,
    /// Timers whose record is on its way: due time by (shard, id).
    fired: BTreeMap<(u16, u64), i64>,
    on_fatal: Arc<dyn Fn() + Send + Sync>,
}

impl Supervisor {
    fn run(mut self) {
        let (wall_start, mono_start) = (self.clock.now(), Instant::now());
        let mut drift = 0;
        let mut checkpoint_due = mono_start + CHECKPOINT_FIRST;
        while !self.stopping.load(Ordering::Acquire) {
            std::thread::park_timeout(TICK);
            for place in self.workers.clone() {
                self.look_after(&place);
            }
            if let Some(failure) = self.shared.store.failure() {
                tracing::error!(
                    failure,
                    "the row store failed: ending, the next start catches up"
                );
                (self.on_fatal)();
            }
            let elapsed = i64::try_from(mono_start.elapsed().as_millis()).unwrap_or(i64::MAX);
            let drifted = self.clock.now().0 - wall_start.0 - elapsed;
            if (drifted - drift).abs() > CLOCK_JUMP_MS {
                drift = drifted;
                self.clock_held.store(true, Ordering::Release);
                tracing::error!(
                    ms = drifted,
                    "the clock jumped: timers are held until released"
                );
            }
            if !self.clock_held.load(Ordering::Acquire) {
                self.fire_timers();
            }
            if Instant::now() >= checkpoint_due {
                checkpoint_due = Instant::now() + CHECKPOINT_EVERY;
                for place in &self.workers {
                    place.pulse.ask(Ask::Checkpoint);
                }
            }
        }
    }

    /// Ticks a worker, or rebuilds it if it died or one of its units stopped.
    fn look_after(&self, place: &Arc<Place>) {
        let units = self.shared.progress.units();
        let stopped = place
            .units
            .iter()
            .any(|unit| units.get(unit).is_some_and(|unit| unit.stopped.is_some()));
        if place.pulse.alive() && !stopped {
            let silent = self.clock.now().0 - place.pulse.last_beat().0;
            if silent > STUCK_AFTER.as_millis() as i64 && place.pulse.last_beat().0 > i64::MIN {
                metrics::counter!("tributary_worker_stuck").increment(1);
            }
            place.pulse.tick();
            return;
        }
        let now = Instant::now();
        {
            let mut rebuilds = place.rebuilds.lock();
            rebuilds.retain(|at| now.duration_since(*at) < REBUILD_WINDOW);
            // Back-off: 0.1 s, 0.2 s, 0.4 s … between rebuilds.
            let wait = TICK * 2u32.pow(rebuilds.len().min(8) as u32);
            let last = rebuilds.last().copied();
            if rebuilds.len() >= REBUILDS_MAX
                || last.is_some_and(|at| now.duration_since(at) < wait)
            {
                return;
            }
            rebuilds.push(now);
        }
        if let Err(error) = self.rebuild(place) {
            tracing::error!(error = %error, unit = %place.units[0], "worker not rebuilt");
        }
    }

    fn rebuild(&self, place: &Arc<Place>) -> Result<(), RestoreError> {
        let Some(system) = self.system.upgrade() else {
            return Ok(());
        };
        place.pulse.ask(Ask::Stop);
        wait_until(|| !place.pulse.alive());
        // What the old worker had on its way is answered first; then the store holds all of it.
        wait_until(|| {
            let appending = self.shared.appending.lock();
            !place.units.iter().any(|unit| appending.contains(unit))
        });
        let end = self.shared.results.end(RESULTS);
        wait_until(|| self.shared.store.end() >= end);
        let runners = runners(place, &self.shared, &*self.machines, &self.guard)?;
        tracing::warn!(units = place.units.len(), first = %place.units[0], "worker rebuilt");
        metrics::counter!("tributary_worker_rebuilt").increment(1);
        Worker::start_on(
            &system.arbiter(),
            runners,
            place.pulse.clone(),
            self.clock.clone(),
            self.shared.progress.clone(),
        );
        Ok(())
    }

    /// Appends a record for each timer that is due; it comes back to its shard through identity.
    fn fire_timers(&mut self) {
        let rows = self.shared.store.rows();
        let due = match timers::due_timers(&*rows, self.clock.now(), TIMERS_PER_TICK) {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(error = %error, "timers cannot be read");
                return;
            }
        };
        let standing: BTreeMap<(u16, u64), i64> = due
            .iter()
            .map(|timer| ((timer.shard.0, timer.id), timer.at.0))
            .collect();
        self.fired.retain(|key, at| standing.get(key) == Some(at));
        let mut group = Vec::new();
        for timer in &due {
            let key = (timer.shard.0, timer.id);
            if self.fired.get(&key) == Some(&timer.at.0) {
                continue;
            }
            match self
                .machines
                .timer_record(timer)
                .seal(self.clock.now(), &*self.shared.sealer)
            {
                Ok(record) => group.push(record),
                Err(error) => {
                    tracing::error!(error = %error, "timer cannot be sealed");
                    return;
                }
            }
            self.fired.insert(key, timer.at.0);
        }
        if !group.is_empty() {
            self.raw.append(
                CONTROL,
                group,
                Box::new(|answer| {
                    if let Err(error) = answer {
                        // They are still due: the next start fires them again.
                        tracing::error!(error = %error, "timers could not be fired");
                    }
                }),
            );
        }
    }
}

/// Identity on a thread of its own, member units spread over the rest.
fn place(units: &[Unit], workers: u16) -> Vec<Arc<Place>> {
    let mut places: Vec<Vec<Unit>> = vec![Vec::new(); 1 + usize::from(workers.max(1))];
    for unit in units {
        let at = match *unit {
            Unit::IDENTITY => 0,
            member => 1 + usize::from(member.partition.0 % workers.max(1)),
        };
        places[at].push(*unit);
    }
    places.retain(|units| !units.is_empty());
    places
        .into_iter()
        .map(|units| {
            Arc::new(Place {
                units,
                pulse: Arc::default(),
                rebuilds: Mutex::default(),
            })
        })
        .collect()
}

fn runners(
    place: &Place,
    shared: &Arc<Shared>,
    machines: &dyn Machines,
    guard: &Arc<Guard>,
) -> Result<Vec<Runner>, RestoreError> {
    let mut runners = Vec::with_capacity(place.units.len());
    for unit in &place.units {
        let mut core = restore::unit(*unit, shared, machines)?;
        let start = guard.starts(*unit, &core.state().consumed);
        for at in &start.aside {
            tracing::error!(%unit, position = %at.position, index = at.index, "this record killed the process: set aside");
        }
        core.set_aside(start.aside);
        let pulse = place.pulse.clone();
        let mut runner = Runner::new(core, shared.clone(), Arc::new(move || pulse.wake()));
        if start.careful {
            tracing::warn!(%unit, "suspected crash loop: one record at a time");
        }
        runner.watched(guard.clone(), start.careful);
        runners.push(runner);
    }
    Ok(runners)
}

/// Who is woken by what: identity by new raw records, members by new results, all by room in the store.
fn listen(raw: &Arc<dyn Log>, shared: &Arc<Shared>, workers: &[Arc<Place>]) {
    let identity = workers[0].clone();
    raw.on_advance(Arc::new(move |_, _| identity.pulse.wake()));
    let members: Vec<Arc<Place>> = workers[1..].to_vec();
    shared.results.on_advance(Arc::new(move |_, _| {
        for place in &members {
            place.pulse.wake();
        }
    }));
    let all: Vec<Arc<Place>> = workers.to_vec();
    let progress = shared.progress.clone();
    shared.store.on_advance(Arc::new(move |end| {
        progress.stored(end);
        for place in &all {
            place.pulse.wake();
        }
    }));
}

fn last_epoch(shared: &Shared, units: &[Unit]) -> Result<u64, RestoreError> {
    let rows = shared.store.rows();
    let mut last = 0;
    for unit in units {
        if let Some(state) = super::core::read_state(&*rows, *unit)? {
            last = last.max(state.epoch);
        }
    }
    Ok(last)
}

fn token(partition: PartitionId, offset: u64) -> Token {
    Token(Position {
        partition,
        offset: Offset(offset),
    })
}

/// Waits for a condition that another thread brings about within milliseconds. Only at start and rebuild.
fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests;
