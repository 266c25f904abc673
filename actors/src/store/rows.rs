//! The row store: one fjall database, written in order, read at a position.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use parking_lot::Mutex;

use super::chain::{self, KEYSPACES, Links, MARK_KEY, Mark};
use super::error::{from_io, guarded};
use super::expand::{Expanded, expand};
use super::{Committed, RowForm, Snapshot, StoreError, UnitRow};
use crate::machine::{Rows, RowsError, Space};
use crate::model::{Offset, Unit};

/// Sizes of the store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Block cache, bytes: the memory that reads may use beside the system's page cache.
    pub cache_bytes: u64,
    /// Memtable of one keyspace, bytes. Small ones flush early, so that a restart is quick; large ones merge more writes
    /// of the same row: measured at 5 M rows of 300 bytes with random upserts, 16 MiB write 1,550 bytes per row, 32 MiB
    /// 1,490, 64 MiB 1,190. Fixed when the store is made.
    pub memtable_bytes: u64,
    /// Journal files kept until lagging keyspaces are flushed, bytes. fjall takes no less than 64 MiB.
    pub journal_bytes: u64,
    /// Threads that flush and compact.
    pub workers: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            cache_bytes: 512 << 20,
            memtable_bytes: 64 << 20,
            journal_bytes: 128 << 20,
            workers: 2,
        }
    }
}

/// A cache of all committed rows. Cheap to clone; closed when the last clone and snapshot is gone.
#[derive(Clone)]
pub struct RowStore {
    inner: Arc<Inner>,
}

/// What [`RowStore::open_or_set_aside`] found.
pub struct Opened {
    /// The store.
    pub store: RowStore,
    /// The last frame applied; give it the frames behind it. `None`: it is empty.
    pub applied: Option<Offset>,
    /// Why and where a damaged folder was moved, if one was.
    pub set_aside: Option<(PathBuf, StoreError)>,
}

pub(super) struct Inner {
    pub(super) db: Database,
    pub(super) spaces: [Keyspace; KEYSPACES],
    folder: PathBuf,
    writer: Mutex<Writer>,
    damage: OnceLock<StoreError>,
}

struct Writer {
    mark: Mark,
    links: [Links; KEYSPACES],
    units: BTreeMap<Unit, UnitRow>,
}

impl RowStore {
    /// Opens or makes the store in `folder`. Also answers the last applied frame.
    ///
    /// Errors: [`StoreError::Damaged`] if it cannot be trusted, [`StoreError::Locked`] if another process has it.
    pub fn open(
        folder: &Path,
        config: &StoreConfig,
    ) -> Result<(RowStore, Option<Offset>), StoreError> {
        let what = folder.display().to_string();
        let (db, spaces) = guarded(&what, || open_fjall(folder, config))?;
        let mark = match guarded("read the position", || spaces[0].get(MARK_KEY))? {
            None => Mark::default(),
            Some(bytes) => Mark::decode(&bytes)
                .ok_or_else(|| StoreError::Damaged("the position row has another form".into()))?,
        };
        let links = read_links(&db, &spaces, &mark)?;
        let inner = Arc::new(Inner {
            db,
            spaces,
            folder: folder.to_owned(),
            writer: Mutex::new(Writer {
                mark,
                links,
                units: BTreeMap::new(),
            }),
            damage: OnceLock::new(),
        });
        let units = read_units(&Snapshot::take(&inner)?)?;
        inner.writer.lock().units = units;
        Ok((RowStore { inner }, mark.applied()))
    }

    /// As [`RowStore::open`], but a damaged store is moved aside (beside `folder`, never deleted) and an empty one opened,
    /// to be filled from backup and log.
    pub fn open_or_set_aside(folder: &Path, config: &StoreConfig) -> Result<Opened, StoreError> {
        let damage = match RowStore::open(folder, config) {
            Ok((store, applied)) => {
                return Ok(Opened {
                    store,
                    applied,
                    set_aside: None,
                });
            }
            Err(damage @ StoreError::Damaged(_)) => damage,
            Err(other) => return Err(other),
        };
        let aside = free_name(folder);
        std::fs::rename(folder, &aside).map_err(|error| from_io("set the store aside", error))?;
        tracing::error!(error = %damage, moved_to = %aside.display(), "row store set aside, rebuilding");
        let (store, applied) = RowStore::open(folder, config)?;
        Ok(Opened {
            store,
            applied,
            set_aside: Some((aside, damage)),
        })
    }

    /// Applies frames that follow the last applied one, all in one atomic batch with the new position. Not yet synced:
    /// see [`RowStore::sync`]. Answers how many rows were written after equal keys were merged.
    ///
    /// fjall may sleep in here to slow its writer down, so only the write-behind thread calls it.
    pub fn apply(&self, frames: &[Committed]) -> Result<usize, StoreError> {
        let Some(last) = frames.last() else {
            return Ok(0);
        };
        let mut writer = self.inner.writer.lock();
        for (expected, frame) in (writer.mark.next..).zip(frames) {
            if frame.at.0 != expected {
                return Err(StoreError::Order {
                    expected: Offset(expected),
                    got: frame.at,
                });
            }
        }
        let expanded = expand(frames, &writer.units)?;
        self.write(&mut writer, expanded, last.at.0 + 1)
    }

    fn write(
        &self,
        writer: &mut Writer,
        expanded: Expanded,
        next: u64,
    ) -> Result<usize, StoreError> {
        let inner = &*self.inner;
        let mut mark = writer.mark;
        mark.next = next;
        mark.batch += 1;
        let mut batch = inner.db.batch();
        let mut touched = [false; KEYSPACES];
        touched[0] = true;
        let written = expanded.rows.len();
        // In order, neighbours share their search path in the memtable: half the time of a batch in hash order.
        let rows = expanded.rows.into_iter();
        let mut rows: Vec<_> = rows.map(|row| (front(&row.0), row)).collect();
        rows.sort_unstable_by(|(one, (key, _)), (other, (other_key, _))| {
            one.cmp(other).then_with(|| key.cmp(other_key))
        });
        for (_, (key, value)) in rows {
            let keyspace = Space(key[0]).keyspace();
            touched[keyspace] = true;
            match value {
                Some(value) => batch.insert(&inner.spaces[keyspace], key, &value[..]),
                None => batch.remove(&inner.spaces[keyspace], key),
            }
        }
        let mut spent = [0; KEYSPACES];
        for keyspace in (0..KEYSPACES).filter(|keyspace| touched[*keyspace]) {
            let space = &inner.spaces[keyspace];
            let before = std::mem::replace(&mut mark.last[keyspace], mark.batch);
            let link = chain::link_key(keyspace, mark.batch);
            batch.insert(space, &link[..], &before.to_le_bytes()[..]);
            let persisted = space.tree.get_highest_persisted_seqno().unwrap_or(0);
            spent[keyspace] = writer.links[keyspace].spent(persisted);
            for old in writer.links[keyspace].first(spent[keyspace]) {
                batch.remove(space, &chain::link_key(keyspace, old)[..]);
            }
        }
        batch.insert(&inner.spaces[0], &MARK_KEY[..], mark.encode());
        crate::crash::point("rows-before-write");
        guarded("write rows", || batch.commit())?;
        crate::crash::point("rows-after-write");
        let visible = inner.db.visible_seqno();
        for keyspace in (0..KEYSPACES).filter(|keyspace| touched[*keyspace]) {
            writer.links[keyspace].forget(spent[keyspace]);
            writer.links[keyspace].push(mark.batch, visible);
        }
        writer.mark = mark;
        writer.units.extend(expanded.units);
        Ok(written)
    }

    /// Makes everything applied so far survive a power cut. Answers the last frame it covers.
    pub fn sync(&self) -> Result<Option<Offset>, StoreError> {
        let applied = self.applied();
        guarded("sync rows", || self.inner.db.persist(PersistMode::SyncAll))?;
        crate::crash::point("rows-after-sync");
        Ok(applied)
    }

    /// Brings to the disk what fjall's journal has in the system's cache. fjall syncs its journal while it holds the lock
    /// that writing takes, at each flush of a memtable too: what is not there any more by then holds nobody up. Here the
    /// files are synced through handles of our own, beside the writer. Answers how many there were.
    pub fn flush_ahead(&self) -> std::io::Result<usize> {
        let mut synced = 0;
        for entry in std::fs::read_dir(&self.inner.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|it| it != "jnl") {
                continue;
            }
            match std::fs::File::open(&path).and_then(|file| file.sync_data()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Err(_) => {}
                Ok(()) => synced += 1,
            }
        }
        Ok(synced)
    }

    /// The last applied frame.
    pub fn applied(&self) -> Option<Offset> {
        self.inner.writer.lock().mark.applied()
    }

    /// What is remembered of each unit, as of the last applied frame.
    pub fn units(&self) -> BTreeMap<Unit, UnitRow> {
        self.inner.writer.lock().units.clone()
    }

    /// All rows as of the last applied frame.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::take(&self.inner)
    }

    /// Damage that a read has met since the store was opened. The process should restart and rebuild it.
    pub fn damage(&self) -> Option<StoreError> {
        self.inner.damage.get().cloned()
    }

    /// Bytes on disk, journals included.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        guarded("measure the store", || self.inner.db.disk_space())
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Writes stored rows of a dump and its position into an empty store.
    pub(super) fn fill(
        &self,
        position: Option<Offset>,
        load: impl FnOnce(&[Keyspace; KEYSPACES]) -> Result<(), super::DumpError>,
    ) -> Result<(), super::DumpError> {
        let mut writer = self.inner.writer.lock();
        if writer.mark != Mark::default() {
            return Err(super::DumpError::NotEmpty);
        }
        load(&self.inner.spaces)?;
        let next = position.map_or(0, |at| at.0 + 1);
        let nothing = Expanded {
            rows: Default::default(),
            units: BTreeMap::new(),
        };
        self.write(&mut writer, nothing, next)?;
        writer.units = read_units(&self.snapshot()?)?;
        drop(writer);
        self.sync()?;
        Ok(())
    }
}

impl Inner {
    /// Notes damage and turns the error into what a reader gets.
    pub(super) fn report(&self, error: StoreError) -> RowsError {
        if matches!(error, StoreError::Damaged(_)) && self.damage.set(error.clone()).is_ok() {
            tracing::error!(%error, "row store damaged");
        }
        RowsError(error.to_string())
    }
}

fn open_fjall(
    folder: &Path,
    config: &StoreConfig,
) -> fjall::Result<(Database, [Keyspace; KEYSPACES])> {
    let db = Database::builder(folder)
        .cache_size(config.cache_bytes)
        .max_journaling_size(config.journal_bytes.max(64 << 20))
        .worker_threads(config.workers.max(1))
        // Truth is the result log; the journal is written through in our own syncs, not at every batch.
        .manual_journal_persist(true)
        .open()?;
    let mut spaces = Vec::with_capacity(KEYSPACES);
    for keyspace in 0..KEYSPACES {
        spaces.push(db.keyspace(&format!("rows{keyspace}"), || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(config.memtable_bytes)
                .manual_journal_persist(true)
        })?);
    }
    let spaces = spaces
        .try_into()
        .unwrap_or_else(|_| unreachable!("the loop makes exactly this many"));
    Ok((db, spaces))
}

fn read_links(
    db: &Database,
    spaces: &[Keyspace; KEYSPACES],
    mark: &Mark,
) -> Result<[Links; KEYSPACES], StoreError> {
    let view = db.snapshot();
    let visible = db.visible_seqno();
    let mut links: [Links; KEYSPACES] = Default::default();
    for (keyspace, space) in spaces.iter().enumerate() {
        let mut found = Vec::new();
        guarded("read the links", || {
            for row in view.prefix(space, chain::link_prefix(keyspace)) {
                let (key, value) = row.into_inner()?;
                let batch = key[2..].try_into().map(u64::from_be_bytes);
                let before = value[..].try_into().map(u64::from_le_bytes);
                // A link of another form breaks the chain below.
                found.push((batch.unwrap_or(0), before.unwrap_or(u64::MAX)));
            }
            Ok(())
        })?;
        links[keyspace] = Links::check(keyspace, found, mark.last[keyspace], visible)?;
    }
    Ok(links)
}

fn read_units(view: &Snapshot) -> Result<BTreeMap<Unit, UnitRow>, StoreError> {
    let mut units = BTreeMap::new();
    let mut wrong = false;
    let read = view.scan(Space::UNITS, b"", &mut |key, value| {
        match (super::unit::unit_of(key), UnitRow::from_row(value)) {
            (Some(unit), Ok(row)) => {
                units.insert(unit, row);
            }
            _ => wrong = true,
        }
        true
    });
    match read {
        Ok(()) if !wrong => Ok(units),
        Ok(()) => Err(StoreError::Damaged("a unit's row has another form".into())),
        Err(error) => Err(StoreError::Damaged(error.0)),
    }
}

/// The first bytes of a key as a number of the same order: most keys differ there.
fn front(key: &[u8]) -> u64 {
    let mut front = [0; 8];
    let len = key.len().min(front.len());
    front[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(front)
}

fn free_name(folder: &Path) -> PathBuf {
    let name = folder
        .file_name()
        .map_or_else(|| "rows".into(), |name| name.to_string_lossy().into_owned());
    (1..)
        .map(|number| folder.with_file_name(format!("{name}.damaged-{number}")))
        .find(|path| !path.exists())
        .expect("some number is free")
}

#[cfg(test)]
pub(super) mod tests;
