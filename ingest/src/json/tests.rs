use super::*;

fn flaw(text: &str) -> String {
    match check(text, Bounds::TRACKING) {
        Ok(_) => "ok".into(),
        Err(flaw) => format!("{} at {}", flaw.kind, flaw.at),
    }
}

#[test]
fn the_strict_reader_agrees_with_serde_json() {
    for text in [
        "{}",
        "[]",
        "0",
        "-0",
        "1.5e-3",
        "\"\"",
        " {\"a\" : [1 , {\"b\":null}] } ",
        "true",
        "[[],{}]",
        "\"\\u00e9\\\"\\\\\"",
        "\"奶粉\"",
        "{\"a\":1,\"a\":2}",
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "NaN",
        "-Infinity",
        "nul",
        "truely",
        "\"\u{1}\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"",
        "[1 2]",
        "{} {}",
        "[1}",
        "{\"a\":1]",
        "'a'",
        "/*x*/1",
        "1e400",
        "\u{feff}1",
        "[\"a\",\"b\\\\\"]",
        "[1,2",
        "{\"a\":\"b",
    ] {
        let ours = check(text, Bounds::TRACKING).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(text).is_ok();
        assert_eq!(ours, theirs, "{text:?}: {}", flaw(text));
    }
}

#[test]
fn flaws_name_place_and_limit() {
    assert_eq!(flaw("{\"a\":NaN}"), "expected a value at 5");
    assert_eq!(flaw("[1e400]"), "a number out of range at 1");
    assert_eq!(flaw(&"[".repeat(10_000)), "nested more than 64 deep at 64");
    assert_eq!(
        flaw(&format!("{}1{}", "[".repeat(64), "]".repeat(64))),
        "ok"
    );
    assert_eq!(
        flaw(&format!("{{\"{}\":1}}", "a".repeat(256))),
        "a name over 255 bytes at 1"
    );
    let many = |n: usize| {
        format!(
            "{{{}}}",
            (0..n)
                .map(|i| format!("\"{i}\":1"))
                .collect::<Vec<_>>()
                .join(",")
        )
    };
    assert_eq!(flaw(&many(1_000)), "ok");
    assert!(flaw(&many(1_001)).starts_with("more than 1000 names"));
    let wide = vec![many(999); 6].join(",");
    assert!(flaw(&format!("[{wide}]")).starts_with("more than 5000 names"));
}

#[test]
fn half_an_emoji_is_replaced() {
    let text = r#"{"a":"\ud83d","b":"\ud83d\ude00","c":"\ude00x","d":"\\ud83d"}"#;
    assert!(
        check(text, Bounds::TRACKING)
            .expect("it is JSON")
            .lone_surrogate
    );
    let cleaned = clean(text);
    assert_eq!(
        cleaned,
        r#"{"a":"\ufffd","b":"\ud83d\ude00","c":"\ufffdx","d":"\\ud83d"}"#
    );
    assert!(serde_json::from_str::<serde_json::Value>(&cleaned).is_ok());
    assert!(
        !check(&cleaned, Bounds::TRACKING)
            .expect("it is JSON")
            .lone_surrogate
    );
}

#[test]
fn a_broken_item_does_not_hide_the_next() {
    let list = split_array(r#"[{"a":NaN}, {"b":[1,}, 3], nope , "x,]\"", {}]"#);
    // The brackets of the second item do not match, so it ends where they are level again.
    let expected = [
        "{\"a\":NaN}",
        "{\"b\":[1,}, 3]",
        "nope",
        "\"x,]\\\"\"",
        "{}",
    ];
    assert_eq!(list.expect("the brackets are level"), expected);
    assert!(split_array("[1,2").is_err());
    assert!(split_array("[1]x").is_err());
    assert!(split_object("{\"a\":1").is_err());
}

#[test]
fn members_undo_escapes_of_names() {
    let list: Vec<_> = members(r#"{"user\u0049d": 1 , "b":{"c":[2]}}"#).collect();
    assert_eq!(list, [("userId".into(), "1"), ("b".into(), "{\"c\":[2]}")]);
}

#[test]
fn written_texts_read_back() {
    for sample in ["", "a\"b\\c", "\u{0}\n\r\t\u{1f}", "奶粉😀"] {
        let mut out = String::new();
        push_text(&mut out, sample);
        assert_eq!(
            serde_json::from_str::<String>(&out).expect("it is JSON"),
            sample
        );
        assert_eq!(text(&out), sample);
    }
}

#[test]
fn merging_is_one_level_deep_and_the_event_wins() {
    let merged = merge(r#"{"a":1,"b":{"x":1}}"#, r#"{"b":{"y":2},"c":3}"#);
    assert_eq!(merged, r#"{"a":1,"b":{"y":2},"c":3}"#);
}
