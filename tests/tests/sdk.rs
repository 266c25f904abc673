//! The published SDKs, unmodified: every event is delivered exactly once, whatever happens to the server meanwhile.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tests::need::{self, Missing};
use tests::{Options, Sandbox, Script, script};

/// Events of one run: a dozen batches of fifty.
const EVENTS: usize = 600;

/// One SDK.
struct Sdk {
    /// Prefix of its user and its message ids.
    name: &'static str,
    command: fn() -> Result<Command, Missing>,
    /// Further arguments of its script.
    options: &'static [&'static str],
}

const SEGMENT_PY: Sdk = Sdk {
    name: "segment-py",
    command: || python("with_segment.py"),
    options: &["gzip"],
};
const RUDDER_PY: Sdk = Sdk {
    name: "rudder-py",
    command: || python("with_rudder.py"),
    options: &[],
};
const SEGMENT_JS: Sdk = Sdk {
    name: "segment-js",
    command: || node("with_segment.mjs"),
    options: &[],
};
const RUDDER_JS: Sdk = Sdk {
    name: "rudder-js",
    command: || node("with_rudder.mjs"),
    options: &[],
};

fn python(script: &str) -> Result<Command, Missing> {
    let modules = ["segment.analytics.client", "rudderstack.analytics.client"];
    script::python(&modules, script)
}

fn node(script: &str) -> Result<Command, Missing> {
    let packages = ["@segment/analytics-node", "@rudderstack/rudder-sdk-node"];
    script::node(&packages, script)
}

/// Exactly the events of the script, once each, and what identify said.
fn check(sandbox: &Sandbox, sdk: &Sdk) {
    let stats = sandbox.stats();
    assert_eq!(stats["members"], 1, "{stats}");
    let member = sandbox.member(&format!("user_id:{}", sdk.name), "");
    let text = member.to_string();
    let email = sdk.name.replace('-', ".") + "@example.org";
    assert!(text.contains(&email), "identify is lost: {text}");
    let id = member["id"].as_str().expect("a member has an id");
    let events = sandbox
        .http()
        .list(&format!("/api/v1/members/{id}/events?limit=200"));
    let mut seen = BTreeSet::new();
    for event in &events {
        let Some(message) = event["message_id"].as_str() else {
            continue;
        };
        assert!(seen.insert(message.to_owned()), "{message} counted twice");
    }
    let missing: Vec<String> = (0..EVENTS)
        .map(|number| format!("{}-{number}", sdk.name))
        .filter(|message| !seen.contains(message))
        .collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    assert_eq!(seen.len(), EVENTS + 1, "and the identify");
}

/// Undisturbed.
fn delivers(test: &str, sdk: &Sdk) {
    let Some(command) = need::or_skip(test, (sdk.command)()) else {
        return;
    };
    let sandbox = Sandbox::start();
    let key = sandbox.source("sdk");
    Script::start(command, &sandbox.base(), &key, EVENTS, sdk.options).delivered(EVENTS);
    check(&sandbox, sdk);
}

/// The server is killed in the middle and is back within the SDK's own retries.
fn survives_a_kill(test: &str, sdk: &Sdk) {
    let Some(command) = need::or_skip(test, (sdk.command)()) else {
        return;
    };
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("sdk");
    let address = sandbox.base().replace("http://", "");
    let options = [sdk.options, &["pause"]].concat();
    let mut client = Script::start(command, &sandbox.base(), &key, EVENTS, &options);
    assert_eq!(client.line()["half"], true);
    sandbox.kill9();
    {
        // In its place somebody who hangs up: proof that the SDK really tried while the server was gone.
        let impostor = TcpListener::bind(&address).expect("the port is free again");
        client.go_on();
        drop(impostor.accept().expect("the SDK tries"));
    }
    sandbox.boot();
    client.delivered(EVENTS);
    check(&sandbox, sdk);
}

/// An SDK whose few requests all come in moments with room was told nothing: then it is done once more.
const ATTEMPTS: usize = 8;

/// A server that cannot keep up says 429; the SDK slows down and loses nothing.
fn survives_429(test: &str, sdk: &Sdk) {
    let mut attempts = 0..ATTEMPTS;
    loop {
        let Some(command) = need::or_skip(test, (sdk.command)()) else {
            return;
        };
        if delivers_to_a_full_server(command, sdk) {
            return;
        }
        let again = attempts.next().is_some();
        assert!(again, "the SDK was through before: the test proves nothing");
    }
}

/// Whether the SDK was told to slow down while it delivered.
fn delivers_to_a_full_server(command: Command, sdk: &Sdk) -> bool {
    // Workers that are slow, the smallest lag allowed, and somebody else who sends all he can.
    let options = Options::default()
        .set("lag_events_max", "1000")
        .env("FAILPOINTS", "worker-turn=sleep(50)");
    let sandbox = Sandbox::start_with(options);
    let key = sandbox.source("sdk");
    let stop = Arc::new(AtomicBool::new(false));
    let full = Arc::new(AtomicBool::new(false));
    let other = {
        let (stop, full, http) = (stop.clone(), full.clone(), sandbox.base());
        let key = tests::http::basic(&key);
        std::thread::spawn(move || {
            let http = tests::Http::new(&http, Some(key));
            let mut sent = 0;
            while !stop.load(Ordering::Acquire) {
                let events: Vec<Value> = (sent..sent + 400).map(visit).collect();
                let answer = http.json("POST", "/v1/events", &events.into());
                match answer.status {
                    200 => sent += 400,
                    429 => full.store(true, Ordering::Release),
                    status => panic!("{status} {}", answer.text()),
                }
                tests::wait::pause();
            }
        })
    };
    tests::wait::until("the server to be full", || {
        full.load(Ordering::Acquire).then_some(())
    });
    let mut client = Script::start(command, &sandbox.base(), &key, EVENTS, sdk.options);
    let http = sandbox.http();
    let told = tests::wait::until("the SDK to be told to slow down", || {
        let told = told_to_slow_down(&http.get("/metrics").text());
        let ended = client.ended();
        (told || ended).then_some(told)
    });
    stop.store(true, Ordering::Release);
    other.join().expect("the other sender is valid, too");
    client.delivered(EVENTS);
    check(&sandbox, sdk);
    told
}

/// A visit of somebody who is no member.
fn visit(number: usize) -> Value {
    serde_json::json!({"message_id": format!("other-{number}"), "type": "track", "name": "visited",
        "time": "2026-03-01T08:00:00+08:00", "identifiers": [format!("device_id:d{number}")]})
}

/// Whether the tracking API answered 429.
fn told_to_slow_down(metrics: &str) -> bool {
    metrics
        .lines()
        .any(|line| line.contains("/v1/batch") && line.contains("\"429\""))
}

macro_rules! sdk_tests {
    ($($name:ident $sdk:ident;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn delivers_everything_once() {
                delivers(concat!(stringify!($name), "::delivers_everything_once"), &$sdk);
            }

            #[test]
            fn loses_nothing_when_the_server_is_killed() {
                survives_a_kill(concat!(stringify!($name), "::loses_nothing_when_the_server_is_killed"), &$sdk);
            }

            #[test]
            fn loses_nothing_when_told_to_slow_down() {
                survives_429(concat!(stringify!($name), "::loses_nothing_when_told_to_slow_down"), &$sdk);
            }
        }
    )*};
}

sdk_tests! {
    segment_python SEGMENT_PY;
    rudder_python RUDDER_PY;
    segment_node SEGMENT_JS;
    rudder_node RUDDER_JS;
}
