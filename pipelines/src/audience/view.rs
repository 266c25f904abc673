//! What those see who may see some brands only, and owners of rules: read once, then kept by the engine.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actors::model::{BrandId, BrandSet};
use cdp::rule::Plan;

use super::{AudienceError, Inner, book, load};

/// Different sets of brands for which it is kept what they see: each takes a bit per member, and what differs.
pub(super) const VIEWS_MAX: usize = 32;

impl Inner {
    /// Begins to keep what somebody sees who may see these brands only; everybody is read once, on a thread of its own.
    /// Answers whether there is room for it; for owners of rules (`bounded` is false) there always is.
    pub(super) fn want_view(self: &Arc<Self>, brands: &[BrandId], bounded: bool) -> bool {
        {
            let mut engine = self.engine.lock();
            if !engine.view_begin(brands) {
                return true;
            }
            if bounded && engine.views().len() > VIEWS_MAX {
                engine.view_give_up(brands);
                return false;
            }
        }
        self.changes.note_orders();
        let (inner, brands) = (self.clone(), brands.to_vec());
        let begun = std::thread::Builder::new().name("view".into()).spawn({
            let brands = brands.clone();
            move || inner.read_view(&brands)
        });
        if let Err(error) = begun {
            tracing::error!(%error, "no thread to read what a brand sees");
            self.engine.lock().view_give_up(&brands);
        }
        true
    }

    pub(super) fn read_view(&self, brands: &[BrandId]) {
        actors::runtime::worker::stand_back();
        let read = || -> Result<bool, AudienceError> {
            // Younger than the view: what changes from now on is told by the audience's own thread.
            let rows = self.platform.snapshot()?;
            let schema = book::schema_of(&rows)?;
            let on = || !self.stop.load(Ordering::Relaxed);
            Ok(load::load_view(&rows, &schema, brands, &self.engine, &on)?)
        };
        let done = read();
        let mut engine = self.engine.lock();
        match done {
            Ok(true) => engine.view_finish(brands),
            Ok(false) => engine.view_give_up(brands),
            Err(error) => {
                tracing::error!(%error, "what a brand sees could not be read");
                metrics::counter!("tributary_audience_failures").increment(1);
                engine.view_give_up(brands);
            }
        }
    }
}

/// A rule for somebody who may see some brands only.
pub(super) fn within<'a>(plan: &'a Plan, brands: &BrandSet) -> Cow<'a, Plan> {
    match brands {
        BrandSet::All => Cow::Borrowed(plan),
        BrandSet::Only(brands) => Cow::Owned(plan.within(&sorted(brands))),
    }
}

/// The same for equal sets of brands.
pub(super) fn sorted(brands: &[BrandId]) -> Vec<BrandId> {
    let mut brands = brands.to_vec();
    brands.sort_unstable();
    brands.dedup();
    brands
}
