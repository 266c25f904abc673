//! The sandbox of whole-product tests: boots the real binary on a temporary folder and port 0, talks to it over HTTP,
//! ends it in every way there is, and keeps the journal that says what must be there afterwards.
//!
//! Tests are in `tests/tests/`, one file per promise. Each is deterministic: seeds instead of randomness, counts instead
//! of sleeps ([`wait`] is the one place that pauses), ports from 0, folders that vanish.
//!
//! Absent on purpose: knowledge of how the product stores anything. These tests see what a user sees.

pub mod binary;
pub mod cases;
pub mod disk;
pub mod hostile;
pub mod http;
pub mod journal;
pub mod lake;
pub mod load;
pub mod need;
pub mod people;
pub mod proxy;
pub mod receiver;
pub mod sandbox;
pub mod script;
pub mod store;
pub mod tools;
pub mod wait;

pub use http::{Answer, Http, Lost};
pub use journal::Journal;
pub use load::{Load, Plan};
pub use receiver::Receiver;
pub use sandbox::{Options, Sandbox};
pub use script::Script;

/// How often a test repeats: `ci` in every run, `soak` with `make soak` (`TRIBUTARY_SOAK=1`), or what
/// `TRIBUTARY_ROUNDS` says.
pub fn rounds(ci: usize, soak: usize) -> usize {
    if let Some(rounds) = std::env::var("TRIBUTARY_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        return rounds;
    }
    if std::env::var_os("TRIBUTARY_SOAK").is_some() {
        soak
    } else {
        ci
    }
}

/// The seed of a test: `TRIBUTARY_SEED`, or `default`. Printed by whoever fails.
pub fn seed(default: u64) -> u64 {
    std::env::var("TRIBUTARY_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// The next number of a seeded sequence (splitmix64): equal on every machine, unlike a library's "small" generator.
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
