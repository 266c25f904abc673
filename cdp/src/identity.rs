//! Who is who: identifiers, members, and the one writer that decides.
//!
//! An identifier (a phone, an openid …) belongs to exactly one member. Events that name several identifiers **link** them;
//! the partition of identifiers into members is a fold over all links in order of arrival, under limits and under the
//! separations that unmerges left ([`fold`]). An event is owned by its strongest identifier, and its facts are kept under
//! that identifier (its **fragment**), so merging and unmerging move fragments and never read history again.
//!
//! [`machine`] is the writer, [`row`] what it leaves for readers, [`rules`] what people set, [`port`] what it asks for.

pub mod bench;
mod binding;
mod erase;
pub mod explain;
pub mod fold;
pub mod machine;
pub mod memory;
mod observe;
mod order;
pub mod port;
mod refold;
pub mod row;
pub mod rules;
mod settle;
pub mod table;
mod view;

pub use machine::{Found, IdentityMachine, Setup};
pub use memory::Dedup;

#[cfg(test)]
mod tests;
