//! Taking identifiers out of a member, and letting them join again.

use actors::model::{Identifier, MemberId};
use axum::extract::State;
use cdp::control::{Control, Regroup};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, Permission, RequestId, Routes, Segment, Written, doc};

/// Identifiers in one command: more than a member can have.
const IDENTIFIERS_MAX: usize = 200;

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes()
        .post(
            "/api/v1/members/{id}/unmerge",
            Permission::MembersWrite,
            unmerge,
            doc(tag, "Take identifiers out of a member").enters("member", "unmerge")
                .more(
                    "Each event then belongs to the member that its own identifiers resolve to, facts are recomputed, and \
                     the pair does not merge again by itself.",
                )
                .body::<RegroupInput>()
                .written::<RegroupAnswer>()
                .writes(),
        )
        .post(
            "/api/v1/members/{id}/rejoin",
            Permission::MembersWrite,
            rejoin,
            doc(tag, "Let identifiers that were taken out join again").enters("member", "rejoin")
                .body::<RegroupInput>()
                .written::<RegroupAnswer>()
                .writes(),
        )
}

/// Which identifiers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegroupInput {
    /// Written `kind[@scope]:value`.
    #[schema(example = json!(["phone:13800000000"]), min_items = 1, max_items = 200)]
    pub identifiers: Vec<String>,
    /// Why, for those who look later.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegroupAnswer {
    /// The members that it concerns: the one asked for first.
    pub members: Vec<String>,
}

async fn unmerge(
    state: State<Shared>,
    caller: Caller,
    id: Segment<String>,
    request: RequestId,
    input: Input<RegroupInput>,
) -> Result<Written<RegroupAnswer>, ApiError> {
    regroup(state, caller, id, request, input, Control::Unmerge).await
}

async fn rejoin(
    state: State<Shared>,
    caller: Caller,
    id: Segment<String>,
    request: RequestId,
    input: Input<RegroupInput>,
) -> Result<Written<RegroupAnswer>, ApiError> {
    regroup(state, caller, id, request, input, Control::Rejoin).await
}

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 500;

async fn regroup(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    RequestId(request): RequestId,
    Input(input): Input<RegroupInput>,
    control: fn(Regroup) -> Control,
) -> Result<Written<RegroupAnswer>, ApiError> {
    let count = input.identifiers.len();
    if !(1..=IDENTIFIERS_MAX).contains(&count) {
        let message = format!("{count} identifiers, allowed are 1 to {IDENTIFIERS_MAX}");
        return Err(ApiError::new("body_invalid", message).field("identifiers"));
    }
    if input.reason.chars().count() > REASON_CHARS_MAX {
        let message = format!("the reason is longer than {REASON_CHARS_MAX} characters");
        return Err(ApiError::new("body_invalid", message).field("reason"));
    }
    let mut identifiers = Vec::with_capacity(count);
    for (index, text) in input.identifiers.iter().enumerate() {
        let identifier: Identifier = text.parse().map_err(|error| {
            ApiError::new("identifier_form", format!("{error}"))
                .field(format!("identifiers[{index}]"))
        })?;
        identifiers.push(identifier);
    }
    let member = {
        let snapshot = shared.snapshot()?;
        super::by_id(&shared, &snapshot, &caller.scope, &id)?.member
    };
    let request = caller.request(&request);
    let command = control(Regroup {
        request: request.clone(),
        member,
        identifiers,
        by: caller.name.as_str().into(),
        reason: input.reason.into(),
    });
    let (token, members) = shared.command(command, &request).await?;
    let members = members.iter().map(|no| MemberId(*no).to_string()).collect();
    Ok(Written::changed(token, RegroupAnswer { members }))
}
