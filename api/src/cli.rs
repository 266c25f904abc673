//! The command line: one file per command under `cli/`.
//!
//! Exit codes: 0 done, 1 it failed while working, 2 the command or configuration is wrong and nothing was touched.

pub mod backup;
pub mod bench;
pub mod check;
pub mod demo;
pub mod digest;
pub mod import;
pub mod known;
pub mod options;
pub mod remote;
pub mod restore;
pub mod serve;

use std::fmt;
use std::process::ExitCode;

use actors::model::{ErrorKind, Fault};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

/// Events in, members out: the operating platform of a consumer brand, in one binary.
#[derive(Debug, Parser)]
#[command(name = "tributary", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  tributary demo                                  a demo brand, running and filled, in one command
  tributary serve --data ./data                   an empty installation; prints its address and admin key
  tributary check --config tributary.toml         what would run, and every mistake at once
  tributary import --data ./data --mapping online_retail.toml orders.csv
  tributary backup --data ./data --to ./backup    a copy that restores anywhere

Exit codes: 0 done, 1 failed while working, 2 wrong command or configuration (nothing was touched).";

#[derive(Debug, Subcommand)]
enum Action {
    Serve(serve::Args),
    Import(import::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Check(check::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Digest(digest::Args),
}

/// Why a command ends without success.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// It failed while working: exit code 1.
    pub fn work(message: impl fmt::Display) -> Failure {
        Failure {
            code: 1,
            message: message.to_string(),
        }
    }

    /// The command or configuration is wrong: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure {
            code: 2,
            message: message.to_string(),
        }
    }
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let command = Command::parse();
    let done = match command.action {
        Action::Serve(args) => serve::run(&args),
        Action::Import(args) => import::run(&args),
        Action::Demo(args) => demo::run(&args),
        Action::Bench(args) => bench::run(&args),
        Action::Check(args) => check::run(&args),
        Action::Backup(args) => backup::run(&args),
        Action::Restore(args) => restore::run(&args),
        Action::Digest(args) => digest::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tributary: {}", failure.message.trim_end());
            ExitCode::from(failure.code)
        }
    }
}

/// The runtime of HTTP and of commands. Units decide on threads of their own.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("http")
        .build()
        .map_err(|error| Failure::work(format!("cannot start threads: {error}")))
}

/// Why a folder does not open: a wrong folder or wish is the caller's (2), all else happened while working (1).
pub(crate) fn start_failure(error: &pipelines::StartError) -> Failure {
    let text = crate::error::chain(error);
    match error.kind() {
        ErrorKind::Invalid => Failure::usage(text),
        _ => Failure::work(text),
    }
}

/// A progress bar over `what`; nothing is drawn where nobody looks.
fn bar(what: &'static str) -> ProgressBar {
    let style = "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
    let style = ProgressStyle::with_template(style).expect("the template is valid");
    ProgressBar::new(0).with_style(style).with_message(what)
}

/// A progress display of bytes without a known end.
fn bytes_bar() -> ProgressBar {
    let style = "{spinner} {binary_bytes} {binary_bytes_per_sec} {msg}";
    let style = ProgressStyle::with_template(style).expect("the template is valid");
    ProgressBar::new_spinner().with_style(style)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Command::command().debug_assert();
    }
}
