use super::*;

/// `type raw` gives the JSON `expected`; `!` it does not fit; `-` nothing was told.
fn check(word: &str, raw: &str, expected: &str) {
    let wanted = match word {
        "?" => None,
        word => Some(AttributeType::parse(word).expect(word)),
    };
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let found = match coerce(wanted, raw, &zone) {
        Ok(Some(value)) => value.to_json().to_string(),
        Ok(None) => "-".into(),
        Err(Misfit::Type) => "!".into(),
        Err(Misfit::Length) => "too long".into(),
    };
    assert_eq!(found, expected, "{word} {raw}");
}

#[test]
fn values_fit_types_where_the_meaning_is_certain() {
    for (word, raw, expected) in [
        ("text", r#""上海""#, r#""上海""#),
        ("text", "138.50", r#""138.50""#),
        ("text", "true", "!"),
        ("text", r#""""#, "-"),
        ("text", "null", "null"),
        ("text", r#"["a"]"#, "!"),
        ("int", "12", "12"),
        ("int", r#"" 12 ""#, "12"),
        ("int", r#""+12""#, "12"),
        ("int", "12.0", "12"),
        ("int", "1.2e1", "12"),
        ("int", "12.5", "!"),
        ("int", r#""12a""#, "!"),
        ("int", r#""0x12""#, "!"),
        ("int", r#""1_000""#, "!"),
        ("int", r#""-""#, "!"),
        ("int", r#""++1""#, "!"),
        ("number", r#""1e""#, "!"),
        ("number", "1e-40", "!"),
        ("int", "9223372036854775807", "9223372036854775807"),
        ("int", "9223372036854775808", "!"),
        ("int", "true", "!"),
        ("int", r#""""#, "-"),
        ("number", "0.1", "0.1"),
        ("number", r#""39.90""#, "39.9"),
        ("number", "1e300", "!"),
        (
            "number",
            "1234567890.123456789",
            r#""1234567890.123456789""#,
        ),
        ("number", r#""1,000""#, "!"),
        ("bool", "true", "true"),
        ("bool", r#""TRUE""#, "true"),
        ("bool", "0", "false"),
        ("bool", "2", "!"),
        ("bool", r#""yes""#, "!"),
        ("date", r#""1990-01-31""#, r#""1990-01-31""#),
        ("date", r#""1990/1/31""#, r#""1990-01-31""#),
        ("date", r#""19900131""#, r#""1990-01-31""#),
        ("date", r#""1990-02-30""#, "!"),
        ("date", r#""31-01-1990""#, "!"),
        ("date", r#""1990-01-31T20:00:00Z""#, r#""1990-02-01""#),
        ("date", "1763740800000", r#""2025-11-22""#),
        ("date", r#""""#, "-"),
        ("date", r#""0001-01-01""#, r#""0001-01-01""#),
        (
            "time",
            r#""2026-11-22T08:00:00+08:00""#,
            r#""2026-11-22T00:00:00.000Z""#,
        ),
        (
            "time",
            r#""2026-11-22 08:00:00""#,
            r#""2026-11-22T00:00:00.000Z""#,
        ),
        (
            "time",
            r#""2026/11/22 08:00:00.5""#,
            r#""2026-11-22T00:00:00.500Z""#,
        ),
        ("time", r#""2026-11-22""#, r#""2026-11-21T16:00:00.000Z""#),
        ("time", "1763740800", r#""2025-11-21T16:00:00.000Z""#),
        ("time", "1763740800000", r#""2025-11-21T16:00:00.000Z""#),
        ("time", r#""noon""#, "!"),
        ("time", "9e30", "!"),
        ("object", r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
        ("object", r#""a""#, "!"),
        ("texts", r#"["a","","b",null]"#, r#"["a","b"]"#),
        ("texts", r#""a""#, r#"["a"]"#),
        ("texts", "[]", "-"),
        ("texts", r#""""#, "-"),
        ("ints", r#"["1",2]"#, "[1,2]"),
        ("ints", r#"[1,"x"]"#, "!"),
        ("objects", r#"[{"a":1}]"#, r#"[{"a":1}]"#),
        ("?", r#""12""#, r#""12""#),
        ("?", "12", "12"),
        ("?", "12.50", "12.5"),
        (
            "?",
            "123456789012345678901234567890",
            r#""123456789012345678901234567890""#,
        ),
        ("?", "1e300", r#""1e300""#),
        ("?", "true", "true"),
        ("?", r#"[1,"a",{"b":2}]"#, r#"[1,"a",{"b":2}]"#),
        ("?", "null", "null"),
        ("?", "[]", "-"),
    ] {
        check(word, raw, expected);
    }
}

#[test]
fn a_value_that_is_too_long_is_left_out() {
    let long = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX + 1));
    check("text", &long, "too long");
    check("?", &long, "too long");
    let many = format!("[{}1]", "1,".repeat(VALUE_BYTES_MAX));
    check("?", &many, "too long");
}
