//! What people have defined, as the audience needs it: rules checked into plans, codes of tags.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors::machine::{Rows, RowsError};
use actors::model::{BrandId, PartitionId, Scope, SegmentId, TagId, Time};
use actors::registry::{Item, Registry, RegistryError, ResourceKind};
use cdp::definition::{AttributeSchema, Definition, DefinitionKind};
use cdp::profile::row;
use cdp::rule::{Plan, Rule, check};
use cdp::tag::{TagDefinition, TagPlan, Update};
use jiff::tz::TimeZone;

use super::lists::ListBook;
use super::load::TagCodes;
use crate::dictionary::RuleNames;

/// Segments, referred to by number.
pub const SEGMENT: ResourceKind = ResourceKind {
    name: "segment",
    by_code: false,
    unique_name: true,
};
/// Tags, referred to by code.
pub const TAG: ResourceKind = ResourceKind {
    name: "tag",
    by_code: true,
    unique_name: false,
};
/// Uploaded lists, referred to by number.
pub const LIST: ResourceKind = ResourceKind {
    name: "list",
    by_code: false,
    unique_name: true,
};

/// State of a resource that is at work.
const ENABLED: &str = "enabled";

/// A segment that is to be kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its number.
    pub id: SegmentId,
    /// The body version that its rule is of.
    pub version: u32,
    /// The brand that owns it.
    pub brand: BrandId,
    /// Its rule.
    pub plan: Arc<Plan>,
    /// Nothing of this version was announced to the end yet.
    pub building: bool,
    /// Some version was computed once.
    pub served: bool,
    /// Computing this version was broken off: nobody asks for its history.
    pub cancelled: bool,
}

/// A tag that is to be calculated.
#[derive(Debug, Clone)]
pub struct KeptTag {
    /// Its number.
    pub id: TagId,
    /// Its code.
    pub code: Box<str>,
    /// The body version that its cases are of.
    pub version: u32,
    /// The brand that owns it.
    pub brand: BrandId,
    /// Its cases.
    pub plan: Arc<TagPlan>,
    /// When it is computed.
    pub update: Update,
    /// When it was written last.
    pub written: Time,
    /// Nothing of this version was announced to the end yet.
    pub building: bool,
    /// Computing this version was broken off: nobody asks for its history, and members keep what they have.
    pub cancelled: bool,
}

/// What people call a tag or a segment.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its code; empty if it has none.
    pub code: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The brand that owns it.
    pub brand: BrandId,
}

/// What people call tags and segments, those that are switched off too.
#[derive(Debug, Default)]
pub struct Labels {
    /// Tags.
    pub tags: BTreeMap<TagId, Label>,
    /// Segments.
    pub segments: BTreeMap<SegmentId, Label>,
}

/// Everything defined, as of one look at the registry.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Names.
    pub labels: Arc<Labels>,
    /// Segments to keep, by number.
    pub segments: BTreeMap<SegmentId, Kept>,
    /// Codes of tags that members may have: those given by hand, and those that are calculated now.
    pub tags: TagCodes,
    /// Tags to calculate, by number.
    pub calculated: BTreeMap<TagId, KeptTag>,
    /// Uploaded lists at work, and the version of their entries.
    pub lists: ListBook,
}

/// The attribute schema in force in rows.
pub fn schema_of(rows: &dyn Rows) -> Result<AttributeSchema, RowsError> {
    let key = row::definition_key(PartitionId(0), DefinitionKind::Attributes);
    let Some(json) = rows.get(row::DEFINITIONS, &key)? else {
        return Ok(AttributeSchema::default());
    };
    let definition = Definition::parse(&json).map_err(|error| RowsError(error.to_string()))?;
    AttributeSchema::check(&definition.body)
        .map_err(|errors| RowsError(format!("stored attribute schema: {}", errors[0])))
}

impl Book {
    /// Whose rules are of what a brand sees: the brands of each, once.
    pub fn owners(&self) -> Vec<Box<[BrandId]>> {
        let segments = self.segments.values().map(|kept| &kept.plan);
        let tags = self.calculated.values().map(|kept| &kept.plan.plan);
        let brands = segments
            .chain(tags)
            .filter_map(|plan| plan.brands.as_deref());
        let brands: BTreeSet<Box<[BrandId]>> = brands.map(Into::into).collect();
        brands.into_iter().collect()
    }

    /// Reads the registry. `old`: what was read before, whose plans are used again where nothing changed.
    pub async fn read(
        registry: &Registry,
        schema: &Arc<AttributeSchema>,
        zone: &TimeZone,
        old: &Book,
    ) -> Result<Book, RegistryError> {
        let scope = Scope::installation();
        let tags = registry.resource_all(&scope, TAG).await?;
        let lists = registry.resource_all(&scope, LIST).await?;
        let segments = registry.resource_all(&scope, SEGMENT).await?;
        let label = |item: &Item| Label {
            code: item.code.as_str().into(),
            name: item.name.as_str().into(),
            brand: item.brand,
        };
        let labels = Labels {
            tags: (tags.iter())
                .map(|tag| (TagId(number(tag)), label(tag)))
                .collect(),
            segments: (segments.iter())
                .map(|segment| (SegmentId(number(segment)), label(segment)))
                .collect(),
        };
        let mut book = Book {
            labels: Arc::new(labels),
            segments: BTreeMap::new(),
            tags: BTreeMap::new(),
            calculated: BTreeMap::new(),
            lists: (lists.iter())
                .filter(|list| list.state == ENABLED)
                .map(|list| (list.id, list.body_version))
                .collect(),
        };
        let names = RuleNames::stored(schema.clone(), &tags, &segments);
        for item in segments.iter().filter(|item| item.state == ENABLED) {
            if let Some(kept) = kept(item, &names, old) {
                book.segments.insert(kept.id, kept);
            }
        }
        for item in &tags {
            let id = TagId(number(item));
            let held = match kept_tag(item, &names, zone, old) {
                TagState::Calculated(kept) => {
                    book.calculated.insert(id, *kept);
                    true
                }
                TagState::Held => true,
                TagState::Off => false,
            };
            if held {
                book.tags.insert(id, item.code.as_str().into());
            }
        }
        Ok(book)
    }
}

fn number(item: &Item) -> u32 {
    u32::try_from(item.id).unwrap_or_default()
}

fn kept(item: &Item, names: &RuleNames, old: &Book) -> Option<Kept> {
    let id = SegmentId(number(item));
    let version = u32::try_from(item.body_version).unwrap_or(u32::MAX);
    let known = old.segments.get(&id);
    let known = known.filter(|it| (it.version, it.brand) == (version, item.brand));
    let plan = match known {
        Some(known) => known.plan.clone(),
        None => match plan(&item.body, &item.id.to_string(), names)
            .and_then(|plan| owned(&plan, item.brand).map(|owned| owned.unwrap_or(plan)))
        {
            Ok(plan) => Arc::new(plan),
            Err(error) => {
                // It was checked when it was saved: only a definition that has changed since, or an older form, gets here.
                tracing::error!(
                    segment = item.id,
                    error,
                    "the rule of a segment does not read"
                );
                return None;
            }
        },
    };
    Some(Kept {
        id,
        version,
        brand: item.brand,
        plan,
        building: item.building(),
        served: item.serving > 0,
        cancelled: item.cancelled(),
    })
}

/// What the audience makes of a tag.
enum TagState {
    Calculated(Box<KeptTag>),
    /// Members have what they were given.
    Held,
    /// Nobody has it.
    Off,
}

fn kept_tag(item: &Item, names: &RuleNames, zone: &TimeZone, old: &Book) -> TagState {
    let id = TagId(number(item));
    let version = u32::try_from(item.body_version).unwrap_or(u32::MAX);
    let unreadable = |error: String| {
        // It was checked when it was saved: only what it refers to has changed since, or it is of another version of ours.
        // Nothing is taken from anybody.
        tracing::error!(
            tag = item.id,
            error,
            "the definition of a tag does not read"
        );
        TagState::Held
    };
    let definition: TagDefinition = match serde_json::from_str(&item.body) {
        Ok(definition) => definition,
        Err(error) => return unreadable(error.to_string()),
    };
    if definition.calculation.by_hand() {
        return TagState::Held;
    }
    if item.state != ENABLED {
        return TagState::Off;
    }
    let known = old.calculated.get(&id);
    let known = known.filter(|it| (it.version, it.brand) == (version, item.brand));
    let plan = match known {
        Some(known) => known.plan.clone(),
        None => {
            let plan = TagPlan::new(&definition, names, zone).map_err(|errors| first(&errors));
            let plan = plan.and_then(|plan| {
                let owned = owned(&plan.plan, item.brand)?;
                Ok(match owned.and_then(|it| it.brands) {
                    Some(brands) => plan.within(&brands),
                    None => plan,
                })
            });
            match plan {
                Ok(plan) => Arc::new(plan),
                Err(error) => return unreadable(error),
            }
        }
    };
    TagState::Calculated(Box::new(KeptTag {
        id,
        code: item.code.as_str().into(),
        version,
        brand: item.brand,
        plan,
        update: definition.update,
        written: item.updated,
        building: item.building(),
        cancelled: item.cancelled(),
    }))
}

/// A rule as its owner may ask it: a brand concludes of what it sees only. `None`: as it is, the group's.
fn owned(plan: &Plan, owner: BrandId) -> Result<Option<Plan>, String> {
    if owner == BrandId::default() {
        return Ok(None);
    }
    match plan.mixes() {
        Some(mixed) => Err(format!("facts_mixed: `{mixed}` is not kept by brand")),
        None => Ok(Some(plan.within(&[owner]))),
    }
}

fn plan(body: &str, id: &str, names: &RuleNames) -> Result<Plan, String> {
    let body: serde_json::Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let rule = Rule::from_json(&body["rule"].to_string()).map_err(|errors| first(&errors))?;
    check(&rule, names, Some(id)).map_err(|errors| first(&errors))
}

fn first(errors: &[cdp::rule::RuleError]) -> String {
    let error = errors.first();
    error.map_or_else(String::new, |error| format!("{}: {error}", error.code))
}

/// A rule that stands alone, for tests.
#[cfg(test)]
pub(super) fn compile(rule: &str, schema: &AttributeSchema) -> Result<Plan, String> {
    let names = RuleNames::stored(Arc::new(schema.clone()), &[], &[]);
    plan(&format!(r#"{{"rule":{rule}}}"#), "0", &names)
}
