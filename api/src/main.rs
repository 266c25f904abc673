//! The `tributary` binary; everything is in the library.

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

/// Deciding and storing allocate many small pieces on several threads; this allocator takes about a tenth less time for
/// them than the system's. It asks for pages of the usual size (`no_thp`): clearing two megabytes for every buffer cost a
/// seventh of all the time of applying.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the allocator keeps memory that is free before it gives it back, ms. Batches take and free the same megabytes
/// several times a second: with the allocator's own second a tenth of the time of applying went into giving pages back and
/// getting them cleared again. What a peak has taken is still given back.
const FREE_MEMORY_KEPT_MS: c_long = 10_000;

/// `mi_option_purge_delay` of `mi_option_t`.
const MI_OPTION_PURGE_DELAY: c_int = 15;

unsafe extern "C" {
    /// Sets an option of the allocator that is linked in, from any thread at any time.
    fn mi_option_set(option: c_int, value: c_long);
}

fn main() -> ExitCode {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: the allocator is linked in by the crate above; setting an option stores one word.
        unsafe { mi_option_set(MI_OPTION_PURGE_DELAY, FREE_MEMORY_KEPT_MS) };
    }
    actors::crash::arm();
    api::cli::main()
}
