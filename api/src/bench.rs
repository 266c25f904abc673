//! `tributary bench`: the figures of a machine and of this build, on real disks and over real sockets.
//!
//! The server is a child process of the same binary, so that its CPU, memory and disk are its own; the load generator
//! runs here, on the same cores, and its share is printed beside the rest. The disk's sync time stands above every table:
//! without it no figure can be compared with another machine's. A benchmark is no test: nothing here fails for being slow.

mod apply;
mod child;
mod disk;
mod export;
mod import;
mod ingest;
mod load;
mod parts;
mod reads;
mod restart;
mod segments;
mod table;

use std::path::PathBuf;

use crate::demo::DemoError;
pub use table::{Row, Table};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Events over HTTP, acknowledged durable.
    Ingest,
    /// The same until applied; bytes written; lag at a fixed rate.
    Apply,
    /// Ready again after kill −9 under load; memory.
    Restart,
    /// Appends to the segment log, without HTTP.
    Log,
    /// The identity machine, without log and HTTP.
    Identity,
    /// The profile machine, without log and HTTP.
    Profile,
    /// The lake of events: written, merged, scanned.
    Lake,
    /// Admission and decoding, without HTTP.
    Decode,
    /// Generating the load, without a server.
    Generate,
    /// Counting segments over made-up members, in this process and over HTTP, beside peers.
    Segments,
    /// Reading files of every format, beside DuckDB.
    Import,
    /// Exporting a segment.
    Export,
}

/// How to measure it.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// What.
    pub what: What,
    /// Events of a run.
    pub events: u64,
    /// People who act; for `restart` and `export` the members to fill.
    pub people: u32,
    /// Connections that send at the same time.
    pub connections: usize,
    /// Events of one request.
    pub batch: usize,
    /// Events per second while the lag is measured; 0 leaves that out.
    pub rate: u32,
    /// Tags, and as many segments, that `apply` has at work.
    pub rules: usize,
    /// Seconds of the steady rate, and of each run of `log`.
    pub seconds: u32,
    /// Folder on the disk to measure; a folder of its own is made in it and removed.
    pub dir: PathBuf,
    /// The program to start as the server; usually this one.
    pub program: PathBuf,
    /// Made-up members, for `segments`.
    pub members: u32,
    /// Of them, those whom `segments` sends to a server to ask it over HTTP; 0 leaves that out.
    pub http_members: u32,
    /// How often `segments` asks each question, within seconds.
    pub queries: usize,
    /// `segments` asks peers as well, if a Python has them.
    pub peers: bool,
    /// Where `segments` writes its columns for peers, and its answers.
    pub export: Option<PathBuf>,
    /// More arguments for `serve`.
    pub serve_args: Vec<String>,
}

impl BenchOptions {
    /// Sizes that take a minute or two on two cores.
    pub fn new(what: What, dir: PathBuf, program: PathBuf) -> BenchOptions {
        BenchOptions {
            what,
            events: 1_000_000,
            people: 200_000,
            connections: 8,
            batch: 500,
            rate: 20_000,
            rules: 0,
            seconds: 10,
            dir,
            program,
            members: 1_000_000,
            http_members: 1_000_000,
            queries: 200,
            peers: true,
            export: None,
            serve_args: Vec::new(),
        }
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file or socket failed.
    #[error("{what}: {source}")]
    Io {
        /// Doing what.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The server did not start, or went away.
    #[error("the server {0}")]
    Server(String),
    /// The load could not be sent.
    #[error(transparent)]
    Load(#[from] DemoError),
    /// A part of the product failed.
    #[error("{0}")]
    Part(String),
}

impl BenchError {
    fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> BenchError {
        move |source| BenchError::Io { what, source }
    }
}

/// Measures, and answers the table to print: with `{}` for people, with [`Table::json`] for programs.
pub async fn run(options: &BenchOptions) -> Result<Table, BenchError> {
    std::fs::create_dir_all(&options.dir).map_err(BenchError::io("making the folder"))?;
    let dir = Scratch::new(&options.dir)?;
    let syncs = disk::syncs(&dir.0).map_err(BenchError::io("timing the disk"))?;
    let mut table = Table::new(options, syncs);
    match options.what {
        What::Ingest => ingest::run(options, &dir.0, &mut table).await?,
        What::Apply => apply::run(options, &dir.0, &mut table).await?,
        What::Restart => restart::run(options, &dir.0, &mut table).await?,
        What::Log => parts::log(&dir.0, options.seconds, &mut table)?,
        What::Identity => parts::identity(&dir.0, options.people, &mut table)?,
        What::Profile => parts::profile(options.events, &mut table),
        What::Lake => parts::lake(options, &dir.0, &mut table)?,
        What::Decode => parts::decode(options, &mut table),
        What::Generate => parts::generate(options, &mut table),
        What::Segments => segments::run(options, &dir.0, &mut table).await?,
        What::Import => import::run(options, &dir.0, &mut table)?,
        What::Export => export::run(options, &dir.0, &mut table).await?,
    }
    Ok(table)
}

/// A folder of our own that goes away with the run, whatever its outcome.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &std::path::Path) -> Result<Scratch, BenchError> {
        let path = parent.join(format!("tributary-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(BenchError::io("making the folder"))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind at worst; the next run takes another name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
