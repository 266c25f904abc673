//! What an event does to its identifiers beside joining them: binding again, and taking out.
//!
//! Both go through the fold like the commands of people: taking out is an unmerge, binding what was taken out in this way
//! is its rejoin. What a person took apart no event joins again.

use actors::machine::RowsError;
use actors::model::{DISTINCT_KIND, IdentNo, Identifier, Linking, MemberNo};

use super::memory::Memory;
use super::observe::Owner;
use super::row::{self, Outcome, SeparationRow};
use super::settle::Decide;
use crate::control::Regroup;

/// Who took something apart, if an event did.
const BY_EVENT: &str = "unbind event";

impl Decide<'_> {
    /// Finds or makes the owner of an event, and does to its identifiers what the event says.
    pub(super) fn identify(
        &mut self,
        named: &[Identifier],
        linking: Linking,
    ) -> Result<Option<Owner>, RowsError> {
        match linking {
            Linking::Join => self.observe(named, false),
            Linking::PairOnce => self.observe(named, true),
            Linking::Bind => {
                self.lift(named)?;
                self.observe(named, false)
            }
            Linking::TakeOut => self.take_out(named),
        }
    }

    /// Takes each identifier out of its member. The event belongs to the strongest of them.
    fn take_out(&mut self, named: &[Identifier]) -> Result<Option<Owner>, RowsError> {
        let mut first = None;
        for identifier in named {
            let Some(Owner { ident, member }) =
                self.observe(std::slice::from_ref(identifier), false)?
            else {
                continue;
            };
            first = first.or(Some(ident));
            if self.memory.ring(member).len() < 2 {
                continue;
            }
            let command = regroup(member, identifier);
            if let Outcome::Refused { .. } = self.unmerge(&command)? {
                self.view.out.count("unbinds_refused", 1);
            }
        }
        Ok(first.map(|ident| Owner {
            ident,
            member: self.memory.ident(ident).member,
        }))
    }

    /// Lifts what events took apart between the strongest identifier's member and the others, as long as these are with
    /// nobody else.
    fn lift(&mut self, named: &[Identifier]) -> Result<(), RowsError> {
        let Some((strongest, others)) = named.split_first() else {
            return Ok(());
        };
        if self.memory.separations.is_empty() {
            return Ok(());
        }
        for identifier in others {
            let (Some(lead), Some(other)) =
                (self.memory.known(strongest), self.memory.known(identifier))
            else {
                continue;
            };
            let member = self.memory.ident(lead).member;
            if self.memory.ring(self.memory.ident(other).member).len() > 1 {
                continue;
            }
            let mut by_events = false;
            for kept in self.memory.ring(member) {
                let key = row::pair_key(IdentNo(kept.min(other)), IdentNo(kept.max(other)));
                let pair: Option<SeparationRow> = match kept == other {
                    true => None,
                    false => row::get(&self.view, row::SEPARATION, &key)?,
                };
                by_events |= pair.is_some_and(|pair| &*pair.by == BY_EVENT);
            }
            if by_events {
                self.rejoin(&regroup(member, identifier))?;
            }
        }
        Ok(())
    }
}

impl Memory {
    /// What a sender calls a distinct id is a login that is known, or a device.
    pub(super) fn tell_apart(&self, named: &mut [Identifier]) {
        for sent in named.iter_mut().filter(|sent| *sent.kind == *DISTINCT_KIND) {
            sent.kind = "user_id".into();
            let normal = self.rules.normalise(sent);
            if !normal.is_ok_and(|normal| self.known(&normal).is_some()) {
                sent.kind = "anonymous_id".into();
            }
        }
    }

    /// The number of an identifier that is somebody's.
    fn known(&self, identifier: &Identifier) -> Option<u32> {
        let no = self.find(&self.fp_of(identifier))?;
        self.ident(no).member().map(|_: MemberNo| no)
    }
}

fn regroup(member: u32, identifier: &Identifier) -> Regroup {
    Regroup {
        request: "".into(),
        member: MemberNo(member),
        identifiers: vec![identifier.clone()],
        by: BY_EVENT.into(),
        reason: "the source took it out".into(),
    }
}
