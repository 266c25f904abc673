//! Search: what was told is found once its token is waited for, by brands only what they see, and nobody who was erased.

use serde_json::json;

use super::*;

fn ids(answer: &Answer) -> Vec<&str> {
    let items = answer.json["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn members_are_found_as_they_change_and_not_once_erased() {
    let running = start().await;
    let key = running.write_key("club", 0).await;
    let token = running
        .events(&key, json!([
            {"type": "identify", "message_id": "a", "identifiers": ["phone:13800001234"],
             "traits": {"name": "张三丰", "city": "上海", "address": {"street": "浦东大道7号", "parts": [{"house": "锦绣"}]}}},
            {"type": "identify", "message_id": "b", "identifiers": ["user_id:u2"], "traits": {"name": "李雷"}},
        ]))
        .await;
    let path = |q: &str, token: &str| format!("/api/v1/members/search?q={q}&after={token}");
    let found = running.get(&path("zhangsan", &token)).await.ok();
    let [id] = ids(&found)[..] else {
        panic!("{}", found.text)
    };
    assert_eq!(found.json["total"], 1);
    for q in [
        "1234",
        "张三",
        "%E4%B8%8A%E6%B5%B7",
        "zsf",
        "浦东大道7号",
        "锦绣",
    ] {
        assert_eq!(ids(&running.get(&path(q, &token)).await.ok()), [id], "{q}");
    }
    assert_eq!(ids(&running.get(&path("u2", &token)).await.ok()).len(), 1);

    let change = json!([{"type": "identify", "message_id": "c", "identifiers": ["phone:13800001234"],
                         "traits": {"name": "赵六"}}]);
    let token = running.events(&key, change).await;
    assert!(ids(&running.get(&path("zhangsan", &token)).await.ok()).is_empty());
    assert_eq!(ids(&running.get(&path("zhaoliu", &token)).await.ok()), [id]);

    let erased = running
        .post(
            &format!("/api/v1/members/{id}/erase"),
            json!({"reason": "asked"}),
        )
        .await
        .ok();
    let token = erased.json["token"].as_str().unwrap();
    assert!(ids(&running.get(&path("1234", token)).await.ok()).is_empty());
    assert_eq!(
        running
            .get(&format!("/api/v1/members/{id}?after={token}"))
            .await
            .status,
        404
    );
    running.service.stop().await;
}

#[tokio::test]
async fn a_brand_finds_only_by_what_it_sees() {
    let running = start().await;
    let brand = |name: &str| json!({"name": name});
    let (mine, other) = (
        running
            .post("/api/v1/brands", brand("mine"))
            .await
            .ok()
            .json["id"]
            .as_u64()
            .unwrap(),
        running
            .post("/api/v1/brands", brand("other"))
            .await
            .ok()
            .json["id"]
            .as_u64()
            .unwrap(),
    );
    let (my_key, other_key) = (
        running.write_key("a", mine).await,
        running.write_key("b", other).await,
    );
    let told = |id: &str, city: &str| {
        json!([{"type": "identify", "message_id": id, "identifiers": ["phone:13800001234"],
                "traits": {"city": city}}])
    };
    running.events(&my_key, told("a", "南京")).await;
    let token = running.events(&other_key, told("b", "苏州")).await;
    let made = running
        .post(
            "/api/v1/api-keys",
            json!({"name": "m", "role": "viewer", "brands": [mine]}),
        )
        .await
        .ok();
    let key = made.json["key"].as_str().expect("a key").to_owned();
    let ask =
        |q: &'static str, token: String| format!("/api/v1/members/search?q={q}&after={token}");
    let all = running.get(&ask("苏州", token.clone())).await.ok();
    assert_eq!(ids(&all).len(), 1);
    let own = running
        .with_key("GET", &ask("南京", token.clone()), &key, None)
        .await
        .ok();
    assert_eq!(ids(&own).len(), 1, "{}", own.text);
    let foreign = running
        .with_key("GET", &ask("苏州", token), &key, None)
        .await
        .ok();
    assert!(ids(&foreign).is_empty(), "{}", foreign.text);
    // Nor by what another brand concluded.
    let tag = json!({"name": "t", "code": "t", "brand": other, "value_type": "text", "calculation": {"type": "manual"}});
    running.post("/api/v1/tags", tag).await.ok();
    let given = json!({"members": ["phone:13800001234"], "value": "秘密"});
    let given = running.post("/api/v1/tags/t/members", given).await.ok();
    let token = given.json["token"].as_str().expect("a token");
    let all = running.get(&ask("秘密", token.to_owned())).await.ok();
    assert_eq!(ids(&all).len(), 1, "{}", all.text);
    let ask = ask("秘密", token.to_owned());
    let foreign = running.with_key("GET", &ask, &key, None).await.ok();
    assert!(ids(&foreign).is_empty(), "{}", foreign.text);
    // Nor who is in a segment of another brand.
    let rule = json!({"name": "s", "brand": other, "rule": {"and": []}});
    let segment = running.post("/api/v1/segments", rule).await.ok();
    let inside = format!(
        "/api/v1/members/search?q=南京&segment={}",
        segment.json["id"]
    );
    let foreign = running.with_key("GET", &inside, &key, None).await;
    assert_eq!(foreign.code(), "not_found", "{}", foreign.text);
    running.service.stop().await;
}
