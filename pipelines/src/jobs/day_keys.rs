//! Destroys the keys of days that are over: the stated delay after which original bytes are unreadable for good.
//!
//! A destroyed key cannot be had back, so everything must agree before it goes: the clock is trusted, every cache has the
//! results that only this key opens, and a backup has them too (unless the configuration does without). What is missing is
//! said, and tried again.

use std::time::Duration;

use actors::log::Log;
use actors::model::{Offset, Position, Time};
use actors::result::Decoded;
use actors::runtime::feed::RESULTS;
use actors::seal::{DAY_KEYS_KEPT, day_of};

use super::Ran;
use crate::platform::{Platform, PlatformError};

/// How keys are destroyed.
#[derive(Debug, Clone, Copy)]
pub struct DayKeys {
    /// Days that a key is kept, at most [`DAY_KEYS_KEPT`].
    pub days_kept: u16,
    /// Only what a backup has as well.
    pub need_backup: bool,
}

/// What the job is told of the world.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// The wall clock.
    pub now: Time,
    /// How long the process has run by the monotonic clock.
    pub up: Duration,
    /// The wall clock has jumped against it.
    pub jumped: bool,
    /// When the newest complete backup was taken.
    pub backup: Option<Time>,
}

const DAY_MS: i64 = 86_400_000;

/// A clock that is this far ahead of everything recorded may be wrong, or the installation was switched off.
const AHEAD_DAYS_MAX: i64 = 3;

/// Then only a process that ran for so long without anybody mending the clock believes it.
const BELIEVED_AFTER: Duration = Duration::from_secs(86_400);

/// Batches decided around midnight may be sealed with either day's key.
const MIDNIGHT_SLACK_MS: i64 = 3_600_000;

/// Whether the clock may be trusted with something that cannot be undone. `recorded`: the latest time in committed results
/// from before this process.
pub fn trusted(world: &World, recorded: Time) -> Result<(), String> {
    if world.jumped {
        return Err("the clock jumped: see /api/v1/timers/held".into());
    }
    let ahead = (world.now.0 - recorded.0) / DAY_MS;
    if ahead > AHEAD_DAYS_MAX && world.up < BELIEVED_AFTER {
        return Err(format!(
            "the clock is {ahead} days ahead of the last record: it is believed once the process has run for a day"
        ));
    }
    Ok(())
}

impl DayKeys {
    /// The first day whose key is kept.
    pub fn first_kept(&self, now: Time) -> u16 {
        day_of(now).saturating_sub(self.days_kept.clamp(1, DAY_KEYS_KEPT))
    }

    /// Destroys what is due.
    pub fn run(&self, platform: &Platform, world: World) -> Result<Ran, PlatformError> {
        let first = self.first_kept(world.now);
        if platform.keys().oldest_day()?.is_none_or(|day| day >= first) {
            return Ok(Ran::Nothing);
        }
        if let Err(why) = trusted(&world, platform.recorded()) {
            return Ok(Ran::Waits(why));
        }
        let kept_from = Time(i64::from(first) * DAY_MS + MIDNIGHT_SLACK_MS);
        if self.need_backup && world.backup.is_none_or(|taken| taken < kept_from) {
            let since = kept_from.rfc3339();
            return Ok(Ran::Waits(format!(
                "no backup since {since}: take one, or set keys.need_backup = false"
            )));
        }
        let needed = first_frame_since(platform, kept_from)?;
        let durable = platform.durable();
        if durable < needed {
            return Ok(Ran::Waits(format!(
                "caches hold results up to {durable} on disk, {needed} is needed"
            )));
        }
        let gone = platform.keys().destroy_days_before(first)?;
        Ok(match gone {
            0 => Ran::Nothing,
            gone => Ran::Did(format!("keys of {gone} days before day {first} destroyed")),
        })
    }
}

/// The first result decided at `since` or later, or the end of the log.
fn first_frame_since(platform: &Platform, since: Time) -> Result<Offset, PlatformError> {
    let (_, results) = platform.logs();
    let (mut low, mut high) = (results.start(RESULTS).0, results.end(RESULTS).0);
    // Units' times do not go back, and units of one process share a clock: the log is in order but for milliseconds.
    while low < high {
        let middle = low + (high - low) / 2;
        let at = Position {
            partition: RESULTS,
            offset: Offset(middle),
        };
        let stored = results.read_one(RESULTS, at.offset);
        let stored = stored.map_err(actors::runtime::feed::FeedError::from)?;
        let Some(stored) = stored else {
            break;
        };
        let frame = Decoded::read(at, &stored.record.payload);
        let frame = frame.map_err(actors::runtime::feed::FeedError::from)?;
        match frame.header.now < since {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(Offset(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = DAY_MS;

    fn world(now_days: i64) -> World {
        World {
            now: Time(now_days * DAY),
            up: Duration::from_secs(60),
            jumped: false,
            backup: None,
        }
    }

    #[test]
    fn row_22_a_clock_that_jumped_destroys_nothing() {
        let recorded = Time(100 * DAY);
        assert!(trusted(&world(101), recorded).is_ok());
        assert!(
            trusted(&world(50), recorded).is_ok(),
            "behind: nothing is due then"
        );
        let jumped = World {
            jumped: true,
            ..world(101)
        };
        assert!(trusted(&jumped, recorded).is_err());
        // Switched off for a year, or a wrong clock: who knows? A day of running tells.
        assert!(trusted(&world(465), recorded).is_err());
        let patient = World {
            up: BELIEVED_AFTER,
            ..world(465)
        };
        assert!(trusted(&patient, recorded).is_ok());
    }

    #[test]
    fn days_are_kept_as_configured_and_never_for_longer_than_stated() {
        let first = |days_kept| {
            let job = DayKeys {
                days_kept,
                need_backup: true,
            };
            job.first_kept(Time(100 * DAY + 5))
        };
        assert_eq!(
            (first(7), first(30), first(400), first(0)),
            (93, 70, 70, 99)
        );
    }
}
