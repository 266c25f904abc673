//! Effects are held after a restore: what the backup had not sent yet may have been sent since by the original. A person
//! looks and releases or discards them.
//!
//! The hold is a file of the data folder. `restore` writes it before anything else, so a restore that breaks off cannot
//! leave a folder that sends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use actors::model::Time;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Why effects are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub since: Time,
    /// Why.
    pub reason: String,
}

/// The hold of a data folder.
#[derive(Debug)]
pub struct EffectHold {
    path: PathBuf,
    held: Mutex<Option<Hold>>,
}

impl EffectHold {
    /// Reads it. A file that does not read holds: somebody wanted nothing to be sent.
    pub fn open(path: PathBuf) -> io::Result<EffectHold> {
        let held = match fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| Hold {
                since: Time(0),
                reason: format!("{} does not read: {error}", path.display()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(EffectHold {
            path,
            held: Mutex::new(held),
        })
    }

    /// Why effects are held, if they are.
    pub fn held(&self) -> Option<Hold> {
        self.held.lock().clone()
    }

    /// Lets effects go. Answers whether they were held.
    pub fn release(&self) -> io::Result<bool> {
        let mut held = self.held.lock();
        if held.is_none() {
            return Ok(false);
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_parent(&self.path)?;
        *held = None;
        Ok(true)
    }
}

/// Writes a hold, durably.
pub fn write(path: &Path, hold: &Hold) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(path)?;
    file.write_all(&serde_json::to_vec(hold).expect("a hold serialises"))?;
    file.sync_all()?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_outlives_the_process_and_a_release_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/held.json");
        let hold = Hold {
            since: Time(5),
            reason: "restored".into(),
        };
        write(&path, &hold).unwrap();
        let opened = EffectHold::open(path.clone()).unwrap();
        assert_eq!(opened.held(), Some(hold));
        assert!(opened.release().unwrap());
        assert!(!opened.release().unwrap());
        assert_eq!(EffectHold::open(path.clone()).unwrap().held(), None);
        fs::write(&path, "torn").unwrap();
        assert!(EffectHold::open(path).unwrap().held().is_some());
    }
}
