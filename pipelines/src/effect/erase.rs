//! The channel `erase`: destroys the keys of a person who was erased, and takes the person out of copies.
//!
//! It stays inside the house: a restore does not hold it, and nobody can discard it.

use std::sync::Arc;

use actors::runtime::dispatch::Outcome;
use actors::runtime::effects::EffectRow;
use cdp::routed::{self, ERASE_CHANNEL, EraseEffect};

use super::{Channel, Sending};
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
            let Some(EraseEffect { fragments }) = routed::decode(&row.effect.payload) else {
                return Outcome::Refused {
                    reason: "it was made by a newer version".into(),
                };
            };
            // Rewrites files and syncs them.
            let platform = self.platform.clone();
            let erase = move || {
                platform
                    .erase_fragments(&fragments)
                    .map_err(|error| error.to_string())
            };
            let done = tokio::task::spawn_blocking(erase).await;
            let done = done.map_err(|error| error.to_string());
            match done.and_then(|done| done) {
                Ok(()) => Outcome::Done,
                Err(reason) => Outcome::Retry {
                    after_ms: None,
                    reason: reason.into(),
                },
            }
        })
    }
}
