//! Reads the layers, checks every value, and reports all mistakes at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipelines::lake::LakeOptions;

use super::{Config, DayKeys, HttpLimits, ImportLimits, KEYS, Key, kafka, objects};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => write!(f, "${name}"),
            Origin::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Which key.
    pub key: String,
    /// Where it was set.
    pub origin: Origin,
    /// What is wrong.
    pub what: String,
    /// What is allowed.
    pub allowed: String,
}

/// All mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes = match self.0.len() {
            1 => "a mistake".to_owned(),
            many => format!("{many} mistakes"),
        };
        writeln!(f, "the configuration has {mistakes}:")?;
        for error in &self.0 {
            writeln!(f, "  {} ({}): {}", error.key, error.origin, error.what)?;
            writeln!(f, "    allowed: {}", error.allowed)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What the caller brings: the file, the environment, the flags.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// Configuration file, and whether it must be there (it was named by a flag).
    pub file: Option<(PathBuf, bool)>,
    /// Environment variables; only those that begin with `TRIBUTARY_` are looked at, and the access keys of AWS.
    pub environment: BTreeMap<String, String>,
    /// Flags by key name.
    pub flags: BTreeMap<&'static str, String>,
}

/// Keys that have a flag of their name.
const FLAGS: &[&str] = &["data", "listen", "time_zone", "manual_clock"];

/// Variables that belong to commands other than `serve` and are no configuration keys.
const OTHER_VARIABLES: &[&str] = &[
    "TRIBUTARY_CONFIG",
    "TRIBUTARY_SERVER",
    "TRIBUTARY_KEY",
    "TRIBUTARY_PYTHON",
];

/// Loads the configuration, or says everything that is wrong with it.
pub fn load(layers: &Layers) -> Result<Config, ConfigErrors> {
    let mut errors = Vec::new();
    let mut values: BTreeMap<&'static str, Value> = KEYS
        .iter()
        .map(|key| {
            let text = key.default.to_owned();
            let origin = Origin::Default;
            (key.name, Value { text, origin })
        })
        .collect();
    if let Some((path, required)) = &layers.file {
        read_file(path, *required, &mut values, &mut errors);
    }
    read_environment(&layers.environment, &mut values, &mut errors);
    for (name, text) in &layers.flags {
        // Keys without a flag of their own come by `--set`.
        let flag = match FLAGS.contains(name) {
            true => name.replace('_', "-"),
            false => format!("set {name}"),
        };
        let origin = Origin::Flag(flag);
        let text = text.clone();
        values.insert(name, Value { text, origin });
    }
    for key in KEYS {
        let value = &values[key.name];
        if !key.kind.accepts(&value.text) {
            let shown = if key.secret { "the value" } else { &value.text };
            errors.push(ConfigError {
                key: key.name.into(),
                origin: value.origin.clone(),
                what: format!("`{shown}` is not allowed"),
                allowed: key.kind.allowed(),
            });
        }
    }
    let object_store = objects::read(&values, &layers.environment, &mut errors);
    let kafka = kafka::read(&values, &mut errors);
    if errors.is_empty() {
        Ok(typed(values, object_store, kafka))
    } else {
        Err(ConfigErrors(errors))
    }
}

fn read_file(
    path: &Path,
    required: bool,
    values: &mut BTreeMap<&'static str, Value>,
    errors: &mut Vec<ConfigError>,
) {
    let origin = Origin::File(path.to_owned());
    let whole_file = |what: String, allowed: &str| ConfigError {
        key: "(file)".into(),
        origin: origin.clone(),
        what,
        allowed: allowed.into(),
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            errors.push(whole_file(
                format!("cannot be read: {error}"),
                "a TOML file",
            ));
            return;
        }
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let what = error.to_string();
            errors.push(whole_file(what.trim_end().replace('\n', "\n    "), "TOML"));
            return;
        }
    };
    let mut flat = Vec::new();
    flatten("", table, &mut flat);
    for (name, value) in flat {
        let Some(key) = Key::find(&name) else {
            errors.push(unknown(name, origin.clone()));
            continue;
        };
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => {
                errors.push(ConfigError {
                    key: name,
                    origin: origin.clone(),
                    what: format!("is a TOML {}", other.type_str()),
                    allowed: key.kind.allowed(),
                });
                continue;
            }
        };
        let origin = origin.clone();
        values.insert(key.name, Value { text, origin });
    }
}

fn flatten(prefix: &str, table: toml::Table, out: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let path = match prefix {
            "" => name,
            _ => format!("{prefix}.{name}"),
        };
        match value {
            toml::Value::Table(inner) => flatten(&path, inner, out),
            value => out.push((path, value)),
        }
    }
}

fn read_environment(
    environment: &BTreeMap<String, String>,
    values: &mut BTreeMap<&'static str, Value>,
    errors: &mut Vec<ConfigError>,
) {
    for (name, text) in environment {
        if !name.starts_with("TRIBUTARY_") || OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let origin = Origin::Environment(name.clone());
        match KEYS.iter().find(|key| key.env() == *name) {
            Some(key) => {
                let text = text.clone();
                values.insert(key.name, Value { text, origin });
            }
            None if is_service_link(name) => {}
            None => errors.push(unknown(name.clone(), origin)),
        }
    }
}

/// Variables that Kubernetes puts into every container beside a service called `tributary`; nobody meant them for us.
fn is_service_link(name: &str) -> bool {
    let rest = name.trim_start_matches("TRIBUTARY_");
    rest == "SERVICE_HOST"
        || rest == "PORT"
        || rest.starts_with("SERVICE_PORT")
        || rest
            .strip_prefix("PORT_")
            .is_some_and(|port| port.starts_with(|first: char| first.is_ascii_digit()))
}

/// An unknown key, with the known one that looks most like it.
fn unknown(name: String, origin: Origin) -> ConfigError {
    let plain = |text: &str| {
        text.to_ascii_lowercase()
            .trim_start_matches("tributary_")
            .replace('.', "_")
    };
    let wanted = plain(&name);
    let nearest = KEYS
        .iter()
        .map(|key| (distance(&wanted, &plain(key.name)), key.name))
        .min()
        .filter(|(far, _)| *far <= NEAR_EDITS_MAX);
    let allowed = match nearest {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => {
            let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
            format!("one of: {}", names.join(", "))
        }
    };
    ConfigError {
        key: name,
        origin,
        what: "there is no such key".into(),
        allowed,
    }
}

/// Edits up to which an unknown key is taken for a slip of the finger.
const NEAR_EDITS_MAX: usize = 3;

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = usize::from(x != *y);
            let next = (diagonal + cost).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

/// An answer of which nothing could be sent for this long is given up: a mobile network that comes back within a minute
/// loses nothing.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);

/// All values passed their kind's check.
fn typed(
    values: BTreeMap<&'static str, Value>,
    object_store: Option<crate::objects::Settings>,
    kafka: Option<pipelines::effect::kafka::Settings>,
) -> Config {
    const CHECKED: &str = "the key's kind has accepted the text";
    let text = |name: &str| values[name].text.clone();
    let number = |name: &str| text(name).parse::<u64>().expect(CHECKED);
    // What is fixed at the first start is a wish only if somebody said it: a default must not contradict an older folder.
    let set = |name: &str| {
        let value = &values[name];
        (value.origin != Origin::Default).then(|| value.text.clone())
    };
    let seconds = |name: &str| Duration::from_secs(number(name));
    let data = PathBuf::from(text("data"));
    let backup_dir = match text("backup.folder") {
        folder if folder.is_empty() => data.join("backups"),
        folder => PathBuf::from(folder),
    };
    Config {
        listen: text("listen").parse().expect(CHECKED),
        time_zone: set("time_zone"),
        admin_key: Some(text("admin_key")).filter(|key| !key.is_empty()),
        partitions: set("partitions").map(|text| text.parse().expect(CHECKED)),
        registry_url: set("registry.url").filter(|url| !url.is_empty()),
        manual_clock: text("manual_clock") == "true",
        lag_events_max: number("lag_events_max"),
        log_json: text("log.format") == "json",
        log_filter: text("log.filter"),
        http: HttpLimits {
            connections_max: usize::try_from(number("http.connections_max")).expect(CHECKED),
            connections_per_address_max: usize::try_from(number(
                "http.connections_per_address_max",
            ))
            .expect(CHECKED),
            head_timeout: seconds("http.head_timeout_s"),
            body_timeout: seconds("http.body_timeout_s"),
            unread_timeout: UNREAD_TIMEOUT,
            body_memory_bytes: usize::try_from(number("http.body_memory_mib")).expect(CHECKED)
                * 1024
                * 1024,
            drain_timeout: seconds("http.drain_timeout_s"),
        },
        lake: (text("lake.enabled") == "true").then(|| LakeOptions {
            flush_rows: usize::try_from(number("lake.flush_rows")).expect(CHECKED),
            flush_age_ms: i64::try_from(1_000 * number("lake.flush_s")).expect(CHECKED),
        }),
        import: ImportLimits {
            upload_bytes_max: number("import.upload_mib_max") * 1024 * 1024,
            folder: Some(PathBuf::from(text("import.folder")))
                .filter(|folder| !folder.as_os_str().is_empty()),
        },
        object_store,
        kafka,
        backup_daily: !text("backup.folder").is_empty(),
        backups_kept: usize::try_from(number("backup.keep")).expect(CHECKED),
        archive_dir: PathBuf::from(text("archive.folder")),
        day_keys: DayKeys {
            days_kept: u16::try_from(number("keys.days_kept")).expect(CHECKED),
            need_backup: text("keys.need_backup") == "true",
        },
        trusted_proxies: text("http.trusted_proxies").parse().expect(CHECKED),
        allow_networks: text("effects.allow_networks").parse().expect(CHECKED),
        data,
        backup_dir,
        effective: KEYS
            .iter()
            .map(|key| (key, values[key.name].clone()))
            .collect(),
    }
}
