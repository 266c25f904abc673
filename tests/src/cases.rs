//! Cases as data: `tests/cases/*.json`, each a list of named cases of steps, run against one server.
//!
//! ```json
//! {"name": "a phone makes a member", "steps": [
//!   {"send": [{"type": "track", "name": "x", "identifiers": ["phone:13800000001"]}]},
//!   {"get": "/api/v1/members?identifier=phone:13800000001", "expect": {"status": "member"}},
//!   {"post": "/api/v1/members/{id}/unmerge", "body": {}, "status": 404, "code": "not_found"}]}
//! ```
//! Every read follows the last write (`?after=`). `expect` is a part of the answer: objects may have more names, lists
//! must be equal in length; `{"$has": […]}` asks for members of a list in any order, `{"$not": …}` for their absence,
//! `{"$count": n}` for a length, `"$any"` for anything that is there. `save` keeps values of the answer by name, found
//! by JSON pointer, and `{name}` puts them into later steps. `{#}` is a number of the case, so that cases do not meet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::http::{Answer, query};
use crate::sandbox::Sandbox;
use crate::wait;

/// Reads a file of cases.
pub fn load(name: &str) -> Vec<Value> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name);
    let text = std::fs::read_to_string(&path).expect("the file of cases is there");
    let cases: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    cases.as_array().expect("cases are a list").clone()
}

/// Runs all cases of a file; all that fail are in the panic's message.
pub fn run(sandbox: &Sandbox, write_key: &str, name: &str) {
    let cases = load(name);
    assert!(!cases.is_empty(), "{name} has cases");
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let title = case["name"].as_str().expect("a case has a name");
        let mut run = Run {
            sandbox,
            write_key,
            number,
            saved: BTreeMap::new(),
            after: String::new(),
            sent: 0,
        };
        for (step, what) in case["steps"]
            .as_array()
            .expect("a case has steps")
            .iter()
            .enumerate()
        {
            if let Err(why) = run.step(what) {
                failures.push(format!("{name}: {title}: step {}: {why}", step + 1));
                break;
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

struct Run<'a> {
    sandbox: &'a Sandbox,
    write_key: &'a str,
    number: usize,
    saved: BTreeMap<String, Value>,
    after: String,
    sent: usize,
}

impl Run<'_> {
    fn step(&mut self, step: &Value) -> Result<(), String> {
        let step = self.fill(step);
        if let Some(events) = step.get("send") {
            self.send(events.clone());
            return Ok(());
        }
        let answer = self.ask(&step)?;
        if let Some(token) = answer.header("tributary-token") {
            self.after = token.to_owned();
        }
        let wanted = step["status"].as_u64();
        let good = match wanted {
            Some(status) => u64::from(answer.status) == status,
            None => (200..300).contains(&answer.status),
        };
        if !good {
            return Err(format!("answered {} {}", answer.status, answer.text()));
        }
        if let Some(code) = step["code"].as_str()
            && answer.code() != code
        {
            return Err(format!("code {} instead of {code}", answer.code()));
        }
        if let Some(expected) = step.get("expect") {
            let value = answer.value();
            part_of(expected, &value, "").map_err(|why| format!("{why}\n  in {value}"))?;
        }
        if let Some(save) = step["save"].as_object() {
            let value = answer.value();
            for (name, pointer) in save {
                let pointer = pointer.as_str().expect("save names JSON pointers");
                let found = value
                    .pointer(pointer)
                    .ok_or_else(|| format!("nothing at {pointer} in {value}"))?;
                self.saved.insert(name.clone(), found.clone());
            }
        }
        Ok(())
    }

    /// Sends events; those without message id and time get their number in the case.
    fn send(&mut self, mut events: Value) {
        for event in events.as_array_mut().expect("send has a list") {
            self.sent += 1;
            let event = event.as_object_mut().expect("events are objects");
            let id = format!("case-{}-{}", self.number, self.sent);
            event.entry("message_id").or_insert(json!(id));
            let time = format!("2026-05-01T08:00:{:02}+08:00", self.sent);
            event.entry("time").or_insert(json!(time));
        }
        self.after = self.sandbox.send(self.write_key, &events);
    }

    fn ask(&self, step: &Value) -> Result<Answer, String> {
        let http = self.sandbox.http();
        for method in ["get", "post", "put", "patch", "delete"] {
            let Some(path) = step[method].as_str() else {
                continue;
            };
            let path = encode(path);
            if method != "get" {
                let body = step.get("body").cloned().unwrap_or(json!({}));
                return Ok(http.json(&method.to_uppercase(), &path, &body));
            }
            let joint = if path.contains('?') { '&' } else { '?' };
            let path = match self.after.is_empty() {
                true => path,
                false => format!("{path}{joint}after={}", self.after),
            };
            return Ok(wait::until(&path, || {
                let answer = http.get(&path);
                (answer.status != 503).then_some(answer)
            }));
        }
        Err(format!("a step sends or asks: {step}"))
    }

    /// Puts saved values and the case's number into all texts.
    fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let mut text = text.replace("{#}", &format!("{:03}", self.number));
                for (name, saved) in &self.saved {
                    let mark = format!("{{{name}}}");
                    if text == mark {
                        return saved.clone();
                    }
                    let plain = saved.as_str().map_or(saved.to_string(), str::to_owned);
                    text = text.replace(&mark, &plain);
                }
                Value::String(text)
            }
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.fill(value)))
                .collect(),
            other => other.clone(),
        }
    }
}

/// Encodes the value of `identifier=`, which may hold `:`, `@`, `+` and any letter.
fn encode(path: &str) -> String {
    match path.split_once("identifier=") {
        None => path.to_owned(),
        Some((before, rest)) => {
            let (value, more) = rest.split_once('&').map_or((rest, ""), |(v, m)| (v, m));
            let joint = if more.is_empty() { "" } else { "&" };
            format!("{before}identifier={}{joint}{more}", query(value))
        }
    }
}

/// Whether `expected` is a part of `found`; says where not.
pub fn part_of(expected: &Value, found: &Value, at: &str) -> Result<(), String> {
    let wrong = || Err(format!("{at}: {found} instead of {expected}"));
    match (expected, found) {
        (Value::String(any), found) if any == "$any" => match found {
            Value::Null => wrong(),
            _ => Ok(()),
        },
        (Value::Object(rule), found) if rule.contains_key("$has") => {
            for item in rule["$has"].as_array().expect("$has takes a list") {
                let there = list(found).iter().any(|one| part_of(item, one, at).is_ok());
                if !there {
                    return Err(format!("{at}: {item} is not in {found}"));
                }
            }
            Ok(())
        }
        (Value::Object(rule), found) if rule.contains_key("$not") => {
            let item = &rule["$not"];
            match list(found).iter().any(|one| part_of(item, one, at).is_ok()) {
                true => Err(format!("{at}: {item} is in {found}")),
                false => Ok(()),
            }
        }
        (Value::Object(rule), found) if rule.contains_key("$count") => {
            match rule["$count"].as_u64() == Some(list(found).len() as u64) {
                true => Ok(()),
                false => Err(format!("{at}: {} items: {found}", list(found).len())),
            }
        }
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                let inner = found.get(name).unwrap_or(&Value::Null);
                part_of(value, inner, &format!("{at}/{name}"))?;
            }
            Ok(())
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (place, (expected, found)) in expected.iter().zip(found).enumerate() {
                part_of(expected, found, &format!("{at}/{place}"))?;
            }
            Ok(())
        }
        (expected, found) if expected == found => Ok(()),
        _ => wrong(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_and_every_difference_is_named() {
        let check = |expected: Value, found: Value| part_of(&expected, &found, "").is_ok();
        assert!(check(json!({"a": 1}), json!({"a": 1, "b": 2})));
        assert!(!check(json!({"a": 1}), json!({"a": 2})));
        assert!(!check(json!({"a": "$any"}), json!({"b": 2})));
        assert!(check(json!({"a": null}), json!({"b": 2})));
        assert!(!check(json!([1, 2]), json!([1])));
        assert!(check(
            json!({"$has": [{"k": 2}]}),
            json!([{"k": 1}, {"k": 2, "x": 0}])
        ));
        assert!(!check(json!({"$has": [3]}), json!([1, 2])));
        assert!(!check(json!({"$not": 1}), json!([1, 2])));
        assert!(check(json!({"$count": 2}), json!([1, 2])));
        assert!(!check(json!({"$count": 2}), json!([1])));
    }
}
