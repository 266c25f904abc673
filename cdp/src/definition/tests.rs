use serde_json::json;

use super::*;

#[test]
fn a_schema_reads_back_from_its_own_body() {
    let body = json!({"strict": true, "unknown_class": "P3", "attributes": [
        {"name": "taste", "type": "texts", "survivorship": "union", "class": "P0", "title": {"zh": "口味"}},
        {"name": "name", "type": "text", "survivorship": "priority", "sources": [3, 1], "brand": 2},
    ]});
    let schema = AttributeSchema::check(&body).unwrap();
    assert_eq!(AttributeSchema::check(&schema.to_body()).unwrap(), schema);
    assert!(schema.get("birthday").is_some(), "usual names stay");
}

#[test]
fn all_errors_come_at_once() {
    let body = json!({"strict": 1, "colour": 2, "attributes": [
        {"name": "a", "type": "text", "colour": 1},
        {"name": "", "type": "text", "survivorship": "max"},
        {"name": "b", "type": "int", "survivorship": "priority"},
        {"name": "b", "type": "int", "sources": [1]},
        {"name": "c"},
    ]});
    let errors = AttributeSchema::check(&body).unwrap_err();
    let mut places: Vec<(&str, &str)> = errors.iter().map(|e| (&*e.place, e.code)).collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            ("attributes[0]", "definition_form"),
            ("attributes[1].name", "name_length"),
            ("attributes[1].survivorship", "survivorship_type"),
            ("attributes[2].sources", "sources_missing"),
            ("attributes[3].name", "duplicate_name"),
            ("attributes[3].sources", "sources_unused"),
            ("attributes[4]", "definition_form"),
            ("colour", "unknown_field"),
            ("strict", "definition_form"),
        ]
    );
}

#[test]
fn an_unknown_kind_is_refused() {
    assert!(Definition::parse(br#"{"kind":"recipes","version":1,"body":{}}"#).is_err());
}
