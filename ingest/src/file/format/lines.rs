//! Lines: JSONL, each line an object; a column is a dotted path into it. Also the plain lines that other formats build on.

use std::io::{BufRead, BufReader, Read as _};

use bytes::Bytes;

use super::{Line, Read, RowReader, too_long};
use crate::file::FileError;
use crate::file::content::{Content, Text};
use crate::file::options::FileOptions;
use crate::json::{self, Bounds, Value};
use crate::{Reject, RejectCode, limits};

/// What is read ahead.
const BUFFER_BYTES: usize = 64 * 1024;

/// A path that stands for the whole line: the lines are events of our own JSON.
pub(in crate::file) const EVENTS: &str = "";

pub(super) fn open(
    content: Content,
    options: &FileOptions,
) -> Result<Box<dyn RowReader>, FileError> {
    Ok(of(
        content.text(options.encoding)?,
        options.format.is_none(),
    ))
}

/// `guessed`: nobody said that it is JSONL.
pub(super) fn of(text: Text, guessed: bool) -> Box<dyn RowReader> {
    let about = match guessed {
        true => format!("JSONL, {}", text.encoding.name()),
        false => text.encoding.name().to_owned(),
    };
    Box::new(Lines {
        decoded: text.decoded,
        encoding: text.encoding.name(),
        reader: LineReader::new(text),
        paths: Vec::new(),
        about,
    })
}

/// Lines of bounded length that are not blank.
pub(super) struct LineReader {
    reader: BufReader<Box<dyn std::io::Read + Send>>,
    line: Vec<u8>,
    byte: u64,
}

impl LineReader {
    pub fn new(text: Text) -> LineReader {
        LineReader {
            reader: BufReader::with_capacity(BUFFER_BYTES, text.reader),
            line: Vec::new(),
            byte: 0,
        }
    }

    /// Reads a line that is not blank; answers where it begins.
    pub fn next(&mut self, row: u64) -> Result<Option<u64>, FileError> {
        loop {
            let byte = self.byte;
            if !self.any(row)? {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(byte));
            }
        }
    }

    /// Passes over the next `lines` lines, blank or not.
    pub fn pass(&mut self, lines: usize) -> Result<(), FileError> {
        for _ in 0..lines {
            self.any(0)?;
        }
        Ok(())
    }

    fn any(&mut self, row: u64) -> Result<bool, FileError> {
        let byte = self.byte;
        self.line.clear();
        let max = limits::ROW_BYTES;
        let read = (&mut self.reader)
            .take(max as u64 + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(|source| FileError::read(byte, source))?;
        if read > max {
            return Err(too_long(row, byte));
        }
        self.byte += read as u64;
        if byte == 0 && self.line.starts_with("\u{feff}".as_bytes()) {
            self.line.drain(..3);
        }
        Ok(read > 0)
    }

    /// The line, without blanks around it.
    pub fn line(&self) -> &[u8] {
        self.line.trim_ascii()
    }

    pub fn byte(&self) -> u64 {
        self.byte
    }

    /// The line without its end.
    pub fn raw(&self) -> Vec<u8> {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        line.strip_suffix(b"\r").unwrap_or(line).to_vec()
    }
}

struct Lines {
    reader: LineReader,
    /// Dotted paths into each line; the path [`EVENTS`] alone: lines are events already.
    paths: Vec<String>,
    decoded: bool,
    encoding: &'static str,
    about: String,
}

impl RowReader for Lines {
    fn header(&self) -> Option<&[String]> {
        None
    }

    fn choose(&mut self, names: &[String], _: &[usize]) -> Result<(), FileError> {
        self.paths = names.to_vec();
        Ok(())
    }

    fn next(&mut self, row: u64) -> Result<Option<Read>, FileError> {
        Ok(self.reader.next(row)?.map(|byte| Read {
            byte,
            line: self.read(),
        }))
    }

    fn byte(&self) -> u64 {
        self.reader.byte()
    }

    fn raw(&self, _: &Line) -> Vec<u8> {
        self.reader.raw()
    }

    fn about(&self) -> String {
        self.about.clone()
    }
}

impl Lines {
    fn read(&self) -> Line {
        let whole = self.reader.line();
        if self.paths == [EVENTS] {
            return Line::Event(Bytes::copy_from_slice(whole));
        }
        let Ok(text) = std::str::from_utf8(whole) else {
            return Line::Bad(Reject::new(
                RejectCode::InvalidUtf8,
                "the line is not UTF-8",
            ));
        };
        if self.decoded && text.contains(char::REPLACEMENT_CHARACTER) {
            return Line::Bad(Reject::new(
                RejectCode::InvalidUtf8,
                format!("the line is no {}", self.encoding),
            ));
        }
        if let Err(flaw) = json::check(text, Bounds::ORDER) {
            return Line::Bad(flaw.into());
        }
        if !text.starts_with('{') {
            return Line::Bad(Reject::new(
                RejectCode::NotAnObject,
                "each line is a JSON object",
            ));
        }
        Line::Cells(self.paths.iter().map(|path| at_path(text, path)).collect())
    }
}

/// The value at a dotted path as text; objects and lists as their JSON; absent ones are empty.
fn at_path(object: &str, path: &str) -> String {
    if path == EVENTS {
        return object.to_owned();
    }
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
