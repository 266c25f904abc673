//! Unmerge and rejoin: separations are added or lifted, and everything that hangs together over links is folded again.

use std::collections::{BTreeMap, BTreeSet};

use actors::machine::{Rows, RowsError};
use actors::model::{IdentNo, Identifier, MemberNo};
use bytes::Bytes;
use smallvec::SmallVec;

use super::fold::{Groups, Part, Reason};
use super::memory::Memory;
use super::row::{self, ConflictRow, LinkRow, Outcome, SeparationRow};
use super::settle::{Decide, Group};
use crate::control::Regroup;
use crate::routed::NoteKind;

/// Links that one unmerge or rejoin folds again at most: beyond that, half the installation hangs together through
/// something that should be a blocked value, and the writer would stand still.
const CLOSURE_LINKS_MAX: usize = 100_000;

/// Why a command is refused: code, message, hint.
pub(super) struct Refusal(pub &'static str, pub String, pub &'static str);

/// Everything that hangs together over links.
struct Closure {
    idents: BTreeSet<u32>,
    links: BTreeMap<u64, LinkRow>,
}

/// A member asked for, and the identifiers named.
struct Asked {
    member: u32,
    idents: BTreeSet<u32>,
    texts: Vec<Identifier>,
}

impl Decide<'_> {
    /// Takes identifiers out of their member.
    pub(super) fn unmerge(&mut self, command: &Regroup) -> Result<Outcome, RowsError> {
        let asked = match self.asked(command) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(refusal.into()),
        };
        let ring = self.memory.ring(asked.member);
        let stay: Vec<u32> = ring
            .iter()
            .copied()
            .filter(|no| !asked.idents.contains(no))
            .collect();
        let foreign = asked.idents.iter().position(|no| !ring.contains(no));
        if let Some(place) = foreign {
            return Ok(Refusal(
                "identifier_elsewhere",
                format!("{} does not belong to this member", asked.texts[place].kind),
                "list the member's identifiers and choose among them",
            )
            .into());
        }
        if stay.is_empty() {
            return Ok(Refusal(
                "nothing_left",
                "all identifiers of the member would be taken out".to_owned(),
                "leave at least one",
            )
            .into());
        }
        let starts: BTreeSet<u32> = ring.iter().copied().collect();
        let closure = match self.closure(starts)? {
            Ok(closure) => closure,
            Err(refusal) => return Ok(refusal.into()),
        };
        self.memory.small.unmerges += 1;
        let unmerge = self.memory.small.unmerges;
        for &out in &asked.idents {
            for &kept in &stay {
                self.separate(out, kept, unmerge, command);
            }
        }
        let keep = (self.memory.strongest(&stay), asked.member);
        self.refold(closure, Some(keep))?;

        let out: BTreeSet<u32> = asked
            .idents
            .iter()
            .map(|&no| self.memory.ident(no).member)
            .collect();
        let first = out.first().copied();
        self.send_note(keep.0, NoteKind::Unmerged, first, &asked.texts);
        for &member in &out {
            let own = self.memory.ring(member);
            let fragment = self.memory.strongest(&own);
            self.send_note(
                fragment,
                NoteKind::Unmerged,
                Some(asked.member),
                &asked.texts,
            );
        }
        let others = stay.iter().map(|&no| self.memory.ident(no).member);
        let others: BTreeSet<u32> = others.chain(out).collect();
        Ok(done(asked.member, others))
    }

    /// Lets identifiers that were taken out of a member join it again.
    pub(super) fn rejoin(&mut self, command: &Regroup) -> Result<Outcome, RowsError> {
        let asked = match self.asked(command) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(refusal.into()),
        };
        let ring = self.memory.ring(asked.member);
        // The unmerges that took one of these apart from one of the member's identifiers are lifted for these, also where
        // what had stayed has fallen apart meanwhile.
        let pair = |a: u32, b: u32| (a.min(b), a.max(b));
        let unmerges: BTreeSet<u32> = asked
            .idents
            .iter()
            .flat_map(|&out| ring.iter().map(move |&kept| pair(out, kept)))
            .filter_map(|pair| self.memory.separations.get(&pair).copied())
            .collect();
        let lifted: Vec<(u32, u32)> = self
            .memory
            .separations
            .iter()
            .filter(|((a, b), unmerge)| {
                unmerges.contains(unmerge) && (asked.idents.contains(a) || asked.idents.contains(b))
            })
            .map(|(pair, _)| *pair)
            .collect();
        if lifted.is_empty() {
            return Ok(Refusal(
                "not_separated",
                "none of these identifiers was taken out of this member".to_owned(),
                "name the identifiers that an unmerge of this member took out",
            )
            .into());
        }
        let mut starts: BTreeSet<u32> = ring.iter().copied().collect();
        starts.extend(lifted.iter().flat_map(|(a, b)| [*a, *b]));
        let closure = match self.closure(starts)? {
            Ok(closure) => closure,
            Err(refusal) => return Ok(refusal.into()),
        };
        for pair in lifted {
            self.memory.set_pair(pair, None);
            let key = row::pair_key(IdentNo(pair.0), IdentNo(pair.1));
            self.view
                .delete(row::SEPARATION, Bytes::copy_from_slice(&key));
        }
        self.refold(closure, None)?;
        let anchor = self.memory.strongest(&ring);
        self.send_note(anchor, NoteKind::Rejoined, None, &asked.texts);
        let member = self.memory.ident(anchor).member;
        let others = asked.idents.iter().map(|&no| self.memory.ident(no).member);
        Ok(done(member, others.collect()))
    }

    fn asked(&mut self, command: &Regroup) -> Result<Asked, Refusal> {
        let member = self.memory.resolve(command.member).ok_or(Refusal(
            "member_unknown",
            "there is no such member".to_owned(),
            "look the member up by one of its identifiers",
        ))?;
        if command.identifiers.is_empty() {
            return Err(Refusal(
                "nothing_named",
                "no identifier is named".to_owned(),
                "name at least one, e.g. phone:13800000000",
            ));
        }
        let mut named = BTreeMap::new();
        for sent in &command.identifiers {
            let known = self.memory.rules.normalise(sent).ok().and_then(|normal| {
                let fp = self.memory.fp_of(&normal);
                self.memory.find(&fp).map(|no| (no, normal))
            });
            match known {
                Some((no, normal)) => named.insert(no, normal),
                None => {
                    return Err(Refusal(
                        "identifier_unknown",
                        format!("a {} that is named was never seen", sent.kind),
                        "write identifiers as the member's list shows them, e.g. openid@wxabc:o1",
                    ));
                }
            };
        }
        let (idents, texts): (Vec<u32>, Vec<Identifier>) = named.into_iter().unzip();
        Ok(Asked {
            member,
            idents: idents.into_iter().collect(),
            texts,
        })
    }

    fn separate(&mut self, a: u32, b: u32, unmerge: u32, command: &Regroup) {
        let pair = (a.min(b), a.max(b));
        if self.memory.separations.contains_key(&pair) {
            return;
        }
        self.memory.set_pair(pair, Some(unmerge));
        let separation = SeparationRow {
            unmerge,
            time: self.cause.now,
            by: command.by.clone(),
            reason: command.reason.clone(),
        };
        let key = row::pair_key(IdentNo(a), IdentNo(b));
        self.view.put(
            row::SEPARATION,
            Bytes::copy_from_slice(&key),
            row::encode(&separation),
        );
    }

    /// Everything reachable from some identifiers over links, joined or left out.
    fn closure(&self, starts: BTreeSet<u32>) -> Result<Result<Closure, Refusal>, RowsError> {
        let mut open: Vec<u32> = starts.iter().copied().collect();
        let mut idents = starts;
        let mut links: BTreeMap<u64, LinkRow> = BTreeMap::new();
        while let Some(no) = open.pop() {
            let mut numbers: Vec<u64> = Vec::new();
            self.view
                .scan(row::LINK_BY_IDENT, &row::key32(no), &mut |key, _| {
                    if let Some((_, link)) = key.split_last_chunk() {
                        numbers.push(u64::from_be_bytes(*link));
                    }
                    numbers.len() <= CLOSURE_LINKS_MAX
                })?;
            let mut found: SmallVec<[u32; 8]> = SmallVec::new();
            if let Some(MemberNo(member)) = self.memory.ident(no).member() {
                found.extend(self.memory.ring(member));
            }
            for number in numbers {
                if links.contains_key(&number) {
                    continue;
                }
                let link: LinkRow = row::get(&self.view, row::LINK, &row::link_key(number))?
                    .ok_or_else(|| RowsError(format!("link {number} is missing")))?;
                let linking = link.linking();
                found.extend(linking.iter().map(|&p| link.identifiers[usize::from(p)].0));
                links.insert(number, link);
                if links.len() > CLOSURE_LINKS_MAX {
                    return Ok(Err(Refusal(
                        "too_entangled",
                        format!("more than {CLOSURE_LINKS_MAX} links hang together here"),
                        "block the value that holds them together (identity rules) first",
                    )));
                }
            }
            for no in found {
                if idents.insert(no) {
                    open.push(no);
                }
            }
        }
        Ok(Ok(Closure { idents, links }))
    }

    /// Folds a closure again. `keep`: this identifier's group gets this member number.
    fn refold(&mut self, closure: Closure, keep: Option<(u32, u32)>) -> Result<(), RowsError> {
        let memory = &*self.memory;
        let kind_limit = |kind| memory.kind_rule(kind).limit;
        let pair_limit = |kind| memory.pair_limit(kind);
        let mut groups = Groups::new(memory.limits(&kind_limit, &pair_limit));
        for &no in &closure.idents {
            groups.add([memory.part(no)].into_iter().collect());
        }
        let mut changed: Vec<(u64, LinkRow, LinkRow)> = Vec::new();
        for (number, link) in closure.links {
            let linking = link.linking();
            let list: Vec<u32> = linking
                .iter()
                .map(|&place| link.identifiers[usize::from(place)].0)
                .collect();
            let left = groups.take(&list, link.once);
            let left: SmallVec<[(u8, Reason); 2]> = left
                .into_iter()
                .map(|(place, reason)| (linking[usize::from(place)], reason))
                .collect();
            if left != link.left {
                let new = LinkRow {
                    left,
                    ..link.clone()
                };
                changed.push((number, link, new));
            }
        }
        let sets = groups.into_sets();
        let groups = self.assign(sets, keep);
        let shifts = self.memory.settle(&groups);
        self.send_shifts(&shifts)?;
        for (number, old, new) in changed {
            self.rewrite_link(number, &old, &new)?;
        }
        Ok(())
    }

    /// Which member number each group gets: the kept one; its own live one (a member's before a visitor's, then the
    /// lowest); an earlier one of its own that is not in use; a new one.
    fn assign(&mut self, sets: Vec<Vec<Part>>, keep: Option<(u32, u32)>) -> Vec<Group> {
        let sets: Vec<Vec<u32>> = sets
            .into_iter()
            .map(|set| set.into_iter().map(|part| part.no).collect())
            .collect();
        let members: BTreeSet<u32> = sets
            .iter()
            .flatten()
            .filter_map(|&no| self.memory.ident(no).member())
            .map(|MemberNo(no)| no)
            .collect();
        let numbers: Vec<u32> = members
            .iter()
            .flat_map(|&member| self.memory.numbers(member))
            .collect();
        let mut by_anchor: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for number in numbers {
            if keep.is_none_or(|(_, kept)| kept != number) {
                let anchor = self.memory.member(number).anchor;
                by_anchor.entry(anchor).or_default().push(number);
            }
        }
        let preference = |memory: &Memory, number: &u32| {
            let entry = memory.member(*number);
            (!entry.is_live(), !entry.is_person(), *number)
        };
        let mut groups = Vec::new();
        for idents in sets {
            let kept = keep.filter(|(ident, _)| idents.contains(ident));
            let own = idents
                .iter()
                .filter_map(|no| by_anchor.get(no))
                .flatten()
                .min_by_key(|number| preference(self.memory, number))
                .copied();
            let member = match kept.map(|(_, member)| member).or(own) {
                Some(member) => member,
                None => {
                    let anchor = self.memory.strongest(&idents);
                    self.memory.new_member(anchor, self.cause.now)
                }
            };
            groups.push(Group { idents, member });
        }
        groups
    }

    /// A link came out differently: the link's row, and the conflicts that come or go with it.
    fn rewrite_link(&mut self, number: u64, old: &LinkRow, new: &LinkRow) -> Result<(), RowsError> {
        self.view.put(
            row::LINK,
            Bytes::copy_from_slice(&row::link_key(number)),
            row::encode(new),
        );
        let places = old.left.iter().chain(&new.left).map(|(place, _)| *place);
        for place in places.collect::<BTreeSet<u8>>() {
            let reason = |row: &LinkRow| {
                let mut left = row.left.iter();
                left.find(|(of, _)| *of == place).map(|(_, reason)| *reason)
            };
            let (before, now) = (reason(old), reason(new));
            if before == now {
                continue;
            }
            let key = row::conflict_key(new.time, number, place);
            let known: Option<ConflictRow> = row::get(&self.view, row::CONFLICT, &key)?;
            match (now, known) {
                (Some(reason), Some(known)) => {
                    if known.resolved {
                        self.view.out.count("conflicts", 1);
                    }
                    let conflict = ConflictRow {
                        reason,
                        resolved: false,
                        ..known
                    };
                    self.put_conflict(&key, &conflict);
                }
                (Some(reason), None) => self.write_conflict(number, new, place, reason, false),
                (None, Some(known)) => {
                    self.view.out.count("conflicts", -1);
                    let conflict = ConflictRow {
                        resolved: true,
                        ..known
                    };
                    self.put_conflict(&key, &conflict);
                }
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn put_conflict(&mut self, key: &[u8; 17], conflict: &ConflictRow) {
        self.view.put(
            row::CONFLICT,
            Bytes::copy_from_slice(key),
            row::encode(conflict),
        );
    }
}

fn done(first: u32, others: BTreeSet<u32>) -> Outcome {
    let others = others.into_iter().filter(|no| *no != first);
    Outcome::Done {
        members: [first].into_iter().chain(others).map(MemberNo).collect(),
    }
}

impl From<Refusal> for Outcome {
    fn from(Refusal(code, message, hint): Refusal) -> Outcome {
        Outcome::Refused {
            code: code.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}
