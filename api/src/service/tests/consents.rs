//! Consents: said through a source or by hand, read per brand, moved with their identifier.

use serde_json::json;

use super::*;

fn states(answer: &Answer) -> Vec<String> {
    let items = answer.json["items"].as_array().unwrap();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let mut states: Vec<String> = items
        .iter()
        .map(|item| {
            let (channel, purpose) = (text(item, "channel"), text(item, "purpose"));
            format!("{channel} {purpose} {}", text(item, "state"))
        })
        .collect();
    states.sort();
    states
}

#[tokio::test]
async fn the_last_word_counts_and_goes_with_its_identifier() {
    let running = start().await;
    let key = running.write_key("app", 0).await;
    let say = |id: &str, who: &str, state: &str, time: &str| {
        json!({"type": "track", "name": "consent", "message_id": id, "time": time, "identifiers": [who],
               "properties": {"channel": "sms", "purpose": "marketing", "state": state, "form": "v3"}})
    };
    let token = running
        .events(
            &key,
            json!([
                {"type": "identify", "message_id": "i", "time": "2026-05-01T00:00:00Z",
                 "identifiers": ["phone:13800000000", "openid@wx:o1"]},
                say("c2", "phone:13800000000", "withdrawn", "2026-05-03T00:00:00Z"),
                say("c1", "openid@wx:o1", "granted", "2026-05-02T00:00:00Z"),
            ]),
        )
        .await;
    let find = |who: &str, token: &str| format!("/api/v1/members?identifier={who}&after={token}");
    let found = running.get(&find("phone:13800000000", &token)).await.ok();
    let member = &found.json["items"][0];
    let id = member["id"].as_str().unwrap().to_owned();
    assert_eq!(
        member["consents"][0]["state"], "withdrawn",
        "{}",
        found.text
    );
    assert!(
        member["attributes"].as_object().unwrap().is_empty(),
        "{}",
        found.text
    );
    let path = format!("/api/v1/members/{id}/consents");
    assert_eq!(
        states(&running.get(&path).await.ok()),
        ["sms marketing withdrawn"]
    );

    let wide =
        json!({"channel": "*", "purpose": "*", "state": "granted", "evidence": {"call": "7"}});
    let said = running.post(&path, wide).await.ok();
    assert_eq!(states(&said), ["* * granted", "sms marketing withdrawn"]);
    let events = format!("/api/v1/members/{id}/events?name=consent&limit=10");
    let events = running.get(&events).await.ok();
    assert_eq!(events.json["items"].as_array().unwrap().len(), 3);
    assert!(
        events.text.contains(r#""call":"7""#),
        "the evidence is kept: {}",
        events.text
    );

    let apart = json!({"identifiers": ["openid@wx:o1"], "reason": "test"});
    let done = running
        .post(&format!("/api/v1/members/{id}/unmerge"), apart)
        .await
        .ok();
    let token = done.json["token"].as_str().unwrap();
    let other = running.get(&find("openid@wx:o1", token)).await.ok();
    assert_eq!(
        other.json["items"][0]["consents"][0]["state"], "granted",
        "what this identifier said: {}",
        other.text
    );
    running.service.stop().await;
}

#[tokio::test]
async fn what_is_no_consent_is_refused_with_its_place() {
    let running = start().await;
    let key = running.write_key("app", 0).await;
    let body =
        json!([{"type": "identify", "message_id": "i", "identifiers": ["phone:13800000000"]}]);
    let token = running.events(&key, body).await;
    let path = format!("/api/v1/members?identifier=phone:13800000000&after={token}");
    let found = running.get(&path).await.ok();
    let id = found.json["items"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/members/{id}/consents");
    for (body, code, field) in [
        (
            json!({"channel": "sms", "purpose": "m", "state": "maybe"}),
            "word_unknown",
            "state",
        ),
        (
            json!({"channel": "S M S", "purpose": "m", "state": "granted"}),
            "word_unknown",
            "channel",
        ),
        (
            json!({"channel": "sms", "purpose": "m", "state": "granted", "time": "soon"}),
            "time_form",
            "time",
        ),
    ] {
        let refused = running.post(&path, body).await;
        assert_eq!(
            (refused.status, refused.code()),
            (400, code),
            "{}",
            refused.text
        );
        assert_eq!(refused.json["error"]["field"], field, "{}", refused.text);
    }
    running.service.stop().await;
}
