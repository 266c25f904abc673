//! Segments: rules, and the sets of members that satisfy them.
//!
//! What a segment's members are is the audience's matter; here is what people write. An edited rule is computed while the
//! old one serves: `building` and `serving_version` tell.

mod exports;

use actors::registry::{ResourceKind, Word};
use axum::Json;
use axum::extract::State;
use pipelines::dictionary::SEGMENT;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Permission, Routes, Segment as Number, doc};
use crate::names;
use crate::resource::{
    Answer, Checked, ColumnSpec, ColumnType, Context, Draft, Paths, Resource, answer,
    routes as resource_routes,
};

/// The routes of this topic.
pub fn routes() -> Routes {
    resource_routes::<Segment>().post(
        "/api/v1/segments/{id}/rebuild",
        Permission::SegmentsWrite,
        rebuild,
        doc(Segment::TAG, "Compute a segment whose computing was broken off").enters("segment", "rebuild")
            .more("What is at work goes on until the newest rule is computed. A segment that lacks nothing stays as it is.")
            .answers::<Answer<SegmentBody>>(),
    )
    .and(exports::routes())
}

async fn rebuild(
    State(shared): State<Shared>,
    caller: Caller,
    Number(id): Number<i64>,
) -> Result<Json<Answer<SegmentBody>>, ApiError> {
    let registry = shared.registry();
    let item = registry.resource_get(&caller.scope, SEGMENT, id).await?;
    registry
        .resource_cancelled(&caller.scope, SEGMENT, id, item.body_version, false)
        .await?;
    shared.audience().look();
    let item = registry.resource_get(&caller.scope, SEGMENT, id).await?;
    Ok(Json(answer::<Segment>(&item)?))
}

/// Segments.
pub enum Segment {}

/// What a segment says.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentBody {
    /// Who is in it: a rule in JSON.
    #[schema(value_type = Object, example = json!({"attr": "city", "op": "eq", "value": "上海"}))]
    pub rule: Value,
    /// When it is computed.
    #[serde(default)]
    #[schema(inline)]
    pub update: Update,
}

/// When members enter and leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// As events arrive.
    #[default]
    RealTime,
    /// When somebody asks.
    Manual,
}

impl Resource for Segment {
    type Body = SegmentBody;

    const KIND: ResourceKind = SEGMENT;
    const PATHS: Paths = crate::paths!("/api/v1/segments");
    const TAG: &'static str = "Segments";
    const READ: Permission = Permission::SegmentsRead;
    const WRITE: Permission = Permission::SegmentsWrite;
    const COLUMNS: &'static [ColumnSpec] = &[ColumnSpec {
        name: "update",
        of: ColumnType::Text,
    }];
    const BUILT: bool = true;

    async fn check(
        context: &Context<'_>,
        mut draft: Draft<'_, SegmentBody>,
    ) -> Result<Checked<SegmentBody>, ApiError> {
        let names = context.names(draft.common.brand).await?;
        let this = draft.id.map(|id| id.to_string());
        let rule = names::check(&names, "rule", &draft.body.rule, this.as_deref())?;
        names::owned("rule", draft.common.brand, &rule.plan)?;
        draft.body.rule = rule.json;
        let update = match draft.body.update {
            Update::RealTime => "real_time",
            Update::Manual => "manual",
        };
        Ok(Checked {
            body: draft.body,
            fields: vec![("update", Word::Text(update.to_owned()))],
            search: Vec::new(),
            uses: rule.uses,
        })
    }
}
