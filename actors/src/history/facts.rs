//! An event as rules read it: its properties, and beside them what it says of an order.

use std::borrow::Cow;
use std::fmt::Write;

use super::{HistoryEvent, HistoryOrder};
use crate::model::{BrandId, Currency, Money, OrderLine, OrderStatus, decimal};

/// Under this name rules find what an event says of an order: `order.total`, `order.status`, `order.lines.sku`. It takes the
/// place of a property of that name.
pub const ORDER: &str = "order";

impl<'a> HistoryEvent<'a> {
    /// The text of a JSON object: the properties, and under [`ORDER`] the order facts, amounts in main units. `None`: there
    /// is neither. Both columns have to be asked for.
    pub fn facts(&self) -> Option<Cow<'a, str>> {
        let Some(order) = &self.order else {
            return self.properties.map(Cow::Borrowed);
        };
        let properties = self.properties.unwrap_or("{}").trim_ascii_end();
        let open = properties.strip_suffix('}').unwrap_or("{").trim_ascii_end();
        let mut text = String::with_capacity(open.len() + 128 + order.lines_json().len());
        text.push_str(open);
        if !open.ends_with('{') {
            text.push(',');
        }
        write!(text, "\"{ORDER}\":").expect("a text takes everything");
        order.write(self.brand, &mut text);
        text.push('}');
        Some(Cow::Owned(text))
    }
}

/// What rules see of an order: the members of the object under [`ORDER`].
#[derive(Debug, Clone, Copy)]
pub struct OrderFacts<'a> {
    /// The order's id, unique within `shop`.
    pub order_id: &'a str,
    /// Where the id is unique.
    pub shop: &'a str,
    /// Whose it is.
    pub brand: BrandId,
    /// Currency of all amounts.
    pub currency: Currency,
    /// Status, if known.
    pub status: Option<OrderStatus>,
    /// Total in the smallest unit, if known.
    pub total: Option<i64>,
    /// Lines.
    pub lines: &'a [OrderLine],
}

impl OrderFacts<'_> {
    /// The text of a JSON object with these facts under [`ORDER`], amounts in main units.
    pub fn to_json(&self) -> String {
        let mut text = format!("{{\"{ORDER}\":");
        self.write(&mut text);
        text.push('}');
        text
    }

    fn write(&self, out: &mut String) {
        let money = |minor| Money {
            minor,
            currency: self.currency,
        };
        let mut write = |part: std::fmt::Arguments<'_>| {
            out.write_fmt(part).expect("a text takes everything");
        };
        write(format_args!(
            r#"{{"order_id":{},"shop":{},"brand":{},"currency":"{}""#,
            quoted(self.order_id),
            quoted(self.shop),
            self.brand.0,
            self.currency
        ));
        if let Some(status) = self.status {
            write(format_args!(r#","status":"{}""#, status.as_str()));
        }
        if let Some(total) = self.total {
            write(format_args!(r#","total":{}"#, money(total)));
        }
        for (at, line) in self.lines.iter().enumerate() {
            let OrderLine {
                line_id,
                sku,
                name,
                quantity_milli,
                unit_price,
                amount,
            } = line;
            write(format_args!(
                r#"{}{{"line_id":{},"sku":{},"name":{},"quantity":{},"unit_price":{},"amount":{}}}"#,
                if at == 0 { r#","lines":["# } else { "," },
                quoted(line_id),
                quoted(sku),
                quoted(name),
                decimal(*quantity_milli, 3),
                decimal(unit_price.0, 6),
                money(*amount),
            ));
        }
        out.push_str(if self.lines.is_empty() { "}" } else { "]}" });
    }
}

impl HistoryOrder<'_> {
    fn write(&self, brand: BrandId, out: &mut String) {
        let facts = OrderFacts {
            order_id: self.order_id,
            shop: self.shop,
            brand,
            currency: self.currency,
            status: self.status,
            total: self.total,
            lines: &self.lines().unwrap_or_default(),
        };
        facts.write(out);
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Columns, OwnedEvent, OwnedOrder};
    use super::*;
    use crate::machine::RecordAt;
    use crate::model::{IdentNo, OrderStatus, Time, UnitPrice};

    fn facts(properties: Option<&str>, order: Option<OwnedOrder>) -> Option<Value> {
        let mut event = OwnedEvent::new(IdentNo(1), RecordAt::default(), Time(0), "Order Paid");
        event.properties = properties.map(Into::into);
        event.order = order;
        let mut scratch = Vec::new();
        let facts = event.lend(Columns::FACTS, &mut scratch).facts()?;
        Some(serde_json::from_str(&facts).unwrap())
    }

    fn order(lines: &[OrderLine]) -> OwnedOrder {
        OwnedOrder {
            order: IdentNo(2),
            holder: IdentNo(1),
            order_id: r#"O"1"#.into(),
            shop: "tmall".into(),
            status: Some(OrderStatus::Paid),
            currency: "CNY".parse().unwrap(),
            total: Some(-1_250),
            lines: match lines {
                [] => "".into(),
                lines => serde_json::to_string(lines).unwrap().into(),
            },
        }
    }

    #[test]
    fn an_order_stands_beside_the_properties() {
        let plain = json!({"order_id": "O\"1", "shop": "tmall", "brand": 1, "currency": "CNY", "status": "paid", "total": -12.5});
        assert_eq!(facts(None, None), None);
        assert_eq!(facts(Some(r#"{"a":1}"#), None), Some(json!({"a": 1})));
        assert_eq!(facts(None, Some(order(&[]))), Some(json!({"order": plain})));
        for properties in [r#"{"a":1}"#, " { \"a\" : 1 } "] {
            let found = facts(Some(properties), Some(order(&[])));
            assert_eq!(found, Some(json!({"a": 1, "order": plain})), "{properties}");
        }
        assert_eq!(
            facts(Some("{ }"), Some(order(&[]))),
            Some(json!({"order": plain}))
        );
        let line = OrderLine {
            line_id: "1".into(),
            sku: "S\u{1}".into(),
            name: "奶".into(),
            quantity_milli: -1_500,
            unit_price: UnitPrice(3_330_000),
            amount: -500,
        };
        let found = facts(None, Some(order(&[line.clone(), line]))).unwrap();
        let line = json!({"line_id": "1", "sku": "S\u{1}", "name": "奶", "quantity": -1.5, "unit_price": 3.33, "amount": -5.0});
        assert_eq!(found["order"]["lines"], json!([line, line]));
    }
}
