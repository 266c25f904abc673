//! Who the member is and what we know: identity, profile, rules, later tags and segments.

pub mod audience;
pub mod control;
pub mod dead;
pub mod definition;
pub mod identity;
pub mod item;
pub mod profile;
pub mod routed;
pub mod rule;
