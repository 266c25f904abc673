//! The table of configuration keys: the one place that knows their names, forms, bounds and defaults.

use pipelines::effect::address::Networks;
use pipelines::effect::kafka::{Brokers, Topics};

use crate::objects::Allowed;

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Name in `tributary.toml`, dotted.
    pub name: &'static str,
    /// Form and bounds.
    pub kind: Kind,
    /// Value when nobody sets it.
    pub default: &'static str,
    /// Masked wherever it is printed.
    pub secret: bool,
    /// What it does, in one line.
    pub about: &'static str,
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text; may be empty.
    Text,
    /// A folder.
    Folder,
    /// A file; may be empty.
    File,
    /// `HOST:PORT` with a numeric host.
    Address,
    /// A time zone of the IANA database.
    TimeZone,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number between two bounds, both included.
    Number(u64, u64),
    /// A whole number that divides 256.
    Partitions,
    /// Empty, or at least this many visible ASCII characters that do not begin like a write key.
    ApiKey(usize),
    /// Empty, or `postgres://…`.
    Postgres,
    /// A filter of log lines.
    LogFilter,
    /// Networks with commas between; may be empty.
    Networks,
    /// Empty, or `http(s)://HOST[:PORT]`.
    Endpoint,
    /// Empty, or a word as regions are called.
    Region,
    /// Buckets, or folders in them, with commas between; may be empty.
    Buckets,
    /// `HOST:PORT` of brokers with commas between; may be empty.
    Brokers,
    /// Topics, or beginnings of them, with commas between; may be empty.
    Topics,
}

/// Shortest admin key that may be set by hand: below it, guessing becomes thinkable.
const ADMIN_KEY_CHARS_MIN: usize = 16;

macro_rules! keys {
    ($($name:literal, $kind:expr, $default:literal, $secret:literal, $about:literal;)*) => {
        /// All keys, in the order in which they are printed.
        pub const KEYS: &[Key] = &[$(Key { name: $name, kind: $kind, default: $default, secret: $secret, about: $about }),*];
    };
}

keys! {
    "data", Kind::Folder, "tributary-data", false, "folder of everything durable";
    "listen", Kind::Address, "127.0.0.1:8080", false, "where HTTP listens; port 0 takes a free one";
    "time_zone", Kind::TimeZone, "Asia/Shanghai", false, "calendar of the installation; fixed at the first start";
    "admin_key", Kind::ApiKey(ADMIN_KEY_CHARS_MIN), "", true, "admin key; empty: the first start makes one and shows it once";
    "partitions", Kind::Partitions, "8", false, "member partitions; fixed at the first start";
    "registry.url", Kind::Postgres, "", true, "PostgreSQL for sources, keys and definitions; empty: SQLite in the data folder";
    "manual_clock", Kind::Flag, "false", false, "for tests: the clock stands still until PUT /api/v1/clock";
    "lag_events_max", Kind::Number(1_000, 100_000_000), "1000000", false, "acknowledged events that may wait to be applied before HTTP answers 429";
    "lake.enabled", Kind::Flag, "true", false, "keep all events in Parquet for backfill, explain and reports";
    "lake.flush_rows", Kind::Number(1_000, 4_000_000), "262144", false, "events in memory after which the lake writes files";
    "lake.flush_s", Kind::Number(1, 86_400), "300", false, "seconds after which it writes them however few";
    "log.format", Kind::Word(&["text", "json"]), "text", false, "form of log lines on standard error";
    "log.filter", Kind::LogFilter, "info", false, "which log lines, e.g. info,api=debug";
    "http.connections_max", Kind::Number(1, 1_000_000), "4096", false, "connections open at once; more are refused with 503";
    "http.connections_per_address_max", Kind::Number(0, 1_000_000), "1024", false, "of these from one address (IPv6: one /64); 0: no limit, for a proxy in front";
    "http.trusted_proxies", Kind::Networks, "", false, "networks of proxies whose X-Forwarded-For the audit trail believes, e.g. 10.0.0.0/8";
    "http.head_timeout_s", Kind::Number(1, 600), "30", false, "seconds for a request's head to arrive, and for an idle connection";
    "http.body_timeout_s", Kind::Number(1, 3_600), "30", false, "seconds for a request's body to arrive";
    "http.body_memory_mib", Kind::Number(16, 1_048_576), "256", false, "MiB that bodies of requests take together; more are refused with 503";
    "http.drain_timeout_s", Kind::Number(0, 600), "10", false, "seconds that SIGTERM gives open requests";
    "import.upload_mib_max", Kind::Number(1, 1_048_576), "10240", false, "MiB of a file that is brought over the API";
    "import.folder", Kind::Folder, "", false, "folder whose files may be imported over the API by their path; empty: none";
    "object_store.endpoint", Kind::Endpoint, "", false, "https://HOST[:PORT] of an S3 store; empty: AWS in the region";
    "object_store.region", Kind::Region, "", false, "region of the store; empty: AWS_REGION, or us-east-1 for an endpoint";
    "object_store.credentials", Kind::Word(&["keys", "instance", "anonymous"]), "keys", false, "access keys, the machine's own role, or none for public buckets";
    "object_store.access_key_id", Kind::Text, "", false, "name of the access key; empty: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    "object_store.secret_access_key", Kind::Text, "", true, "the access key itself";
    "object_store.session_token", Kind::Text, "", true, "token of a temporary access key";
    "object_store.allow_http", Kind::Flag, "false", false, "take an endpoint with http://: names, keys' names and content go in the open";
    "object_store.path_style", Kind::Flag, "true", false, "endpoint/BUCKET/KEY; false: BUCKET.endpoint/KEY";
    "object_store.buckets", Kind::Buckets, "", false, "BUCKET or BUCKET/PREFIX/ that imports and exports may name, with commas between; empty: all";
    "object_store.spool_mib_max", Kind::Number(1, 16_777_216), "102400", false, "MiB of an object that is imported: it is copied to the disk first";
    "effects.allow_networks", Kind::Networks, "", false, "networks that webhooks may call besides public addresses";
    "kafka.brokers", Kind::Brokers, "", false, "HOST:PORT of Kafka brokers, with commas; webhooks may then name a topic; empty: none";
    "kafka.topics", Kind::Topics, "", false, "TOPIC or BEGINNING* that webhooks may name, with commas; empty: all";
    "kafka.properties", Kind::File, "", false, "file of librdkafka properties, NAME=VALUE in each line: how to log in, compression";
    "archive.folder", Kind::Folder, "", false, "folder that sealed segments of the logs move to; empty: they stay";
    "keys.days_kept", Kind::Number(1, 30), "30", false, "days after which original bytes become unreadable for good";
    "keys.need_backup", Kind::Flag, "true", false, "keys of days are destroyed only when a backup has what they seal";
    "backup.keep", Kind::Number(0, 10_000), "14", false, "daily backups that are kept; 0: all";
    "backup.folder", Kind::Folder, "", false, "folder for backups, taken daily if it is set; empty: those of the API go to backups inside the data folder";
}

impl Key {
    /// The environment variable: `http.connections_max` is `TRIBUTARY_HTTP_CONNECTIONS_MAX`.
    pub fn env(&self) -> String {
        format!(
            "TRIBUTARY_{}",
            self.name.replace('.', "_").to_ascii_uppercase()
        )
    }

    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }
}

impl Kind {
    /// What is allowed, for an error message.
    pub fn allowed(self) -> String {
        match self {
            Kind::Text => "any text".into(),
            Kind::Folder => "a path of a folder".into(),
            Kind::File => "a path of a file, or empty".into(),
            Kind::Brokers => "HOST:PORT with commas between, e.g. kafka-1:9092,kafka-2:9092".into(),
            Kind::Topics => {
                "TOPIC or BEGINNING* with commas between, e.g. crm-members,crm-*".into()
            }
            Kind::Address => "HOST:PORT with a numeric host, e.g. 127.0.0.1:8080".into(),
            Kind::TimeZone => "an IANA time zone, e.g. Asia/Shanghai".into(),
            Kind::Flag => "true or false".into(),
            Kind::Word(words) => format!("one of: {}", words.join(", ")),
            Kind::Number(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Partitions => "1, 2, 4, 8, 16, 32, 64, 128 or 256".into(),
            Kind::ApiKey(min) => format!(
                "at least {min} visible characters, e.g. tk_ and the output of: openssl rand -hex 16"
            ),
            Kind::Postgres => "postgres://USER:PASSWORD@HOST/DATABASE, or empty".into(),
            Kind::LogFilter => "a level or a list such as info,api=debug".into(),
            Kind::Endpoint => "https://HOST[:PORT] without a path, or empty".into(),
            Kind::Region => "letters, digits and hyphens, e.g. cn-north-1, or empty".into(),
            Kind::Buckets => {
                "BUCKET or BUCKET/PREFIX/ with commas between, e.g. crm-files,exports/tributary/"
                    .into()
            }
            Kind::Networks => "networks with commas between, e.g. 10.0.0.0/8,192.168.1.5".into(),
        }
    }

    /// Whether `text` is of this form.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Kind::Text | Kind::Folder | Kind::File => true,
            Kind::Brokers => text.parse::<Brokers>().is_ok(),
            Kind::Topics => text.parse::<Topics>().is_ok(),
            Kind::Address => text.parse::<std::net::SocketAddr>().is_ok(),
            Kind::TimeZone => jiff::tz::TimeZone::get(text).is_ok(),
            Kind::Flag => matches!(text, "true" | "false"),
            Kind::Word(words) => words.contains(&text),
            Kind::Number(min, max) => text
                .parse::<u64>()
                .is_ok_and(|number| (min..=max).contains(&number)),
            Kind::Partitions => text
                .parse::<u16>()
                .is_ok_and(|count| count.is_power_of_two() && count <= 256),
            Kind::ApiKey(min) => {
                let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
                text.is_empty() || (text.len() >= min && visible && !text.starts_with("tw_"))
            }
            Kind::Postgres => {
                text.is_empty()
                    || text.starts_with("postgres://")
                    || text.starts_with("postgresql://")
            }
            Kind::LogFilter => text
                .parse::<tracing_subscriber::filter::EnvFilter>()
                .is_ok(),
            Kind::Networks => text.parse::<Networks>().is_ok(),
            Kind::Endpoint => text.is_empty() || is_endpoint(text),
            Kind::Region => {
                text.len() <= 64
                    && text
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            }
            Kind::Buckets => text.parse::<Allowed>().is_ok(),
        }
    }
}

/// A scheme, a host and perhaps a port: nothing that a bucket and a key could not follow.
fn is_endpoint(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else {
        return false;
    };
    matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && !text.ends_with('/')
        && url.query().is_none()
        && url.fragment().is_none()
}
