//! How many events a source may send, if somebody has said so: one that runs wild must not fill what all share.
//!
//! A source may send while it owes nothing; what it sends is its debt, which shrinks by `per_second` each second. So a batch
//! is taken or refused whole, however large, and over time no more comes than was allowed.

use std::collections::HashMap;

use actors::model::{RawJson, SourceId, Time};
use parking_lot::Mutex;

use crate::error::ApiError;

/// Name of the setting of a source.
pub const SETTING: &str = "events_per_second";
/// Largest value: more than one machine takes.
const PER_SECOND_MAX: u64 = 1_000_000;

/// `events_per_second` of a source's settings; none: as many as it likes.
pub fn of_settings(settings: &RawJson) -> Result<Option<u32>, String> {
    let settings = settings.parse();
    let Some(value) = settings.get(SETTING).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let number = value
        .as_u64()
        .filter(|number| (1..=PER_SECOND_MAX).contains(number))
        .and_then(|number| u32::try_from(number).ok());
    number
        .map(Some)
        .ok_or_else(|| format!("{SETTING} is no whole number from 1 to {PER_SECOND_MAX}"))
}

/// What sources owe.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<SourceId, Debt>>);

#[derive(Debug, Clone, Copy)]
struct Debt {
    /// Thousandths of events.
    milli: u64,
    at: Time,
}

impl Rates {
    /// Takes `events` of a source that may send `per_second`, or says when it may send again.
    pub fn take(
        &self,
        source: SourceId,
        per_second: Option<u32>,
        events: usize,
        now: Time,
    ) -> Result<(), ApiError> {
        let Some(per_second) = per_second else {
            return Ok(());
        };
        let mut debts = self.0.lock();
        let debt = debts.entry(source).or_insert(Debt { milli: 0, at: now });
        // A clock that is set back pays nothing and costs nothing.
        let passed_ms = u64::try_from(now.0 - debt.at.0).unwrap_or_default();
        debt.milli = debt
            .milli
            .saturating_sub(passed_ms.saturating_mul(per_second.into()));
        debt.at = now;
        if debt.milli > 0 {
            let wait_s = debt.milli.div_ceil(u64::from(per_second) * 1_000);
            let message = format!("this source may send {per_second} events per second");
            return Err(ApiError::new("source_busy", message)
                .retry_after(u32::try_from(wait_s).unwrap_or(u32::MAX)));
        }
        debt.milli = events as u64 * 1_000;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_comes_than_was_allowed_and_batches_stay_whole() {
        let rates = Rates::default();
        let send = |source: u32, events: usize, ms: i64| {
            let sent = rates.take(SourceId(source), Some(100), events, Time(ms));
            sent.map_err(|error| (error.code(), error.retry_after_s().unwrap_or_default()))
        };
        assert_eq!(send(1, 1_000, 0), Ok(()), "larger than a second's worth");
        assert_eq!(send(1, 1, 0), Err(("source_busy", 10)));
        assert_eq!(send(1, 1, 9_001), Err(("source_busy", 1)));
        assert_eq!(send(2, 1, 0), Ok(()), "others are not concerned");
        assert_eq!(send(1, 50, 10_000), Ok(()));
        assert_eq!(send(1, 50, 10_499), Err(("source_busy", 1)));
        assert_eq!(send(1, 50, 4_000), Err(("source_busy", 1)), "set back");
        assert_eq!(send(1, 50, 4_500), Ok(()));
        let free = rates.take(SourceId(1), None, 1_000_000, Time(4_500));
        assert!(free.is_ok(), "nobody has said");
    }

    #[test]
    fn the_setting_is_a_whole_number() {
        for (settings, expected) in [
            ("{}", Ok(None)),
            (r#"{"events_per_second": null}"#, Ok(None)),
            (r#"{"events_per_second": 500}"#, Ok(Some(500))),
            (r#"{"events_per_second": 0}"#, Err(())),
            (r#"{"events_per_second": -1}"#, Err(())),
            (r#"{"events_per_second": 1.5}"#, Err(())),
            (r#"{"events_per_second": "9"}"#, Err(())),
            (r#"{"events_per_second": 1000001}"#, Err(())),
        ] {
            let settings = RawJson::object(settings).unwrap();
            assert_eq!(
                of_settings(&settings).map_err(|_| ()),
                expected,
                "{settings:?}"
            );
        }
    }
}
