//! Kills a process that appends, at each fail point of the log, again and again on the same folder: what it was answered
//! is there. `cargo test -p actors --features failpoints --test log_crash`
//!
//! A killed process leaves its writes in the page cache, so this is about order and torn groups; power cuts are tested on
//! the simulated disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use actors::log::segment::{FAIL_POINTS, SegmentLog, SegmentOptions, verify};
use actors::log::{Log, LogRecord};
use actors::model::{Offset, PartitionId};

const P: PartitionId = PartitionId(0);
/// Tells a child which folder to append to.
const FOLDER: &str = "LOG_CRASH_FOLDER";

fn options() -> SegmentOptions {
    let mut options = SegmentOptions::new(1);
    options.segment_bytes = 2000;
    options
}

fn group(first: u64) -> Vec<LogRecord> {
    (0..1 + first % 3)
        .map(|at| LogRecord {
            schema: 1,
            payload: format!("record {}", first + at).repeat(10).into(),
        })
        .collect()
}

/// Not a test of its own: what the child process runs. Says on its output what was acknowledged.
#[test]
fn child_appends_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let _points = fail::FailScenario::setup();
    let log = SegmentLog::open(Path::new(&folder), options()).unwrap();
    let mut out = std::io::stdout();
    for _ in 0..200 {
        let group = group(log.end(P).0);
        let records = group.len() as u64;
        let (tell, told) = channel();
        log.append(P, group, Box::new(move |answer| tell.send(answer).unwrap()));
        let first = told.recv().unwrap().unwrap();
        writeln!(out, "acked {}", first.0 + records).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_kill_at_each_fail_point_loses_nothing_acknowledged() {
    for point in FAIL_POINTS {
        let folder = tempfile::tempdir().unwrap();
        let mut acked = 0;
        for passes in [0, 1, 2, 7, 20, 33] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child_appends_until_it_is_killed", "--nocapture"])
                .env(FOLDER, folder.path())
                .env("FAILPOINTS", format!("{point}={passes}*off->return"))
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            for line in BufReader::new(child.stdout.take().unwrap()).lines() {
                // The test harness writes its own words before ours.
                if let Some((_, end)) = line.unwrap().split_once("acked ") {
                    acked = end.parse().unwrap();
                }
            }
            assert!(!child.wait().unwrap().success(), "{point} was met");
            let report = verify(&actors::disk::RealDisk, folder.path()).unwrap();
            assert!(report.iter().all(|one| one.damage.is_none()), "{report:?}");
            let log = SegmentLog::open(folder.path(), options()).unwrap();
            let end = log.end(P).0;
            assert!(
                end >= acked,
                "{point} after {passes}: {end} of {acked} acknowledged"
            );
            let mut next = 0;
            while next < end {
                for expected in group(next) {
                    let stored = log.read_one(P, Offset(next)).unwrap().unwrap();
                    assert_eq!(stored.record, expected, "{point}: offset {next}");
                    next += 1;
                }
            }
            assert_eq!(next, end, "whole groups");
        }
        assert!(acked > 60, "{point}: {acked}");
    }
}
