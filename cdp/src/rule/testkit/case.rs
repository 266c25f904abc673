//! Cases in JSON: facts, rules, and what has to come out.
//!
//! A file is a list of groups. A group has `about` (the sentence that it shows), facts, and `cases`: pairs of a rule (JSON,
//! or its text form) and `true`, `false`, or the codes and places that it is refused with (`"code at place"`).

use actors::model::Time;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json};

use super::{Dictionary, Happened, Person};
use crate::definition::AttributeType;
use crate::profile::Value;
use crate::rule::ast::Rule;

/// The files, with their names.
const FILES: [(&str, &str); 6] = [
    ("logic", include_str!("../tests/cases/logic.json")),
    ("values", include_str!("../tests/cases/values.json")),
    ("dates", include_str!("../tests/cases/dates.json")),
    ("events", include_str!("../tests/cases/events.json")),
    ("sequences", include_str!("../tests/cases/sequences.json")),
    ("refused", include_str!("../tests/cases/refused.json")),
];

/// One rule over one person's facts.
#[derive(Debug, Clone)]
pub struct Case {
    /// File, sentence and number: for messages.
    pub name: String,
    /// Facts.
    pub person: Person,
    /// Dictionary: all names that the facts use, and those of `types`.
    pub names: Dictionary,
    /// The present.
    pub now: Time,
    /// The rule as it stands in the file: JSON, or its text form in a JSON string.
    pub rule: Json,
    /// Whether the person is meant; or what is wrong with the rule.
    pub expected: Result<bool, Vec<String>>,
}

impl Case {
    /// The rule's tree, or what is wrong with its form.
    pub fn read(&self) -> Result<Rule, Vec<crate::rule::RuleError>> {
        match &self.rule {
            Json::String(text) => Rule::from_text(text).map_err(|error| vec![error]),
            json => Rule::from_json(&json.to_string()),
        }
    }
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, text) in FILES {
        let groups: Vec<Json> = serde_json::from_str(text).unwrap_or_else(|error| {
            panic!("{file}.json: {error}");
        });
        for group in &groups {
            let about = group["about"]
                .as_str()
                .expect("a group says what it is about");
            let (person, names) = facts(group);
            let now = instant(&group["now"]);
            let listed = group["cases"].as_array().expect("a group has cases");
            for (number, case) in listed.iter().enumerate() {
                let expected = match &case[1] {
                    Json::Bool(yes) => Ok(*yes),
                    Json::String(refusal) => Err(vec![refusal.clone()]),
                    Json::Array(refusals) => Err(refusals.iter().map(text_of).collect()),
                    other => panic!("{file}: {about}: {other}: expected true, false or refusals"),
                };
                cases.push(Case {
                    name: format!("{file}: {about}: {number}: {}", case[0]),
                    person: person.clone(),
                    names: names.clone(),
                    now,
                    rule: case[0].clone(),
                    expected,
                });
            }
        }
    }
    cases
}

fn text_of(json: &Json) -> String {
    json.as_str().expect("a text").to_owned()
}

fn instant(json: &Json) -> Time {
    match json {
        Json::Null => Time::from_rfc3339("2026-03-10T12:00:00+08:00").expect("it is one"),
        json => Time::from_rfc3339(json.as_str().expect("a text")).expect("an instant"),
    }
}

fn empty() -> Map<String, Json> {
    Map::new()
}

fn facts(group: &Json) -> (Person, Dictionary) {
    let zone = group["zone"].as_str().unwrap_or("Asia/Shanghai");
    let zone = TimeZone::get(zone).expect("a zone");
    let types = group["types"].as_object().cloned().unwrap_or_else(empty);
    let type_of = |name: &str| {
        let word = types.get(name)?.as_str()?;
        AttributeType::parse(word)
    };
    let mut person = Person {
        member: u32::try_from(group["member"].as_u64().unwrap_or(1)).expect("a small number"),
        zone: Some(zone.clone()),
        ..Person::default()
    };
    let mut names = Dictionary::default();
    for name in types.keys().filter(|name| !name.starts_with("tags.")) {
        names.attributes.insert(name.clone(), type_of(name));
    }
    let read = |json: &Json, kind: Option<AttributeType>| {
        let value = crate::profile::coerce(kind, &json.to_string(), &zone);
        value
            .expect("the value fits its type")
            .filter(|it| *it != Value::Cleared)
    };
    for (name, json) in group["attributes"].as_object().unwrap_or(&empty()) {
        let kind = type_of(name);
        names.attributes.insert(name.clone(), kind);
        if let Some(value) = read(json, kind) {
            person.attributes.insert(name.clone(), value);
        }
    }
    let text = AttributeType::parse("text").expect("a type");
    for (code, json) in group["tags"].as_object().unwrap_or(&empty()) {
        let kind = type_of(&format!("tags.{code}")).unwrap_or(text);
        names.tags.insert(code.clone(), kind);
        if let Some(value) = read(json, Some(kind)) {
            person.tags.insert(code.clone(), value);
        }
    }
    for (place, at) in group["places"].as_object().unwrap_or(&empty()) {
        names.places.insert(place.clone());
        if let (Some(lat), Some(lon)) = (at[0].as_f64(), at[1].as_f64()) {
            person.places.insert(place.clone(), (lat, lon));
        }
    }
    // `true`: the person is in it; a list: the segments that its rule names.
    for (id, json) in group["segments"].as_object().unwrap_or(&empty()) {
        let uses = json.as_array().cloned().unwrap_or_default();
        let uses = uses.iter().map(|it| text_of(it).into()).collect();
        names.segments.insert(id.clone(), uses);
        if json.as_bool() == Some(true) {
            person.segments.insert(id.clone());
        }
    }
    for (id, json) in group["lists"].as_object().unwrap_or(&empty()) {
        names.lists.insert(id.clone());
        if json.as_bool() == Some(true) {
            person.lists.insert(id.clone());
        }
    }
    for event in group["events"].as_array().unwrap_or(&Vec::new()) {
        person.events.push(Happened {
            name: text_of(&event[0]),
            time: instant(&event[1]),
            properties: match &event[2] {
                Json::Null => "{}".to_owned(),
                json => json.to_string(),
            },
        });
    }
    person.events.sort_by_key(|event| event.time);
    (person, names)
}
