//! Identity and profile over HTTP: who is one person, why, and what happens when that was wrong. Cases are data.

use serde_json::json;
use tests::{Sandbox, cases};

#[test]
fn cases_of_identity() {
    let sandbox = Sandbox::start();
    let key = sandbox.source("cases");
    cases::run(&sandbox, &key, "identity.json");
}

#[test]
fn cases_of_profile() {
    let sandbox = Sandbox::start();
    let key = sandbox.source("cases");
    cases::run(&sandbox, &key, "profile.json");
}

#[test]
fn cases_survive_a_restart() {
    // The same questions to a server that has only its files: the cases run, and every member is asked again after kill -9.
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("cases");
    cases::run(&sandbox, &key, "identity.json");
    sandbox.stats();
    let before = everybody(&sandbox);
    assert!(
        before.len() > 10,
        "the cases made members: {}",
        before.len()
    );
    sandbox.kill9();
    sandbox.boot();
    sandbox.stats();
    assert_eq!(everybody(&sandbox), before);
}

fn everybody(sandbox: &Sandbox) -> Vec<serde_json::Value> {
    let http = sandbox.http();
    let mut members = http.list("/api/v1/members?limit=100");
    members.extend(http.list("/api/v1/members?limit=100&status=visitor"));
    members
}

#[test]
fn a_read_with_the_token_of_a_write_sees_it() {
    // I17, five hundred times: each write is read back at once, with nothing in between but its token.
    let sandbox = Sandbox::start();
    let key = sandbox.source("cases");
    for number in 0..500 {
        let user = format!("user_id:rw{}", number % 50);
        let event = json!([{"message_id": format!("rw-{number}"), "type": "identify",
            "time": format!("2026-03-01T08:{:02}:{:02}+08:00", number / 60, number % 60),
            "identifiers": [user], "traits": {"n": number}}]);
        let token = sandbox.send(&key, &event);
        let member = sandbox.member(&user, &token);
        assert_eq!(member["attributes"]["n"]["value"], number, "{member}");
    }
}
