//! The demo brand: a seeded world of a Chinese dairy brand with ground truth, sent to the platform over its public API.
//!
//! [`run`] fills a running server and holds its answers against the truth; [`Trickle`] then goes on at the pace of life.
//! Starting the server is the command's affair. The generator alone is the load of `tributary bench`.

pub mod audience;
pub mod batch;
pub mod catalog;
pub mod client;
pub mod generator;
pub mod people;
pub mod place;
pub mod random;
pub mod rhythm;
pub mod truth;

mod check;
mod fill;
mod json;
mod report;

use std::net::SocketAddr;

use batch::Batches;
use client::{Client, api_key};
use generator::{Generator, Source, World};
use truth::Truth;

pub use check::{Judged, ask_member};
pub use fill::{Filled, Keyring};
pub use report::Report;

/// What to fill, and with how much.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Where the server listens.
    pub server: SocketAddr,
    /// A key that may do everything.
    pub admin_key: String,
    /// Messages of the past half year.
    pub messages: u64,
    /// People, visitors included; 0 takes one for ten messages.
    pub people: u32,
    /// Everything but the present time follows from it.
    pub seed: u64,
    /// The present, milliseconds since 1970: the half year ends here.
    pub now_ms: i64,
}

/// Messages of `tributary demo` unless told otherwise: a few seconds on two cores, and enough to look around in.
pub const MESSAGES_DEFAULT: u64 = 300_000;
/// The past that is filled.
const PAST_MS: i64 = 182 * 86_400_000;
/// Messages of one request: what an SDK of a busy server sends.
const BATCH_MESSAGES: usize = 500;

/// Why the demo did not come about.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The server is not there or does not speak HTTP.
    #[error("cannot talk to the server: {0}")]
    Connection(#[from] std::io::Error),
    /// The server refused a request.
    #[error("the server refused {what}: {status} {body}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// A part of the demo itself broke down.
    #[error("a part of the demo failed: {0}")]
    Task(String),
}

/// Fills the server, waits until all of it is applied, and holds its answers against the truth.
pub async fn run(options: &DemoOptions) -> Result<(Report, Trickle), DemoError> {
    let mut client = Client::new(options.server);
    let keys = Keyring::create(&mut client, &options.admin_key).await?;
    let people = match options.people {
        0 => (options.messages / 10).clamp(40, u64::from(people::PEOPLE_MAX)) as u32,
        people => people,
    };
    let generator = Generator::new(World {
        seed: options.seed,
        people,
        start_ms: options.now_ms - PAST_MS,
        end_ms: options.now_ms,
        messages: options.messages,
        stream: 0,
    });
    let batches = Batches::new(generator, BATCH_MESSAGES);
    let (filled, batches, mut truth) = fill::fill(options.server, &keys, batches).await?;
    let applied = fill::wait_applied(&mut client, &options.admin_key, &filled.tokens).await?;
    let judged = check::judge(options.server, &options.admin_key, &mut truth).await?;
    let stats = client
        .get("/api/v1/stats", &api_key(&options.admin_key))
        .await?
        .json();
    let rules = audience::DEMO_RULES;
    let made = audience::define(&mut client, &options.admin_key, rules, rules).await?;
    let report = Report::new(options, &filled, applied, &truth, judged, &stats, made);
    let trickle = Trickle {
        server: options.server,
        keys,
        batches,
        now_ms: options.now_ms,
    };
    Ok((report, trickle))
}

/// The demo's life after the filling: a few messages every second, as long as somebody wants.
#[derive(Debug)]
pub struct Trickle {
    server: SocketAddr,
    keys: Keyring,
    batches: Batches,
    now_ms: i64,
}

impl Trickle {
    /// Sends `per_second` messages every second, for a day at most. Ends early only with an error.
    pub async fn run(mut self, per_second: u32) -> Result<(), DemoError> {
        const DAY_S: u32 = 86_400;
        let mut client = Client::new(self.server);
        let mut now_ms = self.now_ms;
        let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
        for _ in 0..DAY_S {
            second.tick().await;
            let generator = self.batches.generator();
            generator.go_on(now_ms, now_ms + 1_000, u64::from(per_second));
            now_ms += 1_000;
            while let Some(batch) = self.batches.next_batch() {
                fill::send(&mut client, &self.keys, &batch).await?;
                self.batches.give_back(batch);
            }
        }
        Ok(())
    }
}

/// What the truth says, for callers that fill by other means.
pub fn truth_of(world: World) -> Truth {
    let mut generator = Generator::new(world);
    let (mut truth, mut out) = (Truth::default(), Vec::new());
    while let Some(message) = generator.next(&mut out) {
        truth.take(&message);
        out.clear();
    }
    truth
}

/// What a source is called on the platform.
pub fn source_name(source: Source) -> &'static str {
    match source {
        Source::Club => "club-miniprogram",
        Source::Web => "web-shop",
        Source::Scan => "scan-miniprogram",
        Source::Tmall => "tmall-shop",
        Source::Youzan => "youzan-shop",
        Source::Store => "store-tills",
    }
}

#[cfg(test)]
mod tests;
