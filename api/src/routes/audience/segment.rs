//! What a segment comes to: how many are in it, who, and which version of its rule is at work.

use actors::machine::Rows;
use actors::model::{MemberId, MemberNo, SegmentId};
use axum::Json;
use axum::extract::State;
use cdp::profile::concluded::{Membership, decode};
use cdp::profile::row;
use pipelines::audience::{Sees, book::SEGMENT};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::PositionsAnswer;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::{cursor, cursor_form};
use crate::http::{Caller, Page, Paging, Permission, Query, Routes, Segment, doc};

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes()
        .get(
            "/api/v1/segments/{id}/members",
            Permission::MembersRead,
            members,
            doc(tag, "Members of a segment")
                .more("In the order of their numbers: whoever enters later never shifts what comes behind a cursor.")
                .query::<MembersQuery>()
                .lists::<SegmentMember>()
                .sees(Sees::Segments),
        )
        .get(
            "/api/v1/segments/{id}/count",
            Permission::MembersRead,
            count,
            doc(tag, "How many are in a segment now")
                .answers::<SegmentCount>()
                .sees(Sees::Segments),
        )
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MembersQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A member of a segment.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentMember {
    /// Its id.
    pub id: String,
    /// Since when it is in; null for the moment until its timeline shows it.
    pub since: Option<String>,
    /// The version of the rule by which it entered.
    pub version: Option<u32>,
}

/// A segment of another brand does not exist for the caller. One that the audience has not heard of yet is asked for where
/// it is kept.
pub async fn sees(shared: &Shared, caller: &Caller, id: u32) -> Result<(), ApiError> {
    match shared.audience().kept(SegmentId(id)) {
        Some(kept) if caller.scope.sees(kept.brand) => Ok(()),
        Some(_) => Err(ApiError::not_found("segment")),
        None => {
            let registry = shared.registry();
            let found = registry.resource_get(&caller.scope, SEGMENT, id.into());
            Ok(found.await.map(|_| ())?)
        }
    }
}

async fn members(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
    Query(query): Query<MembersQuery>,
) -> Result<Json<Page<SegmentMember>>, ApiError> {
    sees(&shared, &caller, id).await?;
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    let limit = paging.limit()?;
    let after = match paging.cursor()? {
        None => None,
        Some(bytes) => {
            let bytes: [u8; 4] = bytes.try_into().map_err(|_| cursor_form())?;
            Some(MemberNo(u32::from_be_bytes(bytes)))
        }
    };
    let brands = caller.scope.brands;
    let mut numbers = shared
        .ask(move |audience| audience.segment_members(&brands, SegmentId(id), after, limit + 1))
        .await?;
    let more = numbers.len() > limit;
    numbers.truncate(limit);
    let snapshot = shared.snapshot()?;
    let mut items = Vec::with_capacity(numbers.len());
    for number in &numbers {
        let held = snapshot.get(row::MEMBERSHIPS, &row::concluded_key(*number, id))?;
        let held: Option<Membership> = held.as_deref().map(decode).transpose()?;
        items.push(SegmentMember {
            id: MemberId(*number).to_string(),
            since: held.map(|held| held.since.rfc3339()),
            version: held.map(|held| held.version),
        });
    }
    let last = numbers.last().filter(|_| more);
    Ok(Json(Page {
        items,
        next_cursor: last.map(|last| cursor(&last.0.to_be_bytes())),
    }))
}

/// How many are in a segment.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentCount {
    /// Members; null while it is computed for the first time. Right after a start, and while a new rule is computed, it is
    /// the result from before.
    pub count: Option<u64>,
    /// The version of the rule that is at work; null if it is not computed since the start.
    pub version: Option<u32>,
    /// The version of a rule that is being computed.
    pub building: Option<u32>,
    /// The version of a rule whose computing was broken off.
    pub cancelled: Option<u32>,
    /// The count is exact at these positions; null while it is not: right after a start, or while much is looked at again.
    pub positions: Option<PositionsAnswer>,
    /// And at this instant.
    pub at: String,
}

async fn count(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
) -> Result<Json<SegmentCount>, ApiError> {
    sees(&shared, &caller, id).await?;
    let brands = caller.scope.brands;
    let now = shared
        .ask(move |audience| audience.segment(&brands, SegmentId(id)))
        .await?;
    Ok(Json(SegmentCount {
        count: now.count,
        version: now.version,
        building: now.building,
        cancelled: now.cancelled,
        positions: now.position.map(PositionsAnswer::from),
        at: now.at.rfc3339(),
    }))
}
