//! Facts on the move end where and what they would be had every event gone straight to its fragment's last home.
//!
//! A little identity tells members of events, moves and notes; the members work in random interleavings and batches. The
//! naive model is the same machine without moves: every event goes to the last home of its fragment.

use std::collections::BTreeMap;

use actors::model::{BrandId, EventKind, IdentNo, Identifier, MemberNo, OrderStatus, SourceId};
use bytes::Bytes;
use proptest::prelude::*;

use super::harness::{Made, PARTITIONS, World, change, definition};
use crate::profile::{Limits, digest, is_merging, row};
use crate::routed::{Expect, IdentityNote, Moved, NoteKind, Release, schema};

/// Fragments of people are 0 to 5, orders are fragments from 100 on.
const FRAGMENTS: u32 = 6;
const ORDERS: u32 = 4;
const MEMBERS: u32 = 5;

#[derive(Debug, Clone)]
enum Op {
    /// An event of a fragment; `order`: tells something of an order as well.
    Event {
        fragment: u32,
        time: i64,
        order: Option<u32>,
        flavour: u32,
    },
    /// A fragment goes to a member.
    Move {
        fragment: u32,
        to: u32,
        release_first: bool,
    },
    /// An order goes to a fragment.
    Attach { order: u32, to: u32 },
    /// A note.
    Note { fragment: u32 },
    /// The attribute schema changes.
    Define { flavour: u32 },
    /// The rows become those of before activity had rows of its own.
    Age,
    /// A member unit works.
    Work { partition: u16, count: usize },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let event = (
        0..FRAGMENTS,
        0..40i64,
        prop::option::of(0..ORDERS),
        0..1000u32,
    )
        .prop_map(|(fragment, time, order, flavour)| Op::Event {
            fragment,
            time,
            order,
            flavour,
        });
    let movement = (0..FRAGMENTS + ORDERS, 0..MEMBERS, any::<bool>()).prop_map(
        |(fragment, to, release_first)| Op::Move {
            fragment,
            to,
            release_first,
        },
    );
    let attach =
        (0..ORDERS, 0..FRAGMENTS + ORDERS).prop_map(|(order, to)| Op::Attach { order, to });
    let work =
        (0..PARTITIONS, 1..6usize).prop_map(|(partition, count)| Op::Work { partition, count });
    let op = prop_oneof![
        6 => event,
        3 => movement,
        2 => attach,
        1 => (0..FRAGMENTS).prop_map(|fragment| Op::Note { fragment }),
        1 => (0..4u32).prop_map(|flavour| Op::Define { flavour }),
        1 => Just(Op::Age),
        4 => work,
    ];
    prop::collection::vec(op, 0..120)
}

/// Numbers as fragment: people first, then the orders' own.
fn fragment_no(index: u32) -> u32 {
    if index < FRAGMENTS {
        index
    } else {
        100 + index - FRAGMENTS
    }
}

/// Who is where.
struct Homes {
    /// Fragment to member.
    member: BTreeMap<u32, u32>,
    /// Order to the fragment that holds it.
    holder: BTreeMap<u32, u32>,
}

impl Homes {
    fn new() -> Homes {
        let fragments = (0..FRAGMENTS + ORDERS).map(fragment_no);
        Homes {
            member: fragments
                .enumerate()
                .map(|(at, it)| (it, 20 + at as u32))
                .collect(),
            holder: (0..ORDERS)
                .map(|order| (100 + order, 100 + order))
                .collect(),
        }
    }
}

fn event(world: &mut World, homes: &Homes, n: u64, op: &Op) {
    let &Op::Event {
        fragment,
        time,
        order,
        flavour,
    } = op
    else {
        return;
    };
    let mut made = Made::new(n, homes.member[&fragment], fragment, time);
    made.head.source = SourceId(1 + flavour % 2);
    made.head.brand = BrandId(flavour % 3 / 2);
    made.head.test = flavour % 11 == 0;
    made.erased = flavour % 13 == 0;
    if order.is_some() {
        made.head.kind = EventKind::Order;
        made.head.name = "order".into();
    } else if flavour % 2 == 0 {
        made.head.kind = EventKind::Identify;
        made.head.name = "identify".into();
    }
    if flavour % 2 == 0 {
        made.traits = Some(format!(
            r#"{{"city":"c{}","level":{},"tags":["t{}","t{}"],"gone":{}}}"#,
            flavour % 5,
            flavour % 7,
            flavour % 4,
            flavour % 9,
            if flavour % 3 == 0 { "null" } else { "1.5" },
        ));
    }
    let Some(order) = order.map(|order| 100 + order) else {
        return made.send(world);
    };
    let holder = homes.holder[&order];
    let statuses = [None, Some(OrderStatus::Paid), Some(OrderStatus::Cancelled)];
    let line = format!("l{}", flavour % 3);
    let told = change(
        order,
        statuses[(flavour % 3) as usize],
        (flavour % 5 == 0).then_some(i64::from(flavour)),
        &[(&line, i64::from(flavour) * 10 - 400)],
    );
    if homes.member[&holder] == homes.member[&fragment] && flavour % 2 == 0 {
        return made.order(order, holder, told).send(world);
    }
    made.send(world);
    let mut only = made.order(order, holder, told);
    only.head.member = MemberNo(homes.member[&holder]);
    only.head.order_only = true;
    only.send(world);
}

fn movement(
    world: &mut World,
    movement: u64,
    from: u32,
    to: u32,
    moved: Moved,
    release_first: bool,
) {
    let (from, to) = (MemberNo(from), MemberNo(to));
    let release = Release {
        movement,
        member: from,
        moved,
        to,
    };
    let expect = Expect {
        movement,
        member: to,
        moved,
        from,
    };
    if release_first {
        world.tell(from, schema::RELEASE, &release);
        world.tell(to, schema::EXPECT, &expect);
    } else {
        world.tell(to, schema::EXPECT, &expect);
        world.tell(from, schema::RELEASE, &release);
    }
}

/// Plays the operations. With `last`, every event goes where `last` says and nothing moves.
fn play(
    ops: &[Op],
    limits: Limits,
    batch: usize,
    twice: bool,
    last: Option<&Homes>,
) -> (World, Homes) {
    let mut world = World::new(limits);
    world.twice = twice;
    let mut homes = Homes::new();
    for (n, op) in ops.iter().enumerate() {
        let n = n as u64;
        match op {
            Op::Event { .. } => event(&mut world, last.unwrap_or(&homes), n, op),
            Op::Note { fragment } => {
                let member = MemberNo(last.unwrap_or(&homes).member[fragment]);
                let note = IdentityNote {
                    member,
                    fragment: IdentNo(*fragment),
                    what: NoteKind::Linked,
                    time: actors::model::Time(n as i64),
                    other: None,
                    cause: actors::model::Position {
                        offset: actors::model::Offset(n),
                        ..Default::default()
                    },
                };
                world.tell(member, schema::NOTE, &note);
            }
            Op::Define { flavour } => {
                let body = serde_json::json!({"strict": *flavour == 3, "attributes": [
                    {"name": "tags", "type": "texts", "survivorship": if *flavour == 0 { "latest" } else { "union" }},
                    {"name": "level", "type": if *flavour == 1 { "text" } else { "number" }},
                ]});
                world.send(definition(n as u32 + 1, body), true);
            }
            _ if last.is_some() => {}
            Op::Move {
                fragment,
                to,
                release_first,
            } => {
                let fragment = fragment_no(*fragment);
                let from = homes.member.insert(fragment, *to).unwrap();
                let moved = Moved::Fragment(IdentNo(fragment));
                movement(&mut world, n, from, *to, moved, *release_first);
            }
            Op::Attach { order, to } => {
                let (order, to) = (100 + order, fragment_no(*to));
                // Orders are held by people or by themselves.
                if to < 100 || to == order {
                    let from = homes.holder.insert(order, to).unwrap();
                    if from != to {
                        let moved = Moved::Order {
                            order: IdentNo(order),
                            from: IdentNo(from),
                            to: IdentNo(to),
                        };
                        movement(
                            &mut world,
                            n,
                            homes.member[&from],
                            homes.member[&to],
                            moved,
                            false,
                        );
                    }
                }
            }
            Op::Age => world.age(),
            Op::Work { partition, count } => {
                world.step(*partition, *count);
            }
        }
    }
    world.drain(batch);
    (world, homes)
}

/// Rows without places in the result log, which differ, in the form of before activity had rows of its own.
fn facts(mut world: World) -> BTreeMap<(u8, Vec<u8>), Bytes> {
    world.age();
    let mut facts = BTreeMap::new();
    for ((space, key), value) in &world.rows.0 {
        let (mut key, mut value) = (key.clone(), value.clone());
        if *space == row::TIMELINE.0 {
            let mut line = row::TimelineRow::decode(&value).unwrap();
            line.at = Default::default();
            value = line.encode().into();
            if matches!(line.what, row::What::Note(_)) {
                let end = key.len() - 4;
                key.truncate(end);
            }
        }
        facts.insert((*space, key), value);
    }
    facts
}

fn digest_of(world: &World, homes: &Homes) -> [u8; 32] {
    digest(&world.rows, &|member| {
        let names = homes.member.iter().filter(|(_, home)| **home == member.0);
        Ok(names
            .map(|(fragment, _)| Identifier::new("custom", "", &fragment.to_string()))
            .collect())
    })
    .unwrap()
}

proptest! {
    #[test]
    fn moved_facts_equal_facts_told_in_place(ops in ops(), batch in 1..40usize, tiny in any::<bool>(), twice in any::<bool>()) {
        let limits = match tiny {
            true => Limits { part_bytes_max: 150, batch_bytes_max: 300 },
            false => Limits::default(),
        };
        let (moved, homes) = play(&ops, limits, batch, twice, None);
        let (told, _) = play(&ops, Limits::default(), 1000, false, Some(&homes));
        prop_assert_eq!(&moved.counters, &told.counters);
        prop_assert_eq!(digest_of(&moved, &homes), digest_of(&told, &homes));
        for member in 0..40 {
            prop_assert!(!is_merging(&moved.rows, MemberNo(member)).unwrap());
        }
        prop_assert_eq!(facts(moved), facts(told));
    }
}

#[test]
fn a_member_merges_until_its_data_has_come() {
    let mut world = World::new(Limits::default());
    Made::new(1, 1, 10, 1)
        .traits(r#"{"city":"上海"}"#)
        .send(&mut world);
    world.drain(10);
    movement(&mut world, 1, 1, 2, Moved::Fragment(IdentNo(10)), false);
    let home = MemberNo(2).shard().partition(PARTITIONS).0;
    while world.step(home, 1) && !is_merging(&world.rows, MemberNo(2)).unwrap() {}
    assert!(is_merging(&world.rows, MemberNo(2)).unwrap());
    world.drain(10);
    assert!(!is_merging(&world.rows, MemberNo(2)).unwrap());
    assert!(
        world
            .rows
            .0
            .keys()
            .all(|(_, key)| row::whose(key).unwrap().0 == MemberNo(2))
    );
}

#[test]
fn a_large_fragment_leaves_in_parts() {
    let limits = Limits {
        part_bytes_max: 1 << 10,
        batch_bytes_max: 4 << 10,
    };
    let mut world = World::new(limits);
    for n in 0..1000 {
        Made::new(n, 1, 10, n as i64).send(&mut world);
    }
    world.drain(100);
    let before = world.log.len();
    movement(&mut world, 1, 1, 2, Moved::Fragment(IdentNo(10)), false);
    world.drain(100);
    let parts = world.log[before..]
        .iter()
        .filter(|(_, record)| record.schema == schema::DATA);
    assert!(parts.clone().count() > 40);
    for (_, record) in parts {
        assert!(
            record.envelope.len() <= 2 << 10,
            "{}",
            record.envelope.len()
        );
    }
    let goes_on = world.log[before..]
        .iter()
        .filter(|(_, record)| record.schema == schema::CONTINUE);
    assert!(goes_on.count() > 10);
    let lines = world
        .rows
        .0
        .keys()
        .filter(|(space, _)| *space == row::TIMELINE.0);
    assert_eq!(lines.count(), 1000);
    assert!(
        world
            .rows
            .0
            .keys()
            .all(|(_, key)| row::whose(key).unwrap().0 == MemberNo(2))
    );
}

#[test]
fn an_erase_on_the_way_leaves_counts_and_orders() {
    let mut world = World::new(Limits::default());
    Made::new(1, 1, 10, 1)
        .traits(r#"{"city":"上海"}"#)
        .order(77, 10, change(77, None, None, &[("a", 100)]))
        .send(&mut world);
    world.drain(10);
    movement(&mut world, 1, 1, 2, Moved::Fragment(IdentNo(10)), false);
    for partition in 0..PARTITIONS {
        while world.log.iter().all(|(_, it)| it.schema != schema::DATA) && world.step(partition, 1)
        {
        }
    }
    for (_, record) in &mut world.log {
        if record.schema == schema::DATA {
            record.personal = actors::machine::Personal::Erased;
        }
    }
    world.drain(10);
    let schema = crate::definition::AttributeSchema::default();
    let scope = actors::model::Scope::installation();
    let seen = crate::profile::view::member_view(&world.rows, MemberNo(2), &schema, &scope)
        .unwrap()
        .unwrap();
    assert!(seen.attributes.is_empty());
    assert_eq!(seen.orders.count, 1);
    assert_eq!(seen.events.values().sum::<u64>(), 1);
    assert_eq!(world.counter("orders"), 1);
}

#[test]
fn a_forgotten_person_keeps_counts_and_orders_only() {
    for on_the_way in [false, true] {
        let mut world = World::new(Limits::default());
        Made::new(1, 1, 10, 1)
            .traits(r#"{"city":"上海"}"#)
            .order(77, 10, change(77, None, None, &[("a", 100)]))
            .send(&mut world);
        world.drain(10);
        movement(&mut world, 1, 1, 2, Moved::Fragment(IdentNo(10)), false);
        if !on_the_way {
            world.drain(10);
        }
        let member = MemberNo(2);
        let erased = crate::routed::Erased {
            member,
            fragments: vec![IdentNo(10)],
        };
        // Identity tells of it behind the move; the data may come later still.
        world.tell(member, schema::ERASED, &erased);
        world.drain(10);
        let rows = &world.rows;
        let attributes = crate::definition::AttributeSchema::default();
        let scope = actors::model::Scope::installation();
        let seen = crate::profile::view::member_view(rows, member, &attributes, &scope)
            .unwrap()
            .unwrap();
        assert!(seen.attributes.is_empty(), "on the way: {on_the_way}");
        assert_eq!(seen.orders.count, 1);
        assert_eq!(seen.events.values().sum::<u64>(), 1);
        let city = "上海".as_bytes();
        let told = |row: &bytes::Bytes| row.windows(city.len()).any(|part| part == city);
        assert!(!rows.0.values().any(told), "on the way: {on_the_way}");
    }
}
