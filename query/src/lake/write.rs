//! From batches in the order of arrival to files by sort and day.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use actors::model::{EventKind, Time};
use arrow::array::RecordBatch;
use arrow::compute;
use arrow::datatypes::{TimestampMillisecondType, UInt32Type, UInt64Type};
use jiff::tz::TimeZone;

use super::erase::Erased;
use super::file::FileWriter;
use super::lend::{Text, numbers};
use super::manifest::FileEntry;
use super::schema::{column, kind_of};
use super::span::{Calendar, Unit};
use super::{LakeConfig, LakeError};

/// Days with fewer rows share a file with the days beside them: an import of years must not make a thousand files at once.
/// The next merge takes them apart.
const DAY_ROWS_MIN: usize = 4_096;

/// Rows put together at once.
const BATCH_ROWS: usize = 8_192;

/// One row of the batches: what it is sorted by, and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    fragment: u32,
    time: i64,
    offset: u64,
    index: u32,
    batch: u32,
    row: u32,
}

/// Gives the next file its number.
pub(super) type Number<'a> = dyn FnMut() -> u64 + 'a;

/// Writes batches into files of level 0.
pub(super) fn files(
    folder: &Path,
    config: &LakeConfig,
    batches: &[&RecordBatch],
    erased: &Erased,
    number: &mut Number<'_>,
) -> Result<Vec<FileEntry>, LakeError> {
    let mut written = Vec::new();
    for (kind, mut rows) in by_kind(batches).map_err(LakeError::Form)? {
        rows.sort_unstable_by_key(|row| row.time);
        for part in days(&rows, &config.zone) {
            let part = &mut rows[part];
            part.sort_unstable();
            let entry = FileEntry::empty(number(), kind, 0, erased.number);
            let mut file = FileWriter::create(folder, entry, config.packing, config.group_rows)?;
            for rows in part.chunks(BATCH_ROWS) {
                let places: Vec<(usize, usize)> = rows
                    .iter()
                    .map(|row| (row.batch as usize, row.row as usize))
                    .collect();
                let batch = compute::interleave_record_batch(batches, &places)
                    .and_then(|batch| erased.blank(batch))
                    .map_err(|error| LakeError::Form(error.to_string()))?;
                file.write(&batch)?;
            }
            written.push(file.finish()?);
        }
    }
    Ok(written)
}

fn by_kind(batches: &[&RecordBatch]) -> Result<BTreeMap<EventKind, Vec<Row>>, String> {
    let mut kinds: BTreeMap<EventKind, Vec<Row>> = BTreeMap::new();
    for (number, batch) in batches.iter().enumerate() {
        let fragment = numbers::<UInt32Type>(batch, column::FRAGMENT)?.values();
        let time = numbers::<TimestampMillisecondType>(batch, column::TIME)?.values();
        let offset = numbers::<UInt64Type>(batch, column::OFFSET)?.values();
        let index = numbers::<UInt32Type>(batch, column::INDEX)?.values();
        let Text::Plain(kind) = Text::of(batch, column::KIND)? else {
            return Err("the tail has plain texts".into());
        };
        for row in 0..batch.num_rows() {
            let kind = kind_of(kind.value(row)).ok_or("an unknown sort of event")?;
            kinds.entry(kind).or_default().push(Row {
                fragment: fragment[row],
                time: time[row],
                offset: offset[row],
                index: index[row],
                batch: number as u32,
                row: row as u32,
            });
        }
    }
    Ok(kinds)
}

/// Cuts rows, sorted by time, into days; days with few rows stay with the next ones.
fn days(rows: &[Row], zone: &TimeZone) -> Vec<Range<usize>> {
    let mut calendar = Calendar::new(zone.clone(), Unit::Day);
    let mut parts = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while at < rows.len() {
        let (_, end) = calendar.around(Time(rows[at].time));
        at += rows[at..].partition_point(|row| row.time < end.0);
        if at - from >= DAY_ROWS_MIN || at == rows.len() {
            parts.push(from..at);
            from = at;
        }
    }
    parts
}
