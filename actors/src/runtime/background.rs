//! Threads that stand back behind answering clients and deciding.

use std::thread::JoinHandle;

/// How far a thread stands back (see `setpriority(2)`): workers that decide have 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Niceness {
    /// With the workers: what readers wait for.
    Follows = 5,
    /// Behind what is decided and counted: readers wait for it in seconds.
    Lags = 10,
    /// Behind everything: what nobody waits for.
    Last = 15,
}

/// Starts a thread of this name (at most 15 bytes) and priority.
pub fn spawn(
    name: &str,
    niceness: Niceness,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // SAFETY: concerns only the calling thread (on Linux a thread's id is a process id for `setpriority`), and
            // failing changes nothing.
            unsafe {
                libc::setpriority(libc::PRIO_PROCESS, 0, niceness as libc::c_int);
            }
            run();
        })
}
