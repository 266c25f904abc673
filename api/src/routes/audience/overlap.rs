//! How segments overlap: every region of up to five of them.

use std::sync::Arc;

use actors::model::{BrandSet, SegmentId};
use axum::Json;
use axum::extract::State;
use cdp::rule::Plan;
use pipelines::audience::Sees;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PositionsAnswer;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, Permission, Routes, doc};

/// Segments of one question: more regions than thirty-one nobody reads.
const SEGMENTS_MAX: usize = 5;

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes().post(
        "/api/v1/segments/overlap",
        Permission::MembersRead,
        overlap,
        doc(tag, "How two to five segments overlap")
            .changes_nothing()
            .more("Unions, intersections and differences are sums of the regions.")
            .body::<OverlapInput>()
            .answers::<OverlapAnswer>()
            .sees(Sees::Segments),
    )
}

/// Which segments.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverlapInput {
    /// Their numbers, two to five.
    pub segments: Vec<u32>,
}

/// How they overlap.
#[derive(Debug, Serialize, ToSchema)]
pub struct OverlapAnswer {
    /// Members of each segment, in the order asked for.
    pub counts: Vec<u64>,
    /// Members of at least one.
    pub union: u64,
    /// Members of all.
    pub intersection: u64,
    /// Members who are in exactly these segments; regions with nobody are left out.
    pub regions: Vec<RegionAnswer>,
    /// Exact at these positions.
    pub positions: PositionsAnswer,
    /// And at this instant.
    pub at: String,
}

/// Members who are in exactly these segments.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegionAnswer {
    /// The segments.
    pub segments: Vec<u32>,
    /// Members.
    pub count: u64,
}

async fn overlap(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<OverlapInput>,
) -> Result<Json<OverlapAnswer>, ApiError> {
    let asked = input.segments;
    let mut sorted = asked.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if !(2..=SEGMENTS_MAX).contains(&asked.len()) || sorted.len() < asked.len() {
        let message = format!("name two to {SEGMENTS_MAX} different segments");
        return Err(ApiError::new("body_invalid", message).field("segments"));
    }
    let mut plans = Vec::with_capacity(asked.len());
    for id in &asked {
        let kept = shared.audience().kept(SegmentId(*id));
        let kept = kept.filter(|kept| caller.scope.sees(kept.brand));
        let kept = kept.ok_or_else(|| ApiError::not_found("segment"))?;
        plans.push(match caller.scope.brands {
            BrandSet::All if kept.plan.brands.is_none() => kept.plan,
            // Who is in it was concluded by its owner, of all that the owner knows.
            _ => Arc::new(Plan::of_segment(&id.to_string())),
        });
    }
    let brands = caller.scope.brands;
    let (counts, position, at) = shared
        .ask(move |audience| {
            let plans: Vec<_> = plans.iter().map(|plan| &**plan).collect();
            audience.overlap(&brands, &plans)
        })
        .await?;
    let of = |mask: usize| -> Vec<u32> {
        let inside = asked.iter().enumerate();
        inside
            .filter(|(at, _)| mask >> at & 1 == 1)
            .map(|(_, id)| *id)
            .collect()
    };
    let sum = |holds: &dyn Fn(usize) -> bool| -> u64 {
        let regions = counts.iter().enumerate().skip(1);
        regions
            .filter(|(mask, _)| holds(*mask))
            .map(|it| *it.1)
            .sum()
    };
    let all = (1usize << asked.len()) - 1;
    Ok(Json(OverlapAnswer {
        counts: (0..asked.len())
            .map(|at| sum(&|mask| mask >> at & 1 == 1))
            .collect(),
        union: sum(&|_| true),
        intersection: sum(&|mask| mask == all),
        regions: (counts.iter().enumerate().skip(1))
            .filter(|(_, count)| **count > 0)
            .map(|(mask, count)| RegionAnswer {
                segments: of(mask),
                count: *count,
            })
            .collect(),
        positions: position.into(),
        at: at.rfc3339(),
    }))
}
