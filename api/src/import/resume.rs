//! The resume file: how many rows of a file are durable. In the data folder for an import into it, beside the input for
//! one into a server. Its name holds what must not have changed: path, size, time of the file, mapping, source, target.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::sink::Sink;

/// What is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Rows.
    pub rows: u64,
    /// Bytes of the file of rejects that belong to them.
    pub rejects_bytes: u64,
    /// Token of the last group.
    pub token: Option<String>,
}

/// Where the state of one import lies.
pub struct Resume(PathBuf);

impl Resume {
    /// At a place that belongs to one import alone.
    pub fn at(path: PathBuf) -> Resume {
        Resume(path)
    }

    /// For this import.
    pub fn of(input: &Path, mapping: &str, source: &str, sink: &Sink) -> io::Result<Resume> {
        let path = input.canonicalize()?;
        let about = path.metadata()?;
        let modified = about.modified()?.duration_since(UNIX_EPOCH);
        // `DefaultHasher::new` has fixed keys. A later Rust may hash otherwise: then an import begins anew, which only
        // takes time.
        let mut hasher = DefaultHasher::new();
        (&path, about.len(), modified.unwrap_or_default()).hash(&mut hasher);
        (mapping, source, sink.target()).hash(&mut hasher);
        let key = format!("{:016x}", hasher.finish());
        let file = match sink.folder() {
            Some(folder) => folder.join("imports").join(format!("{key}.json")),
            None => {
                let mut name = std::ffi::OsString::from(".");
                name.push(input.file_name().unwrap_or_default());
                name.push(format!(".{key}.resume"));
                input.with_file_name(name)
            }
        };
        if let Some(folder) = sink.folder() {
            std::fs::create_dir_all(folder.join("imports"))?;
        }
        Ok(Resume(file))
    }

    /// What is durable; nothing, if there is no file or it does not read.
    pub fn load(&self) -> State {
        let text = std::fs::read(&self.0).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Notes what is durable. That it cannot be written costs time after a stop, nothing else.
    pub fn save(&self, state: &State) {
        let write = || -> io::Result<()> {
            let text = serde_json::to_vec(state).map_err(io::Error::other)?;
            let new = self.0.with_extension("new");
            std::fs::write(&new, text)?;
            std::fs::rename(&new, &self.0)
        };
        if let Err(error) = write() {
            tracing::warn!(%error, file = %self.0.display(), "the resume file cannot be written");
        }
    }

    /// The import is done: nothing to resume.
    pub fn done(&self) {
        // Not there if the file was imported in one group.
        let _ = std::fs::remove_file(&self.0);
    }
}
