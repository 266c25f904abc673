//! Every read over many rows: the lake of events, full-text search over members.

pub mod lake;
pub mod search;
