//! Reading: which files and row groups are looked at, by how many threads, and what is lent of them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use actors::history::{Each, History, HistoryError, Scanned, Wanted};
use actors::model::{IdentNo, Offset};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use arrow::error::ArrowError;
use parking_lot::Mutex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::erase::Erased;
use super::file::{LakeFile, Opened};
use super::lend::{Count, Lend, named, numbers};
use super::schema::{FIXED, ORDERS, READ, column};
use super::{Lake, LakeError, View};

/// Rows decoded at once: a few hundred kilobytes of columns, which stay in the cache of a core.
const BATCH_ROWS: usize = 8_192;

/// Fragments asked for up to which bloom filters are looked at; more are likely to be everywhere.
const BLOOM_FRAGMENTS_MAX: usize = 64;

impl History for Lake {
    fn position(&self) -> Offset {
        self.view().position
    }

    fn scan(&self, wanted: &Wanted, sinks: &mut [&mut Each<'_>]) -> Result<Scanned, HistoryError> {
        let view = self.view();
        let until = wanted.until.unwrap_or(view.position);
        if until > view.position {
            return Err(HistoryError::Behind {
                position: view.position,
                wanted: until,
            });
        }
        let seen = over(&view, wanted, until, sinks)?;
        self.close_some(&view);
        Ok(seen)
    }
}

/// Scans a view.
pub(super) fn over(
    view: &View,
    wanted: &Wanted,
    until: Offset,
    sinks: &mut [&mut Each<'_>],
) -> Result<Scanned, LakeError> {
    Scan::over(view, wanted, until)?.run(sinks)
}

/// Row groups and batches that a scan would look at.
#[cfg(test)]
pub(super) fn parts(view: &View, wanted: &Wanted, until: Offset) -> usize {
    Scan::over(view, wanted, until).unwrap().parts.len()
}

/// One scan.
struct Scan<'w> {
    wanted: &'w Wanted,
    until: Offset,
    erased: Arc<Erased>,
    parts: Vec<Part>,
    next: AtomicUsize,
    stop: AtomicBool,
}

/// What one thread takes at once.
enum Part {
    Tail(Arc<RecordBatch>),
    Group(Arc<LakeFile>, Opened, usize),
}

impl<'w> Scan<'w> {
    fn over(view: &View, wanted: &'w Wanted, until: Offset) -> Result<Scan<'w>, LakeError> {
        let mut parts = Vec::new();
        for file in view.files.iter().filter(|f| f.may_hold(wanted, until)) {
            let opened = file.open()?;
            for group in 0..opened.meta.metadata().num_row_groups() {
                if may_hold(file, &opened, group, wanted)? {
                    parts.push(Part::Group(file.clone(), opened.clone(), group));
                }
            }
        }
        let tail = view.tail.iter().map(|part| Part::Tail(part.batch.clone()));
        parts.extend(tail);
        Ok(Scan {
            wanted,
            until,
            erased: view.erased.clone(),
            parts,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        })
    }

    fn run(&self, sinks: &mut [&mut Each<'_>]) -> Result<Scanned, LakeError> {
        let total = Mutex::new(Ok(Count::default()));
        let add = |done: Result<Count, LakeError>| {
            let mut total = total.lock();
            match (&mut *total, done) {
                (Ok(total), Ok(count)) => {
                    total.shown += count.shown;
                    total.read += count.read;
                }
                (Ok(_), Err(error)) => *total = Err(error),
                (Err(_), _) => {}
            }
        };
        if let Some((first, others)) = sinks.split_first_mut() {
            std::thread::scope(|scope| {
                for sink in others {
                    scope.spawn(|| add(self.work(*sink)));
                }
                add(self.work(*first));
            });
        }
        let count = total.into_inner()?;
        Ok(Scanned {
            position: self.until,
            shown: count.shown,
            read: count.read,
            stopped: self.stop.load(Ordering::Acquire),
        })
    }

    /// Takes parts until there are none.
    fn work(&self, sink: &mut Each<'_>) -> Result<Count, LakeError> {
        let mut count = Count::default();
        while !self.stop.load(Ordering::Acquire) {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = self.parts.get(next) else {
                break;
            };
            let flow = match part {
                Part::Tail(batch) => {
                    let lend = self.lend(self.erased.clone());
                    lend.each(batch, sink, &mut count)
                        .map_err(LakeError::Form)?
                }
                Part::Group(file, opened, group) => self
                    .group(file, opened, *group, sink, &mut count)
                    .inspect_err(|_| self.stop.store(true, Ordering::Release))?,
            };
            if flow.is_break() {
                self.stop.store(true, Ordering::Release);
            }
        }
        Ok(count)
    }

    fn group(
        &self,
        file: &LakeFile,
        opened: &Opened,
        group: usize,
        sink: &mut Each<'_>,
        count: &mut Count,
    ) -> Result<ControlFlow<()>, LakeError> {
        let wrong = |error: &dyn ToString| file.damaged(error.to_string());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            opened.file.clone(),
            opened.meta.clone(),
        )
        .with_row_groups(vec![group])
        .with_batch_size(BATCH_ROWS)
        .with_projection(self.projection(opened));
        let builder = match self.filter(opened) {
            Some(filter) => builder.with_row_filter(filter),
            None => builder,
        };
        let erased = match file.entry.erasure < self.erased.number {
            true => self.erased.clone(),
            false => Arc::default(),
        };
        let lend = self.lend(erased);
        for batch in builder.build().map_err(|error| wrong(&error))? {
            let batch = batch.map_err(|error| wrong(&error))?;
            let flow = lend
                .each(&batch, sink, count)
                .map_err(|error| wrong(&error))?;
            if flow.is_break() || self.stop.load(Ordering::Acquire) {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn lend(&self, erased: Arc<Erased>) -> Lend<'w> {
        Lend {
            wanted: self.wanted,
            until: self.until,
            erased,
        }
    }

    fn projection(&self, opened: &Opened) -> ProjectionMask {
        let asked = self.wanted.columns;
        let mut names = FIXED.to_vec();
        let mut add = |asked: bool, more: &[&'static str]| {
            if asked {
                names.extend_from_slice(more);
            }
        };
        add(asked.message_id, &[column::MESSAGE_ID]);
        add(asked.identifiers, &[column::IDENTIFIERS]);
        add(asked.properties, &[column::PROPERTIES]);
        add(asked.traits, &[column::TRAITS]);
        add(asked.context, &[column::CONTEXT]);
        add(asked.place, &[column::LAT, column::LON, column::ACCURACY]);
        add(asked.order, ORDERS);
        roots(opened, &names)
    }

    /// Reads the other columns only where fragment and name are wanted.
    fn filter(&self, opened: &Opened) -> Option<RowFilter> {
        let mut predicates: Vec<Box<dyn ArrowPredicate>> = Vec::new();
        if let Some(fragments) = &self.wanted.fragments {
            let fragments = fragments.clone();
            let held = move |batch: RecordBatch| {
                let numbers = numbers::<UInt32Type>(&batch, column::FRAGMENT)
                    .map_err(ArrowError::SchemaError)?;
                let held = numbers.values().iter();
                Ok(held
                    .map(|number| Some(fragments.contains(&IdentNo(*number))))
                    .collect::<BooleanArray>())
            };
            let mask = roots(opened, &[column::FRAGMENT]);
            predicates.push(Box::new(ArrowPredicateFn::new(mask, held)));
        }
        if self.wanted.names.is_some() {
            let wanted = Wanted {
                names: self.wanted.names.clone(),
                ..Wanted::default()
            };
            let held =
                move |batch: RecordBatch| named(&batch, &wanted).map_err(ArrowError::SchemaError);
            let mask = roots(opened, &[column::NAME]);
            predicates.push(Box::new(ArrowPredicateFn::new(mask, held)));
        }
        (!predicates.is_empty()).then(|| RowFilter::new(predicates))
    }
}

/// The columns of these names.
fn roots(opened: &Opened, names: &[&str]) -> ProjectionMask {
    let indices = names.iter().filter_map(|name| READ.index_of(name).ok());
    ProjectionMask::roots(opened.meta.parquet_schema(), indices)
}

/// Whether a row group can hold wanted fragments and times.
fn may_hold(
    file: &LakeFile,
    opened: &Opened,
    group: usize,
    wanted: &Wanted,
) -> Result<bool, LakeError> {
    let meta = opened.meta.metadata().row_group(group);
    if let Some(times) = &wanted.times
        && let Some((first, last)) = time_ends(meta)
        && (last < times.start.0 || times.end.0 <= first)
    {
        return Ok(false);
    }
    match &wanted.fragments {
        None => Ok(true),
        Some(fragments) => {
            let (first, last) = fragment_ends(meta).unwrap_or(file.entry.fragments);
            let mut inside = fragments.range(first..=last).peekable();
            if inside.peek().is_none() {
                return Ok(false);
            }
            holds_some(file, opened, group, inside.copied())
        }
    }
}

/// Whether a row group may hold one of these fragments, by its bloom filter.
pub(super) fn holds_some(
    file: &LakeFile,
    opened: &Opened,
    group: usize,
    mut fragments: impl Iterator<Item = IdentNo> + Clone,
) -> Result<bool, LakeError> {
    if fragments.clone().nth(BLOOM_FRAGMENTS_MAX).is_some() {
        return Ok(true);
    }
    let column = leaf(column::FRAGMENT);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
        opened.file.clone(),
        opened.meta.clone(),
    );
    let filter = builder
        .get_row_group_column_bloom_filter(group, column)
        .map_err(|error| file.damaged(error))?;
    Ok(match filter {
        None => true,
        // Parquet keeps unsigned numbers as signed ones of the same bits.
        Some(filter) => fragments.any(|fragment| filter.check(&(fragment.0 as i32))),
    })
}

/// Number of a column that is one leaf and stands before all lists.
fn leaf(name: &str) -> usize {
    READ.index_of(name).expect("a column of the schema")
}

pub(super) fn fragment_ends(group: &RowGroupMetaData) -> Option<(IdentNo, IdentNo)> {
    match group.column(leaf(column::FRAGMENT)).statistics()? {
        Statistics::Int32(ends) => Some((
            IdentNo(*ends.min_opt()? as u32),
            IdentNo(*ends.max_opt()? as u32),
        )),
        _ => None,
    }
}

fn time_ends(group: &RowGroupMetaData) -> Option<(i64, i64)> {
    match group.column(leaf(column::TIME)).statistics()? {
        Statistics::Int64(ends) => Some((*ends.min_opt()?, *ends.max_opt()?)),
        _ => None,
    }
}
