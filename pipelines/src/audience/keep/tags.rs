//! Tags that are calculated: given to the engine, begun when their time has come, taken away.

use std::sync::Arc;

use actors::model::{BrandId, MemberNo, Scope, TagId, Time};
use cdp::rule::Measure;
use cdp::tag::Update;

use super::Keeper;
use crate::audience::book::{Book, KeptTag, TAG};
use crate::audience::tell::FoundTag;
use crate::audience::{AudienceError, Built};

impl Keeper {
    /// Begins to compute tags whose time has come.
    pub(super) fn start_due(&mut self) -> Result<(), AudienceError> {
        let inner = self.inner.clone();
        let now = inner.platform.clock().now();
        let (mut wanted, mut again) = (Vec::new(), Vec::new());
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
                    if kept.cancelled {
                        again.push((kept.id, kept.version));
                    }
                    let mut engine = inner.engine.lock();
                    wanted.extend(engine.measure_wanted(&kept.plan.plan));
                    engine.tag_put(&kept.code, kept.version, Some(kept.plan.clone()), true);
                }
            }
        }
        inner.want(wanted);
        let (registry, scope) = (inner.platform.registry(), Scope::installation());
        for (tag, version) in again {
            let told =
                registry.resource_cancelled(&scope, TAG, tag.0.into(), version.into(), false);
            inner.runtime.block_on(told)?;
        }
        Ok(())
    }

    /// Gives the engine the tags that differ from `old`.
    pub(super) fn put_tags(&mut self, old: &Book) {
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
                self.served.retain(|(served, _)| *served != Built::Tag(*id));
                self.cuts.remove(id);
                self.running.remove(id);
            }
            for (id, known) in &old.calculated {
                if book.tags.contains_key(id) && !book.calculated.contains_key(id) {
                    engine.tag_release(&known.code);
                }
            }
            for kept in book.calculated.values() {
                let known = old.calculated.get(&kept.id);
                let on_demand = kept.update.on_demand();
                let same = |known: &KeptTag| {
                    let cancelled = known.cancelled == kept.cancelled;
                    // Somebody who asks for a tag to be computed takes the note away, and has begun already.
                    known.version == kept.version && (cancelled || on_demand && !kept.cancelled)
                };
                if known.is_some_and(same) {
                    continue;
                }
                let running = known.and_then(|_| {
                    self.resumed.remove(&Built::Tag(kept.id));
                    self.running.remove(&kept.id)
                });
                if kept.cancelled {
                    // Its next time is the next one.
                    running
                        .into_iter()
                        .for_each(|due| self.runs.note(kept.id, due));
                    // What serves goes on; after a start it is what members hold.
                    engine.tag_cancel(&kept.code);
                    if engine.tag_versions(&kept.code).is_none() {
                        engine.tag_put(&kept.code, kept.version, None, true);
                    }
                    continue;
                }
                let plan = (!on_demand).then(|| kept.plan.clone());
                if plan.is_some() {
                    wanted.extend(engine.measure_wanted(&kept.plan.plan));
                }
                engine.tag_put(&kept.code, kept.version, plan, on_demand);
            }
        }
        inner.want(wanted);
    }
}

/// A tag that nobody has any more.
pub(super) fn taken_away(
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
