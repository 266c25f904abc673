//! Imports from the object store: an object is looked at and pinned, copied to the disk, and imported from there.

use std::path::PathBuf;

use ingest::file::FileError;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::ImportError;
use crate::app::Shared;
use crate::jobs::{JobView, Jobs, Ticket};
use crate::objects::head::TABLE_BYTES_MAX;
use crate::objects::spool::Spool;
use crate::objects::{Location, Object, ObjectError, Patience, Pin, Settings};

/// How long the copy of an import that failed waits for it to go on: as long as an uploaded file.
pub const COPY_KEPT_MS: i64 = 48 * 60 * 60 * 1_000;

/// The object of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    /// Its name.
    pub location: Location,
    /// The content that was there when it was asked for.
    pub pin: Pin,
}

/// An object that was looked at.
#[derive(Clone)]
pub struct Looked {
    /// Its connection.
    pub object: Object,
    /// Its content.
    pub pin: Pin,
}

/// Looks at an object for somebody who waits.
pub async fn look(settings: Option<&Settings>, location: &Location) -> Result<Looked, ObjectError> {
    let object = Object::open(settings, location, Patience::Asked)?;
    let pin = object.look().await?;
    Ok(Looked { object, pin })
}

impl Looked {
    /// Whether its copy may be so large.
    pub fn fits(&self, spool_bytes_max: u64) -> Result<(), ObjectError> {
        crate::objects::spool::fits(self.object.location(), &self.pin, spool_bytes_max)
    }

    /// Whether it is a table too large for a look. Blocks its thread.
    pub fn is_large_table(&self, runtime: &Handle) -> Result<bool, ObjectError> {
        Ok(self.pin.bytes > TABLE_BYTES_MAX
            && crate::objects::head::is_table(runtime, &self.object, &self.pin)?)
    }

    /// Its content for a look at its begin. Blocks its thread.
    pub fn content(&self, runtime: &Handle) -> Result<ingest::file::Content, LookError> {
        let content = crate::objects::head::content(runtime, &self.object, &self.pin)?;
        content.ok_or_else(|| {
            LookError::File(FileError::Limit {
                what: format!(
                    "an XLSX or Parquet object of more than {} MiB is not looked at inside the store: import it, or copy \
                     it and look at the file",
                    TABLE_BYTES_MAX / 1024 / 1024
                ),
            })
        })
    }
}

/// Why the begin of an object is not shown.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The file in it.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Where the copy of a job's object lies.
pub fn copy(jobs: &Jobs, id: u64) -> Option<Spool> {
    Some(Spool::at(jobs.folder_of(id)?.join("object")))
}

/// Copies a job's object, or goes on with it; answers the copy.
pub fn fetch(
    shared: &Shared,
    runtime: &Handle,
    id: u64,
    from: &From,
    ticket: &Ticket,
) -> Result<PathBuf, ImportError> {
    let spool = copy(&shared.jobs, id);
    let spool = spool.ok_or_else(|| ImportError::Send("jobs are not kept".into()))?;
    make_room(shared, id);
    let settings = shared.config.object_store.as_ref();
    let object = Object::open(settings, &from.location, Patience::Job)?;
    let max = settings.map_or(0, |settings| settings.spool_bytes_max);
    let mut watch = |done, total| {
        ticket.progress(done, total);
        ticket.count("copied_bytes", done);
        !ticket.cancelled() && !shared.jobs.stopping()
    };
    match spool.fill(runtime, &object, &from.pin, max, &mut watch) {
        // An import that is stopped is told as such.
        Err(ObjectError::Cancelled { .. }) => Err(ImportError::Cancelled { rows: 0 }),
        done => Ok(done?),
    }
}

/// One copy at a time: those that imports have left which failed give way.
fn make_room(shared: &Shared, but: u64) {
    for job in shared.jobs.list(Some(super::worker::KIND)) {
        if job.id != but
            && job.ended.is_some()
            && let Some(spool) = copy(&shared.jobs, job.id)
        {
            spool.remove();
        }
    }
}

/// Removes copies that nobody has gone on with in time.
pub fn clean(shared: &Shared) {
    let over = |job: &JobView| {
        let ended = job
            .ended
            .as_deref()
            .and_then(actors::model::Time::from_rfc3339);
        ended.is_some_and(|ended| ended.plus_ms(COPY_KEPT_MS) <= shared.now())
    };
    for job in shared.jobs.list(Some(super::worker::KIND)) {
        if over(&job)
            && let Some(spool) = copy(&shared.jobs, job.id)
        {
            spool.remove();
        }
    }
}
