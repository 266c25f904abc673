//! Questions and commands about calculated tags.

use std::sync::atomic::Ordering;

use actors::model::{Scope, TagId};

use super::book::TAG;
use super::{Audience, AudienceError};

/// What a calculated tag is like now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagNow {
    /// The version of the definition in force since the last start of the process.
    pub version: Option<u32>,
    /// The version of a definition that is being computed.
    pub building: Option<u32>,
    /// How far that is: values that are computed, of how many.
    pub progress: Option<(u64, u64)>,
    /// It waits for the history of what its rules ask.
    pub history: bool,
    /// What was computed last was broken off: members have what they had before.
    pub broken_off: bool,
}

impl Audience {
    /// What a calculated tag is like now.
    pub fn tag(&self, tag: TagId) -> Result<TagNow, AudienceError> {
        self.ready()?;
        let book = self.inner.book.lock();
        let kept = book.calculated.get(&tag).ok_or(AudienceError::NoTag(tag))?;
        let engine = self.inner.engine.lock();
        let (version, building) = engine.tag_versions(&kept.code).unwrap_or_default();
        let missing = engine.measure_wanted(&kept.plan.plan);
        Ok(TagNow {
            version,
            building,
            progress: engine.tag_progress(&kept.code),
            history: building.is_some() && !missing.is_empty(),
            broken_off: engine.tag_broken_off(&kept.code),
        })
    }

    /// Computes a calculated tag now, whenever its time would come.
    pub fn tag_compute(&self, tag: TagId) -> Result<(), AudienceError> {
        self.ready()?;
        let wanted = {
            let book = self.inner.book.lock();
            let kept = book.calculated.get(&tag).ok_or(AudienceError::NoTag(tag))?;
            let mut engine = self.inner.engine.lock();
            let on_demand = kept.update.on_demand();
            engine.tag_put(&kept.code, kept.version, Some(kept.plan.clone()), on_demand);
            engine.measure_wanted(&kept.plan.plan)
        };
        self.inner.want(wanted);
        self.inner.settled.store(false, Ordering::Relaxed);
        self.inner.changes.wake();
        Ok(())
    }

    /// Takes up again what was broken off for a tag, as [`Audience::rebuild`] does for a segment. A tag that is computed on a
    /// schedule or when somebody asks waits for that.
    pub async fn tag_rebuild(&self, scope: &Scope, tag: TagId) -> Result<(), AudienceError> {
        let version = {
            let book = self.inner.book.lock();
            let kept = book.calculated.get(&tag).ok_or(AudienceError::NoTag(tag))?;
            kept.version
        };
        let registry = self.inner.platform.registry();
        registry
            .resource_cancelled(scope, TAG, tag.0.into(), version.into(), false)
            .await?;
        self.look();
        Ok(())
    }

    /// Gives up a computation of a tag; what members have stays. Answers whether there was one.
    pub fn tag_cancel(&self, tag: TagId) -> bool {
        let book = self.inner.book.lock();
        let kept = book.calculated.get(&tag);
        kept.is_some_and(|kept| self.inner.engine.lock().tag_cancel(&kept.code))
    }
}
