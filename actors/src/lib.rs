//! How parts talk, decide, persist and stay alive.
//!
//! Data flows one way: ingest → log → machines → effects and projections. This crate knows no business noun
//! beyond ids: it holds the words every part shares ([`model`]), the contract of a pure decider ([`machine`]),
//! the durable log ([`log`]), what caches it ([`store`]), and the shell that runs it all ([`runtime`]).

pub mod crash;
pub mod disk;
pub mod history;
pub mod log;
pub mod machine;
pub mod memfile;
pub mod model;
pub mod raw;
pub mod registry;
pub mod result;
pub mod runtime;
pub mod seal;
pub mod store;
pub mod testkit;
