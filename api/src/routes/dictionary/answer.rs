//! What the dictionary answers.

mod attribute;
mod event;
mod seen;

use cdp::definition::AttributeDefinition;
use cdp::dictionary::{Drift, DriftKind, Naming, Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::attribute::{AttributeDetail, AttributeNameAnswer};
pub use self::event::{EventDetail, EventNameAnswer};
pub use self::seen::SeenAnswer;
use super::Said;
use crate::error::ApiError;

/// What people write of a name.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct NamingInput {
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// How far people have come with it.
    #[serde(default)]
    #[schema(inline)]
    pub status: Status,
    /// Of a change: the version that it starts from, as in `If-Match`; 0: nobody had written anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The rest.
    #[serde(flatten)]
    pub naming: Naming,
}

/// What is said of a name after a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamingAnswer {
    /// The name.
    pub name: String,
    /// Grows with every change; `If-Match` takes it.
    pub version: i64,
    /// What is said of it.
    #[serde(flatten)]
    pub said: NamingInput,
}

/// A change.
#[derive(Debug, Serialize, ToSchema)]
pub struct DriftAnswer {
    /// `type_changed type_unexpected new_property stopped volume_fell volume_rose`.
    pub kind: &'static str,
    /// Of which event.
    pub event: Option<String>,
    /// Of which of its properties; null: of the event itself.
    pub property: Option<String>,
    /// Of which attribute.
    pub attribute: Option<String>,
    /// Since when.
    pub since: String,
    /// What it was before: a type, or events a day.
    pub before: Option<String>,
    /// What it is now.
    pub now: Option<String>,
}

const KINDS: [(DriftKind, &str); 6] = [
    (DriftKind::TypeChanged, "type_changed"),
    (DriftKind::TypeUnexpected, "type_unexpected"),
    (DriftKind::NewProperty, "new_property"),
    (DriftKind::Stopped, "stopped"),
    (DriftKind::VolumeFell, "volume_fell"),
    (DriftKind::VolumeRose, "volume_rose"),
];

/// The kinds of changes that a query asks for.
pub fn kinds(words: Option<&str>) -> Result<Option<Vec<&'static str>>, ApiError> {
    let Some(words) = words else { return Ok(None) };
    let known = |word: &str| {
        KINDS
            .iter()
            .map(|(_, known)| *known)
            .find(|known| *known == word)
    };
    let found: Option<Vec<_>> = words.split(',').map(|word| known(word.trim())).collect();
    found.map(Some).ok_or_else(|| {
        let all: Vec<_> = KINDS.iter().map(|(_, word)| *word).collect();
        ApiError::new(
            "parameter_form",
            format!("expected some of {}", all.join(", ")),
        )
        .field("kind")
    })
}

/// The type that values of an attribute should have.
pub fn expected(defined: Option<&AttributeDefinition>, said: Option<&Said>) -> Option<String> {
    said.and_then(|said| said.naming.expected_type.clone())
        .or_else(|| defined.map(|attribute| attribute.kind.word()))
}

impl NamingAnswer {
    /// Of what is kept.
    pub fn of(said: &Said) -> NamingAnswer {
        NamingAnswer {
            name: said.item.name.clone(),
            version: said.item.version,
            said: NamingInput {
                description: said.item.description.clone(),
                status: said.status,
                version: None,
                naming: said.naming.clone(),
            },
        }
    }
}

impl DriftAnswer {
    /// Of an event.
    pub fn event(name: &str, drift: &Drift) -> DriftAnswer {
        DriftAnswer {
            event: Some(name.to_owned()),
            ..DriftAnswer::bare(drift)
        }
    }

    /// Of an attribute.
    pub fn attribute(name: &str, drift: &Drift) -> DriftAnswer {
        DriftAnswer {
            attribute: Some(name.to_owned()),
            ..DriftAnswer::bare(drift)
        }
    }

    fn bare(drift: &Drift) -> DriftAnswer {
        let word = KINDS.iter().find(|(kind, _)| *kind == drift.kind);
        DriftAnswer {
            kind: word.map_or("", |(_, word)| *word),
            event: None,
            property: drift.property.clone(),
            attribute: None,
            since: drift.since.rfc3339(),
            before: drift.before.clone(),
            now: drift.now.clone(),
        }
    }
}
