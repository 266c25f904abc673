//! Identity and members together under the simulated world: crashes, duplicates, full disks, lost stores, clock jumps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors::machine::{Machines, Made, Rows, Timer};
use actors::model::{
    BrandId, IdSpace, Identifier, MemberNo, PartitionId, SourceId, Time, Unit, UnitKind,
};
use actors::raw::{CONTROL, RawRecord};
use actors::seal::TestSealer;
use actors::testkit::{Faults, Random, SimStore, World, seeds};
use cdp::control::{Control, Regroup};
use cdp::identity::{Dedup, IdentityMachine, Setup, row};
use cdp::profile::MemberMachine;
use ingest::{OrderDefaults, Protocol, SourceInfo};

use crate::decode::{Decoder, to_raw};
use crate::offline::digest_facts;
use crate::stats::{Stats, unit_states};

const PARTITIONS: u16 = 4;
const EVENTS: PartitionId = PartitionId(1);

/// Identity and members, with identity's checkpoints in a temporary folder.
struct Cdp {
    dir: tempfile::TempDir,
}

impl Machines for Cdp {
    fn make(&self, unit: Unit, rows: &dyn Rows) -> Result<Made, String> {
        match unit.kind {
            UnitKind::Identity => IdentityMachine::make(
                Setup {
                    dir: self.dir.path().join("identity"),
                    key: [7; 32],
                    decoder: Box::new(Decoder),
                    // Longer than the world's clock can run away: a repeat behind the window counts again, rightly.
                    dedup: Dedup {
                        window_days: 20,
                        ..Dedup::default()
                    },
                },
                rows,
            ),
            UnitKind::Member => Ok(Made {
                machine: Box::new(MemberMachine::new(unit.partition, jiff::tz::TimeZone::UTC)),
                absorbed: None,
            }),
        }
    }

    fn timer_record(&self, timer: &Timer) -> RawRecord {
        Control::TimerFired {
            shard: timer.shard,
            id: timer.id,
            at: timer.at,
            payload: timer.payload.clone(),
        }
        .to_raw()
    }
}

fn world(seed: u64, faults: Faults) -> World {
    let machines = Cdp {
        dir: tempfile::tempdir().expect("a folder"),
    };
    World::new(
        seed,
        faults,
        PARTITIONS,
        Arc::new(machines),
        Arc::new(TestSealer::new(7)),
    )
}

/// One of our own events as raw record.
fn raw(json: &str) -> RawRecord {
    let source = SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(0),
        test: false,
        orders: OrderDefaults::default(),
        sensors: Default::default(),
    };
    let request = ingest::Request {
        path: "/v1/events",
        headers: &[],
        received: Time(1_700_000_000_000),
        query: "",
        nonce: 0,
        body: json.as_bytes().to_vec().into(),
    };
    let admitted = ingest::admit(Protocol::Own, &source, request).expect("admitted");
    assert_eq!(admitted.rejected().count(), 0, "{json}");
    to_raw(&admitted.records[0])
}

/// Events of `people` people over phones, users, anonymous ids and orders; some shared, some late.
fn stream(seed: u64, events: u64, people: u64) -> Vec<RawRecord> {
    let mut random = Random::new(seed);
    (0..events)
        .map(|id| {
            let person = random.below(people);
            let mut identifiers = BTreeSet::new();
            for _ in 0..1 + random.below(2) {
                identifiers.insert(match random.below(4) {
                    0 => format!("\"phone:1380000{:04}\"", person / 2),
                    1 => format!("\"user_id:u{person}\""),
                    2 => format!("\"anonymous_id:a{}\"", random.below(people)),
                    _ => format!("\"openid@wx1:o{person}\""),
                });
            }
            let identifiers: Vec<String> = identifiers.into_iter().collect();
            let time = 1_690_000_000_000 + random.below(1_000_000) as i64;
            let order = match random.below(3) {
                0 => format!(
                    r#","order":{{"order_id":"O{}","currency":"CNY","lines":[{{"line_id":"L{id}","sku":"S","quantity":"1","unit_price":"1.50"}}]}}"#,
                    random.below(events / 4 + 1)
                ),
                _ => String::new(),
            };
            let kind = if order.is_empty() { "track" } else { "order" };
            raw(&format!(
                r#"{{"message_id":"m{id}","type":"{kind}","name":"n{}","time":"{}","identifiers":[{}],"traits":{{"city":"c{}"}}{order}}}"#,
                random.below(5),
                Time(time).rfc3339(),
                identifiers.join(","),
                random.below(9),
            ))
        })
        .collect()
}

/// Facts after a run: digest and the totals that people look at.
fn facts(world: &World) -> ([u8; 32], BTreeMap<String, i64>) {
    let digest = digest_facts(world.store()).expect("reads");
    let states = unit_states(world.store(), PARTITIONS).expect("reads");
    let stats = Stats::of(&states);
    let mut counters = stats.counters;
    counters.insert("applied".into(), stats.applied);
    // What happened on the way differs with the faults: duplicates resent, records parked.
    for name in ["duplicates", "message_generations_dropped_early"] {
        counters.remove(name);
    }
    counters.retain(|_, total| *total != 0);
    (digest, counters)
}

/// One group per record, in order: the same stream under other faults must end in the same facts.
fn run(seed: u64, faults: Faults, steps: u64) -> World {
    let mut world = world(seed, faults);
    let mut sent = 0;
    for record in stream(seed, 60, 8) {
        world.send(EVENTS, vec![record]);
        sent += 1;
    }
    assert_eq!(sent, 60);
    world.run(steps);
    world.settle();
    world
}

fn replay(world: &World, seed: u64) {
    let store = Arc::new(SimStore::default());
    let shared = world.shared(store.clone());
    let machines = Cdp {
        dir: tempfile::tempdir().expect("a folder"),
    };
    actors::runtime::replay::replay(&shared, &machines, &*store, |_, _| ())
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(store.facts(), world.store().facts(), "seed {seed}");
}

#[test]
fn i1_i2_members_come_out_the_same_whatever_goes_wrong() {
    for seed in seeds(40, 1_000) {
        let faults = Faults {
            // Order of arrival decides who holds an identifier, so the client may resend but not reorder.
            full: 0,
            ..Faults::SOME
        };
        let calm = run(seed, Faults::NONE, 0);
        let stormy = run(seed, faults, 1_500);
        let applied = facts(&calm).1.get("applied").copied();
        assert_eq!(
            applied,
            facts(&stormy).1.get("applied").copied(),
            "seed {seed}"
        );
        replay(&stormy, seed);
    }
}

#[test]
fn row_31_merge_and_unmerge_midway_lose_nothing() {
    for seed in seeds(40, 1_000) {
        let mut world = world(seed, Faults::SOME);
        let mut random = Random::new(seed ^ 0xa5);
        for (index, record) in stream(seed, 60, 6).into_iter().enumerate() {
            world.send(EVENTS, vec![record]);
            if index % 10 == 9 {
                world.run(150);
                let regroup = Regroup {
                    request: format!("r{index}").into(),
                    member: MemberNo(random.below(10) as u32),
                    identifiers: vec![Identifier::new(
                        "anonymous_id",
                        "",
                        &format!("a{}", random.below(6)),
                    )],
                    by: "test".into(),
                    reason: "".into(),
                };
                let control = match random.chance(70) {
                    true => Control::Unmerge(regroup),
                    false => Control::Rejoin(regroup),
                };
                world.send(CONTROL, vec![control.to_raw()]);
            }
        }
        world.run(500);
        world.settle();
        let (_, counters) = facts(&world);
        assert_eq!(
            counters.get("applied"),
            Some(&60),
            "seed {seed}: {counters:?}"
        );
        everybody_is_somewhere(&world, seed);
        replay(&world, seed);
    }
}

/// Every identifier resolves to a live member that lists it, and no member is left in the middle of a move.
fn everybody_is_somewhere(world: &World, seed: u64) {
    let rows = world.store();
    for person in 0..6 {
        for name in [format!("u{person}"), format!("a{person}")] {
            let kind = if name.starts_with('u') {
                "user_id"
            } else {
                "anonymous_id"
            };
            let identifier = Identifier::new(kind, "", &name);
            let Some(ident) = row::ident_of(rows, &identifier).expect("reads") else {
                continue;
            };
            let member = row::member_of(rows, ident)
                .expect("reads")
                .expect("has a member");
            let key = row::key32(member.0);
            let found: row::MemberRow = row::get(rows, row::MEMBER, &key)
                .expect("reads")
                .expect("is live");
            assert!(
                found.identifiers.contains(&ident),
                "seed {seed}: {identifier}"
            );
            assert!(
                !cdp::profile::is_merging(rows, member).expect("reads"),
                "seed {seed}: {identifier} is still on the move"
            );
        }
    }
}
