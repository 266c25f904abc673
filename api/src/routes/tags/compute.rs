//! Computing a tag when somebody asks.

use actors::registry::Act;
use axum::Json;
use axum::extract::State;
use cdp::tag::{TagDefinition, Update};
use pipelines::dictionary::TAG;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Tag;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Permission, Routes, Segment, Written, doc};
use crate::jobs::JobView;
use crate::resource::{Answer, answer, computed, load};
use crate::tags::{Detail, KIND};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tags = crate::http::routes().post(
        "/api/v1/tags/{id}/rebuild",
        Permission::TagsWrite,
        rebuild,
        doc("Tags", "Compute a tag whose computing was broken off").enters("tag", "rebuild")
            .more(
                "A tag is `cancelled` once reading the history that its rules ask about was stopped: members keep what they \
                 had. A tag that lacks nothing stays as it is; one that is computed on a schedule or when somebody asks waits \
                 for that.",
            )
            .answers::<Answer<TagDefinition>>(),
    );
    let tags = tags.get(
        "/api/v1/tags/{id}/cuts",
        Permission::TagsRead,
        cuts,
        doc("Tags", "What the last run of an RFM tag by quantiles was cut at")
            .more(
                "The greatest time of the last order, number of orders and sum of amounts of each group but the last; a member \
                 with more is in a higher group. Cuts are taken whenever the tag is computed, and stay until it is computed \
                 again; the tag's own answer has them too (`computed`).",
            )
            .answers::<CutsAnswer>(),
    );
    tags.post(
        "/api/v1/tags/{id}/compute",
        Permission::TagsWrite,
        compute,
        doc("Tags", "Compute a tag now").enters_itself()
            .more(
                "For tags that are computed on a schedule or when somebody asks; `{id}` is the tag's code. The job is at \
                 `/api/v1/jobs/{id}`: it tells how far it is, and takes `cancel`; members keep what they have until it is \
                 done. Jobs are done one after the other.",
            )
            .written::<JobView>(),
    )
}

/// What the scores of an RFM tag by quantiles were cut at.
#[derive(Debug, Serialize, ToSchema)]
pub struct CutsAnswer {
    /// `last_order`, `frequency`, `monetary`: ascending; `members` with an order in the window; `at`: when they were taken.
    /// Nothing before the first run.
    #[schema(value_type = Option<Object>)]
    pub cuts: Option<Value>,
}

async fn cuts(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(code): Segment<String>,
) -> Result<Json<CutsAnswer>, ApiError> {
    let item = load::<Tag>(&shared, &caller, &code).await?;
    let found = computed(&item);
    Ok(Json(CutsAnswer {
        cuts: found.and_then(|mut found| found.get_mut("cuts").map(Value::take)),
    }))
}

async fn rebuild(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(code): Segment<String>,
) -> Result<Json<Answer<TagDefinition>>, ApiError> {
    let item = load::<Tag>(&shared, &caller, &code).await?;
    let registry = shared.registry();
    registry
        .resource_cancelled(&caller.scope, TAG, item.id, item.body_version, false)
        .await?;
    shared.audience().look();
    let item = load::<Tag>(&shared, &caller, &code).await?;
    Ok(Json(answer::<Tag>(&item)?))
}

async fn compute(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(code): Segment<String>,
) -> Result<Written<JobView>, ApiError> {
    let item = load::<Tag>(&shared, &caller, &code).await?;
    if !super::members::writes(&caller, &item) {
        return Err(ApiError::new("denied", "the tag belongs to the group"));
    }
    let definition: TagDefinition = serde_json::from_str(&item.body)
        .map_err(|_| ApiError::new("internal", "the server could not do this"))?;
    let refusal = if definition.calculation.by_hand() {
        Some("this tag is given by hand: there is nothing to compute")
    } else if definition.update == Update::RealTime && !item.building() {
        Some("this tag is computed in real time: it is up to date by itself")
    } else if item.state != "enabled" {
        Some("this tag is switched off: enable it first")
    } else {
        None
    };
    if let Some(message) = refusal {
        return Err(ApiError::new("tag_not_computed", message));
    }
    // What was broken off is asked for again.
    let registry = shared.registry();
    let scope = &caller.scope;
    registry
        .resource_cancelled(scope, TAG, item.id, item.body_version, false)
        .await?;
    let detail = json!(Detail {
        tag: u32::try_from(item.id).unwrap_or(u32::MAX),
    });
    let job = shared
        .jobs
        .enqueue(KIND, item.code.clone(), detail, shared.now())
        .map_err(|error| {
            tracing::error!(%error, "a job cannot be kept");
            ApiError::new("unavailable", "the job cannot be kept now")
        })?;
    let act = Act {
        detail: format!("job {}", job.id),
        ..caller.act("tag", "compute", item.id, item.brand)
    };
    shared.registry().audit(&act, shared.now()).await?;
    Ok(Written::created(shared.token(), job))
}
