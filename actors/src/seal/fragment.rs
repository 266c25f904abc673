//! Fragment salts: 4,096 to a block file, made ahead of use, erased by rewriting the block without them.
//!
//! Block file: `magic 8 | block u32 | crc32c of the salts u32 | 4,096 salts of 16 bytes`. A salt of zeros is an erased one.
//! Blocks are mapped, so that a salt costs a memory read and the pages belong to the system's cache, not to our memory: 30 M
//! fragments are 7,324 blocks, 480 MB of pages that may be dropped at any time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;
use parking_lot::{Mutex, RwLock};

use super::cipher::{random, wipe};
use super::{SealError, file};
use crate::model::IdentNo;

/// Salts in one block file.
pub(super) const BLOCK_SALTS: u32 = 4096;

/// Bytes of a salt: 128 random bits, as strong as the installation key needs beside it.
pub(super) const SALT_BYTES: usize = 16;

const MAGIC: &[u8; 8] = b"TRBSALT1";
const HEAD_BYTES: usize = 16;
const FILE_BYTES: usize = HEAD_BYTES + BLOCK_SALTS as usize * SALT_BYTES;
const ERASED: [u8; SALT_BYTES] = [0; SALT_BYTES];

pub(super) type Salt = [u8; SALT_BYTES];

/// All blocks of an installation.
pub(super) struct Fragments {
    folder: PathBuf,
    /// Mapped blocks. A salt is copied out under the read lock: nobody holds a map that an erase is about to scrub.
    mapped: RwLock<HashMap<u32, Mapped>>,
    /// Counts lookups, to know which maps were not used lately.
    clock: AtomicU64,
    mapped_max: usize,
    /// Held while block files are made or rewritten.
    files: Mutex<()>,
}

struct Mapped {
    map: Mmap,
    used: AtomicU64,
}

impl Fragments {
    pub(super) fn open(folder: PathBuf, mapped_max: usize) -> Result<Fragments, SealError> {
        file::folder(&folder)?;
        Ok(Fragments {
            folder,
            mapped: RwLock::new(HashMap::new()),
            clock: AtomicU64::new(0),
            mapped_max: mapped_max.max(1),
            files: Mutex::new(()),
        })
    }

    /// The salt of a fragment; `None` if it was erased. A block that does not exist yet is made if `make` says so,
    /// otherwise it is an error: something was sealed with it once.
    pub(super) fn salt(&self, fragment: IdentNo, make: bool) -> Result<Option<Salt>, SealError> {
        let (block, index) = place(fragment);
        loop {
            if let Some(found) = self.mapped.read().get(&block) {
                let now = self.clock.fetch_add(1, Ordering::Relaxed);
                found.used.store(now, Ordering::Relaxed);
                let salt = salt_of(&found.map, index);
                return Ok((salt != ERASED).then_some(salt));
            }
            let _files = self.files.lock();
            let path = self.path(block);
            if !exists(&path)? {
                if !make {
                    return Err(file::wrong(
                        &path,
                        "the block is missing although it was in use: restore the keys folder from its backup",
                    ));
                }
                self.create(block)?;
            }
            self.map(block)?;
        }
    }

    /// Makes the block of `fragment` if it does not exist. Returns whether it was made.
    pub(super) fn prepare(&self, fragment: IdentNo) -> Result<bool, SealError> {
        let (block, _) = place(fragment);
        if self.mapped.read().contains_key(&block) {
            return Ok(false);
        }
        let _files = self.files.lock();
        if exists(&self.path(block))? {
            return Ok(false);
        }
        self.create(block).map(|()| true)
    }

    /// Destroys salts: rewrites each block without them, scrubs the old file. Returns how many were there until now.
    pub(super) fn erase(&self, fragments: &[IdentNo]) -> Result<usize, SealError> {
        let mut blocks: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for fragment in fragments {
            let (block, index) = place(*fragment);
            blocks.entry(block).or_default().push(index);
        }
        let mut gone = 0;
        for (block, indexes) in blocks {
            let _files = self.files.lock();
            let path = self.path(block);
            if !exists(&path)? {
                // Never used so far; it must not be readable when it is used.
                self.create(block)?;
            }
            gone += self.rewrite(block, &path, &indexes)?;
        }
        Ok(gone)
    }

    /// All whose salts have been destroyed. Reads every block.
    pub(super) fn erased(&self) -> Result<Vec<IdentNo>, SealError> {
        let listing = |error| file::failed(&self.folder, &error);
        let mut erased = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(listing)? {
            let path = entry.map_err(listing)?.path();
            let is_block = path.extension().is_some_and(|end| end == "keys");
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(block) = stem.filter(|_| is_block).and_then(|stem| stem.parse().ok()) else {
                continue;
            };
            let _files = self.files.lock();
            let mut bytes = std::fs::read(&path).map_err(|error| file::failed(&path, &error))?;
            check(&path, block, &bytes)?;
            let gone = (0..BLOCK_SALTS).filter(|index| bytes[span(*index as usize)] == ERASED);
            erased.extend(gone.map(|index| IdentNo(block * BLOCK_SALTS + index)));
            wipe(&mut bytes);
        }
        erased.sort_unstable();
        Ok(erased)
    }

    fn rewrite(&self, block: u32, path: &Path, indexes: &[usize]) -> Result<usize, SealError> {
        let mut bytes = std::fs::read(path).map_err(|error| file::failed(path, &error))?;
        check(path, block, &bytes)?;
        let mut gone = 0;
        for index in indexes {
            let salt = &mut bytes[span(*index)];
            if *salt != ERASED {
                wipe(salt);
                gone += 1;
            }
        }
        if gone > 0 {
            let mut old = file::open_to_scrub(path)?;
            let crc = crc32c::crc32c(&bytes[HEAD_BYTES..]);
            bytes[12..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
            file::replace(path, &bytes)?;
            self.mapped.write().remove(&block);
            file::scrub(&mut old).map_err(|error| file::failed(path, &error))?;
        }
        wipe(&mut bytes);
        Ok(gone)
    }

    fn create(&self, block: u32) -> Result<(), SealError> {
        let mut bytes = vec![0; FILE_BYTES];
        random(&mut bytes[HEAD_BYTES..])?;
        for index in 0..BLOCK_SALTS as usize {
            // Zeros mean erased; a random salt is that once in 2^128.
            while bytes[span(index)] == ERASED {
                random(&mut bytes[span(index)])?;
            }
        }
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&block.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[HEAD_BYTES..]);
        bytes[12..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        let written = file::replace(&self.path(block), &bytes);
        wipe(&mut bytes);
        written
    }

    fn map(&self, block: u32) -> Result<(), SealError> {
        let path = self.path(block);
        let file = File::open(&path).map_err(|error| file::failed(&path, &error))?;
        // SAFETY: block files are never written in place while mapped: an erase replaces the file, drops the map under
        // the write lock and scrubs the old inode only then. The folder belongs to this process alone.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| file::failed(&path, &error))?;
        check(&path, block, &map)?;
        let mut mapped = self.mapped.write();
        if mapped.len() >= self.mapped_max {
            drop_older_half(&mut mapped);
        }
        let used = AtomicU64::new(self.clock.load(Ordering::Relaxed));
        mapped.insert(block, Mapped { map, used });
        Ok(())
    }

    fn path(&self, block: u32) -> PathBuf {
        self.folder.join(format!("{block}.keys"))
    }
}

/// Halving costs one pass per many inserts, where exact order would cost a write per lookup.
fn drop_older_half(mapped: &mut HashMap<u32, Mapped>) {
    let mut uses: Vec<u64> = mapped
        .values()
        .map(|block| block.used.load(Ordering::Relaxed))
        .collect();
    let middle = uses.len() / 2;
    let (_, &mut median, _) = uses.select_nth_unstable(middle);
    mapped.retain(|_, block| block.used.load(Ordering::Relaxed) > median);
}

fn place(fragment: IdentNo) -> (u32, usize) {
    (
        fragment.0 / BLOCK_SALTS,
        (fragment.0 % BLOCK_SALTS) as usize,
    )
}

fn span(index: usize) -> std::ops::Range<usize> {
    let start = HEAD_BYTES + index * SALT_BYTES;
    start..start + SALT_BYTES
}

fn salt_of(bytes: &[u8], index: usize) -> Salt {
    bytes[span(index)]
        .try_into()
        .expect("a span is one salt long")
}

fn exists(path: &Path) -> Result<bool, SealError> {
    path.try_exists()
        .map_err(|error| file::failed(path, &error))
}

fn check(path: &Path, block: u32, bytes: &[u8]) -> Result<(), SealError> {
    let sound = bytes.len() == FILE_BYTES
        && bytes[..8] == *MAGIC
        && bytes[8..12] == block.to_le_bytes()
        && bytes[12..HEAD_BYTES] == crc32c::crc32c(&bytes[HEAD_BYTES..]).to_le_bytes();
    if sound {
        Ok(())
    } else {
        Err(file::wrong(
            path,
            "the block is damaged: restore the keys folder from its backup",
        ))
    }
}
