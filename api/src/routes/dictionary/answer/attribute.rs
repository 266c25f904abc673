//! What is answered of attributes.

use actors::model::{FieldClass, Time};
use cdp::definition::AttributeDefinition;
use cdp::dictionary::{Naming, Property, Status, Titled};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Said;
use super::super::list::NameRow;
use super::{DriftAnswer, SeenAnswer};

/// An attribute.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttributeNameAnswer {
    /// Its name, as in traits.
    pub name: String,
    /// Names for people.
    pub title: Titled,
    /// What it is.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// How far people have come with it; what is defined is accepted unless somebody says otherwise.
    #[schema(inline)]
    pub status: Status,
    /// The attribute that it is recorded as.
    pub alias_of: Option<String>,
    /// Names that are recorded as this one.
    pub merged: Vec<String>,
    /// The type that its definition gives it; null: `/api/v1/attributes` does not define it.
    pub defined_type: Option<String>,
    /// The type that its values should have.
    pub expected_type: Option<String>,
    /// When it was first received; null: it was not.
    pub first_seen: Option<String>,
    /// When it was last received.
    pub last_seen: Option<String>,
    /// How often.
    pub total: u64,
    /// Version of what people say of it; 0: nobody has said anything.
    pub version: i64,
    #[serde(skip)]
    times: Option<(Time, Time)>,
}

/// An attribute, whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttributeDetail {
    /// What the list says.
    #[serde(flatten)]
    pub attribute: AttributeNameAnswer,
    /// What is seen of it; null: nothing.
    pub seen: Option<SeenAnswer>,
    /// What has changed.
    pub drift: Vec<DriftAnswer>,
}

impl AttributeNameAnswer {
    /// Of what is seen, defined and said.
    pub fn of(
        name: &str,
        seen: Option<&Property>,
        defined: Option<&AttributeDefinition>,
        said: Option<&Said>,
        merged: Vec<String>,
    ) -> AttributeNameAnswer {
        let empty = Naming::default();
        let naming = said.map_or(&empty, |said| &said.naming);
        let mut title = naming.title.clone();
        if let Some(defined) = defined {
            for (own, of) in [
                (&mut title.zh, &defined.title.zh),
                (&mut title.en, &defined.title.en),
            ] {
                if own.is_empty() {
                    *own = of.to_string();
                }
            }
        }
        let status = match (said, defined) {
            (Some(said), _) => said.status,
            (None, Some(_)) => Status::Accepted,
            (None, None) => Status::New,
        };
        AttributeNameAnswer {
            name: name.to_owned(),
            title,
            description: said.map_or_else(String::new, |said| said.item.description.clone()),
            owner: naming.owner.clone(),
            status,
            alias_of: naming.alias_of.clone(),
            merged,
            defined_type: defined.map(|attribute| attribute.kind.word()),
            expected_type: naming.expected_type.clone(),
            first_seen: seen.map(|seen| seen.first.rfc3339()),
            last_seen: seen.map(|seen| seen.last.rfc3339()),
            total: seen.map_or(0, |seen| seen.present),
            version: said.map_or(0, |said| said.item.version),
            times: seen.map(|seen| (seen.first, seen.last)),
        }
    }
}

impl NameRow for AttributeNameAnswer {
    fn name(&self) -> &str {
        &self.name
    }
    fn texts(&self) -> Vec<&str> {
        vec![
            &self.name,
            &self.title.zh,
            &self.title.en,
            &self.description,
            &self.owner,
        ]
    }
    fn owner(&self) -> &str {
        &self.owner
    }
    fn status(&self) -> Status {
        self.status
    }
    fn total(&self) -> u64 {
        self.total
    }
    fn times(&self) -> Option<(Time, Time)> {
        self.times
    }
}

impl AttributeDetail {
    /// Of what is seen and said.
    pub fn of(
        attribute: AttributeNameAnswer,
        seen: Option<&Property>,
        drift: Vec<DriftAnswer>,
        fields: FieldClass,
    ) -> AttributeDetail {
        AttributeDetail {
            attribute,
            seen: seen.map(|seen| SeenAnswer::of(seen, None, fields)),
            drift,
        }
    }
}
