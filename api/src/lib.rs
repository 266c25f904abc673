//! HTTP in, JSON out; the binary's commands.

pub mod bench;
pub mod demo;
