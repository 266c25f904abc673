//! Writes JSON into a byte buffer, without intermediate values: the generator's speed is the load generator's speed.
//!
//! Invariant: every text goes through [`text`] unless it is a literal of ours without quotes, backslashes and controls.

use super::rhythm::calendar_day;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `value` with quotes, escaped as RFC 8259 asks: quote, backslash and controls.
pub fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    text_inner(out, value);
    out.push(b'"');
}

/// The same without quotes, for a text that is written in parts.
pub fn text_inner(out: &mut Vec<u8>, value: &str) {
    let bytes = value.as_bytes();
    let mut plain_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
}

/// Appends a literal of ours.
#[inline]
pub fn raw(out: &mut Vec<u8>, literal: &str) {
    out.extend_from_slice(literal.as_bytes());
}

/// Appends an unsigned number.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}

/// Appends `value` with exactly `width` digits, zeros in front; higher digits are cut.
pub fn padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Appends `value` / 10^`digits` as a decimal number, e.g. `decimal(1250, 2)` is `12.50`.
pub fn decimal(out: &mut Vec<u8>, value: i64, digits: u32) {
    if value < 0 {
        out.push(b'-');
    }
    let magnitude = value.unsigned_abs();
    let unit = 10u64.pow(digits);
    number(out, magnitude / unit);
    if digits > 0 {
        out.push(b'.');
        padded(out, magnitude % unit, digits as usize);
    }
}

/// Appends the lower 4 × `digits` bits of `value` in hexadecimal.
pub fn hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for at in (0..digits).rev() {
        out.push(HEX[(value >> (4 * at) & 15) as usize]);
    }
}

/// Appends an instant (milliseconds since 1970) with quotes, as RFC 3339 with milliseconds in UTC.
pub fn instant(out: &mut Vec<u8>, ms: i64) {
    civil(out, ms);
    raw(out, "Z\"");
}

/// The same instant, said in Beijing time: `…+08:00`.
pub fn instant_beijing(out: &mut Vec<u8>, ms: i64) {
    const EIGHT_HOURS_MS: i64 = 8 * 3_600_000;
    civil(out, ms + EIGHT_HOURS_MS);
    raw(out, "+08:00\"");
}

fn civil(out: &mut Vec<u8>, ms: i64) {
    const DAY_MS: i64 = 86_400_000;
    let (year, month, day) = calendar_day(ms.div_euclid(DAY_MS));
    let rest = ms.rem_euclid(DAY_MS) as u64;
    out.push(b'"');
    padded(out, year as u64, 4);
    out.push(b'-');
    padded(out, u64::from(month), 2);
    out.push(b'-');
    padded(out, u64::from(day), 2);
    out.push(b'T');
    padded(out, rest / 3_600_000, 2);
    out.push(b':');
    padded(out, rest / 60_000 % 60, 2);
    out.push(b':');
    padded(out, rest / 1_000 % 60, 2);
    out.push(b'.');
    padded(out, rest % 1_000, 3);
}
