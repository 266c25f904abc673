//! Importing a file: rows are read, sent in groups, and what is durable is noted, so that a stopped import goes on.
//!
//! The same loop serves the command `tributary import` and the imports of the API. Message ids follow from the mapping's
//! key columns, so whatever is sent twice counts once; the resume file only saves time. It is written after the rows it
//! counts are durable, never before.

pub mod dry;
pub mod object;
pub mod rejects;
pub mod resume;
pub mod sink;
pub mod uploads;
pub mod worker;

use std::fs::File;
use std::path::{Path, PathBuf};

use actors::model::{ErrorKind, Fault};
use ingest::file::{Content, FileError, Mapping, Row, Rows};
use tokio::runtime::Handle;

use self::rejects::Rejects;
use self::resume::{Resume, State};
use self::sink::{Batch, Sink};

/// Rows of one group: one append, one fsync. Larger ones only make a stop cost more.
const BATCH_ROWS: usize = 2_000;
/// Bytes of one group: half of what a server takes at once, so that the largest order still fits behind it.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// One file to import.
pub struct Work<'w> {
    /// The file.
    pub input: &'w Path,
    /// How its columns become events; none: its lines are events of our own JSON.
    pub mapping: Option<&'w Mapping>,
    /// Where rows go that are no events.
    pub rejects: PathBuf,
    /// Where it is noted how far it is.
    pub resume: Resume,
    /// Begin at the first row, whatever is noted.
    pub restart: bool,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes or rows read.
    pub done: u64,
    /// Bytes or rows in all; 0: not known.
    pub total: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows set aside.
    pub rejected: u64,
}

/// Who watches an import.
pub trait Watch {
    /// The file is open: its format, and the row that it goes on behind.
    fn opened(&self, about: &str, behind: u64);
    /// After each group.
    fn progress(&self, progress: Progress);
    /// Whether it should stop.
    fn cancelled(&self) -> bool;
}

/// What came of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows of the file.
    pub rows: u64,
    /// Rows set aside.
    pub rejected: u64,
    /// Token of the last group.
    pub token: Option<String>,
}

/// Why an import ends early. What was sent stays, and it can go on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read (on).
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of ours cannot be read or written.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The object cannot be read.
    #[error(transparent)]
    Object(#[from] crate::objects::ObjectError),
    /// The events do not arrive.
    #[error("{0}")]
    Send(String),
    /// Somebody stopped it.
    #[error("cancelled behind row {rows}")]
    Cancelled {
        /// Rows that are durable.
        rows: u64,
    },
}

impl ImportError {
    fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> ImportError {
        move |source| ImportError::Io { what, source }
    }

    /// Whether the file or its mapping is wrong, rather than the machine.
    pub fn is_input(&self) -> bool {
        matches!(self, ImportError::File(error) if error.kind() == ErrorKind::Invalid)
    }
}

/// Imports one file; blocks its thread.
pub fn run(
    runtime: &Handle,
    sink: &Sink,
    work: Work<'_>,
    watch: &dyn Watch,
) -> Result<Outcome, ImportError> {
    let mut state = match work.restart {
        true => State::default(),
        false => work.resume.load(),
    };
    let rejects_io = ImportError::io;
    let mut rejects = Rejects::open(&work.rejects, state.rejects_bytes)
        .map_err(rejects_io("the file of rejects"))?;
    let content = File::open(work.input).and_then(Content::file);
    let content = content.map_err(ImportError::io("the file"))?;
    let mut rows = Rows::open(content, work.mapping, sink.source(), sink.now())?;
    watch.opened(&rows.about(), state.rows);
    rows.skip_rows(state.rows)?;
    let mut flight: Option<Flight> = None;
    let mut batch = Batch::default();
    loop {
        let row = rows.next().transpose()?;
        let end = row.is_none();
        match row {
            Some(Row::Record(record)) => batch.push(rows.row(), record),
            Some(Row::Rejected(row)) => rejects
                .add(
                    row.row,
                    row.reject.code.as_str(),
                    row.reject.field.as_deref(),
                    &row.reject.reason,
                    &row.raw,
                )
                .map_err(rejects_io("the file of rejects"))?,
            None => {}
        }
        let pause = rows.row().is_multiple_of(BATCH_ROWS as u64);
        if !end && !pause && batch.len() < BATCH_ROWS && batch.bytes() < BATCH_BYTES {
            continue;
        }
        // One group is on its way while the next is being built.
        if let Some(before) = flight.take() {
            state = before.land(runtime, &mut rejects, &state)?;
            work.resume.save(&state);
        }
        let (done, total) = rows.progress();
        watch.progress(Progress {
            done,
            total,
            rows: rows.row(),
            rejected: rejects.count(),
        });
        if watch.cancelled() {
            return Err(ImportError::Cancelled { rows: state.rows });
        }
        let sent = std::mem::take(&mut batch);
        rejects.flush().map_err(rejects_io("the file of rejects"))?;
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
        state = last.land(runtime, &mut rejects, &state)?;
        work.resume.save(&state);
    }
    let rejected = rejects
        .finish()
        .map_err(rejects_io("the file of rejects"))?;
    if let Some(token) = &state.token {
        runtime
            .block_on(sink.wait(token))
            .map_err(ImportError::Send)?;
    }
    work.resume.done();
    Ok(Outcome {
        rows: state.rows,
        rejected,
        token: state.token,
    })
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
        runtime: &Handle,
        rejects: &mut Rejects,
        before: &State,
    ) -> Result<State, ImportError> {
        let sent = runtime
            .block_on(self.answer)
            .map_err(|error| ImportError::Send(error.to_string()))?
            .map_err(ImportError::Send)?;
        for (index, code, message) in &sent.rejected {
            let row = self.numbers.get(*index).copied().unwrap_or_default();
            rejects
                .add(row, code, None, message, b"")
                .map_err(ImportError::io("the file of rejects"))?;
        }
        // Rows behind this group that were set aside meanwhile are found again after a stop.
        let landed = match sent.rejected.is_empty() {
            true => self.found,
            // They stand behind what was found meanwhile; all of it is kept, and a stop lists some rows twice.
            false => rejects.count(),
        };
        rejects
            .flush()
            .map_err(ImportError::io("the file of rejects"))?;
        let rejects_bytes = rejects.bytes_at(landed);
        rejects.landed(landed);
        Ok(State {
            rows: self.rows,
            rejects_bytes,
            token: sent.token.or_else(|| before.token.clone()),
        })
    }
}

/// `orders.csv` → `orders.csv.rejects.csv`.
pub fn beside(input: &Path) -> PathBuf {
    let mut name = input.file_name().unwrap_or_default().to_owned();
    name.push(".rejects.csv");
    input.with_file_name(name)
}

#[cfg(test)]
mod tests;
