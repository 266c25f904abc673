//! The wiring of the whole platform: the one place that knows everyone.
//!
//! [`Platform`] is what the binary starts and HTTP calls. It opens a data folder ([`layout`]), joins the ports of the
//! crates ([`decode`], [`machines`]) and runs the node.

pub mod audience;
pub mod backup;
pub mod decode;
pub mod dictionary;
pub mod effect;
pub mod jobs;
pub mod lake;
pub mod layout;
pub mod machines;
pub mod offline;
pub mod platform;
pub mod publish;
pub mod search;
pub mod stats;

pub use platform::{Platform, PlatformConfig, PlatformError, StartError, StoredEvent, Writes};
