//! Who the member is and what we know: identity, profile, rules, tags, the audience.

pub mod audience;
pub mod control;
pub mod dead;
pub mod definition;
pub mod dictionary;
pub mod identity;
pub mod item;
pub mod list;
pub mod profile;
pub mod routed;
pub mod rule;
pub mod tag;
pub mod webhook;
