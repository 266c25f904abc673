//! How soon a server with many members is ready again after kill −9 under load, and how much memory they take.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::demo::batch::Form;
use crate::demo::client::Client;
use crate::demo::generator::Source;
use crate::demo::people::{Key, Kind, PEOPLE_MAX};
use crate::demo::{DemoError, Keyring};

use super::child::{ADMIN_KEY, Server};
use super::table::Table;
use super::{BenchError, BenchOptions, apply, load, reads};

/// Load before the kill: long enough for frames behind every cache.
const LOAD: Duration = Duration::from_secs(3);
/// Between two looks at something that takes its time.
const LOOK: Duration = Duration::from_millis(50);
/// People above these do not meet those that `load` makes.
const FIRST: u32 = 40_000_000;

pub(super) async fn run(
    options: &BenchOptions,
    dir: &Path,
    table: &mut Table,
) -> Result<(), BenchError> {
    let data = dir.join("data");
    let server = Server::start(options, &data).await?;
    table.row("start on an empty folder", ms(server.ready_after), "ms");
    let empty = server.usage();
    let mut client = Client::new(server.address);
    let keys = Keyring::create(&mut client, ADMIN_KEY).await?;
    let members = options.people.min(PEOPLE_MAX - FIRST);
    let begun = Instant::now();
    let tokens = fill(options, server.address, &keys, members).await?;
    apply::wait_applied(&mut client, &tokens).await?;
    let millions = f64::from(members.max(1)) / 1e6;
    let usage = server.usage();
    table.row("members with 3 identifiers", f64::from(members), "");
    table.row(
        "filled and applied",
        millions * 1e3 / begun.elapsed().as_secs_f64(),
        "k members/s",
    );
    let grown = usage.anonymous.saturating_sub(empty.anonymous) as f64;
    table.row("memory, resident", usage.resident as f64 / 1e6, "MB");
    table.goal(
        "memory per million members",
        grown / 1e6 / millions,
        "MB",
        "< 800, then 500 (with 40 tags)",
    );

    look(options, &server, &keys, members, table).await?;
    let under_load = kill_under_load(options, server, &keys).await?;
    table.row("killed at", under_load, "k events/s");
    let server = Server::start(options, &data).await?;
    table.goal(
        "ready after kill -9 under load",
        ms(server.ready_after),
        "ms",
        "< 10000, then 3000 (10 M members)",
    );
    let usage = server.usage();
    table.row("memory then, resident", usage.resident as f64 / 1e6, "MB");
    table.row("CPU until ready", usage.cpu_total_us() / 1e3, "ms");
    server.kill().await?;
    let server = Server::start(options, &data).await?;
    table.goal(
        "ready after kill -9 at rest",
        ms(server.ready_after),
        "ms",
        "< 10000, then 3000 (10 M members)",
    );
    let begun = Instant::now();
    let mut client = Client::new(server.address);
    loop {
        let answer = reads::get_patiently(&mut client, "/api/v1/audience").await?;
        if answer.json()["loaded"] == true {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let after = begun.elapsed().as_secs_f64();
    table.row("segments can be asked again after further", after, "s");
    let usage = server.usage();
    table.row("memory then, resident", usage.resident as f64 / 1e6, "MB");
    server.kill().await
}

/// 360 views and searches among all of them, idle and beside a steady rate.
async fn look(
    options: &BenchOptions,
    server: &Server,
    keys: &Keyring,
    members: u32,
    table: &mut Table,
) -> Result<(), BenchError> {
    /// Members that are looked at.
    const SOME: u32 = 500;
    let mut client = Client::new(server.address);
    let (mut ids, mut words) = (Vec::new(), Vec::new());
    for at in 0..SOME.min(members) {
        let member = u64::from(at) * u64::from(members) / u64::from(SOME.min(members));
        let mut phone = Vec::new();
        Key::new(Kind::Phone, FIRST + member as u32, 0).write(&mut phone);
        let phone = String::from_utf8_lossy(&phone).into_owned();
        let path = format!("/api/v1/members?identifier=phone:{phone}");
        let answer = reads::get_patiently(&mut client, &path).await?.json();
        let id = answer["items"][0]["id"].as_str();
        let id = id.ok_or_else(|| BenchError::Part(format!("{path}: nobody is there")))?;
        ids.push(id.to_owned());
        // The whole number, the last digits of it, its beginning.
        let part = match at % 3 {
            0 => &phone[..],
            1 => &phone[phone.len() - 6..],
            _ => &phone[..6],
        };
        words.push(part.to_owned());
    }
    for rate in [None, Some(options.rate)] {
        let until = Instant::now() + Duration::from_secs(options.seconds.into());
        let beside = rate.map(|rate| {
            let small = BenchOptions {
                batch: options.batch.min(100),
                ..options.clone()
            };
            let events = u64::from(rate) * u64::from(options.seconds);
            let streams = load::streams(&small, events, 15_000);
            let (address, keys) = (server.address, keys.clone());
            tokio::spawn(async move {
                load::send(address, &keys, streams, Some(rate), Some(until)).await
            })
        });
        let (mut views, mut finds) =
            reads::views_and_searches(&mut client, &ids, &words, until).await?;
        let how = match beside {
            None => "idle".to_owned(),
            Some(sending) => {
                sending
                    .await
                    .map_err(|error| BenchError::Part(error.to_string()))??;
                format!("at {} k/s", options.rate / 1_000)
            }
        };
        table.times(
            &format!("360 of a member, {how}"),
            &mut views,
            "< 5, then 2",
        );
        table.times(&format!("a search, {how}"), &mut finds, "");
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Sends the usual load, kills the server in the middle of it, and answers the rate until then in thousands per second.
async fn kill_under_load(
    options: &BenchOptions,
    server: Server,
    keys: &Keyring,
) -> Result<f64, BenchError> {
    let first_stream = 20_000;
    // More than any server takes in that time.
    let streams = load::streams(options, 20_000_000, first_stream);
    let until = Instant::now() + 2 * LOAD;
    let (address, keys) = (server.address, keys.clone());
    let before = stat(address, "received").await;
    let loading =
        tokio::spawn(async move { load::send(address, &keys, streams, None, Some(until)).await });
    tokio::time::sleep(LOAD).await;
    let after = stat(address, "received").await;
    server.kill().await?;
    // Its connections are waiting for a server that never comes back.
    loading.abort();
    Ok((after - before) / LOAD.as_secs_f64() / 1e3)
}

async fn stat(address: SocketAddr, name: &str) -> f64 {
    let key = crate::demo::client::api_key(ADMIN_KEY);
    let answer = Client::new(address).get("/api/v1/stats", &key).await;
    answer.map_or(0.0, |answer| answer.json()[name].as_f64().unwrap_or(0.0))
}

/// Members with a phone, a unionid and an openid, named in one event each.
pub(super) async fn fill(
    options: &BenchOptions,
    address: SocketAddr,
    keys: &Keyring,
    members: u32,
) -> Result<Vec<String>, BenchError> {
    let connections = options.connections.max(1) as u32;
    let share = members.div_ceil(connections);
    let senders: Vec<_> = (0..connections)
        .map(|at| {
            let from = (at * share).min(members);
            let to = (from + share).min(members);
            let keys = keys.clone();
            tokio::spawn(fill_some(
                address,
                keys,
                from,
                to,
                options.batch.max(1) as u32,
            ))
        })
        .collect();
    let mut tokens = Vec::new();
    for sender in senders {
        let token = sender
            .await
            .map_err(|error| BenchError::Part(error.to_string()))??;
        tokens.extend(token);
    }
    Ok(tokens)
}

async fn fill_some(
    address: SocketAddr,
    keys: Keyring,
    from: u32,
    to: u32,
    batch: u32,
) -> Result<Option<String>, DemoError> {
    let mut client = Client::new(address);
    let path = Form::of(Source::Store).path();
    let (mut body, mut token) = (Vec::new(), None);
    for first in (from..to).step_by(batch as usize) {
        body.clear();
        body.push(b'[');
        for member in first..(first + batch).min(to) {
            if member > first {
                body.push(b',');
            }
            write_member(&mut body, member);
        }
        body.push(b']');
        let authorization = keys.authorization(Source::Store);
        let (answer, _) = client.post_patiently(path, authorization, &body).await?;
        if !answer.is_good() {
            return Err(DemoError::Refused {
                what: path.to_owned(),
                status: answer.status,
                body: answer.text(),
            });
        }
        token = answer.token.or(token);
    }
    Ok(token)
}

fn write_member(out: &mut Vec<u8>, member: u32) {
    out.extend_from_slice(b"{\"message_id\":\"fill-");
    out.extend_from_slice(member.to_string().as_bytes());
    out.extend_from_slice(b"\",\"type\":\"identify\",\"identifiers\":[");
    for (at, kind) in [Kind::Phone, Kind::UnionId, Kind::ClubOpenId]
        .into_iter()
        .enumerate()
    {
        out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(kind.prefix().as_bytes());
        Key::new(kind, FIRST + member, 0).write(out);
        out.push(b'"');
    }
    out.extend_from_slice("],\"traits\":{\"city\":\"成都市\",\"children\":1}}".as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_members_are_valid_json() {
        let mut out = Vec::new();
        write_member(&mut out, 7);
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["identifiers"][0], "phone:15440000007");
        assert_eq!(json["identifiers"].as_array().map(Vec::len), Some(3));
    }
}
