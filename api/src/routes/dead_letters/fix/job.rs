//! The job that mends by a rule.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use actors::model::{BrandId, BrandSet, Scope};
use cdp::dead::{DeadId, DeadRow};
use cdp::identity::row::{self, DecisionRow, Outcome};
use ingest::mend::Change;
use pipelines::Platform;
use tokio::runtime::Handle;

use super::super::filter::walk;
use super::{Detail, KIND, try_on};
use crate::app::Shared;
use crate::error::chain;
use crate::jobs::Taken;

/// Commands that are on their way at once: one group of the log.
const GROUP: usize = 100;
/// Rows that the job reads from one snapshot.
const READS_MAX: usize = 20_000;
/// A group is decided within this time, or the job ends and can be started again.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);
/// Reasons that the job's message names.
const REASONS_TOLD: usize = 5;

/// Starts the thread that mends. It ends when the jobs stop.
pub fn start(shared: Shared) -> std::io::Result<JoinHandle<()>> {
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("dead-letter-fix".into())
        .spawn(move || {
            while let Some(taken) = shared.jobs.take(KIND) {
                let done = catch_unwind(AssertUnwindSafe(|| run(&shared, &runtime, &taken)));
                let done =
                    done.unwrap_or_else(|_| Err("it failed; see the log of the server".into()));
                // The process stops: it goes on after the next start.
                if shared.jobs.stopping() && !taken.ticket.cancelled() && done.is_err() {
                    return;
                }
                shared.jobs.end(taken.id, done, shared.now());
            }
        })
}

/// What became of the letters of a job.
#[derive(Default)]
struct Tally {
    replayed: u64,
    left: u64,
    reasons: BTreeMap<String, u64>,
}

impl Tally {
    fn leave(&mut self, code: &str) {
        self.left += 1;
        *self.reasons.entry(code.to_owned()).or_default() += 1;
    }

    fn told(&self) -> String {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let reasons: Vec<String> = reasons
            .into_iter()
            .take(REASONS_TOLD)
            .map(|(code, count)| format!("{count} {code}"))
            .collect();
        match self.left {
            0 => format!("{} replayed", self.replayed),
            left => format!(
                "{} replayed, {left} left open: {}",
                self.replayed,
                reasons.join(", ")
            ),
        }
    }
}

fn run(shared: &Shared, runtime: &Handle, taken: &Taken) -> Result<String, String> {
    let detail: Detail = serde_json::from_value(taken.detail.clone())
        .map_err(|error| format!("a job of another version: {error}"))?;
    let (filter, changes) = detail
        .rule
        .read()
        .map_err(|error| error.message().to_owned())?;
    let scope = Scope {
        brands: match &detail.brands {
            None => BrandSet::All,
            Some(brands) => BrandSet::Only(brands.iter().map(|brand| BrandId(*brand)).collect()),
        },
        ..Scope::installation()
    };
    let platform = shared.platform();
    let request = |id: DeadId| format!("fix {}-{} {id}", detail.stamp, taken.id);
    // Commands of this job from before a crash are decided first: what they close is not sent again.
    let settled = platform.wait(platform.node().token(), DECIDED_WITHIN);
    runtime.block_on(settled).map_err(|error| chain(&error))?;
    let mut tally = Tally::default();
    let mut from = filter.start();
    loop {
        let (mut letters, mut next) = (Vec::new(), None);
        {
            let snapshot = platform.snapshot().map_err(|error| chain(&error))?;
            let mut last = None;
            let stopped = walk(&snapshot, &from, READS_MAX, |id, row: DeadRow| {
                last = Some(id);
                if filter.takes(id, &row, &scope) {
                    letters.push(id);
                }
                true
            });
            if stopped
                .map_err(|error| error.message().to_owned())?
                .is_some()
            {
                // The key behind the last one that was read.
                next = last.map(|id| [&id.key()[..], &[0]].concat());
            }
        }
        for group in letters.chunks(GROUP) {
            if taken.ticket.cancelled() || shared.jobs.stopping() {
                return Err(format!("stopped: {}", tally.told()));
            }
            replay(platform, runtime, group, &changes, &request, &mut tally)?;
            let done = tally.replayed + tally.left;
            taken.ticket.progress(done, done.max(letters.len() as u64));
            taken.ticket.count("replayed", tally.replayed);
            taken.ticket.count("left_open", tally.left);
        }
        match next {
            Some(key) => from = key,
            None => break,
        }
    }
    Ok(tally.told())
}

/// Replays a group and waits for what is decided.
fn replay(
    platform: &Platform,
    runtime: &Handle,
    group: &[DeadId],
    changes: &[Change],
    request: &dyn Fn(DeadId) -> String,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut commands = Vec::new();
    let mut sent = Vec::new();
    for &id in group {
        let original = platform
            .raw_event(id.position)
            .map_err(|error| chain(&error))?;
        let request = request(id);
        match try_on(id, original.as_ref(), changes, &request) {
            Ok((_, command)) => {
                commands.push(command);
                sent.push(request);
            }
            Err(error) => tally.leave(error.code()),
        }
    }
    if commands.is_empty() {
        return Ok(());
    }
    let decided = runtime.block_on(async {
        let token = platform.publish_all(&commands).await?;
        platform.wait(token, DECIDED_WITHIN).await
    });
    decided.map_err(|error| chain(&error))?;
    let snapshot = platform.snapshot().map_err(|error| chain(&error))?;
    for request in sent {
        let decision = row::get::<DecisionRow>(&snapshot, row::DECISION, request.as_bytes());
        match decision
            .map_err(|error| chain(&error))?
            .map(|it| it.outcome)
        {
            Some(Outcome::Done { .. }) => tally.replayed += 1,
            Some(Outcome::Refused { code, .. }) => tally.leave(&code),
            None => tally.leave("undecided"),
        }
    }
    Ok(())
}
