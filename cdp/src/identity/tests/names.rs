//! Merged and blocked names: from their version on, over rollbacks and restarts; letters of both forms.

use actors::model::{BrandId, Identifier, SourceId, Time};

use super::world::{START, World, event, input};
use crate::control::{Control, DefinitionChange};
use crate::dead::{self, DeadRow, DeadStatus};
use crate::dictionary::ORIGINAL_NAME;
use crate::identity::machine::BLOCKED;
use crate::identity::port::RawInput;
use crate::routed::{self, EventBody, EventHead, schema};

fn named(message: &str, name: &str) -> RawInput {
    let mut event = event(message, vec![Identifier::new("user_id", "", "u1")]);
    event.name = name.into();
    input(event)
}

fn define(version: u32, body: &str) -> RawInput {
    RawInput::Control(Control::Definition(DefinitionChange {
        kind: "dictionary".into(),
        version,
        body: body.into(),
    }))
}

/// Names of the events that the last batch sent, with the name they came under.
fn sent(world: &World) -> Vec<String> {
    let events = world.last.outgoing.iter();
    let events = events.filter(|outgoing| outgoing.schema == schema::EVENT);
    events
        .map(|outgoing| {
            let head: EventHead = routed::decode(&outgoing.envelope).unwrap();
            let (_, personal) = outgoing.personal.as_ref().unwrap();
            let body: EventBody = routed::decode(personal).unwrap();
            let original = body
                .properties
                .map(|properties| properties.parse()[ORIGINAL_NAME].clone());
            match original {
                Some(original) => format!("{} was {}", head.name, original.as_str().unwrap()),
                None => head.name.to_string(),
            }
        })
        .collect()
}

#[test]
fn names_change_from_their_version_on() {
    let rules =
        r#"{"events":{"buy":{"as":"paid"},"old":{"block":"dead_letter"},"ping":{"block":"drop"}}}"#;
    let mut world = World::new();
    // The harness takes the first half of each batch back and decides it again.
    world.batch(vec![
        named("1", "buy"),
        define(1, rules),
        named("2", "buy"),
        named("3", "old"),
        named("4", "ping"),
    ]);
    assert_eq!(sent(&world), ["buy", "paid was buy"]);
    world.batch(vec![
        named("2", "buy"),
        named("4", "ping"),
        named("5", "ping"),
        named("6", "buy"),
        define(1, "{}"),
    ]);
    assert_eq!(
        sent(&world),
        ["paid was buy"],
        "an old version changes nothing"
    );
    let count = |world: &World, name: &str| world.counters.get(name).copied().unwrap_or(0);
    assert_eq!(
        (count(&world, BLOCKED), count(&world, "events_blocked.ping")),
        (2, 2)
    );
    assert_eq!(
        (count(&world, "dead_letters"), count(&world, "duplicates")),
        (1, 2)
    );
    world.checkpoint();
    world.reopen();
    world.batch(vec![
        named("7", "buy"),
        define(2, "not JSON"),
        named("8", "buy"),
    ]);
    assert_eq!(
        sent(&world),
        ["paid was buy", "paid was buy"],
        "what does not read changes nothing"
    );
    world.rebuild();
    world.batch(vec![
        define(3, "{}"),
        named("9", "buy"),
        named("10", "old"),
        named("4", "ping"),
    ]);
    assert_eq!(
        sent(&world),
        ["buy", "old", "ping"],
        "a message that was dropped may come again"
    );
}

#[test]
fn a_letter_from_before_names_were_kept_still_reads() {
    let row = DeadRow {
        code: "invalid_json".into(),
        reason: "at byte 3".into(),
        field: Some("a.b".into()),
        source: SourceId(7),
        brand: BrandId(2),
        message_id: "m".into(),
        status: DeadStatus::Replayed,
        decided: Time(5),
        event: None,
    };
    let DeadRow {
        code,
        reason,
        field,
        source,
        brand,
        message_id,
        status,
        decided,
        ..
    } = row.clone();
    let before = (
        code, reason, field, source, brand, message_id, status, decided,
    );
    let before = postcard::to_stdvec(&before).unwrap();
    assert_eq!(DeadRow::decode(&before), Some(row.clone()));
    let now = DeadRow {
        event: Some("paid".into()),
        ..row
    };
    assert_eq!(DeadRow::decode(&now.encode()), Some(now));
    assert!(dead::key_from(START) < dead::key_from(START.plus_ms(1)));
}
