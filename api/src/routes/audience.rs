//! Questions about many members: who satisfies a rule, how segments overlap, how values are spread; and why one is in.
//!
//! What segments are is in another file; here is what they come to. Answers are exact at the position that they name.

mod explain;
mod overlap;
pub mod person;
mod preview;
mod segment;

use actors::model::Offset;
use axum::Json;
use axum::extract::State;
use cdp::rule::Plan;
use pipelines::audience::BackfillState;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Permission, Routes, Segment, doc};
use crate::names;

pub use segment::sees as sees_segment;

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Audience";
    crate::http::routes()
        .get(
            "/api/v1/audience",
            Permission::StatsRead,
            figures,
            doc(tag, "How far the audience is, and what it holds").answers::<AudienceAnswer>(),
        )
        .delete(
            "/api/v1/audience/backfills/{id}",
            Permission::OperationsManage,
            cancel,
            doc(tag, "Stop reading the history of a rule").enters("backfill", "cancel")
                .more("A segment that needs it becomes `cancelled`: what was at work before goes on, also after a restart, until its rule is changed or `POST /api/v1/segments/{id}/rebuild` takes it up again."),
        )
        .and(preview::routes(tag))
        .and(overlap::routes(tag))
        .and(segment::routes(tag))
        .and(explain::routes(tag))
        .and(person::routes(tag))
}

/// How far the audience is, and what it holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct AudienceAnswer {
    /// It has been made from rows and history since the start.
    pub loaded: bool,
    /// Rows and events of results below this offset are in.
    pub position: u64,
    /// Segments are up to date with results below this offset.
    pub settled: u64,
    /// Committed results that are not in.
    pub lag: u64,
    /// Members.
    pub members: u64,
    /// Bytes in memory.
    pub memory_bytes: usize,
    /// Records of entering and leaving that wait to be appended.
    pub waiting: u64,
    /// Entries of uploaded lists that nobody has yet.
    pub list_entries_waiting: u64,
    /// Histories being read.
    pub backfills: Vec<BackfillAnswer>,
}

/// A history that is being read.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackfillAnswer {
    /// Its number.
    pub id: u64,
    /// What is read, one JSON per measure.
    pub measures: Vec<String>,
    /// Up to this result.
    pub until: u64,
    /// Events looked at.
    pub events: u64,
}

impl From<BackfillState> for BackfillAnswer {
    fn from(state: BackfillState) -> BackfillAnswer {
        BackfillAnswer {
            id: state.id,
            measures: state.measures,
            until: state.until,
            events: state.events,
        }
    }
}

async fn figures(
    State(shared): State<Shared>,
    _: Caller,
) -> Result<Json<AudienceAnswer>, ApiError> {
    let figures = shared.ask(|audience| Ok(audience.figures())).await?;
    Ok(Json(AudienceAnswer {
        loaded: figures.at.loaded,
        position: figures.at.applied.0,
        settled: figures.at.settled.0,
        lag: figures.lag,
        members: figures.members,
        memory_bytes: figures.memory.total(),
        waiting: figures.waiting,
        list_entries_waiting: figures.entries_waiting,
        backfills: figures.backfills.into_iter().map(Into::into).collect(),
    }))
}

async fn cancel(
    State(shared): State<Shared>,
    _: Caller,
    Segment(id): Segment<u64>,
) -> Result<Json<Value>, ApiError> {
    match shared.audience().cancel(id) {
        true => Ok(Json(Value::Object(Default::default()))),
        false => Err(ApiError::not_found("backfill")),
    }
}

/// Positions of the logs at which an answer is exact.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct PositionsAnswer {
    /// Rows and events of results below this offset count, and no others.
    pub results: u64,
}

impl From<Offset> for PositionsAnswer {
    fn from(at: Offset) -> PositionsAnswer {
        PositionsAnswer { results: at.0 }
    }
}

/// A rule as it came, in JSON or as text, checked as it is when a segment is saved, and made a plan.
pub async fn compile(shared: &Shared, caller: &Caller, rule: &Value) -> Result<Plan, ApiError> {
    let names = names::names_for(shared, caller).await?;
    Ok(names::check(&names, "rule", rule, None)?.plan)
}
