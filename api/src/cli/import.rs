//! `tributary import`: files of any length into a data folder or a running server; a mapping guessed for a new kind of
//! file; and what its first rows would become.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};

use actors::model::{Clock, ErrorKind, Fault, SystemClock};
use clap::Args as ClapArgs;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use ingest::file::{Content, Known, Mapping, suggest};
use tokio::runtime::Runtime;

use super::options::ConfigArgs;
use super::remote::Remote;
use super::{Failure, runtime};
use crate::import::object::{Looked, look};
use crate::import::resume::Resume;
use crate::import::sink::Sink;
use crate::import::{self, Progress, Watch, Work, beside};
use crate::objects::spool::Spool;
use crate::objects::{self, Location, Object, ObjectError, Patience, Settings, is_object};

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
  tributary import --data ./data events.jsonl
  tributary import --data ./data --mapping crm.toml 's3://crm-files/2026/members-*.csv.gz'

s3://BUCKET/KEY is read from the store of [object_store] in tributary.toml, s3://BUCKET/PREFIX/ is all objects in it.
An object is copied first, into the data folder or, with --server, into --spool.")]
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

    /// Where objects are copied to for a server [default: the current folder]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,

    /// Files, and objects as s3://BUCKET/KEY
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

/// What is to be imported.
#[derive(Debug, Clone)]
enum Input {
    /// A file.
    File(PathBuf),
    /// An object of the object store.
    Object(Location),
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Input::File(path) => path.display().fmt(f),
            Input::Object(location) => location.fmt(f),
        }
    }
}

/// What the arguments name: prefixes and patterns are all objects that they mean now.
fn inputs(args: &Args, store: Option<&Settings>, runtime: &Runtime) -> Result<Vec<Input>, Failure> {
    let mut found = Vec::new();
    for input in &args.inputs {
        match input.to_str().filter(|text| is_object(text)) {
            Some(text) => {
                let wrong = |error| Failure::usage(format!("{text}: {error}"));
                let location = Location::parse(text).map_err(wrong)?;
                match location.is_many() {
                    true => {
                        let all = runtime.block_on(objects::matching(store, &location));
                        found.extend(all.map_err(object_failure)?.into_iter().map(Input::Object));
                    }
                    false => {
                        // Told before anything is touched.
                        runtime
                            .block_on(look(store, &location))
                            .map_err(object_failure)?;
                        found.push(Input::Object(location));
                    }
                }
            }
            None if input.is_file() => found.push(Input::File(input.clone())),
            None => return Err(Failure::usage(format!("{} is no file", input.display()))),
        }
    }
    Ok(found)
}

/// What the caller can put right is the command's fault (2), all else happened while working (1).
fn object_failure(error: ObjectError) -> Failure {
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::NotFound => Failure::usage(error),
        _ => Failure::work(error),
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mapping = match &args.mapping {
        Some(path) => Some(read_mapping(path)?),
        None => None,
    };
    let store = match args
        .inputs
        .iter()
        .any(|it| it.to_str().is_some_and(is_object))
    {
        true => args.config.load(&[])?.object_store,
        false => None,
    };
    let store = store.as_ref();
    let runtime = runtime()?;
    let inputs = inputs(args, store, &runtime)?;
    if args.rejects.is_some() && inputs.len() > 1 {
        return Err(Failure::usage("--rejects takes one input only"));
    }
    if args.suggest {
        let known = match &args.server {
            Some(server) => {
                let key = args.key.as_deref();
                let key =
                    key.ok_or_else(|| Failure::usage("--server needs --key or TRIBUTARY_KEY"))?;
                runtime.block_on(super::known::of_server(&Remote::new(server, key)?))?
            }
            None => Known::default(),
        };
        return inputs
            .iter()
            .try_for_each(|input| guess(&Look::at(input, store, &runtime)?, &known));
    }
    if args.dry_run {
        let mapping = mapping.as_ref().map(|(mapping, _)| mapping);
        return inputs
            .iter()
            .try_for_each(|input| dry_run(&Look::at(input, store, &runtime)?, mapping));
    }
    for input in &inputs {
        if let Input::File(path) = input {
            fits(input, path, mapping.as_ref().map(|(mapping, _)| mapping))?;
        }
    }
    let config = args.config.load(&[])?;
    crate::telemetry::start_logs("warn", config.log_json);
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
    for input in &inputs {
        let work = One {
            args,
            runtime: &runtime,
            sink: &sink,
            mapping: mapping.as_ref(),
        };
        let imported = match input {
            Input::File(path) => work.import(input, path, &beside(path)),
            Input::Object(location) => work.object(input, location, store),
        };
        match imported {
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

/// Refuses a file that does not open, or that the mapping does not fit, before a folder or a source is made for it.
fn fits(input: &Input, path: &Path, mapping: Option<&Mapping>) -> Result<(), Failure> {
    let open = || {
        let content = File::open(path).and_then(Content::file);
        content.map_err(|error| Failure::work(format!("{input}: {error}")))
    };
    let now = SystemClock.now();
    let guess = format!("have a mapping guessed: tributary import --suggest {input}");
    if let Some(mapping) = mapping {
        return import::dry::check(open()?, Some(mapping), now)
            .map_err(|error| Failure::usage(format!("{input}: {error}")));
    }
    let begin = import::dry::run(open()?, None, now)
        .map_err(|error| Failure::usage(format!("{input}: {error}; {guess}")))?;
    let no_json = |row: &import::dry::DryRow| {
        let reject = row.rejected.as_ref();
        reject.is_some_and(|reject| reject.code == "invalid_json")
    };
    if !begin.rows.is_empty() && begin.rows.iter().all(no_json) {
        return Err(Failure::usage(format!(
            "{input}: without a mapping a file is JSON lines, and none of the first {} is JSON; {guess}",
            begin.rows.len()
        )));
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

/// An input that is looked at only.
struct Look<'l> {
    input: &'l Input,
    object: Option<Looked>,
    runtime: &'l Runtime,
}

impl<'l> Look<'l> {
    fn at(
        input: &'l Input,
        store: Option<&Settings>,
        runtime: &'l Runtime,
    ) -> Result<Look<'l>, Failure> {
        let object = match input {
            Input::File(_) => None,
            Input::Object(location) => {
                let looked = runtime.block_on(look(store, location));
                Some(looked.map_err(object_failure)?)
            }
        };
        Ok(Look {
            input,
            object,
            runtime,
        })
    }

    fn open(&self) -> std::io::Result<Content> {
        match (self.input, &self.object) {
            (Input::File(path), _) => File::open(path).and_then(Content::file),
            (_, Some(looked)) => looked
                .content(self.runtime.handle())
                .map_err(std::io::Error::other),
            (Input::Object(_), None) => unreachable!("an object was looked at"),
        }
    }
}

/// Prints a mapping for a file.
fn guess(look: &Look<'_>, known: &Known) -> Result<(), Failure> {
    let found = suggest(|| look.open(), known)
        .map_err(|error| Failure::usage(format!("{}: {error}", look.input)))?;
    eprintln!("{}: {}", look.input, found.about);
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
fn dry_run(look: &Look<'_>, mapping: Option<&Mapping>) -> Result<(), Failure> {
    let content = look.open();
    let content = content.map_err(|error| Failure::work(format!("{}: {error}", look.input)))?;
    let run = import::dry::run(content, mapping, SystemClock.now())
        .map_err(|error| Failure::usage(format!("{}: {error}", look.input)))?;
    for row in &run.rows {
        let line = serde_json::to_string(row).expect("texts and numbers always serialise");
        println!("{line}");
    }
    eprintln!(
        "{}: {}; of the first {} rows {} would be events, {} set aside; nothing was written",
        look.input,
        run.about,
        run.rows.len(),
        run.accepted,
        run.rejected
    );
    Ok(())
}

/// What the imports of one command share.
struct One<'o> {
    args: &'o Args,
    runtime: &'o Runtime,
    sink: &'o Sink,
    mapping: Option<&'o (Mapping, String)>,
}

impl One<'_> {
    /// Copies an object and imports the copy, which goes away when all of it is imported.
    fn object(
        &self,
        input: &Input,
        location: &Location,
        store: Option<&Settings>,
    ) -> Result<u64, Failure> {
        let object = Object::open(store, location, Patience::Job).map_err(object_failure)?;
        let pin = self
            .runtime
            .block_on(object.look())
            .map_err(object_failure)?;
        let spool = self.spool(location);
        if self.args.restart {
            spool.remove();
        }
        if spool.begun().is_some_and(|begun| begun != pin) {
            return Err(Failure::usage(format!(
                "{}; --restart begins with the new content",
                ObjectError::Changed {
                    location: location.clone()
                }
            )));
        }
        let bar = super::bar("copying");
        let mut watch = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
            true
        };
        let max = store.map_or(0, |store| store.spool_bytes_max);
        let copied = spool.fill(self.runtime.handle(), &object, &pin, max, &mut watch);
        bar.finish_and_clear();
        let path = copied.map_err(object_failure)?;
        let rejects = beside(Path::new(location.name()));
        let rejected = self.import(input, &path, &rejects)?;
        spool.remove();
        Ok(rejected)
    }

    /// Where an object is copied to: known by its name, so that the next run finds it.
    fn spool(&self, location: &Location) -> Spool {
        let key = format!("{:016x}", hash(&location.to_string()));
        let folder = match (self.sink.folder(), &self.args.spool) {
            (_, Some(folder)) => folder.join(format!("object-{key}")),
            (Some(data), None) => data.join("imports").join(format!("object-{key}")),
            (None, None) => PathBuf::from(format!(".{}.{key}.copy", location.name())),
        };
        Spool::at(folder)
    }

    /// Imports one file; answers how many of its rows were set aside.
    fn import(&self, input: &Input, path: &Path, rejects: &Path) -> Result<u64, Failure> {
        let args = self.args;
        let text = self.mapping.map_or("", |(_, text)| text);
        let resume = Resume::of(path, text, &args.source, self.sink)
            .map_err(|error| Failure::work(format!("{input}: {error}")))?;
        let rejects = args.rejects.clone().unwrap_or_else(|| rejects.to_owned());
        let work = Work {
            input: path,
            mapping: self.mapping.map(|(mapping, _)| mapping),
            rejects: rejects.clone(),
            resume,
            restart: args.restart,
        };
        let bar = Bar::new(input);
        let done = import::run(self.runtime.handle(), self.sink, work, &bar);
        bar.bar.finish_and_clear();
        let outcome = done.map_err(|error| {
            let text = format!("{input}: {}", crate::error::chain(&error));
            // Nothing was touched if the file did not even open.
            match error.is_input() && !bar.opened.get() {
                true => Failure::usage(text),
                false => Failure::work(text),
            }
        })?;
        println!(
            "{input}: {} rows, {} accepted, {} set aside",
            HumanCount(outcome.rows),
            HumanCount(outcome.rows - outcome.rejected.min(outcome.rows)),
            HumanCount(outcome.rejected),
        );
        if outcome.rejected > 0 {
            println!("  reasons in {}", rejects.display());
        }
        Ok(outcome.rejected)
    }
}

/// A short name for a long one.
fn hash(text: &str) -> u64 {
    // `DefaultHasher::new` has fixed keys. A later Rust may hash otherwise: then a copy is begun anew.
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(text, &mut hasher);
    std::hash::Hasher::finish(&hasher)
}

/// The progress of one file; nothing is drawn where nobody looks.
struct Bar {
    bar: ProgressBar,
    name: String,
    opened: Cell<bool>,
}

impl Bar {
    fn new(input: &Input) -> Bar {
        let style = "{msg} {wide_bar} {percent}% {eta}";
        let style = ProgressStyle::with_template(style).expect("the template is valid");
        let name = match input {
            Input::File(path) => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            Input::Object(location) => location.name().to_owned(),
        };
        Bar {
            bar: ProgressBar::new(0).with_style(style),
            name,
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
