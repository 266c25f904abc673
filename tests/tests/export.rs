//! Exports of segments and copies for persons over the real binary: killed in the middle, whole afterwards.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::people::in_shanghai;
use tests::{Options, Sandbox, wait};

/// More than two pages of an export.
const MEMBERS: u32 = 2_500;

/// A server whose exports take a while for each page.
fn start(action: &str) -> (Sandbox, u64) {
    let options = Options::default().env("FAILPOINTS", &format!("export-page={action}"));
    let sandbox = Sandbox::start_with(options);
    let key = sandbox.source("crm");
    let people: Vec<Value> = (0..MEMBERS)
        .map(|n| {
            json!({"message_id": format!("i{n}"), "type": "identify",
                "time": "2026-11-22T11:00:00+08:00",
                "identifiers": [format!("user_id:u{n}"), format!("phone:138{n:08}")],
                "traits": {"city": "上海", "name": format!("=名{n}")}})
        })
        .collect();
    let token = sandbox.send(&key, &json!(people));
    let id = in_shanghai(&sandbox, &token, MEMBERS.into());
    (sandbox, id)
}

/// Asks for an export; answers its path.
fn ask(sandbox: &Sandbox, segment: u64, format: &str) -> String {
    let path = format!("/api/v1/segments/{segment}/exports");
    let body = json!({"format": format, "columns": ["id", "identifier.user_id", "attribute.name"]});
    let job = sandbox.http().post_ok(&path, &body).value();
    format!("{path}/{}", job["id"])
}

fn wait_for(sandbox: &Sandbox, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, || {
        let job = sandbox.http().read(path);
        holds(&job).then_some(job)
    })
}

/// Names of users in the file, each line once.
fn users(sandbox: &Sandbox, job: &Value) -> BTreeSet<String> {
    let file = job["file"].as_str().unwrap_or_else(|| panic!("{job}"));
    let answer = sandbox.http().get(file).ok(file);
    let text = String::from_utf8(answer.body).expect("CSV is UTF-8");
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    assert_eq!(lines[0], "id,identifier.user_id,attribute.name");
    let mut users = BTreeSet::new();
    for line in &lines[1..] {
        let cells: Vec<&str> = line.split(',').collect();
        assert!(cells[2].starts_with("'=名"), "{line}");
        assert!(users.insert(cells[1].to_owned()), "{line} twice");
    }
    users
}

#[test]
fn an_export_killed_in_the_middle_is_whole_after_the_restart() {
    let (mut sandbox, segment) = start("sleep(400)");
    let path = ask(&sandbox, segment, "csv");
    // Between its first page and its last.
    wait_for(&sandbox, &path, "the first page", |job| {
        let rows = job["counts"]["rows"].as_u64().unwrap_or(0);
        assert_eq!(job["ended"], Value::Null, "it ended before it was killed");
        rows >= 1_000
    });
    sandbox.kill9();
    sandbox.options().environment.clear();
    sandbox.boot();
    let job = wait_for(&sandbox, &path, "the export to end", |job| {
        job["ended"].is_string()
    });
    assert_eq!(
        (&job["state"], &job["counts"]["rows"]),
        (&json!("done"), &json!(MEMBERS)),
        "{job}"
    );
    let expected: BTreeSet<String> = (0..MEMBERS).map(|n| format!("u{n}")).collect();
    assert_eq!(users(&sandbox, &job), expected);
    let folder = sandbox.data().join("jobs").join(job["id"].to_string());
    let left = std::fs::read_dir(folder).expect("it is there").count();
    assert_eq!(left, 1, "the file and nothing else");

    // What is done stays done over a kill.
    sandbox.kill9();
    sandbox.boot();
    assert_eq!(sandbox.http().read(&path)["state"], "done");
    wait::until("the audience to be there", || {
        let count = format!("/api/v1/segments/{segment}/count");
        (sandbox.http().get(&count).status == 200).then_some(())
    });
    assert_eq!(users(&sandbox, &sandbox.http().read(&path)), expected);
    let audit = sandbox.http().list("/api/v1/audit?kind=segment&limit=100");
    let count = |action: &str| audit.iter().filter(|it| it["action"] == action).count();
    assert_eq!((count("export"), count("download")), (1, 2), "{audit:?}");
}

#[test]
fn a_cancelled_export_leaves_nothing() {
    let (sandbox, segment) = start("sleep(400)");
    let path = ask(&sandbox, segment, "xlsx");
    let started = wait_for(&sandbox, &path, "the first page", |job| {
        job["counts"]["rows"].as_u64().unwrap_or(0) >= 1_000
    });
    sandbox
        .http()
        .post_ok(&format!("{path}/cancel"), &json!({}));
    let job = wait_for(&sandbox, &path, "the export to end", |job| {
        job["ended"].is_string()
    });
    assert_eq!(job["state"], "cancelled", "{job}");
    let folder = sandbox.data().join("jobs").join(started["id"].to_string());
    wait::until("its folder to go", || (!folder.exists()).then_some(()));
    let file = sandbox.http().get(&format!("{path}/file"));
    assert_eq!(
        (file.status, file.code().as_str()),
        (409, "export_not_ready")
    );
}

#[test]
fn a_person_gets_a_copy_and_is_then_forgotten_over_a_kill() {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("crm");
    let identify = json!([{"message_id": "1", "type": "identify", "time": "2026-11-22T11:00:00+08:00",
        "identifiers": ["user_id:canary-u1", "phone:13800000001"], "traits": {"name": "canary-name"}}]);
    let token = sandbox.send(&key, &identify);
    let member = sandbox.member("user_id:canary-u1", &token);
    let id = member["id"].as_str().expect("an id");
    let list = json!({"name": "vip", "members": ["user_id:canary-u1", "phone:13900000000"]});
    let list = sandbox.http().post_ok("/api/v1/lists", &list).value();
    let entries = format!("/api/v1/lists/{}/members", list["id"]);
    assert_eq!(sandbox.http().list(&entries).len(), 2);
    let package = sandbox
        .http()
        .read(&format!("/api/v1/members/{id}/package"));
    assert_eq!(
        package["member"]["attributes"]["name"]["value"],
        "canary-name"
    );
    assert_eq!(
        package["counts"]["timeline"],
        package["timeline"].as_array().unwrap().len()
    );

    // A file that was made before shows the person: it goes with the erase.
    let rule = json!({"name": "all", "rule": {"and": []}});
    let segment = sandbox.http().post_ok("/api/v1/segments", &rule).value()["id"].clone();
    let exports = format!("/api/v1/segments/{segment}/exports");
    let export = wait::until("the segment", || {
        let answer = sandbox.http().json("POST", &exports, &json!({}));
        (answer.status < 300).then(|| answer.value()["id"].clone())
    });
    let export = format!("{exports}/{export}");
    wait::until("the export", || {
        (sandbox.http().read(&export)["state"] == "done").then_some(())
    });
    let file = sandbox.http().get(&format!("{export}/file"));
    assert!(
        file.status == 200 && file.text().contains("canary-name"),
        "{}",
        file.text()
    );

    // Killed right behind the answer: whatever was not done yet is done after the start.
    let path = format!("/api/v1/members/{id}/erase");
    sandbox
        .http()
        .post_ok(&path, &json!({"reason": "asked for it"}));
    let file = sandbox.http().get(&format!("{export}/file"));
    assert_eq!((file.status, file.code().as_str()), (410, "export_gone"));
    sandbox.kill9();
    sandbox.boot();
    wait::until("the list to forget", || {
        (sandbox.http().list(&entries).len() == 1).then_some(())
    });
    assert!(sandbox.find("user_id:canary-u1", "").is_none());
    let gone = sandbox.http().get(&format!("/api/v1/members/{id}/package"));
    assert_eq!(gone.status, 404);
}
