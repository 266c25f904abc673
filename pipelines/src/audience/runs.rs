//! When tags on a schedule were computed last: a small file, so that a restart neither repeats nor leaves out a time.
//!
//! It is a note, not a fact: without it a tag is computed once more, which changes only what it should change.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use actors::model::{TagId, Time};

/// The note.
#[derive(Debug)]
pub struct Runs {
    path: PathBuf,
    last: BTreeMap<u32, i64>,
}

impl Runs {
    /// Reads it; what cannot be read is as if it had not been.
    pub fn open(path: &Path) -> Runs {
        let last = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, path = %path.display(), "the note of tags does not read");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Runs {
            path: path.to_owned(),
            last,
        }
    }

    /// The time for which a tag was computed last.
    pub fn last(&self, tag: TagId) -> Option<Time> {
        self.last.get(&tag.0).map(|ms| Time(*ms))
    }

    /// A tag was computed for this time.
    pub fn note(&mut self, tag: TagId, due: Time) {
        self.last.insert(tag.0, due.0);
        if let Err(error) = self.write() {
            tracing::warn!(%error, path = %self.path.display(), "the note of tags is not written");
        }
    }

    fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&self.last)?)?;
        std::fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_and_damage_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.json");
        let mut runs = Runs::open(&path);
        assert_eq!(runs.last(TagId(7)), None);
        runs.note(TagId(7), Time(5));
        runs.note(TagId(8), Time(6));
        assert_eq!(Runs::open(&path).last(TagId(7)), Some(Time(5)));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Runs::open(&path).last(TagId(7)), None);
    }
}
