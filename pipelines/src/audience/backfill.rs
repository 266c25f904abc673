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
use actors::store::Snapshot;
use cdp::audience::Series;
use cdp::rule::{Extractor, Measure};
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use serde::Serialize;

use super::keep::position_of;
use super::person::names;
use super::{AudienceError, orders};

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

/// What a backfill has read.
pub struct Filled {
    /// A series for each measure.
    pub series: Vec<Series>,
    /// As of results below this offset: nothing older may be joined to it.
    pub position: Offset,
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
    /// Somebody broke it off.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// What it reads.
    pub fn measures(&self) -> &[Arc<Measure>] {
        &self.measures
    }

    /// Reads history, and orders as they stand, into a series for each measure. `None`: it was cancelled.
    pub fn read(
        &self,
        history: &dyn History,
        rows: &dyn Fn() -> Result<Snapshot, AudienceError>,
        zone: &TimeZone,
    ) -> Result<Option<Filled>, AudienceError> {
        let (orders, events): (Vec<_>, Vec<_>) =
            (self.measures.iter().cloned()).partition(|it| it.is_of_orders());
        let mut filled = Filled {
            series: Vec::new(),
            position: self.until,
        };
        if !events.is_empty() {
            let Some(series) = self.read_events(events, history, zone)? else {
                return Ok(None);
            };
            filled.series = series;
        }
        if !orders.is_empty() {
            let rows = rows()?;
            let Some(series) = self.read_orders(orders, &rows, zone)? else {
                return Ok(None);
            };
            filled.series.extend(series);
            filled.position = filled.position.max(position_of(&rows));
        }
        Ok(Some(filled))
    }

    fn read_orders(
        &self,
        measures: Vec<Arc<Measure>>,
        rows: &Snapshot,
        zone: &TimeZone,
    ) -> Result<Option<Vec<Series>>, AudienceError> {
        let empty = |measure| Series::new(Extractor::new(measure, zone));
        let mut series: Vec<Series> = measures.into_iter().map(empty).collect();
        let mut count = 0u64;
        let mut on = || {
            count += 1;
            self.goes_on(count)
        };
        let whole = orders::read_all(rows, &mut series, &mut on)?;
        Ok(whole.then_some(series))
    }

    /// Counts what is read; answers whether to go on.
    fn goes_on(&self, count: u64) -> bool {
        if !count.is_multiple_of(LOOK_EVERY) {
            return true;
        }
        self.events.store(count, Ordering::Relaxed);
        !self.is_cancelled()
    }

    fn read_events(
        &self,
        measures: Vec<Arc<Measure>>,
        history: &dyn History,
        zone: &TimeZone,
    ) -> Result<Option<Vec<Series>>, HistoryError> {
        let all = measures.iter().flat_map(|it| names(&it.names));
        let wanted = Wanted {
            names: Some(all.collect()),
            until: Some(self.until),
            columns: Columns {
                properties: true,
                order: measures.iter().any(|it| it.asks_orders()),
                ..Columns::NONE
            },
            ..Wanted::default()
        };
        let extractors: Vec<Extractor> = (measures.iter())
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
                match self.goes_on(count) {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            let sink: &mut Each<'_> = &mut each;
            match history.scan(&wanted, &mut [sink]) {
                Ok(scanned) if scanned.stopped => return Ok(None),
                Ok(_) => return Ok(Some(series)),
                // Refused before anything was shown.
                Err(HistoryError::Behind { .. }) if count == 0 => {
                    if self.is_cancelled() {
                        return Ok(None);
                    }
                    std::thread::park_timeout(BEHIND_WAIT);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
