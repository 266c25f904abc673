//! `NAME.journal`: the new meta file and all changed pages of a checkpoint, complete or as good as absent.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::meta::Meta;
use super::{
    JOURNAL_MAGIC, MemFileError, PAGE_BYTES, Page, io_error, open_base, sync_parent, to_bytes,
};

/// A complete journal on disk.
pub struct Journal {
    path: PathBuf,
    pub meta_bytes: Vec<u8>,
    pub meta: Meta,
    pages: u64,
}

impl Journal {
    /// `None`: there is none, or it is not complete (then the base file was not touched).
    pub fn read(path: &Path) -> Result<Option<Journal>, MemFileError> {
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
    pub fn apply(&self, base: &Path) -> Result<(), MemFileError> {
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

/// Writes a journal beside, and renames it when it is complete.
pub fn write_journal(path: &Path, meta: &[u8], pages: &[Page<'_>]) -> io::Result<()> {
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
