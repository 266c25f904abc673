//! Dead letters: events that could not be taken. Listed, counted by reason, mended, replayed, dropped.

use std::collections::BTreeMap;

use actors::machine::Rows;
use actors::model::{FieldClass, Scope, Token};
use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cdp::control::{Control, DeadLetterReplay};
use cdp::dead::{self, DeadId, DeadRow, DeadStatus};
use ingest::Verdict;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::members::word;
use crate::app::{Shared, Snapshot};
use crate::error::ApiError;
use crate::http::page::{cursor, cursor_form};
use crate::http::{
    Caller, Input, Page, Paging, Permission, Query, RequestId, Routes, Segment, Written, doc,
};

/// Rows that one request reads at most: a filter that rarely matches answers a short page with a cursor.
const READS_MAX: usize = 20_000;
/// Letters that one command may name: each is a record of the log, and the request waits for all.
const MANY_MAX: usize = 200;
/// Bytes of a dead letter's key.
const KEY_BYTES: usize = 18;

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Dead letters";
    let write = Permission::DeadLettersWrite;
    crate::http::routes()
        .get(
            "/api/v1/dead-letters",
            Permission::DeadLettersRead,
            list,
            doc(tag, "Events that could not be taken, oldest first")
                .query::<DeadQuery>()
                .answers::<Page<DeadAnswer>>()
                .reads(),
        )
        .get(
            "/api/v1/dead-letters/groups",
            Permission::DeadLettersRead,
            groups,
            doc(tag, "How many for which reason")
                .query::<DeadQuery>()
                .answers::<Page<GroupAnswer>>()
                .reads(),
        )
        .get(
            "/api/v1/dead-letters/{id}",
            Permission::DeadLettersRead,
            get,
            doc(tag, "One event with its original bytes")
                .answers::<DeadDetail>()
                .reads(),
        )
        .post(
            "/api/v1/dead-letters/{id}/replay",
            write,
            replay_one,
            doc(tag, "Decide it again, mended or as it was")
                .more("With `body` the event is replaced by that JSON; its message id stays unless the body brings one.")
                .body::<ReplayInput>()
                .answers::<Written<ManyAnswer>>()
                .writes(),
        )
        .post(
            "/api/v1/dead-letters/{id}/drop",
            write,
            drop_one,
            doc(tag, "It is not wanted any more")
                .answers::<Written<ManyAnswer>>()
                .writes(),
        )
        .post(
            "/api/v1/dead-letters/replay",
            write,
            replay_many,
            doc(tag, "Decide several again as they were")
                .more("At most 200 at once; `more` says that others match.")
                .body::<ManyInput>()
                .answers::<Written<ManyAnswer>>()
                .writes(),
        )
        .post(
            "/api/v1/dead-letters/drop",
            write,
            drop_many,
            doc(tag, "Several are not wanted any more")
                .body::<ManyInput>()
                .answers::<Written<ManyAnswer>>()
                .writes(),
        )
}

/// Which letters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeadQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `open` (when left out), `replayed`, `dropped` or `all`.
    #[param(inline)]
    status: Option<StatusWish>,
    /// Only this code of a reason.
    code: Option<String>,
    /// Only this source.
    source: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StatusWish {
    Open,
    Replayed,
    Dropped,
    All,
}

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
    /// How it was written: `segment cloud_events scan own`.
    pub protocol: Option<&'static str>,
    /// The original bytes were destroyed after their time.
    pub original_gone: bool,
}

/// Letters of one reason and source.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupAnswer {
    /// Stable code of the reason.
    pub code: String,
    /// Source.
    pub source: u32,
    /// How many.
    pub count: u64,
    /// When the first was received.
    pub first: String,
    /// When the last was received.
    pub last: String,
    /// Id of one of them.
    pub example: String,
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
    fn takes(&self, row: &DeadRow, scope: &Scope) -> bool {
        scope.sees(row.brand)
            && self.status.unwrap_or(StatusWish::Open).takes(row.status)
            && self.code.as_deref().is_none_or(|code| code == &*row.code)
            && self.source.is_none_or(|source| source == row.source.0)
    }

    fn from(&self) -> Result<Vec<u8>, ApiError> {
        let paging = Paging {
            limit: None,
            cursor: self.cursor.clone(),
        };
        match paging.cursor()? {
            Some(bytes) if bytes.len() == KEY_BYTES => Ok(bytes),
            Some(_) => Err(cursor_form()),
            None => Ok(Vec::new()),
        }
    }
}

/// Reads letters from a key on until `each` answers false or [`READS_MAX`] rows are read; answers where it stopped.
fn walk(
    rows: &dyn Rows,
    from: &[u8],
    mut each: impl FnMut(DeadId, DeadRow) -> bool,
) -> Result<Option<String>, ApiError> {
    let mut reads = 0;
    let mut next = None;
    rows.scan_from(dead::SPACE, &[], from, &mut |key, value| {
        reads += 1;
        let Some((id, row)) = DeadId::from_key(key).zip(DeadRow::decode(value)) else {
            return true;
        };
        if reads > READS_MAX || !each(id, row) {
            next = Some(cursor(key));
            return false;
        }
        true
    })?;
    Ok(next)
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<DeadQuery>,
) -> Result<Json<Page<DeadAnswer>>, ApiError> {
    let paging = Paging {
        limit: query.limit,
        cursor: None,
    };
    let limit = paging.limit()?;
    let mut items = Vec::new();
    let next_cursor = walk(&shared.snapshot()?, &query.from()?, |id, row| {
        if !query.takes(&row, &caller.scope) {
            return true;
        }
        if items.len() == limit {
            return false;
        }
        items.push(answer(id, &row, &caller.scope));
        true
    })?;
    Ok(Json(Page { items, next_cursor }))
}

async fn groups(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<DeadQuery>,
) -> Result<Json<Page<GroupAnswer>>, ApiError> {
    let mut groups: BTreeMap<(Box<str>, u32), GroupAnswer> = BTreeMap::new();
    let next_cursor = walk(&shared.snapshot()?, &query.from()?, |id, row| {
        if query.takes(&row, &caller.scope) {
            let received = id.received.rfc3339();
            let group = groups
                .entry((row.code.clone(), row.source.0))
                .or_insert_with(|| GroupAnswer {
                    code: row.code.to_string(),
                    source: row.source.0,
                    count: 0,
                    first: received.clone(),
                    last: received.clone(),
                    example: id.to_string(),
                    hint: hint(&row.code),
                });
            group.count += 1;
            group.last = received;
        }
        true
    })?;
    let mut items: Vec<_> = groups.into_values().collect();
    items.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(Json(Page { items, next_cursor }))
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Json<DeadDetail>, ApiError> {
    let (id, row) = letter(&shared.snapshot()?, &caller.scope, &id)?;
    let original = shared.raw_event(id.position).await?;
    let original_gone = original.is_none();
    let original = original.filter(|_| caller.scope.fields >= FieldClass::P2);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Ok(Json(DeadDetail {
        letter: answer(id, &row, &caller.scope),
        body: original.as_ref().and_then(|raw| text(&raw.body)),
        body_base64: original.as_ref().map(|raw| STANDARD.encode(&raw.body)),
        shared: original
            .as_ref()
            .and_then(|raw| text(raw.shared.as_deref()?)),
        protocol: original.as_ref().map(|raw| match raw.protocol {
            ingest::Protocol::Segment => "segment",
            ingest::Protocol::CloudEvents => "cloud_events",
            ingest::Protocol::Scan => "scan",
            ingest::Protocol::Own => "own",
            ingest::Protocol::Sensors => "sensors",
        }),
        original_gone,
    }))
}

async fn replay_one(
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

async fn drop_one(
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

async fn replay_many(
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

async fn drop_many(
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
            let query = DeadQuery {
                code: input.code.clone(),
                source: input.source,
                ..DeadQuery::default()
            };
            let rest = walk(&snapshot, &[], |id, row| {
                if query.takes(&row, &caller.scope) {
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
        Written::changed(self.token, self.answer)
    }
}

fn letter(snapshot: &Snapshot, scope: &Scope, id: &str) -> Result<(DeadId, DeadRow), ApiError> {
    let unknown = || ApiError::not_found("dead letter");
    let id: DeadId = id.parse().map_err(|()| unknown())?;
    match DeadRow::get(snapshot, id)? {
        Some(row) if scope.sees(row.brand) => Ok((id, row)),
        _ => Err(unknown()),
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
    let mended = ingest::readmit(&original, body);
    if let Verdict::Rejected(reject) = &mended.verdict {
        let error = ApiError::new(reject.code.as_str(), reject.reason.clone());
        return Err(match &reject.field {
            Some(field) => error.field(format!("body.{field}")),
            None => error.field("body"),
        });
    }
    let raw = pipelines::decode::to_raw(&mended);
    let command = Control::DeadLetterReplay(DeadLetterReplay {
        request: request.into(),
        dead,
        schema: raw.schema,
        envelope: raw.envelope,
        personal: raw.personal,
    });
    shared
        .command(command, request)
        .await
        .map(|(token, _)| token)
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

fn answer(id: DeadId, row: &DeadRow, scope: &Scope) -> DeadAnswer {
    let personal = scope.fields >= FieldClass::P2;
    DeadAnswer {
        id: id.to_string(),
        received: id.received.rfc3339(),
        code: row.code.to_string(),
        reason: personal.then(|| row.reason.to_string()),
        hint: hint(&row.code),
        field: row.field.as_deref().map(str::to_owned),
        source: row.source.0,
        brand: row.brand.0,
        message_id: row.message_id.to_string(),
        status: word(&row.status),
        decided: (row.status != DeadStatus::Open).then(|| row.decided.rfc3339()),
    }
}

/// What to do about a reason; the codes of identity and profile have no row among the errors of requests.
fn hint(code: &str) -> &'static str {
    crate::error::row(code).map_or("Mend the event and replay it.", |row| row.hint)
}
