//! XLSX: one sheet, read cell by cell.
//!
//! The library lends its readers from the workbook, so a thread of its own holds both and sends rows in batches; a full
//! channel stops it. Texts that cells share are held in memory, as the format wants it; [`guard`] bounds them before
//! anything is opened.
//!
//! A formula counts as the value that was saved with it; one that was saved without a value rejects its row, because what
//! it would be worth is not in the file. A date is a cell with the format of a date.

mod cell;
mod guard;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use calamine::{Reader as _, Xlsx, XlsxError};

use self::cell::text;
use super::{Counted, Line, Read, RowReader};
use crate::file::FileError;
use crate::file::content::{Content, Seekable};
use crate::file::options::FileOptions;
use crate::{Reject, limits};

/// Rows that are sent at once, and batches that may wait: what is read ahead.
const BATCH_ROWS: usize = 256;
const BATCHES: usize = 4;
/// Bytes after which a batch is sent early.
const BATCH_BYTES: usize = 1024 * 1024;

/// A row of the sheet with the chosen cells.
struct SheetRow {
    cells: Vec<String>,
    flaw: Option<Reject>,
}

struct Sheet {
    header: Vec<String>,
    /// Says to the thread which columns are chosen.
    choice: Option<SyncSender<Vec<usize>>>,
    batches: Receiver<Result<Vec<SheetRow>, FileError>>,
    batch: std::vec::IntoIter<SheetRow>,
    about: String,
    counted: Counted,
    ended: bool,
}

/// What the thread says when it has read the header.
struct Opened {
    header: Vec<String>,
    about: String,
    rows: u64,
}

pub(super) fn open(
    content: Content,
    options: &FileOptions,
) -> Result<Box<dyn RowReader>, FileError> {
    let source = content.place("XLSX")?.seekable();
    let options = options.clone();
    let (say, heard) = sync_channel(1);
    let (choice, chosen) = sync_channel(1);
    let (send, batches) = sync_channel(BATCHES);
    let spawned = std::thread::Builder::new()
        .name("xlsx".into())
        .spawn(move || run(source, &options, &say, &chosen, &send));
    if let Err(source) = spawned {
        return Err(FileError::read(0, source));
    }
    let opened: Opened = match heard.recv() {
        Ok(opened) => opened?,
        Err(_) => return Err(gave_up(0)),
    };
    Ok(Box::new(Sheet {
        header: opened.header,
        choice: Some(choice),
        batches,
        batch: Vec::new().into_iter(),
        about: opened.about,
        counted: Counted::new(opened.rows),
        ended: false,
    }))
}

/// The thread died: the library panicked over the file.
fn gave_up(row: u64) -> FileError {
    damaged(row, "its parts contradict each other".into())
}

fn damaged(row: u64, what: String) -> FileError {
    FileError::Damaged {
        format: "XLSX",
        row,
        what,
    }
}

impl RowReader for Sheet {
    fn header(&self) -> Option<&[String]> {
        Some(&self.header)
    }

    fn choose(&mut self, _: &[String], places: &[usize]) -> Result<(), FileError> {
        let sent = self
            .choice
            .take()
            .map(|choice| choice.send(places.to_vec()));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(gave_up(0)),
        }
    }

    fn next(&mut self, row: u64) -> Result<Option<Read>, FileError> {
        let sheet_row = loop {
            if let Some(row) = self.batch.next() {
                break row;
            }
            if self.ended {
                return Ok(None);
            }
            match self.batches.recv() {
                // The last batch is empty.
                Ok(Ok(batch)) => {
                    self.ended = batch.is_empty();
                    self.batch = batch.into_iter();
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(gave_up(row)),
            }
        };
        Ok(Some(self.counted.read(sheet_row.cells, sheet_row.flaw)))
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
        self.about.clone()
    }
}

type Say = SyncSender<Result<Opened, FileError>>;
type Send = SyncSender<Result<Vec<SheetRow>, FileError>>;

/// The thread. Whoever does not listen any more does not want the rest.
fn run(
    mut source: Box<dyn Seekable>,
    options: &FileOptions,
    say: &Say,
    chosen: &Receiver<Vec<usize>>,
    send: &Send,
) {
    let workbook = guard::check(&mut source).and_then(|()| {
        source.rewind().map_err(|error| FileError::read(0, error))?;
        Xlsx::new(source).map_err(|error| failed(0, error))
    });
    let mut workbook = match workbook {
        Ok(workbook) => workbook,
        Err(error) => return drop(say.send(Err(error))),
    };
    let names = workbook.sheet_names();
    let sheet = match &options.sheet {
        None => names.first().cloned(),
        Some(wanted) => names.iter().find(|name| *name == wanted).cloned(),
    };
    let Some(sheet) = sheet else {
        let wanted = options.sheet.as_deref().unwrap_or("the first");
        let what = format!(
            "the workbook has no sheet `{wanted}`; it has: {}",
            names.join(", ")
        );
        return drop(say.send(Err(FileError::Format { what })));
    };
    let mut rows = match workbook.worksheet_cells_reader(&sheet) {
        Ok(cells) => RowsOfSheet::new(cells),
        Err(error) => return drop(say.send(Err(failed(0, error)))),
    };
    let header = match rows.header(options) {
        Ok(header) => header,
        Err(error) => return drop(say.send(Err(error))),
    };
    let opened = Opened {
        header,
        about: match names.len() {
            1 => format!("sheet {sheet}"),
            more => format!("sheet {sheet}, the first of {more}"),
        },
        rows: rows.told,
    };
    if say.send(Ok(opened)).is_err() {
        return;
    }
    let Ok(places) = chosen.recv() else { return };
    let mut number = 0;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    loop {
        number += 1;
        let row = match rows.next(number, Some(&places)) {
            Ok(row) => row,
            Err(error) => {
                if !batch.is_empty() && send.send(Ok(batch)).is_err() {
                    return;
                }
                return drop(send.send(Err(error)));
            }
        };
        let ended = row.is_none();
        if let Some(row) = row {
            bytes += row.cells.iter().map(String::len).sum::<usize>();
            batch.push(row);
        }
        if ended || batch.len() == BATCH_ROWS || bytes > BATCH_BYTES {
            bytes = 0;
            let full = std::mem::take(&mut batch);
            let empty = full.is_empty();
            if send.send(Ok(full)).is_err() {
                return;
            }
            if ended {
                // An empty batch says that it was the last.
                if !empty {
                    let _ = send.send(Ok(Vec::new()));
                }
                return;
            }
        }
    }
}

fn failed(row: u64, error: XlsxError) -> FileError {
    match error {
        XlsxError::Io(source) => FileError::read(0, source),
        XlsxError::Password => FileError::Format {
            what: "the workbook has a password: save it without one".into(),
        },
        error => damaged(row, error.to_string()),
    }
}

/// The rows of a sheet that are not blank.
struct RowsOfSheet<'w> {
    cells: calamine::XlsxCellReader<'w, Box<dyn Seekable>>,
    /// The first cell of the next row.
    next: Option<(u32, usize, cell::Value)>,
    begun: bool,
    /// Rows that the sheet says it has.
    told: u64,
}

impl<'w> RowsOfSheet<'w> {
    fn new(cells: calamine::XlsxCellReader<'w, Box<dyn Seekable>>) -> RowsOfSheet<'w> {
        let told = u64::from(cells.dimensions().end.0);
        RowsOfSheet {
            cells,
            next: None,
            begun: false,
            told,
        }
    }

    fn header(&mut self, options: &FileOptions) -> Result<Vec<String>, FileError> {
        if !options.columns.is_empty() {
            for _ in 0..options.skip_lines {
                self.next(0, None)?;
            }
            return Ok(options.columns.clone());
        }
        for _ in 0..options.skip_lines {
            self.next(0, None)?;
        }
        match self.next(0, None)? {
            Some(row) if row.flaw.is_none() => Ok(row.cells),
            Some(row) => Err(FileError::Format {
                what: format!(
                    "the header has a cell that is no text: {}",
                    row.flaw.map(|flaw| flaw.reason).unwrap_or_default()
                ),
            }),
            None => Err(FileError::Empty),
        }
    }

    /// The next row: the cells at `places`, or all of them.
    fn next(
        &mut self,
        number: u64,
        places: Option<&[usize]>,
    ) -> Result<Option<SheetRow>, FileError> {
        if !self.begun {
            self.begun = true;
            self.next = self.cell(number)?;
        }
        let Some((at, column, value)) = self.next.take() else {
            return Ok(None);
        };
        let mut row = SheetRow {
            cells: vec![String::new(); places.map_or(0, <[usize]>::len)],
            flaw: None,
        };
        let mut bytes = 0;
        let mut put = |column: usize, value: cell::Value| {
            let place = match places {
                Some(places) => places.iter().position(|place| *place == column),
                None => {
                    if row.cells.len() <= column {
                        row.cells.resize(column + 1, String::new());
                    }
                    Some(column)
                }
            };
            let Some(place) = place else { return 0 };
            match value {
                Ok(text) => row.cells[place] = text,
                Err(what) => {
                    row.flaw
                        .get_or_insert_with(|| cell::reject(at, column, what));
                }
            }
            row.cells[place].len()
        };
        bytes += put(column, value);
        loop {
            match self.cell(number)? {
                Some((same, column, value)) if same == at => bytes += put(column, value),
                other => {
                    self.next = other;
                    break;
                }
            }
            if bytes > limits::ROW_BYTES {
                return Err(super::too_long(number, u64::from(at)));
            }
        }
        Ok(Some(row))
    }

    /// The next cell that is not blank.
    fn cell(&mut self, number: u64) -> Result<Option<(u32, usize, cell::Value)>, FileError> {
        loop {
            let found = self
                .cells
                .next_cell_with_formula_metadata()
                .map_err(|error| failed(number, error))?;
            let Some(found) = found else { return Ok(None) };
            let (row, column) = found.pos;
            if column >= cell::COLUMNS_MAX || row >= cell::ROWS_MAX {
                return Err(damaged(number, "a cell lies outside the sheet".into()));
            }
            let value = text(&found.value, found.formula.is_some());
            if value.as_ref().is_ok_and(String::is_empty) {
                continue;
            }
            return Ok(Some((row, column as usize, value)));
        }
    }
}
