//! The audience's thread: takes in what is committed, lets time pass, tells who entered and left.
//!
//! One round: members whose rows changed, then events up to the same position, then the clock, then the outbox. The engine
//! is locked for slices of a round only, so a question waits for milliseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actors::history::{Columns, Each, HistoryEvent, Wanted};
use actors::model::{
    BrandId, EventKind, IdentNo, MemberNo, Offset, PartitionId, Place, Position, SegmentId, TagId,
    Time, Token, Unit,
};
use actors::raw::CONTROL;
use actors::runtime::worker::stand_back;
use actors::store::Snapshot;
use cdp::audience::Change;
use cdp::definition::AttributeSchema;
use cdp::rule::Measure;
use cdp::tag::Update;
use parking_lot::RwLockWriteGuard;

use super::book::{Book, Kept, KeptTag, SEGMENT, TAG, schema_of};
use super::changes::Changed;
use super::lists::Lists;
use super::load::{self, Read, TagCodes, Views};
use super::runs::Runs;
use super::tell::{Found, FoundTag, IN_FLIGHT_MEMBERS_MAX, Outbox};
use super::{At, AudienceError, Inner, Waits};
use crate::platform::PlatformError;

/// The clock is looked at this often when nothing happens: what slides by the hour is late by so much at most.
const TICK: Duration = Duration::from_millis(100);

/// A round begins this long after the one before at the earliest, so that busy seconds are taken in by rounds of hundreds.
const ROUND_MIN: Duration = Duration::from_millis(15);

/// Members read and events decoded before they are given to the engine.
const CHUNK: usize = 512;

/// How long one round lets the engine catch up before it looks at what came meanwhile.
const SETTLE_MAX: Duration = Duration::from_millis(200);

/// The registry is read again this often, whatever it tells: another process may have written it.
const BOOK_EVERY: Duration = Duration::from_secs(5);

/// After a failure the next attempt waits for so long.
const AGAIN: Duration = Duration::from_secs(1);

/// The thread's own memory.
pub(super) struct Keeper {
    inner: Arc<Inner>,
    schema: Arc<AttributeSchema>,
    outbox: Outbox,
    lists: Lists,
    /// Segments whose first computation after a start is no rebuilding: they were complete before.
    resumed: BTreeSet<SegmentId>,
    /// As `resumed`.
    resumed_tags: BTreeSet<TagId>,
    book_read: Instant,
    changes: tokio::sync::broadcast::Receiver<actors::registry::ResourceChanged>,
    /// Versions that were told to the registry as serving.
    served: BTreeSet<(SegmentId, u32)>,
    served_tags: BTreeSet<(TagId, u32)>,
    /// When tags on a schedule were computed last.
    runs: Runs,
    /// Tags that are being computed because their time has come: which time.
    running: BTreeMap<TagId, Time>,
    /// The last record that was appended.
    told: Option<Token>,
    /// Groups of records on their way: the last record, and members in it.
    in_flight: Vec<(Token, usize)>,
    /// The number of this round.
    round: u64,
}

/// An event as kept between decoding and the engine.
struct Taken {
    fragment: IdentNo,
    position: Position,
    time: Time,
    name: Box<str>,
    properties: Option<Box<str>>,
    place: Option<Place>,
    brand: BrandId,
}

impl Taken {
    fn of(event: &HistoryEvent<'_>) -> Taken {
        Taken {
            fragment: event.fragment,
            position: event.raw,
            time: event.time,
            name: event.name.into(),
            properties: event.properties.map(Into::into),
            place: event.place,
            brand: event.brand,
        }
    }

    fn change(&self) -> Change<'_> {
        Change::Event {
            fragment: self.fragment,
            position: self.position,
            time: self.time,
            name: &self.name,
            properties: self.properties.as_deref(),
            place: self.place,
            brand: self.brand,
        }
    }
}

/// Runs until the audience is stopped. A failure is told and tried again: from the start while loading, otherwise where it
/// stood.
pub(super) fn run(inner: Arc<Inner>) {
    stand_back();
    let mut keeper = Keeper {
        schema: Arc::default(),
        outbox: Outbox::default(),
        lists: Lists::default(),
        resumed: BTreeSet::new(),
        resumed_tags: BTreeSet::new(),
        book_read: Instant::now(),
        changes: inner.platform.registry().resource_changes(),
        served: BTreeSet::new(),
        served_tags: BTreeSet::new(),
        runs: Runs::open(&inner.platform.layout().tag_runs()),
        running: BTreeMap::new(),
        told: None,
        in_flight: Vec::new(),
        round: 0,
        inner,
    };
    while !keeper.stopping() {
        match keeper.load() {
            Ok(()) => break,
            Err(error) => keeper.failed("the audience cannot be loaded", &error),
        }
    }
    while !keeper.stopping() {
        let begun = Instant::now();
        if let Err(error) = keeper.round() {
            keeper.failed("the audience cannot take in what is committed", &error);
        }
        let left = ROUND_MIN.saturating_sub(begun.elapsed());
        if !left.is_zero() {
            std::thread::park_timeout(left);
        }
    }
}

impl Keeper {
    fn stopping(&self) -> bool {
        self.inner.stop.load(Ordering::Acquire)
    }

    fn failed(&self, what: &str, error: &AudienceError) {
        if self.stopping() {
            return;
        }
        tracing::error!(error = %error, "{what}");
        metrics::counter!("tributary_audience_failures").increment(1);
        std::thread::park_timeout(AGAIN);
    }

    /// From rows and history to an engine that stands at one position.
    fn load(&mut self) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let platform = &inner.platform;
        // What was told before the last end is decided first: members must hold it before they are asked.
        let end = platform.node().raw().end(CONTROL);
        if let Some(last) = end.0.checked_sub(1) {
            let token = Token(Position {
                partition: CONTROL,
                offset: Offset(last),
            });
            while inner.runtime.block_on(platform.wait(token, AGAIN)).is_err() {
                if self.stopping() {
                    return Ok(());
                }
            }
        }
        // Noted from here on is what the snapshot may lack.
        inner.changes.take();
        let snapshot = platform.snapshot()?;
        let position = position_of(&snapshot);
        self.schema = Arc::new(schema_of(&snapshot)?);
        self.read_book()?;
        *inner.engine.lock() = inner.fresh();
        let (tags, owners) = {
            let book = inner.book.lock();
            (book.tags.clone(), book.owners())
        };
        self.begin_views(&owners);
        load::load_all(
            &snapshot,
            &self.schema,
            &tags,
            &owners,
            &inner.engine,
            inner.threads,
            &|shards| inner.shards_loaded.store(shards, Ordering::Relaxed),
        )?;
        {
            let mut engine = inner.engine.lock();
            owners.iter().for_each(|brands| engine.view_finish(brands));
        }
        self.load_places(position)?;
        self.lists.reset();
        self.follow_lists()?;
        self.look_for_entries(&snapshot)?;
        let held = load::held_memberships(&snapshot)?;
        let strange = load::held_strange_tags(&snapshot, &tags)?;
        drop(snapshot);
        {
            let book = inner.book.lock();
            let mut engine = inner.engine.lock();
            let mut held = held;
            for kept in book.segments.values() {
                let members = held.remove(&kept.id).unwrap_or_default();
                engine.segment_restore(&kept.id.to_string(), members, kept.served);
            }
            for (segment, members) in held {
                self.outbox.add(members.into_iter().map(|member| Found {
                    segment,
                    version: 0,
                    brand: Default::default(),
                    rebuilt: true,
                    at: platform.clock().now(),
                    member,
                    entered: false,
                }));
            }
            // Tags that were removed or switched off, and the process ended before all members had heard.
            let now = platform.clock().now();
            for (tag, members) in strange {
                let brand = book.labels.tags.get(&tag).map(|it| it.brand);
                self.outbox
                    .add_tags(taken_away(tag, 0, brand.unwrap_or_default(), now, members));
            }
            self.resumed_tags = (book.calculated.values())
                .filter(|kept| !kept.building)
                .map(|kept| kept.id)
                .collect();
            self.resumed = (book.segments.values())
                .filter(|kept| !kept.building && !kept.cancelled)
                .map(|kept| kept.id)
                .collect();
        }
        inner.applied.lock().0 = position;
        self.put_tags(&Book::default());
        self.put_segments(&Book::default())?;
        self.note_building();
        inner.at.send_modify(|at| {
            at.loaded = true;
            at.applied = position;
        });
        tracing::info!(position = position.0, "the audience is loaded");
        Ok(())
    }

    /// Begins to keep what owners of rules see; loading tells of everybody.
    fn begin_views(&self, owners: &Views) {
        if owners.is_empty() {
            return;
        }
        self.inner.changes.note_orders();
        let mut engine = self.inner.engine.lock();
        for brands in owners {
            engine.view_begin(brands);
        }
    }

    /// Where members were seen, from all scans of the past.
    fn load_places(&mut self, until: Offset) -> Result<(), AudienceError> {
        let inner = &self.inner;
        let wanted = Wanted {
            kinds: Some(BTreeSet::from([EventKind::Scan])),
            until: Some(until),
            columns: Columns {
                place: true,
                ..Columns::NONE
            },
            ..Wanted::default()
        };
        let mut taken = Vec::with_capacity(CHUNK);
        let mut each = |event: &HistoryEvent<'_>| {
            if event.place.is_some() && !event.test {
                taken.push(Taken::of(event));
                if taken.len() == CHUNK {
                    give(inner, &mut taken);
                }
            }
            match inner.stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let sink: &mut Each<'_> = &mut each;
        inner.history_up_to(until)?;
        inner.history.scan(&wanted, &mut [sink])?;
        give(inner, &mut taken);
        Ok(())
    }

    fn round(&mut self) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let from = inner.applied.lock().0;
        let idle = inner.is_idle();
        inner.changes.wait(
            from,
            Instant::now() + if idle { TICK } else { Duration::ZERO },
        );
        self.round = 1 + inner.rounds.fetch_add(1, Ordering::AcqRel);
        self.look_at_registry()?;
        self.follow_lists()?;
        self.start_due();
        let changed = inner.changes.take();
        // Questions see all of a round or nothing of it. Only when everything is read anew, which takes long, they see it come.
        let whole = (!changed.everybody).then(|| inner.whole.write());
        let snapshot = match self.take(&changed) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                inner.changes.give_back(changed);
                return Err(error);
            }
        };
        let until = position_of(&snapshot);
        self.take_events(from, until)?;
        // Whom a brand sees since one of these events was not looked at for what it sees of them.
        let newly_seen = inner.engine.lock().take_newly_seen();
        self.take_members(&snapshot, &newly_seen)?;
        inner.at.send_modify(|at| {
            at.applied = at.applied.max(until);
            at.looked = self.round;
            at.counted = None;
        });
        self.settle(until, whole)
    }

    /// Takes in rows that have changed; answers the rows.
    fn take(&mut self, changed: &Changed) -> Result<Snapshot, AudienceError> {
        let inner = self.inner.clone();
        let snapshot = inner.platform.snapshot()?;
        if changed.everybody {
            self.schema = Arc::new(schema_of(&snapshot)?);
            let tags = inner.book.lock().tags.clone();
            let views = inner.engine.lock().views();
            load::load_all(
                &snapshot,
                &self.schema,
                &tags,
                &views,
                &inner.engine,
                1,
                &|_| (),
            )?;
        } else {
            self.take_members(&snapshot, &changed.members)?;
        }
        self.look_for_entries(&snapshot)?;
        Ok(snapshot)
    }

    /// Takes in lists that came, changed or went.
    fn follow_lists(&mut self) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let book = inner.book.lock().lists.clone();
        if self.lists.is_known(&book) {
            return Ok(());
        }
        // Younger than what was read of the registry: all identifiers that entries know are in it.
        let snapshot = inner.platform.snapshot()?;
        let registry = inner.platform.registry();
        let followed = self.lists.follow(&book, registry, &snapshot, &inner.engine);
        inner.runtime.block_on(followed)
    }

    /// Takes in entries of lists whose identifier somebody has now.
    fn look_for_entries(&mut self, snapshot: &Snapshot) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let registry = inner.platform.registry();
        let looked = self.lists.look(registry, snapshot, &inner.engine);
        inner.runtime.block_on(looked)?;
        let waiting = self.lists.waiting() as u64;
        inner.entries_waiting.store(waiting, Ordering::Relaxed);
        Ok(())
    }

    /// Whoever is erased is in no list any more. What lists keep of them is forgotten with their keys, by the effect.
    fn forget(&self, fragments: &[IdentNo]) {
        let mut engine = self.inner.engine.lock();
        for fragment in fragments {
            engine.apply(Change::Forget {
                fragment: *fragment,
            });
        }
    }

    fn take_members(
        &mut self,
        snapshot: &Snapshot,
        members: &[MemberNo],
    ) -> Result<(), AudienceError> {
        if members.is_empty() {
            return Ok(());
        }
        let tags = self.inner.book.lock().tags.clone();
        let views = self.inner.engine.lock().views();
        for members in members.chunks(CHUNK) {
            let mut read = Vec::with_capacity(members.len());
            for member in members {
                read.extend(Read::of(snapshot, &self.schema, &tags, &views, *member)?);
            }
            let mut engine = self.inner.engine.lock();
            read.iter().for_each(|read| read.apply(&mut engine, &tags));
        }
        Ok(())
    }

    fn take_events(&mut self, from: Offset, until: Offset) -> Result<(), AudienceError> {
        let inner = &self.inner;
        let mut at = from;
        while at < until {
            let mut taken = Vec::with_capacity(CHUNK);
            // Broken off between two results only, so that a position says which events the engine has.
            let mut forgotten: Vec<IdentNo> = Vec::new();
            let mut each = |event: &HistoryEvent<'_>| {
                if !event.test {
                    taken.push(Taken::of(event));
                }
                match taken.len() < CHUNK {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            let mut erased = |fragments: &[IdentNo]| forgotten.extend_from_slice(fragments);
            let next = inner.tail.read(at, until, &mut each, &mut erased)?;
            let mut applied = inner.applied.lock();
            give(inner, &mut taken);
            if !forgotten.is_empty() {
                self.forget(&forgotten);
            }
            applied.0 = next;
            at = next;
        }
        Ok(())
    }

    /// Lets time pass and tells what came of it. `whole`: held until members were looked at again for a moment.
    fn settle(
        &mut self,
        until: Offset,
        mut whole: Option<RwLockWriteGuard<'_, ()>>,
    ) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let now = inner.platform.clock().now();
        let end = Instant::now() + SETTLE_MAX;
        let mut more = true;
        while more && Instant::now() < end && !self.stopping() {
            let (found, retags) = {
                let _whole = whole.take().unwrap_or_else(|| inner.whole.write());
                let mut engine = inner.engine.lock();
                more = engine.tick(now);
                if !more {
                    inner.at.send_modify(|at| at.counted = Some(until));
                }
                (engine.take_transitions(), engine.take_retags())
            };
            let book = inner.book.lock();
            let codes: BTreeMap<&str, &KeptTag> = match retags.is_empty() {
                true => BTreeMap::new(),
                false => (book.calculated.values())
                    .map(|kept| (&*kept.code, kept))
                    .collect(),
            };
            self.outbox.add_tags(retags.into_iter().filter_map(|it| {
                let kept = codes.get(&*it.code)?;
                Some(FoundTag {
                    tag: kept.id,
                    version: it.version,
                    brand: kept.brand,
                    rebuilt: it.rebuilt && !self.resumed_tags.contains(&kept.id),
                    at: it.at,
                    member: it.member,
                    value: it.value,
                })
            }));
            let found = found.into_iter().filter_map(|it| {
                let segment = SegmentId(it.segment.parse().ok()?);
                let kept = book.segments.get(&segment)?;
                let resumed = self.resumed.contains(&segment);
                Some(Found {
                    segment,
                    version: it.version,
                    brand: kept.brand,
                    rebuilt: it.rebuilt && !resumed,
                    at: it.at,
                    member: it.member,
                    entered: it.entered,
                })
            });
            self.outbox.add(found);
        }
        self.send()?;
        inner.settled.store(!more, Ordering::Relaxed);
        self.note_building();
        let waits_for = self.resuming();
        inner.at.send_if_modified(|at| {
            let moved = at.waits_for != waits_for;
            at.waits_for = waits_for;
            moved
        });
        if !more && waits_for.is_none() {
            self.serve()?;
            let told = self.told.filter(|_| self.outbox.is_empty());
            let all_told = self.outbox.is_empty();
            inner.at.send_if_modified(|at| {
                let new = At {
                    settled: until,
                    now,
                    told: if all_told { told } else { at.told },
                    all_told,
                    round: self.round,
                    ..*at
                };
                let moved = *at != new;
                *at = new;
                moved
            });
        }
        inner.measure();
        Ok(())
    }

    /// Notes which segments are being computed, for who must not wait for the engine.
    fn note_building(&self) {
        let building: BTreeSet<SegmentId> = {
            let book = self.inner.book.lock();
            let engine = self.inner.engine.lock();
            let is_building = |id: &&SegmentId| {
                let versions = engine.segment_versions(&id.to_string());
                versions.is_some_and(|(_, next)| next.is_some())
            };
            book.segments.keys().filter(is_building).copied().collect()
        };
        let mut known = self.inner.building.lock();
        if **known != building {
            *known = Arc::new(building);
        }
    }

    /// A segment that was complete before the start and whose rule cannot be asked yet, because history is being read for
    /// it: what its members hold is older than what is committed, so no read may take it for settled. Those that lack
    /// something else (a segment that is switched off) wait for people, and nobody waits for them.
    fn resuming(&self) -> Option<Waits> {
        if self.resumed.is_empty() && self.resumed_tags.is_empty() {
            return None;
        }
        let book = self.inner.book.lock();
        let engine = self.inner.engine.lock();
        let waits = |id: &&SegmentId| {
            let versions = engine.segment_versions(&id.to_string());
            let kept = book.segments.get(id);
            kept.is_some_and(|kept| {
                versions.is_some_and(|(in_force, _)| in_force.is_none())
                    && !engine.measure_wanted(&kept.plan).is_empty()
            })
        };
        let waits_tag = |id: &&TagId| {
            let kept = book.calculated.get(id).filter(|it| !it.update.on_demand());
            kept.is_some_and(|kept| {
                matches!(engine.tag_versions(&kept.code), Some((None, Some(_))))
                    && !engine.measure_wanted(&kept.plan.plan).is_empty()
            })
        };
        let tag = self.resumed_tags.iter().find(waits_tag).copied();
        let segment = self.resumed.iter().find(waits).copied();
        tag.map(Waits::Tag).or(segment.map(Waits::Segment))
    }

    /// Appends what waits, as far as identity keeps up.
    fn send(&mut self) -> Result<(), AudienceError> {
        let inner = &self.inner;
        while !self.outbox.is_empty() {
            let node = inner.platform.node();
            let units = node.units();
            let identity = units.get(&Unit::IDENTITY);
            let consumed = identity
                .and_then(|unit| unit.consumed.get(&PartitionId(0)))
                .copied()
                .unwrap_or_default();
            self.in_flight.retain(|(last, _)| last.0.offset >= consumed);
            let in_flight: usize = self.in_flight.iter().map(|(_, members)| members).sum();
            let room = IN_FLIGHT_MEMBERS_MAX.saturating_sub(in_flight);
            let (next, members) = self.outbox.next(room);
            if next.is_empty() {
                break;
            }
            let token = inner
                .runtime
                .block_on(inner.platform.publish_all(&next))
                .map_err(AudienceError::from)?;
            self.told = Some(token);
            self.in_flight.push((token, members));
            self.outbox.sent(next.len());
        }
        inner
            .waiting
            .store(self.outbox.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Tells the registry which rules are in force now.
    fn serve(&mut self) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        // What was announced last must be durable before the registry says that nothing is left to announce.
        if !self.outbox.is_empty() {
            return Ok(());
        }
        let mut serving = Vec::new();
        let mut tags = Vec::new();
        let mut ran = Vec::new();
        {
            let book = inner.book.lock();
            let engine = inner.engine.lock();
            for kept in book.segments.values() {
                let in_force = engine.segment_versions(&kept.id.to_string());
                if in_force == Some((Some(kept.version), None))
                    && !self.served.contains(&(kept.id, kept.version))
                {
                    serving.push((kept.id, kept.version));
                }
            }
            for kept in book.calculated.values() {
                if engine.tag_versions(&kept.code) != Some((Some(kept.version), None)) {
                    continue;
                }
                if !self.served_tags.contains(&(kept.id, kept.version)) {
                    tags.push((kept.id, kept.version));
                }
                ran.extend(self.running.get(&kept.id).map(|due| (kept.id, *due)));
            }
        }
        let registry = inner.platform.registry();
        for (id, version) in serving {
            let told = registry.resource_serving(SEGMENT, id.0.into(), version.into());
            inner.runtime.block_on(told)?;
            self.resumed.remove(&id);
            self.served.insert((id, version));
        }
        for (id, version) in tags {
            let told = registry.resource_serving(TAG, id.0.into(), version.into());
            inner.runtime.block_on(told)?;
            self.resumed_tags.remove(&id);
            self.served_tags.insert((id, version));
        }
        for (id, due) in ran {
            self.runs.note(id, due);
            self.running.remove(&id);
        }
        Ok(())
    }

    /// Begins to compute tags whose time has come.
    fn start_due(&mut self) {
        let inner = self.inner.clone();
        let now = inner.platform.clock().now();
        let mut wanted = Vec::new();
        {
            let book = inner.book.lock();
            for kept in book.calculated.values() {
                let Update::Scheduled(schedule) = &kept.update else {
                    continue;
                };
                let Some(due) = schedule.last(now, &inner.zone) else {
                    continue;
                };
                // Before it was written last it was another tag, or none.
                let done = self
                    .runs
                    .last(kept.id)
                    .map_or(kept.written, |it| it.max(kept.written));
                if due > done && self.running.insert(kept.id, due) != Some(due) {
                    let mut engine = inner.engine.lock();
                    wanted.extend(engine.measure_wanted(&kept.plan.plan));
                    engine.tag_put(&kept.code, kept.version, Some(kept.plan.clone()), true);
                }
            }
        }
        inner.want(wanted);
    }

    fn look_at_registry(&mut self) -> Result<(), AudienceError> {
        use tokio::sync::broadcast::error::TryRecvError;
        let mut look =
            self.book_read.elapsed() >= BOOK_EVERY || self.inner.look.swap(false, Ordering::AcqRel);
        while let Ok(_) | Err(TryRecvError::Lagged(_)) = self.changes.try_recv() {
            look = true;
        }
        if !look {
            return Ok(());
        }
        let old = self.read_book()?;
        let given: TagCodes = {
            let book = self.inner.book.lock();
            let hand = |id: &TagId| !old.tags.contains_key(id) && !book.calculated.contains_key(id);
            let new = book.tags.iter().filter(|(id, _)| hand(id));
            new.map(|(id, code)| (*id, code.clone())).collect()
        };
        if !given.is_empty() {
            // Members may have had them before their codes were known here.
            let snapshot = self.inner.platform.snapshot()?;
            load::load_tags(&snapshot, &given, &self.inner.engine)?;
        }
        let owners = self.inner.book.lock().owners();
        for brands in &owners {
            self.inner.want_view(brands, false);
        }
        self.put_tags(&old);
        self.put_segments(&old)?;
        self.want_again();
        Ok(())
    }

    /// Asks again for the history of rules that wait for it while nobody reads it: reading it has failed.
    fn want_again(&self) {
        let wanted: Vec<Arc<Measure>> = {
            let book = self.inner.book.lock();
            let engine = self.inner.engine.lock();
            let waiting = book.segments.values().filter(|kept| {
                let versions = engine.segment_versions(&kept.id.to_string());
                !kept.cancelled && versions.is_some_and(|(_, next)| next.is_some())
            });
            let plans = waiting.map(|kept| &kept.plan);
            let tags = book.calculated.values().filter(|kept| {
                let versions = engine.tag_versions(&kept.code);
                versions.is_some_and(|(_, next)| next.is_some())
            });
            plans
                .chain(tags.map(|kept| &kept.plan.plan))
                .flat_map(|plan| engine.measure_wanted(plan))
                .collect()
        };
        self.inner.want(wanted);
    }

    /// Reads the registry; answers what was known before.
    fn read_book(&mut self) -> Result<Book, AudienceError> {
        let inner = &self.inner;
        // It stays in place meanwhile: somebody may ask for a segment.
        let old = inner.book.lock().clone();
        let registry = inner.platform.registry();
        let read = Book::read(registry, &self.schema, &inner.zone, &old);
        let book = inner.runtime.block_on(read)?;
        *inner.book.lock() = book;
        self.book_read = Instant::now();
        Ok(old)
    }

    /// Gives the engine the tags that differ from `old`.
    fn put_tags(&mut self, old: &Book) {
        let inner = self.inner.clone();
        let now = inner.platform.clock().now();
        let mut wanted: Vec<Arc<Measure>> = Vec::new();
        {
            let book = inner.book.lock();
            let calculated = book.calculated.keys().copied().collect();
            inner.changes.set_calculated(calculated);
            let mut engine = inner.engine.lock();
            for (id, code) in &old.tags {
                if book.tags.contains_key(id) {
                    continue;
                }
                let version = old.calculated.get(id).map_or(0, |known| known.version);
                let brand = old.labels.tags.get(id).map(|it| it.brand);
                let had = engine.tag_remove(code);
                self.outbox.add_tags(taken_away(
                    *id,
                    version,
                    brand.unwrap_or_default(),
                    now,
                    had,
                ));
                self.served_tags.retain(|(served, _)| served != id);
                self.running.remove(id);
            }
            for (id, known) in &old.calculated {
                if book.tags.contains_key(id) && !book.calculated.contains_key(id) {
                    engine.tag_release(&known.code);
                }
            }
            for kept in book.calculated.values() {
                let known = old.calculated.get(&kept.id);
                if known.is_some_and(|known| known.version == kept.version) {
                    continue;
                }
                if known.is_some() {
                    self.resumed_tags.remove(&kept.id);
                    self.running.remove(&kept.id);
                }
                let on_demand = kept.update.on_demand();
                let plan = (!on_demand).then(|| kept.plan.clone());
                if plan.is_some() {
                    wanted.extend(engine.measure_wanted(&kept.plan.plan));
                }
                engine.tag_put(&kept.code, kept.version, plan, on_demand);
            }
        }
        inner.want(wanted);
    }

    /// Gives the engine what differs from `old`.
    fn put_segments(&mut self, old: &Book) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let now = inner.platform.clock().now();
        let mut wanted: Vec<Arc<Measure>> = Vec::new();
        {
            let book = inner.book.lock();
            let mut engine = inner.engine.lock();
            for (id, kept) in &old.segments {
                if book.segments.contains_key(id) {
                    continue;
                }
                let key = id.to_string();
                let members = engine.segment_members(&key, None, usize::MAX);
                self.outbox
                    .add(members.into_iter().flatten().map(|member| Found {
                        segment: *id,
                        version: kept.version,
                        brand: kept.brand,
                        rebuilt: true,
                        at: now,
                        member,
                        entered: false,
                    }));
                engine.segment_remove(&key);
                self.served.retain(|(served, _)| served != id);
            }
            for kept in book.segments.values() {
                let known = old.segments.get(&kept.id);
                let same = |known: &Kept| {
                    (known.version, known.cancelled) == (kept.version, kept.cancelled)
                };
                if known.is_some_and(same) {
                    continue;
                }
                if known.is_some() {
                    self.resumed.remove(&kept.id);
                }
                if kept.cancelled {
                    // What serves goes on.
                    engine.segment_give_up(&kept.id.to_string());
                    continue;
                }
                wanted.extend(engine.measure_wanted(&kept.plan));
                engine.segment_put(&kept.id.to_string(), kept.version, kept.plan.clone());
            }
        }
        inner.want(wanted);
        Ok(())
    }
}

/// A tag that nobody has any more.
fn taken_away(
    tag: TagId,
    version: u32,
    brand: BrandId,
    at: Time,
    members: Vec<MemberNo>,
) -> impl Iterator<Item = FoundTag> {
    members.into_iter().map(move |member| FoundTag {
        tag,
        version,
        brand,
        rebuilt: true,
        at,
        member,
        value: None,
    })
}

fn give(inner: &Inner, taken: &mut Vec<Taken>) {
    if taken.is_empty() {
        return;
    }
    let mut engine = inner.engine.lock();
    for event in taken.drain(..) {
        engine.apply(event.change());
    }
}

fn position_of(snapshot: &Snapshot) -> Offset {
    Offset(snapshot.at().map_or(0, |at| at.0 + 1))
}

impl From<PlatformError> for AudienceError {
    fn from(error: PlatformError) -> AudienceError {
        AudienceError::Platform(Box::new(error))
    }
}
