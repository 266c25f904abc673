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
