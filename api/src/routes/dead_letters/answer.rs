//! What is answered of dead letters.

use actors::model::{FieldClass, Scope};
use cdp::dead::{DeadId, DeadRow, DeadStatus};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::members::word;

/// An event that could not be taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadAnswer {
    /// Its id.
    pub id: String,
    /// When it was received.
    pub received: String,
    /// Stable code of the reason.
    pub code: String,
    /// What is wrong; left out for those who may not see personal fields, because it may quote the event.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: &'static str,
    /// Where in the event.
    pub field: Option<String>,
    /// Name of the event, if it could be read.
    pub event: Option<String>,
    /// Source.
    pub source: u32,
    /// Brand.
    pub brand: u32,
    /// The sender's message id.
    pub message_id: String,
    /// `open`, `replayed` or `dropped`.
    pub status: String,
    /// When that was decided.
    pub decided: Option<String>,
}

/// One of them with its bytes.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadDetail {
    /// What the list says.
    #[serde(flatten)]
    pub letter: DeadAnswer,
    /// Original bytes as text, if they are UTF-8; null when they are gone (after 30 days) or not for this caller.
    pub body: Option<String>,
    /// Original bytes in base64.
    pub body_base64: Option<String>,
    /// What the batch said for all its events.
    pub shared: Option<String>,
    /// How it was written: `segment cloud_events scan own sensors`.
    pub protocol: Option<&'static str>,
    /// The original bytes were destroyed after their time.
    pub original_gone: bool,
}

/// Letters of one reason, source, event and field.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupAnswer {
    /// Stable code of the reason.
    pub code: String,
    /// Source.
    pub source: u32,
    /// Name of the event, if it could be read.
    pub event: Option<String>,
    /// Where in the event.
    pub field: Option<String>,
    /// How many.
    pub count: u64,
    /// When the first was received.
    pub first: String,
    /// When the last was received.
    pub last: String,
    /// Id of one of them.
    pub example: String,
    /// What is wrong with that one; left out for those who may not see personal fields.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: &'static str,
}

/// What came of a command.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManyAnswer {
    /// Letters that it was done to.
    pub done: Vec<String>,
    /// Letters that it was not done to, with the reason.
    pub failed: Vec<FailedAnswer>,
    /// Others match and were left for the next call.
    pub more: bool,
}

/// A letter that a command did not touch.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedAnswer {
    /// Its id.
    pub id: String,
    /// Stable code.
    pub code: &'static str,
    /// Why.
    pub message: String,
}

impl DeadAnswer {
    /// As a caller of this scope sees it.
    pub fn of(id: DeadId, row: &DeadRow, scope: &Scope) -> DeadAnswer {
        DeadAnswer {
            id: id.to_string(),
            received: id.received.rfc3339(),
            code: row.code.to_string(),
            reason: reason(row, scope),
            hint: hint(&row.code),
            field: row.field.as_deref().map(str::to_owned),
            event: row.event.as_deref().map(str::to_owned),
            source: row.source.0,
            brand: row.brand.0,
            message_id: row.message_id.to_string(),
            status: word(&row.status),
            decided: (row.status != DeadStatus::Open).then(|| row.decided.rfc3339()),
        }
    }
}

/// What is wrong, for those who may see what it quotes.
pub fn reason(row: &DeadRow, scope: &Scope) -> Option<String> {
    (scope.fields >= FieldClass::P2).then(|| row.reason.to_string())
}

/// What to do about a reason; the codes of identity and profile have no row among the errors of requests.
pub fn hint(code: &str) -> &'static str {
    match code {
        "event_blocked" => {
            "Unblock the name at /api/v1/dictionary/events and replay, or give the event another name."
        }
        _ => crate::error::row(code).map_or("Mend the event and replay it.", |row| row.hint),
    }
}
