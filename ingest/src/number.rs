//! Decimal numbers from text to scaled integers, without a float in between.

/// Reads a decimal number and scales it by 10^`places`, rounded once, half away from zero. `None` if it is no number
/// (`12`, `-0.50`, `1.5e3`) or does not fit.
///
/// Digits are kept exactly however many there are: what lies behind the last place only decides the rounding.
pub(crate) fn scaled(text: &str, places: u32) -> Option<i64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // The decimal point of the result stands behind this many digits of the mantissa.
    let kept = whole.len() as i64 + exponent + i64::from(places);
    let mut value = 0i64;
    let mut up = false;
    let mut seen = 0i64;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        if seen < kept {
            value = value.checked_mul(10)?.checked_add(digit.into())?;
        } else if seen == kept {
            up = digit >= 5;
        }
        seen += 1;
    }
    if value != 0 {
        for _ in seen..kept {
            value = value.checked_mul(10)?;
        }
    }
    if up {
        value = value.checked_add(1)?;
    }
    Some(if negative { -value } else { value })
}

/// A decimal exponent; those beyond any number that fits are cut down so that sums cannot overflow.
fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 40);
    Some(if text.starts_with('-') { -size } else { size })
}

/// A number as an id: integers as written, `17850.0` as `17850` (what a table with gaps makes of integers).
/// `None` for anything else: an id with a fraction or exponent is a mistake.
pub(crate) fn as_id(number: &str) -> Option<&str> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let whole_ok = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (whole_ok && fraction.bytes().all(|b| b == b'0')).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_scaled_and_rounded_once() {
        for (text, places, expected) in [
            ("12.5", 2, Some(1250)),
            ("12.345", 2, Some(1235)),
            ("-12.345", 2, Some(-1235)),
            ("12.3449999999999999999999999999999999", 2, Some(1234)),
            ("0", 2, Some(0)),
            ("-0.004", 2, Some(0)),
            ("1e3", 2, Some(100_000)),
            ("1.5E-3", 6, Some(1500)),
            ("5e-7", 6, Some(1)),
            ("4e-7", 6, Some(0)),
            ("9e-99999999999999999999", 6, Some(0)),
            ("0e99999999999999999999", 6, Some(0)),
            (".5", 1, Some(5)),
            ("5.", 1, Some(50)),
            ("+7", 0, Some(7)),
            ("92233720368547758.07", 2, Some(i64::MAX)),
            ("92233720368547758.08", 2, None),
            ("1e99", 2, None),
            ("", 2, None),
            ("-", 2, None),
            (".", 2, None),
            ("1,234", 2, None),
            ("1_0", 2, None),
            ("0x10", 2, None),
            ("1e", 2, None),
            ("NaN", 2, None),
            ("1.2.3", 2, None),
            ("１", 2, None),
        ] {
            assert_eq!(scaled(text, places), expected, "{text} at {places}");
        }
    }

    #[test]
    fn ids_keep_all_digits() {
        for (text, expected) in [
            ("17850.0", Some("17850")),
            ("9223372036854775808999", Some("9223372036854775808999")),
            ("-3", Some("-3")),
            ("1.5", None),
            ("1e3", None),
            ("", None),
        ] {
            assert_eq!(as_id(text), expected, "{text}");
        }
    }
}
