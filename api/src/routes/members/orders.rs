//! Orders of a member.

use actors::model::{MemberNo, Scope, UnitPrice, decimal};
use axum::Json;
use axum::extract::State;
use cdp::profile::view::{OrderView, is_order_cursor, order_page};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::view::amount;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::cursor_form;
use crate::http::{Caller, Page, Paging, Permission, Query, Routes, Segment, doc};

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes().get(
        "/api/v1/members/{id}/orders",
        Permission::MembersRead,
        list,
        doc(tag, "Orders of a member, newest first")
            .query::<OrdersQuery>()
            .lists::<OrderAnswer>()
            .reads(),
    )
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OrdersQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// An order.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderAnswer {
    /// Its id, unique within the shop.
    pub order_id: String,
    /// The shop.
    pub shop: String,
    /// When it was placed.
    pub time: String,
    /// `created paid shipped completed refunded cancelled`, if told.
    pub status: Option<String>,
    /// Since when.
    pub status_time: Option<String>,
    /// Currency of all amounts.
    pub currency: String,
    /// Total in main units: as told, otherwise the sum of the lines.
    pub total: String,
    /// Brand.
    pub brand: u32,
    /// Source of its earliest event.
    pub source: u32,
    /// Told by test sources only: not in counts.
    pub test: bool,
    /// Lines.
    pub lines: Vec<LineAnswer>,
}

/// A line of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineAnswer {
    /// Unique within the order.
    pub line_id: String,
    /// Product code.
    pub sku: String,
    /// Product name.
    pub name: String,
    /// Quantity as decimal text; negative for returns.
    pub quantity: String,
    /// Price of one unit in main units.
    pub unit_price: String,
    /// Amount in main units.
    pub amount: String,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    Query(query): Query<OrdersQuery>,
) -> Result<Json<Page<OrderAnswer>>, ApiError> {
    let snapshot = shared.snapshot()?;
    let found = super::by_id(&shared, &snapshot, &caller.scope, &id)?;
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    if let Some(cursor) = &paging.cursor
        && !is_order_cursor(cursor)
    {
        return Err(cursor_form());
    }
    let page = order_page(
        &snapshot,
        found.member,
        &caller.scope,
        paging.limit()?,
        paging.cursor.as_deref(),
    )?;
    Ok(Json(Page {
        items: page.items.iter().map(answer).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// A page of all orders, newest first.
pub fn page(
    shared: &Shared,
    scope: &Scope,
    member: MemberNo,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<OrderAnswer>, ApiError> {
    let snapshot = shared.snapshot()?;
    let page = order_page(&snapshot, member, scope, limit, cursor)?;
    Ok(Page {
        items: page.items.iter().map(answer).collect(),
        next_cursor: page.next_cursor,
    })
}

fn answer(order: &OrderView) -> OrderAnswer {
    let head = &order.facts.head;
    let currency = head.currency.1;
    let total = head.told_total.map_or(head.lines_total, |(_, total)| total);
    OrderAnswer {
        order_id: head.order_id.to_string(),
        shop: head.shop.to_string(),
        time: head.time().rfc3339(),
        status: head.status.map(|(_, status)| word(&status)),
        status_time: head.status.map(|(since, _)| since.rfc3339()),
        currency: currency.to_string(),
        total: amount(currency, total),
        brand: head.brand.0,
        source: head.source.0,
        test: head.test,
        lines: order
            .facts
            .lines
            .iter()
            .map(|line| LineAnswer {
                line_id: line.line.line_id.to_string(),
                sku: line.line.sku.to_string(),
                name: line.line.name.to_string(),
                quantity: decimal(line.line.quantity_milli, 3),
                unit_price: price(line.line.unit_price),
                amount: amount(currency, line.line.amount),
            })
            .collect(),
    }
}

/// The word in JSON of an enum without fields.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn price(price: UnitPrice) -> String {
    decimal(price.0, 6)
}
