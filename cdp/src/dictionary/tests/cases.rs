//! Tables: shapes, what is personal, rules on events, what people may say, drift.

use actors::model::{BrandId, Event, EventKind, IdSpace, Linking, RawJson, SourceId, Time};
use serde_json::{Value, json};

use super::super::top::{Distinct, VALUE_BYTES_MAX};
use super::super::value::{looks_personal, shape};
use super::super::*;
use crate::definition::AttributeSchema;
use crate::identity::rules::Rules;

const DAY: i64 = 86_400_000;

#[test]
fn shapes_tell_the_form_and_nothing_else() {
    for (text, wanted) in [
        ("13800000000", "9{11}"),
        ("+86 138-0000-0000", "+9{2} 9{3}-9{4}-9{4}"),
        ("wang.li+x@example.com", "a.a+a@a.a"),
        ("王小明", "字"),
        ("上海市浦东新区1号", "字9字"),
        ("", ""),
        ("<b>", "·a·"),
    ] {
        assert_eq!(&*shape(text), wanted, "{text}");
    }
    assert!(shape(&"a1".repeat(100)).chars().count() < 40);
}

#[test]
fn what_reaches_or_names_somebody_looks_personal() {
    for text in [
        "13800000000",
        "138 0000 0000",
        "a@b.cn",
        "11010519491231002X",
        "6222 0202 0000 1234 567",
        "oGZUI0egBJY1zhBYw2KhdUfwVJJE",
        "550e8400-e29b-41d4-a716-446655440000",
    ] {
        assert!(looks_personal(text), "{text}");
    }
    for text in [
        "gold",
        "上海",
        "12.50",
        "SKU-1",
        "2",
        "Order Completed",
        "100-200",
    ] {
        assert!(!looks_personal(text), "{text}");
    }
}

#[test]
fn names_of_identifiers_and_attributes_of_people_are_personal() {
    let schema = AttributeSchema::check(&json!({"attributes": [
        {"name": "taste", "type": "text", "class": "P1"}, {"name": "illness", "type": "text", "class": "P3"}]}));
    let personal = Personal::of(&Rules::shipped(), &schema.unwrap());
    for name in [
        "phone",
        "Mobile Phone",
        "user_id",
        "unionid",
        "收货人手机",
        "illness",
        "email_address",
        "ip",
    ] {
        assert!(personal.property(name), "{name}");
    }
    for name in [
        "amount",
        "sku",
        "zip",
        "taste",
        "event_name",
        "product_name",
        "color",
    ] {
        assert!(!personal.property(name), "{name}");
    }
    for (name, wanted) in [
        ("taste", false),
        ("city", false),
        ("illness", true),
        ("unheard", true),
    ] {
        assert_eq!(personal.attribute(name), wanted, "{name}");
    }
}

#[test]
fn estimates_are_near() {
    for count in [0u64, 1, 5, 50, 500, 50_000] {
        let mut distinct = Distinct::default();
        for value in 0..count {
            let hash = blake3::hash(&value.to_le_bytes());
            distinct.add(u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()));
        }
        let (found, wanted) = (distinct.estimate() as f64, count as f64);
        assert!(
            (found - wanted).abs() <= wanted * 0.4 + 1.0,
            "{found} for {wanted}"
        );
    }
}

fn observe(catalogue: &mut Catalogue, person: u32, at: i64, properties: Value, traits: Value) {
    let (properties, traits) = (properties.to_string(), traits.to_string());
    let schema = AttributeSchema::default();
    let seen = Seen {
        brand: BrandId(1),
        name: "paid",
        source: SourceId(1),
        received: Time(at),
        day: (at / DAY) as i32,
        person,
        identifiers: &["u-77"],
        properties: Some(&properties),
        traits: Some(&traits),
    };
    catalogue.observe(&seen, &Personal::of(&Rules::shipped(), &schema), &[1; 32]);
}

/// Everything that the catalogue holds, as bytes.
fn holds(catalogue: &Catalogue, text: &str) -> bool {
    let bytes = postcard::to_stdvec(catalogue).unwrap();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn nothing_of_one_person_is_held() {
    let mut catalogue = Catalogue::default();
    for person in 0..4 {
        let properties = json!({"phone": "13812345678", "note": "rare words", "who": "u-77", "mail2": "x@y.cn",
            "tel_no": 13_812_345_678u64, "long": "l".repeat(VALUE_BYTES_MAX + 1)});
        observe(
            &mut catalogue,
            person,
            0,
            properties,
            json!({"name": "王小明", "city": "丽江", "odd": "thing"}),
        );
    }
    for text in [
        "13812345678",
        "rare words",
        "u-77",
        "x@y.cn",
        "王小明",
        "丽江",
        "thing",
        "lllll",
    ] {
        assert!(!holds(&catalogue, text), "{text}");
    }
    let properties = json!({"phone": "13812345678", "note": "rare words", "who": "u-77"});
    observe(
        &mut catalogue,
        4,
        0,
        properties,
        json!({"name": "王小明", "city": "丽江", "odd": "thing"}),
    );
    for (text, held) in [
        ("rare words", true),
        ("丽江", true),
        ("13812345678", false),
        ("u-77", false),
        ("王小明", false),
        ("thing", false),
    ] {
        assert_eq!(holds(&catalogue, text), held, "{text}");
    }
    let entry = catalogue.event_named(|_| true, "paid").unwrap();
    assert_eq!(entry.properties["phone"].values(), [("9{11}", 5, 0)]);
    assert_eq!(entry.properties["tel_no"].numbers, None);
    assert_eq!(entry.properties["who"].hidden, 5);
    // What turns out to be personal later is forgotten.
    let schema = AttributeSchema::check(
        &json!({"attributes": [{"name": "note", "type": "text", "class": "P2"},
        {"name": "city", "type": "text", "class": "P3"}]}),
    )
    .unwrap();
    catalogue.close(&Personal::of(&Rules::shipped(), &schema));
    assert!(!holds(&catalogue, "rare words") && !holds(&catalogue, "丽江"));
}

#[test]
fn bounds_hold_and_what_is_left_out_is_counted() {
    let mut catalogue = Catalogue::default();
    let wide: serde_json::Map<String, Value> = (0..PROPERTIES_MAX + 7)
        .map(|n| (format!("p{n}"), json!(n)))
        .collect();
    observe(&mut catalogue, 1, 0, Value::Object(wide), json!({}));
    let entry = catalogue.event_named(|_| true, "paid").unwrap();
    assert_eq!(
        (entry.properties.len(), entry.left_out),
        (PROPERTIES_MAX, 7)
    );
    for n in 0..EVENTS_MAX + 3 {
        let name = format!("n{n}");
        let seen = Seen {
            brand: BrandId(0),
            name: &name,
            source: SourceId(1),
            received: Time(0),
            day: 0,
            person: 1,
            identifiers: &[],
            properties: None,
            traits: None,
        };
        catalogue.observe(&seen, &Personal::default(), &[1; 32]);
    }
    assert_eq!(catalogue.sizes().0, EVENTS_MAX);
    assert_eq!(
        catalogue.left_out(),
        LeftOut {
            events: 4,
            values: 7
        }
    );
}

fn event(kind: EventKind, name: &str, properties: Option<&str>, traits: Option<&str>) -> Event {
    let json = |text: &str| RawJson::object(text).unwrap();
    Event {
        message_id: "m".into(),
        kind,
        name: name.into(),
        time: Time(0),
        received: Time(0),
        source: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(0),
        test: false,
        identifiers: Vec::new(),
        linking: Linking::Join,
        traits: traits.map(json),
        properties: properties.map(json),
        context: None,
        order: None,
        place: None,
    }
}

#[test]
fn rules_rename_leave_out_and_turn_away() {
    let rules = json!({"events": {
            "buy": {"as": "paid", "properties": {"colour": {"as": "color"}}},
            "spam": {"block": "drop"}, "old": {"block": "dead_letter"}, "to_old": {"as": "old"},
            "paid": {"properties": {"secret": "block", "price": {"as": "amount"}}}},
        "attributes": {"town": {"as": "city"}, "junk": "block"}});
    let rules = NameRules::parse(&rules.to_string()).unwrap();
    let track = EventKind::Track;
    let pass = |left_out| Decided::Pass { left_out };
    for (kind, name, properties, decided, named, wanted) in [
        (
            track,
            "seen",
            Some(r#"{"colour":1}"#),
            pass(0),
            "seen",
            Some(r#"{"colour":1}"#),
        ),
        (
            track,
            "buy",
            None,
            pass(0),
            "paid",
            Some(r#"{"$original_name":"buy"}"#),
        ),
        (
            track,
            "buy",
            Some("{ }"),
            pass(0),
            "paid",
            Some(r#"{"$original_name":"buy"}"#),
        ),
        (
            track,
            "buy",
            Some(r#"{"colour":"red","price":10.50,"secret":[1]}"#),
            pass(1),
            "paid",
            Some(r#"{"$original_name":"buy","amount":10.50,"color":"red"}"#),
        ),
        // Both are there: neither is lost.
        (
            track,
            "paid",
            Some(r#"{"price":1,"amount":2}"#),
            pass(0),
            "paid",
            Some(r#"{"price":1,"amount":2}"#),
        ),
        (
            track,
            "paid",
            Some(r#"{"price":12345678901234567890.123}"#),
            pass(0),
            "paid",
            Some(r#"{"amount":12345678901234567890.123}"#),
        ),
        (
            track,
            "spam",
            Some("{}"),
            Decided::Blocked(Blocked::Drop),
            "spam",
            Some("{}"),
        ),
        (
            track,
            "old",
            None,
            Decided::Blocked(Blocked::DeadLetter),
            "old",
            None,
        ),
        (
            track,
            "to_old",
            None,
            Decided::Blocked(Blocked::DeadLetter),
            "to_old",
            None,
        ),
        // Kinds that mean something keep their names, but can be blocked.
        (EventKind::Page, "buy", None, pass(0), "buy", None),
        (
            EventKind::Scan,
            "old",
            None,
            Decided::Blocked(Blocked::DeadLetter),
            "old",
            None,
        ),
        (EventKind::Item, "old", None, pass(0), "old", None),
    ] {
        let mut event = event(kind, name, properties, None);
        assert_eq!(rules.apply(&mut event), decided, "{name}");
        assert_eq!(&*event.name, named);
        assert_eq!(
            event.properties.as_ref().map(RawJson::as_str),
            wanted,
            "{name}"
        );
    }
    let mut told = event(
        EventKind::Identify,
        "identify",
        None,
        Some(r#"{"town":"x","junk":1,"age":3}"#),
    );
    assert_eq!(rules.apply(&mut told), pass(1));
    assert_eq!(told.traits.unwrap().as_str(), r#"{"age":3,"city":"x"}"#);
}

#[test]
fn names_that_do_not_fit_together_are_refused_with_their_places() {
    let naming = |json: Value| serde_json::from_value::<Naming>(json).unwrap();
    let (alias, plain) = (naming(json!({"alias_of": "A"})), Naming::default());
    let check =
        |events: &[(&str, Status, &Naming)], attributes: &[(&str, Status, &Naming)]| match compile(
            events, attributes,
        ) {
            Ok(rules) => rules.to_json(),
            Err(issues) => issues
                .iter()
                .map(|it| format!("{} {}; ", it.name, it.field))
                .collect(),
        };
    let (new, blocked) = (Status::New, Status::Blocked);
    assert_eq!(
        check(&[("B", new, &alias)], &[]),
        r#"{"events":{"B":{"as":"A"}},"attributes":{}}"#
    );
    assert_eq!(
        check(&[("A", Status::Accepted, &plain)], &[]),
        r#"{"events":{},"attributes":{}}"#
    );
    let dropped = naming(json!({"on_block": "drop"}));
    assert_eq!(
        check(&[("A", blocked, &dropped)], &[]),
        r#"{"events":{"A":{"block":"drop"}},"attributes":{}}"#
    );
    for events in [
        vec![("A", new, &alias)],
        vec![("B", blocked, &alias)],
        vec![("B", new, &alias), ("A", blocked, &plain)],
        vec![("order", new, &alias)],
    ] {
        assert!(check(&events, &[]).contains("alias_of"), "{events:?}");
    }
    let chain = naming(json!({"alias_of": "C"}));
    assert_eq!(
        check(&[("A", new, &chain), ("B", new, &alias)], &[]),
        "B alias_of; "
    );
    let into_fixed = naming(json!({"alias_of": "order"}));
    assert_eq!(check(&[("B", new, &into_fixed)], &[]), "B alias_of; ");
    let properties = naming(
        json!({"expected_type": "int", "properties": {"a": {"alias_of": "b"}, "b": {"alias_of": "a"},
        "c": {"expected_type": "metres"}, "d": {"status": "blocked"}}}),
    );
    assert_eq!(
        check(&[("A", new, &properties)], &[]),
        "A expected_type; A properties.a.alias_of; A properties.b.alias_of; A properties.c.expected_type; "
    );
    let typed =
        naming(json!({"expected_type": "metres", "on_block": "drop", "properties": {"x": {}}}));
    assert_eq!(
        check(&[], &[("A", new, &typed)]),
        "A expected_type; A properties; A on_block; "
    );
    assert_eq!(
        check(&[], &[("t", blocked, &plain)]),
        r#"{"events":{},"attributes":{"t":"block"}}"#
    );
}

/// Drift of an event that came so often on days from 0 on, seen at noon of a day. The property `p` was a number up to
/// (not on) `text_from`, then a text; `q` is there from `new_from`.
fn drifts(
    days: &[u64],
    now: i64,
    text_from: i64,
    new_from: i64,
    naming: Option<Naming>,
) -> Vec<String> {
    let mut catalogue = Catalogue::default();
    for (day, count) in days.iter().enumerate() {
        for n in 0..*count {
            let at = day as i64 * DAY + n as i64;
            let day = day as i64;
            let mut properties = json!({"p": if day < text_from { json!(n) } else { json!("x") }});
            if day >= new_from {
                properties["q"] = json!(true);
            }
            observe(&mut catalogue, n as u32, at, properties, json!({}));
        }
    }
    let entry = catalogue.event_named(|_| true, "paid").unwrap();
    let at = Time(now * DAY + DAY / 2);
    let found = drift(
        &entry,
        naming.as_ref(),
        at,
        now as i32,
        &|at| (at.0 / DAY) as i32,
        &|day| Time(i64::from(day) * DAY),
    );
    found
        .iter()
        .map(|it| {
            let kind = serde_json::to_value(it.kind).unwrap();
            let of = it.property.as_deref().unwrap_or("-");
            let (before, now) = (
                it.before.as_deref().unwrap_or("-"),
                it.now.as_deref().unwrap_or("-"),
            );
            format!(
                "{} {of} since day {}: {before} → {now}",
                kind.as_str().unwrap(),
                it.since.0 / DAY
            )
        })
        .collect()
}

#[test]
fn drift_is_listed_with_its_day() {
    let steady = [30u64; 9];
    let never = 1_000;
    let none: [&str; 0] = [];
    assert_eq!(drifts(&steady, 8, never, never, None), none);
    assert_eq!(
        drifts(&steady, 8, 5, never, None),
        ["type_changed p since day 5: int → text"]
    );
    assert_eq!(
        drifts(&steady, 8, never, 4, None),
        ["new_property q since day 4: - → bool"]
    );
    assert_eq!(drifts(&steady, 8, never, 0, None), none);
    // A weekend does not stop it, three days do.
    assert_eq!(
        drifts(&steady, 10, never, never, None),
        ["volume_fell - since day 9: 30 → 0"]
    );
    assert_eq!(
        drifts(&steady, 11, never, never, None),
        ["stopped - since day 8: 30 → 0"]
    );
    assert_eq!(
        drifts(&[30, 0, 0, 0, 0, 0, 1], 20, never, never, None),
        none,
        "it never came regularly"
    );
    let fell = [30, 30, 30, 30, 30, 30, 5, 6, 5];
    assert_eq!(
        drifts(&fell, 8, never, never, None),
        ["volume_fell - since day 6: 30 → 6"]
    );
    let rose = [30, 30, 30, 30, 30, 30, 30, 100, 5];
    assert_eq!(
        drifts(&rose, 8, never, never, None),
        ["volume_rose - since day 7: 30 → 100"]
    );
    let few = [3, 3, 3, 3, 3, 3, 0, 3];
    assert_eq!(drifts(&few, 7, never, never, None), none, "too few to say");
    let said = |json: Value| Some(serde_json::from_value::<Naming>(json).unwrap());
    let expects = said(
        json!({"properties": {"p": {"expected_type": "number"}, "q": {"status": "accepted"}}}),
    );
    assert_eq!(
        drifts(&steady, 8, 5, 4, expects),
        ["type_unexpected p since day 5: number → text"]
    );
    let text = said(json!({"properties": {"p": {"expected_type": "text"}}}));
    assert_eq!(
        drifts(&steady, 8, never, never, text),
        ["type_unexpected p since day 0: text → int"]
    );
}
