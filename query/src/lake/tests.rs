//! The lake against a list in memory that keeps everything.

mod bench;
mod crash;
mod damage;
mod erasure;
mod model;
mod property;
mod reading;
