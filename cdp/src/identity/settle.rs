//! Writing down who belongs to whom: rings, survivors, and what members' shards are told of it.

use std::collections::{BTreeMap, BTreeSet};

use actors::machine::{Outgoing, Rows, RowsError, To};
use actors::model::{BrandId, IdentNo, Identifier, MemberNo, Position, SourceId, Time};

use super::memory::{Ident, Member, Memory};
use super::row;
use super::view::View;
use crate::routed::{self, Expect, IdentityNote, Moved, NoteKind, Release, schema};

/// The record that is being decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause {
    pub position: Position,
    pub now: Time,
    pub source: SourceId,
    pub brand: BrandId,
    pub test: bool,
}

/// A fragment that changes its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shift {
    pub ident: u32,
    pub from: u32,
    pub to: u32,
}

/// One record's decision under way.
pub(super) struct Decide<'a> {
    pub memory: &'a mut Memory,
    pub view: View<'a>,
    pub cause: Cause,
}

/// The identifiers of a member to be.
pub(super) struct Group {
    pub idents: Vec<u32>,
    pub member: u32,
}

impl Memory {
    /// Makes each group's identifiers those of its member. Every identifier of a member that loses or gains one must be in
    /// one of the groups. Answers the fragments that move.
    pub(super) fn settle(&mut self, groups: &[Group]) -> Vec<Shift> {
        let mut before: BTreeSet<u32> = groups.iter().map(|group| group.member).collect();
        let mut shifts = Vec::new();
        for group in groups {
            for (place, &no) in group.idents.iter().enumerate() {
                let ident = self.ident(no);
                if let Some(MemberNo(from)) = ident.member() {
                    before.insert(from);
                    if from != group.member && ident.has(Ident::FACTS | Ident::ORDERS) {
                        let to = group.member;
                        shifts.push(Shift {
                            ident: no,
                            from,
                            to,
                        });
                    }
                }
                let next = group.idents[(place + 1) % group.idents.len()];
                let settled = Ident {
                    member: group.member,
                    next,
                    ..ident
                };
                if settled != ident {
                    self.set_ident(no, settled);
                }
            }
        }
        let numbers: BTreeSet<u32> = before.iter().flat_map(|&no| self.numbers(no)).collect();
        let live: BTreeMap<u32, &Group> =
            groups.iter().map(|group| (group.member, group)).collect();
        for &no in &before {
            let member = self.member(no);
            let settled = match live.get(&no) {
                Some(group) => self.live_entry(member, &group.idents),
                None => Member { flags: 0, ..member },
            };
            if settled != member {
                self.set_member(no, settled);
            }
        }
        self.ring_numbers(&numbers);
        shifts
    }

    fn live_entry(&self, member: Member, idents: &[u32]) -> Member {
        let mut flags = Member::LIVE;
        for &no in idents {
            let ident = self.ident(no);
            if self.kind_rule(ident.kind).person {
                flags |= Member::PERSON;
            }
            if ident.has(Ident::REAL) {
                flags |= Member::REAL;
            }
        }
        let anchor = match idents.contains(&member.anchor) {
            true => member.anchor,
            false => self.strongest(idents),
        };
        Member {
            anchor,
            flags,
            ..member
        }
    }

    /// Every number into the ring of the member that it resolves to.
    fn ring_numbers(&mut self, numbers: &BTreeSet<u32>) {
        let mut rings: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for &no in numbers {
            let entry = self.member(no);
            let live = match entry.is_live() {
                true => no,
                false => self.ident(entry.anchor).member,
            };
            rings.entry(live).or_default().push(no);
        }
        for ring in rings.values() {
            for (place, &no) in ring.iter().enumerate() {
                let next = ring[(place + 1) % ring.len()];
                let entry = self.member(no);
                if entry.next != next {
                    self.set_member(no, Member { next, ..entry });
                }
            }
        }
    }

    /// The strongest of some identifiers; of equals the oldest.
    pub(super) fn strongest(&self, idents: &[u32]) -> u32 {
        let strength = |no: &&u32| (self.kind_rule(self.ident(**no).kind).rank, **no);
        *idents
            .iter()
            .min_by_key(strength)
            .expect("a member has an identifier")
    }

    /// Who stays when members become one: a member before a visitor, then the lower number.
    pub(super) fn survivor(&self, members: &BTreeSet<u32>) -> Option<u32> {
        let order = |no: &&u32| (!self.member(**no).is_person(), **no);
        members.iter().min_by_key(order).copied()
    }

    /// Gives a new number to a group.
    pub(super) fn new_member(&mut self, anchor: u32, now: Time) -> u32 {
        self.add_member(Member {
            anchor,
            next: 0,
            since: u32::try_from(now.0 / 1_000).unwrap_or_default(),
            flags: 0,
        })
    }

    /// Marks an identifier; its member becomes real with it.
    pub(super) fn mark(&mut self, no: u32, flag: u8) {
        let ident = self.ident(no);
        if ident.has(flag) {
            return;
        }
        let flags = ident.flags | flag;
        self.set_ident(no, Ident { flags, ..ident });
        if flag == Ident::REAL
            && let Some(MemberNo(member)) = ident.member()
        {
            let entry = self.member(member);
            let flags = entry.flags | Member::REAL;
            self.set_member(member, Member { flags, ..entry });
        }
    }
}

impl Decide<'_> {
    /// Tells both homes of every fragment that moves, and of the orders that follow it.
    pub(super) fn send_shifts(&mut self, shifts: &[Shift]) -> Result<(), RowsError> {
        for shift in shifts {
            let ident = self.memory.ident(shift.ident);
            if ident.has(Ident::FACTS) {
                let moved = Moved::Fragment(IdentNo(shift.ident));
                self.send_move(moved, shift.from, shift.to);
            }
            if ident.has(Ident::ORDERS) {
                for order in self.orders_following(shift.ident)? {
                    self.send_move(Moved::Fragment(order), shift.from, shift.to);
                }
            }
        }
        Ok(())
    }

    pub(super) fn orders_following(&self, ident: u32) -> Result<Vec<IdentNo>, RowsError> {
        let mut orders = Vec::new();
        let prefix = row::key32(ident);
        self.view
            .scan(row::ORDER_FRAGMENTS, &prefix, &mut |key, _| {
                if let Some((_, order)) = key.split_last_chunk() {
                    orders.push(IdentNo(u32::from_be_bytes(*order)));
                }
                true
            })?;
        Ok(orders)
    }

    /// Sends one move: `Expect` to the new home, `Release` to the old one.
    pub(super) fn send_move(&mut self, moved: Moved, from: u32, to: u32) {
        self.memory.small.moves += 1;
        let movement = self.memory.small.moves;
        let (from, to) = (MemberNo(from), MemberNo(to));
        let expect = Expect {
            movement,
            member: to,
            moved,
            from,
        };
        let release = Release {
            movement,
            member: from,
            moved,
            to,
        };
        self.send(to, schema::EXPECT, routed::encode(&expect));
        self.send(from, schema::RELEASE, routed::encode(&release));
    }

    fn send(&mut self, member: MemberNo, schema: u16, envelope: bytes::Bytes) {
        self.view.out.outgoing.push(Outgoing {
            to: To::Shard(member.shard()),
            schema,
            envelope,
            personal: None,
        });
    }

    /// Puts a change of identity on a member's timeline, filed under `fragment`.
    pub(super) fn send_note(
        &mut self,
        fragment: u32,
        what: NoteKind,
        other: Option<u32>,
        identifiers: &[Identifier],
    ) {
        let member = MemberNo(self.memory.member_of(fragment));
        self.memory.mark(fragment, Ident::FACTS);
        let note = IdentityNote {
            member,
            fragment: IdentNo(fragment),
            what,
            time: self.cause.now,
            other: other.map(MemberNo),
            cause: self.cause.position,
        };
        self.view.out.outgoing.push(Outgoing {
            to: To::Shard(member.shard()),
            schema: schema::NOTE,
            envelope: routed::encode(&note),
            personal: Some((IdentNo(fragment), routed::encode(&identifiers))),
        });
    }
}
