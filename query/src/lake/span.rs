//! Days and months of the installation's zone as stretches of the time line.

use std::collections::BTreeMap;

use actors::model::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// Length of a stretch where the calendar has none: 32 days.
const EVEN_MS: i64 = 32 * 86_400_000;

/// How long a stretch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Day,
    Month,
}

/// Finds the stretch that an instant is in. Remembers what it found: asking the zone for each event would cost more than
/// writing it.
pub(super) struct Calendar {
    zone: TimeZone,
    unit: Unit,
    /// First millisecond → first one behind.
    known: BTreeMap<i64, i64>,
}

impl Calendar {
    /// A calendar of days or months.
    pub fn new(zone: TimeZone, unit: Unit) -> Calendar {
        Calendar {
            zone,
            unit,
            known: BTreeMap::new(),
        }
    }

    /// First instant of the stretch, and the first one behind it.
    pub fn around(&mut self, time: Time) -> (Time, Time) {
        let at = time.0.clamp(Time::MIN.0, Time::MAX.0);
        if let Some((&from, &to)) = self.known.range(..=at).next_back()
            && at < to
        {
            return (Time(from), Time(to));
        }
        // At the ends of the calendar a zone may have no local time: stretches of any even length do there.
        let even = at.div_euclid(EVEN_MS) * EVEN_MS;
        let (from, to) = self.find(at).unwrap_or((even, even + EVEN_MS));
        self.known.insert(from, to);
        (Time(from), Time(to))
    }

    fn find(&self, at: i64) -> Option<(i64, i64)> {
        let here = Timestamp::from_millisecond(at)
            .ok()?
            .to_zoned(self.zone.clone());
        let day = match self.unit {
            Unit::Day => here.start_of_day().ok()?,
            Unit::Month => here.first_of_month().ok()?.start_of_day().ok()?,
        };
        let next: Zoned = match self.unit {
            Unit::Day => day.tomorrow().ok()?.start_of_day().ok()?,
            Unit::Month => day.checked_add(1.month()).ok()?.start_of_day().ok()?,
        };
        let (from, to) = (
            day.timestamp().as_millisecond(),
            next.timestamp().as_millisecond(),
        );
        (from <= at && at < to).then_some((from, to))
    }
}
