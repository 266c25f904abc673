//! Bytes from anybody: nothing may panic or run away, and what is read is written back to the same.

use std::sync::Arc;

use actors::model::Time;
use jiff::tz::TimeZone;

use super::dictionary;
use crate::profile::Value;
use crate::rule::ast::{EventNames, Path, Rule};
use crate::rule::measure::{Extractor, Filter, Measure};
use crate::rule::{check, evaluate};

/// Reads bytes as a rule in both forms and as the properties of an event.
pub fn hostile(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let rules = [Rule::from_json(text).ok(), Rule::from_text(text).ok()];
    for rule in rules.into_iter().flatten() {
        let json = rule.to_json();
        assert_eq!(Rule::from_json(&json).as_ref(), Ok(&rule), "{json}");
        let names = dictionary();
        if let Ok(plan) = check(&rule, &names, Some("this")) {
            let written = rule.to_text();
            assert_eq!(Rule::from_text(&written).as_ref(), Ok(&rule), "{written}");
            let person = super::Person::default();
            for now in [Time::MIN, Time(0), Time::MAX] {
                evaluate(&plan, &person, now, &TimeZone::UTC);
                let change = crate::rule::next_change(&plan, &person, now, &TimeZone::UTC);
                assert!(
                    change.is_none_or(|at| at > now),
                    "{written} at {now:?}: {change:?}"
                );
                let step = plan.next_change(now, &TimeZone::UTC);
                assert!(
                    step.is_none_or(|at| at > now),
                    "{written} at {now:?}: {step:?}"
                );
            }
        }
    }
    properties(text);
}

/// Damaged JSON reads as something or nothing; sound JSON reads as serde_json has it.
fn properties(text: &str) {
    let field = Path::dotted("a.b");
    let measure = Measure {
        names: EventNames::Names(vec!["e".into()]),
        filter: Some(Filter::And(Vec::new())),
        field: Some(field.clone()),
        brands: None,
        key: "".into(),
    };
    let extractor = Extractor::new(Arc::new(measure), &TimeZone::UTC);
    let hit = extractor.of("e", Time(0), Some(text));
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(text) else {
        return;
    };
    let expected = object.get("a").and_then(|a| a.get("b"));
    let found = hit.and_then(|hit| hit.value);
    match (expected, &found) {
        (Some(serde_json::Value::Bool(yes)), found) => {
            assert_eq!(*found, Some(Value::Bool(*yes)), "{text}");
        }
        (Some(serde_json::Value::String(wanted)), Some(Value::Text(found))) => {
            assert_eq!(crate::rule::scalar::nfkc(wanted), **found, "{text}");
        }
        (Some(serde_json::Value::String(wanted)), _) => assert!(wanted.is_empty(), "{text}"),
        (Some(serde_json::Value::Null), found) => assert_eq!(*found, None, "{text}"),
        _ => {}
    }
}
