//! Orders of a member, newest first.

use std::cmp::Reverse;

use actors::machine::{Rows, RowsError};
use actors::model::{IdentNo, MemberNo, Scope, Time};

use super::scan;
use crate::profile::order::{Order, OrderHead};
use crate::profile::row;

/// One order of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderView {
    /// Its identifier number.
    pub order: IdentNo,
    /// The fragment that holds it.
    pub holder: IdentNo,
    /// Header and lines.
    pub facts: Order,
}

/// A page of orders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderPage {
    /// Newest first.
    pub items: Vec<OrderView>,
    /// Where the next page begins; `None`: this was the last.
    pub next_cursor: Option<String>,
}

/// Orders by their time, newest first. Heads of all orders are read, lines only of those shown.
///
/// A cursor that is not ours begins at the top; [`is_order_cursor`] tells before.
pub fn order_page(
    rows: &dyn Rows,
    member: MemberNo,
    scope: &Scope,
    limit: usize,
    cursor: Option<&str>,
) -> Result<OrderPage, RowsError> {
    let after = cursor.and_then(read_cursor);
    let mut found: Vec<(Reverse<Time>, IdentNo, IdentNo)> = Vec::new();
    scan(
        rows,
        row::ORDERS,
        &row::member_front(member),
        |key, value| {
            let head = OrderHead::decode(value)?;
            if let (Some((_, holder)), Some(order)) = (row::whose(key), row::order_of(key)) {
                let place = (Reverse(head.time()), order, holder);
                if scope.sees(head.brand)
                    && after.is_none_or(|(time, order)| (place.0, place.1) > (Reverse(time), order))
                {
                    found.push(place);
                }
            }
            Ok(true)
        },
    )?;
    found.sort_unstable();
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = match found.last() {
        Some((Reverse(time), order, _)) if more => Some(format!("{:x}-{:x}", time.0, order.0)),
        _ => None,
    };
    let mut items = Vec::with_capacity(found.len());
    for (_, order, holder) in found {
        let row = rows.get(row::ORDERS, &row::order_key(member, holder, order))?;
        if let Some(row) = row {
            items.push(OrderView {
                order,
                holder,
                facts: Order::decode(&row)?,
            });
        }
    }
    Ok(OrderPage { items, next_cursor })
}

/// Whether a text is a cursor of [`order_page`].
pub fn is_order_cursor(text: &str) -> bool {
    read_cursor(text).is_some()
}

fn read_cursor(text: &str) -> Option<(Time, IdentNo)> {
    let (time, order) = text.split_once('-')?;
    // `{:x}` writes negative numbers as two's complement.
    let time = u64::from_str_radix(time, 16).ok()? as i64;
    Some((Time(time), IdentNo(u32::from_str_radix(order, 16).ok()?)))
}
