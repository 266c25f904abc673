//! Columns of an export: what they are called, which there are, and which an export has when nobody says.

use std::collections::BTreeSet;

use actors::model::{BrandSet, CONSENT_PREFIX, Scope};
use cdp::identity::row;
use cdp::identity::rules::ORDER_KIND;

use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};

/// Most columns of a file: what spreadsheets and people bear. An installation with more attributes names those it wants.
pub const COLUMNS_MAX: usize = 2_000;

const IDENTIFIER: &str = "identifier.";
const ATTRIBUTE: &str = "attribute.";
const TAG: &str = "tag.";

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// `id`.
    Id,
    /// `status`: member or visitor.
    Status,
    /// `since`: since when it is known.
    Since,
    /// `first_seen`: event time of the earliest event.
    FirstSeen,
    /// `last_seen`: event time of the latest event.
    LastSeen,
    /// `event_count`.
    Events,
    /// `order_count`, cancelled ones too.
    Orders,
    /// `identifier.KIND`.
    Identifier(Box<str>),
    /// `identifiers.other`: those of kinds that have no column.
    OtherIdentifiers,
    /// `attribute.NAME`.
    Attribute(Box<str>),
    /// `tag.CODE`.
    Tag(Box<str>),
}

impl Column {
    /// Reads a name. `None`: there is no such column.
    pub fn parse(name: &str) -> Option<Column> {
        let rest = |prefix: &str| {
            let rest = name.strip_prefix(prefix)?;
            (!rest.is_empty()).then(|| rest.into())
        };
        Some(match name {
            "id" => Column::Id,
            "status" => Column::Status,
            "since" => Column::Since,
            "first_seen" => Column::FirstSeen,
            "last_seen" => Column::LastSeen,
            "event_count" => Column::Events,
            "order_count" => Column::Orders,
            "identifiers.other" => Column::OtherIdentifiers,
            _ => rest(IDENTIFIER)
                .map(Column::Identifier)
                .or_else(|| rest(ATTRIBUTE).map(Column::Attribute))
                .or_else(|| rest(TAG).map(Column::Tag))?,
        })
    }
}

/// What an export may name, as far as its scope sees it.
#[derive(Debug, Default)]
pub struct Known {
    /// Kinds of identifiers, strongest first.
    pub kinds: Vec<Box<str>>,
    /// Attributes that are defined or that somebody has.
    pub attributes: BTreeSet<Box<str>>,
    /// Codes of tags.
    pub tags: BTreeSet<Box<str>>,
}

impl Known {
    /// What there is now.
    pub fn read(shared: &Shared, scope: &Scope) -> Result<Known, ApiError> {
        let snapshot = shared.snapshot()?;
        let (_, rules) = row::rules(&snapshot)?;
        let (_, schema) = shared.attributes(&snapshot)?;
        let mut attributes: BTreeSet<Box<str>> = schema.iter().map(|it| it.name.clone()).collect();
        // Even the name of what nobody has defined may be another brand's.
        if scope.brands == BrandSet::All {
            attributes.extend(shared.audience().attribute_names()?);
        }
        attributes.retain(|name| {
            let owner = schema.get(name).map(|it| it.brand);
            !name.starts_with(CONSENT_PREFIX) && owner.is_none_or(|brand| scope.sees(brand))
        });
        let labels = shared.audience().names();
        let tags = labels.tags.values();
        Ok(Known {
            kinds: rules
                .form()
                .kinds
                .iter()
                .map(|kind| kind.kind.clone())
                .collect(),
            attributes,
            tags: tags
                .filter(|tag| scope.sees(tag.brand) && !tag.code.is_empty())
                .map(|tag| tag.code.clone())
                .collect(),
        })
    }

    /// The columns of an export that names none: everything.
    pub fn all(&self) -> Vec<String> {
        let plain = ["id", "status", "since", "first_seen", "last_seen"];
        let mut names: Vec<String> = plain.map(str::to_owned).into();
        names.extend(self.kinds.iter().map(|kind| format!("{IDENTIFIER}{kind}")));
        names.push("identifiers.other".to_owned());
        names.extend(self.attributes.iter().map(|it| format!("{ATTRIBUTE}{it}")));
        names.extend(self.tags.iter().map(|it| format!("{TAG}{it}")));
        names
    }

    /// Checks names that somebody sent; everything that is wrong at once.
    pub fn check(&self, names: &[String]) -> Result<(), ApiError> {
        let mut wrong = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let what = match Column::parse(name) {
                None => "there is no such column",
                Some(_) if names[..at].contains(name) => "it is named twice",
                Some(Column::Identifier(kind)) if &*kind == ORDER_KIND => {
                    "orders are no identifiers of a person"
                }
                // Kinds that no rule lists are identifiers, too.
                Some(Column::Attribute(it)) if !self.attributes.contains(&it) => {
                    "no attribute of this name is defined, and nobody has one"
                }
                Some(Column::Tag(it)) if !self.tags.contains(&it) => "there is no tag of this code",
                Some(_) => continue,
            };
            let place = format!("columns[{at}]");
            wrong.push(ErrorDetail::new(
                "column_unknown",
                place,
                format!("`{name}`: {what}"),
            ));
        }
        if names.is_empty() || names.len() > COLUMNS_MAX {
            let what = format!(
                "{} columns; 1 to {COLUMNS_MAX} are possible: name some",
                names.len()
            );
            wrong.push(ErrorDetail::new("column_unknown", "columns", what));
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(ApiError::several("column_unknown", wrong)),
        }
    }
}
