//! Dead letters over the real binary: grouped by reason, mended by rule exactly once over kills, alerts that are told.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Options, Receiver, Sandbox, wait};

/// An order of our own form whose amount is a text in a field of a wrong name: nobody is named in `who`.
fn broken(id: usize) -> Value {
    json!({"message_id": format!("b{id}"), "type": "track", "name": "paid", "who": format!("user_id:u{id}"),
        "properties": {"amt": format!("1{id}.50")}})
}

fn send(sandbox: &Sandbox, key: &str, events: &[Value]) -> String {
    let answer = sandbox.sender(key).post_ok("/v1/events", &json!(events));
    answer.token().to_owned()
}

/// Makes `who` an identifier and the amount a number.
fn rule() -> Value {
    json!({"filter": {"code": "field_unknown", "field": "who"}, "changes": [
        {"do": "rename", "field": "who", "to": "identifiers"},
        {"do": "rename", "field": "properties.amt", "to": "properties.amount"},
        {"do": "cast", "field": "properties.amount", "to": "number"}]})
}

#[test]
fn reasons_are_grouped_and_a_rule_mends_many_once() {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("shop");
    let many: Vec<Value> = (0..1_500).map(broken).collect();
    let mut events = many.clone();
    // The rule does not fit this one: it has no amount.
    events.push(json!({"message_id": "odd", "type": "track", "name": "paid", "who": "user_id:u1"}));
    events.push(json!({"message_id": "t", "type": "track", "identifiers": ["user_id:u1"]}));
    let token = send(&sandbox, &key, &events);
    let http = sandbox.http();
    let groups = http.list(&format!("/api/v1/dead-letters/groups?after={token}"));
    let shown: Vec<(&str, Option<&str>, Option<&str>, u64)> = groups
        .iter()
        .map(|it| {
            let code = it["code"].as_str().expect("a code");
            (
                code,
                it["event"].as_str(),
                it["field"].as_str(),
                it["count"].as_u64().expect("a count"),
            )
        })
        .collect();
    assert_eq!(
        shown[0],
        ("field_unknown", Some("paid"), Some("who"), 1_501)
    );
    assert_eq!(
        (shown.len(), shown[1].0, shown[1].3),
        (2, "name_missing", 1)
    );
    assert!(
        groups[0]["reason"].is_string()
            && groups[0]["first"].as_str() <= groups[0]["last"].as_str()
    );
    assert_eq!(
        http.list("/api/v1/dead-letters/groups?event=track").len(),
        1,
        "{groups:?}"
    );

    // Identifiers are a list: the preview says so, the rule is mended.
    let preview = http
        .post_ok("/api/v1/dead-letters/fixes/preview", &rule())
        .value();
    assert_eq!(
        (
            &preview["matched"],
            preview["items"].as_array().map(Vec::len)
        ),
        (&json!(1_501), Some(10))
    );
    assert!(
        preview["items"][0]["error"]["code"].is_string(),
        "{preview}"
    );
    let mut rule = rule();
    rule["changes"][0] = json!({"do": "remove", "field": "who"});
    let identifiers = json!({"do": "set", "field": "identifiers", "value": ["user_id:all"]});
    rule["changes"]
        .as_array_mut()
        .expect("a list")
        .push(identifiers);
    rule["limit"] = json!(2);
    let preview = http
        .post_ok("/api/v1/dead-letters/fixes/preview", &rule)
        .value();
    let item = &preview["items"][0];
    assert_eq!(item["error"], Value::Null, "{preview}");
    let after: Value = serde_json::from_str(item["after"].as_str().expect("shown")).expect("JSON");
    assert_eq!(
        (&after["properties"]["amount"], &after["who"]),
        (&json!(10.5), &Value::Null)
    );
    assert!(item["before"].as_str().expect("shown").contains("who"));
    assert_eq!(
        http.read("/api/v1/stats")["applied"],
        0,
        "a preview changes nothing"
    );

    // Killed in the middle, it goes on by itself.
    rule.as_object_mut().expect("an object").remove("limit");
    let job = http.post_ok("/api/v1/dead-letters/fixes", &rule).value();
    let path = format!("/api/v1/dead-letters/fixes/{}", job["id"]);
    wait::until("the first letters", || {
        (http.read(&path)["counts"]["replayed"].as_u64() > Some(0)).then_some(())
    });
    sandbox.kill9();
    sandbox.boot();
    let http = sandbox.http();
    let done = wait::until("the job", || {
        let job = http.read(&path);
        (job["state"] == "done").then_some(job)
    });
    assert!(
        done["message"]
            .as_str()
            .expect("told")
            .ends_with("1 left open: 1 change_unfit"),
        "{done}"
    );
    let stats = sandbox.stats();
    assert_eq!(
        (&stats["applied"], &stats["dead_letters"]),
        (&json!(1_500), &json!(2))
    );
    let member = sandbox.member("user_id:all", "");
    let id = member["id"].as_str().expect("an id");
    assert_eq!(
        http.list(&format!("/api/v1/members/{id}/events?limit=500&kind=track"))
            .len(),
        1_500
    );
    // Once more: nothing is left that it fits.
    let job = http.post_ok("/api/v1/dead-letters/fixes", &rule).value();
    let path = format!("/api/v1/dead-letters/fixes/{}", job["id"]);
    let done = wait::until("the job", || {
        let job = http.read(&path);
        (job["state"] == "done").then_some(job)
    });
    assert_eq!(done["message"], "0 replayed, 1 left open: 1 change_unfit");
    assert_eq!(sandbox.stats()["applied"], 1_500);
    for (body, code) in [
        (
            json!({"changes": [{"do": "explode", "field": "a"}]}),
            "body_invalid",
        ),
        (json!({"filter": {"from": "yesterday"}}), "parameter_form"),
        (json!({"filter": {}, "limit": 500}), "body_invalid"),
    ] {
        let answer = http.json("POST", "/api/v1/dead-letters/fixes/preview", &body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, code),
            "{body}"
        );
    }
    assert_eq!(
        http.json("POST", "/api/v1/dead-letters/fixes/999/cancel", &json!({}))
            .status,
        404
    );
}

#[test]
fn an_alert_fires_is_told_and_ends() {
    let options = Options::default()
        .arg("--manual-clock")
        .set("effects.allow_networks", "127.0.0.0/8");
    let mut sandbox = Sandbox::start_with(options);
    sandbox.set_clock("2026-11-22T12:00:00+08:00");
    let receiver = Receiver::start();
    let key = sandbox.source("shop");
    let http = sandbox.http();
    let hook =
        json!({"name": "ops", "url": receiver.url("/ops"), "events": ["dead_letters.alert"]});
    http.post_ok("/api/v1/webhooks", &hook);
    let alerts = "/api/v1/dead-letter-alerts";
    for (body, field) in [
        (json!({"name": "x", "count": 0}), "count"),
        (json!({"name": "x", "count": 1, "window_s": 5}), "window_s"),
        (json!({"name": "x", "count": 1, "source": 4_711}), "source"),
    ] {
        let answer = http.json("POST", alerts, &body);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(answer.value()["error"]["field"], field);
    }
    let alert = json!({"name": "paid breaks", "event": "paid", "count": 3, "window_s": 600});
    let id = http.post_ok(alerts, &alert).value()["id"].clone();
    let state = |http: &tests::Http| http.list(&format!("{alerts}/states")).remove(0);
    send(&sandbox, &key, &[broken(0), broken(1)]);
    wait::until("the count", || (state(&http)["count"] == 2).then_some(()));
    assert_eq!(
        (&state(&http)["firing"], &state(&http)["since"]),
        (&json!(false), &Value::Null)
    );
    send(&sandbox, &key, &[broken(2)]);
    wait::until("the alert", || {
        (state(&http)["firing"] == true).then_some(())
    });
    let call = receiver.wait_for("/ops", 1).remove(0).value();
    assert_eq!(call["type"], "dead_letters.alert");
    let data = &call["data"];
    assert_eq!(
        (&data["alert"], &data["firing"], &data["count"]),
        (&id, &json!(true), &json!(3))
    );
    let gauge = format!("tributary_dead_letter_alert{{alert=\"{id}\"}} 1");
    assert!(http.get("/metrics").text().contains(&gauge));
    // It still fires after a crash and is not told again; out of its window it ends.
    sandbox.kill9();
    sandbox.boot();
    sandbox.set_clock("2026-11-22T12:01:00+08:00");
    let http = sandbox.http();
    wait::until("the count", || (state(&http)["count"] == 3).then_some(()));
    assert_eq!(state(&http)["firing"], true);
    sandbox.set_clock("2026-11-22T12:11:00+08:00");
    wait::until("the end", || {
        (state(&http)["firing"] == false).then_some(())
    });
    // The kill may have come before the mark of the first: that one is sent again, and says so by its id.
    let ended = wait::until("the end to be told", || {
        let calls = receiver.wait_for("/ops", 2);
        let ids: BTreeSet<_> = calls
            .iter()
            .map(|call| call.header("webhook-id").to_owned())
            .collect();
        let last = calls.last().expect("there are two").value();
        (last["data"]["firing"] == false).then_some(ids.len())
    });
    assert_eq!(ended, 2, "each is told once");
}
