//! The binary under test, and running one of its commands to the end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The admin key of every sandbox.
pub const ADMIN_KEY: &str = "tk_sandbox_0123456789abcdef";

/// Where the binary is: `TRIBUTARY_BIN`, or beside the test's own folder in the target folder.
pub fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("TRIBUTARY_BIN") {
        return path.into();
    }
    // target/debug/deps/members-0123 -> target/debug/tributary
    let own = std::env::current_exe().expect("a running program has a path");
    let folder = own.ancestors().nth(2).expect("tests lie two folders deep");
    let path = folder.join("tributary");
    assert!(
        path.exists(),
        "{} is not there: run `make test`, or `make test-binary` before `cargo test -p tests`",
        path.display()
    );
    path
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies inside the repository")
        .to_owned()
}

/// A command of the binary that sees nothing of the tester's own settings.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(path());
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
        .env("TRIBUTARY_TIME_ZONE", "Asia/Shanghai")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end; whatever its exit code.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments)
        .output()
        .expect("the binary can be started")
}

/// Runs a command that must succeed; answers what it printed.
pub fn run_ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "tributary {} ended with {}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the binary prints UTF-8")
}
