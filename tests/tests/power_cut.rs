//! Power cuts: what was acknowledged is on the platter, not in the page cache. `kill -9` alone proves only the latter.
//!
//! The data folder lies on an ext4 image on a loop device. Under load the server is stopped where it stands (SIGSTOP), the
//! image is copied without any sync, and the server goes on. Each copy is a cut point of its own: mounted, its journal
//! replayed by the kernel, started, and held against the ack journal of the moment of the copy.

use std::path::PathBuf;

use tests::disk::Disk;
use tests::need;
use tests::{Load, Options, Plan, Sandbox, journal::Fate, random, rounds, seed};

/// The disk of the test; the load writes a few MiB, a checkpoint some more.
const DISK_MIB: u64 = 768;

/// A copy of the disk and what the client knew at that time.
struct Cut {
    image: PathBuf,
    acked: Vec<String>,
}

#[test]
fn row_3_power_cut() {
    let Some(disk) = need::or_skip("row_3_power_cut", Disk::ext4(DISK_MIB)) else {
        return;
    };
    let seed = seed(5);
    let mut state = seed;
    println!("TRIBUTARY_SEED={seed}");
    let cuts = rounds(3, 50);
    // Images are sparse copies of some ten MiB; a few at a time.
    const CUTS_PER_RUN: usize = 5;
    let mut done = 0;
    while done < cuts {
        let count = CUTS_PER_RUN.min(cuts - done);
        run(&disk, done, count, &mut state);
        done += count;
    }
    println!("{done} power cuts");
}

fn run(disk: &Disk, number: usize, count: usize, state: &mut u64) {
    let data = disk.path().join(format!("data-{number}"));
    let mut sandbox = Sandbox::at(&data, Options::default());
    sandbox.boot();
    let key = sandbox.source("load");
    let mut load = Load::start(Plan::SMALL, &sandbox.base(), &key);
    let step = Plan::SMALL.total() / (count + 1);
    let mut taken = Vec::new();
    for cut in 0..count {
        let acked = load.journal.acked_count();
        load.wait_for_acked(acked + 1 + random(state) as usize % step);
        sandbox.signal(libc::SIGSTOP);
        // Acknowledged before the copy: an answer that is under way counts as unknown.
        let acked = acked_ids(&load);
        let image = sandbox.folder().join(format!("cut-{cut}.img"));
        let copied = disk.copy_to(&image);
        sandbox.signal(libc::SIGCONT);
        copied.expect("the image can be copied");
        taken.push(Cut { image, acked });
    }
    for (place, cut) in taken.into_iter().enumerate() {
        let copy = Disk::from_copy(&cut.image).expect("a copy mounts where the original did");
        let folder = copy.path().join(format!("data-{number}"));
        let mut restarted = Sandbox::at(&folder, Options::default());
        restarted.boot();
        let found = tests::load::found(&Plan::SMALL, &restarted);
        let lost: Vec<&String> = cut
            .acked
            .iter()
            .filter(|id| !found.contains_key(*id))
            .collect();
        assert!(
            lost.is_empty(),
            "cut {place}: {} acknowledged events are lost: {:?}",
            lost.len(),
            &lost[..lost.len().min(10)]
        );
        let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "cut {place}: counted twice: {twice:?}");
        let sent = load.journal.lines();
        assert!(
            found.keys().all(|id| sent.contains_key(id)),
            "cut {place}: something was never sent"
        );
        println!(
            "cut {place}: {} acknowledged, {} found",
            cut.acked.len(),
            found.len()
        );
        // Stopped before its disk is unmounted.
        assert!(restarted.stop().success(), "it drains after a power cut");
        let stored = restarted.digest(&["--state"]);
        assert_eq!(
            restarted.digest(&["--state", "--replay"]),
            stored,
            "cut {place}: decided again"
        );
    }
    load.finish();
    load.check(&sandbox);
    sandbox.kill9();
}

fn acked_ids(load: &Load) -> Vec<String> {
    let lines = load.journal.lines().into_iter();
    lines
        .filter(|(_, fate)| *fate == Fate::Acked)
        .map(|(id, _)| id)
        .collect()
}
