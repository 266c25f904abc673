//! Segments over HTTP: counts while a rule is edited, entering and leaving live and by the clock, merges, edits, kill -9.

use serde_json::{Value, json};
use tests::http::query;
use tests::people::{identify, noon, paid, sdk};
use tests::{Sandbox, wait};

fn preview(sandbox: &Sandbox, rule: &Value, after: &str) -> Value {
    let http = sandbox.http();
    let path = format!("/api/v1/segments/preview?after={after}");
    wait::until("the history of a rule", || {
        let answer = http.json("POST", &path, &json!({ "rule": rule }));
        match answer.status {
            503 => None,
            _ => Some(answer.ok("a preview").value()),
        }
    })
}

fn segment(sandbox: &Sandbox, name: &str, rule: &Value) -> u64 {
    let made = sandbox
        .http()
        .post_ok("/api/v1/segments", &json!({"name": name, "rule": rule}));
    let id = made.value()["id"].as_u64().expect("a number");
    serving(sandbox, id);
    id
}

/// Waits until the newest rule of a segment is at work.
fn serving(sandbox: &Sandbox, id: u64) {
    let http = sandbox.http();
    wait::until("a segment to be computed", || {
        let segment = http.read(&format!("/api/v1/segments/{id}"));
        (segment["building"] == false).then_some(())
    });
}

fn members(sandbox: &Sandbox, id: u64, after: &str) -> Vec<String> {
    let path = format!("/api/v1/segments/{id}/members?limit=2&after={after}");
    settled(sandbox, &path);
    let all = sandbox.http().list(&path);
    all.iter()
        .map(|member| member["id"].as_str().expect("an id").to_owned())
        .collect()
}

fn id_of(sandbox: &Sandbox, identifier: &str, after: &str) -> String {
    let member = sandbox.member(identifier, after);
    member["id"].as_str().expect("an id").to_owned()
}

/// Reads with the token of an ack, again while rules are computed after a start.
fn settled(sandbox: &Sandbox, path: &str) -> Value {
    wait::until("memberships to be settled", || {
        let answer = sandbox.http().get(path);
        match (answer.status, answer.code().as_str()) {
            (503, "segment_building" | "lagging") => None,
            _ => Some(answer.ok(path).value()),
        }
    })
}

/// Names of the segments that a member is in, and its changes, oldest first.
fn person(sandbox: &Sandbox, id: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let http = sandbox.http();
    let whole = settled(sandbox, &format!("/api/v1/members/{id}/360?after={after}"));
    let segments = whole["segments"].as_array().expect("a list");
    let segments = segments
        .iter()
        .map(|it| it["name"].as_str().unwrap().into());
    let path = format!(
        "/api/v1/members/{id}/events?kind={}",
        query("segment_entered,segment_left")
    );
    let mut changes: Vec<String> = http
        .list(&path)
        .iter()
        .map(|it| {
            let rebuilt = it["segment"]["rebuilt"] == true;
            let kind = it["kind"].as_str().expect("a kind");
            format!("{kind}{}", if rebuilt { " rebuilt" } else { "" })
        })
        .collect();
    changes.reverse();
    (segments.collect(), changes)
}

#[test]
fn a_table_of_rules_counts_and_explains_the_same() {
    let (sandbox, key) = noon("segments");
    let mut batch = Vec::new();
    for n in 0..12u32 {
        let city = ["上海", "北京", "广州"][n as usize % 3];
        batch.push(identify(
            n,
            &format!("u{n}"),
            json!({"city": city, "age": 20 + n}),
        ));
        for day in 0..n % 4 {
            let at = format!("2026-11-{:02}T10:00:00+08:00", 22 - day);
            batch.push(paid(100 + n * 10 + day, &format!("u{n}"), &at, 10 + n));
        }
    }
    let token = sdk(&sandbox, &key, json!(batch));
    let city = json!({"attr": "city", "op": "eq", "value": "上海"});
    let bought = json!({"event": "paid", "agg": "count", "op": "gte", "value": 2, "within": "7d"});
    let table = [
        (json!({"and": []}), 12),
        (json!({"or": []}), 0),
        (city.clone(), 4),
        (json!({"not": city.clone()}), 8),
        (json!({"attr": "age", "op": "gte", "value": 30}), 2),
        (bought.clone(), 6),
        (json!({"and": [city.clone(), bought.clone()]}), 2),
        (
            json!({"event": "paid", "agg": "sum", "field": "amount", "op": "eq", "value": 0}),
            3,
        ),
        (
            json!({"event": "paid", "op": "lt", "value": 1, "within": "2d"}),
            3,
        ),
        (json!("city = \"上海\""), 4),
    ];
    let everybody = sandbox
        .http()
        .list(&format!("/api/v1/members?limit=100&after={token}"));
    assert_eq!(everybody.len(), 12);
    for (rule, wanted) in table {
        let seen = preview(&sandbox, &rule, &token);
        assert_eq!(seen["count"], wanted, "{rule}: {seen}");
        assert_eq!(
            seen["clauses"].as_array().unwrap().last().unwrap()["count"],
            wanted
        );
        let mut holds = 0;
        for member in &everybody {
            let id = member["id"].as_str().unwrap();
            let path = format!("/api/v1/members/{id}/explain?after={token}");
            let told = sandbox
                .http()
                .post_ok(&path, &json!({ "rule": rule }))
                .value();
            holds += u32::from(told["holds"] == true);
        }
        assert_eq!(holds, wanted, "{rule}, one by one");
    }
    let spread = sandbox.http().post_ok(
        &format!("/api/v1/segments/distribution?after={token}"),
        &json!({"attribute": "city", "rule": {"not": city}}),
    );
    let spread = spread.value();
    assert_eq!(
        (&spread["distinct"], &spread["present"]),
        (&json!(2), &json!(8)),
        "{spread}"
    );
    // What cannot be right is refused with a place.
    let wrong = json!({"rule": {"and": [{"attr": "age", "op": "abouts", "value": 1}]}});
    let refused = sandbox
        .http()
        .json("POST", "/api/v1/segments/preview", &wrong);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "rule_invalid")
    );
}

#[test]
fn members_enter_leave_merge_and_come_apart() {
    let (sandbox, key) = noon("segments");
    let token = sdk(
        &sandbox,
        &key,
        json!([
            identify(1, "a", json!({"city": "上海"})),
            identify(2, "b", json!({"city": "北京"})),
            identify(3, "c", json!({"city": "上海"})),
            paid(1, "a", "2026-11-22T10:00:00+08:00", 5),
            paid(2, "b", "2026-11-22T10:00:00+08:00", 5),
        ]),
    );
    let (a, b, c) = (
        id_of(&sandbox, "user_id:a", &token),
        id_of(&sandbox, "user_id:b", &token),
        id_of(&sandbox, "user_id:c", &token),
    );
    let shanghai = segment(
        &sandbox,
        "Shanghai",
        &json!({"attr": "city", "op": "eq", "value": "上海"}),
    );
    let twice = segment(
        &sandbox,
        "Twice",
        &json!({"event": "paid", "op": "gte", "value": 2, "within": "7d"}),
    );
    let in_shanghai = members(&sandbox, shanghai, &token);
    assert_eq!(in_shanghai.len(), 2);
    assert!(in_shanghai.contains(&a) && in_shanghai.contains(&c));
    assert_eq!(
        person(&sandbox, &a, &token),
        (
            vec!["Shanghai".into()],
            vec!["segment_entered rebuilt".into()]
        )
    );

    // Live, within the wait for a token.
    let token = sdk(
        &sandbox,
        &key,
        json!([
            identify(4, "a", json!({"city": "广州"})),
            identify(5, "b", json!({"city": "上海"})),
        ]),
    );
    // Told at the same instant as before: what stands later in the log wins.
    assert_eq!(members(&sandbox, shanghai, &token).len(), 2);
    let (segments, changes) = person(&sandbox, &a, &token);
    assert!(segments.is_empty(), "{segments:?}");
    assert_eq!(changes, ["segment_entered rebuilt", "segment_left"]);
    assert_eq!(person(&sandbox, &b, &token).1, ["segment_entered"]);
    let overlap = sandbox.http().post_ok(
        &format!("/api/v1/segments/overlap?after={token}"),
        &json!({"segments": [shanghai, twice]}),
    );
    let overlap = overlap.value();
    assert_eq!(
        (&overlap["union"], &overlap["intersection"]),
        (&json!(2), &json!(0))
    );

    // Two who bought once are one who bought twice.
    let named = json!([{"message_id": "link", "type": "track", "name": "login",
        "time": "2026-11-22T11:30:00+08:00", "identifiers": ["user_id:a", "phone:13800000001"]},
        {"message_id": "link2", "type": "track", "name": "login",
        "time": "2026-11-22T11:31:00+08:00", "identifiers": ["openid@wx:o1", "phone:13800000001"]},
        {"message_id": "buy", "type": "track", "name": "paid",
        "time": "2026-11-22T11:32:00+08:00", "identifiers": ["openid@wx:o1"]}]);
    let token = sandbox.send(&key, &named);
    assert_eq!(members(&sandbox, twice, &token), std::slice::from_ref(&a));
    let why = sandbox.http().read(&format!(
        "/api/v1/members/{a}/explain?segment={twice}&after={token}"
    ));
    assert_eq!(
        (&why["holds"], &why["member_of"]),
        (&json!(true), &json!(true)),
        "{why}"
    );
    let apart = sandbox.http().post_ok(
        &format!("/api/v1/members/{a}/unmerge"),
        &json!({"identifiers": ["phone:+8613800000001"], "reason": "somebody else's"}),
    );
    assert_eq!(
        members(&sandbox, twice, apart.token()),
        Vec::<String>::new()
    );
    let why = sandbox.http().read(&format!(
        "/api/v1/members/{a}/explain?segment={twice}&after={}",
        apart.token()
    ));
    assert_eq!(
        (&why["holds"], &why["member_of"]),
        (&json!(false), &json!(false)),
        "{why}"
    );
}

#[test]
fn the_clock_alone_moves_members() {
    let (sandbox, key) = noon("segments");
    let token = sdk(
        &sandbox,
        &key,
        json!([
            identify(1, "a", json!({})),
            paid(1, "a", "2026-11-16T11:00:00+08:00", 5),
            paid(2, "a", "2026-11-22T11:00:00+08:00", 5),
        ]),
    );
    let week = segment(
        &sandbox,
        "week",
        &json!({"event": "paid", "op": "gte", "value": 2, "within": "7d"}),
    );
    let quiet = segment(
        &sandbox,
        "quiet",
        &json!({"event": "paid", "op": "eq", "value": 0, "within": "24h"}),
    );
    for (now, in_week, in_quiet) in [
        ("2026-11-22T23:59:59.999+08:00", 1, 0),
        ("2026-11-23T00:00:00+08:00", 0, 0),
        ("2026-11-23T11:00:00+08:00", 0, 0),
        ("2026-11-23T11:00:00.001+08:00", 0, 1),
    ] {
        sandbox.set_clock(now);
        assert_eq!(members(&sandbox, week, &token).len(), in_week, "{now}");
        assert_eq!(members(&sandbox, quiet, &token).len(), in_quiet, "{now}");
    }
    let a = id_of(&sandbox, "user_id:a", &token);
    let (segments, changes) = person(&sandbox, &a, &token);
    assert_eq!(segments, ["quiet"]);
    assert_eq!(changes.last().map(String::as_str), Some("segment_entered"));
}

#[test]
fn an_edit_is_never_empty_or_mixed_and_a_kill_loses_and_repeats_nothing() {
    let (mut sandbox, key) = noon("segments");
    let mut batch = Vec::new();
    for n in 0..40u32 {
        let city = ["上海", "北京"][n as usize % 2];
        batch.push(identify(n, &format!("u{n}"), json!({ "city": city })));
        if n < 10 {
            batch.push(paid(
                2 * n,
                &format!("u{n}"),
                "2026-11-22T10:00:00+08:00",
                5,
            ));
            batch.push(paid(
                2 * n + 1,
                &format!("u{n}"),
                "2026-11-22T10:30:00+08:00",
                5,
            ));
        }
    }
    let token = sdk(&sandbox, &key, json!(batch));
    let id = segment(
        &sandbox,
        "edited",
        &json!({"attr": "city", "op": "eq", "value": "上海"}),
    );
    assert_eq!(members(&sandbox, id, &token).len(), 20);
    let twice = json!({"rule": {"event": "paid", "op": "gte", "value": 2, "within": "30d"}});
    let path = format!("/api/v1/segments/{id}");
    sandbox.http().json("PATCH", &path, &twice).ok("an edit");
    let count = |sandbox: &Sandbox| {
        let path = format!("/api/v1/segments/{id}/count");
        sandbox.http().read(&path)["count"]
            .as_u64()
            .expect("a count")
    };
    wait::until("the new rule", || match count(&sandbox) {
        20 => None,
        10 => Some(()),
        mixed => panic!("{mixed} members"),
    });
    serving(&sandbox, id);

    // Killed right after an edit, while its history is read or its changes are told: the end is the same.
    for (round, rule, wanted) in [
        (
            0,
            json!({"event": "paid", "agg": "sum", "field": "amount", "op": "gte", "value": 10, "within": "60d"}),
            10,
        ),
        (
            1,
            json!({"not": {"event": "paid", "op": "gte", "value": 1}}),
            30,
        ),
    ] {
        sandbox
            .http()
            .json("PATCH", &path, &json!({ "rule": rule }))
            .ok("an edit");
        sandbox.kill9();
        sandbox.boot();
        sandbox.set_clock("2026-11-22T12:00:00+08:00");
        serving(&sandbox, id);
        let now = members(&sandbox, id, &token);
        assert_eq!(now.len(), wanted, "round {round}");
        // Every member's timeline alternates: what it says last is what the segment says.
        for n in 0..40 {
            let member = id_of(&sandbox, &format!("user_id:u{n}"), &token);
            let (held, changes) = person(&sandbox, &member, &token);
            let entered: Vec<bool> = changes
                .iter()
                .map(|it| it.starts_with("segment_entered"))
                .collect();
            assert!(
                entered.windows(2).all(|pair| pair[0] != pair[1]),
                "{changes:?}"
            );
            assert_eq!(
                entered.last().copied().unwrap_or(false),
                now.contains(&member)
            );
            assert_eq!(!held.is_empty(), now.contains(&member));
        }
    }

    // Killed between live changes: each is told once. Right after the start the memberships of before serve; a read with
    // the token of an ack waits until rules are computed again, or says that they are not.
    let mut tokens = token;
    for round in 0..3u32 {
        let never = json!({"event": "paid", "op": "eq", "value": 0});
        sandbox
            .http()
            .json("PATCH", &path, &json!({ "rule": never }))
            .ok("an edit");
        let user = format!("u{}", 20 + round);
        tokens = sdk(
            &sandbox,
            &key,
            json!([paid(500 + round, &user, "2026-11-22T11:59:00+08:00", 1)]),
        );
        sandbox.kill9();
        sandbox.boot();
        sandbox.set_clock("2026-11-22T12:00:00+08:00");
        let member = id_of(&sandbox, &format!("user_id:{user}"), &tokens);
        serving(&sandbox, id);
        let (held, changes) = person(&sandbox, &member, &tokens);
        assert!(held.is_empty(), "round {round}: {held:?}");
        assert!(
            changes
                .last()
                .is_some_and(|it| it.starts_with("segment_left")),
            "round {round}: {changes:?}"
        );
    }
    assert_eq!(members(&sandbox, id, &tokens).len(), 27);
}

/// The write key of a brand's source, and the authorization of a key that sees that brand only.
fn brand(sandbox: &Sandbox, name: &str) -> (String, String) {
    let http = sandbox.http();
    let brand = http.post_ok("/api/v1/brands", &json!({ "name": name }));
    let id = brand.value()["id"].clone();
    let source = json!({"name": name, "kind": "http", "brand": id});
    let source = http.post_ok("/api/v1/sources", &source).value();
    let key = json!({"name": name, "role": "manager", "brands": [id]});
    let key = http.post_ok("/api/v1/api-keys", &key).value();
    let bearer = format!("Bearer {}", key["key"].as_str().expect("a key"));
    let write_key = source["write_key"].as_str().expect("a write key");
    (write_key.to_owned(), bearer)
}

#[test]
fn a_brand_counts_and_explains_its_own() {
    let (mut sandbox, _) = noon("segments");
    let ((tea_key, bearer), (milk_key, _)) = (brand(&sandbox, "tea"), brand(&sandbox, "milk"));
    let told = |key: &str, id: &str, user: &str, city: &str| {
        let event = json!([{"message_id": id, "type": "identify", "time": "2026-11-22T11:00:00+08:00",
            "identifiers": [format!("user_id:{user}")], "traits": {"city": city}}]);
        sandbox.send(key, &event)
    };
    told(&tea_key, "1", "a", "上海");
    told(&milk_key, "2", "a", "北京");
    told(&milk_key, "3", "b", "上海");
    let token = told(&tea_key, "4", "c", "广州");
    let rule = json!({"attr": "city", "op": "eq", "value": "上海"});
    let shanghai = segment(&sandbox, "Shanghai", &rule);
    // What a brand concludes for itself is of what it sees: nobody learns that a was told to live in 北京.
    let mine = sandbox.http().with(Some(bearer.clone()));
    let made = |path: &str, body: Value| mine.post_ok(path, &body).value()["id"].clone();
    let own = made("/api/v1/segments", json!({"name": "own", "rule": rule}));
    let peek = json!({"attr": "city", "op": "eq", "value": "北京"});
    let peek = made("/api/v1/segments", json!({"name": "peek", "rule": peek}));
    for id in [&own, &peek] {
        serving(&sandbox, id.as_u64().expect("a number"));
    }
    let by_city = |name: &str| {
        let case = |city: &str| json!({"value": city, "rule": {"attr": "city", "op": "eq", "value": city}});
        json!({"name": name, "code": name, "value_type": "text",
            "calculation": {"type": "rule", "cases": [case("上海"), case("北京"), case("广州")]}})
    };
    made("/api/v1/tags", by_city("own_city"));
    sandbox
        .http()
        .post_ok("/api/v1/tags", &by_city("group_city"));
    for code in ["own_city", "group_city"] {
        wait::until("a tag to be computed", || {
            let tag = sandbox.http().read(&format!("/api/v1/tags/{code}"));
            (tag["building"] == false).then_some(())
        });
    }
    let near = json!({"name": "near", "rule": {"near": {"lat": 31.2, "lon": 121.5, "km": 5, "of": "last_scan"}}});
    let refused = mine.json("POST", "/api/v1/segments", &near);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "rule_invalid")
    );
    assert!(refused.text().contains("facts_mixed"), "{}", refused.text());
    for killed in [false, true] {
        if killed {
            sandbox.kill9();
            sandbox.boot();
        }
        let tea = sandbox.http().with(Some(bearer.clone()));
        let ask = |path: &str, body: &Value| {
            wait::until("what the key sees", || {
                let path = format!("{path}?after={token}");
                let answer = tea.json("POST", &path, body);
                (answer.status != 503).then(|| answer.ok("an answer").value())
            })
        };
        let seen = ask("/api/v1/segments/preview", &json!({ "rule": rule }));
        assert_eq!(
            (&seen["count"], &seen["of"]),
            (&json!(1), &json!(2)),
            "{seen}"
        );
        let not = json!({"rule": {"not": rule}});
        assert_eq!(ask("/api/v1/segments/preview", &not)["count"], 1);
        let a = id_of(&sandbox, "user_id:a", &token);
        let path = format!("/api/v1/members/{a}/explain");
        assert_eq!(ask(&path, &json!({ "rule": rule }))["holds"], true);
        let b = id_of(&sandbox, "user_id:b", &token);
        let hidden = tea.json(
            "POST",
            &format!("/api/v1/members/{b}/explain"),
            &json!({ "rule": rule }),
        );
        assert_eq!(hidden.status, 404);
        // Who is in the group's segment was concluded by the group: the newest city counts, and b is nobody here.
        let count = tea.read(&format!("/api/v1/segments/{shanghai}/count?after={token}"));
        assert_eq!(count["count"], 0, "{count}");
        let members =
            |id: &Value| tea.list(&format!("/api/v1/segments/{id}/members?after={token}"));
        assert_eq!((members(&own).len(), members(&peek).len()), (1, 0));
        assert_eq!(members(&own)[0]["id"], json!(a));
        // Values of tags are those that their owner gave, of the members who are visible.
        let spread = |code: &str| {
            wait::until("the values of a tag", || {
                let path = format!("/api/v1/tags/{code}/distribution?after={token}");
                let answer = tea.get(&path);
                (answer.status != 503).then(|| answer.ok("an answer").value())
            })
        };
        let (own, group) = (spread("own_city"), spread("group_city"));
        let values = |seen: &Value| {
            let mut values: Vec<String> = (seen["values"].as_array().expect("a list").iter())
                .map(|it| format!("{} {}", it["value"], it["members"]))
                .collect();
            values.sort();
            (values, seen["members"].clone())
        };
        let of = |cities: [&str; 2]| cities.map(|city| format!("\"{city}\" 1")).to_vec();
        assert_eq!(values(&own), (of(["上海", "广州"]), json!(2)));
        assert_eq!(values(&group), (of(["北京", "广州"]), json!(2)));
        let tagged = json!({"rule": {"tag": "own_city", "op": "eq", "value": "上海"}});
        assert_eq!(ask("/api/v1/segments/preview", &tagged)["count"], 1);
    }
    let wrong = json!({"rule": {"attr": "citty", "op": "eq", "value": "上海"}});
    let saved = json!({"name": "wrong", "rule": wrong["rule"]});
    for (path, body) in [
        ("/api/v1/segments/preview", wrong),
        ("/api/v1/segments", saved),
    ] {
        let refused = sandbox.http().json("POST", path, &body);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "rule_invalid")
        );
        let text = refused.text();
        assert!(
            text.contains("unknown_attribute") && text.contains("did you mean `city`?"),
            "{text}"
        );
    }
}
