//! Taking in what is committed: rows of members who changed, events, lists.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actors::history::{Columns, Each, HistoryEvent, Wanted};
use actors::model::{BrandId, EventKind, IdentNo, MemberNo, Offset, Place, Position, Time};
use actors::store::Snapshot;
use cdp::audience::{Change, Engine};

use super::Keeper;
use crate::audience::AudienceError;
use crate::audience::book::schema_of;
use crate::audience::changes::Changed;
use crate::audience::load::{self, Read};
use crate::audience::orders;

/// Members read and events decoded before they are given to the engine.
const CHUNK: usize = 512;

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

impl Keeper {
    /// Takes in rows that have changed; answers the rows.
    pub(super) fn take(&mut self, changed: &Changed) -> Result<Snapshot, AudienceError> {
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
        match changed.all_orders {
            true => orders::tell_all(&snapshot, &inner.engine)?,
            false => self
                .orders
                .take(&snapshot, &changed.orders, &inner.engine)?,
        }
        self.look_for_entries(&snapshot)?;
        Ok(snapshot)
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
            let mut read = Vec::with_capacity(members.len());
            for member in members {
                read.extend(Read::of(snapshot, &self.schema, &tags, &views, *member)?);
            }
            let mut engine = self.inner.engine.lock();
            read.iter().for_each(|read| read.apply(&mut engine, &tags));
        }
        Ok(())
    }

    pub(super) fn take_events(&mut self, from: Offset, until: Offset) -> Result<(), AudienceError> {
        let Keeper { inner, heeded, .. } = self;
        let mut at = from;
        if inner.engine.lock().heeds_others(heeded) {
            *heeded = inner.engine.lock().heeded();
        }
        while at < until {
            let mut taken = Vec::with_capacity(CHUNK);
            // Broken off between two results only, so that a position says which events the engine has.
            let mut forgotten: Vec<IdentNo> = Vec::new();
            let orders = heeded.asks_orders();
            let mut pick = |name: &str| heeded.heeds(name);
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
            let tail = &inner.tail;
            let next = tail.read(at, until, &mut pick, orders, &mut each, &mut erased)?;
            let mut applied = inner.applied.lock();
            let mut engine = inner.engine.lock();
            if engine.heeds_others(heeded) {
                // A measure was begun meanwhile, from where these events begin.
                *heeded = engine.heeded();
                continue;
            }
            give(&mut engine, &mut taken);
            // They are in no list any more. What lists keep of them is forgotten with their keys, by the effect.
            for fragment in forgotten {
                engine.apply(Change::Forget { fragment });
            }
            applied.0 = next;
            at = next;
        }
        Ok(())
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

fn give(engine: &mut Engine, taken: &mut Vec<Taken>) {
    for event in taken.drain(..) {
        engine.apply(event.change());
    }
}
