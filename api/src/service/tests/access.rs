//! Who may do what: no key, wrong key, write key, keys of roles and of another brand, on every route.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::http::Permission;

/// A path with something in place of its parameters.
fn concrete(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => "1",
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_api_route_refuses_strangers_and_write_keys() {
    let running = start().await;
    let write_key = running.write_key("shop", 0).await;
    for route in routes::all().iter() {
        if matches!(
            route.permission,
            Permission::Public | Permission::EventsSend
        ) {
            continue;
        }
        let (method, path) = (route.method.as_str(), concrete(route.path));
        let none = running.send(running.request(method, &path)).await;
        assert_eq!(
            (none.status, none.code()),
            (401, "key_missing"),
            "{method} {path}"
        );
        for wrong in ["tk_0123456789abcdef0123456789", "nonsense", &write_key] {
            let answer = running.with_key(method, &path, wrong, None).await;
            let expected = (401, "key_unknown");
            assert_eq!(
                (answer.status, answer.code()),
                expected,
                "{method} {path} {wrong}"
            );
        }
    }
    running.service.stop().await;
}

#[tokio::test]
async fn each_role_may_do_what_its_permissions_say() {
    let running = start().await;
    let mut keys = BTreeMap::new();
    for role in crate::http::auth::ROLES {
        let body = json!({"name": role.name, "role": role.name});
        let made = running.post("/api/v1/api-keys", body).await.ok();
        keys.insert(role.name, made.json["key"].as_str().unwrap().to_owned());
    }
    for route in routes::all().iter() {
        if matches!(
            route.permission,
            Permission::Public | Permission::EventsSend
        ) {
            continue;
        }
        for role in crate::http::auth::ROLES {
            let (method, path) = (route.method.as_str(), concrete(route.path));
            let answer = running
                .with_key(method, &path, &keys[role.name], None)
                .await;
            let refused = (answer.status, answer.code()) == (403, "permission_missing");
            let allowed = role.permissions().has(route.permission);
            assert_eq!(
                refused, !allowed,
                "{} {method} {path}: {}",
                role.name, answer.text
            );
        }
    }
    running.service.stop().await;
}

#[tokio::test]
async fn a_brands_key_never_sees_another_brand() {
    let running = start().await;
    let mut brands = Vec::new();
    let mut tokens = String::new();
    for name in ["north", "south"] {
        let made = running
            .post("/api/v1/brands", json!({"name": name}))
            .await
            .ok();
        let brand = made.json["id"].as_u64().unwrap();
        let key = running.write_key(name, brand).await;
        tokens = running
            .events(&key, json!([{
                "type": "track", "name": format!("canary-{name}"), "message_id": name,
                "time": "2026-05-01T08:00:00+08:00", "identifiers": [format!("email:canary@{name}.cn")],
            }]))
            .await;
        let body = json!({"name": name, "role": "manager", "brands": [brand]});
        let made = running.post("/api/v1/api-keys", body).await.ok();
        brands.push((name, made.json["key"].as_str().unwrap().to_owned()));
    }
    let (_, north) = &brands[0];
    let path = format!("/api/v1/members?identifier=email:canary@south.cn&after={tokens}");
    let seen = running.get(&path).await.ok();
    let id = seen.json["items"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", seen.text))
        .to_owned();
    assert_eq!(
        running.with_key("GET", &path, north, None).await.json["items"],
        json!([])
    );
    for (method, path) in [
        ("GET", format!("/api/v1/members/{id}")),
        ("GET", format!("/api/v1/members/{id}/events")),
        ("GET", format!("/api/v1/members/{id}/orders")),
        (
            "GET",
            format!(
                "/api/v1/members/{id}/explain-link?from=email:canary@south.cn&to=email:canary@south.cn"
            ),
        ),
        ("POST", format!("/api/v1/members/{id}/unmerge")),
        ("POST", format!("/api/v1/members/{id}/rejoin")),
    ] {
        let body = (method == "POST").then(|| json!({"identifiers": ["email:canary@south.cn"]}));
        let answer = running.with_key(method, &path, north, body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (404, "not_found"),
            "{method} {path}"
        );
    }
    // Nothing that this key can list names the other brand.
    for route in routes::all()
        .iter()
        .filter(|route| !route.path.contains('{'))
    {
        if route.method == "GET" && route.path.starts_with("/api/") {
            let answer = running.with_key("GET", route.path, north, None).await;
            for canary in ["canary@south", "canary-south", "\"south\""] {
                assert!(
                    !answer.text.contains(canary),
                    "{}: {}",
                    route.path,
                    answer.text
                );
            }
        }
    }
    running.service.stop().await;
}

/// Entries of the audit chain, oldest first: who, what, which kind, which one.
async fn acts(running: &Running, key: &str) -> Vec<String> {
    let page = running
        .with_key("GET", "/api/v1/audit?limit=500", key, None)
        .await
        .ok();
    let items = page.json["items"].as_array().unwrap();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    items
        .iter()
        .rev()
        .map(|it| ["by", "action", "kind", "item"].map(|name| text(it, name)))
        .map(|words| words.join(" "))
        .collect()
}

#[tokio::test]
async fn who_did_what_is_in_the_audit_chain_and_questions_and_refusals_are_not() {
    let running = start().await;
    let made = running
        .post("/api/v1/brands", json!({"name": "north"}))
        .await
        .ok();
    let brand = made.json["id"].as_u64().unwrap();
    let body = json!({"name": "ann", "role": "manager", "brands": [brand]});
    let made = running.post("/api/v1/api-keys", body).await.ok();
    let ann = made.json["key"].as_str().unwrap().to_owned();
    let body = json!({"name": "shop", "kind": "http", "brand": brand});
    let path = "/api/v1/sources";
    let source = running.with_key("POST", path, &ann, Some(body)).await.ok();
    let key = source.json["write_key"].as_str().unwrap();
    let token = running
        .events(key, json!([{"type": "identify", "message_id": "1", "identifiers": ["phone:13800000000", "email:a@b.cn"]}]))
        .await;
    let path = format!("/api/v1/members?identifier=phone:13800000000&after={token}");
    let found = running.get(&path).await.ok();
    let member = found.json["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/members/{member}/unmerge");
    let wrong = json!({"identifiers": []});
    assert_eq!(
        running
            .with_key("POST", &path, &ann, Some(wrong))
            .await
            .status,
        400
    );
    let body =
        json!({"identifiers": ["email:a@b.cn"], "reason": "canary-reason of somebody@else.cn"});
    running.with_key("POST", &path, &ann, Some(body)).await.ok();
    running
        .post("/api/v1/sources/1/rotate", json!({}))
        .await
        .ok();
    let rules = running.get("/api/v1/identity/rules").await.ok();
    let path = "/api/v1/identity/rules";
    let rules = rules.json["rules"].clone();
    running.with_key("PUT", path, ADMIN, Some(rules)).await.ok();
    let rule = json!({"rule": {"and": []}});
    running.post("/api/v1/segments/preview", rule).await;
    let path = "/api/v1/api-keys/2";
    running.with_key("DELETE", path, ADMIN, None).await.ok();
    let admin = "admin key of the environment";
    let expected = [
        format!("{admin} create brand {brand}"),
        format!("{admin} create api_key 2"),
        "ann create source 1".to_owned(),
        format!("ann unmerge member {member}"),
        format!("{admin} rotate source 1"),
        format!("{admin} replace identity_rules "),
        format!("{admin} revoke api_key 2"),
    ];
    assert_eq!(acts(&running, ADMIN).await, expected);
    let body = json!({"name": "bob", "role": "manager", "brands": [brand]});
    let made = running.post("/api/v1/api-keys", body).await.ok();
    let bob = made.json["key"].as_str().unwrap();
    let own: Vec<_> = [2, 3, 4].map(|at| expected[at].clone()).into();
    assert_eq!(acts(&running, bob).await, own, "a brand sees its own");
    let all = running.get("/api/v1/audit").await.ok();
    assert!(
        !all.text.contains("canary-reason") && !all.text.contains("a@b.cn"),
        "nothing personal: {}",
        all.text
    );
    let verdict = running.get("/api/v1/audit/verify").await.ok();
    assert_eq!(verdict.json["sound"], true, "{}", verdict.text);
    running.service.stop().await;
}

#[tokio::test]
async fn who_sees_one_brand_operates_nothing_whatever_the_role() {
    let running = start().await;
    let made = running
        .post("/api/v1/brands", json!({"name": "north"}))
        .await;
    let body = json!({"name": "boss", "role": "admin", "brands": [made.ok().json["id"]]});
    let made = running.post("/api/v1/api-keys", body).await.ok();
    let key = made.json["key"].as_str().unwrap();
    for route in routes::all().iter() {
        let whole = [Permission::OperationsManage, Permission::ClockSet];
        if !whole.contains(&route.permission) {
            continue;
        }
        let (method, path) = (route.method.as_str(), concrete(route.path));
        let answer = running.with_key(method, &path, key, None).await;
        assert_eq!(
            (answer.status, answer.code()),
            (403, "denied"),
            "{method} {path}: {}",
            answer.text
        );
    }
    running.service.stop().await;
}

#[tokio::test]
async fn nothing_is_made_for_a_brand_that_nobody_has_made() {
    let running = start().await;
    // Numbers are given one after the other: a key for the next brand would be a key to somebody's data.
    for (path, body, field) in [
        (
            "/api/v1/sources",
            json!({"name": "x", "kind": "http", "brand": 1}),
            "brand",
        ),
        (
            "/api/v1/api-keys",
            json!({"name": "x", "role": "viewer", "brands": [0, 1]}),
            "brands",
        ),
        (
            "/api/v1/webhooks",
            json!({"name": "x", "url": "https://example.com/", "events": ["event:x"], "brand": 1}),
            "brand",
        ),
        (
            "/api/v1/segments",
            json!({"name": "x", "rule": {"and": []}, "brand": 1}),
            "brand",
        ),
    ] {
        let answer = running.post(path, body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "reference_unknown"),
            "{path}: {}",
            answer.text
        );
        assert_eq!(answer.json["error"]["field"], field, "{path}");
    }
    let north = json!({"name": "north"});
    running.post("/api/v1/brands", north.clone()).await.ok();
    let again = running.post("/api/v1/brands", north).await;
    assert_eq!((again.status, again.code()), (409, "name_taken"));
    assert!(!again.text.contains("UNIQUE"), "{}", again.text);
    running.service.stop().await;
}

#[tokio::test]
async fn hanging_up_hides_nothing_from_the_audit_chain() {
    use tokio::io::AsyncWriteExt;
    let running = start().await;
    // The platform is slow to answer anyway: whoever hangs up at once does so before the answer.
    let body = r#"{"name": "hasty"}"#;
    let request = format!(
        "POST /api/v1/brands HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {ADMIN}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut hasty = tokio::net::TcpStream::connect(running.service.address)
        .await
        .unwrap();
    hasty.write_all(request.as_bytes()).await.unwrap();
    drop(hasty);
    // Whether it is done or not: never done without an entry.
    let mut done = false;
    for _ in 0..200 {
        let brands = running.get("/api/v1/brands").await.ok();
        done = brands.text.contains("hasty");
        if done && !acts(&running, ADMIN).await.is_empty() {
            break;
        }
    }
    let entries = acts(&running, ADMIN).await;
    assert_eq!(entries.len(), usize::from(done), "{entries:?}");
    running.service.stop().await;
}

#[tokio::test]
async fn a_key_tells_when_it_was_used() {
    let running = start().await;
    let body = json!({"name": "used", "role": "viewer"});
    let made = running.post("/api/v1/api-keys", body).await.ok();
    let key = made.json["key"].as_str().unwrap();
    let last_used = async || {
        let list = running.get("/api/v1/api-keys").await.ok();
        let items = list.json["items"].as_array().unwrap().clone();
        items.into_iter().find(|it| it["name"] == "used").unwrap()["last_used"].clone()
    };
    assert_eq!(last_used().await, Value::Null);
    running.with_key("GET", "/api/v1/me", key, None).await.ok();
    let mut seen = Value::Null;
    for _ in 0..200 {
        seen = last_used().await;
        if seen != Value::Null {
            break;
        }
    }
    assert!(seen.is_string(), "it was used");
    running.service.stop().await;
}

#[tokio::test]
async fn a_key_makes_no_stronger_key_and_is_useless_once_revoked() {
    let running = start().await;
    let body = json!({"name": "one", "role": "viewer"});
    let made = running.post("/api/v1/api-keys", body).await.ok();
    let (id, key) = (
        made.json["id"].clone(),
        made.json["key"].as_str().unwrap().to_owned(),
    );
    assert_eq!(
        running
            .with_key("GET", "/api/v1/me", &key, None)
            .await
            .status,
        200
    );
    let path = format!("/api/v1/api-keys/{id}");
    running.with_key("DELETE", &path, ADMIN, None).await.ok();
    assert_eq!(
        running
            .with_key("GET", "/api/v1/me", &key, None)
            .await
            .status,
        401
    );
    running.service.stop().await;
}

#[tokio::test]
async fn entries_say_from_where_and_what_changed() {
    let running = start_with(&[("http.trusted_proxies", "127.0.0.0/8")]).await;
    let body = json!({"name": "secret-name", "rule": {"attr": "city", "op": "eq", "value": "secret-city"}});
    running.post("/api/v1/segments", body).await.ok();
    // Behind a proxy that is trusted: what the caller itself has written before that does not count.
    let change =
        json!({"rule": {"attr": "city", "op": "eq", "value": "other-secret"}, "folder": "a"});
    let request = running.request("PATCH", "/api/v1/segments/1");
    let request = request.bearer_auth(ADMIN).body(change.to_string());
    let forwarded = request.header("x-forwarded-for", "6.6.6.6, 198.51.100.9");
    running.send(forwarded).await.ok();
    running
        .post("/api/v1/segments/1/disable", json!({}))
        .await
        .ok();
    running
        .post("/api/v1/brands", json!({"name": "north"}))
        .await
        .ok();
    let page = running.get("/api/v1/audit").await.ok();
    let entries = page.json["items"].as_array().unwrap().iter().rev();
    let told = entries.map(|it| {
        json!([
            it["action"],
            it["address"],
            it["version_before"],
            it["version_after"],
            it["fields"]
        ])
    });
    let here = "127.0.0.1";
    let expected = [
        json!(["create", here, 0, 1, []]),
        json!(["update", "198.51.100.9", 1, 2, ["folder", "rule"]]),
        json!(["disabled", here, 2, 3, ["state"]]),
        json!(["create", here, null, null, []]),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(
        !page.text.contains("secret-city") && !page.text.contains("other-secret"),
        "names of fields, not what is in them: {}",
        page.text
    );
    let verdict = running.get("/api/v1/audit/verify").await.ok();
    assert_eq!(verdict.json["sound"], true);
    running.service.stop().await;

    let running = start().await;
    let request = running.request("POST", "/api/v1/brands").bearer_auth(ADMIN);
    let request = request.body(json!({"name": "north"}).to_string());
    let forwarded = request.header("x-forwarded-for", "198.51.100.9");
    running.send(forwarded).await.ok();
    let page = running.get("/api/v1/audit").await.ok();
    assert_eq!(
        page.json["items"][0]["address"], here,
        "nobody is trusted by default"
    );
    running.service.stop().await;
}
