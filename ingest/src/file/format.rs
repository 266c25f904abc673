//! Formats: how bytes become rows. One file per format, one line in [`FORMATS`].

mod csv;
mod lines;
mod parquet;
mod xlsx;

use super::content::Content;
use super::options::FileOptions;
use super::{FileError, limits};
use crate::{Reject, RejectCode};

pub(super) use lines::EVENTS;

/// One format.
pub(super) struct Format {
    /// As a mapping names it.
    pub name: &'static str,
    /// Whether a file that begins so is of this format for sure.
    magic: &'static [u8],
    open: Open,
}

/// Opens a file of one format.
type Open = fn(Content, &FileOptions) -> Result<Box<dyn RowReader>, FileError>;

/// All formats. Those with magic bytes come first: they are told from the file itself.
pub(super) const FORMATS: &[Format] = &[
    Format {
        name: "parquet",
        magic: b"PAR1",
        open: parquet::open,
    },
    Format {
        name: "xlsx",
        magic: b"PK\x03\x04",
        open: xlsx::open,
    },
    Format {
        name: "jsonl",
        magic: b"",
        open: lines::open,
    },
    Format {
        name: "csv",
        magic: b"",
        open: csv::open,
    },
];

/// Files that people take for tables, and what to do with them.
const STRANGERS: &[(&[u8], &str)] = &[
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "this is an old .xls or an encrypted workbook: save it as .xlsx without a password",
    ),
    (b"%PDF", "this is a PDF: export a table as CSV or XLSX"),
    (b"PK\x05\x06", "this is an empty ZIP archive"),
    (
        b"\x28\xb5\x2f\xfd",
        "this is Zstandard: unpack it or use gzip",
    ),
    (b"BZh", "this is bzip2: unpack it or use gzip"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7z archive: unpack it"),
    (b"Rar!", "this is a RAR archive: unpack it"),
    (b"ORC", "this is ORC: export it as Parquet"),
    (b"Obj\x01", "this is Avro: export it as Parquet or JSONL"),
    (
        b"SQLite format 3",
        "this is an SQLite database: export a table as CSV",
    ),
];

/// One row and where it begins.
pub(super) struct Read {
    pub byte: u64,
    pub line: Line,
}

pub(super) enum Line {
    /// The values of the chosen columns, in their order; absent ones are empty.
    Cells(Vec<String>),
    /// An event of our own JSON.
    Event(bytes::Bytes),
    /// No row.
    Bad(Reject),
}

/// Reads the rows of one file, one after the other.
pub(super) trait RowReader: Send {
    /// The names of its columns; none where a column is a path into each row.
    fn header(&self) -> Option<&[String]>;

    /// Says which columns the rows are to have: their names and, if there is a header, where they stand in it. Called
    /// once, before the first row.
    fn choose(&mut self, names: &[String], places: &[usize]) -> Result<(), FileError>;

    /// The next row, which is row number `row`.
    fn next(&mut self, row: u64) -> Result<Option<Read>, FileError>;

    /// Bytes read, up to the end of the last row; rows where bytes say nothing.
    fn byte(&self) -> u64;

    /// The row that was read last, for the file of rejects.
    fn raw(&self, line: &Line) -> Vec<u8>;

    /// How far it is: rows done and in all, for formats that know. Others are measured by bytes.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }

    /// What was found out about the file beyond its columns, in words for people.
    fn about(&self) -> String;
}

/// Rows of a table that knows how many it has: counted instead of measured in bytes. What the readers of Parquet and XLSX
/// have in common.
struct Counted {
    done: u64,
    rows: u64,
    /// Cells of the row that was rejected last.
    flawed: Vec<String>,
}

impl Counted {
    /// A table of so many rows; 0: it does not say.
    fn new(rows: u64) -> Counted {
        Counted {
            done: 0,
            rows,
            flawed: Vec::new(),
        }
    }

    /// The next row; one with a flaw is rejected.
    fn read(&mut self, cells: Vec<String>, flaw: Option<Reject>) -> Read {
        let byte = self.done;
        self.done += 1;
        let line = match flaw {
            None => Line::Cells(cells),
            Some(reject) => {
                self.flawed = cells;
                Line::Bad(reject)
            }
        };
        Read { byte, line }
    }

    /// As [`RowReader::raw`].
    fn raw(&self, line: &Line) -> Vec<u8> {
        match line {
            Line::Cells(cells) => csv_line(cells),
            _ => csv_line(&self.flawed),
        }
    }

    /// As [`RowReader::progress`].
    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.done, self.rows))
    }
}

/// Whether the first bytes alone say what a file is.
pub(super) fn is_sure(magic: &[u8]) -> bool {
    let known = FORMATS
        .iter()
        .filter(|format| !format.magic.is_empty())
        .any(|format| magic.starts_with(format.magic));
    known
        || STRANGERS
            .iter()
            .any(|(begins, _)| magic.starts_with(begins))
}

/// Opens a file in the format that the options name, or that it has.
pub(super) fn open(
    mut content: Content,
    options: &FileOptions,
) -> Result<(&'static str, Box<dyn RowReader>), FileError> {
    let magic = content.magic()?;
    // No lines are a list of none; no table is without a header.
    if magic.is_empty() && options.format != Some("jsonl") {
        return Err(FileError::Empty);
    }
    if let Some((_, what)) = STRANGERS
        .iter()
        .find(|(begins, _)| magic.starts_with(begins))
    {
        return Err(FileError::Format {
            what: (*what).into(),
        });
    }
    let sure = FORMATS
        .iter()
        .find(|format| !format.magic.is_empty() && magic.starts_with(format.magic));
    let named = options
        .format
        .and_then(|name| FORMATS.iter().find(|format| format.name == name));
    let format = match (named, sure) {
        (Some(named), Some(sure)) if named.name != sure.name => {
            return Err(FileError::Format {
                what: format!(
                    "the mapping says `{}` but this is {}: correct `format` or leave it out",
                    named.name, sure.name
                ),
            });
        }
        (Some(named), None) if !named.magic.is_empty() => {
            return Err(FileError::Format {
                what: format!(
                    "the mapping says `{}` but the file does not begin like it",
                    named.name
                ),
            });
        }
        (Some(format), _) | (None, Some(format)) => format,
        (None, None) => return open_text(content, options),
    };
    Ok((format.name, (format.open)(content, options)?))
}

/// Text whose format nobody named: lines if it begins like an object, CSV otherwise.
fn open_text(
    content: Content,
    options: &FileOptions,
) -> Result<(&'static str, Box<dyn RowReader>), FileError> {
    let text = content.text(options.encoding)?;
    let first = text
        .begins
        .trim_ascii_start()
        .strip_prefix("\u{feff}".as_bytes())
        .unwrap_or(text.begins.trim_ascii_start())
        .first()
        .copied();
    match first {
        Some(b'{') => Ok(("jsonl", lines::of(text, true))),
        _ => Ok(("csv", csv::of(text, options)?)),
    }
}

/// Cells as one line of CSV.
pub(super) fn csv_line<C: AsRef<[u8]>>(cells: impl IntoIterator<Item = C>) -> Vec<u8> {
    csv::line(cells, b',', b'"')
}

/// What a cell is rejected for when its characters could not be decoded.
fn undecodable(column: usize, encoding: &str) -> Reject {
    Reject::new(
        RejectCode::InvalidUtf8,
        format!(
            "column {column} holds bytes that are no {encoding}: say `encoding` in [file] or export the file as UTF-8"
        ),
    )
}

/// A row that is too long for any table.
fn too_long(row: u64, byte: u64) -> FileError {
    FileError::RowTooLong {
        row,
        byte,
        max: limits::ROW_BYTES,
    }
}

#[cfg(test)]
mod tests;
