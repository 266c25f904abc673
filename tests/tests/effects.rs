//! What leaves the house: webhooks are signed, repeated, held and given up as promised (fault rows 33, 34, 38).

use std::path::PathBuf;

use pipelines::effect::sign;
use serde_json::{Value, json};
use tests::binary::run_ok;
use tests::receiver::Call;
use tests::{Options, Receiver, Sandbox, wait};

fn options() -> Options {
    Options::default()
        .arg("--manual-clock")
        .set("effects.allow_networks", "127.0.0.0/8")
}

/// Adds a webhook for all events; answers it with its secret.
fn webhook(sandbox: &Sandbox, name: &str, url: &str, more: Value) -> Value {
    let mut body = json!({"name": name, "url": url, "events": ["*"]});
    for (field, value) in more.as_object().expect("an object") {
        body[field] = value.clone();
    }
    let answer = sandbox.http().post_ok("/api/v1/webhooks", &body);
    assert!(answer.token().contains('-'));
    answer.value()
}

fn event(id: &str) -> Value {
    json!([{"message_id": id, "type": "track", "name": "paid", "identifiers": ["user_id:u1"], "properties": {"n": 1}}])
}

fn effects(sandbox: &Sandbox, filter: &str) -> Vec<Value> {
    sandbox.http().list(&format!("/api/v1/effects?{filter}"))
}

/// The signature must be that of the secret over what came.
fn check_signature(call: &Call, secrets: &[&str]) {
    let secrets: Vec<Vec<u8>> = secrets
        .iter()
        .map(|text| sign::read_secret(text).expect("a secret"))
        .collect();
    let timestamp = call.header("webhook-timestamp").parse().unwrap();
    let expected = sign::signatures(&secrets, call.header("webhook-id"), timestamp, &call.body);
    assert_eq!(call.header("webhook-signature"), expected);
}

#[test]
fn a_webhook_hears_of_what_it_wants_signed_and_without_what_is_personal() {
    let sandbox = Sandbox::start_with(options());
    let receiver = Receiver::start();
    let key = sandbox.source("shop");
    let thin = webhook(&sandbox, "thin", &receiver.url("/thin"), json!({}));
    webhook(
        &sandbox,
        "full",
        &receiver.url("/full?x=1"),
        json!({"events": ["event:paid", "member.merged"], "personal": true}),
    );
    let listed = sandbox.http().get("/api/v1/webhooks").text();
    assert!(!listed.contains("whsec_"), "shown once: {listed}");
    sandbox.send(&key, &event("one"));
    let calls = receiver.wait_for("/full?x=1", 1);
    let body = calls[0].value();
    assert_eq!(body["type"], "event");
    assert_eq!(body["data"]["identifiers"], json!(["user_id:u1"]), "{body}");
    assert_eq!(body["data"]["properties"], json!({"n": 1}));
    let call = receiver
        .wait_for("/thin", 1)
        .into_iter()
        .find(|call| call.value()["type"] == "event");
    let call = call.unwrap_or_else(|| {
        wait::until("the event", || {
            let calls = receiver.calls("/thin");
            calls
                .into_iter()
                .find(|call| call.value()["type"] == "event")
        })
    });
    let text = call.value().to_string();
    assert!(
        text.contains("\"paid\"") && !text.contains("user_id"),
        "{text}"
    );
    check_signature(&call, &[thin["secret"].as_str().unwrap()]);

    // Two people become one: the webhook of the group hears of it.
    let two = json!([{"message_id": "two", "type": "track", "name": "x", "identifiers": ["phone:13800000001"]}]);
    sandbox.send(&key, &two);
    let both = json!([{"message_id": "both", "type": "track", "name": "x",
        "identifiers": ["user_id:u1", "phone:13800000001"]}]);
    sandbox.send(&key, &both);
    let calls = receiver.wait_for("/full?x=1", 2);
    let merged = calls[1].value();
    assert_eq!(merged["type"], "member.merged", "{merged}");
    assert_ne!(merged["data"]["other"], Value::Null);

    // A new secret: both sign. Switched off: nothing is kept. Removed: gone.
    let http = sandbox.http();
    let path = format!("/api/v1/webhooks/{}", thin["id"]);
    let rotated = http.post_ok(&format!("{path}/rotate"), &json!({})).value();
    let before = receiver.calls("/thin").len();
    sandbox.send(&key, &event("three"));
    let calls = receiver.wait_for("/thin", before + 1);
    let secrets = [&rotated["secret"], &thin["secret"]].map(|secret| secret.as_str().unwrap());
    check_signature(&calls[before], &secrets);
    http.json("PATCH", &path, &json!({"enabled": false}))
        .ok("off");
    let token = sandbox.send(&key, &event("four"));
    sandbox.member("user_id:u1", &token);
    let none = |calls: &[Value]| calls.iter().all(|effect| effect["target"] != thin["id"]);
    wait::until("nothing to wait", || {
        none(&effects(&sandbox, "")).then_some(())
    });
    http.json("DELETE", &path, &json!({})).ok("removed");
    assert_eq!(http.get(&path).status, 404);
}

#[test]
fn a_webhook_of_a_brand_hears_of_its_brand_alone() {
    let sandbox = Sandbox::start_with(options());
    let receiver = Receiver::start();
    let http = sandbox.http();
    let brand = http
        .post_ok("/api/v1/brands", &json!({"name": "tea"}))
        .value();
    let source = json!({"name": "tea-shop", "kind": "http", "brand": brand["id"]});
    let tea = http.post_ok("/api/v1/sources", &source).value();
    let group = sandbox.source("group");
    let refused = http.json(
        "POST",
        "/api/v1/webhooks",
        &json!({"name": "x", "url": receiver.url("/x"), "events": ["member.merged"], "brand": brand["id"]}),
    );
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (400, "body_invalid")
    );
    for url in [
        "https://169.254.169.254/",
        "ftp://example.com/",
        "http://[::1]/",
        "nonsense",
    ] {
        let refused = http.json(
            "POST",
            "/api/v1/webhooks",
            &json!({"name": "x", "url": url, "events": ["*"]}),
        );
        assert_eq!(refused.status, 400, "{url}: {}", refused.text());
    }
    webhook(
        &sandbox,
        "tea",
        &receiver.url("/tea"),
        json!({"brand": brand["id"]}),
    );
    sandbox.send(&group, &event("of the group"));
    let own = sandbox.send(tea["write_key"].as_str().unwrap(), &event("of the brand"));
    sandbox.member("user_id:u1", &own);
    let calls = receiver.wait_for("/tea", 1);
    wait::until("all to be sent", || {
        effects(&sandbox, "").is_empty().then_some(())
    });
    assert_eq!(receiver.calls("/tea").len(), 1);
    assert_eq!(calls[0].value()["data"]["brand"], brand["id"]);
}

#[test]
fn row_33_a_bad_endpoint_is_tried_again_and_hurts_nobody_else() {
    let sandbox = Sandbox::start_with(options());
    let receiver = Receiver::start();
    sandbox.set_clock("2026-06-10T12:00:00Z");
    let key = sandbox.source("shop");
    receiver.answers("/bad", "500 No");
    receiver.answers("/away", "301 There\r\nlocation: http://127.0.0.1:1/");
    let only = json!({"events": ["event"]});
    for path in ["/bad", "/away", "/good"] {
        webhook(&sandbox, path, &receiver.url(path), only.clone());
    }
    let nowhere = webhook(&sandbox, "nowhere", "http://127.0.0.1:9/", only);
    sandbox.send(&key, &event("one"));
    receiver.wait_for("/good", 1);
    receiver.wait_for("/bad", 1);
    let dead = wait::until("the redirect to be given up", || {
        effects(&sandbox, "state=dead").into_iter().next()
    });
    assert!(dead["reason"].as_str().unwrap().contains("301"), "{dead}");
    let filter = format!("state=waiting&target={}", nowhere["id"]);
    let waiting = wait::until("a refused connection to wait", || {
        effects(&sandbox, &filter)
            .into_iter()
            .find(|effect| effect["attempts"] == 1)
    });
    assert!(
        waiting["reason"].as_str().unwrap().contains("connection"),
        "{waiting}"
    );
    // It waits its five seconds by the clock of the installation, then comes again under the same id.
    receiver.answers("/bad", "200 Better");
    sandbox.set_clock("2026-06-10T12:00:10Z");
    let calls = receiver.wait_for("/bad", 2);
    assert_eq!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
    assert_eq!(calls[0].body, calls[1].body);
    assert_ne!(
        calls[0].header("webhook-timestamp"),
        calls[1].header("webhook-timestamp")
    );
    // A person mends the address and tries the dead one again.
    receiver.answers("/away", "204 Here");
    let path = format!("/api/v1/effects/{}/retry", dead["key"].as_str().unwrap());
    sandbox.http().post_ok(&path, &json!({}));
    receiver.wait_for("/away", 2);
    let path = format!("/api/v1/effects/{}", waiting["key"].as_str().unwrap());
    let refused = sandbox
        .http()
        .json("POST", &format!("{path}/retry"), &json!({}));
    assert_eq!(refused.status, 409, "it is not dead");
    sandbox
        .http()
        .post_ok(&format!("{path}/discard"), &json!({}));
    wait::until("nothing to be left", || {
        effects(&sandbox, "").is_empty().then_some(())
    });
    let counters = sandbox.http().read("/api/v1/stats")["counters"].clone();
    assert_eq!(
        [
            &counters["effects_made"],
            &counters["effects_done"],
            &counters["effects_discarded"]
        ],
        [&json!(4), &json!(3), &json!(1)],
        "{counters}"
    );
}

#[test]
fn row_34_the_receiver_has_it_and_we_are_killed() {
    let mut sandbox = Sandbox::new(options().env("FAILPOINTS", "effect-after-call=return"));
    sandbox.boot();
    let receiver = Receiver::start();
    let key = sandbox.source("shop");
    webhook(
        &sandbox,
        "crm",
        &receiver.url("/crm"),
        json!({"events": ["event"]}),
    );
    sandbox.send(&key, &event("one"));
    sandbox.wait_for_end();
    assert_eq!(receiver.calls("/crm").len(), 1);
    sandbox.options().environment.clear();
    sandbox.boot();
    let calls = receiver.wait_for("/crm", 2);
    assert_eq!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
    assert_eq!(calls[0].body, calls[1].body);
    wait::until("it to be done", || {
        effects(&sandbox, "").is_empty().then_some(())
    });
    // Nothing of it is left that another start would send.
    sandbox.kill9();
    sandbox.boot();
    sandbox.send(&key, &event("two"));
    receiver.wait_for("/crm", 3);
    assert_eq!(receiver.calls("/crm").len(), 3);
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    assert_eq!(
        sandbox.digest(&["--state", "--replay"]),
        state,
        "effects and marks replay"
    );
}

#[test]
fn row_38_effects_of_a_restored_backup_are_held() {
    let mut sandbox = Sandbox::start_with(options());
    sandbox.set_clock("2026-06-10T12:00:00Z");
    let receiver = Receiver::start();
    receiver.answers("/crm", "503 Later");
    let key = sandbox.source("shop");
    webhook(
        &sandbox,
        "crm",
        &receiver.url("/crm"),
        json!({"events": ["event"]}),
    );
    sandbox.send(&key, &event("one"));
    sandbox.send(&key, &event("two"));
    wait::until("two to wait", || {
        let waiting = effects(&sandbox, "state=waiting");
        let tried = waiting.iter().filter(|effect| effect["attempts"] == 1);
        (tried.count() == 2).then_some(())
    });
    let backup = take_backup(&sandbox);
    assert!(sandbox.stop().success());
    let copy = sandbox.folder().join("restored");
    run_ok(&[
        "restore",
        "--from",
        backup.to_str().unwrap(),
        "--data",
        copy.to_str().unwrap(),
    ]);

    receiver.answers("/crm", "200 Fine");
    let mut restored = Sandbox::at(&copy, options());
    restored.boot();
    restored.set_clock("2026-06-10T13:00:00Z");
    let token = restored.send(&key, &event("three"));
    restored.member("user_id:u1", &token);
    let ready = restored.http().get("/readyz").value();
    assert!(
        ready["effects_held"].as_str().unwrap().contains("backup"),
        "{ready}"
    );
    let held = wait::until("three to be held", || {
        let held = effects(&restored, "state=held");
        (held.len() == 3).then_some(held)
    });
    let before = receiver.calls("/crm").len();
    // One is let go and arrives; the others would have come before it or with it.
    let choice = json!({"keys": [held[0]["key"]]});
    restored.http().post_ok("/api/v1/effects/release", &choice);
    let calls = receiver.wait_for("/crm", before + 1);
    let id = format!("msg_{}", held[0]["key"].as_str().unwrap());
    assert_eq!(calls[before].header("webhook-id"), id);
    let choice = json!({"keys": [held[1]["key"]]});
    restored.http().post_ok("/api/v1/effects/discard", &choice);
    wait::until("one to be left", || {
        (effects(&restored, "").len() == 1).then_some(())
    });
    assert_eq!(receiver.calls("/crm").len(), before + 1);
    // The hold outlives a restart; a person ends it.
    assert!(restored.stop().success());
    restored.boot();
    restored.set_clock("2026-06-10T13:00:00Z");
    assert_eq!(restored.http().read("/api/v1/effects/hold")["held"], true);
    let ended = restored
        .http()
        .post_ok("/api/v1/effects/release", &json!({}))
        .value();
    assert_eq!(ended["held"], false, "{ended}");
    receiver.wait_for("/crm", before + 2);
    wait::until("all to be sent", || {
        effects(&restored, "").is_empty().then_some(())
    });
    assert_eq!(
        restored.http().get("/readyz").value()["effects_held"],
        Value::Null
    );
    assert_eq!(receiver.calls("/crm").len(), before + 2);
}

/// Takes a backup over the API; answers its folder.
fn take_backup(sandbox: &Sandbox) -> PathBuf {
    let http = sandbox.http();
    let job = http
        .post_ok("/api/v1/backups", &json!({"name": "held"}))
        .value();
    let path = format!("/api/v1/jobs/{}", job["id"]);
    let job: Value = wait::until("the backup to end", || {
        let job = http.read(&path);
        (job["state"] != "running").then_some(job)
    });
    assert_eq!(job["state"], "done", "{job}");
    PathBuf::from(job["target"].as_str().expect("it says where"))
}

#[test]
fn timers_held_by_a_jump_of_the_clock_are_released_by_a_person() {
    let sandbox = Sandbox::start_with(options());
    sandbox.set_clock("2030-01-01T00:00:00Z");
    let http = sandbox.http();
    wait::until("timers to be held", || {
        (http.read("/api/v1/timers/held")["held"] == true).then_some(())
    });
    assert_eq!(http.get("/readyz").value()["timers_held"], true);
    let released = http.post_ok("/api/v1/timers/release", &json!({})).value();
    assert_eq!(released["released"], true);
    let after = http.read("/api/v1/timers/held");
    assert_eq!(
        (&after["held"], &after["items"]),
        (&json!(false), &json!([]))
    );
}

#[test]
fn an_erase_destroys_keys_by_itself_and_nobody_can_discard_it() {
    let sandbox = Sandbox::start_with(options());
    let key = sandbox.source("shop");
    let token = sandbox.send(&key, &event("one"));
    let member = sandbox.member("user_id:u1", &token);
    let path = format!(
        "/api/v1/members/{}/erase",
        member["id"].as_str().expect("it has an id")
    );
    sandbox
        .http()
        .post_ok(&path, &json!({"reason": "asked for it"}));
    wait::until("the keys to be destroyed", || {
        let counters = sandbox.http().read("/api/v1/stats")["counters"].clone();
        (counters["effects_done"] == 1).then_some(())
    });
    assert!(effects(&sandbox, "").is_empty());
}
