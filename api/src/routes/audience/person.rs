//! Member 360: everything about one member in one answer.

use actors::machine::Rows;
use actors::model::{FieldClass, MemberNo, Scope, SegmentId, TagId};
use axum::Json;
use axum::extract::State;
use cdp::profile::concluded::{memberships, tags};
use cdp::profile::view::mask;
use pipelines::audience::Sees;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Permission, Routes, Segment, doc};
use crate::routes::members::by_id;
use crate::routes::members::events::{EventAnswer, latest};
use crate::routes::members::view::MemberAnswer;

/// Events shown.
const EVENTS_SHOWN: usize = 20;

/// The routes of this topic.
pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes().get(
        "/api/v1/members/{id}/360",
        Permission::MembersRead,
        get,
        doc(tag, "Member 360")
            .more(
                "Who the member is, attributes, orders in sum, tags, segments, and the latest of the timeline. More of each \
                 is at the member's own paths.",
            )
            .answers::<PersonAnswer>()
            .sees(Sees::Memberships),
    )
}

/// Everything about one member.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonAnswer {
    /// Identifiers, attributes, what was seen, orders in sum.
    #[serde(flatten)]
    pub member: MemberAnswer,
    /// Tags that it has.
    pub tags: Vec<TagHeld>,
    /// Segments that it is in.
    pub segments: Vec<SegmentHeld>,
    /// The latest events and changes.
    pub recent: Vec<EventAnswer>,
}

/// A tag of a member.
#[derive(Debug, Serialize, ToSchema)]
pub struct TagHeld {
    /// Its number.
    pub id: u32,
    /// Its code; empty if it is no longer defined.
    pub code: String,
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Value,
    /// Since when.
    pub since: String,
}

/// A segment of a member.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentHeld {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Since when.
    pub since: String,
    /// The version of the rule by which it entered.
    pub version: u32,
    /// It entered because the rule was edited or computed for the first time.
    pub rebuilt: bool,
    /// Its rule is being computed, because it was edited or the server has started: this is what held before.
    pub building: bool,
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Json<PersonAnswer>, ApiError> {
    let scope = &caller.scope;
    let snapshot = shared.snapshot()?;
    let found = by_id(&shared, &snapshot, scope, &id)?;
    let member = found.member;
    let held_tags = tags_held(&shared, &snapshot, scope, member)?;
    let segments = segments_held(&shared, &snapshot, scope, member)?;
    let answer = MemberAnswer::of(&shared, &snapshot, scope, found)?;
    let recent = latest(&shared, snapshot, scope, member, EVENTS_SHOWN).await?;
    Ok(Json(PersonAnswer {
        member: answer,
        tags: held_tags,
        segments,
        recent,
    }))
}

/// Tags of a member, as the scope may see them.
pub fn tags_held(
    shared: &Shared,
    rows: &dyn Rows,
    scope: &Scope,
    member: MemberNo,
) -> Result<Vec<TagHeld>, ApiError> {
    let book = shared.audience().names();
    let personal = scope.fields >= FieldClass::P2;
    let mut held_tags = Vec::new();
    for (TagId(id), held) in tags(rows, member)? {
        let Some(tag) = book.tags.get(&TagId(id)).filter(|it| scope.sees(it.brand)) else {
            continue;
        };
        let value = match personal {
            true => held.value,
            false => mask(&held.value),
        };
        held_tags.push(TagHeld {
            id,
            code: tag.code.to_string(),
            name: tag.name.to_string(),
            value: value.to_json(),
            since: held.since.rfc3339(),
        });
    }
    Ok(held_tags)
}

/// Segments that a member is in, as far as the scope sees them.
pub fn segments_held(
    shared: &Shared,
    rows: &dyn Rows,
    scope: &Scope,
    member: MemberNo,
) -> Result<Vec<SegmentHeld>, ApiError> {
    let book = shared.audience().names();
    let building = shared.audience().building();
    let mut segments = Vec::new();
    for (SegmentId(id), held) in memberships(rows, member)? {
        let named = book.segments.get(&SegmentId(id));
        let Some(segment) = named.filter(|it| scope.sees(it.brand)) else {
            continue;
        };
        segments.push(SegmentHeld {
            id,
            name: segment.name.to_string(),
            since: held.since.rfc3339(),
            version: held.version,
            rebuilt: held.rebuilt,
            building: building.contains(&SegmentId(id)),
        });
    }
    Ok(segments)
}
