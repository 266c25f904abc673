//! Uploaded lists on their way to the engine.
//!
//! The registry keeps entries as fingerprints, with the number of the identifier once somebody has it. The engine is told
//! numbers: an identifier is a fragment, so merges and unmerges move entries by themselves. What nobody has yet waits here
//! as fingerprints; numbers of identifiers only grow, so in each round only new ones are looked at, in the same snapshot
//! as everything else: an entry takes effect with the event that brings its identifier, not a while later.
//!
//! A crash loses nothing: up to where identifiers were looked at is kept (a little late), and what lies behind it is looked
//! at again. Memory: a bit per matched entry, [`WAITING_BYTES`] per waiting one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use actors::machine::{Rows, RowsError};
use actors::model::{IdentNo, MemberNo};
use actors::registry::{Print, Registry, RegistryError};
use actors::store::{Direction, Snapshot};
use cdp::audience::{Change, Engine};
use cdp::identity::row::{self, IdentRow, MemberRow};
use parking_lot::Mutex;

use super::AudienceError;

/// Entries read at once.
const PAGE: u32 = 10_000;

/// Found entries written in one transaction.
const FOUND_MAX: usize = 2_000;

/// How far identifiers were looked at is kept this often: after a crash as many are looked at again.
const KEEP_EVERY: Duration = Duration::from_secs(20);

/// Bytes of a waiting entry: its fingerprint, in a table that is at worst half full.
pub const WAITING_BYTES: usize = 40;

/// Lists that are at work, and the version of their entries.
pub type ListBook = BTreeMap<i64, i64>;

/// What is known of lists.
#[derive(Default)]
pub(super) struct Lists {
    key: Option<[u8; 32]>,
    known: ListBook,
    waiting: HashSet<Print>,
    /// Waiting entries were held against all identifiers below.
    next: u32,
    /// The same, as kept.
    kept: u32,
    kept_at: Option<Instant>,
}

impl Lists {
    /// Forgets everything: the engine is a new one.
    pub fn reset(&mut self) {
        *self = Lists {
            key: self.key,
            ..Lists::default()
        };
    }

    /// Nothing came, changed or went.
    pub fn is_known(&self, book: &ListBook) -> bool {
        self.known == *book
    }

    /// Gives the engine the lists that came, changed or went.
    pub async fn follow(
        &mut self,
        book: &ListBook,
        registry: &Registry,
        rows: &Snapshot,
        engine: &Mutex<Engine>,
    ) -> Result<(), AudienceError> {
        let gone: Vec<i64> = (self.known.keys())
            .filter(|list| !book.contains_key(list))
            .copied()
            .collect();
        for list in gone {
            give(engine, list, &[]);
            self.known.remove(&list);
        }
        for (list, version) in book {
            if self.known.get(list) != Some(version) {
                self.read(*list, registry, rows, engine).await?;
                self.known.insert(*list, *version);
            }
        }
        Ok(())
    }

    async fn read(
        &mut self,
        list: i64,
        registry: &Registry,
        rows: &Snapshot,
        engine: &Mutex<Engine>,
    ) -> Result<(), AudienceError> {
        let mut idents: Vec<IdentNo> = Vec::new();
        let mut after = None;
        let mut waits = false;
        let nobody_waited = self.waiting.is_empty();
        loop {
            let page = registry.list_entry_page(list, after, PAGE).await?;
            let full = page.len() == PAGE as usize;
            after = page.last().map(|entry| entry.print);
            for entry in page {
                match entry.ident {
                    Some(ident) => idents.push(ident),
                    None => {
                        waits = true;
                        self.waiting.insert(entry.print);
                    }
                }
            }
            if !full {
                break;
            }
        }
        // Whoever was erased while nobody listened has no identifier any more, and the list must not remember it.
        let mut erased = Vec::new();
        let homeless: Vec<IdentNo> = {
            let engine = engine.lock();
            let all = idents.iter().copied();
            all.filter(|ident| engine.member_of(*ident).is_none())
                .collect()
        };
        for ident in homeless {
            if rows.get(row::IDENT, &row::key32(ident.0))?.is_none() {
                erased.push(ident);
            }
        }
        if !erased.is_empty() {
            registry.list_entry_forget(&erased, &[]).await?;
            let erased: BTreeSet<IdentNo> = erased.into_iter().collect();
            idents.retain(|ident| !erased.contains(ident));
        }
        if waits {
            let looked = registry.list_looked(list).await?;
            self.next = match nobody_waited {
                true => looked,
                false => self.next.min(looked),
            };
            self.kept = self.kept.min(self.next);
        }
        idents.sort_unstable();
        give(engine, list, &idents);
        tracing::info!(list, entries = idents.len(), "a list is at work");
        Ok(())
    }

    /// Looks at identifiers that are new in a snapshot.
    pub async fn look(
        &mut self,
        registry: &Registry,
        rows: &Snapshot,
        engine: &Mutex<Engine>,
    ) -> Result<(), AudienceError> {
        if self.known.is_empty() {
            return Ok(());
        }
        let mut found: Vec<(Print, IdentNo)> = Vec::new();
        let mut next = self.next;
        if self.waiting.is_empty() {
            next = next_ident(rows)?;
        } else {
            let key = match self.key {
                Some(key) => key,
                None => *self.key.insert(registry.list_key().await?),
            };
            let from = row::key32(next);
            let waiting = &self.waiting;
            Rows::scan_from(rows, row::IDENT, &[], &from, &mut |number, value| {
                let Ok(number) = <[u8; 4]>::try_from(number) else {
                    return true;
                };
                let ident = IdentNo(u32::from_be_bytes(number));
                next = ident.0.saturating_add(1);
                if let Ok(row) = row::decode::<IdentRow>(row::IDENT, value) {
                    let print = cdp::list::print(&key, &row.identifier);
                    if waiting.contains(&print) {
                        found.push((print, ident));
                    }
                }
                true
            })?;
        }
        for found in found.chunks(FOUND_MAX) {
            let entries = registry.list_entry_found(found).await?;
            let mut engine = engine.lock();
            for (list, fragment) in entries {
                if self.known.contains_key(&list) {
                    engine.apply(Change::Listed {
                        list: &list.to_string(),
                        fragment,
                    });
                }
            }
        }
        for (print, _) in &found {
            self.waiting.remove(print);
        }
        self.next = next;
        self.keep(registry).await
    }

    async fn keep(&mut self, registry: &Registry) -> Result<(), AudienceError> {
        let due = self.kept_at.is_none_or(|at| at.elapsed() >= KEEP_EVERY);
        if self.next > self.kept && due {
            let lists: Vec<i64> = self.known.keys().copied().collect();
            registry.list_looked_advance(&lists, self.next).await?;
            self.kept = self.next;
            self.kept_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Entries that wait for somebody, in all lists.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

fn give(engine: &Mutex<Engine>, list: i64, fragments: &[IdentNo]) {
    engine.lock().apply(Change::List {
        list: &list.to_string(),
        fragments,
    });
}

/// One more than the highest number of an identifier.
pub fn next_ident(rows: &Snapshot) -> Result<u32, RowsError> {
    let mut next = 0;
    rows.scan_from(row::IDENT, &[], None, Direction::Down, &mut |number, _| {
        if let Ok(number) = <[u8; 4]>::try_from(number) {
            next = u32::from_be_bytes(number).saturating_add(1);
        }
        false
    })?;
    Ok(next)
}

/// Which of some lists a member is in, by its identifiers: read from rows and entries, apart from the engine.
pub async fn lists_of(
    registry: &Registry,
    rows: &Snapshot,
    member: MemberNo,
    lists: &[i64],
) -> Result<BTreeSet<Box<str>>, AudienceError> {
    let known = row::get::<MemberRow>(rows, row::MEMBER, &row::key32(member.0))?;
    let Some(known) = known.filter(|_| !lists.is_empty()) else {
        return Ok(BTreeSet::new());
    };
    let key = registry.list_key().await?;
    let mut prints = Vec::new();
    for ident in row::fragments_of(rows, &known)? {
        let ident: Option<IdentRow> = row::get(rows, row::IDENT, &row::key32(ident.0))?;
        prints.extend(ident.map(|ident| cdp::list::print(&key, &ident.identifier)));
    }
    let found = registry.list_entry_lists(&prints, lists).await?;
    Ok(found
        .into_iter()
        .map(|list| list.to_string().into())
        .collect())
}

impl super::Audience {
    /// Which of the lists that plans name a member is in: those at work only.
    pub async fn lists_of(
        &self,
        rows: &Snapshot,
        member: MemberNo,
        plans: &[&cdp::rule::Plan],
    ) -> Result<BTreeSet<Box<str>>, AudienceError> {
        let lists: Vec<i64> = {
            let book = self.inner.book.lock();
            let reads = plans.iter().flat_map(|plan| plan.reads());
            reads
                .filter_map(|read| match read {
                    cdp::rule::Read::List(id) => id.parse().ok(),
                    _ => None,
                })
                .filter(|list| book.lists.contains_key(list))
                .collect()
        };
        lists_of(self.inner.platform.registry(), rows, member, &lists).await
    }
}

/// Takes away lists whose upload a crash has broken off: nobody will send the rest. Answers how many. To be called before
/// anybody can upload.
pub async fn remove_unfinished(
    registry: &Registry,
    now: actors::model::Time,
) -> Result<usize, RegistryError> {
    let scope = actors::model::Scope::installation();
    let author = actors::registry::Author {
        scope: &scope,
        by: "start",
        from: "",
        now,
    };
    let mut gone = 0;
    for list in registry.resource_all(&scope, super::book::LIST).await? {
        if list.state == LOADING {
            registry
                .resource_delete(author, super::book::LIST, list.id, None)
                .await?;
            registry.list_entry_clear(list.id).await?;
            gone += 1;
        }
    }
    Ok(gone)
}

/// State of a list of which not all entries are there.
pub const LOADING: &str = "loading";
