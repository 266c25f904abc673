//! What people have defined: read from the registry, given to the engine, told to be in force.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use actors::model::{SegmentId, TagId};
use cdp::rule::Measure;
use serde_json::json;

use super::{BOOK_EVERY, Keeper};
use crate::audience::book::{Book, Kept, SEGMENT, TAG};
use crate::audience::load::{self, TagCodes};
use crate::audience::tell::Found;
use crate::audience::{AudienceError, Built};

impl Keeper {
    pub(super) fn look_at_registry(&mut self) -> Result<(), AudienceError> {
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

    /// Reads the registry; answers what was known before.
    pub(super) fn read_book(&mut self) -> Result<Book, AudienceError> {
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

    /// Gives the engine what differs from `old`.
    pub(super) fn put_segments(&mut self, old: &Book) -> Result<(), AudienceError> {
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
                self.served
                    .retain(|(served, _)| *served != Built::Segment(*id));
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
                    self.resumed.remove(&Built::Segment(kept.id));
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

    /// Asks again for the history of rules that wait for it while nobody reads it: reading it has failed.
    pub(super) fn want_again(&self) {
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
                !kept.cancelled && versions.is_some_and(|(_, next)| next.is_some())
            });
            plans
                .chain(tags.map(|kept| &kept.plan.plan))
                .flat_map(|plan| engine.measure_wanted(plan))
                .collect()
        };
        self.inner.want(wanted);
    }

    /// A segment that was complete before the start and whose rule cannot be asked yet, because history is being read for
    /// it: what its members hold is older than what is committed, so no read may take it for settled. Those that lack
    /// something else (a segment that is switched off) wait for people, and nobody waits for them.
    pub(super) fn resuming(&self) -> Option<Built> {
        if self.resumed.is_empty() {
            return None;
        }
        let book = self.inner.book.lock();
        let engine = self.inner.engine.lock();
        let waits = |built: &&Built| match built {
            Built::Segment(id) => book.segments.get(id).is_some_and(|kept| {
                matches!(engine.segment_versions(&id.to_string()), Some((None, _)))
                    && !engine.measure_wanted(&kept.plan).is_empty()
            }),
            Built::Tag(id) => {
                let kept = book.calculated.get(id).filter(|it| !it.update.on_demand());
                kept.is_some_and(|kept| {
                    matches!(engine.tag_versions(&kept.code), Some((None, Some(_))))
                        && !engine.measure_wanted(&kept.plan.plan).is_empty()
                })
            }
        };
        self.resumed.iter().find(waits).copied()
    }

    /// Tells the registry which rules are in force now, and what is to be kept of how they were computed.
    pub(super) fn serve(&mut self) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        // What was announced last must be durable before the registry says that nothing is left to announce.
        if !self.outbox.is_empty() {
            return Ok(());
        }
        let (mut serving, mut cut, mut ran) = (Vec::new(), Vec::new(), Vec::new());
        {
            let book = inner.book.lock();
            let engine = inner.engine.lock();
            for kept in book.segments.values() {
                let in_force = engine.segment_versions(&kept.id.to_string());
                if in_force == Some((Some(kept.version), None)) {
                    serving.push((Built::Segment(kept.id), kept.version));
                }
            }
            for kept in book.calculated.values() {
                if engine.tag_versions(&kept.code) != Some((Some(kept.version), None)) {
                    continue;
                }
                serving.push((Built::Tag(kept.id), kept.version));
                let cuts = engine.tag_cuts(&kept.code);
                let news = cuts.filter(|cuts| self.cuts.get(&kept.id) != Some(*cuts));
                cut.extend(news.map(|cuts| (kept.id, kept.version, cuts.clone())));
                ran.extend(self.running.get(&kept.id).map(|due| (kept.id, *due)));
            }
            serving.retain(|it| !self.served.contains(it));
        }
        let registry = inner.platform.registry();
        // Before anybody is told that it is computed.
        for (id, version, cuts) in cut {
            let found = json!({ "cuts": cuts.to_json() }).to_string();
            let kept = registry.resource_computed(TAG, id.0.into(), version.into(), &found);
            inner.runtime.block_on(kept)?;
            self.cuts.insert(id, cuts);
        }
        for (built, version) in serving {
            let (kind, id) = match built {
                Built::Segment(id) => (SEGMENT, id.0),
                Built::Tag(id) => (TAG, id.0),
            };
            let told = registry.resource_serving(kind, id.into(), version.into());
            inner.runtime.block_on(told)?;
            self.resumed.remove(&built);
            self.served.insert((built, version));
        }
        for (id, due) in ran {
            self.runs.note(id, due);
            self.running.remove(&id);
        }
        Ok(())
    }

    /// Notes which segments are being computed, for who must not wait for the engine.
    pub(super) fn note_building(&self) {
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
}
