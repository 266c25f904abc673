//! The crash-loop guard: a record that kills the process (memory, stack) must not kill it for ever.
//!
//! A panic is caught; what ends the process is not. So each unit says, in a file that outlives the process, which record it
//! decides ([`mark`]): from the first record of a batch until its result is ready to be appended, and at no other time. A
//! process that is killed while it opens, replays, waits for a commit or does nothing leaves no such word, and counts for
//! nothing. What counts as evidence, and what follows from it:
//!
//! 1. The process died while the unit decided, [`DEATHS_MAX`] times with no progress in between: the unit becomes
//!    **careful**. It decides one record (member units: one frame) at a time, and no other unit decides meanwhile. That
//!    costs speed and nothing else, and ends after [`CAREFUL_BATCHES`].
//! 2. The process died while a careful unit decided one certain record, [`ALONE_DEATHS_MAX`] times that same record:
//!    it is set aside, like one that panicked.
//!
//! So what was decided when somebody killed the process has to be that one record three times over, each time within the
//! microseconds that it takes, although it is the first thing decided after a start. Deaths in step 1 never count for
//! step 2, deaths of one record never for another.
//!
//! What stays: deaths at the end of a batch ([`crate::machine::Machine::finish`]) of a frame with several records are
//! nobody's. The unit stays careful, and the log names it.

mod mark;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::{Deserialize, Serialize};

use self::mark::{Death, Marks};
pub use self::mark::{Deciding, Mark};
use super::runner::BATCH_RECORDS_MAX;
use crate::disk::{self, RealDisk};
use crate::machine::RecordAt;
use crate::model::{Offset, PartitionId, Unit, UnitKind};

/// Deaths while a unit decided, without progress in between, after which it becomes careful. More would make a start wait
/// longer for nothing; with one, every kill under load would cost speed.
pub const DEATHS_MAX: u32 = 3;

/// Deaths while one record was decided alone after which it is set aside. One may be chance, two a bad day.
pub const ALONE_DEATHS_MAX: u32 = 3;

/// Batches after which a careful unit is as usual again: as many as records of the batch that was suspected.
pub const CAREFUL_BATCHES: usize = BATCH_RECORDS_MAX;

type Consumed = BTreeMap<PartitionId, Offset>;

/// What is known of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Where it stood at its last start.
    consumed: Consumed,
    /// Deaths while it decided from there.
    deaths: u32,
    careful: bool,
    /// Deaths while this one record was decided alone.
    alone: Vec<(RecordAt, u32)>,
    /// How the last run ended, until the unit starts.
    died: Option<Death>,
}

/// What is known of all, as kept in the file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Notes {
    /// Number of the last run: slots of others are old.
    run: u64,
    units: BTreeMap<String, Note>,
}

/// How a unit starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// One record at a time, and alone.
    pub careful: bool,
    /// Records that are set aside.
    pub aside: BTreeSet<RecordAt>,
}

/// Watches the units of a node.
pub struct Guard {
    file: PathBuf,
    notes: Mutex<Notes>,
    /// `None`: the file cannot be mapped, and nothing is ever suspected.
    marks: Option<Arc<Marks>>,
    run: u64,
    alone: RwLock<()>,
}

/// The right to decide now.
pub enum DecidingRight<'a> {
    /// Others may decide, too.
    Shared(RwLockReadGuard<'a, ()>),
    /// Nobody else does.
    Alone(RwLockWriteGuard<'a, ()>),
}

impl Guard {
    /// Reads what the last run left in a folder. What is damaged reads as nothing: the evidence is then gathered again.
    pub fn open(dir: &Path, partitions: u16) -> Guard {
        let file = dir.join("starts.json");
        let mut notes: Notes = std::fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let path = dir.join("deciding");
        let marks = Marks::open(&path, 1 + usize::from(partitions));
        let marks = marks
            .inspect_err(|error| {
                tracing::warn!(error = %error, file = %path.display(), "crash loops are not looked for");
            })
            .ok();
        if let Some(marks) = &marks {
            let members = (0..partitions).map(|partition| Unit::member(PartitionId(partition)));
            for unit in std::iter::once(Unit::IDENTITY).chain(members) {
                if let Some(death) = marks.death(slot(unit), notes.run) {
                    notes.units.entry(unit.to_string()).or_default().died = Some(death);
                }
            }
            notes.run = notes.run.max(marks.last_run());
        }
        notes.run += 1;
        let guard = Guard {
            file,
            run: notes.run,
            notes: Mutex::new(notes),
            marks: marks.map(Arc::new),
            alone: RwLock::new(()),
        };
        guard.write(&guard.notes.lock());
        guard
    }

    /// A unit starts at `consumed`. Also when it is built again within a run, which is no death.
    pub fn starts(&self, unit: Unit, consumed: &Consumed) -> Start {
        let mut notes = self.notes.lock();
        let note = notes.units.entry(unit.to_string()).or_default();
        let before = note.clone();
        note.look_back(consumed);
        let start = Start {
            careful: note.careful,
            aside: (note.alone.iter())
                .filter(|(_, deaths)| *deaths >= ALONE_DEATHS_MAX)
                .map(|(at, _)| *at)
                .collect(),
        };
        if *note != before {
            self.write(&notes);
        }
        start
    }

    /// The hand of a unit on its slot.
    pub fn mark(&self, unit: Unit, alone: bool) -> Option<Mark> {
        Some(Mark {
            marks: self.marks.clone()?,
            index: slot(unit),
            run: self.run,
            alone,
        })
    }

    /// Waits until this unit may decide: a careful one while nobody else does.
    pub fn may_decide(&self, alone: bool) -> DecidingRight<'_> {
        match alone {
            false => DecidingRight::Shared(self.alone.read()),
            true => DecidingRight::Alone(self.alone.write()),
        }
    }

    /// A careful unit has passed what it was suspected for.
    pub fn relieved(&self, unit: Unit) {
        let mut notes = self.notes.lock();
        if notes.units.remove(&unit.to_string()).is_some() {
            self.write(&notes);
        }
    }

    fn write(&self, notes: &Notes) {
        let bytes = serde_json::to_vec(notes).expect("notes serialise");
        if let Err(error) = disk::replace(&RealDisk, &self.file, &bytes) {
            tracing::warn!(error = %error, file = %self.file.display(), "cannot note the start");
        }
    }
}

impl Note {
    /// What the end of the last run means for a unit that stands at `consumed`.
    fn look_back(&mut self, consumed: &Consumed) {
        let moved = self.consumed != *consumed;
        self.consumed.clone_from(consumed);
        self.alone.retain(|(at, _)| !passed(*at, consumed));
        if moved {
            self.deaths = 0;
        }
        match self.died.take() {
            None if moved => self.careful = !self.alone.is_empty(),
            None => {}
            Some(Death { alone: false, .. }) => {
                self.deaths += 1;
                self.careful = self.deaths >= DEATHS_MAX || !self.alone.is_empty();
            }
            Some(Death { record, .. }) => {
                self.careful = true;
                if let Some(at) = record.filter(|at| !passed(*at, consumed)) {
                    match self.alone.iter_mut().find(|(known, _)| *known == at) {
                        Some((_, deaths)) => *deaths += 1,
                        None => self.alone.push((at, 1)),
                    }
                }
            }
        }
    }
}

/// Whether a unit that stands at `consumed` has a record behind it. A parked one that was tried again has been passed: it
/// is not tried a second time unless somebody asks.
fn passed(at: RecordAt, consumed: &Consumed) -> bool {
    let next = consumed.get(&at.position.partition).copied();
    at.position.offset < next.unwrap_or_default()
}

fn slot(unit: Unit) -> usize {
    match unit.kind {
        UnitKind::Identity => 0,
        UnitKind::Member => 1 + usize::from(unit.partition.0),
    }
}

#[cfg(test)]
mod tests;
