//! Orders: remembered as identifiers of kind `order` that are attached to whoever named them and never join people.
//!
//! An order is **attached** to the strongest identifier that ever named it, of equals to the first, and its facts live in
//! that identifier's fragment, its *holder*. Before anybody names it, it is its own holder, with a member number that is
//! neither member nor visitor ("nobody"). What the order's own fragment has got by then (the timeline of events without a
//! person) follows the identifier that it is attached to.

use actors::machine::RowsError;
use actors::model::{IdentNo, Identifier, MemberNo};
use bytes::Bytes;

use super::memory::{Ident, Member, ORDER_KIND_NO};
use super::observe::Owner;
use super::row;
use super::settle::Decide;
use crate::routed::Moved;

/// Where an order's facts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    pub order: u32,
    pub holder: u32,
    pub member: u32,
}

impl Decide<'_> {
    /// Finds or makes the order, and attaches it to the event's owner if that is stronger than who has it.
    pub(super) fn order(
        &mut self,
        order: &Identifier,
        owner: Option<Owner>,
    ) -> Result<Holder, RowsError> {
        let (no, new) = self.number(ORDER_KIND_NO, order);
        if !self.cause.test {
            self.memory.mark(no, Ident::REAL);
        }
        match owner {
            None if new => {
                let member = self.memory.new_member(no, self.cause.now);
                let nobody = Member {
                    flags: Member::LIVE | Member::NOBODY,
                    ..self.memory.member(member)
                };
                self.memory.set_member(member, nobody);
                let ident = self.memory.ident(no);
                self.memory.set_ident(no, Ident { member, ..ident });
            }
            None => {}
            Some(owner) => self.attach(no, owner, new)?,
        }
        let holder = match self.memory.ident(no).attached() {
            Some(IdentNo(attached)) => attached,
            None => no,
        };
        self.memory.mark(holder, Ident::FACTS);
        Ok(Holder {
            order: no,
            holder,
            member: self.memory.member_of(no),
        })
    }

    fn attach(&mut self, order: u32, owner: Owner, new: bool) -> Result<(), RowsError> {
        let ident = self.memory.ident(order);
        let attached = ident.attached().map(|IdentNo(no)| no);
        let rank = |no: u32| self.memory.kind_rule(self.memory.ident(no).kind).rank;
        if attached.is_some_and(|attached| rank(attached) <= rank(owner.ident)) {
            return Ok(());
        }
        let from = self.memory.member_of(order);
        if let Some(MemberNo(nobody)) = ident.member() {
            let entry = self.memory.member(nobody);
            self.memory.set_member(nobody, Member { flags: 0, ..entry });
        }
        let now_attached = Ident {
            next: owner.ident,
            ..Ident::new(ident.kind, ident.scope)
        };
        self.memory.set_ident(
            order,
            Ident {
                flags: ident.flags,
                ..now_attached
            },
        );
        if new {
            return Ok(());
        }
        let moved = Moved::Order {
            order: IdentNo(order),
            from: IdentNo(attached.unwrap_or(order)),
            to: IdentNo(owner.ident),
        };
        self.send_move(moved, from, owner.member);
        if ident.has(Ident::FACTS) {
            self.follow(order, attached, owner.ident);
            if from != owner.member {
                self.send_move(Moved::Fragment(IdentNo(order)), from, owner.member);
            }
        }
        Ok(())
    }

    /// The order's own fragment follows another identifier from now on.
    fn follow(&mut self, order: u32, before: Option<u32>, now: u32) {
        let key = |ident: u32| [row::key32(ident), row::key32(order)].concat();
        if let Some(before) = before {
            self.view.delete(row::ORDER_FRAGMENTS, key(before));
        }
        self.view.put(row::ORDER_FRAGMENTS, key(now), Bytes::new());
        self.memory.mark(now, Ident::ORDERS);
    }
}
