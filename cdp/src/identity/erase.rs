//! Forgetting a person.
//!
//! The identifiers' texts go, from the rows and from the table that finds them, so the same phone told later is somebody
//! new. Their numbers stay: they name the fragments in which amounts live on. The member becomes nobody, like the home of an
//! order without a person. Links keep their numbers but no longer link through these identifiers, so nothing that is folded
//! again comes back to them.

use std::collections::BTreeSet;

use actors::machine::{Effect, Outgoing, Rows, RowsError, To};
use actors::model::{IdentNo, Identifier, MemberNo, Position};
use bytes::Bytes;

use super::memory::Member;
use super::refold::Refusal;
use super::row::{self, IdentRow, LinkRow, Outcome};
use super::settle::Decide;
use crate::control::Erase;
use crate::routed::{self, ERASE_CHANNEL, EraseEffect, Erased, schema};

impl Decide<'_> {
    /// Forgets the person that a member is.
    pub(super) fn erase(&mut self, command: &Erase) -> Result<Outcome, RowsError> {
        let Some(member) = self.memory.resolve(command.member) else {
            let refusal = Refusal(
                "member_unknown",
                "there is no such member".to_owned(),
                "look the member up by one of its identifiers",
            );
            return Ok(refusal.into());
        };
        let ring = self.memory.ring(member);
        if ring.is_empty() || self.memory.member(member).flags & Member::NOBODY != 0 {
            let refusal = Refusal(
                "nobody_there",
                "this member is nobody: it was erased before, or holds an order without a person"
                    .to_owned(),
                "nothing is left to do",
            );
            return Ok(refusal.into());
        }
        let mut fragments: Vec<IdentNo> = Vec::new();
        let mut identifiers: Vec<Identifier> = Vec::new();
        for &no in &ring {
            fragments.push(IdentNo(no));
            fragments.extend(self.orders_following(no)?);
            identifiers.extend(self.forget(no)?);
        }
        self.lift_separations(&ring.iter().copied().collect());
        let entry = self.memory.member(member);
        let nobody = Member {
            flags: Member::LIVE | Member::NOBODY,
            ..entry
        };
        self.memory.set_member(member, nobody);
        self.view.out.count("erased", 1);
        self.view.out.effects.push(Effect {
            key: effect_key(self.cause.position),
            channel: ERASE_CHANNEL.into(),
            target: 0,
            at_most_once: false,
            payload: routed::encode(&EraseEffect {
                fragments: fragments.clone(),
                identifiers,
            }),
        });
        let member = MemberNo(member);
        self.view.out.outgoing.push(Outgoing {
            to: To::Shard(member.shard()),
            schema: schema::ERASED,
            envelope: routed::encode(&Erased { member, fragments }),
            personal: None,
        });
        Ok(Outcome::Done {
            members: vec![member],
        })
    }

    /// Takes an identifier's text out of rows and table, and lets no link go through it. Answers the text.
    fn forget(&mut self, no: u32) -> Result<Option<Identifier>, RowsError> {
        let key = Bytes::copy_from_slice(&row::key32(no));
        let known = row::get::<IdentRow>(&self.view, row::IDENT, &key)?;
        if let Some(known) = &known {
            let fp = self.memory.fp_of(&known.identifier);
            self.memory.erase_ident(fp, no);
            self.view
                .delete(row::BY_TEXT, row::text_key(&known.identifier));
            self.view.delete(row::IDENT, key);
        }
        let mut links: Vec<u64> = Vec::new();
        Rows::scan(
            &self.view,
            row::LINK_BY_IDENT,
            &row::key32(no),
            &mut |key, _| {
                if let Some((_, link)) = key.split_last_chunk() {
                    links.push(u64::from_be_bytes(*link));
                }
                true
            },
        )?;
        for number in links {
            let key = row::link_key(number);
            let Some(mut link) = row::get::<LinkRow>(&self.view, row::LINK, &key)? else {
                continue;
            };
            for (place, ident) in link.identifiers.iter().enumerate() {
                let place = u8::try_from(place).expect("an event has at most 20 identifiers");
                if ident.0 == no && !link.shared.contains(&place) {
                    link.shared.push(place);
                }
            }
            link.shared.sort_unstable();
            self.view.put(row::LINK, key.to_vec(), row::encode(&link));
        }
        Ok(known.map(|known| known.identifier))
    }

    fn lift_separations(&mut self, idents: &BTreeSet<u32>) {
        let of_them = |(a, b): &(u32, u32)| idents.contains(a) || idents.contains(b);
        let pairs: Vec<(u32, u32)> = self
            .memory
            .separations
            .keys()
            .copied()
            .filter(of_them)
            .collect();
        for pair in pairs {
            self.memory.set_pair(pair, None);
            let key = row::pair_key(IdentNo(pair.0), IdentNo(pair.1));
            self.view
                .delete(row::SEPARATION, Bytes::copy_from_slice(&key));
        }
    }
}

/// One command, one effect.
fn effect_key(cause: Position) -> u64 {
    let hash = blake3::hash(format!("erase {cause}").as_bytes());
    let front = hash.as_bytes()[..8].try_into().expect("eight bytes");
    u64::from_le_bytes(front)
}
