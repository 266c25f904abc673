//! The lake of a running server: all events, once, over kills, drains and restores.

use serde_json::{Value, json};
use tests::{Load, Options, Plan, Sandbox, lake, wait};

#[test]
fn every_applied_event_is_in_the_lake_once() {
    let often = Options::default()
        .set("lake.flush_rows", "1000")
        .set("lake.flush_s", "1");
    let mut sandbox = Sandbox::start_with(often);
    let key = sandbox.source("load");
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    load.wait_for_acked(Plan::SMALL.total() / 2);
    sandbox.kill9();
    sandbox.boot();
    load.finish();
    lake::check(&sandbox);
    assert!(sandbox.stop().success());
    sandbox.boot();
    lake::check(&sandbox);
    let (events, files) = lake::caught_up(&sandbox);
    assert_eq!(events, Plan::SMALL.total() as u64);
    assert!(files > 0);

    // Gone altogether, it is made again.
    assert!(sandbox.stop().success());
    std::fs::remove_dir_all(sandbox.data().join("lake")).unwrap();
    sandbox.boot();
    lake::check(&sandbox);

    // A backup brings it along.
    let http = sandbox.http();
    let job = http
        .post_ok("/api/v1/backups", &json!({"name": "monday"}))
        .value();
    let path = format!("/api/v1/jobs/{}", job["id"]);
    let job: Value = wait::until("the backup to end", || {
        let job = http.read(&path);
        (job["state"] != "running").then_some(job)
    });
    assert_eq!(job["state"], "done", "{job}");
    let from = job["target"].as_str().unwrap();
    let copy = sandbox.folder().join("restored");
    let arguments = ["restore", "--from", from, "--data", copy.to_str().unwrap()];
    tests::binary::run_ok(&arguments);
    assert!(copy.join("lake/manifest.json").is_file());
    let mut restored = Sandbox::at(&copy, Options::default());
    restored.boot();
    lake::check(&restored);
}

#[test]
fn without_a_lake_the_server_runs() {
    let sandbox = Sandbox::start_with(Options::default().set("lake.enabled", "false"));
    let key = sandbox.source("load");
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    load.finish();
    load.check(&sandbox);
    assert!(!sandbox.data().join("lake").exists());
}
