//! The one table of errors: every stable code, its status and what to do. No other file knows a status code of an error.
//!
//! Errors from below ([`Fault`]) come in through [`ApiError::fault`]; the details of those that are our fault stay in the
//! log. Refusals that only HTTP knows are made with [`ApiError::new`].

use actors::model::{ErrorKind, Fault, Retry};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Stable code.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What the caller does about it.
    pub hint: &'static str,
}

macro_rules! table {
    ($($code:literal $status:literal $hint:literal)*) => {
        /// All codes that an answer may carry, by status.
        pub const TABLE: &[Row] = &[$(Row { code: $code, status: $status, hint: $hint }),*];
    };
}

table! {
    // What the caller sent.
    "after_form"            400 "Pass the Tributary-Token of a write, e.g. 1-4711."
    "after_unknown"         400 "Read without after, or with the token of a write to this installation: what a restore does not have is not coming."
    "body_empty"            400 "Send a body; what this path takes is at /docs."
    "body_invalid"          400 "Compare the body with /docs; unknown and server-owned fields are refused."
    "body_not_json"         400 "Send one JSON document as UTF-8."
    "body_shape"            400 "See what this path takes at /docs."
    "body_too_deep"         400 "Nest objects and lists less deeply."
    "body_too_large"        400 "Send smaller batches."
    "body_timeout"          408 "Send the whole body at once, or raise http.body_timeout_s."
    "cursor_form"           400 "Pass next_cursor of the page before, unchanged."
    "event_too_large"       400 "Send less per event."
    "header_form"           400 "Percent-encode UTF-8 in headers."
    "idempotency_key_form"  400 "Use 1 to 200 visible ASCII characters."
    "identifier_form"       400 "Write kind[@scope]:value, e.g. phone:13800000000."
    "identifier_invalid"    400 "Check the value against the rules at /api/v1/identity/rules."
    "invalid_gzip"          400 "Send whole gzip or plain JSON."
    "invalid_json"          400 "Send JSON: no NaN or Infinity, no trailing comma, no comment."
    "invalid_utf8"          400 "Encode JSON as UTF-8."
    "name_form"             400 "Write the name as the message says."
    "parameter_form"        400 "See the parameters of this path at /docs."
    "path_form"             400 "Use an id that a list answered."
    "record_too_large"      413 "Send less at once."
    "identifier_blocked"    400 "The rules at /api/v1/identity/rules say that this value points to nobody."
    "identifier_scope_missing" 400 "Write kind@scope:value, e.g. openid@wxabc:o1."
    "invalid"               400 "Correct the field that is named."
    "configuration"         400 "Correct the configuration; tributary check names all mistakes."
    "registry_unsupported"  400 "Use another registry or version."
    "backup_newer"          400 "Use the version that wrote it, or a newer one."
    "backup_not_whole"      400 "Give a backup that was taken to its end; what a stopped one left can be removed."
    "file_empty"            400 "Begin a CSV file with its column names."
    "file_format"           400 "Send CSV, XLSX, Parquet or JSON lines; see the message."
    "file_damaged"          400 "Write the file again; see the message for the place."
    "file_limit"            400 "Split the file or export it as CSV."
    "row_too_long"          400 "Close the quote in that row."
    "too_many_keys"         400 "Split the file."
    "mapping"               400 "Correct the places that are named."
    "object_store_missing"  400 "Configure [object_store] as the README shows, or bring the file."
    "object_name"           400 "Write s3://BUCKET/KEY."
    "object_endpoint"       400 "Correct [object_store]: endpoint, region, path_style."
    "object_too_large"      400 "Split the object, or raise the limit that is named."
    "rule_invalid"          422 "Correct every place that details names; nothing was changed."
    "change_unfit"          422 "Correct the change, or leave letters that it does not fit out by the filter."
    "naming_invalid"        422 "Correct every place that details names; nothing was changed."
    "tag_invalid"           422 "Correct every place that details names; nothing was changed."
    "tag_not_computed"      409 "See the message; compute tags with update scheduled or manual."
    "tag_calculated"        409 "Give by hand only tags with calculation manual or import."
    "import_invalid"        422 "Correct every row that details names; nothing was changed."
    "table_form"            400 "Send CSV as UTF-8, or XLSX, with column names in the first row."
    "rules_invalid"         422 "Correct every field that is named; nothing was changed."
    "attribute_invalid"     422 "Correct the field that is named; nothing was changed."
    "column_unknown"        422 "Columns are id, status, since, first_seen, last_seen, identifier.KIND, attribute.NAME and tag.CODE; without `columns` all are written."
    "reference_unknown"     422 "Refer to what exists and belongs to the group or to the same brand."
    "reference_circle"      422 "Take the reference out that leads back."
    "too_many_events"       400 "Send smaller batches."
    // Who the caller is.
    "key_missing"           401 "Send Authorization: Bearer tk_…"
    "key_unknown"           401 "Check the key; it may have been revoked."
    "write_key_missing"     401 "Send the write key as user name of Basic authentication or as writeKey."
    "write_key_unknown"     401 "Check the write key; it may have been rotated."
    "source_disabled"       401 "Enable the source with PATCH /api/v1/sources/{id}."
    "permission_missing"    403 "Use a key with this permission."
    "denied"                403 "Use a key that sees the whole installation."
    "object_not_allowed"    403 "Name an object in one of object_store.buckets."
    "object_denied"         403 "Give the store's access keys the right to do this."
    // What is there.
    "bucket_missing"        404 "Check the bucket's name and object_store.endpoint."
    "object_missing"        404 "Check the object's key: letters large and small differ."
    "segment_not_at_work"   404 "Enable the segment."
    "facts_mixed"           422 "Ask with a key that sees all brands, or leave the condition out."
    "list_not_at_work"      404 "Enable the list, or wait until all of it is there."
    "tag_not_at_work"       409 "Enable the tag; values of one that is given by hand are sent to `/api/v1/tags/{code}/members`."
    "not_found"             404 "It does not exist, or this key may not see it."
    "path_unknown"          404 "All paths are listed at /docs."
    "log_trimmed"           404 "It has been removed after its time was up."
    "method_not_allowed"    405 "All methods are listed at /docs."
    "conflict"              409 "Read it again and repeat the change."
    "clock_runs"            409 "Start with --manual-clock to set the clock."
    "command_refused"       409 "See the message; nothing was changed."
    "backup_target"         409 "Give a new folder."
    "backup_cancelled"      409 "Start it again."
    "dump_not_empty"        409 "Give a new folder."
    "folder_locked"         409 "Stop the other process that uses this folder."
    "export_not_ready"      409 "Ask for the export until its state is `done`; one that failed or was cancelled has no file."
    "job_running"           409 "Wait for the running job or cancel it."
    "object_changed"        409 "Start a new import: it takes the new content."
    "name_taken"            409 "Choose another name."
    "in_use"                409 "Change or delete what uses it first; …/uses lists it."
    "export_gone"           410 "Start a new export: files are kept for 24 hours, and until somebody is erased."
    "file_gone"             410 "Upload the file again and start a new import: files wait for 48 hours, and until somebody is erased."
    "rejects_gone"          410 "Import the file again: rejected rows are kept as long as original bytes (keys.days_kept)."
    "original_gone"         410 "Original bytes are kept for 30 days."
    // Too much, too early.
    "undecided"             503 "Ask again with the same Idempotency-Key."
    "registry_busy"         503 "Repeat after Retry-After."
    "registry_unavailable"  503 "Repeat after Retry-After; see the log of the server."
    "raw_newer"             503 "Start the newest version that has run on this folder."
    "lagging"               503 "Repeat after Retry-After; the answer would be older than the token."
    "audience_loading"      503 "Repeat after Retry-After; rows and history are being read since the start."
    "history_building"      503 "Repeat after Retry-After; /api/v1/audience tells how far it is."
    "tag_building"          503 "Repeat after Retry-After; the history that its rules ask about is being read."
    "view_building"         503 "Repeat after Retry-After; what this key may see is read once after a start."
    "views_full"            429 "Use keys that see the same brands."
    "segment_building"      503 "Repeat after Retry-After; its first computation is under way."
    "search_behind"         503 "Repeat after Retry-After; the search index has writes within seconds."
    "dictionary_behind"     503 "Repeat after Retry-After; names are counted within seconds."
    "search_unavailable"    503 "Repeat after Retry-After; the log says what is wrong with the search index."
    "search_too_far"        400 "Ask more precisely: add a word."
    "history_behind"        503 "Repeat after Retry-After; the history of events is being written."
    "busy"                  429 "Slow down and repeat after Retry-After."
    "source_busy"           429 "Slow down and repeat after Retry-After; the source's setting events_per_second is the bound."
    "connections_full"      503 "Repeat after Retry-After, or raise http.connections_max (http.connections_per_address_max)."
    "bodies_full"           503 "Repeat after Retry-After; http.body_memory_mib is the bound."
    "draining"              503 "The process is stopping; repeat after Retry-After."
    "log_closed"            503 "The process is stopping; repeat after Retry-After."
    "object_store_unreachable" 503 "Repeat after Retry-After; check object_store.endpoint and the network."
    "object_store_failed"   503 "See the message; repeat later."
    "rows_unavailable"      503 "Repeat after Retry-After."
    "unavailable"           503 "Repeat after Retry-After; see /readyz."
    "disk_full"             507 "Free space on the disk of the data folder; nothing was lost."
    // Our fault.
    "internal"              500 "Details are in the log of the server."
    "backup_io"             500 "A backup cannot be read or written; details are in the log."
    "backup_damaged"        500 "Take another backup."
    "file_io"               500 "The file cannot be read; details are in the log."
    "raw_damaged"           500 "Stored bytes are damaged; see the log of the server."
    "registry_damaged"      500 "Restore the registry from the newest backup."
    "registry_statement"    500 "A bug of ours; details are in the log of the server."
    "dump_damaged"          500 "Take another backup."
    "dump_io"               500 "A backup cannot be read or written; details are in the log."
    "log_behind_store"      500 "The result log is older than the rows: restore a backup of both."
    "log_behind_unit"       500 "A log is older than what was decided from it: restore a backup of all logs."
    "machine_restore"       500 "A unit cannot be restored; details are in the log of the server."
    "memory_file_io"        500 "Identity's files cannot be read or written; details are in the log."
    "replay_differs"        500 "The replay decided otherwise; details are in the message."
    "replay_reach"          500 "The replay reaches back only as far as raw records are kept."
    "replay_rows"           500 "Rows cannot be read or written; details are in the log."
    "replay_step"           500 "A unit failed in the replay; details are in the log."
    "result_key_gone"       500 "A result's key was destroyed before every cache had it: restore the newest backup."
    "history_damaged"       500 "Remove the folder lake while stopped: it is made again from the result log."
    "history_io"            500 "The history of events cannot be read; details are in the log."
    "store_damaged"         500 "The row store is damaged; it is rebuilt from the log at the next start."
    "store_io"              500 "The row store cannot be read or written; details are in the log."
    "store_order"           500 "The row store got results out of order; details are in the log."
    "store_reserved"        500 "A bug of ours; details are in the log of the server."
    "store_stopped"         503 "The process is stopping; repeat after Retry-After."
    "key_io"                500 "The key folder cannot be read or written; details are in the log."
    "log_io"                500 "The log cannot be read or written; details are in the log of the server."
    "log_corrupt"           500 "Stored bytes are damaged: see the log of the server, and restore the newest backup."
    "result_frame"          500 "Stored bytes are damaged; see the log of the server."
    "seal_damaged"          500 "Stored bytes are damaged; see the log of the server."
}

/// Texts of several mistakes that one message holds; `details` has all.
const MESSAGES_MAX: usize = 20;

/// What a handler answers instead of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    code: &'static str,
    message: String,
    field: Option<String>,
    retry_after_s: Option<u32>,
    details: Vec<ErrorDetail>,
}

/// One of several things that are wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// Stable code of this one.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// How to put it right, where something is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The row of a table that was sent, from 1 below its head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
}

impl ErrorDetail {
    /// Something wrong at a place.
    pub fn new(
        code: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> ErrorDetail {
        let field = field.into();
        ErrorDetail {
            code: code.into(),
            message: message.into(),
            hint: None,
            field: (!field.is_empty()).then_some(field),
            row: None,
        }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> ErrorDetail {
        self.hint = hint;
        self
    }
}

/// The JSON of an error: `{"error":{…}}`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorInfo,
}

/// What went wrong and what to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorInfo {
    /// Stable code for programs.
    #[schema(example = "not_found")]
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Which input it is about.
    pub field: Option<String>,
    /// Everything that is wrong, where several things were looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<ErrorDetail>,
}

impl ApiError {
    /// A refusal with a code of the table.
    pub fn new(code: &'static str, message: impl Into<String>) -> ApiError {
        debug_assert!(
            row(code).is_some(),
            "`{code}` is not in the table of errors"
        );
        ApiError {
            code,
            message: message.into(),
            field: None,
            retry_after_s: None,
            details: Vec::new(),
        }
    }

    /// The field that is wrong, if it is one.
    pub fn field_name(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Several things are wrong. The message has all of them, the field is that of the first.
    pub fn several(code: &'static str, details: Vec<ErrorDetail>) -> ApiError {
        let texts: Vec<String> = details
            .iter()
            .map(|one| match (&one.field, one.row) {
                (Some(field), Some(row)) => format!("row {row}, {field}: {}", one.message),
                (None, Some(row)) => format!("row {row}: {}", one.message),
                (Some(field), None) => format!("{field}: {}", one.message),
                (None, None) => one.message.clone(),
            })
            .take(MESSAGES_MAX)
            .collect();
        ApiError {
            field: details.first().and_then(|first| first.field.clone()),
            details,
            ..ApiError::new(code, texts.join("; "))
        }
    }

    /// Everything that is wrong, one by one.
    pub fn into_details(self) -> Vec<ErrorDetail> {
        if !self.details.is_empty() {
            return self.details;
        }
        let hint = Some(self.hint().to_owned());
        let field = self.field.unwrap_or_default();
        vec![ErrorDetail::new(self.code, field, self.message).hint(hint)]
    }

    /// There is no such thing, or the caller may not see it: the same words for both.
    pub fn not_found(what: &str) -> ApiError {
        ApiError::new("not_found", format!("there is no such {what}"))
    }

    /// An error from below. If it is our fault, the caller learns the code only and the log has the rest.
    pub fn fault(error: &dyn Fault) -> ApiError {
        let known = row(error.code()).map_or_else(|| code_of(error.kind()), |row| row.code);
        let message = match error.kind() {
            ErrorKind::Corrupt | ErrorKind::Internal => {
                tracing::error!(error = %chain(error), code = error.code(), "request failed");
                "the server could not do this".to_owned()
            }
            _ => error.to_string(),
        };
        let retry_after_s = match error.retry() {
            Retry::After(seconds) => Some(seconds),
            Retry::Never => None,
        };
        ApiError {
            code: known,
            message,
            field: error.field().map(str::to_owned),
            retry_after_s,
            details: Vec::new(),
        }
    }

    /// JSON or parameters that do not fit a known form, at the place that is wrong. serde names what is missing in its text
    /// only, and where the text ends, which says nothing then.
    pub fn misfit(code: &'static str, place: &str, message: &str) -> ApiError {
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next());
        let message = match missing {
            Some(_) => message.split(" at line ").next().unwrap_or(message),
            None => message,
        };
        let field = match (place, missing) {
            ("" | ".", None) => None,
            ("" | ".", Some(name)) => Some(name.to_owned()),
            (place, None) => Some(place.to_owned()),
            (place, Some(name)) => Some(format!("{place}.{name}")),
        };
        ApiError {
            field,
            ..ApiError::new(code, message)
        }
    }

    /// Names the input that it is about.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> ApiError {
        self.field = Some(field.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> ApiError {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        row(self.code).map_or("", |row| row.hint)
    }

    /// The status of its code.
    pub fn status(&self) -> StatusCode {
        let status = row(self.code).map_or(500, |row| row.status);
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Seconds for `Retry-After`: those of the error, or 1 for everything that a retry can help.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
            .or(matches!(self.status().as_u16(), 408 | 429 | 503 | 507).then_some(1))
    }

    /// The JSON of our own API.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorInfo {
                code: self.code.into(),
                message: self.message.clone(),
                hint: self.hint().into(),
                field: self.field.clone(),
                details: self.details.clone(),
            },
        }
    }

    /// With this JSON, its status and `Retry-After`.
    pub fn respond(&self, body: impl Serialize) -> Response {
        let mut response = (self.status(), axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tributary\""),
            );
        }
        response.extensions_mut().insert(ErrorCode(self.code));
        response
    }
}

/// The code of an answered error, for the access log.
#[derive(Debug, Clone, Copy)]
pub struct ErrorCode(pub &'static str);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.respond(self.body())
    }
}

impl<E: Fault> From<E> for ApiError {
    fn from(error: E) -> ApiError {
        ApiError::fault(&error)
    }
}

/// The row of a code. What an event can be rejected for has its own table, [`ingest::CODES`]; all of it is 400.
pub fn row(code: &str) -> Option<Row> {
    let own = TABLE.iter().find(|row| row.code == code).copied();
    own.or_else(|| {
        let rejected = ingest::CODES.iter().find(|info| info.text == code)?;
        Some(Row {
            code: rejected.text,
            status: 400,
            hint: rejected.fix,
        })
    })
}

/// The general code of a sort of error: for codes that newer parts may add, and for rejected events.
fn code_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "body_invalid",
        ErrorKind::Denied => "permission_missing",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Busy => "busy",
        ErrorKind::Full => "disk_full",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Corrupt | ErrorKind::Internal => "internal",
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Many errors have the text of their cause in their own.
        let why = inner.to_string();
        if !text.ends_with(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
