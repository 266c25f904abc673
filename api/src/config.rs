//! Configuration: one table of keys, three layers of values.
//!
//! `tributary.toml` is the weakest layer above the defaults, then the environment (`TRIBUTARY_…`), then flags. A key that
//! nobody knows is refused, and every mistake of every layer is reported in one go: what is wrong and what is allowed.
//! Absent on purpose: what people change while it runs (brands, sources, rules): that is the registry's.

mod kafka;
mod key;
mod load;
mod objects;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pipelines::effect::address::Networks;
use pipelines::jobs::day_keys::DayKeys;
use pipelines::lake::LakeOptions;

use crate::objects::Settings;

pub use key::{KEYS, Key, Kind};
pub use load::{ConfigError, ConfigErrors, Layers, Origin, Value, load};

/// What one process runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of everything durable.
    pub data: PathBuf,
    /// Where HTTP listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Time zone, fixed at the first start, if somebody sets it.
    pub time_zone: Option<String>,
    /// Admin key, if the environment or file sets it; otherwise the first start makes one.
    pub admin_key: Option<String>,
    /// Member partitions, fixed at the first start, if somebody sets them: a divisor of 256.
    pub partitions: Option<u16>,
    /// JSON lines instead of text.
    pub log_json: bool,
    /// Filter of log lines, e.g. `info,api=debug`.
    pub log_filter: String,
    /// Limits of the HTTP server.
    pub http: HttpLimits,
    /// PostgreSQL of the registry; none: SQLite in the data folder.
    pub registry_url: Option<String>,
    /// Most events that may wait between acknowledged and applied before HTTP answers 429.
    pub lag_events_max: u64,
    /// The lake of events, if there is to be one.
    pub lake: Option<LakeOptions>,
    /// Folder of backups that the API may start; empty: `DIR/backups`.
    pub backup_dir: PathBuf,
    /// Files that are imported over the API.
    pub import: ImportLimits,
    /// The object store that imports read and exports write, if one is configured.
    pub object_store: Option<Settings>,
    /// The Kafka cluster that webhooks may write to, if one is configured.
    pub kafka: Option<pipelines::effect::kafka::Settings>,
    /// Proxies that say truly from where a request comes.
    pub trusted_proxies: Networks,
    /// Networks that effects may go to besides public addresses.
    pub allow_networks: Networks,
    /// A backup is taken every day: a folder for them was named.
    pub backup_daily: bool,
    /// Daily backups that are kept; 0: all.
    pub backups_kept: usize,
    /// Where sealed segments of the logs go; empty: nowhere.
    pub archive_dir: PathBuf,
    /// How keys of days are destroyed.
    pub day_keys: DayKeys,
    /// The clock is set by `PUT /api/v1/clock` instead of running.
    pub manual_clock: bool,
    /// Every value and where it comes from, for `tributary check`.
    pub effective: Vec<(&'static Key, Value)>,
}

/// Files that are imported over the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportLimits {
    /// Bytes of a file that is brought.
    pub upload_bytes_max: u64,
    /// Folder whose files may be imported by their path, if somebody sets it.
    pub folder: Option<PathBuf>,
}

/// Limits of the HTTP server.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Connections open at once.
    pub connections_max: usize,
    /// Of these from one address; 0: as many as there are.
    pub connections_per_address_max: usize,
    /// A request's head must be there within this time; also how long an idle connection is kept.
    pub head_timeout: Duration,
    /// A request's body must be there within this time.
    pub body_timeout: Duration,
    /// An answer of which nothing could be sent for this long is given up.
    pub unread_timeout: Duration,
    /// Memory that bodies of requests take together, bytes.
    pub body_memory_bytes: usize,
    /// A drain gives open requests this long.
    pub drain_timeout: Duration,
}

#[cfg(test)]
mod tests;
