//! Exports: members of a segment a second, as CSV and as a workbook, and what that takes of memory.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::demo::Keyring;
use crate::demo::client::{Answer, Client, api_key};

use super::child::{ADMIN_KEY, Server};
use super::table::Table;
use super::{BenchError, BenchOptions, apply, restart};

/// Between two questions how far it is.
const POLL: Duration = Duration::from_millis(20);

/// Fills members, and exports all of them.
pub(super) async fn run(
    options: &BenchOptions,
    dir: &Path,
    table: &mut Table,
) -> Result<(), BenchError> {
    let server = Server::start(options, &dir.join("data")).await?;
    let mut client = Client::new(server.address);
    let keys = Keyring::create(&mut client, ADMIN_KEY).await?;
    let tokens = restart::fill(options, server.address, &keys, options.people).await?;
    apply::wait_applied(&mut client, &tokens).await?;
    let rule = r#"{"name": "everybody", "rule": {"and": []}}"#;
    let made = post(&mut client, "/api/v1/segments", rule).await?;
    let segment = made["id"].as_u64().unwrap_or_default();
    let count = format!("/api/v1/segments/{segment}/count");
    while get(&mut client, &count).await?.json()["count"].as_u64() != Some(options.people.into()) {
        tokio::time::sleep(POLL).await;
    }
    table.row("members", f64::from(options.people), "");
    let before = server.usage();
    table.row("memory before", before.resident as f64 / 1e6, "MB");
    for (format, rate, memory) in [
        ("csv", "CSV: members to rows", "memory after it"),
        ("xlsx", "XLSX: members to rows", "memory after it"),
    ] {
        let path = format!("/api/v1/segments/{segment}/exports");
        let begun = Instant::now();
        let job = post(&mut client, &path, &format!(r#"{{"format": "{format}"}}"#)).await?;
        let path = format!("{path}/{}", job["id"]);
        let done = loop {
            let job = get(&mut client, &path).await?.json();
            if job["ended"].is_string() {
                break job;
            }
            tokio::time::sleep(POLL).await;
        };
        if done["state"] != "done" {
            return Err(BenchError::Part(done["message"].to_string()));
        }
        let rows = done["counts"]["rows"].as_f64().unwrap_or_default();
        let took = begun.elapsed().as_secs_f64();
        table.row(rate, rows / took / 1e3, "k rows/s");
        let bytes = done["counts"]["bytes"].as_f64().unwrap_or_default();
        table.row("  file", bytes / 1e6, "MB");
        let resident = server.usage().resident as f64;
        table.row(format!("  {memory}"), resident / 1e6, "MB");
    }
    table.note("all columns of members with three identifiers and two attributes");
    server.kill().await
}

async fn get(client: &mut Client, path: &str) -> Result<Answer, BenchError> {
    let answer = client.get(path, &api_key(ADMIN_KEY)).await;
    answer.map_err(BenchError::io("asking the server"))
}

async fn post(client: &mut Client, path: &str, body: &str) -> Result<Value, BenchError> {
    let key = api_key(ADMIN_KEY);
    let answer = client.post_patiently(path, &key, body.as_bytes()).await;
    let (answer, _) = answer.map_err(BenchError::io("asking the server"))?;
    match answer.is_good() {
        true => Ok(answer.json()),
        false => Err(BenchError::Part(format!("{path}: {}", answer.text()))),
    }
}
