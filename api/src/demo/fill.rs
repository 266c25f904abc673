//! Sends the stream: sources with their write keys, one connection each, patient with a server that is busy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::batch::{Batch, Batches, Form};
use super::client::{Client, api_key, write_key};
use super::generator::Source;
use super::truth::Truth;
use super::{DemoError, source_name};

/// Requests that wait for their source's connection: enough to keep it busy.
const WAITING_MAX: usize = 4;

/// The write keys of the demo's sources.
#[derive(Debug, Clone)]
pub struct Keyring {
    authorizations: Vec<String>,
}

impl Keyring {
    /// Creates the six sources.
    pub async fn create(client: &mut Client, admin_key: &str) -> Result<Keyring, DemoError> {
        let mut authorizations = Vec::new();
        for source in Source::ALL {
            let kind = match Form::of(source) {
                Form::Segment => "segment",
                Form::Scan => "scan",
                Form::Own => "http",
            };
            let name = source_name(source);
            let body = serde_json::json!({ "name": name, "kind": kind }).to_string();
            let answer = client
                .post("/api/v1/sources", &api_key(admin_key), body.as_bytes())
                .await?;
            let json = answer.json();
            match json["write_key"].as_str() {
                Some(key) if answer.is_good() => authorizations.push(write_key(key)),
                _ => {
                    return Err(DemoError::Refused {
                        what: format!("the source `{name}` (a demo wants an empty data folder)"),
                        status: answer.status,
                        body: answer.text(),
                    });
                }
            }
        }
        Ok(Keyring { authorizations })
    }

    /// `Authorization` of a source.
    pub fn authorization(&self, source: Source) -> &str {
        &self.authorizations[source as usize]
    }
}

/// How the filling went.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    /// Messages sent and acknowledged.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// From the first request to the last acknowledgement.
    pub took: Duration,
    /// How often a request had to come back because the server was busy.
    pub retries: u64,
    /// The last token of each source.
    pub tokens: Vec<String>,
}

/// Sends all of `batches`; gives them back for more, with the truth about what was sent.
pub(super) async fn fill(
    server: SocketAddr,
    keys: &Keyring,
    batches: Batches,
) -> Result<(Filled, Batches, Truth), DemoError> {
    let begun = Instant::now();
    let mut lanes = Vec::new();
    let mut senders = Vec::new();
    for _ in Source::ALL {
        let (lane, waiting) = mpsc::channel(WAITING_MAX);
        lanes.push(lane);
        senders.push(tokio::spawn(send_all(server, keys.clone(), waiting)));
    }
    let generated = tokio::task::spawn_blocking(move || generate(batches, &lanes));
    let mut filled = Filled::default();
    for sender in senders {
        let part = sender.await.map_err(broke)??;
        filled.messages += part.messages;
        filled.bytes += part.bytes;
        filled.retries += part.retries;
        filled.tokens.extend(part.tokens);
    }
    filled.took = begun.elapsed();
    let (batches, truth) = generated.await.map_err(broke)?;
    Ok((filled, batches, truth))
}

fn broke(error: tokio::task::JoinError) -> DemoError {
    DemoError::Task(error.to_string())
}

/// Hands every request to its source's lane. A lane that has ended has failed and will say why; the rest is not sent.
fn generate(mut batches: Batches, lanes: &[mpsc::Sender<Batch>]) -> (Batches, Truth) {
    let mut truth = Truth::default();
    while let Some(batch) = batches.next_batch() {
        for message in &batch.messages {
            truth.take(message);
        }
        if lanes[batch.source as usize].blocking_send(batch).is_err() {
            break;
        }
    }
    (batches, truth)
}

async fn send_all(
    server: SocketAddr,
    keys: Keyring,
    mut waiting: mpsc::Receiver<Batch>,
) -> Result<Filled, DemoError> {
    let mut client = Client::new(server);
    let mut filled = Filled::default();
    while let Some(batch) = waiting.recv().await {
        let (token, retries) = send(&mut client, &keys, &batch).await?;
        filled.messages += batch.messages.len() as u64;
        filled.bytes += batch.body.len() as u64;
        filled.retries += u64::from(retries);
        if let Some(token) = token {
            filled.tokens = vec![token];
        }
    }
    Ok(filled)
}

/// Sends one request until it is acknowledged. Answers its token and how often it had to come back.
pub(super) async fn send(
    client: &mut Client,
    keys: &Keyring,
    batch: &Batch,
) -> Result<(Option<String>, u32), DemoError> {
    let path = Form::of(batch.source).path();
    let (answer, retries) = client
        .post_patiently(path, keys.authorization(batch.source), &batch.body)
        .await?;
    if answer.is_good() {
        return Ok((answer.token, retries));
    }
    Err(DemoError::Refused {
        what: format!("{} messages at {path}", batch.messages.len()),
        status: answer.status,
        body: answer.text(),
    })
}

/// Waits until the server has applied everything up to the tokens. Answers how long that took.
pub(super) async fn wait_applied(
    client: &mut Client,
    admin_key: &str,
    tokens: &[String],
) -> Result<Duration, DemoError> {
    let begun = Instant::now();
    for token in tokens {
        let path = format!("/api/v1/stats?after={token}");
        loop {
            // The server itself waits up to two seconds before it says 503: no pause is needed here.
            let answer = client.get(&path, &api_key(admin_key)).await?;
            if answer.is_good() {
                break;
            }
            if !answer.asks_patience() {
                return Err(DemoError::Refused {
                    what: path,
                    status: answer.status,
                    body: answer.text(),
                });
            }
        }
    }
    Ok(begun.elapsed())
}
