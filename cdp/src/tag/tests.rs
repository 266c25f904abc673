use serde_json::json;

use super::*;
use crate::rule::Rule;

fn tag(body: Json) -> TagDefinition {
    serde_json::from_value(body).unwrap()
}

fn rfm(classes: Json) -> TagDefinition {
    tag(
        json!({"value_type": "text", "calculation": {"type": "rfm", "rfm": {
            "recency_days": [30, 90], "frequency": [2], "monetary": [100, 500.5], "classes": classes,
        }}}),
    )
}

#[test]
fn cases_are_the_rules_in_order_and_the_rest() {
    let tag = tag(
        json!({"value_type": "enum", "values": ["gold", "silver"], "calculation": {
            "type": "rule", "cases": [{"value": "gold", "rule": {"and": []}}], "otherwise": "silver",
        }}),
    );
    assert_eq!(tag.check(), []);
    let values: Vec<Json> = tag.cases().into_iter().map(|case| case.value).collect();
    assert_eq!(values, ["gold", "silver"]);
}

#[test]
fn rfm_spreads_into_every_combination_once_and_each_is_a_rule() {
    let tag = rfm(json!([]));
    assert_eq!(tag.check(), []);
    let cases = tag.cases();
    assert_eq!(cases.len(), 3 * 2 * 3);
    assert_eq!(
        (&cases[0].value, &cases[17].value),
        (&json!("323"), &json!("111"))
    );
    for case in &cases {
        Rule::from_json(&case.rule.to_string()).unwrap();
    }
    // The best: within 30 days, twice, for 500.50. The worst: once, not within 90 days, for less than 100.
    let text = |at: usize| {
        Rule::from_json(&cases[at].rule.to_string())
            .unwrap()
            .to_text()
    };
    assert!(
        text(0).contains("500.5") && text(0).contains("30d"),
        "{}",
        text(0)
    );
    assert!(
        text(17).contains("not") && text(17).contains("90d"),
        "{}",
        text(17)
    );
}

#[test]
fn rfm_classes_name_bands_of_scores() {
    let tag = rfm(
        json!([{"value": "重要价值", "recency": [3, 3], "monetary": [2, 9]}, {"value": "其他"}]),
    );
    assert_eq!(tag.check(), []);
    let cases = tag.cases();
    assert_eq!(
        cases[1].rule["and"].as_array().unwrap().len(),
        1,
        "any order will do"
    );
    assert_eq!(cases[0].rule["and"].as_array().unwrap().len(), 3);
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let check = |body: Json, place: &str| {
        let errors = tag(body).check();
        assert!(
            errors.iter().any(|error| error.place == place),
            "{place}: {errors:?}"
        );
    };
    check(
        json!({"value_type": "text", "values": ["a"], "calculation": {"type": "manual"}}),
        "values",
    );
    check(
        json!({"value_type": "enum", "values": ["a", "a"], "calculation": {"type": "manual"}}),
        "values[1]",
    );
    check(
        json!({"value_type": "text", "calculation": {"type": "rule", "cases": []}}),
        "calculation.cases",
    );
    let case = |of: &str, value: Json| {
        json!({"value_type": of, "values": [], "calculation":
        {"type": "rule", "cases": [{"value": value, "rule": {"and": []}}]}})
    };
    for (of, value) in [
        ("number", json!("1")),
        ("date", json!("2026-13-01")),
        ("bool", json!(1)),
        ("multi", json!("a")),
        ("text", json!("")),
    ] {
        check(case(of, value), "calculation.cases[0].value");
    }
    let cuts = |r: Json, f: Json, m: Json| {
        json!({"value_type": "text", "calculation":
        {"type": "rfm", "rfm": {"recency_days": r, "frequency": f, "monetary": m}}})
    };
    check(
        cuts(json!([90, 30]), json!([1]), json!([1])),
        "calculation.rfm.recency_days",
    );
    check(
        cuts(json!([30]), json!([]), json!([1])),
        "calculation.rfm.frequency",
    );
    check(
        cuts(json!([30]), json!([1]), json!([1, 2, 3, 4, 5])),
        "calculation.rfm.monetary",
    );
    check(
        cuts(json!([400]), json!([1]), json!([1])),
        "calculation.rfm.window_days",
    );
}

#[test]
fn a_schedule_names_its_last_time() {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let time = |text: &str| actors::model::Time::from_rfc3339(text).unwrap();
    // 2026-11-22 is a Sunday.
    for (schedule, now, last) in [
        (
            json!({"at": "03:30"}),
            "2026-11-22T03:30:00+08:00",
            "2026-11-22T03:30:00+08:00",
        ),
        (
            json!({"at": "03:30"}),
            "2026-11-22T03:29:59+08:00",
            "2026-11-21T03:30:00+08:00",
        ),
        (
            json!({"at": "00:00", "weekdays": [1]}),
            "2026-11-22T12:00:00+08:00",
            "2026-11-16T00:00:00+08:00",
        ),
        (
            json!({"at": "23:59", "weekdays": [7]}),
            "2026-11-22T12:00:00+08:00",
            "2026-11-15T23:59:00+08:00",
        ),
        (
            json!({"at": "01:00", "month_days": [31]}),
            "2026-03-01T12:00:00+08:00",
            "2026-02-28T01:00:00+08:00",
        ),
        (
            json!({"at": "01:00", "month_days": [1, 15]}),
            "2026-11-14T12:00:00+08:00",
            "2026-11-01T01:00:00+08:00",
        ),
        (
            json!({"at": "01:00", "month_days": [1], "weekdays": [6]}),
            "2026-11-22T12:00:00+08:00",
            "2026-11-21T01:00:00+08:00",
        ),
    ] {
        let schedule: Schedule = serde_json::from_value(schedule).unwrap();
        assert_eq!(
            schedule.last(time(now), &zone),
            Some(time(last)),
            "{schedule:?} at {now}"
        );
    }
}

#[test]
fn updates_have_a_form() {
    let with = |update: Json| {
        let tag = tag(
            json!({"value_type": "bool", "update": update, "calculation": {"type": "rule",
            "cases": [{"value": true, "rule": {"and": []}}]}}),
        );
        tag.check()
            .into_iter()
            .map(|it| it.place)
            .collect::<Vec<_>>()
    };
    assert!(with(json!("real_time")).is_empty());
    assert!(with(json!("manual")).is_empty());
    assert!(with(json!({"scheduled": {"at": "23:59"}})).is_empty());
    assert_eq!(
        with(json!({"scheduled": {"at": "3:5", "weekdays": [0], "month_days": [32]}})),
        ["at", "weekdays", "month_days"].map(|field| format!("update.scheduled.{field}"))
    );
    let given =
        tag(json!({"value_type": "text", "update": "manual", "calculation": {"type": "manual"}}));
    assert_eq!(given.check()[0].code, "update_unused");
    let sql = tag(json!({"value_type": "text", "calculation": {"type": "sql", "sql": "SELECT 1"}}));
    assert_eq!(sql.check()[0].code, "sql_unavailable");
}
