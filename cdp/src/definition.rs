//! Definitions: what people decide about the platform, as records of the log.
//!
//! A definition has a kind, a version that only grows, and a JSON body that its kind checks. The registry publishes it;
//! every unit gets it at one place of its input, so that a replay decides under the same definitions.

mod attributes;
mod versions;

pub(crate) use attributes::NAME_BYTES_MAX;
pub use attributes::{
    AttributeDefinition, AttributeSchema, AttributeType, Basic, Survivorship, Titles,
};

pub use versions::held;

use serde::{Deserialize, Serialize};

/// What a definition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionKind {
    /// Kinds of identifiers, priorities, limits, blocked values.
    IdentityRules,
    /// Attributes: types, survivorship, class ([`AttributeSchema`]).
    Attributes,
    /// Sources and their settings.
    Sources,
    /// Brands.
    Brands,
    /// Who hears of what ([`crate::webhook::Hooks`]).
    Webhooks,
    /// Merged and blocked names of events, properties and attributes ([`crate::dictionary::NameRules`]).
    Dictionary,
}

impl DefinitionKind {
    /// The word in JSON and in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            DefinitionKind::IdentityRules => "identity_rules",
            DefinitionKind::Attributes => "attributes",
            DefinitionKind::Sources => "sources",
            DefinitionKind::Brands => "brands",
            DefinitionKind::Webhooks => "webhooks",
            DefinitionKind::Dictionary => "dictionary",
        }
    }
}

/// One version of a definition, as `DEFINITION` records carry it.
///
/// ```
/// use cdp::definition::{Definition, DefinitionKind};
/// let text = r#"{"kind":"attributes","version":2,"body":{"attributes":[]}}"#;
/// let definition = Definition::parse(text.as_bytes()).unwrap();
/// assert_eq!((definition.kind, definition.version), (DefinitionKind::Attributes, 2));
/// assert_eq!(definition.to_json(), text);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What it is about.
    pub kind: DefinitionKind,
    /// Grows by one with every change; the highest is in force.
    pub version: u32,
    /// Its body, checked by its kind.
    pub body: serde_json::Value,
}

impl Definition {
    /// Reads one.
    pub fn parse(json: &[u8]) -> Result<Definition, DefinitionError> {
        serde_json::from_slice(json)
            .map_err(|error| DefinitionError::new("", "definition_form", error.to_string()))
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a definition is plain JSON")
    }
}

/// One thing that is wrong with a definition. A check answers all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}{message}", if .place.is_empty() { String::new() } else { format!("{}: ", .place) })]
pub struct DefinitionError {
    /// Where: path into the body, e.g. `attributes[3].type`; empty: the whole.
    pub place: String,
    /// Stable code.
    pub code: &'static str,
    /// What and, where one is known, how to put it right.
    pub message: String,
}

impl DefinitionError {
    /// An error at a place.
    pub fn new(place: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        DefinitionError {
            place: place.into(),
            code,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests;
