//! What an installation does by itself, asked for directly: keys of days, archive; and what is parked.

use std::time::Duration;

use actors::model::Position;
use pipelines::jobs::day_keys::{DayKeys, World};
use pipelines::jobs::{Ran, archive};

use super::*;

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn day_keys_go_when_clock_backup_and_caches_agree_and_not_before() {
    let running = start().await;
    let key = running.write_key("shop", 0).await;
    let token = running
        .events(
            &key,
            json!([{"type": "track", "name": "x", "message_id": "1", "identifiers": ["user_id:u1"]}]),
        )
        .await;
    running
        .get(&format!(
            "/api/v1/members?identifier=user_id:u1&after={token}"
        ))
        .await
        .ok();
    let platform = running.service.shared.platform().clone();
    let position: Position = token.parse::<actors::model::Token>().unwrap().0;
    let now = platform.clock().now();
    let later = now.plus_ms(40 * DAY_MS);
    let job = DayKeys {
        days_kept: 30,
        need_backup: true,
    };
    let run = |world: World| job.run(&platform, world).unwrap();
    let waits = |ran: Ran, why: &str| match ran {
        Ran::Waits(text) => assert!(text.contains(why), "{text}"),
        other => panic!("{other:?}"),
    };
    let young = World {
        now,
        up: Duration::from_secs(60),
        jumped: false,
        backup: None,
    };
    assert_eq!(run(young), Ran::Nothing, "nothing is old");
    let world = World {
        now: later,
        ..young
    };
    waits(run(world), "days ahead");
    waits(
        run(World {
            jumped: true,
            ..world
        }),
        "jumped",
    );
    let believed = World {
        up: Duration::from_secs(2 * 86_400),
        ..world
    };
    waits(run(believed), "no backup");
    let old = World {
        backup: Some(now.plus_ms(-DAY_MS)),
        ..believed
    };
    waits(run(old), "no backup");
    let backed = World {
        backup: Some(later),
        ..believed
    };
    assert!(platform.raw_event(position).unwrap().is_some());
    // Caches on disk: until then it waits.
    let gone = loop {
        match run(backed) {
            Ran::Waits(text) => {
                assert!(text.contains("caches"), "{text}");
                let mut changes = platform.node().shared().progress.subscribe();
                platform.rows().writer().checkpoint();
                platform.node().checkpoint();
                // What has moved meanwhile says nothing more.
                let patience = Duration::from_millis(200);
                let _ = tokio::time::timeout(patience, changes.changed()).await;
            }
            other => break other,
        }
    };
    assert!(
        matches!(&gone, Ran::Did(what) if what.contains("1 days")),
        "{gone:?}"
    );
    assert!(
        platform.raw_event(position).unwrap().is_none(),
        "the original is gone"
    );
    assert_eq!(run(backed), Ran::Nothing);
    assert_eq!(archive_without_a_folder(&platform), "no archive");
    running.service.stop().await;
}

fn archive_without_a_folder(platform: &Platform) -> &'static str {
    match archive::run(platform) {
        Err(_) => "no archive",
        Ok(_) => "something",
    }
}

#[tokio::test]
async fn every_write_answers_a_token_that_reads_can_wait_for() {
    let running = start().await;
    // Nothing is in the log yet: the token of the first write waits for nothing.
    let made = running
        .post("/api/v1/brands", json!({"name": "tea"}))
        .await
        .ok();
    let token = made.header("tributary-token").unwrap().to_owned();
    assert_eq!(made.json["token"], token.as_str());
    let path = format!("/api/v1/stats?after={token}");
    running.get(&path).await.ok();
    let source = json!({"name": "s", "kind": "http"});
    let key = json!({"name": "k", "role": "viewer"});
    let rules = running.get("/api/v1/identity/rules").await.ok().json["rules"].clone();
    running
        .with_key("PUT", "/api/v1/identity/rules", ADMIN, Some(rules))
        .await
        .ok();
    for (path, body) in [("/api/v1/sources", source), ("/api/v1/api-keys", key)] {
        let made = running.post(path, body).await.ok();
        let token = made.header("tributary-token").unwrap().to_owned();
        let read = format!("/api/v1/stats?after={token}");
        running.get(&read).await.ok();
    }
    running.service.stop().await;
}

#[tokio::test]
async fn parked_keys_are_listed_and_unknown_ones_refused() {
    let running = start().await;
    let parked = running.get("/api/v1/parked").await.ok();
    assert_eq!(parked.json["items"], json!([]));
    for what in ["retry", "discard"] {
        let path = format!("/api/v1/parked/member-0.1/{what}");
        assert_eq!(running.post(&path, json!({})).await.status, 404);
    }
    running.service.stop().await;
}
