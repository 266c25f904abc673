//! Why two identifiers are one member.

use axum::Json;
use axum::extract::State;
use cdp::identity::{explain, row};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::view::identifier;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Permission, Query, Routes, Segment, doc};

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes().get(
        "/api/v1/members/{id}/explain-link",
        Permission::MembersRead,
        get,
        doc(tag, "Why two identifiers are one member")
            .more("The shortest path of events that named two identifiers together, from `from` to `to`.")
            .query::<LinkQuery>()
            .answers::<LinkAnswer>()
            .reads(),
    )
}

/// Which two.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LinkQuery {
    /// `kind[@scope]:value`.
    from: String,
    /// `kind[@scope]:value`.
    to: String,
}

/// The path.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkAnswer {
    /// Whether both belong to this member.
    pub linked: bool,
    /// Steps in order; empty if both are the same identifier, or not linked.
    pub path: Vec<StepAnswer>,
}

/// An event that named both.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepAnswer {
    /// From this identifier.
    pub from: Option<String>,
    /// To this one.
    pub to: Option<String>,
    /// Position of the first event that named them together.
    pub event: String,
    /// Its source.
    pub source: u32,
    /// When it was received.
    pub time: String,
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    Query(query): Query<LinkQuery>,
) -> Result<Json<LinkAnswer>, ApiError> {
    let snapshot = shared.snapshot()?;
    let found = super::by_id(&shared, &snapshot, &caller.scope, &id)?;
    let mut numbers = Vec::with_capacity(2);
    for (field, text) in [("from", &query.from), ("to", &query.to)] {
        let normal =
            super::normal_identifier(&snapshot, text).map_err(|error| error.field(field))?;
        let number = row::ident_of(&snapshot, &normal)?;
        let mine = match number {
            Some(number) => row::member_of(&snapshot, number)? == Some(found.member),
            None => false,
        };
        match number {
            Some(number) if mine => numbers.push(number),
            _ => {
                return Ok(Json(LinkAnswer {
                    linked: false,
                    path: Vec::new(),
                }));
            }
        }
    }
    let steps = explain::explain(&snapshot, numbers[0], numbers[1])?;
    let linked = steps.is_some();
    let mut path = Vec::new();
    for step in steps.unwrap_or_default() {
        let text = |ident| -> Result<Option<String>, ApiError> {
            let answer = identifier(&snapshot, &caller.scope, ident)?;
            Ok(answer.map(|answer| answer.identifier))
        };
        path.push(StepAnswer {
            from: text(step.from)?,
            to: text(step.to)?,
            event: step.cause.to_string(),
            source: step.source.0,
            time: step.time.rfc3339(),
        });
    }
    Ok(Json(LinkAnswer { linked, path }))
}
