//! Changes of segments and tags on their way to the homes of members.
//!
//! A change is about a member *number* and goes to that number's own home, whatever has become of it: the audience decides
//! for numbers, so its last word about a number is what the number's row says. A number that was absorbed gets no
//! timeline row; the audience takes it out of everything, and decides anew for who absorbed it.

use std::collections::BTreeMap;

use actors::machine::{Outgoing, To, WriteSet};
use actors::model::{IdentNo, MemberNo, Position, ShardId};

use super::IdentityMachine;
use crate::control::{MembershipChange, TagChange};
use crate::identity::memory::Ident;
use crate::routed::{self, MembershipPart, TaggedPart, schema};

impl IdentityMachine {
    pub(super) fn membership(
        &mut self,
        cause: Position,
        change: MembershipChange,
        out: &mut WriteSet,
    ) {
        let mut shards: BTreeMap<ShardId, Vec<_>> = BTreeMap::new();
        for (member, entered) in change.members {
            let Some((_, fragment)) = self.home(member, out) else {
                continue;
            };
            let part = (member, fragment, entered);
            shards.entry(member.shard()).or_default().push(part);
        }
        for (shard, members) in shards {
            let part = MembershipPart {
                segment: change.segment,
                version: change.version,
                brand: change.brand,
                rebuilt: change.rebuilt,
                at: change.at,
                cause,
                members,
            };
            out.outgoing.push(Outgoing {
                to: To::Shard(shard),
                schema: schema::MEMBERSHIP,
                envelope: routed::encode(&part),
                personal: None,
            });
        }
    }

    pub(super) fn tagged(&mut self, cause: Position, change: TagChange, out: &mut WriteSet) {
        for (member, value) in change.members {
            let Some((anchor, fragment)) = self.home(member, out) else {
                continue;
            };
            let part = TaggedPart {
                member,
                fragment,
                tag: change.tag,
                version: change.version,
                brand: change.brand,
                rebuilt: change.rebuilt,
                at: change.at,
                cause,
            };
            out.outgoing.push(Outgoing {
                to: To::Shard(member.shard()),
                schema: schema::TAGGED,
                envelope: routed::encode(&part),
                personal: value.map(|value| (anchor, routed::encode(&value))),
            });
        }
    }

    /// The identifier that a number resolves by, and the fragment that shows its changes if it is somebody today. `None`:
    /// the number was never given.
    fn home(
        &mut self,
        MemberNo(member): MemberNo,
        out: &mut WriteSet,
    ) -> Option<(IdentNo, Option<IdentNo>)> {
        if member >= self.memory.small.members {
            out.count("changes_of_nobody", 1);
            return None;
        }
        let entry = self.memory.member(member);
        let shown = entry.is_live();
        if shown {
            // The fragment has a timeline from now on, which moves with it.
            self.memory.mark(entry.anchor, Ident::FACTS);
        }
        let anchor = IdentNo(entry.anchor);
        Some((anchor, shown.then_some(anchor)))
    }
}
