//! Which versions of definitions the log has had, where a restored registry cannot forget it.
//!
//! Units take a version once, and ignore it the second time. The registry gives the numbers; restored to an older state it
//! would give one again, and what people publish then would be in force nowhere. So the number is noted in a file of the
//! data folder before its record is appended: the registry gives numbers above those in the file.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use actors::disk::{self, RealDisk};
use parking_lot::Mutex;

/// Highest versions by kind.
pub(crate) struct Sent {
    file: PathBuf,
    versions: Mutex<BTreeMap<String, i64>>,
}

impl Sent {
    /// Reads the file. Without one (a folder from before it, a restored backup) there is only what units hold.
    pub fn open(file: PathBuf, held: impl IntoIterator<Item = (String, i64)>) -> io::Result<Sent> {
        let mut versions: BTreeMap<String, i64> = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        for (kind, version) in held {
            let known = versions.entry(kind).or_default();
            *known = version.max(*known);
        }
        Ok(Sent {
            file,
            versions: Mutex::new(versions),
        })
    }

    /// All that is known.
    pub fn all(&self) -> BTreeMap<String, i64> {
        self.versions.lock().clone()
    }

    /// A version is about to be sent; durable when this returns.
    pub fn note(&self, kind: &str, version: i64) -> io::Result<()> {
        let mut versions = self.versions.lock();
        if versions.get(kind).is_some_and(|known| *known >= version) {
            return Ok(());
        }
        let mut next = versions.clone();
        next.insert(kind.to_owned(), version);
        let bytes = serde_json::to_vec(&next).expect("texts and numbers serialise");
        disk::replace(&RealDisk, &self.file, &bytes)?;
        *versions = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = |held: &[(&str, i64)]| {
            let held = held
                .iter()
                .map(|(kind, version)| ((*kind).to_owned(), *version));
            Sent::open(dir.path().join("sent.json"), held).expect("opens")
        };
        let sent = open(&[("dictionary", 3)]);
        sent.note("dictionary", 4).expect("noted");
        sent.note("dictionary", 2).expect("noted");
        sent.note("attributes", 1).expect("noted");
        let known = BTreeMap::from([("attributes".to_owned(), 1), ("dictionary".to_owned(), 4)]);
        assert_eq!(open(&[("dictionary", 3)]).all(), known);
        assert_eq!(open(&[("dictionary", 7)]).all()["dictionary"], 7);
    }
}
