//! The same load until it is applied; what that writes to the disk; and how far behind reads are at a steady rate.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::demo::audience;
use crate::demo::client::{Client, api_key, write_key};
use crate::demo::{DemoError, Keyring};

use super::child::{ADMIN_KEY, Server};
use super::table::{Table, Times};
use super::{BenchError, BenchOptions, ingest, load, reads};

/// Between two probes of the lag.
const PROBE_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn run(
    options: &BenchOptions,
    dir: &Path,
    table: &mut Table,
) -> Result<(), BenchError> {
    let server = Server::start(options, &dir.join("data")).await?;
    let mut client = Client::new(server.address);
    let keys = Keyring::create(&mut client, ADMIN_KEY).await?;
    let rules = options.rules;
    if rules > 0 {
        audience::define(&mut client, ADMIN_KEY, rules, rules).await?;
        table.row("tags, and as many segments", rules as f64, "");
    }
    let before = server.usage();
    let begun = Instant::now();
    let mut seen = ingest::measure(options, &server, &keys, table).await?;
    wait_applied(&mut client, &seen.tokens).await?;
    let took = begun.elapsed().as_secs_f64();
    let usage = server.usage().since(&before);
    let events = seen.events.max(1) as f64;
    table.goal(
        "applied",
        events / took / 1e3,
        "k/s",
        match rules {
            0 => ">= 60, then 120 (with 20 tags and segments)",
            1..=20 => ">= 60, then 120",
            _ => ">= 30, then 60 (with 300 of each)",
        },
    );
    table.row(
        "server CPU in all",
        usage.cpu_total_us() / events,
        "us/event",
    );
    ingest::rows_of_cpu(table, &usage, events);
    table.goal(
        "written to the disk",
        usage.written as f64 / events / 1e3,
        "KB/event",
        "<= 3, then 1.5",
    );
    table.row("memory, resident", usage.resident as f64 / 1e6, "MB");
    ingest::rows_of_acks(table, &mut seen);
    if options.rate > 0 {
        lag(options, &server, &keys, table).await?;
    }
    Ok(())
}

/// Waits until everything up to the tokens is applied.
pub(super) async fn wait_applied(client: &mut Client, tokens: &[String]) -> Result<(), BenchError> {
    for token in tokens {
        let path = format!("/api/v1/stats?after={token}");
        reads::get_patiently(client, &path).await?;
    }
    Ok(())
}

/// At a steady rate, from the acknowledgement of an event until a read of its member shows it.
async fn lag(
    options: &BenchOptions,
    server: &Server,
    keys: &Keyring,
    table: &mut Table,
) -> Result<(), BenchError> {
    let until = Instant::now() + Duration::from_secs(options.seconds.into());
    // Streams that the first run did not use.
    let first_stream = 10_000;
    let events = u64::from(options.rate) * u64::from(options.seconds);
    let small = BenchOptions {
        batch: options.batch.min(100),
        ..options.clone()
    };
    let streams = load::streams(&small, events, first_stream);
    let (address, keys) = (server.address, keys.clone());
    let rate = options.rate;
    let loading =
        tokio::spawn(
            async move { load::send(address, &keys, streams, Some(rate), Some(until)).await },
        );
    let mut lags = probe(server, until).await?;
    let mut seen = loading
        .await
        .map_err(|error| BenchError::Part(error.to_string()))??;
    let reached = seen.events as f64 / seen.took.as_secs_f64() / 1e3;
    table.row(format!("at {} k/s: reached", rate / 1_000), reached, "k/s");
    table.times("  acknowledgement of a request", &mut seen.acks, "");
    table.row("  probes", lags.len() as f64, "");
    table.times(
        "  from acknowledged to visible",
        &mut lags,
        "< 1000, then 200",
    );
    Ok(())
}

async fn probe(server: &Server, until: Instant) -> Result<Times, BenchError> {
    let mut client = Client::new(server.address);
    let body = br#"{"name":"bench-probe","kind":"http"}"#;
    let admin = api_key(ADMIN_KEY);
    let answer = client
        .post("/api/v1/sources", &admin, body)
        .await
        .map_err(DemoError::from)?;
    let json = answer.json();
    let Some(key) = json["write_key"].as_str() else {
        return Err(refused("the probe's source", answer.status, answer.text()));
    };
    let key = write_key(key);
    let mut lags = Times::default();
    let mut number = 0u64;
    let mut beat = tokio::time::interval(PROBE_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while Instant::now() < until {
        beat.tick().await;
        number += 1;
        let event = format!(
            r#"{{"message_id":"probe-{number}","type":"track","name":"Probe","identifiers":["user_id:probe-{number}"]}}"#
        );
        let (answer, _) = client
            .post_patiently("/v1/events", &key, event.as_bytes())
            .await
            .map_err(DemoError::from)?;
        let Some(token) = answer.token else {
            return Err(refused("a probe", answer.status, answer.text()));
        };
        let acknowledged = Instant::now();
        let path = format!("/api/v1/members?identifier=user_id%3Aprobe-{number}&after={token}");
        let answer = reads::get_patiently(&mut client, &path).await?;
        if !answer.json()["items"][0]["id"].is_string() {
            let what = format!("probe {number}: a read with its token does not see it");
            return Err(BenchError::Part(what));
        }
        lags.push(acknowledged.elapsed());
    }
    Ok(lags)
}

fn refused(what: &str, status: u16, body: String) -> BenchError {
    BenchError::Load(DemoError::Refused {
        what: what.to_owned(),
        status,
        body,
    })
}
