//! A mapping guessed from what a file calls its columns and from its first values, for a person to check and correct.
//!
//! Absent on purpose: certainty. What is guessed is said in the mapping's comments, and the dry run shows what it makes of
//! the first rows.

mod values;
mod words;
mod write;

use std::collections::BTreeSet;

use self::words::Meaning;
use super::FileError;
use super::content::Content;
use super::format::{self, Line, RowReader};
use super::options::{Delimiter, FileOptions};
use crate::json;

/// Rows that are looked at.
const SAMPLE_ROWS: u64 = 200;
/// Bytes in which the delimiter is looked for.
const LAYOUT_BYTES: u64 = 64 * 1024;
/// Values of a column that are shown.
const SHOWN: usize = 3;
/// Columns beyond which nothing is guessed: no table of people has them.
const COLUMNS_MAX: usize = 1_000;

/// A guessed mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The format and what was found out about the file.
    pub about: String,
    /// The mapping as TOML, with comments; it is right in itself and fits the file.
    pub mapping: String,
    /// The file's columns.
    pub columns: Vec<SuggestedColumn>,
}

/// A column of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuggestedColumn {
    /// As the file calls it.
    pub name: String,
    /// Where it goes in the mapping, e.g. `order.line.sku`.
    pub place: String,
    /// Some of its values. They may be personal.
    pub samples: Vec<String>,
}

/// A name that the dictionary knows, and what people call it.
pub type KnownName = (String, Vec<String>);

/// What the dictionary knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Attributes of people.
    pub traits: Vec<KnownName>,
    /// Properties of events.
    pub properties: Vec<KnownName>,
}

/// Guesses a mapping. `open` opens the file anew each time: it is looked at twice. `known` is what the
/// dictionary has, which wins over our own words for attributes.
pub fn suggest(
    open: impl Fn() -> std::io::Result<Content>,
    known: &Known,
) -> Result<Suggestion, FileError> {
    let opened = || open().map_err(|source| FileError::read(0, source));
    let options = layout(opened()?)?;
    let (format, mut reader) = format::open(opened()?, &options)?;
    let names = match reader.header() {
        Some(header) => header.to_vec(),
        None => paths(&options, opened()?)?,
    };
    let mut names: Vec<String> = names.into_iter().take(COLUMNS_MAX).collect();
    // What has no name or the name of another column cannot be meant.
    let places: Vec<usize> = (0..names.len())
        .filter(|at| {
            let name = &names[*at];
            !name.is_empty() && names.iter().filter(|other| *other == name).count() == 1
        })
        .collect();
    names = places.iter().map(|at| names[*at].clone()).collect();
    if names.is_empty() {
        return Err(FileError::Format {
            what: "no column has a name of its own: nothing can be guessed".into(),
        });
    }
    reader.choose(&names, &places)?;
    let about = format!("{format}, {}", reader.about());
    let rows = sample(&mut *reader)?;
    let columns: Vec<Column> = names
        .into_iter()
        .enumerate()
        .map(|(at, name)| {
            let values = rows.iter().map(|row| row[at].clone()).collect();
            Column::guess(name, values, known)
        })
        .collect();
    let (mapping, places) = write::mapping(format, &options, columns.as_slice());
    Ok(Suggestion {
        about,
        mapping,
        columns: columns
            .into_iter()
            .zip(places)
            .map(|(column, place)| SuggestedColumn {
                place,
                samples: column.shown(),
                name: column.name,
            })
            .collect(),
    })
}

/// A column with what it seems to mean.
struct Column {
    pub name: String,
    pub meaning: Option<Meaning>,
    /// An attribute that the dictionary knows.
    pub known: Option<String>,
    /// A property that the dictionary knows.
    pub property: Option<String>,
    pub values: Vec<String>,
}

impl Column {
    fn guess(name: String, values: Vec<String>, known: &Known) -> Column {
        let plain = words::plain(&name);
        let find = |names: &[KnownName]| {
            let found = names.iter().find(|(known, titles)| {
                words::plain(known) == plain
                    || titles.iter().any(|title| words::plain(title) == plain)
            });
            found.map(|(known, _)| known.clone())
        };
        let (known, property) = (find(&known.traits), find(&known.properties));
        let mut column = Column {
            // The last part of a path into lines says more than its way there.
            meaning: words::meaning(&name)
                .or_else(|| words::meaning(name.rsplit('.').next().unwrap_or_default())),
            name,
            known,
            property,
            values,
        };
        if column.meaning.is_none() {
            if values::phones(column.each()) {
                column.meaning = Some(Meaning::Identifier("phone"));
            } else if values::emails(column.each()) {
                column.meaning = Some(Meaning::Identifier("email"));
            }
        }
        // A time column whose values are no times is something else.
        if column.meaning == Some(Meaning::Time)
            && column.each().any(|value| !value.is_empty())
            && values::time_forms(column.each()).is_none()
        {
            column.meaning = None;
        }
        column
    }

    /// The sampled values.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    fn shown(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.each()
            .filter(|value| !value.is_empty() && seen.insert(*value))
            .take(SHOWN)
            .map(str::to_owned)
            .collect()
    }
}

fn sample(reader: &mut dyn RowReader) -> Result<Vec<Vec<String>>, FileError> {
    let mut rows = Vec::new();
    for row in 1..=SAMPLE_ROWS {
        match reader.next(row)? {
            None => break,
            Some(read) => {
                if let Line::Cells(cells) = read.line {
                    rows.push(cells);
                }
            }
        }
    }
    Ok(rows)
}

/// How text is laid out: the delimiter that splits the first lines alike, and most often.
fn layout(mut content: Content) -> Result<FileOptions, FileError> {
    let mut options = FileOptions::default();
    let magic = content.magic()?;
    if format::is_sure(&magic) {
        return Ok(options);
    }
    let mut text = content.text(None)?;
    let mut begins = Vec::new();
    std::io::Read::read_to_end(
        &mut std::io::Read::take(&mut text.reader, LAYOUT_BYTES),
        &mut begins,
    )
    .map_err(|source| FileError::read(0, source))?;
    let begins = String::from_utf8_lossy(&begins);
    let lines: Vec<&str> = begins
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(20)
        .collect();
    // The last line may be cut.
    let lines = match begins.len() == LAYOUT_BYTES as usize && lines.len() > 1 {
        true => &lines[..lines.len() - 1],
        false => &lines[..],
    };
    let alike = |split: &dyn Fn(&str) -> usize| {
        let first = lines.first().map_or(0, |line| split(line));
        let same = lines.iter().filter(|line| split(line) == first).count();
        (first > 1 && same * 4 >= lines.len() * 3).then_some(first)
    };
    let byte = [b',', b'\t', b';', b'|']
        .into_iter()
        .filter_map(|byte| {
            let columns = alike(&|line| line.split(char::from(byte)).count())?;
            Some((columns, byte))
        })
        .max_by_key(|(columns, _)| *columns);
    if let Some((_, byte)) = byte {
        options.delimiter = Delimiter::Byte(byte);
    } else if alike(&|line| line.split_ascii_whitespace().count()).is_some()
        && !begins.trim_start().starts_with('{')
    {
        options.delimiter = Delimiter::Blanks;
    }
    Ok(options)
}

/// The paths of JSON lines: names, and names inside objects one level down.
fn paths(options: &FileOptions, content: Content) -> Result<Vec<String>, FileError> {
    let (_, mut reader) = format::open(content, options)?;
    reader.choose(&["".into(), "\u{0}".into()], &[])?;
    let mut paths: Vec<String> = Vec::new();
    let mut add = |path: String| {
        if !paths.contains(&path) && paths.len() < COLUMNS_MAX {
            paths.push(path);
        }
    };
    for row in sample(&mut *reader)? {
        let Some(whole) = row.first() else { continue };
        for (name, value) in json::members(whole) {
            if name.contains('.') || name.is_empty() {
                continue;
            }
            if value.starts_with('{') {
                for (inner, _) in json::members(value) {
                    if !inner.contains('.') && !inner.is_empty() {
                        add(format!("{name}.{inner}"));
                    }
                }
            } else {
                add(name.into_owned());
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests;
