//! A data folder opened without running it: for digests, checks and restores. Nothing is decided, nothing is appended.

use std::path::Path;
use std::sync::Arc;

use actors::disk::FolderLock;
use actors::log::Log;
use actors::log::segment::SegmentLog;
use actors::machine::{Rows, RowsError, Space};
use actors::model::{Clock, IdentNo, Identifier, MemberNo, SystemClock};
use actors::registry::{InstallationWish, Registry};
use actors::runtime::feed::{Feeds, RESULTS};
use actors::runtime::replay::{self, ReplayError, Replayed};
use actors::runtime::restore;
use actors::runtime::rows::DiskRows;
use actors::runtime::runner::{RowCache, Shared};
use actors::seal::KeyRing;
use actors::store::{RowStore, Snapshot, StoreConfig, WriteBehindConfig, reserved};
use cdp::identity::row::{self, IdentRow, MemberRow};

use crate::layout::Layout;
use crate::machines::CdpMachines;
use crate::platform::{EVENT_PARTITIONS, StartError, archive_folder, segments, zone};

/// A digest: 32 bytes, shown as hex.
pub type Digest = [u8; 32];

/// A data folder, opened but not running, with its row store filled up to the end of the result log.
pub struct Offline {
    layout: Layout,
    keys: Arc<KeyRing>,
    shared: Shared,
    rows: Arc<DiskRows>,
    zone: jiff::tz::TimeZone,
    _lock: FolderLock,
}

impl Offline {
    /// Opens a folder that no process runs. `tell` hears how many results are filled into the row store, of how many.
    pub async fn open(data: &Path, tell: impl FnMut(u64, u64)) -> Result<Offline, StartError> {
        let layout = Layout::new(data);
        if !layout.results().is_dir() {
            return Err(StartError::Config(format!(
                "{} holds no data of Tributary",
                data.display()
            )));
        }
        let lock = FolderLock::take(layout.root())?;
        let registry = Registry::open_file(&layout.registry()).await?;
        let fixed = registry
            .installation_ensure(&InstallationWish::default(), SystemClock.now())
            .await?;
        registry.close().await;
        let partitions = fixed.partitions;
        let zone = zone(&fixed.time_zone)?;
        let keys = Arc::new(KeyRing::open(&layout.keys())?);
        let archive = archive_folder(&layout, None)?;
        let open = |folder: &Path, partitions, name| -> Result<SegmentLog, StartError> {
            let options = segments(partitions, archive.as_deref(), name)?;
            Ok(SegmentLog::open(folder, options)?)
        };
        let raw: Arc<dyn Log> = Arc::new(open(&layout.raw(), 1 + EVENT_PARTITIONS, "raw")?);
        let results: Arc<dyn Log> = Arc::new(open(&layout.results(), 1, "results")?);
        let store = RowStore::open_or_set_aside(&layout.rows(), &StoreConfig::default())?.store;
        let rows = Arc::new(DiskRows::start(store, WriteBehindConfig::default())?);
        let shared = Shared {
            feeds: Feeds::new(raw, results.clone(), keys.clone(), partitions),
            results,
            sealer: keys.clone(),
            store: rows.clone(),
            progress: Arc::default(),
            partitions,
            epoch: 0,
            appending: Default::default(),
        };
        restore::fill_store(&shared, tell)?;
        let end = shared.results.end(RESULTS);
        while rows.end() < end {
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        Ok(Offline {
            layout,
            keys,
            shared,
            rows,
            zone,
            _lock: lock,
        })
    }

    /// Digest over facts: members named by their identifiers, no position, internal number, receive time.
    pub fn facts(&self) -> Result<Digest, StartError> {
        digest_facts(&self.rows.snapshot()?).map_err(rows_failed)
    }

    /// Digest over all rows: equal after a restart, a restore and a replay.
    pub fn state(&self) -> Result<Digest, StartError> {
        digest_state(&self.rows.snapshot()?).map_err(rows_failed)
    }

    /// Decides everything again and answers the digests (facts, state) of what comes out, and how much of it was of another
    /// version of the logic and therefore taken over as recorded. Fails at the first result that is
    /// decided differently.
    pub fn replay(
        &self,
        tell: impl FnMut(u64, u64),
    ) -> Result<(Digest, Digest, Replayed), ReplayError> {
        let scratch = self.layout.root().join("replay.tmp");
        let failed = |error: String| ReplayError::Rows(error);
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch).map_err(|error| failed(error.to_string()))?;
        let store = RowStore::open(&scratch.join("rows"), &StoreConfig::default())
            .map_err(|error| failed(error.to_string()))?
            .0;
        let machines = CdpMachines {
            identity: scratch.join("identity"),
            keys: self.keys.clone(),
            zone: self.zone.clone(),
        };
        let answer = replay::replay(&self.shared, &machines, &store, tell).and_then(|done| {
            let snapshot = store
                .snapshot()
                .map_err(|error| failed(error.to_string()))?;
            let facts = digest_facts(&snapshot).map_err(|error| failed(error.to_string()))?;
            let state = digest_state(&snapshot).map_err(|error| failed(error.to_string()))?;
            Ok((facts, state, done))
        });
        drop(machines);
        drop(store);
        let _ = std::fs::remove_dir_all(&scratch);
        answer
    }
}

/// Digest over facts of a snapshot.
pub fn digest_facts(rows: &dyn Rows) -> Result<Digest, RowsError> {
    cdp::profile::digest(rows, &|member| identifiers(rows, member))
}

/// Digest over all rows of a snapshot.
pub fn digest_state(rows: &Snapshot) -> Result<Digest, RowsError> {
    let mut hash = blake3::Hasher::new();
    for space in (0..=u8::MAX).filter(|space| !reserved(Space(*space))) {
        rows.scan(Space(space), &[], &mut |key, value| {
            hash.update(&[space]);
            hash.update(&(key.len() as u64).to_le_bytes());
            hash.update(key);
            hash.update(&(value.len() as u64).to_le_bytes());
            hash.update(value);
            true
        })?;
    }
    Ok(*hash.finalize().as_bytes())
}

/// The identifiers of a member, as texts name it.
fn identifiers(rows: &dyn Rows, member: MemberNo) -> Result<Vec<Identifier>, RowsError> {
    let found = row::get::<MemberRow>(rows, row::MEMBER, &row::key32(member.0))?;
    let Some(found) = found else {
        return Ok(Vec::new());
    };
    let name = |ident: &IdentNo| -> Result<Option<Identifier>, RowsError> {
        let row = row::get::<IdentRow>(rows, row::IDENT, &row::key32(ident.0))?;
        Ok(row.map(|row| row.identifier))
    };
    let names: Result<Vec<Option<Identifier>>, RowsError> =
        found.identifiers.iter().map(name).collect();
    Ok(names?.into_iter().flatten().collect())
}

fn rows_failed(error: RowsError) -> StartError {
    StartError::Config(error.to_string())
}
