//! Files from and to an object store, beside a real one (`moto`): right figures, killed anywhere, clear answers.

use std::path::Path;

use ingest::bench::files;
use serde_json::{Value, json};
use tests::binary::{self, repository};
use tests::need;
use tests::people::in_shanghai;
use tests::proxy::LossyProxy;
use tests::store::{KEY_ID, SECRET, Store};
use tests::{Answer, Options, Sandbox, tools, wait};

/// Rows of the small files.
const ROWS: u64 = 3_000;

/// A server that knows the store.
fn options(store: &Store) -> Options {
    store
        .settings()
        .iter()
        .fold(Options::default(), |all, (key, value)| all.set(key, value))
}

fn ask(sandbox: &Sandbox, object: &str, mapping: &str) -> Answer {
    let body = json!({"object": object, "mapping": mapping});
    sandbox.http().json("POST", "/api/v1/imports", &body)
}

fn begin(sandbox: &Sandbox, object: &str, mapping: &str) -> String {
    let job = ask(sandbox, object, mapping).ok(object).value();
    format!("/api/v1/imports/{}", job["id"])
}

fn ended(sandbox: &Sandbox, path: &str) -> Value {
    wait::until("the job to end", || {
        let job = sandbox.http().read(path);
        job["ended"].is_string().then_some(job)
    })
}

fn import(sandbox: &Sandbox, object: &str, mapping: &str) -> Value {
    let job = ended(sandbox, &begin(sandbox, object, mapping));
    assert_eq!(job["state"], "done", "{job}");
    job
}

/// `tributary import` of an input with the store's settings: keys as AWS's tools take them.
fn command(store: &Store, data: &Path, mapping: &Path, input: &str) -> std::process::Command {
    let endpoint = format!("object_store.endpoint={}", store.base());
    let mut command = binary::command(&[
        "import",
        "--data",
        data.to_str().expect("paths are UTF-8"),
        "--mapping",
        mapping.to_str().expect("paths are UTF-8"),
        "--set",
        &endpoint,
        "--set",
        "object_store.allow_http=true",
        input,
    ]);
    command
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
    command
}

/// Orders with a long note each: more than three ranges of a copy.
fn long_orders() -> (String, String) {
    let mut text = String::from("order,phone,at,amount,note\n");
    let note = "x".repeat(9_000);
    for n in 0..ROWS {
        text.push_str(&format!(
            "L{n},139{:08},2026-11-20T09:50:00+08:00,{}.50,{note}\n",
            n / 2,
            n % 90
        ));
    }
    let mapping = r#"
        time_zone = "Asia/Shanghai"
        [event]
        type = "order"
        message_id = ["order"]
        time = "at"
        [[identifiers]]
        kind = "phone"
        column = "phone"
        [order]
        order_id = "order"
        currency = "CNY"
        status = "paid"
        total = "amount"
    "#;
    (text, mapping.to_owned())
}

fn check_long_orders(stats: &Value) {
    assert_eq!(stats["orders"], ROWS, "{stats}");
    assert_eq!(stats["members"], ROWS / 2, "{stats}");
    assert_eq!(stats["duplicates"], 0, "{stats}");
}

#[test]
fn every_format_comes_out_of_the_store_as_from_the_disk() {
    let test = "every_format_comes_out_of_the_store_as_from_the_disk";
    let Some(store) = need::or_skip(test, Store::start()) else {
        return;
    };
    store.bucket("crm-files");
    let folder = tempfile::tempdir().expect("there is room");
    let mapping = folder.path().join("lines.toml");
    std::fs::write(&mapping, files::MAPPING).expect("there is room");
    let mut told: Vec<Value> = Vec::new();
    for format in ["csv.gz", "parquet", "xlsx", "jsonl"] {
        let file = files::write(folder.path(), format, ROWS).expect("there is room");
        let name = format!("crm-files/2026/订单 1.{format}");
        let path = format!("crm-files/2026/%E8%AE%A2%E5%8D%95%201.{format}");
        store.put(&path, std::fs::read(&file).expect("it was written"));
        let mut sandbox = Sandbox::start_with(options(&store));
        let object = format!("s3://{name}");
        let body = json!({"object": object, "mapping": files::MAPPING});
        let dry = sandbox.http().post_ok("/api/v1/imports/dry-run", &body);
        assert_eq!(dry.value()["accepted"], 100, "{format}");
        let body = json!({"object": object});
        let guessed = sandbox.http().post_ok("/api/v1/imports/suggest", &body);
        assert!(guessed.value()["mapping"].is_string());
        let job = import(&sandbox, &object, files::MAPPING);
        assert_eq!(job["counts"]["rows"], ROWS, "{job}");
        assert_eq!(job["target"], object);
        let copy = sandbox.data().join(format!("jobs/{}/object", job["id"]));
        assert!(!copy.exists(), "the copy goes away");
        // A second time changes nothing.
        import(&sandbox, &object, files::MAPPING);
        let mut stats = sandbox.stats();
        let log = sandbox.log();
        assert!(!log.contains(SECRET), "the secret is in the log");
        assert!(sandbox.stop().success());
        let kept = ["orders", "members", "order_amount", "applied"];
        let kept: Vec<Value> = kept.iter().map(|name| stats[name].take()).collect();
        told.push(kept.into());
    }
    let local = Sandbox::new(Options::default());
    let file = files::write(folder.path(), "csv", ROWS).expect("there is room");
    binary::run_ok(&[
        "import",
        "--data",
        local.data_text(),
        "--mapping",
        mapping.to_str().expect("paths are UTF-8"),
        file.to_str().expect("paths are UTF-8"),
    ]);
    let mut local = local;
    local.boot();
    let mut stats = local.stats();
    let kept = ["orders", "members", "order_amount", "applied"];
    let kept: Vec<Value> = kept.iter().map(|name| stats[name].take()).collect();
    assert_eq!(kept[0], ROWS / 3, "{kept:?}");
    for one in &told {
        assert_eq!(one, &Value::from(kept.clone()));
    }
}

#[test]
fn cdnow_from_the_store_has_its_figures() {
    let test = "cdnow_from_the_store_has_its_figures";
    let Some(store) = need::or_skip(test, Store::start()) else {
        return;
    };
    let Some(file) = need::or_skip(test, tools::shared("CDNOW_master.txt.gz")) else {
        return;
    };
    store.bucket("crm-files");
    store.put(
        "crm-files/cdnow.gz",
        std::fs::read(file).expect("it is there"),
    );
    let mut sandbox = Sandbox::new(Options::default());
    let mapping = repository().join("ingest/examples/cdnow.toml");
    let run = || {
        let mut command = command(&store, sandbox.data(), &mapping, "s3://crm-files/cdn*.gz");
        command.output().expect("the binary can be started")
    };
    let done = run();
    let said = String::from_utf8_lossy(&done.stdout);
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{complaint}");
    assert!(said.contains("s3://crm-files/cdnow.gz"), "{said}");
    sandbox.boot();
    let stats = sandbox.stats();
    assert_eq!(stats["orders"], 69_659, "{stats}");
    assert_eq!(stats["members"], 23_570, "{stats}");
    let sum = json!({"USD": "2500315.63"});
    assert_eq!(stats["order_amount"], sum, "{stats}");
}

#[test]
fn killed_in_the_middle_of_the_copy_it_goes_on_and_says_when_the_object_has_changed() {
    let test = "killed_in_the_middle_of_the_copy_it_goes_on_and_says_when_the_object_has_changed";
    let Some(store) = need::or_skip(test, Store::start()) else {
        return;
    };
    store.bucket("crm-files");
    let (text, mapping) = long_orders();
    for changed in [false, true] {
        store.put("crm-files/long.csv", text.clone());
        let options = options(&store).env("FAILPOINTS", "object-range=1*off->return");
        let mut sandbox = Sandbox::start_with(options);
        let path = begin(&sandbox, "s3://crm-files/long.csv", &mapping);
        sandbox.wait_for_end();
        let id = path.rsplit('/').next().expect("a path has parts");
        let folder = sandbox.data().join(format!("jobs/{id}/object"));
        let note = std::fs::read(folder.join("object.json")).expect("it was noted");
        let note: Value = serde_json::from_slice(&note).expect("it is JSON");
        let done = note["done"].as_u64().expect("a number");
        assert!(done > 0 && done < text.len() as u64, "{note}");
        if changed {
            store.put("crm-files/long.csv", text.replacen("L0,", "M0,", 1));
        }
        sandbox.options().environment.clear();
        sandbox.boot();
        let job = ended(&sandbox, &path);
        if changed {
            assert_eq!(job["state"], "failed", "{job}");
            let message = job["message"].as_str().unwrap_or_default();
            assert!(message.contains("has changed"), "{job}");
            assert_eq!(sandbox.stats()["received"], 0, "never a mixture");
            // A new import takes the new content.
            import(&sandbox, "s3://crm-files/long.csv", &mapping);
        } else {
            assert_eq!(job["state"], "done", "{job}");
        }
        check_long_orders(&sandbox.stats());
    }
}

#[test]
fn a_command_killed_while_it_imports_ends_with_the_digest_of_a_local_import() {
    let test = "a_command_killed_while_it_imports_ends_with_the_digest_of_a_local_import";
    let Some(store) = need::or_skip(test, Store::start()) else {
        return;
    };
    store.bucket("crm-files");
    let (text, mapping) = long_orders();
    store.put("crm-files/long.csv", text.clone());
    let mut local = Sandbox::new(Options::default());
    let mut remote = Sandbox::new(Options::default());
    let file = local.folder().join("long.csv");
    std::fs::write(&file, &text).expect("there is room");
    let map = local.folder().join("long.toml");
    std::fs::write(&map, mapping).expect("there is room");
    let run = |sandbox: &Sandbox, input: &str, failpoints: &str| {
        let mut command = command(&store, sandbox.data(), &map, input);
        command.env("FAILPOINTS", failpoints);
        command.current_dir(sandbox.folder());
        command.output().expect("the binary can be started")
    };
    let object = "s3://crm-files/long.csv";
    // In the middle of the copy, then behind the first group of rows, then to the end.
    assert!(
        !run(&remote, object, "object-range=1*off->return")
            .status
            .success()
    );
    assert!(
        !run(&remote, object, "log-after-write=5*off->return")
            .status
            .success()
    );
    let done = run(&remote, object, "");
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{complaint}");
    let file = file.to_str().expect("paths are UTF-8");
    assert!(run(&local, file, "").status.success());
    let left = std::fs::read_dir(remote.data().join("imports")).expect("it is there");
    assert_eq!(left.count(), 0, "copy and notes go away");
    for sandbox in [&mut local, &mut remote] {
        sandbox.boot();
        check_long_orders(&sandbox.stats());
        assert!(sandbox.stop().success());
    }
    assert_eq!(local.digest(&[]), remote.digest(&[]));

    // Changed in between: the command says so, and how to begin anew.
    let other = Sandbox::new(Options::default());
    assert!(!run(&other, object, "object-range=return").status.success());
    store.put("crm-files/long.csv", text.replacen("L0,", "M0,", 1));
    let done = run(&other, object, "");
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("--restart"), "{complaint}");
}

#[test]
fn whatever_is_wrong_is_named() {
    let test = "whatever_is_wrong_is_named";
    let Some(store) = need::or_skip(test, Store::start()) else {
        return;
    };
    let Some(denying) = need::or_skip(test, Store::denying()) else {
        return;
    };
    store.bucket("crm-files");
    store.put("crm-files/a.csv", "order\n1\n");
    store.put("crm-files/empty.csv", "");
    let said = |sandbox: &Sandbox, object: &str| {
        let answer = ask(sandbox, object, files::MAPPING);
        (answer.status, answer.code())
    };
    let sandbox = Sandbox::start_with(options(&store));
    for (object, status, code) in [
        ("s3://crm-files/b.csv", 404, "object_missing"),
        ("s3://crm-filez/a.csv", 404, "bucket_missing"),
        ("s3://crm-files/", 400, "object_name"),
        ("s3://crm-files/../a.csv", 400, "object_name"),
        ("s3://x@evil.example/a.csv", 400, "object_name"),
        ("http://127.0.0.1/a.csv", 400, "object_name"),
        // Its columns do not fit, and that is said before anything is copied.
        ("s3://crm-files/a.csv", 400, "mapping"),
        ("s3://crm-files/empty.csv", 400, "file_empty"),
    ] {
        assert_eq!(said(&sandbox, object), (status, code.into()), "{object}");
    }
    let other = |settings: &[(&str, &str)]| {
        let mut all = options(&store);
        for (key, value) in settings {
            all = all.set(key, value);
        }
        said(&Sandbox::start_with(all), "s3://crm-files/a.csv")
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let closed = format!("http://{}", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let missing = said(&Sandbox::start(), "s3://crm-files/a.csv");
    assert_eq!(missing, (400, "object_store_missing".into()));
    for (setting, status, code) in [
        (
            ("object_store.endpoint", denying.base()),
            403,
            "object_denied",
        ),
        // A server, but no store: this one.
        (
            ("object_store.endpoint", &*sandbox.base()),
            400,
            "object_endpoint",
        ),
        (
            ("object_store.endpoint", &*closed),
            503,
            "object_store_unreachable",
        ),
        (
            ("object_store.buckets", "others,crm-files/in/"),
            403,
            "object_not_allowed",
        ),
    ] {
        assert_eq!(other(&[setting]), (status, code.into()), "{setting:?}");
    }
    // A limit of its own, whatever the disk has.
    store.put("crm-files/large.csv", vec![b'x'; 1_100_000]);
    let small = Sandbox::start_with(options(&store).set("object_store.spool_mib_max", "1"));
    let large = said(&small, "s3://crm-files/large.csv");
    assert_eq!(large, (400, "object_too_large".into()));
}

#[test]
fn a_store_that_loses_answers_is_asked_again() {
    let test = "a_store_that_loses_answers_is_asked_again";
    let Some(store) = need::or_skip(test, Store::start()) else {
        return;
    };
    store.bucket("crm-files");
    let (text, mapping) = long_orders();
    store.put("crm-files/long.csv", text);
    let proxy = LossyProxy::start(store.base(), 3);
    let lossy = options(&store).set("object_store.endpoint", proxy.base());
    let sandbox = Sandbox::start_with(lossy);
    import(&sandbox, "s3://crm-files/long.csv", &mapping);
    assert!(proxy.lost() > 0, "an answer was lost");
    check_long_orders(&sandbox.stats());
}

#[test]
fn a_cancelled_import_leaves_no_copy_and_can_go_on() {
    let test = "a_cancelled_import_leaves_no_copy_and_can_go_on";
    let Some(store) = need::or_skip(test, Store::start()) else {
        return;
    };
    store.bucket("crm-files");
    let (text, mapping) = long_orders();
    store.put("crm-files/long.csv", text);
    let options = options(&store).env("FAILPOINTS", "object-range=2*sleep(700)->off");
    let sandbox = Sandbox::start_with(options);
    let path = begin(&sandbox, "s3://crm-files/long.csv", &mapping);
    wait::until("the first range", || {
        let job = sandbox.http().read(&path);
        assert_eq!(job["ended"], Value::Null, "it ended too early: {job}");
        (job["counts"]["copied_bytes"].as_u64() > Some(0)).then_some(())
    });
    sandbox
        .http()
        .post_ok(&format!("{path}/cancel"), &json!({}));
    let job = ended(&sandbox, &path);
    assert_eq!(job["state"], "cancelled", "{job}");
    let copy = sandbox.data().join(format!("jobs/{}/object", job["id"]));
    assert!(!copy.exists(), "the copy goes away");
    sandbox
        .http()
        .post_ok(&format!("{path}/resume"), &json!({}));
    let job = ended(&sandbox, &path);
    assert_eq!(job["state"], "done", "{job}");
    check_long_orders(&sandbox.stats());
}

/// A segment whose export has more than two parts.
fn segment(sandbox: &Sandbox) -> u64 {
    const MEMBERS: usize = 2_500;
    let key = sandbox.source("crm");
    // A value of an attribute has its limit, a member has many.
    let note = "长".repeat(300);
    let traits = |n: usize| {
        let notes = (0..8).map(|at| (format!("note{at}"), json!(format!("{n}{note}"))));
        let mut all: serde_json::Map<String, Value> = notes.collect();
        all.insert("city".into(), json!("上海"));
        all
    };
    let mut token = String::new();
    for begin in (0..MEMBERS).step_by(250) {
        let people: Vec<Value> = (begin..begin + 250)
            .map(|n| {
                json!({"message_id": format!("i{n}"), "type": "identify",
                    "time": "2026-11-22T11:00:00+08:00", "identifiers": [format!("user_id:u{n}")],
                    "traits": traits(n)})
            })
            .collect();
        token = sandbox.send(&key, &json!(people));
    }
    in_shanghai(sandbox, &token, MEMBERS as u64)
}

#[test]
fn an_export_goes_to_the_store_whole_or_not_at_all() {
    let test = "an_export_goes_to_the_store_whole_or_not_at_all";
    let Some(store) = need::or_skip(test, Store::start()) else {
        return;
    };
    store.bucket("exports");
    // Ended behind the first part; then slow, so that it can be cancelled between two.
    let kill = options(&store).env("FAILPOINTS", "object-part=return");
    let mut sandbox = Sandbox::start_with(kill);
    let segment = segment(&sandbox);
    let all = format!("/api/v1/segments/{segment}/exports");
    let body = json!({"format": "csv", "to": "s3://exports/crm/"});
    let job = sandbox.http().post_ok(&all, &body).value();
    let path = format!("{all}/{}", job["id"]);
    sandbox.wait_for_end();
    assert_eq!(store.unfinished("exports"), 1, "it was in the middle");
    sandbox.options().environment.clear();
    sandbox.boot();
    let job = ended(&sandbox, &path);
    assert_eq!(job["state"], "done", "{job}");
    let object = job["object"].as_str().expect("it is named");
    let name = object.strip_prefix("s3://").expect("it is an object");
    let sent = store.get(name).expect("it is there");
    assert!(
        sent.len() > 8 * 1024 * 1024,
        "{} bytes: one part",
        sent.len()
    );
    let file = job["file"].as_str().expect("it is kept here, too");
    assert!(
        sent == sandbox.http().get(file).ok(file).body,
        "the same file"
    );
    assert_eq!(
        store.unfinished("exports"),
        0,
        "what the kill left is taken back"
    );
    let audit = sandbox.http().list("/api/v1/audit?kind=segment&limit=100");
    let told = audit.iter().filter(|it| {
        it["action"] == "export" && it["detail"].as_str().is_some_and(|it| it.contains(object))
    });
    assert!(told.count() >= 1, "{audit:?}");

    assert!(sandbox.stop().success());
    let slow = "object-part=sleep(1500)".to_owned();
    sandbox
        .options()
        .environment
        .push(("FAILPOINTS".into(), slow));
    sandbox.boot();
    wait::until("the audience to be there", || {
        let count = format!("/api/v1/segments/{segment}/count");
        (sandbox.http().get(&count).status == 200).then_some(())
    });
    let job = sandbox.http().post_ok(&all, &body).value();
    let path = format!("{all}/{}", job["id"]);
    wait::until("the first part", || {
        let job = sandbox.http().read(&path);
        assert_eq!(job["ended"], Value::Null, "it ended too early: {job}");
        (store.unfinished("exports") == 1).then_some(())
    });
    sandbox
        .http()
        .post_ok(&format!("{path}/cancel"), &json!({}));
    let job = ended(&sandbox, &path);
    assert_eq!(job["state"], "cancelled", "{job}");
    assert_eq!(store.unfinished("exports"), 0, "parts are taken back");
    let name = job["object"]
        .as_str()
        .expect("it is named")
        .replace("s3://", "");
    assert!(store.get(&name).is_none(), "nothing is left");

    // What cannot go anywhere is refused before anything is made.
    for (to, code) in [
        ("s3://nowhere/crm/", "bucket_missing"),
        ("s3://exports/crm", "object_name"),
        ("/etc/", "object_name"),
    ] {
        let body = json!({"format": "csv", "to": to});
        let answer = sandbox.http().json("POST", &all, &body);
        assert_eq!(answer.code(), code, "{to}");
    }
}
