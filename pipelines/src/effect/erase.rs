//! The channel `erase`: destroys the keys of a person who was erased, and takes the person out of copies.
//!
//! It stays inside the house: a restore does not hold it, and nobody can discard it.

use std::sync::Arc;

use actors::registry::{Print, RegistryError};
use actors::runtime::dispatch::Outcome;
use actors::runtime::effects::EffectRow;
use cdp::routed::{ERASE_CHANNEL, EraseEffect};

use super::{Channel, Sending};
use crate::audience::book::LIST;
use crate::platform::Platform;

/// Destroys keys.
pub struct Erasing {
    platform: Arc<Platform>,
}

impl Erasing {
    /// The channel of a platform.
    pub fn new(platform: Arc<Platform>) -> Erasing {
        Erasing { platform }
    }
}

impl Channel for Erasing {
    fn name(&self) -> &'static str {
        ERASE_CHANNEL
    }

    fn send<'a>(&'a self, row: &'a EffectRow) -> Sending<'a> {
        Box::pin(async move {
            let Some(effect) = EraseEffect::read(&row.effect.payload) else {
                return Outcome::Refused {
                    reason: "it was made by a newer version".into(),
                };
            };
            let forgotten = forget_in_lists(&self.platform, &effect).await;
            // Rewrites files and syncs them.
            let platform = self.platform.clone();
            let erase = move || {
                platform
                    .erase_fragments(&effect.fragments)
                    .map_err(|error| error.to_string())
            };
            let done = tokio::task::spawn_blocking(erase).await;
            let done = done.map_err(|error| error.to_string());
            // Both are tried each time: a registry that is away does not keep keys alive.
            let done = done.and_then(|done| done);
            let done = done.and(forgotten.map_err(|error| error.to_string()));
            match done {
                Ok(()) => Outcome::Done,
                Err(reason) => Outcome::Retry {
                    after_ms: None,
                    reason: reason.into(),
                },
            }
        })
    }
}

/// Takes a person who was erased out of all lists. Doing it twice does no harm.
async fn forget_in_lists(platform: &Platform, erased: &EraseEffect) -> Result<(), RegistryError> {
    let registry = platform.registry();
    let key = registry.list_key().await?;
    let prints: Vec<Print> = erased
        .identifiers
        .iter()
        .map(|identifier| cdp::list::print(&key, identifier))
        .collect();
    let lists = registry
        .list_entry_forget(&erased.fragments, &prints)
        .await?;
    for list in lists {
        registry.resource_touched(LIST, list);
    }
    Ok(())
}
