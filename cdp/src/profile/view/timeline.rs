//! The timeline of a member: its fragments' rows, merged, newest first.

use std::collections::BTreeMap;

use actors::machine::{Rows, RowsError};
use actors::model::{BrandId, EventKind, IdentNo, MemberNo, Position, Scope, SourceId, Time};

use super::walk::{Place, Walk, foreign, read_cursor, write_cursor};
use super::{mask, member};
use crate::definition::AttributeSchema;
use crate::profile::Value;
use crate::profile::attribute::{Operation, Told, elements, fold};
use crate::profile::cell::clears;
use crate::profile::row::{Suffix, TimelineRow, What};

/// Rows that one page reads at most. A filter that rarely matches answers a short page with a cursor instead of reading a
/// bot's whole life in one request.
const PAGE_READS_MAX: usize = 10_000;

/// Rows read beyond a page to learn what its attributes were before.
const OLD_VALUE_READS_MAX: usize = 500;

/// Which rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimelineFilter {
    /// Only these fragments (identifiers); empty: all.
    pub fragments: Vec<IdentNo>,
    /// Only events and notes of these names; empty: all.
    pub names: Vec<Box<str>>,
    /// Only events of these sorts. Empty, and `changes` too: everything.
    pub kinds: Vec<EventKind>,
    /// Only changes of these sorts.
    pub changes: Vec<ChangeKind>,
    /// Not before.
    pub from: Option<Time>,
    /// Before.
    pub to: Option<Time>,
}

/// Sorts of rows that are no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A change of who the member is.
    Note,
    /// It entered a segment.
    SegmentEntered,
    /// It left a segment.
    SegmentLeft,
    /// It got, changed or lost a tag.
    TagChanged,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: [ChangeKind; 4] = [
        ChangeKind::Note,
        ChangeKind::SegmentEntered,
        ChangeKind::SegmentLeft,
        ChangeKind::TagChanged,
    ];

    /// The sort of a row; `None` for events.
    pub fn of(what: What) -> Option<ChangeKind> {
        match what {
            What::Event(_) => None,
            What::Note(_) => Some(ChangeKind::Note),
            What::Segment(note) if note.entered => Some(ChangeKind::SegmentEntered),
            What::Segment(_) => Some(ChangeKind::SegmentLeft),
            What::Tag(_) => Some(ChangeKind::TagChanged),
        }
    }

    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Note => "note",
            ChangeKind::SegmentEntered => "segment_entered",
            ChangeKind::SegmentLeft => "segment_left",
            ChangeKind::TagChanged => "tag_changed",
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineItem {
    /// The fragment it belongs to.
    pub fragment: IdentNo,
    /// When it happened.
    pub time: Time,
    /// Raw position of the event, or of a note's cause.
    pub position: Position,
    /// The row; attributes that it was told are in `changes`.
    pub row: TimelineRow,
    /// Attributes that it changed.
    pub changes: Vec<Change>,
}

/// A changed attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Name.
    pub attribute: Box<str>,
    /// Told before (by event time); `None`: nothing, or longer ago than a page looks back.
    pub old: Option<Value>,
    /// Told now; [`Value::Cleared`] for a clearing.
    pub new: Value,
    /// Both are masked.
    pub masked: bool,
}

/// A page of a timeline.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimelinePage {
    /// Newest first.
    pub items: Vec<TimelineItem>,
    /// Where the next page begins; `None`: this was the last. A page may be short of its limit and have one.
    pub next_cursor: Option<String>,
}

/// One value of an attribute's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryItem {
    /// Told value; [`Value::Cleared`] for a clearing.
    pub value: Value,
    /// Whether it is masked.
    pub masked: bool,
    /// From when, by event time.
    pub time: Time,
    /// Source that told it.
    pub source: SourceId,
    /// Brand of the event.
    pub brand: BrandId,
    /// Raw position of the event.
    pub position: Position,
}

/// Whether a text is a cursor of [`timeline_page`].
pub fn is_timeline_cursor(text: &str) -> bool {
    read_cursor(text).is_some()
}

/// A page of the timeline, newest first. Pages are stable: what arrives later never shifts what comes behind a cursor.
/// A cursor that is not ours begins at the top; [`is_timeline_cursor`] tells before.
pub fn timeline_page(
    rows: &dyn Rows,
    member: MemberNo,
    schema: &AttributeSchema,
    scope: &Scope,
    filter: &TimelineFilter,
    limit: usize,
    cursor: Option<&str>,
) -> Result<TimelinePage, RowsError> {
    let fragments = match &filter.fragments[..] {
        [] => member::fragments(rows, member)?,
        listed => listed.to_vec(),
    };
    let mut walk = Walk::new(
        rows,
        member,
        &fragments,
        filter.to,
        cursor.and_then(read_cursor),
    );
    let mut page = TimelinePage::default();
    let mut pending = Pending::default();
    let mut last: Option<Place> = None;
    let mut reads = 0;
    while let Some((place, mut line)) = walk.next()? {
        let suffix = Suffix::from_bytes(&place.0).ok_or_else(foreign)?;
        let before_range = filter.from.is_some_and(|from| suffix.time < from);
        if before_range || page.items.len() == limit || reads == PAGE_READS_MAX {
            page.next_cursor = last.filter(|_| !before_range).map(write_cursor);
            walk.put_back(place, line);
            break;
        }
        reads += 1;
        last = Some(place);
        if !scope.sees(line.brand) {
            continue;
        }
        let told = take_attributes(&mut line);
        if filter.shows(&line) {
            page.items.push(TimelineItem {
                fragment: place.1,
                time: suffix.time,
                position: suffix.position,
                row: line,
                changes: Vec::new(),
            });
            pending.shown(&mut page.items, told, schema, scope);
        } else {
            pending.hidden(&mut page.items, told);
        }
    }
    let mut reads = 0;
    while !pending.0.is_empty() && reads < OLD_VALUE_READS_MAX {
        let Some((_, mut line)) = walk.next()? else {
            break;
        };
        reads += 1;
        if scope.sees(line.brand) {
            pending.hidden(&mut page.items, take_attributes(&mut line));
        }
    }
    for item in &mut page.items {
        // What was told again is no change.
        item.changes
            .retain(|change| change.old.as_ref() != Some(&change.new));
        for change in item.changes.iter_mut().filter(|change| change.masked) {
            change.new = mask(&change.new);
            change.old = change.old.as_ref().map(mask);
        }
    }
    Ok(page)
}

fn take_attributes(line: &mut TimelineRow) -> Vec<(Box<str>, Value)> {
    match line.what {
        What::Event(_) | What::Note(_) => std::mem::take(&mut line.told),
        What::Segment(_) | What::Tag(_) => Vec::new(),
    }
}

/// Changes whose old value has not come by yet: item and change, by attribute.
#[derive(Default)]
struct Pending(BTreeMap<Box<str>, (usize, usize)>);

impl Pending {
    /// The newest item told this.
    fn shown(
        &mut self,
        items: &mut [TimelineItem],
        told: Vec<(Box<str>, Value)>,
        schema: &AttributeSchema,
        scope: &Scope,
    ) {
        for (name, value) in told {
            if !scope.sees(schema.get(&name).map_or(BrandId(0), |it| it.brand)) {
                continue;
            }
            self.settle(items, &name, &value);
            let at = items.len() - 1;
            let changes = &mut items[at].changes;
            self.0.insert(name.clone(), (at, changes.len()));
            changes.push(Change {
                masked: schema.class(&name) > scope.fields,
                attribute: name,
                old: None,
                new: value,
            });
        }
    }

    /// A row that is not on the page told this.
    fn hidden(&mut self, items: &mut [TimelineItem], told: Vec<(Box<str>, Value)>) {
        for (name, value) in told {
            self.settle(items, &name, &value);
        }
    }

    fn settle(&mut self, items: &mut [TimelineItem], name: &str, value: &Value) {
        if let Some((item, change)) = self.0.remove(name) {
            items[item].changes[change].old = Some(value.clone());
        }
    }
}

impl TimelineFilter {
    fn shows(&self, line: &TimelineRow) -> bool {
        let of_kind = match line.what {
            What::Event(kind) => self.kinds.contains(&kind),
            what => ChangeKind::of(what).is_some_and(|kind| self.changes.contains(&kind)),
        };
        let any = self.kinds.is_empty() && self.changes.is_empty();
        (any || of_kind)
            && (self.names.is_empty() || self.names.iter().any(|name| **name == *line.name()))
    }
}

/// Values that an attribute was told, newest first; a value told again appears once, from when it began.
/// At most `limit` values.
pub fn attribute_history(
    rows: &dyn Rows,
    member: MemberNo,
    name: &str,
    schema: &AttributeSchema,
    scope: &Scope,
    limit: usize,
) -> Result<Vec<HistoryItem>, RowsError> {
    let mut items: Vec<HistoryItem> = Vec::new();
    if !scope.sees(schema.get(name).map_or(BrandId(0), |it| it.brand)) {
        return Ok(items);
    }
    let masked = schema.class(name) > scope.fields;
    let fragments = member::fragments(rows, member)?;
    let mut walk = Walk::new(rows, member, &fragments, None, None);
    while let Some((place, line)) = walk.next()? {
        if !scope.sees(line.brand) {
            continue;
        }
        let told = line.attributes();
        let Ok(at) = told.binary_search_by(|(told, _)| (**told).cmp(name)) else {
            continue;
        };
        let suffix = Suffix::from_bytes(&place.0).ok_or_else(foreign)?;
        let value = &told[at].1;
        let full = items.len() == limit;
        match items.last_mut() {
            Some(newer) if newer.value == *value => {
                newer.time = suffix.time;
                newer.source = line.source;
                newer.brand = line.brand;
                newer.position = suffix.position;
            }
            _ if full => break,
            _ => items.push(HistoryItem {
                value: value.clone(),
                masked,
                time: suffix.time,
                source: line.source,
                brand: line.brand,
                position: suffix.position,
            }),
        }
    }
    for item in items.iter_mut().filter(|item| item.masked) {
        item.value = mask(&item.value);
    }
    Ok(items)
}

/// All values that visible events told of an attribute, in order, each once.
pub(super) fn told_values(
    rows: &dyn Rows,
    member: MemberNo,
    fragments: &[IdentNo],
    name: &str,
    scope: &Scope,
) -> Result<Vec<Value>, RowsError> {
    let mut values = Vec::new();
    let mut walk = Walk::new(rows, member, fragments, None, None);
    while let Some((_, line)) = walk.next()? {
        if scope.sees(line.brand)
            && let Ok(at) = line
                .attributes()
                .binary_search_by(|(told, _)| (**told).cmp(name))
        {
            values.extend(elements(&line.attributes()[at].1));
        }
    }
    values.sort_unstable();
    values.dedup();
    Ok(values)
}

/// What visible events that are `known`, by raw position, come to if they are taken in the order of their times.
pub(super) fn told_folded(
    rows: &dyn Rows,
    member: MemberNo,
    fragments: &[IdentNo],
    name: &str,
    scope: &Scope,
    known: &dyn Fn(Position) -> bool,
) -> Result<Option<Told>, RowsError> {
    let mut tellings = Vec::new();
    let mut walk = Walk::new(rows, member, fragments, None, None);
    while let Some((place, line)) = walk.next()? {
        let suffix = Suffix::from_bytes(&place.0).ok_or_else(foreign)?;
        if !scope.sees(line.brand) || !known(suffix.position) {
            continue;
        }
        let operation = line.operation();
        let value = match line.attributes().iter().find(|(told, _)| **told == *name) {
            _ if operation == Operation::Delete && clears(name) => Value::Cleared,
            Some((_, value)) if operation.takes(value) => value.clone(),
            _ => continue,
        };
        let told = Told {
            value,
            time: suffix.time,
            position: suffix.position,
            source: line.source,
        };
        tellings.push((operation, told));
        // What is older makes no difference.
        if matches!(operation, Operation::Set | Operation::Delete) {
            break;
        }
    }
    Ok(fold(tellings.into_iter().rev()))
}
