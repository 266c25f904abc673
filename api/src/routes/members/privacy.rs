//! Rights of a person: everything that is known, as a file; and to be forgotten.

use actors::model::MemberId;
use actors::seal::DAY_KEYS_KEPT;
use axum::extract::State;
use cdp::control::{Control, Erase};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, Permission, RequestId, Routes, Segment, Written, doc};

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 500;

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes().post(
        "/api/v1/members/{id}/erase",
        Permission::MembersErase,
        erase,
        doc(tag, "Forget a person")
            .more(
                "Identifiers, attributes, tags, segments and what events said of the person go; amounts, times and names of \
                 events stay, and belong to nobody. It cannot be undone. The same identifier told later is somebody new. \
                 What was received is unreadable after `raw_days` days at the latest, when the keys of those days are \
                 destroyed; backups made before hold their own keys: delete those.",
            )
            .body::<EraseInput>()
            .answers::<Written<EraseAnswer>>()
            .writes(),
    )
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseInput {
    /// For the record of decisions.
    #[schema(max_length = 500, example = "asked by phone")]
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct EraseAnswer {
    /// Who is forgotten.
    pub id: String,
    /// Days after which nothing received about the person can be read any more.
    pub raw_days: u16,
}

async fn erase(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    RequestId(request): RequestId,
    Input(input): Input<EraseInput>,
) -> Result<Written<EraseAnswer>, ApiError> {
    if input.reason.trim().is_empty() || input.reason.chars().count() > REASON_CHARS_MAX {
        let message = format!("a reason of 1 to {REASON_CHARS_MAX} characters is needed");
        return Err(ApiError::new("body_invalid", message).field("reason"));
    }
    let member = {
        let snapshot = shared.snapshot()?;
        super::by_id(&shared, &snapshot, &caller.scope, &id)?.member
    };
    let request = caller.request(&request);
    let command = Control::Erase(Erase {
        request: request.clone(),
        member,
        by: caller.name.as_str().into(),
        reason: input.reason.into(),
    });
    let (token, _) = shared.command(command, &request).await?;
    let answer = EraseAnswer {
        id: MemberId(member).to_string(),
        raw_days: DAY_KEYS_KEPT,
    };
    Ok(Written::changed(token, answer))
}
