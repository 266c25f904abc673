//! How a file is laid out: the table `[file]` of a mapping.

use encoding_rs::Encoding;

use super::format::FORMATS;
use super::section::Section;

/// How a file is laid out.
#[derive(Debug, Clone)]
pub(super) struct FileOptions {
    /// Name of its format; none: as the file itself says.
    pub format: Option<&'static str>,
    pub delimiter: Delimiter,
    /// None: nothing is quoted.
    pub quote: Option<u8>,
    /// None: told from the byte order mark or the first bytes.
    pub encoding: Option<&'static Encoding>,
    /// Names of the columns of a file without a header.
    pub columns: Vec<String>,
    /// Lines before the header or the first row.
    pub skip_lines: usize,
    /// Sheet of a workbook; none: the first.
    pub sheet: Option<String>,
}

/// What stands between columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    Byte(u8),
    /// Any number of blanks and tabs.
    Blanks,
}

/// Most lines that may stand before a header: titles and notes, not data.
const SKIP_LINES_MAX: i64 = 1_000;

impl Default for FileOptions {
    fn default() -> FileOptions {
        FileOptions {
            format: None,
            delimiter: Delimiter::Byte(b','),
            quote: Some(b'"'),
            encoding: None,
            columns: Vec::new(),
            skip_lines: 0,
            sheet: None,
        }
    }
}

pub(super) fn read(file: &Section<'_>) -> Option<FileOptions> {
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    let format = match file.has("format") {
        false => Some(None),
        true => file
            .word("format", &names)
            .map(|word| names.iter().copied().find(|name| **name == *word)),
    };
    let delimiter = match file.table.get("delimiter").and_then(toml::Value::as_str) {
        Some("whitespace") => Some(Delimiter::Blanks),
        _ => file.character("delimiter", b',').map(Delimiter::Byte),
    };
    let quote = match file.table.get("quote").and_then(toml::Value::as_str) {
        Some("none") => Some(None),
        _ => file.character("quote", b'"').map(Some),
    };
    let encoding = match file.text("encoding") {
        None => Some(None),
        Some(word) if word == "auto" => Some(None),
        Some(word) => match Encoding::for_label(word.as_bytes()) {
            Some(encoding) => Some(Some(encoding)),
            None => {
                file.problem(
                    "encoding",
                    format!("`{word}` is no encoding: use e.g. utf-8, gb18030, utf-16le, or leave it out"),
                );
                None
            }
        },
    };
    let skip_lines = match file.table.get("skip_lines") {
        None => Some(0),
        Some(toml::Value::Integer(lines)) if (0..=SKIP_LINES_MAX).contains(lines) => {
            usize::try_from(*lines).ok()
        }
        Some(_) => {
            file.problem(
                "skip_lines",
                format!("expected a whole number from 0 to {SKIP_LINES_MAX}"),
            );
            None
        }
    };
    let columns = file.texts("columns").unwrap_or_default();
    let sheet = file.text("sheet");
    file.finish(&[
        "format",
        "delimiter",
        "quote",
        "encoding",
        "columns",
        "skip_lines",
        "sheet",
    ]);
    Some(FileOptions {
        format: format?,
        delimiter: delimiter?,
        quote: quote?,
        encoding: encoding?,
        columns,
        skip_lines: skip_lines?,
        sheet,
    })
}
