//! Days, months and the wall clock of the installation's zone.
//!
//! A day is the time from its first instant to the first instant of the next day, so that days never overlap, also where
//! the wall clock is set back across midnight.

use actors::model::Time;
use jiff::civil::{self, Date};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// 0001-01-01 as days since 1970-01-01: the day of [`Time::MIN`].
pub const DAY_MIN: i32 = -719_162;
/// 9999-12-31: the day of [`Time::MAX`].
pub const DAY_MAX: i32 = 2_932_896;

/// The calendar day of an instant.
pub fn day_of(at: Time, zone: &TimeZone) -> i32 {
    let day = crate::profile::value::days_of(zoned(at, zone).date());
    // Only where clocks go back across midnight does the wall clock show yesterday once more.
    if day < DAY_MAX && at >= day_start(day + 1, zone) {
        day + 1
    } else {
        day
    }
}

/// The first instant of a day.
pub fn day_start(day: i32, zone: &TimeZone) -> Time {
    if day > DAY_MAX {
        return Time::MAX;
    }
    let start = date_of(day)
        .to_zoned(zone.clone())
        .and_then(|at| at.start_of_day());
    match start {
        Ok(start) => first_of(time_of(&start), day, zone),
        Err(_) if day > 0 => Time::MAX,
        Err(_) => Time::MIN,
    }
}

/// The first instant of a day, of which `start` is one. Where clocks jump over midnight from before it to after it, a
/// civil midnight moves on by the whole jump; the day begins where the jump ends.
fn first_of(start: Time, day: i32, zone: &TimeZone) -> Time {
    if crate::profile::value::days_of(zoned(start.plus_ms(-1), zone).date()) != day {
        return start;
    }
    let jump = Timestamp::from_millisecond(start.0)
        .ok()
        .and_then(|start| zone.preceding(start).next());
    jump.map_or(start, |jump| Time(jump.timestamp().as_millisecond()))
}

/// The first instant of the day after.
pub fn day_end(day: i32, zone: &TimeZone) -> Time {
    day_start(day.saturating_add(1), zone)
}

/// The date of a day; days outside the years 1 to 9999 are the nearest inside.
pub fn date_of(day: i32) -> Date {
    let days = Span::new().days(i64::from(day.clamp(DAY_MIN, DAY_MAX)));
    civil::date(1970, 1, 1)
        .checked_add(days)
        .expect("the day was clamped into the years 1 to 9999")
}

/// The first day of the month that is `months` after the month of `day`.
pub fn month_start(day: i32, months: i32) -> i32 {
    add_months(
        crate::profile::value::days_of(date_of(day).first_of_month()),
        months,
    )
}

/// The same day `months` later; a day that does not exist becomes the last of its month.
pub fn add_months(day: i32, months: i32) -> i32 {
    let span = Span::new().try_months(i64::from(months));
    match span.and_then(|span| date_of(day).checked_add(span)) {
        Ok(date) => crate::profile::value::days_of(date).clamp(DAY_MIN, DAY_MAX),
        Err(_) if months < 0 => DAY_MIN,
        Err(_) => DAY_MAX,
    }
}

/// Moves an instant by months and days on the wall clock. A wall clock time that does not exist is read an hour later,
/// one that exists twice is the earlier.
pub fn shift_wall(at: Time, months: i32, days: i32, zone: &TimeZone) -> Time {
    let moved = Span::new()
        .try_months(i64::from(months))
        .and_then(|span| span.try_days(i64::from(days)))
        .and_then(|span| zoned(at, zone).checked_add(span));
    match moved {
        Ok(moved) => time_of(&moved),
        Err(_) if months < 0 || days < 0 => Time::MIN,
        Err(_) => Time::MAX,
    }
}

/// Whether the zone's offset changes within two days of an instant.
pub fn near_transition(at: Time, zone: &TimeZone) -> bool {
    const NEAR_MS: i64 = 2 * 24 * 3_600_000;
    let from = timestamp(at.plus_ms(-NEAR_MS));
    zone.following(from)
        .next()
        .is_some_and(|next| next.timestamp() <= timestamp(at.plus_ms(NEAR_MS)))
}

fn timestamp(at: Time) -> Timestamp {
    // jiff's instants end a day before the year 9999 does, so that every offset has room.
    Timestamp::from_millisecond(at.0).unwrap_or(match at.0 < 0 {
        true => Timestamp::MIN,
        false => Timestamp::MAX,
    })
}

fn zoned(at: Time, zone: &TimeZone) -> Zoned {
    timestamp(at).to_zoned(zone.clone())
}

fn time_of(at: &Zoned) -> Time {
    Time(at.timestamp().as_millisecond()).plus_ms(0)
}
