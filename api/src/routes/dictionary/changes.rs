//! What has changed: of one event, and of all names.

use actors::model::BrandId;
use axum::Json;
use axum::extract::State;
use cdp::dictionary::{Drift, Entry, Status, attribute_drift, drift};
use pipelines::dictionary::{ATTRIBUTE_NAME, EVENT_NAME};
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::{self, DriftAnswer};
use super::{Said, said};
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::Paging;
use crate::http::{Caller, Page, Query};

/// Which changes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DriftQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only of this event.
    event: Option<String>,
    /// Only of this attribute.
    attribute: Option<String>,
    /// Only `type_changed`, `type_unexpected`, `new_property`, `stopped`, `volume_fell` or `volume_rose`; several by comma.
    #[param(example = "stopped,volume_fell")]
    kind: Option<String>,
}

/// Changes of one event.
pub fn changes(shared: &Shared, entry: &Entry, known: Option<&Said>) -> Vec<Drift> {
    let (now, names) = (shared.now(), shared.dictionary());
    let naming = known.map(|said| &said.naming);
    drift(
        entry,
        naming,
        now,
        names.day_of(now),
        &|at| names.day_of(at),
        &|day| names.day_start(day),
    )
}

pub async fn drifts(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<DriftQuery>,
) -> Result<Json<Page<DriftAnswer>>, ApiError> {
    let kinds = answer::kinds(query.kind.as_deref())?;
    let said_events = said(&shared, EVENT_NAME).await?;
    let said_attributes = said(&shared, ATTRIBUTE_NAME).await?;
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    let wanted = |wish: &Option<String>, other: &Option<String>, name: &str| match wish {
        Some(wish) => wish == name,
        None => other.is_none(),
    };
    let blocked = |said: Option<&Said>| said.is_some_and(|said| said.status == Status::Blocked);
    let visible = |brand: BrandId| caller.scope.sees(brand);
    let mut found = Vec::new();
    let catalogue = shared.dictionary().read();
    let names: Vec<&str> = catalogue.events(visible).into_keys().collect();
    for name in names {
        let known = said_events.get(name);
        if !wanted(&query.event, &query.attribute, name) || blocked(known) {
            continue;
        }
        if let Some(entry) = catalogue.event_named(visible, name) {
            let all = changes(&shared, &entry, known);
            found.extend(
                all.iter()
                    .map(|it| (it.since, DriftAnswer::event(name, it))),
            );
        }
    }
    for (name, seen) in catalogue.attributes(visible) {
        let known = said_attributes.get(name);
        if !wanted(&query.attribute, &query.event, name) || blocked(known) {
            continue;
        }
        let defined = schema.get(name).filter(|it| caller.scope.sees(it.brand));
        let expected = answer::expected(defined, known);
        let all = attribute_drift(&seen, expected.as_deref(), shared.now());
        found.extend(
            all.iter()
                .map(|it| (it.since, DriftAnswer::attribute(name, it))),
        );
    }
    drop(catalogue);
    found.retain(|(_, it)| kinds.as_ref().is_none_or(|kinds| kinds.contains(&it.kind)));
    found.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    let items = found.into_iter().map(|(_, it)| it).collect();
    Page::slice(items, &paging).map(Json)
}
