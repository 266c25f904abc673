//! Cells of a sheet as text.

use calamine::{DataRef, ExcelDateTime};

use crate::{Reject, RejectCode};

/// Rows of a sheet, by the format.
pub(super) const ROWS_MAX: u32 = 1_048_576;
/// Columns of a sheet, by the format.
pub(super) const COLUMNS_MAX: u32 = 16_384;
/// Whole numbers from here on have lost digits: a sheet keeps fifteen.
const EXACT_BELOW: f64 = 1e15;

/// A cell's text, or why it has none.
pub(super) type Value = Result<String, &'static str>;

/// The text of a cell, as it would be exported.
pub(super) fn text(value: &DataRef<'_>, formula: bool) -> Value {
    match value {
        DataRef::Empty if formula => {
            Err("a formula without a saved value: open the workbook, save it and try again")
        }
        DataRef::Empty => Ok(String::new()),
        DataRef::Int(number) => Ok(number.to_string()),
        DataRef::Float(number) => float(*number),
        DataRef::String(text) => Ok(text.trim().to_owned()),
        DataRef::SharedString(text) => Ok(text.trim().to_owned()),
        DataRef::Bool(flag) => Ok(flag.to_string()),
        DataRef::DateTime(at) => Ok(moment(*at)),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Ok(text.clone()),
        DataRef::Error(_) => Err("the cell holds an error such as #N/A"),
    }
}

/// A number as its cell shows it: fifteen digits, no exponent.
fn float(number: f64) -> Value {
    if !number.is_finite() {
        return Err("the cell holds a number that is none");
    }
    if number.fract() == 0.0 {
        return match number.abs() < EXACT_BELOW {
            // Through an integer: there is no -0.
            true => Ok((number as i64).to_string()),
            false => Err(
                "a number of more than 15 digits: the spreadsheet has rounded it; format the column as text",
            ),
        };
    }
    let exact = number.to_string();
    let digits = exact
        .bytes()
        .filter(u8::is_ascii_digit)
        .skip_while(|digit| *digit == b'0')
        .count();
    if digits <= 15 {
        return Ok(exact);
    }
    // 0.30000000000000004 is how 0.3 is stored after a sum.
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    Ok(rounded.to_string())
}

/// Local time without an offset; a duration as hours, minutes, seconds.
fn moment(at: ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, milli) = at.to_ymd_hms_milli();
    if at.is_duration() {
        let seconds = (at.as_f64() * 86_400.0).round().max(0.0) as u64;
        return format!(
            "{:02}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        );
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    match (hour, minute, second, milli) {
        (0, 0, 0, 0) => date,
        (_, _, _, 0) => format!("{date}T{hour:02}:{minute:02}:{second:02}"),
        _ => format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}"),
    }
}

/// Why the row with this cell is set aside; both count from 0.
pub(super) fn reject(row: u32, column: usize, what: &str) -> Reject {
    let mut name = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        name.push(b'A' + ((rest - 1) % 26) as u8);
        rest = (rest - 1) / 26;
    }
    name.reverse();
    let name = String::from_utf8_lossy(&name);
    Reject::at(
        RejectCode::FieldType,
        format!("{name}{}", row + 1),
        format!("cell {name}{}: {what}", row + 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_a_sheet_shows_them() {
        for (number, expected) in [
            (17_850.0, Some("17850")),
            (13_800_000_000.0, Some("13800000000")),
            (0.1 + 0.2, Some("0.3")),
            (2.55, Some("2.55")),
            (-0.0, Some("0")),
            (-12.5, Some("-12.5")),
            (0.000_001, Some("0.000001")),
            (123_456_789_012_345_678.0, None),
            (f64::NAN, None),
        ] {
            assert_eq!(
                text(&DataRef::Float(number), false).ok().as_deref(),
                expected,
                "{number}"
            );
        }
        assert!(text(&DataRef::Empty, true).is_err());
        assert_eq!(text(&DataRef::Empty, false).as_deref(), Ok(""));
    }

    #[test]
    fn places_are_named_like_in_a_sheet() {
        for (column, name) in [(0, "A7"), (25, "Z7"), (26, "AA7"), (16_383, "XFD7")] {
            assert_eq!(reject(6, column, "x").field.as_deref(), Some(name));
        }
    }
}
