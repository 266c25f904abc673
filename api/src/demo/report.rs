//! What the demo says on the terminal: where to look, and how the answers compare with the truth.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::DemoOptions;
use super::audience::Made;
use super::check::Judged;
use super::fill::Filled;
use super::truth::{OrderTotals, Truth};

/// What came of a filling.
#[derive(Debug, Clone)]
pub struct Report {
    /// Where the server listens, as a URL.
    pub url: String,
    /// The key that may do everything.
    pub admin_key: String,
    /// How the sending went.
    pub filled: Filled,
    /// From the last acknowledgement until everything was applied.
    pub applied_after: Duration,
    /// Messages that repeated an earlier one.
    pub repeats: u64,
    /// People who said who they are.
    pub people: usize,
    /// What orders add up to in truth.
    pub orders: OrderTotals,
    /// What the platform says of the same.
    pub said: Said,
    /// How well members agree with people.
    pub judged: Judged,
    /// Segments that were made of it.
    pub segments: Vec<Made>,
}

/// What `GET /api/v1/stats` says; `None` where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// Members.
    pub members: Option<i64>,
    /// Visitors.
    pub visitors: Option<i64>,
    /// Orders.
    pub orders: Option<i64>,
    /// Orders called off.
    pub orders_cancelled: Option<i64>,
    /// Orders that named nobody.
    pub orders_without_person: Option<i64>,
    /// Sum of all orders in fen.
    pub order_amount: Option<i64>,
    /// Events dropped because their message id was known.
    pub duplicates: Option<i64>,
    /// Events that could not be taken.
    pub dead_letters: Option<i64>,
}

impl Said {
    fn read(stats: &Value) -> Said {
        let number = |name: &str| stats[name].as_i64();
        let amount = &stats["order_amount"]["CNY"];
        Said {
            members: number("members"),
            visitors: number("visitors"),
            duplicates: number("duplicates"),
            dead_letters: number("dead_letters"),
            orders: number("orders"),
            orders_cancelled: number("orders_cancelled"),
            orders_without_person: number("orders_without_person"),
            order_amount: match amount {
                Value::String(text) => fen(text),
                Value::Number(number) => fen(&number.to_string()),
                _ => None,
            },
        }
    }
}

/// `12.50` as 1250.
fn fen(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = format!("{part:0<2}");
    let magnitude = format!("{whole}{}", digits.get(..2)?);
    magnitude.parse().ok()
}

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    let magnitude = fen.unsigned_abs();
    format!("{sign}{}.{:02}", magnitude / 100, magnitude % 100)
}

impl Report {
    pub(super) fn new(
        options: &DemoOptions,
        filled: &Filled,
        applied_after: Duration,
        truth: &Truth,
        judged: Judged,
        stats: &Value,
        segments: Vec<Made>,
    ) -> Report {
        Report {
            url: format!("http://{}", options.server),
            admin_key: options.admin_key.clone(),
            filled: filled.clone(),
            applied_after,
            repeats: truth.repeats(),
            people: truth.people(),
            orders: truth.order_totals(),
            said: Said::read(stats),
            judged,
            segments,
        }
    }

    /// Whether the platform counts orders and messages as the truth does.
    pub fn totals_agree(&self) -> bool {
        self.rows().iter().all(|row| row.1 == row.2)
    }

    fn rows(&self) -> [(&'static str, String, String); 6] {
        let said = |value: Option<i64>| value.map_or("-".to_owned(), |v| v.to_string());
        let (orders, told) = (&self.orders, &self.said);
        [
            (
                "messages sent twice",
                self.repeats.to_string(),
                said(told.duplicates),
            ),
            ("messages refused", "0".to_owned(), said(told.dead_letters)),
            ("orders", orders.orders.to_string(), said(told.orders)),
            (
                "  cancelled",
                orders.cancelled.to_string(),
                said(told.orders_cancelled),
            ),
            (
                "  without a person",
                orders.without_person.to_string(),
                said(told.orders_without_person),
            ),
            (
                "  amount, CNY",
                yuan(orders.amount),
                told.order_amount.map_or("-".to_owned(), yuan),
            ),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filled = &self.filled;
        let seconds = filled.took.as_secs_f64();
        writeln!(
            f,
            "filled: {} messages ({:.0} MB, {} of them sent twice) in {seconds:.1} s = {:.0} k/s; all applied {:.1} s later",
            filled.messages,
            filled.bytes as f64 / 1e6,
            self.repeats,
            filled.messages as f64 / seconds.max(1e-9) / 1e3,
            self.applied_after.as_secs_f64(),
        )?;
        let links = &self.judged.links;
        writeln!(f, "\n{:<22}{:>16}{:>16}", "", "truth", "platform")?;
        for (name, truth, said) in self.rows() {
            writeln!(f, "{name:<22}{truth:>16}{said:>16}")?;
        }
        let said = |value: Option<i64>| value.map_or("-".to_owned(), |v| v.to_string());
        writeln!(
            f,
            "{:<22}{:>16}{:>16}",
            "people, members",
            self.people,
            said(self.said.members)
        )?;
        writeln!(
            f,
            "{:<22}{:>16}{:>16}",
            "visitors",
            "",
            said(self.said.visitors)
        )?;
        writeln!(
            f,
            "{:<22}{:>16}{:>16}",
            "identifiers", links.identifiers, links.known
        )?;
        writeln!(
            f,
            "\nlinks: precision {:.4}, recall {:.4} of what messages say, {:.4} of all ({} questions in {:.1} s)",
            links.precision(),
            links.recall(),
            links.recall_of_all(),
            self.judged.questions,
            self.judged.took.as_secs_f64(),
        )?;
        if !self.segments.is_empty() {
            writeln!(f, "\n{:>9}  segment", "members")?;
        }
        for made in &self.segments {
            writeln!(
                f,
                "{:>9}  {} (/api/v1/segments/{})",
                made.members, made.name, made.id
            )?;
        }
        let (url, key, who) = (&self.url, &self.admin_key, &self.judged.example);
        writeln!(f, "\naddress    {url}\nadmin key  {key}\n\ntry")?;
        let auth = format!("-H 'Authorization: Bearer {key}'");
        writeln!(
            f,
            "  curl -s {auth} '{url}/api/v1/members?identifier={who}'"
        )?;
        writeln!(f, "  curl -s {auth} '{url}/api/v1/stats'")?;
        if let Some(made) = self.segments.first() {
            let id = made.id;
            writeln!(
                f,
                "  curl -s {auth} '{url}/api/v1/segments/{id}/members?limit=5'"
            )?;
        }
        write!(f, "  open {url}/docs/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_and_print() {
        for (text, expected) in [("12.50", 1250), ("12.5", 1250), ("0", 0), ("7.05", 705)] {
            assert_eq!(fen(text), Some(expected), "{text}");
        }
        assert_eq!((yuan(1250), yuan(-5)), ("12.50".into(), "-0.05".into()));
    }

    #[test]
    fn stats_are_read() {
        let stats = serde_json::json!({
            "members": 3, "visitors": 1, "orders": 2, "orders_cancelled": 1, "orders_without_person": 0,
            "order_amount": {"CNY": "12.50"}
        });
        let said = Said::read(&stats);
        assert_eq!((said.members, said.order_amount), (Some(3), Some(1250)));
        assert_eq!(Said::read(&serde_json::json!({})), Said::default());
    }
}
