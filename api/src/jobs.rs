//! Long-running work that a person starts, watches and may cancel: backups.
//!
//! Jobs live as long as the process. One that a restart interrupted is simply started again: each writes its result whole
//! or not at all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actors::model::Time;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

/// Finished jobs that are remembered: a few months of nightly backups.
const FINISHED_KEPT: usize = 100;

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
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
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobView {
    /// Its number since the process started.
    pub id: u64,
    /// What it does, e.g. `backup`.
    pub kind: &'static str,
    /// What it works on, e.g. a folder.
    pub target: String,
    /// What it is doing.
    pub state: JobState,
    /// Work done so far.
    pub done: u64,
    /// Work in all, as far as known; 0: not known yet.
    pub total: u64,
    /// When it started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Why it failed, or what came out.
    pub message: Option<String>,
}

/// How a running job reports and hears of its cancellation. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ticket(Arc<Counters>);

#[derive(Default)]
struct Counters {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
}

impl Ticket {
    /// Reports progress.
    pub fn progress(&self, done: u64, total: u64) {
        self.0.done.store(done, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// Whether it should stop.
    pub fn cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }
}

struct Job {
    view: JobView,
    ticket: Ticket,
}

/// All jobs of this process.
#[derive(Default)]
pub struct Jobs {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    jobs: VecDeque<Job>,
}

impl Jobs {
    /// Enters a new job, unless one of its kind is running: then that one's id.
    pub fn start(
        &self,
        kind: &'static str,
        target: String,
        now: Time,
    ) -> Result<(u64, Ticket), u64> {
        let mut inner = self.inner.lock();
        let running = inner
            .jobs
            .iter()
            .find(|job| job.view.kind == kind && job.view.state == JobState::Running);
        if let Some(job) = running {
            return Err(job.view.id);
        }
        inner.last += 1;
        let id = inner.last;
        let ticket = Ticket::default();
        inner.jobs.push_back(Job {
            view: JobView {
                id,
                kind,
                target,
                state: JobState::Running,
                done: 0,
                total: 0,
                started: now.rfc3339(),
                ended: None,
                message: None,
            },
            ticket: ticket.clone(),
        });
        if inner.jobs.len() > FINISHED_KEPT {
            inner.jobs.pop_front();
        }
        Ok((id, ticket))
    }

    /// Notes how a job ended.
    pub fn end(&self, id: u64, result: Result<String, String>, now: Time) {
        let mut inner = self.inner.lock();
        if let Some(job) = inner.jobs.iter_mut().find(|job| job.view.id == id) {
            job.view.state = match &result {
                Ok(_) => JobState::Done,
                Err(_) if job.ticket.cancelled() => JobState::Cancelled,
                Err(_) => JobState::Failed,
            };
            job.view.ended = Some(now.rfc3339());
            job.view.message = Some(result.unwrap_or_else(|error| error));
        }
    }

    /// Asks a running job to stop. `None`: there is no such job.
    pub fn cancel(&self, id: u64) -> Option<JobView> {
        let inner = self.inner.lock();
        let job = inner.jobs.iter().find(|job| job.view.id == id)?;
        if job.view.state == JobState::Running {
            job.ticket.0.cancelled.store(true, Ordering::Relaxed);
        }
        Some(job.present())
    }

    /// One job.
    pub fn get(&self, id: u64) -> Option<JobView> {
        let inner = self.inner.lock();
        inner
            .jobs
            .iter()
            .find(|job| job.view.id == id)
            .map(Job::present)
    }

    /// All jobs, the newest first; of one kind, if asked.
    pub fn list(&self, kind: Option<&str>) -> Vec<JobView> {
        let inner = self.inner.lock();
        inner
            .jobs
            .iter()
            .rev()
            .filter(|job| kind.is_none_or(|kind| job.view.kind == kind))
            .map(Job::present)
            .collect()
    }
}

impl Job {
    fn present(&self) -> JobView {
        JobView {
            done: self.ticket.0.done.load(Ordering::Relaxed),
            total: self.ticket.0.total.load(Ordering::Relaxed),
            ..self.view.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_runs_alone_reports_and_ends() {
        let jobs = Jobs::default();
        let (id, ticket) = jobs.start("backup", "there".into(), Time(0)).unwrap();
        assert_eq!(jobs.start("backup", "here".into(), Time(0)).err(), Some(id));
        ticket.progress(3, 10);
        assert_eq!(
            (jobs.get(id).unwrap().done, jobs.get(id).unwrap().total),
            (3, 10)
        );
        jobs.end(id, Ok("fine".into()), Time(1_000));
        assert_eq!(jobs.get(id).unwrap().state, JobState::Done);
        assert!(jobs.start("backup", "here".into(), Time(0)).is_ok());
    }

    #[test]
    fn a_cancelled_job_is_no_failed_one() {
        let jobs = Jobs::default();
        let (id, ticket) = jobs.start("backup", "there".into(), Time(0)).unwrap();
        jobs.cancel(id).unwrap();
        assert!(ticket.cancelled());
        jobs.end(id, Err("stopped".into()), Time(0));
        assert_eq!(jobs.get(id).unwrap().state, JobState::Cancelled);
        assert!(jobs.cancel(99).is_none());
    }
}
