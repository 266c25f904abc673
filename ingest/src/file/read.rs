//! Rows from bytes: CSV or lines, one at a time, with where they stand.

use std::io::{BufRead, BufReader, Read as IoRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::mapping::Format;
use super::{FileError, Mapping};
use crate::json::{self, Bounds, Value};
use crate::{Reject, RejectCode, limits};

/// What the CSV reader reads ahead; what it has read may belong to later rows.
const BUFFER_BYTES: usize = 64 * 1024;

/// One row and where it begins.
pub(super) struct Read {
    pub byte: u64,
    pub line: Line,
}

pub(super) enum Line {
    /// The values of the mapping's columns, in its order; absent ones are empty.
    Cells(Vec<String>),
    /// An event of our own JSON.
    Event(Bytes),
    /// No row.
    Bad(Reject),
}

pub(super) enum Reader<R> {
    Csv(Box<Csv<R>>),
    Lines(Lines<R>),
}

impl<R: IoRead> Reader<R> {
    pub fn open(reader: R, mapping: &Mapping) -> Result<Reader<R>, FileError> {
        match mapping.format {
            Format::Csv { delimiter, quote } => {
                Csv::open(reader, mapping, delimiter, quote).map(|csv| Reader::Csv(Box::new(csv)))
            }
            Format::Jsonl => Ok(Reader::Lines(Lines {
                paths: Some(mapping.columns.clone()),
                ..Lines::new(reader)
            })),
        }
    }

    pub fn lines(reader: R) -> Reader<R> {
        Reader::Lines(Lines::new(reader))
    }

    /// The next row, which is row number `row`.
    pub fn next(&mut self, row: u64) -> Result<Option<Read>, FileError> {
        match self {
            Reader::Csv(csv) => csv.next(row),
            Reader::Lines(lines) => lines.next(row),
        }
    }

    pub fn byte(&self) -> u64 {
        match self {
            Reader::Csv(csv) => csv.reader.position().byte(),
            Reader::Lines(lines) => lines.byte,
        }
    }

    /// The row that was read last.
    pub fn raw(&self) -> Vec<u8> {
        match self {
            Reader::Csv(csv) => csv.raw(),
            Reader::Lines(lines) => trim_end(&lines.line).to_vec(),
        }
    }
}

pub(super) struct Csv<R> {
    reader: csv::Reader<Metered<R>>,
    record: csv::ByteRecord,
    /// Where the mapping's columns stand in a row.
    places: Vec<usize>,
    width: usize,
    delimiter: u8,
    quote: u8,
    /// Bytes taken from the file since the last row ended.
    taken: Arc<AtomicU64>,
}

impl<R: IoRead> Csv<R> {
    fn open(reader: R, mapping: &Mapping, delimiter: u8, quote: u8) -> Result<Csv<R>, FileError> {
        let taken = Arc::new(AtomicU64::new(0));
        let metered = Metered {
            inner: reader,
            taken: taken.clone(),
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .quote(quote)
            .flexible(true)
            .buffer_capacity(BUFFER_BYTES)
            .from_reader(metered);
        let header = reader
            .byte_headers()
            .map_err(|error| failed(error, 0, 0))?
            .clone();
        if header.is_empty() {
            return Err(FileError::Empty);
        }
        let names: Vec<String> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim().to_owned())
            .collect();
        Ok(Csv {
            places: mapping.bind(&names)?,
            width: names.len(),
            reader,
            record: csv::ByteRecord::new(),
            delimiter,
            quote,
            taken,
        })
    }

    fn next(&mut self, row: u64) -> Result<Option<Read>, FileError> {
        self.taken.store(0, Ordering::Relaxed);
        let byte = self.reader.position().byte();
        let more = self
            .reader
            .read_byte_record(&mut self.record)
            .map_err(|error| failed(error, row, byte))?;
        if !more {
            return Ok(None);
        }
        let byte = self.record.position().map_or(byte, csv::Position::byte);
        Ok(Some(Read {
            byte,
            line: self.cells(),
        }))
    }

    fn cells(&self) -> Line {
        if self.record.len() != self.width {
            return Line::Bad(Reject::new(
                RejectCode::RowColumns,
                format!(
                    "the row has {} columns, the header has {}: check quotes and delimiters",
                    self.record.len(),
                    self.width
                ),
            ));
        }
        let mut cells = Vec::with_capacity(self.places.len());
        for place in &self.places {
            match std::str::from_utf8(&self.record[*place]) {
                Ok(text) => cells.push(text.trim().to_owned()),
                Err(_) => {
                    return Line::Bad(Reject::new(
                        RejectCode::InvalidUtf8,
                        format!(
                            "column {} is not UTF-8: export the file as UTF-8",
                            place + 1
                        ),
                    ));
                }
            }
        }
        Line::Cells(cells)
    }

    fn raw(&self) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(self.delimiter)
            .quote(self.quote)
            .flexible(true)
            .from_writer(Vec::new());
        let written = writer.write_byte_record(&self.record);
        let mut raw = match (written, writer.into_inner()) {
            (Ok(()), Ok(raw)) => raw,
            _ => Vec::new(),
        };
        raw.truncate(trim_end(&raw).len());
        raw
    }
}

/// Stops reading when one row takes more than its limit: CSV itself knows no end of an open quote.
pub(super) struct Metered<R> {
    inner: R,
    taken: Arc<AtomicU64>,
}

impl<R: IoRead> IoRead for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.taken.load(Ordering::Relaxed) > (limits::ROW_BYTES + BUFFER_BYTES) as u64 {
            return Err(std::io::Error::other(RowTooLong));
        }
        let read = self.inner.read(buffer)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a row is too long")]
struct RowTooLong;

fn failed(error: csv::Error, row: u64, byte: u64) -> FileError {
    let source = match error.into_kind() {
        csv::ErrorKind::Io(source) => source,
        other => std::io::Error::other(format!("{other:?}")),
    };
    if source
        .get_ref()
        .is_some_and(|inner| inner.is::<RowTooLong>())
    {
        return FileError::RowTooLong {
            row,
            byte,
            max: limits::ROW_BYTES,
        };
    }
    FileError::Io { byte, source }
}

pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    byte: u64,
    /// The mapping's columns: dotted paths into each line. None: lines are events already.
    paths: Option<Vec<String>>,
}

impl<R: IoRead> Lines<R> {
    fn new(reader: R) -> Lines<R> {
        Lines {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            line: Vec::new(),
            byte: 0,
            paths: None,
        }
    }

    fn next(&mut self, row: u64) -> Result<Option<Read>, FileError> {
        loop {
            let byte = self.byte;
            self.line.clear();
            let max = limits::ROW_BYTES;
            let read = (&mut self.reader)
                .take(max as u64 + 1)
                .read_until(b'\n', &mut self.line)
                .map_err(|source| FileError::Io { byte, source })?;
            if read == 0 {
                return Ok(None);
            }
            if read > max {
                return Err(FileError::RowTooLong { row, byte, max });
            }
            self.byte += read as u64;
            if byte == 0 && self.line.starts_with("\u{feff}".as_bytes()) {
                self.line.drain(..3);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Read {
                    byte,
                    line: self.read(),
                }));
            }
        }
    }

    fn read(&self) -> Line {
        let Some(paths) = &self.paths else {
            return Line::Event(Bytes::copy_from_slice(self.line.trim_ascii()));
        };
        let Ok(text) = std::str::from_utf8(self.line.trim_ascii()) else {
            return Line::Bad(Reject::new(
                RejectCode::InvalidUtf8,
                "the line is not UTF-8",
            ));
        };
        if let Err(flaw) = json::check(text, Bounds::ORDER) {
            return Line::Bad(flaw.into());
        }
        if !text.starts_with('{') {
            return Line::Bad(Reject::new(
                RejectCode::NotAnObject,
                "each line is a JSON object",
            ));
        }
        Line::Cells(paths.iter().map(|path| at_path(text, path)).collect())
    }
}

/// The value at a dotted path as text; objects and lists as their JSON; absent ones are empty.
fn at_path(object: &str, path: &str) -> String {
    let mut raw = object;
    for part in path.split('.') {
        match json::members(raw).filter(|(name, _)| name == part).last() {
            Some((_, value)) => raw = value,
            None => return String::new(),
        }
    }
    match json::read(raw) {
        Value::Null => String::new(),
        Value::Text(text) => text.trim().to_owned(),
        _ => raw.to_owned(),
    }
}

fn trim_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n")
        .map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line))
}
