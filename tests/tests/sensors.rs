//! The published SDKs of Sensors Analytics (神策), unmodified: every type of record arrives, once, whatever happens to the
//! server meanwhile; ids become people by the three modes of ID-Mapping.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use tests::need::{self, Missing};
use tests::proxy::LossyProxy;
use tests::{Sandbox, Script, http, script};

/// Events of one run: some batches of fifty.
const EVENTS: usize = 300;

fn python() -> Result<Command, Missing> {
    script::python(&["sensorsanalytics"], "with_sensors.py")
}

fn node_sdk() -> Result<Command, Missing> {
    script::node(&["sa-sdk-node"], "with_sensors.mjs")
}

fn mini_sdk() -> Result<Command, Missing> {
    script::node(&["sa-sdk-miniprogram"], "with_sensors_mini.mjs")
}

/// Makes a source in a mode of ID-Mapping.
fn source(sandbox: &Sandbox, mode: &str, keys: &[&str]) -> (u64, String) {
    let settings = json!({"id_mapping": mode, "id_keys": keys});
    let new = json!({"name": "sensors", "kind": "sensors", "settings": settings});
    let made = sandbox.http().post_ok("/api/v1/sources", &new).value();
    let key = made["write_key"]
        .as_str()
        .expect("a source has a write key");
    (made["id"].as_u64().expect("and an id"), key.to_owned())
}

/// A member's events by name and by the number in their property `n`.
fn events(sandbox: &Sandbox, member: &Value) -> BTreeMap<(String, Option<u64>), usize> {
    let id = member["id"].as_str().expect("a member has an id");
    let path = format!("/api/v1/members/{id}/events?limit=200");
    let mut counts = BTreeMap::new();
    for event in sandbox.http().list(&path) {
        let name = event["name"].as_str().unwrap_or_default().to_owned();
        let number = event["properties"]["n"].as_u64();
        *counts.entry((name, number)).or_default() += 1;
    }
    counts
}

/// Each number of `Seen` that is there, and none twice.
fn seen_once(sandbox: &Sandbox, member: &Value) -> Vec<u64> {
    let events = events(sandbox, member);
    let seen = events.iter().filter(|((name, _), _)| name == "Seen");
    seen.map(|((_, number), count)| {
        let number = number.expect("every event has a number");
        assert_eq!(*count, 1, "event {number} counted twice");
        number
    })
    .collect()
}

/// What every script tells of its member.
fn check_profile(member: &Value) {
    let attributes = &member["attributes"];
    for (name, expected) in [
        ("name", json!("王小明")),
        ("channel", json!("first")),
        ("score", json!(5)),
        ("tastes", json!(["beer", "milk"])),
    ] {
        assert_eq!(attributes[name]["value"], expected, "{name} of {member}");
    }
}

fn check_items(sandbox: &Sandbox) {
    let items = sandbox.http().list("/api/v1/items");
    let told: Vec<_> = items
        .iter()
        .map(|item| (&item["type"], &item["id"], &item["properties"]))
        .collect();
    let milk = json!({"name": "奶粉", "price": 12.5});
    assert_eq!(told, [(&json!("sku"), &json!("S1"), &milk)]);
}

fn nothing_set_aside(sandbox: &Sandbox) {
    let stats = sandbox.stats();
    let letters = sandbox.http().list("/api/v1/dead-letters");
    assert_eq!(stats["dead_letters"], 0, "{letters:?}");
}

#[test]
fn python_delivers_every_type_once_though_answers_are_lost_and_the_server_is_killed() {
    let test = "python_delivers_every_type_once_though_answers_are_lost_and_the_server_is_killed";
    let Some(command) = need::or_skip(test, python()) else {
        return;
    };
    let mut sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "1.0", &[]);
    let proxy = LossyProxy::start(&sandbox.base(), 3);
    let mut client = Script::start(command, proxy.base(), &key, EVENTS, &["pause"]);
    assert_eq!(client.line()["half"], true);
    sandbox.kill9();
    client.go_on();
    sandbox.boot();
    assert_eq!(client.end()["errors"], json!([]));
    assert!(
        proxy.lost() > 1,
        "no answer was lost: the test proves nothing"
    );
    nothing_set_aside(&sandbox);
    assert!(
        sandbox.stats()["duplicates"].as_i64() > Some(0),
        "nothing was sent twice: the test proves nothing"
    );
    let member = sandbox.member("user_id:py", "");
    assert_eq!(
        member["id"],
        sandbox.member("anonymous_id:py-device", "")["id"]
    );
    assert_eq!(seen_once(&sandbox, &member).len(), EVENTS);
    check_profile(&member);
    assert_eq!(member["attributes"]["city"], Value::Null, "it was unset");
    // 7 ms, printed by the SDK as `.7`, on the installation's wall clock.
    let visited = &member["attributes"]["visited"]["value"];
    assert_eq!(*visited, json!("2026-11-22 10:00:00.007"));
    check_items(&sandbox);
}

#[test]
fn node_is_acknowledged_what_is_there_once() {
    let Some(command) = need::or_skip("node_is_acknowledged_what_is_there_once", node_sdk()) else {
        return;
    };
    let mut sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "1.0", &[]);
    let mut client = Script::start(command, &sandbox.base(), &key, 60, &["pause"]);
    let half = client.line();
    assert_eq!(half["acknowledged"], 31, "{half}");
    sandbox.kill9();
    sandbox.boot();
    client.go_on();
    // The SDK does not send again what a kept-alive connection of the dead server swallowed.
    let last = client.end();
    let refused = last["errors"].as_array().map_or(0, Vec::len);
    nothing_set_aside(&sandbox);
    let member = sandbox.member("user_id:js", "");
    let seen = seen_once(&sandbox, &member);
    assert!(
        (0..31).all(|number| seen.contains(&number)),
        "lost: {seen:?}"
    );
    assert!(seen.len() + refused >= 60, "{refused} of {seen:?}");
    if refused == 0 {
        check_profile(&member);
        assert_eq!(member["attributes"]["city"], Value::Null, "it was unset");
        check_items(&sandbox);
    }
}

#[test]
fn mini_program_delivers_every_type_in_urls() {
    let Some(command) = need::or_skip("mini_program_delivers_every_type_in_urls", mini_sdk())
    else {
        return;
    };
    let sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "3.0", &[]);
    let mut client = Script::start(command, &sandbox.base(), &key, 40, &[]);
    assert_eq!(client.end()["errors"], json!([]));
    check_mini(&sandbox, 40);
    let log = sandbox.log();
    assert!(
        !log.contains(&key) && !log.contains("data="),
        "the query is in the log"
    );
}

#[test]
fn mini_program_in_batches_loses_nothing() {
    let Some(command) = need::or_skip("mini_program_in_batches_loses_nothing", mini_sdk()) else {
        return;
    };
    let mut sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "3.0", &[]);
    let proxy = LossyProxy::start(&sandbox.base(), 2);
    let options = ["batch", "pause"];
    let mut client = Script::start(command, proxy.base(), &key, EVENTS, &options);
    assert_eq!(client.line()["half"], true);
    sandbox.kill9();
    client.go_on();
    sandbox.boot();
    assert_eq!(client.end()["errors"], json!([]));
    assert!(
        proxy.lost() > 0,
        "no answer was lost: the test proves nothing"
    );
    check_mini(&sandbox, EVENTS);
}

fn check_mini(sandbox: &Sandbox, count: usize) {
    nothing_set_aside(sandbox);
    let member = sandbox.member("user_id:mini", "");
    assert_eq!(
        member["id"],
        sandbox.member("openid@wxabc:oMINI1", "")["id"]
    );
    assert_eq!(seen_once(sandbox, &member).len(), count);
    check_profile(&member);
    let visited = &member["attributes"]["visited"]["value"];
    assert_eq!(*visited, json!("2026-11-22 10:00:00.007"));
    let phone = sandbox.member("phone:13800000001", "");
    assert_ne!(phone["id"], member["id"], "the phone was taken out again");
    let names = events(sandbox, &member);
    for name in ["$SignUp", "$BindID"] {
        assert!(
            names.contains_key(&(name.into(), None)),
            "{name} of {names:?}"
        );
    }
}

fn web(test: &str, how: &str, count: usize, kill: bool) {
    let command = script::node(&["jsdom", "sa-sdk-javascript"], "with_sensors_web.mjs");
    let Some(command) = need::or_skip(test, command) else {
        return;
    };
    let mut sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "2.0", &[]);
    let mut base = sandbox.base();
    let proxy = kill.then(|| LossyProxy::start(&base, 3));
    if let Some(proxy) = &proxy {
        base = proxy.base().to_owned();
    }
    let options: &[&str] = if kill { &[how, "pause"] } else { &[how] };
    let mut client = Script::start(command, &base, &key, count, options);
    if kill {
        assert_eq!(client.line()["half"], true);
        sandbox.kill9();
        client.go_on();
        sandbox.boot();
    }
    assert_eq!(client.end()["errors"], json!([]));
    if let Some(proxy) = proxy {
        assert!(
            proxy.lost() > 0,
            "no answer was lost: the test proves nothing"
        );
    }
    nothing_set_aside(&sandbox);
    let member = sandbox.member("user_id:web", "");
    assert_eq!(seen_once(&sandbox, &member).len(), count);
    check_profile(&member);
    assert_eq!(member["attributes"]["city"], Value::Null, "it was unset");
    check_items(&sandbox);
}

#[test]
fn web_delivers_pictures() {
    web("web_delivers_pictures", "image", 40, false);
}

#[test]
fn web_delivers_by_ajax() {
    web("web_delivers_by_ajax", "ajax", 40, false);
}

#[test]
fn web_delivers_beacons() {
    web("web_delivers_beacons", "beacon", 40, false);
}

#[test]
fn web_in_batches_loses_nothing() {
    web("web_in_batches_loses_nothing", "batch", 100, true);
}

/// Calls of the Python SDK, one request each, and its errors.
fn call(sandbox: &Sandbox, key: &str, mode: &[&str], calls: &Value) -> Option<Value> {
    let command = python().ok()?;
    let calls = calls.to_string();
    let options = [mode, &["calls", &calls]].concat();
    let last = Script::start(command, &sandbox.base(), key, 0, &options).end();
    sandbox.stats();
    Some(last["errors"].clone())
}

/// Who is one member: groups of identifiers, those of a group joined by spaces.
fn groups(sandbox: &Sandbox, identifiers: &[&str]) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for identifier in identifiers {
        if let Some(member) = sandbox.find(identifier, "") {
            let id = member["id"].as_str().expect("a member has an id");
            groups.entry(id.to_owned()).or_default().push(identifier);
        }
    }
    let mut groups: Vec<String> = groups.into_values().map(|group| group.join(" ")).collect();
    groups.sort();
    groups
}

const DEVICES: &[&str] = &[
    "user_id:u1",
    "user_id:u2",
    "anonymous_id:d1",
    "anonymous_id:d2",
];

/// The same story in 1.0 and 2.0: u1 signs up on d1, u2 on the same device, u1 on a second one.
fn signups() -> Value {
    json!([
        ["track", "d1", "E", {}],
        ["track", "d2", "E", {}],
        ["track_signup", "u1", "d1"],
        ["track_signup", "u2", "d1"],
        ["track_signup", "u1", "d2"],
        ["track", "u2", "E", {}, true],
        ["track", "d1", "E", {}],
    ])
}

#[test]
fn mode_1_pairs_once_and_2_binds_devices_of_later_logins() {
    let test = "mode_1_pairs_once_and_2_binds_devices_of_later_logins";
    if need::or_skip(test, python()).is_none() {
        return;
    }
    let sandbox = Sandbox::start();
    let (id, key) = source(&sandbox, "1.0", &[]);
    call(&sandbox, &key, &[], &signups());
    let once = [
        "anonymous_id:d2",
        "user_id:u1 anonymous_id:d1",
        "user_id:u2",
    ];
    assert_eq!(groups(&sandbox, DEVICES), once);

    // Up to 2.0: what 1.0 left apart joins when it binds again, with its history.
    let path = format!("/api/v1/sources/{id}");
    let up = json!({"settings": {"id_mapping": "2.0"}});
    sandbox.http().json("PATCH", &path, &up).ok("up");
    call(
        &sandbox,
        &key,
        &[],
        &json!([["track_signup", "u1", "d2"], ["track_signup", "u2", "d1"]]),
    );
    let many = ["user_id:u1 anonymous_id:d1 anonymous_id:d2", "user_id:u2"];
    assert_eq!(groups(&sandbox, DEVICES), many);

    // And never down.
    let down = json!({"settings": {"id_mapping": "1.0"}});
    let answer = sandbox.http().json("PATCH", &path, &down);
    assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"));
}

#[test]
fn mode_2_binds_many_devices_to_one_login() {
    if need::or_skip("mode_2_binds_many_devices_to_one_login", python()).is_none() {
        return;
    }
    let sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "2.0", &[]);
    call(&sandbox, &key, &[], &signups());
    let many = ["user_id:u1 anonymous_id:d1 anonymous_id:d2", "user_id:u2"];
    assert_eq!(groups(&sandbox, DEVICES), many);
    let member = sandbox.member("user_id:u1", "");
    let events = events(&sandbox, &member);
    assert_eq!(
        events[&("E".to_owned(), None)],
        3,
        "of both devices: {events:?}"
    );
}

#[test]
fn mode_3_binds_unbinds_and_refuses_undeclared_keys() {
    let test = "mode_3_binds_unbinds_and_refuses_undeclared_keys";
    if need::or_skip(test, python()).is_none() {
        return;
    }
    let mut sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "3.0", &["crm_no"]);
    let id = |key: &str, value: &str| json!({"id": [key, value]});
    let (u1, u2) = (
        id("$identity_login_id", "u1"),
        id("$identity_login_id", "u2"),
    );
    let phone = id("$identity_mobile", "13800000009");
    let all = ["user_id:u1", "user_id:u2", "phone:13800000009", "crm_no:7"];

    call(
        &sandbox,
        &key,
        &[],
        &json!([
            ["bind", u1, phone, id("crm_no", "7")],
            ["track_by_id", "E", {}, phone],
            ["track_by_id", "E", {}, u1, id("nobody_declared", "x")],
        ]),
    );
    assert_eq!(
        groups(&sandbox, &all),
        ["user_id:u1 phone:13800000009 crm_no:7"]
    );
    let letters = sandbox.http().list("/api/v1/dead-letters");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["code"], "identity_undeclared", "{letters:?}");

    call(&sandbox, &key, &[], &json!([["unbind", phone]]));
    assert_eq!(
        groups(&sandbox, &all),
        ["phone:13800000009", "user_id:u1 crm_no:7"]
    );

    call(&sandbox, &key, &[], &json!([["bind", u2, phone]]));
    assert_eq!(
        groups(&sandbox, &all),
        ["user_id:u1 crm_no:7", "user_id:u2 phone:13800000009"]
    );

    // Back to the first, and all of it once more from the files.
    call(
        &sandbox,
        &key,
        &[],
        &json!([["unbind", phone], ["bind", u1, phone]]),
    );
    let back = ["user_id:u1 phone:13800000009 crm_no:7", "user_id:u2"];
    assert_eq!(groups(&sandbox, &all), back);
    sandbox.kill9();
    sandbox.boot();
    sandbox.stats();
    assert_eq!(groups(&sandbox, &all), back);
}

#[test]
fn debug_says_what_is_wrong_and_dry_run_keeps_nothing() {
    let test = "debug_says_what_is_wrong_and_dry_run_keeps_nothing";
    if need::or_skip(test, python()).is_none() {
        return;
    }
    let sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "3.0", &[]);
    let calls = json!([
        ["track", "dry", "E", {}],
        ["track_by_id", "E", {}, {"id": ["nobody_declared", "x"]}],
    ]);
    let errors = json!(["SensorsAnalyticsDebugException"]);
    assert_eq!(
        call(&sandbox, &key, &["dry-run"], &calls),
        Some(errors.clone())
    );
    assert_eq!(sandbox.stats()["received"], 0);
    assert_eq!(call(&sandbox, &key, &["debug"], &calls), Some(errors));
    let stats = sandbox.stats();
    assert_eq!(
        (&stats["received"], &stats["visitors"]),
        (&json!(1), &json!(1)),
        "{stats}"
    );
    if let Some(command) = need::or_skip(test, node_sdk()) {
        Script::start(command, &sandbox.base(), &key, 3, &["dryRun"]).end();
        assert_eq!(sandbox.stats()["received"], 1);
    }
}

#[test]
fn strangers_are_refused_and_broken_data_is_kept() {
    let sandbox = Sandbox::start();
    let (_, key) = source(&sandbox, "1.0", &[]);
    let http = http::Http::new(&sandbox.base(), None);
    let send = |path: &str, body: &[u8]| {
        let sent = http.send("POST", path, &[], body);
        sent.unwrap_or_else(|_| panic!("{path} is not answered"))
    };
    assert_eq!(send("/sa?token=nobody", b"data=e30%3D").status, 401);
    assert_eq!(send("/sa", b"data=e30%3D").status, 401);
    assert_eq!(
        send(&format!("/sa?project={key}"), b"data=e30%3D").status,
        200
    );
    let path = format!("/sa?project=default&token={key}");
    let wrong = b"data=eyJhIjoxfQ%3D%3D&crc=5";
    for _ in 0..2 {
        assert_eq!(send(&path, wrong).status, 200, "SDKs must not repeat it");
    }
    let debug = send(&path.replace("/sa", "/debug"), wrong);
    assert_eq!(debug.status, 400);
    assert_eq!(debug.value()["rejected"][0]["code"], "crc_mismatch");
    let stats = sandbox.stats();
    assert_eq!(
        stats["dead_letters"], 2,
        "the same mistake again is one: {stats}"
    );
    let letters = sandbox.http().list("/api/v1/dead-letters");
    let codes: Vec<_> = letters.iter().map(|letter| &letter["code"]).collect();
    assert!(codes.contains(&&json!("crc_mismatch")), "{letters:?}");

    let picture = http.get(&format!("{}&data=e30%3D", path.replace("/sa", "/sa.gif")));
    assert_eq!(picture.header("content-type"), Some("image/gif"));
    // 16 KiB of URL, as mini-programs may send.
    let record = json!({"type": "track", "event": "E", "time": 1, "distinct_id": "long",
        "properties": {"text": "x".repeat(7_000)}});
    let data = http::query(&base64(record.to_string().as_bytes()));
    assert!(data.len() > 9_000);
    assert_eq!(
        http.get(&format!("{path}&data={data}&pad={}", "0".repeat(6_000)))
            .status,
        200
    );
    sandbox.stats();
    assert!(sandbox.find("anonymous_id:long", "").is_some());
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
