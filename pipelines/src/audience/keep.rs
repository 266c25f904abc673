//! The audience's thread: takes in what is committed, lets time pass, tells who entered and left.
//!
//! One round: members whose rows changed, then events up to the same position, then the clock, then the outbox. The engine
//! is locked for slices of a round only, so a question waits for milliseconds.

mod rules;
mod tags;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actors::model::{Offset, PartitionId, Position, SegmentId, TagId, Time, Token, Unit};
use actors::raw::CONTROL;
use actors::runtime::worker::stand_back;
use actors::store::Snapshot;
use cdp::audience::Heeded;
use cdp::definition::AttributeSchema;
use cdp::tag::quantile::Cuts;
use parking_lot::RwLockWriteGuard;
use tags::taken_away;

use super::book::{Book, KeptTag, schema_of};
use super::changes::Changed;
use super::lists::Lists;
use super::load::{self, Views};
use super::orders::Waiting;
use super::runs::Runs;
use super::tell::{Found, FoundTag, IN_FLIGHT_MEMBERS_MAX, Outbox};
use super::{At, AudienceError, Built, Inner};
use crate::platform::PlatformError;

/// The clock is looked at this often when nothing happens: what slides by the hour is late by so much at most.
const TICK: Duration = Duration::from_millis(100);

/// A round begins this long after the one before at the earliest, so that busy seconds are taken in by rounds of hundreds.
const ROUND_MIN: Duration = Duration::from_millis(15);

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
    /// Orders on their way.
    orders: Waiting,
    /// What is computed for the first time after a start and was complete before: that is no rebuilding.
    resumed: BTreeSet<Built>,
    book_read: Instant,
    changes: tokio::sync::broadcast::Receiver<actors::registry::ResourceChanged>,
    /// Versions that were told to the registry as serving.
    served: BTreeSet<(Built, u32)>,
    /// Which events the engine wants; kept, because it knows of names what would have to be asked of every measure.
    heeded: Heeded,
    /// Cuts of tags by quantiles that the registry has.
    cuts: BTreeMap<TagId, Cuts>,
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

/// Runs until the audience is stopped. A failure is told and tried again: from the start while loading, otherwise where it
/// stood.
pub(super) fn run(inner: Arc<Inner>) {
    stand_back();
    let heeded = inner.engine.lock().heeded();
    let mut keeper = Keeper {
        schema: Arc::default(),
        outbox: Outbox::default(),
        lists: Lists::default(),
        orders: Waiting::default(),
        resumed: BTreeSet::new(),
        book_read: Instant::now(),
        changes: inner.platform.registry().resource_changes(),
        served: BTreeSet::new(),
        heeded,
        cuts: BTreeMap::new(),
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
        self.heeded = inner.engine.lock().heeded();
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
            &|read, all| *inner.loaded.lock() = (read, all),
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
            let segments = (book.segments.values())
                .filter(|kept| !kept.building && !kept.cancelled)
                .map(|kept| Built::Segment(kept.id));
            let tags = (book.calculated.values())
                .filter(|kept| !kept.building && !kept.cancelled)
                .map(|kept| Built::Tag(kept.id));
            self.resumed = segments.chain(tags).collect();
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
        self.start_due()?;
        let changed = inner.changes.take();
        let ahead = match self.read_ahead(&changed, from) {
            Ok(ahead) => ahead,
            Err(error) => return Err(self.give_back(changed, error)),
        };
        let until = ahead.position();
        // Questions see all of a round or nothing of it. Only when everything is read anew, which takes long, they see it come.
        let whole = (!changed.everybody).then(|| inner.hold());
        let snapshot = match self.take(&changed, ahead, from) {
            Ok(snapshot) => snapshot,
            Err(error) => return Err(self.give_back(changed, error)),
        };
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

    /// What could not be looked at is looked at again: orders all, because some may have been looked for before.
    fn give_back(&self, mut changed: Changed, error: AudienceError) -> AudienceError {
        changed.all_orders |= self.inner.engine.lock().asks_orders();
        self.inner.changes.give_back(changed);
        error
    }

    /// Lets time pass and tells what came of it. `whole`: held until members were looked at again for a moment.
    fn settle(&mut self, until: Offset, mut whole: Option<Hold<'_>>) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let now = inner.platform.clock().now();
        let end = Instant::now() + SETTLE_MAX;
        let mut more = true;
        while more && Instant::now() < end && !self.stopping() {
            let (found, retags) = {
                let _whole = whole.take().unwrap_or_else(|| inner.hold());
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
                    rebuilt: it.rebuilt && !self.resumed.contains(&Built::Tag(kept.id)),
                    at: it.at,
                    member: it.member,
                    value: it.value,
                })
            }));
            let found = found.into_iter().filter_map(|it| {
                let segment = SegmentId(it.segment.parse().ok()?);
                let kept = book.segments.get(&segment)?;
                let resumed = self.resumed.contains(&Built::Segment(segment));
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
}

/// Keeps questions waiting, and says for how long.
struct Hold<'a> {
    _whole: RwLockWriteGuard<'a, ()>,
    begun: Instant,
}

impl Inner {
    fn hold(&self) -> Hold<'_> {
        Hold {
            _whole: self.whole.write(),
            begun: Instant::now(),
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        metrics::histogram!("tributary_audience_held_seconds").record(self.begun.elapsed());
    }
}

pub(super) fn position_of(snapshot: &Snapshot) -> Offset {
    Offset(snapshot.at().map_or(0, |at| at.0 + 1))
}

impl From<PlatformError> for AudienceError {
    fn from(error: PlatformError) -> AudienceError {
        AudienceError::Platform(Box::new(error))
    }
}
