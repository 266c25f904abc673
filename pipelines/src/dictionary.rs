//! The dictionary that rules are checked against: attributes, tags, segments and lists that a brand may use. And the kinds
//! of resources that rules refer to. There is this one only: a rule that counts can be saved, and the other way round.

pub mod observed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors::model::{BrandId, BrandSet, FieldClass, Scope};
use actors::registry::{Item, Reference, Registry, RegistryError, ResourceKind};
use cdp::definition::{AttributeSchema, Basic};
use cdp::rule::{Known, LAST_SCAN, Names, Plan, Read, Rule, RuleError};
use cdp::tag::TagDefinition;
use serde_json::Value;

pub use crate::audience::book::{LIST, SEGMENT, TAG};

/// Attributes in references: they have their own definition.
pub const ATTRIBUTE: &str = "attribute";

/// What people say of names of events. They are the group's: all brands see them.
pub const EVENT_NAME: ResourceKind = ResourceKind {
    name: "event_name",
    by_code: false,
    unique_name: true,
};

/// What people say of names of attributes, beside their definition.
pub const ATTRIBUTE_NAME: ResourceKind = ResourceKind {
    name: "attribute_name",
    by_code: false,
    unique_name: true,
};

/// What rules may name.
pub struct RuleNames {
    schema: Arc<AttributeSchema>,
    /// Whose names: these brands' and the group's.
    scope: Scope,
    tags: BTreeMap<String, Known>,
    segments: BTreeMap<String, Vec<Box<str>>>,
    lists: BTreeSet<String>,
    /// Rules were checked when they were saved: types count, nothing is unknown.
    stored: bool,
}

impl RuleNames {
    /// Everything that rules owned by `brand` may name: its own and the group's.
    pub async fn load(
        registry: &Registry,
        schema: Arc<AttributeSchema>,
        brand: BrandId,
    ) -> Result<RuleNames, RegistryError> {
        RuleNames::load_for(registry, schema, BrandSet::Only(vec![brand])).await
    }

    /// Everything that rules may name which are asked by somebody who sees these brands.
    pub async fn load_for(
        registry: &Registry,
        schema: Arc<AttributeSchema>,
        brands: BrandSet,
    ) -> Result<RuleNames, RegistryError> {
        let scope = Scope {
            brands,
            fields: FieldClass::P3,
        };
        let tags = registry.resource_all(&scope, TAG).await?;
        let segments = registry.resource_all(&scope, SEGMENT).await?;
        let lists = registry.resource_all(&scope, LIST).await?;
        Ok(RuleNames {
            schema,
            scope,
            tags: typed(&tags),
            segments: segments
                .into_iter()
                .map(|segment| (segment.id.to_string(), named(&segment)))
                .collect(),
            lists: lists.into_iter().map(|list| list.id.to_string()).collect(),
            stored: false,
        })
    }

    /// For rules that were checked when they were saved.
    pub fn stored(schema: Arc<AttributeSchema>, tags: &[Item], segments: &[Item]) -> RuleNames {
        RuleNames {
            schema,
            scope: Scope::installation(),
            tags: typed(tags),
            // Cycles are refused where segments are saved.
            segments: (segments.iter())
                .map(|segment| (segment.id.to_string(), Vec::new()))
                .collect(),
            lists: BTreeSet::new(),
            stored: true,
        }
    }

    /// Notes one that is not there yet and comes together with what is checked: others call it so, and its body says this.
    pub fn expect(&mut self, kind: &str, handle: &str, body: &str) {
        if kind == TAG.name {
            self.tags.insert(handle.to_owned(), tag_type(body));
        } else if kind == SEGMENT.name {
            // What it names in turn is looked at when it is made.
            self.segments.insert(handle.to_owned(), Vec::new());
        }
    }

    /// Checks a rule, in JSON or as text, and makes it a plan. `this`: the segment that it defines, to find cycles.
    pub fn compile(
        &self,
        rule: &Value,
        this: Option<&str>,
    ) -> Result<(Rule, Plan), Vec<RuleError>> {
        let parsed = match rule {
            Value::String(text) => Rule::from_text(text).map_err(|error| vec![error])?,
            other => Rule::from_json(&other.to_string())?,
        };
        let plan = cdp::rule::check(&parsed, self, this)?;
        Ok((parsed, plan))
    }
}

/// What a plan refers to.
pub fn references(plan: &Plan) -> Vec<Reference> {
    let reads = plan.reads();
    let found = reads.iter().filter_map(|read| {
        let (kind, handle) = match read {
            Read::Attribute(name) => (ATTRIBUTE, name),
            Read::Tag(code) => (TAG.name, code),
            Read::Segment(id) => (SEGMENT.name, id),
            Read::List(id) => (LIST.name, id),
            Read::Measure(_) | Read::Place(_) => return None,
        };
        Some(Reference {
            kind,
            handle: (*handle).to_owned(),
        })
    });
    found.collect()
}

/// The type that constants of a tag's conditions have.
fn tag_type(body: &str) -> Known {
    let tag: Result<TagDefinition, _> = serde_json::from_str(body);
    match tag {
        Ok(tag) => Known::Typed(tag.value_type.attribute_type()),
        Err(_) => Known::Seen,
    }
}

/// The segments that a segment's rule names.
fn named(segment: &Item) -> Vec<Box<str>> {
    let body: Value = serde_json::from_str(&segment.body).unwrap_or_default();
    let rule = Rule::from_json(&body["rule"].to_string());
    rule.map(|rule| rule.segments()).unwrap_or_default()
}

fn typed(tags: &[Item]) -> BTreeMap<String, Known> {
    (tags.iter())
        .map(|tag| (tag.code.clone(), tag_type(&tag.body)))
        .collect()
}

impl RuleNames {
    fn unknown(&self) -> Known {
        match self.stored {
            true => Known::Seen,
            false => Known::Unknown,
        }
    }
}

impl Names for RuleNames {
    fn attribute(&self, name: &str) -> Known {
        match self.schema.get(name) {
            Some(found) if self.scope.sees(found.brand) => Known::Typed(found.kind),
            _ => self.unknown(),
        }
    }

    fn tag(&self, code: &str) -> Known {
        self.tags.get(code).copied().unwrap_or(self.unknown())
    }

    fn segment(&self, id: &str) -> Option<Vec<Box<str>>> {
        self.segments.get(id).cloned()
    }

    fn list(&self, id: &str) -> bool {
        self.stored || self.lists.contains(id)
    }

    fn place(&self, of: &str) -> bool {
        let is_object = |known| matches!(known, Known::Typed(kind) if kind.basic == Basic::Object && !kind.list);
        self.stored || of == LAST_SCAN || is_object(self.attribute(of))
    }

    fn attribute_names(&self) -> Vec<&str> {
        self.schema
            .iter()
            .filter(|attribute| self.scope.sees(attribute.brand))
            .map(|attribute| &*attribute.name)
            .collect()
    }

    fn tag_codes(&self) -> Vec<&str> {
        self.tags.keys().map(String::as_str).collect()
    }

    fn place_names(&self) -> Vec<&str> {
        let attributes = self.attribute_names().into_iter();
        let places = attributes.filter(|name| self.place(name));
        places.chain([LAST_SCAN]).collect()
    }
}
