//! `tributary restore`: makes a data folder from a backup.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::Failure;
use super::backup::{Bar, backup_failure};
use super::options::ConfigArgs;

/// Make a new data folder from a backup
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Every file is checked against the backup's manifest. The folder must be new or empty; effects are held after the first \
start until a person releases them.

Examples:
  tributary restore --from /mnt/backup/monday --data ./data
  tributary restore --from /mnt/backup/monday --keys /mnt/vault/monday-keys --data ./data")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,

    /// Its keys [default: beside it, with -keys behind its name]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load(&[])?;
    let keys = args.keys.clone();
    let keys = keys.unwrap_or_else(|| crate::backup::keys_beside(&args.from));
    for folder in [&args.from, &keys] {
        if !folder.is_dir() {
            return Err(Failure::usage(format!("{} is no folder", folder.display())));
        }
    }
    let bar = super::bytes_bar();
    let done = pipelines::backup::restore(&args.from, &keys, &config.data, &Bar(bar.clone()));
    bar.finish_and_clear();
    let manifest = done.map_err(|error| backup_failure(&error))?;
    println!(
        "{} restored from a backup of {}",
        config.data.display(),
        manifest.taken
    );
    Ok(())
}
