//! Rights of a person: everything in one document, and forgotten in lists too.

use serde_json::{Value, json};

use super::{ADMIN, Running, start, start_with};

impl Running {
    async fn member_id(&self, identifier: &str, token: &str) -> Option<String> {
        let path = format!("/api/v1/members?identifier={identifier}&after={token}");
        let found = self.get(&path).await.ok();
        found.json["items"][0]["id"].as_str().map(str::to_owned)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_holds_a_whole_life() {
    const EVENTS: u64 = 450;
    const ORDERS: u64 = 230;
    let running = start().await;
    let key = running.write_key("crm", 0).await;
    let mut events = vec![
        json!({"message_id": "i", "type": "identify", "time": "2026-11-20T09:00:00+08:00",
            "identifiers": ["user_id:u1", "phone:13800000001"], "traits": {"city": "上海", "name": "张三"}}),
        json!({"message_id": "c", "type": "track", "name": "consent", "time": "2026-11-20T09:00:00+08:00",
            "identifiers": ["user_id:u1"],
            "properties": {"channel": "sms", "purpose": "marketing", "state": "granted"}}),
    ];
    for n in 0..EVENTS {
        events.push(json!({"message_id": format!("e{n}"), "type": "track", "name": "seen",
            "time": "2026-11-20T10:00:00+08:00", "identifiers": ["user_id:u1"], "properties": {"n": n}}));
    }
    for n in 0..ORDERS {
        events.push(json!({"message_id": format!("o{n}"), "type": "order",
            "time": "2026-11-21T10:00:00+08:00", "identifiers": ["user_id:u1"],
            "order": {"order_id": format!("E{n}"), "total": "12.50", "currency": "CNY"}}));
    }
    let token = running.events(&key, Value::Array(events)).await;
    let id = running.member_id("user_id:u1", &token).await.unwrap();
    let path = format!("/api/v1/members/{id}/package");
    let answer = running.get(&path).await.ok();
    let package = &answer.json;
    assert_eq!(package["package"], "tributary.person");
    assert_eq!(package["brands"], "all");
    let phones = package["member"]["identifiers"].as_array().unwrap();
    assert!(
        phones
            .iter()
            .any(|it| it["value"] == "+8613800000001" && it["event"].is_string()),
        "{phones:?}"
    );
    let name = &package["member"]["attributes"]["name"];
    assert_eq!(
        (&name["value"], name["source"].is_u64()),
        (&json!("张三"), true)
    );
    assert_eq!(package["member"]["consents"][0]["state"], "granted");
    let length = |name: &str| package[name].as_array().unwrap().len() as u64;
    assert_eq!(length("orders"), ORDERS);
    assert_eq!(package["counts"]["orders"], ORDERS);
    assert_eq!(package["counts"]["timeline"], length("timeline"));
    let seen = package["timeline"].as_array().unwrap();
    let numbers: std::collections::BTreeSet<u64> = seen
        .iter()
        .filter_map(|it| it["properties"]["n"].as_u64())
        .collect();
    assert_eq!(numbers.len() as u64, EVENTS, "each event once");

    let audit = running.get("/api/v1/audit?kind=member").await.ok();
    let entry = &audit.json["items"][0];
    assert_eq!(
        (&entry["action"], &entry["item"]),
        (&json!("package"), &json!(id))
    );
    for (body, status) in [
        (json!({"name": "m", "role": "manager"}), 403),
        (json!({"name": "a", "role": "admin", "fields": "P2"}), 403),
        (json!({"name": "b", "role": "admin"}), 200),
    ] {
        let made = running.post("/api/v1/api-keys", body.clone()).await.ok();
        let key = made.json["key"].as_str().unwrap();
        let answer = running.with_key("GET", &path, key, None).await;
        assert_eq!(answer.status, status, "{body}");
    }
    let nobody = running.get("/api/v1/members/mzzzzzzz/package").await;
    assert_eq!(nobody.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erase_reaches_lists_and_says_what_it_does_not_reach() {
    let running = start_with(&[("keys.days_kept", "12")]).await;
    let key = running.write_key("crm", 0).await;
    let identify = |id: &str, phone: &str| {
        json!([{"message_id": id, "type": "identify", "time": "2026-11-20T09:00:00+08:00",
            "identifiers": [format!("phone:{phone}"), format!("user_id:{id}")]}])
    };
    let token = running.events(&key, identify("u1", "13800000001")).await;
    // One that somebody has, one whose owner comes later, one that stays.
    let list = json!({"name": "vip", "members":
        ["phone:13800000001", "phone:13800000002", "user_id:u2", "phone:13800000003"]});
    let made = running.post("/api/v1/lists", list).await.ok();
    let entries = format!("/api/v1/lists/{}/members", made.json["id"]);
    let count = async || {
        let page = running.get(&entries).await.ok();
        page.json["items"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 4);
    let later = running.events(&key, identify("u2", "13800000002")).await;
    for (identifier, token, left) in [
        ("phone:13800000001", &token, 3),
        ("phone:13800000002", &later, 1),
    ] {
        let id = running.member_id(identifier, token).await.unwrap();
        let path = format!("/api/v1/members/{id}/erase");
        let answer = running.post(&path, json!({"reason": "asked"})).await.ok();
        assert_eq!(answer.json["raw_days"], 12);
        let backups = answer.json["backups"].as_str().unwrap();
        assert!(backups.contains("until somebody removes them"), "{backups}");
        while count().await != left {
            tokio::task::yield_now().await;
        }
    }
    let page = running.get(&entries).await.ok();
    assert_eq!(page.json["items"][0]["member"], Value::Null);
    // The same phone told later is somebody new, and in no list.
    let token = running.events(&key, identify("u9", "13800000001")).await;
    running
        .member_id("phone:13800000001", &token)
        .await
        .unwrap();
    assert_eq!(count().await, 1);
    let audit = running
        .with_key("GET", "/api/v1/audit?kind=member", ADMIN, None)
        .await
        .ok();
    assert_eq!(audit.json["items"].as_array().unwrap().len(), 2);
}
