//! How many satisfy a rule while somebody edits it, and how their values are spread.

use actors::model::{MemberId, MemberNo};
use axum::Json;
use axum::extract::State;
use cdp::rule::Plan;
use pipelines::audience::Sees;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{PositionsAnswer, compile};
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, Permission, Routes, doc};

/// Members of a sample when the caller does not say.
const SAMPLE_DEFAULT: usize = 10;
/// Most members of a sample.
const SAMPLE_MAX: usize = 100;
/// Values of a distribution.
const VALUES_MAX: usize = 100;

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes()
        .post(
            "/api/v1/segments/preview",
            Permission::MembersRead,
            preview,
            doc(tag, "Count a rule that is being edited").changes_nothing()
                .more(
                    "Exact at the position that is answered. A rule that asks about a past that nobody asked about yet is \
                     answered with `history_building` while it is read: ask again.",
                )
                .body::<PreviewInput>()
                .answers::<PreviewAnswer>()
                .sees(Sees::Counts),
        )
        .post(
            "/api/v1/segments/distribution",
            Permission::MembersRead,
            distribution,
            doc(tag, "How the values of an attribute or tag are spread among those who satisfy a rule").changes_nothing()
                .body::<DistributionInput>()
                .answers::<DistributionAnswer>()
                .sees(Sees::Counts),
        )
}

/// A rule to count.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewInput {
    /// A rule in JSON, or its text form.
    #[schema(value_type = Object, example = json!({"attr": "city", "op": "eq", "value": "上海"}))]
    pub rule: Value,
    /// Members to show, up to 100; 10 when left out.
    pub sample: Option<usize>,
}

/// A count.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewAnswer {
    /// Members who satisfy the rule.
    pub count: u64,
    /// All members.
    pub of: u64,
    /// Members of each clause.
    pub clauses: Vec<ClauseAnswer>,
    /// Some of the members, at random, the same ones for the same state.
    pub sample: Vec<String>,
    /// Exact at these positions.
    pub positions: PositionsAnswer,
    /// And at this instant.
    pub at: String,
    /// How long counting took, without waiting.
    pub took_ms: f64,
}

/// A clause of a rule and who satisfies it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClauseAnswer {
    /// Where it stands in the rule, e.g. `and[1]`; empty: the whole.
    pub place: String,
    /// Members.
    pub count: u64,
}

async fn preview(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<PreviewInput>,
) -> Result<Json<PreviewAnswer>, ApiError> {
    let size = input.sample.unwrap_or(SAMPLE_DEFAULT);
    if size > SAMPLE_MAX {
        let message = format!("sample is {size}, allowed are 0 to {SAMPLE_MAX}");
        return Err(ApiError::new("body_invalid", message).field("sample"));
    }
    let plan = compile(&shared, &caller, &input.rule).await?;
    let places = plan.places.clone();
    let brands = caller.scope.brands;
    let seen = shared
        .ask(move |audience| audience.preview(&brands, &plan, size, 0))
        .await?;
    Ok(Json(PreviewAnswer {
        count: seen.count,
        of: seen.of,
        clauses: (places.iter().zip(&seen.clauses))
            .map(|(place, count)| ClauseAnswer {
                place: place.to_string(),
                count: *count,
            })
            .collect(),
        sample: ids(&seen.sample),
        positions: seen.position.into(),
        at: seen.at.rfc3339(),
        took_ms: seen.took_us as f64 / 1_000.0,
    }))
}

/// Ids of members.
pub fn ids(members: &[MemberNo]) -> Vec<String> {
    let ids = members.iter().map(|member| MemberId(*member).to_string());
    ids.collect()
}

/// Which values among whom.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DistributionInput {
    /// A rule in JSON, or its text form; everybody when left out.
    #[schema(value_type = Option<Object>)]
    pub rule: Option<Value>,
    /// The attribute, or
    pub attribute: Option<String>,
    /// the tag.
    pub tag: Option<String>,
}

/// How values are spread.
#[derive(Debug, Serialize, ToSchema)]
pub struct DistributionAnswer {
    /// The most frequent values and how many members have each, up to 100.
    pub values: Vec<ValueCount>,
    /// How many different values there are.
    pub distinct: u64,
    /// Members with a value.
    pub present: u64,
    /// Members without.
    pub absent: u64,
    /// Exact at these positions.
    pub positions: PositionsAnswer,
}

/// A value and how many have it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValueCount {
    /// The value.
    pub value: Value,
    /// Members.
    pub count: u64,
}

async fn distribution(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<DistributionInput>,
) -> Result<Json<DistributionAnswer>, ApiError> {
    let asked = match (&input.attribute, &input.tag) {
        (Some(attribute), None) => {
            let (_, schema) = shared.attributes(&shared.snapshot()?)?;
            if schema.class(attribute) > caller.scope.fields {
                let message = "this key may not see values of this attribute";
                return Err(ApiError::new("permission_missing", message).field("attribute"));
            }
            json!({"attr": attribute, "op": "exists"})
        }
        (None, Some(tag)) => json!({"tag": tag, "op": "exists"}),
        _ => {
            let message = "name an attribute or a tag, one of them";
            return Err(ApiError::new("body_invalid", message).field("attribute"));
        }
    };
    let rule = input.rule.unwrap_or_else(|| json!({"and": []}));
    let plan = compile(&shared, &caller, &rule).await?;
    let of: Plan = compile(&shared, &caller, &asked).await?;
    let brands = caller.scope.brands;
    let (spread, position, _) = shared
        .ask(move |audience| match of.leaves.first() {
            Some(leaf) => audience.distribution_at(&brands, &plan, leaf, VALUES_MAX),
            None => Ok(Default::default()),
        })
        .await?;
    Ok(Json(DistributionAnswer {
        values: (spread.values.iter())
            .map(|(value, count)| ValueCount {
                value: value.to_json(),
                count: *count,
            })
            .collect(),
        distinct: spread.distinct,
        present: spread.present,
        absent: spread.absent,
        positions: position.into(),
    }))
}
