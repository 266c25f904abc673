//! The `tributary` binary; everything is in the library.

use std::process::ExitCode;

/// Deciding and storing allocate many small pieces on several threads; this allocator takes about a tenth less time for
/// them than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    actors::crash::arm();
    api::cli::main()
}
