//! What readers see.

use actors::model::{BrandId, BrandSet, FieldClass, MemberNo, Scope, SourceId, Time};

use super::harness::{Made, World, definition};
use crate::definition::AttributeSchema;
use crate::profile::view::{TimelineFilter, View, attribute_history, member_view, timeline_page};
use crate::profile::{Limits, Value};

fn view(world: &World, schema: &AttributeSchema, scope: &Scope) -> Option<View> {
    member_view(&world.rows, MemberNo(1), schema, scope).unwrap()
}

fn value(view: &View, name: &str) -> Option<serde_json::Value> {
    view.attributes.get(name).map(|it| it.value.to_json())
}

#[test]
fn attributes_of_all_fragments_by_their_rules() {
    let body = serde_json::json!({"attributes": [
        {"name": "taste", "type": "texts", "survivorship": "union"},
        {"name": "spent", "type": "number", "survivorship": "sum"},
        {"name": "best", "type": "int", "survivorship": "max"},
        {"name": "worst", "type": "int", "survivorship": "min"},
        {"name": "via", "type": "text", "survivorship": "first"},
        {"name": "title", "type": "text", "survivorship": "priority", "sources": [2, 1]},
    ]});
    let schema = AttributeSchema::check(&body).unwrap();
    let mut world = World::new(Limits::default());
    world.send(definition(1, body), true);
    let told = [
        (
            10,
            30,
            1,
            r#"{"city":"上海","taste":["sweet","dry"],"spent":0.1,"best":"3","worst":3,"via":"shop","title":"Mr"}"#,
        ),
        (
            11,
            20,
            2,
            r#"{"city":"北京","taste":"sour","spent":"0.2","best":9,"worst":"-1","via":"scan","title":"Dr"}"#,
        ),
        (
            10,
            40,
            1,
            r#"{"taste":["dry"],"spent":1,"best":4.0,"title":null,"nick":"  "}"#,
        ),
        (
            11,
            25,
            2,
            r#"{"birthday":"1990/1/31","unknown":{"a":[1]},"visits":12345678901234567890}"#,
        ),
    ];
    for (n, (fragment, time, source, traits)) in told.into_iter().enumerate() {
        let mut made = Made::new(n as u64, 1, fragment, time).traits(traits);
        made.head.source = SourceId(source);
        made.send(&mut world);
    }
    world.drain(3);
    let seen = view(&world, &schema, &Scope::installation()).unwrap();
    let expected = serde_json::json!({
        "city": "上海", "taste": ["dry", "sour", "sweet"], "spent": 1.3, "best": 9, "worst": -1,
        "via": "scan", "title": "Dr", "nick": "  ", "birthday": "1990-01-31",
        "unknown": {"a": [1]}, "visits": "12345678901234567890",
    });
    let found: serde_json::Map<_, _> = seen
        .attributes
        .iter()
        .map(|(name, it)| (name.to_string(), it.value.to_json()))
        .collect();
    assert_eq!(serde_json::Value::Object(found), expected);
    assert_eq!(seen.first_seen, Some(Time(20_000)));
    assert_eq!(seen.last_seen, Some(Time(40_000)));
    assert!(!seen.merging);
    // The rule changes: nothing is rebuilt, the answer is another.
    let body = serde_json::json!({"attributes": [{"name": "city", "type": "text", "survivorship": "union"}]});
    let schema = AttributeSchema::check(&body).unwrap();
    let seen = view(&world, &schema, &Scope::installation()).unwrap();
    assert_eq!(
        value(&seen, "city"),
        Some(serde_json::json!(["上海", "北京"]))
    );
}

#[test]
fn what_does_not_fit_is_left_out_and_listed() {
    let mut world = World::new(Limits::default());
    Made::new(1, 1, 10, 1)
        .traits(r#"{"age":"twelve","name":"张三","birthday":"1990-13-01"}"#)
        .send(&mut world);
    world.drain(1);
    let seen = view(&world, &AttributeSchema::default(), &Scope::installation()).unwrap();
    assert_eq!(
        seen.attributes
            .keys()
            .map(|name| &**name)
            .collect::<Vec<_>>(),
        ["name"]
    );
    assert_eq!(world.counter("attributes_left_out"), 2);
    assert_eq!(world.counter("dead_letters"), 1);
    let id = "1-1-1".parse().unwrap();
    let letter = crate::dead::DeadRow::get(&world.rows, id).unwrap().unwrap();
    assert_eq!(&*letter.code, "attribute_type");
    assert_eq!(letter.field.as_deref(), Some("traits.age"));
    assert!(letter.reason.contains("`birthday`"), "{}", letter.reason);
    assert!(!letter.reason.contains("twelve"), "values are not quoted");
    assert_eq!(&*letter.message_id, "message-1");
    assert_eq!(world.counter("applied"), 1);
}

#[test]
fn brands_and_classes_out_of_scope_are_not_shown() {
    let mut world = World::new(Limits::default());
    for (brand, traits) in [
        (1, r#"{"city":"上海","phone":"13812345678"}"#),
        (2, r#"{"city":"北京"}"#),
    ] {
        let mut made = Made::new(brand.into(), 1, 10, brand.into()).traits(traits);
        made.head.brand = BrandId(brand);
        made.send(&mut world);
    }
    world.drain(10);
    let schema = AttributeSchema::default();
    let scope = |brand| Scope {
        brands: BrandSet::Only(vec![BrandId(brand)]),
        fields: FieldClass::P1,
    };
    let one = view(&world, &schema, &scope(1)).unwrap();
    assert_eq!(value(&one, "city"), Some("上海".into()));
    assert_eq!(value(&one, "phone"), Some("138****5678".into()));
    assert_eq!(one.events.values().sum::<u64>(), 1);
    assert_eq!(view(&world, &schema, &scope(3)), None);
    let page = |scope: &Scope| {
        timeline_page(
            &world.rows,
            MemberNo(1),
            &schema,
            scope,
            &TimelineFilter::default(),
            10,
            None,
        )
        .unwrap()
        .items
    };
    assert_eq!(page(&scope(2)).len(), 1);
    assert_eq!(page(&Scope::installation()).len(), 2);
}

#[test]
fn a_timeline_pages_over_fragments_newest_first() {
    let mut world = World::new(Limits::default());
    for n in 0..200u64 {
        let mut made = Made::new(n, 1, 10 + (n % 3) as u32, (n / 4) as i64);
        if n % 10 == 0 {
            made.head.name = "scanned".into();
            made.traits = Some(format!(r#"{{"level":{}}}"#, n / 20));
        }
        made.send(&mut world);
    }
    world.drain(7);
    let schema = AttributeSchema::default();
    let read = |filter: &TimelineFilter, limit: usize| {
        let (mut cursor, mut all, mut changes) = (None::<String>, Vec::new(), 0);
        loop {
            let page = timeline_page(
                &world.rows,
                MemberNo(1),
                &schema,
                &Scope::installation(),
                filter,
                limit,
                cursor.as_deref(),
            )
            .unwrap();
            assert!(page.items.len() <= limit);
            changes += page
                .items
                .iter()
                .map(|item| item.changes.len())
                .sum::<usize>();
            all.extend(page.items.iter().map(|item| item.position.offset.0));
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return (all, changes),
            }
        }
    };
    let all: Vec<u64> = (0..200).rev().collect();
    for limit in [1, 7, 200, 1000] {
        let (found, changes) = read(&TimelineFilter::default(), limit);
        assert_eq!(found, all, "limit {limit}");
        assert_eq!(
            changes, 10,
            "level was told twenty times and changed ten times"
        );
    }
    let filter = TimelineFilter {
        names: vec!["scanned".into()],
        from: Some(Time(10_000)),
        to: Some(Time(40_000)),
        ..TimelineFilter::default()
    };
    let expected: Vec<u64> = (40..160).rev().filter(|n| n % 10 == 0).collect();
    assert_eq!(read(&filter, 5).0, expected);
    let history = attribute_history(
        &world.rows,
        MemberNo(1),
        "level",
        &schema,
        &Scope::installation(),
        3,
    )
    .unwrap();
    let values: Vec<&Value> = history.iter().map(|item| &item.value).collect();
    assert_eq!(values, [&Value::Int(9), &Value::Int(8), &Value::Int(7)]);
    assert_eq!(
        history[0].time,
        Time(45_000),
        "level 9 began with event 180"
    );
}

#[test]
fn an_erased_event_counts_and_tells_nothing() {
    let mut world = World::new(Limits::default());
    let mut made = Made::new(1, 1, 10, 1).traits(r#"{"name":"张三"}"#).order(
        77,
        10,
        super::harness::change(77, None, Some(100), &[]),
    );
    made.erased = true;
    made.send(&mut world);
    world.drain(1);
    let seen = view(&world, &AttributeSchema::default(), &Scope::installation()).unwrap();
    assert!(seen.attributes.is_empty());
    assert_eq!(seen.events.values().sum::<u64>(), 1);
    assert_eq!(
        (seen.orders.count, world.counter("order_amount.CNY")),
        (1, 100)
    );
}
