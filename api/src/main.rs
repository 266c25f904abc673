//! The `tributary` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    actors::crash::arm();
    api::cli::main()
}
