//! The load: connections that send the demo brand's stream as fast as they are answered, or at a given rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::demo::batch::{Batch, Batches, Form};
use crate::demo::client::Client;
use crate::demo::generator::{Generator, World};
use crate::demo::{DemoError, Keyring};

use super::BenchOptions;
use super::table::Times;

/// The world of every benchmark.
const SEED: u64 = 20_261_122;
/// The span of the stream: events of the last thirty days.
const SPAN_MS: i64 = 30 * 86_400_000;

/// What the connections saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Events acknowledged.
    pub events: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// From the first request to the last acknowledgement.
    pub took: Duration,
    /// From sending a request to its acknowledgement.
    pub acks: Times,
    /// Requests that were asked to come back later.
    pub refused: u64,
    /// The last token of each connection.
    pub tokens: Vec<String>,
}

/// Streams of the load: one for each connection, of one world, no message of one in another.
pub(super) fn streams(options: &BenchOptions, events: u64, first_stream: u16) -> Vec<Batches> {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let connections = options.connections.max(1) as u64;
    (0..connections)
        .map(|at| {
            let world = World {
                seed: SEED,
                people: options.people,
                start_ms: now_ms - SPAN_MS,
                end_ms: now_ms,
                messages: events / connections + u64::from(at < events % connections),
                stream: first_stream + at as u16,
            };
            let generator = Generator::new(world).grown().without_repeats();
            Batches::new(generator, options.batch)
        })
        .collect()
}

/// Sends all streams, each on its connection, and stops early when `until` has passed. With a `rate` (events per second
/// over all connections) requests are paced, and an acknowledgement counts from the instant its request was due: a
/// server that is too slow cannot hide it by slowing the load.
pub(super) async fn send(
    server: SocketAddr,
    keys: &Keyring,
    streams: Vec<Batches>,
    rate: Option<u32>,
    until: Option<Instant>,
) -> Result<Seen, DemoError> {
    let begun = Instant::now();
    let planned = Arc::new(AtomicU64::new(0));
    let mut connections = Vec::new();
    for stream in streams {
        let connection = Connection {
            client: Client::new(server),
            keys: keys.clone(),
            begun,
            rate,
            until,
            planned: Arc::clone(&planned),
        };
        connections.push(tokio::spawn(connection.run(stream)));
    }
    let mut seen = Seen::default();
    for connection in connections {
        let part = connection
            .await
            .map_err(|error| DemoError::Task(error.to_string()))??;
        seen.events += part.events;
        seen.bytes += part.bytes;
        seen.refused += part.refused;
        seen.acks.extend(part.acks);
        seen.tokens.extend(part.tokens);
    }
    seen.took = begun.elapsed();
    Ok(seen)
}

struct Connection {
    client: Client,
    keys: Keyring,
    begun: Instant,
    rate: Option<u32>,
    until: Option<Instant>,
    /// Events that all connections together have sent or are about to.
    planned: Arc<AtomicU64>,
}

impl Connection {
    async fn run(mut self, mut stream: Batches) -> Result<Seen, DemoError> {
        let mut seen = Seen::default();
        while let Some(batch) = stream.next_batch() {
            let due = self.due(&batch);
            if self.until.is_some_and(|until| due > until) {
                break;
            }
            tokio::time::sleep_until(due.into()).await;
            self.send(&batch, due, &mut seen).await?;
            stream.give_back(batch);
        }
        Ok(seen)
    }

    /// When the request is due: now, or its place in the rate.
    fn due(&self, batch: &Batch) -> Instant {
        let count = batch.messages.len() as u64;
        let before = self.planned.fetch_add(count, Ordering::Relaxed);
        match self.rate {
            None => Instant::now(),
            Some(rate) => {
                self.begun + Duration::from_secs_f64(before as f64 / f64::from(rate.max(1)))
            }
        }
    }

    async fn send(
        &mut self,
        batch: &Batch,
        due: Instant,
        seen: &mut Seen,
    ) -> Result<(), DemoError> {
        let path = Form::of(batch.source).path();
        let authorization = self.keys.authorization(batch.source);
        let (answer, refused) = self
            .client
            .post_patiently(path, authorization, &batch.body)
            .await?;
        if !answer.is_good() {
            return Err(DemoError::Refused {
                what: format!("{} events at {path}", batch.messages.len()),
                status: answer.status,
                body: answer.text(),
            });
        }
        seen.acks.push(due.elapsed());
        seen.events += batch.messages.len() as u64;
        seen.bytes += batch.body.len() as u64;
        seen.refused += u64::from(refused);
        if let Some(token) = answer.token {
            seen.tokens = vec![token];
        }
        Ok(())
    }
}

/// CPU that this process has used, in microseconds.
pub(super) fn own_cpu_us() -> f64 {
    // SAFETY: `usage` is a valid, writable rusage, which may be all zeros.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let us = |t: libc::timeval| t.tv_sec as f64 * 1e6 + t.tv_usec as f64;
    us(usage.ru_utime) + us(usage.ru_stime)
}
