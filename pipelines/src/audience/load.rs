//! Rows as the engine takes them: one member, or all of them side by side.

use std::collections::{BTreeMap, HashMap};

use actors::machine::{Rows, RowsError};
use actors::model::{
    BrandId, BrandSet, FieldClass, IdentNo, MemberNo, SHARDS, Scope, SegmentId, ShardId, TagId,
};
use actors::store::Snapshot;
use cdp::audience::{Change, Differences, Engine};
use cdp::definition::AttributeSchema;
use cdp::identity::row::{self, MemberRow, MemberState};
use cdp::profile::concluded::{self, TagValue, tags};
use cdp::profile::row as member_row;
use cdp::profile::view::{
    Attributes, member_facts, members_of_shard, whole_attributes, whole_attributes_of_shard,
};
use parking_lot::Mutex;

/// Members that are given to the engine at once: a question waits for as many at most.
const CHUNK_MEMBERS: usize = 1_024;

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
        apply_attributes(engine, self.member, &self.attributes);
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

fn apply_attributes(engine: &mut Engine, member: MemberNo, attributes: &Attributes) {
    let values: Vec<_> = attributes
        .iter()
        .map(|(name, value)| (&**name, value.clone()))
        .collect();
    engine.apply(Change::Attributes {
        member,
        values: &values,
    });
}

/// Gives all members of a snapshot to the engine; `threads` read attributes side by side. `tell` hears how many shards
/// are read. The engine is held for a chunk of members at a time. If it knows attributes already, members may have lost them.
pub fn load_all(
    rows: &Snapshot,
    schema: &AttributeSchema,
    codes: &TagCodes,
    views: &Views,
    engine: &Mutex<Engine>,
    threads: usize,
    tell: &(dyn Fn(u16) + Sync),
) -> Result<(), RowsError> {
    load_people(rows, engine)?;
    let again = !engine.lock().attribute_names().is_empty();
    let next = Mutex::new(0u16);
    let failed: Mutex<Option<RowsError>> = Mutex::new(None);
    let work = || {
        let rows = rows.clone();
        loop {
            let shard = {
                let mut next = next.lock();
                let shard = *next;
                *next += 1;
                shard
            };
            if shard >= SHARDS || failed.lock().is_some() {
                return;
            }
            let done = load_shard(&rows, ShardId(shard), schema, codes, views, engine, again);
            if let Err(error) = done {
                *failed.lock() = Some(error);
                return;
            }
            tell(shard + 1);
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
    load_tags_of(rows, &[], codes, engine)
}

fn load_tags_of(
    rows: &Snapshot,
    prefix: &[u8],
    codes: &TagCodes,
    engine: &Mutex<Engine>,
) -> Result<(), RowsError> {
    let mut failed = None;
    rows.scan(member_row::TAGS, prefix, &mut |key, value| {
        let held = concluded::decode::<TagValue>(value);
        match (member_row::whose(key), held) {
            (Some((member, IdentNo(tag))), Ok(held)) => {
                if let Some(code) = codes.get(&TagId(tag)) {
                    engine.lock().apply(Change::Tag {
                        member,
                        code,
                        value: Some(held.value),
                    });
                }
            }
            (_, Err(error)) => failed = Some(error),
            (None, _) => {}
        }
        failed.is_none()
    })?;
    failed.map_or(Ok(()), Err)
}

/// Reads the members of a shard and gives them to the engine, which is held for a chunk of them at a time: all that have
/// facts (`all`), or those that were told something. `read` answers what is wanted of a member beside its attributes.
fn shard_in_chunks<T>(
    rows: &Snapshot,
    schema: &AttributeSchema,
    shard: ShardId,
    all: bool,
    engine: &Mutex<Engine>,
    read: &dyn Fn(MemberNo, &Attributes) -> Result<T, RowsError>,
    give: &dyn Fn(&mut Engine, MemberNo, &Attributes, T),
) -> Result<(), RowsError> {
    let mut chunk: Vec<(MemberNo, Attributes, T)> = Vec::with_capacity(CHUNK_MEMBERS);
    let give_all = |chunk: &mut Vec<(MemberNo, Attributes, T)>| {
        let mut engine = engine.lock();
        for (member, attributes, more) in chunk.drain(..) {
            give(&mut engine, member, &attributes, more);
        }
    };
    let mut told: Vec<MemberNo> = Vec::new();
    let mut failed = None;
    whole_attributes_of_shard(rows, shard, schema, &mut |member, attributes| {
        told.push(member);
        match read(member, &attributes) {
            Ok(more) => chunk.push((member, attributes, more)),
            Err(error) => failed = Some(error),
        }
        if chunk.len() == CHUNK_MEMBERS {
            give_all(&mut chunk);
        }
        failed.is_none()
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    give_all(&mut chunk);
    let everybody = match all {
        true => members_of_shard(rows, shard)?,
        false => Vec::new(),
    };
    // By number, as shards are read.
    let silent = everybody
        .into_iter()
        .filter(|member| told.binary_search(member).is_err());
    for member in silent {
        let nothing = Attributes::new();
        let more = read(member, &nothing)?;
        chunk.push((member, nothing, more));
        if chunk.len() == CHUNK_MEMBERS {
            give_all(&mut chunk);
        }
    }
    give_all(&mut chunk);
    Ok(())
}

fn load_shard(
    rows: &Snapshot,
    shard: ShardId,
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
    let give = |engine: &mut Engine, member, attributes: &Attributes, seen: Vec<Seen>| {
        apply_attributes(engine, member, attributes);
        seen.iter()
            .for_each(|seen| seen.apply(engine, member, false));
    };
    // Who was told nothing, or whose attributes are gone, has no row to read them from.
    let all = again || !views.is_empty();
    shard_in_chunks(rows, schema, shard, all, engine, &read, &give)?;
    load_tags_of(rows, &shard.0.to_be_bytes(), codes, engine)
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

/// Tells a view that was begun of everybody, a shard at a time, as long as `on` says so. Answers whether it came to the end.
pub fn load_view(
    rows: &Snapshot,
    schema: &AttributeSchema,
    brands: &[BrandId],
    engine: &Mutex<Engine>,
    on: &dyn Fn() -> bool,
) -> Result<bool, RowsError> {
    for shard in 0..SHARDS {
        if !on() {
            return Ok(false);
        }
        let read =
            |member, attributes: &Attributes| Seen::of(rows, schema, brands, member, attributes);
        let give = |engine: &mut Engine, member, _: &Attributes, seen: Seen| {
            seen.apply(engine, member, true);
        };
        shard_in_chunks(rows, schema, ShardId(shard), true, engine, &read, &give)?;
    }
    Ok(true)
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
