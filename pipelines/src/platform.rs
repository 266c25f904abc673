//! The platform: a data folder, opened and running.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actors::disk::{FolderLock, Room, space};
use actors::history::History;
use actors::log::archive::FolderArchive;
use actors::log::segment::{SegmentLog, SegmentOptions};
use actors::log::{Log, LogError};
use actors::machine::{Personal, Record, RecordAt, RowsError};
use actors::model::{
    Clock, ErrorKind, Fault, IdentNo, Offset, PartitionId, Position, Retry, Time, Token, Unit,
};
use actors::registry::{Installation, InstallationWish, Registry, RegistryError};
use actors::runtime::core::read_state;
use actors::runtime::feed::FeedError;
use actors::runtime::gate::Limits;
use actors::runtime::node::{AdmitError, Node, Parts, Unseen};
use actors::runtime::progress::UnitProgress;
use actors::runtime::restore::RestoreError;
use actors::runtime::rows::DiskRows;
use actors::runtime::runner::RowCache;
use actors::seal::{KeyRing, SealError};
use actors::store::{RowStore, Snapshot, StoreConfig, StoreError, WriteBehindConfig};
use cdp::control::Control;
use cdp::identity::row::{self, DecisionRow};
use cdp::routed::{self, EventBody, EventHead};
use ingest::RawRecord;
use query::lake::{LakeConfig, LakeError};

use crate::audience::Tail;
use crate::decode;
use crate::effect::hold::EffectHold;
use crate::lake::{self, LakeOptions, LakeService, ResultEvents};
use crate::layout::Layout;
use crate::machines::CdpMachines;
use crate::publish::sent::Sent;
use crate::stats::{self, Stats};

/// Event partitions of the raw log besides the control partition.
pub(crate) const EVENT_PARTITIONS: u16 = 1;

/// How a platform is started.
#[derive(Clone)]
pub struct PlatformConfig {
    /// The data folder.
    pub data: PathBuf,
    /// Threads for member units.
    pub workers: u16,
    /// Admission bounds.
    pub limits: Limits,
    /// Sizes of the row store.
    pub store: StoreConfig,
    /// What is fixed at first start: time zone, currencies, partitions. What is not given keeps what was fixed.
    pub wish: InstallationWish,
    /// Where sealed segments of the logs go; `None`: where the folder's note says, or nowhere.
    pub archive: Option<PathBuf>,
    /// PostgreSQL address of the registry; SQLite in the data folder if there is none.
    pub registry_url: Option<String>,
    /// The lake of events; `None`: there is none.
    pub lake: Option<LakeOptions>,
}

impl PlatformConfig {
    /// The defaults for a data folder.
    pub fn new(data: impl Into<PathBuf>) -> PlatformConfig {
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        PlatformConfig {
            data: data.into(),
            workers: u16::try_from(cores).unwrap_or(8).min(8),
            limits: Limits::default(),
            store: StoreConfig::default(),
            wish: InstallationWish::default(),
            registry_url: None,
            lake: Some(LakeOptions::default()),
            archive: None,
        }
    }
}

/// Why a platform does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log refuses: locked, damaged, unreadable.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The keys refuse.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The row store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The units cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The registry cannot be opened, or the installation was fixed otherwise.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The lake cannot be opened.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(String),
}

impl Fault for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            StartError::Log(error) => error.kind(),
            StartError::Seal(error) => error.kind(),
            StartError::Store(error) => error.kind(),
            StartError::Restore(error) => error.kind(),
            StartError::Registry(error) => error.kind(),
            StartError::Lake(error) => error.kind(),
            StartError::Config(_) => ErrorKind::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            StartError::Log(error) => error.code(),
            StartError::Seal(error) => error.code(),
            StartError::Store(error) => error.code(),
            StartError::Restore(error) => error.code(),
            StartError::Registry(error) => error.code(),
            StartError::Lake(error) => error.code(),
            StartError::Config(_) => "configuration",
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// Not admitted.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// The write is not visible yet, or there is none.
    #[error(transparent)]
    Unseen(#[from] Unseen),
    /// Rows cannot be read.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// Keys cannot be read or destroyed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The command was appended but its decision is not there: ask again with the same idempotency key.
    #[error("the command is accepted but not decided yet: ask again with the same idempotency key")]
    Undecided,
}

impl Fault for PlatformError {
    fn kind(&self) -> ErrorKind {
        match self {
            PlatformError::Admit(error) => error.kind(),
            PlatformError::Unseen(error) => error.kind(),
            PlatformError::Rows(error) => error.kind(),
            PlatformError::Store(error) => error.kind(),
            PlatformError::Feed(error) => error.kind(),
            PlatformError::Seal(error) => error.kind(),
            PlatformError::Registry(error) => error.kind(),
            PlatformError::Undecided => ErrorKind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            PlatformError::Admit(error) => error.code(),
            PlatformError::Unseen(error) => error.code(),
            PlatformError::Rows(error) => error.code(),
            PlatformError::Store(error) => error.code(),
            PlatformError::Feed(error) => error.code(),
            PlatformError::Seal(error) => error.code(),
            PlatformError::Registry(error) => error.code(),
            PlatformError::Undecided => "undecided",
        }
    }
    fn field(&self) -> Option<&str> {
        match self {
            PlatformError::Unseen(error) => error.field(),
            _ => None,
        }
    }
    fn retry(&self) -> Retry {
        match self {
            PlatformError::Admit(error) => error.retry(),
            PlatformError::Unseen(error) => error.retry(),
            PlatformError::Undecided => Retry::After(1),
            PlatformError::Rows(error) => error.retry(),
            PlatformError::Store(error) => error.retry(),
            PlatformError::Feed(error) => error.retry(),
            PlatformError::Seal(error) => error.retry(),
            PlatformError::Registry(error) => error.retry(),
        }
    }
}

/// What becomes of writes, as far as the disk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// They are taken and become visible.
    Taken,
    /// They are taken while the logs have room, but rows wait for more of it: reads show what was before.
    DiskLow,
    /// They are refused: the newest write of a log found no room, and there is none yet.
    DiskFull,
}

/// An event as identity sent it to its member.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// The part without personal data.
    pub head: EventHead,
    /// The personal part; `None` when it was erased.
    pub body: Option<EventBody>,
}

impl StoredEvent {
    /// `None`: the record is no event.
    fn of(record: &Record) -> Option<StoredEvent> {
        if record.schema != routed::schema::EVENT {
            return None;
        }
        let body = match &record.personal {
            Personal::Open(bytes) => routed::decode(bytes),
            Personal::None | Personal::Erased => None,
        };
        let head = routed::decode(&record.envelope)?;
        Some(StoredEvent { head, body })
    }
}

/// A running platform.
pub struct Platform {
    config: PlatformConfig,
    installation: Installation,
    registry: Registry,
    pub(crate) publishing: tokio::sync::Mutex<()>,
    pub(crate) sent: Sent,
    layout: Layout,
    clock: Arc<dyn Clock>,
    node: Node,
    rows: Arc<DiskRows>,
    raw: Arc<SegmentLog>,
    results: Arc<SegmentLog>,
    keys: Arc<KeyRing>,
    lake: Option<LakeService>,
    effect_hold: EffectHold,
    zone: jiff::tz::TimeZone,
    recorded: Time,
    room: Room,
    _lock: FolderLock,
}

impl Platform {
    /// Opens a data folder and starts it. `tell` hears how many results are filled into the row store, of how many. Blocks
    /// its thread while the logs are read.
    pub async fn start(
        config: PlatformConfig,
        clock: Arc<dyn Clock>,
        tell: impl FnMut(u64, u64),
    ) -> Result<Platform, StartError> {
        let layout = Layout::new(&config.data);
        let lock = FolderLock::take(layout.root())?;
        let effect_hold = EffectHold::open(layout.effects_held())
            .map_err(|error| LogError::io("reading the hold of effects", error))?;
        let registry = match &config.registry_url {
            Some(url) => Registry::open_postgres(url).await?,
            None => Registry::open_file(&layout.registry()).await?,
        };
        registry.check().await?;
        let installation = registry
            .installation_ensure(&config.wish, clock.now())
            .await?;
        let zone = zone(&installation.time_zone)?;
        let calendar = zone.clone();
        let partitions = installation.partitions;
        let keys = Arc::new(KeyRing::open(&layout.keys())?);
        let archive = archive_folder(&layout, config.archive.as_deref())?;
        let raw = Arc::new(SegmentLog::open(
            &layout.raw(),
            segments(1 + EVENT_PARTITIONS, archive.as_deref(), "raw")?,
        )?);
        let results = Arc::new(SegmentLog::open(
            &layout.results(),
            segments(1, archive.as_deref(), "results")?,
        )?);
        let opened = RowStore::open_or_set_aside(&layout.rows(), &config.store)?;
        let rows = Arc::new(DiskRows::start(opened.store, WriteBehindConfig::default())?);
        let machines = CdpMachines {
            identity: layout.identity(),
            keys: keys.clone(),
            zone: zone.clone(),
        };
        let node = Node::start(
            Parts {
                raw: raw.clone(),
                results: results.clone(),
                sealer: keys.clone(),
                store: rows.clone(),
                clock: clock.clone(),
                machines: Arc::new(machines),
                partitions,
                workers: config.workers,
                limits: config.limits,
                dir: layout.root().to_path_buf(),
                on_fatal: Arc::new(|| std::process::abort()),
            },
            tell,
        )?;
        let lake = match config.lake {
            Some(options) => {
                let lake = LakeConfig::new(layout.lake(), calendar);
                Some(lake::start(options.apply(lake), &results, &keys, &clock)?)
            }
            None => {
                lake::leave(&layout.lake())?;
                None
            }
        };
        let recorded = read_state(&*rows.rows(), Unit::IDENTITY)
            .map_err(RestoreError::from)?
            .unwrap_or_default()
            .now;
        let held = cdp::definition::held(&*rows.rows(), partitions).map_err(RestoreError::from)?;
        let held = held
            .into_iter()
            .map(|(kind, version)| (kind.as_str().to_owned(), i64::from(version)));
        let sent = Sent::open(layout.definitions_sent(), held)
            .map_err(|error| LogError::io("reading which definitions were sent", error))?;
        for (kind, version) in sent.all() {
            registry.definition_sent(&kind, version);
        }
        let room = Room::new(layout.root());
        Ok(Platform {
            config,
            installation,
            registry,
            publishing: tokio::sync::Mutex::default(),
            sent,
            layout,
            clock,
            node,
            rows,
            raw,
            results,
            keys,
            lake,
            effect_hold,
            zone,
            recorded,
            room,
            _lock: lock,
        })
    }

    /// Appends events durably: one group, all or nothing.
    pub async fn append(&self, records: &[RawRecord]) -> Result<Token, PlatformError> {
        let group: Vec<_> = records.iter().map(decode::to_raw).collect();
        Ok(self.node.append(&group).await?)
    }

    /// Appends a command, waits until it is decided, and answers the decision that stands under its idempotency key.
    pub async fn command(
        &self,
        control: &Control,
        request: &str,
        limit: Duration,
    ) -> Result<(Token, DecisionRow), PlatformError> {
        let token = self.publish(control).await?;
        self.wait(token, limit).await?;
        let snapshot = self.snapshot()?;
        match row::get(&snapshot, row::DECISION, request.as_bytes())? {
            Some(decision) => Ok((token, decision)),
            None => Err(PlatformError::Undecided),
        }
    }

    /// Appends a control record that nobody waits for: a definition, a mark.
    pub async fn publish(&self, control: &Control) -> Result<Token, PlatformError> {
        Ok(self.node.append_control(&[control.to_raw()]).await?)
    }

    /// Appends control records that nobody waits for, all or nothing. Answers the token of the last.
    pub async fn publish_all(&self, controls: &[Control]) -> Result<Token, PlatformError> {
        let group: Vec<_> = controls.iter().map(Control::to_raw).collect();
        Ok(self.node.append_control(&group).await?)
    }

    /// Waits until reads see the write of `token`.
    pub async fn wait(&self, token: Token, limit: Duration) -> Result<(), PlatformError> {
        Ok(self.node.wait(token, limit).await?)
    }

    /// The newest write of each partition: whoever waits for all of them sees everything that was acknowledged before.
    pub fn newest_writes(&self) -> Vec<Token> {
        let partitions = (0..=EVENT_PARTITIONS).map(PartitionId);
        let last = |partition| {
            let end = self.raw.end(partition).0;
            let offset = Offset(end.checked_sub(1)?);
            Some(Token(Position { partition, offset }))
        };
        partitions.filter_map(last).collect()
    }

    /// All rows, consistent at one position.
    pub fn snapshot(&self) -> Result<Snapshot, PlatformError> {
        Ok(self.rows.snapshot()?)
    }

    /// Totals.
    pub fn stats(&self) -> Result<Stats, PlatformError> {
        let snapshot = self.snapshot()?;
        let states = stats::unit_states(&snapshot, self.installation.partitions)?;
        let received = (1..=EVENT_PARTITIONS)
            .map(|partition| self.raw.end(PartitionId(partition)).0)
            .sum();
        Ok(Stats {
            received,
            lag: self.node.lag(),
            ..Stats::of(&states)
        })
    }

    /// How far each unit is.
    pub fn units(&self) -> BTreeMap<Unit, UnitProgress> {
        self.node.units()
    }

    /// The bodies of timeline events, in the order asked for; `None` where a record is no event.
    pub fn events(&self, places: &[RecordAt]) -> Result<Vec<Option<StoredEvent>>, PlatformError> {
        let mut events: Vec<_> = places.iter().map(|_| None).collect();
        let mut take = |number: usize, record: Record| events[number] = StoredEvent::of(&record);
        self.node.shared().feeds.look_up(places, &mut take)?;
        Ok(events)
    }

    /// A raw event with its original bytes. `None`: the key of its day is gone, or it is no event.
    pub fn raw_event(&self, position: Position) -> Result<Option<RawRecord>, PlatformError> {
        let record = self.node.shared().feeds.raw_record(position)?;
        Ok(decode::from_record(&record))
    }

    /// The clock that the platform runs by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Definitions, sources, keys.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What was fixed at first start.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// How it was started.
    pub fn config(&self) -> &PlatformConfig {
        &self.config
    }

    /// Where its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The node underneath.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The row store and its writer.
    pub fn rows(&self) -> &DiskRows {
        &self.rows
    }

    /// The logs: raw, results.
    pub fn logs(&self) -> (&SegmentLog, &SegmentLog) {
        (&self.raw, &self.results)
    }

    /// The lake of events and its threads, if there is one.
    pub fn lake(&self) -> Option<&LakeService> {
        self.lake.as_ref()
    }

    /// The committed events, as projections follow them.
    pub fn result_events(&self) -> ResultEvents {
        ResultEvents::new(self.results.clone(), self.keys.clone())
    }

    /// All events: from the lake, if there is one, and what it has not read yet from the log.
    pub fn history(&self) -> Arc<dyn History> {
        match &self.lake {
            Some(service) => Arc::new(service.past()),
            None => Arc::new(Tail::new(self.node.shared().clone())),
        }
    }

    /// Destroys the keys of fragments and takes them out of the lake: what is personal of their events cannot be read any
    /// more when this returns; the lake's files are rewritten within a week. Idempotent: after an error call it again.
    pub fn erase_fragments(&self, fragments: &[IdentNo]) -> Result<(), StartError> {
        self.keys.erase_fragments(fragments)?;
        if let Some(service) = &self.lake {
            service.lake().erase(fragments, self.clock.now())?;
        }
        Ok(())
    }

    /// The keys.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The calendar of the installation.
    pub fn zone(&self) -> &jiff::tz::TimeZone {
        &self.zone
    }

    /// The latest time in what was committed before this start.
    pub fn recorded(&self) -> Time {
        self.recorded
    }

    /// All caches have the results below this offset on disk: a start needs none of them.
    pub fn durable(&self) -> Offset {
        let rows = self.rows.writer().durable().get();
        let rows = rows.map_or(Offset(0), |at| Offset(at.0 + 1));
        let memories = self
            .units()
            .into_values()
            .filter_map(|unit| unit.checkpointed);
        memories.min().map_or(rows, |memory| memory.min(rows))
    }

    /// Whether effects wait for a person, and why.
    pub fn effect_hold(&self) -> &EffectHold {
        &self.effect_hold
    }

    /// Whether the disk takes what is written. Touches the disk if a log found it full.
    pub fn writes(&self) -> Writes {
        let wanted = self.raw.no_room().max(self.results.no_room());
        if wanted > 0 && !self.room.is_there(wanted) {
            Writes::DiskFull
        } else if self.rows.writer().paused() {
            Writes::DiskLow
        } else {
            Writes::Taken
        }
    }

    /// Bytes that are free on the disk of the data folder.
    pub fn disk_free(&self) -> std::io::Result<u64> {
        space(self.layout.root()).map(|space| space.free)
    }

    /// Something that keeps it from working, if there is such.
    pub fn trouble(&self) -> Option<String> {
        self.node.trouble()
    }

    /// Refuses new records, finishes what is on its way, writes memory to disk, closes the logs.
    pub fn drain(&self) {
        self.node.drain();
        if let Some(lake) = &self.lake {
            lake.stop();
        }
        self.rows.writer().checkpoint();
        self.raw.close();
        self.results.close();
    }
}

/// Where archived segments are: what the configuration says, noted for those who open the folder without it; or the note.
pub(crate) fn archive_folder(
    layout: &Layout,
    wish: Option<&Path>,
) -> Result<Option<PathBuf>, StartError> {
    let note = layout.archive_note();
    let failed = |error| LogError::io(format!("the note {}", note.display()), error);
    let noted = match std::fs::read_to_string(&note) {
        Ok(text) => Some(PathBuf::from(text.trim_end())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error).into()),
    };
    let Some(wish) = wish else {
        return Ok(noted);
    };
    let wish = std::path::absolute(wish).map_err(failed)?;
    if noted.as_ref() != Some(&wish) {
        let text = format!("{}\n", wish.display());
        std::fs::write(&note, text).map_err(failed)?;
    }
    Ok(Some(wish))
}

/// How a log is opened, with its part of the archive.
pub(crate) fn segments(
    partitions: u16,
    archive: Option<&Path>,
    name: &str,
) -> Result<SegmentOptions, StartError> {
    let mut options = SegmentOptions::new(partitions);
    if let Some(folder) = archive {
        let opened = FolderArchive::open(&folder.join(name));
        let opened = opened
            .map_err(|error| LogError::io(format!("the archive {}", folder.display()), error))?;
        options.archive = Some(Arc::new(opened));
    }
    Ok(options)
}

pub(crate) fn zone(name: &str) -> Result<jiff::tz::TimeZone, StartError> {
    jiff::tz::TimeZone::get(name).map_err(|_| {
        StartError::Config(format!(
            "time_zone = {name:?}: use an IANA name such as Asia/Shanghai"
        ))
    })
}
