//! Identity's rows: every key and value layout, for the machine that writes them and for whoever reads a snapshot.
//!
//! | space | key | value |
//! |---|---|---|
//! | [`BY_TEXT`] | kind, scope, value (see [`text_key`]) | identifier number, 4 bytes |
//! | [`IDENT`] | identifier | [`IdentRow`]: what never changes |
//! | [`IDENT_STATE`] | identifier | [`Ident`] as 16 bytes: member, attachment, flags |
//! | [`MEMBER`] | member | [`MemberRow`] |
//! | [`LINK`] | number | [`LinkRow`] |
//! | [`LINK_BY_IDENT`] | identifier, link | nothing |
//! | [`CONFLICT`] | time, link, place in the link | [`ConflictRow`] |
//! | [`CONFLICT_BY_IDENT`] | identifier, then the conflict's key | nothing; for the one left out and for the owner |
//! | [`SEPARATION`] | lower identifier, higher identifier | [`SeparationRow`] |
//! | [`DECISION`] | idempotency key | [`DecisionRow`] |
//! | [`SEEN`] | generation, number | fingerprints of messages, 12 bytes each |
//! | [`STATE`] | nothing | counters of the machine |
//! | [`RULES`] | nothing | version (4 bytes) and JSON of the rules in force; none: the shipped ones |
//! | [`RULES`] | [`NAMES`] | version (4 bytes) and JSON of merged and blocked names; none: there are none |
//! | [`ORDER_FRAGMENTS`] | identifier, order | nothing: the order has facts of its own, which follow the identifier |
//!
//! Numbers in keys are big-endian. Members are resolved without chains: an absorbed member's row names its anchor, and the
//! anchor's state names the member of today ([`resolve`]).

use actors::machine::{Rows, RowsError, Space};
use actors::model::{BrandId, IdentNo, Identifier, MemberNo, Position, SourceId, Time};
use bytes::Bytes;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::fold::Reason;
use super::memory::{Ident, Member};
use super::rules::Rules;
use crate::dead::time_key;
use crate::dictionary::NameRules;

/// Identifier by its normalised text.
pub const BY_TEXT: Space = Space(0x20);
/// What never changes of an identifier.
pub const IDENT: Space = Space(0x21);
/// What changes.
pub const IDENT_STATE: Space = Space(0x22);
/// Members.
pub const MEMBER: Space = Space(0x23);
/// Links.
pub const LINK: Space = Space(0x24);
/// Links of an identifier.
pub const LINK_BY_IDENT: Space = Space(0x25);
/// Conflicts by time.
pub const CONFLICT: Space = Space(0x26);
/// Conflicts of an identifier.
pub const CONFLICT_BY_IDENT: Space = Space(0x27);
/// Pairs taken apart.
pub const SEPARATION: Space = Space(0x28);
/// Decisions on commands.
pub const DECISION: Space = Space(0x29);
/// De-duplication memory.
pub const SEEN: Space = Space(0x2A);
/// Counters of the machine.
pub const STATE: Space = Space(0x2B);
/// Rules in force.
pub const RULES: Space = Space(0x2C);
/// Orders with facts of their own, by the identifier that they follow.
pub const ORDER_FRAGMENTS: Space = Space(0x2D);

/// What never changes of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentRow {
    /// Normalised.
    pub identifier: Identifier,
    /// When it was first received.
    pub since: Time,
    /// The event that brought it.
    pub cause: Position,
    /// That event's source.
    pub source: SourceId,
    /// That event's brand.
    pub brand: BrandId,
}

/// A member number, whatever has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// What it is now.
    pub state: MemberState,
    /// The identifier whose member this number always resolves to.
    pub anchor: IdentNo,
    /// When the oldest of its numbers was given, to the second.
    pub since: Time,
    /// Known from test sources only: kept out of counts.
    pub test: bool,
    /// Strongest first; empty unless a member or a visitor.
    pub identifiers: Vec<IdentNo>,
    /// Other numbers that resolve to it.
    pub absorbed: Vec<MemberNo>,
    /// As in memory.
    pub(super) entry: [u8; 16],
}

/// What a member number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// A person that we know.
    Member,
    /// Device or anonymous identifiers only.
    Visitor,
    /// The home of an order without a person.
    Nobody,
    /// Another number stands for it: see [`resolve`].
    Absorbed,
}

/// A distinct list of identifiers that an event brought, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkRow {
    /// As the event named them, strongest first.
    pub identifiers: SmallVec<[IdentNo; 4]>,
    /// Places in the list of identifiers that no longer link anybody (shared devices).
    pub shared: SmallVec<[u8; 4]>,
    /// Places that were left out, and why.
    pub left: SmallVec<[(u8, Reason); 2]>,
    /// The first event with this list.
    pub cause: Position,
    /// Its source.
    pub source: SourceId,
    /// When it was received.
    pub time: Time,
    /// It pairs only what is not paired yet. Rows of earlier versions end before it.
    pub once: bool,
}

impl<'de> Deserialize<'de> for LinkRow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<LinkRow, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = LinkRow;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a link")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<LinkRow, A::Error> {
                let short = || A::Error::invalid_length(0, &"the fields of a link");
                Ok(LinkRow {
                    identifiers: seq.next_element()?.ok_or_else(short)?,
                    shared: seq.next_element()?.ok_or_else(short)?,
                    left: seq.next_element()?.ok_or_else(short)?,
                    cause: seq.next_element()?.ok_or_else(short)?,
                    source: seq.next_element()?.ok_or_else(short)?,
                    time: seq.next_element()?.ok_or_else(short)?,
                    once: seq.next_element().ok().flatten().unwrap_or(false),
                })
            }
        }
        const NAMES: &[&str] = &[
            "identifiers",
            "shared",
            "left",
            "cause",
            "source",
            "time",
            "once",
        ];
        from.deserialize_struct("LinkRow", NAMES, Fields)
    }
}

/// An identifier that a link left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictRow {
    /// The link.
    pub link: u64,
    /// The strongest identifier of the event, which owns it.
    pub owner: IdentNo,
    /// Left out.
    pub identifier: IdentNo,
    /// Why.
    pub reason: Reason,
    /// The member that had it then, if any.
    pub with: Option<MemberNo>,
    /// The event.
    pub cause: Position,
    /// Its source.
    pub source: SourceId,
    /// The obstacle is gone: they are one member now.
    pub resolved: bool,
    /// It counted against the identifier as a sign that it is shared.
    pub counted: bool,
}

/// A pair that an unmerge took apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeparationRow {
    /// Which unmerge: pairs of one unmerge are lifted together.
    pub unmerge: u32,
    /// When.
    pub time: Time,
    /// Who asked.
    pub by: Box<str>,
    /// Why.
    pub reason: Box<str>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRow {
    /// When it was decided.
    pub time: Time,
    /// Its record.
    pub cause: Position,
    /// The outcome.
    pub outcome: Outcome,
}

/// Outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Done {
        /// The members that it concerns: the one asked for first, then others, each once.
        members: Vec<MemberNo>,
    },
    /// Refused; nothing changed.
    Refused {
        /// Stable code.
        code: Box<str>,
        /// Why.
        message: Box<str>,
        /// What to do.
        hint: Box<str>,
    },
}

/// Key of an identifier's text: kind and scope with their lengths, then the value. Identifiers of one kind, and of one
/// kind and scope, stand together.
pub fn text_key(identifier: &Identifier) -> Vec<u8> {
    let (kind, scope, value) = (&identifier.kind, &identifier.scope, &identifier.value);
    let mut key = Vec::with_capacity(3 + kind.len() + scope.len() + value.len());
    key.push(kind.len() as u8);
    key.extend_from_slice(kind.as_bytes());
    key.extend_from_slice(&(scope.len() as u16).to_be_bytes());
    key.extend_from_slice(scope.as_bytes());
    key.extend_from_slice(value.as_bytes());
    key
}

/// Key of a number.
pub fn key32(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// Key of a link.
pub fn link_key(link: u64) -> [u8; 8] {
    link.to_be_bytes()
}

/// Key in [`LINK_BY_IDENT`].
pub fn link_by_ident_key(ident: IdentNo, link: u64) -> [u8; 12] {
    join(&key32(ident.0), &link.to_be_bytes())
}

/// Key in [`CONFLICT`].
pub fn conflict_key(time: Time, link: u64, place: u8) -> [u8; 17] {
    let mut key = [place; 17];
    key[..8].copy_from_slice(&time_key(time));
    key[8..16].copy_from_slice(&link.to_be_bytes());
    key
}

/// Key in [`CONFLICT_BY_IDENT`].
pub fn conflict_by_ident_key(ident: IdentNo, conflict: &[u8; 17]) -> [u8; 21] {
    join(&key32(ident.0), conflict)
}

/// Key of a pair, whichever comes first.
pub fn pair_key(a: IdentNo, b: IdentNo) -> [u8; 8] {
    join(&key32(a.0.min(b.0)), &key32(a.0.max(b.0)))
}

/// Key in [`SEEN`].
pub(super) fn seen_key(generation: u32, number: u32) -> [u8; 8] {
    join(&key32(generation), &key32(number))
}

fn join<const N: usize>(a: &[u8], b: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    key[..a.len()].copy_from_slice(a);
    key[a.len()..].copy_from_slice(b);
    key
}

/// A value as stored.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_stdvec(value)
        .expect("our own types always serialise")
        .into()
}

/// Reads a row. A row that does not read is damage and an error.
pub fn get<T: for<'de> Deserialize<'de>>(
    rows: &dyn Rows,
    space: Space,
    key: &[u8],
) -> Result<Option<T>, RowsError> {
    match rows.get(space, key)? {
        Some(value) => decode(space, &value).map(Some),
        None => Ok(None),
    }
}

/// Reads a value of a space.
pub fn decode<T: for<'de> Deserialize<'de>>(space: Space, value: &[u8]) -> Result<T, RowsError> {
    postcard::from_bytes(value)
        .map_err(|error| RowsError(format!("a row of space {:#04x}: {error}", space.0)))
}

/// The number of a normalised identifier (an order as well), if it was ever seen.
pub fn ident_of(rows: &dyn Rows, normal: &Identifier) -> Result<Option<IdentNo>, RowsError> {
    match rows.get(BY_TEXT, &text_key(normal))? {
        Some(value) => number(BY_TEXT, &value).map(|number| Some(IdentNo(number))),
        None => Ok(None),
    }
}

/// What changes of an identifier.
pub fn state_of(rows: &dyn Rows, ident: IdentNo) -> Result<Option<Ident>, RowsError> {
    match rows.get(IDENT_STATE, &key32(ident.0))? {
        Some(value) => Ident::from_row(&value)
            .map(Some)
            .ok_or_else(|| RowsError("a row of identifiers is damaged".to_owned())),
        None => Ok(None),
    }
}

/// The member that an identifier belongs to today; an order belongs to whom it is attached to.
pub fn member_of(rows: &dyn Rows, ident: IdentNo) -> Result<Option<MemberNo>, RowsError> {
    let Some(state) = state_of(rows, ident)? else {
        return Ok(None);
    };
    match state.attached() {
        Some(attached) => Ok(state_of(rows, attached)?.and_then(|state| state.member())),
        None => Ok(state.member()),
    }
}

/// The member that a number stands for today: itself, or who absorbed it. `None`: the number was never given.
pub fn resolve(rows: &dyn Rows, member: MemberNo) -> Result<Option<MemberNo>, RowsError> {
    let Some(row) = get::<MemberRow>(rows, MEMBER, &key32(member.0))? else {
        return Ok(None);
    };
    match row.state {
        MemberState::Absorbed => member_of(rows, row.anchor),
        MemberState::Member | MemberState::Visitor | MemberState::Nobody => Ok(Some(member)),
    }
}

/// The fragments of a member of today: its identifiers, and the orders that follow them.
pub fn fragments_of(rows: &dyn Rows, member: &MemberRow) -> Result<Vec<IdentNo>, RowsError> {
    let mut fragments = member.identifiers.clone();
    // Most have none, and who looks at many members should not pay for a row of each of their identifiers.
    if !Member::may_have_orders(&member.entry) {
        return Ok(fragments);
    }
    for ident in &member.identifiers {
        // A prefix costs several times what a key costs, and most identifiers have no order of their own.
        if !state_of(rows, *ident)?.is_some_and(|state| state.has(Ident::ORDERS)) {
            continue;
        }
        rows.scan(ORDER_FRAGMENTS, &key32(ident.0), &mut |key, _| {
            if let Some((_, order)) = key.split_last_chunk() {
                fragments.push(IdentNo(u32::from_be_bytes(*order)));
            }
            true
        })?;
    }
    Ok(fragments)
}

/// The rules in force and their version (0: the shipped ones).
pub fn rules(rows: &dyn Rows) -> Result<(u32, Rules), RowsError> {
    let Some(value) = rows.get(RULES, &[])? else {
        return Ok((0, Rules::shipped()));
    };
    let damaged = || RowsError("the row of identity rules is damaged".to_owned());
    let (version, json) = value.split_first_chunk().ok_or_else(damaged)?;
    let json = std::str::from_utf8(json).map_err(|_| damaged())?;
    let rules = Rules::parse(json).map_err(|_| damaged())?;
    Ok((u32::from_be_bytes(*version), rules))
}

/// Key of the names in [`RULES`].
pub const NAMES: &[u8] = b"names";

/// Merged and blocked names in force and their version (0: nobody has defined any).
pub fn names(rows: &dyn Rows) -> Result<(u32, NameRules), RowsError> {
    let Some(value) = rows.get(RULES, NAMES)? else {
        return Ok((0, NameRules::default()));
    };
    let damaged = || RowsError("the row of merged and blocked names is damaged".to_owned());
    let (version, json) = value.split_first_chunk().ok_or_else(damaged)?;
    let json = std::str::from_utf8(json).map_err(|_| damaged())?;
    let rules = NameRules::parse(json).map_err(|_| damaged())?;
    Ok((u32::from_be_bytes(*version), rules))
}

/// The little-endian word at a place.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

pub(super) fn number(space: Space, value: &[u8]) -> Result<u32, RowsError> {
    value
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| RowsError(format!("a row of space {:#04x} is damaged", space.0)))
}
