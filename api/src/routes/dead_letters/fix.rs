//! Mending by rule: a filter and a list of changes, looked at first, then done by a job.
//!
//! The job reads the list from its beginning, mends what is open and matches, and replays it under a key that is derived
//! from the job and the letter. So a crash repeats commands that change nothing the second time, and what is closed is
//! passed over: each letter is replayed once.

mod job;

use actors::model::{BrandId, BrandSet, FieldClass};
use axum::Json;
use axum::extract::State;
use cdp::control::Control;
use cdp::dead::DeadId;
use ingest::RawRecord;
use ingest::mend::{Cast, Change, mend};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::command::mended;
use super::filter::{Filter, FilterInput, walk};
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Query, Segment, Written};
use crate::jobs::JobView;

pub use self::job::start;

/// What these jobs are called.
const KIND: &str = "dead_letter_fix";
/// Changes of one rule.
const CHANGES_MAX: usize = 50;
/// Letters that a preview shows at most.
const PREVIEW_MAX: usize = 50;
/// And when nobody says.
const PREVIEW_DEFAULT: usize = 10;
/// Rows that a preview reads to count what matches.
const PREVIEW_READS_MAX: usize = 100_000;

/// A rule that mends.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FixInput {
    /// Which open letters.
    #[serde(default)]
    pub filter: FilterInput,
    /// What to change, in order; none: replayed as they were.
    #[serde(default)]
    #[schema(max_items = 50)]
    pub changes: Vec<ChangeInput>,
    /// Of a preview: how many to show, at most 50; 10 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A change of an event.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChangeInput {
    /// What stands in one field moves to another.
    Rename {
        /// From here.
        #[schema(example = "properties.amt")]
        field: String,
        /// To here.
        to: String,
    },
    /// A field gets a value.
    Set {
        /// The field.
        field: String,
        /// The value.
        value: Value,
    },
    /// A field goes.
    Remove {
        /// The field.
        field: String,
    },
    /// A value becomes one of another type.
    Cast {
        /// The field.
        field: String,
        /// Which.
        #[schema(inline)]
        to: CastInput,
    },
    /// The object in a field becomes the event.
    Unwrap {
        /// The field.
        field: String,
        /// Or it replaces this field.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        into: String,
    },
}

/// What a value becomes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CastInput {
    /// Text.
    Text,
    /// Number.
    Number,
    /// Boolean.
    Bool,
    /// What the JSON in a text says.
    Json,
}

/// What a rule would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct FixPreview {
    /// Open letters that match, as far as they were counted.
    pub matched: u64,
    /// There may be more: counting stopped.
    pub more: bool,
    /// The first of them.
    pub items: Vec<FixedLetter>,
}

/// What a rule would make of a letter.
#[derive(Debug, Serialize, ToSchema)]
pub struct FixedLetter {
    /// Its id.
    pub id: String,
    /// As it came; null if it is gone, is no text, or is not for this caller.
    pub before: Option<String>,
    /// As it would be replayed.
    pub after: Option<String>,
    /// Why it would stay open; null: it would be taken, unless its message was counted meanwhile or its name is blocked.
    pub error: Option<FixError>,
}

/// Why a letter stays open.
#[derive(Debug, Serialize, ToSchema)]
pub struct FixError {
    /// Stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub field: Option<String>,
}

/// What a job needs to be done (again).
#[derive(Debug, Serialize, Deserialize)]
struct Detail {
    rule: FixInput,
    /// Brands that its author sees; none: all.
    brands: Option<Vec<u32>>,
    /// Makes its commands other ones than those of any other job.
    stamp: i64,
}

impl From<ChangeInput> for Change {
    fn from(input: ChangeInput) -> Change {
        match input {
            ChangeInput::Rename { field, to } => Change::Rename { field, to },
            ChangeInput::Set { field, value } => Change::Set { field, value },
            ChangeInput::Remove { field } => Change::Remove { field },
            ChangeInput::Cast { field, to } => Change::Cast {
                field,
                to: match to {
                    CastInput::Text => Cast::Text,
                    CastInput::Number => Cast::Number,
                    CastInput::Bool => Cast::Bool,
                    CastInput::Json => Cast::Json,
                },
            },
            ChangeInput::Unwrap { field, into } => Change::Unwrap { field, into },
        }
    }
}

impl FixInput {
    fn read(&self) -> Result<(Filter, Vec<Change>), ApiError> {
        if self.changes.len() > CHANGES_MAX {
            let message = format!("{} changes, allowed are {CHANGES_MAX}", self.changes.len());
            return Err(ApiError::new("body_invalid", message).field("changes"));
        }
        let filter = Filter::open(self.filter.clone())?;
        Ok((
            filter,
            self.changes.iter().cloned().map(Change::from).collect(),
        ))
    }
}

pub async fn preview(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<FixInput>,
) -> Result<Json<FixPreview>, ApiError> {
    let (filter, changes) = input.read()?;
    let limit = input.limit.unwrap_or(PREVIEW_DEFAULT);
    if !(1..=PREVIEW_MAX).contains(&limit) {
        let message = format!("limit is {limit}, allowed are 1 to {PREVIEW_MAX}");
        return Err(ApiError::new("body_invalid", message).field("limit"));
    }
    let (mut matched, mut first) = (0, Vec::new());
    let rest = walk(
        &shared.snapshot()?,
        &filter.start(),
        PREVIEW_READS_MAX,
        |id, row| {
            if filter.takes(id, &row, &caller.scope) {
                matched += 1;
                if first.len() < limit {
                    first.push(id);
                }
            }
            true
        },
    )?;
    let shown = caller.scope.fields >= FieldClass::P2;
    let mut items = Vec::new();
    for id in first {
        let original = shared.raw_event(id.position).await?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok().filter(|_| shown);
        let before = original.as_ref().and_then(|raw| text(&raw.body));
        let (after, error) = match try_on(id, original.as_ref(), &changes, "preview") {
            Ok((body, _)) => (text(&body), None),
            Err(error) => (None, Some(error)),
        };
        items.push(FixedLetter {
            id: id.to_string(),
            before,
            after,
            error: error.map(|error| FixError {
                code: error.code(),
                message: error.message().to_owned(),
                field: error.field_name().map(str::to_owned),
            }),
        });
    }
    Ok(Json(FixPreview {
        matched,
        more: rest.is_some(),
        items,
    }))
}

/// The mended body and the command that replays it.
fn try_on(
    id: DeadId,
    original: Option<&RawRecord>,
    changes: &[Change],
    request: &str,
) -> Result<(bytes::Bytes, Control), ApiError> {
    let gone = || ApiError::new("original_gone", "the original bytes have been destroyed");
    let original = original.ok_or_else(gone)?;
    let body: bytes::Bytes = match changes {
        [] => original.body.clone(),
        changes => {
            let text = std::str::from_utf8(&original.body)
                .map_err(|_| ApiError::new("invalid_utf8", "the event is not UTF-8"))?;
            let mended = mend(text, changes)
                .map_err(|unfit| ApiError::new("change_unfit", unfit.what).field(unfit.field))?;
            mended.into_bytes().into()
        }
    };
    let command = mended(id, original, body.clone(), request)?;
    Ok((body, command))
}

pub async fn begin(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<FixInput>,
) -> Result<Written<JobView>, ApiError> {
    input.read()?;
    let target = serde_json::to_string(&input.filter).expect("a filter is plain JSON");
    let detail = Detail {
        brands: match &caller.scope.brands {
            BrandSet::All => None,
            BrandSet::Only(brands) => Some(brands.iter().map(|brand| brand.0).collect()),
        },
        rule: input,
        stamp: shared.now().0,
    };
    tracing::info!(by = caller.name, target, "mending dead letters asked for");
    let detail = serde_json::to_value(detail).expect("a rule is plain JSON");
    let job = shared.jobs.enqueue(KIND, target, detail, shared.now());
    let job = job.map_err(|error| match error.kind() {
        std::io::ErrorKind::QuotaExceeded => ApiError::new("busy", "too many jobs wait"),
        _ => {
            tracing::error!(%error, "a job cannot be kept");
            ApiError::new("internal", "the server could not do this")
        }
    })?;
    let item = format!("job {}", job.id);
    Ok(Written::created(shared.token(), job).about(item))
}

/// Jobs whose author saw no more than this caller does.
fn visible(shared: &Shared, caller: &Caller) -> Vec<JobView> {
    let all = shared.jobs.list_details(Some(KIND)).into_iter();
    all.filter(
        |(_, detail)| match serde_json::from_value::<Detail>(detail.clone()) {
            Ok(Detail {
                brands: Some(brands),
                ..
            }) => brands
                .iter()
                .all(|brand| caller.scope.sees(BrandId(*brand))),
            _ => caller.scope.brands == BrandSet::All,
        },
    )
    .map(|(view, _)| view)
    .collect()
}

pub async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<JobView>>, ApiError> {
    Page::slice(visible(&shared, &caller), &query.paging()).map(Json)
}

pub async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u64>,
) -> Result<Json<JobView>, ApiError> {
    let found = visible(&shared, &caller)
        .into_iter()
        .find(|job| job.id == id);
    found.map(Json).ok_or_else(|| ApiError::not_found("job"))
}

pub async fn cancel(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u64>,
) -> Result<Written<JobView>, ApiError> {
    let unknown = || ApiError::not_found("job");
    visible(&shared, &caller)
        .into_iter()
        .find(|job| job.id == id)
        .ok_or_else(unknown)?;
    let job = shared.jobs.cancel(id, shared.now()).ok_or_else(unknown)?;
    Ok(Written::changed(shared.token(), job))
}
