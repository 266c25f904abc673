//! A dry run: what the first rows would become, without writing anything.

use actors::model::{BrandId, IdSpace, SourceId, Time};
use ingest::file::{Content, FileError, Mapping, Row, Rows};
use ingest::{OrderDefaults, SourceInfo};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Rows that a dry run looks at.
pub const ROWS: usize = 100;

/// What the first rows of a file would become.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRun {
    /// Format and what was found out about the file.
    #[schema(example = "csv, UTF-8")]
    pub about: String,
    /// Rows that would be events.
    pub accepted: usize,
    /// Rows that would be set aside.
    pub rejected: usize,
    /// The rows, in order.
    pub rows: Vec<DryRow>,
}

/// One row.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRow {
    /// Its number, from 1, the header not counted.
    pub row: u64,
    /// The event that it would be, as our own JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub event: Option<Box<RawValue>>,
    /// Why it would be set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<DryReject>,
}

/// Why a row would be set aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryReject {
    /// Stable code.
    pub code: &'static str,
    /// Column or field.
    pub field: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// The row.
    pub original: String,
}

/// Whether a file opens and the mapping fits its columns.
pub fn check(content: Content, mapping: Option<&Mapping>, now: Time) -> Result<(), FileError> {
    Rows::open(content, mapping, &nobody(), now).map(|_| ())
}

/// What a row becomes does not depend on its source.
fn nobody() -> SourceInfo {
    SourceInfo {
        id: SourceId(0),
        id_space: IdSpace(0),
        brand: BrandId(0),
        test: false,
        orders: OrderDefaults::default(),
        sensors: Default::default(),
    }
}

/// Looks at the first rows.
pub fn run(content: Content, mapping: Option<&Mapping>, now: Time) -> Result<DryRun, FileError> {
    let mut rows = Rows::open(content, mapping, &nobody(), now)?;
    let about = rows.about();
    let mut shown = Vec::new();
    while shown.len() < ROWS {
        let Some(row) = rows.next().transpose()? else {
            break;
        };
        shown.push(match row {
            Row::Record(record) => DryRow {
                row: rows.row(),
                event: serde_json::from_slice(&record.body).ok(),
                rejected: None,
            },
            Row::Rejected(row) => DryRow {
                row: row.row,
                event: None,
                rejected: Some(DryReject {
                    code: row.reject.code.as_str(),
                    field: row.reject.field,
                    reason: row.reject.reason,
                    original: String::from_utf8_lossy(&row.raw).into_owned(),
                }),
            },
        });
    }
    let accepted = shown.iter().filter(|row| row.event.is_some()).count();
    Ok(DryRun {
        about,
        accepted,
        rejected: shown.len() - accepted,
        rows: shown,
    })
}
