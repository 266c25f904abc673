//! Reads and commands: what is told comes back, through every shape of answer.

use serde_json::json;

use super::*;

fn order(id: &str, amount: &str) -> Value {
    json!({
        "type": "order", "message_id": format!("order-{id}"), "time": "2026-05-02T09:00:00+08:00",
        "identifiers": ["phone:13800000000"],
        "order": {"order_id": id, "currency": "CNY", "status": "paid", "lines": [
            {"line_id": "1", "sku": "milk", "name": "奶", "quantity": 2, "unit_price": "6.25", "amount": amount},
        ]},
    })
}

#[tokio::test]
async fn a_member_is_found_read_taken_apart_and_joined_again() {
    let running = start().await;
    let key = running.write_key("club", 0).await;
    let token = running
        .events(&key, json!([
            {"type": "identify", "message_id": "a", "time": "2026-05-01T08:00:00+08:00",
             "identifiers": ["phone:138 0000 0000", "user_id:u1"], "traits": {"name": "张三", "city": "上海"}},
            {"type": "track", "name": "Seen", "message_id": "b", "time": "2026-05-01T09:00:00+08:00",
             "identifiers": ["user_id:u1"], "properties": {"id": 9007199254740993_u64}},
            order("O1", "12.50"),
        ]))
        .await;
    let path = format!("/api/v1/members?identifier=phone:13800000000&after={token}");
    let found = running.get(&path).await.ok();
    let member = &found.json["items"][0];
    assert_eq!(member["status"], "member", "{}", found.text);
    assert_eq!(member["attributes"]["name"]["value"], "张三");
    assert_eq!(member["orders"]["amounts"]["CNY"], "12.50");
    assert_eq!(member["identifiers"].as_array().unwrap().len(), 2);
    let id = member["id"].as_str().unwrap();

    let events = running
        .get(&format!(
            "/api/v1/members/{id}/events?limit=2&kind=track,identify"
        ))
        .await
        .ok();
    let items = events.json["items"].as_array().unwrap();
    assert_eq!(items[0]["message_id"], "b", "{}", events.text);
    assert!(
        events.text.contains("9007199254740993"),
        "numbers keep their digits: {}",
        events.text
    );
    assert_eq!(items[1]["traits"]["city"], "上海");
    let orders = running
        .get(&format!("/api/v1/members/{id}/orders"))
        .await
        .ok();
    assert_eq!(orders.json["items"][0]["total"], "12.50", "{}", orders.text);
    assert_eq!(orders.json["items"][0]["lines"][0]["quantity"], "2");
    let why = format!("/api/v1/members/{id}/explain-link?from=phone:13800000000&to=user_id:u1");
    assert_eq!(running.get(&why).await.ok().json["linked"], true);

    let apart = json!({"identifiers": ["user_id:u1"], "reason": "two people"});
    let path = format!("/api/v1/members/{id}/unmerge");
    let done = running.post(&path, apart.clone()).await.ok();
    assert_eq!(
        done.json["members"].as_array().unwrap().len(),
        2,
        "{}",
        done.text
    );
    assert_eq!(done.json["token"].as_str(), done.header("tributary-token"));
    let after = done.json["token"].as_str().unwrap();
    let other = running
        .get(&format!(
            "/api/v1/members?identifier=user_id:u1&after={after}"
        ))
        .await
        .ok();
    assert_ne!(other.json["items"][0]["id"], *id);
    let joined = running
        .post(&format!("/api/v1/members/{id}/rejoin"), apart)
        .await
        .ok();
    let after = joined.json["token"].as_str().unwrap();
    let other = running
        .get(&format!(
            "/api/v1/members?identifier=user_id:u1&after={after}"
        ))
        .await
        .ok();
    assert_eq!(other.json["items"][0]["id"], *id, "{}", other.text);

    let stats = running.get("/api/v1/stats").await.ok();
    assert_eq!(stats.json["received"], 3);
    assert_eq!(stats.json["order_amount"]["CNY"], "12.50");
    running.service.stop().await;
}

#[tokio::test]
async fn a_repeated_command_gets_the_first_decision() {
    let running = start().await;
    let key = running.write_key("club", 0).await;
    let token = running
        .events(
            &key,
            json!([{"type": "track", "name": "x", "message_id": "1",
            "identifiers": ["phone:13800000000", "user_id:u1"]}]),
        )
        .await;
    let found = running
        .get(&format!(
            "/api/v1/members?identifier=user_id:u1&after={token}"
        ))
        .await
        .ok();
    let path = format!(
        "/api/v1/members/{}/unmerge",
        found.json["items"][0]["id"].as_str().unwrap()
    );
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = running.request("POST", &path).bearer_auth(ADMIN);
        let request = request
            .header("idempotency-key", "once")
            .body(json!({"identifiers": ["user_id:u1"]}).to_string());
        answers.push(running.send(request).await.ok().json["members"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    let request = running
        .request("POST", &path)
        .bearer_auth(ADMIN)
        .header("idempotency-key", "x".repeat(201));
    let refused = running.send(request.body("{}")).await;
    assert_eq!(refused.code(), "idempotency_key_form");
    running.service.stop().await;
}

#[tokio::test]
async fn wrong_input_is_named() {
    let running = start().await;
    for (method, path, body, status, code, field) in [
        (
            "GET",
            "/api/v1/members?identifier=13800000000",
            None,
            400,
            "identifier_form",
            "identifier",
        ),
        (
            "GET",
            "/api/v1/members?identifier=phone:000",
            None,
            400,
            "",
            "identifier",
        ),
        (
            "GET",
            "/api/v1/members?limit=501",
            None,
            400,
            "parameter_form",
            "limit",
        ),
        (
            "GET",
            "/api/v1/members?nonsense=1",
            None,
            400,
            "parameter_form",
            "nonsense",
        ),
        (
            "GET",
            "/api/v1/members?cursor=!",
            None,
            400,
            "cursor_form",
            "cursor",
        ),
        (
            "GET",
            "/api/v1/stats?after=x",
            None,
            400,
            "after_form",
            "after",
        ),
        (
            "GET",
            "/api/v1/stats?after=1-999999",
            None,
            400,
            "after_unknown",
            "after",
        ),
        (
            "GET",
            "/api/v1/stats?after=77-0",
            None,
            400,
            "after_unknown",
            "after",
        ),
        ("GET", "/api/v1/members/nobody", None, 404, "not_found", ""),
        ("GET", "/api/v1/nothing", None, 404, "path_unknown", ""),
        (
            "DELETE",
            "/api/v1/members",
            None,
            405,
            "method_not_allowed",
            "",
        ),
        (
            "POST",
            "/api/v1/sources",
            Some(json!({"name": "x"})),
            400,
            "body_invalid",
            "kind",
        ),
        (
            "POST",
            "/api/v1/sources",
            Some(json!({"name": "x", "kind": "http", "settings": {"id_maping": "2.0"}})),
            400,
            "body_invalid",
            "settings.id_maping",
        ),
        (
            "POST",
            "/api/v1/sources",
            Some(json!({"name": "x", "kind": "http", "id": 7})),
            400,
            "body_invalid",
            "id",
        ),
        (
            "POST",
            "/api/v1/sources",
            Some(json!({"name": "x", "kind": "http", "write_key": "w"})),
            400,
            "body_invalid",
            "write_key",
        ),
        (
            "POST",
            "/api/v1/brands",
            Some(json!({"name": 7})),
            400,
            "body_invalid",
            "name",
        ),
        (
            "POST",
            "/api/v1/api-keys",
            Some(json!({"name": "x", "role": "god"})),
            400,
            "body_invalid",
            "role",
        ),
        (
            "PUT",
            "/api/v1/clock",
            Some(json!({"now": "2026-05-01T00:00:00Z"})),
            409,
            "clock_runs",
            "",
        ),
        (
            "PUT",
            "/api/v1/identity/rules",
            Some(json!({"kinds": []})),
            422,
            "rules_invalid",
            "",
        ),
        (
            "POST",
            "/api/v1/attributes",
            Some(json!({"name": "x", "type": "metres"})),
            422,
            "attribute_invalid",
            "type",
        ),
        (
            "POST",
            "/api/v1/attributes",
            Some(json!({"name": "x"})),
            422,
            "attribute_invalid",
            "type",
        ),
        (
            "POST",
            "/api/v1/attributes",
            Some(json!({"name": "", "type": "text"})),
            422,
            "attribute_invalid",
            "name",
        ),
        (
            "GET",
            "/api/v1/members?identfier=phone:1",
            None,
            400,
            "parameter_form",
            "identfier",
        ),
        (
            "GET",
            "/api/v1/members?limit=x",
            None,
            400,
            "parameter_form",
            "limit",
        ),
        (
            "GET",
            "/api/v1/members/search",
            None,
            400,
            "parameter_form",
            "q",
        ),
        (
            "POST",
            "/api/v1/lists",
            Some(json!({"name": "x"})),
            400,
            "body_invalid",
            "members",
        ),
        (
            "POST",
            "/api/v1/tags",
            Some(
                json!({"name": "x", "code": "A b", "value_type": "text", "calculation": {"type": "manual"}}),
            ),
            400,
            "invalid",
            "code",
        ),
        (
            "POST",
            "/api/v1/tags",
            Some(
                json!({"name": "x", "code": "x", "value_type": "text", "calculation": {"type": "rfm"}}),
            ),
            400,
            "body_invalid",
            "calculation.rfm",
        ),
        (
            "POST",
            "/api/v1/segments",
            Some(json!({"name": "x"})),
            400,
            "body_invalid",
            "rule",
        ),
        (
            "GET",
            "/api/v1/segments?columns=name,stat",
            None,
            400,
            "parameter_form",
            "columns",
        ),
        (
            "GET",
            "/api/v1/segments?state=on",
            None,
            400,
            "parameter_form",
            "state",
        ),
        (
            "GET",
            "/api/v1/segments?cursor=abc",
            None,
            400,
            "cursor_form",
            "cursor",
        ),
        (
            "POST",
            "/api/v1/backups",
            Some(json!({"name": "../x"})),
            400,
            "name_form",
            "name",
        ),
    ] {
        let answer = running.with_key(method, path, ADMIN, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        assert!(
            code.is_empty() || answer.code() == code,
            "{method} {path}: {}",
            answer.text
        );
        let named = answer.json["error"]["field"].as_str().unwrap_or_default();
        assert!(
            field.is_empty() || named == field,
            "{method} {path}: {}",
            answer.text
        );
        assert!(!answer.json["error"]["hint"].as_str().unwrap().is_empty());
    }
    running.service.stop().await;
}

#[tokio::test]
async fn dead_letters_are_mended_replayed_and_dropped() {
    let running = start().await;
    let key = running.write_key("club", 0).await;
    let bad = json!({"type": "track", "messageId": "d1", "userId": "u1"});
    let worse = json!({"type": "track", "messageId": "d2", "userId": "u2"});
    let batch = json!({"batch": [bad, worse]}).to_string();
    let sent = running.segment("/v1/batch", &key, batch).await.ok();
    let token = sent.header("tributary-token").unwrap().to_owned();
    let list = running
        .get(&format!("/api/v1/dead-letters?after={token}"))
        .await
        .ok();
    let ids: Vec<_> = list.json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 2, "{}", list.text);
    let groups = running.get("/api/v1/dead-letters/groups").await.ok();
    assert_eq!(groups.json["items"][0]["count"], 2);
    let one = running
        .get(&format!("/api/v1/dead-letters/{}", ids[0]))
        .await
        .ok();
    assert_eq!(one.json["protocol"], "segment");
    assert!(
        one.json["body"].as_str().unwrap().contains("\"d1\""),
        "{}",
        one.text
    );

    let path = format!("/api/v1/dead-letters/{}/replay", ids[0]);
    let still = running
        .post(&path, json!({"body": {"type": "track", "userId": "u1"}}))
        .await;
    assert_eq!(still.status, 400, "{}", still.text);
    let mended = json!({"body": {"type": "track", "event": "Seen", "userId": "u1"}});
    let done = running.post(&path, mended).await.ok();
    let after = done.json["token"].as_str().unwrap();
    let found = running
        .get(&format!(
            "/api/v1/members?identifier=user_id:u1&after={after}"
        ))
        .await
        .ok();
    let id = found.json["items"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", found.text));
    let events = running
        .get(&format!("/api/v1/members/{id}/events"))
        .await
        .ok();
    assert_eq!(events.json["items"][0]["name"], "Seen", "{}", events.text);
    assert_eq!(
        running.post(&path, json!({})).await.code(),
        "command_refused"
    );

    let dropped = running
        .post("/api/v1/dead-letters/drop", json!({"ids": [ids[1]]}))
        .await
        .ok();
    let after = dropped.json["token"].as_str().unwrap();
    let open = running
        .get(&format!("/api/v1/dead-letters?after={after}"))
        .await
        .ok();
    assert_eq!(open.json["items"], json!([]), "{}", open.text);
    running.service.stop().await;
}

#[tokio::test]
async fn definitions_change_by_version() {
    let running = start().await;
    let rules = running.get("/api/v1/identity/rules").await.ok();
    assert_eq!(rules.json["version"], 0);
    let mut body = rules.json["rules"].clone();
    body["identifiers_max"] = 7.into();
    let put = running
        .with_key("PUT", "/api/v1/identity/rules", ADMIN, Some(body.clone()))
        .await
        .ok();
    let after = put.json["token"].as_str().unwrap();
    let now = running
        .get(&format!("/api/v1/identity/rules?after={after}"))
        .await
        .ok();
    assert_eq!(now.json["rules"]["identifiers_max"], 7, "{}", now.text);
    let version = now.json["version"].as_u64().unwrap();

    let attribute = json!({"name": "taste", "type": "texts", "survivorship": "union"});
    let put = running
        .post("/api/v1/attributes", attribute.clone())
        .await
        .ok();
    let after = put.json["token"].as_str().unwrap();
    let one = running
        .get(&format!("/api/v1/attributes/taste?after={after}"))
        .await
        .ok();
    assert_eq!(one.json["survivorship"], "union", "{}", one.text);
    assert_eq!(
        running.post("/api/v1/attributes", attribute).await.code(),
        "name_taken"
    );

    let stale = running
        .request("PUT", "/api/v1/identity/rules")
        .bearer_auth(ADMIN);
    let stale = stale
        .header("if-match", (version + 5).to_string())
        .body(body.to_string());
    assert_eq!(running.send(stale).await.status, 409);
    running.service.stop().await;
}

#[tokio::test]
async fn the_clock_of_a_test_installation_is_set() {
    let running = start_with(&[("manual_clock", "true")]).await;
    let body = json!({"now": "2026-05-01T08:00:00+08:00"});
    running
        .with_key("PUT", "/api/v1/clock", ADMIN, Some(body))
        .await
        .ok();
    let ready = running.send(running.request("GET", "/readyz")).await.ok();
    assert_eq!(ready.json["clock"], "manual");
    assert_eq!(ready.json["now"], "2026-05-01T00:00:00.000Z");
    running.service.stop().await;
}

#[tokio::test]
async fn pages_for_people_and_watchers_need_no_key() {
    let running = start().await;
    for (path, media, part) in [
        ("/", "text/html", "Tributary"),
        ("/landing.js", "text/javascript", "fetch"),
        ("/docs/index.html", "text/html", "swagger"),
        ("/docs/swagger-initializer.js", "", "/openapi.json"),
        ("/openapi.json", "application/json", "/api/v1/members"),
        ("/healthz", "text/plain", "ok"),
        ("/readyz", "application/json", "\"ready\":true"),
        ("/metrics", "text/plain", "tributary_lag_records"),
    ] {
        let answer = running.send(running.request("GET", path)).await.ok();
        assert!(
            answer.header("content-type").unwrap().contains(media),
            "{path}"
        );
        assert!(answer.text.contains(part), "{path}");
    }
    running.service.stop().await;
}

#[tokio::test]
async fn a_backup_of_the_running_platform_is_a_job() {
    let running = start().await;
    let job = running
        .post("/api/v1/backups", json!({"name": "one"}))
        .await
        .ok();
    let path = format!("/api/v1/jobs/{}", job.json["id"]);
    let ended = loop {
        let job = running.get(&path).await.ok().json;
        if job["state"] != "running" {
            break job;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(ended["state"], "done", "{ended}");
    let folder = ended["target"].as_str().unwrap();
    assert!(std::path::Path::new(folder).join("manifest.json").exists());
    let list = running.get("/api/v1/backups").await.ok();
    assert_eq!(list.json["items"].as_array().unwrap().len(), 1);
    running.service.stop().await;
}
