//! Both forms: what they read, how they are written, what they refuse and where.

use crate::rule::Rule;

#[test]
fn the_text_form_is_written_as_people_would() {
    for text in [
        r#"tags.level = "gold" and count("Order Completed" where total > 300 within 90d) >= 2 and not event("scan" within 90d)"#,
        r#"city in ("上海", "北京") or not (age < 18 and vip = true)"#,
        r#"sum(total of "order" where brand = "A", lines.sku has any ("x", "y") within 12mo) > 1000.5"#,
        r#"distinct(@day of "scan", "visit" within 30d) >= 3"#,
        r#"sequence("scan" where place.city = "上海" then "order" within 7d lookback 90d)"#,
        r#"joined between now - 1mo floor month and now floor month"#,
        r#"birthday is day date "2026-01-31" + 1mo"#,
        r#"some orders match (sku = "A" and qty > 2)"#,
        r#"random("mail-1", 12.5%) and near(last_scan, 31.23, 121.47, 5km)"#,
        r#"segment("vip") and not list("staff") and all() and any()"#,
        r#"`first order`.`a.b` exists and count missing and `in`.all = 1"#,
        r#"event(prefix "page" ago 13d to 7d)"#,
        r#"event("scan" between "2026-01-01" and now - 1d)"#,
        r#"name matches "[a-z]+\\d" and tastes has all () and note starts with "A\"b""#,
        r#"(a = 1 and b = 2) and c = 3 and (d = 4 or e = 5)"#,
        r#"all(a = 1) or any(b = -2)"#,
    ] {
        let rule = Rule::from_text(text).unwrap_or_else(|error| panic!("{text}\n{error:?}"));
        assert_eq!(rule.to_text(), text);
        assert_eq!(Rule::from_json(&rule.to_json()).unwrap(), rule);
    }
}

#[test]
fn what_the_text_form_refuses_has_line_and_column() {
    for (text, place, code, hint) in [
        ("", "1:1", "rule_syntax", ""),
        ("city", "1:5", "rule_syntax", ""),
        (
            "city = 上海",
            "1:8",
            "rule_syntax",
            "did you mean \"上海\"?",
        ),
        ("city = \"上海", "1:8", "rule_syntax", "texts are written"),
        ("city equals \"a\"", "1:6", "unknown_operator", "= !="),
        (
            "city contain \"a\"",
            "1:6",
            "unknown_operator",
            "did you mean `contains`?",
        ),
        ("a = 1 and\n\n  (b = 2", "3:9", "rule_syntax", ""),
        (
            "event(\"a\" within 7days)",
            "1:18",
            "unknown_unit",
            "y, mo, w, d, h, m, s",
        ),
        ("count(\"a\") >= 2 within 7d", "1:17", "rule_syntax", ""),
        ("count(\"a\" where) = 1", "1:16", "rule_syntax", ""),
        (
            "joined > date \"2026-02-30\"",
            "1:15",
            "date_form",
            "2026-01-31",
        ),
        ("a = ‘b’", "1:5", "rule_syntax", ""),
        ("of = 1", "1:1", "rule_syntax", "`of`"),
        (
            "age > 99999999999999999999999999999999",
            "1:7",
            "number_range",
            "",
        ),
    ] {
        let error = Rule::from_text(text).unwrap_err();
        assert_eq!(
            (&*error.place, error.code),
            (place, code),
            "{text}: {error:?}"
        );
        let found = error.hint.clone().unwrap_or_default();
        assert!(found.contains(hint), "{text}: {error:?}");
    }
    let deep = "(".repeat(10_000);
    assert_eq!(Rule::from_text(&deep).unwrap_err().code, "too_deep");
    let deep = "not ".repeat(10_000);
    assert_eq!(Rule::from_text(&deep).unwrap_err().code, "too_deep");
}

#[test]
fn json_is_written_in_one_way() {
    for (json, canonical) in [
        (
            r#"{"value":[1.50,"a"],"op":"in","attr":["a","b"]}"#,
            r#"{"attr":"a.b","op":"in","value":[1.5,"a"]}"#,
        ),
        (
            r#"{"prop":["a.b"],"op":"exists"}"#,
            r#"{"attr":["a.b"],"op":"exists"}"#,
        ),
        (
            r#"{"event":["x"],"agg":"count","op":"gte","value":1}"#,
            r#"{"event":"x"}"#,
        ),
        (
            r#"{"event":"x","op":"lt","value":2,"where":[]}"#,
            r#"{"event":"x","agg":"count","op":"lt","value":2}"#,
        ),
        (
            r#"{"attr":"a","op":"has_any","value":"x"}"#,
            r#"{"attr":"a","op":"has_any","value":["x"]}"#,
        ),
        (
            r#"{"random":{"percent":10.00,"seed":7}}"#,
            r#"{"random":{"seed":"7","percent":10}}"#,
        ),
        (
            r#"{"attr":"a","op":"gt","value":12345678901234567890.123456}"#,
            r#"{"attr":"a","op":"gt","value":12345678901234567890.123456}"#,
        ),
        (
            r#"{"sequence":[{"event":"a"},{"event":{"prefix":"b"}}],"lookback":{"ago":["9d","2d"]},"within":"3h"}"#,
            r#"{"sequence":[{"event":"a"},{"event":{"prefix":"b"}}],"within":"3h","lookback":{"ago":["9d","2d"]}}"#,
        ),
    ] {
        let rule = Rule::from_json(json).unwrap_or_else(|errors| panic!("{json}: {errors:?}"));
        assert_eq!(rule.to_json(), canonical);
        assert_eq!(Rule::from_json(canonical).unwrap(), rule);
    }
}

#[test]
fn what_is_no_json_is_refused_where_it_breaks() {
    let error = &Rule::from_json("{\"and\":[\n}").unwrap_err()[0];
    assert_eq!((&*error.place, error.code), ("2:1", "rule_syntax"));
    let deep = format!("{}1{}", "{\"not\":".repeat(5_000), "}".repeat(5_000));
    assert_eq!(Rule::from_json(&deep).unwrap_err()[0].code, "too_deep");
    let half = r#"{"segment":"\ud800"}"#;
    assert_eq!(Rule::from_json(half).unwrap_err()[0].code, "rule_syntax");
}

#[test]
fn changed_rules_are_read_or_refused() {
    let mut random = actors::testkit::Random::new(7);
    let below = |random: &mut actors::testkit::Random, bound: usize| {
        usize::try_from(random.below(bound as u64)).unwrap()
    };
    let pieces = [
        "(",
        ")",
        "\"",
        "\\",
        "0",
        "9",
        " and ",
        "null",
        "[",
        "{",
        ":",
        ",",
        "`",
        "mo",
        "-",
        "\u{3000}",
        "99999999999",
    ];
    for seed in 0..3_000 {
        let rule = crate::rule::testkit::Maker::new(seed).rule(2);
        for text in [rule.to_json(), rule.to_text()] {
            let mut letters: Vec<String> = text.chars().map(String::from).collect();
            for _ in 0..=random.below(3) {
                let at = below(&mut random, letters.len());
                match random.below(3) {
                    0 => letters[at] = pieces[below(&mut random, pieces.len())].to_owned(),
                    1 => letters.insert(at, pieces[below(&mut random, pieces.len())].to_owned()),
                    _ => drop(letters.remove(at)),
                }
                letters.push(String::new());
            }
            crate::rule::testkit::hostile(letters.concat().as_bytes());
        }
    }
}
