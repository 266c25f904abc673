//! Measures from history: what a new rule asks about the past, read while the engine goes on.
//!
//! The engine begins to collect events of a measure at its position; history is read up to there, on a thread of its own;
//! installing joins the two. Nothing waits, and nothing is missed or counted twice. Nothing durable is written: after a
//! restart the rules that need it ask again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actors::history::{Columns, Each, History, HistoryError, HistoryEvent, Wanted};
use actors::model::Offset;
use cdp::audience::Series;
use cdp::rule::{Extractor, Measure};
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use serde::Serialize;

use super::person::names;

/// How long to wait for a history that does not reach far enough yet.
const BEHIND_WAIT: Duration = Duration::from_millis(20);

/// Events between two looks at whether to stop, and two counts.
const LOOK_EVERY: u64 = 4_096;

/// A backfill under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackfillState {
    /// Its number.
    pub id: u64,
    /// Measures that it reads, canonical JSON.
    pub measures: Vec<String>,
    /// History is read up to this result.
    pub until: u64,
    /// Events looked at.
    pub events: u64,
}

/// Backfills under way.
#[derive(Default)]
pub struct Backfills {
    running: Mutex<BTreeMap<u64, Arc<Backfill>>>,
    last: AtomicU64,
}

/// One backfill.
pub struct Backfill {
    id: u64,
    measures: Vec<Arc<Measure>>,
    until: Offset,
    events: AtomicU64,
    cancelled: AtomicBool,
}

impl Backfills {
    /// Those of `measures` that nobody reads yet.
    pub fn missing(&self, measures: &[Arc<Measure>]) -> Vec<Arc<Measure>> {
        let running = self.running.lock();
        let busy = |measure: &Arc<Measure>| {
            let mut all = running.values().flat_map(|it| &it.measures);
            all.any(|it| it.key() == measure.key())
        };
        measures.iter().filter(|it| !busy(it)).cloned().collect()
    }

    /// Notes a backfill of measures up to a position; run it with [`Backfill::read`], and say when it is over.
    pub fn begin(&self, measures: Vec<Arc<Measure>>, until: Offset) -> Arc<Backfill> {
        let id = 1 + self.last.fetch_add(1, Ordering::Relaxed);
        let backfill = Arc::new(Backfill {
            id,
            measures,
            until,
            events: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
        });
        self.running.lock().insert(id, backfill.clone());
        backfill
    }

    /// It is over.
    pub fn end(&self, backfill: &Backfill) {
        self.running.lock().remove(&backfill.id);
    }

    /// Stops one; answers whether it was there.
    pub fn cancel(&self, id: u64) -> bool {
        let running = self.running.lock();
        let found = running.get(&id);
        if let Some(backfill) = found {
            backfill.cancelled.store(true, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// Stops all.
    pub fn cancel_all(&self) {
        for backfill in self.running.lock().values() {
            backfill.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// What is under way.
    pub fn states(&self) -> Vec<BackfillState> {
        let running = self.running.lock();
        let state = |backfill: &Arc<Backfill>| BackfillState {
            id: backfill.id,
            measures: backfill
                .measures
                .iter()
                .map(|measure| measure.key().to_owned())
                .collect(),
            until: backfill.until.0,
            events: backfill.events.load(Ordering::Relaxed),
        };
        running.values().map(state).collect()
    }
}

impl Backfill {
    /// What it reads.
    pub fn measures(&self) -> &[Arc<Measure>] {
        &self.measures
    }

    /// Reads history into a series for each measure. `None`: it was cancelled.
    pub fn read(
        &self,
        history: &dyn History,
        zone: &TimeZone,
    ) -> Result<Option<Vec<Series>>, HistoryError> {
        let all = self.measures.iter().flat_map(|it| names(&it.names));
        let wanted = Wanted {
            names: Some(all.collect()),
            until: Some(self.until),
            columns: Columns {
                properties: true,
                order: self.measures.iter().any(|it| it.asks_orders()),
                ..Columns::NONE
            },
            ..Wanted::default()
        };
        let extractors: Vec<Extractor> = (self.measures.iter())
            .map(|measure| Extractor::new(measure.clone(), zone))
            .collect();
        let mut series: Vec<Series> = extractors.iter().cloned().map(Series::new).collect();
        loop {
            let mut count = 0u64;
            let mut each = |event: &HistoryEvent<'_>| {
                let facts = event.facts();
                for (extractor, series) in extractors.iter().zip(&mut series) {
                    if event.test {
                        break;
                    }
                    if extractor.measure().sees(event.brand)
                        && let Some(hit) = extractor.of(event.name, event.time, facts.as_deref())
                    {
                        series.push(event.fragment, event.raw, &hit);
                    }
                }
                count += 1;
                if count.is_multiple_of(LOOK_EVERY) {
                    self.events.store(count, Ordering::Relaxed);
                    if self.cancelled.load(Ordering::Relaxed) {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            };
            let sink: &mut Each<'_> = &mut each;
            match history.scan(&wanted, &mut [sink]) {
                Ok(scanned) if scanned.stopped => return Ok(None),
                Ok(_) => return Ok(Some(series)),
                // Refused before anything was shown.
                Err(HistoryError::Behind { .. }) if count == 0 => {
                    if self.cancelled.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                    std::thread::park_timeout(BEHIND_WAIT);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
