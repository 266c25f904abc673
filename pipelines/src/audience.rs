//! The audience at work: fed with what is committed, asked by people, telling who entered and left.
//!
//! One thread ([`keep`]) follows the row store and the events behind it, gives both to the engine ([`cdp::audience`]) up to
//! one position, lets time pass, and appends what changed as control records; members keep it (see `cdp::profile`). The
//! engine is memory only: at the start it is made from a snapshot of rows and the history of events, and what members hold
//! is compared with what it computes, so that a crash neither loses nor doubles a change.
//!
//! Questions lock the engine between slices of the thread's work.

mod backfill;
pub mod book;
pub mod changes;
mod error;
mod keep;
pub mod lists;
mod load;
mod orders;
pub mod person;
mod runs;
mod tags;
mod tail;
pub mod tell;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actors::history::{History, HistoryError};
use actors::model::{BrandSet, IdentNo, MemberNo, Offset, Scope, SegmentId, TagId, Time, Token};
use actors::registry::ResourceKind;
use actors::runtime::node::Lagging;
use cdp::audience::{Distribution, Engine, ListFigures, Memory, NotReady, Series, Unseen};
use cdp::rule::{Leaf, Measure, Plan};
use jiff::tz::TimeZone;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::watch;

pub use backfill::BackfillState;
use backfill::{Backfills, Filled};
use book::{Book, Kept, Labels, SEGMENT, TAG};
use changes::Changes;
pub use error::AudienceError;
pub use tags::TagNow;
pub use tail::Tail;
use view::{VIEWS_MAX, sorted, within};

use crate::platform::{Platform, StartError, zone};

/// How far the audience is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct At {
    /// It has been made from rows and history.
    pub loaded: bool,
    /// Rows and events of results below this offset are in.
    pub applied: Offset,
    /// The last round of the thread that took in rows, events and lists.
    pub looked: u64,
    /// Segments are up to date with results below this offset.
    pub settled: Offset,
    /// Segments in the engine are up to date with results below this offset; `None`: members are being looked at again.
    pub counted: Option<Offset>,
    /// And with this instant.
    pub now: Time,
    /// The last record by which changes of segments were told.
    pub told: Option<Token>,
    /// Everything that was found has been appended.
    pub all_told: bool,
    /// A segment or tag that was complete before the start and still waits for its history: until it is computed again,
    /// nothing is settled.
    pub waits_for: Option<Built>,
    /// The last round of the thread that ended with segments up to date.
    pub round: u64,
}

/// What is computed of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Built {
    /// A tag.
    Tag(TagId),
    /// A segment.
    Segment(SegmentId),
}

/// What a read wants to see of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// Counts: rows and events are in.
    Counts,
    /// Members of segments are up to date.
    Segments,
    /// Members hold their memberships, and timelines show the changes.
    Memberships,
}

/// A running audience. Dropping it ends its thread.
pub struct Audience {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    platform: Arc<Platform>,
    history: Arc<dyn History>,
    tail: Tail,
    runtime: tokio::runtime::Handle,
    zone: TimeZone,
    threads: usize,
    changes: Arc<Changes>,
    engine: Mutex<Engine>,
    /// Held by the thread from the first change of a round to the last, so that a question sees whole rounds only and its
    /// position is exact. Locked before everything else.
    whole: RwLock<()>,
    /// Events of results below this offset are in the engine. Locked before the engine by whoever needs both.
    applied: Mutex<Applied>,
    book: Mutex<Book>,
    backfills: Backfills,
    at: watch::Sender<At>,
    stop: AtomicBool,
    /// The registry may have changed.
    look: AtomicBool,
    settled: AtomicBool,
    /// Rounds begun.
    rounds: AtomicU64,
    /// Members that are read, and all of them.
    loaded: Mutex<(u32, u32)>,
    /// Records of changes that wait to be appended.
    waiting: AtomicU64,
    /// Entries of lists that wait for somebody.
    entries_waiting: AtomicU64,
    /// Segments of which a rule is being computed: for who must not wait for the engine.
    building: Mutex<Arc<BTreeSet<SegmentId>>>,
}

#[derive(Default)]
struct Applied(Offset);

/// A count of an audience while somebody edits its rule.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Members.
    pub count: u64,
    /// Members of each clause, in the order of the plan's nodes.
    pub clauses: Vec<u64>,
    /// All members.
    pub of: u64,
    /// Some of them.
    pub sample: Vec<MemberNo>,
    /// Exact as of results below this offset.
    pub position: Offset,
    /// And at this instant.
    pub at: Time,
    /// How long counting took, without waiting for anybody, microseconds.
    pub took_us: u64,
}

/// What a segment is like now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentNow {
    /// Members; `None`: it is computed for the first time.
    pub count: Option<u64>,
    /// The version of the rule in force.
    pub version: Option<u32>,
    /// The version of a rule that is being computed.
    pub building: Option<u32>,
    /// The version of a rule whose computing was broken off: the count is of what was at work before.
    pub cancelled: Option<u32>,
    /// The count is exact as of results below this offset; `None`: members are being looked at again, or it is not computed
    /// since the start.
    pub position: Option<Offset>,
    /// And at this instant.
    pub at: Time,
}

/// Figures of the audience.
#[derive(Debug, Clone)]
pub struct Figures {
    /// How far it is.
    pub at: At,
    /// Results that are committed and not in it.
    pub lag: u64,
    /// Members.
    pub members: u64,
    /// Bytes in memory.
    pub memory: Memory,
    /// Records of changes that wait to be appended.
    pub waiting: u64,
    /// Entries of lists that wait for somebody.
    pub entries_waiting: u64,
    /// Histories being read.
    pub backfills: Vec<BackfillState>,
}

/// Threads of one question, and of loading.
const THREADS_MAX: usize = 8;

impl Audience {
    /// Starts the thread; loading goes on behind. `history`: all events of the past.
    pub fn start(
        platform: Arc<Platform>,
        history: Arc<dyn History>,
    ) -> Result<Audience, StartError> {
        let zone = zone(&platform.installation().time_zone)?;
        let changes: Arc<Changes> = Arc::default();
        let noted = changes.clone();
        platform
            .rows()
            .writer()
            .watch(Box::new(move |frames| noted.note(frames)));
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let threads = threads.min(THREADS_MAX);
        let now = platform.clock().now();
        let inner = Arc::new(Inner {
            tail: Tail::new(platform.node().shared().clone()),
            whole: RwLock::new(()),
            engine: Mutex::new(Engine::new(zone.clone(), now, threads)),
            platform,
            history,
            runtime: tokio::runtime::Handle::current(),
            zone,
            threads,
            changes,
            applied: Mutex::default(),
            book: Mutex::default(),
            backfills: Backfills::default(),
            at: watch::Sender::default(),
            stop: AtomicBool::new(false),
            look: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            loaded: Mutex::default(),
            waiting: AtomicU64::new(0),
            entries_waiting: AtomicU64::new(0),
            building: Mutex::default(),
        });
        let thread = std::thread::Builder::new()
            .name("audience".into())
            .spawn({
                let inner = inner.clone();
                move || keep::run(inner)
            })
            .map_err(|error| StartError::Config(format!("no thread for the audience: {error}")))?;
        Ok(Audience {
            inner,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends its thread and its backfills. Harmless twice.
    pub fn stop(&self) {
        self.inner.stop.store(true, Ordering::Release);
        self.inner.backfills.cancel_all();
        self.inner.changes.wake();
        if let Some(thread) = self.thread.lock().take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the audience's thread panicked");
            }
        }
    }

    /// How far it is.
    pub fn at(&self) -> At {
        *self.inner.at.borrow()
    }

    /// Waits until a read sees a write. The platform must hold it already ([`Platform::wait`]).
    pub async fn wait(&self, sees: Sees, limit: Duration) -> Result<(), AudienceError> {
        let inner = &self.inner;
        let end = Instant::now() + limit;
        let wanted = inner.platform.node().shared().progress.store_end();
        // A round that begins from now on looks at the clock and at the registry as they are.
        let round = 1 + inner.rounds.load(Ordering::Acquire);
        let mut at = inner.at.subscribe();
        let seen = at.wait_for(|at| {
            let settled = at.settled >= wanted && at.round >= round;
            at.loaded
                && match sees {
                    Sees::Counts => at.applied >= wanted,
                    Sees::Segments => settled,
                    Sees::Memberships => settled && at.all_told,
                }
        });
        inner.changes.wake();
        let seen = async { seen.await.map(|at| at.told) };
        let told = match tokio::time::timeout(limit, seen).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) | Err(_) if !self.at().loaded => return Err(self.loading()),
            Ok(Err(_)) | Err(_) => {
                if let (Some(waits), false) = (self.at().waits_for, sees == Sees::Counts) {
                    return Err(match waits {
                        Built::Segment(it) => AudienceError::SegmentBuilding(it.to_string().into()),
                        Built::Tag(tag) => AudienceError::TagBuilding(tag),
                    });
                }
                let lag = wanted.0.saturating_sub(self.at().applied.0);
                return Err(Lagging { lag }.into());
            }
        };
        if let (Sees::Memberships, Some(token)) = (sees, told) {
            let left = end.saturating_duration_since(Instant::now());
            inner.platform.wait(token, left).await?;
        }
        Ok(())
    }

    /// Tells that the registry has changed.
    pub fn look(&self) {
        self.inner.look.store(true, Ordering::Release);
        self.inner.changes.wake();
    }

    /// Counts a rule. If it asks about a past that was not read yet, reading begins: ask again.
    /// Like all questions it is asked for somebody: who may see some brands only gets answers about the members, and the
    /// facts of them, that are visible then.
    pub fn preview(
        &self,
        brands: &BrandSet,
        plan: &Plan,
        sample: usize,
        seed: u64,
    ) -> Result<Preview, AudienceError> {
        let plan = &*within(plan, brands);
        self.ask(brands, &[plan], |engine, now, position| {
            let begun = Instant::now();
            let seen = engine.preview(plan, now, sample, seed)?;
            Ok(Preview {
                count: seen.count,
                clauses: seen.clauses,
                of: engine.universe(),
                sample: seen.sample,
                position,
                at: seen.at,
                took_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            })
        })
    }

    /// Members of a rule by number, behind `after`.
    pub fn members(
        &self,
        brands: &BrandSet,
        plan: &Plan,
        after: Option<MemberNo>,
        limit: usize,
    ) -> Result<Vec<MemberNo>, AudienceError> {
        let plan = &*within(plan, brands);
        self.ask(brands, &[plan], |engine, now, _| {
            engine.members(plan, now, after, limit)
        })
    }

    /// How the values that `leaf` reads are spread among those who satisfy a rule, with the position and the instant at which
    /// that is exact.
    pub fn distribution_at(
        &self,
        brands: &BrandSet,
        plan: &Plan,
        leaf: &Leaf,
        limit: usize,
    ) -> Result<(Distribution, Offset, Time), AudienceError> {
        let plan = &*within(plan, brands);
        let of = Plan::of_leaf(leaf.clone());
        self.ask(brands, &[plan, &of], |engine, now, position| {
            let spread = engine.distribution(plan, leaf, now, limit)?;
            Ok((spread, position, engine.now()))
        })
    }

    /// How many are in exactly which of some rules: see [`Engine::overlap`]. Also the position and the instant at which that
    /// is exact.
    pub fn overlap(
        &self,
        brands: &BrandSet,
        plans: &[&Plan],
    ) -> Result<(Vec<u64>, Offset, Time), AudienceError> {
        let plans: Vec<_> = plans.iter().map(|plan| within(plan, brands)).collect();
        let plans: Vec<&Plan> = plans.iter().map(|plan| &**plan).collect();
        self.ask(brands, &plans, |engine, now, position| {
            let counts = engine.overlap(&plans, now)?;
            Ok((counts, position, engine.now()))
        })
    }

    /// Members of a segment by number, behind `after`.
    pub fn segment_members(
        &self,
        brands: &BrandSet,
        segment: SegmentId,
        after: Option<MemberNo>,
        limit: usize,
    ) -> Result<Vec<MemberNo>, AudienceError> {
        let members = self.ask(brands, &[], |engine, _, _| {
            Ok(engine.segment_members(&segment.to_string(), after, limit))
        })?;
        match members {
            Some(members) => Ok(members),
            None => Err(self.not_computed(segment)),
        }
    }

    /// Names of attributes that members have or had, whoever may see them.
    pub fn attribute_names(&self) -> Result<Vec<Box<str>>, AudienceError> {
        self.ready()?;
        Ok(self.inner.engine.lock().attribute_names())
    }

    /// What a segment is like now.
    pub fn segment(
        &self,
        brands: &BrandSet,
        segment: SegmentId,
    ) -> Result<SegmentNow, AudienceError> {
        let cancelled = self.kept(segment).filter(|kept| kept.cancelled);
        let key = segment.to_string();
        let now = self.ask(brands, &[], |engine, _, _| {
            let Some((version, building)) = engine.segment_versions(&key) else {
                return Ok(None);
            };
            Ok(Some(SegmentNow {
                count: engine.segment_count(&key),
                version,
                building,
                cancelled: cancelled.map(|kept| kept.version),
                position: self.at().counted.filter(|_| version.is_some()),
                at: engine.now(),
            }))
        })?;
        now.ok_or(AudienceError::NoSegment(segment))
    }

    /// A segment that is kept, with its plan.
    pub fn kept(&self, segment: SegmentId) -> Option<Kept> {
        self.inner.book.lock().segments.get(&segment).cloned()
    }

    /// Segments of which a rule is being computed, as of a moment ago; waits for nobody.
    pub fn building(&self) -> Arc<BTreeSet<SegmentId>> {
        self.inner.building.lock().clone()
    }

    /// What people call tags and segments.
    pub fn names(&self) -> Arc<Labels> {
        self.inner.book.lock().labels.clone()
    }

    /// Numbers of tags by code.
    pub fn codes(&self) -> person::Codes {
        let book = self.inner.book.lock();
        let tags = book.tags.iter();
        person::Codes {
            tags: tags.map(|(tag, code)| (code.clone(), *tag)).collect(),
        }
    }

    /// All events of the past.
    pub fn history(&self) -> &Arc<dyn History> {
        &self.inner.history
    }

    /// The installation's time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.inner.zone
    }

    /// Stops a backfill; answers whether it was there. Segments that wait for it are `cancelled` a moment later, until
    /// somebody edits them or has them [rebuilt](Audience::rebuild): what served before goes on.
    pub fn cancel(&self, backfill: u64) -> bool {
        self.inner.backfills.cancel(backfill)
    }

    /// Takes up again what was broken off for a segment: history is read, and the newest rule is put in force. Harmless if
    /// nothing was.
    pub async fn rebuild(&self, scope: &Scope, segment: SegmentId) -> Result<(), AudienceError> {
        let Some(kept) = self.kept(segment) else {
            return Err(AudienceError::NoSegment(segment));
        };
        let registry = self.inner.platform.registry();
        let version = kept.version.into();
        registry
            .resource_cancelled(scope, SEGMENT, segment.0.into(), version, false)
            .await?;
        self.look();
        Ok(())
    }

    /// Figures.
    pub fn figures(&self) -> Figures {
        let at = self.at();
        let engine = self.inner.engine.lock();
        Figures {
            at,
            lag: self.inner.tail.end().0.saturating_sub(at.applied.0),
            members: engine.universe(),
            memory: engine.memory(),
            waiting: self.inner.waiting.load(Ordering::Relaxed),
            entries_waiting: self.inner.entries_waiting.load(Ordering::Relaxed),
            backfills: self.inner.backfills.states(),
        }
    }

    /// Waits until what the registry holds now is at work: lists, names. Answers whether it is.
    pub async fn looked(&self, limit: Duration) -> bool {
        let round = 1 + self.inner.rounds.load(Ordering::Acquire);
        let mut at = self.inner.at.subscribe();
        let seen = at.wait_for(|at| at.loaded && at.looked >= round);
        self.look();
        tokio::time::timeout(limit, seen).await.is_ok()
    }

    /// What has become of the entries of a list, and the position at which that is exact. `None`: it is not at work.
    pub fn list(
        &self,
        brands: &BrandSet,
        list: i64,
    ) -> Result<Option<(ListFigures, Offset)>, AudienceError> {
        if !self.inner.book.lock().lists.contains_key(&list) {
            self.ready()?;
            return Ok(None);
        }
        self.ask(brands, &[], |engine, _, position| {
            let figures = engine.list_figures(&list.to_string());
            Ok(figures.map(|figures| (figures, position)))
        })
    }

    /// Which of some identifiers belong to a member whom the asker sees.
    pub fn whose(
        &self,
        brands: &BrandSet,
        idents: &[Option<IdentNo>],
    ) -> Result<Vec<bool>, AudienceError> {
        self.ask(brands, &[], |engine, _, _| Ok(engine.whose(idents)))
    }

    fn ready(&self) -> Result<(), AudienceError> {
        match self.at().loaded {
            true => Ok(()),
            false => Err(self.loading()),
        }
    }

    fn loading(&self) -> AudienceError {
        let (read, all) = *self.inner.loaded.lock();
        AudienceError::Loading { read, all }
    }

    fn not_computed(&self, segment: SegmentId) -> AudienceError {
        match self.inner.book.lock().segments.contains_key(&segment) {
            true => AudienceError::SegmentBuilding(segment.to_string().into()),
            false => AudienceError::NoSegment(segment),
        }
    }

    /// Asks the engine for somebody about some plans. What they read for the first time is made in slices, so that other
    /// questions and the thread that takes in what is committed need not wait for it.
    fn ask<T>(
        &self,
        brands: &BrandSet,
        plans: &[&Plan],
        question: impl FnOnce(&mut Engine, Time, Offset) -> Result<T, NotReady>,
    ) -> Result<T, AudienceError> {
        self.ready()?;
        let answer = loop {
            let _whole = self.inner.whole.read();
            let mut engine = self.inner.engine.lock();
            let position = self.at().applied;
            // Not before what the thread has seen: a clock that was set back is the thread's to follow.
            let now = self.inner.platform.clock().now().max(engine.now());
            match engine.warm(plans, now) {
                Ok(true) if !self.inner.stop.load(Ordering::Relaxed) => {
                    MutexGuard::unlock_fair(engine);
                }
                Ok(_) => {
                    break match brands {
                        BrandSet::All => question(&mut engine, now, position),
                        BrandSet::Only(brands) => engine
                            .seen_by(&sorted(brands), |engine| question(engine, now, position)),
                    };
                }
                Err(missing) => break Err(missing),
            }
        };
        answer.map_err(|missing| self.lacks(missing, brands))
    }

    /// What a question lacks, which somebody begins to read.
    fn lacks(&self, missing: NotReady, brands: &BrandSet) -> AudienceError {
        match (missing.unseen, brands) {
            (Some(Unseen::Mixed(name)), _) => return AudienceError::Mixed(name),
            (Some(Unseen::Reading), BrandSet::Only(brands)) => {
                return match self.inner.want_view(&sorted(brands), true) {
                    true => AudienceError::ViewBuilding,
                    false => AudienceError::TooManyViews,
                };
            }
            _ => {}
        }
        let building = !missing.measures.is_empty();
        self.inner.want(missing.measures);
        match missing.segments.into_iter().next() {
            Some(segment) if !building => AudienceError::SegmentBuilding(segment),
            _ => {
                let states = self.inner.backfills.states();
                let events = states.iter().map(|it| it.events).sum();
                AudienceError::Building { events }
            }
        }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn fresh(&self) -> Engine {
        Engine::new(self.zone.clone(), self.platform.clock().now(), self.threads)
    }

    fn is_idle(&self) -> bool {
        self.settled.load(Ordering::Relaxed) && self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Waits until history reaches a position, or the audience is stopped.
    fn history_up_to(&self, position: Offset) -> Result<(), HistoryError> {
        /// How often to look.
        const LOOK: Duration = Duration::from_millis(10);
        while self.history.position() < position {
            if self.stop.load(Ordering::Acquire) {
                return Err(HistoryError::Behind {
                    position: self.history.position(),
                    wanted: position,
                });
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Reads the history of measures that nobody has read, on a thread of its own.
    fn want(self: &Arc<Self>, measures: Vec<Arc<Measure>>) {
        let mut measures = self.backfills.missing(&measures);
        measures.sort_by(|a, b| a.key().cmp(b.key()));
        measures.dedup_by(|a, b| a.key() == b.key());
        if measures.is_empty() {
            return;
        }
        if measures.iter().any(|measure| measure.is_of_orders()) {
            // What is written from now on is noted; what was before is in any snapshot of later.
            self.changes.note_each_order();
        }
        let backfill = {
            let applied = self.applied.lock();
            let mut engine = self.engine.lock();
            for measure in &measures {
                engine.measure_begin(measure.clone());
            }
            self.backfills.begin(measures, applied.0)
        };
        let inner = self.clone();
        let begun = std::thread::Builder::new().name("backfill".into()).spawn({
            let backfill = backfill.clone();
            move || inner.backfill(&backfill)
        });
        if let Err(error) = begun {
            tracing::error!(%error, "no thread to read history");
            self.backfills.end(&backfill);
        }
    }

    fn backfill(&self, backfill: &backfill::Backfill) {
        actors::runtime::worker::stand_back();
        let rows = || Ok(self.platform.snapshot()?);
        let read = backfill.read(&*self.history, &rows, &self.zone);
        match read.and_then(|read| self.up_to(backfill, read)) {
            Ok(Some(series)) => {
                let mut engine = self.engine.lock();
                series
                    .into_iter()
                    .for_each(|series| engine.measure_install(series));
            }
            Ok(None) if self.stop.load(Ordering::Acquire) => {}
            Ok(None) => self.give_up(backfill.measures()),
            Err(error) => {
                tracing::error!(%error, "the past could not be read for a rule");
                metrics::counter!("tributary_audience_failures").increment(1);
                // Whoever asks again begins from where events stand then.
                let mut engine = self.engine.lock();
                for measure in backfill.measures() {
                    engine.measure_give_up(measure.key());
                }
            }
        }
        self.backfills.end(backfill);
        self.settled.store(false, Ordering::Relaxed);
        self.changes.wake();
    }

    /// Waits until what came since has been taken in up to where rows were read.
    fn up_to(
        &self,
        backfill: &backfill::Backfill,
        read: Option<Filled>,
    ) -> Result<Option<Vec<Series>>, AudienceError> {
        /// How often to look.
        const LOOK: Duration = Duration::from_millis(10);
        let Some(read) = read else { return Ok(None) };
        while self.applied.lock().0 < read.position {
            if self.stop.load(Ordering::Acquire) || backfill.is_cancelled() {
                return Ok(None);
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(Some(read.series))
    }

    /// Somebody broke off reading history: what waits for it is told so, durably. A preview that asks again begins again.
    fn give_up(&self, measures: &[Arc<Measure>]) {
        let given_up = |plan: &Plan| {
            let mut wanted = plan.measures().into_iter();
            wanted.any(|it| measures.iter().any(|measure| measure.key() == it.key()))
        };
        let waiting: Vec<(ResourceKind, i64, u32)> = {
            let book = self.book.lock();
            let mut engine = self.engine.lock();
            for measure in measures {
                engine.measure_give_up(measure.key());
            }
            let mut tags = Vec::new();
            for kept in book.calculated.values() {
                // Until it is rebuilt, its definition is edited or somebody has it computed: what members have stays.
                if given_up(&kept.plan.plan) && engine.tag_cancel(&kept.code) {
                    tags.push((TAG, kept.id.0.into(), kept.version));
                }
            }
            let waiting = book.segments.values().filter(|kept| {
                let versions = engine.segment_versions(&kept.id.to_string());
                versions.is_some_and(|(_, next)| next.is_some()) && given_up(&kept.plan)
            });
            waiting
                .map(|kept| (SEGMENT, kept.id.0.into(), kept.version))
                .chain(tags)
                .collect()
        };
        for (kind, id, version) in waiting {
            let registry = self.platform.registry();
            let scope = Scope::installation();
            let told = registry.resource_cancelled(&scope, kind, id, version.into(), true);
            if let Err(error) = self.runtime.block_on(told) {
                // The thread asks for history again: the worst is that it has to be broken off twice.
                tracing::error!(%error, id, kind = kind.name, "that it is cancelled could not be kept");
            }
        }
        self.look.store(true, Ordering::Release);
    }

    /// Brings gauges up to date.
    fn measure(&self) {
        let at = *self.at.borrow();
        let lag = self.tail.end().0.saturating_sub(at.applied.0);
        metrics::gauge!("tributary_audience_lag_results").set(lag as f64);
        metrics::gauge!("tributary_audience_waiting")
            .set(self.waiting.load(Ordering::Relaxed) as f64);
    }
}

#[cfg(test)]
mod tests;
