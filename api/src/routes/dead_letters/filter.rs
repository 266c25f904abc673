//! Which dead letters: the one filter of lists, groups, commands and mending by rule.

use actors::machine::Rows;
use actors::model::{Scope, Time};
use cdp::dead::{self, DeadId, DeadRow, DeadStatus};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;
use crate::http::Paging;
use crate::http::page::{cursor, cursor_form};

/// Bytes of a dead letter's key.
const KEY_BYTES: usize = 18;

/// Which letters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// `open` (when left out), `replayed`, `dropped` or `all`.
    #[param(inline)]
    pub status: Option<StatusWish>,
    /// Only this code of a reason.
    pub code: Option<String>,
    /// Only this source.
    pub source: Option<u32>,
    /// Only events of this name.
    pub event: Option<String>,
    /// Only with this field.
    pub field: Option<String>,
    /// Received at this instant or later.
    #[param(example = "2026-11-22T00:00:00+08:00")]
    pub from: Option<String>,
    /// Received before this instant.
    pub to: Option<String>,
}

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusWish {
    /// Waits for somebody.
    Open,
    /// Decided again.
    Replayed,
    /// Not wanted.
    Dropped,
    /// Any of these.
    All,
}

/// Open letters that a rule is for. What is left out may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterInput {
    /// With this code of a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<u32>,
    /// Of this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// With this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Received at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Received before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A filter that was read.
pub struct Filter {
    said: FilterInput,
    status: StatusWish,
    /// The first instant that is in.
    pub from: Option<Time>,
    to: Option<Time>,
}

impl Filter {
    /// Reads what a body says: open letters.
    pub fn open(said: FilterInput) -> Result<Filter, ApiError> {
        Filter::read(said, StatusWish::Open)
    }

    fn read(said: FilterInput, status: StatusWish) -> Result<Filter, ApiError> {
        let instant = |field: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => Time::from_rfc3339(text).map(Some).ok_or_else(|| {
                let message = "expected an instant such as 2026-05-01T08:00:00Z";
                ApiError::new("parameter_form", message).field(field)
            }),
        };
        Ok(Filter {
            from: instant("from", &said.from)?,
            to: instant("to", &said.to)?,
            said,
            status,
        })
    }

    /// Whether a letter is meant, and visible.
    pub fn takes(&self, id: DeadId, row: &DeadRow, scope: &Scope) -> bool {
        let is = |wish: &Option<String>, value: Option<&str>| {
            wish.as_deref().is_none_or(|wish| value == Some(wish))
        };
        scope.sees(row.brand)
            && self.status.takes(row.status)
            && is(&self.said.code, Some(&row.code))
            && is(&self.said.event, row.event.as_deref())
            && is(&self.said.field, row.field.as_deref())
            && self.said.source.is_none_or(|source| source == row.source.0)
            && self.from.is_none_or(|from| id.received >= from)
            && self.to.is_none_or(|to| id.received < to)
    }

    /// The key before which nothing is meant.
    pub fn start(&self) -> Vec<u8> {
        self.from
            .map_or_else(Vec::new, |from| dead::key_from(from).to_vec())
    }
}

impl StatusWish {
    fn takes(self, status: DeadStatus) -> bool {
        match self {
            StatusWish::All => true,
            StatusWish::Open => status == DeadStatus::Open,
            StatusWish::Replayed => status == DeadStatus::Replayed,
            StatusWish::Dropped => status == DeadStatus::Dropped,
        }
    }
}

impl DeadQuery {
    /// What is meant.
    pub fn filter(&self) -> Result<Filter, ApiError> {
        let said = FilterInput {
            code: self.code.clone(),
            source: self.source,
            event: self.event.clone(),
            field: self.field.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
        };
        Filter::read(said, self.status.unwrap_or(StatusWish::Open))
    }

    /// The key at which the page begins.
    pub fn from(&self) -> Result<Vec<u8>, ApiError> {
        let paging = Paging {
            limit: None,
            cursor: self.cursor.clone(),
        };
        match paging.cursor()? {
            Some(bytes) if bytes.len() == KEY_BYTES => Ok(bytes),
            Some(_) => Err(cursor_form()),
            None => Ok(self.filter()?.start()),
        }
    }
}

/// Reads letters from a key on until `each` answers false or `reads` rows are read; answers where it stopped.
pub fn walk(
    rows: &dyn Rows,
    from: &[u8],
    reads: usize,
    mut each: impl FnMut(DeadId, DeadRow) -> bool,
) -> Result<Option<String>, ApiError> {
    let mut read = 0;
    let mut next = None;
    rows.scan_from(dead::SPACE, &[], from, &mut |key, value| {
        read += 1;
        let Some((id, row)) = DeadId::from_key(key).zip(DeadRow::decode(value)) else {
            return true;
        };
        if read > reads || !each(id, row) {
            next = Some(cursor(key));
            return false;
        }
        true
    })?;
    Ok(next)
}
