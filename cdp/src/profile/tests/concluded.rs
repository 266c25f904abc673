//! Memberships and tags: rows, timeline, repeats, moves.

use actors::machine::{Outgoing, To};
use actors::model::{
    BrandId, IdentNo, MemberNo, Offset, PartitionId, Position, Scope, SegmentId, TagId, Time,
};

use super::harness::{Made, World};
use crate::definition::AttributeSchema;
use crate::profile::concluded::{memberships, tags};
use crate::profile::view::{ChangeKind, TimelineFilter, TimelineItem, timeline_page};
use crate::profile::{Limits, Value, row};
use crate::routed::{self, Expect, MembershipPart, Moved, Release, TaggedPart, schema};

const MEMBER: MemberNo = MemberNo(1);
const FRAGMENT: IdentNo = IdentNo(10);

fn membership(offset: u64, entered: bool, rebuilt: bool) -> MembershipPart {
    MembershipPart {
        segment: SegmentId(7),
        version: 3,
        brand: BrandId(0),
        rebuilt,
        at: Time(1_000 * offset as i64),
        cause: control(offset),
        members: vec![(MEMBER, Some(FRAGMENT), entered)],
    }
}

fn control(offset: u64) -> Position {
    Position {
        partition: PartitionId(0),
        offset: Offset(offset),
    }
}

fn tag(world: &mut World, offset: u64, value: Option<Value>) {
    let part = TaggedPart {
        member: MEMBER,
        fragment: Some(FRAGMENT),
        tag: TagId(4),
        version: 1,
        brand: BrandId(0),
        rebuilt: false,
        at: Time(1_000 * offset as i64),
        cause: control(offset),
    };
    let outgoing = Outgoing {
        to: To::Shard(MEMBER.shard()),
        schema: schema::TAGGED,
        envelope: routed::encode(&part),
        personal: value.map(|value| (FRAGMENT, routed::encode(&value))),
    };
    world.send(outgoing, true);
    world.drain(8);
}

fn page(world: &World, member: MemberNo, changes: &[ChangeKind]) -> Vec<TimelineItem> {
    let filter = TimelineFilter {
        changes: changes.to_vec(),
        ..TimelineFilter::default()
    };
    let schema = AttributeSchema::default();
    let scope = Scope::installation();
    let page = timeline_page(&world.rows, member, &schema, &scope, &filter, 100, None);
    page.unwrap().items
}

fn names(world: &World, member: MemberNo) -> Vec<String> {
    let items = page(world, member, &[]);
    items
        .iter()
        .map(|item| item.row.name().to_owned())
        .collect()
}

#[test]
fn a_membership_is_a_row_and_a_change_is_a_line_and_repeats_are_nothing() {
    let mut world = World::new(Limits::default());
    world.twice = true;
    Made::new(1, MEMBER.0, FRAGMENT.0, 1).send(&mut world);
    for (offset, entered) in [(2, true), (3, true), (4, false), (5, false), (6, true)] {
        world.tell(
            MEMBER,
            schema::MEMBERSHIP,
            &membership(offset, entered, offset == 2),
        );
        world.drain(1);
    }
    assert_eq!(
        names(&world, MEMBER),
        [
            "segment_entered",
            "segment_left",
            "segment_entered",
            "viewed"
        ]
    );
    let held = memberships(&world.rows, MEMBER).unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].0, held[0].1.since), (SegmentId(7), Time(6_000)));
    assert_eq!(world.counter("segment_members.7"), 1);
    assert_eq!(world.counter("segment_entered"), 2);
    let entered = page(&world, MEMBER, &[ChangeKind::SegmentEntered]);
    let rebuilt: Vec<bool> = entered
        .iter()
        .map(|item| match item.row.what {
            row::What::Segment(note) => note.rebuilt,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(rebuilt, [false, true]);
    // What is no change of the facts leaves activity alone, and makes no cell.
    let before = world
        .rows
        .0
        .get(&(row::ACTIVITY.0, row::front(MEMBER, FRAGMENT).to_vec()));
    let before = before.cloned();
    world.tell(MEMBER, schema::MEMBERSHIP, &membership(7, false, false));
    world.drain(1);
    let after = world
        .rows
        .0
        .get(&(row::ACTIVITY.0, row::front(MEMBER, FRAGMENT).to_vec()));
    assert_eq!(before.as_ref(), after);
    assert!(memberships(&world.rows, MEMBER).unwrap().is_empty());
}

#[test]
fn a_tag_tells_what_it_was_and_what_it_is_and_is_no_attribute() {
    let mut world = World::new(Limits::default());
    world.twice = true;
    let text = |text: &str| Some(Value::Text(text.into()));
    tag(&mut world, 1, text("gold"));
    tag(&mut world, 2, text("gold"));
    tag(&mut world, 3, text("silver"));
    assert_eq!(
        tags(&world.rows, MEMBER).unwrap()[0].1.value,
        text("silver").unwrap()
    );
    tag(&mut world, 4, None);
    tag(&mut world, 5, None);
    assert!(tags(&world.rows, MEMBER).unwrap().is_empty());
    assert_eq!(world.counter("tag_members.4"), 0);
    let items = page(&world, MEMBER, &[ChangeKind::TagChanged]);
    let told: Vec<(Option<Value>, Option<Value>)> = items
        .iter()
        .map(|item| {
            let of = |name: &str| {
                let found = item.row.told.iter().find(|(told, _)| **told == *name);
                found.map(|(_, value)| value.clone())
            };
            (of(row::TAG_OLD), of(row::TAG_NEW))
        })
        .collect();
    assert_eq!(
        told,
        [
            (text("silver"), None),
            (text("gold"), text("silver")),
            (None, text("gold"))
        ]
    );
    assert!(items.iter().all(|item| item.changes.is_empty()));
}

#[test]
fn the_line_follows_its_fragment_and_the_row_stays_with_the_number() {
    let mut world = World::new(Limits::default());
    let other = MemberNo(2);
    world.tell(MEMBER, schema::MEMBERSHIP, &membership(1, true, false));
    tag(&mut world, 2, Some(Value::Int(1)));
    let moved = Moved::Fragment(FRAGMENT);
    world.tell(
        other,
        schema::EXPECT,
        &Expect {
            movement: 1,
            member: other,
            moved,
            from: MEMBER,
        },
    );
    world.tell(
        MEMBER,
        schema::RELEASE,
        &Release {
            movement: 1,
            member: MEMBER,
            moved,
            to: other,
        },
    );
    world.drain(8);
    assert_eq!(names(&world, MEMBER), Vec::<String>::new());
    assert_eq!(names(&world, other), ["tag_changed", "segment_entered"]);
    assert_eq!(memberships(&world.rows, MEMBER).unwrap().len(), 1);
    // The audience takes an absorbed number out of everything: no line for it.
    let mut gone = membership(3, false, false);
    gone.members[0].1 = None;
    world.tell(MEMBER, schema::MEMBERSHIP, &gone);
    world.drain(8);
    assert!(memberships(&world.rows, MEMBER).unwrap().is_empty());
    assert_eq!(names(&world, other).len(), 2);
    assert_eq!(names(&world, MEMBER).len(), 0);
}
