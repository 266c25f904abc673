//! Memory that bodies of requests may take, all together: thousands of connections that each send some megabytes must not
//! end the process.
//!
//! A small body that comes in one piece costs nothing here: it is bounded by the number of connections, and so events
//! go on arriving while somebody fills this memory.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Bytes that are counted as one.
const UNIT_BYTES: usize = 1024;
/// Bodies up to this size are not counted.
pub const FREE_BYTES: usize = 64 * 1024;

/// The memory; clones share it.
#[derive(Debug, Clone)]
pub struct Bodies(Arc<Semaphore>);

impl Bodies {
    /// So many bytes.
    pub fn new(bytes: usize) -> Bodies {
        let units = (bytes / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Bodies(Arc::new(Semaphore::new(units)))
    }

    /// Room for a body under way that has none yet.
    pub fn room(&self) -> Room {
        Room {
            of: self.clone(),
            bytes: 0,
            permit: None,
        }
    }

    /// Counts bytes that came to be elsewhere, by unpacking for example, for as long as a part of them is in use.
    pub fn hold(&self, bytes: Bytes) -> Result<Bytes, ApiError> {
        let mut room = self.room();
        room.grow(bytes.len())?;
        Ok(room.keep(bytes))
    }

    /// Bytes that are free.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.0.available_permits() * UNIT_BYTES
    }
}

/// Room that one body has; dropping it gives it back.
#[derive(Debug)]
pub struct Room {
    of: Bodies,
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Takes room for a body that is `bytes` long by now. Nobody waits: who has a part would hold it while waiting.
    pub fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        if bytes <= FREE_BYTES {
            return Ok(());
        }
        let more = bytes.div_ceil(UNIT_BYTES) - self.bytes.div_ceil(UNIT_BYTES);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let permit = self.of.0.clone().try_acquire_many_owned(more);
        let permit = permit.map_err(|_| {
            metrics::counter!("http_bodies_refused_total").increment(1);
            ApiError::new(
                "bodies_full",
                "bodies of other requests take all memory for them",
            )
        })?;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The body, which holds its room until no part of it is in use any more.
    pub fn keep(self, body: Bytes) -> Bytes {
        match self.permit {
            None => body,
            Some(permit) => Bytes::from_owner(Held {
                body,
                _permit: permit,
            }),
        }
    }
}

/// A body with its room.
struct Held {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_held_as_long_as_a_part_is_in_use_and_small_bodies_need_none() {
        let all = 1024 * 1024;
        let bodies = Bodies::new(all);
        let large = bodies.hold(vec![0; 900 * 1024].into()).unwrap();
        assert_eq!(bodies.free(), 124 * 1024);
        let refused = bodies.hold(vec![0; 200 * 1024].into()).unwrap_err();
        assert_eq!(refused.code(), "bodies_full");
        assert_eq!(bodies.free(), 124 * 1024, "a refusal leaves nothing behind");
        let small = bodies.hold(vec![0; FREE_BYTES].into()).unwrap();
        assert_eq!((small.len(), bodies.free()), (FREE_BYTES, 124 * 1024));
        let part = large.slice(1..2);
        drop(large);
        assert_eq!(bodies.free(), 124 * 1024);
        drop(part);
        assert_eq!(bodies.free(), all);
    }

    #[test]
    fn room_grows_with_a_body_and_what_breaks_off_gives_it_back() {
        let bodies = Bodies::new(300 * 1024);
        let mut room = bodies.room();
        for bytes in [1, FREE_BYTES, FREE_BYTES + 1, 100_000, 300_000] {
            room.grow(bytes).unwrap();
        }
        assert_eq!(
            bodies.free(),
            300 * 1024 - 300_000_usize.div_ceil(1024) * 1024
        );
        assert_eq!(room.grow(400_000).unwrap_err().code(), "bodies_full");
        drop(room);
        assert_eq!(bodies.free(), 300 * 1024);
    }
}
