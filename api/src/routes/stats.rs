//! Figures of the installation, and how far each unit is.

use std::collections::BTreeMap;

use actors::model::Currency;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::members::view::amount;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Page, Permission, Routes, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Figures";
    crate::http::routes()
        .get(
            "/api/v1/stats",
            Permission::StatsRead,
            stats,
            doc(tag, "Figures of the installation")
                .more("Of the whole installation: a key that sees some brands only gets 403.")
                .answers::<StatsAnswer>()
                .reads(),
        )
        .get(
            "/api/v1/stats/shards",
            Permission::StatsRead,
            shards,
            doc(tag, "How far each unit is").lists::<UnitAnswer>(),
        )
}

/// Figures of the installation.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsAnswer {
    /// Events that were acknowledged, duplicates and rejected ones included.
    pub received: u64,
    /// Events applied to members and to items, each once.
    pub applied: i64,
    /// Events dropped because their message id was known.
    pub duplicates: i64,
    /// Events that could not be taken.
    pub dead_letters: i64,
    /// Acknowledged records that identity has not consumed yet; members apply what it sends a moment later.
    pub lag: u64,
    /// Members.
    pub members: i64,
    /// Visitors: known by a device or an anonymous identifier only.
    pub visitors: i64,
    /// Identifiers that were left out of a merge.
    pub conflicts: i64,
    /// Orders.
    pub orders: i64,
    /// Of these, cancelled.
    pub orders_cancelled: i64,
    /// Of these, without a person.
    pub orders_without_person: i64,
    /// Sum of order amounts by currency, in main units.
    #[schema(example = json!({"CNY": "12345.60"}))]
    pub order_amount: BTreeMap<String, String>,
    /// Every counter by name: `applied` is events that members took, `identified` those that identity has sent to them,
    /// `items_told` what was told of items.
    pub counters: BTreeMap<String, i64>,
}

/// How far a unit is.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnitAnswer {
    /// Its name: `identity`, `member-0` …
    pub unit: String,
    /// Next offset of its input by log partition.
    pub consumed: BTreeMap<String, u64>,
    /// Batches committed.
    pub batches: u64,
    /// Why it stands still, if it does.
    pub stopped: Option<String>,
}

async fn stats(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<Json<StatsAnswer>, ApiError> {
    if caller.scope.brands != actors::model::BrandSet::All {
        let message = "figures are of the whole installation, this key sees some brands only";
        return Err(ApiError::new("permission_missing", message));
    }
    let stats = shared.platform().stats()?;
    let order_amount = stats.order_amount.iter().map(|(code, minor)| {
        let text = match code.parse::<Currency>() {
            Ok(currency) => amount(currency, *minor),
            Err(_) => minor.to_string(),
        };
        (code.clone(), text)
    });
    Ok(Json(StatsAnswer {
        order_amount: order_amount.collect(),
        received: stats.received,
        applied: stats.applied,
        duplicates: stats.duplicates,
        dead_letters: stats.dead_letters,
        lag: stats.lag,
        members: stats.members,
        visitors: stats.visitors,
        conflicts: stats.conflicts,
        orders: stats.orders,
        orders_cancelled: stats.orders_cancelled,
        orders_without_person: stats.orders_without_person,
        counters: stats.counters,
    }))
}

async fn shards(State(shared): State<Shared>, _: Caller) -> Json<Page<UnitAnswer>> {
    let items = shared
        .platform()
        .units()
        .into_iter()
        .map(|(unit, progress)| UnitAnswer {
            unit: unit.to_string(),
            consumed: progress
                .consumed
                .iter()
                .map(|(partition, offset)| (partition.to_string(), offset.0))
                .collect(),
            batches: progress.batches,
            stopped: progress.stopped,
        })
        .collect();
    Json(Page {
        items,
        next_cursor: None,
    })
}
