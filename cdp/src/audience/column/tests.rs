use super::*;

#[test]
fn a_column_gives_back_what_it_was_told() {
    let number = |text: &str| Value::Number(Number::parse(text).expect("a number"));
    let text = |text: &str| Value::Text(text.into());
    let values = [
        Value::Bool(true),
        Value::Bool(false),
        Value::Int(7),
        Value::Int(i64::MAX),
        Value::Int(i64::MIN),
        number("1.5"),
        number("-0.0001"),
        number("0.00001"),
        number("79228162514264337593543950335"),
        Value::Date(20_000),
        Value::Time(Time(1_700_000_000_123)),
        text("甲"),
        text("abc"),
        Value::Object(r#"{"a":[1,2]}"#.into()),
        Value::List(vec![text("x"), Value::Int(3), text("x")]),
        Value::List(vec![Value::Object("{}".into())]),
    ];
    let mut column = Column::default();
    // Every value over every other one, at places of two blocks.
    for first in &values {
        for second in &values {
            for ordinal in [3, 70_000] {
                column.set(ordinal, Some(first));
                assert_eq!(column.get(ordinal).as_ref(), Some(first));
                column.set(ordinal, Some(second));
                assert_eq!(column.get(ordinal).as_ref(), Some(second));
                let lanes = Lane::ALL
                    .iter()
                    .filter(|lane| column.number(**lane, ordinal).is_some());
                assert!(lanes.count() <= 1);
            }
        }
    }
    for nothing in [
        Some(Value::Cleared),
        Some(text("")),
        Some(Value::List(vec![])),
        None,
    ] {
        column.set(3, Some(&Value::Int(1)));
        column.set(3, nothing.as_ref());
        assert_eq!(column.get(3), None, "{nothing:?}");
    }
    column.set(70_000, None);
    assert_eq!(
        (column.texts.iter().count(), column.others.iter().count()),
        (0, 0)
    );
}

#[test]
fn texts_are_kept_as_they_are_compared() {
    let mut column = Column::default();
    column.set(1, Some(&Value::Text("ＡＢＣ①".into())));
    assert_eq!(column.get(1), Some(Value::Text("ABC1".into())));
}
