//! Commands on dead letters: replayed as they were or mended by hand, dropped.

use actors::model::Token;
use axum::extract::State;
use cdp::control::{Control, DeadLetterReplay};
use cdp::dead::{DeadId, DeadRow, DeadStatus};
use ingest::{RawRecord, Verdict};
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::members::word;
use super::answer::{FailedAnswer, ManyAnswer};
use super::filter::{Filter, FilterInput, walk};
use super::{READS_MAX, letter};
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, RequestId, Segment, Written};

/// Letters that one command may name: each is a record of the log, and the request waits for all.
const MANY_MAX: usize = 200;

/// Several letters: by id, or all open ones of a reason or source.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManyInput {
    /// These.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub ids: Vec<String>,
    /// Open ones with this code of a reason.
    pub code: Option<String>,
    /// Open ones of this source.
    pub source: Option<u32>,
}

/// A mended event.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayInput {
    /// The event as it should have been; left out: as it was.
    pub body: Option<serde_json::Value>,
}

pub async fn replay_one(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    RequestId(request): RequestId,
    Input(input): Input<ReplayInput>,
) -> Result<Written<ManyAnswer>, ApiError> {
    let (id, row) = letter(&shared.snapshot()?, &caller.scope, &id)?;
    let request = caller.request(&request);
    let token = replay(&shared, id, &row, &request, input.body).await?;
    Ok(one(token, id))
}

pub async fn drop_one(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    RequestId(request): RequestId,
) -> Result<Written<ManyAnswer>, ApiError> {
    let (id, row) = letter(&shared.snapshot()?, &caller.scope, &id)?;
    let request = caller.request(&request);
    let token = discard(&shared, id, &row, &request).await?;
    Ok(one(token, id))
}

fn one(token: Token, id: DeadId) -> Written<ManyAnswer> {
    Written::changed(
        token,
        ManyAnswer {
            done: vec![id.to_string()],
            failed: Vec::new(),
            more: false,
        },
    )
}

pub async fn replay_many(
    State(shared): State<Shared>,
    caller: Caller,
    RequestId(request): RequestId,
    Input(input): Input<ManyInput>,
) -> Result<Written<ManyAnswer>, ApiError> {
    let mut many = Many::of(&shared, &caller, &input)?;
    for (id, row) in std::mem::take(&mut many.letters) {
        let request = caller.request(&format!("{request} {id}"));
        many.note(id, replay(&shared, id, &row, &request, None).await)?;
    }
    Ok(many.written())
}

pub async fn drop_many(
    State(shared): State<Shared>,
    caller: Caller,
    RequestId(request): RequestId,
    Input(input): Input<ManyInput>,
) -> Result<Written<ManyAnswer>, ApiError> {
    let mut many = Many::of(&shared, &caller, &input)?;
    for (id, row) in std::mem::take(&mut many.letters) {
        let request = caller.request(&format!("{request} {id}"));
        many.note(id, discard(&shared, id, &row, &request).await)?;
    }
    Ok(many.written())
}

/// A command on several letters under way.
struct Many {
    letters: Vec<(DeadId, DeadRow)>,
    token: Option<Token>,
    answer: ManyAnswer,
}

impl Many {
    fn of(shared: &Shared, caller: &Caller, input: &ManyInput) -> Result<Many, ApiError> {
        let by_ids = !input.ids.is_empty();
        if by_ids == (input.code.is_some() || input.source.is_some()) {
            let message = "name either `ids`, or `code` and `source`";
            return Err(ApiError::new("body_invalid", message).field("ids"));
        }
        if input.ids.len() > MANY_MAX {
            let message = format!("{} ids, allowed are {MANY_MAX}", input.ids.len());
            return Err(ApiError::new("body_invalid", message).field("ids"));
        }
        let snapshot = shared.snapshot()?;
        let mut letters = Vec::new();
        let mut more = false;
        if by_ids {
            for id in &input.ids {
                letters.push(letter(&snapshot, &caller.scope, id)?);
            }
        } else {
            let filter = Filter::open(FilterInput {
                code: input.code.clone(),
                source: input.source,
                ..FilterInput::default()
            })?;
            let rest = walk(&snapshot, &[], READS_MAX, |id, row| {
                if filter.takes(id, &row, &caller.scope) {
                    if letters.len() == MANY_MAX {
                        return false;
                    }
                    letters.push((id, row));
                }
                true
            })?;
            more = rest.is_some();
        }
        Ok(Many {
            letters,
            token: None,
            answer: ManyAnswer {
                done: Vec::new(),
                failed: Vec::new(),
                more,
            },
        })
    }

    /// Notes one result. What concerns the server and not the letter ends the command: what is done stays done, and a
    /// repeat goes on behind it.
    fn note(&mut self, id: DeadId, result: Result<Token, ApiError>) -> Result<(), ApiError> {
        match result {
            Ok(token) => {
                self.token = Some(token);
                self.answer.done.push(id.to_string());
            }
            Err(error) if error.status().is_server_error() => return Err(error),
            Err(error) => self.answer.failed.push(FailedAnswer {
                id: id.to_string(),
                code: error.code(),
                message: error.message().to_owned(),
            }),
        }
        Ok(())
    }

    fn written(self) -> Written<ManyAnswer> {
        let detail = format!(
            "{} done, {} not",
            self.answer.done.len(),
            self.answer.failed.len()
        );
        Written::changed(self.token, self.answer).detail(detail)
    }
}

async fn replay(
    shared: &Shared,
    dead: DeadId,
    row: &DeadRow,
    request: &str,
    body: Option<serde_json::Value>,
) -> Result<Token, ApiError> {
    still_open(row)?;
    let original = shared
        .raw_event(dead.position)
        .await?
        .ok_or_else(|| ApiError::new("original_gone", "the original bytes have been destroyed"))?;
    let body = match body {
        Some(body) => serde_json::to_vec(&body)
            .expect("a JSON value always serialises")
            .into(),
        None => original.body.clone(),
    };
    let command = mended(dead, &original, body, request)?;
    shared
        .command(command, request)
        .await
        .map(|(token, _)| token)
}

/// The command that replaces a letter's event by this body. Refused if that is still wrong.
pub(super) fn mended(
    dead: DeadId,
    original: &RawRecord,
    body: bytes::Bytes,
    request: &str,
) -> Result<Control, ApiError> {
    let mended = ingest::readmit(original, body);
    if let Verdict::Rejected(reject) = &mended.verdict {
        let error = ApiError::new(reject.code.as_str(), reject.reason.clone());
        return Err(match &reject.field {
            Some(field) => error.field(format!("body.{field}")),
            None => error.field("body"),
        });
    }
    let raw = pipelines::decode::to_raw(&mended);
    Ok(Control::DeadLetterReplay(DeadLetterReplay {
        request: request.into(),
        dead,
        schema: raw.schema,
        envelope: raw.envelope,
        personal: raw.personal,
    }))
}

async fn discard(
    shared: &Shared,
    dead: DeadId,
    row: &DeadRow,
    request: &str,
) -> Result<Token, ApiError> {
    still_open(row)?;
    let command = Control::DeadLetterDrop {
        request: request.into(),
        dead,
    };
    shared
        .command(command, request)
        .await
        .map(|(token, _)| token)
}

fn still_open(row: &DeadRow) -> Result<(), ApiError> {
    match row.status {
        DeadStatus::Open => Ok(()),
        status => {
            let message = format!("this dead letter is {} already", word(&status));
            Err(ApiError::new("command_refused", message))
        }
    }
}
