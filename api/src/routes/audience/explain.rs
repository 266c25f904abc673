//! Why a member is in or out, clause by clause, now or as it was known at a past time.

use actors::model::{BrandId, BrandSet, MemberId, MemberNo, SegmentId, Time};
use axum::Json;
use axum::extract::State;
use cdp::rule::Plan;
use pipelines::audience::Sees;
use pipelines::audience::person::{Person, Question};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::compile;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, Permission, Query, Routes, Segment, doc};
use crate::routes::members::by_id;
use crate::routes::members::events::instant;

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes()
        .get(
            "/api/v1/members/{id}/explain",
            Permission::MembersRead,
            segment,
            doc(tag, "Why a member is in or out of a segment")
                .more(
                    "Clause by clause: what was asked and what was found. With `at` it is what had been received by then: \
                     events that came later count in `late` only. Who belongs together is today's. A key that sees some brands only \
                     is told by the facts that it sees; `member_of` is what the segment's owner concluded.",
                )
                .query::<ExplainQuery>()
                .answers::<ExplainAnswer>()
                .sees(Sees::Memberships),
        )
        .post(
            "/api/v1/members/{id}/explain",
            Permission::MembersRead,
            rule,
            doc(tag, "Why a member satisfies a rule or does not").changes_nothing()
                .body::<ExplainInput>()
                .answers::<ExplainAnswer>()
                .sees(Sees::Memberships),
        )
}

/// Which segment, as of when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExplainQuery {
    /// The segment.
    segment: u32,
    /// As of when: RFC 3339; now when left out.
    at: Option<String>,
}

/// Which rule, as of when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainInput {
    /// A rule in JSON, or its text form.
    #[schema(value_type = Object)]
    pub rule: Value,
    /// As of when: RFC 3339; now when left out.
    pub at: Option<String>,
}

/// Why.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainAnswer {
    /// The member of today.
    pub member: String,
    /// The segment, if one was asked about.
    pub segment: Option<u32>,
    /// The version of its rule that is explained.
    pub version: Option<u32>,
    /// Whether the rule holds.
    pub holds: bool,
    /// Whether the member holds a membership: it follows a moment later, and lasts while a new rule is computed.
    pub member_of: Option<bool>,
    /// As of when.
    pub at: String,
    /// Events that the rule asks about and that were received after that.
    pub late: u64,
    /// As of results below this offset.
    pub position: u64,
    /// The rule's clauses: `place`, `rule` (its text), `holds`, `asked` and `found` in both languages, `value`, `events`,
    /// `until` (when the clock alone may change it), `clauses` inside.
    #[schema(value_type = Object)]
    pub explanation: Value,
}

async fn segment(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<ExplainAnswer>, ApiError> {
    let kept = shared.audience().kept(SegmentId(query.segment));
    let kept = kept.filter(|kept| caller.scope.sees(kept.brand));
    let kept = kept.ok_or_else(|| ApiError::not_found("segment"))?;
    let then = instant(query.at.as_deref(), "at")?;
    let mut answer = explain(
        shared,
        caller,
        id,
        (*kept.plan).clone(),
        then,
        Some(kept.id),
        kept.brand,
    )
    .await?;
    answer.segment = Some(kept.id.0);
    answer.version = Some(kept.version);
    Ok(Json(answer))
}

async fn rule(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    Input(input): Input<ExplainInput>,
) -> Result<Json<ExplainAnswer>, ApiError> {
    let plan = compile(&shared, &caller, &input.rule).await?;
    let then = instant(input.at.as_deref(), "at")?;
    explain(shared, caller, id, plan, then, None, BrandId::default())
        .await
        .map(Json)
}

async fn explain(
    shared: Shared,
    caller: Caller,
    id: String,
    plan: Plan,
    then: Option<Time>,
    segment: Option<SegmentId>,
    owner: BrandId,
) -> Result<ExplainAnswer, ApiError> {
    if then.is_some() && caller.scope.brands != BrandSet::All {
        let message = "what was known then is kept for all brands together: ask without `at`";
        return Err(ApiError::new("permission_missing", message).field("at"));
    }
    let snapshot = shared.snapshot()?;
    let MemberNo(number) = by_id(&shared, &snapshot, &caller.scope, &id)?.member;
    let (_, schema) = shared.attributes(&snapshot)?;
    let hidden = plan.reads().into_iter().find_map(|read| match read {
        cdp::rule::Read::Attribute(name) if schema.class(name) > caller.scope.fields => Some(name),
        _ => None,
    });
    if let Some(name) = hidden {
        let message = format!("this key may not see values of `{name}`");
        return Err(ApiError::new("permission_missing", message));
    }
    let lists = shared
        .audience()
        .lists_of(&snapshot, MemberNo(number), &[&plan])
        .await?;
    let now = then.unwrap_or_else(|| shared.now());
    let mut scope = caller.scope;
    if owner != BrandId::default() {
        // A brand's segment is of what the brand sees, whoever asks.
        scope.brands = BrandSet::Only(vec![owner]);
    }
    shared
        .clone()
        .ask(move |audience| {
            let codes = audience.codes();
            let question = Question {
                rows: &snapshot,
                history: &**audience.history(),
                schema: &schema,
                zone: audience.zone(),
                codes: &codes,
                scope: &scope,
                then,
            };
            let member = MemberNo(number);
            let person = Person::read(&question, member, lists, &[&plan])?;
            let told = cdp::rule::explain(&plan, &person, &(), now, audience.zone());
            let member_of =
                segment.map(|segment| cdp::rule::Facts::in_segment(&person, &segment.to_string()));
            Ok(ExplainAnswer {
                member: MemberId(member).to_string(),
                segment: None,
                version: None,
                holds: told.holds,
                member_of,
                at: now.rfc3339(),
                late: person.late,
                position: snapshot.at().map_or(0, |at| at.0 + 1),
                explanation: serde_json::to_value(&told).unwrap_or_default(),
            })
        })
        .await
}
