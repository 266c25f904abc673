//! How much room a disk has.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::is_full;

/// Most that is written to see whether there is room: beyond it the next real write tells.
const TRIED_BYTES_MAX: u64 = 1 << 20;
/// The disk is tried at most this often: whoever asks may be anybody.
const TRIED_EVERY: Duration = Duration::from_secs(1);
/// Written at once.
const BLOCK: [u8; 4096] = [0; 4096];

/// How much a file system holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that are free for us. Quotas do not count.
    pub free: u64,
    /// Bytes in all.
    pub size: u64,
}

/// The space of the file system that holds a folder.
pub fn space(dir: &Path) -> io::Result<DiskSpace> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    let mut told = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in NUL and `told` is large enough for what statvfs writes.
    let answer = unsafe { libc::statvfs(path.as_ptr(), told.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statvfs answered 0, so it has filled the struct.
    let told = unsafe { told.assume_init() };
    Ok(DiskSpace {
        free: told.f_bavail * told.f_frsize,
        size: told.f_blocks * told.f_frsize,
    })
}

/// Whether the disk of a folder has room for so many bytes (a MiB at most), found by writing them: what stands in the way
/// of a write, quotas too, stands in the way here. Leaves nothing behind.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// assert!(actors::disk::has_room(folder.path(), 10_000)?);
/// assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn has_room(dir: &Path, bytes: u64) -> io::Result<bool> {
    match write(dir, bytes.min(TRIED_BYTES_MAX)) {
        Ok(()) => Ok(true),
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn write(dir: &Path, bytes: u64) -> io::Result<()> {
    let path = dir.join("room.tmp");
    let mut file = File::create(&path)?;
    // Before anything is in it: its blocks go with the handle, also if the process ends here.
    fs::remove_file(&path)?;
    let mut left = bytes;
    while left > 0 {
        let block = left.min(BLOCK.len() as u64);
        file.write_all(&BLOCK[..block as usize])?;
        left -= block;
    }
    Ok(())
}

/// Remembers for a moment whether a disk has room.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    tried: Mutex<Option<(Instant, bool)>>,
}

impl Room {
    /// The disk of this folder.
    pub fn new(dir: &Path) -> Room {
        Room {
            dir: dir.to_path_buf(),
            tried: Mutex::default(),
        }
    }

    /// Whether there is room for so many bytes, as of a second ago at most. A disk that cannot be tried has none.
    pub fn is_there(&self, bytes: u64) -> bool {
        let mut tried = self.tried.lock();
        if let Some((at, found)) = *tried
            && at.elapsed() < TRIED_EVERY
        {
            return found;
        }
        let found = has_room(&self.dir, bytes).unwrap_or(false);
        *tried = Some((Instant::now(), found));
        found
    }
}
