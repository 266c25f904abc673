//! The audience: exact counts over all members while somebody edits a rule, and live segments.
//!
//! A projection in memory: fed with committed changes in the order of the log, rebuilt at start, a function of what it was
//! fed and of the time it was told. Every answer equals [`crate::rule::evaluate`] for each member that counts.
//!
//! A member's **ordinal** is its number, so a set of members is a bitmap and an attribute a column, by blocks of 65,536.
//! - [`column`]: one value per ordinal, of any type; bitmaps per value or cells as narrow as the values allow.
//! - [`filter`]: a condition held against a column; [`query`]: a plan over all blocks; [`kernel`]: the inner loops.
//! - [`series`]: the events of a measure per **fragment**, so that a merge or an unmerge moves nothing.
//! - [`derived`]: columns computed of events and objects, kept for whom facts or the clock ([`due`]) concern.
//! - [`live`]: segments and calculated tags, their editions and transitions; [`engine`]: all of it together.
//!
//! Absent on purpose: reading logs and rows, threads of its own, the clock, what a segment's transitions cause.

pub mod bench;
mod bits;
mod blobs;
mod cells;
mod column;
mod days;
mod derived;
mod dict;
mod due;
mod engine;
mod filter;
mod find;
mod kernel;
mod listed;
mod lists;
mod live;
mod people;
mod query;
mod series;
mod store;
mod view;

pub use engine::{
    Change, Counted, Distribution, Engine, Heeded, ListFigures, Memory, NotReady, OrderTold,
    Previewed, Unseen,
};
pub use live::{Retag, Transition};
pub use series::Series;
pub use view::Differences;

#[cfg(test)]
mod tests;
