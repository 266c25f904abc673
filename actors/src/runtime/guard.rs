//! The crash-loop guard: a record that kills the process (memory, stack) must not kill it for ever.
//!
//! At every start the guard notes where each unit stands. A unit that stands where it stood at the last
//! [`STARTS_MAX`] starts decides one record at a time and notes each before it is decided; if the process dies once more,
//! the noted record is set aside like one that panicked. Progress, or nothing left to do, clears the note.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::disk::{self, RealDisk};
use crate::machine::RecordAt;
use crate::model::{Offset, PartitionId, Unit};

/// Starts at the same position after which a unit is suspected.
pub const STARTS_MAX: u32 = 3;

/// What is known of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    consumed: BTreeMap<PartitionId, Offset>,
    starts: u32,
    trying: Option<RecordAt>,
}

/// How a unit starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As usual.
    Usual,
    /// One record at a time, each noted first.
    Careful,
    /// Like careful, and this record is set aside.
    Without(RecordAt),
}

/// Notes of all units, in one small file.
pub struct Guard {
    file: PathBuf,
    notes: Mutex<BTreeMap<String, Note>>,
}

impl Guard {
    /// Reads the notes of a folder. A damaged file reads as none: the guard then needs three more starts.
    pub fn open(dir: &Path) -> Guard {
        let file = dir.join("starts.json");
        let notes = std::fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Guard {
            file,
            notes: Mutex::new(notes),
        }
    }

    /// A unit starts at `consumed`.
    pub fn starts(&self, unit: Unit, consumed: &BTreeMap<PartitionId, Offset>) -> Start {
        let mut notes = self.notes.lock();
        let note = notes.entry(unit.to_string()).or_default();
        if note.consumed != *consumed {
            *note = Note {
                consumed: consumed.clone(),
                ..Note::default()
            };
        }
        note.starts += 1;
        let start = match note.trying {
            Some(at) if note.starts > STARTS_MAX => Start::Without(at),
            _ if note.starts > STARTS_MAX => Start::Careful,
            _ => Start::Usual,
        };
        self.write(&notes);
        start
    }

    /// A careful unit is about to decide this record.
    pub fn tries(&self, unit: Unit, at: RecordAt) {
        let mut notes = self.notes.lock();
        notes.entry(unit.to_string()).or_default().trying = Some(at);
        self.write(&notes);
    }

    /// The unit has made progress, or has nothing to do.
    pub fn lives(&self, unit: Unit) {
        let mut notes = self.notes.lock();
        if notes.remove(&unit.to_string()).is_some() {
            self.write(&notes);
        }
    }

    fn write(&self, notes: &BTreeMap<String, Note>) {
        let bytes = serde_json::to_vec(notes).expect("notes serialise");
        if let Err(error) = disk::replace(&RealDisk, &self.file, &bytes) {
            tracing::warn!(error = %error, file = %self.file.display(), "cannot note the start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_27_a_record_that_kills_the_process_is_set_aside() {
        let dir = tempfile::tempdir().expect("a folder");
        let unit = Unit::IDENTITY;
        let at = BTreeMap::from([(PartitionId(1), Offset(40))]);
        for _ in 0..STARTS_MAX {
            assert_eq!(Guard::open(dir.path()).starts(unit, &at), Start::Usual);
        }
        let guard = Guard::open(dir.path());
        assert_eq!(guard.starts(unit, &at), Start::Careful);
        let poison = RecordAt::default();
        guard.tries(unit, poison);
        let guard = Guard::open(dir.path());
        assert_eq!(guard.starts(unit, &at), Start::Without(poison));
        guard.lives(unit);
        assert_eq!(Guard::open(dir.path()).starts(unit, &at), Start::Usual);
    }

    #[test]
    fn progress_between_starts_is_no_loop() {
        let dir = tempfile::tempdir().expect("a folder");
        for offset in 0..10 {
            let at = BTreeMap::from([(PartitionId(1), Offset(offset))]);
            assert_eq!(
                Guard::open(dir.path()).starts(Unit::IDENTITY, &at),
                Start::Usual
            );
        }
    }
}
