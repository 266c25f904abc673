//! `tributary bench`: the figures of this machine and build.

use clap::Args as ClapArgs;

use super::{Failure, runtime};
use crate::bench::{self, BenchOptions};

/// Measure this build on this machine
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The server is a child process, the load generator runs beside it on the same cores. The disk's fsync time stands above
every table. Nothing here fails for being slow.

Examples:
  tributary bench ingest
  tributary bench apply --events 2000000
  tributary bench restart --people 1000000 --dir /mnt/fast
  tributary bench ingest -- --set log.filter=warn     arguments for serve stand behind --")]
pub struct Args {
    #[command(flatten)]
    options: BenchOptions,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let table = runtime()?
        .block_on(bench::run(&args.options))
        .map_err(|error| Failure::work(crate::error::chain(&error)))?;
    match args.options.json {
        true => println!("{}", table.json()),
        false => print!("{table}"),
    }
    Ok(())
}
