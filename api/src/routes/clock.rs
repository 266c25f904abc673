//! The clock of a test installation.

use std::path::Path;

use actors::disk::{RealDisk, read_whole, replace};
use actors::model::Time;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Input, Permission, Routes, Written, doc};

/// Where it is noted at which instant a manual clock stands: it stands there after a restart, too.
const FILE: &str = "manual-clock";

/// The instant at which the manual clock of a data folder stands; none: it was never set.
pub fn stood_at(data: &Path) -> Option<Time> {
    let text = read_whole(&RealDisk, &data.join(FILE)).ok()?;
    Time::from_rfc3339(std::str::from_utf8(&text).ok()?)
}

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Operation";
    crate::http::routes()
        .get(
            "/api/v1/clock",
            Permission::StatsRead,
            get,
            doc(tag, "What the server takes for now").answers::<ClockAnswer>(),
        )
        .put(
            "/api/v1/clock",
            Permission::ClockSet,
            put,
            doc(tag, "Set the clock, with --manual-clock only")
                .enters("clock", "set")
                .body::<ClockInput>()
                .written::<ClockAnswer>(),
        )
}

/// The instant to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockInput {
    /// RFC 3339 with any offset.
    #[schema(example = "2026-11-22T08:00:00+08:00")]
    pub now: String,
}

/// What the server takes for now.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClockAnswer {
    /// RFC 3339 in UTC.
    pub now: String,
    /// It stands still until it is set.
    pub manual: bool,
}

fn answer(shared: &Shared) -> ClockAnswer {
    ClockAnswer {
        now: shared.now().rfc3339(),
        manual: shared.manual_clock().is_some(),
    }
}

async fn get(State(shared): State<Shared>) -> Json<ClockAnswer> {
    Json(answer(&shared))
}

async fn put(
    State(shared): State<Shared>,
    Input(input): Input<ClockInput>,
) -> Result<Written<ClockAnswer>, ApiError> {
    let now = Time::from_rfc3339(&input.now).ok_or_else(|| {
        let message = "now is no instant such as 2026-11-22T08:00:00+08:00";
        ApiError::new("body_invalid", message).field("now")
    })?;
    let clock = shared
        .manual_clock()
        .ok_or_else(|| ApiError::new("clock_runs", "the clock of this server runs by itself"))?;
    // Noted first: after a crash it stands where somebody may have seen it.
    let file = shared.platform().layout().root().join(FILE);
    if let Err(error) = replace(&RealDisk, &file, now.rfc3339().as_bytes()) {
        tracing::error!(%error, "the clock is not noted");
        return Err(ApiError::new("internal", "the server could not do this"));
    }
    clock.set(now);
    Ok(Written::changed(shared.token(), answer(&shared)))
}
