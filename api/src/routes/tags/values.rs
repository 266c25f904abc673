//! Which values a tag has among members, and how many it covers.

use axum::Json;
use axum::extract::State;
use cdp::rule::Plan;
use pipelines::audience::Sees;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::Tag;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Permission, Query, Routes, Segment, doc};
use crate::resource::{answer, load};
use crate::routes::audience::compile;

/// Values that are shown when the caller does not say.
const VALUES_DEFAULT: usize = 100;
/// Most values that are shown.
const VALUES_MAX: usize = 1_000;

/// The routes of this topic.
pub fn routes() -> Routes {
    crate::http::routes().get(
        "/api/v1/tags/{id}/distribution",
        Permission::MembersRead,
        distribution,
        doc("Tags", "How a tag's values are spread over members")
            .more(
                "Exact at the position that is answered. `{id}` is the tag's code. Of a tag with several values each \
                 counts, so shares add up to more than the coverage. A key that sees some brands only is told of the members \
                 that it sees.",
            )
            .query::<DistributionQuery>()
            .answers::<TagDistribution>()
            .sees(Sees::Segments),
    )
}

/// How much to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DistributionQuery {
    /// Values, 1 to 1,000; 100 when left out.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
}

/// How a tag's values are spread.
#[derive(Debug, Serialize, ToSchema)]
pub struct TagDistribution {
    /// The newest definition is not computed yet: what is told is of the one before, or nothing of a new tag.
    pub building: bool,
    /// The most frequent values.
    pub values: Vec<TagValueShare>,
    /// How many different values there are.
    pub distinct: u64,
    /// All members.
    pub members: u64,
    /// Members with the tag.
    pub present: u64,
    /// Members without.
    pub absent: u64,
    /// `present` of `members`, 0 to 1.
    pub coverage: f64,
    /// As of results below this offset.
    pub position: u64,
    /// As of this instant.
    pub at: String,
}

/// A value and how many have it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TagValueShare {
    /// The value.
    pub value: Value,
    /// Members.
    pub members: u64,
    /// Of all members, 0 to 1.
    pub share: f64,
}

async fn distribution(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(code): Segment<String>,
    Query(query): Query<DistributionQuery>,
) -> Result<Json<TagDistribution>, ApiError> {
    let limit = query.limit.unwrap_or(VALUES_DEFAULT);
    if !(1..=VALUES_MAX).contains(&limit) {
        let message = format!("limit is 1 to {VALUES_MAX}");
        return Err(ApiError::new("parameter_form", message).field("limit"));
    }
    let tag = load::<Tag>(&shared, &caller, &code).await?;
    let building = answer::<Tag>(&tag)?.building.unwrap_or_default();
    let all = compile(&shared, &caller, &json!({"and": []})).await?;
    let of: Plan = compile(&shared, &caller, &json!({"tag": tag.code, "op": "exists"})).await?;
    let brands = caller.scope.brands;
    let (spread, position, at) = shared
        .ask(move |audience| audience.distribution_at(&brands, &all, &of.leaves[0], limit))
        .await?;
    let members = spread.present + spread.absent;
    let share = |count: u64| match members {
        0 => 0.0,
        all => count as f64 / all as f64,
    };
    Ok(Json(TagDistribution {
        building,
        values: (spread.values.iter())
            .map(|(value, count)| TagValueShare {
                value: value.to_json(),
                members: *count,
                share: share(*count),
            })
            .collect(),
        distinct: spread.distinct,
        members,
        present: spread.present,
        absent: spread.absent,
        coverage: share(spread.present),
        position: position.0,
        at: at.rfc3339(),
    }))
}
