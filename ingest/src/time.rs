//! Times as senders write them.

use actors::model::Time;

use crate::json::Value;
use crate::{Reject, RejectCode, limits, number};

/// Numbers from here on are milliseconds, below are seconds: 1973 in milliseconds, year 5138 in seconds.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// Reads a time of an event and adds `offset_ms`: RFC 3339 with any offset; without an offset UTC; a day alone is its
/// midnight; numbers, also as text, are epoch milliseconds or seconds. `None` if there is none (null or empty).
pub(crate) fn event_time(
    value: &Value<'_>,
    field: &str,
    offset_ms: i64,
) -> Result<Option<Time>, Reject> {
    let time = match value {
        Value::Null => return Ok(None),
        Value::Text(text) if text.trim().is_empty() => return Ok(None),
        value => read(value).ok_or_else(|| {
            Reject::at(
                RejectCode::TimeForm,
                field,
                "this is no time: send RFC 3339, e.g. 2026-11-22T09:50:41.080+08:00, or epoch milliseconds",
            )
        })?,
    };
    let corrected = Time(time.0.saturating_add(offset_ms));
    if (limits::TIME_FIRST..=limits::TIME_LAST).contains(&corrected) {
        Ok(Some(corrected))
    } else {
        Err(Reject::at(
            RejectCode::TimeRange,
            field,
            "before 1970 or after 9999: correct the sender's clock or send `sentAt`",
        ))
    }
}

/// Reads a time; any instant that fits.
pub(crate) fn read(value: &Value<'_>) -> Option<Time> {
    match value {
        Value::Number(number) => epoch(number),
        Value::Text(text) => {
            let text = text.trim();
            if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                return epoch(text);
            }
            fixed(text.as_bytes())
                .or_else(|| Time::from_rfc3339(text))
                .or_else(|| civil(text))
        }
        _ => None,
    }
}

fn epoch(number: &str) -> Option<Time> {
    let thousandths = number::scaled(number, 3)?;
    let whole = thousandths / 1000;
    Some(Time(if whole.abs() >= MILLISECONDS_FROM {
        whole
    } else {
        thousandths
    }))
}

/// A date and time, or a day, without offset: UTC.
fn civil(text: &str) -> Option<Time> {
    let at: jiff::civil::DateTime = text.parse().ok()?;
    let zoned = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Time(zoned.timestamp().as_millisecond()))
}

/// `YYYY-MM-DD` `T` or space `hh:mm:ss` `[.fraction]` `Z` or `±hh:mm`: what SDKs send, read without a general parser.
fn fixed(text: &[u8]) -> Option<Time> {
    let digits = |from: usize, to: usize| -> Option<i64> {
        text.get(from..to)?.iter().try_fold(0, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
        })
    };
    let sign = |at: usize, any: &[u8]| text.get(at).is_some_and(|b| any.contains(b));
    if !(sign(4, b"-") && sign(7, b"-") && sign(10, b"T ") && sign(13, b":") && sign(16, b":")) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > month_days || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut ms = 0;
    if sign(at, b".") {
        at += 1;
        let start = at;
        let mut weight = 100;
        while let Some(digit) = text.get(at).filter(|b| b.is_ascii_digit()) {
            ms += i64::from(digit - b'0') * weight;
            weight /= 10;
            at += 1;
        }
        if at == start {
            return None;
        }
    }
    let offset_minutes = if sign(at, b"Zz") && text.len() == at + 1 {
        0
    } else if sign(at, b"+-") && sign(at + 3, b":") && text.len() == at + 6 {
        let (hours, minutes) = (digits(at + 1, at + 3)?, digits(at + 4, at + 6)?);
        if hours > 23 || minutes > 59 {
            return None;
        }
        let minutes = hours * 60 + minutes;
        if text[at] == b'-' { -minutes } else { minutes }
    } else {
        return None;
    };
    let days = days_from_civil(year, month, day);
    let seconds = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second;
    Some(Time(seconds * 1000 + ms))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<Time> {
        read(&Value::Text(text.into()))
    }

    #[test]
    fn the_forms_of_real_clients_are_read() {
        let at = Time::from_rfc3339("2026-11-22T09:50:41.080Z");
        assert_eq!(at, Some(Time(1_795_341_041_080)));
        for same in [
            "2026-11-22T09:50:41.080+00:00",
            "2026-11-22T09:50:41.080103+00:00",
            "2026-11-22T17:50:41.08+08:00",
            "2026-11-22 09:50:41.080Z",
            "2026-11-22T09:50:41.080",
            " 2026-11-22T09:50:41.080Z ",
            "1795341041080",
            "1795341041.08",
        ] {
            assert_eq!(text(same), at, "{same}");
        }
        assert_eq!(read(&Value::Number("1795341041080")), at);
        assert_eq!(read(&Value::Number("1795341041.080")), at);
        assert_eq!(
            text("2026-11-22"),
            Time::from_rfc3339("2026-11-22T00:00:00Z")
        );
        for none in [
            "",
            "soon",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-22T25:00:00Z",
        ] {
            assert_eq!(text(none), None, "{none}");
        }
    }

    #[test]
    fn the_short_way_agrees_with_the_long_one() {
        for day in 0..80_000i64 {
            let at = Time(day * 86_400_000 * 2 - 62_135_596_800_000 + day * 977);
            let written = at.rfc3339();
            assert_eq!(fixed(written.as_bytes()), Some(at), "{written}");
        }
    }
}
