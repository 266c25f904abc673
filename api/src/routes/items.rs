//! Items: things of a catalogue that sources described (`item_set` of 神策 SDKs).

use actors::machine::Rows;
use actors::model::BrandId;
use axum::Json;
use axum::extract::State;
use cdp::item::{self, ItemRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::{Paging, cursor, cursor_form};
use crate::http::{Caller, Page, Permission, Query, Routes, doc};

/// Rows that one page reads at most: removed ones and those of brands that the caller does not see are passed over.
const READS_MAX: usize = 10_000;

/// The routes of this topic.
pub fn routes() -> Routes {
    crate::http::routes().get(
        "/api/v1/items",
        Permission::StatsRead,
        list,
        doc("Items", "Things of a catalogue, by brand, type and id")
            .more("As sources described them last, by event time; removed ones are left out.")
            .query::<ItemQuery>()
            .lists::<ItemAnswer>()
            .reads(),
    )
}

/// Which items.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ItemQuery {
    /// Only this brand's; 0: those of the group.
    brand: Option<u32>,
    /// Only of this type; needs `brand`.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A thing of a catalogue.
#[derive(Debug, Serialize, ToSchema)]
struct ItemAnswer {
    /// The brand whose source described it; 0: the group.
    brand: u32,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// Its id.
    id: String,
    /// What was told of it.
    properties: Value,
    /// When that was told.
    time: String,
    /// The source that told it.
    source: u32,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ItemQuery>,
) -> Result<Json<Page<ItemAnswer>>, ApiError> {
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    let limit = paging.limit()?;
    let prefix = match (query.brand, &query.kind) {
        (Some(brand), kind) => item::prefix(BrandId(brand), kind.as_deref()),
        (None, None) => Vec::new(),
        (None, Some(_)) => {
            let error = ApiError::new("parameter_form", "`type` needs `brand`");
            return Err(error.field("type"));
        }
    };
    let from = paging.cursor()?.unwrap_or_default();
    if !from.is_empty() && !from.starts_with(&prefix) {
        return Err(cursor_form());
    }
    let snapshot = shared.snapshot()?;
    let rows: &dyn Rows = &snapshot;
    let mut items = Vec::new();
    let (mut reads, mut next_cursor, mut failed) = (0, None, None);
    rows.scan_from(item::SPACE, &prefix, &from, &mut |key, value| {
        reads += 1;
        if items.len() == limit || reads > READS_MAX {
            next_cursor = Some(cursor(key));
            return false;
        }
        let Some(brand) = item::brand_of(key).filter(|brand| caller.scope.sees(*brand)) else {
            return true;
        };
        match ItemRow::decode(value) {
            Ok(row) if row.removed => {}
            Ok(row) => items.push(answer(brand, &row)),
            Err(error) => failed = Some(error),
        }
        failed.is_none()
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(Json(Page { items, next_cursor })),
    }
}

fn answer(brand: BrandId, row: &ItemRow) -> ItemAnswer {
    ItemAnswer {
        brand: brand.0,
        kind: row.item_type.to_string(),
        id: row.item_id.to_string(),
        properties: Value::Object(
            row.properties
                .as_ref()
                .map(|json| json.parse())
                .unwrap_or_default(),
        ),
        time: row.time.rfc3339(),
        source: row.source.0,
    }
}
