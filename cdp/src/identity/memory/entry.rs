//! Entries of the arrays, 16 bytes each.

use actors::memfile::Plain;
use actors::model::{IdentNo, MemberNo};

use super::ORDER_KIND_NO;
use crate::identity::row::MemberState;

/// No number.
const NONE: u32 = u32::MAX;

/// An identifier's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ident {
    pub(in crate::identity) member: u32,
    /// The next identifier of the same member; for an order, the identifier that it is attached to.
    pub(in crate::identity) next: u32,
    pub(in crate::identity) scope: u32,
    pub(in crate::identity) kind: u8,
    pub(in crate::identity) flags: u8,
    /// With how many different owners' events it was left out.
    pub(in crate::identity) refused: u16,
}

impl Ident {
    /// Named by an event that is not from a test source.
    pub(in crate::identity) const REAL: u8 = 1;
    /// A fragment of this name exists: members' shards were told facts under it.
    pub(in crate::identity) const FACTS: u8 = 2;
    /// No longer links anybody.
    pub(in crate::identity) const SHARED: u8 = 4;
    /// Orders with facts of their own follow it.
    pub(in crate::identity) const ORDERS: u8 = 8;
    /// Its person was forgotten: nothing finds it by its text any more.
    pub(in crate::identity) const ERASED: u8 = 16;

    pub(in crate::identity) fn new(kind: u8, scope: u32) -> Ident {
        Ident {
            member: NONE,
            next: NONE,
            scope,
            kind,
            flags: 0,
            refused: 0,
        }
    }

    pub(in crate::identity) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether this names an order.
    pub fn is_order(&self) -> bool {
        self.kind == ORDER_KIND_NO
    }

    /// No longer links anybody, because too many different people were named with it.
    pub fn is_shared(&self) -> bool {
        self.has(Ident::SHARED)
    }

    /// Its member; `None` for an order that is attached.
    pub fn member(&self) -> Option<MemberNo> {
        (self.member != NONE).then_some(MemberNo(self.member))
    }

    /// For an order: the identifier that it is attached to.
    pub fn attached(&self) -> Option<IdentNo> {
        (self.is_order() && self.next != NONE).then_some(IdentNo(self.next))
    }

    /// The row's bytes.
    pub(in crate::identity) fn to_row(self) -> [u8; 16] {
        to_row(self.into_words())
    }

    /// Reads a row.
    pub fn from_row(row: &[u8]) -> Option<Ident> {
        Some(Ident::from_words(words(row.try_into().ok()?)))
    }
}

impl Plain<4> for Ident {
    fn into_words(self) -> [u32; 4] {
        let last =
            u32::from(self.kind) | u32::from(self.flags) << 8 | u32::from(self.refused) << 16;
        [self.member, self.next, self.scope, last]
    }
    fn from_words([member, next, scope, last]: [u32; 4]) -> Self {
        Ident {
            member,
            next,
            scope,
            kind: last as u8,
            flags: (last >> 8) as u8,
            refused: (last >> 16) as u16,
        }
    }
}

/// A member number's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The identifier whose member the number resolves to.
    pub(in crate::identity) anchor: u32,
    /// The next number that stands for the same member.
    pub(in crate::identity) next: u32,
    /// When the number was given, seconds since 1970.
    pub(in crate::identity) since: u32,
    pub(in crate::identity) flags: u32,
}

impl Member {
    /// Not absorbed.
    pub(in crate::identity) const LIVE: u32 = 1;
    /// Has an identifier of a kind that makes a member.
    pub(in crate::identity) const PERSON: u32 = 2;
    /// The home of an order without a person.
    pub(in crate::identity) const NOBODY: u32 = 4;
    /// Has an identifier that is not from a test source only.
    pub(in crate::identity) const REAL: u32 = 8;
    /// In a row only: whether orders of their own follow its identifiers is said by [`Member::ORDERS`]. Rows of before that
    /// say nothing.
    pub(in crate::identity) const SUMMED: u32 = 1 << 30;
    /// In a row only: orders of their own follow an identifier of it.
    pub(in crate::identity) const ORDERS: u32 = 1 << 31;

    pub(in crate::identity) fn is_live(&self) -> bool {
        self.flags & Member::LIVE != 0
    }

    pub(in crate::identity) fn is_person(&self) -> bool {
        self.flags & Member::PERSON != 0
    }

    /// Which counter it counts in: 0 members, 1 visitors.
    pub(super) fn counted(&self) -> Option<u8> {
        let counts = Member::LIVE | Member::REAL;
        if self.flags & (counts | Member::NOBODY) != counts {
            return None;
        }
        Some(if self.is_person() { 0 } else { 1 })
    }

    /// What it is, for readers.
    pub(in crate::identity) fn state(&self) -> MemberState {
        match () {
            () if !self.is_live() => MemberState::Absorbed,
            () if self.flags & Member::NOBODY != 0 => MemberState::Nobody,
            () if self.is_person() => MemberState::Member,
            () => MemberState::Visitor,
        }
    }

    /// The row's bytes; `orders`: whether orders of their own follow its identifiers.
    pub(in crate::identity) fn to_row(self, orders: bool) -> [u8; 16] {
        let mut entry = self;
        entry.flags |= Member::SUMMED;
        if orders {
            entry.flags |= Member::ORDERS;
        }
        to_row(entry.into_words())
    }

    pub(in crate::identity) fn from_row(row: &[u8; 16]) -> Member {
        let mut entry = Member::from_words(words(row));
        entry.flags &= !(Member::SUMMED | Member::ORDERS);
        entry
    }

    /// Whether orders of their own may follow identifiers of a row's member.
    pub(in crate::identity) fn may_have_orders(row: &[u8; 16]) -> bool {
        let flags = Member::from_words(words(row)).flags;
        flags & (Member::SUMMED | Member::ORDERS) != Member::SUMMED
    }
}

impl Plain<4> for Member {
    fn into_words(self) -> [u32; 4] {
        [self.anchor, self.next, self.since, self.flags]
    }
    fn from_words([anchor, next, since, flags]: [u32; 4]) -> Self {
        Member {
            anchor,
            next,
            since,
            flags,
        }
    }
}

fn to_row(words: [u32; 4]) -> [u8; 16] {
    let mut row = [0; 16];
    for (bytes, word) in row.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    row
}

fn words(row: &[u8; 16]) -> [u32; 4] {
    std::array::from_fn(|i| {
        u32::from_le_bytes(row[i * 4..i * 4 + 4].try_into().expect("four bytes"))
    })
}
