use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rename(field: &str, to: &str) -> Change {
    Change::Rename {
        field: field.into(),
        to: to.into(),
    }
}

fn unwrapped(field: &str, into: &str) -> Change {
    Change::Unwrap {
        field: field.into(),
        into: into.into(),
    }
}

fn cast_to(field: &str, to: Cast) -> Change {
    Change::Cast {
        field: field.into(),
        to,
    }
}

#[test]
fn each_change_does_what_it_says() {
    let set = |field: &str, value: Value| Change::Set {
        field: field.into(),
        value,
    };
    let remove = |field: &str| Change::Remove {
        field: field.into(),
    };
    let big = "123456789012345678901234567890.10";
    for (event, change, wanted) in [
        (
            r#"{"a":1}"#.to_owned(),
            rename("a", "b"),
            r#"{"b":1}"#.to_owned(),
        ),
        (
            r#"{"a":{"b":1,"c":2}}"#.into(),
            rename("a.b", "x.y"),
            r#"{"a":{"c":2},"x":{"y":1}}"#.into(),
        ),
        (
            r#"{"a":1,"b":2}"#.into(),
            rename("a", "b"),
            "b: the event has this field already".into(),
        ),
        (
            r#"{"a":1}"#.into(),
            rename("b", "c"),
            "b: the event has no such field".into(),
        ),
        (
            format!(r#"{{"n":{big}}}"#),
            set("t", json!("x")),
            format!(r#"{{"n":{big},"t":"x"}}"#),
        ),
        (
            r#"{"l":[{"p":1},{"p":2}]}"#.into(),
            set("l.1.p", json!(3)),
            r#"{"l":[{"p":1},{"p":3}]}"#.into(),
        ),
        (
            r#"{"l":[1]}"#.into(),
            set("l.4", json!(3)),
            "l.4: the list has no item 4".into(),
        ),
        (
            r#"{"a":1}"#.into(),
            set("a.b", json!(3)),
            "a.b: `b` stands in no object".into(),
        ),
        (
            r#"{"a":1}"#.into(),
            set("a..b", json!(3)),
            "a..b: a field is named like properties.items.0.price".into(),
        ),
        (r#"{"a":1,"b":2}"#.into(), remove("a"), r#"{"b":2}"#.into()),
        (r#"{"b":2}"#.into(), remove("a.c"), r#"{"b":2}"#.into()),
        (
            r#"{"l":[1,2]}"#.into(),
            remove("l.0"),
            r#"{"l":[2]}"#.into(),
        ),
        (
            format!(r#"{{"n":{big}}}"#),
            cast_to("n", Cast::Text),
            format!(r#"{{"n":"{big}"}}"#),
        ),
        (
            format!(r#"{{"n":" 1,{big}"}}"#),
            cast_to("n", Cast::Number),
            format!(r#"{{"n":1{big}}}"#),
        ),
        (
            r#"{"n":"12 yuan"}"#.into(),
            cast_to("n", Cast::Number),
            "n: the text is no decimal number".into(),
        ),
        (
            r#"{"n":"是"}"#.into(),
            cast_to("n", Cast::Bool),
            r#"{"n":true}"#.into(),
        ),
        (
            r#"{"n":2}"#.into(),
            cast_to("n", Cast::Bool),
            "n: only 0 and 1 are booleans".into(),
        ),
        (
            r#"{"n":"[1, 2]"}"#.into(),
            cast_to("n", Cast::Json),
            r#"{"n":[1, 2]}"#.into(),
        ),
        (
            r#"{"n":null}"#.into(),
            cast_to("n", Cast::Text),
            "n: its type cannot become that".into(),
        ),
        (
            r#"{"data":{"a":1}}"#.into(),
            unwrapped("data", ""),
            r#"{"a":1}"#.into(),
        ),
        (
            r#"{"data":"{\"a\":1}"}"#.into(),
            unwrapped("data", ""),
            r#"{"a":1}"#.into(),
        ),
        (
            r#"{"data":["{\"a\":1}"],"b":2}"#.into(),
            unwrapped("data", "data"),
            r#"{"b":2,"data":{"a":1}}"#.into(),
        ),
        (
            r#"{"data":[1,2]}"#.into(),
            unwrapped("data", ""),
            "data: the list has not exactly one item".into(),
        ),
        (
            r#"{"data":7}"#.into(),
            unwrapped("data", ""),
            "data: there is no object in it".into(),
        ),
        ("{".into(), remove("a"), ": no JSON".into()),
    ] {
        let found =
            mend(&event, std::slice::from_ref(&change)).unwrap_or_else(|error| error.to_string());
        assert!(
            found == wanted || wanted.starts_with(": ") && found.starts_with(&wanted),
            "{event} {change:?}: {found}"
        );
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            prop::collection::btree_map("[a-c]", inner.clone(), 0..3).prop_map(|map| json!(map)),
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

proptest! {
    /// Against the plain way over [`Value`].
    #[test]
    fn set_and_remove_agree_with_values(
        event in prop::collection::btree_map("[a-c]", tree(), 0..4),
        path in prop::collection::vec("[a-c0-1]", 1..4),
        value in tree(),
    ) {
        let event = json!(event);
        let field = path.join(".");
        let pointer = format!("/{}", path.join("/"));
        let set = mend(&event.to_string(), &[Change::Set { field: field.clone(), value: value.clone() }]);
        if let Ok(text) = &set {
            let after: Value = serde_json::from_str(text).unwrap();
            prop_assert_eq!(after.pointer(&pointer), Some(&value));
        } else {
            prop_assert_eq!(event.pointer(&pointer), None);
        }
        if event.pointer(&pointer).is_some() {
            let mut wanted = event.clone();
            *wanted.pointer_mut(&pointer).unwrap() = value;
            prop_assert_eq!(serde_json::from_str::<Value>(&set.unwrap()).unwrap(), wanted);
            let removed = mend(&event.to_string(), &[Change::Remove { field: field.clone() }]).unwrap();
            let (above, last) = pointer.rsplit_once('/').unwrap();
            let mut wanted = event.clone();
            match wanted.pointer_mut(above).unwrap() {
                Value::Object(fields) => drop(fields.remove(last)),
                Value::Array(items) => drop(items.remove(last.parse().unwrap())),
                other => panic!("{other}"),
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&removed).unwrap(), wanted);
        } else {
            let same = mend(&event.to_string(), &[Change::Remove { field }]).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), event);
        }
    }
}
