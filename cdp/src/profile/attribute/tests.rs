use actors::model::Offset;
use proptest::prelude::*;

use super::*;
use crate::definition::AttributeSchema;

fn telling(value: Value, time: i64, source: u32, offset: u64) -> Told {
    Told {
        value,
        time: Time(time),
        position: Position {
            offset: Offset(offset),
            ..Position::default()
        },
        source: SourceId(source),
    }
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Cleared),
        (-3..4i64).prop_map(Value::Int),
        (-3..4i32).prop_map(Value::Date),
        "[ab]{0,2}".prop_map(|text| Value::Text(text.into())),
        prop::collection::vec((0..4i64).prop_map(Value::Int), 1..3).prop_map(Value::List),
    ]
}

proptest! {
    /// Joined in any order and any grouping, facts are the same, and so are their bytes.
    #[test]
    fn facts_join_in_any_order(
        tellings in prop::collection::vec((values(), 0..5i64, 1..4u32), 1..12),
        shuffle in any::<u64>(),
        union in any::<bool>(),
    ) {
        let mut list: Vec<Told> = tellings
            .into_iter()
            .enumerate()
            .map(|(n, (value, time, source))| telling(value, time, source, n as u64))
            .collect();
        let join_all = |list: &[Told]| {
            let mut parts = list.iter().map(|it| Facts::once(it.clone(), union));
            let mut all = parts.next().expect("one at least");
            parts.for_each(|part| all.merge(part));
            all
        };
        let straight = join_all(&list);
        let count = list.len();
        for at in 0..count {
            list.swap(at, (shuffle.rotate_left(at as u32 * 7) as usize) % count);
        }
        let (front, back) = list.split_at(count / 2);
        let mut pieces = join_all(back);
        if !front.is_empty() {
            pieces.merge(join_all(front));
        }
        prop_assert_eq!(&straight, &pieces);
        let attribute = Attribute { name: "a".into(), brand: BrandId(1), facts: straight };
        let mut packed = Vec::new();
        pack(std::slice::from_ref(&attribute), &mut packed);
        prop_assert_eq!(unpack(&packed), Some(vec![attribute]));
    }
}

#[test]
fn a_set_that_grows_too_long_is_read_from_the_timeline() {
    let mut facts = Facts::once(telling(Value::Int(0), 0, 1, 0), true);
    for n in 1..=SET_VALUES_MAX as i64 {
        assert!(facts.set.is_some(), "{n}");
        facts.merge(Facts::once(telling(Value::Int(n), n, 1, n as u64), true));
    }
    assert_eq!(facts.set, None);
}

fn operations() -> impl Strategy<Value = (Operation, Value)> {
    prop_oneof![
        3 => values().prop_map(|value| (Operation::Set, value)),
        2 => (-3..4i64).prop_map(|n| (Operation::Add, Value::Int(n))),
        2 => "[ab]".prop_map(|text| (Operation::Append, Value::List(vec![Value::Text(text.into())]))),
        2 => (0..4i64).prop_map(|n| (Operation::SetOnce, Value::Int(n))),
    ]
}

/// Joins facts in an order and grouping that `shuffle` chooses.
fn joined(list: &[(Operation, Told)], shuffle: u64) -> Facts {
    let mut parts: Vec<Facts> = list
        .iter()
        .map(|(operation, told)| Facts::done(*operation, told.clone(), false))
        .collect();
    let mut dice = shuffle | 1;
    while parts.len() > 1 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let one = parts.swap_remove((dice >> 33) as usize % parts.len());
        let other = (dice >> 17) as usize % parts.len();
        parts[other].merge(one);
    }
    parts.pop().expect("one at least")
}

fn stamped(tellings: Vec<((Operation, Value), i64, u32)>) -> Vec<(Operation, Told)> {
    tellings
        .into_iter()
        .enumerate()
        .map(|(n, ((operation, value), time, source))| {
            (operation, telling(value, time, source, n as u64))
        })
        .collect()
}

fn in_time(list: &[(Operation, Told)]) -> Option<Told> {
    let mut list = list.to_vec();
    list.sort_by_key(|(_, told)| told.stamp());
    fold(list.into_iter()).filter(|told| told.value != Value::Cleared)
}

proptest! {
    /// Whatever was told in whatever order: the value is what a fold in the order of times comes to.
    #[test]
    fn operations_come_to_their_fold(
        tellings in prop::collection::vec((operations(), 0..8i64, 1..4u32), 1..30),
        shuffles in (any::<u64>(), any::<u64>()),
    ) {
        let list = stamped(tellings);
        let facts = joined(&list, shuffles.0);
        prop_assert_eq!(&facts, &joined(&list, shuffles.1));
        let expected = in_time(&list).map_or(Resolved::Absent, Resolved::Value);
        prop_assert_eq!(facts.resolve(None), expected);
        let attribute = Attribute { name: "a".into(), brand: BrandId(1), facts };
        let mut packed = Vec::new();
        pack(std::slice::from_ref(&attribute), &mut packed);
        prop_assert_eq!(unpack(&packed), Some(vec![attribute]));
    }

    /// What is read straight from the stored form is what the facts come to.
    #[test]
    fn plain_values_are_those_of_the_facts(
        told in prop::collection::vec(
            ((0..4usize, 0..2u32), operations(), 0..5i64, 0..3u32),
            0..8,
        ),
        rules in prop::collection::vec(0..7usize, 4),
    ) {
        let words = ["latest", "first", "min", "max", "priority", "sum", "union"];
        let names = ["", "a", "b", "c"];
        let mut attributes = Vec::new();
        for (offset, ((name, brand), (operation, value), time, source)) in told.into_iter().enumerate() {
            let once = telling(value, time, source, offset as u64);
            // Most are plain, as in life.
            let operation = if offset % 3 == 0 { operation } else { Operation::Set };
            if operation.takes(&once.value) {
                let facts = Facts::done(operation, once, rules[name] == 6);
                join(&mut attributes, names[name], BrandId(brand), facts);
            }
        }
        let mut packed = Vec::new();
        pack(&attributes, &mut packed);
        let attributes_of = [1, 2, 3].map(|at: usize| {
            let word = words[rules[at]];
            let mut it = serde_json::json!({"name": names[at], "type": "int", "survivorship": word});
            match word {
                "priority" => it["sources"] = serde_json::json!([2, 1]),
                "union" => it["type"] = "texts".into(),
                _ => {}
            }
            it
        });
        let body = serde_json::json!({ "attributes": attributes_of });
        let schema = AttributeSchema::check(&body).unwrap();
        let rule = |name: &str| schema.get(name).map_or(Survivorship::Latest, |it| it.survivorship);
        let Some(plain) = plain_values(&packed, rule) else {
            return Ok(());
        };
        let mut expected = Vec::new();
        for attribute in attributes {
            prop_assert_ne!(&*attribute.name, "", "a deletion is not plain");
            match attribute.facts.resolve(schema.get(&attribute.name)) {
                Resolved::Value(told) => expected.push((attribute.name, told.value)),
                Resolved::Absent => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(plain, expected);
    }

    /// Of hundreds a cell knows what is usual, and says so where it does not.
    #[test]
    fn many_operations_come_to_their_fold_or_to_the_timeline(
        sort in 0..3usize,
        count in 40..200usize,
        set in prop::option::of((0..300i64, values())),
        shuffle in any::<u64>(),
    ) {
        let done = [Operation::Add, Operation::Append, Operation::SetOnce][sort];
        let mut tellings: Vec<_> = (0..count as i64)
            .map(|n| {
                let value = match done {
                    Operation::Append => Value::List(vec![Value::Int(n % 9)]),
                    _ => Value::Int(n % 9),
                };
                ((done, value), n + 50, 1)
            })
            .collect();
        let amid = set.as_ref().is_some_and(|(at, _)| *at >= 50 && *at < count as i64 + 49);
        tellings.extend(set.map(|(at, value)| ((Operation::Set, value), at, 2)));
        let list = stamped(tellings);
        let facts = joined(&list, shuffle);
        prop_assert_eq!(&facts, &joined(&list, !shuffle));
        match facts.resolve(None) {
            Resolved::FoldTimeline => prop_assert!(amid),
            value => {
                let expected = in_time(&list).map_or(Resolved::Absent, Resolved::Value);
                prop_assert_eq!(value, expected);
            }
        }
    }
}

#[test]
fn survivorship_still_counts_what_was_told() {
    let rule = |word: &str| {
        let body = serde_json::json!({"attributes": [
            {"name": "a", "type": "int", "survivorship": word}]});
        AttributeSchema::check(&body).expect("a schema")
    };
    let facts = joined(
        &stamped(vec![
            ((Operation::SetOnce, Value::Int(3)), 1, 1),
            ((Operation::Set, Value::Int(10)), 2, 1),
            ((Operation::Add, Value::Int(5)), 3, 1),
        ]),
        1,
    );
    for (word, expected) in [("latest", 15), ("first", 3), ("sum", 15), ("max", 10)] {
        let schema = rule(word);
        match facts.resolve(schema.get("a")) {
            Resolved::Value(told) => assert_eq!(told.value, Value::Int(expected), "{word}"),
            other => panic!("{word}: {other:?}"),
        }
    }
}
