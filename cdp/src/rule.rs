//! The one rule language: segments, tags and journeys say with it who is meant.
//!
//! # A rule
//! A rule is a tree of `and`, `or`, `not` over clauses: attributes, tags, behaviour, sequences, segments, uploaded lists, a
//! random share, nearness. It has two forms that mean the same. JSON is what the API takes and keeps:
//!
//! ```json
//! {"and": [
//!   {"tag": "level", "op": "eq", "value": "gold"},
//!   {"event": "Order Completed", "where": [{"attr": "total", "op": "gt", "value": 300}],
//!    "agg": "count", "op": "gte", "value": 2, "within": "90d"},
//!   {"not": {"event": "scan", "within": "90d"}}
//! ]}
//! ```
//!
//! The compact text is what people write and read (grammar: [`text`]):
//!
//! ```text
//! tags.level = "gold" and count("Order Completed" where total > 300 within 90d) >= 2 and not event("scan" within 90d)
//! ```
//!
//! | who | text form |
//! |---|---|
//! | spent more than 1,000 this year on brand A | `sum(total of "order" where brand = "A" within 12mo) > 1000` |
//! | never scanned | `not event("scan")` (or `count("scan") = 0`) |
//! | scanned on three different days this month | `distinct(@day of "scan" within 1mo) >= 3` |
//! | scanned, then bought within seven days | `sequence("scan" then "order" within 7d lookback 90d)` |
//! | bought first in the last 30 days | `min(@time of "order") >= now - 29d floor day` |
//! | stopped: bought in spring, not since | `event("order" ago 180d to 91d) and not event("order" within 91d)` |
//! | one order had five of sku x | `event("order" where some order.lines match (sku = "x" and quantity >= 5))` |
//! | two paid orders above 300 in 90 days | `count("Order Paid" where order.total > 300 within 90d) >= 2` |
//! | birthday today, by the calendar of last year | `birthday is day now - 1y` |
//! | a tenth of gold members, the same tenth for ever | `tags.level = "gold" and random("mail-1", 10%)` |
//!
//! # What rules mean
//! - `x != v` is `not (x = v)`: members without x are in it. So are `not_in`, `has_none`, `missing`. An empty `and` is
//!   everybody, an empty `or` nobody. Counts include zero.
//! - Null, empty text and empty lists are absent. A condition on a list holds if one value satisfies it; its negative is the
//!   complement. A path through lists collects all values; `some … match` stays within one object.
//! - Types count: text never equals a number. Numbers are exact. Text is compared after NFKC, *contains*, *starts with* and
//!   *ends with* without case; everything, an absent value too, contains the empty text. `regex` matches the whole value.
//! - A day is a calendar day of the installation's zone. `within 7d` is today and the six days before, `within 2mo` this
//!   calendar month and the one before, `within 24h` slides and includes an event exactly so old. `ago 13d to 7d` and
//!   `between` include both bounds. An event dated in the future counts from its own time on.
//! - An instant compared with a day compares days: `joined > "2026-01-31"` begins in February. Where nothing says that a
//!   value is text (a property, an attribute without definition), a constant written as `2026-01-31` or as an RFC 3339
//!   instant is a date, and a text that is written as one (also as `2026-01-31 10:00:00`) compares as one.
//! - A computed date begins at `now`, an instant or a day, is shifted left to right (days and more on the wall clock, hours
//!   and less on the time line; a day that does not exist becomes the last of its month) and then rounded: `floor` to the
//!   boundary at or before it, `ceil` to the one at or after it. It stays an instant unless it began as a day.
//! - `sum` of nothing is 0; `avg`, `min`, `max`, `first`, `last`, `most_frequent` of nothing are absent. What is no number
//!   does not add. `min` and `max` look at numbers if there are any, otherwise at texts. Sums and means are exact to the
//!   ninth decimal. `count` over a field counts the events that have it.
//! - A sequence's next step is strictly later; `within` runs from the first step to the last, a day being 24 hours.
//!
//! What cannot be right is refused with a code, a place and a hint ([`RuleError`]), all errors at once. Limits: [`limits`];
//! sliding windows reach 90 days, sequences 400. In `where` a constant cannot depend on the present: events are measured
//! once.
//!
//! # How it is evaluated
//! [`Rule::from_json`] or [`Rule::from_text`] → [`check`] against [`Names`] → [`Plan`]: leaves and a boolean tree. Live
//! evaluation, block queries, backfill and explain read the plan. A leaf's [`Test`] becomes [`Fixed`] for one `now` and zone.
//! Behaviour reads a [`Measure`] (events and the value taken of each), which rules share by [`Measure::key`]; an
//! [`Extractor`] finds the [`Hit`]s of a measure in events, [`Behaviour`] and [`Sequence`] evaluate them. [`evaluate`] and
//! [`explain`] do all of it for one member over [`Facts`]. [`Plan::next_change`] and [`next_change`] tell when the clock alone
//! makes it worth looking again.
//!
//! ```
//! use actors::model::Time;
//! use cdp::rule::testkit::{Person, dictionary};
//! use cdp::rule::{Rule, check, evaluate};
//! use jiff::tz::TimeZone;
//!
//! let rule = Rule::from_text(r#"city != "上海" and count("scan" within 30d) < 3"#).unwrap();
//! let plan = check(&rule, &dictionary(), None).unwrap();
//! assert!(evaluate(&plan, &Person::default(), Time(0), &TimeZone::UTC));
//! let misspelt = Rule::from_text("cty = 1").unwrap();
//! let error = &check(&misspelt, &dictionary(), None).unwrap_err()[0];
//! assert_eq!((error.code, &*error.place), ("unknown_attribute", "attr"));
//! assert_eq!(error.hint.as_deref(), Some("did you mean `city`?"));
//! ```
//!
//! Absent on purpose: I/O, a clock, segments' memberships (the caller's), storage of measures.

pub mod ast;
pub mod behaviour;
pub mod calendar;
mod check;
pub mod condition;
pub mod constant;
mod error;
mod evaluate;
mod explain;
mod json;
pub mod limits;
pub mod measure;
mod names;
pub mod plan;
pub mod scalar;
mod scan;
mod sequence;
#[doc(hidden)]
pub mod testkit;
pub mod text;
pub mod window;

pub use ast::{Aggregate, EventNames, Op, Path, Rule};
pub use behaviour::{Behaviour, Over};
pub use check::check;
pub use condition::{Fixed, Test, Want};
pub use constant::{Constant, Motion, Point};
pub use error::RuleError;
pub use evaluate::{Facts, evaluate, next_change};
pub use explain::{EventFound, Events, Explanation, Labels, Phrase, Thing, explain};
pub use measure::{Extractor, Filter, Hit, Matcher, Measure};
pub use names::{Known, Names};
pub use plan::{LAST_SCAN, Leaf, Near, Node, Plan, Read, Share, point_of};
pub use sequence::{Chain, Sequence};
pub use window::{Span, Window};

#[cfg(test)]
mod tests;
