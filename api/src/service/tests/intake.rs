//! Events in: which answer for which request.

use std::io::Write;

use serde_json::json;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn the_tracking_api_answers_as_its_sdks_expect() {
    let running = start().await;
    let key = running.write_key("web", 0).await;
    let track = json!({"type": "track", "event": "Seen", "userId": "u1", "messageId": "m1"});
    let batch = json!({"batch": [track]}).to_string();
    let big = vec![b' '; 600 * 1024];
    let deep = "[".repeat(10_000);
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("plain batch", "/v1/batch", batch.clone().into(), 200, ""),
        ("gzip", "/v1/batch", gzip(batch.as_bytes()), 200, ""),
        ("one letter", "/v1/t", track.to_string().into(), 200, ""),
        (
            "a bad event alone",
            "/v1/track",
            json!({"userId": "u1"}).to_string().into(),
            200,
            "",
        ),
        (
            "empty batch",
            "/v1/batch",
            json!({"batch": []}).to_string().into(),
            200,
            "",
        ),
        ("no JSON", "/v1/batch", b"{".to_vec(), 400, "invalid_json"),
        ("deep", "/v1/batch", deep.into(), 400, ""),
        ("empty", "/v1/batch", Vec::new(), 400, ""),
        (
            "no UTF-8",
            "/v1/batch",
            vec![0xff, 0xfe],
            400,
            "invalid_utf8",
        ),
        (
            "broken gzip",
            "/v1/batch",
            vec![0x1f, 0x8b, 8, 0, 1],
            400,
            "invalid_gzip",
        ),
        ("too large", "/v1/batch", big, 400, "body_too_large"),
        (
            "50 MB",
            "/v1/batch",
            vec![b'1'; 50 << 20],
            400,
            "body_too_large",
        ),
        (
            "gzip bomb",
            "/v1/batch",
            gzip(&vec![b' '; 20 << 20]),
            400,
            "body_too_large",
        ),
    ];
    for (name, path, body, status, code) in cases {
        let answer = running.segment(path, &key, body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        if status == 200 {
            assert_eq!(answer.json, json!({"success": true}), "{name}");
        } else {
            assert!(
                answer.json["code"].is_string() && answer.json["message"].is_string(),
                "{name}"
            );
            assert!(
                code.is_empty() || answer.code() == code,
                "{name}: {}",
                answer.text
            );
        }
    }
    running.service.stop().await;
}

#[tokio::test]
async fn write_keys_come_from_header_query_or_body_and_unknown_ones_are_401() {
    let running = start().await;
    let key = running.write_key("web", 0).await;
    let event = |key: Option<&str>| {
        let mut batch = json!({"batch": [{"type": "track", "event": "x", "userId": "u"}]});
        if let Some(key) = key {
            batch["writeKey"] = key.into();
        }
        batch.to_string()
    };
    let bare = running.request("POST", "/v1/batch").body(event(Some(&key)));
    assert_eq!(running.send(bare).await.status, 200);
    let query = running
        .request("POST", &format!("/v1/batch?writeKey={key}"))
        .body(event(None));
    assert_eq!(running.send(query).await.status, 200);
    let none = running
        .send(running.request("POST", "/v1/batch").body(event(None)))
        .await;
    assert_eq!((none.status, none.code()), (401, "write_key_missing"));
    for wrong in ["tw_unknown", ADMIN, ""] {
        let answer = running.segment("/v1/batch", wrong, event(None)).await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(answer.json["code"].is_string() && answer.json["message"].is_string());
    }
    // Rotation and switching off take effect at once.
    let rotated = running
        .post("/api/v1/sources/1/rotate", json!({}))
        .await
        .ok();
    assert_eq!(
        running.segment("/v1/batch", &key, event(None)).await.status,
        401
    );
    let key = rotated.json["write_key"].as_str().unwrap();
    assert_eq!(
        running.segment("/v1/batch", key, event(None)).await.status,
        200
    );
    let off = json!({"enabled": false});
    running
        .with_key("PATCH", "/api/v1/sources/1", ADMIN, Some(off))
        .await
        .ok();
    let answer = running.segment("/v1/batch", key, event(None)).await;
    assert_eq!((answer.status, answer.code()), (401, "source_disabled"));
    running.service.stop().await;
}

#[tokio::test]
async fn browsers_of_any_origin_may_send_events_and_nothing_else() {
    let running = start().await;
    let key = running.write_key("web", 0).await;
    let preflight = |path: &str| {
        running
            .request("OPTIONS", path)
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            )
    };
    let answer = running.send(preflight("/v1/t")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("authorization,content-type")
    );
    let closed = running.send(preflight("/api/v1/members")).await;
    assert_eq!(closed.header("access-control-allow-origin"), None);
    let path = format!("/v1/projects/{key}/settings");
    let settings = running
        .send(
            running
                .request("GET", &path)
                .header("origin", "https://shop.example"),
        )
        .await;
    assert_eq!(settings.status, 200);
    assert_eq!(settings.header("access-control-allow-origin"), Some("*"));
    assert_eq!(settings.json["integrations"]["Segment.io"]["apiKey"], key);
    let unknown = running
        .send(running.request("GET", "/v1/projects/no/settings"))
        .await;
    assert_eq!(unknown.status, 401);
    running.service.stop().await;
}

#[tokio::test]
async fn own_json_is_told_about_every_event() {
    let running = start().await;
    let key = running.write_key("tills", 0).await;
    let good =
        json!({"type": "track", "name": "x", "message_id": "1", "identifiers": ["email:a@b.cn"]});
    let bad = json!({"type": "nonsense"});
    let both = running
        .segment("/v1/events", &key, json!([good, bad]).to_string())
        .await
        .ok();
    assert_eq!(both.json["accepted"], 1);
    assert_eq!(both.json["rejected"][0]["index"], 1);
    assert_eq!(both.json["rejected"][0]["code"], "type_unknown");
    assert_eq!(both.json["token"].as_str(), both.header("tributary-token"));
    let alone = running.segment("/v1/events", &key, bad.to_string()).await;
    assert_eq!(
        (alone.status, alone.code()),
        (400, "type_unknown"),
        "{}",
        alone.text
    );
    let lines = format!("{good}\n{good}\n");
    let answer = running.segment("/v1/events", &key, lines).await.ok();
    assert_eq!(answer.json["accepted"], 2);
    running.service.stop().await;
}

#[tokio::test]
async fn a_source_that_runs_wild_is_slowed_down_and_others_are_not() {
    let running = start().await;
    let body = json!({"name": "wild", "kind": "http", "settings": {"events_per_second": 1}});
    let made = running.post("/api/v1/sources", body).await.ok();
    let wild = made.json["write_key"].as_str().unwrap().to_owned();
    let tame = running.write_key("tame", 0).await;
    let batch = json!({"batch": (0..50).map(|n| json!({"type": "page", "userId": "u", "messageId": n.to_string()})).collect::<Vec<_>>()});
    let batch = batch.to_string();
    let sent = running.segment("/v1/batch", &wild, batch.clone()).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    for path in ["/v1/batch", "/v1/events"] {
        let again = running.segment(path, &wild, batch.clone()).await;
        assert_eq!((again.status, again.code()), (429, "source_busy"));
        let wait: u32 = again.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=50).contains(&wait), "{wait}");
    }
    for _ in 0..3 {
        let sent = running.segment("/v1/batch", &tame, batch.clone()).await;
        assert_eq!(sent.status, 200, "{}", sent.text);
    }
    let path = format!("/api/v1/sources/{}", made.json["id"]);
    let wrong = json!({"settings": {"events_per_second": "fast"}});
    let refused = running.with_key("PATCH", &path, ADMIN, Some(wrong)).await;
    assert_eq!((refused.status, refused.code()), (400, "body_invalid"));
    running.service.stop().await;
}

#[tokio::test]
async fn an_import_names_its_source_with_an_api_key() {
    let running = start().await;
    running.write_key("import", 0).await;
    let body =
        json!({"type": "track", "name": "x", "message_id": "1", "identifiers": ["email:a@b.cn"]});
    let send = |key: &str, source: &str| {
        let request = running.request("POST", "/v1/events").bearer_auth(key);
        request
            .header("tributary-source", source)
            .body(body.to_string())
    };
    assert_eq!(running.send(send(ADMIN, "1")).await.status, 200);
    assert_eq!(running.send(send(ADMIN, "9")).await.status, 404);
    assert_eq!(running.send(send(ADMIN, "x")).await.status, 400);
    assert_eq!(
        running.send(send("tk_0123456789abcdef", "1")).await.status,
        401
    );
    running.service.stop().await;
}
