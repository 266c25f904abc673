//! Resources: the generated routes of every kind, on segments where a kind is needed.

use serde_json::json;

use super::*;

pub(super) async fn segment(running: &Running, name: &str) -> Value {
    let body = json!({"name": name, "rule": {"attr": "city", "op": "eq", "value": "上海"}});
    let made = running.post("/api/v1/segments", body).await.ok();
    assert!(made.header("tributary-token").is_some());
    assert_eq!(made.status, 201);
    made.json
}

#[tokio::test]
async fn a_segment_is_made_read_changed_copied_switched_and_removed() {
    let running = start().await;
    let made = segment(&running, "上海").await;
    assert_eq!(
        (&made["id"], &made["state"]),
        (&json!(1), &json!("enabled"))
    );
    assert_eq!(made["building"], true, "no engine has reported it yet");
    let token = made["token"].as_str().unwrap();
    let read = running
        .get(&format!("/api/v1/segments/1?after={token}"))
        .await
        .ok();
    assert_eq!(read.json["rule"]["attr"], "city");

    let path = "/api/v1/segments/1";
    let rule = json!({"rule": {"attr": "city", "op": "eq", "value": "北京"}, "version": 1});
    let changed = running
        .with_key("PATCH", path, ADMIN, Some(rule.clone()))
        .await
        .ok();
    assert_eq!(
        (&changed.json["version"], &changed.json["body_version"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(changed.json["name"], "上海", "what is not sent stays");
    let stale = running.with_key("PATCH", path, ADMIN, Some(rule)).await;
    assert_eq!((stale.status, stale.code()), (409, "conflict"));
    // What was read can be sent back.
    let whole = running.get(path).await.ok().json;
    let same = running
        .with_key("PATCH", path, ADMIN, Some(whole))
        .await
        .ok();
    assert_eq!(
        (&same.json["version"], &same.json["body_version"]),
        (&json!(3), &json!(2))
    );

    let copy = running
        .post("/api/v1/segments/1/copy", json!({}))
        .await
        .ok();
    assert_eq!(
        (&copy.json["name"], &copy.json["state"]),
        (&json!("上海 (2)"), &json!("draft"))
    );
    let off = running
        .post("/api/v1/segments/1/disable", json!({}))
        .await
        .ok();
    assert_eq!(off.json["state"], "disabled");
    let versions = running.get("/api/v1/segments/1/versions").await.ok();
    assert_eq!(versions.json["items"].as_array().unwrap().len(), 4);
    assert_eq!(versions.json["items"][0]["body"]["rule"]["value"], "上海");

    let user = json!({"name": "user", "rule": {"segment": "1"}});
    let user = running.post("/api/v1/segments", user).await.ok();
    let uses = running.get("/api/v1/segments/1/uses").await.ok();
    assert_eq!(
        uses.json["items"][0]["id"], user.json["id"],
        "{} {}",
        uses.text, user.text
    );
    let refused = running.with_key("DELETE", path, ADMIN, None).await;
    assert_eq!((refused.status, refused.code()), (409, "in_use"));
    let ids = json!([1, user.json["id"], 99]);
    let batch = running
        .post(
            "/api/v1/segments/batch",
            json!({"action": "delete", "ids": ids}),
        )
        .await
        .ok();
    assert_eq!(batch.json["done"], json!([user.json["id"]]));
    assert_eq!(batch.json["failed"][0]["code"], "in_use");
    assert_eq!(batch.json["failed"][1]["code"], "not_found");
    running.with_key("DELETE", path, ADMIN, None).await.ok();
    assert_eq!(running.get(path).await.status, 404);

    let audit = running.get("/api/v1/audit?kind=segment&item=1").await.ok();
    let actions: Vec<_> = audit.json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["action"].clone())
        .collect();
    assert_eq!(
        actions,
        ["delete", "disabled", "update", "update", "create"]
    );
    let verdict = running.get("/api/v1/audit/verify").await.ok();
    assert_eq!(verdict.json["sound"], true);
    running.service.stop().await;
}

#[tokio::test]
async fn a_wrong_rule_is_refused_with_every_place() {
    let running = start().await;
    let rule = json!({"and": [
        {"attr": "citi", "op": "eq", "value": "x"},
        {"attr": "birthday", "op": "gt", "value": "not a day"},
        {"segment": "7"},
    ]});
    let body = json!({"name": "x", "rule": rule});
    let answer = running.post("/api/v1/segments", body).await;
    assert_eq!((answer.status, answer.code()), (422, "rule_invalid"));
    let details = answer.json["error"]["details"].as_array().unwrap();
    let places: Vec<_> = details
        .iter()
        .map(|it| it["field"].as_str().unwrap())
        .collect();
    assert_eq!(places.len(), 3, "{}", answer.text);
    assert!(places[0].starts_with("rule.and[0]"), "{places:?}");
    assert!(details[0]["hint"].as_str().unwrap().contains("city"));
    for (body, field) in [
        (json!({"name": "x"}), None),
        (
            json!({"name": "x", "rule": {"and": []}, "colour": 1}),
            Some("colour"),
        ),
        (
            json!({"name": "x", "rule": {"and": []}, "id": 4}),
            Some("id"),
        ),
        (
            json!({"name": "x", "rule": {"and": []}, "state": "gone"}),
            Some("state"),
        ),
        (
            json!({"name": "x", "rule": {"and": []}, "created_by": "eve"}),
            Some("created_by"),
        ),
        (
            json!({"name": "x", "rule": {"and": []}, "update": "now"}),
            Some("update"),
        ),
    ] {
        let answer = running.post("/api/v1/segments", body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "body_invalid"),
            "{}",
            answer.text
        );
        if let Some(field) = field {
            assert!(answer.text.contains(field), "{}", answer.text);
        }
    }
    assert_eq!(running.get("/api/v1/segments").await.ok().json["total"], 0);
    // A circle over two segments.
    segment(&running, "a").await;
    running
        .post(
            "/api/v1/segments",
            json!({"name": "b", "rule": {"segment": "1"}}),
        )
        .await
        .ok();
    let circle = json!({"rule": {"not": {"segment": "2"}}});
    let answer = running
        .with_key("PATCH", "/api/v1/segments/1", ADMIN, Some(circle))
        .await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    running.service.stop().await;
}

#[tokio::test]
async fn lists_filter_choose_columns_and_page() {
    let running = start().await;
    for name in ["gold", "silver", "bronze"] {
        segment(&running, name).await;
    }
    let names = async |query: &str| {
        let answer = running.get(&format!("/api/v1/segments{query}")).await.ok();
        let items = answer.json["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|it| it["name"].as_str().unwrap_or("-").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("?sort=name").await, ["bronze", "gold", "silver"]);
    assert_eq!(names("?sort=-id&limit=2").await, ["bronze", "silver"]);
    assert_eq!(names("?q=GOL").await, ["gold"]);
    assert_eq!(names("?name=gold,silver").await, ["gold", "silver"]);
    assert_eq!(names("?update=manual").await, Vec::<String>::new());
    assert_eq!(names("?id.from=2&id.to=2").await, ["silver"]);
    assert_eq!(
        names("?created.to=2001-01-01T00:00:00Z").await,
        Vec::<String>::new()
    );
    let chosen = running
        .get("/api/v1/segments?columns=state&limit=1")
        .await
        .ok();
    assert_eq!(
        chosen.json["items"][0],
        json!({"id": 1, "state": "enabled"})
    );
    for wrong in [
        "?colour=1",
        "?sort=rule",
        "?id=x",
        "?limit=0",
        "?created.from=now",
        "?id.starts=1",
    ] {
        let answer = running.get(&format!("/api/v1/segments{wrong}")).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "parameter_form"),
            "{wrong}"
        );
    }
    running.service.stop().await;
}

#[tokio::test]
async fn a_table_goes_out_and_comes_in() {
    let running = start().await;
    segment(&running, "=HYPERLINK(1)").await;
    segment(&running, "plain").await;
    let csv = running.get("/api/v1/segments/export").await.ok();
    assert!(csv.text.contains("'=HYPERLINK(1)"), "{}", csv.text);
    assert!(
        csv.header("content-disposition")
            .unwrap()
            .contains("segment.csv")
    );
    let empty = start().await;
    let import = async |path: &str, body: String| {
        let request = empty.request("POST", path).bearer_auth(ADMIN).body(body);
        empty.send(request).await
    };
    let dry = import("/api/v1/segments/import?dry_run=true", csv.text.clone())
        .await
        .ok();
    assert_eq!(
        (&dry.json["created"], &dry.json["dry_run"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(empty.get("/api/v1/segments").await.ok().json["total"], 0);
    import("/api/v1/segments/import", csv.text).await.ok();
    let names: Vec<_> = empty.get("/api/v1/segments").await.ok().json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].clone())
        .collect();
    assert_eq!(names, ["=HYPERLINK(1)", "plain"]);
    let wrong = "name,rule\nx,{\"and\":[]}\n,{\"and\":[]}\ny,{\"attr\":\"none\"}\n";
    let answer = import("/api/v1/segments/import", wrong.into()).await;
    assert_eq!(
        (answer.status, answer.code()),
        (422, "import_invalid"),
        "{}",
        answer.text
    );
    let rows: Vec<_> = answer.json["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["row"].clone())
        .collect();
    assert!(rows.contains(&json!(3)), "{}", answer.text);
    let answer = import("/api/v1/segments/import", "name,colour\nx,1\n".into()).await;
    assert_eq!(answer.json["error"]["details"][0]["field"], "colour");
    for running in [running, empty] {
        running.service.stop().await;
    }
}

/// Every generated route with another brand's resource: not found, and nothing of it in any answer.
#[tokio::test]
async fn no_brand_reaches_anothers_resources() {
    let running = start().await;
    let mut keys = Vec::new();
    for name in ["north", "south"] {
        let made = running
            .post("/api/v1/brands", json!({"name": name}))
            .await
            .ok();
        let brand = made.json["id"].clone();
        let body = json!({"name": name, "role": "manager", "brands": [brand]});
        let made = running.post("/api/v1/api-keys", body).await.ok();
        keys.push(made.json["key"].as_str().unwrap().to_owned());
    }
    for (path, body) in resources_of("canary") {
        let made = running
            .with_key("POST", path, &keys[1], Some(body))
            .await
            .ok();
        assert_eq!(made.json["brand"], 2, "a key of one brand writes for it");
        let id = made.json["id"].to_string();
        for route in routes::all()
            .iter()
            .filter(|route| route.path.starts_with(&format!("{path}/")))
        {
            let own = !route.path.contains("{id}");
            let target = route.path.replace("{id}", &id).replace("{export}", "1");
            let body = match (route.method.as_str(), target.rsplit('/').next()) {
                ("GET" | "DELETE", _) => None,
                (_, Some("batch")) => Some(json!({"action": "delete", "ids": [made.json["id"]]})),
                (_, Some("import")) => continue,
                (_, Some("members")) => Some(json!({"members": [], "value": "x"})),
                _ => Some(json!({})),
            };
            let answer = running
                .with_key(route.method.as_str(), &target, &keys[0], body)
                .await;
            assert!(!answer.text.contains("canary"), "{target}: {}", answer.text);
            // Questions about all members are refused to every key of one brand, whatever the id.
            let whole = (answer.status, answer.code()) == (403, "permission_missing");
            if !(own || whole && path == "/api/v1/segments") {
                assert_eq!(
                    (answer.status, answer.code()),
                    (404, "not_found"),
                    "{} {target}",
                    route.method
                );
            }
        }
        let list = running.with_key("GET", path, &keys[0], None).await.ok();
        assert_eq!(list.json["total"], 0, "{path}");
        let still = running
            .with_key("GET", &format!("{path}/{id}"), &keys[1], None)
            .await
            .ok();
        assert_eq!(still.json["version"], made.json["version"]);
    }
    let audit = running
        .with_key("GET", "/api/v1/audit", &keys[0], None)
        .await
        .ok();
    assert!(!audit.text.contains("canary"), "{}", audit.text);
    running.service.stop().await;
}

/// One of every kind: a kind without a row here fails `every_kind_has_a_canary`.
fn resources_of(name: &str) -> Vec<(&'static str, Value)> {
    let manual = json!({"type": "manual"});
    vec![
        (
            "/api/v1/dead-letter-alerts",
            json!({"name": name, "event": name, "count": 100}),
        ),
        (
            "/api/v1/segments",
            json!({"name": name, "rule": {"and": []}}),
        ),
        (
            "/api/v1/tags",
            json!({"name": name, "code": name, "value_type": "text", "calculation": manual}),
        ),
        (
            "/api/v1/lists",
            json!({"name": name, "members": ["phone:13800000001"]}),
        ),
    ]
}

#[test]
fn every_kind_has_a_canary() {
    let kinds: Vec<&str> = routes::all()
        .iter()
        .filter_map(|route| route.path.strip_suffix("/folders"))
        .collect();
    let known: Vec<&str> = resources_of("").into_iter().map(|(path, _)| path).collect();
    assert_eq!(kinds, known);
}

/// What the console reads of each kind; `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_schemas_are_as_reviewed() {
    use crate::resource::schema_of;
    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/resource_schemas.json");
    let schemas = json!([
        schema_of::<routes::segments::Segment>(),
        schema_of::<routes::tags::Tag>(),
        schema_of::<routes::lists::List>(),
        schema_of::<routes::dead_letters::alert::Alert>(),
    ]);
    let text = serde_json::to_string_pretty(&schemas).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert_eq!(text, reviewed, "review it, then run with UPDATE_GOLDEN=1");
    assert!(!text.contains("#/components"), "one document by itself");
}

#[tokio::test]
async fn attributes_are_added_by_many_at_once_changed_and_removed() {
    let running = start().await;
    let add = async |name: &str| {
        running
            .post("/api/v1/attributes", json!({"name": name, "type": "ints"}))
            .await
            .ok()
    };
    let done = tokio::join!(
        add("a1"),
        add("a2"),
        add("a3"),
        add("a4"),
        add("a5"),
        add("a6")
    );
    let done = [done.0, done.1, done.2, done.3, done.4, done.5];
    let newest = done
        .iter()
        .max_by_key(|it| it.json["version"].as_i64())
        .unwrap();
    let token = newest.header("tributary-token").unwrap().to_owned();
    let seen = running
        .get(&format!("/api/v1/attributes?after={token}&limit=500"))
        .await
        .ok();
    for name in ["a1", "a2", "a3", "a4", "a5", "a6"] {
        assert!(
            seen.text.contains(&format!("\"name\":\"{name}\"")),
            "{name}"
        );
    }
    let taken = running
        .post("/api/v1/attributes", json!({"name": "a1", "type": "int"}))
        .await;
    assert_eq!((taken.status, taken.code()), (409, "name_taken"));
    let odd = running
        .post(
            "/api/v1/attributes",
            json!({"name": "a\u{0}b", "type": "int"}),
        )
        .await;
    assert_eq!((odd.status, odd.code()), (422, "attribute_invalid"));
    let path = "/api/v1/attributes/a1";
    let title = json!({"title": {"zh": "甲"}});
    let changed = running
        .with_key("PATCH", path, ADMIN, Some(title))
        .await
        .ok();
    let token = changed.header("tributary-token").unwrap();
    let read = running.get(&format!("{path}?after={token}")).await.ok();
    assert_eq!(
        (&read.json["type"], &read.json["title"]["zh"]),
        (&json!("ints"), &json!("甲"))
    );

    let rule = json!({"attr": "a1", "op": "has_any", "value": [1]});
    running
        .post("/api/v1/segments", json!({"name": "s", "rule": rule}))
        .await
        .ok();
    let uses = running.get("/api/v1/attributes/a1/uses").await.ok();
    assert_eq!(uses.json["items"][0]["name"], "s");
    for (method, body) in [("DELETE", None), ("PATCH", Some(json!({"type": "text"})))] {
        let refused = running.with_key(method, path, ADMIN, body).await;
        assert_eq!(
            (refused.status, refused.code()),
            (409, "in_use"),
            "{method}"
        );
    }
    running
        .with_key("DELETE", "/api/v1/segments/1", ADMIN, None)
        .await
        .ok();
    let gone = running.with_key("DELETE", path, ADMIN, None).await.ok();
    let token = gone.header("tributary-token").unwrap();
    assert_eq!(
        running.get(&format!("{path}?after={token}")).await.status,
        404
    );
    let usual = running
        .with_key("DELETE", "/api/v1/attributes/city", ADMIN, None)
        .await;
    assert_eq!((usual.status, usual.code()), (409, "in_use"));
    running.service.stop().await;
}

/// Two people who have sent something; answers the token of it.
async fn people(running: &Running) -> String {
    let key = running.write_key("shop", 0).await;
    let event = |id: &str, phone: &str| {
        json!({
            "type": "track", "name": "x", "message_id": id, "time": "2026-05-01T08:00:00+08:00",
            "identifiers": [phone],
        })
    };
    let events = json!([
        event("1", "phone:13800000001"),
        event("2", "phone:13800000002")
    ]);
    running.events(&key, events).await
}

#[tokio::test]
async fn a_list_reports_matches_streams_files_and_meets_people_later() {
    let running = start().await;
    let token = people(&running).await;
    let who = running
        .get(&format!(
            "/api/v1/members?identifier=phone:13800000002&after={token}"
        ))
        .await
        .ok();
    let id = who.json["items"][0]["id"].as_str().unwrap().to_owned();
    let members = json!([
        "phone:138 0000 0001",
        "phone:+8613800000001",
        id,
        "phone:13800000009",
        "phone:",
        "nonsense"
    ]);
    let made = running
        .post("/api/v1/lists", json!({"name": "vip", "members": members}))
        .await
        .ok();
    let report = &made.json["report"];
    assert_eq!(
        (
            &report["entries"],
            &report["matched"],
            &report["duplicates"],
            &report["invalid_count"]
        ),
        (&json!(3), &json!(2), &json!(1), &json!(2)),
        "{}",
        made.text
    );
    assert_eq!(report["unmatched"], json!(["phone:13800000009"]));
    assert_eq!(made.json["state"], "enabled");
    let mut seen = Vec::new();
    let mut path = "/api/v1/lists/1/members?limit=2".to_owned();
    loop {
        let page = running.get(&path).await.ok();
        seen.extend(
            page.json["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["member"].is_string()),
        );
        let Some(next) = page.json["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/lists/1/members?limit=2&cursor={next}");
    }
    assert_eq!(
        (seen.len(), seen.iter().filter(|known| **known).count()),
        (3, 2)
    );

    // Somebody gets the identifier that the list waits for.
    let key = running.write_key("later", 0).await;
    let event = json!([{"type": "track", "name": "x", "message_id": "9", "time": "2026-05-01T08:00:00+08:00",
        "identifiers": ["phone:13800000009"]}]);
    let token = running.events(&key, event).await;
    running
        .get(&format!("/api/v1/stats?after={token}"))
        .await
        .ok();
    // Counts see it with the event; the entry itself is looked up in the registry.
    let rule = json!({"rule": {"list": "1"}});
    let counted = running
        .post(&format!("/api/v1/segments/preview?after={token}"), rule)
        .await
        .ok();
    assert_eq!(counted.json["count"], json!(3), "{}", counted.text);
    let page = running.get("/api/v1/lists/1/members").await.ok();
    let known = page.json["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["member"].is_string());
    assert_eq!(known.count(), 3, "{}", page.text);

    let mut csv = String::from("\u{feff}phone,name\r\n");
    for number in 0..5_000 {
        csv.push_str(&format!("1380000{:04},x\r\n", number % 4_500));
    }
    let request = running
        .request("POST", "/api/v1/lists/upload?name=file")
        .bearer_auth(ADMIN)
        .body(csv);
    let file = running.send(request).await.ok();
    let report = &file.json["report"];
    assert_eq!(
        (
            &report["entries"],
            &report["matched"],
            &report["duplicates"]
        ),
        (&json!(4_500), &json!(3), &json!(500))
    );
    assert_eq!(
        (&report["unmatched_count"], file.json["entries"].as_u64()),
        (&json!(4_497), Some(4_500))
    );

    let rule = json!({"list": file.json["id"].to_string()});
    running
        .post("/api/v1/segments", json!({"name": "s", "rule": rule}))
        .await
        .ok();
    let refused = running
        .with_key("DELETE", "/api/v1/lists/2", ADMIN, None)
        .await;
    assert_eq!((refused.status, refused.code()), (409, "in_use"));
    let forged = running
        .with_key(
            "PATCH",
            "/api/v1/lists/1",
            ADMIN,
            Some(json!({"entries": 9})),
        )
        .await;
    assert_eq!((forged.status, forged.code()), (400, "body_invalid"));
    let renamed = running
        .with_key(
            "PATCH",
            "/api/v1/lists/1",
            ADMIN,
            Some(json!({"name": "new"})),
        )
        .await
        .ok();
    assert_eq!(
        (&renamed.json["name"], &renamed.json["entries"]),
        (&json!("new"), &json!(3))
    );
    running
        .with_key("DELETE", "/api/v1/lists/1", ADMIN, None)
        .await
        .ok();
    let broken = running
        .request("POST", "/api/v1/lists/upload?name=broken")
        .bearer_auth(ADMIN)
        .body(vec![0xff, b'\n']);
    assert_eq!(running.send(broken).await.code(), "table_form");
    assert_eq!(
        running.get("/api/v1/lists").await.ok().json["total"],
        1,
        "a list that does not read leaves nothing"
    );
    running.service.stop().await;
}

#[tokio::test]
async fn a_tag_is_checked_made_and_given_by_hand() {
    let running = start().await;
    let token = people(&running).await;
    running
        .get(&format!("/api/v1/stats?after={token}"))
        .await
        .ok();
    let level = json!({"name": "等级", "code": "level", "folder": "会员/等级", "value_type": "enum",
        "values": ["gold", "silver"], "calculation": {"type": "manual"}});
    running.post("/api/v1/tags", level.clone()).await.ok();
    let taken = running.post("/api/v1/tags", level).await;
    assert_eq!((taken.status, taken.code()), (409, "name_taken"));
    let given =
        json!({"members": ["phone:13800000001", "phone:13800000003", "?"], "value": "gold"});
    let given = running.post("/api/v1/tags/level/members", given).await.ok();
    assert_eq!(
        (&given.json["matched"], &given.json["unmatched_count"]),
        (&json!(1), &json!(2))
    );
    assert!(given.header("tributary-token").is_some());
    let csv = "member,value\nphone:13800000001,silver\nphone:13800000002,\n";
    let request = running
        .request("POST", "/api/v1/tags/level/members/import")
        .bearer_auth(ADMIN)
        .body(csv);
    let imported = running.send(request).await.ok();
    assert_eq!(imported.json["matched"], 2);
    let request = running
        .request("POST", "/api/v1/tags/level/members/import")
        .bearer_auth(ADMIN)
        .body("member,value\nx,bronze\n");
    let wrong = running.send(request).await;
    assert_eq!(
        (wrong.code(), &wrong.json["error"]["details"][0]["row"]),
        ("import_invalid", &json!(1))
    );

    let rule = |value: &str, rule: Value| json!({"value": value, "rule": rule});
    let cases = json!([
        rule("a", json!({"tag": "level", "op": "eq", "value": "gold"})),
        rule("b", json!({"attr": "nope", "op": "exists"}))
    ]);
    let calculated = |cases: Value| json!({"name": "c", "code": "c", "value_type": "text", "calculation": {"type": "rule", "cases": cases}});
    let wrong = running
        .post("/api/v1/tags", calculated(cases.clone()))
        .await;
    assert_eq!(
        (wrong.status, wrong.code()),
        (422, "rule_invalid"),
        "{}",
        wrong.text
    );
    assert!(
        wrong.json["error"]["details"][0]["field"]
            .as_str()
            .unwrap()
            .starts_with("calculation.cases[1].rule")
    );
    running
        .post("/api/v1/tags", calculated(json!([cases[0]])))
        .await
        .ok();
    let refused = running
        .post(
            "/api/v1/tags/c/members",
            json!({"members": [], "value": "x"}),
        )
        .await;
    assert_eq!((refused.status, refused.code()), (409, "tag_calculated"));
    let used = running
        .with_key("DELETE", "/api/v1/tags/level", ADMIN, None)
        .await;
    assert_eq!((used.status, used.code()), (409, "in_use"));
    let rfm = json!({"name": "RFM", "code": "rfm", "value_type": "text", "calculation": {"type": "rfm",
        "rfm": {"recency_days": [30, 90, 180, 360], "frequency": [2, 3, 5, 10], "monetary": [100, 500, 1000, 5000]}}});
    running.post("/api/v1/tags", rfm).await.ok();
    let by_hand = running.get("/api/v1/tags/level").await.ok();
    assert_eq!(by_hand.json["building"], false, "there is nothing to build");
    let folders = running.get("/api/v1/tags/folders").await.ok();
    assert_eq!(
        folders.json["folders"][1],
        json!({"path": "会员/等级", "items": 1})
    );
    running.service.stop().await;
}

#[tokio::test]
async fn a_distribution_says_that_the_tag_is_not_computed_yet() {
    let running = start().await;
    let token = people(&running).await;
    let path = format!("/api/v1/stats?after={token}");
    running.get(&path).await.ok();
    // Of the kinds of tags the one that is computed when somebody asks, so that nobody is faster than this test.
    let tag = json!({"name": "d", "code": "d", "value_type": "text", "update": "manual", "calculation":
        {"type": "rule", "cases": [{"value": "x", "rule": {"and": []}}]}});
    running.post("/api/v1/tags", tag).await.ok();
    let path = "/api/v1/tags/d/distribution";
    let early = running.get(path).await.ok();
    assert_eq!(
        (&early.json["building"], &early.json["present"]),
        (&json!(true), &json!(0)),
        "{}",
        early.text
    );
    running.post("/api/v1/tags/d/compute", json!({})).await.ok();
    let mut told = early.json;
    while told["building"] == true {
        tokio::task::yield_now().await;
        told = running.get(path).await.ok().json;
    }
    assert_ne!(told["present"], 0, "{told}");
    running.service.stop().await;
}
