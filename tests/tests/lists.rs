//! Uploaded lists over HTTP: files, what matches today, identifiers that come later, merges, segments, explain, kill -9.

use serde_json::{Value, json};
use tests::{Sandbox, wait};

/// Events that name these identifiers together; answers a token.
fn seen(sandbox: &Sandbox, key: &str, id: &str, identifiers: &[&str]) -> String {
    let event = json!([{"message_id": id, "type": "track", "name": "login",
        "time": "2026-05-01T08:00:00+08:00", "identifiers": identifiers}]);
    sandbox.send(key, &event)
}

fn upload(sandbox: &Sandbox, name: &str, csv: String) -> Value {
    let path = format!("/api/v1/lists/upload?name={name}");
    let sent = sandbox.http().send("POST", &path, &[], csv);
    sent.expect("an answer").ok("an upload").value()
}

/// Members of a list's condition: counted, and explained one by one.
fn count(sandbox: &Sandbox, list: &Value, after: &str) -> u64 {
    let http = sandbox.http();
    let rule = json!({"rule": {"list": list.to_string()}});
    let path = format!("/api/v1/segments/preview?after={after}");
    let seen = http.post_ok(&path, &rule).value();
    assert!(seen["positions"]["results"].as_u64() > Some(0), "{seen}");
    let mut holds = 0;
    for member in http.list(&format!("/api/v1/members?limit=100&after={after}")) {
        let id = member["id"].as_str().expect("an id");
        let told = http.post_ok(
            &format!("/api/v1/members/{id}/explain?after={after}"),
            &rule,
        );
        holds += u64::from(told.value()["holds"] == true);
    }
    assert_eq!(seen["count"], holds, "one by one");
    holds
}

fn figures(sandbox: &Sandbox, list: &Value, after: &str) -> [u64; 6] {
    let path = format!("/api/v1/lists/{list}/report?after={after}");
    let report = sandbox.http().read(&path);
    [
        "given",
        "entries",
        "matched",
        "members",
        "unmatched",
        "duplicates",
    ]
    .map(|name| report[name].as_u64().expect("a number"))
}

fn unmatched(sandbox: &Sandbox, list: &Value, after: &str) -> Vec<u64> {
    let path = format!("/api/v1/lists/{list}/unmatched?limit=1&after={after}");
    let lines = sandbox.http().list(&path);
    lines
        .iter()
        .map(|it| it["line"].as_u64().unwrap())
        .collect()
}

fn held(sandbox: &Sandbox, segment: u64, after: &str) -> usize {
    let path = format!("/api/v1/segments/{segment}/members?after={after}");
    sandbox.http().list(&path).len()
}

#[test]
fn a_list_follows_who_has_its_identifiers_through_merges_and_kills() {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("lists");
    seen(&sandbox, &key, "1", &["phone:13800000001"]);
    let token = seen(&sandbox, &key, "2", &["phone:13800000002"]);
    sandbox.member("phone:13800000002", &token);
    // Line 1 is the head, line 4 stands there twice, the last is none.
    let csv =
        "phone,name\n13800000001,a\n13800000003,b\n138 0000 0001,a\nuser_id:u9,c\nphone:x,d\n";
    let made = upload(&sandbox, "vip", csv.into());
    let list = &made["id"];
    assert_eq!(made["report"]["invalid_count"], 1, "{made}");
    assert_eq!(figures(&sandbox, list, &token), [5, 3, 1, 1, 2, 1]);
    assert_eq!(unmatched(&sandbox, list, &token), [3, 5]);
    assert_eq!(count(&sandbox, list, &token), 1);
    let rule = json!({"name": "vip", "rule": {"list": list.to_string()}});
    let segment = sandbox.http().post_ok("/api/v1/segments", &rule).value();
    let segment = segment["id"].as_u64().expect("a number");
    wait::until("the segment to be computed", || {
        let segment = sandbox.http().read(&format!("/api/v1/segments/{segment}"));
        (segment["building"] == false).then_some(())
    });
    assert_eq!(held(&sandbox, segment, &token), 1);

    // Somebody comes with an entry, and somebody who is there gets one: both with the event that says so.
    let token = seen(&sandbox, &key, "3", &["phone:13800000003"]);
    assert_eq!(count(&sandbox, list, &token), 2);
    let token = seen(&sandbox, &key, "4", &["user_id:u9", "phone:13800000002"]);
    assert_eq!(count(&sandbox, list, &token), 3);
    assert_eq!(held(&sandbox, segment, &token), 3);
    assert_eq!(figures(&sandbox, list, &token), [5, 3, 3, 3, 0, 1]);
    assert_eq!(unmatched(&sandbox, list, &token), Vec::<u64>::new());

    // Two entries become one member.
    let token = seen(&sandbox, &key, "5", &["unionid:w1", "phone:13800000001"]);
    assert_eq!(count(&sandbox, list, &token), 3);
    let token = seen(&sandbox, &key, "6", &["unionid:w1", "user_id:u9"]);
    let members = figures(&sandbox, list, &token)[3];
    assert_eq!(count(&sandbox, list, &token), members);
    assert_eq!(held(&sandbox, segment, &token) as u64, members);

    // Killed between an event that brings an entry's identifier and anybody's look at it.
    let made = upload(&sandbox, "later", "user_id\nl1\nl2\nl3\n".into());
    let later = &made["id"];
    let mut token = token;
    for (round, user) in ["user_id:l1", "user_id:l2", "user_id:l3"]
        .iter()
        .enumerate()
    {
        token = seen(&sandbox, &key, &format!("k{round}"), &[user]);
        sandbox.kill9();
        sandbox.boot();
        wait::until("the audience", || {
            let audience = sandbox.http().read("/api/v1/audience");
            (audience["loaded"] == true).then_some(())
        });
        assert_eq!(count(&sandbox, later, &token), round as u64 + 1);
        assert_eq!(held(&sandbox, segment, &token) as u64, members);
    }
    // An erase takes the entry away.
    let id = sandbox.member("user_id:l1", &token)["id"].clone();
    let id = id.as_str().expect("an id");
    let path = format!("/api/v1/members/{id}/erase");
    let erased = sandbox
        .http()
        .post_ok(&path, &json!({"reason": "asked for"}));
    assert_eq!(count(&sandbox, later, erased.token()), 2);
}

#[test]
fn a_large_file_streams_in_and_counts_what_it_says() {
    let sandbox = Sandbox::start();
    let key = sandbox.source("large");
    let users: Vec<Value> = (0..500)
        .map(|n| {
            json!({"message_id": format!("m{n}"), "type": "track", "name": "login",
                "time": "2026-05-01T08:00:00+08:00", "identifiers": [format!("user_id:u{n}")]})
        })
        .collect();
    let token = sandbox.send(&key, &json!(users));
    sandbox.member("user_id:u499", &token);
    let mut csv = String::from("user_id\n");
    for n in (0..30_000).chain(0..100) {
        csv.push_str(&format!("u{n}\n"));
    }
    let made = upload(&sandbox, "large", csv);
    let list = &made["id"];
    wait::until("the list to be at work", || {
        let path = format!("/api/v1/lists/{list}/report?after={token}");
        let report = sandbox.http().get(&path);
        match (report.status, report.code().as_str()) {
            (503, _) | (404, "list_not_at_work") => None,
            _ => Some(()),
        }
    });
    assert_eq!(
        figures(&sandbox, list, &token),
        [30_100, 30_000, 500, 500, 29_500, 100]
    );
    let rule = json!({"rule": {"list": list.to_string()}});
    let path = format!("/api/v1/segments/preview?after={token}");
    assert_eq!(sandbox.http().post_ok(&path, &rule).value()["count"], 500);
    let first = sandbox
        .http()
        .read(&format!("/api/v1/lists/{list}/unmatched?limit=2"));
    assert_eq!(first["items"], json!([{"line": 502}, {"line": 503}]));
}
