//! The thread that makes exports, one after the other.

use std::fs;
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use actors::model::{BrandId, Fault, MemberNo, Retry};
use actors::registry::Act;
use pipelines::audience::{AudienceError, Sees};
use pipelines::effect::kafka::{Message, SCHEME, SendError};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::columns::Column;
use super::row::RowMaker;
use super::table::{Finished, Table};
use super::{Detail, KIND, file, kept_until};
use crate::app::Shared;
use crate::error::{ApiError, chain};
use crate::jobs::{Taken, Ticket};
use crate::objects::{Location, Object, ObjectError, Patience, upload};

/// Members of one page: what one snapshot is kept for, some tens of milliseconds.
const PAGE: usize = 1_000;
/// One wait for the audience after a start; repeated until it is there or the job ends.
const AUDIENCE_WAIT: Duration = Duration::from_millis(500);
/// Waits for a segment that nobody knows: just after a start it is not told yet; one that was disabled never is.
const UNKNOWN_MAX: u32 = 10;
/// How often an export begins anew because somebody edited the rule, or was erased, meanwhile.
const TRIES_MAX: usize = 5;

/// Where it is noted which upload is under way, in the job's folder.
const UPLOAD: &str = "upload.json";

/// Why an export ends early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file of ours cannot be written.
    #[error("the file: {0}")]
    Io(#[from] std::io::Error),
    /// The audience does not answer.
    #[error(transparent)]
    Audience(#[from] AudienceError),
    /// Rows or the registry do not.
    #[error("{0}")]
    Read(String),
    /// The rule is being edited, or persons erased, all the time.
    #[error(
        "the rule of the segment was edited, or somebody erased, each time it was exported: try again"
    )]
    Edited,
    /// The object store does not take the file.
    #[error(transparent)]
    Object(ObjectError),
    /// The topic does not take the lines.
    #[error("the topic: {0}")]
    Topic(#[from] SendError),
    /// Somebody stopped it.
    #[error("cancelled behind {rows} members")]
    Cancelled {
        /// Rows that were written; there is no file.
        rows: u64,
    },
}

impl From<ApiError> for ExportError {
    fn from(error: ApiError) -> ExportError {
        ExportError::Read(error.message().to_owned())
    }
}

/// Removes the files of all exports: they may show somebody who is erased, and nobody can tell in which. Exports that are
/// being made begin anew.
pub fn forget(shared: &Shared) {
    shared.note_erased();
    for job in shared.jobs.list(Some(KIND)) {
        if job.ended.is_some()
            && let Some(folder) = shared.jobs.folder_of(job.id)
        {
            remove(&folder);
        }
    }
}

/// Removes files whose time is up. Harmless at any time.
pub fn clean(shared: &Shared) {
    for job in shared.jobs.list(Some(KIND)) {
        if kept_until(&job).is_some_and(|until| until <= shared.now())
            && let Some(folder) = shared.jobs.folder_of(job.id)
        {
            remove(&folder);
        }
    }
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Ok(()) => tracing::info!(folder = %folder.display(), "export removed"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "an export cannot be removed");
        }
    }
}

/// Starts the thread. It ends when [`crate::jobs::Jobs::stop`] is called, in the middle of an export if need be.
pub fn start(shared: Shared) -> std::io::Result<JoinHandle<()>> {
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("exports".into())
        .spawn(move || {
            // A file may wait, events may not.
            actors::runtime::worker::stand_back();
            clean(&shared);
            while let Some(taken) = shared.jobs.take(KIND) {
                let done = catch_unwind(AssertUnwindSafe(|| export(&shared, &runtime, &taken)));
                // The library of workbooks panics when its temporary files cannot be written.
                let done = done.unwrap_or_else(|_| {
                    let what = "it failed; see the log of the server, and whether the disk is full";
                    Err(ExportError::Read(what.into()))
                });
                finish(&shared, &taken, done);
                clean(&shared);
            }
        })
}

fn finish(shared: &Shared, taken: &Taken, done: Result<(String, u64), ExportError>) {
    let mut as_of = None;
    let result = match done {
        Ok((what, erased)) => {
            as_of = Some(erased);
            Ok(what)
        }
        // The process stops: it is made anew after the next start.
        Err(ExportError::Cancelled { .. })
            if shared.jobs.stopping() && !taken.ticket.cancelled() =>
        {
            return;
        }
        Err(error) => {
            let text = chain(&error);
            tracing::warn!(error = text, job = taken.id, "an export ended early");
            if let Some(folder) = shared.jobs.folder_of(taken.id) {
                remove(&folder);
            }
            Err(text)
        }
    };
    shared.jobs.end(taken.id, result, shared.now());
    // Somebody was erased just before it could be seen that there is a file.
    if as_of.is_some_and(|as_of| as_of != shared.erased())
        && let Some(folder) = shared.jobs.folder_of(taken.id)
    {
        remove(&folder);
    }
}

/// Makes the file; answers what to say of it, and how many persons were erased before it was begun.
fn export(shared: &Shared, runtime: &Handle, taken: &Taken) -> Result<(String, u64), ExportError> {
    let detail: Detail = serde_json::from_value(taken.detail.clone())
        .map_err(|error| ExportError::Read(format!("a job of another version: {error}")))?;
    let no_place = || ExportError::Read("jobs are not kept".into());
    let folder = shared.jobs.folder_of(taken.id).ok_or_else(no_place)?;
    let path = file(&shared.jobs, taken.id, detail.format).ok_or_else(no_place)?;
    let work = Work {
        shared,
        runtime,
        ticket: &taken.ticket,
        columns: detail
            .columns
            .iter()
            .filter_map(|it| Column::parse(it))
            .collect(),
        detail: &detail,
    };
    if work.columns.len() != detail.columns.len() {
        return Err(ExportError::Read("a job of another version".into()));
    }
    let settings = shared.config.object_store.as_ref();
    upload::forget(runtime, settings, &folder.join(UPLOAD));
    for _ in 0..TRIES_MAX {
        let erased = shared.erased();
        // What an interrupted run has left is not gone on with.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        work.audience()?;
        let now = shared.audience();
        let version = now.segment(&detail.scope.brands, detail.segment())?.version;
        let Some((rows, done)) = work.write(&path, version)? else {
            continue;
        };
        if shared.erased() != erased {
            continue;
        }
        let mut what = format!("{rows} members");
        if done.sheets > 1 {
            what.push_str(&format!(", {} sheets", done.sheets));
        }
        if done.cut > 0 {
            what.push_str(&format!(
                ", {} texts cut at 32,767 characters: take CSV",
                done.cut
            ));
        }
        taken.ticket.count("rows", rows);
        taken.ticket.count("bytes", done.bytes);
        // Before anybody can fetch it. A crash behind this makes the file, and the entry, once more.
        runtime.block_on(audit(shared, &detail, taken.id, "export", rows))?;
        if let Some(object) = detail.object(taken.id) {
            work.upload(&object, &path, &folder.join(UPLOAD), rows)?;
            what.push_str(&format!(", in {object}"));
        }
        if let Some(topic) = &detail.topic {
            work.produce(topic, &path, taken.id, rows)?;
            what.push_str(&format!(", sent to {SCHEME}{topic}"));
        }
        return Ok((what, erased));
    }
    Err(ExportError::Edited)
}

/// Enters into the audit chain what was done with an export.
pub async fn audit(
    shared: &Shared,
    detail: &Detail,
    job: u64,
    action: &str,
    rows: u64,
) -> Result<(), ApiError> {
    let masked = match super::masks(&detail.scope) {
        true => ", personal fields masked",
        false => "",
    };
    let to = match (detail.object(job), &detail.topic) {
        (Some(object), _) => format!(", to {object}"),
        (None, Some(topic)) => format!(", to {SCHEME}{topic}"),
        (None, None) => String::new(),
    };
    let act = Act {
        by: detail.by.clone(),
        from: detail.from.clone(),
        brand: BrandId(0),
        action: action.into(),
        kind: "segment".into(),
        item: detail.segment.to_string(),
        detail: format!(
            "export {job}: {rows} members, {} columns, {}{masked}{to}",
            detail.columns.len(),
            detail.format.ending(),
        ),
        change: None,
    };
    Ok(shared.registry().audit(&act, shared.now()).await?)
}

/// What says whose line it is.
#[derive(Deserialize)]
struct Keyed {
    id: Option<String>,
}

/// One run over a segment.
struct Work<'w> {
    shared: &'w Shared,
    runtime: &'w Handle,
    ticket: &'w Ticket,
    columns: Vec<Column>,
    detail: &'w Detail,
}

impl Work<'_> {
    /// Writes the file to the object store.
    fn upload(
        &self,
        object: &Location,
        file: &Path,
        note: &Path,
        rows: u64,
    ) -> Result<(), ExportError> {
        let settings = self.shared.config.object_store.as_ref();
        let object = Object::open(settings, object, Patience::Job).map_err(ExportError::Object)?;
        let mut watch = |done, total| {
            self.ticket.progress(done, total);
            self.ticket.count("uploaded_bytes", done);
            !self.stopped()
        };
        match upload::put(self.runtime, &object, file, note, &mut watch) {
            Ok(_) => Ok(()),
            Err(ObjectError::Cancelled { .. }) => Err(ExportError::Cancelled { rows }),
            Err(error) => Err(ExportError::Object(error)),
        }
    }

    /// Sends the lines of the file to a topic. One that is interrupted is made anew, so some may come twice.
    fn produce(&self, topic: &str, file: &Path, job: u64, rows: u64) -> Result<(), ExportError> {
        let missing = || ExportError::Read("kafka.brokers is not set any more".into());
        let kafka = self.shared.kafka().ok_or_else(missing)?;
        let (mut many, time) = (kafka.many()?, self.shared.now().rfc3339());
        let source = format!("/segments/{}/exports/{job}", self.detail.segment);
        for (number, line) in (1..).zip(BufReader::new(fs::File::open(file)?).lines()) {
            let body = line?;
            let member: Option<Keyed> = serde_json::from_str(&body).ok();
            let key = member.and_then(|it| it.id);
            // By member, not by line: another run may have others before it.
            let id = match &key {
                Some(key) => format!("exp_{job}_{key}"),
                None => format!("exp_{job}_{number}"),
            };
            let message = Message {
                topic,
                key: key.as_deref(),
                id: &id,
                source: &source,
                kind: "segment.member",
                time: &time,
                brand: None,
                body: &body,
            };
            self.runtime.block_on(many.push(message))?;
            if number % PAGE as u64 == 0 {
                self.ticket.progress(number, rows);
                self.ticket.count("sent", number);
                if self.stopped() {
                    return Err(ExportError::Cancelled { rows });
                }
            }
        }
        self.runtime.block_on(many.finish())?;
        self.ticket.count("sent", rows);
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.ticket.cancelled() || self.shared.jobs.stopping()
    }

    /// Waits until the audience is there: after a start it is made first, and then told which segments there are.
    fn audience(&self) -> Result<(), ExportError> {
        let mut unknown = 0;
        loop {
            if self.stopped() {
                return Err(ExportError::Cancelled { rows: 0 });
            }
            let audience = self.shared.audience();
            let wait = audience.wait(Sees::Segments, AUDIENCE_WAIT);
            let ready = match self.runtime.block_on(wait) {
                // Under load it may never have caught up: that is no reason to wait.
                Ok(()) | Err(AudienceError::Lagging(_)) => audience.segment_members(
                    &self.detail.scope.brands,
                    self.detail.segment(),
                    None,
                    0,
                ),
                Err(error) => Err(error),
            };
            match ready {
                Ok(_) => return Ok(()),
                Err(AudienceError::NoSegment(_)) if unknown < UNKNOWN_MAX => unknown += 1,
                Err(error) if matches!(error.retry(), Retry::After(_)) => {}
                Err(error) => return Err(error.into()),
            }
            std::thread::park_timeout(AUDIENCE_WAIT);
        }
    }

    /// Writes all members. `None`: the rule of this version was replaced meanwhile.
    fn write(
        &self,
        path: &Path,
        version: Option<u32>,
    ) -> Result<Option<(u64, Finished)>, ExportError> {
        let (shared, detail) = (self.shared, self.detail);
        let segment = detail.segment();
        let mut table = Table::create(path, detail.format, detail.raw, &detail.columns)?;
        let (mut rows, mut seen) = (0, 0);
        let mut after: Option<MemberNo> = None;
        loop {
            let (audience, brands) = (shared.audience(), &detail.scope.brands);
            let now = audience.segment(brands, segment)?;
            let numbers = audience.segment_members(brands, segment, after, PAGE)?;
            if now.version != version {
                return Ok(None);
            }
            let Some(last) = numbers.last() else { break };
            after = Some(*last);
            let snapshot = shared.snapshot()?;
            let (_, schema) = shared.attributes(&snapshot)?;
            let labels = shared.audience().names();
            let maker = RowMaker::new(&snapshot, &detail.scope, &self.columns, schema, &labels);
            for number in &numbers {
                if let Some(cells) = maker.cells(*number)? {
                    table.row(&cells)?;
                    rows += 1;
                }
            }
            seen += numbers.len() as u64;
            self.ticket.progress(seen, now.count.unwrap_or(0).max(seen));
            self.ticket.count("rows", rows);
            actors::crash::point("export-page");
            if self.stopped() {
                return Err(ExportError::Cancelled { rows });
            }
        }
        Ok(Some((rows, table.finish()?)))
    }
}
