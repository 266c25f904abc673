//! The contract under faults: a small ledger over two kinds of unit, driven by the simulated world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::machine::{Machines, Made, Personal, Timer};
use crate::model::{IdentNo, ShardId};
use crate::raw::{CONTROL, RawRecord};
use crate::seal::TestSealer;
use crate::testkit::{Cluster, Faults, SimStore, World, seeds};

const SEEN: Space = Space(0x20);
const TOTAL: Space = Space(0x40);
const EVENTS: PartitionId = PartitionId(1);
const PARTITIONS: u16 = 4;

/// A checkpoint: results below the offset, and the ids that they have seen.
type Kept = Arc<Mutex<(Offset, BTreeSet<u64>)>>;

/// Drops repeated ids, then tells the shard of the key to add one. Its memory is the set of ids, kept by deltas and
/// checkpoints.
struct Router {
    seen: BTreeSet<u64>,
    batch: Vec<u64>,
    kept: Kept,
}

impl Machine for Router {
    fn begin(&mut self, _: Time) {
        self.batch.clear();
    }
    fn apply(
        &mut self,
        _: &dyn Rows,
        record: &Record,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let id = u64::from_le_bytes(record.envelope[..8].try_into().expect("eight bytes"));
        if !self.seen.insert(id) {
            out.count("duplicates", 1);
            return Ok(());
        }
        self.batch.push(id);
        out.put(SEEN, id.to_be_bytes().to_vec(), Bytes::new());
        out.count("applied", 1);
        let Personal::Open(key) = &record.personal else {
            return Ok(());
        };
        out.outgoing.push(Outgoing {
            to: To::Shard(shard(key[0])),
            schema: 1,
            envelope: record.envelope.clone(),
            personal: Some((IdentNo(u32::from(key[0])), key.clone())),
        });
        Ok(())
    }
    fn finish(&mut self, _: &dyn Rows, out: &mut WriteSet) -> Result<(), RowsError> {
        out.delta = postcard::to_stdvec(&self.batch).expect("numbers serialise");
        self.batch.clear();
        Ok(())
    }
    fn rollback(&mut self) {
        for id in self.batch.drain(..) {
            self.seen.remove(&id);
        }
    }
    fn key(&self, _: &Record) -> Option<u64> {
        None
    }
    fn absorb(&mut self, delta: &[u8]) -> Result<(), RowsError> {
        let ids: Vec<u64> = postcard::from_bytes(delta).expect("our own delta");
        self.seen.extend(ids);
        Ok(())
    }
    fn logic_version(&self) -> u16 {
        1
    }
    fn checkpoint(&mut self, at: Offset) -> Result<(), String> {
        assert!(self.batch.is_empty(), "no batch is in between");
        *self.kept.lock() = (at, self.seen.clone());
        Ok(())
    }
    fn checkpointed(&self) -> Option<Offset> {
        Some(self.kept.lock().0)
    }
}

/// Adds one to the key's row and passes the word on once to the mirrored key. Panics on key 13 with an odd id.
#[derive(Default)]
struct Adder {
    dirty: BTreeMap<u8, u64>,
}

impl Machine for Adder {
    fn begin(&mut self, _: Time) {
        self.dirty.clear();
    }
    fn apply(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let Personal::Open(key) = &record.personal else {
            return Ok(());
        };
        let key = key[0];
        assert!(
            !(key == 13 && record.envelope[0] % 2 == 1),
            "thirteen is odd"
        );
        let before = match self.dirty.get(&key) {
            Some(total) => *total,
            None => total(rows, key)?,
        };
        self.dirty.insert(key, before + 1);
        if record.schema == 1 {
            let mirror = 255 - key;
            out.outgoing.push(Outgoing {
                to: To::Shard(shard(mirror)),
                schema: 2,
                envelope: Bytes::from(vec![0; 8]),
                personal: Some((IdentNo(u32::from(mirror)), Bytes::from(vec![mirror]))),
            });
        }
        Ok(())
    }
    fn finish(&mut self, _: &dyn Rows, out: &mut WriteSet) -> Result<(), RowsError> {
        for (key, total) in std::mem::take(&mut self.dirty) {
            out.put(TOTAL, vec![key], total.to_be_bytes().to_vec());
        }
        Ok(())
    }
    fn rollback(&mut self) {
        self.dirty.clear();
    }
    fn key(&self, record: &Record) -> Option<u64> {
        match &record.personal {
            Personal::Open(key) => Some(u64::from(key[0])),
            _ => None,
        }
    }
    fn absorb(&mut self, _: &[u8]) -> Result<(), RowsError> {
        Ok(())
    }
    fn logic_version(&self) -> u16 {
        1
    }
}

/// Makes both; keeps the router's checkpoint over restarts.
#[derive(Default, Clone)]
pub(in crate::runtime) struct Ledger {
    kept: Kept,
}

impl Machines for Ledger {
    fn make(&self, unit: Unit, _: &dyn Rows) -> Result<Made, String> {
        Ok(if unit == Unit::IDENTITY {
            let (at, seen) = self.kept.lock().clone();
            Made {
                machine: Box::new(Router {
                    seen,
                    batch: Vec::new(),
                    kept: self.kept.clone(),
                }),
                absorbed: Some(at),
            }
        } else {
            Made {
                machine: Box::new(Adder::default()),
                absorbed: None,
            }
        })
    }
    fn timer_record(&self, _: &Timer) -> RawRecord {
        RawRecord {
            schema: 9,
            envelope: Bytes::new(),
            personal: Bytes::new(),
        }
    }
}

pub(in crate::runtime) fn shard(key: u8) -> ShardId {
    ShardId(u16::from(key))
}

pub(in crate::runtime) fn total(rows: &dyn Rows, key: u8) -> Result<u64, RowsError> {
    Ok(rows.get(TOTAL, &[key])?.map_or(0, |row| {
        u64::from_be_bytes(row[..].try_into().expect("eight bytes"))
    }))
}

pub(in crate::runtime) fn event(id: u64, key: u8) -> RawRecord {
    RawRecord {
        schema: 1,
        envelope: id.to_le_bytes().to_vec().into(),
        personal: vec![key].into(),
    }
}

fn world(seed: u64, faults: Faults) -> World {
    World::new(
        seed,
        faults,
        PARTITIONS,
        Arc::new(Ledger::default()),
        Arc::new(TestSealer::new(7)),
    )
}

/// Sends 60 groups, runs a seeded schedule, and compares with plain addition.
fn check(seed: u64, faults: Faults, avoid: u8) {
    let mut world = world(seed, faults);
    let mut expected: BTreeMap<u8, u64> = BTreeMap::new();
    let mut id: u64 = 0;
    for group in 0..60u64 {
        let mut records = Vec::new();
        for _ in 0..1 + (seed ^ group) % 5 {
            id += 1;
            let key = (id.wrapping_mul(seed | 1) >> 3) as u8;
            let key = if key == avoid || key == 255 - avoid {
                0
            } else {
                key
            };
            *expected.entry(key).or_default() += 1;
            *expected.entry(255 - key).or_default() += 1;
            records.push(event(id, key));
        }
        world.send(if group % 7 == 0 { CONTROL } else { EVENTS }, records);
    }
    world.run(1_500);
    world.settle();
    for (key, wanted) in expected {
        let got = total(world.store(), key).expect("the simulated store reads");
        assert_eq!(
            got,
            wanted,
            "key {key}, seed {seed}, {} crashes",
            world.crashes()
        );
    }
    replay(&world, seed);
}

/// Deciding every recorded slice again gives the recorded results (I2), and the same rows.
fn replay(world: &World, seed: u64) {
    let store = Arc::new(SimStore::default());
    let shared = world.shared(store.clone());
    crate::runtime::replay::replay(&shared, &Ledger::default(), &*store, |_, _| ())
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(store.facts(), world.store().facts(), "seed {seed}");
}

#[test]
fn i1_every_acknowledged_event_counts_once_without_faults() {
    for seed in 0..20 {
        check(seed, Faults::NONE, 13);
    }
}

#[test]
fn row_24_i1_i2_i3_hold_under_crashes_duplicates_full_disks_and_clock_jumps() {
    for seed in seeds(200, 10_000) {
        check(seed, Faults::SOME, 13);
    }
}

/// Under load a next batch always waits: memory goes to disk all the same, and a restart absorbs what came since only.
#[test]
fn memory_goes_to_disk_under_a_load_that_never_ends() {
    let ledger = Ledger::default();
    let mut world = World::new(
        3,
        Faults::NONE,
        PARTITIONS,
        Arc::new(ledger.clone()),
        Arc::new(TestSealer::new(7)),
    );
    for id in 0..2_000 {
        world.send(EVENTS, vec![event(id, 16)]);
    }
    world.deliver();
    for round in 0..50 {
        world.decide_one();
        if round == 5 {
            world.want_checkpoints();
        }
    }
    let (at, seen) = ledger.kept.lock().clone();
    assert!(Offset(0) < at && seen.len() < 100, "{at:?}, {seen:?}");
    world.settle();
    assert_eq!(total(world.store(), 16).expect("it reads"), 2_000);
}

/// A machine that has another version of the logic until it has taken over so many results.
struct Upgraded {
    machine: Box<dyn Machine>,
    left: usize,
}

impl Machine for Upgraded {
    fn begin(&mut self, now: Time) {
        self.machine.begin(now);
    }
    fn apply(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        assert_eq!(self.left, 0, "it does not know how this was decided");
        self.machine.apply(rows, record, out)
    }
    fn finish(&mut self, rows: &dyn Rows, out: &mut WriteSet) -> Result<(), RowsError> {
        self.machine.finish(rows, out)
    }
    fn rollback(&mut self) {
        self.machine.rollback();
    }
    fn key(&self, record: &Record) -> Option<u64> {
        self.machine.key(record)
    }
    fn absorb(&mut self, delta: &[u8]) -> Result<(), RowsError> {
        self.left = self.left.saturating_sub(1);
        self.machine.absorb(delta)
    }
    fn logic_version(&self) -> u16 {
        self.machine.logic_version() + u16::from(self.left > 0)
    }
}

/// [`Ledger`] of a later program: the first results of each unit are not of its logic.
struct Later(usize);

impl Machines for Later {
    fn make(&self, unit: Unit, rows: &dyn Rows) -> Result<Made, String> {
        let made = Ledger::default().make(unit, rows)?;
        Ok(Made {
            machine: Box::new(Upgraded {
                machine: made.machine,
                left: self.0,
            }),
            absorbed: made.absorbed,
        })
    }
    fn timer_record(&self, timer: &Timer) -> RawRecord {
        Ledger::default().timer_record(timer)
    }
}

#[test]
fn row_37_what_another_logic_decided_is_taken_over_in_a_replay() {
    let mut world = world(5, Faults::NONE);
    for id in 0..120 {
        world.send(EVENTS, vec![event(id, id as u8 | 16)]);
        world.run(20);
    }
    world.settle();
    let replay = |older: usize| {
        let store = Arc::new(SimStore::default());
        let shared = world.shared(store.clone());
        let done = crate::runtime::replay::replay(&shared, &Later(older), &*store, |_, _| ())
            .expect("it replays");
        assert_eq!(store.facts(), world.store().facts(), "{older}");
        done
    };
    let all = replay(0);
    assert_eq!(all.recorded, 0);
    let units = 1 + u64::from(PARTITIONS);
    assert!(all.decided > 3 * units, "{all:?}");
    for older in 1..=3 {
        let some = replay(older);
        assert!(
            (1..=units * older as u64).contains(&some.recorded),
            "{some:?}"
        );
        assert_eq!(some.decided + some.recorded, all.decided);
    }
    assert_eq!(replay(usize::MAX).decided, 0);
}

#[test]
fn i18_same_seed_same_results() {
    let frames = |seed| {
        use crate::log::Log;
        let mut world = world(seed, Faults::SOME);
        for id in 0..50 {
            world.send(EVENTS, vec![event(id, id as u8 ^ 1)]);
        }
        world.run(1_000);
        world.settle();
        world
            .results()
            .read(PartitionId(0), Offset(0), usize::MAX)
            .expect("reads")
    };
    assert_eq!(frames(5), frames(5));
}

#[test]
fn row_26_a_panic_parks_the_key_and_others_flow() {
    let mut world = world(3, Faults::NONE);
    // Key 13: id 2 is fine, id 3 panics, id 4 must wait behind it; key 20 flows.
    for (id, key) in [(2, 13), (3, 13), (4, 13), (5, 20)] {
        world.send(EVENTS, vec![event(id, key)]);
    }
    world.run(300);
    world.settle();
    let got = |key| total(world.store(), key).expect("reads");
    assert_eq!((got(13), got(20), got(235)), (1, 1, 1));
    let unit = Unit::member(shard(13).partition(PARTITIONS));
    let waiting = parked(world.store(), unit, Some(13)).expect("reads");
    assert_eq!(
        waiting.len(),
        2,
        "the poisoned record and the one behind it"
    );
}

#[test]
fn parked_records_are_given_up_and_the_key_flows_again() {
    let store = SimStore::default();
    let unit = Unit::member(shard(7).partition(PARTITIONS));
    let input = |number: u64, key: u8, what: u64| Input {
        record: Record {
            at: RecordAt {
                index: number as u32,
                ..RecordAt::default()
            },
            schema: 2,
            shard: shard(key),
            envelope: Bytes::copy_from_slice(&what.to_le_bytes()),
            personal: Personal::Open(Bytes::from(vec![key])),
        },
        from: Some((Unit::IDENTITY, number)),
    };
    let mut core = UnitCore::new(
        unit,
        PARTITIONS,
        Box::new(Giver(Adder::default())),
        UnitState::default(),
    );
    let mut overlay = crate::store::Overlay::default();
    let mut step = |core: &mut UnitCore, inputs: Vec<Input>| {
        let batch = Batch {
            inputs,
            ..Batch::default()
        };
        let rows = overlay.view(&store);
        let result = core.step(&rows, &batch, Time(0), 1).expect("steps");
        let left = {
            overlay.push(
                result.header.batch,
                crate::result::Inner::of(&result.inner.rows),
            );
            parked(&overlay.view(&store), unit, None).expect("reads")
        };
        left.len()
    };
    // Id 3 of key 13 panics; id 4 waits behind it.
    assert_eq!(step(&mut core, vec![input(1, 13, 3), input(2, 13, 4)]), 2);
    // Given up; what comes behind in the same batch was parked by then and stays.
    let both = vec![input(3, 0, GIVE_UP + 13), input(4, 13, 6)];
    assert_eq!(step(&mut core, both), 1);
    assert!(core.state().parked.contains(&13));
    assert_eq!(step(&mut core, vec![input(5, 0, GIVE_UP + 13)]), 0);
    assert!(!core.state().parked.contains(&13));
    assert_eq!(step(&mut core, vec![input(6, 13, 8)]), 0, "it flows");
    assert_eq!(core.state().counters["parked_discarded"], 3);
}

/// Ids from here on give up a key.
const GIVE_UP: u64 = 1 << 32;

/// An adder that knows how to give up.
struct Giver(Adder);

impl Machine for Giver {
    fn begin(&mut self, now: Time) {
        self.0.begin(now);
    }
    fn apply(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let id = u64::from_le_bytes(record.envelope[..8].try_into().expect("eight bytes"));
        match id.checked_sub(GIVE_UP) {
            Some(key) => out.unparked.push(key),
            None => self.0.apply(rows, record, out)?,
        }
        Ok(())
    }
    fn finish(&mut self, rows: &dyn Rows, out: &mut WriteSet) -> Result<(), RowsError> {
        self.0.finish(rows, out)
    }
    fn rollback(&mut self) {
        self.0.rollback();
    }
    fn key(&self, record: &Record) -> Option<u64> {
        self.0.key(record)
    }
    fn absorb(&mut self, delta: &[u8]) -> Result<(), RowsError> {
        self.0.absorb(delta)
    }
    fn logic_version(&self) -> u16 {
        self.0.logic_version()
    }
}

/// A member unit and the frame of one record for key 7, number `number` from identity.
fn step_with(core: &mut UnitCore, numbers: &[u64]) -> Result<usize, StepError> {
    let store = SimStore::default();
    let inputs = numbers.iter().map(|number| Input {
        record: Record {
            at: RecordAt::default(),
            schema: 2,
            shard: shard(7),
            envelope: Bytes::from(vec![0; 8]),
            personal: Personal::Open(Bytes::from(vec![7])),
        },
        from: Some((Unit::IDENTITY, *number)),
    });
    let batch = Batch {
        inputs: inputs.collect(),
        ..Batch::default()
    };
    let result = core.step(&store, &batch, Time(0), 1)?;
    let added = result.inner.rows.iter().find(|row| row.space == TOTAL);
    Ok(added.map_or(0, |row| {
        let value = row.value.as_ref().expect("a total is written");
        u64::from_be_bytes(value[..].try_into().expect("eight bytes")) as usize
    }))
}

#[test]
fn i3_a_receiver_drops_what_it_heard_and_stops_at_a_gap() {
    let unit = Unit::member(shard(7).partition(PARTITIONS));
    let state = UnitState::default();
    let mut core = UnitCore::new(unit, PARTITIONS, Box::new(Adder::default()), state);
    // A relay may deliver again, whole or in part, but in order.
    assert_eq!(step_with(&mut core, &[1, 2, 3]).expect("steps"), 3);
    assert_eq!(step_with(&mut core, &[2, 3, 4]).expect("steps"), 1);
    assert_eq!(step_with(&mut core, &[1, 2]).expect("steps"), 0);
    let before = core.state().clone();
    let gap = step_with(&mut core, &[6]).expect_err("five is missing");
    assert!(
        matches!(
            gap,
            StepError::Gap {
                expected: 5,
                got: 6,
                ..
            }
        ),
        "{gap}"
    );
    assert_eq!(core.state(), &before, "a refused batch changes nothing");
}

/// Owners that were replaced go on deciding; relays repeat themselves; replies are lost. Every event counts once.
#[test]
fn row_17_18_i4_zombies_write_and_nobody_reads_it() {
    let (mut ignored, mut fenced, mut lost) = (0, 0, 0);
    for seed in seeds(200, 10_000) {
        let mut cluster = Cluster::new(seed, PARTITIONS, Arc::new(Ledger::default()));
        let mut expected: BTreeMap<u8, u64> = BTreeMap::new();
        for id in 1..=120u64 {
            let key = match (id.wrapping_mul(seed | 1) >> 2) as u8 {
                13 | 242 => 0,
                key => key,
            };
            *expected.entry(key).or_default() += 1;
            *expected.entry(255 - key).or_default() += 1;
            cluster.send(event(id, key));
            if id % 7 == 0 {
                cluster.send(event(id, key));
            }
            cluster.run(8);
        }
        cluster.settle();
        for (key, wanted) in expected {
            let unit = Unit::member(shard(key).partition(PARTITIONS));
            let got = total(&cluster.rows(unit), key).expect("memory reads");
            assert_eq!(got, wanted, "key {key}, seed {seed}");
        }
        ignored += cluster.ignored();
        fenced += cluster.troubles().0;
        lost += cluster.troubles().1;
    }
    assert!(
        ignored > 0 && fenced > 0 && lost > 0,
        "{ignored} {fenced} {lost}: the schedule makes no trouble"
    );
}
