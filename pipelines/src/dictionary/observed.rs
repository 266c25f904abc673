//! What is seen of names, in a running platform: a thread that follows the committed events and counts them.
//!
//! Its state lies in one file with the position up to which it counts, so a start goes on from there and counts nothing
//! twice. Without the file, or with one that does not read, everything is counted again from the log.
//!
//! Events of test sources are not counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actors::disk::{Disk, RealDisk, read_whole, replace};
use actors::log::Log;
use actors::machine::RecordAt;
use actors::model::{Offset, Time};
use actors::runtime::background::{self, Niceness};
use cdp::dictionary::{Catalogue, Personal, Seen};
use cdp::identity::row;
use cdp::rule::calendar::{day_of, day_start};
use jiff::tz::TimeZone;
use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
use query::lake::Results;
use serde::{Deserialize, Serialize};

use crate::audience::book::schema_of;
use crate::lake::ResultEvents;
use crate::platform::{Platform, PlatformError};

/// Results that are read at once: between two runs the thread looks whether it should end.
const RUN_RESULTS: u64 = 64;

/// The state is written at least this long apart: what a crash loses of it is counted again from the log.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// The thread looks for something to do this often even if nobody tells it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Which names are personal is read again after so long. What became personal meanwhile is forgotten then.
const PERSONAL_EVERY: Duration = Duration::from_secs(1);

/// Pause after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Form of the file; another one is counted again.
const VERSION: u8 = 1;

/// The file.
const FILE: &str = "observed";

/// Why the thread cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("the dictionary's folder {path}: {source}")]
pub struct ObservedError {
    path: PathBuf,
    source: std::io::Error,
}

/// What is seen of names, and the thread that counts.
pub struct Observed {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    catalogue: RwLock<Catalogue>,
    stop: AtomicBool,
    /// Results below this offset are counted; for waiting.
    reached: tokio::sync::watch::Sender<u64>,
    news: Mutex<bool>,
    came: Condvar,
    zone: TimeZone,
}

/// The state as it lies in the file.
#[derive(Serialize, Deserialize)]
struct Kept<C> {
    /// Results below are counted.
    next: Offset,
    catalogue: C,
}

impl Observed {
    /// Reads the state and starts the thread.
    pub fn start(platform: Arc<Platform>) -> Result<Observed, ObservedError> {
        let dir = platform.layout().dictionary();
        let failed = |source| ObservedError {
            path: dir.clone(),
            source,
        };
        RealDisk.create_dir(&dir).map_err(failed)?;
        let file = dir.join(FILE);
        let (next, catalogue) = read(&file).unwrap_or_default();
        let shared = Arc::new(Shared {
            catalogue: RwLock::new(catalogue),
            stop: AtomicBool::new(false),
            reached: tokio::sync::watch::Sender::new(next.0),
            news: Mutex::new(true),
            came: Condvar::new(),
            zone: platform.zone().clone(),
        });
        let bell = shared.clone();
        platform
            .logs()
            .1
            .on_advance(Arc::new(move |_, _| bell.ring()));
        let work = Work {
            events: platform.result_events(),
            key: blake3::derive_key(
                "tributary dictionary values",
                &platform.keys().fingerprint_key(),
            ),
            personal: Personal::default(),
            day: (0, Time(0), Time(0)),
            counted: None,
            written: next,
            next,
            file,
            platform,
            shared: shared.clone(),
        };
        let thread =
            background::spawn("dictionary", Niceness::Last, move || work.run()).map_err(failed)?;
        Ok(Observed {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What is counted so far. Counting waits while it is held.
    pub fn read(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.shared.catalogue.read()
    }

    /// Results below this offset are counted.
    pub fn position(&self) -> Offset {
        Offset(*self.shared.reached.borrow())
    }

    /// Waits until results below `until` are counted; `false` if that takes longer than `limit`.
    pub async fn wait(&self, until: Offset, limit: Duration) -> bool {
        let mut reached = self.shared.reached.subscribe();
        let there = reached.wait_for(|reached| *reached >= until.0);
        matches!(tokio::time::timeout(limit, there).await, Ok(Ok(_)))
    }

    /// The day of an instant, since 1970-01-01, in the installation's zone.
    pub fn day_of(&self, at: Time) -> i32 {
        day_of(at, &self.shared.zone)
    }

    /// The first instant of a day.
    pub fn day_start(&self, day: i32) -> Time {
        day_start(day, &self.shared.zone)
    }

    /// Writes the state and ends the thread.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the dictionary ended in a panic");
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
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

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

struct Work {
    platform: Arc<Platform>,
    events: ResultEvents,
    shared: Arc<Shared>,
    key: [u8; 32],
    personal: Personal,
    /// A day with its first instant and that of the next: most events follow each other on one.
    day: (i32, Time, Time),
    /// Results below are counted.
    next: Offset,
    /// The last event that is counted, if it is one of a run that broke off.
    counted: Option<RecordAt>,
    /// Results below are counted in the file.
    written: Offset,
    file: PathBuf,
}

impl Work {
    fn run(mut self) {
        if self.next > self.events.end() {
            tracing::warn!("the dictionary is ahead of the log: counting everything again");
            *self.shared.catalogue.write() = Catalogue::default();
            self.next = Offset(0);
            self.shared.reached.send_replace(0);
        }
        let mut told = None;
        let (mut wrote, mut looked) = (Instant::now(), None::<Instant>);
        while !self.shared.stopping() {
            if looked.is_none_or(|at| at.elapsed() >= PERSONAL_EVERY) {
                match self.look() {
                    Ok(()) => looked = Some(Instant::now()),
                    Err(error) => {
                        tracing::warn!(%error, "which names are personal cannot be read");
                        self.pause(AGAIN_AFTER);
                        continue;
                    }
                }
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => {
                    told = None;
                    self.shared.wait(LOOK_EVERY);
                }
                Err(error) => {
                    if told.as_ref() != Some(&error) {
                        tracing::error!(error, "the dictionary stands still");
                        told = Some(error);
                    }
                    self.pause(AGAIN_AFTER);
                }
            }
            if self.written < self.next && wrote.elapsed() >= WRITE_EVERY {
                self.write();
                wrote = Instant::now();
            }
        }
        if self.written < self.next {
            self.write();
        }
    }

    fn pause(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.shared.stopping() && Instant::now() < until {
            self.shared
                .wait(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Reads which names are personal; what has become so is forgotten.
    fn look(&mut self) -> Result<(), PlatformError> {
        let snapshot = self.platform.snapshot()?;
        let (_, rules) = row::rules(&snapshot)?;
        let schema = schema_of(&snapshot)?;
        let personal = Personal::of(&rules, &schema);
        if personal != self.personal {
            self.shared.catalogue.write().close(&personal);
            self.personal = personal;
        }
        Ok(())
    }

    /// Counts some results; `false` if there were none.
    fn step(&mut self) -> Result<bool, String> {
        let start = self.events.start();
        if self.next < start {
            tracing::warn!(from = %self.next, to = %start, "these results are gone: names in them are not counted");
            self.next = start;
        }
        let end = Offset(self.events.end().0.min(self.next.0 + RUN_RESULTS));
        if self.next >= end {
            return Ok(false);
        }
        let Work {
            events,
            shared,
            key,
            personal,
            day,
            counted,
            next,
            ..
        } = self;
        events.read(
            *next..end,
            &mut |event| !event.test && !event.order_only,
            &mut |event| {
                let place = |at: &RecordAt| (at.position.offset, at.index);
                if counted
                    .as_ref()
                    .is_some_and(|last| place(&event.at) <= place(last))
                {
                    return;
                }
                if !(day.1..day.2).contains(&event.received) {
                    let number = day_of(event.received, &shared.zone);
                    *day = (
                        number,
                        day_start(number, &shared.zone),
                        day_start(number.saturating_add(1), &shared.zone),
                    );
                }
                let values = event.identifiers.iter();
                let identifiers: Vec<&str> = values
                    .filter_map(|identifier| Some(identifier.split_once(':')?.1))
                    .collect();
                let seen = Seen {
                    brand: event.brand,
                    name: event.name,
                    source: event.source,
                    received: event.received,
                    day: day.0,
                    person: event.fragment.0,
                    identifiers: &identifiers,
                    properties: event.properties,
                    traits: event.traits,
                };
                shared.catalogue.write().observe(&seen, personal, key);
                *counted = Some(event.at);
            },
        )?;
        self.counted = None;
        self.next = end;
        self.shared.reached.send_replace(end.0);
        Ok(true)
    }

    fn write(&mut self) {
        let bytes = {
            let catalogue = self.shared.catalogue.read();
            encode(&Kept {
                next: self.next,
                catalogue: &*catalogue,
            })
        };
        match replace(&RealDisk, &self.file, &bytes) {
            Ok(()) => self.written = self.next,
            // Counted again after the next start.
            Err(error) => tracing::warn!(%error, "the dictionary's state is not written"),
        }
    }
}

/// Version, hash, state.
fn encode(kept: &Kept<&Catalogue>) -> Vec<u8> {
    let state = postcard::to_stdvec(kept).expect("our own types always serialise");
    let mut bytes = Vec::with_capacity(state.len() + 33);
    bytes.push(VERSION);
    bytes.extend_from_slice(blake3::hash(&state).as_bytes());
    bytes.extend_from_slice(&state);
    bytes
}

fn read(file: &std::path::Path) -> Option<(Offset, Catalogue)> {
    let bytes = match read_whole(&RealDisk, file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "the dictionary's state cannot be read: counting everything again");
            return None;
        }
    };
    let kept = decode(&bytes);
    if kept.is_none() {
        tracing::warn!(
            "the dictionary's state is damaged or of another version: counting everything again"
        );
    }
    kept.map(|kept| (kept.next, kept.catalogue))
}

fn decode(bytes: &[u8]) -> Option<Kept<Catalogue>> {
    let (version, rest) = bytes.split_first()?;
    let (hash, state) = rest.split_first_chunk::<32>()?;
    match *version == VERSION && blake3::hash(state) == *hash {
        true => postcard::from_bytes(state).ok(),
        false => None,
    }
}
