//! Why a whole request cannot be taken.

use actors::model::{ErrorKind, Fault};

use crate::json::Flaw;

/// Why a whole request was refused; nothing of it was kept. The text says what to fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The body has too many bytes, as sent or after gzip was undone.
    #[error("the body is larger than {max} bytes after gzip is undone: send smaller batches")]
    BodyTooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// The only event of the request has too many bytes.
    #[error("the event has {bytes} bytes, the limit is {max}: send less per event")]
    EventTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The batch has too many events.
    #[error("the batch has {events} events, the limit is {max}: send smaller batches")]
    TooManyEvents {
        /// How many.
        events: usize,
        /// The limit.
        max: usize,
    },
    /// It begins like gzip but is not.
    #[error(
        "the body begins like gzip but cannot be unpacked ({what}): send whole gzip or plain JSON"
    )]
    InvalidGzip {
        /// What the unpacker says.
        what: String,
    },
    /// There is no body.
    #[error("the body is empty: send JSON")]
    Empty,
    /// Not UTF-8.
    #[error("the body is not UTF-8 at byte {at}: encode JSON as UTF-8")]
    InvalidUtf8 {
        /// First bad byte, after gzip was undone.
        at: usize,
    },
    /// Not JSON.
    #[error("the body is not JSON: {what} at line {line}, column {column}")]
    InvalidJson {
        /// What is wrong there.
        what: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// JSON, but not what this path takes.
    #[error("this path takes {wanted}")]
    Shape {
        /// What it takes.
        wanted: &'static str,
    },
    /// There is no such endpoint.
    #[error(
        "there is no `{path}`: use /v1/identify, track, page, screen, group, alias, batch or import"
    )]
    UnknownPath {
        /// As asked for.
        path: String,
    },
    /// A `ce-…` header cannot be read.
    #[error("the header `{header}` cannot be read: percent-encode UTF-8")]
    Header {
        /// Its name.
        header: String,
    },
}

impl AdmitError {
    /// From a flaw in `text`, with its line and column.
    pub(crate) fn json(text: &str, flaw: Flaw) -> AdmitError {
        let mut at = flaw.at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        AdmitError::InvalidJson {
            what: flaw.kind.to_string(),
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl Fault for AdmitError {
    fn kind(&self) -> ErrorKind {
        match self {
            AdmitError::UnknownPath { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            AdmitError::BodyTooLarge { .. } => "body_too_large",
            AdmitError::EventTooLarge { .. } => "event_too_large",
            AdmitError::TooManyEvents { .. } => "too_many_events",
            AdmitError::InvalidGzip { .. } => "invalid_gzip",
            AdmitError::Empty => "body_empty",
            AdmitError::InvalidUtf8 { .. } => "invalid_utf8",
            AdmitError::InvalidJson { .. } => "invalid_json",
            AdmitError::Shape { .. } => "body_shape",
            AdmitError::UnknownPath { .. } => "path_unknown",
            AdmitError::Header { .. } => "header_form",
        }
    }
}
