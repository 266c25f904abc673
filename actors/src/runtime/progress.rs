//! How far each unit has come, so that a read can wait for a write.
//!
//! A token names a raw position. It is visible when identity has consumed it, when every member unit has consumed what
//! identity sent (and what members then sent each other), and when the rows of all these results are in the store.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::{Offset, PartitionId, Token, Unit};

/// What a unit reports after each commit, and when it has read on without finding anything for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitProgress {
    /// Input consumed, committed: next offset by log partition.
    pub consumed: BTreeMap<PartitionId, Offset>,
    /// Result-log offset of the last committed frame of this unit that sent anything; `None` before the first.
    pub last_sent: Option<Offset>,
    /// Batches committed.
    pub batches: u64,
    /// Results below are in its memory on disk; `None`: its memory is rows only.
    pub checkpointed: Option<Offset>,
    /// Why it stands still, if it does.
    pub stopped: Option<String>,
}

/// Progress of all units of a node.
pub struct Progress {
    units: Mutex<BTreeMap<Unit, UnitProgress>>,
    /// Rows of results below this offset are in the store.
    stored: Mutex<Offset>,
    changed: watch::Sender<u64>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            units: Mutex::default(),
            stored: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

/// Where a waiting read stands: first identity, then members (round by round), then the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// For identity to consume the token.
    Identity(Token),
    /// For all members to consume the result log below this offset.
    Members(Offset),
    /// For the store to hold all results below this offset.
    Store(Offset),
    /// Visible.
    Done,
}

impl Progress {
    /// A unit reports.
    pub fn report(&self, unit: Unit, change: impl FnOnce(&mut UnitProgress)) {
        change(self.units.lock().entry(unit).or_default());
        self.bump();
    }

    /// The store reports: all results below `end` are in it.
    pub fn stored(&self, end: Offset) {
        *self.stored.lock() = end;
        self.bump();
    }

    /// A copy of all units' progress.
    pub fn units(&self) -> BTreeMap<Unit, UnitProgress> {
        self.units.lock().clone()
    }

    /// Results below this offset are in the store.
    pub fn store_end(&self) -> Offset {
        *self.stored.lock()
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Goes on as far as possible. `results_end` answers the durable end of the result log.
    pub fn advance(&self, mut waiting: Waiting, results_end: impl Fn() -> Offset) -> Waiting {
        let units = self.units.lock();
        loop {
            let next = match waiting {
                Waiting::Identity(Token(position)) => {
                    let passed = units
                        .get(&Unit::IDENTITY)
                        .and_then(|unit| unit.consumed.get(&position.partition))
                        .is_some_and(|consumed| *consumed > position.offset);
                    if passed {
                        Waiting::Members(results_end())
                    } else {
                        waiting
                    }
                }
                Waiting::Members(end) => {
                    let members = || units.iter().filter(|(unit, _)| **unit != Unit::IDENTITY);
                    let behind = members().any(|(_, unit)| {
                        unit.consumed.values().next().copied().unwrap_or_default() < end
                    });
                    // What members sent each other meanwhile (moved fragments) belongs to the answer too.
                    let sent = members().filter_map(|(_, unit)| unit.last_sent).max();
                    match sent {
                        _ if behind => waiting,
                        Some(sent) if sent >= end => Waiting::Members(Offset(sent.0 + 1)),
                        _ => Waiting::Store(results_end()),
                    }
                }
                Waiting::Store(end) if *self.stored.lock() >= end => Waiting::Done,
                Waiting::Store(_) | Waiting::Done => waiting,
            };
            if next == waiting {
                return waiting;
            }
            waiting = next;
        }
    }

    fn bump(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}
