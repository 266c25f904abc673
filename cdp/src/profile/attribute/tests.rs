use actors::model::Offset;
use proptest::prelude::*;

use super::*;

fn told(value: Value, time: i64, source: u32, offset: u64) -> Told {
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
            .map(|(n, (value, time, source))| told(value, time, source, n as u64))
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
    let mut facts = Facts::once(told(Value::Int(0), 0, 1, 0), true);
    for n in 1..=SET_VALUES_MAX as i64 {
        assert!(facts.set.is_some(), "{n}");
        facts.merge(Facts::once(told(Value::Int(n), n, 1, n as u64), true));
    }
    assert_eq!(facts.set, None);
}
