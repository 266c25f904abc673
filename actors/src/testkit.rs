//! What tests of any crate build on: a simulated log, store and clock, and a world that drives units from one seed.
//!
//! Everything runs on the calling thread; the same seed gives the same bytes.

mod cluster;
mod log;
mod random;
mod store;
mod world;

pub use cluster::Cluster;
pub use log::SimLog;
pub use random::{Random, seeds};
pub use store::SimStore;
pub use world::{Faults, World};
