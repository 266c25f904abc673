//! Backup of a running platform, and restore into a new folder.
//!
//! A backup is a folder: `manifest.json` (positions and the hash of every file), `rows.dump` (all rows at one position),
//! copies of the lake, of both logs and of the registry; and, apart, the keys. Without the keys its logs say nothing about
//! anybody (rows and the lake do), and what was erased since stays unreadable once the newer keys are restored with it: the
//! lake asks them at its first start.
//!
//! The order of copying makes it consistent without stopping anybody: rows and the lake first, then results, then raw,
//! then keys. So results reach at least to the position of both, raw holds all that the results consumed, and every key
//! that a copied record needs was there before it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use actors::model::{Clock, ErrorKind, Fault, SystemClock};
use actors::store::{DumpError, RowStore, StoreConfig};
use query::lake::{self, Lake};
use serde::{Deserialize, Serialize};

use crate::effect::hold::{self, Hold};
use crate::layout::Layout;
use crate::platform::{Platform, PlatformError};

/// Version of the backup's form.
const FORM: u32 = 1;
const MANIFEST: &str = "manifest.json";
const ROWS: &str = "rows.dump";

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target exists and is not empty.
    #[error("{0} is not empty: give a new folder")]
    NotEmpty(PathBuf),
    /// There is no manifest, which is written last.
    #[error("{0} is no whole backup: manifest.json, which is written last, is not there")]
    NotWhole(PathBuf),
    /// A file of the backup is missing or not what it was.
    #[error("the backup is damaged: {file}: {what}")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// Written by a later version.
    #[error("the backup has form {0}, this version reads form {FORM}: use a newer version")]
    Newer(u32),
    /// Somebody cancelled it; what was copied has been removed.
    #[error("the backup was cancelled")]
    Cancelled,
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// Rows could not be dumped or loaded.
    #[error(transparent)]
    Rows(#[from] DumpError),
    /// The platform could not be read.
    #[error(transparent)]
    Platform(#[from] PlatformError),
}

impl Fault for BackupError {
    fn kind(&self) -> ErrorKind {
        match self {
            BackupError::NotEmpty(_) | BackupError::Cancelled => ErrorKind::Conflict,
            BackupError::Damaged { .. } => ErrorKind::Corrupt,
            BackupError::NotWhole(_) | BackupError::Newer(_) => ErrorKind::Invalid,
            BackupError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ErrorKind::Full
            }
            BackupError::Io { .. } => ErrorKind::Internal,
            BackupError::Rows(error) => error.kind(),
            BackupError::Platform(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            BackupError::NotEmpty(_) => "backup_target",
            BackupError::NotWhole(_) => "backup_not_whole",
            BackupError::Damaged { .. } => "backup_damaged",
            BackupError::Newer(_) => "backup_newer",
            BackupError::Cancelled => "backup_cancelled",
            BackupError::Io { .. } => "backup_io",
            BackupError::Rows(error) => error.code(),
            BackupError::Platform(error) => error.code(),
        }
    }
}

/// What a backup holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Form of the backup.
    pub form: u32,
    /// Version of the program that wrote it.
    pub program: String,
    /// When, RFC 3339.
    pub taken: String,
    /// Rows dumped.
    pub rows: u64,
    /// Bytes and hash by file, relative to the backup or (prefix `keys/`) to the keys' folder.
    pub files: BTreeMap<String, FileEntry>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3, hex.
    pub blake3: String,
}

/// Progress of a backup or restore, and the wish to cancel it.
pub trait Watch: Sync {
    /// Bytes copied so far and of which file.
    fn copied(&self, bytes: u64, file: &str);
    /// Whether to stop.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing.
impl Watch for () {
    fn copied(&self, _: u64, _: &str) {}
}

/// Watches for a cancel only.
impl Watch for AtomicBool {
    fn copied(&self, _: u64, _: &str) {}
    fn cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

/// Takes a backup of a running platform into `to`, its keys into `keys`. `registry` copies the registry to a path.
pub fn backup(
    platform: &Platform,
    to: &Path,
    keys: &Path,
    registry: impl FnOnce(&Path) -> Result<(), String>,
    watch: &dyn Watch,
) -> Result<Manifest, BackupError> {
    let fresh = [make_empty(to)?, make_empty(keys)?];
    let taken = copy_all(platform, to, keys, registry, watch);
    if taken.is_err() {
        for folder in fresh.into_iter().flatten() {
            let _ = fs::remove_dir_all(folder);
        }
    }
    taken
}

fn copy_all(
    platform: &Platform,
    to: &Path,
    keys: &Path,
    registry: impl FnOnce(&Path) -> Result<(), String>,
    watch: &dyn Watch,
) -> Result<Manifest, BackupError> {
    let layout = platform.layout();
    let mut copier = Copier {
        watch,
        total: 0,
        files: BTreeMap::new(),
    };
    let dump = to.join(ROWS);
    let file = File::create(&dump).map_err(|source| failed("create rows.dump", source))?;
    let mut out = BufWriter::new(file);
    let rows = platform.snapshot()?.dump(&mut out)?;
    let file = out
        .into_inner()
        .map_err(|error| failed("write rows.dump", error.into_error()))?;
    file.sync_all()
        .map_err(|source| failed("sync rows.dump", source))?;
    copier.note(&dump, ROWS)?;
    if let Some(service) = platform.lake() {
        copier.lake(service.lake(), &to.join("lake"))?;
    }
    copier.folder(&layout.results(), &to.join("results"), "results")?;
    copier.folder(&layout.raw(), &to.join("raw"), "raw")?;
    // Archived segments stay where they are; the restored folder reads them there.
    if layout.archive_note().is_file() {
        copier.file(
            &layout.archive_note(),
            &to.join("archive.folder"),
            "archive.folder",
        )?;
    }
    let copy = to.join("registry.db");
    registry(&copy).map_err(|what| BackupError::Damaged {
        file: "registry.db".into(),
        what,
    })?;
    if copy.exists() {
        copier.note(&copy, "registry.db")?;
    }
    copier.folder(&layout.keys(), keys, "keys")?;
    let manifest = Manifest {
        form: FORM,
        program: env!("CARGO_PKG_VERSION").into(),
        taken: platform.clock().now().rfc3339(),
        rows,
        files: copier.files,
    };
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest serialises");
    write_synced(&to.join(MANIFEST), &text)?;
    Ok(manifest)
}

/// Makes a data folder from a backup. `data` must be new or empty. The first start rebuilds identity's memory, applies
/// results behind the rows and decides what has no result. Effects are held there until a person releases them.
pub fn restore(
    from: &Path,
    keys: &Path,
    data: &Path,
    watch: &dyn Watch,
) -> Result<Manifest, BackupError> {
    let text = fs::read(from.join(MANIFEST)).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => BackupError::NotWhole(from.to_owned()),
        _ => failed("read manifest.json", source),
    })?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| BackupError::Damaged {
            file: MANIFEST.into(),
            what: error.to_string(),
        })?;
    if manifest.form > FORM {
        return Err(BackupError::Newer(manifest.form));
    }
    let fresh = make_empty(data)?;
    let done = fill(from, keys, data, &manifest, watch);
    if done.is_err()
        && let Some(folder) = fresh
    {
        let _ = fs::remove_dir_all(folder);
    }
    done.map(|()| manifest)
}

fn fill(
    from: &Path,
    keys: &Path,
    data: &Path,
    manifest: &Manifest,
    watch: &dyn Watch,
) -> Result<(), BackupError> {
    let mut copier = Copier {
        watch,
        total: 0,
        files: BTreeMap::new(),
    };
    let layout = Layout::new(data);
    // First of all: a folder that was not restored to its end must not send anything either.
    let hold = Hold {
        since: SystemClock.now(),
        reason: format!("restored from a backup of {}", manifest.taken),
    };
    hold::write(&layout.effects_held(), &hold)
        .map_err(|source| failed("write the hold of effects", source))?;
    for (name, entry) in &manifest.files {
        let (source, target) = match name.strip_prefix("keys/") {
            Some(key) => (keys.join(key), layout.keys().join(key)),
            None => (from.join(name), data.join(name)),
        };
        if !source.is_file() {
            return Err(BackupError::Damaged {
                file: name.clone(),
                what: "it is missing".into(),
            });
        }
        if name == ROWS {
            copier.note(&source, name)?;
        } else {
            copier.file(&source, &target, name)?;
        }
        if copier.files.get(name) != Some(entry) {
            return Err(BackupError::Damaged {
                file: name.clone(),
                what: "its length or hash is not what the manifest says".into(),
            });
        }
    }
    if layout.lake().is_dir() {
        crate::lake::mark(&layout.lake()).map_err(|error| BackupError::Damaged {
            file: "lake".into(),
            what: error.to_string(),
        })?;
    }
    let mut dump = io::BufReader::new(
        File::open(from.join(ROWS)).map_err(|source| failed("open rows.dump", source))?,
    );
    RowStore::load(&layout.rows(), &StoreConfig::default(), &mut dump)?;
    Ok(())
}

/// Copies files, counting and hashing what it copies.
struct Copier<'a> {
    watch: &'a dyn Watch,
    total: u64,
    files: BTreeMap<String, FileEntry>,
}

impl Copier<'_> {
    /// Copies the lake's files as they are now, and the manifest that names them.
    fn lake(&mut self, lake: &Lake, to: &Path) -> Result<(), BackupError> {
        let pinned = lake.pin();
        fs::create_dir_all(to).map_err(|source| failed("create a folder", source))?;
        for path in pinned.paths() {
            if let Some(leaf) = path.file_name().and_then(|leaf| leaf.to_str()) {
                self.file(&path, &to.join(leaf), &format!("lake/{leaf}"))?;
            }
        }
        let manifest = to.join(lake::MANIFEST);
        write_synced(&manifest, &pinned.manifest())?;
        self.note(&manifest, &format!("lake/{}", lake::MANIFEST))
    }

    /// Copies a folder and what is below it, except locks.
    fn folder(&mut self, from: &Path, to: &Path, name: &str) -> Result<(), BackupError> {
        fs::create_dir_all(to).map_err(|source| failed("create a folder", source))?;
        let mut entries: Vec<PathBuf> = fs::read_dir(from)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(|source| failed(&format!("list {}", from.display()), source))?;
        entries.sort();
        for path in entries {
            let Some(leaf) = path.file_name().and_then(|leaf| leaf.to_str()) else {
                continue;
            };
            let (target, name) = (to.join(leaf), format!("{name}/{leaf}"));
            if path.is_dir() {
                self.folder(&path, &target, &name)?;
            } else if leaf != "lock" && !leaf.ends_with(".tmp") {
                self.file(&path, &target, &name)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path, name: &str) -> Result<(), BackupError> {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|source| failed("create a folder", source))?;
        }
        let mut target =
            File::create(to).map_err(|source| failed(&format!("create {name}"), source))?;
        self.read(from, name, |bytes| target.write_all(bytes))?;
        target
            .sync_all()
            .map_err(|source| failed(&format!("sync {name}"), source))
    }

    fn note(&mut self, file: &Path, name: &str) -> Result<(), BackupError> {
        self.read(file, name, |_| Ok(()))
    }

    fn read(
        &mut self,
        from: &Path,
        name: &str,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), BackupError> {
        let wrong = |source| failed(&format!("copy {name}"), source);
        let mut source = File::open(from).map_err(wrong)?;
        let mut hash = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            if self.watch.cancelled() {
                return Err(BackupError::Cancelled);
            }
            let read = source.read(&mut buffer).map_err(wrong)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            each(&buffer[..read]).map_err(wrong)?;
            bytes += read as u64;
            self.total += read as u64;
            self.watch.copied(self.total, name);
        }
        let entry = FileEntry {
            bytes,
            blake3: hash.finalize().to_hex().to_string(),
        };
        self.files.insert(name.to_owned(), entry);
        Ok(())
    }
}

/// Makes a folder, or takes an empty one. Answers it if it was made (and may be removed again).
fn make_empty(folder: &Path) -> Result<Option<PathBuf>, BackupError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(None),
            Some(_) => Err(BackupError::NotEmpty(folder.to_path_buf())),
        },
        Err(_) => {
            fs::create_dir_all(folder)
                .map_err(|source| failed(&format!("create {}", folder.display()), source))?;
            Ok(Some(folder.to_path_buf()))
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let wrong = |source| failed(&format!("write {}", path.display()), source);
    let mut file = File::create(path).map_err(wrong)?;
    file.write_all(bytes).map_err(wrong)?;
    file.sync_all().map_err(wrong)
}

fn failed(what: &str, source: io::Error) -> BackupError {
    BackupError::Io {
        what: what.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
