//! Rows of the fault matrix that show from outside. `tests/README.md` says where each of the other rows has its test.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::disk::Disk;
use tests::need::{self, Missing};
use tests::tools;
use tests::{Load, Options, Plan, Sandbox, rounds};

/// A load that is through in seconds even when something is slow.
const LIGHT: Plan = Plan {
    writers: 4,
    batches: 8,
    events: 20,
    people: 20,
};

fn one(id: &str, user: &str) -> Value {
    json!([{"message_id": id, "type": "track", "name": "x", "time": "2026-03-01T08:00:00+08:00", "identifiers": [user]}])
}

/// The files of a folder and below, largest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<(u64, PathBuf)>) {
        for entry in fs::read_dir(folder)
            .into_iter()
            .flatten()
            .map_while(Result::ok)
        {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => walk(&entry.path(), found),
                Ok(meta) => found.push((meta.len(), entry.path())),
                Err(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, &mut found);
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

/// An installation with the light load in it, stopped; and its digest of all rows.
fn filled() -> (Sandbox, Load, String) {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("load");
    let mut load = Load::start(LIGHT, &sandbox.base(), &key);
    load.finish();
    sandbox.stats();
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    (sandbox, load, state)
}

#[test]
fn row_4_a_torn_tail_is_cut_and_nothing_acknowledged_is_lost() {
    let (mut sandbox, load, state) = filled();
    // Half a frame behind the last one, as a crash in the middle of a write leaves it.
    for part in ["raw", "results"] {
        for file in files(&sandbox.data().join(part)) {
            if !holds_frames(&file) {
                continue;
            }
            let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
            file.write_all(&[0x5a; 19]).unwrap();
        }
    }
    sandbox.boot();
    load.check(&sandbox);
    assert!(sandbox.stop().success());
    assert_eq!(sandbox.digest(&["--state"]), state);
}

/// Whether a file begins as a segment does.
fn holds_frames(file: &Path) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"TRIBSEG"))
}

#[test]
fn row_5_a_flipped_bit_in_a_segment_is_refused_with_its_place() {
    let (sandbox, load, _) = filled();
    let segment = files(&sandbox.data().join("raw"))
        .into_iter()
        .find(|file| holds_frames(file))
        .expect("the raw log has a segment");
    let whole = fs::read(&segment).unwrap();
    // Inside the first frames: far behind the last synced position of the file.
    for at in [40, 64, 200].into_iter().take(rounds(2, 3)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&segment, &bytes).unwrap();
        let mut broken = Sandbox::at(sandbox.data(), Options::default());
        let refused = broken.try_boot();
        assert!(refused.is_err(), "byte {at}: it started on damaged bytes");
        let said = broken.log();
        for word in ["partition", "offset", "repair"] {
            assert!(
                said.contains(word),
                "byte {at}: it does not name {word}: {said}"
            );
        }
    }
    fs::write(&segment, &whole).unwrap();
    let mut mended = Sandbox::at(sandbox.data(), Options::default());
    mended.boot();
    load.check(&mended);
}

#[test]
fn row_6_a_damaged_row_store_is_found_or_filled_again_from_the_log() {
    let (mut sandbox, load, state) = filled();
    let rows = sandbox.data().join("rows");
    fs::remove_dir_all(&rows).expect("the row store is a folder");
    sandbox.boot();
    load.check(&sandbox);
    assert!(sandbox.stop().success());
    assert_eq!(
        sandbox.digest(&["--state"]),
        state,
        "a lost cache is filled again"
    );
    // One bit in its largest file: refused, or set aside and filled again; never a wrong answer.
    let victim = files(&rows).into_iter().next().expect("it has files");
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) / 2;
    bytes[middle] ^= 0x04;
    fs::write(&victim, bytes).unwrap();
    if sandbox.try_boot().is_ok() {
        load.check(&sandbox);
        assert!(sandbox.stop().success());
        assert_eq!(
            sandbox.digest(&["--state"]),
            state,
            "a damaged cache tells lies"
        );
    }
}

#[test]
fn row_7_an_fsync_that_fails_ends_the_process_and_loses_nothing_acknowledged() {
    let test = "row_7_an_fsync_that_fails_ends_the_process_and_loses_nothing_acknowledged";
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = need::or_skip(test, tools::shim("sync_fails", folder.path())) else {
        return;
    };
    let control = folder.path().join("control");
    for part in ["/raw/", "/results/", "/rows/"] {
        fs::write(&control, "").unwrap();
        let options = with_failing_syncs(&library, &control);
        let mut sandbox = Sandbox::start_with(options);
        let key = sandbox.source("load");
        let load = Load::start(Plan::SMALL, &sandbox.base(), &key);
        load.wait_for_acked(200);
        fs::write(&control, part).unwrap();
        let status = sandbox.wait_for_end();
        assert!(
            tests::sandbox::ended_by(status, libc::SIGABRT),
            "{part}: {status} {}",
            sandbox.log()
        );
        // It does not start while the disk goes on failing, or ends again; nothing is made worse by trying.
        if sandbox.try_boot().is_ok() {
            sandbox.kill9();
        }
        fs::write(&control, "").unwrap();
        goes_on(sandbox, load, part);
    }
}

/// Syncs of paths that contain what the file `control` says fail.
fn with_failing_syncs(library: &Path, control: &Path) -> Options {
    Options::default()
        .env("LD_PRELOAD", &library.display().to_string())
        .env("SYNC_FAILS", &control.display().to_string())
}

/// The load goes on where it was; nothing is lost or counted twice, and a replay comes to the same state.
fn goes_on(mut sandbox: Sandbox, mut load: Load, part: &str) {
    sandbox.boot();
    load.finish();
    load.check(&sandbox);
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    assert_eq!(sandbox.digest(&["--state", "--replay"]), state, "{part}");
}

#[test]
fn row_7_an_fsync_that_fails_elsewhere_is_survived() {
    let test = "row_7_an_fsync_that_fails_elsewhere_is_survived";
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = need::or_skip(test, tools::shim("sync_fails", folder.path())) else {
        return;
    };
    let control = folder.path().join("control");
    for part in ["registry.db", "/identity/", "/lake/", "/search/", "/keys/"] {
        fs::write(&control, "").unwrap();
        let options = with_failing_syncs(&library, &control)
            .set("lake.flush_rows", "1000")
            .set("lake.flush_s", "1");
        let mut sandbox = Sandbox::start_with(options);
        let key = sandbox.source("load");
        let load = Load::start(LIGHT, &sandbox.base(), &key);
        fs::write(&control, part).unwrap();
        // What cannot be made durable is refused; what was acknowledged is there afterwards.
        let body = json!({"name": "during", "kind": "http"});
        let refused = sandbox.http().json("POST", "/api/v1/sources", &body).status;
        if part == "registry.db" {
            assert!(refused >= 500, "{refused}");
        }
        if sandbox.runs() {
            sandbox.kill9();
        }
        fs::write(&control, "").unwrap();
        goes_on(sandbox, load, part);
    }
}

#[test]
fn row_8_a_full_disk_refuses_writes_answers_reads_and_resumes() {
    let test = "row_8_a_full_disk_refuses_writes_answers_reads_and_resumes";
    let Some(disk) = need::or_skip(test, Disk::tmpfs(256)) else {
        return;
    };
    let data = disk.path().join("data");
    let mut sandbox = Sandbox::at(&data, Options::default());
    sandbox.boot();
    let key = sandbox.source("load");
    let token = sandbox.send(&key, &one("before", "user_id:full"));
    sandbox.member("user_id:full", &token);
    let filler = disk.path().join("filler");
    fill(&filler);
    // Bodies large enough that whatever was allocated in advance runs out, too.
    let sender = sandbox.sender(&key);
    let mut accepted = vec!["before".to_owned()];
    let mut refused = None;
    for number in 0..400 {
        let id = format!("full-{number}");
        let mut event = one(&id, "user_id:full");
        event[0]["properties"] = json!({"text": "x".repeat(20_000)});
        let answer = sender.json("POST", "/v1/events", &event);
        match answer.status {
            200 => accepted.push(id),
            _ => {
                refused = Some((id, event, answer));
                break;
            }
        }
    }
    let (id, event, answer) = refused.expect("a full disk refuses writes");
    assert!(
        matches!(answer.status, 507 | 429),
        "{} {}",
        answer.status,
        answer.text()
    );
    assert!(
        answer.header("retry-after").is_some(),
        "it says when to come back"
    );
    let member = sandbox.member("user_id:full", "");
    assert_eq!(member["status"], "member", "reads work: {member}");
    assert!(sandbox.runs(), "it lives");
    // Requests go on being sent to it, but whoever watches sees that nothing can be written.
    let ready = sandbox.http().get("/readyz");
    assert_eq!(ready.status, 200, "{}", ready.text());
    let writes = |sandbox: &Sandbox| sandbox.http().read("/readyz")["writes"].clone();
    let expected = if answer.status == 507 {
        "disk_full"
    } else {
        "disk_low"
    };
    assert_eq!(writes(&sandbox), expected);
    let gauge = || sandbox.http().get("/metrics").text();
    assert!(gauge().contains("tributary_disk_low 1"), "{}", gauge());
    fs::remove_file(&filler).unwrap();
    tests::wait::until("room to be seen without a write", || {
        (writes(&sandbox) == "ok").then_some(())
    });
    assert!(gauge().contains("tributary_disk_low 0"), "{}", gauge());
    let again = tests::wait::until("writes to be taken again", || {
        let answer = sender.json("POST", "/v1/events", &event);
        (answer.status == 200).then_some(answer)
    });
    accepted.push(id);
    let member = sandbox.member("user_id:full", again.token());
    assert_eq!(
        member["event_count"],
        accepted.len() as u64,
        "each once: {member}"
    );
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    assert_eq!(sandbox.digest(&["--state", "--replay"]), state);
}

/// Takes all space that is left.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for block in [1 << 20, 1 << 12, 1] {
        let bytes = vec![0xa5; block];
        while file.write_all(&bytes).is_ok() {}
    }
}

#[test]
fn row_9_a_slow_disk_slows_and_loses_nothing() {
    // 200 ms in front of every group of writes, as a disk whose fsync takes that long.
    let options = Options::default().env("FAILPOINTS", "log-before-write=sleep(200)");
    let mut sandbox = Sandbox::start_with(options);
    let key = sandbox.source("load");
    let mut load = Load::start(LIGHT, &sandbox.base(), &key);
    load.finish();
    load.check(&sandbox);
    assert!(sandbox.stop().success());
}

#[test]
fn row_16_a_log_that_ends_before_its_rows_is_refused() {
    for part in ["raw", "results"] {
        let (sandbox, _, _) = filled();
        for file in files(&sandbox.data().join(part)) {
            fs::remove_file(file).unwrap();
        }
        let mut cut = Sandbox::at(sandbox.data(), Options::default());
        let refused = cut.try_boot();
        assert!(
            refused.is_err(),
            "{part}: it started without its log: {}",
            cut.log()
        );
    }
}

#[test]
fn row_18_two_processes_never_share_a_folder() {
    for _ in 0..rounds(5, 50) {
        let first = Sandbox::new(Options::default());
        let data = first.data().to_owned();
        let racers: Vec<_> = (0..3)
            .map(|_| {
                let data = data.clone();
                std::thread::spawn(move || {
                    let mut racer = Sandbox::at(&data, Options::default());
                    let started = racer.try_boot();
                    (racer, started)
                })
            })
            .collect();
        // All are kept until all have tried: a winner that is gone would let the next one in.
        let ended: Vec<_> = racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect();
        let winners = ended.iter().filter(|(_, started)| started.is_ok()).count();
        assert_eq!(winners, 1, "of three that start at once, one runs");
        for (loser, started) in &ended {
            if started.is_err() {
                let said = loser.log();
                assert!(
                    said.contains("lock") || said.contains("use"),
                    "it says why: {said}"
                );
            }
        }
    }
}

#[test]
fn row_22_the_clock_jumps_and_nothing_is_counted_twice() {
    let mut sandbox = Sandbox::start_with(Options::default().arg("--manual-clock"));
    let key = sandbox.source("clock");
    let http = sandbox.http();
    let ready = http.get("/readyz").value();
    assert_eq!(ready["clock"], "manual", "{ready}");
    let set = |now: &str| {
        http.json("PUT", "/api/v1/clock", &json!({"now": now}))
            .ok("clock")
    };
    set("2026-06-10T12:00:00+08:00");
    sandbox.send(&key, &one("first", "user_id:clock"));
    // A day ahead, a day back, a leap second, standing still: the message is known, every new one is taken.
    let jumps = [
        "2026-06-11T12:00:00+08:00",
        "2026-06-09T12:00:00+08:00",
        "2026-06-30T23:59:59.999Z",
        "2026-06-30T23:59:59.999Z",
    ];
    let mut token = String::new();
    for (number, now) in jumps.into_iter().enumerate() {
        set(now);
        sandbox.send(&key, &one(&format!("jump-{number}"), "user_id:clock"));
        token = sandbox.send(&key, &one("jump-0", "user_id:clock"));
    }
    let member = sandbox.member("user_id:clock", &token);
    // `jump-0` came again 21 days after it was first seen, past the window of seven days, and may count once more.
    let count = member["event_count"].as_u64().unwrap();
    assert!((5..=6).contains(&count), "{member}");
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    assert_eq!(sandbox.digest(&["--state", "--replay"]), state);
}

#[test]
fn row_22_the_real_clock_a_day_off() {
    let test = "row_22_the_real_clock_a_day_off";
    let Some(library) = need::or_skip(test, faketime()) else {
        return;
    };
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("clock");
    sandbox.send(&key, &one("real", "user_id:clock"));
    for (offset, id) in [("+1d", "ahead"), ("-1d", "back"), ("+0", "again")] {
        assert!(sandbox.stop().success());
        sandbox.options().environment = vec![
            ("LD_PRELOAD".into(), library.display().to_string()),
            ("FAKETIME".into(), offset.into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
        ];
        sandbox.boot();
        sandbox.send(&key, &one(id, "user_id:clock"));
        let token = sandbox.send(&key, &one("real", "user_id:clock"));
        sandbox.member("user_id:clock", &token);
    }
    let member = sandbox.member("user_id:clock", "");
    assert_eq!(member["event_count"], 4, "{member}");
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    assert_eq!(sandbox.digest(&["--state", "--replay"]), state);
}

fn faketime() -> Result<PathBuf, Missing> {
    let found = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.is_file());
    found.ok_or_else(|| Missing::tool("libfaketime is not installed (Debian package libfaketime)"))
}

#[test]
fn row_27_a_record_that_kills_the_process_is_set_aside_and_the_rest_is_counted() {
    /// More deaths than the guard needs to be sure would be a crash loop.
    const DEATHS_MAX: usize = 8;
    const POISON: &str = "kills-the-process";
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("poison");
    sandbox.send(&key, &one("before", "user_id:before"));
    sandbox.kill9();
    sandbox.options().environment = vec![("FAILPOINTS".into(), format!("record=return({POISON})"))];
    sandbox.boot();
    let mut batch = Vec::new();
    for (id, user) in [
        ("left", "user_id:left"),
        (POISON, "user_id:victim"),
        ("right", "user_id:right"),
    ] {
        batch.push(one(id, user)[0].clone());
    }
    // Whether the answer is faster than the end of the process: sent again below, all the same.
    let batch = Value::from(batch);
    let headers = [("content-type", "application/json")];
    let _ = sandbox
        .sender(&key)
        .send("POST", "/v1/events", &headers, batch.to_string());
    let mut deaths = 0;
    loop {
        let status = tests::wait::until("the process to end or the rest to be counted", || {
            if let Some(status) = sandbox.ended() {
                return Some(Some(status));
            }
            let parked = sandbox.http().send("GET", "/api/v1/parked", &[], "");
            let parked = parked.ok().filter(|answer| answer.status == 200)?;
            let keys = parked.value()["items"].as_array().map_or(0, Vec::len);
            (keys > 0).then_some(None)
        });
        let Some(status) = status else { break };
        assert!(tests::sandbox::ended_by(status, libc::SIGABRT), "{status}");
        deaths += 1;
        assert!(deaths <= DEATHS_MAX, "a crash loop: {}", sandbox.log());
        // It may be gone before it says its address.
        while sandbox.try_boot().is_err() {
            deaths += 1;
            assert!(deaths <= DEATHS_MAX, "a crash loop: {}", sandbox.log());
        }
    }
    println!("{deaths} deaths");
    let sender = sandbox.sender(&key);
    let sent = sender.post_ok("/v1/events", &json!([batch[0], batch[2]]));
    for user in ["before", "left", "right"] {
        let member = sandbox.member(&format!("user_id:{user}"), sent.token());
        assert_eq!(member["event_count"], 1, "{user}: {member}");
    }
    assert_eq!(sandbox.find("user_id:victim", sent.token()), None);
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    assert_eq!(sandbox.digest(&["--state", "--replay"]), state);
    // What was wrong is mended: its record is decided at last.
    sandbox.options().environment.clear();
    sandbox.boot();
    let http = sandbox.http();
    for parked in http.list("/api/v1/parked") {
        let key = parked["key"].as_str().expect("it has a name");
        http.post_ok(&format!("/api/v1/parked/{key}/retry"), &json!({}));
    }
    let victim = tests::wait::until("the record to be decided", || {
        sandbox.find("user_id:victim", "")
    });
    assert_eq!(victim["event_count"], 1, "{victim}");
    assert_eq!(http.list("/api/v1/parked"), Vec::<Value>::new());
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    assert_eq!(sandbox.digest(&["--state", "--replay"]), state);
}

#[test]
fn row_28_a_worker_that_dies_is_rebuilt() {
    let options = Options::default().env(
        "FAILPOINTS",
        "worker-turn=20*off->1*panic->30*off->1*panic->off",
    );
    let mut sandbox = Sandbox::start_with(options);
    let key = sandbox.source("load");
    let mut load = Load::start(LIGHT, &sandbox.base(), &key);
    load.finish();
    load.check(&sandbox);
    assert!(
        sandbox.log().contains("panic"),
        "nobody died: the test proves nothing"
    );
    assert!(sandbox.stop().success());
    let state = sandbox.digest(&["--state"]);
    assert_eq!(sandbox.digest(&["--state", "--replay"]), state);
}

#[test]
fn row_29_a_slow_consumer_means_429_and_bounded_memory() {
    const LAG_MAX: usize = 1_000;
    /// The process without any load has about a tenth of it.
    const RESIDENT_MIB_MAX: u64 = 1_024;
    let options = Options::default()
        .set("lag_events_max", &LAG_MAX.to_string())
        .env("FAILPOINTS", "worker-turn=30*sleep(200)->off");
    let mut sandbox = Sandbox::start_with(options);
    let key = sandbox.source("load");
    let sender = sandbox.sender(&key);
    let mut told = 0;
    let mut sent = 0;
    while sent < 6 * LAG_MAX {
        let batch: Vec<Value> = (sent..sent + 200)
            .map(|n| one(&format!("slow-{n}"), &format!("user_id:s{}", n % 100))[0].clone())
            .collect();
        let answer = sender.json("POST", "/v1/events", &batch.into());
        match answer.status {
            200 => sent += 200,
            429 => {
                told += 1;
                assert!(
                    answer.header("retry-after").is_some(),
                    "429 says when to come back"
                );
                assert_eq!(answer.code(), "busy");
                tests::wait::pause();
            }
            other => panic!("{other} {}", answer.text()),
        }
    }
    assert!(
        told > 0,
        "nobody was told to slow down: the test proves nothing"
    );
    let resident = resident_mib(sandbox.pid());
    assert!(resident < RESIDENT_MIB_MAX, "{resident} MiB");
    let stats = sandbox.stats();
    assert_eq!(stats["applied"], sent, "{stats}");
    assert!(sandbox.stop().success());
}

/// Memory of a process.
fn resident_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("Linux says so") / 1_024
}

#[test]
fn row_30_a_hot_member_does_not_slow_the_others() {
    /// Requests whose time from write to read is taken.
    const PROBES: usize = 60;
    /// What a busy machine adds to either side; the row speaks of a factor of two.
    const NOISE: Duration = Duration::from_millis(300);
    let measure = |hot: bool| -> Duration {
        let sandbox = Sandbox::start();
        let key = sandbox.source("load");
        let base = sandbox.base();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = {
            let (stop, key) = (stop.clone(), tests::http::basic(&key));
            std::thread::spawn(move || {
                let http = tests::Http::new(&base, Some(key));
                let mut number = 0;
                while !stop.load(std::sync::atomic::Ordering::Acquire) {
                    let batch: Vec<Value> = (0..100)
                        .map(|place| {
                            number += 1;
                            let user = if hot && place % 2 == 0 {
                                0
                            } else {
                                number % 500
                            };
                            one(&format!("load-{number}"), &format!("user_id:h{user}"))[0].clone()
                        })
                        .collect();
                    let answer = http.json("POST", "/v1/events", &batch.into());
                    assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
                }
            })
        };
        let mut times: Vec<Duration> = (0..PROBES)
            .map(|probe| {
                let user = format!("user_id:probe{probe}");
                let start = Instant::now();
                let token = sandbox.send(&key, &one(&format!("probe-{probe}"), &user));
                sandbox.member(&user, &token);
                start.elapsed()
            })
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Release);
        writer.join().expect("the load is valid");
        times.sort_unstable();
        times[PROBES * 95 / 100]
    };
    let even = measure(false);
    let hot = measure(true);
    println!(
        "from write to read, 95th of 100: even {even:?}, one member with half of the traffic {hot:?}"
    );
    assert!(hot <= even * 2 + NOISE, "even {even:?}, hot {hot:?}");
}
