//! The file of rejected rows: CSV with the row's number, the reason and the row itself. Made when there is something to
//! write, cut back to what a resume file knows of when an import goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The first line.
pub const HEADER: &[u8] = b"row,code,field,reason,original\n";

/// The file under way.
pub struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
    count: u64,
    /// Bytes after each row behind `before`, so that a group's part can be told from what came behind it.
    marks: Vec<u64>,
    /// Rows and bytes that are durable: those of an earlier run and of groups that have landed.
    before: u64,
    before_bytes: u64,
}

impl Rejects {
    /// The file at `path`, keeping its first `bytes` bytes; 0 begins anew.
    pub fn open(path: &Path, bytes: u64) -> io::Result<Rejects> {
        let mut rejects = Rejects {
            path: path.to_owned(),
            file: None,
            bytes: 0,
            count: 0,
            marks: Vec::new(),
            before: 0,
            before_bytes: 0,
        };
        if bytes == 0 {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => return Ok(rejects),
            }
        }
        let Ok(mut file) = OpenOptions::new().read(true).write(true).open(path) else {
            return Ok(rejects);
        };
        file.set_len(bytes)?;
        rejects.before = lines(&mut file)?.saturating_sub(1);
        file.seek(SeekFrom::End(0))?;
        rejects.count = rejects.before;
        rejects.bytes = bytes;
        rejects.before_bytes = bytes;
        rejects.file = Some(BufWriter::new(file));
        Ok(rejects)
    }

    /// Adds a row.
    pub fn add(
        &mut self,
        row: u64,
        code: &str,
        field: Option<&str>,
        reason: &str,
        original: &[u8],
    ) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = BufWriter::new(File::create(&self.path)?);
                file.write_all(HEADER)?;
                self.bytes += HEADER.len() as u64;
                self.file.insert(file)
            }
        };
        let original = String::from_utf8_lossy(original);
        let cells = [code, field.unwrap_or_default(), reason, &original];
        let mut line = row.to_string();
        for cell in cells {
            line.push(',');
            line.push_str(&quoted(cell));
        }
        line.push('\n');
        file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        self.count += 1;
        self.marks.push(self.bytes);
        Ok(())
    }

    /// Rows in the file.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the file when it had `count` rows.
    pub fn bytes_at(&self, count: u64) -> u64 {
        let of_this_run = count.saturating_sub(self.before);
        match usize::try_from(of_this_run) {
            Ok(0) | Err(_) => self.before_bytes,
            Ok(rows) => self.marks.get(rows - 1).copied().unwrap_or(self.bytes),
        }
    }

    /// The first `count` rows belong to groups that have landed: their places are not asked for again.
    pub fn landed(&mut self, count: u64) {
        let bytes = self.bytes_at(count);
        let rows = usize::try_from(count.saturating_sub(self.before)).unwrap_or(usize::MAX);
        self.marks.drain(..rows.min(self.marks.len()));
        self.before_bytes = bytes;
        self.before = self.before.max(count);
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }

    /// Closes the file; answers its rows.
    pub fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.count)
    }
}

/// A cell: quoted always, so that line ends inside stay inside; a leading `'` where a spreadsheet would compute.
fn quoted(cell: &str) -> String {
    let risky = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if risky { "'" } else { "" };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

/// Rows of a CSV file in which every cell but the first is quoted.
fn lines(file: &mut File) -> io::Result<u64> {
    use std::io::Read;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = io::BufReader::new(file);
    let (mut buffer, mut count, mut inside) = ([0; 64 * 1024], 0, false);
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(count);
        }
        for byte in &buffer[..read] {
            match byte {
                b'"' => inside = !inside,
                b'\n' if !inside => count += 1,
                _ => {}
            }
        }
    }
}
