//! The files behind a memory: `NAME.base` (pages), `NAME.meta` (position, where each page lies, its checksum) and, while a
//! checkpoint is being written, `NAME.journal`.
//!
//! A checkpoint is: 1. journal (new meta and all changed pages, checksummed) written beside, synced and renamed; 2. the pages written into
//! the base file and synced; 3. the meta file replaced; 4. the journal removed. Before 1 is complete the base file is
//! untouched, so the old meta is right; after it the journal can repeat 2 and 3.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CHUNK_PAGES, CHUNK_WORDS, MemFile, PAGE_WORDS, Section, Undo, Words};
use crate::model::{ErrorKind, Fault, Offset, PartitionId, Position};

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

struct Meta {
    position: Position,
    blob: Vec<u8>,
    table: PageTable,
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.blob.len() + self.table.chunks.len() * 76);
        out.extend_from_slice(META_MAGIC);
        out.extend_from_slice(&self.table.generation.to_le_bytes());
        out.extend_from_slice(&self.position.partition.0.to_le_bytes());
        out.extend_from_slice(&self.position.offset.0.to_le_bytes());
        out.extend_from_slice(&(self.blob.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.blob);
        out.extend_from_slice(&self.table.slots.to_le_bytes());
        out.extend_from_slice(&(self.table.free.len() as u32).to_le_bytes());
        for slot in &self.table.free {
            out.extend_from_slice(&slot.to_le_bytes());
        }
        out.extend_from_slice(&(self.table.chunks.len() as u32).to_le_bytes());
        for ((section, chunk), place) in &self.table.chunks {
            for number in [*section, *chunk, place.slot].iter().chain(&place.crc) {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Meta, String> {
        let damaged = || "the meta file is damaged".to_owned();
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        Meta::fields(&mut Cursor(body)).ok_or_else(damaged)
    }

    fn fields(from: &mut Cursor<'_>) -> Option<Meta> {
        if from.take(8)? != META_MAGIC {
            return None;
        }
        let generation = u64::from_le_bytes(from.array()?);
        let position = Position {
            partition: PartitionId(u16::from_le_bytes(from.array()?)),
            offset: Offset(u64::from_le_bytes(from.array()?)),
        };
        let len = from.number()? as usize;
        let blob = from.take(len)?.to_vec();
        let slots = from.number()?;
        let free = (0..from.number()?)
            .map(|_| from.number())
            .collect::<Option<_>>()?;
        let mut chunks = BTreeMap::new();
        for _ in 0..from.number()? {
            let at = (from.number()?, from.number()?);
            let slot = from.number()?;
            let mut crc = [0; CHUNK_PAGES];
            for page in &mut crc {
                *page = from.number()?;
            }
            chunks.insert(at, Place { slot, crc });
        }
        Some(Meta {
            position,
            blob,
            table: PageTable {
                generation,
                slots,
                free,
                chunks,
            },
        })
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

/// A complete journal on disk.
struct Journal {
    path: PathBuf,
    meta_bytes: Vec<u8>,
    meta: Meta,
    pages: u64,
}

impl Journal {
    /// `None`: there is none, or it is not complete (then the base file was not touched).
    fn read(path: &Path) -> Result<Option<Journal>, MemFileError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(path, error)),
        };
        let mut from = Checked {
            inner: BufReader::with_capacity(1 << 20, file),
            crc: 0,
        };
        match Journal::check(path, &mut from) {
            Ok(journal) => Ok(journal),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(io_error(path, error)),
        }
    }

    fn check(path: &Path, from: &mut Checked<impl Read>) -> io::Result<Option<Journal>> {
        let mut head = [0; 20];
        from.read_exact(&mut head)?;
        if &head[..8] != JOURNAL_MAGIC {
            return Ok(None);
        }
        let meta_len = u32::from_le_bytes(head[8..12].try_into().expect("four bytes"));
        let pages = u64::from_le_bytes(head[12..20].try_into().expect("eight bytes"));
        let mut meta_bytes = Vec::new();
        (&mut *from)
            .take(u64::from(meta_len))
            .read_to_end(&mut meta_bytes)?;
        let mut page = [0; 8 + PAGE_BYTES];
        for _ in 0..pages {
            from.read_exact(&mut page)?;
        }
        let crc = from.crc;
        let mut wanted = [0; 4];
        from.read_exact(&mut wanted)?;
        if crc != u32::from_le_bytes(wanted) {
            return Ok(None);
        }
        Ok(Meta::decode(&meta_bytes).ok().map(|meta| Journal {
            path: path.to_owned(),
            meta_bytes,
            meta,
            pages,
        }))
    }

    /// Writes its pages into the base file, again if need be.
    fn apply(&self, base: &Path) -> Result<(), MemFileError> {
        let base = base.with_extension("base");
        self.copy_pages(&base)
            .map_err(|error| io_error(&base, error))
    }

    fn copy_pages(&self, base: &Path) -> io::Result<()> {
        let mut from = BufReader::with_capacity(1 << 20, File::open(&self.path)?);
        io::copy(
            &mut (&mut from).take(20 + self.meta_bytes.len() as u64),
            &mut io::sink(),
        )?;
        let to = open_base(base)?;
        let mut page = [0; 8 + PAGE_BYTES];
        for _ in 0..self.pages {
            from.read_exact(&mut page)?;
            let number = u64::from_le_bytes(page[..8].try_into().expect("eight bytes"));
            to.write_all_at(&page[8..], number * PAGE_BYTES as u64)?;
        }
        to.sync_all()
    }
}

/// Checksums what passes.
struct Checked<T> {
    inner: T,
    crc: u32,
}

impl<T: Read> Read for Checked<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, &buffer[..read]);
        Ok(read)
    }
}

impl<T: Write> Write for Checked<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, &buffer[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write_journal(path: &Path, meta: &[u8], pages: &[Page<'_>]) -> io::Result<()> {
    // A complete journal stays until this one is: after a failed checkpoint it may be what mends the base file.
    let new = path.with_extension("journal-new");
    let file = File::create(&new)?;
    let mut to = Checked {
        inner: BufWriter::with_capacity(1 << 20, &file),
        crc: 0,
    };
    to.write_all(JOURNAL_MAGIC)?;
    to.write_all(&(meta.len() as u32).to_le_bytes())?;
    to.write_all(&(pages.len() as u64).to_le_bytes())?;
    to.write_all(meta)?;
    let mut bytes = [0; PAGE_BYTES];
    for page in pages {
        to_bytes(page.words, &mut bytes);
        to.write_all(&page.number.to_le_bytes())?;
        to.write_all(&bytes)?;
    }
    let crc = to.crc;
    to.write_all(&crc.to_le_bytes())?;
    to.flush()?;
    drop(to);
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
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

fn open_base(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Reads and checks every chunk. The inner error says which page is damaged.
fn load(
    base: &Path,
    table: &PageTable,
    sections: usize,
) -> Result<Result<Vec<Section>, String>, MemFileError> {
    let path = base.with_extension("base");
    let mut places: Vec<_> = table
        .chunks
        .iter()
        .map(|(at, place)| (*at, *place))
        .collect();
    if places
        .iter()
        .any(|((section, _), _)| *section as usize >= sections)
    {
        return Ok(Err(
            "the memory has more sections than this version knows".to_owned()
        ));
    }
    places.sort_unstable_by_key(|(_, place)| place.slot);
    if places.is_empty() {
        return Ok(Ok((0..sections).map(|_| Section::default()).collect()));
    }
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err("the base file is missing".to_owned()));
        }
        Err(error) => return Err(io_error(&path, error)),
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = places
            .chunks(places.len().div_ceil(OPEN_THREADS))
            .map(|part| scope.spawn(|| load_part(&file, part)))
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("the reader does not panic"))
            .collect()
    });
    let mut loaded: Vec<_> = (0..sections).map(|_| Section::default()).collect();
    for part in parts {
        let part = match part.map_err(|error| io_error(&path, error))? {
            Ok(part) => part,
            Err(what) => return Ok(Err(what)),
        };
        for ((section, chunk), words) in part {
            let section = &mut loaded[section as usize];
            let chunk = chunk as usize;
            if chunk >= section.chunks.len() {
                section.chunks.resize_with(chunk + 1, || None);
                section.dirty.resize(chunk + 1, 0);
            }
            section.chunks[chunk] = Some(words);
        }
    }
    Ok(Ok(loaded))
}

type Part = Vec<((u32, u32), Arc<Words>)>;

fn load_part(file: &File, places: &[((u32, u32), Place)]) -> io::Result<Result<Part, String>> {
    let mut loaded = Vec::with_capacity(places.len());
    let mut bytes = vec![0; CHUNK_BYTES];
    for (at, place) in places {
        match file.read_exact_at(&mut bytes, u64::from(place.slot) * CHUNK_BYTES as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err("the base file is cut short".to_owned()));
            }
            Err(error) => return Err(error),
        }
        for (page, bytes) in bytes.chunks_exact(PAGE_BYTES).enumerate() {
            if crc32c::crc32c(bytes) != place.crc[page] {
                let number = u64::from(place.slot) * CHUNK_PAGES as u64 + page as u64;
                return Ok(Err(format!("page {number} of the base file is damaged")));
            }
        }
        let mut words = Arc::new([0; CHUNK_WORDS]);
        let target = Arc::get_mut(&mut words).expect("just made, not shared");
        for (word, bytes) in target.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
        loaded.push((*at, words));
    }
    Ok(Ok(loaded))
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
