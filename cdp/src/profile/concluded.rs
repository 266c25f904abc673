//! What was concluded of a member: the segments that it is in and the tags that it has.
//!
//! The audience decides, the member keeps: a row per membership and per tag, and a timeline row per change. A change that
//! says what the row says already is ignored, so a repeated one does no harm. Rows belong to the member's number, not to
//! its fragments: after a merge or an unmerge the audience decides anew.

use actors::machine::{Personal, Record, Rows, RowsError, WriteSet};
use actors::model::{BrandId, IdentNo, MemberNo, Position, SegmentId, TagId, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::form;
use super::machine::{MemberMachine, unreadable};
use super::row::{self, Flags, SegmentNote, Suffix, TagNote, TimelineRow, What};
use super::value::Value;
use crate::routed::{self, MembershipPart, TaggedPart};
use crate::webhook::Occurrence;

/// A member is in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The version of the rule by which it entered.
    pub version: u32,
    /// Since when.
    pub since: Time,
    /// It entered because the rule was edited or computed for the first time.
    pub rebuilt: bool,
}

/// A member has a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagValue {
    /// The version of the definition that gave it.
    pub version: u32,
    /// Since when.
    pub since: Time,
    /// The value.
    pub value: Value,
}

/// Segments that a member is in, by number.
pub fn memberships(
    rows: &dyn Rows,
    member: MemberNo,
) -> Result<Vec<(SegmentId, Membership)>, RowsError> {
    let mut found = Vec::new();
    each(rows, row::MEMBERSHIPS, member, |of, row| {
        found.push((SegmentId(of), row));
    })?;
    Ok(found)
}

/// Tags that a member has, by number.
pub fn tags(rows: &dyn Rows, member: MemberNo) -> Result<Vec<(TagId, TagValue)>, RowsError> {
    let mut found = Vec::new();
    each(rows, row::TAGS, member, |of, row| {
        found.push((TagId(of), row))
    })?;
    Ok(found)
}

fn each<T: DeserializeOwned>(
    rows: &dyn Rows,
    space: actors::machine::Space,
    member: MemberNo,
    mut each: impl FnMut(u32, T),
) -> Result<(), RowsError> {
    let mut failed = None;
    rows.scan(space, &row::member_front(member), &mut |key, value| {
        match (row::whose(key), decode(value)) {
            (Some((_, IdentNo(of))), Ok(row)) => each(of, row),
            (_, Err(error)) => failed = Some(error),
            (None, _) => {}
        }
        failed.is_none()
    })?;
    failed.map_or(Ok(()), Err)
}

/// Reads a row of [`row::MEMBERSHIPS`] or [`row::TAGS`].
pub fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, RowsError> {
    form::decode(row, "a row of tags or segments")
}

/// A row as stored.
pub(super) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    form::encode(row, 32)
}

/// Where a change stands in a timeline.
struct Line {
    member: MemberNo,
    fragment: IdentNo,
    brand: BrandId,
    at: Time,
    cause: Position,
}

impl MemberMachine {
    pub(super) fn membership(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        part: MembershipPart,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let hooks = self.hooks(rows)?;
        for &(member, fragment, entered) in &part.members {
            let slot = self.batch.membership(rows, member, part.segment)?;
            if slot.value.is_some() == entered {
                continue;
            }
            slot.dirty = true;
            slot.value = entered.then_some(Membership {
                version: part.version,
                since: part.at,
                rebuilt: part.rebuilt,
            });
            let by = if entered { 1 } else { -1 };
            out.count(&format!("segment_members.{}", part.segment), by);
            out.count(
                if entered {
                    "segment_entered"
                } else {
                    "segment_left"
                },
                1,
            );
            let Some(fragment) = fragment else { continue };
            hooks.tell(Occurrence::Segment(&part, member, entered), out);
            let what = What::Segment(SegmentNote {
                segment: part.segment,
                version: part.version,
                entered,
                rebuilt: part.rebuilt,
            });
            let line = Line {
                member,
                fragment,
                brand: part.brand,
                at: part.at,
                cause: part.cause,
            };
            self.conclude(rows, record, what, Vec::new(), line)?;
        }
        Ok(())
    }

    pub(super) fn tagged(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        part: TaggedPart,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let new: Option<Value> = match &record.personal {
            Personal::Open(bytes) => match routed::decode(bytes) {
                Some(value) => Some(value),
                None => unreadable(record),
            },
            // What a person who was erased had is gone with them.
            Personal::None | Personal::Erased => None,
        };
        let slot = self.batch.tag(rows, part.member, part.tag)?;
        let old = slot.value.as_ref().map(|known| known.value.clone());
        if old == new {
            return Ok(());
        }
        slot.dirty = true;
        slot.value = new.clone().map(|value| TagValue {
            version: part.version,
            since: part.at,
            value,
        });
        let by = i64::from(new.is_some()) - i64::from(old.is_some());
        out.count(&format!("tag_members.{}", part.tag), by);
        out.count("tag_changed", 1);
        let Some(fragment) = part.fragment else {
            return Ok(());
        };
        // In order of their names, as everything that a row tells.
        let told = [(row::TAG_NEW, new), (row::TAG_OLD, old)];
        let told = told
            .into_iter()
            .filter_map(|(name, value)| Some((name.into(), value?)));
        let what = What::Tag(TagNote {
            tag: part.tag,
            version: part.version,
            rebuilt: part.rebuilt,
        });
        let line = Line {
            member: part.member,
            fragment,
            brand: part.brand,
            at: part.at,
            cause: part.cause,
        };
        self.conclude(rows, record, what, told.collect(), line)
    }

    /// Puts a change on the timeline. What follows from a member's entering or leaving (webhooks, journeys) follows here.
    fn conclude(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        what: What,
        told: Vec<(Box<str>, Value)>,
        line: Line,
    ) -> Result<(), RowsError> {
        let activity = self.batch.activity(rows, line.member, line.fragment)?;
        if activity.value.is_empty() {
            // A fragment is found by this row. One that is there already is left alone: it says nothing of conclusions.
            activity.value.notes = 1;
            activity.dirty = true;
        }
        let mut row = TimelineRow::new(what, "", Default::default(), line.brand, record.at);
        row.flags = Flags::default().with(Flags::ERASED, record.personal == Personal::Erased);
        row.told = told;
        let suffix = Suffix::note(line.at, line.cause, record.at).to_bytes();
        let key = row::timeline_key(line.member, line.fragment, &suffix);
        self.batch.timeline.insert(key, row.encode().into());
        Ok(())
    }
}
