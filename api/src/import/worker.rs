//! The thread that does the imports of the API, one after the other.
//!
//! How far an import is stands in its job's folder, so that one that a crash or a stop interrupted goes on after the next
//! start, and one that was cancelled goes on when somebody says so.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread::JoinHandle;

use actors::model::{Scope, SourceId, Time};
use ingest::file::Mapping;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::object;
use super::resume::Resume;
use super::sink::Sink;
use super::uploads::{KEPT_MS, Uploads};
use super::{ImportError, Outcome, Progress, Watch, Work};
use crate::app::Shared;
use crate::error::chain;
use crate::jobs::{JobView, Jobs, Taken, Ticket};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What import jobs are called.
pub const KIND: &str = "import";

/// What an import needs to be done (again).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The file; empty for an object.
    pub input: PathBuf,
    /// The object, if it is one of the object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<object::From>,
    /// Its number, if it was uploaded: it goes away once it is imported.
    pub upload: Option<u64>,
    /// The mapping as TOML; none: its lines are events of our own JSON.
    pub mapping: Option<String>,
    /// The source that its events come from.
    pub source: u32,
    /// The brand of that source.
    pub brand: u32,
    /// The API key that asked for it.
    pub key: i64,
}

/// Where a job's rejected rows lie.
pub fn rejects(jobs: &Jobs, id: u64) -> Option<PathBuf> {
    Some(jobs.folder_of(id)?.join("rejects.csv"))
}

/// Where uploaded files lie.
pub fn uploads(shared: &Shared) -> Uploads {
    Uploads::new(shared.config.data.join("uploads"))
}

/// Removes what imports have left when its time is up: uploads and copies that nobody has gone on with, and rejected rows,
/// which stay as long as other bytes that were received. Harmless at any time.
pub fn clean(shared: &Shared) {
    let now = shared.now();
    let rows_kept_ms = i64::from(shared.config.day_keys.days_kept) * DAY_MS;
    let mut used = Vec::new();
    for (job, upload) in all(shared) {
        let over = |kept_ms| ended(&job).is_some_and(|at| at.plus_ms(kept_ms) <= now);
        if !over(KEPT_MS) {
            used.extend(upload);
        }
        if over(rows_kept_ms)
            && let Some(path) = rejects(&shared.jobs, job.id)
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, job = job.id, "rejected rows cannot be removed");
        }
    }
    uploads(shared).clean(now, &used);
    object::clean(shared);
}

/// Removes files that wait for somebody: they may name a person who is erased, and nobody has said which. Those of imports
/// that are under way go when these are done.
pub fn forget(shared: &Shared) {
    let mut used = Vec::new();
    for (job, upload) in all(shared) {
        if ended(&job).is_none() {
            used.extend(upload);
        } else if let Some(copy) = object::copy(&shared.jobs, job.id) {
            copy.remove();
        }
    }
    uploads(shared).forget(&used);
}

/// Imports, and the uploads that they are of.
fn all(shared: &Shared) -> impl Iterator<Item = (JobView, Option<u64>)> {
    let jobs = shared.jobs.list_details(Some(KIND)).into_iter();
    jobs.map(|(job, detail)| {
        let detail: Option<Detail> = serde_json::from_value(detail).ok();
        (job, detail.and_then(|detail| detail.upload))
    })
}

fn ended(job: &JobView) -> Option<Time> {
    job.ended.as_deref().and_then(Time::from_rfc3339)
}

/// Starts the thread. It ends when [`Jobs::stop`] is called, in the middle of an import if need be.
pub fn start(shared: Shared) -> std::io::Result<JoinHandle<()>> {
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("imports".into())
        .spawn(move || {
            clean(&shared);
            while let Some(taken) = shared.jobs.take(KIND) {
                let id = taken.id;
                let done = catch_unwind(AssertUnwindSafe(|| import(&shared, &runtime, &taken)));
                let done = done.unwrap_or_else(|_| {
                    Err(ImportError::Send(
                        "it failed; see the log of the server".into(),
                    ))
                });
                finish(&shared, id, &taken, done);
            }
        })
}

fn finish(shared: &Shared, id: u64, taken: &Taken, done: Result<Outcome, ImportError>) {
    let stops = matches!(done, Err(ImportError::Cancelled { .. }))
        && shared.jobs.stopping()
        && !taken.ticket.cancelled();
    // What a store that was away has given already is not fetched twice; nothing else is worth its room.
    let passing = matches!(&done, Err(ImportError::Object(error)) if error.is_passing());
    if !stops
        && !passing
        && let Some(copy) = object::copy(&shared.jobs, id)
    {
        copy.remove();
    }
    let result = match done {
        Ok(outcome) => {
            if let Ok(Detail {
                upload: Some(upload),
                ..
            }) = serde_json::from_value(taken.detail.clone())
            {
                uploads(shared).remove(upload);
            }
            Ok(format!(
                "{} rows, {} set aside",
                outcome.rows, outcome.rejected
            ))
        }
        // The process stops: it goes on after the next start.
        Err(_) if stops => return,
        Err(error) => {
            let text = chain(&error);
            tracing::warn!(error = text, job = id, "an import ended early");
            Err(text)
        }
    };
    shared.jobs.end(id, result, shared.now());
}

fn import(shared: &Shared, runtime: &Handle, taken: &Taken) -> Result<Outcome, ImportError> {
    let wrong = |what: String| ImportError::Send(what);
    let detail: Detail = serde_json::from_value(taken.detail.clone())
        .map_err(|error| wrong(format!("a job of another version: {error}")))?;
    let mapping = match &detail.mapping {
        None => None,
        Some(text) => Some(Mapping::parse(text).map_err(|error| wrong(error.to_string()))?),
    };
    let folder = shared.jobs.folder_of(taken.id);
    let folder = folder.ok_or_else(|| wrong("jobs are not kept".into()))?;
    std::fs::create_dir_all(&folder).map_err(ImportError::io("the job's folder"))?;
    let everything = Scope::installation();
    let source = shared
        .registry()
        .source_get(&everything, SourceId(detail.source));
    let source = runtime
        .block_on(source)
        .map_err(|error| wrong(error.to_string()))?;
    let input = match &detail.object {
        Some(from) => object::fetch(shared, runtime, taken.id, from, &taken.ticket)?,
        None => detail.input,
    };
    let platform = shared.platform().clone();
    let sink = Sink::running(platform, &source, shared.config.data.clone());
    let work = Work {
        input: &input,
        mapping: mapping.as_ref(),
        rejects: folder.join("rejects.csv"),
        resume: Resume::at(folder.join("resume.json")),
        restart: false,
    };
    // So that a missing file is told as such.
    File::open(&input).map_err(ImportError::io("the file"))?;
    let watch = JobWatch {
        shared,
        ticket: &taken.ticket,
    };
    let outcome = super::run(runtime, &sink, work, &watch)?;
    taken.ticket.count("rows", outcome.rows);
    taken.ticket.count("rejected", outcome.rejected);
    Ok(outcome)
}

/// A job's ticket as the import's watch.
struct JobWatch<'j> {
    shared: &'j Shared,
    ticket: &'j Ticket,
}

impl Watch for JobWatch<'_> {
    fn opened(&self, _: &str, _: u64) {}

    fn progress(&self, progress: Progress) {
        self.ticket.progress(progress.done, progress.total);
        self.ticket.count("rows", progress.rows);
        self.ticket.count("rejected", progress.rejected);
    }

    fn cancelled(&self) -> bool {
        self.ticket.cancelled() || self.shared.jobs.stopping()
    }
}
