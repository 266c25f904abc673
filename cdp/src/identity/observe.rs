//! Taking an event's identifiers in: known ones are found, new ones numbered, and a list never seen before is a link.

use std::collections::BTreeSet;

use actors::machine::RowsError;
use actors::model::{IdentNo, Identifier, MemberNo};
use bytes::Bytes;
use smallvec::SmallVec;

use super::fold::{Groups, Limits, Part, Parts, Reason};
use super::memory::{Ident, Memory};
use super::row::{self, ConflictRow, IdentRow, LinkRow};
use super::settle::{Decide, Group};
use super::table::Fp;
use crate::routed::NoteKind;

/// Whose event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub ident: u32,
    pub member: u32,
}

/// Numbers of an event's identifiers.
type List = SmallVec<[u32; 8]>;

impl Decide<'_> {
    /// Finds or makes the owner of an event with these normalised identifiers, strongest first. `None`: there are none.
    /// `once`: they are paired only if they are not paired yet.
    pub(super) fn observe(
        &mut self,
        named: &[Identifier],
        once: bool,
    ) -> Result<Option<Owner>, RowsError> {
        // Fingerprints first, then all look-ups: they miss the cache, and so they miss it together.
        let mut asked: SmallVec<[(u8, &Identifier, Fp); 8]> = SmallVec::new();
        for identifier in named {
            if let Some(kind) = self.memory.kind_no(&identifier.kind) {
                asked.push((kind, identifier, self.memory.fp_of(identifier)));
            }
        }
        let found: SmallVec<[Option<u32>; 8]> = asked
            .iter()
            .map(|(_, _, fp)| self.memory.find(fp))
            .collect();
        let fresh = found.contains(&None);
        let mut list = List::new();
        let mut texts: SmallVec<[&Identifier; 8]> = SmallVec::new();
        for ((kind, identifier, fp), found) in asked.into_iter().zip(found) {
            let no = found.unwrap_or_else(|| self.give_number(kind, identifier, fp));
            if !self.cause.test {
                self.memory.mark(no, Ident::REAL);
            }
            list.push(no);
            texts.push(identifier);
        }
        let Some(&strongest) = list.first() else {
            return Ok(None);
        };
        if list.len() > 1 {
            let fp = self.memory.link_fp(&list, once);
            if fresh || !self.memory.knows_link(&fp) {
                self.memory.add_link(fp);
                self.link(&list, &texts, once)?;
            }
        } else if fresh {
            let member = self.memory.new_member(strongest, self.cause.now);
            self.memory.settle(&[Group {
                idents: vec![strongest],
                member,
            }]);
        }
        let shared = |no: &&u32| !self.memory.ident(**no).is_shared();
        let owner = *list.iter().find(shared).unwrap_or(&strongest);
        Ok(Some(Owner {
            ident: owner,
            member: self.memory.ident(owner).member,
        }))
    }

    /// The number of an identifier, and whether it is new.
    pub(super) fn number(&mut self, kind: u8, identifier: &Identifier) -> (u32, bool) {
        let fp = self.memory.fp_of(identifier);
        match self.memory.find(&fp) {
            Some(no) => (no, false),
            None => (self.give_number(kind, identifier, fp), true),
        }
    }

    /// Numbers a new identifier. It belongs to nobody yet.
    fn give_number(&mut self, kind: u8, identifier: &Identifier, fp: Fp) -> u32 {
        let scope = scope_hash(&identifier.scope);
        let no = self.memory.add_ident(fp, Ident::new(kind, scope));
        let ident = IdentRow {
            identifier: identifier.clone(),
            since: self.cause.now,
            cause: self.cause.position,
            source: self.cause.source,
            brand: self.cause.brand,
        };
        self.view.out.put(
            row::BY_TEXT,
            row::text_key(identifier),
            Bytes::copy_from_slice(&row::key32(no)),
        );
        // An erase in the same batch reads it.
        self.view.put(
            row::IDENT,
            Bytes::copy_from_slice(&row::key32(no)),
            row::encode(&ident),
        );
        no
    }

    /// Takes a list that was never seen before.
    fn link(&mut self, list: &List, texts: &[&Identifier], once: bool) -> Result<(), RowsError> {
        let number = self.memory.small.links;
        self.memory.small.links += 1;
        let mut shared: SmallVec<[u8; 4]> = (0..list.len())
            .filter(|&place| self.memory.ident(list[place]).is_shared())
            .map(|place| place as u8)
            .collect();
        if shared.len() == list.len() {
            shared.remove(0);
        }
        let row = LinkRow {
            identifiers: list.iter().map(|&no| IdentNo(no)).collect(),
            shared,
            left: SmallVec::new(),
            cause: self.cause.position,
            source: self.cause.source,
            time: self.cause.now,
            once,
        };
        let linking = row.linking();
        let numbers: List = linking
            .iter()
            .map(|&place| list[usize::from(place)])
            .collect();
        let memory = &*self.memory;
        let kind_limit = |kind| memory.kind_rule(kind).limit;
        let pair_limit = |kind| memory.pair_limit(kind);
        let mut groups = Groups::new(memory.limits(&kind_limit, &pair_limit));
        for &no in &numbers {
            if !groups.has(no) {
                groups.add(memory.parts_with(no));
            }
        }
        let left = groups.take(&numbers, once);
        let sets = groups.into_sets();
        let row = LinkRow {
            left: left
                .into_iter()
                .map(|(place, reason)| (linking[usize::from(place)], reason))
                .collect(),
            ..row
        };
        self.join(&sets, numbers[0], list, texts)?;
        self.view.put(
            row::LINK,
            Bytes::copy_from_slice(&row::link_key(number)),
            row::encode(&row),
        );
        for &no in &numbers {
            let key = row::link_by_ident_key(IdentNo(no), number);
            self.view.put(
                row::LINK_BY_IDENT,
                Bytes::copy_from_slice(&key),
                Bytes::new(),
            );
        }
        self.report_left_out(number, &row, list, texts);
        Ok(())
    }

    /// Settles the sets that a link changed and tells of it.
    fn join(
        &mut self,
        sets: &[Vec<Part>],
        lead: u32,
        list: &List,
        texts: &[&Identifier],
    ) -> Result<(), RowsError> {
        let mut changed = Vec::new();
        let mut merged = None;
        for set in sets {
            let idents: Vec<u32> = set.iter().map(|part| part.no).collect();
            let homes: BTreeSet<u32> = idents
                .iter()
                .map(|&no| self.memory.ident(no).member)
                .collect();
            let members: BTreeSet<u32> = idents
                .iter()
                .filter_map(|&no| self.memory.ident(no).member())
                .map(|MemberNo(no)| no)
                .collect();
            if homes.len() == 1 && !members.is_empty() {
                continue;
            }
            let survivor = self.memory.survivor(&members);
            if idents.contains(&lead) && survivor.is_some() {
                let newcomers: Vec<Identifier> = list
                    .iter()
                    .zip(texts)
                    .filter(|(no, _)| {
                        idents.contains(no)
                            && self.memory.ident(**no).member().map(|m| m.0) != survivor
                    })
                    .map(|(_, text)| (*text).clone())
                    .collect();
                let absorbed = members.iter().copied().filter(|no| Some(*no) != survivor);
                merged = Some((newcomers, absorbed.collect::<Vec<_>>()));
            }
            let member = match survivor {
                Some(member) => member,
                None => {
                    let anchor = self.memory.strongest(&idents);
                    self.memory.new_member(anchor, self.cause.now)
                }
            };
            changed.push(Group { idents, member });
        }
        let shifts = self.memory.settle(&changed);
        self.send_shifts(&shifts)?;
        if let Some((newcomers, absorbed)) = merged {
            if absorbed.is_empty() {
                self.send_note(lead, NoteKind::Linked, None, &newcomers);
            }
            for other in absorbed {
                self.send_note(lead, NoteKind::Merged, Some(other), &newcomers);
            }
        }
        Ok(())
    }

    /// Lists what a link left out, and counts it against those that get in the way of many.
    fn report_left_out(&mut self, number: u64, row: &LinkRow, list: &List, texts: &[&Identifier]) {
        let shared = row.shared.iter().map(|&place| (place, Reason::Shared));
        let left: SmallVec<[(u8, Reason); 4]> = row.left.iter().copied().chain(shared).collect();
        let Some(&(first, _)) = left.first() else {
            return;
        };
        let owner = list[usize::from(row.linking()[0])];
        for &(place, reason) in &left {
            let no = list[usize::from(place)];
            let counted = match reason {
                Reason::Limit { .. } | Reason::TooMany => self.count_against(owner, no),
                Reason::Separated | Reason::Shared | Reason::Behind => false,
            };
            self.write_conflict(number, row, place, reason, counted);
        }
        let with = self.memory.ident(list[usize::from(first)]).member;
        let identifiers: Vec<Identifier> = left
            .iter()
            .map(|(place, _)| texts[usize::from(*place)].clone())
            .collect();
        self.send_note(owner, NoteKind::Conflict, Some(with), &identifiers);
    }

    /// Writes a conflict of a link.
    pub(super) fn write_conflict(
        &mut self,
        link: u64,
        row: &LinkRow,
        place: u8,
        reason: Reason,
        counted: bool,
    ) {
        let owner = row.identifiers[usize::from(row.linking()[0])];
        let identifier = row.identifiers[usize::from(place)];
        let conflict = ConflictRow {
            link,
            owner,
            identifier,
            reason,
            with: self.memory.ident(identifier.0).member(),
            cause: row.cause,
            source: row.source,
            resolved: false,
            counted,
        };
        let key = row::conflict_key(row.time, link, place);
        self.view.put(
            row::CONFLICT,
            Bytes::copy_from_slice(&key),
            row::encode(&conflict),
        );
        for ident in [identifier, owner] {
            let by_ident = row::conflict_by_ident_key(ident, &key);
            self.view.put(
                row::CONFLICT_BY_IDENT,
                Bytes::copy_from_slice(&by_ident),
                Bytes::new(),
            );
        }
        self.view.out.count("conflicts", 1);
    }

    /// An identifier stood in the way of one more owner. `false`: of this one it did before.
    fn count_against(&mut self, owner: u32, other: u32) -> bool {
        let fp = self.memory.conflict_fp(owner, other);
        if !self.memory.add_link(fp) {
            return false;
        }
        let ident = self.memory.ident(other);
        let refused = ident.refused.saturating_add(1);
        let limit = self.memory.rules.form().shared_after;
        let shared = match limit != 0 && refused >= limit {
            true => Ident::SHARED,
            false => 0,
        };
        self.memory.set_ident(
            other,
            Ident {
                refused,
                flags: ident.flags | shared,
                ..ident
            },
        );
        true
    }
}

impl Memory {
    pub(super) fn limits<'a>(
        &'a self,
        kind: &'a dyn Fn(u8) -> u8,
        pair: &'a dyn Fn(u8) -> u8,
    ) -> Limits<'a> {
        Limits {
            kind,
            pair,
            total: self.rules.form().identifiers_max.into(),
            separations: &self.separations,
        }
    }

    /// The limit of a kind for links that pair only once: one login and one of each kind that makes no person.
    pub(super) fn pair_limit(&self, kind: u8) -> u8 {
        let rule = self.kind_rule(kind);
        let paired = !rule.person || &*self.small.kinds[usize::from(kind)] == "user_id";
        if paired {
            rule.limit.min(1)
        } else {
            rule.limit
        }
    }

    /// An identifier with all that are with it.
    pub(super) fn parts_with(&self, no: u32) -> Parts {
        match self.ident(no).member() {
            Some(MemberNo(member)) => {
                let ring = self.ring(member);
                ring.iter().map(|&no| self.part(no)).collect()
            }
            None => [self.part(no)].into_iter().collect(),
        }
    }
}

impl LinkRow {
    /// Places that take part in the fold: all but the shared ones.
    pub(super) fn linking(&self) -> SmallVec<[u8; 8]> {
        (0..self.identifiers.len() as u8)
            .filter(|place| !self.shared.contains(place))
            .collect()
    }
}

/// 32 bits that tell scopes of one member apart. FNV-1a: a member has 50 identifiers, not millions.
pub(super) fn scope_hash(scope: &str) -> u32 {
    scope.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
