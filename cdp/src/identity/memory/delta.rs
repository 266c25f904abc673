//! What a batch changed, as bytes: to bring other memory to the same state without deciding; and what a checkpoint keeps
//! beside the arrays.

use std::sync::Arc;

use actors::machine::RowsError;
use actors::memfile::Plain;
use serde::{Deserialize, Serialize};

use super::{BY_FP, IDENTS, LINKS, MEMBERS, Memory, Small};
use crate::identity::fold::Pairs;
use crate::identity::memory::{Ident, Member};
use crate::identity::rules::Rules;
use crate::identity::table::Fp;

/// Instead of a number: the identifier was erased. Numbers stay below it.
pub(super) const REMOVED: u32 = u32::MAX;

#[derive(Serialize, Deserialize)]
struct Delta {
    small: Small,
    rules: Option<Box<str>>,
    fps: Vec<(Fp, u32)>,
    idents: Vec<(u32, [u32; 4])>,
    members: Vec<(u32, [u32; 4])>,
    links: Vec<Fp>,
    seen: Vec<Fp>,
    pairs: Vec<((u32, u32), Option<u32>)>,
}

/// Beside the arrays.
#[derive(Serialize, Deserialize)]
struct Blob {
    key_check: u64,
    small: Small,
    rules: Box<str>,
    separations: Pairs,
}

impl Memory {
    /// The batch's delta.
    pub(in crate::identity) fn delta(&mut self) -> Vec<u8> {
        let (idents, members) = self.touched();
        let delta = Delta {
            small: self.small.clone(),
            rules: (self.batch.rules_changed).then(|| self.rules.to_json().into()),
            fps: std::mem::take(&mut self.batch.fps),
            idents: idents
                .into_iter()
                .map(|no| (no, self.ident(no).into_words()))
                .collect(),
            members: members
                .into_iter()
                .map(|no| (no, self.member(no).into_words()))
                .collect(),
            links: std::mem::take(&mut self.batch.links),
            seen: std::mem::take(&mut self.batch.seen),
            pairs: self
                .batch
                .pairs_before
                .iter()
                .map(|(pair, _)| (*pair, self.separations.get(pair).copied()))
                .collect(),
        };
        postcard::to_stdvec(&delta).expect("our own types always serialise")
    }

    /// The batch is decided: it can no longer be taken back.
    pub(in crate::identity) fn commit(&mut self) {
        self.file.commit();
        self.batch = super::Batch::default();
    }

    /// Applies another batch's delta.
    pub(in crate::identity) fn absorb(&mut self, delta: &[u8]) -> Result<(), RowsError> {
        let damaged = |what: String| RowsError(format!("identity delta: {what}"));
        let delta: Delta = postcard::from_bytes(delta).map_err(|e| damaged(e.to_string()))?;
        self.file.commit();
        self.follow(&delta.small.seen);
        self.small = delta.small;
        if let Some(json) = delta.rules {
            let rules = Rules::parse(&json).map_err(|_| damaged("rules".to_owned()))?;
            self.rules = Arc::new(rules);
        }
        self.refresh_rules();
        for (fp, no) in &delta.fps {
            match *no {
                REMOVED => BY_FP.remove(&mut self.file, fp),
                no => BY_FP.insert(&mut self.file, fp, Some(no)),
            };
        }
        for (no, words) in delta.idents {
            IDENTS.set(&mut self.file, no.into(), Ident::from_words(words));
        }
        for (no, words) in delta.members {
            MEMBERS.set(&mut self.file, no.into(), Member::from_words(words));
        }
        for fp in &delta.links {
            LINKS.insert(&mut self.file, fp, None);
        }
        if let Some(current) = self.small.seen.live.back().map(|current| current.number) {
            for fp in &delta.seen {
                self.absorb_seen(current, fp);
            }
        }
        for (pair, unmerge) in delta.pairs {
            match unmerge {
                Some(unmerge) => self.separations.insert(pair, unmerge),
                None => self.separations.remove(&pair),
            };
        }
        Ok(())
    }

    /// What a checkpoint keeps beside the arrays.
    pub(in crate::identity) fn blob(&self) -> Vec<u8> {
        let blob = Blob {
            key_check: self.key_check(),
            small: self.small.clone(),
            rules: self.rules.to_json().into(),
            separations: self.separations.clone(),
        };
        postcard::to_stdvec(&blob).expect("our own types always serialise")
    }

    /// Takes a checkpoint's blob back. The error says why it is of no use.
    pub(in crate::identity) fn restore(&mut self, blob: &[u8]) -> Result<(), String> {
        let blob: Blob = postcard::from_bytes(blob).map_err(|error| error.to_string())?;
        if blob.key_check != self.key_check() {
            return Err("the memory belongs to another installation key".to_owned());
        }
        let rules = Rules::parse(&blob.rules).map_err(|_| "the rules do not read".to_owned())?;
        self.small = blob.small;
        self.rules = Arc::new(rules);
        self.separations = blob.separations;
        self.refresh_rules();
        Ok(())
    }

    // ---- rebuilding from rows, entry by entry

    pub(in crate::identity) fn put_ident(&mut self, no: u32, ident: Ident) {
        IDENTS.set(&mut self.file, no.into(), ident);
    }

    /// `fp`: of its text.
    pub(in crate::identity) fn put_fp(&mut self, fp: &Fp, no: u32) {
        BY_FP.insert(&mut self.file, fp, Some(no));
    }

    pub(in crate::identity) fn put_member(&mut self, no: u32, member: Member) {
        MEMBERS.set(&mut self.file, no.into(), member);
    }

    pub(in crate::identity) fn put_link(&mut self, fp: &Fp) {
        LINKS.insert(&mut self.file, fp, None);
    }

    pub(in crate::identity) fn put_seen(&mut self, generation: u32, fp: &Fp) {
        self.absorb_seen(generation, fp);
    }

    pub(in crate::identity) fn put_small(&mut self, small: Small, rules: Rules) {
        self.small = small;
        self.rules = Arc::new(rules);
        self.refresh_rules();
    }
}
