//! `tributary import`: files of any length into a data folder or a running server; a mapping guessed for a new kind of
//! file; and what its first rows would become.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};

use actors::model::{Clock, SystemClock};
use clap::Args as ClapArgs;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use ingest::file::{Content, Known, Mapping, suggest};
use tokio::runtime::Runtime;

use super::options::ConfigArgs;
use super::remote::Remote;
use super::{Failure, runtime};
use crate::import::resume::Resume;
use crate::import::sink::Sink;
use crate::import::{self, Progress, Watch, Work, beside};

/// Import CSV, XLSX, Parquet or JSONL files of events and orders
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A mapping says which column is what; see ingest/examples/. Without one, the lines are events of our own JSON.
--suggest guesses a mapping from names and values of the columns; --dry-run shows the first hundred rows as events.
Importing a file again changes nothing. An import that was stopped goes on where it was.
Rows that are no events go into FILE.rejects.csv with their number and reason; the rest is imported.

Examples:
  tributary import --suggest orders.xlsx > orders.toml
  tributary import --dry-run --mapping orders.toml orders.xlsx
  tributary import --data ./data --mapping ingest/examples/online_retail.toml online_retail.parquet
  tributary import --server http://127.0.0.1:8080 --key tk_… --mapping crm.toml members-*.csv
  tributary import --data ./data events.jsonl")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Send to a running server instead of a folder
    #[arg(
        long,
        value_name = "URL",
        env = "TRIBUTARY_SERVER",
        conflicts_with = "data"
    )]
    server: Option<String>,

    /// For a server: an API key, or the write key of a source
    #[arg(
        long,
        value_name = "KEY",
        env = "TRIBUTARY_KEY",
        hide_env_values = true
    )]
    key: Option<String>,

    /// Name of the source that the events come from; made if it is not there
    #[arg(long, value_name = "NAME", default_value = "import")]
    source: String,

    /// How columns become events (TOML)
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,

    /// Where rows go that are no events [default: INPUT.rejects.csv]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,

    /// Begin at the first row even if an earlier import was stopped
    #[arg(long)]
    restart: bool,

    /// Print a mapping guessed from the file, and import nothing; with --server by the names of its dictionary
    #[arg(long, conflicts_with_all = ["mapping", "dry_run", "restart", "rejects"])]
    suggest: bool,

    /// Print the first hundred rows as the events that they would be, one JSON a line, and import nothing
    #[arg(long, conflicts_with_all = ["server", "restart", "rejects"])]
    dry_run: bool,

    /// Files
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mapping = match &args.mapping {
        Some(path) => Some(read_mapping(path)?),
        None => None,
    };
    if args.rejects.is_some() && args.inputs.len() > 1 {
        return Err(Failure::usage("--rejects takes one input only"));
    }
    for input in &args.inputs {
        if !input.is_file() {
            return Err(Failure::usage(format!("{} is no file", input.display())));
        }
    }
    if args.suggest {
        let known = match &args.server {
            Some(server) => {
                let key = args.key.as_deref();
                let key =
                    key.ok_or_else(|| Failure::usage("--server needs --key or TRIBUTARY_KEY"))?;
                runtime()?.block_on(super::known::of_server(&Remote::new(server, key)?))?
            }
            None => Known::default(),
        };
        return args
            .inputs
            .iter()
            .try_for_each(|input| guess(input, &known));
    }
    if args.dry_run {
        let mapping = mapping.as_ref().map(|(mapping, _)| mapping);
        return args
            .inputs
            .iter()
            .try_for_each(|input| dry_run(input, mapping));
    }
    let config = args.config.load(&[])?;
    crate::telemetry::start_logs("warn", config.log_json);
    let runtime = runtime()?;
    let sink = match &args.server {
        Some(server) => {
            let key = args.key.as_deref();
            let key = key.ok_or_else(|| Failure::usage("--server needs --key or TRIBUTARY_KEY"))?;
            runtime.block_on(Sink::remote(server, key, &args.source))?
        }
        None => runtime.block_on(Sink::local(&config, &args.source))?,
    };
    let mut rejected = 0;
    let mut done = Ok(());
    for input in &args.inputs {
        match import_one(args, &runtime, &sink, mapping.as_ref(), input) {
            Ok(count) => rejected += count,
            Err(failure) => {
                done = Err(failure);
                break;
            }
        }
    }
    runtime.block_on(sink.close());
    done?;
    if rejected > 0 {
        eprintln!("{} rows were set aside", HumanCount(rejected));
    }
    Ok(())
}

fn read_mapping(path: &Path) -> Result<(Mapping, String), Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let mapping = Mapping::parse(&text)
        .map_err(|errors| Failure::usage(format!("{}: {errors}", path.display())))?;
    Ok((mapping, text))
}

/// Prints a mapping for a file.
fn guess(input: &Path, known: &Known) -> Result<(), Failure> {
    let open = || File::open(input).and_then(Content::file);
    let found = suggest(open, known)
        .map_err(|error| Failure::usage(format!("{}: {error}", input.display())))?;
    eprintln!("{}: {}", input.display(), found.about);
    for column in &found.columns {
        eprintln!(
            "  {} → {}   {}",
            column.name,
            column.place,
            column.samples.join(" | ")
        );
    }
    print!("{}", found.mapping);
    Ok(())
}

/// Prints what the first rows of a file would become.
fn dry_run(input: &Path, mapping: Option<&Mapping>) -> Result<(), Failure> {
    let content = File::open(input).and_then(Content::file);
    let content =
        content.map_err(|error| Failure::work(format!("{}: {error}", input.display())))?;
    let run = import::dry::run(content, mapping, SystemClock.now())
        .map_err(|error| Failure::usage(format!("{}: {error}", input.display())))?;
    for row in &run.rows {
        let line = serde_json::to_string(row).expect("texts and numbers always serialise");
        println!("{line}");
    }
    eprintln!(
        "{}: {}; of the first {} rows {} would be events, {} set aside; nothing was written",
        input.display(),
        run.about,
        run.rows.len(),
        run.accepted,
        run.rejected
    );
    Ok(())
}

/// Imports one file; answers how many of its rows were set aside.
fn import_one(
    args: &Args,
    runtime: &Runtime,
    sink: &Sink,
    mapping: Option<&(Mapping, String)>,
    input: &Path,
) -> Result<u64, Failure> {
    let text = mapping.map_or("", |(_, text)| text);
    let resume = Resume::of(input, text, &args.source, sink)
        .map_err(|error| Failure::work(format!("{}: {error}", input.display())))?;
    let rejects = args.rejects.clone().unwrap_or_else(|| beside(input));
    let work = Work {
        input,
        mapping: mapping.map(|(mapping, _)| mapping),
        rejects: rejects.clone(),
        resume,
        restart: args.restart,
    };
    let bar = Bar::new(input);
    let done = import::run(runtime.handle(), sink, work, &bar);
    bar.bar.finish_and_clear();
    let outcome = done.map_err(|error| {
        let text = format!("{}: {}", input.display(), crate::error::chain(&error));
        // Nothing was touched if the file did not even open.
        match error.is_input() && !bar.opened.get() {
            true => Failure::usage(text),
            false => Failure::work(text),
        }
    })?;
    println!(
        "{}: {} rows, {} accepted, {} set aside",
        input.display(),
        HumanCount(outcome.rows),
        HumanCount(outcome.rows - outcome.rejected.min(outcome.rows)),
        HumanCount(outcome.rejected),
    );
    if outcome.rejected > 0 {
        println!("  reasons in {}", rejects.display());
    }
    Ok(outcome.rejected)
}

/// The progress of one file; nothing is drawn where nobody looks.
struct Bar {
    bar: ProgressBar,
    name: String,
    opened: Cell<bool>,
}

impl Bar {
    fn new(input: &Path) -> Bar {
        let style = "{msg} {wide_bar} {percent}% {eta}";
        let style = ProgressStyle::with_template(style).expect("the template is valid");
        let name = input.file_name().unwrap_or_default().to_string_lossy();
        Bar {
            bar: ProgressBar::new(0).with_style(style),
            name: name.into_owned(),
            opened: Cell::new(false),
        }
    }
}

impl Watch for Bar {
    fn opened(&self, _: &str, behind: u64) {
        self.opened.set(true);
        if behind > 0 {
            eprintln!("{}: going on behind row {}", self.name, HumanCount(behind));
        }
    }

    fn progress(&self, progress: Progress) {
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
        self.bar
            .set_message(format!("{} {} rows", self.name, HumanCount(progress.rows)));
    }

    fn cancelled(&self) -> bool {
        false
    }
}
