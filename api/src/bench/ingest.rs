//! Events over HTTP in batches on kept-alive connections, acknowledged durable.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::demo::Keyring;
use crate::demo::client::Client;

use super::child::{ADMIN_KEY, Server, Usage};
use super::load::{self, Seen};
use super::table::Table;
use super::{BenchError, BenchOptions};

pub(super) async fn run(
    options: &BenchOptions,
    dir: &Path,
    table: &mut Table,
) -> Result<(), BenchError> {
    let server = Server::start(options, &dir.join("data")).await?;
    let keys = Keyring::create(&mut Client::new(server.address), ADMIN_KEY).await?;
    let mut seen = measure(options, &server, &keys, table).await?;
    rows_of_acks(table, &mut seen);
    drop(server);
    ceiling(options, &keys, table).await
}

/// Sends the load as fast as it is acknowledged, and says what that cost.
pub(super) async fn measure(
    options: &BenchOptions,
    server: &Server,
    keys: &Keyring,
    table: &mut Table,
) -> Result<Seen, BenchError> {
    let (before, client_before) = (server.usage(), load::own_cpu_us());
    let streams = load::streams(options, options.events, 0);
    let seen = load::send(server.address, keys, streams, None, None).await?;
    let client = load::own_cpu_us() - client_before;
    let usage = server.usage().since(&before);
    let events = seen.events.max(1) as f64;
    table.row("events", seen.events as f64, "");
    table.row("bytes of an event", seen.bytes as f64 / events, "B");
    table.goal(
        "acknowledged",
        events / seen.took.as_secs_f64() / 1e3,
        "k/s",
        ">= 100, then 200",
    );
    table.row(
        "server CPU until then",
        usage.cpu_total_us() / events,
        "us/event",
    );
    table.row("load generator CPU", client / events, "us/event");
    if seen.refused > 0 {
        table.note(format!(
            "{} requests were asked to come back later (429): admission waits for applying",
            seen.refused
        ));
    }
    Ok(seen)
}

/// How long acknowledgements took.
pub(super) fn rows_of_acks(table: &mut Table, seen: &mut Seen) {
    table.row("requests", seen.acks.len() as f64, "");
    table.times("acknowledgement of a request", &mut seen.acks, "");
}

/// CPU by thread, the busiest first.
pub(super) fn rows_of_cpu(table: &mut Table, usage: &Usage, events: f64) {
    /// Less than this per event is noise.
    const SMALLEST_US: f64 = 0.05;
    let mut threads: Vec<_> = usage.cpu_us.iter().collect();
    threads.sort_by(|a, b| b.1.total_cmp(a.1));
    for (name, us) in threads {
        if us / events >= SMALLEST_US {
            table.row(
                format!("  of it, threads `{name}`"),
                us / events,
                "us/event",
            );
        }
    }
}

/// The same load against a server that only reads and says 200: what the generator and the sockets can do at most.
async fn ceiling(
    options: &BenchOptions,
    keys: &Keyring,
    table: &mut Table,
) -> Result<(), BenchError> {
    let address = yes_sayer().await.map_err(BenchError::io("listening"))?;
    let streams = load::streams(options, options.events, 0);
    let seen = load::send(address, keys, streams, None, None).await?;
    table.row(
        "the load generator alone, against a yes-sayer",
        seen.events as f64 / seen.took.as_secs_f64() / 1e3,
        "k/s",
    );
    Ok(())
}

/// Answers 200 to every request on every connection.
async fn yes_sayer() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A connection ends when the load has been sent.
            tokio::spawn(async move { say_yes(stream).await.ok() });
        }
    });
    Ok(address)
}

async fn say_yes(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(512 * 1_024);
    loop {
        input.clear();
        let mut end = None;
        while end.is_none_or(|end| input.len() < end) {
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            if end.is_none() {
                end = request_end(&input);
            }
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .await?;
    }
}

/// Where the request ends, once its head is there.
fn request_end(input: &[u8]) -> Option<usize> {
    const LENGTH: &str = "content-length: ";
    let head = input.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&input[..head]).ok()?;
    let length = text
        .find(LENGTH)
        .map_or("0", |at| &text[at + LENGTH.len()..]);
    let length: usize = length.lines().next()?.trim().parse().ok()?;
    Some(head + 4 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_yes_sayer_speaks_http() {
        let mut client = Client::new(yes_sayer().await.unwrap());
        for body in [&b"{}"[..], &[b' '; 70_000]] {
            let answer = client.post("/v1/batch", "", body).await.unwrap();
            assert_eq!((answer.status, &*answer.body), (200, &b"{}"[..]));
        }
    }
}
