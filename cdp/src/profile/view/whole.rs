//! Attribute values of members with nothing hidden: what rules are held against.
//!
//! One reader for one member and one for all of them, by the same rules as [`super::member_view`] has for the widest scope.

use std::ops::Range;

use actors::machine::{Rows, RowsError, Space};
use actors::model::{IdentNo, MemberNo, Position, SHARDS, Scope, Time};
use bytes::Bytes;

use super::member::fragments;
use super::timeline::{told_folded, told_values};
use super::walk::{Walk, foreign};
use super::{scan, scan_from};
use crate::definition::{AttributeSchema, Survivorship};
use crate::profile::attribute::{Attribute, Facts, Operation, Resolved, Told};
use crate::profile::row::{Suffix, TimelineRow};
use crate::profile::{Cell, Value, row};

/// A member's attributes that have a value, by name.
pub type Attributes = Vec<(Box<str>, Value)>;

/// Attributes of one member.
pub fn whole_attributes(
    rows: &dyn Rows,
    member: MemberNo,
    schema: &AttributeSchema,
) -> Result<Attributes, RowsError> {
    let mut whole = Cell::default();
    scan(rows, row::CELLS, &row::member_front(member), |_, value| {
        whole.merge(Cell::decode(&Bytes::copy_from_slice(value))?)?;
        Ok(true)
    })?;
    resolve(rows, member, whole, schema)
}

/// Attributes of the members with these numbers that were told something, until `each` answers `false`: shard by shard, and
/// by number within each.
pub fn whole_attributes_among(
    rows: &dyn Rows,
    members: &Range<u32>,
    schema: &AttributeSchema,
    each: &mut dyn FnMut(MemberNo, Attributes) -> bool,
) -> Result<(), RowsError> {
    let mut open: Option<(MemberNo, Cell)> = None;
    let mut more = true;
    let mut give = |member, cell| -> Result<bool, RowsError> {
        Ok(each(member, resolve(rows, member, cell, schema)?))
    };
    scan_among(rows, row::CELLS, members, &mut |member, _, value| {
        let cell = Cell::decode(&Bytes::copy_from_slice(value))?;
        match &mut open {
            Some((of, whole)) if *of == member => whole.merge(cell)?,
            _ => {
                if let Some((of, whole)) = open.replace((member, cell)) {
                    more = give(of, whole)?;
                }
            }
        }
        Ok(more)
    })?;
    if let (true, Some((of, whole))) = (more, open) {
        give(of, whole)?;
    }
    Ok(())
}

/// Which of the members with these numbers have facts, whether they were told something or only seen: once each and by
/// number.
pub fn members_among(rows: &dyn Rows, members: &Range<u32>) -> Result<Vec<MemberNo>, RowsError> {
    let mut found = Vec::new();
    for space in [row::ACTIVITY, row::CELLS, row::ORDERS] {
        scan_among(rows, space, members, &mut |member, _, _| {
            if found.last() != Some(&member) {
                found.push(member);
            }
            Ok(true)
        })?;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Takes a member, what stands behind it in the key of a row ([`row::whose`]) and the row, answers whether to go on.
type EachOf<'a> = &'a mut dyn FnMut(MemberNo, IdentNo, &[u8]) -> Result<bool, RowsError>;

/// Rows of the members with these numbers: shard by shard, and by number within each.
pub fn scan_among(
    rows: &dyn Rows,
    space: Space,
    members: &Range<u32>,
    each: EachOf<'_>,
) -> Result<(), RowsError> {
    let mut more = true;
    for shard in (0..SHARDS).map(u16::to_be_bytes) {
        let mut from = [0; 6];
        from[..2].copy_from_slice(&shard);
        from[2..].copy_from_slice(&members.start.to_be_bytes());
        scan_from(rows, space, &shard, &from, &mut |key, value| {
            match row::whose(key) {
                Some((member, of)) if member.0 < members.end => more = each(member, of, value)?,
                Some(_) => return Ok(false),
                None => {}
            }
            Ok(more)
        })?;
        if !more {
            break;
        }
    }
    Ok(())
}

fn resolve(
    rows: &dyn Rows,
    member: MemberNo,
    whole: Cell,
    schema: &AttributeSchema,
) -> Result<Attributes, RowsError> {
    if let Some(values) = whole.plain_values(schema) {
        return Ok(values);
    }
    let together = together(whole)?;
    let mut values = Attributes::with_capacity(together.len());
    for (name, facts) in together {
        let value = match facts.resolve(schema.get(&name)) {
            Resolved::Value(told) => told.value,
            Resolved::Absent => continue,
            Resolved::FromTimeline(_) => {
                let fragments = fragments(rows, member)?;
                let told = told_values(rows, member, &fragments, &name, &Scope::installation())?;
                if told.is_empty() {
                    continue;
                }
                Value::List(told)
            }
            Resolved::FoldTimeline => {
                let fragments = fragments(rows, member)?;
                match folded(rows, member, &fragments, &name, &|_| true)? {
                    Some(value) => value,
                    None => continue,
                }
            }
        };
        values.push((name, value));
    }
    Ok(values)
}

fn folded(
    rows: &dyn Rows,
    member: MemberNo,
    fragments: &[IdentNo],
    name: &str,
    known: &dyn Fn(Position) -> bool,
) -> Result<Option<Value>, RowsError> {
    let all = Scope::installation();
    let told = told_folded(rows, member, fragments, name, &all, known)?;
    let value = told.map(|told| told.value);
    Ok(value.filter(|value| *value != Value::Cleared))
}

/// Facts of all brands together, by name.
fn together(whole: Cell) -> Result<Vec<(Box<str>, Facts)>, RowsError> {
    let mut together: Vec<(Box<str>, Facts)> = Vec::new();
    for Attribute { name, facts, .. } in whole.into_attributes()? {
        match together.last_mut() {
            Some((last, known)) if *last == name => known.merge(facts),
            _ => together.push((name, facts)),
        }
    }
    Ok(together)
}

/// Attributes of one member as only those events told them that `known` names, by raw position. `each` hears of all rows
/// of the timeline with their times, newest first.
pub fn attributes_as_told(
    rows: &dyn Rows,
    member: MemberNo,
    schema: &AttributeSchema,
    known: &dyn Fn(Position) -> bool,
    each: &mut dyn FnMut(Time, &TimelineRow),
) -> Result<Attributes, RowsError> {
    let fragments = fragments(rows, member)?;
    let mut whole = Cell::default();
    let mut walk = Walk::new(rows, member, &fragments, None, None);
    while let Some((place, line)) = walk.next()? {
        let suffix = Suffix::from_bytes(&place.0).ok_or_else(foreign)?;
        each(suffix.time, &line);
        if !line.changes_attributes() || !known(suffix.position) {
            continue;
        }
        let telling = |value| Told {
            value,
            time: suffix.time,
            position: suffix.position,
            source: line.source,
        };
        let operation = line.operation();
        if operation == Operation::Delete {
            whole.delete_all(line.brand, telling(Value::Cleared))?;
            continue;
        }
        for (name, value) in line.attributes() {
            if !operation.takes(value) {
                continue;
            }
            let told = telling(value.clone());
            let union = schema
                .get(name)
                .is_some_and(|it| it.survivorship == Survivorship::Union);
            whole.tell(name, line.brand, Facts::done(operation, told, union))?;
        }
    }
    let mut values = Attributes::new();
    for (name, facts) in together(whole)? {
        match facts.resolve(schema.get(&name)) {
            Resolved::Value(told) => values.push((name, told.value)),
            Resolved::FoldTimeline => {
                let value = folded(rows, member, &fragments, &name, known)?;
                values.extend(value.map(|value| (name, value)));
            }
            Resolved::Absent | Resolved::FromTimeline(_) => {}
        }
    }
    Ok(values)
}
