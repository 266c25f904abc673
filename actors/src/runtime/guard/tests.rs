use std::path::Path;

use super::*;
use crate::model::Position;
use crate::testkit::{Random, seeds};

const PARTITIONS: u16 = 2;
/// Partition of everybody's input here.
const INPUT: PartitionId = PartitionId(1);

fn at(offset: u64) -> RecordAt {
    RecordAt {
        position: Position {
            partition: INPUT,
            offset: Offset(offset),
        },
        index: 0,
    }
}

fn consumed(offset: u64) -> Consumed {
    BTreeMap::from([(INPUT, Offset(offset))])
}

fn open(dir: &Path) -> Guard {
    Guard::open(dir, PARTITIONS)
}

/// The process ends while a unit decides a record, alone or not.
fn dies(guard: &Guard, unit: Unit, record: u64, alone: bool) {
    let mark = guard.mark(unit, alone).expect("the folder takes a file");
    let deciding = mark.deciding();
    mark.record(at(record));
    std::mem::forget(deciding);
}

fn careful() -> Start {
    Start {
        careful: true,
        ..Start::default()
    }
}

#[test]
fn row_27_a_record_that_kills_the_process_is_set_aside() {
    let dir = tempfile::tempdir().expect("a folder");
    let unit = Unit::IDENTITY;
    for _ in 0..DEATHS_MAX {
        let guard = open(dir.path());
        assert_eq!(guard.starts(unit, &consumed(40)), Start::default());
        dies(&guard, unit, 47, false);
    }
    // The batch before it commits one by one, up to the record.
    for death in 0..ALONE_DEATHS_MAX {
        let guard = open(dir.path());
        let stands = if death == 0 { 40 } else { 47 };
        assert_eq!(guard.starts(unit, &consumed(stands)), careful());
        dies(&guard, unit, 47, true);
    }
    let guard = open(dir.path());
    let start = guard.starts(unit, &consumed(47));
    assert_eq!(start.aside, BTreeSet::from([at(47)]));
    // Somebody kills it before that is committed: it is not tried again.
    let guard = open(dir.path());
    assert_eq!(guard.starts(unit, &consumed(47)), start);
    let guard = open(dir.path());
    assert_eq!(guard.starts(unit, &consumed(48)), Start::default());
}

#[test]
fn kills_while_nothing_is_decided_are_nobodys_fault() {
    let dir = tempfile::tempdir().expect("a folder");
    let unit = Unit::IDENTITY;
    for _ in 0..20 {
        // While it opens.
        drop(open(dir.path()));
        let guard = open(dir.path());
        assert_eq!(guard.starts(unit, &consumed(40)), Start::default());
        // While it waits for a commit.
        let mark = guard.mark(unit, true).expect("the folder takes a file");
        let deciding = mark.deciding();
        mark.record(at(40));
        drop(deciding);
    }
}

#[test]
fn deaths_of_a_full_batch_say_nothing_of_a_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let unit = Unit::member(PartitionId(1));
    for _ in 0..10 {
        let guard = open(dir.path());
        assert_eq!(guard.starts(unit, &consumed(40)).aside, BTreeSet::new());
        dies(&guard, unit, 40, false);
    }
    // Nor do deaths of one record of another.
    for record in 40..60 {
        let guard = open(dir.path());
        assert_eq!(guard.starts(unit, &consumed(40)), careful());
        dies(&guard, unit, record, true);
    }
}

#[test]
fn progress_between_starts_is_no_loop() {
    let dir = tempfile::tempdir().expect("a folder");
    for offset in 0..10 {
        let guard = open(dir.path());
        let start = guard.starts(Unit::IDENTITY, &consumed(offset));
        assert_eq!(start, Start::default());
        dies(&guard, Unit::IDENTITY, offset, false);
    }
}

#[test]
fn what_a_unit_died_of_counts_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let unit = Unit::IDENTITY;
    let guard = open(dir.path());
    dies(&guard, unit, 40, false);
    // Killed while it opens, again and again: the one death stays one.
    for _ in 0..10 {
        open(dir.path());
    }
    for _ in 0..10 {
        let guard = open(dir.path());
        assert_eq!(guard.starts(unit, &consumed(40)), Start::default());
        // Built again within a run.
        assert_eq!(guard.starts(unit, &consumed(40)), Start::default());
    }
}

#[test]
fn damaged_files_read_as_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["starts.json", "deciding"] {
        dies(&open(dir.path()), Unit::IDENTITY, 3, true);
        std::fs::write(dir.path().join(name), [0x5a; 100]).expect("written");
        let guard = open(dir.path());
        assert_eq!(guard.starts(Unit::IDENTITY, &consumed(0)), Start::default());
    }
}

/// Three units with records to decide, and a process that dies again and again.
struct World {
    dir: tempfile::TempDir,
    random: Random,
    stands: BTreeMap<Unit, u64>,
    aside: BTreeSet<(Unit, u64)>,
    poison: Option<(Unit, u64)>,
    /// Steps until somebody kills the process.
    left: u64,
}

/// The process is gone.
struct Killed;

impl World {
    const RECORDS: u64 = 60;
    const BATCH: u64 = 16;

    fn new(seed: u64, poison: bool) -> World {
        let mut random = Random::new(seed);
        let members = (0..PARTITIONS).map(|partition| Unit::member(PartitionId(partition)));
        let units = std::iter::once(Unit::IDENTITY).chain(members);
        let stands: BTreeMap<Unit, u64> = units.map(|unit| (unit, 0)).collect();
        let unit = *stands
            .keys()
            .nth(random.below(3) as usize)
            .expect("there are three");
        World {
            dir: tempfile::tempdir().expect("a folder"),
            poison: poison.then(|| (unit, random.below(World::RECORDS))),
            stands,
            aside: BTreeSet::new(),
            left: u64::MAX,
            random,
        }
    }

    fn steps(&mut self, count: u64) -> Result<(), Killed> {
        self.left = self.left.saturating_sub(count);
        if self.left == 0 { Err(Killed) } else { Ok(()) }
    }

    /// One run of the process: opening, deciding, waiting for commits; until it is killed or all is decided.
    fn run(&mut self) -> Result<(), Killed> {
        let opening = self.random.below(40);
        self.steps(opening)?;
        let guard = open(self.dir.path());
        self.steps(20)?;
        let mut starts = BTreeMap::new();
        for (unit, stands) in self.stands.clone() {
            starts.insert(unit, guard.starts(unit, &consumed(stands)));
            self.steps(1)?;
        }
        loop {
            let busy = self.stands.iter();
            let busy: Vec<Unit> = busy
                .filter(|(_, at)| **at < World::RECORDS)
                .map(|(unit, _)| *unit)
                .collect();
            if busy.is_empty() {
                return Ok(());
            }
            let unit = busy[self.random.below(busy.len() as u64) as usize];
            let start = &starts[&unit];
            // Units that are as usual decide at the same time, in the middle of some record.
            let others: Vec<Mark> = busy
                .iter()
                .filter(|other| **other != unit && !start.careful && !starts[other].careful)
                .map(|other| guard.mark(*other, false).expect("a mark"))
                .collect();
            let deciding: Vec<_> = others.iter().map(Mark::deciding).collect();
            for (mark, other) in others
                .iter()
                .zip(busy.iter().filter(|other| **other != unit))
            {
                mark.record(at(self.stands[other]));
            }
            let done = self.decide(&guard, unit, start);
            if done.is_err() {
                deciding.into_iter().for_each(std::mem::forget);
            }
            done?;
        }
    }

    fn decide(&mut self, guard: &Guard, unit: Unit, start: &Start) -> Result<(), Killed> {
        let from = self.stands[&unit];
        let batch = if start.careful { 1 } else { World::BATCH };
        let to = World::RECORDS.min(from + batch);
        let mark = guard.mark(unit, start.careful).expect("a mark");
        let deciding = mark.deciding();
        for record in from..to {
            mark.record(at(record));
            let spared = start.aside.contains(&at(record));
            let dies = self.poison == Some((unit, record)) && !spared;
            if dies || self.steps(1).is_err() {
                std::mem::forget(deciding);
                return Err(Killed);
            }
        }
        drop(deciding);
        let waiting = 10 + self.random.below(30);
        self.steps(waiting)?;
        let parked = (from..to).filter(|record| start.aside.contains(&at(*record)));
        self.aside.extend(parked.map(|record| (unit, record)));
        self.stands.insert(unit, to);
        Ok(())
    }
}

#[test]
fn kills_from_outside_at_random_moments_park_nothing() {
    for seed in seeds(6, 200) {
        let mut world = World::new(seed, false);
        let mut kills = 0;
        loop {
            world.left = 1 + world.random.below(120);
            if world.run().is_ok() {
                break;
            }
            kills += 1;
            assert!(kills < 2_000, "seed {seed}: no end");
        }
        assert_eq!(world.aside, BTreeSet::new(), "seed {seed}: {kills} kills");
    }
}

#[test]
fn row_27_a_poison_is_found_and_nothing_else() {
    for seed in seeds(6, 200) {
        let mut world = World::new(seed, true);
        let mut deaths = 0;
        while world.run().is_err() {
            deaths += 1;
            assert!(deaths <= DEATHS_MAX + ALONE_DEATHS_MAX, "seed {seed}");
        }
        assert_eq!(
            world.aside,
            BTreeSet::from_iter(world.poison),
            "seed {seed}"
        );
    }
}

#[test]
fn row_27_a_poison_among_kills_from_outside_is_found_and_nothing_else() {
    for seed in seeds(6, 200) {
        let mut world = World::new(seed, true);
        let mut kills = 0;
        loop {
            world.left = 1 + world.random.below(200);
            if world.run().is_ok() {
                break;
            }
            kills += 1;
            assert!(kills < 2_000, "seed {seed}: no end");
        }
        assert_eq!(
            world.aside,
            BTreeSet::from_iter(world.poison),
            "seed {seed}"
        );
    }
}
