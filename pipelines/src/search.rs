//! The search index at work: a thread that puts changed members in, and whoever asks.
//!
//! It stands behind the row store: the write-behind thread notes whose rows changed, this thread reads those members from a
//! snapshot and commits them with the snapshot's position. At start it reads what was committed behind that position from the
//! result log; where that is gone, or the index is new, it goes over all members once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actors::machine::{Rows, RowsError};
use actors::model::{BrandSet, MemberNo, Offset, Scope, TagId};
use actors::runtime::background::{self, Niceness};
use actors::runtime::feed::FeedError;
use actors::store::{Committed, StoreError};
use cdp::definition::AttributeSchema;
use cdp::identity::row::{self, IdentRow, MemberRow, MemberState};
use cdp::profile::Value;
use cdp::profile::concluded::tags;
use cdp::profile::row::TAGS;
use cdp::profile::view::{View, member_facts};
use parking_lot::Mutex;
pub use query::search::SearchError;
use query::search::terms::{self, Terms};
use query::search::{Index, MemberText, Searcher};

use crate::audience::book::schema_of;
use crate::audience::changes::{Changed, Changes};
use crate::platform::Platform;

/// Shortest time between two commits: one costs some ten milliseconds and a small file, and people type slower.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// Members whose rows are read from one snapshot: a snapshot keeps old rows on disk.
const SNAPSHOT_MEMBERS: usize = 20_000;

/// Attributes that hold a person's name: found by pinyin.
const NAMES: &[&str] = &[
    "name",
    "full_name",
    "nickname",
    "real_name",
    "first_name",
    "last_name",
    "姓名",
    "昵称",
];

/// Why the thread has to begin a step again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    Rows(#[from] RowsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Feed(#[from] FeedError),
}

/// The index, its thread, and its readers.
pub struct Search {
    shared: Arc<Shared>,
    searcher: Searcher,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    changes: Arc<Changes>,
    stop: AtomicBool,
    /// Results below this offset are searchable; for waiting.
    reached: tokio::sync::watch::Sender<u64>,
    /// Members gone over in the present sweep; `u64::MAX`: none is under way.
    swept: AtomicU64,
}

/// How far the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Members in it.
    pub members: u64,
    /// Results below this offset are in it.
    pub position: u64,
    /// Members gone over, while all are.
    pub sweep: Option<u64>,
}

impl Search {
    /// Opens the platform's index and starts its thread.
    pub fn start(platform: Arc<Platform>) -> Result<Search, SearchError> {
        let dir = platform.layout().search();
        let index = Index::open(&dir)?;
        let changes: Arc<Changes> = Arc::default();
        let noted = changes.clone();
        platform
            .rows()
            .writer()
            .watch(Box::new(move |frames| noted.note(frames)));
        let searcher = index.searcher();
        let shared = Arc::new(Shared {
            changes,
            stop: AtomicBool::new(false),
            reached: tokio::sync::watch::Sender::new(index.position().unwrap_or(0)),
            swept: AtomicU64::new(u64::MAX),
        });
        let work = Work {
            index,
            platform,
            shared: shared.clone(),
        };
        let thread = background::spawn("search", Niceness::Lags, move || work.run())
            .map_err(|source| SearchError::Io { path: dir, source })?;
        Ok(Search {
            shared,
            searcher,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Reads the last commit.
    pub fn searcher(&self) -> &Searcher {
        &self.searcher
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let swept = self.shared.swept.load(Ordering::Relaxed);
        Progress {
            members: self.searcher.members(),
            position: *self.shared.reached.borrow(),
            sweep: (swept != u64::MAX).then_some(swept),
        }
    }

    /// Waits until results below `until` are searchable; `false` if that takes longer than `limit`.
    pub async fn wait(&self, until: Offset, limit: Duration) -> bool {
        let mut reached = self.shared.reached.subscribe();
        let there = reached.wait_for(|reached| *reached >= until.0);
        matches!(tokio::time::timeout(limit, there).await, Ok(Ok(_)))
    }

    /// Ends the thread; what is not committed is put in again at the next start.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.changes.wake();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the search thread ended in a panic");
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    index: Index,
    platform: Arc<Platform>,
    shared: Arc<Shared>,
}

impl Work {
    fn run(mut self) {
        let mut changed = match self.behind() {
            Ok(changed) => changed,
            Err(error) => {
                tracing::warn!(%error, "the search index cannot be caught up: going over all members");
                everybody()
            }
        };
        let mut seen = Offset(0);
        while !self.stopping() {
            if let Err(error) = self.step(&changed) {
                tracing::error!(%error, "search index: trying all members again");
                changed = everybody();
                self.pause(Instant::now() + COMMIT_EVERY);
                continue;
            }
            seen = seen.max(changed.until);
            let next = Instant::now() + COMMIT_EVERY;
            self.shared.changes.wait(seen, next + COMMIT_EVERY);
            self.pause(next);
            changed = self.shared.changes.take();
        }
    }

    fn stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// Lets changes gather until `next`.
    fn pause(&self, next: Instant) {
        while !self.stopping() {
            let Some(left) = next.checked_duration_since(Instant::now()) else {
                return;
            };
            std::thread::park_timeout(left.min(Duration::from_millis(50)));
        }
    }

    /// Members changed behind the index's position, by the result log; everybody if the index is new.
    fn behind(&self) -> Result<Changed, StepError> {
        let Some(from) = self.index.position() else {
            return Ok(everybody());
        };
        let snapshot = self.platform.rows().snapshot()?;
        let until = end(snapshot.at());
        let changes = Changes::default();
        let frames = self.platform.node().shared();
        for offset in (from..until.0).map(Offset) {
            let frame = frames.feeds.frame(offset)?;
            let Some(inner) = frame.inner(&*frames.sealer).map_err(FeedError::from)? else {
                return Ok(everybody()); // Its day's key is gone.
            };
            changes.note(&[Committed {
                at: offset,
                header: frame.header.clone(),
                inner: Arc::new(inner),
                sent: frame.sent(frames.partitions),
            }]);
        }
        Ok(changes.take())
    }

    /// Puts changed members in and commits.
    fn step(&mut self, changed: &Changed) -> Result<(), StepError> {
        if changed.everybody {
            return self.sweep();
        }
        let mut position = None;
        for members in changed.members.chunks(SNAPSHOT_MEMBERS) {
            let snapshot = self.platform.rows().snapshot()?;
            // Later chunks are read later; what is committed is as new as the first.
            position = position.or(Some(end(snapshot.at())));
            let (schema, tagged) = (schema_of(&snapshot)?, any_tags(&snapshot)?);
            for &member in members {
                self.put(&snapshot, &schema, member, tagged)?;
            }
            if self.stopping() {
                return Ok(());
            }
        }
        let position = match position {
            Some(position) => position,
            None if changed.until.0 > self.index.position().unwrap_or(0) => changed.until,
            None => return Ok(()),
        };
        self.commit(position)
    }

    fn commit(&mut self, position: Offset) -> Result<(), StepError> {
        self.index.commit(position.0)?;
        self.shared.reached.send_replace(position.0);
        Ok(())
    }

    /// Goes over all members, then commits as of the beginning: what changed meanwhile is noted.
    fn sweep(&mut self) -> Result<(), StepError> {
        let began = end(self.platform.rows().snapshot()?.at());
        self.index.clear()?;
        let (mut next, mut swept) = (Some(0u32), 0u64);
        while let Some(from) = next {
            let snapshot = self.platform.rows().snapshot()?;
            let (schema, tagged) = (schema_of(&snapshot)?, any_tags(&snapshot)?);
            let mut members = Vec::new();
            Rows::scan_from(
                &snapshot,
                row::MEMBER,
                &[],
                &row::key32(from),
                &mut |key, _| {
                    members.extend(key.try_into().map(|key| MemberNo(u32::from_be_bytes(key))));
                    members.len() < SNAPSHOT_MEMBERS
                },
            )?;
            next = members
                .last()
                .filter(|_| members.len() == SNAPSHOT_MEMBERS)
                .and_then(|last| last.0.checked_add(1));
            for &member in &members {
                self.put(&snapshot, &schema, member, tagged)?;
            }
            swept += members.len() as u64;
            self.shared.swept.store(swept, Ordering::Relaxed);
            if self.stopping() {
                return Ok(());
            }
        }
        self.shared.swept.store(u64::MAX, Ordering::Relaxed);
        self.commit(began)
    }

    fn put(
        &mut self,
        rows: &dyn Rows,
        schema: &AttributeSchema,
        member: MemberNo,
        tagged: bool,
    ) -> Result<(), StepError> {
        let all_tags = |_: TagId| true;
        let sees_tag: Option<SeesTag<'_>> = if tagged { Some(&all_tags) } else { None };
        let Some(mut all) = text(rows, schema, member, &Scope::installation(), sees_tag)? else {
            self.index.remove(member);
            return Ok(());
        };
        // What one brand was told may differ from what counts for the group: its users find by what they see. Of somebody
        // with one brand they see all.
        let several = all.brands.len() > 1;
        for brand in all.brands.clone().into_iter().filter(|_| several) {
            let scope = Scope {
                brands: BrandSet::Only(vec![brand]),
                ..Scope::installation()
            };
            if let Some(own) = text(rows, schema, member, &scope, None)? {
                all.names.extend(own.names);
                all.texts.extend(own.texts);
            }
        }
        for list in [&mut all.names, &mut all.texts] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(self.index.put(&all)?)
    }
}

/// Whether anybody has a tag. Asked once of a snapshot, it saves a look for each member where nobody has.
pub fn any_tags(rows: &dyn Rows) -> Result<bool, RowsError> {
    let mut any = false;
    rows.scan(TAGS, &[], &mut |_, _| {
        any = true;
        false
    })?;
    Ok(any)
}

/// Whether somebody who searches sees a tag.
pub type SeesTag<'a> = &'a dyn Fn(TagId) -> bool;

/// What `scope` may find a member by. `None`: it is nobody that is searched for. Tags count as far as `sees_tag` says;
/// without it they are not looked for: see [`any_tags`].
pub fn text(
    rows: &dyn Rows,
    schema: &AttributeSchema,
    member: MemberNo,
    scope: &Scope,
    sees_tag: Option<SeesTag<'_>>,
) -> Result<Option<MemberText>, RowsError> {
    let Some(known) = row::get::<MemberRow>(rows, row::MEMBER, &row::key32(member.0))? else {
        return Ok(None);
    };
    if !matches!(known.state, MemberState::Member | MemberState::Visitor) {
        return Ok(None);
    }
    let view = member_facts(rows, member, schema, scope)?.unwrap_or_default();
    let mut found = MemberText {
        member,
        brands: view.brands.iter().copied().collect(),
        ..MemberText::default()
    };
    for ident in &known.identifiers {
        if let Some(row) = row::get::<IdentRow>(rows, row::IDENT, &row::key32(ident.0))?
            && scope.sees(row.brand)
        {
            found.identifiers.push(row.identifier.value.to_string());
        }
    }
    attributes(&view, &mut found);
    if let Some(sees_tag) = sees_tag {
        let seen = tags(rows, member)?
            .into_iter()
            .filter(|(of, _)| sees_tag(*of));
        for (_, tag) in seen {
            plain(&tag.value, &mut found.texts);
        }
    }
    Ok(Some(found))
}

/// Whether a question finds this text.
pub fn matches(text: &MemberText, question: &str) -> bool {
    Terms::of(text).answers(&terms::asks(question))
}

fn attributes(view: &View, found: &mut MemberText) {
    for (name, attribute) in &view.attributes {
        let list = match NAMES.contains(&&**name) {
            true => &mut found.names,
            false => &mut found.texts,
        };
        plain(&attribute.value, list);
    }
}

fn plain(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Text(text) => texts.push(text.to_string()),
        Value::List(values) => values.iter().for_each(|value| plain(value, texts)),
        // An address, say. It was read when it was told.
        Value::Object(json) => inside(&serde_json::from_str(json).unwrap_or_default(), texts),
        _ => {}
    }
}

/// Texts in an object, wherever they stand: each by itself.
fn inside(json: &serde_json::Value, texts: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| inside(value, texts)),
        serde_json::Value::Object(fields) => {
            fields.values().for_each(|value| inside(value, texts));
        }
        _ => {}
    }
}

fn everybody() -> Changed {
    Changed {
        everybody: true,
        ..Changed::default()
    }
}

fn end(at: Option<Offset>) -> Offset {
    at.map_or(Offset(0), |at| Offset(at.0 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_the_texts_in_them() {
        let address = r#"{"street":"浦东大道7号","zip":200120,"parts":[{"house":"锦绣"},null]}"#;
        let mut texts = Vec::new();
        let value = Value::List(vec![
            Value::Object(address.into()),
            Value::Text("咖啡".into()),
        ]);
        plain(&value, &mut texts);
        texts.sort();
        assert_eq!(texts, ["咖啡", "浦东大道7号", "锦绣"]);
        let found = MemberText {
            texts,
            ..MemberText::default()
        };
        assert!(matches(&found, "浦东大道7号 锦绣") && !matches(&found, "浦东大道8号"));
    }
}
