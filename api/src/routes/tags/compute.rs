//! Computing a tag when somebody asks.

use actors::registry::Act;
use axum::extract::State;
use cdp::tag::{TagDefinition, Update};
use serde_json::json;

use super::Tag;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Permission, Routes, Segment, Written, doc};
use crate::jobs::JobView;
use crate::resource::load;
use crate::tags::{Detail, KIND};

/// The routes of this topic.
pub fn routes() -> Routes {
    crate::http::routes().post(
        "/api/v1/tags/{id}/compute",
        Permission::TagsWrite,
        compute,
        doc("Tags", "Compute a tag now")
            .more(
                "For tags that are computed on a schedule or when somebody asks; `{id}` is the tag's code. The job is at \
                 `/api/v1/jobs/{id}`: it tells how far it is, and takes `cancel`; members keep what they have until it is \
                 done. Jobs are done one after the other.",
            )
            .answers::<Written<JobView>>(),
    )
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
        by: caller.name.clone(),
        brand: item.brand,
        action: "compute".into(),
        kind: "tag".into(),
        item: item.id.to_string(),
        detail: format!("job {}", job.id),
    };
    shared.registry().audit(&act, shared.now()).await?;
    Ok(Written::created(shared.token(), job))
}
