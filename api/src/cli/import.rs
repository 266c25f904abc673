//! `tributary import`: files of any length into a data folder or a running server.
//!
//! Message ids follow from the mapping's key columns, so whatever is sent twice counts once; the resume file only saves
//! time. It is written after the rows it counts are durable, never before.

mod rejects;
mod resume;
mod sink;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use ingest::file::{Mapping, Row, Rows};
use tokio::runtime::Runtime;

use self::rejects::Rejects;
use self::resume::{Resume, State};
use self::sink::{Batch, Sink};
use super::options::ConfigArgs;
use super::{Failure, runtime};

/// Import CSV or JSONL files of events and orders
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A mapping says which column is what; see ingest/examples/. Without one, the lines are events of our own JSON.
Importing a file again changes nothing. An import that was stopped goes on where it was.
Rows that are no events go into FILE.rejects.csv with their number and reason; the rest is imported.

Examples:
  tributary import --data ./data --mapping ingest/examples/online_retail.toml online_retail.csv
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

    /// Files
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

/// Rows of one group: one append, one fsync. Larger ones only make a stop cost more.
const BATCH_ROWS: usize = 2_000;
/// Bytes of one group: half of what a server takes at once, so that the largest order still fits behind it.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

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
        match import(args, &runtime, &sink, mapping.as_ref(), input) {
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

/// Imports one file; answers how many of its rows were set aside.
fn import(
    args: &Args,
    runtime: &Runtime,
    sink: &Sink,
    mapping: Option<&(Mapping, String)>,
    input: &Path,
) -> Result<u64, Failure> {
    let fail =
        |error: &dyn std::fmt::Display| Failure::work(format!("{}: {error}", input.display()));
    let text = mapping.map_or("", |(_, text)| text);
    let resume = Resume::of(input, text, &args.source, sink).map_err(|error| fail(&error))?;
    let mut state = match args.restart {
        true => State::default(),
        false => resume.load(),
    };
    let rejects_path = args.rejects.clone().unwrap_or_else(|| beside(input));
    let mut rejects =
        Rejects::open(&rejects_path, state.rejects_bytes).map_err(|error| fail(&error))?;
    let file = File::open(input).map_err(|error| fail(&error))?;
    let bytes = file.metadata().map_or(0, |about| about.len());
    let reader = BufReader::with_capacity(1 << 20, file);
    let source = sink.source();
    let mut rows = match mapping {
        Some((mapping, _)) => Rows::new(reader, mapping, source, sink.now()),
        None => Ok(Rows::own_json(reader, source, sink.now())),
    }
    .map_err(|error| Failure::usage(format!("{}: {error}", input.display())))?;
    if state.rows > 0 {
        eprintln!(
            "{}: going on behind row {}",
            input.display(),
            HumanCount(state.rows)
        );
        rows.skip_rows(state.rows).map_err(|error| fail(&error))?;
    }
    let bar = bar(input, bytes);
    let mut flight: Option<Flight> = None;
    let mut batch = Batch::default();
    loop {
        let row = rows.next().transpose().map_err(|error| fail(&error))?;
        let end = row.is_none();
        match row {
            Some(Row::Record(record)) => batch.push(rows.row(), record),
            Some(Row::Rejected(row)) => {
                let reject = &row.reject;
                rejects
                    .add(
                        row.row,
                        reject.code.as_str(),
                        reject.field.as_deref(),
                        &reject.reason,
                        &row.raw,
                    )
                    .map_err(|error| fail(&error))?;
            }
            None => {}
        }
        if !end && batch.len() < BATCH_ROWS && batch.bytes() < BATCH_BYTES {
            continue;
        }
        // One group is on its way while the next is being built.
        if let Some(before) = flight.take() {
            state = before
                .land(runtime, &mut rejects, &state)
                .map_err(|error| fail(&error))?;
            resume.save(&state);
        }
        bar.set_position(rows.byte());
        let sent = std::mem::take(&mut batch);
        rejects.flush().map_err(|error| fail(&error))?;
        flight = Some(Flight {
            rows: rows.row(),
            found: rejects.count(),
            numbers: sent.numbers(),
            answer: runtime.spawn(sink.clone().send(sent)),
        });
        if end {
            break;
        }
    }
    if let Some(last) = flight.take() {
        state = last
            .land(runtime, &mut rejects, &state)
            .map_err(|error| fail(&error))?;
    }
    bar.finish_and_clear();
    let rejected = rejects.finish().map_err(|error| fail(&error))?;
    if let Some(token) = &state.token {
        runtime
            .block_on(sink.wait(token))
            .map_err(|error| fail(&error))?;
    }
    resume.done();
    println!(
        "{}: {} rows, {} accepted, {} set aside",
        input.display(),
        HumanCount(state.rows),
        HumanCount(state.rows - rejected.min(state.rows)),
        HumanCount(rejected),
    );
    if rejected > 0 {
        println!("  reasons in {}", rejects_path.display());
    }
    Ok(rejected)
}

/// A group on its way.
struct Flight {
    /// Rows read when it left.
    rows: u64,
    /// Rows set aside when it left.
    found: u64,
    /// Row numbers of its records.
    numbers: Vec<u64>,
    answer: tokio::task::JoinHandle<Result<sink::Sent, String>>,
}

impl Flight {
    /// Waits until it is durable; answers the state that a resume file may hold now.
    fn land(
        self,
        runtime: &Runtime,
        rejects: &mut Rejects,
        before: &State,
    ) -> Result<State, String> {
        let sent = runtime
            .block_on(self.answer)
            .map_err(|error| error.to_string())??;
        for (index, code, message) in &sent.rejected {
            let row = self.numbers.get(*index).copied().unwrap_or_default();
            rejects
                .add(row, code, None, message, b"")
                .map_err(|error| error.to_string())?;
        }
        // Rows behind this group that were set aside meanwhile are found again after a stop.
        let rejects_bytes = match rejects.count() == self.found {
            true => rejects.bytes(),
            false => rejects.bytes_at(self.found),
        };
        Ok(State {
            rows: self.rows,
            rejects_bytes,
            token: sent.token.or_else(|| before.token.clone()),
        })
    }
}

/// `orders.csv` → `orders.csv.rejects.csv`.
fn beside(input: &Path) -> PathBuf {
    let mut name = input.file_name().unwrap_or_default().to_owned();
    name.push(".rejects.csv");
    input.with_file_name(name)
}

fn bar(input: &Path, bytes: u64) -> ProgressBar {
    let style = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(style).expect("the template is valid");
    let name = input.file_name().unwrap_or_default().to_string_lossy();
    ProgressBar::new(bytes)
        .with_style(style)
        .with_message(name.into_owned())
}

#[cfg(test)]
mod tests;
