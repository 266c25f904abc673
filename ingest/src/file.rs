//! Files: rows of CSV, XLSX and Parquet and lines of JSONL become raw records, by a [`Mapping`].
//!
//! A mapped row becomes an event of our own JSON, so there is one decoder for both. Its message id is the values of the
//! mapping's key columns and how many rows with the same values came before it in the file: importing a file again, or
//! going on in the middle, gives the same ids, and lines that repeat stay apart.
//!
//! Memory is constant except for those counts (and the shared texts of a workbook): 17 bytes per slot of a table that is at most 7/8 full, so 20 to 40 bytes
//! for each different key, up to [`ROW_KEYS`](crate::limits::ROW_KEYS). They are never reset within a file, because
//! equal keys may stand anywhere in it. A mapping that says `unique = true` keeps none.
//!
//! ```
//! use ingest::file::{Mapping, Row, Rows};
//! # use actors::model::{BrandId, IdSpace, SourceId, Time};
//! # let source = ingest::SourceInfo { id: SourceId(1), id_space: IdSpace(0), brand: BrandId(0), test: false, orders: Default::default(), sensors: Default::default() };
//! let mapping = Mapping::parse(r#"
//!     [event]
//!     type = "identify"
//!     message_id = ["card"]
//!     [[identifiers]]
//!     kind = "member_card"
//!     column = "card"
//!     [traits]
//!     city = "city"
//! "#).unwrap();
//! let rows = Rows::new("card,city\n1,上海\n2,北京\n".as_bytes(), &mapping, &source, Time(0)).unwrap();
//! let ids: Vec<_> = rows.map(|row| match row.unwrap() {
//!     Row::Record(record) => record.message_id,
//!     Row::Rejected(row) => panic!("{}", row.reject),
//! }).collect();
//! assert_eq!(ids, ["1|0".into(), "2|0".into()]);
//! ```

mod build;
mod content;
mod format;
mod mapping;
mod options;
mod section;
mod suggest;
mod workbook;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actors::model::{ErrorKind, Fault, Time};
use bytes::Bytes;

pub use content::Content;
pub use mapping::{Mapping, MappingErrors, MappingProblem};
pub use suggest::{Known, KnownName, SuggestedColumn, Suggestion, suggest};
pub(crate) use workbook::{workbook_parts, workbook_with};

use crate::admit::row_record;
use crate::{RawRecord, Reject, RejectCode, SourceInfo, Verdict, limits};
use format::{Line, RowReader};
use options::FileOptions;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// It is an event.
    Record(RawRecord),
    /// It is set aside, for the file of rejects.
    Rejected(RowReject),
}

/// A row that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowReject {
    /// Its number, from 1, the header not counted.
    pub row: u64,
    /// Where it begins in the file: bytes of text, rows of Parquet and XLSX.
    pub byte: u64,
    /// Why.
    pub reject: Reject,
    /// The row, without line end; CSV is quoted anew, rows of Parquet and XLSX are the mapping's columns as CSV.
    pub raw: Vec<u8>,
}

/// Why a file cannot be read (on).
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("reading the file failed at byte {byte}: {source}")]
    Io {
        /// Where.
        byte: u64,
        /// The cause.
        source: std::io::Error,
    },
    /// The mapping does not fit the file.
    #[error(transparent)]
    Mapping(#[from] MappingErrors),
    /// There is no header.
    #[error("the file is empty: a table begins with its column names")]
    Empty,
    /// It is another kind of file than expected, or of none that can be read.
    #[error("{what}")]
    Format {
        /// What it is and what to do.
        what: String,
    },
    /// It begins like a file of its format but is none.
    #[error("the {format} file is damaged at row {row}: {what}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// Where; 0: before the first row.
        row: u64,
        /// What is wrong.
        what: String,
    },
    /// It would take more memory than it may.
    #[error("{what}")]
    Limit {
        /// What, and what to do.
        what: String,
    },
    /// A row does not end.
    #[error(
        "row {row} (byte {byte}) is longer than {max} bytes: a quote in it is probably not closed"
    )]
    RowTooLong {
        /// Its number.
        row: u64,
        /// Where it begins.
        byte: u64,
        /// The limit.
        max: usize,
    },
    /// Too many different keys to count.
    #[error(
        "the file has more than {max} different keys at row {row}: split it, or say `unique = true` in [event] if no \
         two rows have the same key"
    )]
    TooManyKeys {
        /// Where.
        row: u64,
        /// The limit.
        max: usize,
    },
}

impl Fault for FileError {
    fn kind(&self) -> ErrorKind {
        match self {
            FileError::Io { .. } => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            FileError::Io { .. } => "file_io",
            FileError::Mapping(_) => "mapping",
            FileError::Empty => "file_empty",
            FileError::Format { .. } => "file_format",
            FileError::Damaged { .. } => "file_damaged",
            FileError::Limit { .. } => "file_limit",
            FileError::RowTooLong { .. } => "row_too_long",
            FileError::TooManyKeys { .. } => "too_many_keys",
        }
    }
}

impl FileError {
    /// A failed read: a packed file that breaks off or is no gzip inside is the file's fault, all else the disk's.
    fn read(byte: u64, source: std::io::Error) -> FileError {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match source.kind() {
            UnexpectedEof => FileError::Format {
                what: format!("the packed file breaks off at byte {byte}: copy it again"),
            },
            InvalidData | InvalidInput => FileError::Format {
                what: format!("the packed file is damaged at byte {byte}: {source}"),
            },
            _ => FileError::Io { byte, source },
        }
    }
}

/// The format of a file, by what it begins with and holds: refuses what no mapping could make readable.
pub fn format_of(content: Content) -> Result<&'static str, FileError> {
    let (format, _) = format::open(content, &FileOptions::default())?;
    Ok(format)
}

/// The rows of a file, in order. After an error it ends.
pub struct Rows {
    reader: Box<dyn RowReader>,
    format: &'static str,
    mapping: Option<Mapping>,
    source: SourceInfo,
    received: Time,
    seen: HashMap<u64, u32, BuildHasherDefault<KeyHasher>>,
    row: u64,
    taken: Arc<AtomicU64>,
    bytes: Option<u64>,
    done: bool,
}

impl Rows {
    /// Opens a file; reads its header and checks the mapping against it.
    pub fn new(
        content: impl Into<Content>,
        mapping: &Mapping,
        source: &SourceInfo,
        received: Time,
    ) -> Result<Rows, FileError> {
        Rows::open(content.into(), Some(mapping), source, received)
    }

    /// Opens a file whose lines are events of our own JSON already. Each needs a `message_id`.
    pub fn own_json(
        content: impl Into<Content>,
        source: &SourceInfo,
        received: Time,
    ) -> Result<Rows, FileError> {
        Rows::open(content.into(), None, source, received)
    }

    /// Opens a file: by a mapping, or as events of our own JSON.
    pub fn open(
        content: Content,
        mapping: Option<&Mapping>,
        source: &SourceInfo,
        received: Time,
    ) -> Result<Rows, FileError> {
        let (taken, bytes) = (content.taken(), content.bytes());
        let lines = FileOptions {
            format: Some("jsonl"),
            ..FileOptions::default()
        };
        let options = mapping.map_or(&lines, |mapping| &mapping.file);
        let (format, mut reader) = match format::open(content, options) {
            // An empty list of lines is one; a table has a header.
            Err(FileError::Format { what }) if mapping.is_none() => {
                // Nobody wrote a `format` that could be corrected.
                let what = match what.starts_with("the mapping says") {
                    true => "this is none; a mapping says which column is what",
                    false => &what,
                };
                return Err(FileError::Format {
                    what: format!("without a mapping a file is JSON lines: {what}"),
                });
            }
            opened => opened?,
        };
        match mapping {
            None => reader.choose(&[format::EVENTS.to_owned()], &[])?,
            Some(mapping) => {
                let places = match reader.header() {
                    Some(header) => mapping.bind(header)?,
                    None => Vec::new(),
                };
                reader.choose(&mapping.columns, &places)?;
            }
        }
        Ok(Rows {
            reader,
            format,
            mapping: mapping.cloned(),
            source: source.clone(),
            received,
            seen: HashMap::default(),
            row: 0,
            taken,
            bytes,
            done: false,
        })
    }

    /// Name of the format and what was found out about the file, for people.
    pub fn about(&self) -> String {
        format!("{}, {}", self.format, self.reader.about())
    }

    /// Rows read so far.
    pub fn row(&self) -> u64 {
        self.row
    }

    /// Where the last row ended: bytes of text, rows of Parquet and XLSX.
    pub fn byte(&self) -> u64 {
        self.reader.byte()
    }

    /// How far it is: done and in all, in bytes of the file as it lies on the disk, or in rows. In all is 0 while unknown.
    pub fn progress(&self) -> (u64, u64) {
        match self.reader.progress() {
            Some(progress) => progress,
            None => (self.taken.load(Ordering::Relaxed), self.bytes.unwrap_or(0)),
        }
    }

    /// Passes over the first `rows` rows, counting their keys, so that the next row gets the same id as without a stop.
    /// Fast: no event is built. Stops at the end of the file.
    pub fn skip_rows(&mut self, rows: u64) -> Result<(), FileError> {
        while self.row < rows {
            let Some(line) = self.line()? else {
                self.done = true;
                return Ok(());
            };
            if let Line::Cells(cells) = &line.line
                && let Some(mapping) = &self.mapping
                && !mapping.unique
            {
                let key = mapping.key(cells);
                self.count(&key)?;
            }
        }
        Ok(())
    }

    fn line(&mut self) -> Result<Option<format::Read>, FileError> {
        let line = self.reader.next(self.row + 1)?;
        self.row += u64::from(line.is_some());
        Ok(line)
    }

    /// How many rows with this key came before.
    fn count(&mut self, key: &str) -> Result<u32, FileError> {
        let hash = blake3::hash(key.as_bytes());
        let first = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
        let max = limits::ROW_KEYS;
        if self.seen.len() >= max {
            return Err(FileError::TooManyKeys { row: self.row, max });
        }
        let before = self.seen.entry(u64::from_le_bytes(*first)).or_default();
        *before += 1;
        Ok(*before - 1)
    }

    fn read(&mut self) -> Result<Option<Row>, FileError> {
        let Some(read) = self.line()? else {
            return Ok(None);
        };
        let record = match (&read.line, &self.mapping) {
            (Line::Bad(reject), _) => Err(reject.clone()),
            (Line::Cells(cells), Some(mapping)) => {
                let key = mapping.key(cells);
                let before = match mapping.unique {
                    true => 0,
                    false => self.count(&key)?,
                };
                let mapping = self.mapping.as_ref().expect("it was there");
                mapping.event(cells, &key, before).map(|built| {
                    row_record(
                        &self.source,
                        self.received,
                        Some(built.message_id),
                        Bytes::from(built.body),
                    )
                })
            }
            (Line::Event(body), _) => {
                Ok(row_record(&self.source, self.received, None, body.clone()))
            }
            (Line::Cells(_), None) => unreachable!("only a mapping makes cells"),
        };
        let rejected = |reject| {
            Row::Rejected(RowReject {
                row: self.row,
                byte: read.byte,
                reject,
                raw: self.reader.raw(&read.line),
            })
        };
        Ok(Some(match record {
            Err(reject) => rejected(reject),
            Ok(record) => match &record.verdict {
                Verdict::Rejected(reject) => rejected(reject.clone()),
                Verdict::Accepted if record.message_id.is_empty() => rejected(Reject::at(
                    RejectCode::FieldMissing,
                    "message_id",
                    "a line of a file needs a `message_id`: without one a second import would count twice",
                )),
                Verdict::Accepted => Row::Record(record),
            },
        }))
    }
}

impl Iterator for Rows {
    type Item = Result<Row, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let row = self.read();
        self.done = !matches!(row, Ok(Some(_)));
        row.transpose()
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
