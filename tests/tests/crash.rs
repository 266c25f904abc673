//! Killed at every fail point and at random moments under load: nothing acknowledged is lost, nothing is counted twice,
//! and in the end the facts are those of a run that nobody disturbed (I1, I2, I3, I9).
//!
//! The binary of `make test-binary` has the fail points compiled in; which there are is read from the sources, so that a
//! new one is tested from its first day.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::Value;
use tests::binary::repository;
use tests::{Load, Options, Plan, Sandbox, random, rounds, seed};

/// The longest start that is still "ready in seconds" (fault matrix, row 1).
const READY_S_MAX: u64 = 10;

/// What an undisturbed run of a plan ends with.
struct Truth {
    facts: String,
    stats: Value,
}

/// The truth of [`Plan::SMALL`], found once for all tests of this file.
fn truth() -> &'static Truth {
    static TRUTH: OnceLock<Truth> = OnceLock::new();
    TRUTH.get_or_init(|| {
        let mut sandbox = Sandbox::start();
        let key = sandbox.source("load");
        let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
        load.finish();
        load.check(&sandbox);
        let stats = counts(&sandbox.stats());
        assert_eq!(stats["applied"], Plan::SMALL.total(), "{stats}");
        assert!(sandbox.stop().success(), "SIGTERM drains");
        Truth {
            facts: sandbox.digest(&[]),
            stats,
        }
    })
}

/// The figures that depend on facts alone: not on how often something was sent.
fn counts(stats: &Value) -> Value {
    let names = [
        "applied",
        "members",
        "visitors",
        "orders",
        "orders_cancelled",
        "orders_without_person",
        "order_amount",
        "conflicts",
        "dead_letters",
    ];
    names
        .iter()
        .map(|&name| (name.to_owned(), stats[name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Everything that must hold once the load is through: journal, figures, digests, restart, replay.
fn must_be_true(sandbox: &mut Sandbox, load: &Load) {
    load.check(sandbox);
    assert_eq!(counts(&sandbox.stats()), truth().stats, "figures");
    assert!(sandbox.stop().success(), "SIGTERM drains");
    assert_eq!(sandbox.digest(&[]), truth().facts, "facts");
    let state = sandbox.digest(&["--state"]);
    assert_eq!(
        sandbox.digest(&["--state", "--replay"]),
        state,
        "decided again"
    );
    sandbox.boot();
    sandbox.stats();
    sandbox.kill9();
    assert_eq!(
        sandbox.digest(&["--state"]),
        state,
        "a restart changes nothing"
    );
}

/// Starts and measures: ready within the limit.
fn boot_quickly(sandbox: &mut Sandbox) {
    let start = Instant::now();
    sandbox.boot();
    let took = start.elapsed();
    assert!(took.as_secs() < READY_S_MAX, "ready only after {took:?}");
}

/// Fail points of the sources: names in `fail_point!("name", |_| …)`, the form that can end the process.
fn fail_points() -> BTreeSet<String> {
    fn walk(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder)
            .into_iter()
            .flatten()
            .map_while(Result::ok)
        {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, names);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for rest in text.split("fail_point!(").skip(1) {
                    let rest = rest.trim_start();
                    let Some((name, after)) =
                        rest.strip_prefix('"').and_then(|r| r.split_once('"'))
                    else {
                        continue;
                    };
                    if after.trim_start().starts_with(',') {
                        names.insert(name.to_owned());
                    }
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    for name in ["actors", "ingest", "cdp", "pipelines", "api"] {
        walk(&repository().join(name).join("src"), &mut names);
    }
    assert!(names.len() >= 3, "the fail points are found: {names:?}");
    names
}

#[test]
fn row_1_kill_at_each_fail_point() {
    for name in fail_points() {
        // At the first time that it is passed, and somewhere in the middle of the load.
        for passed in [0, 40].into_iter().take(rounds(1, 2).max(1)) {
            kill_at(&name, passed);
        }
    }
}

/// Ends the process when `name` has been passed so many times, then goes on without.
fn kill_at(name: &str, passed: usize) {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("load");
    sandbox.stop();
    // Counted from the load on: the start itself may pass the point, too.
    let skip = match passed {
        0 => String::new(),
        n => format!("{n}*off->"),
    };
    sandbox.options().environment = vec![("FAILPOINTS".into(), format!("{name}={skip}return"))];
    let started = sandbox.try_boot();
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    if started.is_ok() {
        let mut ended = None;
        while ended.is_none() && !load.is_over() {
            load.wait_for_acked(load.journal.acked_count() + 1);
            ended = sandbox.ended();
        }
        match ended {
            Some(status) => assert!(
                !status.success(),
                "{name}: it was ended, not stopped: {status}"
            ),
            // Not on the way of this load: passed at the end, when memory is written.
            None => {
                let status = sandbox.stop();
                println!(
                    "{name}: {passed} passes not reached under load; the drain ended with {status}"
                );
            }
        }
    }
    sandbox.options().environment.clear();
    boot_quickly(&mut sandbox);
    load.finish();
    must_be_true(&mut sandbox, &load);
}

#[test]
fn row_2_kill_at_random_times_under_load() {
    let seed = seed(2);
    let mut state = seed;
    println!("TRIBUTARY_SEED={seed}");
    let kills = rounds(10, 200);
    // So many kills per run of the plan: the restarts are part of what is killed.
    const KILLS_PER_RUN: usize = 5;
    let mut done = 0;
    while done < kills {
        let mut sandbox = Sandbox::start();
        let key = sandbox.source("load");
        let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
        let step = Plan::SMALL.total() / (KILLS_PER_RUN + 1);
        for _ in 0..KILLS_PER_RUN.min(kills - done) {
            let acked = load.journal.acked_count();
            load.wait_for_acked(acked + 1 + random(&mut state) as usize % step);
            sandbox.kill9();
            boot_quickly(&mut sandbox);
            done += 1;
        }
        load.finish();
        must_be_true(&mut sandbox, &load);
    }
    println!("{done} kills");
}

#[test]
fn what_had_no_answer_is_there_once_or_not_at_all() {
    let mut state = seed(3);
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("load");
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    load.wait_for_acked(200 + random(&mut state) as usize % 400);
    sandbox.kill9();
    load.halt();
    // Nobody repeats: the journal now holds acknowledged and unknown ones.
    boot_quickly(&mut sandbox);
    load.check(&sandbox);
}

#[test]
fn sigterm_drains_and_nothing_is_replayed_differently() {
    let mut sandbox = Sandbox::start_with(Options::default());
    let key = sandbox.source("load");
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    load.wait_for_acked(400);
    assert!(sandbox.stop().success(), "SIGTERM ends with 0");
    boot_quickly(&mut sandbox);
    load.finish();
    must_be_true(&mut sandbox, &load);
}
