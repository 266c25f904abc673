//! An order as its events tell it, in any order of arrival.
//!
//! Event time decides: a line, the total and the currency are those of the latest event that named them (of equal times
//! the one later in the log); the status is that of the latest event with one (of equal times the one further along its
//! life: created, paid, shipped, completed, refunded, cancelled). An order's time is that of its earliest line; without
//! lines that of its earliest event. The total is what was told, otherwise the sum of lines.

use actors::history::OrderFacts;
use actors::machine::RowsError;
use actors::model::{
    BrandId, Currency, OrderChange, OrderLine, OrderStatus, Position, SourceId, Time,
};
use serde::{Deserialize, Serialize};

use super::form;

/// How errors name it.
const WHAT: &str = "an order row";

/// Which of two tellings wins: the later event, then the later position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// Event time.
    pub time: Time,
    /// Raw position of the event.
    pub position: Position,
}

/// Everything but the lines: read alone for lists and sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderHead {
    /// The order's id, unique within `shop`.
    pub order_id: Box<str>,
    /// Where the id is unique.
    pub shop: Box<str>,
    /// Brand of its earliest event.
    pub brand: BrandId,
    /// Source of its earliest event.
    pub source: SourceId,
    /// Its earliest event.
    pub first: Stamp,
    /// Its latest event.
    pub last: Stamp,
    /// Time of its earliest line.
    pub line_time: Option<Time>,
    /// Told by test sources only: not in counters.
    pub test: bool,
    /// Status and since when.
    pub status: Option<(Time, OrderStatus)>,
    /// Currency of all amounts, and who told it last.
    pub currency: (Stamp, Currency),
    /// Total in the smallest unit, if told.
    pub told_total: Option<(Stamp, i64)>,
    /// Number of lines.
    pub lines: u32,
    /// Sum of the lines' amounts in the smallest unit.
    pub lines_total: i64,
}

/// One line and the event that told it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Who told it.
    pub stamp: Stamp,
    /// What.
    pub line: OrderLine,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Everything but the lines.
    pub head: OrderHead,
    /// Lines by their id.
    pub lines: Vec<Line>,
}

/// The event that a change came with.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    /// Stamp.
    pub stamp: Stamp,
    /// Brand.
    pub brand: BrandId,
    /// Source.
    pub source: SourceId,
    /// From a test source.
    pub test: bool,
}

/// What an order adds to the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// 1, or 0 for a test order.
    pub orders: i64,
    /// 1 if cancelled.
    pub cancelled: i64,
    /// 1 if no person is known.
    pub without_person: i64,
    /// Lines.
    pub lines: i64,
    /// Currency and total in the smallest unit.
    pub amount: Option<(Currency, i64)>,
}

impl OrderHead {
    /// When it was placed.
    pub fn time(&self) -> Time {
        self.line_time.unwrap_or(self.first.time)
    }

    /// Total in the smallest unit.
    pub fn total(&self) -> i64 {
        self.told_total.map_or(self.lines_total, |(_, total)| total)
    }

    /// Whether its present status is *cancelled*.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.status, Some((_, OrderStatus::Cancelled)))
    }

    /// What it adds to the counters. `without_person`: its holder is the order itself.
    pub fn share(&self, without_person: bool) -> Share {
        if self.test {
            return Share::default();
        }
        Share {
            orders: 1,
            cancelled: self.is_cancelled().into(),
            without_person: without_person.into(),
            lines: self.lines.into(),
            amount: Some((self.currency.1, self.total())),
        }
    }

    /// Reads the head of a row and leaves its lines alone.
    pub fn decode(row: &[u8]) -> Result<OrderHead, RowsError> {
        split(row).map(|(head, _)| head)
    }
}

impl Order {
    /// What one event says of an order.
    pub fn of(change: OrderChange, cause: Cause) -> Order {
        let stamp = cause.stamp;
        let mut lines: Vec<Line> = Vec::with_capacity(change.lines.len());
        for line in change.lines {
            lines.push(Line { stamp, line });
        }
        // Of lines with one id in one event the last counts: a stable sort keeps them in order, the newest is taken.
        lines.sort_by(|a, b| a.line.line_id.cmp(&b.line.line_id));
        lines.dedup_by(|later, kept| {
            let same = later.line.line_id == kept.line.line_id;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        let mut order = Order {
            head: OrderHead {
                order_id: change.order_id,
                shop: change.shop,
                brand: cause.brand,
                source: cause.source,
                first: stamp,
                last: stamp,
                line_time: (!lines.is_empty()).then_some(stamp.time),
                test: cause.test,
                status: change.status.map(|status| (stamp.time, status)),
                currency: (stamp, change.currency),
                told_total: change.total.map(|total| (stamp, total)),
                lines: 0,
                lines_total: 0,
            },
            lines,
        };
        order.sum_up();
        order
    }

    /// Joins what other events say of the same order.
    pub fn merge(&mut self, other: Order) {
        let Order { head, lines } = other;
        let mine = &mut self.head;
        if head.first < mine.first {
            mine.first = head.first;
            mine.brand = head.brand;
            mine.source = head.source;
        }
        mine.last = mine.last.max(head.last);
        mine.line_time = match (mine.line_time, head.line_time) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        mine.test &= head.test;
        mine.status = mine.status.max(head.status);
        mine.currency = mine.currency.max(head.currency);
        mine.told_total = mine.told_total.max(head.told_total);
        for line in lines {
            let found = self
                .lines
                .binary_search_by(|known| known.line.line_id.cmp(&line.line.line_id));
            match found {
                Ok(at) if self.lines[at].stamp < line.stamp => self.lines[at] = line,
                Ok(_) => {}
                Err(at) => self.lines.insert(at, line),
            }
        }
        self.sum_up();
    }

    /// What rules see of it: JSON text of an object, see [`OrderFacts`]. The total is that of the order whoever told it.
    pub fn facts(&self) -> String {
        let lines: Vec<OrderLine> = self.lines.iter().map(|it| it.line.clone()).collect();
        let facts = OrderFacts {
            order_id: &self.head.order_id,
            shop: &self.head.shop,
            brand: self.head.brand,
            currency: self.head.currency.1,
            status: self.head.status.map(|(_, status)| status),
            total: Some(self.head.total()),
            lines: &lines,
        };
        facts.to_json()
    }

    fn sum_up(&mut self) {
        let sum: i128 = self.lines.iter().map(|it| i128::from(it.line.amount)).sum();
        self.head.lines_total =
            i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        self.head.lines = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
    }

    /// Reads a row. The one place that knows older versions.
    pub fn decode(row: &[u8]) -> Result<Order, RowsError> {
        let (head, rest) = split(row)?;
        let lines = postcard::from_bytes(rest).map_err(|_| damaged())?;
        Ok(Order { head, lines })
    }

    /// The row.
    pub fn encode(&self) -> Vec<u8> {
        let head = form::encode(&self.head, 96 + 80 * self.lines.len());
        form::append(&self.lines, head)
    }
}

fn split(row: &[u8]) -> Result<(OrderHead, &[u8]), RowsError> {
    form::take(row, WHAT)
}

fn damaged() -> RowsError {
    form::damaged(WHAT)
}
