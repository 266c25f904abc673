//! Forgetting a person: nothing finds it, what it was told with stays whole, the same phone is somebody new.

use actors::model::{Identifier, MemberNo};

use super::world::{World, event, input, order};
use crate::control::{Control, Erase};
use crate::identity::port::RawInput;
use crate::identity::row::{self, DecisionRow, MemberState, Outcome};
use crate::routed::{self, ERASE_CHANNEL, EraseEffect, Erased, schema};

fn phone(number: u32) -> Identifier {
    Identifier::new("phone", "", &format!("1380000{number:0>4}"))
}

fn user(name: &str) -> Identifier {
    Identifier::new("user_id", "", name)
}

fn tell(world: &mut World, message: &str, identifiers: Vec<Identifier>) {
    world.batch(vec![input(event(message, identifiers))]);
}

fn erase(world: &mut World, member: MemberNo, request: &str) -> Outcome {
    let command = Control::Erase(Erase {
        request: request.into(),
        member,
        by: "test".into(),
        reason: "asked".into(),
    });
    // Twice: one decision.
    world.batch(vec![
        RawInput::Control(command.clone()),
        RawInput::Control(command),
    ]);
    let decision: DecisionRow = row::get(&world.rows, row::DECISION, request.as_bytes())
        .unwrap()
        .unwrap();
    decision.outcome
}

/// Whether any row of identity holds the text.
fn holds(world: &World, text: &str) -> bool {
    let text = text.as_bytes();
    let within = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    world
        .rows
        .0
        .iter()
        .any(|((_, key), value)| within(key) || within(value))
}

#[test]
fn nothing_finds_an_erased_person_and_the_same_phone_is_somebody_new() {
    let mut world = World::new();
    tell(&mut world, "1", vec![user("canary-u"), phone(1)]);
    tell(&mut world, "2", vec![user("other"), phone(2)]);
    let mut shop = event("3", vec![phone(1)]);
    shop.order = Some(order("7"));
    world.batch(vec![input(shop)]);
    let member = world.member_of(&phone(1)).unwrap();
    let other = world.member_of(&phone(2)).unwrap();
    let before = world.counters["members"];
    assert!(holds(&world, "canary-u") && holds(&world, "13800000001"));

    let done = erase(&mut world, member, "erase-1");
    assert_eq!(
        done,
        Outcome::Done {
            members: vec![member]
        }
    );
    assert!(!holds(&world, "canary-u") && !holds(&world, "13800000001"));
    assert_eq!(world.counters["members"], before - 1);
    assert_eq!(world.member(member).state, MemberState::Nobody);
    assert!(world.member(member).identifiers.is_empty());
    assert_eq!(world.ident(&phone(1)), None);
    world.rebuild();

    let told: Vec<Erased> = world
        .last
        .outgoing
        .iter()
        .filter(|it| it.schema == schema::ERASED)
        .map(|it| routed::decode(&it.envelope).unwrap())
        .collect();
    assert_eq!(told.len(), 1, "once for two commands of one key");
    assert_eq!((told[0].member, told[0].fragments.len()), (member, 2));
    let [effect] = &world.last.effects[..] else {
        panic!("{:?}", world.last.effects)
    };
    assert_eq!(&*effect.channel, ERASE_CHANNEL);
    let effect = EraseEffect::read(&effect.payload).unwrap();
    assert_eq!(effect.fragments, told[0].fragments);
    let mut forgotten = effect.identifiers.clone();
    forgotten.sort_by(|a, b| a.kind.cmp(&b.kind));
    let normalised = Identifier {
        value: "+8613800000001".into(),
        ..phone(1)
    };
    assert_eq!(forgotten, [normalised, user("canary-u")]);
    // As earlier versions wrote it.
    let old = EraseEffect::read(&routed::encode(&effect.fragments)).unwrap();
    assert_eq!(
        (old.fragments, old.identifiers),
        (effect.fragments, Vec::new())
    );

    // The same person again is somebody new; nothing leads back.
    tell(&mut world, "4", vec![user("canary-u"), phone(1)]);
    let again = world.member_of(&phone(1)).unwrap();
    assert!(again != member && again != other);
    assert_eq!(world.counters["members"], before);
    world.rebuild();

    let refused = erase(&mut world, member, "erase-2");
    assert!(matches!(&refused, Outcome::Refused { code, .. } if &**code == "nobody_there"));
    let refused = erase(&mut world, MemberNo(99), "erase-3");
    assert!(matches!(&refused, Outcome::Refused { code, .. } if &**code == "member_unknown"));
}

#[test]
fn what_is_folded_again_does_not_come_back_to_an_erased_person() {
    let mut world = World::new();
    // Two people whom an event named together: the second phone was left out.
    tell(&mut world, "1", vec![user("a"), phone(1)]);
    tell(&mut world, "2", vec![user("b"), phone(2)]);
    tell(&mut world, "3", vec![user("a"), phone(2)]);
    let (gone, kept) = (
        world.member_of(&user("b")).unwrap(),
        world.member_of(&user("a")).unwrap(),
    );
    assert_ne!(gone, kept);
    erase(&mut world, gone, "erase-1");
    let apart = world.regroup(kept, vec![phone(1)], true);
    assert!(matches!(apart, Outcome::Done { .. }), "{apart:?}");
    assert_ne!(world.member_of(&user("a")), world.member_of(&phone(1)));
    assert_eq!(world.member(gone).state, MemberState::Nobody);
    world.rebuild();
    world.checkpoint();
    tell(&mut world, "4", vec![user("b"), phone(2), phone(3)]);
    world.reopen();
    assert_ne!(world.member_of(&user("b")), Some(gone));
}

#[test]
fn a_person_told_and_erased_in_one_batch_leaves_nothing() {
    let mut world = World::new();
    tell(&mut world, "0", vec![user("x")]);
    let next = MemberNo(world.member_of(&user("x")).unwrap().0 + 1);
    world.batch(vec![
        input(event("1", vec![user("canary-v")])),
        RawInput::Control(Control::Erase(Erase {
            request: "r".into(),
            member: next,
            by: "test".into(),
            reason: "asked".into(),
        })),
        input(event("2", vec![user("canary-w")])),
    ]);
    assert!(!holds(&world, "canary-v") && holds(&world, "canary-w"));
    world.rebuild();
}
