//! Exports of segments: members as rows of a CSV, XLSX or JSONL file, made by a job and fetched while it is kept.
//!
//! Members are read page by page, each page from a snapshot of its own, and written at once: memory does not grow with the
//! segment, and whoever is erased meanwhile is not in a later page. What a row shows is what the caller may see of the
//! member ([`row`]): personal fields are masked as in Member 360. A file goes away after [`KEPT_MS`].
//!
//! An export may name a folder of the object store: then its finished file is written there as well ([`crate::objects`]). Or a
//! topic of Kafka: then each line of the finished file is a message of it.
//!
//! Absent on purpose: going on in the middle. An export that a stop or a crash interrupted is made anew, because half of
//! it would tell of yesterday; nobody can fetch a file before it is whole.

pub mod columns;
pub mod row;
pub mod table;
pub mod worker;

use std::path::PathBuf;

use actors::model::{FieldClass, Scope, SegmentId, Time};
use serde::{Deserialize, Serialize};

use crate::jobs::{JobView, Jobs};
use crate::objects::Location;
use crate::resource::SheetFormat;

/// What export jobs are called.
pub const KIND: &str = "export";

/// How long a file of an export is kept: a day, because it holds in the open what the rest of the data folder forgets when
/// a person is erased.
pub const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// What an export needs to be made (again).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The segment.
    pub segment: u32,
    /// `csv`, `xlsx` or `jsonl`.
    pub format: Format,
    /// Names of columns, in order.
    pub columns: Vec<String>,
    /// CSV with texts as they are, also those that a spreadsheet would calculate.
    pub raw: bool,
    /// What the caller might see when it asked.
    pub scope: Scope,
    /// The number of the API key that asked.
    pub key: i64,
    /// Its name, for the audit.
    pub by: String,
    /// The address that it asked from, for the audit.
    #[serde(default)]
    pub from: String,
    /// The folder of the object store that the file is written to as well, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Location>,
    /// The topic that its lines are sent to, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

impl Detail {
    /// The segment's number by type.
    pub fn segment(&self) -> SegmentId {
        SegmentId(self.segment)
    }

    /// The object that export `id` is written to, if it is.
    pub fn object(&self, id: u64) -> Option<Location> {
        Some(object(self.to.as_ref()?, self.segment, id, self.format))
    }
}

/// Formats of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated, UTF-8 with a byte order mark.
    #[default]
    Csv,
    /// Office Open XML.
    Xlsx,
    /// A JSON object in each line; empty cells are left out.
    Jsonl,
}

impl Format {
    /// Its media type.
    pub fn media(self) -> &'static str {
        match self {
            Format::Csv => SheetFormat::Csv.media(),
            Format::Xlsx => SheetFormat::Xlsx.media(),
            Format::Jsonl => "application/jsonl",
        }
    }

    /// The ending of file names.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Csv => SheetFormat::Csv.ending(),
            Format::Xlsx => SheetFormat::Xlsx.ending(),
            Format::Jsonl => "jsonl",
        }
    }
}

/// Where the file of an export lies. `None`: jobs are not kept.
pub fn file(jobs: &Jobs, id: u64, format: Format) -> Option<PathBuf> {
    let name = format!("members.{}", format.ending());
    Some(jobs.folder_of(id)?.join(name))
}

/// The object in the folder that a caller named: no two exports have the same.
fn object(folder: &Location, segment: u32, id: u64, format: Format) -> Location {
    let ending = format.ending();
    folder.below(&format!("segment-{segment}-export-{id}.{ending}"))
}

/// Until when the file of a job is kept; `None` while it has not ended.
pub fn kept_until(job: &JobView) -> Option<Time> {
    let ended = Time::from_rfc3339(job.ended.as_deref()?)?;
    Some(ended.plus_ms(KEPT_MS))
}

/// Whether somebody with this scope sees personal fields masked.
pub fn masks(scope: &Scope) -> bool {
    scope.fields < FieldClass::P3
}

#[cfg(test)]
mod tests;
