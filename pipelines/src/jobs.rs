//! Housekeeping: what an installation does by itself, at its time.
//!
//! A job takes no input and reads what is due: missing one is harmless, because the next does the same. So nothing is
//! remembered of past runs, and a restart in the middle repeats a step that changes nothing the second time. Who calls them
//! (a loop in `api`) asks all of them every [`EVERY`] and records the runs that did something.
//!
//! Absent on purpose: a library for schedules. Those that there are read the system's clock themselves; ours is handed in,
//! which is how tests move it, and how a jump of it is noticed before a key is destroyed.

pub mod archive;
pub mod daily;
pub mod day_keys;

use std::time::Duration;

/// Between two looks at what is due. Jobs are late by this at most, and looking is cheap.
pub const EVERY: Duration = Duration::from_secs(60);

/// What a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// Nothing was due.
    Nothing,
    /// It did something: what.
    Did(String),
    /// Something is due and has to wait: why. A person should know if it stays so.
    Waits(String),
}
