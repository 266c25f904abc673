//! The dictionary over the real binary: names appear with what is in them, merge, are blocked, drift; kill -9; brands.

use std::fs;

use serde_json::{Value, json};
use tests::http::query;
use tests::{Http, Options, Sandbox};

/// A server whose clock stands still at noon of 2026-11-22 in Shanghai.
fn start() -> (Sandbox, String) {
    let sandbox = Sandbox::start_with(Options::default().arg("--manual-clock"));
    set_clock(&sandbox, 22);
    let key = sandbox.source("shop");
    (sandbox, key)
}

/// Noon of a day of November 2026.
fn set_clock(sandbox: &Sandbox, day: u32) {
    sandbox.set_clock(&format!("2026-11-{day:02}T12:00:00+08:00"));
}

fn track(id: &str, name: &str, user: u32, properties: Value) -> Value {
    json!({"message_id": id, "type": "track", "name": name, "identifiers": [format!("user_id:u{user}")],
        "properties": properties})
}

/// Six people pay; their phone is in a property, which it should not be.
fn payments(prefix: &str) -> Value {
    let paid = (0..6).map(|n| {
        let amount = 10 + n;
        track(
            &format!("{prefix}{n}"),
            "paid",
            n,
            json!({"amount": amount, "channel": "wechat", "phone": format!("1380000000{n}"), "note": format!("of {n}")}),
        )
    });
    json!(paid.collect::<Vec<_>>())
}

fn event(http: &Http, name: &str, after: &str) -> Value {
    http.read(&format!(
        "/api/v1/dictionary/events/{}?after={after}",
        query(name)
    ))
}

fn property<'a>(event: &'a Value, name: &str) -> &'a Value {
    let all = event["properties"].as_array().expect("a list");
    let found = all.iter().find(|property| property["name"] == name);
    found.unwrap_or_else(|| panic!("no property {name}: {event}"))
}

fn put(http: &Http, path: &str, body: &Value) -> String {
    http.json("PUT", path, body).ok("a name").token().to_owned()
}

/// Names of dictionary folders hold nothing of these people.
fn held(sandbox: &Sandbox, text: &str) -> bool {
    let folder = sandbox.data().join("dictionary");
    let files = fs::read_dir(folder).expect("the folder is there");
    files.flatten().any(|file| {
        let bytes = fs::read(file.path()).expect("a file");
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    })
}

#[test]
fn names_appear_with_what_is_in_them_and_count_once_over_kills() {
    let (mut sandbox, key) = start();
    let token = sandbox.send(&key, &payments("a"));
    let http = sandbox.http();
    let seen = event(&http, "paid", &token);
    assert_eq!(
        (&seen["total"], &seen["status"]),
        (&json!(6), &json!("new"))
    );
    assert_eq!(seen["days"], json!([{"day": "2026-11-22", "count": 6}]));
    assert_eq!(seen["sources"].as_array().map(Vec::len), Some(1));
    let amount = &property(&seen, "amount")["seen"];
    assert_eq!(
        (&amount["min"], &amount["max"]),
        (&json!(10.0), &json!(15.0))
    );
    assert_eq!(amount["types"][0]["type"], "int");
    let channel = &property(&seen, "channel")["seen"];
    assert_eq!(
        channel["values"],
        json!([{"value": "wechat", "count": 6, "over": 0}])
    );
    let phone = &property(&seen, "phone")["seen"];
    assert_eq!(
        (&phone["personal"], &phone["values"][0]["value"]),
        (&json!(true), &json!("9{11}"))
    );
    assert_eq!(
        property(&seen, "note")["seen"]["values"],
        json!([]),
        "each had another one"
    );
    let list = http.list("/api/v1/dictionary/events?status=new&sort=-total&q=PAI");
    assert_eq!(list[0]["name"], "paid");
    // Killed before its state was written: counted again from the log, once.
    sandbox.kill9();
    sandbox.boot();
    set_clock(&sandbox, 23);
    sandbox.send(&key, &payments("a"));
    let token = sandbox.send(&key, &payments("b"));
    let twice = event(&sandbox.http(), "paid", &token);
    assert_eq!(twice["total"], 12, "repeats are no events");
    let days = json!([{"day": "2026-11-22", "count": 6}, {"day": "2026-11-23", "count": 6}]);
    assert_eq!(twice["days"], days);
    // Stopped: the state is written, and holds nothing of one person.
    sandbox.stop();
    assert!(held(&sandbox, "wechat"));
    for personal in ["13800000001", "of 3"] {
        assert!(!held(&sandbox, personal), "{personal}");
    }
    sandbox.boot();
    set_clock(&sandbox, 23);
    assert_eq!(event(&sandbox.http(), "paid", &token), twice);
    sandbox.kill9();
    fs::write(sandbox.data().join("dictionary/observed"), b"damaged").expect("the file is there");
    sandbox.boot();
    set_clock(&sandbox, 23);
    assert_eq!(
        event(&sandbox.http(), "paid", &token),
        twice,
        "made again from the log"
    );
}

#[test]
fn a_name_that_rules_ask_about_is_not_merged_or_blocked() {
    let (sandbox, _) = start();
    let http = sandbox.http();
    let named = http.post_ok(
        "/api/v1/attributes",
        &json!({"name": "town", "type": "text"}),
    );
    let rule = json!({"or": [{"attr": "town", "op": "exists"}, {"not": {"event": ["buy", "order"],
        "where": [{"attr": "shop.city", "op": "eq", "value": "上海"}], "agg": "sum", "field": "amt", "op": "gte", "value": 1}}]});
    let path = format!("/api/v1/segments?after={}", named.token());
    let made = http.post_ok(&path, &json!({"name": "quiet", "rule": rule}));
    let id = made.value()["id"].clone();
    let gone = [
        ("events/buy", json!({"alias_of": "paid"})),
        ("events/order", json!({"status": "blocked"})),
        ("attributes/town", json!({"alias_of": "city"})),
        (
            "events/order",
            json!({"properties": {"amt": {"status": "blocked"}}}),
        ),
        (
            "events/buy",
            json!({"properties": {"shop": {"alias_of": "store"}}}),
        ),
    ];
    for (name, said) in &gone {
        let refused = http.json("PUT", &format!("/api/v1/dictionary/{name}"), said);
        assert_eq!((refused.status, refused.code().as_str()), (409, "in_use"));
        let text = refused.text();
        assert!(
            text.contains("quiet") && text.contains(&format!("segment {id}")),
            "{text}"
        );
    }
    // What RFM looks at when nothing is said.
    let rfm = json!({"name": "rfm", "code": "rfm", "value_type": "text", "update": "manual",
        "calculation": {"type": "rfm", "rfm": {"quantiles": 5}}});
    http.post_ok("/api/v1/tags", &rfm);
    let orders = "/api/v1/dictionary/events/Order%20Completed";
    for said in [
        json!({"status": "blocked"}),
        json!({"properties": {"total": {"alias_of": "amount"}}}),
    ] {
        let refused = http.json("PUT", orders, &said);
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.text().contains("tag rfm"), "{}", refused.text());
    }
    put(
        &http,
        orders,
        &json!({"properties": {"currency": {"status": "blocked"}}}),
    );
    // What else is said of it is nobody's business, and without the rule it may go.
    put(
        &http,
        "/api/v1/dictionary/events/buy",
        &json!({"title": {"zh": "购买"}}),
    );
    assert!(
        http.json("DELETE", &format!("/api/v1/segments/{id}"), &json!({}))
            .status
            < 300
    );
    for (name, said) in &gone {
        put(&http, &format!("/api/v1/dictionary/{name}"), said);
    }
}

#[test]
fn a_merged_name_is_recorded_as_the_other_one_from_then_on() {
    let (mut sandbox, key) = start();
    sandbox.send(&key, &json!([track("1", "buy", 1, json!({"amt": 1.50}))]));
    let http = sandbox.http();
    let after = put(
        &http,
        "/api/v1/dictionary/events/buy",
        &json!({"alias_of": "paid", "title": {"zh": "购买"}, "owner": "shop team",
            "properties": {"amt": {"alias_of": "amount"}}}),
    );
    put(
        &http,
        "/api/v1/dictionary/attributes/town",
        &json!({"alias_of": "city", "description": "of the old app"}),
    );
    let told = json!([track("2", "buy", 1, json!({"amt": 2.50})), track("3", "paid", 1, json!({"amount": 3})),
        {"message_id": "4", "type": "identify", "identifiers": ["user_id:u1"], "traits": {"town": "苏州"}}]);
    let token = sandbox.send(&key, &told);
    let check = |http: &Http| {
        let paid = event(http, "paid", &token);
        assert_eq!(
            (&paid["total"], &paid["merged"]),
            (&json!(2), &json!(["buy"]))
        );
        assert_eq!(property(&paid, "amount")["seen"]["present"], 2);
        assert_eq!(property(&paid, "$original_name")["seen"]["present"], 1);
        let buy = event(http, "buy", &token);
        assert_eq!(
            (&buy["total"], &buy["title"]["zh"]),
            (&json!(1), &json!("购买")),
            "before the merge"
        );
        // Rules on the canonical name see both.
        let rule =
            json!({"event": "paid", "agg": "sum", "field": "amount", "op": "eq", "value": 5.5});
        let path = format!("/api/v1/segments/preview?after={token}");
        let counted = tests::wait::until("the history of a rule", || {
            let answer = http.json("POST", &path, &json!({ "rule": rule }));
            (answer.status != 503).then(|| answer.ok("a preview").value())
        });
        assert_eq!(counted["count"], 1, "{counted}");
        let member = http.list(&format!(
            "/api/v1/members?identifier=user_id:u1&after={token}"
        ));
        let id = member[0]["id"].as_str().expect("an id");
        let names: Vec<Value> = http
            .list(&format!("/api/v1/members/{id}/events?kind=track"))
            .iter()
            .map(|line| line["name"].clone())
            .collect();
        assert_eq!(names, ["paid", "paid", "buy"]);
        let whole = http.read(&format!("/api/v1/members/{id}/360"));
        assert!(whole.to_string().contains("苏州"), "{whole}");
        let town = http.read("/api/v1/dictionary/attributes/town");
        assert_eq!(
            (&town["alias_of"], &town["total"]),
            (&json!("city"), &json!(0))
        );
        let city = http.read("/api/v1/dictionary/attributes/city");
        assert_eq!(
            (&city["merged"], &city["total"]),
            (&json!(["town"]), &json!(1))
        );
    };
    check(&http);
    assert_ne!(after, "");
    sandbox.kill9();
    sandbox.boot();
    set_clock(&sandbox, 22);
    check(&sandbox.http());
    sandbox.stop();
    let applied = sandbox.digest(&[]);
    assert_eq!(
        applied,
        sandbox.digest(&["--replay"]),
        "decided again with the same names"
    );
}

#[test]
fn a_blocked_name_goes_to_the_dead_letters_or_is_counted() {
    let (sandbox, key) = start();
    let http = sandbox.http();
    put(
        &http,
        "/api/v1/dictionary/events/debug",
        &json!({"status": "blocked"}),
    );
    let dropping = json!({"status": "blocked", "on_block": "drop"});
    put(&http, "/api/v1/dictionary/events/ping", &dropping);
    let sent = json!([
        track("1", "debug", 1, json!({})),
        track("2", "ping", 1, json!({})),
        track("2", "ping", 1, json!({})),
        track("3", "paid", 1, json!({}))
    ]);
    let token = sandbox.send(&key, &sent);
    let dead = http.list(&format!("/api/v1/dead-letters?after={token}"));
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["code"], "event_blocked");
    let stats = http.read("/api/v1/stats");
    let counters = &stats["counters"];
    assert_eq!(
        (
            &counters["events_blocked"],
            &counters["events_blocked.ping"]
        ),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&stats["applied"], &stats["duplicates"]),
        (&json!(1), &json!(1))
    );
    // While it is blocked it stays where it is; afterwards it is taken.
    let path = format!(
        "/api/v1/dead-letters/{}/replay",
        dead[0]["id"].as_str().expect("an id")
    );
    assert_eq!(
        http.json("POST", &path, &json!({})).code(),
        "command_refused"
    );
    let patched = http.json(
        "PATCH",
        "/api/v1/dictionary/events/debug",
        &json!({"status": "accepted"}),
    );
    patched.ok("a change");
    http.post_ok(&path, &json!({}));
    assert_eq!(http.read("/api/v1/stats")["applied"], 2);
    // A message that was dropped may come again.
    put(&http, "/api/v1/dictionary/events/ping", &json!({}));
    let token = sandbox.send(&key, &json!([track("2", "ping", 1, json!({}))]));
    assert_eq!(event(&http, "ping", &token)["total"], 1);
}

#[test]
fn what_changes_is_listed_since_when() {
    let (sandbox, key) = start();
    for day in 1..=12u32 {
        set_clock(&sandbox, day);
        let mut batch = Vec::new();
        for n in 0..25 {
            let id = format!("{day}-{n}");
            if day <= 8 {
                batch.push(track(&format!("s{id}"), "scan page", n, json!({})));
            }
            if day != 11 || n < 2 {
                let amount = if day < 6 {
                    json!(n)
                } else {
                    json!(format!("{n} yuan"))
                };
                let mut properties = json!({ "amount": amount });
                if day >= 9 {
                    properties["coupon"] = json!("c");
                }
                batch.push(track(&format!("p{id}"), "paid", n, properties));
            }
        }
        sandbox.send(&key, &json!(batch));
    }
    let http = sandbox.http();
    let token = sandbox.send(&key, &json!([track("last", "other", 1, json!({}))]));
    let drift = |filter: &str| -> Vec<String> {
        let all = http.list(&format!("/api/v1/dictionary/drift?after={token}&{filter}"));
        let mut lines: Vec<String> = all
            .iter()
            .map(|it| {
                let text = |field: &str| it[field].as_str().unwrap_or("-");
                format!(
                    "{} {} {} {}",
                    text("kind"),
                    text("event"),
                    text("property"),
                    &text("since")[..10]
                )
            })
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(
        drift(""),
        [
            "new_property paid coupon 2026-11-09",
            "stopped scan page - 2026-11-08",
            "type_changed paid amount 2026-11-06",
            // Midnight in Shanghai.
            "volume_fell paid - 2026-11-10",
        ]
    );
    assert_eq!(drift("kind=stopped,new_property").len(), 2);
    assert_eq!(drift("event=paid").len(), 3);
    assert_eq!(
        http.get("/api/v1/dictionary/drift?kind=odd").code(),
        "parameter_form"
    );
    let said = json!({"properties": {"amount": {"expected_type": "text"}, "coupon": {"status": "accepted"}}});
    put(&http, "/api/v1/dictionary/events/paid", &said);
    assert_eq!(
        drift("event=paid"),
        [
            "type_unexpected paid amount 2026-11-01",
            "volume_fell paid - 2026-11-10"
        ]
    );
}

#[test]
fn what_does_not_fit_is_refused_and_brands_see_their_own() {
    let (sandbox, _) = start();
    let http = sandbox.http();
    let base = "/api/v1/dictionary/events";
    for (name, body, field) in [
        ("a", json!({"alias_of": "a"}), "alias_of"),
        ("a", json!({"alias_of": "order"}), "alias_of"),
        ("a", json!({"expected_type": "text"}), "expected_type"),
        (
            "a",
            json!({"properties": {"p": {"expected_type": "metre"}}}),
            "properties.p.expected_type",
        ),
    ] {
        let answer = http.json("PUT", &format!("{base}/{name}"), &body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (422, "naming_invalid"),
            "{body}"
        );
        assert_eq!(answer.value()["error"]["field"], field, "{body}");
    }
    for body in [
        json!({"state": "new"}),
        json!({"status": "odd"}),
        json!([1]),
        json!({"title": "x"}),
    ] {
        let answer = http.json("PUT", &format!("{base}/a"), &body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "body_invalid"),
            "{body}"
        );
    }
    assert_eq!(http.get(&format!("{base}/nobody")).status, 404);
    assert_eq!(
        http.get(&format!("{base}?sort=odd")).code(),
        "parameter_form"
    );
    put(
        &http,
        &format!("{base}/a"),
        &json!({"owner": "x", "version": 0}),
    );
    let again = http.json("PUT", &format!("{base}/a"), &json!({"version": 0}));
    assert_eq!(again.code(), "conflict");
    let patched = http.json(
        "PATCH",
        &format!("{base}/a"),
        &json!({"title": {"en": "A"}, "version": 1}),
    );
    let patched = patched.ok("a change").value();
    assert_eq!(
        (
            &patched["owner"],
            &patched["title"]["en"],
            &patched["version"]
        ),
        (&json!("x"), &json!("A"), &json!(2))
    );
    // What one brand sends, another one's key does not see; names that people wrote are the group's.
    let mut tokens = Vec::new();
    for brand in ["one", "two"] {
        let made = http
            .post_ok("/api/v1/brands", &json!({ "name": brand }))
            .value();
        let source = json!({"name": brand, "kind": "http", "brand": made["id"]});
        let source = http.post_ok("/api/v1/sources", &source).value();
        let write_key = source["write_key"].as_str().expect("a key").to_owned();
        tokens.push(sandbox.send(
            &write_key,
            &json!([track(brand, &format!("of {brand}"), 1, json!({}))]),
        ));
        let key = json!({"name": brand, "role": "manager", "brands": [made["id"]]});
        let key = http.post_ok("/api/v1/api-keys", &key).value();
        let key = key["key"].as_str().expect("a key").to_owned();
        let own = http.with(Some(format!("Bearer {key}")));
        let after = tokens.last().expect("one was sent");
        let names: Vec<String> = own
            .list(&format!("{base}?after={after}"))
            .iter()
            .map(|it| it["name"].as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(names, ["a".to_owned(), format!("of {brand}")]);
        let refused = own.json("PUT", &format!("{base}/a"), &json!({}));
        assert_eq!(refused.status, 403, "names are the group's");
    }
}

#[test]
fn row_12_names_published_after_an_older_registry_was_restored_are_in_force() {
    let (mut sandbox, key) = start();
    let merge = |sandbox: &Sandbox, from: &str, to: &str| {
        let path = format!("/api/v1/dictionary/events/{from}");
        put(&sandbox.http(), &path, &json!({"alias_of": to}))
    };
    let name_of = |sandbox: &Sandbox, id: &str, name: &str, user: u32| {
        let token = sandbox.send(&key, &json!([track(id, name, user, json!({}))]));
        let path = format!("/api/v1/members?identifier=user_id:u{user}&after={token}");
        let member = sandbox.http().list(&path);
        let id = member[0]["id"].as_str().expect("an id").to_owned();
        let lines = sandbox
            .http()
            .list(&format!("/api/v1/members/{id}/events?kind=track"));
        lines[0]["name"].clone()
    };
    merge(&sandbox, "one", "first");
    assert!(sandbox.stop().success());
    let registry = sandbox.data().join("registry.db");
    let older = fs::read(&registry).expect("the registry is a file");
    sandbox.boot();
    set_clock(&sandbox, 22);
    for (from, to) in [("two", "second"), ("three", "third"), ("four", "fourth")] {
        merge(&sandbox, from, to);
    }
    assert_eq!(name_of(&sandbox, "m1", "four", 1), "fourth");
    assert!(sandbox.stop().success());
    // The registry of before; log and rows as they are. Then the same once more without the note of what was sent.
    for (round, note) in [true, false].into_iter().enumerate() {
        fs::write(&registry, &older).expect("restored");
        for beside in ["registry.db-wal", "registry.db-shm"] {
            let _ = fs::remove_file(sandbox.data().join(beside));
        }
        if !note {
            let file = sandbox.data().join("definitions-sent.json");
            fs::remove_file(file).expect("the note is there");
        }
        sandbox.boot();
        set_clock(&sandbox, 22);
        let (from, to) = (format!("five{round}"), format!("fifth{round}"));
        merge(&sandbox, &from, &to);
        let user = 10 + round as u32;
        assert_eq!(
            name_of(&sandbox, &format!("n{round}"), &from, user),
            to.as_str()
        );
        assert!(sandbox.stop().success());
    }
    let state = sandbox.digest(&["--state"]);
    assert_eq!(sandbox.digest(&["--state", "--replay"]), state);
}
