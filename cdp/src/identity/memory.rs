//! Identity's memory: who belongs to whom, in flat arrays of a memory file.
//!
//! Identifiers and members are arrays by number; the identifiers of a member form a ring in order of number, and so do all
//! numbers that stand for one member. A table finds an identifier's number by its keyed fingerprint; sets remember known
//! links and messages. Everything here is derived from rows and can be rebuilt from them ([`super::rebuild`]).
//!
//! Invariant: an array entry and its row are the same words, and the order within rings is canonical, so memory that
//! absorbed deltas, memory that decided, and memory rebuilt from rows are equal ([`Memory::digest`]).

mod delta;
mod entry;
mod seen;

use std::sync::Arc;

use actors::machine::Counters;
use actors::memfile::{MemFile, MemVec};
use actors::model::{IdentNo, Identifier, MemberNo, Time};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use entry::{Ident, Member};
pub use seen::{Dedup, Generation};

use super::fold::{Pairs, Part};
use super::rules::{KindRule, ORDER_KIND, Rules};
use super::table::{ByIdent, Fp, InSet, SUBS, Table};

/// Sections: heads of tables, identifiers, members, then the tables' own.
const HEADS: usize = 0;
const IDENTS: MemVec<Ident, 4> = MemVec::new(1);
const MEMBERS: MemVec<Member, 4> = MemVec::new(2);
const BY_FP: Table<ByIdent, 4> = Table::new(HEADS, 0, 3);
const LINKS: Table<InSet, 2> = Table::new(HEADS, SUBS as u64, 3 + SUBS);
const SEEN_SECTION: usize = 3 + 2 * SUBS;
/// Sections in all.
pub(super) const SECTIONS: usize = SEEN_SECTION + seen::SLOTS * SUBS;

/// Kind number of orders.
pub const ORDER_KIND_NO: u8 = 0;
/// Kind numbers are bytes; identifiers of further kinds point to nobody.
const KINDS_MAX: usize = 256;

/// Counters and lists that are small enough to be kept whole with every batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Small {
    pub idents: u32,
    pub members: u32,
    pub links: u64,
    pub moves: u64,
    pub unmerges: u32,
    pub now: Time,
    pub rules_version: u32,
    /// Kind names by number; never renumbered.
    pub kinds: Vec<Box<str>>,
    pub seen: seen::Generations,
}

impl Default for Small {
    fn default() -> Self {
        Small {
            idents: 0,
            members: 0,
            links: 0,
            moves: 0,
            unmerges: 0,
            now: Time::MIN,
            rules_version: 0,
            kinds: vec![ORDER_KIND.into()],
            seen: seen::Generations::default(),
        }
    }
}

/// See the module.
pub struct Memory {
    pub(super) file: MemFile,
    pub(super) small: Small,
    pub(super) rules: Arc<Rules>,
    pub(super) separations: Pairs,
    key: [u8; 32],
    kind_rules: Vec<KindRule>,
    batch: Batch,
}

/// What a batch changed, and what it needs to be undone.
#[derive(Default)]
struct Batch {
    small: Small,
    rules: Option<Arc<Rules>>,
    rules_changed: bool,
    /// Pairs as they were before.
    pairs_before: Vec<((u32, u32), Option<u32>)>,
    idents: Vec<u32>,
    members: Vec<u32>,
    fps: Vec<(Fp, u32)>,
    links: Vec<Fp>,
    seen: Vec<Fp>,
    counts: [i64; 2],
}

/// What is hashed, so that equal bytes of different sorts never meet.
#[derive(Clone, Copy)]
enum Domain {
    Ident = 1,
    Link = 2,
    Conflict = 3,
    Message = 4,
    DeadMessage = 5,
}

impl Memory {
    /// Empty memory on `file`. `key` is the installation's; with another one nothing is found again.
    pub(super) fn new(file: MemFile, key: [u8; 32]) -> Memory {
        let mut memory = Memory {
            file,
            small: Small::default(),
            rules: Arc::new(Rules::shipped()),
            separations: Pairs::new(),
            key,
            kind_rules: Vec::new(),
            batch: Batch::default(),
        };
        memory.refresh_rules();
        memory
    }

    /// Starts a batch at `now`.
    pub(super) fn begin(&mut self, now: Time, dedup: &Dedup) -> u64 {
        self.file.commit();
        let dropped = self.advance(now, dedup);
        self.file.begin();
        self.batch = Batch {
            small: self.small.clone(),
            rules: Some(self.rules.clone()),
            ..Batch::default()
        };
        dropped
    }

    /// Forgets the batch.
    pub(super) fn rollback(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let Some(rules) = batch.rules else {
            return;
        };
        self.file.rollback();
        self.small = batch.small;
        self.rules = rules;
        self.refresh_rules();
        for (pair, before) in batch.pairs_before.into_iter().rev() {
            match before {
                Some(unmerge) => self.separations.insert(pair, unmerge),
                None => self.separations.remove(&pair),
            };
        }
    }

    /// Takes rules into force.
    pub(super) fn set_rules(&mut self, version: u32, rules: Rules) {
        self.small.rules_version = version;
        self.rules = Arc::new(rules);
        self.batch.rules_changed = true;
        self.refresh_rules();
    }

    pub(super) fn rules_changed(&self) -> bool {
        self.batch.rules_changed
    }

    fn refresh_rules(&mut self) {
        let kinds = self.small.kinds.iter();
        self.kind_rules = kinds.map(|kind| self.rules.kind(kind)).collect();
    }

    /// The number of a kind; given when first seen. `None`: all numbers are taken.
    pub(super) fn kind_no(&mut self, kind: &str) -> Option<u8> {
        let known = self.small.kinds.iter().position(|known| **known == *kind);
        if known.is_none() && self.small.kinds.len() < KINDS_MAX {
            self.small.kinds.push(kind.into());
            self.kind_rules.push(self.rules.kind(kind));
            return Some((self.small.kinds.len() - 1) as u8);
        }
        known.map(|number| number as u8)
    }

    /// What the rules say of a kind.
    pub(super) fn kind_rule(&self, kind: u8) -> KindRule {
        self.kind_rules[usize::from(kind)]
    }

    // ---- fingerprints

    /// Fingerprint of a normalised identifier.
    pub(super) fn fp_of(&self, identifier: &Identifier) -> Fp {
        let Identifier { kind, scope, value } = identifier;
        let lens = [kind.len() as u16, scope.len() as u16];
        let (kind_len, scope_len) = (lens[0].to_le_bytes(), lens[1].to_le_bytes());
        self.fingerprint(
            Domain::Ident,
            &[
                &kind_len,
                &scope_len,
                kind.as_bytes(),
                scope.as_bytes(),
                value.as_bytes(),
            ],
        )
    }

    /// Fingerprint of a list of identifiers in order.
    pub(super) fn link_fp(&self, list: &[u32], once: bool) -> Fp {
        let mut bytes: SmallVec<[u8; 32]> = list.iter().flat_map(|no| no.to_le_bytes()).collect();
        // The same list under another mode is another link: what 1.0 refused, 2.0 may join.
        bytes.extend(once.then_some(1));
        self.fingerprint(Domain::Link, &[&bytes])
    }

    /// Fingerprint of "this owner's link left that identifier out".
    pub(super) fn conflict_fp(&self, owner: u32, other: u32) -> Fp {
        self.fingerprint(
            Domain::Conflict,
            &[&owner.to_le_bytes(), &other.to_le_bytes()],
        )
    }

    /// Fingerprint of a message; those of dead letters are apart, because a dead one does not count.
    pub(super) fn message_fp(&self, source: u32, message_id: &str, dead: bool) -> Fp {
        let domain = if dead {
            Domain::DeadMessage
        } else {
            Domain::Message
        };
        self.fingerprint(domain, &[&source.to_le_bytes(), message_id.as_bytes()])
    }

    fn fingerprint(&self, domain: Domain, parts: &[&[u8]]) -> Fp {
        let mut text: SmallVec<[u8; 128]> = SmallVec::new();
        text.push(domain as u8);
        for part in parts {
            text.extend_from_slice(part);
        }
        let hash = blake3::keyed_hash(&self.key, &text);
        let words = hash.as_bytes();
        std::array::from_fn(|i| {
            u32::from_le_bytes(words[i * 4..i * 4 + 4].try_into().expect("four bytes"))
        })
    }

    /// A short public check that memory belongs to this key.
    pub(super) fn key_check(&self) -> u64 {
        let hash = blake3::keyed_hash(&self.key, b"identity memory");
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"))
    }

    // ---- entries

    pub(super) fn find(&self, fp: &Fp) -> Option<u32> {
        BY_FP.find(&self.file, fp).map(|slot| slot[3])
    }

    pub(super) fn ident(&self, no: u32) -> Ident {
        IDENTS.get(&self.file, no.into())
    }

    pub(super) fn member(&self, no: u32) -> Member {
        MEMBERS.get(&self.file, no.into())
    }

    /// Gives an identifier its number.
    pub(super) fn add_ident(&mut self, fp: Fp, ident: Ident) -> u32 {
        let no = self.small.idents;
        self.small.idents += 1;
        BY_FP.insert(&mut self.file, &fp, Some(no));
        self.batch.fps.push((fp, no));
        self.set_ident(no, ident);
        no
    }

    /// Forgets which number an identifier has; its entry stays, marked.
    pub(super) fn erase_ident(&mut self, fp: Fp, no: u32) {
        BY_FP.remove(&mut self.file, &fp);
        self.batch.fps.push((fp, delta::REMOVED));
        let ident = self.ident(no);
        self.set_ident(
            no,
            Ident {
                flags: ident.flags | Ident::ERASED,
                ..ident
            },
        );
    }

    /// Gives a member number.
    pub(super) fn add_member(&mut self, member: Member) -> u32 {
        let no = self.small.members;
        self.small.members += 1;
        self.set_member(no, Member { next: no, ..member });
        no
    }

    pub(super) fn set_ident(&mut self, no: u32, ident: Ident) {
        IDENTS.set(&mut self.file, no.into(), ident);
        if self.batch.idents.last() != Some(&no) {
            self.batch.idents.push(no);
        }
    }

    pub(super) fn set_member(&mut self, no: u32, member: Member) {
        for (state, by) in [(self.member(no).counted(), -1), (member.counted(), 1)] {
            if let Some(counter) = state {
                self.batch.counts[counter as usize] += by;
            }
        }
        MEMBERS.set(&mut self.file, no.into(), member);
        if self.batch.members.last() != Some(&no) {
            self.batch.members.push(no);
        }
    }

    /// The identifiers of a member, in order of number. Empty for homes of orders.
    pub(super) fn ring(&self, member: u32) -> SmallVec<[u32; 8]> {
        let mut ring = SmallVec::new();
        let start = self.member(member).anchor;
        if self.ident(start).is_order() {
            return ring;
        }
        let mut no = start;
        loop {
            ring.push(no);
            no = self.ident(no).next;
            if no == start {
                break;
            }
        }
        ring.sort_unstable();
        ring
    }

    /// All numbers that stand for a member, in order.
    pub(super) fn numbers(&self, member: u32) -> SmallVec<[u32; 4]> {
        let mut ring = SmallVec::new();
        let mut no = member;
        loop {
            ring.push(no);
            no = self.member(no).next;
            if no == member {
                break;
            }
        }
        ring.sort_unstable();
        ring
    }

    /// What the fold needs of an identifier.
    pub(super) fn part(&self, no: u32) -> Part {
        let ident = self.ident(no);
        Part {
            no,
            kind: ident.kind,
            scope: ident.scope,
        }
    }

    /// The member of an identifier; of an order, that of what it is attached to.
    pub(super) fn member_of(&self, no: u32) -> u32 {
        let ident = self.ident(no);
        match ident.attached() {
            Some(IdentNo(attached)) => self.ident(attached).member,
            None => ident.member,
        }
    }

    /// The member that a number stands for. `None`: it was never given.
    pub(super) fn resolve(&self, member: MemberNo) -> Option<u32> {
        if member.0 >= self.small.members {
            return None;
        }
        let entry = self.member(member.0);
        match entry.is_live() {
            true => Some(member.0),
            false => Some(self.member_of(entry.anchor)),
        }
    }

    // ---- links and pairs

    pub(super) fn knows_link(&self, fp: &Fp) -> bool {
        LINKS.find(&self.file, fp).is_some()
    }

    /// Remembers a link (or a counted conflict). `false`: known already.
    pub(super) fn add_link(&mut self, fp: Fp) -> bool {
        let new = LINKS.insert(&mut self.file, &fp, None);
        if new {
            self.batch.links.push(fp);
        }
        new
    }

    /// Takes a pair apart (`Some(unmerge)`) or lifts that (`None`).
    pub(super) fn set_pair(&mut self, pair: (u32, u32), unmerge: Option<u32>) {
        let before = match unmerge {
            Some(unmerge) => self.separations.insert(pair, unmerge),
            None => self.separations.remove(&pair),
        };
        self.batch.pairs_before.push((pair, before));
    }

    // ---- what a batch touched

    /// Identifiers and members that the batch changed, each once, in order.
    pub(super) fn touched(&mut self) -> (Vec<u32>, Vec<u32>) {
        for list in [&mut self.batch.idents, &mut self.batch.members] {
            list.sort_unstable();
            list.dedup();
        }
        (self.batch.idents.clone(), self.batch.members.clone())
    }

    /// Changes of the counters `members` and `visitors`.
    pub(super) fn count(&self, counters: &mut Counters) {
        for (name, by) in ["members", "visitors"].iter().zip(self.batch.counts) {
            if by != 0 {
                *counters.entry((*name).into()).or_default() += by;
            }
        }
    }

    /// Messages that the batch remembered.
    pub(super) fn batch_seen(&self) -> &[Fp] {
        &self.batch.seen
    }

    /// A digest over everything that the memory holds, independent of how it came to hold it.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new();
        let small = postcard::to_stdvec(&self.small).expect("our own types always serialise");
        hash.update(&small);
        hash.update(self.rules.to_json().as_bytes());
        for no in 0..self.small.idents {
            for word in actors::memfile::Plain::into_words(self.ident(no)) {
                hash.update(&word.to_le_bytes());
            }
        }
        for no in 0..self.small.members {
            for word in actors::memfile::Plain::into_words(self.member(no)) {
                hash.update(&word.to_le_bytes());
            }
        }
        for (pair, unmerge) in &self.separations {
            for word in [pair.0, pair.1, *unmerge] {
                hash.update(&word.to_le_bytes());
            }
        }
        // Tables hold sets: their layout depends on the order of insertion, so their entries are added up.
        let mut sum = Sum::default();
        BY_FP.each(&self.file, |sub, entry| sum.add(1, sub, &entry));
        LINKS.each(&self.file, |sub, entry| sum.add(2, sub, &entry));
        for generation in self.small.seen.tables() {
            generation.each(&self.file, |sub, entry| sum.add(3, sub, &entry));
        }
        hash.update(&sum.0.to_le_bytes());
        *hash.finalize().as_bytes()
    }

    /// Empties it, whatever it held.
    pub(super) fn wipe(&mut self) {
        for section in 0..SECTIONS {
            self.file.clear(section);
        }
    }

    /// The owner of a list of identifiers that was seen before: what the writer does for most events.
    pub(super) fn resolve_known(&self, sent: &[Identifier]) -> Option<MemberNo> {
        let mut fps: SmallVec<[Fp; 8]> = SmallVec::new();
        for identifier in sent {
            fps.push(self.fp_of(&self.rules.normalise(identifier).ok()?));
        }
        let found: SmallVec<[Option<u32>; 8]> = fps.iter().map(|fp| self.find(fp)).collect();
        let list: SmallVec<[u32; 8]> = found.into_iter().collect::<Option<_>>()?;
        if list.len() > 1 && !self.knows_link(&self.link_fp(&list, false)) {
            return None;
        }
        self.ident(*list.first()?).member()
    }

    /// Bytes that the next checkpoint writes, once.
    pub(super) fn dirty_bytes(&self) -> u64 {
        self.file.dirty_bytes()
    }

    /// Bytes in memory: all, and of those the de-duplication memory.
    pub fn bytes(&self) -> (u64, u64) {
        (self.file.bytes(), self.seen_bytes())
    }
}

/// Adds up hashes of entries.
#[derive(Default)]
struct Sum(u128);

impl Sum {
    fn add(&mut self, table: u32, sub: usize, entry: &[u32]) {
        let mut hash = blake3::Hasher::new();
        for word in [table, sub as u32].iter().chain(entry) {
            hash.update(&word.to_le_bytes());
        }
        let bytes = hash.finalize();
        let half = bytes.as_bytes()[..16].try_into().expect("sixteen bytes");
        self.0 = self.0.wrapping_add(u128::from_le_bytes(half));
    }
}
