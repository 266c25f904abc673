//! Where imported events go: a platform in this process, or a running server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actors::model::{BrandId, Clock, Fault, IdSpace, Retry, Scope, SystemClock, Time, Token};
use actors::registry::{NewSource, Registry, Source};
use ingest::{OrderDefaults, RawRecord, SourceInfo};
use pipelines::Platform;

use crate::app::source_info;
use crate::cli::remote::Remote;
use crate::cli::{Failure, start_failure};
use crate::config::Config;
use crate::service::platform_config;

/// How often a server that cannot be reached or is busy is asked again: minutes.
const TRIES_MAX: u32 = 60;
/// Tries in a row that fail before the person who waits is told: about two seconds.
const TRIES_QUIET: u32 = 6;
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long the end of an import waits until all of it is applied.
const APPLIED_MAX: Duration = Duration::from_secs(600);
/// What sources of imports are called.
const KIND: &str = "import";

/// Rows of one group.
#[derive(Default)]
pub struct Batch {
    records: Vec<RawRecord>,
    rows: Vec<u64>,
    bytes: usize,
}

impl Batch {
    /// Adds the event of a row.
    pub fn push(&mut self, row: u64, record: RawRecord) {
        self.bytes += record.body.len();
        self.records.push(record);
        self.rows.push(row);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Their row numbers.
    pub fn numbers(&self) -> Vec<u64> {
        self.rows.clone()
    }
}

/// What became of a group.
#[derive(Default)]
pub struct Sent {
    /// Token, if there was anything to send.
    pub token: Option<String>,
    /// Events that the server set aside: place in the group, code, reason.
    pub rejected: Vec<(usize, String, String)>,
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Sink {
    to: To,
    source: SourceInfo,
    target: String,
}

#[derive(Clone)]
enum To {
    Local(Arc<Platform>, PathBuf),
    /// With the source's id if the key is an API key.
    Remote(Arc<Remote>, Option<u64>),
}

impl Sink {
    /// Opens the data folder.
    pub async fn local(config: &Config, name: &str) -> Result<Sink, Failure> {
        let platform = Platform::start(platform_config(config), Arc::new(SystemClock), |_, _| {})
            .await
            .map_err(|error| start_failure(&error))?;
        let source = find_or_make(platform.registry(), name).await;
        let source = source.map_err(Failure::work)?;
        Ok(Sink {
            source: source_info(&source),
            target: config.data.display().to_string(),
            to: To::Local(Arc::new(platform), config.data.clone()),
        })
    }

    /// Sends into a platform that runs already. It is not brought to rest by [`Sink::close`]'s caller but by its owner.
    pub fn running(platform: Arc<Platform>, source: &Source, folder: PathBuf) -> Sink {
        Sink {
            source: source_info(source),
            target: folder.display().to_string(),
            to: To::Local(platform, folder),
        }
    }

    /// Talks to a server. With a write key its source is used; with an API key the source of this name.
    pub async fn remote(url: &str, key: &str, name: &str) -> Result<Sink, Failure> {
        let remote = Remote::new(url, key)?;
        let id = match key.starts_with("tw_") {
            true => None,
            false => Some(remote_source(&remote, name).await?),
        };
        Ok(Sink {
            to: To::Remote(Arc::new(remote), id),
            // Only the server knows; the form of a row does not depend on it.
            source: SourceInfo {
                id: actors::model::SourceId(0),
                id_space: IdSpace(0),
                brand: BrandId(0),
                test: false,
                orders: OrderDefaults::default(),
                sensors: Default::default(),
            },
            target: url.to_owned(),
        })
    }

    /// The source that rows are built for.
    pub fn source(&self) -> &SourceInfo {
        &self.source
    }

    /// Where it goes, as text.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The data folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.to {
            To::Local(_, folder) => Some(folder),
            To::Remote(..) => None,
        }
    }

    /// The present instant.
    pub fn now(&self) -> Time {
        SystemClock.now()
    }

    /// Sends a group until it is durable.
    pub async fn send(self, batch: Batch) -> Result<Sent, String> {
        if batch.records.is_empty() {
            return Ok(Sent::default());
        }
        match &self.to {
            To::Local(platform, _) => append(platform, &batch.records).await,
            To::Remote(remote, source) => post(remote, *source, &batch.records).await,
        }
    }

    /// Waits until a group is applied. A server goes on by itself.
    pub async fn wait(&self, token: &str) -> Result<(), String> {
        let (To::Local(platform, _), Ok(token)) = (&self.to, token.parse::<Token>()) else {
            return Ok(());
        };
        platform
            .wait(token, APPLIED_MAX)
            .await
            .map_err(|error| error.to_string())
    }

    /// Brings a platform to rest.
    pub async fn close(self) {
        if let To::Local(platform, _) = self.to {
            let registry = platform.registry().clone();
            let drained = tokio::task::spawn_blocking(move || platform.drain()).await;
            if let Err(error) = drained {
                tracing::error!(%error, "the platform did not come to rest");
            }
            registry.close().await;
        }
    }
}

async fn append(platform: &Platform, records: &[RawRecord]) -> Result<Sent, String> {
    loop {
        match platform.append(records).await {
            Ok(token) => {
                return Ok(Sent {
                    token: Some(token.to_string()),
                    rejected: Vec::new(),
                });
            }
            Err(error) => match (error.kind(), error.retry()) {
                (actors::model::ErrorKind::Busy, Retry::After(seconds)) => {
                    let pause = Duration::from_secs(u64::from(seconds));
                    tokio::time::sleep(pause.min(PAUSE_MAX)).await;
                }
                _ => return Err(crate::error::chain(&error)),
            },
        }
    }
}

async fn post(remote: &Remote, source: Option<u64>, records: &[RawRecord]) -> Result<Sent, String> {
    let mut lines = Vec::with_capacity(records.iter().map(|record| record.body.len() + 1).sum());
    for record in records {
        lines.extend_from_slice(&record.body);
        lines.push(b'\n');
    }
    let mut tries = 0;
    loop {
        let (why, pause) = match remote.events(lines.clone(), source).await {
            Ok(answer) if answer.is_good() => return Ok(sent(&answer.json)),
            Ok(answer) if matches!(answer.status, 408 | 429 | 503 | 507) => {
                let pause = answer.retry_after_s.map(Duration::from_secs);
                (answer.message(), pause)
            }
            Ok(answer) => return Err(answer.message()),
            Err(error) => (error, None),
        };
        tries += 1;
        if tries == TRIES_MAX {
            return Err(format!(
                "{why}; what was acknowledged stays: the same command goes on from there"
            ));
        }
        if tries == TRIES_QUIET {
            eprintln!("waiting for the server, for some minutes at most: {why}");
        }
        let growing = Duration::from_millis(100) * tries;
        tokio::time::sleep(pause.unwrap_or(growing).min(PAUSE_MAX)).await;
    }
}

fn sent(json: &serde_json::Value) -> Sent {
    let rejected = json["rejected"].as_array().into_iter().flatten();
    Sent {
        token: json["token"].as_str().map(str::to_owned),
        rejected: rejected
            .map(|item| {
                let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
                let index = item["index"].as_u64().unwrap_or(u64::MAX);
                (
                    usize::try_from(index).unwrap_or(usize::MAX),
                    text("code"),
                    text("message"),
                )
            })
            .collect(),
    }
}

/// The group's source of this name; made if it is not there.
pub async fn find_or_make(
    registry: &Registry,
    name: &str,
) -> Result<Source, actors::registry::RegistryError> {
    let scope = Scope::installation();
    let mut cursor: Option<String> = None;
    loop {
        let page = registry
            .source_list(&scope, actors::registry::PAGE_MAX, cursor.as_deref())
            .await?;
        let found = page
            .items
            .into_iter()
            .find(|source| source.name == name && source.brand == BrandId(0));
        if let Some(source) = found {
            return Ok(source);
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let new = NewSource {
        name: name.to_owned(),
        kind: KIND.to_owned(),
        brand: BrandId(0),
        id_space: IdSpace(0),
        test: false,
        settings: None,
    };
    let (source, _) = registry
        .source_create(&scope, new, SystemClock.now())
        .await?;
    Ok(source)
}

/// The id of the source of this name on a server; made if it is not there.
async fn remote_source(remote: &Remote, name: &str) -> Result<u64, Failure> {
    let mut cursor = String::new();
    loop {
        let page = remote
            .get(&format!("/api/v1/sources?limit=500{cursor}"))
            .await?;
        let items = page["items"].as_array().into_iter().flatten();
        for item in items {
            if item["name"] == name && item["brand"] == 0 {
                return item["id"]
                    .as_u64()
                    .ok_or_else(|| Failure::work("the server's list of sources has another form"));
            }
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let body = serde_json::json!({"name": name, "kind": KIND});
    let made = remote.post("/api/v1/sources", &body).await?;
    made["id"]
        .as_u64()
        .ok_or_else(|| Failure::work("the server's answer to a new source has another form"))
}
