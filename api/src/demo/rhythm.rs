//! When things happen: the year of a dairy brand, its week and its day, as numbers of messages per hour.
//!
//! Spring Festival gifts, the 6·18 and 11·11 sales, warm months for yoghurt; breakfast, lunch break and evening.

use super::random::mix;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Beijing time is the brand's time.
const OFFSET_MS: i64 = 8 * HOUR_MS;

/// Weight of each month, in percent of an average one.
const MONTHS: [u64; 12] = [118, 104, 88, 90, 98, 122, 104, 100, 96, 94, 132, 108];
/// Weight of each hour of the day in Beijing.
const HOURS: [u64; 24] = [
    14, 8, 5, 4, 5, 12, 40, 74, 82, 70, 66, 78, 96, 80, 60, 58, 62, 74, 92, 112, 128, 122, 84, 38,
];
/// Weight of each day of the week from Monday, in percent.
const WEEKDAYS: [u64; 7] = [94, 92, 94, 96, 104, 114, 112];

/// Spreads a number of messages over the hours of a span; every message has its instant, and instants never go back.
#[derive(Debug, Clone)]
pub struct Rhythm {
    start_ms: i64,
    /// An hour; the whole span if that is shorter.
    slot_ms: i64,
    /// Messages up to and including each slot.
    until: Vec<u64>,
    slot: usize,
    given: u64,
}

impl Rhythm {
    /// `messages` between `start_ms` and `end_ms` (at least a millisecond apart).
    pub fn new(start_ms: i64, end_ms: i64, messages: u64) -> Rhythm {
        let slot_ms = (end_ms - start_ms).clamp(1, HOUR_MS);
        let slots = ((end_ms - start_ms) / slot_ms).max(1) as usize;
        let weights: Vec<u64> = (0..slots)
            .map(|slot| weight(start_ms + slot as i64 * slot_ms))
            .collect();
        let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        let mut sum = 0u128;
        let until = weights
            .iter()
            .map(|weight| {
                sum += u128::from(*weight);
                (sum * u128::from(messages) / total) as u64
            })
            .collect();
        Rhythm {
            start_ms,
            slot_ms,
            until,
            slot: 0,
            given: 0,
        }
    }

    /// The instant of the next message; `None` when all are given.
    pub fn next_ms(&mut self) -> Option<i64> {
        while self.given >= *self.until.get(self.slot)? {
            self.slot += 1;
        }
        let before = if self.slot == 0 {
            0
        } else {
            self.until[self.slot - 1]
        };
        let in_slot = self.until[self.slot] - before;
        // Somewhere within the message's own slice of the slot, so that nothing happens on the hour only.
        let jitter = (mix(self.given) >> 54) as i64;
        let within = ((self.given - before) as i64 * 1_024 + jitter) * self.slot_ms
            / (in_slot as i64 * 1_024);
        self.given += 1;
        Some(self.start_ms + self.slot as i64 * self.slot_ms + within)
    }

    /// How much of the span has passed, in 65,536ths.
    pub fn passed(&self) -> u32 {
        ((self.slot as u64) << 16).div_euclid(self.until.len() as u64) as u32
    }
}

fn weight(ms: i64) -> u64 {
    let local = ms + OFFSET_MS;
    let day = local.div_euclid(DAY_MS);
    let (_, month, of_month) = calendar_day(day);
    // 1970-01-01 was a Thursday.
    let weekday = (day + 3).rem_euclid(7) as usize;
    let hour = (local.rem_euclid(DAY_MS) / HOUR_MS) as usize;
    let sale = match (month, of_month) {
        (6, 16..=18) | (11, 10..=11) => 260,
        (6, 1..=15) | (11, 1..=9) => 120,
        (12, 12) => 160,
        _ => 100,
    };
    MONTHS[month as usize - 1] * WEEKDAYS[weekday] * HOURS[hour] * sale
}

/// Year, month and day of the month of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
pub fn calendar_day(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
