//! A member as a row: the cells of the chosen columns, as far as the scope sees them.

use std::sync::Arc;

use actors::machine::Rows;
use actors::model::{MemberId, MemberNo, Scope, TagId, Time};
use cdp::definition::AttributeSchema;
use cdp::identity::row::{self, IdentRow, MemberRow};
use cdp::profile::concluded::tags;
use cdp::profile::view::{mask, member_view};
use pipelines::audience::book::Labels;
use serde_json::Value;

use super::columns::Column;
use crate::error::ApiError;
use crate::routes::members::Status;
use crate::routes::members::view::shown;
use actors::model::FieldClass;

/// What stands between several values in one cell.
const BETWEEN: &str = "; ";

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Empty,
    /// Text.
    Text(String),
    /// A number as JSON writes it.
    Number(serde_json::Number),
    /// Yes or no.
    Bool(bool),
}

impl From<Value> for Cell {
    /// Lists and objects are written as JSON.
    fn from(value: Value) -> Cell {
        match value {
            Value::Null => Cell::Empty,
            Value::Bool(yes) => Cell::Bool(yes),
            Value::Number(number) => Cell::Number(number),
            Value::String(text) => Cell::Text(text),
            other => Cell::Text(other.to_string()),
        }
    }
}

impl Cell {
    /// As JSON; nothing for an empty one.
    pub fn to_json(&self) -> Option<Value> {
        match self {
            Cell::Empty => None,
            Cell::Text(text) => Some(text.as_str().into()),
            Cell::Number(number) => Some(number.clone().into()),
            Cell::Bool(yes) => Some((*yes).into()),
        }
    }
}

impl From<Option<Time>> for Cell {
    fn from(time: Option<Time>) -> Cell {
        time.map_or(Cell::Empty, |time| Cell::Text(time.rfc3339()))
    }
}

/// Makes rows of one page of members.
pub struct RowMaker<'a> {
    rows: &'a dyn Rows,
    scope: &'a Scope,
    columns: &'a [Column],
    schema: Arc<AttributeSchema>,
    /// The tag of each column, if it is one that is still there and visible.
    tags: Vec<Option<TagId>>,
    any_tag: bool,
    any_identifier: bool,
}

impl<'a> RowMaker<'a> {
    /// Reads from `rows`, as `schema` and `labels` are now.
    pub fn new(
        rows: &'a dyn Rows,
        scope: &'a Scope,
        columns: &'a [Column],
        schema: Arc<AttributeSchema>,
        labels: &Labels,
    ) -> RowMaker<'a> {
        let tag_of = |column: &Column| {
            let Column::Tag(code) = column else {
                return None;
            };
            let mut known = labels.tags.iter();
            let found = known.find(|(_, tag)| tag.code == *code && scope.sees(tag.brand));
            found.map(|(id, _)| *id)
        };
        RowMaker {
            rows,
            scope,
            schema,
            tags: columns.iter().map(tag_of).collect(),
            any_tag: columns.iter().any(|it| matches!(it, Column::Tag(_))),
            any_identifier: columns
                .iter()
                .any(|it| matches!(it, Column::Identifier(_) | Column::OtherIdentifiers)),
            columns,
        }
    }

    /// The cells of a member. `None`: the scope sees nobody there, or it is nobody any more.
    pub fn cells(&self, member: MemberNo) -> Result<Option<Vec<Cell>>, ApiError> {
        let found = row::get::<MemberRow>(self.rows, row::MEMBER, &row::key32(member.0))?;
        let Some((about, status)) = found.and_then(|row| {
            let status = Status::of(row.state)?;
            Some((row, status))
        }) else {
            return Ok(None);
        };
        let view = member_view(self.rows, member, &self.schema, self.scope)?;
        let Some(mut view) = view else {
            return Ok(None);
        };
        let identifiers = match self.any_identifier {
            true => self.identifiers(&about)?,
            false => Vec::new(),
        };
        let held = match self.any_tag {
            true => tags(self.rows, member)?,
            false => Vec::new(),
        };
        let personal = self.scope.fields >= FieldClass::P2;
        let both = self.columns.iter().zip(&self.tags);
        let cells = both.map(|(column, tag)| match column {
            Column::Id => Cell::Text(MemberId(member).to_string()),
            Column::Status => Cell::Text(status.word().to_owned()),
            Column::Since => Cell::from(Some(about.since)),
            Column::FirstSeen => Cell::from(view.first_seen),
            Column::LastSeen => Cell::from(view.last_seen),
            Column::Events => Cell::Number(view.events.values().sum::<u64>().into()),
            Column::Orders => Cell::Number(view.orders.count.into()),
            Column::Identifier(kind) => joined(identifiers.iter().filter(|(of, _)| of == kind)),
            Column::OtherIdentifiers => {
                joined(identifiers.iter().filter(|(of, _)| !self.has_column(of)))
            }
            Column::Attribute(name) => match view.attributes.remove(name) {
                Some(attribute) => Cell::from(attribute.value.to_json()),
                None => Cell::Empty,
            },
            Column::Tag(_) => {
                let found = held.iter().find(|(id, _)| Some(*id) == *tag);
                match found {
                    Some((_, held)) if personal => Cell::from(held.value.to_json()),
                    Some((_, held)) => Cell::from(mask(&held.value).to_json()),
                    None => Cell::Empty,
                }
            }
        });
        Ok(Some(cells.collect()))
    }

    /// Kinds and values as the scope may see them; a value with a scope as `scope:value`, one without a column of its own
    /// as its whole text.
    fn identifiers(&self, about: &MemberRow) -> Result<Vec<(Box<str>, String)>, ApiError> {
        let mut found = Vec::with_capacity(about.identifiers.len());
        for ident in &about.identifiers {
            let known = row::get::<IdentRow>(self.rows, row::IDENT, &row::key32(ident.0))?;
            let Some(known) = known else { continue };
            let (shown, _) = shown(&known.identifier, self.scope);
            let text = match (self.has_column(&shown.kind), shown.scope.is_empty()) {
                (false, _) => shown.to_string(),
                (true, true) => shown.value.to_string(),
                (true, false) => format!("{}:{}", shown.scope, shown.value),
            };
            found.push((shown.kind, text));
        }
        Ok(found)
    }

    fn has_column(&self, kind: &str) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| matches!(column, Column::Identifier(of) if **of == *kind))
    }
}

fn joined<'a>(values: impl Iterator<Item = &'a (Box<str>, String)>) -> Cell {
    let mut text = String::new();
    for (_, value) in values {
        if !text.is_empty() {
            text.push_str(BETWEEN);
        }
        text.push_str(value);
    }
    match text.is_empty() {
        true => Cell::Empty,
        false => Cell::Text(text),
    }
}
