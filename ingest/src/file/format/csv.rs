//! CSV and its relatives: any one-byte delimiter, or columns apart by blanks; quoted or not; with a header or with names
//! from the mapping.

use std::io::{BufRead, BufReader, Read as IoRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lines::LineReader;
use super::{Line, Read, RowReader, too_long, undecodable};
use crate::file::FileError;
use crate::file::content::{Content, Text};
use crate::file::options::{Delimiter, FileOptions};
use crate::{Reject, RejectCode, limits};

/// What the CSV reader reads ahead; what it has read may belong to later rows.
const BUFFER_BYTES: usize = 64 * 1024;

pub(super) fn open(
    content: Content,
    options: &FileOptions,
) -> Result<Box<dyn RowReader>, FileError> {
    of(content.text(options.encoding)?, options)
}

pub(super) fn of(text: Text, options: &FileOptions) -> Result<Box<dyn RowReader>, FileError> {
    match options.delimiter {
        Delimiter::Blanks => Blanks::open(text, options).map(|rows| Box::new(rows) as _),
        Delimiter::Byte(delimiter) => {
            Csv::open(text, options, delimiter).map(|rows| Box::new(rows) as _)
        }
    }
}

/// What all text tables have in common.
struct Table {
    header: Vec<String>,
    /// Where the chosen columns stand in a row.
    places: Vec<usize>,
    decoded: bool,
    encoding: &'static str,
}

impl Table {
    fn new(text: &Text) -> Table {
        Table {
            header: Vec::new(),
            places: Vec::new(),
            decoded: text.decoded,
            encoding: text.encoding.name(),
        }
    }

    fn name(&mut self, header: Vec<String>) -> Result<(), FileError> {
        if header.iter().all(String::is_empty) {
            return Err(FileError::Empty);
        }
        self.header = header;
        Ok(())
    }

    /// The chosen cells of a row with `width` columns.
    fn cells<'r>(&self, width: usize, cell: impl Fn(usize) -> &'r [u8]) -> Line {
        if width != self.header.len() {
            return Line::Bad(Reject::new(
                RejectCode::RowColumns,
                format!(
                    "the row has {width} columns, the header has {}: check quotes and delimiters",
                    self.header.len()
                ),
            ));
        }
        let mut cells = Vec::with_capacity(self.places.len());
        for place in &self.places {
            match std::str::from_utf8(cell(*place)) {
                Ok(text) if !(self.decoded && text.contains(char::REPLACEMENT_CHARACTER)) => {
                    cells.push(text.trim().to_owned());
                }
                _ => return Line::Bad(undecodable(place + 1, self.encoding)),
            }
        }
        Line::Cells(cells)
    }
}

struct Csv {
    reader: csv::Reader<Metered<Box<dyn IoRead + Send>>>,
    record: csv::ByteRecord,
    table: Table,
    delimiter: u8,
    quote: Option<u8>,
    /// Bytes before the reader's first.
    before: u64,
    /// Bytes taken from the file since the last row ended.
    taken: Arc<AtomicU64>,
}

impl Csv {
    fn open(text: Text, options: &FileOptions, delimiter: u8) -> Result<Csv, FileError> {
        let mut table = Table::new(&text);
        let (inner, before) = passed(text.reader, options.skip_lines)?;
        let taken = Arc::new(AtomicU64::new(0));
        let metered = Metered {
            inner,
            taken: taken.clone(),
        };
        let mut builder = csv::ReaderBuilder::new();
        builder
            .delimiter(delimiter)
            .flexible(true)
            .has_headers(options.columns.is_empty())
            .buffer_capacity(BUFFER_BYTES);
        match options.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        let mut reader = builder.from_reader(metered);
        let header = match options.columns.is_empty() {
            false => options.columns.clone(),
            true => reader
                .byte_headers()
                .map_err(|error| failed(error, 0, 0))?
                .iter()
                .map(|name| {
                    let name = String::from_utf8_lossy(name);
                    name.trim_start_matches('\u{feff}').trim().to_owned()
                })
                .collect(),
        };
        table.name(header)?;
        Ok(Csv {
            reader,
            record: csv::ByteRecord::new(),
            table,
            delimiter,
            quote: options.quote,
            before,
            taken,
        })
    }
}

impl RowReader for Csv {
    fn header(&self) -> Option<&[String]> {
        Some(&self.table.header)
    }

    fn choose(&mut self, _: &[String], places: &[usize]) -> Result<(), FileError> {
        self.table.places = places.to_vec();
        Ok(())
    }

    fn next(&mut self, row: u64) -> Result<Option<Read>, FileError> {
        self.taken.store(0, Ordering::Relaxed);
        let byte = self.before + self.reader.position().byte();
        let more = self
            .reader
            .read_byte_record(&mut self.record)
            .map_err(|error| failed(error, row, byte))?;
        if !more {
            return Ok(None);
        }
        let byte = match self.record.position() {
            Some(at) => self.before + at.byte(),
            None => byte,
        };
        let line = self
            .table
            .cells(self.record.len(), |place| &self.record[place]);
        Ok(Some(Read { byte, line }))
    }

    fn byte(&self) -> u64 {
        self.before + self.reader.position().byte()
    }

    fn raw(&self, _: &Line) -> Vec<u8> {
        line(&self.record, self.delimiter, self.quote.unwrap_or(b'"'))
    }

    fn about(&self) -> String {
        self.table.encoding.to_owned()
    }
}

/// Cells as one line without its end.
pub(super) fn line<C: AsRef<[u8]>>(
    cells: impl IntoIterator<Item = C>,
    delimiter: u8,
    quote: u8,
) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .quote(quote)
        .flexible(true)
        .from_writer(Vec::new());
    let written = writer.write_record(cells);
    let mut raw = match (written, writer.into_inner()) {
        (Ok(()), Ok(raw)) => raw,
        _ => Vec::new(),
    };
    raw.truncate(raw.strip_suffix(b"\n").map_or(raw.len(), <[u8]>::len));
    raw
}

/// Passes over the first `lines` lines; answers how many bytes they had.
fn passed(
    reader: Box<dyn IoRead + Send>,
    lines: usize,
) -> Result<(Box<dyn IoRead + Send>, u64), FileError> {
    if lines == 0 {
        return Ok((reader, 0));
    }
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let mut bytes = 0;
    for _ in 0..lines {
        let mut line = Vec::new();
        let read = (&mut reader)
            .take(limits::ROW_BYTES as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(|source| FileError::read(bytes, source))?;
        if read > limits::ROW_BYTES {
            return Err(too_long(0, bytes));
        }
        bytes += read as u64;
    }
    Ok((Box::new(reader), bytes))
}

/// Stops reading when one row takes more than its limit: CSV itself knows no end of an open quote.
struct Metered<R> {
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
        return too_long(row, byte);
    }
    FileError::read(byte, source)
}

/// Columns apart by any number of blanks and tabs, without quotes.
struct Blanks {
    reader: LineReader,
    table: Table,
}

impl Blanks {
    fn open(text: Text, options: &FileOptions) -> Result<Blanks, FileError> {
        let mut table = Table::new(&text);
        let mut reader = LineReader::new(text);
        reader.pass(options.skip_lines)?;
        let header = match options.columns.is_empty() {
            false => options.columns.clone(),
            true => match reader.next(0)? {
                None => Vec::new(),
                Some(_) => parts(reader.line())
                    .map(|name| String::from_utf8_lossy(name).into_owned())
                    .collect(),
            },
        };
        table.name(header)?;
        Ok(Blanks { reader, table })
    }
}

fn parts(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|part| !part.is_empty())
}

impl RowReader for Blanks {
    fn header(&self) -> Option<&[String]> {
        Some(&self.table.header)
    }

    fn choose(&mut self, _: &[String], places: &[usize]) -> Result<(), FileError> {
        self.table.places = places.to_vec();
        Ok(())
    }

    fn next(&mut self, row: u64) -> Result<Option<Read>, FileError> {
        let Some(byte) = self.reader.next(row)? else {
            return Ok(None);
        };
        let parts: Vec<&[u8]> = parts(self.reader.line()).collect();
        let line = self.table.cells(parts.len(), |place| parts[place]);
        Ok(Some(Read { byte, line }))
    }

    fn byte(&self) -> u64 {
        self.reader.byte()
    }

    fn raw(&self, _: &Line) -> Vec<u8> {
        self.reader.raw()
    }

    fn about(&self) -> String {
        self.table.encoding.to_owned()
    }
}
