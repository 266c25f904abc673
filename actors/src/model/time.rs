//! Time as data: an instant in milliseconds, and the one clock that shells may ask.
//!
//! Cores never ask a clock; they are given `now`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z. May be negative.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// The first instant that we accept: year 0001.
    pub const MIN: Time = Time(-62_135_596_800_000);
    /// The last instant that we accept: end of year 9999.
    pub const MAX: Time = Time(253_402_300_799_999);

    /// RFC 3339 in UTC with milliseconds, e.g. `2026-11-22T09:50:41.080Z`.
    pub fn rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => format!("{at:.3}"),
            Err(_) => self.0.to_string(),
        }
    }

    /// Reads RFC 3339 with any offset. `None` for anything else.
    pub fn from_rfc3339(text: &str) -> Option<Time> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|at| Time(at.as_millisecond()))
    }

    /// This instant plus `ms` milliseconds, kept between [`Time::MIN`] and [`Time::MAX`].
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Time {
        Time(self.0.saturating_add(ms).clamp(Self::MIN.0, Self::MAX.0))
    }
}

/// Where shells get `now`. There is one per process.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Time;
}

/// The wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is set: for tests and `serve --manual-clock`.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: Time) -> Self {
        ManualClock(AtomicI64::new(at.0))
    }

    /// Sets the clock; any direction.
    pub fn set(&self, at: Time) {
        self.0.store(at.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}
