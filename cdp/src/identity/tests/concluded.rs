//! Changes of segments and tags find the homes of members.

use actors::model::{BrandId, MemberNo, SegmentId, TagId};

use super::world::{START, World, event, input};
use crate::control::{Control, MembershipChange, TagChange};
use crate::identity::port::RawInput;
use crate::profile::Value;
use crate::routed::{self, MembershipPart, TaggedPart, schema};

fn named(world: &mut World, message: &str, identifiers: &[&str]) {
    let identifiers = identifiers.iter().map(|text| text.parse().unwrap());
    world.batch(vec![input(event(message, identifiers.collect()))]);
}

fn members(world: &World) -> Vec<(MemberNo, bool, bool)> {
    let parts = world.last.outgoing.iter();
    let parts = parts.filter(|outgoing| outgoing.schema == schema::MEMBERSHIP);
    let mut members: Vec<_> = parts
        .flat_map(|outgoing| {
            let part: MembershipPart = routed::decode(&outgoing.envelope).unwrap();
            part.members
        })
        .map(|(member, fragment, entered)| (member, fragment.is_some(), entered))
        .collect();
    members.sort_unstable();
    members
}

#[test]
fn a_change_goes_to_the_number_itself_and_shows_only_on_the_living() {
    let mut world = World::new();
    named(&mut world, "1", &["user_id:a"]);
    named(&mut world, "2", &["phone:13800000000"]);
    let change = |members: &[(u32, bool)]| {
        RawInput::Control(Control::Membership(MembershipChange {
            segment: SegmentId(1),
            version: 1,
            brand: BrandId(0),
            rebuilt: false,
            at: START,
            members: members
                .iter()
                .map(|(member, entered)| (MemberNo(*member), *entered))
                .collect(),
        }))
    };
    world.batch(vec![change(&[(0, true), (1, true), (99, true)])]);
    assert_eq!(
        members(&world),
        [(MemberNo(0), true, true), (MemberNo(1), true, true)]
    );
    assert_eq!(world.counters["changes_of_nobody"], 1);
    named(&mut world, "3", &["user_id:a", "phone:13800000000"]);
    world.batch(vec![change(&[(0, false), (1, false)])]);
    let shown: Vec<bool> = members(&world).iter().map(|part| part.1).collect();
    assert_eq!(shown.iter().filter(|shown| **shown).count(), 1, "{shown:?}");

    world.batch(vec![RawInput::Control(Control::Tagged(TagChange {
        tag: TagId(1),
        version: 1,
        brand: BrandId(0),
        rebuilt: true,
        at: START,
        members: vec![(MemberNo(0), Some(Value::Bool(true))), (MemberNo(1), None)],
    }))]);
    let outgoing: Vec<(TaggedPart, bool)> = world
        .last
        .outgoing
        .iter()
        .map(|it| (routed::decode(&it.envelope).unwrap(), it.personal.is_some()))
        .collect();
    assert_eq!(outgoing.len(), 2);
    assert!(outgoing[0].1 && !outgoing[1].1);
    assert!(outgoing[0].0.fragment.is_some() != outgoing[1].0.fragment.is_some());
}
