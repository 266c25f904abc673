//! The files behind a memory: `NAME.base` (pages), `NAME.meta` (position, where each page lies, its checksum) and, while a
//! checkpoint is being written, `NAME.journal`.
//!
//! A checkpoint is: 1. journal (new meta and all changed pages, checksummed) written beside, synced and renamed; 2. the pages written into
//! the base file and synced; 3. the meta file replaced; 4. the journal removed. Before 1 is complete the base file is
//! untouched, so the old meta is right; after it the journal can repeat 2 and 3.
//!
//! `NAME.lock` is held from the moment a checkpoint is taken until it is written, and while files are opened: who opens them
//! while another thread or process writes waits, and finds them whole.

mod journal;
mod load;
mod meta;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CHUNK_PAGES, CHUNK_WORDS, MemFile, PAGE_WORDS, Undo, Words};
use crate::model::{ErrorKind, Fault, Position};
use journal::{Journal, write_journal};
use load::load;
use meta::Meta;

const PAGE_BYTES: usize = PAGE_WORDS * 4;
const CHUNK_BYTES: usize = CHUNK_WORDS * 4;
const META_MAGIC: &[u8; 8] = b"trbmeta1";
const JOURNAL_MAGIC: &[u8; 8] = b"trbjrnl1";
/// Threads that read and check pages at open: more than two gain nothing on one disk.
const OPEN_THREADS: usize = 2;

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

/// Where chunks lie in the base file, and the checksums of their pages.
#[derive(Clone, Default)]
pub(super) struct PageTable {
    generation: u64,
    slots: u32,
    free: Vec<u32>,
    chunks: BTreeMap<(u32, u32), Place>,
}

#[derive(Clone, Copy)]
struct Place {
    slot: u32,
    crc: [u32; CHUNK_PAGES],
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

/// Steps of a checkpoint, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Journal,
    Base,
    Meta,
    Done,
}

impl MemFile {
    /// Opens the memory `name` in `dir` with `sections` sections. Finishes a checkpoint that was cut short.
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
        let journal_path = base.with_extension("journal");
        let meta_path = base.with_extension("meta");
        let mut meta = read_optional(&meta_path)?.map(|bytes| Meta::decode(&bytes));
        if let Some(journal) = Journal::read(&journal_path)? {
            let newer = match &meta {
                Some(Ok(meta)) => journal.meta.table.generation > meta.table.generation,
                _ => true,
            };
            if newer {
                journal.apply(&base)?;
                replace(&meta_path, &journal.meta_bytes)?;
                meta = Some(Ok(journal.meta));
            }
        }
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
        self.run_until(Step::Done)
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
            Err(error) => CheckpointDone {
                // The journal may be complete although a later step failed; a higher generation supersedes it, and
                // every page that it holds is written again.
                table: PageTable {
                    generation: table.generation,
                    ..self.old
                },
                missed: self
                    .chunks
                    .iter()
                    .map(|(at, _, mask)| (*at, *mask))
                    .collect(),
                result: Err(error),
            },
        }
    }

    fn write(&self, table: &mut PageTable, last: Step) -> Result<u64, MemFileError> {
        self.lock.as_ref().map_err(Clone::clone)?;
        let pages = self.assign(table);
        let meta = Meta {
            position: self.position,
            blob: self.blob.clone(),
            table: table.clone(),
        }
        .encode();
        let bytes = pages.len() as u64 * PAGE_BYTES as u64 * 2 + meta.len() as u64 * 2;

        let journal_path = self.base.with_extension("journal");
        write_journal(&journal_path, &meta, &pages).map_err(|e| io_error(&journal_path, e))?;
        crate::crash::point("memfile-journal");
        if last == Step::Journal {
            return Ok(bytes);
        }
        let base_path = self.base.with_extension("base");
        write_base(&base_path, &pages).map_err(|e| io_error(&base_path, e))?;
        crate::crash::point("memfile-base");
        if last == Step::Base {
            return Ok(bytes);
        }
        replace(&self.base.with_extension("meta"), &meta)?;
        crate::crash::point("memfile-meta");
        if last == Step::Meta {
            return Ok(bytes);
        }
        // A journal that stays behind is ignored: its generation is not newer than the meta file's.
        let _ = fs::remove_file(&journal_path);
        Ok(bytes)
    }

    /// Gives every existing chunk its place, frees those of chunks that are gone, and lists the pages to write.
    fn assign(&self, table: &mut PageTable) -> Vec<Page<'_>> {
        table.generation += 1;
        let mut old = std::mem::take(&mut table.chunks);
        let mut pages = Vec::new();
        let mut fresh = Vec::new();
        for (at, words, mask) in &self.chunks {
            match (old.remove(at), words) {
                (Some(mut place), words) => {
                    if let Some(words) = words {
                        push_pages(&mut pages, &mut place, words, *mask);
                    }
                    table.chunks.insert(*at, place);
                }
                (None, Some(words)) => fresh.push((at, words, *mask)),
                (None, None) => unreachable!("a new chunk has all pages changed"),
            }
        }
        table.free.extend(old.values().map(|place| place.slot));
        for (at, words, mask) in fresh {
            let slot = table.free.pop().unwrap_or_else(|| {
                table.slots += 1;
                table.slots - 1
            });
            let mut place = Place {
                slot,
                crc: [0; CHUNK_PAGES],
            };
            push_pages(&mut pages, &mut place, words, mask);
            table.chunks.insert(*at, place);
        }
        pages.sort_unstable_by_key(|page| page.number);
        pages
    }
}

/// A page to write: its number in the base file and its words.
struct Page<'a> {
    number: u64,
    words: &'a [u32],
}

fn push_pages<'a>(pages: &mut Vec<Page<'a>>, place: &mut Place, words: &'a Words, mask: u16) {
    let mut bytes = [0; PAGE_BYTES];
    for page in (0..CHUNK_PAGES).filter(|page| mask >> page & 1 == 1) {
        let words = &words[page * PAGE_WORDS..(page + 1) * PAGE_WORDS];
        to_bytes(words, &mut bytes);
        place.crc[page] = crc32c::crc32c(&bytes);
        pages.push(Page {
            number: u64::from(place.slot) * CHUNK_PAGES as u64 + page as u64,
            words,
        });
    }
}

fn write_base(path: &Path, pages: &[Page<'_>]) -> io::Result<()> {
    let file = open_base(path)?;
    // Runs of neighbours go out in one call.
    let mut run = Vec::with_capacity(1 << 20);
    let mut start = 0;
    let mut bytes = [0; PAGE_BYTES];
    for page in pages {
        let next = start + (run.len() / PAGE_BYTES) as u64;
        if run.len() >= 1 << 20 || (page.number != next && !run.is_empty()) {
            file.write_all_at(&run, start * PAGE_BYTES as u64)?;
            run.clear();
        }
        if run.is_empty() {
            start = page.number;
        }
        to_bytes(page.words, &mut bytes);
        run.extend_from_slice(&bytes);
    }
    file.write_all_at(&run, start * PAGE_BYTES as u64)?;
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

fn open_base(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn to_bytes(words: &[u32], bytes: &mut [u8; PAGE_BYTES]) {
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

/// Replaces a small file as a whole, durably.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), MemFileError> {
    let write = || {
        let new = path.with_extension("meta-new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_parent(path)
    };
    write().map_err(|error| io_error(path, error))
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
