//! The file of an export, written row by row: CSV, JSONL, or XLSX whose sheets stream through temporary files beside it.
//!
//! Cells that a spreadsheet would calculate begin with `'` in CSV (unless somebody wants it raw); cells of XLSX have a type,
//! and a text is never calculated. A sheet takes 1,048,576 rows, so more members make more sheets.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rust_xlsxwriter::{Workbook, Worksheet, XlsxError};

use super::Format;
use super::row::Cell;
use crate::resource::{XLSX_CELL_CHARS, safe};

/// Rows of a sheet below its head: what the format takes.
pub const SHEET_ROWS_MAX: u64 = 1_048_575;
/// Sheets of a workbook. A larger one takes minutes to open, if at all: take CSV.
pub const SHEETS_MAX: u64 = 10;
/// Whole numbers beyond it lose digits in a spreadsheet: 15 digits are exact.
const EXACT_MAX: u64 = 999_999_999_999_999;
/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file being written. What is not finished leaves a file with the ending `part`.
pub struct Table {
    part: PathBuf,
    path: PathBuf,
    head: Vec<String>,
    raw: bool,
    sink: Sink,
    /// Rows of a sheet.
    sheet_rows_max: u64,
    cut: u64,
}

enum Sink {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    Jsonl(BufWriter<File>),
    Xlsx {
        book: Box<Workbook>,
        sheets: usize,
        /// Rows of the last sheet, the head too.
        row: u32,
    },
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Bytes of the file.
    pub bytes: u64,
    /// Sheets of a workbook; 0: it is none.
    pub sheets: u64,
    /// Cells that were longer than a workbook takes and lost their end.
    pub cut: u64,
}

impl Table {
    /// Begins a file at `path`; its folder must be there.
    pub fn create(path: &Path, format: Format, raw: bool, head: &[String]) -> io::Result<Table> {
        Table::with_sheets_of(path, format, raw, head, SHEET_ROWS_MAX)
    }

    /// As [`Table::create`], with sheets of so many rows below the head.
    pub(super) fn with_sheets_of(
        path: &Path,
        format: Format,
        raw: bool,
        head: &[String],
        sheet_rows_max: u64,
    ) -> io::Result<Table> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let sink = match format {
            Format::Csv => {
                let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&part)?);
                // Spreadsheets take UTF-8 for such only with the mark.
                file.write_all("\u{feff}".as_bytes())?;
                let mut writer = csv::WriterBuilder::new()
                    .terminator(csv::Terminator::CRLF)
                    .from_writer(file);
                let texts = head.iter().map(|name| guard(name, raw));
                writer.write_record(texts).map_err(csv_error)?;
                Sink::Csv(Box::new(writer))
            }
            Format::Jsonl => {
                Sink::Jsonl(BufWriter::with_capacity(BUFFER_BYTES, File::create(&part)?))
            }
            Format::Xlsx => {
                let mut book = Workbook::new();
                let folder = path.parent().unwrap_or(Path::new("."));
                book.set_tempdir(folder).map_err(xlsx_error)?;
                // More than 4 GiB in one file of the archive are possible.
                book.use_zip_large_file(true);
                Sink::Xlsx {
                    book: Box::new(book),
                    sheets: 0,
                    row: 0,
                }
            }
        };
        let mut table = Table {
            part,
            path: path.to_owned(),
            head: head.to_vec(),
            raw,
            sink,
            sheet_rows_max,
            cut: 0,
        };
        if let Sink::Xlsx { .. } = table.sink {
            table.next_sheet()?;
        }
        Ok(table)
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        if let Sink::Xlsx { row, .. } = &self.sink
            && u64::from(*row) > self.sheet_rows_max
        {
            self.next_sheet()?;
        }
        match &mut self.sink {
            Sink::Csv(writer) => {
                for cell in cells {
                    let done = match cell {
                        Cell::Empty => writer.write_field(""),
                        Cell::Text(text) => writer.write_field(guard(text, self.raw)),
                        Cell::Number(number) => writer.write_field(number.to_string()),
                        Cell::Bool(yes) => writer.write_field(yes.to_string()),
                    };
                    done.map_err(csv_error)?;
                }
                writer.write_record(None::<&[u8]>).map_err(csv_error)
            }
            Sink::Jsonl(file) => {
                let named = self.head.iter().zip(cells);
                let line: serde_json::Map<_, _> = named
                    .filter_map(|(name, cell)| Some((name.clone(), cell.to_json()?)))
                    .collect();
                serde_json::to_writer(&mut *file, &line)?;
                file.write_all(b"\n")
            }
            Sink::Xlsx { book, sheets, row } => {
                let sheet = book.worksheet_from_index(*sheets - 1).map_err(xlsx_error)?;
                for (column, cell) in (0u16..).zip(cells) {
                    self.cut += u64::from(write(sheet, *row, column, cell)?);
                }
                *row += 1;
                Ok(())
            }
        }
    }

    /// Ends the file; durable when it returns.
    pub fn finish(self) -> io::Result<Finished> {
        let (file, sheets) = match self.sink {
            Sink::Csv(writer) => {
                let buffer = writer.into_inner().map_err(|error| error.into_error())?;
                (buffer.into_inner().map_err(|error| error.into_error())?, 0)
            }
            Sink::Jsonl(buffer) => (buffer.into_inner().map_err(|error| error.into_error())?, 0),
            Sink::Xlsx {
                mut book, sheets, ..
            } => {
                let file = File::create(&self.part)?;
                let writer = BufWriter::with_capacity(BUFFER_BYTES, file.try_clone()?);
                book.save_to_writer(writer).map_err(xlsx_error)?;
                (file, sheets)
            }
        };
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&self.part, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Finished {
            bytes,
            sheets: sheets as u64,
            cut: self.cut,
        })
    }

    /// A new sheet with its head.
    fn next_sheet(&mut self) -> io::Result<()> {
        let Sink::Xlsx { book, sheets, row } = &mut self.sink else {
            return Ok(());
        };
        let sheet = book
            .add_worksheet_with_constant_memory()
            .map_err(xlsx_error)?;
        *sheets += 1;
        sheet
            .set_name(format!("members {sheets}"))
            .map_err(xlsx_error)?;
        for (column, name) in (0u16..).zip(&self.head) {
            sheet.write_string(0, column, name).map_err(xlsx_error)?;
        }
        *row = 1;
        Ok(())
    }
}

/// Writes one cell; whether it lost its end.
fn write(sheet: &mut Worksheet, row: u32, column: u16, cell: &Cell) -> io::Result<bool> {
    let mut cut = false;
    let done = match cell {
        Cell::Empty => return Ok(false),
        Cell::Bool(yes) => sheet.write_boolean(row, column, *yes),
        Cell::Number(number) => match exact(number) {
            Some(double) => sheet.write_number(row, column, double),
            None => sheet.write_string(row, column, number.to_string()),
        },
        Cell::Text(text) => match text.char_indices().nth(XLSX_CELL_CHARS) {
            Some((end, _)) => {
                cut = true;
                sheet.write_string(row, column, &text[..end])
            }
            None => sheet.write_string(row, column, text),
        },
    };
    done.map_err(xlsx_error)?;
    Ok(cut)
}

/// The number as a spreadsheet keeps it; `None`: it would lose digits.
fn exact(number: &serde_json::Number) -> Option<f64> {
    if let Some(whole) = number.as_i64() {
        return (whole.unsigned_abs() <= EXACT_MAX).then_some(whole as f64);
    }
    match number.as_u64() {
        Some(_) => None,
        None => number.as_f64(),
    }
}

fn guard(text: &str, raw: bool) -> String {
    match raw {
        true => text.to_owned(),
        false => safe(text),
    }
}

fn csv_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => source,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn xlsx_error(error: XlsxError) -> io::Error {
    match error {
        XlsxError::IoError(source) => source,
        other => io::Error::other(other.to_string()),
    }
}
