//! `tributary bench`: the figures of this machine and build.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::{Failure, runtime};
use crate::bench::{self, BenchOptions, What};

/// Measure this build on this machine
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The server is a child process, the load generator runs beside it on the same cores. The disk's fsync time stands above \
every table. Nothing here fails for being slow.

Examples:
  tributary bench ingest
  tributary bench apply --events 2000000
  tributary bench restart --people 1000000 --dir /mnt/fast
  tributary bench segments --members 10000000 --http-members 1000000
  tributary bench ingest -- --set log.filter=warn     arguments for serve stand behind --")]
pub struct Args {
    /// What to measure
    #[arg(value_enum)]
    what: Choice,

    /// Events of a run
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,

    /// People who act; for restart and export: members to fill
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    people: u32,

    /// Connections that send at the same time
    #[arg(long, value_name = "N", default_value_t = 8)]
    connections: usize,

    /// Events of one request
    #[arg(long, value_name = "N", default_value_t = 500)]
    batch: usize,

    /// Events per second while the lag is measured; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    rate: u32,

    /// Tags, and as many segments, that are at work while events are applied
    #[arg(long, value_name = "N", default_value_t = 0)]
    rules: usize,

    /// Seconds of the steady rate, and of each run of log
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u32,

    /// Made-up members, for segments
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    members: u32,

    /// Of them, those who are sent to a server to ask it over HTTP, for segments; 0 leaves that out
    /// [default: --members, a million at most]
    #[arg(long, value_name = "N")]
    http_members: Option<u32>,

    /// How often each question is asked, for segments; a few seconds at most
    #[arg(long, value_name = "N", default_value_t = 200)]
    queries: usize,

    /// Leave out polars, DuckDB and chDB, for segments
    #[arg(long)]
    no_peers: bool,

    /// Write the columns and answers of segments there, for tests/bench/segments_peers.py
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,

    /// Folder on the disk to measure
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// The program to start as the server [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,

    /// More arguments for serve
    #[arg(last = true, value_name = "SERVE_ARGS")]
    serve: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    /// Events over HTTP, acknowledged durable
    Ingest,
    /// The same until applied; bytes written; lag at a fixed rate
    Apply,
    /// Ready again after kill −9 under load; memory
    Restart,
    /// Appends to the segment log, without HTTP
    Log,
    /// The identity machine, without log and HTTP
    Identity,
    /// The profile machine, without log and HTTP
    Profile,
    /// The lake of events: written, merged, scanned
    Lake,
    /// Admission and decoding, without HTTP
    Decode,
    /// Generating the load, without a server
    Generate,
    /// Counting segments over made-up members, in this process and over HTTP, beside peers
    Segments,
    /// Reading files of every format, beside DuckDB
    Import,
    /// Exporting a segment as CSV and XLSX
    Export,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let what = match args.what {
        Choice::Ingest => What::Ingest,
        Choice::Apply => What::Apply,
        Choice::Restart => What::Restart,
        Choice::Log => What::Log,
        Choice::Identity => What::Identity,
        Choice::Profile => What::Profile,
        Choice::Lake => What::Lake,
        Choice::Decode => What::Decode,
        Choice::Generate => What::Generate,
        Choice::Segments => What::Segments,
        Choice::Import => What::Import,
        Choice::Export => What::Export,
    };
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .map_err(|error| Failure::work(format!("cannot find this program: {error}")))?,
    };
    let options = BenchOptions {
        what,
        events: args.events,
        people: args.people,
        connections: args.connections,
        batch: args.batch,
        rate: args.rate,
        rules: args.rules,
        seconds: args.seconds,
        dir: args.dir.clone(),
        program,
        members: args.members,
        http_members: args.http_members.unwrap_or(args.members.min(1_000_000)),
        queries: args.queries,
        peers: !args.no_peers,
        export: args.export.clone(),
        serve_args: args.serve.clone(),
    };
    let table = runtime()?
        .block_on(bench::run(&options))
        .map_err(|error| Failure::work(crate::error::chain(&error)))?;
    match args.json {
        true => println!("{}", table.json()),
        false => print!("{table}"),
    }
    Ok(())
}
