//! What every handler has at hand: the platform, the clock, jobs, and short forms of the calls that many make.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actors::machine::{RecordAt, Rows};
use actors::model::{
    BrandId, BrandSet, Clock, Currency, ManualClock, MemberNo, OrderChange, PartitionId, Position,
    RawJson, Time, Token,
};
use actors::registry::{NewDefinition, Registry, RegistryError, ResourceChanged};
use bytes::Bytes;
use cdp::control::Control;
use cdp::definition::{AttributeSchema, Definition, DefinitionKind};
use cdp::identity::row::Outcome;
use cdp::profile::row;
use cdp::routed::EventBody;
use ingest::{IdMapping, OrderDefaults, RawRecord, SensorsSettings, SourceInfo};
use parking_lot::Mutex;
use pipelines::audience::{Audience, AudienceError, Sees};
use pipelines::dictionary::RuleNames;
use pipelines::dictionary::observed::Observed;
use pipelines::search::Search;
use pipelines::{Platform, PlatformError, Writes, effect};
use tokio::sync::broadcast;

use crate::config::Config;
use crate::error::ApiError;
use crate::http::{Bodies, Caller};
use crate::jobs::Jobs;
use crate::rate::Rates;
use crate::routes::dead_letters::Alerts;

pub use actors::store::Snapshot;

/// How long a read with `?after=` and a command wait before they say how far behind we are.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The use of an API key is noted at most this often: people ask on which day a key was last used.
const USED_EVERY_MS: i64 = 60_000;

/// The application, shared by all handlers.
pub type Shared = Arc<App>;

/// What every handler has at hand.
pub struct App {
    /// What the process runs with.
    pub config: Config,
    /// Long-running work.
    pub jobs: Jobs,
    effect_caller: Arc<effect::call::Caller>,
    kafka: Option<Arc<effect::kafka::Kafka>>,
    platform: Arc<Platform>,
    audience: Audience,
    search: Search,
    dictionary: Observed,
    alerts: Alerts,
    manual: Option<Arc<ManualClock>>,
    nonce: AtomicU64,
    /// Persons erased since the start: files of exports that were begun before show more than there is.
    erased: AtomicU64,
    draining: AtomicBool,
    /// Memory that bodies of requests may take.
    pub bodies: Bodies,
    rates: Rates,
    /// When the use of an API key was last noted, by its number.
    used: Mutex<HashMap<i64, Time>>,
    schema: Mutex<KnownSchema>,
    names: Mutex<KnownNames>,
}

/// What rules may name, as it was read last: the registry need not be asked for every keystroke of a rule.
struct KnownNames {
    read: Option<(Instant, Arc<AttributeSchema>, BrandSet, Arc<RuleNames>)>,
    changes: broadcast::Receiver<ResourceChanged>,
    /// Changes met so far: what was read before one is not kept.
    met: u64,
}

/// Names are read again after this time, whatever the registry tells: another process may have written it.
const NAMES_MAX: Duration = Duration::from_secs(5);

impl KnownNames {
    /// The names, if nothing has changed since they were read; and how many changes were met.
    fn fresh(
        &mut self,
        schema: &Arc<AttributeSchema>,
        brands: &BrandSet,
    ) -> (Option<Arc<RuleNames>>, u64) {
        use broadcast::error::TryRecvError;
        while let Ok(_) | Err(TryRecvError::Lagged(_)) = self.changes.try_recv() {
            self.met += 1;
            self.read = None;
        }
        let known = self.read.as_ref().filter(|(at, of, whose, _)| {
            at.elapsed() < NAMES_MAX && Arc::ptr_eq(of, schema) && whose == brands
        });
        (known.map(|(.., names)| names.clone()), self.met)
    }
}

/// The attribute schema that was read last: its row and what it means.
#[derive(Default)]
struct KnownSchema {
    row: Option<Bytes>,
    version: u32,
    schema: Arc<AttributeSchema>,
}

/// The record of a timeline event.
pub struct EventRecord {
    /// When it was received.
    pub received: Option<Time>,
    /// What it said of an order.
    pub order: Option<OrderChange>,
    /// The personal part; `None` once erased.
    pub body: Option<EventBody>,
}

impl App {
    /// How many persons were erased since the start.
    pub fn erased(&self) -> u64 {
        self.erased.load(Ordering::Acquire)
    }

    /// A person was erased: exports that are being made begin anew.
    pub fn note_erased(&self) {
        self.erased.fetch_add(1, Ordering::AcqRel);
    }

    /// An application over a running platform. `manual`: its clock, if somebody sets it.
    pub fn new(
        config: Config,
        platform: Arc<Platform>,
        audience: Audience,
        search: Search,
        dictionary: Observed,
        manual: Option<Arc<ManualClock>>,
    ) -> App {
        let started = actors::model::SystemClock.now().0;
        let networks = config.allow_networks.clone();
        let caller = effect::call::Caller::new(networks, effect::call::Limits::default());
        App {
            jobs: Jobs::open(&config.data.join("jobs")),
            effect_caller: Arc::new(caller),
            kafka: (config.kafka.clone()).map(|it| Arc::new(effect::kafka::Kafka::new(it))),
            alerts: Alerts::open(&config.data),
            rates: Rates::default(),
            bodies: Bodies::new(config.http.body_memory_bytes),
            config,
            manual,
            nonce: AtomicU64::new((started as u64) << NONCE_BITS),
            erased: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            used: Mutex::default(),
            schema: Mutex::default(),
            names: Mutex::new(KnownNames {
                read: None,
                changes: platform.registry().resource_changes(),
                met: 0,
            }),
            platform,
            audience,
            search,
            dictionary,
        }
    }

    /// Who is in.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The search index.
    pub fn search(&self) -> &Search {
        &self.search
    }

    /// What is seen of names.
    pub fn dictionary(&self) -> &Observed {
        &self.dictionary
    }

    /// Which alerts of dead letters fire.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Waits until the dictionary counts what reads see.
    pub async fn wait_dictionary(&self) -> Result<(), ApiError> {
        let until = self.platform.node().shared().progress.store_end();
        match self.dictionary.wait(until, WAIT_MAX).await {
            true => Ok(()),
            false => Err(ApiError::new(
                "dictionary_behind",
                "the dictionary does not count this write yet",
            )),
        }
    }

    /// Waits until the search index has what reads see.
    pub async fn wait_search(&self) -> Result<(), ApiError> {
        let until = self.platform.node().shared().progress.store_end();
        match self.search.wait(until, WAIT_MAX).await {
            true => Ok(()),
            false => Err(ApiError::new(
                "search_behind",
                "the search index does not have this write yet",
            )),
        }
    }

    /// Waits until the audience sees what reads see.
    pub async fn wait_audience(&self, sees: Sees) -> Result<(), ApiError> {
        Ok(self.audience.wait(sees, WAIT_MAX).await?)
    }

    /// Asks the audience, where blocking is allowed.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Audience) -> Result<T, AudienceError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let shared = self.clone();
        let done = tokio::task::spawn_blocking(move || question(&shared.audience)).await;
        let result = done.map_err(|error| {
            tracing::error!(%error, "a question to the audience failed");
            ApiError::new("internal", "the server could not do this")
        })?;
        Ok(result?)
    }

    /// The platform.
    pub fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    /// Who calls other systems, within bounds.
    pub fn effect_caller(&self) -> &Arc<effect::call::Caller> {
        &self.effect_caller
    }

    /// The Kafka cluster that webhooks may write to.
    pub fn kafka(&self) -> Option<&Arc<effect::kafka::Kafka>> {
        self.kafka.as_ref()
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        self.platform.registry()
    }

    /// The present instant.
    pub fn now(&self) -> Time {
        self.platform.clock().now()
    }

    /// The clock, if somebody sets it.
    pub fn manual_clock(&self) -> Option<&Arc<ManualClock>> {
        self.manual.as_ref()
    }

    /// A number that no other request of this installation gets: it starts at the wall clock of the process's start.
    pub fn nonce(&self) -> u64 {
        self.nonce.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the disk takes what is written. Touches the disk if it was full.
    pub async fn writes(&self) -> Result<Writes, ApiError> {
        self.blocking(|platform| Ok(platform.writes())).await
    }

    /// Whether the process is stopping.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The process is stopping: not ready any more.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Who owns this API key.
    pub async fn caller(&self, key: &str) -> Result<Option<Caller>, ApiError> {
        let found = self.registry().api_key_by_key(key).await?;
        if let Some(key) = &found {
            self.note_used(key.id);
        }
        Ok(found.map(Caller::from))
    }

    /// Notes that a key is in use, now and then and behind the request.
    fn note_used(&self, key: i64) {
        let now = self.now();
        {
            let mut used = self.used.lock();
            let due = used
                .get(&key)
                .is_none_or(|noted| now.0 < noted.0 || now.0 - noted.0 >= USED_EVERY_MS);
            if !due {
                return;
            }
            used.insert(key, now);
        }
        let registry = self.registry().clone();
        tokio::spawn(async move {
            if let Err(error) = registry.api_key_used(key, now).await {
                tracing::warn!(%error, key, "the use of an API key was not noted");
            }
        });
    }

    /// Refuses brands that nobody has made; the error names `field`.
    pub async fn brands_exist(&self, brands: &[BrandId], field: &str) -> Result<(), ApiError> {
        match self.registry().brand_unknown(brands).await? {
            None => Ok(()),
            Some(brand) => {
                let message = format!("there is no brand {}", brand.0);
                Err(ApiError::new("reference_unknown", message).field(field))
            }
        }
    }

    /// The source of this write key.
    pub async fn source(&self, key: &str) -> Result<Sender, ApiError> {
        let source = self.registry().source_by_write_key(key).await?;
        let source = source
            .ok_or_else(|| ApiError::new("write_key_unknown", "this write key is not known"))?;
        if !source.enabled {
            return Err(ApiError::new("source_disabled", "this source is disabled"));
        }
        Ok(Sender {
            info: source_info(&source),
            // Checked when it was set; a form of a later version sets no limit.
            per_second: crate::rate::of_settings(&source.settings).unwrap_or_default(),
        })
    }

    /// Refuses events of a source that has sent more than it may.
    pub fn within_rate(&self, sender: &Sender, events: usize) -> Result<(), ApiError> {
        self.rates
            .take(sender.info.id, sender.per_second, events, self.now())
    }

    /// Appends events; they are durable when it returns.
    pub async fn append(&self, records: Vec<RawRecord>) -> Result<Token, ApiError> {
        if self.draining() {
            return Err(ApiError::new("draining", "the process is stopping"));
        }
        Ok(self.platform.append(&records).await?)
    }

    /// A token for a write that does not go through the log: it is visible at once, and so is what was before it.
    pub fn token(&self) -> Token {
        self.platform.node().token()
    }

    /// Waits until a write is visible.
    pub async fn wait(&self, token: Token) -> Result<(), ApiError> {
        Ok(self.platform.wait(token, WAIT_MAX).await?)
    }

    /// All rows, consistent at one position.
    pub fn snapshot(&self) -> Result<Snapshot, ApiError> {
        Ok(self.platform.snapshot()?)
    }

    /// The attribute schema in force in a snapshot, and its version (0: the shipped one).
    pub fn attributes(&self, rows: &dyn Rows) -> Result<(u32, Arc<AttributeSchema>), ApiError> {
        // All partitions take the same versions; the first stands for all.
        let key = row::definition_key(PartitionId(0), DefinitionKind::Attributes);
        let stored = rows.get(row::DEFINITIONS, &key)?;
        let mut known = self.schema.lock();
        if known.row != stored {
            let damaged = |what: String| {
                tracing::error!(what, "the stored attribute schema does not read");
                ApiError::new("internal", "the server could not do this")
            };
            let (version, schema) = match &stored {
                None => (0, AttributeSchema::default()),
                Some(json) => {
                    let definition =
                        Definition::parse(json).map_err(|error| damaged(error.to_string()))?;
                    let schema = AttributeSchema::check(&definition.body)
                        .map_err(|errors| damaged(format!("{errors:?}")))?;
                    (definition.version, schema)
                }
            };
            *known = KnownSchema {
                row: stored,
                version,
                schema: Arc::new(schema),
            };
        }
        Ok((known.version, known.schema.clone()))
    }

    /// What rules may name now that are asked by somebody who sees these brands.
    pub async fn names(
        &self,
        schema: Arc<AttributeSchema>,
        brands: &BrandSet,
    ) -> Result<Arc<RuleNames>, RegistryError> {
        let (known, met) = self.names.lock().fresh(&schema, brands);
        if let Some(names) = known {
            return Ok(names);
        }
        let begun = Instant::now();
        let names = RuleNames::load_for(self.registry(), schema.clone(), brands.clone()).await?;
        let names = Arc::new(names);
        let mut known = self.names.lock();
        known.fresh(&schema, brands);
        if known.met == met {
            known.read = Some((begun, schema, brands.clone(), names.clone()));
        }
        Ok(names)
    }

    /// Bodies of timeline rows, in the order asked for. Reads logs, so it runs where blocking is allowed.
    pub async fn event_bodies(
        &self,
        places: Vec<RecordAt>,
    ) -> Result<Vec<Option<EventRecord>>, ApiError> {
        let events = self
            .blocking(move |platform| platform.events(&places))
            .await?;
        let records = events.into_iter().map(|event| {
            event.map(|event| EventRecord {
                received: Some(event.head.received),
                order: event.head.order.map(|part| part.change),
                body: event.body,
            })
        });
        Ok(records.collect())
    }

    /// The original bytes of an event. `None`: they have been destroyed.
    pub async fn raw_event(&self, position: Position) -> Result<Option<RawRecord>, ApiError> {
        self.blocking(move |platform| platform.raw_event(position))
            .await
    }

    /// Appends a command, waits for its decision, and answers the members that it concerns.
    pub async fn command(
        &self,
        command: Control,
        request: &str,
    ) -> Result<(Token, Vec<MemberNo>), ApiError> {
        let (token, decision) = self.platform.command(&command, request, WAIT_MAX).await?;
        match decision.outcome {
            Outcome::Done { members } => Ok((token, members)),
            Outcome::Refused {
                code,
                message,
                hint,
            } => {
                let message = format!("{message} ({code}); {hint}");
                Err(ApiError::new("command_refused", message))
            }
        }
    }

    /// Sends what waits in the outbox. The token covers it also if somebody else was faster.
    pub async fn publish_pending(&self) -> Result<Token, ApiError> {
        let token = self.platform.publish_pending().await?;
        Ok(token.unwrap_or_else(|| self.token()))
    }

    /// Publishes a version of a definition: it is durable when this returns, and in force once its token is visible.
    pub async fn publish(
        &self,
        caller: &Caller,
        kind: DefinitionKind,
        body: String,
        base: Option<i64>,
    ) -> Result<(i64, Token), ApiError> {
        let new = NewDefinition {
            kind: kind.as_str().to_owned(),
            brand: actors::model::BrandId(0),
            body,
            author: caller.name.clone(),
            base,
        };
        let saved = self
            .registry()
            .definition_publish(&caller.scope, new, self.now())
            .await?;
        let token = match self.platform.publish_pending().await? {
            Some(token) => token,
            // Another request, or the beat, has sent it with its own.
            None => self
                .registry()
                .outbox_position(&saved.kind, saved.version)
                .await?
                .map_or_else(|| self.token(), Token),
        };
        Ok((saved.version, token))
    }

    /// Brings gauges up to date before they are read.
    pub async fn measure(&self) -> Result<(), ApiError> {
        let stats = self.platform.stats()?;
        let writes = self.writes().await?;
        for (name, is) in [
            ("tributary_disk_full", writes == Writes::DiskFull),
            ("tributary_disk_low", writes != Writes::Taken),
        ] {
            metrics::gauge!(name).set(f64::from(u8::from(is)));
        }
        // A disk that says nothing of itself leaves the gauge where it was.
        if let Ok(bytes) = self.platform.disk_free() {
            metrics::gauge!("tributary_disk_free_bytes").set(bytes as f64);
        }
        for (name, value) in [
            ("tributary_events_received", stats.received as f64),
            ("tributary_events_applied", stats.applied as f64),
            ("tributary_lag_records", stats.lag as f64),
            ("tributary_members", stats.members as f64),
            ("tributary_visitors", stats.visitors as f64),
            ("tributary_dead_letters", stats.dead_letters as f64),
            ("tributary_orders", stats.orders as f64),
            (
                "tributary_effects_held",
                f64::from(u8::from(self.platform.effect_hold().held().is_some())),
            ),
            (
                "tributary_timers_held",
                f64::from(u8::from(self.platform.node().timers_held())),
            ),
        ] {
            metrics::gauge!(name).set(value);
        }
        let (events, fields) = self.dictionary.read().sizes();
        let left_out = self.dictionary.read().left_out();
        for (name, value) in [
            ("tributary_dictionary_events", events as u64),
            ("tributary_dictionary_fields", fields as u64),
            (
                "tributary_dictionary_left_out",
                left_out.events + left_out.values,
            ),
            ("tributary_dictionary_result", self.dictionary.position().0),
        ] {
            metrics::gauge!(name).set(value as f64);
        }
        if let Some(service) = self.platform.lake() {
            let lake = service.stats();
            for (name, value) in [
                ("tributary_lake_events", lake.events),
                ("tributary_lake_rows", lake.rows),
                ("tributary_lake_tail_rows", lake.tail_rows),
                ("tributary_lake_files", lake.files),
                ("tributary_lake_bytes", lake.bytes),
                ("tributary_lake_lag_results", service.lag()),
                ("tributary_lake_written_result", lake.written.0),
                ("tributary_lake_erasing_fragments", lake.erasing),
                ("tributary_lake_damaged_files", lake.damaged),
            ] {
                metrics::gauge!(name).set(value as f64);
            }
        }
        for (unit, progress) in self.platform.units() {
            let unit = unit.to_string();
            metrics::gauge!("tributary_unit_batches", "unit" => unit.clone())
                .set(progress.batches as f64);
            metrics::gauge!("tributary_unit_stopped", "unit" => unit)
                .set(f64::from(u8::from(progress.stopped.is_some())));
        }
        Ok(())
    }

    /// Runs a call that reads files.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Platform) -> Result<T, PlatformError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let platform = self.platform.clone();
        let done = tokio::task::spawn_blocking(move || call(&platform)).await;
        let result = done.map_err(|error| {
            tracing::error!(%error, "a call into the platform failed");
            ApiError::new("internal", "the server could not do this")
        })?;
        Ok(result?)
    }
}

/// Requests that one millisecond of starting leaves room for before the numbers of a later start begin.
const NONCE_BITS: u32 = 20;

/// A source that sends.
pub struct Sender {
    /// What ingest needs of it.
    pub info: SourceInfo,
    /// Events that it may send per second; none: no limit.
    pub per_second: Option<u32>,
}

/// What ingest needs of a source.
pub fn source_info(source: &actors::registry::Source) -> SourceInfo {
    SourceInfo {
        id: source.id,
        id_space: source.id_space,
        brand: source.brand,
        test: source.test,
        // Checked when it was set; a form of a later version reads as the default.
        orders: order_defaults(&source.settings).unwrap_or_default(),
        sensors: sensors_settings(&source.settings).unwrap_or_default(),
    }
}

/// `currency` and `shop` of a source's settings.
pub fn order_defaults(settings: &RawJson) -> Result<OrderDefaults, String> {
    let settings = settings.parse();
    let mut defaults = OrderDefaults::default();
    if let Some(value) = settings.get("currency") {
        let code = value.as_str().ok_or("currency is not text")?;
        defaults.currency = code
            .parse::<Currency>()
            .map_err(|error| error.to_string())?;
    }
    if let Some(value) = settings.get("shop") {
        defaults.shop = value.as_str().ok_or("shop is not text")?.into();
    }
    Ok(defaults)
}

/// Most id keys that a source may declare; each is written with every record.
const ID_KEYS_MAX: usize = 50;

/// `id_mapping` and `id_keys` of a source's settings.
pub fn sensors_settings(settings: &RawJson) -> Result<SensorsSettings, String> {
    let settings = settings.parse();
    let mut read = SensorsSettings::default();
    if let Some(value) = settings.get("id_mapping") {
        read.id_mapping = value
            .as_str()
            .and_then(IdMapping::parse)
            .ok_or("id_mapping is none of \"1.0\", \"2.0\", \"3.0\"")?;
    }
    if let Some(value) = settings.get("id_keys") {
        let keys = value.as_array().ok_or("id_keys is not a list")?;
        if keys.len() > ID_KEYS_MAX {
            return Err(format!("at most {ID_KEYS_MAX} id_keys"));
        }
        for key in keys {
            let key = key
                .as_str()
                .ok_or("id_keys holds something else than text")?;
            let form = key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte));
            if key.is_empty() || key.len() > 60 || !form {
                return Err(format!(
                    "`{key}` is no id key: up to 60 letters, digits, _ and $"
                ));
            }
            read.id_keys.push(key.into());
        }
    }
    Ok(read)
}
