//! Timers that are held because the clock jumped.

use actors::model::{ShardId, Time};
use actors::runtime::timers::due_timers_behind;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::{cursor, cursor_form};
use crate::http::{Caller, Paging, Permission, Query, Routes, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Operation";
    let manage = Permission::OperationsManage;
    crate::http::routes()
        .get(
            "/api/v1/timers/held",
            manage,
            held,
            doc(tag, "Whether timers are held, and which are due")
                .more("A clock that jumps by more than five minutes while the process runs holds all timers.")
                .query::<TimersQuery>()
                .answers::<HeldAnswer>()
                .reads(),
        )
        .post(
            "/api/v1/timers/release",
            manage,
            release,
            doc(tag, "Let timers go on: the present time is right").enters("timers", "release")
                .written::<ReleasedAnswer>(),
        )
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TimersQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Timers that would fire now.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldAnswer {
    /// They are held.
    pub held: bool,
    /// What the server takes for now.
    pub now: String,
    /// Due timers, the oldest first; without a hold they are about to fire.
    pub items: Vec<TimerAnswer>,
    /// Pass it as `cursor` for the next page; `null` at the end.
    pub next_cursor: Option<String>,
}

/// A timer.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimerAnswer {
    /// The shard that set it.
    pub shard: u16,
    /// Its number there.
    pub id: u64,
    /// When it is due.
    pub at: String,
}

/// What a release did.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleasedAnswer {
    /// Timers were held until now.
    pub released: bool,
}

async fn held(
    State(shared): State<Shared>,
    Query(query): Query<TimersQuery>,
) -> Result<Json<HeldAnswer>, ApiError> {
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    let limit = paging.limit()?;
    let behind = match paging.cursor()? {
        Some(bytes) => Some(place(&bytes).ok_or_else(cursor_form)?),
        None => None,
    };
    let now = shared.now();
    let mut timers = due_timers_behind(&shared.snapshot()?, now, behind, limit + 1)?;
    let more = timers.len() > limit;
    timers.truncate(limit);
    let last = timers.last().filter(|_| more);
    let next_cursor = last.map(|last| {
        let (at, shard, id) = (last.at.0, last.shard.0, last.id);
        let bytes = [
            &at.to_be_bytes()[..],
            &shard.to_be_bytes(),
            &id.to_be_bytes(),
        ];
        cursor(&bytes.concat())
    });
    let items = timers.iter().map(|timer| TimerAnswer {
        shard: timer.shard.0,
        id: timer.id,
        at: timer.at.rfc3339(),
    });
    Ok(Json(HeldAnswer {
        held: shared.platform().node().timers_held(),
        now: now.rfc3339(),
        items: items.collect(),
        next_cursor,
    }))
}

/// Due time, shard and number of a cursor.
fn place(bytes: &[u8]) -> Option<(Time, ShardId, u64)> {
    let (at, rest) = bytes.split_first_chunk()?;
    let (shard, id) = rest.split_first_chunk()?;
    Some((
        Time(i64::from_be_bytes(*at)),
        ShardId(u16::from_be_bytes(*shard)),
        u64::from_be_bytes(id.try_into().ok()?),
    ))
}

async fn release(State(shared): State<Shared>, caller: Caller) -> Written<ReleasedAnswer> {
    let node = shared.platform().node();
    let released = node.timers_held();
    if released {
        tracing::warn!(by = caller.name, "held timers released");
        node.release_timers();
    }
    Written::changed(shared.token(), ReleasedAnswer { released })
}
