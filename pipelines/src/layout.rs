//! The data folder: what lies where.
//!
//! ```text
//! lock            one process at a time
//! raw/            raw log: control and event partitions                  durable
//! results/        result log                                             durable
//! keys/           installation, day and fragment keys (backed up apart)  durable
//! registry.db     sources, keys, definitions                             durable
//! rows/           row store                                              cache of results
//! identity/       identity's memory, checkpointed                        cache of results
//! lake/           events in Parquet                                      cache of results
//! dictionary/     what is seen of names                                  cache of results
//! starts.json     notes of the crash-loop guard
//! deciding        what each unit decides at this moment, for that guard
//! archive.folder  where archived segments are                            durable
//! definitions-sent.json  versions of definitions that the log has had; without it those that units hold
//! tag-runs.json   when tags on a schedule were computed last
//! effects-held.json  effects wait for a person, after a restore
//! manual-clock    where the clock of a test installation stands
//! dead-letter-alerts.json  which alerts fire; without it those that do are told again
//! ```

use std::path::{Path, PathBuf};

/// Paths within a data folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of a folder.
    pub fn new(root: &Path) -> Layout {
        Layout {
            root: root.to_path_buf(),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The raw log.
    pub fn raw(&self) -> PathBuf {
        self.root.join("raw")
    }

    /// The result log.
    pub fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    /// The search index: a projection, made anew from the rows when it is gone.
    pub fn search(&self) -> PathBuf {
        self.root.join("search")
    }

    /// Versions of definitions that the log has had.
    pub fn definitions_sent(&self) -> PathBuf {
        self.root.join("definitions-sent.json")
    }

    /// When tags on a schedule were computed last.
    pub fn tag_runs(&self) -> PathBuf {
        self.root.join("tag-runs.json")
    }

    /// The keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The registry, when it is SQLite.
    pub fn registry(&self) -> PathBuf {
        self.root.join("registry.db")
    }

    /// The row store.
    pub fn rows(&self) -> PathBuf {
        self.root.join("rows")
    }

    /// Events in Parquet.
    pub fn lake(&self) -> PathBuf {
        self.root.join("lake")
    }

    /// What is seen of names: a projection, counted again from the log when it is gone.
    pub fn dictionary(&self) -> PathBuf {
        self.root.join("dictionary")
    }

    /// The note that says where archived segments are, if there is one.
    pub fn archive_note(&self) -> PathBuf {
        self.root.join("archive.folder")
    }

    /// The hold of effects, if there is one.
    pub fn effects_held(&self) -> PathBuf {
        self.root.join("effects-held.json")
    }

    /// Identity's memory.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }
}
