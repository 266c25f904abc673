//! The lake in a running platform: two threads, one that follows the results, one that rewrites files.
//!
//! The follower reads what is committed as it comes, so that readers of history see it within a moment. The other one
//! stands back behind everything: merges, erasures, damaged files. Neither can lose anything: the lake knows its position.

mod past;
mod source;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actors::log::Log;
use actors::log::segment::SegmentLog;
use actors::model::{Clock, Offset};
use actors::runtime::background::{self, Niceness};
use actors::seal::KeyRing;
use parking_lot::{Condvar, Mutex};
use query::lake::{Followed, Lake, LakeConfig, LakeError, LakeStats, Results};

pub use past::Past;
pub use source::ResultEvents;
pub(crate) use source::{bare, lines_of};

use crate::platform::StartError;

/// The follower looks at the age of its tail at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The other thread looks for something to rewrite this often.
const TEND_EVERY: Duration = Duration::from_secs(10);

/// A stop waits so long for the follower to reach the end of the log. A lake that is being made again would take hours: the
/// next start goes on with it.
const FINISH_WITHIN: Duration = Duration::from_secs(3);

/// Pause after a failure: a full disk is not full for a moment only.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How the lake of a platform is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LakeOptions {
    /// Rows in memory that are written at once.
    pub flush_rows: usize,
    /// Milliseconds after which they are written however few.
    pub flush_age_ms: i64,
}

impl Default for LakeOptions {
    fn default() -> LakeOptions {
        LakeOptions {
            flush_rows: 256 << 10,
            flush_age_ms: 300_000,
        }
    }
}

impl LakeOptions {
    /// Sets the fields of a lake's own configuration.
    pub fn apply(self, config: LakeConfig) -> LakeConfig {
        LakeConfig {
            flush_rows: self.flush_rows,
            flush_age_ms: self.flush_age_ms,
            ..config
        }
    }
}

/// File in the lake's folder that a restore leaves: the files are older than the keys beside them, so who was erased
/// since must be taken out of them.
pub const RESTORED: &str = "restored";

/// A platform without a lake: one that was there before does not hear who is erased, so it must ask when it is used again.
pub fn leave(folder: &Path) -> Result<(), LakeError> {
    match folder.join(query::lake::MANIFEST).exists() {
        true => mark(folder),
        false => Ok(()),
    }
}

/// Leaves [`RESTORED`] in a folder.
pub fn mark(folder: &Path) -> Result<(), LakeError> {
    let marked = File::create(folder.join(RESTORED)).and_then(|file| file.sync_all());
    marked.map_err(|error| LakeError::Io {
        what: "mark the folder",
        source: Arc::new(error),
    })
}

/// Starts the lake of a platform.
pub fn start(
    config: LakeConfig,
    results: &Arc<SegmentLog>,
    keys: &Arc<KeyRing>,
    clock: &Arc<dyn Clock>,
) -> Result<LakeService, StartError> {
    let marker = config.folder.join(RESTORED);
    let results: Arc<dyn Log> = results.clone();
    let events = ResultEvents::new(results.clone(), keys.clone());
    let service = LakeService::start(config, &results, events, clock)?;
    if marker.exists() {
        service.lake.erase(&keys.erased_fragments()?, clock.now())?;
        std::fs::remove_file(&marker).map_err(|error| LakeError::Io {
            what: "remove the mark of a restore",
            source: Arc::new(error),
        })?;
    }
    Ok(service)
}

/// A lake and the threads that keep it.
pub struct LakeService {
    lake: Arc<Lake>,
    events: Arc<ResultEvents>,
    signals: Arc<Signals>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads wait for.
#[derive(Default)]
struct Signals {
    /// No more results will come: write what is there and end.
    finish: AtomicBool,
    /// Give up rewriting.
    stop: AtomicBool,
    /// Why the follower stands still, if it does.
    trouble: Mutex<Option<String>>,
    news: Mutex<bool>,
    came: Condvar,
    /// For the other thread only: so that results do not wake it.
    bell: Mutex<()>,
    rang: Condvar,
}

impl Signals {
    fn ring(&self) {
        *self.news.lock() = true;
        self.came.notify_all();
    }

    fn wait(&self, limit: Duration) {
        let mut news = self.news.lock();
        if !*news {
            self.came.wait_for(&mut news, limit);
        }
        *news = false;
    }
}

impl LakeService {
    /// Opens the lake and starts its threads.
    pub fn start(
        config: LakeConfig,
        results: &Arc<dyn Log>,
        events: ResultEvents,
        clock: &Arc<dyn Clock>,
    ) -> Result<LakeService, LakeError> {
        let lake = Arc::new(Lake::open(config, &events)?);
        let events = Arc::new(events);
        let signals: Arc<Signals> = Arc::default();
        let bell = signals.clone();
        results.on_advance(Arc::new(move |_, _| bell.ring()));
        let failed = |error| LakeError::Io {
            what: "start a thread",
            source: Arc::new(error),
        };
        let follower = {
            let (lake, events) = (lake.clone(), events.clone());
            let (signals, clock) = (signals.clone(), clock.clone());
            let run = move || follow(&lake, &events, &signals, &*clock);
            background::spawn("lake", Niceness::Follows, run).map_err(failed)?
        };
        let tender = {
            let (lake, events) = (lake.clone(), events.clone());
            let (signals, clock) = (signals.clone(), clock.clone());
            let run = move || tend(&lake, &events, &signals, &*clock);
            background::spawn("lake-tend", Niceness::Last, run).map_err(failed)?
        };
        Ok(LakeService {
            lake,
            events,
            signals,
            threads: Mutex::new(vec![follower, tender]),
        })
    }

    /// The lake, for readers.
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// All events: the lake's, and from the log what it has not read yet.
    pub fn past(&self) -> Past {
        Past::new(self.lake.clone(), self.events.clone())
    }

    /// What it is like.
    pub fn stats(&self) -> LakeStats {
        self.lake.stats()
    }

    /// Results that it has not read yet.
    pub fn lag(&self) -> u64 {
        let (end, at) = (self.events.end(), self.lake.stats().position);
        end.0.saturating_sub(at.0)
    }

    /// Why it stands still, if it does.
    pub fn trouble(&self) -> Option<String> {
        self.signals.trouble.lock().clone()
    }

    /// Waits until events of all results below `wanted` are seen. `false`: not within the limit. Blocks its thread.
    pub fn wait(&self, wanted: Offset, limit: Duration) -> bool {
        /// A wait looks again this often: it is for jobs, not for requests.
        const LOOK: Duration = Duration::from_millis(5);
        let until = Instant::now() + limit;
        while self.lake.stats().position < wanted {
            if Instant::now() >= until {
                return false;
            }
            std::thread::park_timeout(LOOK);
        }
        true
    }

    /// Reads up to the end of the log, writes everything, ends the threads. The log must not grow any more.
    pub fn stop(&self) {
        self.signals.finish.store(true, Ordering::Release);
        self.signals.stop.store(true, Ordering::Release);
        self.signals.ring();
        {
            let _bell = self.signals.bell.lock();
            self.signals.rang.notify_all();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the lake ended by a panic");
            }
        }
    }
}

impl Drop for LakeService {
    fn drop(&mut self) {
        self.stop();
    }
}

fn follow(lake: &Lake, events: &ResultEvents, signals: &Signals, clock: &dyn Clock) {
    let mut ends: Option<Instant> = None;
    loop {
        let finish = signals.finish.load(Ordering::Acquire);
        if finish {
            ends.get_or_insert_with(|| Instant::now() + FINISH_WITHIN);
        }
        let late = ends.is_some_and(|ends| ends <= Instant::now());
        match lake.follow(events, clock.now()) {
            Ok(Followed::More) if !late => continue,
            Ok(_) => {
                *signals.trouble.lock() = None;
                if finish {
                    if let Err(error) = lake.flush() {
                        // The next start reads these results again.
                        tracing::warn!(%error, "the end of the lake is not written");
                    }
                    return;
                }
                signals.wait(LOOK_EVERY);
            }
            Err(error) => {
                let text = error.to_string();
                let known = signals.trouble.lock().replace(text.clone());
                if known.as_ref() != Some(&text) {
                    tracing::error!(%error, "the lake stands still");
                }
                if finish {
                    return;
                }
                std::thread::park_timeout(AGAIN_AFTER);
            }
        }
    }
}

fn tend(lake: &Lake, events: &ResultEvents, signals: &Signals, clock: &dyn Clock) {
    let mut told = None;
    while !signals.stop.load(Ordering::Acquire) {
        let healed = match lake.stats().damaged {
            0 => Ok(0),
            _ => lake.heal(events),
        };
        let done = healed.and_then(|_| lake.tend(clock.now(), &signals.stop));
        let pause = match done {
            Ok(true) => continue,
            Ok(false) => {
                told = None;
                TEND_EVERY
            }
            Err(LakeError::Stopped) => return,
            Err(error) => {
                let text = error.to_string();
                if told.as_ref() != Some(&text) {
                    tracing::error!(%error, "files of the lake cannot be rewritten");
                    told = Some(text);
                }
                AGAIN_AFTER
            }
        };
        let mut bell = signals.bell.lock();
        if !signals.stop.load(Ordering::Acquire) {
            signals.rang.wait_for(&mut bell, pause);
        }
    }
}

#[cfg(test)]
mod tests;
