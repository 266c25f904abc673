//! What sampled values look like.

use jiff::civil::DateTime;

/// Forms of times that exports write, beside ISO; tried in this order.
const TIME_FORMS: &[&str] = &[
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月%d日 %H:%M",
    "%Y年%m月%d日",
    "%Y%m%d%H%M%S",
    "%Y%m%d",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
];

/// The forms that together read all values; none if some value is no time.
pub(super) fn time_forms<'v>(values: impl Iterator<Item = &'v str>) -> Option<Vec<&'static str>> {
    let mut found: Vec<&'static str> = Vec::new();
    for value in values.filter(|value| !value.is_empty()) {
        if found.iter().any(|form| reads(form, value)) {
            continue;
        }
        let form = std::iter::once("iso")
            .chain(TIME_FORMS.iter().copied())
            .find(|form| reads(form, value))?;
        found.push(form);
    }
    (!found.is_empty()).then_some(found)
}

fn reads(form: &str, value: &str) -> bool {
    if form == "iso" {
        // A bare number is a time only by accident.
        return value.contains(['-', ':'])
            && (value.parse::<DateTime>().is_ok() || value.parse::<jiff::Timestamp>().is_ok());
    }
    let Ok(parsed) = jiff::fmt::strtime::parse(form, value) else {
        return false;
    };
    let year = parsed.year().unwrap_or(0);
    (1900..2100).contains(&year) && (parsed.to_datetime().is_ok() || parsed.to_date().is_ok())
}

/// Numbers that one calculates with: no leading zeros, not as long as an id.
pub(super) fn numbers<'v>(values: impl Iterator<Item = &'v str>) -> bool {
    let mut any = false;
    for value in values.filter(|value| !value.is_empty()) {
        let digits = value.strip_prefix('-').unwrap_or(value);
        let zeros = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        if zeros
            || digits.len() > 10
            || digits.parse::<f64>().is_err()
            || !digits.starts_with(|c: char| c.is_ascii_digit())
        {
            return false;
        }
        any = true;
    }
    any
}

/// Chinese mobile numbers.
pub(super) fn phones<'v>(values: impl Iterator<Item = &'v str>) -> bool {
    all(values, |value| {
        let digits = value.strip_prefix("+86").unwrap_or(value);
        digits.len() == 11
            && digits.starts_with('1')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with("10")
    })
}

/// E-mail addresses.
pub(super) fn emails<'v>(values: impl Iterator<Item = &'v str>) -> bool {
    all(values, |value| {
        value
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'))
            && !value.contains(' ')
    })
}

/// Whole numbers with a fraction of nothing: what a table with gaps makes of ids.
pub(super) fn pointed<'v>(mut values: impl Iterator<Item = &'v str>) -> bool {
    values.any(|value| {
        value
            .strip_suffix(".0")
            .is_some_and(|whole| whole.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn all<'v>(values: impl Iterator<Item = &'v str>, test: impl Fn(&str) -> bool) -> bool {
    let mut any = false;
    for value in values.filter(|value| !value.is_empty()) {
        if !test(value) {
            return false;
        }
        any = true;
    }
    any
}
