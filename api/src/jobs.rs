//! Long-running work that a person starts, watches and may cancel: backups, imports.
//!
//! Every job is a small file in the data folder, written when its state changes, so that jobs outlive the process. One
//! kind of work is done by one job at a time. What a job needs to be done again is its `detail`: a job with one that a
//! stop or a crash interrupted waits again after the next start, one without is said to have failed.
//!
//! Absent on purpose: how far a job is while it works. That is in memory; work that can go on keeps its own notes.

mod file;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actors::model::Time;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Finished jobs that are remembered: a few months of nightly backups.
const FINISHED_KEPT: usize = 100;
/// Jobs that may wait: more is a client in a loop.
const WAITING_MAX: usize = 1_000;

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Until others of its kind are done.
    Waiting,
    /// At work.
    Running,
    /// Done.
    Done,
    /// It failed; `message` says why.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// A job as the API shows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its number.
    pub id: u64,
    /// What it does, e.g. `backup`.
    pub kind: String,
    /// What it works on, e.g. a folder.
    pub target: String,
    /// What it is doing.
    pub state: JobState,
    /// Work done so far.
    pub done: u64,
    /// Work in all, as far as known; 0: not known yet.
    pub total: u64,
    /// When it was started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Why it failed, or what came out.
    pub message: Option<String>,
    /// Figures of its kind, e.g. `rows` and `rejected` of an import.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
}

/// How a running job reports and hears of its cancellation. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ticket(Arc<Counters>);

#[derive(Default)]
struct Counters {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Ticket {
    /// Reports progress.
    pub fn progress(&self, done: u64, total: u64) {
        self.0.done.store(done, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// Reports a figure of its kind.
    pub fn count(&self, name: &'static str, value: u64) {
        self.0.counts.lock().insert(name, value);
    }

    /// Whether it should stop.
    pub fn cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }
}

struct Job {
    view: JobView,
    /// What is needed to do it (again).
    detail: Value,
    ticket: Ticket,
}

/// All jobs of an installation.
#[derive(Default)]
pub struct Jobs {
    inner: Mutex<Inner>,
    /// Somebody may have something to do.
    news: Condvar,
    /// Where they are kept; none: they live as long as the process.
    folder: Option<PathBuf>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    jobs: VecDeque<Job>,
    stopping: bool,
}

/// A job that was taken up.
pub struct Taken {
    /// Its number.
    pub id: u64,
    /// What it is to do.
    pub detail: Value,
    /// How it reports.
    pub ticket: Ticket,
}

impl Jobs {
    /// The jobs that are kept in `folder`.
    pub fn open(folder: &Path) -> Jobs {
        let mut inner = Inner::default();
        for mut kept in file::read_all(folder) {
            let unfinished = matches!(kept.view.state, JobState::Running | JobState::Waiting);
            match unfinished && kept.detail.is_null() {
                true => {
                    kept.view.state = JobState::Failed;
                    kept.view.message =
                        Some("the process ended before it was done: start it again".into());
                }
                false if unfinished => kept.view.state = JobState::Waiting,
                false => {}
            }
            inner.last = inner.last.max(kept.view.id);
            inner.jobs.push_back(Job {
                view: kept.view,
                detail: kept.detail,
                ticket: Ticket::default(),
            });
        }
        Jobs {
            inner: Mutex::new(inner),
            news: Condvar::new(),
            folder: Some(folder.to_owned()),
        }
    }

    /// Enters a job that is done at once by the caller, unless one of its kind is running: then that one's id.
    pub fn start(&self, kind: &str, target: String, now: Time) -> Result<(u64, Ticket), u64> {
        let mut inner = self.inner.lock();
        let running = inner
            .jobs
            .iter()
            .find(|job| job.view.kind == kind && job.view.state == JobState::Running);
        if let Some(job) = running {
            return Err(job.view.id);
        }
        let (id, ticket) = inner.enter(kind, target, JobState::Running, Value::Null, now);
        // Not durable: then it is forgotten by a crash, which would have ended it anyway.
        if let Err(error) = self.keep(&inner, id) {
            tracing::warn!(%error, job = id, "the job's file cannot be written");
        }
        self.forget(&mut inner);
        Ok((id, ticket))
    }

    /// Enters a job that waits until a worker [takes](Jobs::take) it; durable when this returns.
    pub fn enqueue(
        &self,
        kind: &str,
        target: String,
        detail: Value,
        now: Time,
    ) -> std::io::Result<JobView> {
        let mut inner = self.inner.lock();
        let waiting = inner
            .jobs
            .iter()
            .filter(|job| job.view.state == JobState::Waiting);
        if waiting.count() >= WAITING_MAX {
            return Err(std::io::ErrorKind::QuotaExceeded.into());
        }
        let (id, _) = inner.enter(kind, target, JobState::Waiting, detail, now);
        if let Err(error) = self.keep(&inner, id) {
            inner.jobs.pop_back();
            return Err(error);
        }
        self.forget(&mut inner);
        self.news.notify_all();
        let job = inner.find(id).expect("it was entered under the same lock");
        Ok(job.present())
    }

    /// Waits for a job of this kind and takes it up, the oldest first; `None` once [stopped](Jobs::stop).
    pub fn take(&self, kind: &str) -> Option<Taken> {
        let mut inner = self.inner.lock();
        loop {
            if inner.stopping {
                return None;
            }
            let waiting = inner
                .jobs
                .iter_mut()
                .find(|job| job.view.kind == kind && job.view.state == JobState::Waiting);
            if let Some(job) = waiting {
                job.view.state = JobState::Running;
                return Some(Taken {
                    id: job.view.id,
                    detail: job.detail.clone(),
                    ticket: job.ticket.clone(),
                });
            }
            self.news.wait(&mut inner);
        }
    }

    /// Tells all workers to stop. A job that is interrupted so goes on after the next start.
    pub fn stop(&self) {
        self.inner.lock().stopping = true;
        self.news.notify_all();
    }

    /// Whether workers are to stop.
    pub fn stopping(&self) -> bool {
        self.inner.lock().stopping
    }

    /// Notes how a job ended.
    pub fn end(&self, id: u64, result: Result<String, String>, now: Time) {
        let mut inner = self.inner.lock();
        if let Some(job) = inner.find_mut(id) {
            let state = match &result {
                Ok(_) => JobState::Done,
                Err(_) if job.ticket.cancelled() => JobState::Cancelled,
                Err(_) => JobState::Failed,
            };
            job.finish(state, result.unwrap_or_else(|error| error), now);
        }
        if let Err(error) = self.keep(&inner, id) {
            tracing::warn!(%error, job = id, "the job's file cannot be written");
        }
    }

    /// Asks a job to stop; one that waits never starts. `None`: there is no such job.
    pub fn cancel(&self, id: u64, now: Time) -> Option<JobView> {
        let mut inner = self.inner.lock();
        let job = inner.find_mut(id)?;
        match job.view.state {
            JobState::Running => job.ticket.0.cancelled.store(true, Ordering::Relaxed),
            JobState::Waiting => {
                job.finish(JobState::Cancelled, "cancelled before it began".into(), now);
            }
            _ => {}
        }
        let view = job.present();
        if let Err(error) = self.keep(&inner, id) {
            tracing::warn!(%error, job = id, "the job's file cannot be written");
        }
        Some(view)
    }

    /// Lets a job that failed or was cancelled wait again. `None`: there is none that could.
    pub fn again(&self, id: u64) -> Option<std::io::Result<JobView>> {
        let mut inner = self.inner.lock();
        let job = inner.find_mut(id)?;
        let ended = matches!(job.view.state, JobState::Failed | JobState::Cancelled);
        if !ended || job.detail.is_null() {
            return None;
        }
        job.view.state = JobState::Waiting;
        job.view.ended = None;
        job.view.message = None;
        job.ticket = Ticket::default();
        let view = job.present();
        let kept = self.keep(&inner, id);
        self.news.notify_all();
        Some(kept.map(|()| view))
    }

    /// One job and what it needs.
    pub fn detail(&self, id: u64) -> Option<(JobView, Value)> {
        let inner = self.inner.lock();
        let job = inner.find(id)?;
        Some((job.present(), job.detail.clone()))
    }

    /// One job.
    pub fn get(&self, id: u64) -> Option<JobView> {
        self.inner.lock().find(id).map(Job::present)
    }

    /// All jobs, the newest first; of one kind, if asked.
    pub fn list(&self, kind: Option<&str>) -> Vec<JobView> {
        let details = self.list_details(kind);
        details.into_iter().map(|(view, _)| view).collect()
    }

    /// All jobs with what they need, the newest first; of one kind, if asked.
    pub fn list_details(&self, kind: Option<&str>) -> Vec<(JobView, Value)> {
        let inner = self.inner.lock();
        inner
            .jobs
            .iter()
            .rev()
            .filter(|job| kind.is_none_or(|kind| job.view.kind == kind))
            .map(|job| (job.present(), job.detail.clone()))
            .collect()
    }

    /// A folder of a job's own; it goes away with the job. `None`: jobs are not kept.
    pub fn folder_of(&self, id: u64) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(id.to_string()))
    }

    fn keep(&self, inner: &Inner, id: u64) -> std::io::Result<()> {
        match (&self.folder, inner.find(id)) {
            (Some(folder), Some(job)) => file::write(folder, &job.view, &job.detail),
            _ => Ok(()),
        }
    }

    /// Forgets the oldest finished jobs beyond those that are kept.
    fn forget(&self, inner: &mut Inner) {
        let finished = |job: &Job| job.view.ended.is_some();
        let mut over = inner
            .jobs
            .iter()
            .filter(|job| finished(job))
            .count()
            .saturating_sub(FINISHED_KEPT);
        let mut gone = Vec::new();
        inner.jobs.retain(|job| {
            let goes = over > 0 && finished(job);
            if goes {
                over -= 1;
                gone.push(job.view.id);
            }
            !goes
        });
        for id in gone {
            if let Some(folder) = &self.folder {
                file::remove(folder, id);
            }
        }
    }
}

impl Inner {
    fn enter(
        &mut self,
        kind: &str,
        target: String,
        state: JobState,
        detail: Value,
        now: Time,
    ) -> (u64, Ticket) {
        self.last += 1;
        let ticket = Ticket::default();
        self.jobs.push_back(Job {
            view: JobView {
                id: self.last,
                kind: kind.to_owned(),
                target,
                state,
                done: 0,
                total: 0,
                started: now.rfc3339(),
                ended: None,
                message: None,
                counts: BTreeMap::new(),
            },
            detail,
            ticket: ticket.clone(),
        });
        (self.last, ticket)
    }

    fn find(&self, id: u64) -> Option<&Job> {
        self.jobs.iter().find(|job| job.view.id == id)
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.view.id == id)
    }
}

impl Job {
    fn finish(&mut self, state: JobState, message: String, now: Time) {
        self.view = self.present();
        self.view.state = state;
        self.view.ended = Some(now.rfc3339());
        self.view.message = Some(message);
    }

    fn present(&self) -> JobView {
        // A job of an earlier run has what it had then.
        let counters = &self.ticket.0;
        let (done, total) = (
            counters.done.load(Ordering::Relaxed),
            counters.total.load(Ordering::Relaxed),
        );
        let mut view = self.view.clone();
        if done > 0 || total > 0 {
            (view.done, view.total) = (done, total);
        }
        for (name, value) in &*counters.counts.lock() {
            view.counts.insert((*name).to_owned(), *value);
        }
        view
    }
}

#[cfg(test)]
mod tests;
