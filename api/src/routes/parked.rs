//! Parked keys: records whose decision failed, and everything of the same key behind them.

use actors::model::{MemberId, MemberNo, Unit, UnitKind};
use actors::runtime::core::{PARKED_KEYS_MAX, parked};
use axum::Json;
use axum::extract::State;
use cdp::control::Control;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Page, Paging, Permission, Query, Routes, Segment, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Operation";
    let manage = Permission::OperationsManage;
    crate::http::routes()
        .get(
            "/api/v1/parked",
            manage,
            list,
            doc(tag, "Keys whose records could not be decided")
                .more("A bug of the program at one record parks its key: later records of it wait behind it, in order.")
                .query::<ParkedQuery>()
                .lists::<ParkedAnswer>()
                .reads(),
        )
        .post(
            "/api/v1/parked/{key}/retry",
            manage,
            retry,
            doc(tag, "Decide the records of a key again").enters("parked_key", "retry")
                .more("What fails again is parked again.")
                .written::<ParkedAnswer>(),
        )
        .post(
            "/api/v1/parked/{key}/discard",
            manage,
            discard,
            doc(tag, "Give up the records of a key that are parked now").enters("parked_key", "discard")
                .more("They are not counted. Their originals stay in the log as long as it keeps them.")
                .written::<ParkedAnswer>(),
        )
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ParkedQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A parked key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ParkedAnswer {
    /// Its name in paths: unit and key.
    #[schema(example = "member-3.17")]
    pub key: String,
    /// The unit that could not decide.
    pub unit: String,
    /// The member whose records they are; null: of no member.
    pub member: Option<String>,
    /// Records that wait.
    pub records: usize,
    /// Where the first of them stands in the unit's input.
    pub first: String,
    /// Parked keys at which a unit stops.
    pub keys_max: usize,
}

async fn list(
    State(shared): State<Shared>,
    Query(query): Query<ParkedQuery>,
) -> Result<Json<Page<ParkedAnswer>>, ApiError> {
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    let all = all(&shared)?.into_iter().map(|(_, _, answer)| answer);
    Page::slice(all.collect(), &paging).map(Json)
}

async fn retry(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Written<ParkedAnswer>, ApiError> {
    let (unit, key, answer) = one(&shared, &name)?;
    tracing::info!(
        by = caller.name,
        key = name,
        "parked records are tried again"
    );
    shared.platform().node().retry_parked(unit, Some(key));
    Ok(Written::changed(shared.token(), answer))
}

async fn discard(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Written<ParkedAnswer>, ApiError> {
    let (unit, key, answer) = one(&shared, &name)?;
    tracing::warn!(by = caller.name, key = name, "parked records discarded");
    let record = Control::Unpark { unit, key };
    let token = shared.platform().publish(&record).await?;
    Ok(Written::changed(token, answer))
}

fn one(shared: &Shared, name: &str) -> Result<(Unit, u64, ParkedAnswer), ApiError> {
    let found = all(shared)?
        .into_iter()
        .find(|(_, _, answer)| answer.key == name);
    found.ok_or_else(|| ApiError::not_found("parked key"))
}

/// All parked keys: a unit stops long before there are many.
fn all(shared: &Shared) -> Result<Vec<(Unit, u64, ParkedAnswer)>, ApiError> {
    let rows = shared.snapshot()?;
    let mut found: Vec<(Unit, u64, ParkedAnswer)> = Vec::new();
    for unit in shared.platform().units().into_keys() {
        for (key, at) in parked(&rows, unit, None)? {
            match found.last_mut() {
                Some((of, last, answer)) if (*of, *last) == (unit, key) => answer.records += 1,
                _ => found.push((
                    unit,
                    key,
                    ParkedAnswer {
                        key: format!("{unit}.{key}"),
                        unit: unit.to_string(),
                        member: member(unit, key),
                        records: 1,
                        first: format!("{} ({})", at.position, at.index),
                        keys_max: PARKED_KEYS_MAX,
                    },
                )),
            }
        }
    }
    Ok(found)
}

/// Member units park by member; records without a key stand under the largest number.
fn member(unit: Unit, key: u64) -> Option<String> {
    let number = u32::try_from(key).ok()?;
    (unit.kind == UnitKind::Member).then(|| MemberId(MemberNo(number)).to_string())
}
