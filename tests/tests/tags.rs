//! Calculated tags over HTTP: live and by the clock, edits, switching off, merges, schedules, on request, kill -9.

use serde_json::{Value, json};
use tests::http::query;
use tests::people::{identify, noon, paid, sdk};
use tests::{Sandbox, wait};

/// Makes a tag and waits until it is computed.
fn tag(sandbox: &Sandbox, code: &str, rest: Value) {
    made(sandbox, code, rest);
    serving(sandbox, code);
}

fn made(sandbox: &Sandbox, code: &str, rest: Value) {
    let mut body = rest;
    body["name"] = json!(code);
    body["code"] = json!(code);
    sandbox.http().post_ok("/api/v1/tags", &body);
}

/// Waits until the newest definition of a tag is at work.
fn serving(sandbox: &Sandbox, code: &str) {
    let http = sandbox.http();
    wait::until("a tag to be computed", || {
        let tag = http.read(&format!("/api/v1/tags/{code}"));
        (tag["building"] == false).then_some(())
    });
}

/// Has a tag computed and waits until that is done.
fn asked(sandbox: &Sandbox, code: &str) {
    let job = sandbox
        .http()
        .post_ok(&format!("/api/v1/tags/{code}/compute"), &json!({}));
    let path = format!("/api/v1/jobs/{}", job.value()["id"]);
    wait::until("the tag", || {
        let job = sandbox.http().read(&path);
        assert_ne!(job["state"], "failed", "{job}");
        (job["state"] == "done").then_some(())
    });
}

fn patch(sandbox: &Sandbox, code: &str, change: &Value) -> String {
    let path = format!("/api/v1/tags/{code}");
    let answer = sandbox.http().json("PATCH", &path, change);
    answer.ok("an edit").token().to_owned()
}

/// Values and members of a tag, the most frequent first.
fn spread(sandbox: &Sandbox, code: &str, after: &str) -> Value {
    let path = format!("/api/v1/tags/{code}/distribution?after={after}");
    let seen = sandbox.http().read(&path);
    let values = seen["values"].as_array().expect("a list");
    let mut pairs: Vec<Value> = values
        .iter()
        .map(|it| json!([it["value"], it["members"]]))
        .collect();
    pairs.sort_by_key(|pair| pair.to_string());
    let whole = seen["members"].as_u64().expect("a number") as f64;
    let present = seen["present"].as_u64().expect("a number") as f64;
    assert!((seen["coverage"].as_f64().expect("a share") - present / whole.max(1.0)).abs() < 1e-9);
    json!(pairs)
}

fn id_of(sandbox: &Sandbox, identifier: &str, after: &str) -> String {
    let member = sandbox.member(identifier, after);
    member["id"].as_str().expect("an id").to_owned()
}

/// The value of a tag that a member holds, and all its values before, oldest first.
fn held(sandbox: &Sandbox, user: &str, code: &str, after: &str) -> (Value, Vec<Value>) {
    let http = sandbox.http();
    let id = id_of(sandbox, &format!("user_id:{user}"), after);
    let whole = http.read(&format!("/api/v1/members/{id}/360?after={after}"));
    let tags = whole["tags"].as_array().expect("a list");
    let now = tags.iter().find(|it| it["code"] == code);
    let now = now.map_or(Value::Null, |it| it["value"].clone());
    let path = format!("/api/v1/members/{id}/events?kind={}", query("tag_changed"));
    let mut changes: Vec<Value> = http
        .list(&path)
        .iter()
        .map(|it| {
            assert_ne!(it["tag"]["old"], it["tag"]["new"], "{it}");
            it["tag"]["new"].clone()
        })
        .collect();
    changes.reverse();
    (now, changes)
}

fn levels(gold: u32) -> Value {
    json!({"value_type": "enum", "values": ["gold", "silver", "none"], "calculation": {"type": "rule", "cases": [
        {"value": "gold", "rule": {"event": "paid", "op": "gte", "value": gold, "within": "7d"}},
        {"value": "silver", "rule": {"event": "paid", "op": "gte", "value": 1, "within": "7d"}},
    ]}})
}

#[test]
fn values_follow_facts_the_clock_and_edits() {
    let (sandbox, key) = noon("tags");
    let token = sdk(
        &sandbox,
        &key,
        json!([
            identify(1, "a", json!({"city": "上海"})),
            identify(2, "b", json!({"city": "北京"})),
            identify(3, "c", json!({"city": "上海"})),
            paid(1, "a", "2026-11-16T11:00:00+08:00", 5),
            paid(2, "a", "2026-11-22T11:00:00+08:00", 5),
            paid(3, "b", "2026-11-22T11:00:00+08:00", 5),
        ]),
    );
    tag(&sandbox, "level", levels(2));
    assert_eq!(
        spread(&sandbox, "level", &token),
        json!([["gold", 1], ["silver", 1]])
    );
    assert_eq!(held(&sandbox, "a", "level", &token).0, "gold");
    assert_eq!(held(&sandbox, "c", "level", &token), (Value::Null, vec![]));

    // A segment over the tag, and a condition on a tag while somebody asks.
    let gold = json!({"tag": "level", "op": "eq", "value": "gold"});
    let made = sandbox
        .http()
        .post_ok("/api/v1/segments", &json!({"name": "gold", "rule": gold}));
    let segment = made.value()["id"].as_u64().expect("a number");
    let inside = |after: &str| {
        let path = format!("/api/v1/segments/{segment}/members?after={after}");
        let members = sandbox.http().list(&path);
        members
            .iter()
            .map(|it| it["id"].clone())
            .collect::<Vec<_>>()
    };
    wait::until("the segment", || {
        let segment = sandbox.http().read(&format!("/api/v1/segments/{segment}"));
        (segment["building"] == false).then_some(())
    });
    assert_eq!(
        inside(&token),
        [json!(id_of(&sandbox, "user_id:a", &token))]
    );
    let token = sdk(
        &sandbox,
        &key,
        json!([paid(4, "b", "2026-11-22T11:30:00+08:00", 5)]),
    );
    assert_eq!(inside(&token).len(), 2);
    assert_eq!(
        held(&sandbox, "b", "level", &token),
        (json!("gold"), vec![json!("silver"), json!("gold")])
    );
    let found = sandbox
        .http()
        .read(&format!("/api/v1/members/search?q=silver&after={token}"));
    assert_eq!(found["items"], json!([]), "nobody has it any more");

    // The day turns: one purchase of a's two is too old.
    sandbox.set_clock("2026-11-22T23:59:59.999+08:00");
    assert_eq!(spread(&sandbox, "level", &token), json!([["gold", 2]]));
    sandbox.set_clock("2026-11-23T00:00:00+08:00");
    assert_eq!(
        spread(&sandbox, "level", &token),
        json!([["gold", 1], ["silver", 1]])
    );
    assert_eq!(held(&sandbox, "a", "level", &token).0, "silver");
    assert_eq!(inside(&token).len(), 1);

    // An edit: never empty, never mixed; who keeps a value hears nothing.
    let mut new = levels(1);
    new["calculation"]["otherwise"] = json!("none");
    patch(&sandbox, "level", &new);
    serving(&sandbox, "level");
    assert_eq!(
        spread(&sandbox, "level", &token),
        json!([["gold", 2], ["none", 1]])
    );
    assert_eq!(held(&sandbox, "b", "level", &token).1.len(), 2);

    // Switched off: nobody has it. On again: everybody as before.
    sandbox
        .http()
        .post_ok("/api/v1/tags/level/disable", &json!({}));
    wait::until("the tag to be taken away", || {
        (spread(&sandbox, "level", &token) == json!([])).then_some(())
    });
    assert_eq!(held(&sandbox, "a", "level", &token).0, Value::Null);
    assert_eq!(inside(&token).len(), 0);
    sandbox
        .http()
        .post_ok("/api/v1/tags/level/enable", &json!({}));
    wait::until("the tag to come back", || {
        (spread(&sandbox, "level", &token) == json!([["gold", 2], ["none", 1]])).then_some(())
    });
    assert_eq!(held(&sandbox, "a", "level", &token).0, "gold");
}

#[test]
fn people_who_merge_add_up_and_come_apart() {
    let (sandbox, key) = noon("tags");
    sdk(
        &sandbox,
        &key,
        json!([
            identify(1, "a", json!({})),
            identify(2, "b", json!({})),
            paid(1, "a", "2026-11-22T10:00:00+08:00", 5),
            paid(2, "b", "2026-11-22T10:00:00+08:00", 5),
        ]),
    );
    tag(&sandbox, "level", levels(2));
    let link = json!([{"message_id": "l1", "type": "track", "name": "login",
        "time": "2026-11-22T11:30:00+08:00", "identifiers": ["user_id:a", "phone:13800000001"]},
        {"message_id": "l2", "type": "track", "name": "login",
        "time": "2026-11-22T11:31:00+08:00", "identifiers": ["openid@wx:o1", "phone:13800000001"]},
        {"message_id": "l3", "type": "track", "name": "paid",
        "time": "2026-11-22T11:32:00+08:00", "identifiers": ["openid@wx:o1"]}]);
    let token = sandbox.send(&key, &link);
    assert_eq!(
        spread(&sandbox, "level", &token),
        json!([["gold", 1], ["silver", 1]])
    );
    assert_eq!(held(&sandbox, "a", "level", &token).0, "gold");
    let a = id_of(&sandbox, "user_id:a", &token);
    let apart = sandbox.http().post_ok(
        &format!("/api/v1/members/{a}/unmerge"),
        &json!({"identifiers": ["phone:+8613800000001"], "reason": "somebody else's"}),
    );
    assert_eq!(
        spread(&sandbox, "level", apart.token()),
        json!([["silver", 3]])
    );
    assert_eq!(held(&sandbox, "a", "level", apart.token()).0, "silver");
}

#[test]
fn a_kill_loses_and_repeats_nothing() {
    // By the system's clock, so that timelines stand in the order in which things were told; what is asked has no window.
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("tags");
    let levels = |gold: u32| {
        json!({"value_type": "enum", "values": ["gold", "silver", "none"], "calculation": {"type": "rule", "cases": [
            {"value": "gold", "rule": {"event": "paid", "op": "gte", "value": gold}},
            {"value": "silver", "rule": {"event": "paid", "op": "gte", "value": 1}},
        ]}})
    };
    let mut batch = Vec::new();
    for n in 0..40u32 {
        batch.push(identify(n, &format!("u{n}"), json!({"age": n})));
        for m in 0..n % 3 {
            let id = 10 * n + m;
            batch.push(paid(id, &format!("u{n}"), "2025-11-22T10:00:00+08:00", 5));
        }
    }
    let token = sdk(&sandbox, &key, json!(batch));
    tag(&sandbox, "level", levels(2));
    assert_eq!(
        spread(&sandbox, "level", &token),
        json!([["gold", 13], ["silver", 13]])
    );
    let sum = json!({"value_type": "enum", "values": ["gold", "silver", "none"], "calculation": {"type": "rule", "cases": [
        {"value": "none", "rule": {"event": "paid", "agg": "sum", "field": "amount", "op": "eq", "value": 0}},
        {"value": "gold", "rule": {"event": "paid", "agg": "sum", "field": "amount", "op": "gte", "value": 10}},
    ]}});
    let few = json!([["gold", 13], ["none", 14]]);
    // Killed while history is read or values are told, and while the tag is taken away.
    for (change, wanted) in [
        (Some(&sum), &few),
        (None, &json!([])),
        (Some(&levels(1)), &json!([["gold", 26]])),
    ] {
        match change {
            Some(body) => {
                sandbox
                    .http()
                    .post_ok("/api/v1/tags/level/enable", &json!({}));
                patch(&sandbox, "level", body);
            }
            None => {
                sandbox
                    .http()
                    .post_ok("/api/v1/tags/level/disable", &json!({}));
            }
        }
        sandbox.kill9();
        sandbox.boot();
        if change.is_some() {
            serving(&sandbox, "level");
        }
        assert_eq!(&spread(&sandbox, "level", &token), wanted);
        for n in 0..40 {
            let (now, changes) = held(&sandbox, &format!("u{n}"), "level", &token);
            // What the timeline says last is what the member has, and nothing is said twice.
            assert_eq!(changes.last().unwrap_or(&Value::Null), &now, "u{n}");
            assert!(
                changes.windows(2).all(|pair| pair[0] != pair[1]),
                "{changes:?}"
            );
        }
    }
}

#[test]
fn rfm_by_quantiles_says_where_somebody_is_among_all_who_bought() {
    let (mut sandbox, key) = noon("tags");
    let mut events: Vec<Value> = (1..=10)
        .map(|user| {
            let at = format!("2026-11-{:02}T11:00:00+08:00", 10 + user);
            paid(user, &format!("u{user}"), &at, user * 100)
        })
        .collect();
    events.push(identify(11, "nobody", json!({"city": "上海"})));
    let token = sdk(&sandbox, &key, json!(events));
    let rfm = json!({"events": ["paid"], "amount": "amount", "quantiles": 5});
    let body = |rfm: &Value, update: Value| json!({"value_type": "text", "update": update, "calculation": {"type": "rfm", "rfm": rfm}});
    let mut live = body(&rfm, json!("real_time"));
    live["name"] = json!("live");
    live["code"] = json!("live");
    let refused = sandbox.http().json("POST", "/api/v1/tags", &live);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "tag_invalid")
    );
    made(&sandbox, "rfm", body(&rfm, json!("manual")));
    asked(&sandbox, "rfm");
    let group = |r: u32| json!([format!("{r}1{r}"), 2]);
    assert_eq!(
        spread(&sandbox, "rfm", &token),
        json!([group(1), group(2), group(3), group(4), group(5)])
    );
    let cuts = sandbox.http().read("/api/v1/tags/rfm/cuts");
    assert_eq!(cuts["cuts"]["members"], 10);
    assert_eq!(
        cuts["cuts"]["monetary"],
        json!([200, 400, 600, 800]),
        "{cuts}"
    );
    let first = cuts["cuts"]["last_order"][0].as_str().expect("a time");
    assert!(first.starts_with("2026-11-12T03:00:00"), "{cuts}");
    // What comes moves nobody until it is computed again.
    let token = sdk(
        &sandbox,
        &key,
        json!([paid(12, "u1", "2026-11-22T11:30:00+08:00", 5_000)]),
    );
    assert_eq!(spread(&sandbox, "rfm", &token)[0], group(1));
    asked(&sandbox, "rfm");
    assert_eq!(held(&sandbox, "u1", "rfm", &token).0, "555");
    // Neither scores nor what they were cut at hang on the process.
    let seen = |sandbox: &Sandbox| {
        let cuts = sandbox.http().read("/api/v1/tags/rfm/cuts")["cuts"].clone();
        let tag = sandbox.http().read("/api/v1/tags/rfm");
        assert_eq!(tag["computed"]["cuts"], cuts, "{tag}");
        assert_eq!(cuts["members"], 10, "{cuts}");
        (cuts, spread(sandbox, "rfm", &token))
    };
    let before = seen(&sandbox);
    sandbox.kill9();
    sandbox.boot();
    assert_eq!(seen(&sandbox), before);
    // Another definition serves only once it is computed; then its cuts are shown.
    let fewer = json!({"calculation": {"type": "rfm", "rfm": {"events": ["paid"], "amount": "amount", "quantiles": 2}}});
    patch(&sandbox, "rfm", &fewer);
    assert_eq!(seen(&sandbox), before);
    asked(&sandbox, "rfm");
    assert_eq!(
        seen(&sandbox).0["monetary"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn rfm_classes_have_names() {
    let (sandbox, key) = noon("tags");
    let token = sdk(
        &sandbox,
        &key,
        json!([
            identify(1, "a", json!({})),
            identify(2, "b", json!({})),
            identify(3, "c", json!({})),
            paid(1, "a", "2026-11-20T10:00:00+08:00", 400),
            paid(2, "a", "2026-11-21T10:00:00+08:00", 200),
            paid(3, "b", "2026-10-01T10:00:00+08:00", 50),
        ]),
    );
    let rfm = json!({"events": ["paid"], "amount": "amount", "recency_days": [30], "frequency": [2],
        "monetary": [500]});
    tag(
        &sandbox,
        "rfm",
        json!({"value_type": "text", "calculation": {"type": "rfm", "rfm": rfm}}),
    );
    assert_eq!(
        spread(&sandbox, "rfm", &token),
        json!([["111", 1], ["222", 1]])
    );
    let token = sdk(
        &sandbox,
        &key,
        json!([paid(4, "b", "2026-11-22T10:00:00+08:00", 500)]),
    );
    assert_eq!(spread(&sandbox, "rfm", &token), json!([["222", 2]]));
    let mut named = rfm;
    named["classes"] =
        json!([{"value": "重要价值", "recency": [2, 2], "monetary": [2, 2]}, {"value": "一般"}]);
    patch(
        &sandbox,
        "rfm",
        &json!({"calculation": {"type": "rfm", "rfm": named}}),
    );
    serving(&sandbox, "rfm");
    assert_eq!(spread(&sandbox, "rfm", &token), json!([["重要价值", 2]]));
    // Thirty days without an order.
    sandbox.set_clock("2026-12-22T00:00:00+08:00");
    assert_eq!(spread(&sandbox, "rfm", &token), json!([["一般", 2]]));
}

#[test]
fn a_schedule_keeps_its_time_and_a_person_may_ask_before() {
    let (mut sandbox, key) = noon("tags");
    // A server that begins again takes the system's time first: here that is always before the schedule's.
    sandbox.set_clock("2090-01-01T12:00:00+08:00");
    let token = sdk(
        &sandbox,
        &key,
        json!([
            identify(1, "a", json!({"age": 1})),
            identify(2, "b", json!({"age": 9}))
        ]),
    );
    let big = json!({"value_type": "bool", "update": {"scheduled": {"at": "03:30"}}, "calculation": {"type": "rule",
        "cases": [{"value": true, "rule": {"attr": "age", "op": "gt", "value": 5}}]}});
    made(&sandbox, "big", big);
    let small = json!({"value_type": "bool", "update": "manual", "calculation": {"type": "rule",
        "cases": [{"value": true, "rule": {"attr": "age", "op": "lt", "value": 5}}]}});
    made(&sandbox, "small", small);
    assert_eq!(spread(&sandbox, "big", &token), json!([]), "not its time");
    sandbox.set_clock("2090-01-02T03:29:59+08:00");
    assert_eq!(spread(&sandbox, "big", &token), json!([]), "not its time");
    sandbox.set_clock("2090-01-02T03:30:00+08:00");
    serving(&sandbox, "big");
    assert_eq!(spread(&sandbox, "big", &token), json!([[true, 1]]));
    assert_eq!(held(&sandbox, "b", "big", &token).0, true);

    // What happens in between waits, also across a kill, for the next time.
    let token = sdk(&sandbox, &key, json!([identify(3, "a", json!({"age": 7}))]));
    assert_eq!(spread(&sandbox, "big", &token), json!([[true, 1]]));
    sandbox.kill9();
    sandbox.boot();
    sandbox.set_clock("2090-01-02T12:00:00+08:00");
    assert_eq!(spread(&sandbox, "big", &token), json!([[true, 1]]));
    sandbox.set_clock("2090-01-03T04:00:00+08:00");
    wait::until("the next time", || {
        (spread(&sandbox, "big", &token) == json!([[true, 2]])).then_some(())
    });

    // Asked for.
    assert_eq!(spread(&sandbox, "small", &token), json!([]));
    let token = sdk(&sandbox, &key, json!([identify(4, "b", json!({"age": 2}))]));
    for code in ["small", "big"] {
        asked(&sandbox, code);
    }
    assert_eq!(spread(&sandbox, "small", &token), json!([[true, 1]]));
    assert_eq!(spread(&sandbox, "big", &token), json!([[true, 1]]));
    assert_eq!(held(&sandbox, "b", "small", &token).0, true);
}

#[test]
fn a_tag_that_is_asked_for_counts_all_that_was_acknowledged_before() {
    const PEOPLE: u32 = 8_000;
    let (sandbox, key) = noon("tags");
    made(
        &sandbox,
        "old",
        json!({"value_type": "bool", "update": "manual", "calculation": {"type": "rule",
            "cases": [{"value": true, "rule": {"attr": "age", "op": "gt", "value": 5}}]}}),
    );
    let people: Vec<Value> = (0..PEOPLE)
        .map(|n| {
            json!({"message_id": format!("m{n}"), "type": "identify", "time": "2026-11-22T11:00:00+08:00",
                "identifiers": [format!("user_id:u{n}")], "traits": {"age": 9}})
        })
        .collect();
    // Nobody waits until these are applied.
    let token = sandbox.send(&key, &json!(people));
    asked(&sandbox, "old");
    assert_eq!(spread(&sandbox, "old", &token), json!([[true, PEOPLE]]));
}

#[test]
fn what_cannot_be_is_refused() {
    let (sandbox, key) = noon("tags");
    sdk(&sandbox, &key, json!([identify(1, "a", json!({"age": 1}))]));
    let http = sandbox.http();
    tag(
        &sandbox,
        "t",
        json!({"value_type": "bool", "calculation": {"type": "rule",
            "cases": [{"value": true, "rule": {"attr": "age", "op": "gt", "value": 5}}]}}),
    );
    let segment = http
        .post_ok(
            "/api/v1/segments",
            &json!({"name": "s", "rule": {"tag": "t", "op": "eq", "value": true}}),
        )
        .value();
    let with = |rule: Value| json!({"calculation": {"type": "rule", "cases": [{"value": true, "rule": rule}]}});
    let refused = |path: &str, method: &str, body: &Value, status: u16, code: &str| {
        let answer = http.json(method, path, body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{}",
            answer.text()
        );
        answer.text()
    };
    // In a circle through a segment, and through itself.
    let circle = with(json!({"segment": segment["id"].to_string()}));
    refused("/api/v1/tags/t", "PATCH", &circle, 422, "reference_circle");
    let circle = with(json!({"tag": "t", "op": "exists"}));
    refused("/api/v1/tags/t", "PATCH", &circle, 422, "reference_circle");
    let sql = json!({"name": "q", "code": "q", "value_type": "text", "calculation": {"type": "sql", "sql": "SELECT 1"}});
    let why = refused("/api/v1/tags", "POST", &sql, 422, "tag_invalid");
    assert!(why.contains("sql_unavailable"), "{why}");
    let late = json!({"update": {"scheduled": {"at": "25:00", "weekdays": [8]}}});
    let why = refused("/api/v1/tags/t", "PATCH", &late, 422, "tag_invalid");
    assert!(
        why.contains("update.scheduled.at") && why.contains("weekdays"),
        "{why}"
    );
    refused(
        "/api/v1/tags/t/compute",
        "POST",
        &json!({}),
        409,
        "tag_not_computed",
    );
    refused("/api/v1/tags/t", "DELETE", &json!({}), 409, "in_use");
    let few = http.get("/api/v1/tags/t/distribution?limit=0");
    assert_eq!(few.status, 400, "{}", few.text());
    assert_eq!(http.get("/api/v1/tags/nobody/distribution").status, 404);
}
