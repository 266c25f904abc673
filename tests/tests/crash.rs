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
use tests::{Load, Options, Plan, Sandbox, random, rounds, seed, wait};

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
    tests::lake::check(sandbox);
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

/// Fail points of the sources: names in `crash::point("name")`.
fn fail_points() -> BTreeSet<String> {
    fn walk(folder: &Path, names: &mut BTreeSet<String>) {
        let entries = fs::read_dir(folder).into_iter().flatten();
        for entry in entries.map_while(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, names);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for rest in text.split("point(\"").skip(1) {
                    let name = rest.split('"').next().unwrap_or_default();
                    names.insert(name.to_owned());
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    for name in ["actors", "ingest", "cdp", "query", "pipelines", "api"] {
        walk(&repository().join(name).join("src"), &mut names);
    }
    assert!(names.len() > 10, "the fail points are found: {names:?}");
    names
}

#[test]
fn row_1_kill_at_each_fail_point() {
    // How often a place is passed before it ends the process; a soak takes more of them.
    let passes = [7, 0, 60, 1, 2, 3, 20, 150];
    let mut reached = 0;
    let names = fail_points();
    for name in &names {
        let kills: usize = passes[..rounds(3, 8).min(8)]
            .iter()
            .map(|passed| kill_at(name, *passed))
            .sum();
        println!("{name}: {kills} kills");
        reached += usize::from(kills > 0);
    }
    println!("{reached} of {} fail points ended the process", names.len());
    // Some lie on ways that this load does not take (a full segment); most must be reached.
    assert!(
        reached * 10 > names.len() * 7,
        "only {reached}: are fail points compiled in (`make test-binary`) and armed?"
    );
}

/// Ends the process at the first start and again when `name` has been passed so many times under load, then goes on
/// without. Answers how often it was ended.
fn kill_at(name: &str, passed: usize) -> usize {
    let set = |sandbox: &mut Sandbox, action: &str| {
        sandbox.options().environment = vec![("FAILPOINTS".into(), format!("{name}={action}"))];
    };
    // The lake writes often, so that its places are passed under load too.
    let often = Options::default()
        .set("lake.flush_rows", "1000")
        .set("lake.flush_s", "1");
    let mut sandbox = Sandbox::new(often);
    set(&mut sandbox, "return");
    let at_first = sandbox.try_boot().is_err();
    if !at_first {
        sandbox.kill9();
    }
    sandbox.options().environment.clear();
    boot_quickly(&mut sandbox);
    let key = sandbox.source("load");
    sandbox.stop();
    // To `fail`, zero times is for ever.
    let skip = match passed {
        0 => String::new(),
        times => format!("{times}*off->"),
    };
    set(&mut sandbox, &format!("{skip}return"));
    let started = sandbox.try_boot();
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    let mut killed = started.is_err();
    if !killed {
        let ended = wait::until("the load or the process to end", || {
            let ended = sandbox.ended();
            (ended.is_some() || load.is_over()).then_some(ended)
        });
        // Not on the way of this load: perhaps when memory is written at the end.
        let status = ended.unwrap_or_else(|| sandbox.stop());
        killed = tests::sandbox::ended_by(status, libc::SIGABRT);
        assert!(killed || status.success(), "{name}: ended with {status}");
    }
    sandbox.options().environment.clear();
    boot_quickly(&mut sandbox);
    load.finish();
    must_be_true(&mut sandbox, &load);
    usize::from(at_first) + usize::from(killed)
}

#[test]
fn row_2_kill_at_random_times_under_load() {
    let seed = seed(2);
    let mut state = seed;
    println!("TRIBUTARY_SEED={seed}");
    let kills = rounds(20, 200);
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
