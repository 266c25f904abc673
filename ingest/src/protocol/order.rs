//! Orders: amounts, lines, and the e-commerce events of Segment's specification.
//!
//! Amounts come in main units (`12.50`) and become integers of the smallest unit, each rounded once, half away from zero.

use std::borrow::Cow;

use actors::model::{Currency, OrderChange, OrderLine, OrderStatus, UnitPrice};

use super::{id_text, unknown, wrong_type};
use crate::json::{self, Value};
use crate::{RawRecord, Reject, RejectCode, limits, number};

/// Statuses by their words.
const STATUSES: [(&str, OrderStatus); 6] = [
    ("created", OrderStatus::Created),
    ("paid", OrderStatus::Paid),
    ("shipped", OrderStatus::Shipped),
    ("completed", OrderStatus::Completed),
    ("refunded", OrderStatus::Refunded),
    ("cancelled", OrderStatus::Cancelled),
];

pub(crate) const STATUS_WORDS: &str = "created, paid, shipped, completed, refunded, cancelled";

/// A status from its word.
pub(crate) fn status(word: &str) -> Option<OrderStatus> {
    STATUSES
        .iter()
        .find(|(known, _)| *known == word)
        .map(|(_, status)| *status)
}

/// The e-commerce events that say something of an order: name and the status that they mean.
const COMMERCE: [(&str, Option<OrderStatus>); 4] = [
    ("Order Completed", Some(OrderStatus::Completed)),
    ("Order Updated", None),
    ("Order Refunded", Some(OrderStatus::Refunded)),
    ("Order Cancelled", Some(OrderStatus::Cancelled)),
];

/// Whether a track event of this name may be an order.
pub(crate) fn is_commerce(name: &str) -> bool {
    commerce(name).is_some()
}

fn commerce(name: &str) -> Option<Option<OrderStatus>> {
    COMMERCE
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, status)| *status)
}

/// The order of a track event. One without `order_id` cannot be told from others: it stays a plain track event.
/// `Order Refunded` says what was given back, not what the order is worth: only its status is taken.
pub(crate) fn from_commerce(
    record: &RawRecord,
    name: &str,
    properties: &str,
) -> Result<Option<OrderChange>, Reject> {
    let Some(meant) = commerce(name) else {
        return Ok(None);
    };
    let (mut id, mut shop, mut said, mut currency) = ("", "", "", "");
    let (mut total, mut revenue, mut value, mut products) = ("", "", "", "");
    for (name, raw) in json::members(properties) {
        let slot = match &*name {
            "order_id" | "orderId" => &mut id,
            "shop" => &mut shop,
            "status" => &mut said,
            "currency" => &mut currency,
            "total" => &mut total,
            "revenue" => &mut revenue,
            "value" => &mut value,
            "products" => &mut products,
            _ => continue,
        };
        *slot = raw;
    }
    let Some(order_id) = id_text(id, "properties.order_id")? else {
        return Ok(None);
    };
    let currency = currency_of(record, currency, "properties.currency")?;
    let refund = meant == Some(OrderStatus::Refunded);
    let mut change = OrderChange {
        order_id: bounded(&order_id, "properties.order_id")?,
        shop: shop_of(record, shop, "properties.shop")?,
        status: match json::read(said) {
            Value::Text(word) => status(&word.to_ascii_lowercase()).filter(|_| meant.is_none()),
            _ => None,
        }
        .or(meant),
        currency,
        total: None,
        lines: Vec::new(),
    };
    if refund {
        return Ok(Some(change));
    }
    for (raw, field) in [
        (total, "properties.total"),
        (revenue, "properties.revenue"),
        (value, "properties.value"),
    ] {
        if change.total.is_none() {
            change.total = amount(raw, currency, field)?;
        }
    }
    match json::read(products) {
        Value::Array(list) => {
            for (at, product) in json::items(list).enumerate() {
                change.lines.push(product_line(product, at, currency)?);
            }
        }
        Value::Null => {}
        _ => return Err(wrong_type("properties.products", "a list")),
    }
    Ok(Some(change))
}

fn product_line(product: &str, at: usize, currency: Currency) -> Result<OrderLine, Reject> {
    let field = format!("properties.products[{at}]");
    if !product.starts_with('{') {
        return Err(wrong_type(field, "an object"));
    }
    let mut parts = LineParts::default();
    let mut product_id = "";
    for (name, raw) in json::members(product) {
        match &*name {
            "product_id" | "productId" => product_id = raw,
            other => {
                if let Some(slot) = parts.slot(match other {
                    "price" => "unit_price",
                    other => other,
                }) {
                    *slot = raw;
                }
            }
        }
    }
    if matches!(parts.sku, "" | "null" | "\"\"") {
        parts.sku = product_id;
    }
    // Segment's products state no amount of their own.
    parts.amount = "";
    parts.line(at, currency, &field)
}

/// The order of our own JSON. `strict`: a field that we do not know is a mistake.
pub(crate) fn from_own(
    record: &RawRecord,
    order: &str,
    field: &str,
    strict: bool,
) -> Result<OrderChange, Reject> {
    let (mut id, mut shop, mut said, mut currency, mut total, mut lines) = ("", "", "", "", "", "");
    for (name, raw) in json::members(order) {
        let slot = match &*name {
            "order_id" => &mut id,
            "shop" => &mut shop,
            "status" => &mut said,
            "currency" => &mut currency,
            "total" => &mut total,
            "lines" => &mut lines,
            _ if strict => {
                return Err(unknown(
                    format!("{field}.{name}"),
                    "order_id, shop, status, currency, total, lines",
                ));
            }
            _ => continue,
        };
        *slot = raw;
    }
    let id_field = format!("{field}.order_id");
    let order_id = id_text(id, &id_field)?.ok_or_else(|| {
        Reject::at(
            RejectCode::FieldMissing,
            &*id_field,
            "an order needs `order_id`",
        )
    })?;
    let currency = currency_of(record, currency, &format!("{field}.currency"))?;
    let status_field = format!("{field}.status");
    let status = match json::read(said) {
        Value::Null => None,
        Value::Text(word) if word.is_empty() => None,
        Value::Text(word) => Some(status(&word).ok_or_else(|| {
            Reject::at(
                RejectCode::WordUnknown,
                &*status_field,
                format!("`{word}` is no status of an order; known are {STATUS_WORDS}"),
            )
        })?),
        _ => return Err(wrong_type(status_field, "text")),
    };
    let mut change = OrderChange {
        order_id: bounded(&order_id, &id_field)?,
        shop: shop_of(record, shop, &format!("{field}.shop"))?,
        status,
        currency,
        total: amount(total, currency, &format!("{field}.total"))?,
        lines: Vec::new(),
    };
    match json::read(lines) {
        Value::Null => {}
        Value::Array(list) => {
            for (at, line) in json::items(list).enumerate() {
                let field = format!("{field}.lines[{at}]");
                if !line.starts_with('{') {
                    return Err(wrong_type(field, "an object"));
                }
                let mut parts = LineParts::default();
                for (name, raw) in json::members(line) {
                    match parts.slot(&name) {
                        Some(slot) => *slot = raw,
                        None => {
                            return Err(unknown(
                                format!("{field}.{name}"),
                                "line_id, sku, name, quantity, unit_price, amount",
                            ));
                        }
                    }
                }
                change.lines.push(parts.line(at, currency, &field)?);
            }
        }
        _ => return Err(wrong_type(format!("{field}.lines"), "a list")),
    }
    Ok(change)
}

/// The members of a line as they stand there.
#[derive(Default)]
struct LineParts<'a> {
    line_id: &'a str,
    sku: &'a str,
    name: &'a str,
    quantity: &'a str,
    unit_price: &'a str,
    amount: &'a str,
}

impl<'a> LineParts<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut &'a str> {
        Some(match name {
            "line_id" => &mut self.line_id,
            "sku" => &mut self.sku,
            "name" => &mut self.name,
            "quantity" => &mut self.quantity,
            "unit_price" => &mut self.unit_price,
            "amount" => &mut self.amount,
            _ => return None,
        })
    }

    /// The line. Without an id of its own it is its place in the list, from 1; without a quantity it is one piece.
    fn line(&self, at: usize, currency: Currency, field: &str) -> Result<OrderLine, Reject> {
        let part = |name: &str| format!("{field}.{name}");
        let line_id = match id_text(self.line_id, &part("line_id"))? {
            Some(id) => bounded(&id, &part("line_id"))?,
            None => (at + 1).to_string().into(),
        };
        let quantity_milli = decimal(self.quantity, 3, &part("quantity"))?.unwrap_or(1000);
        let unit_price = decimal(self.unit_price, 6, &part("unit_price"))?.unwrap_or(0);
        let amount = match amount(self.amount, currency, &part("amount"))? {
            Some(amount) => amount,
            None => line_amount(quantity_milli, unit_price, currency)
                .filter(|amount| amount.abs() <= limits::AMOUNT_MAX)
                .ok_or_else(|| {
                    Reject::at(
                        RejectCode::Amount,
                        field,
                        "quantity times unit price is too large",
                    )
                })?,
        };
        let name = match json::read(self.name) {
            Value::Text(name) => name,
            _ => Cow::Borrowed(""),
        };
        Ok(OrderLine {
            line_id,
            sku: id_text(self.sku, &part("sku"))?.unwrap_or_default().into(),
            name: name.into(),
            quantity_milli,
            unit_price: UnitPrice(unit_price),
            amount,
        })
    }
}

/// Quantity (thousandths) times unit price (millionths) in the smallest unit, rounded once, half away from zero.
pub(crate) fn line_amount(quantity_milli: i64, unit_price: i64, currency: Currency) -> Option<i64> {
    let product = i128::from(quantity_milli) * i128::from(unit_price);
    let step = 10i128.pow(9 - currency.exponent());
    let half = if product < 0 { -step / 2 } else { step / 2 };
    i64::try_from((product + half) / step).ok()
}

/// An amount of main units in the smallest unit, if there is one.
fn amount(raw: &str, currency: Currency, field: &str) -> Result<Option<i64>, Reject> {
    match decimal(raw, currency.exponent(), field)? {
        Some(amount) if amount.abs() > limits::AMOUNT_MAX => Err(too_large(field)),
        amount => Ok(amount),
    }
}

fn too_large(field: &str) -> Reject {
    Reject::at(
        RejectCode::Amount,
        field,
        "this amount is too large to be one",
    )
}

/// A decimal number, written as number or text, scaled by 10^`places`, if there is one.
fn decimal(raw: &str, places: u32, field: &str) -> Result<Option<i64>, Reject> {
    let value = json::read(raw);
    let text = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => number,
        Value::Text(text) => text.trim(),
        _ => return Err(wrong_type(field, "a decimal number")),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match number::scaled(text, places) {
        Some(scaled) => Ok(Some(scaled)),
        None => Err(Reject::at(
            RejectCode::Amount,
            field,
            "this is no decimal number, or it is too large",
        )),
    }
}

fn currency_of(record: &RawRecord, raw: &str, field: &str) -> Result<Currency, Reject> {
    match json::read(raw) {
        Value::Null => Ok(record.orders.currency),
        Value::Text(code) if code.is_empty() => Ok(record.orders.currency),
        Value::Text(code) => code.parse().map_err(|error: actors::model::MoneyError| {
            Reject::at(RejectCode::Currency, field, error.to_string())
        }),
        _ => Err(wrong_type(field, "an ISO 4217 code")),
    }
}

/// Where the order id is unique: as said, or the source's shop, or its id space.
fn shop_of(record: &RawRecord, raw: &str, field: &str) -> Result<Box<str>, Reject> {
    match id_text(raw, field)? {
        Some(shop) => bounded(&shop, field),
        None if record.orders.shop.is_empty() => Ok(record.id_space.to_string().into()),
        None => Ok(record.orders.shop.clone()),
    }
}

/// An id that must fit where identifiers fit.
fn bounded(id: &str, field: &str) -> Result<Box<str>, Reject> {
    let max = actors::model::Identifier::TEXT_BYTES_MAX;
    if id.len() > max {
        return Err(Reject::at(
            RejectCode::IdentifierForm,
            field,
            format!("longer than {max} bytes"),
        ));
    }
    Ok(id.into())
}
