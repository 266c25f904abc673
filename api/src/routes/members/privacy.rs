//! Rights of a person: everything that is known, as a file; and to be forgotten.

use actors::model::{BrandId, MemberId};
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
        doc(tag, "Forget a person").enters_itself()
            .more(
                "Identifiers, attributes, tags, segments, entries of uploaded lists and what events said of the person go; \
                 amounts, times and names of events stay, and belong to nobody. It cannot be undone. The same identifier \
                 told later is somebody new. What was received is unreadable after `raw_days` days at the latest, when the \
                 keys of those days are destroyed; rejected rows of imports go by then too. Finished files of exports and \
                 uploaded files that wait go at once, whomever they name; files of imports under way when these are done. Not \
                 reached: backups made before, until they are removed (`backups`), objects that were imported or exported, \
                 and what other systems were told.",
            )
            .body::<EraseInput>()
            .written::<EraseAnswer>()
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
    /// What backups that were made before still hold, and for how long.
    #[schema(
        example = "backups made before 2026-11-22T09:00:00Z still hold the person; the newest 14 daily ones are kept"
    )]
    pub backups: String,
}

/// What backups still hold of somebody who is erased now.
fn backups(shared: &Shared) -> String {
    let config = &shared.config;
    let before = format!(
        "backups made before {} still hold this person, with the keys beside them",
        shared.now().rfc3339()
    );
    match (config.backup_daily, config.backups_kept) {
        (true, 0) => format!("{before}; daily ones are never removed (backup.keep is 0)"),
        (true, kept) => format!(
            "{before}; daily ones are gone after {kept} days (backup.keep), others when somebody removes them"
        ),
        (false, _) => format!("{before}, until somebody removes them"),
    }
}

/// Files of exports, and uploads, may show whoever is erased.
async fn forget_files(shared: &Shared) {
    let files = shared.clone();
    let forgotten = tokio::task::spawn_blocking(move || {
        crate::export::worker::forget(&files);
        crate::import::worker::forget(&files);
    });
    if let Err(error) = forgotten.await {
        tracing::error!(%error, "files of exports and uploads could not be removed");
    }
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
    // Before as well: a crash behind the command would leave them until their time is up.
    forget_files(&shared).await;
    let (token, _) = shared.command(command, &request).await?;
    forget_files(&shared).await;
    // Without the reason: it may be personal, and this cannot be erased.
    let act = caller.act("member", "erase", MemberId(member), BrandId(0));
    shared.registry().audit(&act, shared.now()).await?;
    let answer = EraseAnswer {
        id: MemberId(member).to_string(),
        raw_days: shared.config.day_keys.days_kept,
        backups: backups(&shared),
    };
    Ok(Written::changed(token, answer))
}
