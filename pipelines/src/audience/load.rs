//! Rows as the engine takes them: one member, or all of them side by side.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use actors::machine::{Rows, RowsError};
use actors::model::{BrandId, BrandSet, FieldClass, IdentNo, MemberNo, Scope, SegmentId, TagId};
use actors::store::{Direction, Snapshot};
use cdp::audience::{Change, Differences, Engine};
use cdp::definition::AttributeSchema;
use cdp::identity::row::{self, MemberRow, MemberState};
use cdp::profile::concluded::{self, TagValue, tags};
use cdp::profile::row as member_row;
use cdp::profile::view::{
    Attributes, member_facts, members_among, scan_among, whole_attributes, whole_attributes_among,
};
use parking_lot::Mutex;

/// Members that are given to the engine at once: a question waits for as many at most.
const CHUNK_MEMBERS: usize = 1_024;

/// Members that a thread reads together, at most: those of one block of the engine's columns, which are filled fastest one
/// block after the other and upwards in each, while rows lie by shard. With thirty attributes each they take about a hundred
/// megabytes meanwhile.
const BLOCK_MEMBERS: u32 = 1 << 16;

/// And at least, so that there is work for all threads.
const BLOCK_MEMBERS_MIN: u32 = 1 << 10;

/// Codes of tags by number.
pub type TagCodes = BTreeMap<TagId, Box<str>>;

/// What rows say of a member.
pub struct Read {
    member: MemberNo,
    state: MemberState,
    test: bool,
    fragments: Vec<IdentNo>,
    attributes: Attributes,
    tags: Vec<(TagId, TagValue)>,
    seen: Vec<Seen>,
}

/// Views that are kept: the brands of each.
pub type Views = [Box<[BrandId]>];

/// What a view shows of a member.
struct Seen {
    brands: Box<[BrandId]>,
    visible: bool,
    differ: Differences,
}

impl Seen {
    fn of(
        rows: &dyn Rows,
        schema: &AttributeSchema,
        brands: &[BrandId],
        member: MemberNo,
        whole: &Attributes,
    ) -> Result<Seen, RowsError> {
        let scope = Scope {
            brands: BrandSet::Only(brands.to_vec()),
            fields: FieldClass::P3,
        };
        let view = member_facts(rows, member, schema, &scope)?;
        let visible = view.is_some();
        let mut differ = Differences::new();
        if let Some(mut view) = view {
            for (name, value) in whole {
                match view.attributes.remove(name) {
                    Some(seen) if seen.value == *value => {}
                    seen => differ.push((name.clone(), seen.map(|seen| seen.value))),
                }
            }
            let others = view.attributes.into_iter();
            differ.extend(others.map(|(name, seen)| (name, Some(seen.value))));
        }
        Ok(Seen {
            brands: brands.into(),
            visible,
            differ,
        })
    }

    fn apply(&self, engine: &mut Engine, member: MemberNo, old: bool) {
        engine.apply(Change::Seen {
            brands: &self.brands,
            member,
            visible: self.visible,
            differ: &self.differ,
            old,
        });
    }
}

impl Read {
    /// Reads a member. `None`: the number was never given.
    pub fn of(
        rows: &dyn Rows,
        schema: &AttributeSchema,
        codes: &TagCodes,
        views: &Views,
        member: MemberNo,
    ) -> Result<Option<Read>, RowsError> {
        let row = row::get::<MemberRow>(rows, row::MEMBER, &row::key32(member.0))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let absorbed = row.state == MemberState::Absorbed;
        let attributes = match absorbed {
            true => Attributes::new(),
            false => whole_attributes(rows, member, schema)?,
        };
        let seen = views.iter();
        let seen = seen.map(|brands| Seen::of(rows, schema, brands, member, &attributes));
        Ok(Some(Read {
            seen: seen.collect::<Result<_, _>>()?,
            member,
            state: row.state,
            test: row.test,
            fragments: match absorbed {
                true => Vec::new(),
                false => row::fragments_of(rows, &row)?,
            },
            attributes,
            tags: match codes.is_empty() {
                true => Vec::new(),
                false => tags(rows, member)?,
            },
        }))
    }

    /// Gives it to the engine. `tagged`: the codes that it may have had before; those it has not any more are taken away.
    pub fn apply(&self, engine: &mut Engine, codes: &TagCodes) {
        engine.apply(Change::Member {
            member: self.member,
            state: self.state,
            test: self.test,
            fragments: &self.fragments,
        });
        apply_attributes(engine, self.member, self.attributes.clone());
        for seen in &self.seen {
            seen.apply(engine, self.member, false);
        }
        for (tag, code) in codes {
            let held = self.tags.iter().find(|(held, _)| held == tag);
            engine.apply(Change::Tag {
                member: self.member,
                code,
                value: held.map(|(_, held)| held.value.clone()),
            });
        }
    }
}

fn apply_attributes(engine: &mut Engine, member: MemberNo, attributes: Attributes) {
    let (names, values): (Vec<_>, Vec<_>) = attributes.into_iter().unzip();
    let names = names.iter().map(|name| &**name);
    let values: Vec<_> = names.zip(values).collect();
    engine.apply(Change::Attributes {
        member,
        values: &values,
    });
}

/// Gives all members of a snapshot to the engine; `threads` read attributes side by side. `tell` hears how many numbers of
/// members are read, and how many there are. The engine is held for a chunk of members at a time. If it knows attributes
/// already, members may have lost them.
pub fn load_all(
    rows: &Snapshot,
    schema: &AttributeSchema,
    codes: &TagCodes,
    views: &Views,
    engine: &Mutex<Engine>,
    threads: usize,
    tell: &(dyn Fn(u32, u32) + Sync),
) -> Result<(), RowsError> {
    let blocks = Blocks::new(numbers_end(rows)?, threads);
    tell(0, blocks.end);
    load_people(rows, engine)?;
    let again = !engine.lock().attribute_names().is_empty();
    let (next, read) = (AtomicU32::new(0), Mutex::new(0));
    let failed: Mutex<Option<RowsError>> = Mutex::new(None);
    let work = || {
        let rows = rows.clone();
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            let Some(members) = blocks.get(block).filter(|_| failed.lock().is_none()) else {
                return;
            };
            let done = load_block(&rows, &members, schema, codes, views, engine, again);
            if let Err(error) = done {
                *failed.lock() = Some(error);
                return;
            }
            // Told while it is held: in order.
            let mut read = read.lock();
            *read += members.end - members.start;
            tell(*read, blocks.end);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner().map_or(Ok(()), Err)
}

/// Numbers of members below `end`, in parts that several threads read.
struct Blocks {
    end: u32,
    size: u32,
}

impl Blocks {
    fn new(end: u32, threads: usize) -> Blocks {
        // A power of two, so that none lies across two blocks of columns.
        let share = end / (4 * threads.max(1) as u32);
        let size = share
            .clamp(BLOCK_MEMBERS_MIN, BLOCK_MEMBERS)
            .next_power_of_two();
        Blocks { end, size }
    }

    /// The numbers of a block, if there are any.
    fn get(&self, block: u32) -> Option<Range<u32>> {
        let start = block.checked_mul(self.size)?;
        (start < self.end).then(|| start..self.end.min(start.saturating_add(self.size)))
    }
}

/// Who is who, and whose fragments are whose.
fn load_people(rows: &Snapshot, engine: &Mutex<Engine>) -> Result<(), RowsError> {
    let mut orders: HashMap<IdentNo, Vec<IdentNo>> = HashMap::new();
    rows.scan(row::ORDER_FRAGMENTS, &[], &mut |key, _| {
        if let Ok(key) = <[u8; 8]>::try_from(key) {
            let number = |at: usize| {
                let word = key[at..at + 4].try_into().expect("four of eight bytes");
                IdentNo(u32::from_be_bytes(word))
            };
            orders.entry(number(0)).or_default().push(number(4));
        }
        true
    })?;
    let mut chunk: Vec<(MemberNo, MemberRow)> = Vec::with_capacity(CHUNK_MEMBERS);
    let give = |chunk: &mut Vec<(MemberNo, MemberRow)>| {
        let mut engine = engine.lock();
        for (member, row) in chunk.drain(..) {
            let mut fragments = row.identifiers;
            for at in 0..fragments.len() {
                fragments.extend(orders.get(&fragments[at]).into_iter().flatten());
            }
            engine.apply(Change::Member {
                member,
                state: row.state,
                test: row.test,
                fragments: &fragments,
            });
        }
    };
    let mut failed = None;
    rows.scan(row::MEMBER, &[], &mut |key, value| {
        let Ok(key) = <[u8; 4]>::try_from(key) else {
            return true;
        };
        match row::decode::<MemberRow>(row::MEMBER, value) {
            Ok(row) => chunk.push((MemberNo(u32::from_be_bytes(key)), row)),
            Err(error) => failed = Some(error),
        }
        if chunk.len() == CHUNK_MEMBERS {
            give(&mut chunk);
        }
        failed.is_none()
    })?;
    give(&mut chunk);
    failed.map_or(Ok(()), Err)
}

/// Gives the tags of all members to the engine.
pub fn load_tags(
    rows: &Snapshot,
    codes: &TagCodes,
    engine: &Mutex<Engine>,
) -> Result<(), RowsError> {
    load_tags_among(rows, &(0..u32::MAX), codes, engine)
}

fn load_tags_among(
    rows: &Snapshot,
    members: &Range<u32>,
    codes: &TagCodes,
    engine: &Mutex<Engine>,
) -> Result<(), RowsError> {
    scan_among(
        rows,
        member_row::TAGS,
        members,
        &mut |member, tag, value| {
            let held = concluded::decode::<TagValue>(value)?;
            if let Some(code) = codes.get(&TagId(tag.0)) {
                engine.lock().apply(Change::Tag {
                    member,
                    code,
                    value: Some(held.value),
                });
            }
            Ok(true)
        },
    )
}

/// Reads the members with these numbers and gives them to the engine by number, which is held for a chunk of them at a time: all
/// that have facts (`all`), or those that were told something. `read` answers what is wanted of a member beside its attributes.
fn give_among<T>(
    rows: &Snapshot,
    schema: &AttributeSchema,
    members: &Range<u32>,
    all: bool,
    engine: &Mutex<Engine>,
    read: &dyn Fn(MemberNo, &Attributes) -> Result<T, RowsError>,
    give: &dyn Fn(&mut Engine, MemberNo, Attributes, T),
) -> Result<(), RowsError> {
    let mut found: Vec<(MemberNo, Attributes)> = Vec::new();
    whole_attributes_among(rows, members, schema, &mut |member, attributes| {
        found.push((member, attributes));
        true
    })?;
    found.sort_unstable_by_key(|(member, _)| *member);
    if all {
        let mut silent = members_among(rows, members)?;
        silent.retain(|it| found.binary_search_by_key(it, |(told, _)| *told).is_err());
        found.extend(silent.into_iter().map(|member| (member, Attributes::new())));
        found.sort_unstable_by_key(|(member, _)| *member);
    }
    let mut found = found.into_iter().peekable();
    while found.peek().is_some() {
        let chunk = found.by_ref().take(CHUNK_MEMBERS);
        let chunk = chunk.map(|(member, attributes)| {
            let more = read(member, &attributes)?;
            Ok((member, attributes, more))
        });
        let chunk = chunk.collect::<Result<Vec<_>, RowsError>>()?;
        let mut engine = engine.lock();
        for (member, attributes, more) in chunk {
            give(&mut engine, member, attributes, more);
        }
    }
    Ok(())
}

fn load_block(
    rows: &Snapshot,
    members: &Range<u32>,
    schema: &AttributeSchema,
    codes: &TagCodes,
    views: &Views,
    engine: &Mutex<Engine>,
    again: bool,
) -> Result<(), RowsError> {
    let read = |member, attributes: &Attributes| -> Result<Vec<Seen>, RowsError> {
        let seen = views.iter();
        seen.map(|brands| Seen::of(rows, schema, brands, member, attributes))
            .collect()
    };
    let give = |engine: &mut Engine, member, attributes, seen: Vec<Seen>| {
        apply_attributes(engine, member, attributes);
        seen.iter()
            .for_each(|seen| seen.apply(engine, member, false));
    };
    // Who was told nothing, or whose attributes are gone, has no row to read them from.
    let all = again || !views.is_empty();
    give_among(rows, schema, members, all, engine, &read, &give)?;
    match codes.is_empty() {
        true => Ok(()),
        false => load_tags_among(rows, members, codes, engine),
    }
}

/// Who has which tag by the rows of members, of tags that are not among `known`.
pub fn held_strange_tags(
    rows: &dyn Rows,
    known: &TagCodes,
) -> Result<BTreeMap<TagId, Vec<MemberNo>>, RowsError> {
    let mut held: BTreeMap<TagId, Vec<MemberNo>> = BTreeMap::new();
    rows.scan(member_row::TAGS, &[], &mut |key, _| {
        if let Some((member, IdentNo(tag))) = member_row::whose(key)
            && !known.contains_key(&TagId(tag))
        {
            held.entry(TagId(tag)).or_default().push(member);
        }
        true
    })?;
    Ok(held)
}

/// Tells a view that was begun of everybody, a block at a time, as long as `on` says so. Answers whether it came to the end.
pub fn load_view(
    rows: &Snapshot,
    schema: &AttributeSchema,
    brands: &[BrandId],
    engine: &Mutex<Engine>,
    on: &dyn Fn() -> bool,
) -> Result<bool, RowsError> {
    let read = |member, attributes: &Attributes| Seen::of(rows, schema, brands, member, attributes);
    let give = |engine: &mut Engine, member, _, seen: Seen| seen.apply(engine, member, true);
    let blocks = Blocks::new(numbers_end(rows)?, 1);
    for members in (0..).map_while(|block| blocks.get(block)) {
        if !on() {
            return Ok(false);
        }
        give_among(rows, schema, &members, true, engine, &read, &give)?;
    }
    Ok(true)
}

/// The number behind the last one that a member has.
fn numbers_end(rows: &Snapshot) -> Result<u32, RowsError> {
    let mut end = 0;
    rows.scan_from(row::MEMBER, &[], None, Direction::Down, &mut |key, _| {
        let number = <[u8; 4]>::try_from(key).ok().map(u32::from_be_bytes);
        end = number.map_or(0, |number| number.saturating_add(1));
        number.is_none()
    })?;
    Ok(end)
}

/// Who is in which segment by the rows of members.
pub fn held_memberships(rows: &dyn Rows) -> Result<BTreeMap<SegmentId, Vec<MemberNo>>, RowsError> {
    let mut held: BTreeMap<SegmentId, Vec<MemberNo>> = BTreeMap::new();
    rows.scan(member_row::MEMBERSHIPS, &[], &mut |key, _| {
        if let Some((member, IdentNo(segment))) = member_row::whose(key) {
            held.entry(SegmentId(segment)).or_default().push(member);
        }
        true
    })?;
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_one_block() {
        for end in [0, 1, 1_023, 1_024, 65_536, 65_537, 1_000_003, u32::MAX] {
            for threads in [1, 2, 8] {
                let blocks = Blocks::new(end, threads);
                let mut next = 0;
                for members in (0..).map_while(|block| blocks.get(block)) {
                    assert_eq!(members.start, next);
                    assert!(members.end > next);
                    // None lies across two blocks of columns.
                    assert_eq!(members.start >> 16, (members.end - 1) >> 16);
                    next = members.end;
                }
                assert_eq!(next, end);
            }
        }
        assert!(Blocks::new(100_000, 2).get(3).is_some(), "work for both");
    }
}
