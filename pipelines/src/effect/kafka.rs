//! Topics of a Kafka cluster: notices as webhooks have them, and exports, a message each.
//!
//! The cluster is the operator's (section `[kafka]`), people name topics only: nobody makes this process connect to an
//! address of theirs. All replicas in sync have a message before it counts as sent; one that is sent again after a crash has
//! the same `ce_id`. Headers are those of CloudEvents' binary mode (Kafka protocol binding 1.0.2, section 3.2), the key is
//! the member, so what concerns one member lies in one partition.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};

/// What an address begins with that is a topic.
pub const SCHEME: &str = "kafka:";

/// Longest name of a topic, as brokers have it.
const TOPIC_BYTES_MAX: usize = 249;
/// A message that no broker has taken by then is tried again later by the dispatcher.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a message waits for room in the queue of the client.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// Messages of one job that are on their way at once.
const FLYING_MAX: usize = 10_000;
/// Properties that the promise above rests on, and where the address stands.
const OURS: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "transactional.id",
];

/// `HOST:PORT` of brokers to begin with; maybe none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brokers(Vec<String>);

impl Brokers {
    /// There is no cluster.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Brokers {
    type Err = String;

    /// Reads addresses with commas between.
    fn from_str(text: &str) -> Result<Brokers, String> {
        let one = |part: &str| {
            let right = part.rsplit_once(':').is_some_and(|(host, port)| {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
                !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok()
            });
            right
                .then(|| part.to_owned())
                .ok_or_else(|| format!("`{part}` is no HOST:PORT"))
        };
        parts(text).map(one).collect::<Result<_, _>>().map(Brokers)
    }
}

/// Topics that may be named: names, or beginnings with a star behind; none: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics(Vec<String>);

impl FromStr for Topics {
    type Err = String;

    /// Reads names with commas between.
    fn from_str(text: &str) -> Result<Topics, String> {
        let one = |part: &str| {
            let name = part.strip_suffix('*').unwrap_or(part);
            match name.is_empty() {
                true => Ok(part.to_owned()),
                false => check_topic(name).map(|()| part.to_owned()),
            }
        };
        parts(text).map(one).collect::<Result<_, _>>().map(Topics)
    }
}

impl Topics {
    fn allow(&self, topic: &str) -> bool {
        let fits = |name: &String| match name.strip_suffix('*') {
            Some(front) => topic.starts_with(front),
            None => name == topic,
        };
        self.0.is_empty() || self.0.iter().any(fits)
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn check_topic(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let right = !matches!(name, "" | "." | "..")
        && name.len() <= TOPIC_BYTES_MAX
        && name.chars().all(plain);
    right.then_some(()).ok_or_else(|| {
        format!("`{name}` is no topic: up to {TOPIC_BYTES_MAX} of a-z A-Z 0-9 . _ -")
    })
}

/// How the cluster is reached: section `[kafka]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    brokers: Brokers,
    topics: Topics,
    properties: BTreeMap<String, String>,
}

impl fmt::Debug for Settings {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// These brokers and topics, with properties of librdkafka: `NAME=VALUE` in each line, `#` begins a comment. The error
    /// says which line is wrong and never its value.
    ///
    /// ```
    /// use pipelines::effect::kafka::Settings;
    /// let brokers = || "127.0.0.1:9092".parse().unwrap();
    /// assert!(Settings::read(brokers(), "crm-*".parse().unwrap(), "linger.ms=20\n").is_ok());
    /// let wrong = Settings::read(brokers(), Default::default(), "# ours\nlinger=20\n").unwrap_err();
    /// assert!(wrong.starts_with("line 2: linger: "), "{wrong}");
    /// ```
    pub fn read(brokers: Brokers, topics: Topics, properties: &str) -> Result<Settings, String> {
        let mut settings = Settings {
            brokers,
            topics,
            properties: BTreeMap::new(),
        };
        for (line, text) in (1..).zip(properties.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let wrong = |what: String| format!("line {line}: {what}");
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| wrong("there is no `=` in it".into()))?;
            let (name, value) = (name.trim(), value.trim());
            if OURS.contains(&name) {
                return Err(wrong(format!("{name} is set by the server")));
            }
            settings.properties.insert(name.into(), value.into());
            let checked = settings.client().create_native_config();
            checked.map_err(|error| match error {
                // Some descriptions quote the value.
                KafkaError::ClientConfig(_, what, name, _) => wrong(format!(
                    "{name}: {}",
                    what.replace(&format!("\"{value}\""), "…")
                )),
                other => wrong(other.to_string()),
            })?;
        }
        Ok(settings)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("client.id", "tributary")
            .set("compression.type", "lz4")
            // As the clients of other languages do it: the same key, the same partition.
            .set("partitioner", "murmur2_random");
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
            .set("bootstrap.servers", self.brokers.0.join(","))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set(
                "message.timeout.ms",
                MESSAGE_TIMEOUT.as_millis().to_string(),
            );
        client
    }
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It never will be.
    #[error("{0}")]
    Refused(String),
    /// Later, perhaps.
    #[error("{0}")]
    Failed(String),
}

/// A message for a topic: what CloudEvents' headers say, and the body.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The topic.
    pub topic: &'a str,
    /// What stays together and in order; none: any partition.
    pub key: Option<&'a str>,
    /// The same each time it is sent.
    pub id: &'a str,
    /// What of ours tells it, e.g. `/webhooks/5`.
    pub source: &'a str,
    /// What it is, e.g. `segment.entered`.
    pub kind: &'a str,
    /// When that was, RFC 3339.
    pub time: &'a str,
    /// Whose it is, if it is one brand's.
    pub brand: Option<u64>,
    /// JSON.
    pub body: &'a str,
}

impl<'a> Message<'a> {
    fn record(&self) -> FutureRecord<'a, str, str> {
        let brand = self.brand.map(|brand| brand.to_string());
        let headers = [
            ("content-type", Some("application/json")),
            ("ce_specversion", Some("1.0")),
            ("ce_id", Some(self.id)),
            ("ce_source", Some(self.source)),
            ("ce_type", Some(self.kind)),
            ("ce_time", Some(self.time)),
            ("brand", brand.as_deref()),
        ];
        let headers = headers
            .into_iter()
            .filter(|(_, value)| value.is_some())
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value })
            });
        let record = FutureRecord::to(self.topic)
            .payload(self.body)
            .headers(headers);
        match self.key {
            Some(key) => record.key(key),
            None => record,
        }
    }
}

/// The cluster. Connects when the first message is sent.
pub struct Kafka {
    settings: Settings,
    producer: Mutex<Option<Arc<Kept>>>,
}

impl Kafka {
    /// A cluster that is reached like this.
    pub fn new(settings: Settings) -> Kafka {
        Kafka {
            settings,
            producer: Mutex::default(),
        }
    }

    /// Whether somebody may name the topic, else why not.
    pub fn check(&self, topic: &str) -> Result<(), String> {
        check_topic(topic)?;
        match self.settings.topics.allow(topic) {
            true => Ok(()),
            false => Err(format!("kafka.topics does not name `{topic}`")),
        }
    }

    /// Sends a message and waits until all replicas in sync have it, or [`MESSAGE_TIMEOUT`] is over.
    pub async fn send(&self, message: Message<'_>) -> Result<(), SendError> {
        self.check(message.topic).map_err(SendError::Refused)?;
        let producer = self.producer()?;
        let sent = producer.send(&message).await;
        sent.map_err(|error| self.failed(&producer, &error))
    }

    /// Begins to send many.
    pub fn many(&self) -> Result<Many<'_>, SendError> {
        Ok(Many {
            producer: self.producer()?,
            kafka: self,
            flying: VecDeque::new(),
        })
    }

    fn failed(&self, producer: &Arc<Kept>, error: &KafkaError) -> SendError {
        let told = judge(error);
        if matches!(told, SendError::Failed(_)) && !late(error) {
            self.begin_anew(producer);
        }
        told
    }

    /// Lets the next message have another producer: one that met an error of its own takes nothing any more, and what one was
    /// told of a topic (no permission, not there) it keeps for minutes.
    fn begin_anew(&self, with: &Arc<Kept>) {
        let mut kept = self.producer.lock();
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, with)) {
            *kept = None;
        }
    }

    fn producer(&self) -> Result<Arc<Kept>, SendError> {
        let mut kept = self.producer.lock();
        if let Some(producer) = &*kept {
            return Ok(producer.clone());
        }
        let made = self.settings.client().create().map_err(|error| {
            SendError::Failed(match error {
                KafkaError::ClientCreation(what) => what,
                other => other.to_string(),
            })
        })?;
        Ok(kept.insert(Arc::new(Kept(Some(made)))).clone())
    }
}

/// Messages on their way, [`FLYING_MAX`] at once. The first that fails ends it.
pub struct Many<'k> {
    kafka: &'k Kafka,
    producer: Arc<Kept>,
    flying: VecDeque<DeliveryFuture>,
}

impl Many<'_> {
    /// Sends one; waits for the oldest if there are too many.
    pub async fn push(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.kafka
            .check(message.topic)
            .map_err(SendError::Refused)?;
        while self.flying.len() >= FLYING_MAX {
            self.oldest().await?;
        }
        let mut record = message.record();
        loop {
            match self.producer.client().send_result(record) {
                Ok(flies) => {
                    self.flying.push_back(flies);
                    return Ok(());
                }
                Err((error, again)) if late(&error) && !self.flying.is_empty() => {
                    record = again;
                    self.oldest().await?;
                }
                Err((error, _)) => return Err(self.kafka.failed(&self.producer, &error)),
            }
        }
    }

    /// Waits until all have arrived.
    pub async fn finish(mut self) -> Result<(), SendError> {
        while !self.flying.is_empty() {
            self.oldest().await?;
        }
        Ok(())
    }

    async fn oldest(&mut self) -> Result<(), SendError> {
        let Some(flies) = self.flying.pop_front() else {
            return Ok(());
        };
        match flies.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(self.kafka.failed(&self.producer, &error)),
            Err(_) => Err(SendError::Failed("the producer has ended".into())),
        }
    }
}

/// A producer, until it is dropped.
struct Kept(Option<FutureProducer>);

impl Kept {
    fn client(&self) -> &FutureProducer {
        self.0.as_ref().expect("only dropping takes it")
    }

    async fn send(&self, message: &Message<'_>) -> Result<(), KafkaError> {
        let sent = self.client().send(message.record(), ROOM_WAIT).await;
        sent.map(|_| ()).map_err(|(error, _)| error)
    }
}

impl Drop for Kept {
    /// Ends its thread and closes its connections, which waits for them: not on a thread that drives others.
    fn drop(&mut self) {
        let producer = self.0.take();
        let thread = std::thread::Builder::new().name("kafka-end".into());
        // Without a thread it is dropped here.
        let _ = thread.spawn(move || drop(producer));
    }
}

/// Nobody answered: the client goes on trying to reach them by itself.
fn late(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::QueueFull)
    )
}

/// Whether trying again may help.
fn judge(error: &KafkaError) -> SendError {
    let code = error.rdkafka_error_code();
    let what = match code {
        Some(RDKafkaErrorCode::MessageTimedOut) => {
            let seconds = MESSAGE_TIMEOUT.as_secs();
            format!("no broker took it within {seconds} s")
        }
        Some(code) => code.to_string(),
        None => error.to_string(),
    };
    match code {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::PolicyViolation,
        ) => SendError::Refused(what),
        _ => SendError::Failed(what),
    }
}

#[cfg(test)]
mod tests;
