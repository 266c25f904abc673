//! Waiting for another process: the one place of the tests that pauses and looks at a clock.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks. Short, because most waits end at once; long enough not to take the server's core.
const PAUSE: Duration = Duration::from_millis(3);

/// Time that anything here may take before the test fails: far more than needed on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until there is an answer; panics with `what` after [`PATIENCE`].
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, ask).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Asks until there is an answer or the time is over.
pub fn within<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > patience {
            return None;
        }
        pause();
    }
}

/// Lets others run for a moment.
pub fn pause() {
    thread::sleep(PAUSE);
}
