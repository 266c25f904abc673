//! Exports of segments: whole, masked, refused, cancelled, gone after a day; each in the audit chain.

use serde_json::{Value, json};

use super::{ADMIN, Running, start, start_with};

impl Running {
    /// A segment of everybody in Shanghai, computed.
    async fn shanghai(&self) -> u64 {
        let body = json!({"name": "上海", "rule": {"attr": "city", "op": "eq", "value": "上海"}});
        let made = self.post("/api/v1/segments", body).await.ok();
        made.json["id"].as_u64().unwrap()
    }

    async fn people(&self) -> String {
        let key = self.write_key("crm", 0).await;
        let events = json!([
            {"message_id": "1", "type": "identify", "time": "2026-11-20T09:00:00+08:00",
             "identifiers": ["phone:13800000001", "openid@wx1:o1", "loyalty:L1"],
             "traits": {"city": "上海", "name": "=cmd|x", "score": -3}},
            {"message_id": "2", "type": "identify", "time": "2026-11-20T09:00:00+08:00",
             "identifiers": ["phone:13800000002"], "traits": {"city": "上海"}},
            {"message_id": "3", "type": "identify", "time": "2026-11-20T09:00:00+08:00",
             "identifiers": ["phone:13800000003"], "traits": {"city": "北京"}},
        ]);
        self.events(&key, events).await
    }

    /// Starts an export as `key`, and waits for its end.
    async fn export(&self, key: &str, segment: u64, after: &str, body: Value) -> Value {
        let path = format!("/api/v1/segments/{segment}/exports");
        let asked = match after {
            "" => path.clone(),
            token => format!("{path}?after={token}"),
        };
        let started = self.with_key("POST", &asked, key, Some(body)).await.ok();
        assert_eq!(started.status, 201);
        let one = format!("{path}/{}", started.json["id"]);
        loop {
            let answer = self.with_key("GET", &one, key, None).await.ok();
            if !answer.json["ended"].is_null() {
                return answer.json;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn api_key(&self, body: Value) -> String {
        let made = self.post("/api/v1/api-keys", body).await.ok();
        made.json["key"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_segment_become_a_file() {
    let running = start().await;
    let token = running.people().await;
    let segment = running.shanghai().await;
    let columns = [
        "id",
        "status",
        "identifier.phone",
        "identifier.openid",
        "identifiers.other",
        "attribute.name",
        "attribute.score",
    ];
    let done = running
        .export(ADMIN, segment, &token, json!({ "columns": columns }))
        .await;
    assert_eq!(
        (&done["state"], &done["counts"]["rows"], &done["masked"]),
        (&json!("done"), &json!(2), &json!(false)),
        "{done}"
    );
    let file = done["file"].as_str().unwrap();
    let fetched = running.get(file).await.ok();
    assert_eq!(
        fetched.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    assert_eq!(fetched.header("cache-control"), Some("no-store"));
    let lines: Vec<&str> = fetched.text.lines().collect();
    assert_eq!(lines.len(), 3, "{}", fetched.text);
    assert_eq!(
        lines[0].trim_start_matches('\u{feff}'),
        columns.join(","),
        "{}",
        fetched.text
    );
    assert!(
        lines[1].ends_with(",member,'+8613800000001,wx1:o1,loyalty:L1,'=cmd|x,-3"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].ends_with(",member,'+8613800000002,,,,"),
        "{}",
        lines[2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_exports_what_it_may_see_and_fetches_nothing_more() {
    let running = start().await;
    let token = running.people().await;
    let segment = running.shanghai().await;
    let low = running
        .api_key(json!({"name": "low", "role": "manager", "fields": "P1"}))
        .await;
    let columns = json!({"columns": ["identifier.phone", "attribute.name"]});
    let masked = running.export(&low, segment, &token, columns.clone()).await;
    assert_eq!(masked["masked"], true);
    let file = masked["file"].as_str().unwrap();
    let fetched = running.with_key("GET", file, &low, None).await.ok();
    assert!(
        !fetched.text.contains("13800000001") && !fetched.text.contains("cmd"),
        "{}",
        fetched.text
    );
    // What somebody else may see, this key may not fetch; the other way round is fine.
    running.get(file).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_away_after_a_day() {
    let running = start_with(&[("manual_clock", "true")]).await;
    let token = running.people().await;
    let segment = running.shanghai().await;
    let done = running
        .export(ADMIN, segment, &token, json!({"format": "xlsx"}))
        .await;
    let file = done["file"].as_str().unwrap().to_owned();
    running.get(&file).await.ok();
    let shared = &running.service.shared;
    let folder = shared.jobs.folder_of(done["id"].as_u64().unwrap()).unwrap();
    assert!(folder.join("members.xlsx").exists());
    let clock = shared.manual_clock().unwrap();
    clock.set(shared.now().plus_ms(crate::export::KEPT_MS));
    let gone = running.get(&file).await;
    assert_eq!((gone.status, gone.code()), (410, "export_gone"));
    crate::export::worker::clean(shared);
    assert!(!folder.exists());
    let one = format!("/api/v1/segments/{segment}/exports/{}", done["id"]);
    let after = running.get(&one).await.ok();
    assert_eq!(after.json["file"], Value::Null);
    // What is done cannot be cancelled.
    let cancelled = running.post(&format!("{one}/cancel"), json!({})).await.ok();
    assert_eq!(cancelled.json["state"], "done");
}
