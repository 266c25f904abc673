//! A member as JSON. Amounts are decimal texts of the main unit (`"12.50"`), times RFC 3339 in UTC.

use std::collections::BTreeMap;

use actors::machine::Rows;
use actors::model::{
    CONSENT_PREFIX, Currency, FieldClass, IdentNo, Identifier, MemberId, Money, Scope, Time,
};
use cdp::identity::row::{self, IdentRow};
use cdp::profile::Value;
use cdp::profile::view::{OrderSummary, mask};
use serde::Serialize;
use utoipa::ToSchema;

use super::consents::ConsentAnswer;
use super::{Found, Status};
use crate::app::{App, Snapshot};
use crate::error::ApiError;

/// A member at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberAnswer {
    /// Its id, the same for ever.
    #[schema(example = "m1k7x9q2")]
    pub id: String,
    /// Member or visitor.
    pub status: Status,
    /// Known by device or anonymous identifiers only.
    pub visitor: bool,
    /// Facts are on their way from another member: what is shown is not all yet.
    pub merging: bool,
    /// Since when we know this person.
    pub since: String,
    /// Strongest first.
    pub identifiers: Vec<IdentifierAnswer>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, AttributeAnswer>,
    /// What it allows, by brand, channel and purpose.
    pub consents: Vec<ConsentAnswer>,
    /// Event time of the earliest event.
    pub first_seen: Option<String>,
    /// Event time of the latest event.
    pub last_seen: Option<String>,
    /// Events in all.
    pub event_count: u64,
    /// Events by sort.
    pub events: BTreeMap<&'static str, u64>,
    /// Events by source id.
    pub sources: BTreeMap<String, u64>,
    /// Brands with an event or order.
    pub brands: Vec<u32>,
    /// Orders in sum.
    pub orders: OrdersAnswer,
    /// Ids of members that were merged into this one; they still lead here.
    pub absorbed: Vec<String>,
}

/// An identifier and where it comes from.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentifierAnswer {
    /// Text form.
    #[schema(example = "phone:+8613800000000")]
    pub identifier: String,
    /// Kind.
    pub kind: String,
    /// Scope; empty where the kind has none.
    pub scope: String,
    /// Value, normalised.
    pub value: String,
    /// The value is masked.
    pub masked: bool,
    /// When it was first received.
    pub since: String,
    /// The source that brought it.
    pub source: u32,
    /// The brand that brought it.
    pub brand: u32,
    /// Position of the event that brought it.
    pub event: String,
}

/// An attribute's value and where it comes from.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttributeAnswer {
    /// By the attribute's rule.
    pub value: serde_json::Value,
    /// The value is masked.
    pub masked: bool,
    /// The source that told it.
    pub source: u32,
    /// Event time of that telling.
    pub time: String,
    /// How often the attribute was told.
    pub tellings: u32,
}

/// Orders in sum.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrdersAnswer {
    /// All, cancelled ones too.
    pub count: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Lines.
    pub lines: u64,
    /// Totals by currency, cancelled ones too.
    pub amounts: BTreeMap<String, String>,
    /// Of these, of cancelled orders.
    pub amounts_cancelled: BTreeMap<String, String>,
    /// Time of the earliest order.
    pub first: Option<String>,
    /// Time of the latest order.
    pub last: Option<String>,
}

impl MemberAnswer {
    /// What `found` shows to `scope`.
    pub fn of(
        _app: &App,
        snapshot: &Snapshot,
        scope: &Scope,
        found: Found,
    ) -> Result<MemberAnswer, ApiError> {
        let Found {
            member,
            row,
            status,
            view,
        } = found;
        let identifiers = row
            .identifiers
            .iter()
            .map(|ident| identifier(snapshot, scope, *ident))
            .collect::<Result<Vec<_>, _>>()?;
        let shown = view
            .attributes
            .iter()
            .filter(|(name, _)| !name.starts_with(CONSENT_PREFIX));
        let attributes = shown.map(|(name, attribute)| {
            let answer = AttributeAnswer {
                value: attribute.value.to_json(),
                masked: attribute.masked,
                source: attribute.source.0,
                time: attribute.time.rfc3339(),
                tellings: attribute.tellings,
            };
            (name.to_string(), answer)
        });
        Ok(MemberAnswer {
            id: MemberId(member).to_string(),
            status,
            visitor: status == Status::Visitor,
            merging: view.merging,
            since: row.since.rfc3339(),
            identifiers: identifiers.into_iter().flatten().collect(),
            attributes: attributes.collect(),
            consents: view.consents.iter().map(ConsentAnswer::of).collect(),
            first_seen: view.first_seen.map(Time::rfc3339),
            last_seen: view.last_seen.map(Time::rfc3339),
            event_count: view.events.values().sum(),
            events: view
                .events
                .iter()
                .map(|(kind, count)| (kind.as_str(), *count))
                .collect(),
            sources: view
                .sources
                .iter()
                .map(|(source, count)| (source.to_string(), *count))
                .collect(),
            brands: view.brands.iter().map(|brand| brand.0).collect(),
            orders: orders(&view.orders),
            absorbed: row
                .absorbed
                .iter()
                .map(|number| MemberId(*number).to_string())
                .collect(),
        })
    }
}

/// An identifier by its number. `None`: its row is gone.
pub fn identifier(
    rows: &dyn Rows,
    scope: &Scope,
    ident: IdentNo,
) -> Result<Option<IdentifierAnswer>, ApiError> {
    let row = row::get::<IdentRow>(rows, row::IDENT, &row::key32(ident.0))?;
    Ok(row.map(|row| {
        let (shown, masked) = shown(&row.identifier, scope);
        IdentifierAnswer {
            identifier: shown.to_string(),
            kind: shown.kind.into(),
            scope: shown.scope.into(),
            value: shown.value.into(),
            masked,
            since: row.since.rfc3339(),
            source: row.source.0,
            brand: row.brand.0,
            event: row.cause.to_string(),
        }
    }))
}

/// An identifier as the scope may see it, and whether it is masked.
pub fn shown(identifier: &Identifier, scope: &Scope) -> (Identifier, bool) {
    let mut shown = identifier.clone();
    let masked = scope.fields < FieldClass::P2;
    if masked && let Value::Text(text) = mask(&Value::Text(shown.value.clone())) {
        shown.value = text;
    }
    (shown, masked)
}

/// Sums of orders as JSON.
fn orders(sum: &OrderSummary) -> OrdersAnswer {
    OrdersAnswer {
        count: sum.count,
        cancelled: sum.cancelled,
        lines: sum.lines,
        amounts: amounts(&sum.amounts),
        amounts_cancelled: amounts(&sum.amounts_cancelled),
        first: sum.first.map(Time::rfc3339),
        last: sum.last.map(Time::rfc3339),
    }
}

/// Amounts by currency as decimal texts.
fn amounts(sums: &BTreeMap<Currency, i64>) -> BTreeMap<String, String> {
    sums.iter()
        .map(|(currency, minor)| (currency.to_string(), amount(*currency, *minor)))
        .collect()
}

/// An amount as decimal text of the main unit.
pub fn amount(currency: Currency, minor: i64) -> String {
    Money { minor, currency }.to_string()
}
