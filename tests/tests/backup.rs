//! Backup of a running instance, restore into a new folder, and the frozen folder of the first format.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::binary::{ADMIN_KEY, run, run_ok};
use tests::{Load, Options, Plan, Sandbox, wait};

/// Takes a backup over the API; answers its folder.
fn take(sandbox: &Sandbox, name: &str) -> PathBuf {
    let http = sandbox.http();
    let job = http
        .post_ok("/api/v1/backups", &json!({"name": name}))
        .value();
    let path = format!("/api/v1/jobs/{}", job["id"]);
    let job: Value = wait::until("the backup to end", || {
        let job = http.read(&path);
        (job["state"] != "running").then_some(job)
    });
    assert_eq!(job["state"], "done", "{job}");
    PathBuf::from(job["target"].as_str().expect("it says where"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths are UTF-8")
}

fn restore(from: &Path, into: &Path) {
    run_ok(&["restore", "--from", text(from), "--data", text(into)]);
}

#[test]
fn a_backup_at_rest_restores_to_the_same() {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("load");
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    load.finish();
    let stats = sandbox.stats();
    let backup = take(&sandbox, "monday");
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    let copy = sandbox.folder().join("restored");
    restore(&backup, &copy);
    let mut restored = Sandbox::at(&copy, Options::default());
    assert_eq!(restored.digest(&["--state"]), state);
    assert_eq!(restored.digest(&["--state", "--replay"]), state);
    restored.boot();
    load.check(&restored);
    assert_eq!(restored.stats()["order_amount"], stats["order_amount"]);
    // It is a whole installation: the same keys open it, and it takes events.
    let token = restored.send(&key, &json!([{"message_id": "after", "type": "track", "name": "x", "identifiers": ["user_id:u1"]}]));
    restored.member("user_id:u1", &token);
}

#[test]
fn a_backup_under_load_holds_what_was_acknowledged_before_and_goes_on_from_there() {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("load");
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    load.wait_for_acked(500);
    let before: Vec<String> = load
        .journal
        .lines()
        .into_iter()
        .filter(|(_, fate)| *fate == tests::journal::Fate::Acked)
        .map(|(id, _)| id)
        .collect();
    let backup = take(&sandbox, "under-load");
    load.finish();
    load.check(&sandbox);
    assert!(sandbox.stop().success());
    let facts = sandbox.digest(&[]);

    let copy = sandbox.folder().join("restored");
    restore(&backup, &copy);
    let mut restored = Sandbox::at(&copy, Options::default());
    restored.boot();
    let found = tests::load::found(&Plan::SMALL, &restored);
    let lost: Vec<&String> = before
        .iter()
        .filter(|id| !found.contains_key(*id))
        .collect();
    assert!(
        lost.is_empty(),
        "acknowledged before the backup and not in it: {lost:?}"
    );
    assert!(found.values().all(|times| *times == 1), "counted twice");
    // Everybody sends everything again, as clients whose server went back in time do: it ends where the other one is.
    let mut again = Load::start(Plan::SMALL, &restored.base(), &key);
    again.finish();
    again.check(&restored);
    assert!(restored.stop().success());
    assert_eq!(restored.digest(&[]), facts);
}

#[test]
fn a_damaged_backup_is_refused() {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("load");
    sandbox.send(&key, &json!([{"message_id": "one", "type": "track", "name": "x", "identifiers": ["user_id:u1"]}]));
    let backup = take(&sandbox, "damaged");
    assert!(sandbox.stop().success());
    let copy = sandbox.folder().join("restored");
    // Not into a folder that is in use.
    let refused = run(&[
        "restore",
        "--from",
        text(&backup),
        "--data",
        sandbox.data_text(),
    ]);
    assert!(!refused.status.success(), "it overwrote a folder");
    let victim = largest(&backup);
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&victim, &bytes).unwrap();
    let refused = run(&["restore", "--from", text(&backup), "--data", text(&copy)]);
    assert!(!refused.status.success(), "a changed file went unnoticed");
    bytes[middle] ^= 1;
    fs::write(&victim, &bytes).unwrap();
    fs::remove_dir_all(&copy).ok();
    restore(&backup, &copy);
}

fn largest(folder: &Path) -> PathBuf {
    let mut best = (0, PathBuf::new());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map_while(Result::ok) {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            } else if meta.len() > best.0 && !entry.path().to_string_lossy().contains("manifest") {
                best = (meta.len(), entry.path());
            }
        }
    }
    best.1
}

/// The frozen folder: `tests/golden/format-1.tar.gz`, what is in it, and its digests. Never changed: later versions must
/// open it. `UPDATE_GOLDEN=1` writes it, once per format.
const GOLDEN: &str = "format-1";

/// Everything that a folder can hold so far, small.
fn golden_events() -> Vec<Value> {
    let mut events = Vec::new();
    for person in 0..6 {
        let user = format!("user_id:g{person}");
        events.push(json!({"message_id": format!("g{person}-1"), "type": "identify", "time": "2026-03-01T08:00:00+08:00",
            "identifiers": [user, format!("phone:1370000000{person}")], "traits": {"name": format!("金{person}"), "city": "成都"}}));
        events.push(json!({"message_id": format!("g{person}-2"), "type": "order", "time": "2026-03-02T08:00:00+08:00", "identifiers": [user],
            "order": {"order_id": format!("g{person}"), "shop": "s", "status": "paid", "currency": "CNY", "total": format!("{person}.50"),
                "lines": [{"line_id": "1", "sku": "S1", "quantity": 1, "unit_price": "1.00"}]}}));
        events.push(json!({"message_id": format!("g{person}-3"), "type": "track", "name": "opened", "time": "2026-03-03T08:00:00+08:00",
            "identifiers": [format!("device_id:g{}", person % 4)]}));
    }
    events.push(json!({"message_id": "link", "type": "track", "name": "linked", "time": "2026-03-04T08:00:00+08:00",
        "identifiers": ["user_id:g0", "device_id:g0"]}));
    events.push(json!({"message_id": "scan", "type": "scan", "time": "2026-03-05T08:00:00+08:00", "identifiers": ["user_id:g1"],
        "properties": {"code": "06901234567892"}}));
    events
}

fn golden(end: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("{GOLDEN}{end}"))
}

fn tar(arguments: &[&str]) {
    let done = Command::new("tar").args(arguments).status();
    assert!(done.expect("tar is there").success(), "tar {arguments:?}");
}

#[test]
fn the_frozen_folder_of_the_first_format_opens() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        freeze();
    }
    let told: Value =
        serde_json::from_slice(&fs::read(golden(".json")).expect("the golden is there")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tar(&["-xzf", text(&golden(".tar.gz")), "-C", text(folder.path())]);
    let mut frozen = Sandbox::at(&folder.path().join("data"), Options::default());
    assert_eq!(
        frozen.digest(&[]),
        told["facts"].as_str().unwrap(),
        "its facts"
    );
    let state = frozen.digest(&["--state"]);
    assert_eq!(frozen.digest(&["--state", "--replay"]), state, "replays");
    frozen.boot();
    let mut stats = frozen.stats();
    for now in ["lag", "counters"] {
        stats.as_object_mut().unwrap().remove(now);
    }
    assert_eq!(stats, told["stats"]);
    let member = frozen.member("phone:13700000000", "");
    assert_eq!(member["attributes"]["name"]["value"], "金0", "{member}");
    // It goes on: new events, old members, and the old ones once more are known.
    let key = told["write_key"].as_str().unwrap();
    let token = frozen.send(key, &json!([{"message_id": "new", "type": "track", "name": "new", "identifiers": ["user_id:g0"]}]));
    let after = frozen.member("user_id:g0", &token);
    assert_eq!(
        after["event_count"].as_u64(),
        member["event_count"].as_u64().map(|n| n + 1),
        "{after}"
    );
    // A dead letter and an event of today behind those that the first program decided: a replay takes over and goes on.
    let mixed = json!([{"message_id": "bad", "type": "track", "name": "", "identifiers": ["user_id:g0"]},
        {"message_id": "good", "type": "track", "name": "good", "identifiers": ["user_id:g1"]}]);
    frozen.sender(key).post_ok("/v1/events", &mixed);
    assert_eq!(frozen.stats()["dead_letters"], 1);
    assert!(frozen.stop().success());
    let state = frozen.digest(&["--state"]);
    assert_eq!(frozen.digest(&["--state", "--replay"]), state, "replays");
}

/// Writes the golden.
fn freeze() {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("golden");
    let token = sandbox.send(&key, &golden_events().into());
    let merged = sandbox.member("user_id:g0", &token);
    let id = merged["id"].as_str().unwrap();
    let unmerge = json!({"identifiers": ["device_id:g0"]});
    sandbox
        .http()
        .post_ok(&format!("/api/v1/members/{id}/unmerge"), &unmerge);
    let mut stats = sandbox.stats();
    for now in ["lag", "counters"] {
        stats.as_object_mut().unwrap().remove(now);
    }
    assert!(sandbox.stop().success());
    let told = json!({"facts": sandbox.digest(&[]), "stats": stats, "write_key": key, "admin_key": ADMIN_KEY});
    let parent = sandbox.data().parent().unwrap();
    tar(&[
        "-C",
        text(parent),
        "--sparse",
        "-czf",
        text(&golden(".tar.gz")),
        "data",
    ]);
    fs::write(
        golden(".json"),
        serde_json::to_string_pretty(&told).unwrap() + "\n",
    )
    .unwrap();
}
