//! What we know of a member: attributes, what was seen, timeline, orders.
//!
//! Facts are kept per **fragment** (the facts that one identifier owns) under the member that the identifier belongs to
//! now, in forms that can be joined in any order. So a merge or an unmerge moves fragments and never reads history again,
//! and events that overtake a fragment on the move are simply joined with it when it arrives.
//!
//! Invariants: what a fragment's rows say is a function of the set of its events; an order's rows stand under one holder;
//! the counters are the sum over all orders and events, whatever moves are under way (a part that has overtaken its order
//! counts as an order of its own until they meet).
//!
//! Writing: [`MemberMachine`]. Reading: [`view`] over any [`actors::machine::Rows`]. Row layouts: [`row`].
//! Absent on purpose: who belongs to whom (see `identity`), bodies of events (they stay in the result log; a timeline row
//! points there), how tags and segments are computed (see `audience`; here is only what came of it: [`concluded`]).

mod activity;
pub mod attribute;
mod batch;
pub mod bench;
pub mod cell;
mod coerce;
pub mod concluded;
mod digest;
mod erase;
mod form;
mod handover;
mod left_out;
mod machine;
pub mod moves;
pub mod order;
pub mod row;
mod traits;
pub mod value;
pub mod view;

pub use activity::{Activity, Seen};
pub use cell::Cell;
pub use coerce::{Misfit, VALUE_BYTES_MAX, coerce};
pub use concluded::{Membership, TagValue};
pub use digest::{DIGEST_BYTES, digest};
pub use left_out::{ATTRIBUTE_LENGTH, ATTRIBUTE_NAME, ATTRIBUTE_TYPE, ATTRIBUTE_UNKNOWN};
pub use machine::{Limits, MemberMachine};
pub use moves::is_merging;
pub use order::Order;
pub use value::Value;

#[cfg(test)]
mod tests;
