//! The dictionary: which names of events, properties and attributes there are, what is seen in them, what changes, and what
//! people say of them.
//!
//! - **Observed** ([`Catalogue`]): counted from committed events, within named bounds. Names appear by themselves.
//! - **Drift** ([`drift`]): what is seen now and was not before.
//! - **Named** ([`Naming`]): display names, owner, status, merging and blocking, as people write them.
//! - **Rules** ([`NameRules`]): what of that changes events. A definition of the log: identity applies the version that
//!   stands before an event, so a replay records the same names.
//!
//! Nothing of one person stays here: of what may be personal only the shape is kept, and any other value only once
//! [`PEOPLE_MIN`] different people had it. So an erase has nothing to take out. Numbers and times keep their smallest and
//! largest value, as amounts stay in history when a person is forgotten.

mod drift;
mod entry;
mod naming;
mod observe;
mod personal;
mod rules;
mod top;
mod value;

pub use drift::{Drift, DriftKind, attribute_drift, drift};
pub use entry::{Days, Entry, Property, Range, TypeSeen};
pub use naming::{Naming, NamingIssue, OnBlock, PropertyNaming, Status, Titled, compile};
pub use observe::{Catalogue, EVENTS_MAX, LeftOut, PROPERTIES_MAX, Seen};
pub use personal::Personal;
pub use rules::{Blocked, Decided, EventRule, FieldRule, NameRules, ORIGINAL_NAME};
pub use top::{PEOPLE_MIN, Top};
pub use value::Sort;

#[cfg(test)]
mod tests;
