//! The files behind a memory: `NAME.base` (pages) and `NAME.meta` (position, where each page lies, its checksum).
//!
//! A checkpoint is: 1. the changed pages written to places of the base file that the last checkpoint does not use, and synced;
//! 2. the meta file replaced. Until 2 the old meta file is right, because nothing that it names was touched; from then on
//! the places that only it named are free (shadow paging: Lorie, "Physical Integrity in a Large Segmented Database", ACM
//! TODS 2(1), 1977). Every page is written once, and the base file is at most twice as large as the memory ever was.
//!
//! `NAME.lock` is held from the moment a checkpoint is taken until it is written, and while files are opened: who opens them
//! while another thread or process writes waits, and finds them whole.

mod load;
mod meta;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CHUNK_PAGES, MemFile, PAGE_WORDS, Undo, Words};
use crate::model::{ErrorKind, Fault, Position};
use load::load;
use meta::Meta;

const PAGE_BYTES: usize = PAGE_WORDS * 4;
/// Pages are read and written in pieces of at most so many bytes, and no more than two of them are written before they are
/// synced: whoever else syncs something does not wait for gigabytes.
const PIECE_BYTES: usize = 4 << 20;

/// Reading or writing a memory's files failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("memory file {file}: {what}")]
pub struct MemFileError {
    /// Which file.
    pub file: String,
    /// What went wrong.
    pub what: String,
}

impl Fault for MemFileError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
    fn code(&self) -> &'static str {
        "memory_file_io"
    }
}

/// What [`MemFile::open`] found.
pub enum Opened {
    /// No checkpoint yet: empty memory.
    Fresh(MemFile),
    /// The last complete checkpoint.
    Ready {
        /// The memory as of `position`.
        file: MemFile,
        /// What the checkpoint was written for.
        position: Position,
        /// The owner's bytes given with it.
        blob: Vec<u8>,
    },
    /// A file is damaged. The memory is empty and its first checkpoint replaces the files.
    Damaged {
        /// Empty memory.
        file: MemFile,
        /// What is wrong, for the log.
        what: String,
    },
}

/// Where pages lie in the base file, and their checksums.
#[derive(Clone, Default)]
pub(super) struct PageTable {
    chunks: BTreeMap<(u32, u32), [Place; CHUNK_PAGES]>,
    /// Places that failed checkpoints used: should the meta file of one of them be on the disk after all, it is right.
    doubtful: BTreeSet<u32>,
}

/// Of a page: its number in the base file, and its checksum.
#[derive(Clone, Copy, Default)]
struct Place {
    number: u32,
    crc: u32,
}

impl PageTable {
    fn used(&self) -> impl Iterator<Item = u32> {
        let places = self.chunks.values().flatten();
        places.map(|place| place.number)
    }

    /// Numbers of places that may be written to, ascending and without end.
    fn free(&self) -> impl Iterator<Item = u32> + use<> {
        let taken: Vec<u32> = self.used().chain(self.doubtful.iter().copied()).collect();
        let end = taken.iter().max().map_or(0, |last| last + 1);
        let mut free = vec![true; end as usize];
        for number in taken {
            free[number as usize] = false;
        }
        (0..end)
            .filter(move |number| free[*number as usize])
            .chain(end..)
    }
}

/// A checkpoint taken and still to be written; may run on any thread.
pub struct CheckpointJob {
    base: PathBuf,
    old: PageTable,
    /// Every chunk that exists, with its changed pages as a mask; words only where there are any, because a chunk that
    /// is shared is copied when it is written to.
    chunks: Vec<Taken>,
    position: Position,
    blob: Vec<u8>,
    /// Nobody opens the files before they are whole.
    lock: Result<File, MemFileError>,
}

/// A chunk in a checkpoint: section and number, words if there is anything to write, and which pages.
type Taken = ((u32, u32), Option<Arc<Words>>, u16);

/// The outcome of a [`CheckpointJob`], to be handed back to [`MemFile::end_checkpoint`].
pub struct CheckpointDone {
    table: PageTable,
    /// Changed pages that are not in a checkpoint after all.
    missed: Vec<((u32, u32), u16)>,
    result: Result<u64, MemFileError>,
}

/// Why a checkpoint was not written, and whether the meta file had begun to be replaced.
type Failed = (MemFileError, Replacing);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Replacing {
    NotBegun,
    Begun,
}

/// Steps of a checkpoint, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Pages,
    /// The meta file took the place of the old one, and its folder cannot be synced.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests play a disk's faults")
    )]
    Renamed,
    Meta,
}

impl MemFile {
    /// Opens the memory `name` in `dir` with `sections` sections, as of its last complete checkpoint.
    pub fn open(dir: &Path, name: &str, sections: usize) -> Result<Opened, MemFileError> {
        fs::create_dir_all(dir).map_err(|error| io_error(dir, error))?;
        let base = dir.join(name);
        let _whole = lock(&base)?;
        let empty = || {
            let mut file = MemFile::in_memory(sections);
            file.base = base.clone();
            file.table = Some(PageTable::default());
            file
        };
        // Of a version before, which wrote pages twice. What only a journal had right is found damaged below, and made anew.
        for left in ["journal", "journal-new"] {
            let _ = fs::remove_file(base.with_extension(left));
        }
        let meta_path = base.with_extension("meta");
        if meta_path.exists() {
            // Whoever wrote it may have died before that; places that only an older one names are free from here on.
            sync_parent(&meta_path).map_err(|error| io_error(&meta_path, error))?;
        }
        let meta = read_optional(&meta_path)?.map(|bytes| Meta::decode(&bytes));
        let meta = match meta {
            None => return Ok(Opened::Fresh(empty())),
            Some(Err(what)) => {
                return Ok(Opened::Damaged {
                    file: empty(),
                    what,
                });
            }
            Some(Ok(meta)) => meta,
        };
        match load(&base, &meta.table, sections)? {
            Err(what) => Ok(Opened::Damaged {
                file: empty(),
                what,
            }),
            Ok(loaded) => Ok(Opened::Ready {
                file: MemFile {
                    sections: loaded,
                    undo: Undo::default(),
                    in_batch: false,
                    base,
                    table: Some(meta.table),
                },
                position: meta.position,
                blob: meta.blob,
            }),
        }
    }

    /// Takes a checkpoint: what the memory holds now, with `position` and the owner's `blob`. `None` while another one is
    /// running, and for memory without a file.
    ///
    /// # Panics
    /// Inside a batch.
    pub fn start_checkpoint(&mut self, position: Position, blob: Vec<u8>) -> Option<CheckpointJob> {
        assert!(!self.in_batch, "a checkpoint is taken between batches only");
        let old = self.table.take()?;
        let mut chunks = Vec::new();
        for (number, section) in self.sections.iter_mut().enumerate() {
            for (index, chunk) in section.chunks.iter().enumerate() {
                if let Some(words) = chunk {
                    let mask = std::mem::take(&mut section.dirty[index]);
                    let words = (mask != 0).then(|| words.clone());
                    chunks.push(((number as u32, index as u32), words, mask));
                }
            }
        }
        Some(CheckpointJob {
            lock: lock(&self.base),
            base: self.base.clone(),
            old,
            chunks,
            position,
            blob,
        })
    }

    /// Takes back what a checkpoint job learnt. Answers the bytes written; after a failure the next one writes its pages.
    pub fn end_checkpoint(&mut self, done: CheckpointDone) -> Result<u64, MemFileError> {
        for ((section, chunk), mask) in done.missed {
            // The section may have been cleared meanwhile; then there is nothing to write.
            if let Some(dirty) = self.sections[section as usize]
                .dirty
                .get_mut(chunk as usize)
            {
                *dirty |= mask;
            }
        }
        self.table = Some(done.table);
        done.result
    }

    /// Writes a checkpoint and waits for it. Answers the bytes written.
    pub fn checkpoint(&mut self, position: Position, blob: Vec<u8>) -> Result<u64, MemFileError> {
        let Some(job) = self.start_checkpoint(position, blob) else {
            return Err(MemFileError {
                file: self.base.display().to_string(),
                what: "another checkpoint is running, or the memory has no file".to_owned(),
            });
        };
        let done = job.run();
        self.end_checkpoint(done)
    }
}

impl CheckpointJob {
    /// Writes the files. Blocking.
    pub fn run(self) -> CheckpointDone {
        self.run_until(Step::Meta)
    }

    /// Writes up to and including `last`; tests stop earlier to play a crash.
    pub(super) fn run_until(self, last: Step) -> CheckpointDone {
        let mut table = self.old.clone();
        match self.write(&mut table, last) {
            Ok(bytes) => CheckpointDone {
                table,
                missed: Vec::new(),
                result: Ok(bytes),
            },
            Err((error, replacing)) => {
                let mut old = self.old;
                // Then nobody knows which meta file is on the disk; before, it is the old one.
                if replacing == Replacing::Begun {
                    old.doubtful.extend(table.used());
                }
                CheckpointDone {
                    table: old,
                    missed: self
                        .chunks
                        .iter()
                        .map(|(at, _, mask)| (*at, *mask))
                        .collect(),
                    result: Err(error),
                }
            }
        }
    }

    fn write(&self, table: &mut PageTable, last: Step) -> Result<u64, Failed> {
        let before = |error| (error, Replacing::NotBegun);
        self.lock.as_ref().map_err(Clone::clone).map_err(before)?;
        if !self.old.doubtful.is_empty() {
            // Otherwise each attempt would take more places, on a disk that does not say which meta file it has.
            sync_parent(&self.base)
                .map_err(|error| io_error(&self.base, error))
                .map_err(before)?;
        }
        let pages = self.assign(table);
        let base_path = self.base.with_extension("base");
        write_pages(&base_path, &pages)
            .map_err(|error| io_error(&base_path, error))
            .map_err(before)?;
        crate::crash::point("memfile-base");
        let meta = Meta {
            position: self.position,
            blob: self.blob.clone(),
            table: table.clone(),
        }
        .encode();
        let bytes = (pages.len() * PAGE_BYTES + meta.len()) as u64;
        if last == Step::Pages {
            return Ok(bytes);
        }
        let meta_path = self.base.with_extension("meta");
        let new = meta_path.with_extension("meta-new");
        write_new(&new, &meta)
            .map_err(|error| io_error(&new, error))
            .map_err(before)?;
        fs::rename(&new, &meta_path)
            .map_err(|error| io_error(&meta_path, error))
            .map_err(before)?;
        let synced = match last {
            Step::Renamed => Err(io::ErrorKind::Other.into()),
            _ => sync_parent(&meta_path),
        };
        synced.map_err(|error| (io_error(&meta_path, error), Replacing::Begun))?;
        crate::crash::point("memfile-meta");
        table.doubtful.clear();
        Ok(bytes)
    }

    /// Gives every changed page a free place, forgets chunks that are gone, and lists the pages to write, by place.
    fn assign(&self, table: &mut PageTable) -> Vec<Page<'_>> {
        let mut free = table.free();
        let old = std::mem::take(&mut table.chunks);
        let mut pages = Vec::new();
        let mut bytes = [0; PAGE_BYTES];
        for (at, words, mask) in &self.chunks {
            let mut places = match old.get(at) {
                Some(places) => *places,
                None if *mask == u16::MAX => Default::default(),
                None => unreachable!("a new chunk has all pages changed"),
            };
            let changed = (0..CHUNK_PAGES).filter(|page| mask >> page & 1 == 1);
            for (page, words) in changed.flat_map(|page| Some((page, words.as_ref()?))) {
                let words = &words[page * PAGE_WORDS..][..PAGE_WORDS];
                to_bytes(words, &mut bytes);
                let number = free.next().expect("there is no end of them");
                let crc = crc32c::crc32c(&bytes);
                places[page] = Place { number, crc };
                pages.push(Page { number, words });
            }
            table.chunks.insert(*at, places);
        }
        pages
    }
}

/// A page to write: its place in the base file and its words.
struct Page<'a> {
    number: u32,
    words: &'a [u32],
}

fn write_pages(path: &Path, pages: &[Page<'_>]) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    // Runs of neighbours go out in one call.
    let mut run = Vec::with_capacity(PIECE_BYTES);
    let mut unsynced = 0;
    let mut bytes = [0; PAGE_BYTES];
    for (at, page) in pages.iter().enumerate() {
        to_bytes(page.words, &mut bytes);
        run.extend_from_slice(&bytes);
        let next = pages.get(at + 1).map(|next| next.number);
        if next != Some(page.number + 1) || run.len() >= PIECE_BYTES {
            let first = u64::from(page.number) + 1 - (run.len() / PAGE_BYTES) as u64;
            file.write_all_at(&run, first * PAGE_BYTES as u64)?;
            unsynced += run.len();
            run.clear();
        }
        if unsynced >= PIECE_BYTES {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    file.sync_all()?;
    sync_parent(path)
}

/// Waits until nobody else writes or opens the files of `base`. Released when the file is closed, also by a crash.
fn lock(base: &Path) -> Result<File, MemFileError> {
    let path = base.with_extension("lock");
    let locked = || {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|error| io_error(&path, error))
}

fn to_bytes(words: &[u32], bytes: &mut [u8; PAGE_BYTES]) {
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, MemFileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path, error)),
    }
}

fn io_error(path: &Path, error: io::Error) -> MemFileError {
    MemFileError {
        file: path.display().to_string(),
        what: error.to_string(),
    }
}
