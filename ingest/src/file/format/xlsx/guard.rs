//! What a workbook unpacks to, looked at before anything of it is held in memory.
//!
//! A ZIP says how large its members are, and may lie; so every XML member is unpacked once, counted and thrown away. Two
//! things are bounded: members that the library holds whole, and the longest piece of a sheet that it holds at once (a
//! cell with all its text runs, a tag, a comment).

use std::io::Read;

use zip::ZipArchive;

use crate::file::FileError;
use crate::file::content::Seekable;
use crate::limits;

const CHUNK_BYTES: usize = 64 * 1024;

/// Refuses what would not fit.
pub(super) fn check(source: &mut Box<dyn Seekable>) -> Result<(), FileError> {
    let mut archive = ZipArchive::new(source).map_err(|error| match error {
        zip::result::ZipError::Io(source) => FileError::read(0, source),
        error => super::damaged(0, error.to_string()),
    })?;
    if archive.len() > limits::XLSX_MEMBERS {
        return Err(limit(format!(
            "has {} parts, the limit is {}",
            archive.len(),
            limits::XLSX_MEMBERS
        )));
    }
    let (mut held, mut sheets) = (0, 0);
    let mut workbook = false;
    for index in 0..archive.len() {
        let member = archive
            .by_index(index)
            .map_err(|error| super::damaged(0, error.to_string()))?;
        let name = member
            .name()
            .map_err(|error| super::damaged(0, error.to_string()))?
            .to_ascii_lowercase();
        workbook |= name.starts_with("xl/") && name.contains("workbook");
        if name.ends_with(".bin") && name.contains("worksheets/") {
            return Err(FileError::Format {
                what: "this is a binary workbook (.xlsb): save it as .xlsx".into(),
            });
        }
        if !(name.ends_with(".xml") || name.ends_with(".rels")) {
            continue;
        }
        let sheet = name.contains("worksheets/") && name.ends_with(".xml");
        let (sum, max, what) = match sheet {
            true => (&mut sheets, limits::XLSX_SHEETS_BYTES, "sheets"),
            false => (&mut held, limits::XLSX_HELD_BYTES, "texts and styles"),
        };
        if member.size() > max {
            return Err(unpacks(what, max));
        }
        measure(member, sum, max, what)?;
    }
    match workbook {
        true => Ok(()),
        false => Err(FileError::Format {
            what: "this ZIP archive is no workbook".into(),
        }),
    }
}

/// Unpacks a member, adds its bytes to `sum`, and looks for pieces that are too long.
fn measure(mut member: impl Read, sum: &mut u64, max: u64, what: &str) -> Result<(), FileError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut pieces = Pieces::default();
    loop {
        let read = member
            .read(&mut chunk)
            .map_err(|error| super::damaged(0, error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        *sum += read as u64;
        if *sum > max {
            return Err(unpacks(what, max));
        }
        if !pieces.feed(&chunk[..read]) {
            return Err(limit(format!(
                "has a cell, tag or comment of more than {} bytes",
                limits::ROW_BYTES
            )));
        }
    }
}

/// The length of what an XML reader holds at once: from the beginning of one cell or shared text to that of the next.
#[derive(Default)]
struct Pieces {
    length: usize,
    /// The name that follows a `<`, while it is read.
    name: Option<Vec<u8>>,
    /// Inside a comment or CDATA, where `<` means nothing; with the last two bytes.
    opaque: Option<[u8; 2]>,
}

/// Longest name that is looked at: `x:sheetData` with a prefix.
const NAME_BYTES: usize = 24;

impl Pieces {
    /// False: a piece is too long.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut at = 0;
        while at < bytes.len() {
            if let Some(last) = &mut self.opaque {
                let byte = bytes[at];
                if byte == b'>' && (*last == *b"--" || *last == *b"]]") {
                    self.opaque = None;
                } else {
                    *last = [last[1], byte];
                }
                self.length += 1;
                at += 1;
                if self.length > limits::ROW_BYTES {
                    return false;
                }
                continue;
            }
            if let Some(name) = &mut self.name {
                let byte = bytes[at];
                let ends = matches!(byte, b' ' | b'>' | b'/' | b'\t' | b'\r' | b'\n');
                let opaque = name.first() == Some(&b'!');
                if !ends && !opaque && name.len() < NAME_BYTES {
                    name.push(byte);
                    self.length += 1;
                    at += 1;
                    continue;
                }
                if opaque {
                    self.name = None;
                    self.opaque = Some([0; 2]);
                    continue;
                }
                let local = name.rsplit(|byte| *byte == b':').next().unwrap_or_default();
                // A cell, a row, a shared text, a style: whatever the reader begins anew with.
                if matches!(
                    local,
                    b"c" | b"row" | b"si" | b"xf" | b"font" | b"Relationship"
                ) {
                    self.length = 0;
                }
                self.name = None;
            }
            let rest = &bytes[at..];
            match rest.iter().position(|byte| *byte == b'<') {
                Some(found) => {
                    self.length += found + 1;
                    at += found + 1;
                    self.name = Some(Vec::new());
                }
                None => {
                    self.length += rest.len();
                    at = bytes.len();
                }
            }
            if self.length > limits::ROW_BYTES {
                return false;
            }
        }
        true
    }
}

fn unpacks(what: &str, max: u64) -> FileError {
    limit(format!(
        "unpacks to more than {} MiB of {what}",
        max / 1024 / 1024
    ))
}

fn limit(what: String) -> FileError {
    FileError::Limit {
        what: format!("the workbook {what}: split it or export it as CSV"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str) -> bool {
        // In two parts, so that a name is cut.
        let mut pieces = Pieces::default();
        let (first, rest) = text.as_bytes().split_at(text.len() / 2);
        pieces.feed(first) && pieces.feed(rest)
    }

    #[test]
    fn many_small_cells_fit_and_one_large_one_does_not() {
        let cell = "<c r=\"A1\"><v>1</v></c>";
        assert!(fits(&cell.repeat(limits::ROW_BYTES / 10)));
        assert!(fits(
            &"<x:row><x:c>1</x:c></x:row>".repeat(limits::ROW_BYTES / 10)
        ));
        let long = "x".repeat(limits::ROW_BYTES);
        for text in [
            format!("<c><is><t>{long}</t></is></c>"),
            format!(
                "<c><is>{}</is></c>",
                "<r><t>x</t></r>".repeat(limits::ROW_BYTES / 10)
            ),
            format!("<c><!-- {long} --></c>"),
            format!("<c><!-- {} --></c>", "<c > ".repeat(limits::ROW_BYTES / 4)),
            format!(
                "<c><![CDATA[{}]]></c>",
                "<c > ".repeat(limits::ROW_BYTES / 4)
            ),
            format!("<c a=\"{long}\"/>"),
        ] {
            assert!(!fits(&text));
        }
    }
}
