//! Who the member is and what we know: identity, profile, later rules, tags and segments.

pub mod definition;
pub mod profile;
pub mod routed;
