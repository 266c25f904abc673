use std::collections::BTreeMap;

use actors::machine::{Machine, WriteSet};
use actors::model::{BrandId, DISTINCT_KIND, Identifier, Linking, MemberNo, SourceId, Time};

use super::world::{START, World, event, input, order};
use crate::control::{Control, DeadLetterReplay};
use crate::dead::{self, DeadId, DeadRow, DeadStatus};
use crate::identity::fold::Reason;
use crate::identity::port::{RawInput, Reject};
use crate::identity::row::{self, ConflictRow, Outcome};
use crate::routed::{self, EventHead, schema};

/// Runs a history and compares members: identifiers in order of first sight, members by their first one.
///
/// Steps are separated by `;`: a list of identifiers is an event (`u1 p1 a1`; an order as `#7`), `- p1 of u1` takes p1
/// out of the member of u1, `+ p1 of u1` lets it rejoin. An event that begins with `once`, `bind` or `out` does that to
/// its identifiers; `?u1` is u1 as a sender names it who does not know whether it is a login.
#[track_caller]
fn check(history: &str, wanted: &str) {
    assert_eq!(play(history).1, wanted, "{history}");
}

fn play(history: &str) -> (World, String) {
    let mut world = World::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, step) in history.split(';').map(str::trim).enumerate() {
        let words: Vec<&str> = step.split_whitespace().collect();
        if let ["-" | "+", out @ .., "of", of] = &words[..] {
            let member = world.member_of(&identifier(of)).unwrap();
            let out = out.iter().map(|word| identifier(word)).collect();
            world.regroup(member, out, words[0] == "-");
            continue;
        }
        let (linking, words) = match &words[..] {
            ["once", rest @ ..] => (Linking::PairOnce, rest.to_vec()),
            ["bind", rest @ ..] => (Linking::Bind, rest.to_vec()),
            ["out", rest @ ..] => (Linking::TakeOut, rest.to_vec()),
            _ => (Linking::Join, words),
        };
        let named = words.iter().filter(|word| !word.starts_with('#'));
        let named = named.map(|word| identifier(word)).collect();
        let mut event = event(&index.to_string(), named);
        event.linking = linking;
        event.order = words
            .iter()
            .find_map(|word| word.strip_prefix('#'))
            .map(order);
        world.batch(vec![input(event)]);
        for word in words {
            if !seen.contains(&word) && !word.starts_with('?') {
                seen.push(word);
            }
        }
    }
    let mut members: Vec<(MemberNo, Vec<&str>)> = Vec::new();
    for word in seen {
        let ident = match word.strip_prefix('#') {
            Some(order) => world.order_ident(order),
            None => world.ident(&identifier(word)),
        };
        let member = row::member_of(&world.rows, ident.unwrap())
            .unwrap()
            .unwrap();
        match members.iter_mut().find(|(of, _)| *of == member) {
            Some((_, words)) => words.push(word),
            None => members.push((member, vec![word])),
        }
    }
    let texts: Vec<String> = members.iter().map(|(_, words)| words.join(" ")).collect();
    world.rebuild();
    (world, texts.join(" | "))
}

fn identifier(word: &str) -> Identifier {
    let (kind, number) = word.split_at(1);
    match kind {
        "?" => Identifier::new(DISTINCT_KIND, "", number),
        "u" => Identifier::new("user_id", "", word),
        "p" => Identifier::new("phone", "", &format!("1380000{number:0>4}")),
        "e" => Identifier::new("email", "", &format!("{word}@b.cn")),
        "o" => Identifier::new("openid", "wx1", word),
        "w" => Identifier::new("openid", "wx2", word),
        "d" => Identifier::new("device_id", "", word),
        "a" => Identifier::new("anonymous_id", "", word),
        _ => panic!("no kind {word}"),
    }
}

#[test]
fn links_make_members() {
    check("u1 p1; p1 a1; a1 e1", "u1 p1 a1 e1");
    check("a1; a1 d1; d1 u1", "a1 d1 u1");
    check("u1; p1; a1", "u1 | p1 | a1");
    check("u1 o1 w1", "u1 o1 w1");
    // A chain and a cycle.
    check("u1 a1; a1 a2; a2 a3; a3 u1", "u1 a1 a2 a3");
}

#[test]
fn the_weakest_is_left_out_and_what_came_first_keeps_it() {
    check("u1 p1; u2 p1", "u1 p1 | u2");
    check("u1 p1; u2 p1 a2", "u1 p1 | u2 | a2");
    check("u1 p1; u2 a2; p1 a2", "u1 p1 | u2 a2");
    check("u1 o1; u1 o2", "u1 o1 | o2");
    check("u1 p1; u1 p2; u1 p3; u1 p4", "u1 p1 p2 p3 | p4");
}

#[test]
fn unmerge_takes_apart_what_hung_together_only_through_the_identifier() {
    check("u1 p1 a1; - p1 of u1", "u1 a1 | p1");
    check("u1 p1; p1 a1; - p1 of u1", "u1 | p1 | a1");
    check("u1 p1; p1 a1; - a1 of u1", "u1 p1 | a1");
    check("u1 p1; p1 a1; a1 a2; - p1 of u1", "u1 | p1 | a1 a2");
    check("u1 p1; p1 a1; - p1 a1 of u1", "u1 | p1 a1");
    // Taken out together, they stay together.
    check("u1 p1 e1; - p1 e1 of u1", "u1 | p1 e1");
    // The pair does not merge again by itself …
    check("u1 p1; - p1 of u1; u1 p1 a1; p1 a2; u1 a2", "u1 a1 | p1 a2");
    // … but does when somebody lets it.
    check("u1 p1; p1 a1; - p1 of u1; + p1 of u1", "u1 p1 a1");
}

#[test]
fn a_refused_link_comes_true_when_its_obstacle_is_gone() {
    check("u1 a1; u2 a1; - a1 of u1", "u1 | a1 u2");
}

#[test]
fn orders_follow_whom_named_them_and_join_nobody() {
    check("#7; #7 u1", "#7 u1");
    check("#7 u1; #7 u2", "#7 u1 | u2");
    check("#7 a1; #7 u1; #7 u2", "#7 u1 | a1 | u2");
    check("#7; #7 a1; a1 u1", "#7 a1 u1");
    check("#7; #7 a1; a1 u1; - a1 of u1", "#7 a1 | u1");
    check("#7; #8; u1", "#7 | #8 | u1");
    check("#7; #7 a1; #7 u1; u1 p1; - u1 of p1", "#7 u1 | a1 | p1");
}

#[test]
fn members_visitors_and_nobody_are_counted_apart_and_tests_not_at_all() {
    let (mut world, _) = play("a1; d1; u1; p1 a1; #7; #8 a2");
    let counts = |world: &World| {
        let counter = |name: &str| world.counters.get(name).copied().unwrap_or(0);
        (counter("members"), counter("visitors"))
    };
    assert_eq!(counts(&world), (2, 2));
    let mut test = event("t", vec![identifier("u9"), identifier("a9")]);
    test.test = true;
    world.batch(vec![input(test)]);
    assert_eq!(counts(&world), (2, 2));
    world.batch(vec![input(event("r", vec![identifier("a9")]))]);
    assert_eq!(counts(&world), (3, 2));
}

#[test]
fn a_message_counts_once_and_a_poisoned_batch_leaves_nothing() {
    let (mut world, _) = play("u1 p1");
    let again = || input(event("x", vec![identifier("u1")]));
    world.batch(vec![again(), again()]);
    world.batch(vec![again()]);
    assert_eq!(world.counters["applied"], 2);
    assert_eq!(world.counters["duplicates"], 2);

    let mut poison = event("y", vec![identifier("u5"), identifier("p1")]);
    poison.name = "poison".into();
    let good = world.record(input(event("z", vec![identifier("u6"), identifier("p6")])));
    let bad = world.record(input(poison));
    world.machine.begin(world.now.plus_ms(1));
    let before = world.machine.memory().digest();
    let mut out = WriteSet::default();
    world.machine.apply(&world.rows, &good, &mut out).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.machine.apply(&world.rows, &bad, &mut out)
    }));
    assert!(panicked.is_err());
    world.machine.rollback();
    assert_eq!(world.machine.memory().digest(), before);
}

#[test]
fn conflicts_are_listed_with_their_reason() {
    let (world, _) = play("u1 d1; u2 d1 a2; u1 p2; - p2 of u1");
    let mut found = Vec::new();
    for ((space, _), value) in &world.rows.0 {
        if *space == row::CONFLICT.0 {
            let conflict: ConflictRow = row::decode(row::CONFLICT, value).unwrap();
            let reason = match conflict.reason {
                Reason::Limit { .. } => "limit",
                Reason::TooMany => "too many",
                Reason::Separated => "separated",
                Reason::Shared => "shared",
                Reason::Behind => "behind",
            };
            let (owner, left) = (world.text(conflict.owner), world.text(conflict.identifier));
            found.push(format!("{owner} {left} {reason}"));
        }
    }
    assert_eq!(
        found,
        [
            "user_id:u2 device_id:d1 limit",
            "user_id:u2 anonymous_id:a2 behind",
            "user_id:u1 phone:+8613800000002 separated",
        ]
    );
    assert_eq!(world.counters["conflicts"], 3);
}

#[test]
fn a_device_of_many_people_links_nobody() {
    // Five more people log in on one device and are refused; from then on it is passed over.
    let (world, members) = play("u1 d1; u2 d1; u3 d1; u4 d1; u5 d1; u6 d1; u7 d1 a7; d1");
    assert_eq!(members, "u1 d1 | u2 | u3 | u4 | u5 | u6 | u7 a7");
    let device = world.ident(&identifier("d1")).unwrap();
    let state = row::state_of(&world.rows, device).unwrap().unwrap();
    assert!(state.is_shared());
    assert_eq!(world.owners["7"], "device_id:d1");
}

#[test]
fn refused_commands_say_why() {
    let (mut world, _) = play("u1 p1; u2");
    let member = world.member_of(&identifier("u1")).unwrap();
    for (member, named, wanted) in [
        (member, vec![], "nothing_named"),
        (member, vec!["u2"], "identifier_elsewhere"),
        (member, vec!["u7"], "identifier_unknown"),
        (member, vec!["u1", "p1"], "nothing_left"),
        (MemberNo(99), vec!["u1"], "member_unknown"),
    ] {
        let named = named.into_iter().map(identifier).collect();
        match world.regroup(member, named, true) {
            Outcome::Refused { code, .. } => assert_eq!(&*code, wanted),
            done => panic!("{done:?}"),
        }
    }
    match world.regroup(member, vec![identifier("u2")], false) {
        Outcome::Refused { code, .. } => assert_eq!(&*code, "not_separated"),
        done => panic!("{done:?}"),
    }
}

#[test]
fn dead_letters_are_kept_once_and_replayed_once() {
    let (mut world, _) = play("u1");
    let reject = Reject {
        code: "invalid_json".into(),
        reason: "at byte 3".into(),
        event: None,
        field: None,
        message_id: "bad".into(),
        source: SourceId(1),
        brand: BrandId(1),
        received: START,
    };
    world.batch(vec![
        RawInput::Rejected(reject.clone()),
        RawInput::Rejected(reject),
        input(event("null", vec![Identifier::new("user_id", "", "NULL")])),
        input(event("none", vec![])),
    ]);
    assert_eq!(world.counters["dead_letters"], 3);
    let letters: BTreeMap<DeadId, DeadRow> = world
        .rows
        .0
        .iter()
        .filter(|((space, _), _)| *space == dead::SPACE.0)
        .map(|((_, key), value)| {
            let id = DeadId::from_key(key).unwrap();
            (id, DeadRow::decode(value).unwrap())
        })
        .collect();
    let codes: Vec<_> = letters.values().map(|letter| &*letter.code).collect();
    assert_eq!(
        codes,
        ["invalid_json", "identifier_blocked", "identifier_missing"]
    );

    let mended = world.record(input(event("bad", vec![identifier("u1")])));
    let (&id, _) = letters.first_key_value().unwrap();
    let replay = |request: &str| {
        RawInput::Control(Control::DeadLetterReplay(DeadLetterReplay {
            request: request.into(),
            dead: id,
            schema: 0,
            envelope: mended.envelope.clone(),
            personal: Default::default(),
        }))
    };
    world.batch(vec![replay("a"), replay("a"), replay("b")]);
    world.batch(vec![replay("c")]);
    assert_eq!(world.counters["dead_letters"], 2);
    assert_eq!(world.counters["applied"], 2);
    let letter = DeadRow::get(&world.rows, id).unwrap().unwrap();
    assert_eq!(letter.status, DeadStatus::Replayed);
    assert_eq!(id.to_string().parse(), Ok(id));
}

#[test]
fn an_order_event_of_another_member_goes_out_in_two_parts() {
    let (mut world, _) = play("#7 u1; u2");
    let mut mixed = event("m", vec![identifier("u2")]);
    mixed.order = Some(order("7"));
    world.batch(vec![input(mixed)]);
    let heads: Vec<EventHead> = world
        .last
        .outgoing
        .iter()
        .filter(|outgoing| outgoing.schema == schema::EVENT)
        .map(|outgoing| routed::decode(&outgoing.envelope).unwrap())
        .collect();
    let parts: Vec<_> = heads
        .iter()
        .map(|head| {
            (
                world.text(head.fragment),
                head.order.is_some(),
                head.order_only,
            )
        })
        .collect();
    assert_eq!(
        parts,
        [
            ("user_id:u2".to_owned(), false, false),
            ("user_id:u1".to_owned(), true, true)
        ]
    );
    assert_eq!(Some(heads[1].member), world.member_of(&identifier("u1")));
}

#[test]
fn messages_are_forgotten_after_their_days_and_their_rows_go() {
    let (mut world, _) = play("u1");
    let again = || input(event("x", vec![identifier("u1")]));
    let days = |n: i64| START.plus_ms(n * 86_400_000);
    world.batch(vec![again()]);
    world.now = days(6);
    world.batch(vec![again()]);
    assert_eq!(world.counters["duplicates"], 1);
    world.now = days(9);
    world.owners.clear();
    world.batch(vec![again()]);
    assert_eq!(world.counters["duplicates"], 1);
    let rows = |world: &World| {
        let keys = world.rows.0.keys();
        keys.filter(|(space, _)| *space == row::SEEN.0).count()
    };
    world.now = days(40);
    world.batch(vec![input(event("y", vec![identifier("u1")]))]);
    assert_eq!(rows(&world), 1);
    world.rebuild();
    // The clock may go back; the machine's time does not.
    world.now = Time(0);
    world.batch(vec![input(event("y", vec![identifier("u1")]))]);
    assert_eq!(world.counters["duplicates"], 2);
}

#[test]
fn damaged_files_are_rebuilt_from_rows() {
    let (mut world, _) = play("u1 p1; u2 p1; #7; #7 u2; - p1 of u1");
    world.checkpoint();
    let base = world.dir.path().join("a/identity.base");
    let mut bytes = std::fs::read(&base).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&base, bytes).unwrap();
    world.reopen_rebuilt();
}

#[test]
fn a_large_checkpoint_is_written_while_deciding_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    // The measurement checkpoints a few MiB, decides on meanwhile, and opens the files again.
    let figures = crate::identity::bench::run(20_000, dir.path()).unwrap();
    assert!(figures.checkpoint.1 > 8 << 20);
}

#[test]
fn a_pair_is_made_once_and_the_first_wins() {
    check("once u1 a1; once u2 a1; once u1 a2; a2", "u1 a1 | u2 | a2");
    // A phone that is told along is no part of the pair.
    check("once u1 p1 a1; once u1 p1 a2", "u1 p1 a1 | a2");
    // The same list under another mode is another link.
    check("once u1 a1; once u1 a2; u1 a2", "u1 a1 a2");
    // Folded again as it was.
    check("once u1 p1 a1; once u1 a2; - p1 of u1", "u1 a1 | p1 | a2");
    check(
        "once u1 p1 a1; once u1 a2; - p1 of u1; + p1 of u1",
        "u1 p1 a1 | a2",
    );
}

#[test]
fn events_bind_and_take_out() {
    check("bind u1 p1; out p1", "u1 | p1");
    check("bind u1 p1; out p1; bind u2 p1", "u1 | p1 u2");
    check("bind u1 p1; out p1; bind u1 p1", "u1 p1");
    check("bind u1 p1; out p1; bind u2 p1; bind u1 p1", "u1 | p1 u2");
    check(
        "bind u1 p1; out p1; bind u2 p1; out p1; bind u1 p1",
        "u1 p1 | u2",
    );
    check("bind u1 p1; out p1; u1 p1", "u1 | p1");
    check("out p1; p1", "p1");
    // What a person took apart no event joins.
    check("bind u1 p1; - p1 of u1; bind u1 p1", "u1 | p1");
}

#[test]
fn a_distinct_id_is_a_login_that_is_known_or_a_device() {
    let (world, members) = play("?u1; u2; ?u2");
    assert_eq!(members, "u2");
    let device = Identifier::new("anonymous_id", "", "u1");
    assert!(world.member_of(&device).is_some());
    let other = Identifier::new("anonymous_id", "", "u2");
    assert!(world.ident(&other).is_none());
}

#[test]
fn links_of_earlier_versions_are_read() {
    let link = row::LinkRow {
        identifiers: [actors::model::IdentNo(1), actors::model::IdentNo(2)]
            .into_iter()
            .collect(),
        shared: Default::default(),
        left: [(1, Reason::Separated)].into_iter().collect(),
        cause: Default::default(),
        source: SourceId(7),
        time: Time(5),
        once: false,
    };
    let bytes = row::encode(&link);
    // They end before the last field, which is one byte.
    let earlier: row::LinkRow = row::decode(row::LINK, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(earlier, link);
    let once = row::LinkRow { once: true, ..link };
    let again: row::LinkRow = row::decode(row::LINK, &row::encode(&once)).unwrap();
    assert_eq!(again, once);
}
