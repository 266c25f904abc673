//! The digest is over facts: it sees every one of them, and nothing else.

use actors::model::{Identifier, MemberNo, OrderStatus, Scope};

use super::harness::{Made, World, change};
use crate::definition::AttributeSchema;
use crate::profile::view::{member_view, members_among};
use crate::profile::{Limits, digest, row};

fn told(events: &[Made]) -> World {
    let mut world = World::new(Limits::default());
    for made in events {
        made.send(&mut world);
    }
    world.drain(3);
    world
}

fn base() -> Vec<Made> {
    vec![
        Made::new(1, 1, 10, 5).traits(r#"{"city":"上海","tags":["a"]}"#),
        Made::new(2, 1, 11, 6).order(
            77,
            11,
            change(77, Some(OrderStatus::Paid), None, &[("a", 100)]),
        ),
        Made::new(3, 2, 12, 7),
        Made::new(4, 3, 78, 8).order(78, 78, change(78, None, Some(5), &[])),
    ]
}

fn of(world: &World) -> [u8; 32] {
    digest(&world.rows, &|member: MemberNo| {
        let name = match member.0 % 100 {
            1 => "phone:1",
            2 => "phone:2",
            _ => "order@shop:78",
        };
        Ok(vec![name.parse::<Identifier>().unwrap()])
    })
    .unwrap()
}

#[test]
fn internal_numbers_and_arrival_do_not_count() {
    let straight = of(&told(&base()));
    let mut other = base();
    other.reverse();
    for made in &mut other {
        made.head.member.0 += 100;
        made.head.fragment.0 += 1000;
        made.head.received.0 += 99;
        if let Some(part) = &mut made.head.order {
            part.order.0 += 1000;
            part.holder.0 += 1000;
        }
    }
    assert_eq!(of(&told(&other)), straight);
}

#[test]
fn rows_of_before_activity_had_its_own_say_the_same() {
    let schema = AttributeSchema::default();
    let view = |world: &World, member| {
        let scope = Scope::installation();
        member_view(&world.rows, MemberNo(member), &schema, &scope).unwrap()
    };
    let after = [
        Made::new(5, 1, 10, 3).traits(r#"{"city":"北京"}"#),
        Made::new(6, 2, 12, 9),
    ];
    let (mut aged, mut fresh) = (told(&base()), told(&base()));
    aged.age();
    for more in [&[][..], &after] {
        for world in [&mut aged, &mut fresh] {
            more.iter().for_each(|made| made.send(world));
            world.drain(3);
        }
        assert_eq!(of(&aged), of(&fresh));
        for member in 1..=3 {
            assert_eq!(view(&aged, member), view(&fresh, member), "{member}");
        }
        for world in [&aged, &fresh] {
            let among = |numbers| members_among(&world.rows, &numbers).unwrap();
            assert_eq!(among(0..9), [1, 2, 3].map(MemberNo));
            assert_eq!(among(2..3), [MemberNo(2)]);
        }
    }
}

#[test]
fn an_event_that_tells_nothing_leaves_what_was_told_alone() {
    let mut world = told(&base());
    let cells = |world: &World| {
        let rows = world.rows.0.iter();
        let cells = rows.filter(|((space, _), _)| *space == row::CELLS.0);
        cells
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect::<Vec<_>>()
    };
    let before = cells(&world);
    assert_eq!(before.len(), 1, "one member was told something");
    Made::new(7, 1, 10, 9).send(&mut world);
    Made::new(8, 1, 10, 9).traits("{}").send(&mut world);
    world.drain(3);
    assert_eq!(cells(&world), before);
}

/// Changes one fact.
type Vary = fn(&mut Vec<Made>);

#[test]
fn every_fact_counts() {
    let straight = of(&told(&base()));
    let changes: [(&str, Vary); 10] = [
        ("an event less", |events| {
            events.remove(2);
        }),
        ("an event twice", |events| {
            let mut again = events[2].clone();
            again.head.raw.offset.0 = 9;
            events.push(again);
        }),
        ("a time", |events| events[2].head.time.0 += 1),
        ("a name", |events| events[2].head.name = "left".into()),
        ("an attribute", |events| {
            events[0].traits = Some(r#"{"city":"北京","tags":["a"]}"#.into())
        }),
        ("an element", |events| {
            events[0].traits = Some(r#"{"city":"上海","tags":["b"]}"#.into())
        }),
        ("a line", |events| {
            events[1] = events[1].clone().order(
                77,
                11,
                change(77, Some(OrderStatus::Paid), None, &[("b", 100)]),
            );
        }),
        ("a status", |events| {
            events[1] = events[1].clone().order(
                77,
                11,
                change(77, Some(OrderStatus::Shipped), None, &[("a", 100)]),
            );
        }),
        ("a total", |events| {
            events[3] = events[3]
                .clone()
                .order(78, 78, change(78, None, Some(6), &[]));
        }),
        ("a member", |events| {
            events[2].head.member.0 = 1;
        }),
    ];
    for (what, vary) in changes {
        let mut events = base();
        vary(&mut events);
        assert_ne!(of(&told(&events)), straight, "{what}");
    }
}
