//! A disk in memory whose power can be cut.
//!
//! What it promises is what a file system promises, no more:
//! - synced bytes of a file stay; of the others each 512-byte sector is found after the cut as it was after any of the
//!   writes since the last sync, sector by sector independently, and the length is any of the lengths since then;
//! - names made, moved or removed since the last [`Disk::sync_dir`] of their folder are kept up to some point in time, as
//!   a journal does (a file whose name is lost is lost);
//! - a failed sync keeps any part of what was to be synced and forgets which: a later success does not cover it;
//! - folders are there at once and stay.
//!
//! Everything random comes from seeds, so that the same calls give the same bytes. Faults are planned: [`SimDisk::full_at`],
//! [`SimDisk::fail_sync`], [`SimDisk::hold_syncs`] (a slow disk without a clock), [`SimDisk::flip`], [`SimDisk::cut_file`].
//!
//! ```
//! use std::path::Path;
//! use actors::disk::{Disk, SimDisk, write_all_at};
//! let disk = SimDisk::new();
//! disk.create_dir(Path::new("/d"))?;
//! let file = disk.create(Path::new("/d/f"))?;
//! disk.sync_dir(Path::new("/d"))?;
//! write_all_at(&*file, b"kept", 0)?;
//! file.sync_data()?;
//! write_all_at(&*file, b" perhaps", 4)?;
//! let after = disk.power_cut(7);
//! assert!(after.content(Path::new("/d/f")).unwrap().starts_with(b"kept"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::{DirEntry, Disk, DiskFile, DiskLock};
use crate::testkit::Random;
use file::Inode;

/// Linux numbers, so that the errors have the kinds and texts of real ones.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A disk in memory whose power can be cut. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    gate: Mutex<Gate>,
    gate_moved: Condvar,
}

/// How much was done to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SimStats {
    /// Operations that change something, in order; what [`SimDisk::cut_before`] counts.
    pub operations: u64,
    /// Syncs of files that succeeded.
    pub syncs: u64,
    /// Calls of write.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, u64>,
    names_durable: BTreeMap<PathBuf, u64>,
    names_pending: Vec<NameChange>,
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<u64, Inode>,
    next_inode: u64,
    locks: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    fail_sync_in: Option<u64>,
    stats: SimStats,
    end: Option<(u64, End)>,
    found: Option<SimDisk>,
}

#[derive(Clone, Copy)]
enum End {
    PowerCut { seed: u64 },
    Kill,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct Gate {
    held: bool,
    passes: u64,
    waiting: u64,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// The disk as it is found when the power is back: another disk, so that whoever still runs on this one does no harm
    /// to it. The same seed finds the same bytes.
    pub fn power_cut(&self, seed: u64) -> SimDisk {
        self.shared.state.lock().after_power_cut(seed)
    }

    /// The disk as it is found after the process was killed while the system ran on: all that was written is there, and
    /// nothing more is synced than was. Another disk, as with [`SimDisk::power_cut`]; planned faults are not taken over.
    pub fn kill(&self) -> SimDisk {
        SimDisk::of(self.shared.state.lock().after_kill())
    }

    /// Plans a [`SimDisk::kill`] as [`SimDisk::cut_before`] plans a power cut.
    pub fn kill_before(&self, operation: u64) {
        self.shared.state.lock().end = Some((operation, End::Kill));
    }

    /// Plans a power cut just before the operation of this number (see [`SimStats::operations`]); [`SimDisk::found`] has
    /// its outcome. This disk goes on as if nothing happened.
    pub fn cut_before(&self, operation: u64, seed: u64) {
        self.shared.state.lock().end = Some((operation, End::PowerCut { seed }));
    }

    /// The disk that the planned power cut or kill left, once it has happened.
    pub fn found(&self) -> Option<SimDisk> {
        self.shared.state.lock().found.clone()
    }

    /// The disk has room for so many bytes in all files together; `None` for no limit.
    pub fn full_at(&self, bytes: Option<u64>) {
        self.shared.state.lock().capacity = bytes;
    }

    /// Bytes in all files together.
    pub fn used(&self) -> u64 {
        self.shared.state.lock().used()
    }

    /// The sync after the next `after` ones fails with EIO.
    pub fn fail_sync(&self, after: u64) {
        self.shared.state.lock().fail_sync_in = Some(after);
    }

    /// From now on syncs of files wait for [`SimDisk::let_syncs`].
    pub fn hold_syncs(&self) {
        self.shared.gate.lock().held = true;
    }

    /// Lets so many held syncs pass.
    pub fn let_syncs(&self, count: u64) {
        self.shared.gate.lock().passes += count;
        self.shared.gate_moved.notify_all();
    }

    /// Ends [`SimDisk::hold_syncs`].
    pub fn free_syncs(&self) {
        let mut gate = self.shared.gate.lock();
        gate.held = false;
        gate.passes = 0;
        self.shared.gate_moved.notify_all();
    }

    /// Returns when a sync is held.
    pub fn wait_for_held_sync(&self) {
        let mut gate = self.shared.gate.lock();
        while gate.waiting == 0 {
            self.shared.gate_moved.wait(&mut gate);
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> SimStats {
        self.shared.state.lock().stats
    }

    /// All files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.shared.state.lock().names.keys().cloned().collect()
    }

    /// What a file holds at the moment, synced or not.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        let inode = state.names.get(path)?;
        Some(state.files[inode].live.clone())
    }

    /// Damages a stored byte: its bits are changed by `mask`, as bit rot does. `false` if there is no such byte.
    pub fn flip(&self, path: &Path, byte: u64, mask: u8) -> bool {
        let mut state = self.shared.state.lock();
        let Some(inode) = state.names.get(path).copied() else {
            return false;
        };
        state
            .files
            .get_mut(&inode)
            .is_some_and(|file| file.flip(byte, mask))
    }

    /// Cuts a file and forgets that it was longer. `false` if there is no such file.
    pub fn cut_file(&self, path: &Path, bytes: u64) -> bool {
        let mut state = self.shared.state.lock();
        let Some(inode) = state.names.get(path).copied() else {
            return false;
        };
        if let Some(file) = state.files.get_mut(&inode) {
            file.truncate(bytes);
            file.sync();
        }
        true
    }

    /// Another disk with the same content, all of it synced.
    pub fn copy(&self) -> SimDisk {
        let mut copy = self.shared.state.lock().after_kill();
        copy.names_durable = copy.names.clone();
        copy.names_pending.clear();
        copy.files.values_mut().for_each(Inode::sync);
        SimDisk::of(copy)
    }

    fn of(state: State) -> SimDisk {
        let disk = SimDisk::default();
        *disk.shared.state.lock() = state;
        disk
    }

    fn file(&self, inode: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile {
            disk: self.clone(),
            inode,
        })
    }

    fn pass_gate(&self) {
        let mut gate = self.shared.gate.lock();
        gate.waiting += 1;
        self.shared.gate_moved.notify_all();
        while gate.held && gate.passes == 0 {
            self.shared.gate_moved.wait(&mut gate);
        }
        gate.waiting -= 1;
        gate.passes = gate.passes.saturating_sub(1);
    }
}

impl State {
    /// To be called before each change: counts it, and ends what was planned to end now.
    fn operation(&mut self) {
        if let Some((at, end)) = self.end
            && at == self.stats.operations
        {
            self.found = Some(match end {
                End::PowerCut { seed } => self.after_power_cut(seed),
                End::Kill => SimDisk::of(self.after_kill()),
            });
            self.end = None;
        }
        self.stats.operations += 1;
    }

    fn after_kill(&self) -> State {
        State {
            names: self.names.clone(),
            names_durable: self.names_durable.clone(),
            names_pending: self.names_pending.clone(),
            folders: self.folders.clone(),
            files: self.files.clone(),
            next_inode: self.next_inode,
            ..State::default()
        }
    }

    fn after_power_cut(&self, seed: u64) -> SimDisk {
        let mut dice = Random::new(seed);
        let mut names = self.names_durable.clone();
        let kept = dice.below(self.names_pending.len() as u64 + 1) as usize;
        for change in &self.names_pending[..kept] {
            change.apply(&mut names);
        }
        let mut files = BTreeMap::new();
        for inode in names.values() {
            files.insert(*inode, self.files[inode].after_power_cut(&mut dice));
        }
        SimDisk::of(State {
            names_durable: names.clone(),
            names,
            folders: self.folders.clone(),
            files,
            next_inode: self.next_inode,
            ..State::default()
        })
    }

    fn used(&self) -> u64 {
        let linked: BTreeSet<_> = self.names.values().collect();
        linked.iter().map(|inode| self.files[inode].bytes()).sum()
    }

    fn rename_now(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.names_pending.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let inode = self.names.get(path).copied();
        inode.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let (NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::Rename(_, path)) =
            self;
        path.parent() == Some(dir)
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let above = path.ancestors().map(Path::to_path_buf);
        state.folders.extend(above);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.shared.state.lock();
        if !path.parent().is_some_and(|dir| state.folders.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.operation();
        let inode = match state.names.get(path).copied() {
            Some(inode) => {
                let file = state.files.get_mut(&inode);
                file.expect("a name leads to a file").truncate(0);
                inode
            }
            None => {
                let inode = state.next_inode;
                state.next_inode += 1;
                state.files.insert(inode, Inode::default());
                state.rename_now(NameChange::Link(path.to_path_buf(), inode));
                inode
            }
        };
        drop(state);
        Ok(self.file(inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.shared.state.lock().find(path)?;
        Ok(self.file(inode))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.shared.state.lock();
        if !state.folders.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name_in = |path: &Path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            (path.parent() == Some(dir)).then_some(name)
        };
        let files = state.names.iter().filter_map(|(path, inode)| {
            name_in(path).map(|name| DirEntry {
                name,
                is_dir: false,
                bytes: state.files[inode].bytes(),
            })
        });
        let folders = state.folders.iter().filter_map(|path| {
            name_in(path).map(|name| DirEntry {
                name,
                is_dir: true,
                bytes: 0,
            })
        });
        let mut entries: Vec<_> = files.chain(folders).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.find(from)?;
        state.operation();
        state.rename_now(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.find(path)?;
        state.operation();
        state.rename_now(NameChange::Unlink(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.operation();
        let State {
            names_durable,
            names_pending,
            ..
        } = &mut *state;
        names_pending.retain(|change| {
            let ours = change.is_in(dir);
            if ours {
                change.apply(names_durable);
            }
            !ours
        });
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<DiskLock> {
        if !self.shared.state.lock().locks.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held {
            disk: self.clone(),
            path: path.to_path_buf(),
        }))
    }
}

struct Held {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.shared.state.lock().locks.remove(&self.path);
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut Inode) -> T) -> T {
        let mut state = self.disk.shared.state.lock();
        let file = state.files.get_mut(&self.inode);
        work(file.expect("files stay while the disk lives"))
    }
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.with(|file| file.bytes()))
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|file| {
            let Some(rest) = usize::try_from(at).ok().and_then(|at| file.live.get(at..)) else {
                return Ok(0);
            };
            let read = rest.len().min(into.len());
            into[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, from: &[u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.shared.state.lock();
        state.operation();
        let mut fits = from.len() as u64;
        if let Some(capacity) = state.capacity {
            let bytes = state.files[&self.inode].bytes();
            let room = capacity.saturating_sub(state.used());
            fits = fits.min((bytes + room).saturating_sub(at));
            if fits == 0 && !from.is_empty() {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
        }
        let written = fits as usize;
        state.stats.writes += 1;
        state.stats.bytes_written += fits;
        let file = state.files.get_mut(&self.inode);
        file.expect("files stay while the disk lives")
            .write(at, &from[..written]);
        Ok(written)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.shared.state.lock().operation();
        self.with(|file| file.truncate(bytes));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.pass_gate();
        let mut state = self.disk.shared.state.lock();
        state.operation();
        let failed = state.fail_sync_in == Some(0);
        state.fail_sync_in = state.fail_sync_in.and_then(|left| left.checked_sub(1));
        let operations = state.stats.operations;
        let file = state.files.get_mut(&self.inode);
        let file = file.expect("files stay while the disk lives");
        if failed {
            file.sync_failed(&mut Random::new(operations));
            return Err(io::Error::from_raw_os_error(EIO));
        }
        file.sync();
        state.stats.syncs += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
