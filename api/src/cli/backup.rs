//! `tributary backup`: of a stopped folder, or of a running server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors::model::{ErrorKind, Fault, SystemClock};
use clap::Args as ClapArgs;
use indicatif::ProgressBar;
use pipelines::Platform;
use pipelines::backup::{BackupError, Watch};

use super::options::ConfigArgs;
use super::remote::Remote;
use super::{Failure, runtime};
use crate::service::platform_config;

/// Copy a data folder so that it can be restored anywhere
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The keys go into a folder of their own: the logs do not open without them, so keep them elsewhere. Rows and the lake \
are copied as they are and name people: guard the backup too.
A running server is asked over its API; the copy then lands in the folder that its backup.folder names.

Examples:
  tributary backup --data ./data --to /mnt/backup/monday
  tributary backup --data ./data --to /mnt/backup/monday --keys /mnt/vault/monday-keys
  TRIBUTARY_KEY=tk_… tributary backup --server http://127.0.0.1:8080")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// New folder for the copy
    #[arg(long, value_name = "DIR", required_unless_present = "server")]
    to: Option<PathBuf>,

    /// New folder for the keys [default: beside it, with -keys behind its name]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,

    /// Ask a running server instead
    #[arg(long, value_name = "URL", env = "TRIBUTARY_SERVER", conflicts_with_all = ["to", "keys"])]
    server: Option<String>,

    /// API key for the server
    #[arg(
        long,
        value_name = "KEY",
        env = "TRIBUTARY_KEY",
        hide_env_values = true
    )]
    key: Option<String>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match (&args.server, &args.to) {
        (Some(server), _) => {
            let key = args.key.as_deref();
            let key = key.ok_or_else(|| Failure::usage("--server needs --key or TRIBUTARY_KEY"))?;
            runtime()?.block_on(ask(&Remote::new(server, key)?))
        }
        (None, Some(to)) => copy(args, to),
        (None, None) => Err(Failure::usage("give --to or --server")),
    }
}

fn copy(args: &Args, to: &Path) -> Result<(), Failure> {
    let config = args.config.load(&[])?;
    crate::telemetry::start_logs("warn", config.log_json);
    if !config.data.is_dir() {
        let message = format!("{} is no folder", config.data.display());
        return Err(Failure::usage(message));
    }
    let keys = args.keys.clone();
    let keys = keys.unwrap_or_else(|| crate::backup::keys_beside(to));
    let runtime = runtime()?;
    let start = Platform::start(platform_config(&config), Arc::new(SystemClock), |_, _| {});
    let platform = Arc::new(
        runtime
            .block_on(start)
            .map_err(|error| super::start_failure(&error))?,
    );
    let bar = super::bytes_bar();
    let taken = crate::backup::take(&platform, to, &keys, &Bar(bar.clone()));
    platform.drain();
    runtime.block_on(platform.registry().close());
    bar.finish_and_clear();
    let manifest = taken.map_err(|error| backup_failure(&error))?;
    println!("{} files in {}", manifest.files.len(), to.display());
    println!("keys in {}: keep them apart", keys.display());
    Ok(())
}

/// A folder that does not fit is the caller's (2), all else happened while working (1).
pub(super) fn backup_failure(error: &BackupError) -> Failure {
    let text = crate::error::chain(error);
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Conflict => Failure::usage(text),
        _ => Failure::work(text),
    }
}

/// Starts a backup on a server and follows it to its end.
async fn ask(remote: &Remote) -> Result<(), Failure> {
    let mut job = remote
        .post("/api/v1/backups", &serde_json::json!({}))
        .await?;
    let path = format!("/api/v1/jobs/{}", job["id"]);
    let bar = super::bytes_bar();
    while job["state"] == "running" {
        tokio::time::sleep(POLL).await;
        job = remote.get(&path).await?;
        bar.set_position(job["done"].as_u64().unwrap_or_default());
    }
    bar.finish_and_clear();
    let message = job["message"].as_str().unwrap_or_default();
    if job["state"] != "done" {
        return Err(Failure::work(format!(
            "the backup ended as {}: {message}",
            job["state"]
        )));
    }
    println!(
        "{message} in {} on the server",
        job["target"].as_str().unwrap_or("?")
    );
    Ok(())
}

/// How often a running job is looked at.
const POLL: std::time::Duration = std::time::Duration::from_millis(300);

/// A progress bar as a watch.
pub(super) struct Bar(pub(super) ProgressBar);

impl Watch for Bar {
    fn copied(&self, bytes: u64, file: &str) {
        self.0.set_position(bytes);
        self.0.set_message(file.to_owned());
    }
}
