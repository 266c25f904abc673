//! Tables as files. Cells that a spreadsheet would take for a formula are written as text.

use std::io::Cursor;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use calamine::{Data, DataRef, Reader, Xlsx};
use rust_xlsxwriter::{Workbook, Worksheet};
use serde_json::Value;

use crate::error::ApiError;

/// First characters that make spreadsheets calculate, or leave the cell.
const FORMULA: &[char] = &['=', '+', '-', '@', '\t', '\r'];
/// Most columns of a table that is read.
const COLUMNS_MAX: usize = 500;
/// Longest text that a cell of XLSX takes.
pub const XLSX_CELL_CHARS: usize = 32_767;
/// Bytes of all cells of a table that is read: what an XLSX of a few megabytes may unpack to.
const CELLS_BYTES_MAX: usize = 64 << 20;

/// File formats of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SheetFormat {
    /// Comma-separated values, UTF-8 with a byte order mark (spreadsheets read it as such).
    Csv,
    /// Office Open XML.
    Xlsx,
}

impl SheetFormat {
    /// `csv`, `xlsx`; empty: CSV.
    pub fn parse(word: &str) -> Result<SheetFormat, ApiError> {
        match word {
            "" | "csv" => Ok(SheetFormat::Csv),
            "xlsx" => Ok(SheetFormat::Xlsx),
            _ => Err(ApiError::new("parameter_form", "expected csv or xlsx").field("format")),
        }
    }

    /// Its media type.
    pub fn media(self) -> &'static str {
        match self {
            SheetFormat::Csv => "text/csv; charset=utf-8",
            SheetFormat::Xlsx => {
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
            }
        }
    }

    /// The ending of file names.
    pub fn ending(self) -> &'static str {
        match self {
            SheetFormat::Csv => "csv",
            SheetFormat::Xlsx => "xlsx",
        }
    }
}

/// A table being written.
pub struct Sheet {
    file: File,
    raw: bool,
    row: u32,
}

enum File {
    Csv(Box<csv::Writer<Vec<u8>>>),
    Xlsx(Box<Workbook>),
}

fn broken(error: impl std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a table cannot be written");
    ApiError::new("internal", "the server could not do this")
}

impl Sheet {
    /// Begins with the names of the columns. `raw`: texts as they are.
    pub fn new(format: SheetFormat, raw: bool, columns: &[String]) -> Result<Sheet, ApiError> {
        let file = match format {
            SheetFormat::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .terminator(csv::Terminator::CRLF)
                    .from_writer("\u{feff}".as_bytes().to_vec());
                writer.write_record(columns).map_err(broken)?;
                File::Csv(Box::new(writer))
            }
            SheetFormat::Xlsx => {
                let mut book = Workbook::new();
                let sheet = book.add_worksheet_with_constant_memory().map_err(broken)?;
                for (at, column) in columns.iter().enumerate() {
                    write(sheet, 0, at, column)?;
                }
                File::Xlsx(Box::new(book))
            }
        };
        Ok(Sheet { file, raw, row: 1 })
    }

    /// Adds a row. Numbers stay numbers; lists and objects are written as JSON.
    pub fn row<'a>(
        &mut self,
        cells: impl Iterator<Item = Option<&'a Value>>,
    ) -> Result<(), ApiError> {
        let mut texts = Vec::new();
        for (at, cell) in cells.enumerate() {
            let (text, number) = match cell {
                None | Some(Value::Null) => (String::new(), None),
                Some(Value::String(text)) if self.raw => (text.clone(), None),
                Some(Value::String(text)) => (safe(text), None),
                Some(Value::Number(number)) => (number.to_string(), number.as_f64()),
                Some(other) => (other.to_string(), None),
            };
            match &mut self.file {
                File::Csv(_) => texts.push(text),
                File::Xlsx(book) => {
                    let sheet = book.worksheet_from_index(0).map_err(broken)?;
                    match number {
                        Some(number) => {
                            let column = u16::try_from(at).map_err(broken)?;
                            sheet
                                .write_number(self.row, column, number)
                                .map_err(broken)?;
                        }
                        None => write(sheet, self.row, at, &text)?,
                    }
                }
            }
        }
        if let File::Csv(writer) = &mut self.file {
            writer.write_record(&texts).map_err(broken)?;
        }
        self.row += 1;
        Ok(())
    }

    /// The bytes of the whole file.
    pub fn finish(self) -> Result<(SheetFormat, Vec<u8>), ApiError> {
        match self.file {
            File::Csv(writer) => {
                let bytes = writer.into_inner().map_err(broken)?;
                Ok((SheetFormat::Csv, bytes))
            }
            File::Xlsx(mut book) => {
                let bytes = book.save_to_buffer().map_err(broken)?;
                Ok((SheetFormat::Xlsx, bytes))
            }
        }
    }

    /// As a download of this name.
    pub fn respond(self, name: &str) -> Result<Response, ApiError> {
        let (format, bytes) = self.finish()?;
        let mut response = Body::from(bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(format.media()),
        );
        let name = format!("attachment; filename=\"{name}.{}\"", format.ending());
        let name = HeaderValue::try_from(name).map_err(broken)?;
        headers.insert(header::CONTENT_DISPOSITION, name);
        Ok(response)
    }
}

fn write(sheet: &mut Worksheet, row: u32, at: usize, text: &str) -> Result<(), ApiError> {
    let column = u16::try_from(at).map_err(broken)?;
    let text: std::borrow::Cow<'_, str> = match text.char_indices().nth(XLSX_CELL_CHARS) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    };
    sheet.write_string(row, column, text).map_err(broken)?;
    Ok(())
}

/// A text that no spreadsheet calculates.
pub fn safe(text: &str) -> String {
    // A quote in front of such a text is our own sign, so a text that has one already gets another.
    let rest = text.trim_start_matches('\'');
    match rest.starts_with(FORMULA) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

/// What [`safe`] was made from.
pub fn plain(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if rest.trim_start_matches('\'').starts_with(FORMULA) => rest,
        _ => text,
    }
}

/// A table that was read: names of columns, rows of as many cells.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Names of columns.
    pub head: Vec<String>,
    /// Cells as text.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The cells of a column, as they were before [`safe`]; empty texts if there is none of this name.
    pub fn column(&self, name: &str) -> impl Iterator<Item = &str> {
        let at = self.head.iter().position(|known| known == name);
        self.rows
            .iter()
            .map(move |row| at.map_or("", |at| plain(&row[at])))
    }
}

fn form(message: impl Into<String>) -> ApiError {
    ApiError::new("table_form", message)
}

/// Reads CSV or XLSX, told by its first bytes. Empty rows are left out.
pub fn read(bytes: &[u8], rows_max: usize) -> Result<Table, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::new("body_empty", "the body is empty"));
    }
    let mut lines = match bytes.starts_with(b"PK\x03\x04") {
        true => xlsx(bytes, rows_max)?,
        false => comma(bytes, rows_max)?,
    };
    lines.retain(|line| line.iter().any(|cell| !cell.is_empty()));
    if lines.len() > rows_max + 1 {
        return Err(form(format!("more than {rows_max} rows: split the file")));
    }
    let mut lines = lines.into_iter();
    let head: Vec<String> = lines.next().ok_or_else(|| form("there is no row"))?;
    let head: Vec<String> = head.iter().map(|name| name.trim().to_owned()).collect();
    for (at, name) in head.iter().enumerate() {
        if name.is_empty() || head[..at].contains(name) {
            return Err(form(format!(
                "column {} has no name, or the name of another",
                at + 1
            )));
        }
    }
    let rows = lines.map(|mut line| {
        line.resize(head.len(), String::new());
        line
    });
    Ok(Table {
        rows: rows.collect(),
        head,
    })
}

fn comma(bytes: &[u8], rows_max: usize) -> Result<Vec<Vec<String>>, ApiError> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    let mut lines = Vec::new();
    for record in reader.records().take(rows_max.saturating_add(2)) {
        let record = record.map_err(|error| form(error.to_string()))?;
        if record.len() > COLUMNS_MAX {
            return Err(form(format!("more than {COLUMNS_MAX} columns")));
        }
        lines.push(record.iter().map(str::to_owned).collect());
    }
    Ok(lines)
}

fn xlsx(bytes: &[u8], rows_max: usize) -> Result<Vec<Vec<String>>, ApiError> {
    let broken = |error: calamine::XlsxError| form(format!("the workbook does not read: {error}"));
    let mut book = Xlsx::new(Cursor::new(bytes)).map_err(broken)?;
    let name = book.sheet_names().first().cloned();
    let name = name.ok_or_else(|| form("the workbook has no sheet"))?;
    let mut cells = book.worksheet_cells_reader(&name).map_err(broken)?;
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut size = 0;
    while let Some(cell) = cells.next_cell().map_err(broken)? {
        let (row, column) = cell.get_position();
        let (row, column) = (row as usize, column as usize);
        // Far-away cells would make empty ones in between: the position is the sender's word.
        if row > rows_max.saturating_add(1) {
            return Err(form(format!("more than {rows_max} rows: split the file")));
        }
        if column >= COLUMNS_MAX {
            return Err(form(format!("more than {COLUMNS_MAX} columns")));
        }
        let text = match cell.get_value() {
            DataRef::Empty => continue,
            value => Data::from(value.clone()).to_string(),
        };
        size += text.len();
        if size > CELLS_BYTES_MAX {
            return Err(form("the cells are too large: split the file"));
        }
        if lines.len() <= row {
            lines.resize_with(row + 1, Vec::new);
        }
        let line = &mut lines[row];
        if line.len() <= column {
            line.resize(column + 1, String::new());
        }
        line[column] = text;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;
