//! What the dictionary changes about events: merged and blocked names. The body of a definition ([`DefinitionKind::Dictionary`]).
//!
//! Identity applies the version in force to each event that it takes, after it knows that the event is no duplicate. So the
//! same log leads to the same names, and rules on a name see what came under the names merged into it.
//!
//! [`DefinitionKind::Dictionary`]: crate::definition::DefinitionKind::Dictionary

use std::collections::BTreeMap;

use actors::model::{Event, EventKind, RawJson};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Property that holds the name which a merged event came under.
pub const ORIGINAL_NAME: &str = "$original_name";

/// Merged and blocked names.
///
/// ```
/// use cdp::dictionary::NameRules;
/// let json = r#"{"events":{"buy":{"as":"Order Completed"},"spam":{"block":"drop"}},"attributes":{"town":{"as":"city"}}}"#;
/// assert_eq!(NameRules::parse(json).unwrap().to_json(), json);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameRules {
    /// By the name of the event as it arrives.
    #[serde(default)]
    pub events: BTreeMap<Box<str>, EventRule>,
    /// By the name of the attribute.
    #[serde(default)]
    pub attributes: BTreeMap<Box<str>, FieldRule>,
}

/// What becomes of events of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// They are recorded under this name.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub alias: Option<Box<str>>,
    /// They are turned away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Blocked>,
    /// By the name of the property.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<Box<str>, FieldRule>,
}

/// What becomes of a property or an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldRule {
    /// It is recorded under this name, unless the event has that one too.
    As(Box<str>),
    /// It is left out and counted.
    Block,
}

/// Where blocked events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocked {
    /// Into the dead-letter list.
    DeadLetter,
    /// Nowhere; they are counted.
    Drop,
}

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It goes on, under the name that it has now.
    Pass {
        /// Properties and attributes that were left out.
        left_out: u32,
    },
    /// Its name is blocked.
    Blocked(Blocked),
}

impl NameRules {
    /// Reads the body of a definition.
    pub fn parse(json: &str) -> Result<NameRules, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// The body of a definition.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names are plain JSON")
    }

    /// Whether they change nothing.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.attributes.is_empty()
    }

    /// Applies them to an event. Things of a catalogue are about nobody and have no names of ours.
    pub fn apply(&self, event: &mut Event) -> Decided {
        let mut left_out = 0;
        if self.is_empty() || event.kind == EventKind::Item {
            return Decided::Pass { left_out };
        }
        if let Some(rule) = self.events.get(&event.name) {
            if let Some(block) = rule.block {
                return Decided::Blocked(block);
            }
            left_out += fields(&mut event.properties, &rule.properties);
            if let Some(alias) = &rule.alias
                && event.kind == EventKind::Track
            {
                let original = std::mem::replace(&mut event.name, alias.clone());
                if let Some(rule) = self.events.get(alias) {
                    if let Some(block) = rule.block {
                        event.name = original;
                        return Decided::Blocked(block);
                    }
                    left_out += fields(&mut event.properties, &rule.properties);
                }
                event.properties = Some(with_original(event.properties.as_ref(), &original));
            }
        }
        left_out += fields(&mut event.traits, &self.attributes);
        Decided::Pass { left_out }
    }
}

/// The object with [`ORIGINAL_NAME`]; numbers in it keep all their digits.
fn with_original(object: Option<&RawJson>, name: &str) -> RawJson {
    let inner = object.map_or("{}", RawJson::as_str);
    let inner = inner[1..inner.len() - 1].trim();
    let name = serde_json::Value::from(name);
    let text = match inner.is_empty() {
        true => format!(r#"{{"{ORIGINAL_NAME}":{name}}}"#),
        false => format!(r#"{{"{ORIGINAL_NAME}":{name},{inner}}}"#),
    };
    RawJson::object(&text).expect("it begins and ends as an object")
}

/// Applies rules to the fields of an object; answers how many were left out.
fn fields(object: &mut Option<RawJson>, rules: &BTreeMap<Box<str>, FieldRule>) -> u32 {
    let Some(json) = object else { return 0 };
    if rules.is_empty() {
        return 0;
    }
    let Ok(mut all) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json.as_str()) else {
        return 0;
    };
    let mut left_out = 0;
    let mut changed = false;
    for (name, rule) in rules {
        let Some(value) = all.get(&**name).copied() else {
            continue;
        };
        match rule {
            FieldRule::As(other) if all.contains_key(&**other) => continue,
            FieldRule::As(other) => drop(all.insert(other.to_string(), value)),
            FieldRule::Block => left_out += 1,
        }
        all.remove(&**name);
        changed = true;
    }
    if changed {
        let text = serde_json::to_string(&all).expect("values that were read can be written");
        *object = Some(RawJson::object(&text).expect("a map is an object"));
    }
    left_out
}
