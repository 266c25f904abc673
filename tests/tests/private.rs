//! What is personal, and what is secret, stays out of logs and figures, whatever goes wrong: seeded words are sent on every
//! way in and looked for in all that the process says.

use serde_json::json;
use tests::binary::ADMIN_KEY;
use tests::{Options, Sandbox};

/// A phone number, in the forms that it takes.
const PHONE: &str = "13987650431";
/// An address of e-mail.
const EMAIL: &str = "canary.7q@secret.example";
/// A name.
const NAME: &str = "金丝雀无名氏";
/// Something in a body that is no JSON.
const BROKEN: &str = "canary-broken-7q";
/// A reason that a person gives.
const REASON: &str = "canary-reason-7q";

/// Words that nothing may say, with what they are.
fn canaries(write_key: &str) -> Vec<(&'static str, String)> {
    vec![
        ("a phone number", PHONE.into()),
        ("an e-mail address", EMAIL.into()),
        ("the begin of an e-mail address", "canary.7q".into()),
        ("a name", NAME.into()),
        ("a name, escaped", "\\u{91d1}\\u{4e1d}\\u{96c0}".into()),
        ("a broken body", BROKEN.into()),
        ("a reason", REASON.into()),
        ("a write key", write_key.into()),
        ("the admin key", ADMIN_KEY.into()),
    ]
}

#[test]
fn nothing_personal_and_no_secret_is_in_logs_and_figures() {
    // As talkative as anybody would make it to look for a fault.
    let filter = "debug,api=trace,actors=trace,ingest=trace,cdp=trace,pipelines=trace,query=trace";
    let mut sandbox = Sandbox::start_with(Options::default().set("log.filter", filter));
    let key = sandbox.source("canary");
    let sender = sandbox.sender(&key);
    let http = sandbox.http();
    let person = json!({"type": "identify", "message_id": "1",
        "identifiers": [format!("phone:{PHONE}"), format!("email:{EMAIL}")], "traits": {"name": NAME, "city": "上海"}});
    let token = sandbox.send(&key, &json!([person]));
    let member = sandbox.member(&format!("phone:{PHONE}"), &token);
    let id = member["id"].as_str().expect("an id").to_owned();
    // What cannot be taken: set aside, refused, cut off.
    let bad = json!([
        {"type": "track", "name": NAME, "identifiers": [format!("email:{EMAIL}")], "time": format!("at {EMAIL}")},
        {"type": "track", "name": NAME, "identifiers": [format!("nonsense:{PHONE}:{EMAIL}")]},
        {"type": "order", "identifiers": [format!("phone:{PHONE}")], "order": {"order_id": EMAIL, "currency": NAME, "total": REASON}},
        {"type": NAME, "message_id": EMAIL},
    ]);
    sender.post_ok("/v1/events", &bad);
    let send = |http: &tests::Http, method: &str, path: &str, body: String| {
        // Whatever the answer is: what counts here is what is said beside it.
        let _ = http.send(method, path, &[("idempotency-key", REASON)], body);
    };
    for path in [
        "/v1/events",
        "/v1/batch",
        "/v1/cloudevents",
        "/v1/scan",
        "/sa",
    ] {
        for body in [
            format!("{BROKEN} {PHONE}"),
            format!(r#"{{"{BROKEN}": "{EMAIL}""#),
            format!(r#"{{"batch": [{{"type": "track", "userId": "{EMAIL}", "event": 1}}]}}"#),
            format!(
                r#"{{"email": "{EMAIL}", "{NAME}": {{"{BROKEN}": {}}}}}"#,
                "[".repeat(200)
            ),
        ] {
            send(&sender, "POST", path, body);
        }
    }
    send(
        &sender,
        "GET",
        &format!("/sa?data={BROKEN}&phone={PHONE}"),
        String::new(),
    );
    send(
        &sender,
        "POST",
        &format!("/v1/track?writeKey={key}x&u={EMAIL}"),
        "{}".into(),
    );
    // Questions and orders of people, right and wrong.
    let rule = json!({"attr": "name", "op": "eq", "value": NAME});
    for (method, path, body) in [
        (
            "GET",
            format!("/api/v1/members?identifier=phone:{PHONE}"),
            json!(null),
        ),
        (
            "GET",
            format!("/api/v1/members?identifier=nokind:{EMAIL}"),
            json!(null),
        ),
        (
            "GET",
            format!("/api/v1/members?nothing={EMAIL}"),
            json!(null),
        ),
        ("GET", format!("/api/v1/members/{EMAIL}"), json!(null)),
        (
            "GET",
            format!("/api/v1/members/search?q={EMAIL}"),
            json!(null),
        ),
        ("GET", format!("/{EMAIL}/{PHONE}"), json!(null)),
        (
            "GET",
            format!("/api/v1/members/{id}/events?name={EMAIL}"),
            json!(null),
        ),
        (
            "POST",
            format!("/api/v1/members/{id}/unmerge"),
            json!({"identifiers": [format!("email:{EMAIL}")], "reason": REASON}),
        ),
        (
            "POST",
            format!("/api/v1/members/{id}/unmerge"),
            json!({"identifiers": [format!("user_id:{EMAIL}")], "reason": REASON}),
        ),
        (
            "POST",
            format!("/api/v1/members/{id}/rejoin"),
            json!({"identifiers": [format!("email:{EMAIL}")], "reason": REASON}),
        ),
        (
            "POST",
            format!("/api/v1/members/{id}/rejoin"),
            json!({"identifiers": [NAME], EMAIL: REASON}),
        ),
        (
            "POST",
            "/api/v1/segments/preview".into(),
            json!({"rule": rule}),
        ),
        (
            "POST",
            "/api/v1/segments".into(),
            json!({"name": "named", "rule": rule}),
        ),
        (
            "POST",
            "/api/v1/segments".into(),
            json!({"name": "wrong", "rule": {"attr": NAME, "op": EMAIL}}),
        ),
        (
            "POST",
            "/api/v1/lists".into(),
            json!({"name": "list", "members": [format!("phone:{PHONE}"), EMAIL]}),
        ),
        (
            "POST",
            "/api/v1/lists/upload?name=file".into(),
            json!(format!("phone\n{PHONE}\n{EMAIL}\n")),
        ),
        (
            "POST",
            format!("/api/v1/members/{id}/consents"),
            json!({"channel": "sms", "purpose": EMAIL, "state": PHONE}),
        ),
        (
            "POST",
            "/api/v1/dead-letters/fixes".into(),
            json!({"filter": {}, "changes": [{"do": "set", "field": "name", "value": EMAIL}]}),
        ),
        (
            "POST",
            "/api/v1/imports/files?name=people.csv".into(),
            json!(format!("phone,{NAME}\n{PHONE},{EMAIL}\n")),
        ),
        (
            "POST",
            format!("/api/v1/members/{id}/erase"),
            json!({"reason": REASON}),
        ),
    ] {
        send(&http, method, &path, body.to_string());
    }
    for wrong in [
        format!("Bearer {ADMIN_KEY}x"),
        format!("Basic {key}"),
        format!("Bearer {EMAIL}"),
    ] {
        send(
            &http.with(Some(wrong)),
            "GET",
            "/api/v1/stats",
            String::new(),
        );
    }
    tests::wait::until("all to be decided", || {
        (http.read("/api/v1/stats")["lag"] == 0).then_some(())
    });
    let figures = http.get("/metrics").text();
    assert!(figures.contains("http_requests_total"), "{figures}");
    assert!(sandbox.stop().success());
    let mut said = sandbox.log();
    assert!(
        said.contains("DEBUG") && said.contains("request"),
        "it is talkative: {said}"
    );
    // A start that replays, and commands beside the server.
    sandbox.boot();
    sandbox.kill9();
    said.push_str(&sandbox.log());
    said.push_str(&sandbox.digest(&["--state", "--replay"]));
    for (what, canary) in canaries(&key) {
        for (place, text) in [("the log", &said), ("/metrics", &figures)] {
            let line = text.lines().find(|line| line.contains(&canary));
            assert_eq!(line, None, "{what} is in {place}");
        }
    }
}
