//! The whole-product tests, one file per promise, in one binary: `cargo test -p tests --test product sdk::` runs one file.

mod backup;
mod bad_input;
mod crash;
mod dead_letters;
mod dictionary;
mod effects;
mod export;
mod faults;
mod files;
mod fuzz;
mod kafka;
mod lake;
mod lists;
mod members;
mod objects;
mod orders;
mod power_cut;
mod private;
mod sdk;
mod segments;
mod sensors;
mod supply;
mod tags;
mod tidy;
