//! Values of Parquet as text: what a CSV export of them would say.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::schema::types::ColumnDescriptor;

use super::Cell;
use crate::limits;

/// What the stored numbers or bytes of a column mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Plain,
    Unsigned32,
    Unsigned64,
    /// Decimal places.
    Decimal(u32),
    /// Days since 1970.
    Date,
    /// Parts of a second since 1970; `utc`: an instant, otherwise local to somewhere.
    Timestamp {
        per_second: i64,
        utc: bool,
    },
    /// Parts of a second since midnight.
    TimeOfDay {
        per_second: i64,
    },
    Uuid,
}

impl Reading {
    pub fn of(column: &ColumnDescriptor) -> Reading {
        let per_second = |unit: &TimeUnit| match unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        };
        let places = || u32::try_from(column.type_scale()).unwrap_or(0);
        match column.logical_type_ref() {
            Some(LogicalType::Decimal(decimal)) => {
                return Reading::Decimal(u32::try_from(decimal.scale).unwrap_or(0));
            }
            Some(LogicalType::Date) => return Reading::Date,
            Some(LogicalType::Timestamp(stamp)) => {
                return Reading::Timestamp {
                    per_second: per_second(&stamp.unit),
                    utc: stamp.is_adjusted_to_u_t_c,
                };
            }
            Some(LogicalType::Time(time)) => {
                return Reading::TimeOfDay {
                    per_second: per_second(&time.unit),
                };
            }
            Some(LogicalType::Uuid) => return Reading::Uuid,
            _ => {}
        }
        match column.converted_type() {
            ConvertedType::DECIMAL => Reading::Decimal(places()),
            ConvertedType::DATE => Reading::Date,
            ConvertedType::TIMESTAMP_MILLIS => Reading::Timestamp {
                per_second: 1_000,
                utc: true,
            },
            ConvertedType::TIMESTAMP_MICROS => Reading::Timestamp {
                per_second: 1_000_000,
                utc: true,
            },
            ConvertedType::TIME_MILLIS => Reading::TimeOfDay { per_second: 1_000 },
            ConvertedType::TIME_MICROS => Reading::TimeOfDay {
                per_second: 1_000_000,
            },
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 => {
                Reading::Unsigned32
            }
            ConvertedType::UINT_64 => Reading::Unsigned64,
            _ => Reading::Plain,
        }
    }

    /// A stored whole number.
    pub fn whole(self, value: i64) -> Cell {
        match self {
            Reading::Plain | Reading::Uuid => Ok(value.to_string()),
            // Stored as the signed number with the same bits.
            Reading::Unsigned32 => Ok((value as u32).to_string()),
            Reading::Unsigned64 => Ok((value as u64).to_string()),
            Reading::Decimal(places) => Ok(pointed(i128::from(value), places)),
            Reading::Date => day(value),
            Reading::Timestamp { per_second, utc } => moment(value, per_second, utc),
            Reading::TimeOfDay { per_second } => {
                let seconds = value.div_euclid(per_second);
                Ok(format!(
                    "{:02}:{:02}:{:02}",
                    seconds / 3_600,
                    seconds / 60 % 60,
                    seconds % 60
                ))
            }
        }
    }

    /// Stored bytes.
    pub fn bytes(self, value: &[u8]) -> Cell {
        if value.len() > limits::ROW_BYTES {
            return Err("the value is longer than a row may be");
        }
        match self {
            Reading::Decimal(places) => match signed(value) {
                Some(number) => Ok(pointed(number, places)),
                None => Err("the decimal number has more than 38 digits"),
            },
            Reading::Uuid => {
                let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
                match hex.is_char_boundary(32) && hex.len() == 32 {
                    true => Ok(format!(
                        "{}-{}-{}-{}-{}",
                        &hex[..8],
                        &hex[8..12],
                        &hex[12..16],
                        &hex[16..20],
                        &hex[20..]
                    )),
                    false => Err("the UUID has not 16 bytes"),
                }
            }
            _ => match std::str::from_utf8(value) {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(_) => Err("the bytes are no UTF-8 text"),
            },
        }
    }
}

/// A binary number: whole ones without a fraction, none as nothing: tables with gaps hold NaN there.
pub(super) fn float(none: bool, value: &impl std::fmt::Display) -> String {
    match none {
        true => String::new(),
        false => value.to_string(),
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanos(value: i64, utc: bool) -> Cell {
    moment(value, 1_000_000_000, utc)
}

fn moment(value: i64, per_second: i64, utc: bool) -> Cell {
    let nanos = i128::from(value) * (1_000_000_000 / i128::from(per_second));
    let Ok(at) = jiff::Timestamp::from_nanosecond(nanos) else {
        return Err("the time is outside the years -9999 to 9999");
    };
    // An instant ends in Z; without it the mapping's zone holds.
    match utc {
        true => Ok(at.to_string()),
        false => Ok(at.to_zoned(jiff::tz::TimeZone::UTC).datetime().to_string()),
    }
}

fn day(value: i64) -> Cell {
    let seconds = value.checked_mul(86_400);
    match seconds.map(jiff::Timestamp::from_second) {
        Some(Ok(at)) => Ok(at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()),
        _ => Err("the day is outside the years -9999 to 9999"),
    }
}

/// A big-endian two's complement number.
fn signed(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let cut = bytes.len().saturating_sub(16);
    if bytes[..cut].iter().any(|byte| *byte != fill) {
        return None;
    }
    let mut whole = [fill; 16];
    let low = &bytes[cut..];
    whole[16 - low.len()..].copy_from_slice(low);
    let number = i128::from_be_bytes(whole);
    (cut == 0 || (number < 0) == negative).then_some(number)
}

/// A number with its decimal point.
fn pointed(number: i128, places: u32) -> String {
    if places == 0 {
        return number.to_string();
    }
    let places = places as usize;
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_times_and_bytes_become_text() {
        let stamp = |per_second, utc| Reading::Timestamp { per_second, utc };
        for (reading, value, expected) in [
            (Reading::Plain, -3, "-3"),
            (Reading::Unsigned32, -1, "4294967295"),
            (Reading::Unsigned64, -1, "18446744073709551615"),
            (Reading::Decimal(2), -5, "-0.05"),
            (Reading::Decimal(2), 12_345, "123.45"),
            (Reading::Decimal(0), 7, "7"),
            (Reading::Date, 0, "1970-01-01"),
            (Reading::Date, 20_779, "2026-11-22"),
            (
                stamp(1_000, true),
                1_795_341_041_080,
                "2026-11-22T09:50:41.08Z",
            ),
            (
                stamp(1_000_000, false),
                1_291_191_960_000_000,
                "2010-12-01T08:26:00",
            ),
            (
                Reading::TimeOfDay { per_second: 1_000 },
                3_661_000,
                "01:01:01",
            ),
        ] {
            assert_eq!(
                reading.whole(value).as_deref(),
                Ok(expected),
                "{reading:?} {value}"
            );
        }
        assert!(Reading::Date.whole(i64::MAX).is_err());
        assert!(stamp(1_000, true).whole(i64::MAX).is_err());
        assert_eq!(
            Reading::Decimal(2).bytes(&[0xff, 0x85]).as_deref(),
            Ok("-1.23")
        );
        assert_eq!(Reading::Decimal(2).bytes(&[]).as_deref(), Ok("0.00"));
        let mut long = vec![0xff; 20];
        assert_eq!(Reading::Decimal(0).bytes(&long).as_deref(), Ok("-1"));
        long[0] = 1;
        assert!(Reading::Decimal(0).bytes(&long).is_err());
        assert!(Reading::Plain.bytes(&[0xff]).is_err());
        assert_eq!(float(false, &17_850.0), "17850");
        assert_eq!(float(true, &f64::NAN), "");
    }
}
