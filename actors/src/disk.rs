//! The disk as the log sees it: few operations, so that a test can stand in for a failing one.
//!
//! [`RealDisk`] is the operating system. [`SimDisk`] is memory that forgets what was not synced when its power is cut.
//! What survives a power cut: bytes of a file up to its last [`DiskFile::sync_data`], and names up to the last
//! [`Disk::sync_dir`] of their folder. Everything else may be there, in part, or not at all.
//!
//! Absent on purpose: memory maps, asynchronous I/O, directories below directories that come and go.

mod real;
mod room;
mod sim;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use real::RealDisk;
pub use room::{DiskSpace, Room, has_room, space};
pub use sim::{SimDisk, SimStats};

use crate::log::LogError;

/// A thing in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name within the folder.
    pub name: String,
    /// Whether it is a folder itself.
    pub is_dir: bool,
    /// Its size in bytes; 0 for a folder.
    pub bytes: u64,
}

/// A file system, seen through what the log needs of it.
pub trait Disk: Send + Sync + 'static {
    /// Makes a folder and those above it. No error if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file, or empties the one that is there. Its name survives a power cut after [`Disk::sync_dir`].
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// What is in a folder, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name away. Who has the file open can go on reading it.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes the names of a folder survive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Holds `path` for this process until the guard is dropped. `WouldBlock` if another one holds it.
    fn lock(&self, path: &Path) -> io::Result<DiskLock>;
}

/// Keeps a lock; dropping it releases the lock.
pub type DiskLock = Box<dyn Send + Sync>;

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads some bytes at a place; 0 at the end of the file.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes some bytes at a place, at least one, and says how many. `StorageFull` if there is no room.
    fn write_at(&self, from: &[u8], at: u64) -> io::Result<usize>;
    /// Cuts or extends (with zeros) to this length.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Returns when all written before would survive a power cut. After an error nothing is known of those bytes, not
    /// even after a later success: the caller must stop (a retried fsync can lie).
    fn sync_data(&self) -> io::Result<()>;
}

/// Fills `into` from a place, or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn DiskFile, mut into: &mut [u8], mut at: u64) -> io::Result<()> {
    while !into.is_empty() {
        match file.read_at(into, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                into = &mut into[read..];
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `from` at a place. After an error any part of it may have been written.
pub fn write_all_at(file: &dyn DiskFile, mut from: &[u8], mut at: u64) -> io::Result<()> {
    while !from.is_empty() {
        match file.write_at(from, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                from = &from[written..];
                at += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The whole content of a file.
pub fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let bytes = usize::try_from(file.bytes()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut content = vec![0; bytes];
    read_exact_at(&*file, &mut content, 0)?;
    Ok(content)
}

/// Replaces the content of a file so that a power cut leaves the old or the new one: a file beside it, synced, renamed.
pub fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let file = disk.create(&beside)?;
    write_all_at(&*file, content, 0)?;
    file.sync_data()?;
    disk.rename(&beside, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Whether an error says that there is no room left.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Exclusive use of a data folder, by an advisory lock on the file `lock` in it. The lock goes with the process, so a
/// crash leaves nothing to clean up.
///
/// ```
/// use actors::disk::FolderLock;
/// let folder = tempfile::tempdir()?;
/// let held = FolderLock::take(folder.path())?;
/// assert!(FolderLock::take(folder.path()).is_err());
/// drop(held);
/// FolderLock::take(folder.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FolderLock {
    _held: DiskLock,
}

impl FolderLock {
    /// Takes a folder of the real disk, making it if need be. [`LogError::Locked`] if another process has it.
    pub fn take(dir: &Path) -> Result<FolderLock, LogError> {
        Self::take_on(&RealDisk, dir)
    }

    /// The same on any disk.
    pub fn take_on(disk: &dyn Disk, dir: &Path) -> Result<FolderLock, LogError> {
        let failed = |error| LogError::io(format!("locking {}", dir.display()), error);
        disk.create_dir(dir).map_err(failed)?;
        match disk.lock(&lock_path(dir)) {
            Ok(held) => Ok(FolderLock { _held: held }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(LogError::Locked(dir.display().to_string()))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}
