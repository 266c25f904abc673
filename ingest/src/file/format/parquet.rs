//! Parquet: read column by column, a thousand rows at a time, so that memory does not grow with the file.
//!
//! A column is a leaf of the schema by its dotted path; leaves inside lists and maps cannot be columns. Values become the
//! text that a CSV export of them would have: see [`value`].

mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96Type,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescPtr;

use self::value::Reading;
use super::{Counted, Line, Read, RowReader};
use crate::file::FileError;
use crate::file::content::{Content, Place};
use crate::file::options::FileOptions;
use crate::{Reject, RejectCode};

/// Rows that are decoded together.
const BATCH_ROWS: usize = 1_024;

pub(super) fn open(content: Content, _: &FileOptions) -> Result<Box<dyn RowReader>, FileError> {
    match content.place("Parquet")? {
        Place::File(file) => Table::open(file).map(|table| Box::new(table) as _),
        Place::Memory(bytes) => Table::open(bytes).map(|table| Box::new(table) as _),
    }
}

/// A cell: its text, or why it has none.
type Cell = Result<String, &'static str>;

struct Table<R: ChunkReader + 'static> {
    file: SerializedFileReader<R>,
    /// Flat leaves: their paths, and where they stand in the schema.
    header: Vec<String>,
    leaves: Vec<usize>,
    chosen: Vec<Chosen>,
    /// The group being read and its rows that are left.
    group: usize,
    left: usize,
    readers: Vec<ColumnReader>,
    /// Rows being handed out, by column.
    batch: Vec<std::vec::IntoIter<Cell>>,
    waiting: usize,
    counted: Counted,
}

struct Chosen {
    leaf: usize,
    reading: Reading,
    column: ColumnDescPtr,
    name: String,
}

impl<R: ChunkReader + 'static> Table<R> {
    fn open(source: R) -> Result<Table<R>, FileError> {
        let file = guarded(0, || SerializedFileReader::new(source))?;
        let about = file.metadata().file_metadata();
        let rows = u64::try_from(about.num_rows()).unwrap_or(0);
        let schema = about.schema_descr_ptr();
        let (mut header, mut leaves) = (Vec::new(), Vec::new());
        for (leaf, column) in schema.columns().iter().enumerate() {
            if column.max_rep_level() == 0 {
                header.push(column.path().string());
                leaves.push(leaf);
            }
        }
        Ok(Table {
            file,
            header,
            leaves,
            chosen: Vec::new(),
            group: 0,
            left: 0,
            readers: Vec::new(),
            batch: Vec::new(),
            waiting: 0,
            counted: Counted::new(rows),
        })
    }

    /// Fills the batch; false at the end of the file.
    fn fill(&mut self, row: u64) -> Result<bool, FileError> {
        while self.left == 0 {
            if self.group == self.file.num_row_groups() {
                return Ok(false);
            }
            let (file, chosen, at) = (&self.file, &self.chosen, self.group);
            let (left, readers) = guarded(row, || {
                let group = file.get_row_group(at)?;
                let rows = usize::try_from(group.metadata().num_rows())
                    .map_err(|_| ParquetError::General("a row group of negative size".into()))?;
                let readers = chosen
                    .iter()
                    .map(|chosen| group.get_column_reader(chosen.leaf))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok((rows, readers))
            })?;
            self.left = left;
            self.readers = readers;
            self.group += 1;
        }
        let rows = self.left.min(BATCH_ROWS);
        let readers = std::mem::take(&mut self.readers);
        let chosen = &self.chosen;
        let (batch, readers) = guarded(row, || {
            let mut batch = Vec::with_capacity(readers.len());
            let mut kept = Vec::with_capacity(readers.len());
            for (reader, chosen) in readers.into_iter().zip(chosen) {
                let (cells, reader) = cells(reader, chosen, rows)?;
                batch.push(cells.into_iter());
                kept.push(reader);
            }
            Ok((batch, kept))
        })?;
        self.batch = batch;
        self.readers = readers;
        self.left -= rows;
        self.waiting = rows;
        Ok(true)
    }
}

impl<R: ChunkReader + 'static> RowReader for Table<R> {
    fn header(&self) -> Option<&[String]> {
        Some(&self.header)
    }

    fn choose(&mut self, _: &[String], places: &[usize]) -> Result<(), FileError> {
        let schema = self.file.metadata().file_metadata().schema_descr_ptr();
        self.chosen = places
            .iter()
            .map(|place| {
                let leaf = self.leaves[*place];
                let column = schema.column(leaf);
                Chosen {
                    leaf,
                    reading: Reading::of(&column),
                    name: self.header[*place].clone(),
                    column,
                }
            })
            .collect();
        Ok(())
    }

    fn next(&mut self, row: u64) -> Result<Option<Read>, FileError> {
        if self.waiting == 0 && !self.fill(row)? {
            return Ok(None);
        }
        self.waiting -= 1;
        let mut cells = Vec::with_capacity(self.batch.len());
        let mut flaw = None;
        for (column, chosen) in self.batch.iter_mut().zip(&self.chosen) {
            match column.next().expect("every column of a batch has its rows") {
                Ok(cell) => cells.push(cell),
                Err(what) => {
                    flaw.get_or_insert_with(|| {
                        Reject::at(RejectCode::FieldType, chosen.name.clone(), what)
                    });
                    cells.push(String::new());
                }
            }
        }
        Ok(Some(self.counted.read(cells, flaw)))
    }

    fn byte(&self) -> u64 {
        self.counted.done
    }

    fn raw(&self, line: &Line) -> Vec<u8> {
        self.counted.raw(line)
    }

    fn progress(&self) -> Option<(u64, u64)> {
        self.counted.progress()
    }

    fn about(&self) -> String {
        format!(
            "{} rows in {} groups",
            self.counted.rows,
            self.file.num_row_groups()
        )
    }
}

/// The next `rows` cells of a column.
fn cells(
    reader: ColumnReader,
    chosen: &Chosen,
    rows: usize,
) -> Result<(Vec<Cell>, ColumnReader), ParquetError> {
    macro_rules! typed {
        ($kind:ty, $back:ident, $text:expr) => {{
            let mut reader = get_typed_column_reader::<$kind>(reader);
            let text: fn(Reading, &<$kind as DataType>::T) -> Cell = $text;
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let full = chosen.column.max_def_level();
            let mut read = 0;
            while read < rows {
                let (records, _, _) =
                    reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
                if records == 0 {
                    return Err(ParquetError::EOF("a column ends before its group".into()));
                }
                read += records;
            }
            let mut values = values.iter();
            let mut next = || match values.next() {
                Some(value) => Ok(text(chosen.reading, value)),
                None => Err(ParquetError::EOF("a column has too few values".into())),
            };
            let cells = match full {
                0 => (0..rows).map(|_| next()).collect::<Result<Vec<_>, _>>()?,
                _ => levels
                    .iter()
                    .take(rows)
                    .map(|level| match *level == full {
                        true => next(),
                        false => Ok(Ok(String::new())),
                    })
                    .collect::<Result<Vec<_>, _>>()?,
            };
            if cells.len() != rows {
                return Err(ParquetError::EOF("a column has too few rows".into()));
            }
            (cells, ColumnReader::$back(reader))
        }};
    }
    Ok(match &reader {
        ColumnReader::BoolColumnReader(_) => {
            typed!(BoolType, BoolColumnReader, |_, value| Ok(value.to_string()))
        }
        ColumnReader::Int32ColumnReader(_) => {
            typed!(Int32Type, Int32ColumnReader, |reading, value| reading
                .whole(i64::from(*value)))
        }
        ColumnReader::Int64ColumnReader(_) => {
            typed!(Int64Type, Int64ColumnReader, |reading, value| reading
                .whole(*value))
        }
        ColumnReader::Int96ColumnReader(_) => {
            typed!(Int96Type, Int96ColumnReader, |_, value| value::nanos(
                value.to_nanos(),
                true
            ))
        }
        ColumnReader::FloatColumnReader(_) => {
            typed!(FloatType, FloatColumnReader, |_, value| Ok(value::float(
                value.is_nan(),
                value
            )))
        }
        ColumnReader::DoubleColumnReader(_) => {
            typed!(DoubleType, DoubleColumnReader, |_, value| Ok(value::float(
                value.is_nan(),
                value
            )))
        }
        ColumnReader::ByteArrayColumnReader(_) => {
            typed!(ByteArrayType, ByteArrayColumnReader, |reading, value| {
                reading.bytes(value.data())
            })
        }
        ColumnReader::FixedLenByteArrayColumnReader(_) => {
            typed!(
                FixedLenByteArrayType,
                FixedLenByteArrayColumnReader,
                |reading, value| reading.bytes(value.data())
            )
        }
    })
}

/// Calls the library. It panics on some damaged files, and a damaged file must not end anything but its own import.
fn guarded<T>(row: u64, call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, FileError> {
    let damaged = |what: String| FileError::Damaged {
        format: "Parquet",
        row,
        what,
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::External(inner))) => match inner.downcast::<std::io::Error>() {
            Ok(source) => Err(FileError::read(0, *source)),
            Err(inner) => Err(damaged(inner.to_string())),
        },
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("its pages contradict each other".into())),
    }
}
