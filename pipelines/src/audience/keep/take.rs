//! Taking in what is committed: rows of members who changed, events, lists.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actors::history::{Columns, Each, HistoryEvent, Wanted};
use actors::model::{BrandId, EventKind, IdentNo, MemberNo, Offset, Place, Position, Time};
use actors::store::Snapshot;
use cdp::audience::{Change, Engine};

use super::{Keeper, position_of};
use crate::audience::AudienceError;
use crate::audience::book::schema_of;
use crate::audience::changes::Changed;
use crate::audience::load::{self, Read, TagCodes, Views};
use crate::audience::orders::{self, Told};

/// Members read and events decoded before they are given to the engine, while others wait.
const CHUNK: usize = 512;

/// Members that are read before others have to wait: some tens of megabytes.
const AHEAD_MEMBERS_MAX: usize = 16_384;

/// Events of which more are not read ahead: some tens of megabytes.
const AHEAD_EVENTS_MAX: usize = 65_536;

/// An event as kept between decoding and the engine.
struct Taken {
    fragment: IdentNo,
    position: Position,
    time: Time,
    name: Box<str>,
    /// [`HistoryEvent::facts`].
    facts: Option<Box<str>>,
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
            facts: event.facts().map(Into::into),
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
            properties: self.facts.as_deref(),
            place: self.place,
            brand: self.brand,
        }
    }
}

/// What a round has read before it asks everybody else to wait: nobody waits for rows, logs and keys.
pub(super) struct Ahead {
    rows: Snapshot,
    tags: TagCodes,
    /// Members that changed; none if there are too many.
    members: Option<Vec<Read>>,
    orders: Vec<Told>,
    events: Events,
}

/// Events of some results, in order.
struct Events {
    taken: Vec<Taken>,
    /// Fragments that were forgotten.
    forgotten: Vec<IdentNo>,
    /// Those of results below are here: where the next ones begin.
    next: Offset,
}

impl Ahead {
    /// As of results below this offset, when it is taken in.
    pub fn position(&self) -> Offset {
        position_of(&self.rows)
    }
}

impl Keeper {
    /// Reads what has changed, as far as there is room for it in memory. `from`: events of results below are in.
    pub(super) fn read_ahead(
        &mut self,
        changed: &Changed,
        from: Offset,
    ) -> Result<Ahead, AudienceError> {
        let inner = self.inner.clone();
        let rows = inner.platform.snapshot()?;
        let until = position_of(&rows);
        let tags = inner.book.lock().tags.clone();
        let views = inner.engine.lock().views();
        let few = !changed.everybody && changed.members.len() <= AHEAD_MEMBERS_MAX;
        let members = match few {
            true => Some(self.read_members(&rows, &tags, &views, &changed.members)?),
            false => None,
        };
        let orders = match changed.all_orders {
            true => Vec::new(),
            false => self.orders.look(&rows, &changed.orders)?,
        };
        self.heed();
        let mut events = Events {
            taken: Vec::new(),
            forgotten: Vec::new(),
            next: from,
        };
        while events.next < until && events.taken.len() < AHEAD_EVENTS_MAX {
            self.read_events(until, &mut events)?;
        }
        Ok(Ahead {
            rows,
            tags,
            members,
            orders,
            events,
        })
    }

    /// Takes in what was read ahead, and what was too much for that; answers the rows.
    pub(super) fn take(
        &mut self,
        changed: &Changed,
        ahead: Ahead,
        from: Offset,
    ) -> Result<Snapshot, AudienceError> {
        let inner = self.inner.clone();
        let until = ahead.position();
        let Ahead {
            rows,
            tags,
            members,
            orders,
            events,
        } = ahead;
        if changed.everybody {
            self.schema = Arc::new(schema_of(&rows)?);
            let views = inner.engine.lock().views();
            load::load_all(
                &rows,
                &self.schema,
                &tags,
                &views,
                &inner.engine,
                1,
                &|_, _| (),
            )?;
        } else if let Some(read) = members {
            give_members(&mut inner.engine.lock(), &read, &tags);
        } else {
            self.take_members(&rows, &changed.members)?;
        }
        if changed.all_orders {
            orders::tell_all(&rows, &inner.engine)?;
        }
        {
            let mut engine = inner.engine.lock();
            orders.iter().for_each(|told| told.apply(&mut engine));
        }
        self.look_for_entries(&rows)?;
        let at = match self.give_events(events) {
            Some(next) => next,
            None => from,
        };
        self.take_events(at, until)?;
        Ok(rows)
    }

    fn read_members(
        &self,
        rows: &Snapshot,
        tags: &TagCodes,
        views: &Views,
        members: &[MemberNo],
    ) -> Result<Vec<Read>, AudienceError> {
        let mut read = Vec::with_capacity(members.len());
        for member in members {
            read.extend(Read::of(rows, &self.schema, tags, views, *member)?);
        }
        Ok(read)
    }

    pub(super) fn take_members(
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
            let read = self.read_members(snapshot, &tags, &views, members)?;
            give_members(&mut self.inner.engine.lock(), &read, &tags);
        }
        Ok(())
    }

    fn take_events(&mut self, from: Offset, until: Offset) -> Result<(), AudienceError> {
        let mut at = from;
        while at < until {
            self.heed();
            let mut events = Events {
                taken: Vec::with_capacity(CHUNK),
                forgotten: Vec::new(),
                next: at,
            };
            self.read_events(until, &mut events)?;
            at = self.give_events(events).unwrap_or(at);
        }
        Ok(())
    }

    /// Asks the engine which events it wants, if that may be others.
    fn heed(&mut self) {
        let engine = self.inner.engine.lock();
        if engine.heeds_others(&self.heeded) {
            self.heeded = engine.heeded();
        }
    }

    /// Reads some more events. Broken off between two results only, so that a position says which events there are.
    fn read_events(&mut self, until: Offset, events: &mut Events) -> Result<(), AudienceError> {
        let Keeper { inner, heeded, .. } = self;
        let Events {
            taken,
            forgotten,
            next,
        } = events;
        let enough = taken.len() + CHUNK;
        let orders = heeded.asks_orders();
        let mut pick = |name: &str| heeded.heeds(name);
        let mut each = |event: &HistoryEvent<'_>| {
            if !event.test {
                taken.push(Taken::of(event));
            }
            match taken.len() < enough {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        let mut erased = |fragments: &[IdentNo]| forgotten.extend_from_slice(fragments);
        *next = (inner.tail).read(*next, until, &mut pick, orders, &mut each, &mut erased)?;
        Ok(())
    }

    /// Gives events to the engine; answers where the next ones begin. `None`: a measure was begun meanwhile, from where these
    /// events begin, so they have to be read again.
    fn give_events(&self, mut events: Events) -> Option<Offset> {
        let inner = &self.inner;
        let mut applied = inner.applied.lock();
        let mut engine = inner.engine.lock();
        if engine.heeds_others(&self.heeded) {
            return None;
        }
        give(&mut engine, &mut events.taken);
        // They are in no list any more. What lists keep of them is forgotten with their keys, by the effect.
        for fragment in events.forgotten {
            engine.apply(Change::Forget { fragment });
        }
        applied.0 = events.next;
        Some(events.next)
    }

    /// Takes in lists that came, changed or went.
    pub(super) fn follow_lists(&mut self) -> Result<(), AudienceError> {
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
    pub(super) fn look_for_entries(&mut self, snapshot: &Snapshot) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let registry = inner.platform.registry();
        let looked = self.lists.look(registry, snapshot, &inner.engine);
        inner.runtime.block_on(looked)?;
        let waiting = self.lists.waiting() as u64;
        inner.entries_waiting.store(waiting, Ordering::Relaxed);
        Ok(())
    }

    /// Where members were seen, from all scans of the past.
    pub(super) fn load_places(&mut self, until: Offset) -> Result<(), AudienceError> {
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
                    give(&mut inner.engine.lock(), &mut taken);
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
        give(&mut inner.engine.lock(), &mut taken);
        Ok(())
    }
}

fn give_members(engine: &mut Engine, read: &[Read], tags: &TagCodes) {
    read.iter().for_each(|read| read.apply(engine, tags));
}

fn give(engine: &mut Engine, taken: &mut Vec<Taken>) {
    for event in taken.drain(..) {
        engine.apply(event.change());
    }
}
