use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::*;
use crate::demo::batch::{Batches, Form};

const DAY_MS: i64 = 86_400_000;

fn world(seed: u64, messages: u64) -> World {
    World {
        seed,
        people: 2_000,
        // 2026-01-01T00:00:00 in Beijing.
        start_ms: 1_767_196_800_000,
        end_ms: 1_767_196_800_000 + 180 * DAY_MS,
        messages,
        stream: 0,
    }
}

fn all(generator: &mut Generator) -> Vec<(Message, String)> {
    let mut messages = Vec::new();
    loop {
        let mut out = Vec::new();
        let Some(message) = generator.next(&mut out) else {
            return messages;
        };
        messages.push((message, String::from_utf8(out).unwrap()));
    }
}

/// FNV-1a: stable in every version of Rust, unlike the standard hasher.
fn hash(bytes: &[u8], mut state: u64) -> u64 {
    for byte in bytes {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state
}

fn digest(world: World) -> u64 {
    let mut generator = Generator::new(world);
    let (mut out, mut state) = (Vec::new(), 0xcbf2_9ce4_8422_2325);
    while generator.next(&mut out).is_some() {
        state = hash(&out, state);
        out.clear();
    }
    state
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    // Changes when the world changes: then refresh it, and say so in the commit.
    assert_eq!(
        format!("{:016x}", digest(world(1, 20_000))),
        "79d71e35ed48f33f"
    );
    assert_ne!(digest(world(1, 2_000)), digest(world(2, 2_000)));
}

#[test]
fn every_message_is_valid_json_of_its_form() {
    for (message, text) in all(&mut Generator::new(world(7, 20_000))) {
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let needed: &[&str] = match Form::of(message.source) {
            Form::Segment => &["type", "messageId", "anonymousId", "timestamp"],
            Form::Scan => &["message_id", "code", "role", "time", "identifiers"],
            Form::Own => &["message_id", "type", "time", "identifiers", "order"],
        };
        for field in needed {
            assert!(!value[field].is_null(), "{field} of {text}");
        }
        assert!(text.len() < 8_000, "{text}");
    }
}

#[test]
fn identifiers_of_the_truth_stand_in_the_message() {
    for (message, text) in all(&mut Generator::new(world(8, 5_000))) {
        for key in message.keys.as_slice() {
            let mut value = Vec::new();
            key.write(&mut value);
            let value = String::from_utf8(value).unwrap();
            let plain: String = text
                .chars()
                .filter(|c| *c != ' ')
                .map(|c| match u32::from(c) {
                    wide @ 0xff10..=0xff19 => char::from(b'0' + (wide - 0xff10) as u8),
                    _ => c.to_ascii_lowercase(),
                })
                .collect();
            assert!(plain.contains(&value.to_lowercase()), "{value} in {text}");
        }
    }
}

#[test]
fn message_ids_are_unique_but_for_repeats() {
    let mut ids: HashMap<String, u64> = HashMap::new();
    let mut repeats = 0;
    for (message, text) in all(&mut Generator::new(world(9, 20_000))) {
        let value: Value = serde_json::from_str(&text).unwrap();
        let id = value["messageId"]
            .as_str()
            .or(value["message_id"].as_str())
            .unwrap();
        match message.repeats {
            Some(first) => {
                repeats += 1;
                assert_eq!(ids.get(id), Some(&first), "{id}");
            }
            None => assert_eq!(ids.insert(id.to_owned(), message.number), None, "{id}"),
        }
    }
    assert!((100..400).contains(&repeats), "{repeats}");
    let quiet = all(&mut Generator::new(world(9, 5_000)).without_repeats());
    assert!(quiet.iter().all(|(m, _)| m.repeats.is_none()));
}

#[test]
fn orders_add_up_to_what_the_truth_says() {
    for (message, text) in all(&mut Generator::new(world(10, 20_000))) {
        let Some(fact) = message.order else { continue };
        let value: Value = serde_json::from_str(&text).unwrap();
        let order = &value["order"];
        let fen = |v: &Value| (v.as_f64().unwrap() * 100.0).round() as i64;
        let Some(lines) = order["lines"].as_array() else {
            continue;
        };
        for line in lines {
            let product = line["quantity"].as_f64().unwrap() * line["unit_price"].as_f64().unwrap();
            let off = product * 100.0 - fen(&line["amount"]) as f64;
            assert!(off.abs() <= 0.5001, "{line}");
        }
        if fact.status == Status::Refunded {
            continue;
        }
        let sum: i64 = lines.iter().map(|l| fen(&l["amount"])).sum();
        match order.get("total") {
            Some(total) => {
                assert_eq!(fen(total), fact.amount, "{text}");
                assert!([0, 800].contains(&(fact.amount - sum)), "{text}");
            }
            None => assert_eq!(sum, fact.amount, "{text}"),
        }
    }
}

#[test]
fn the_world_has_all_that_makes_it_hard() {
    let messages = all(&mut Generator::new(world(11, 60_000)));
    let mut found: HashMap<&str, u32> = HashMap::new();
    let mut count = |what, is: bool| *found.entry(what).or_default() += u32::from(is);
    let mut orders: HashMap<u64, (bool, bool)> = HashMap::new();
    for (message, text) in &messages {
        let keys = message.keys.as_slice();
        let shared = keys.iter().any(|k| k.owner() != message.person);
        count("shared", shared);
        count(
            "farmed",
            keys.iter()
                .any(|k| k.owner() >= BOTS && message.person < BOTS),
        );
        count("bot", (BOTS..CLERKS).contains(&message.person));
        count("late", message.sent_ms - message.said_ms >= 3_600_000);
        count("future", message.said_ms > message.sent_ms);
        count(
            "blocked",
            text.contains("phone:null") || text.contains("\"phone\":\"null\""),
        );
        count("escaped", text.contains("\\\""));
        count("full width", text.contains('５'));
        count("anonymous", keys.iter().all(|k| !k.kind().names_person()));
        for source in Source::ALL {
            count(
                ["club", "web", "scan", "tmall", "youzan", "store"][source as usize],
                message.source == source,
            );
        }
        if let Some(fact) = message.order {
            let order = orders.entry(fact.order).or_insert((false, false));
            order.0 |= keys.is_empty();
            order.1 |= !keys.is_empty();
            count("refunded", fact.status == Status::Refunded);
            count("cancelled", fact.status == Status::Cancelled);
        }
    }
    count("late person", false);
    found.insert(
        "late person",
        orders.values().filter(|o| o.0 && o.1).count() as u32,
    );
    found.insert(
        "no person",
        orders.values().filter(|o| o.0 && !o.1).count() as u32,
    );
    let missing: Vec<_> = found.iter().filter(|(_, n)| **n == 0).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // An order keeps several messages busy: opening ones are about a fifth of what people do.
    assert!(orders.len() > 5_000, "{}", orders.len());
}

#[test]
fn arrival_never_goes_back_and_fills_the_span() {
    let mut last = i64::MIN;
    let messages = all(&mut Generator::new(world(12, 3_000)));
    for (message, _) in &messages {
        assert!(message.sent_ms >= last);
        last = message.sent_ms;
    }
    assert_eq!(messages.len(), 3_000);
    let world = world(12, 3_000);
    assert!(last > world.end_ms - 3 * DAY_MS && last < world.end_ms);
}

#[test]
fn life_goes_on_second_by_second() {
    let mut generator = Generator::new(world(15, 2_000));
    all(&mut generator);
    let now = world(15, 0).end_ms;
    for second in 0..50 {
        let start = now + second * 1_000;
        generator.go_on(start, start + 1_000, 20);
        let messages = all(&mut generator);
        assert_eq!(messages.len(), 20);
        for (message, _) in messages {
            assert!((start..start + 1_000).contains(&message.sent_ms));
        }
    }
}

#[test]
fn streams_of_one_world_never_share_ids() {
    let ids = |stream| -> HashSet<String> {
        let world = World {
            stream,
            ..world(13, 3_000)
        };
        all(&mut Generator::new(world).without_repeats())
            .into_iter()
            .map(|(_, text)| {
                let value: Value = serde_json::from_str(&text).unwrap();
                let order = value["order"]["order_id"].as_str().unwrap_or_default();
                let id = value["messageId"].as_str().or(value["message_id"].as_str());
                format!("{} {order}", id.unwrap())
            })
            .collect()
    };
    assert!(ids(0).is_disjoint(&ids(1)));
}

#[test]
fn requests_hold_every_message_once() {
    let mut batches = Batches::new(Generator::new(world(14, 5_000)), 100);
    let mut numbers = Vec::new();
    while let Some(batch) = batches.next_batch() {
        let body: Value = serde_json::from_slice(&batch.body).unwrap();
        let items = match Form::of(batch.source) {
            Form::Segment => body["batch"].as_array(),
            _ => body.as_array(),
        };
        assert_eq!(items.unwrap().len(), batch.messages.len());
        assert!(batch.messages.len() <= 100);
        assert!(batch.messages.iter().all(|m| m.source == batch.source));
        numbers.extend(batch.messages.iter().map(|m| m.number));
        batches.give_back(batch);
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..5_000));
}

/// What the platform reads as identifiers: those of the event and the traits that are some, made plain.
pub(crate) fn read_identifiers(event: &actors::model::Event) -> HashSet<String> {
    let mut found: HashSet<String> = event.identifiers.iter().map(|i| i.to_string()).collect();
    let traits = event.traits.as_ref().map(|t| t.parse()).unwrap_or_default();
    for kind in ["phone", "unionid", "email"] {
        if let Some(value) = traits.get(kind).and_then(Value::as_str) {
            found.insert(format!("{kind}:{value}"));
        }
    }
    let plain = |text: String| {
        let digits = |c: char| match u32::from(c) {
            wide @ 0xff10..=0xff19 => char::from(b'0' + (wide - 0xff10) as u8),
            _ => c,
        };
        let text: String = text.chars().filter(|c| *c != ' ').map(digits).collect();
        match text.strip_prefix("phone:") {
            Some(phone) => format!("phone:+86{}", phone.trim_start_matches("+86")),
            None if text.starts_with("email:") => text.to_lowercase(),
            None => text,
        }
    };
    found.into_iter().map(plain).collect()
}

/// Whether an identifier is none of the values that stand where nothing is known.
pub(crate) fn means_something(text: &str) -> bool {
    let nothing = ["null", "000000", "00000000000", "undefined", "NULL", "0"];
    let value = text.split_once(':').map_or("", |(_, value)| value);
    let value = value.trim_start_matches("+86");
    !nothing.contains(&value) && !value.starts_with("00000000-0000")
}

#[test]
fn the_platform_reads_every_message_as_the_truth_says() {
    use ingest::{OrderDefaults, Protocol, Request, SourceInfo, admit, decode};
    let source = SourceInfo {
        id: actors::model::SourceId(1),
        id_space: actors::model::IdSpace(0),
        brand: actors::model::BrandId(1),
        test: false,
        orders: OrderDefaults::default(),
        sensors: Default::default(),
    };
    let mut batches = Batches::new(Generator::new(world(16, 20_000)), 200);
    while let Some(batch) = batches.next_batch() {
        let form = Form::of(batch.source);
        let protocol = match form {
            Form::Segment => Protocol::Segment,
            Form::Scan => Protocol::Scan,
            Form::Own => Protocol::Own,
        };
        let request = Request {
            path: form.path(),
            headers: &[],
            received: actors::model::Time(batch.messages[0].sent_ms),
            query: "",
            nonce: 1,
            body: bytes::Bytes::from(batch.body),
        };
        let records = admit(protocol, &source, request).unwrap().records;
        assert_eq!(records.len(), batch.messages.len());
        for (record, message) in records.iter().zip(&batch.messages) {
            let event = decode(record).unwrap_or_else(|e| panic!("{e:?}"));
            assert_eq!(event.time.0, message.said_ms);
            let truth: HashSet<String> = message
                .keys
                .as_slice()
                .iter()
                .map(|k| k.canonical())
                .collect();
            let mut read = read_identifiers(&event);
            read.retain(|text| means_something(text));
            assert_eq!(read, truth, "{event:?}");
            let Some(fact) = message.order else { continue };
            let order = event.order.expect("an order is read as one");
            let sum: i64 = order.lines.iter().map(|line| line.amount).sum();
            match order.total {
                Some(total) => assert_eq!(total, fact.amount),
                None if order.lines.is_empty() => {}
                None if fact.status == Status::Refunded => assert!(sum < 0),
                None => assert_eq!(sum, fact.amount),
            }
        }
    }
}
