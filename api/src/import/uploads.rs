//! Files that came over HTTP, until their import is done. Each lies in a folder of its own under a number of ours: nothing
//! of a path comes from a caller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use actors::model::Time;
use serde::{Deserialize, Serialize};

/// How long a file waits for its import, or a failed import for somebody to take it up: a day of work, and a night.
pub const KEPT_MS: i64 = 48 * 60 * 60 * 1_000;

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its number.
    pub id: u64,
    /// As the caller calls it; for people only.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its format.
    pub format: String,
    /// The number of the API key that brought it: nobody else may use it.
    pub key: i64,
    /// When it came, in epoch milliseconds.
    pub at_ms: i64,
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Uploads(PathBuf);

impl Uploads {
    /// Those in this folder.
    pub fn new(folder: PathBuf) -> Uploads {
        Uploads(folder)
    }

    /// Where the bytes of a file lie.
    pub fn content(&self, id: u64) -> PathBuf {
        self.folder(id).join("content")
    }

    /// Makes the folder of a new file; answers its number, which no file that is there has. `nonce` answers another number
    /// each time.
    pub fn begin(&self, now: Time, nonce: impl Fn() -> u64) -> io::Result<u64> {
        fs::create_dir_all(&self.0)?;
        loop {
            let id = number(now, nonce());
            match fs::create_dir(self.folder(id)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| id),
            }
        }
    }

    /// Notes a file whose bytes are there.
    pub fn finish(&self, upload: &Upload) -> io::Result<()> {
        let text = serde_json::to_vec(upload).map_err(io::Error::other)?;
        fs::write(self.folder(upload.id).join("about.json"), text)
    }

    /// A file of this key.
    pub fn get(&self, id: u64, key: i64) -> Option<Upload> {
        self.about(id).filter(|upload| upload.key == key)
    }

    /// Removes a file.
    pub fn remove(&self, id: u64) {
        if let Err(error) = fs::remove_dir_all(self.folder(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, upload = id, "an uploaded file cannot be removed");
        }
    }

    /// Removes files that nobody has imported in time; those that `used` names stay.
    pub fn clean(&self, now: Time, used: &[u64]) {
        for id in self.all().filter(|id| !used.contains(id)) {
            let at_ms = match self.about(id) {
                Some(upload) => upload.at_ms,
                None => modified_ms(&self.folder(id)),
            };
            if now.0.saturating_sub(at_ms) > KEPT_MS {
                self.remove(id);
            }
        }
    }

    /// Removes all files that are there to the end, whatever their age; those that `used` names stay.
    pub fn forget(&self, used: &[u64]) {
        for id in self.all().filter(|id| !used.contains(id)) {
            if self.about(id).is_some() {
                self.remove(id);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = u64> {
        let folders = fs::read_dir(&self.0).into_iter().flatten().flatten();
        folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    fn about(&self, id: u64) -> Option<Upload> {
        let text = fs::read(self.folder(id).join("about.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn folder(&self, id: u64) -> PathBuf {
        self.0.join(id.to_string())
    }
}

/// Bits of a number that tell files of one millisecond apart.
const NONCE_BITS: u32 = 11;
/// Bits of a number in all: JavaScript and jq round integers that have more.
const NUMBER_BITS: u32 = 53;

/// A number of a file: the time, and something else behind it.
fn number(now: Time, nonce: u64) -> u64 {
    let time = u64::try_from(now.0).unwrap_or(0);
    let number = (time << NONCE_BITS) | (nonce & ((1 << NONCE_BITS) - 1));
    number & ((1 << NUMBER_BITS) - 1)
}

/// When a folder was written to, in epoch milliseconds; 0 if that cannot be told.
fn modified_ms(folder: &Path) -> i64 {
    let since = fs::metadata(folder)
        .and_then(|about| about.modified())
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

/// The file at `path` below `root`: no way out of it, neither by `..` nor by a link.
pub fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let plain = Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if path.is_empty() || !plain {
        return None;
    }
    let root = root.canonicalize().ok()?;
    let file = root.join(path).canonicalize().ok()?;
    (file.starts_with(&root) && file.is_file()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("in");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/b.csv"), "x").unwrap();
        fs::write(outer.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(outer.path().join("secret"), root.join("link")).unwrap();
        assert!(below(&root, "a/b.csv").is_some());
        for path in [
            "",
            "..",
            "../secret",
            "a/../../secret",
            "/etc/passwd",
            "link",
            "a",
            "none",
        ] {
            assert!(below(&root, path).is_none(), "{path}");
        }
    }

    #[test]
    fn files_belong_to_the_key_that_brought_them_and_do_not_stay_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(folder.path().join("uploads"));
        let mut upload = Upload {
            id: 0,
            name: "../../x.csv".into(),
            bytes: 1,
            format: "csv".into(),
            key: 7,
            at_ms: 1_000,
        };
        let ids = [1, 2].map(|nonce| {
            upload.id = uploads.begin(Time(1_000), || nonce).unwrap();
            fs::write(uploads.content(upload.id), "x").unwrap();
            uploads.finish(&upload).unwrap();
            upload.id
        });
        let [first, second] = ids;
        assert!(uploads.get(first, 7).is_some());
        assert!(uploads.get(first, 8).is_none());
        assert!(uploads.get(9, 7).is_none());
        uploads.clean(Time(KEPT_MS), &[]);
        assert!(uploads.get(first, 7).is_some());
        uploads.clean(Time(KEPT_MS * 2), &[second]);
        assert!(uploads.get(first, 7).is_none() && uploads.get(second, 7).is_some());
        assert!(!uploads.content(first).exists());
        // Somebody is erased: one that is being imported stays, and one that is still coming.
        let ids = [3, 4].map(|nonce| uploads.begin(Time(1_000), || nonce).unwrap());
        for id in ids {
            fs::write(uploads.content(id), "x").unwrap();
        }
        upload.id = ids[0];
        uploads.finish(&upload).unwrap();
        uploads.forget(&[second]);
        let there = [second, ids[0], ids[1]].map(|id| uploads.content(id).exists());
        assert_eq!(there, [true, false, true]);
    }

    #[test]
    fn numbers_are_never_given_twice_and_survive_programs_that_count_in_doubles() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(folder.path().join("uploads"));
        let far = Time(4_000_000_000_000);
        let nonce = std::cell::Cell::new(u64::MAX - 10);
        let next = || {
            nonce.set(nonce.get() + 1);
            nonce.get() / 2
        };
        let ids: std::collections::BTreeSet<u64> =
            (0..5).map(|_| uploads.begin(far, next).unwrap()).collect();
        assert_eq!(ids.len(), 5);
        assert!(ids.iter().all(|id| *id < 1 << 53));
    }
}
