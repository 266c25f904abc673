//! The made-up members as events, and events of theirs at a rate.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actors::model::Time;
use cdp::audience::bench::{CHANNELS, FLAGS, LEVELS, NOW, Person, person};
use tokio::task::JoinSet;

use crate::demo::DemoError;
use crate::demo::client::Client;

use super::super::table::Times;
use super::super::{BenchError, BenchOptions};
use super::say;

/// Between two lines about how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Where events go.
const PATH: &str = "/v1/events";
/// One event in so many tells an attribute as well.
const TELLING: u64 = 10;

/// The attributes, as `PUT /api/v1/attributes` takes them.
pub(super) fn attributes() -> String {
    let mut all: Vec<serde_json::Value> = [
        ("level", "text"),
        ("city", "text"),
        ("channel", "text"),
        ("gender", "text"),
        ("vip", "bool"),
        ("age", "int"),
        ("points", "int"),
        ("spent", "int"),
        ("birthday", "date"),
        ("registered", "time"),
        ("nickname", "text"),
        ("interests", "texts"),
    ]
    .iter()
    .map(|(name, kind)| serde_json::json!({ "name": name, "type": kind }))
    .collect();
    all.extend(
        (0..FLAGS).map(|flag| serde_json::json!({ "name": format!("flag{flag}"), "type": "bool" })),
    );
    serde_json::json!({ "attributes": all }).to_string()
}

/// Sends the first so many members: each with one event that tells what is known, and its history. Answers the last token
/// of each connection, and how many events there were.
pub(super) async fn fill(
    options: &BenchOptions,
    server: SocketAddr,
    key: &str,
    members: u32,
) -> Result<(Vec<String>, u64), BenchError> {
    let (next, sent) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let mut senders = JoinSet::new();
    for _ in 0..options.connections.max(1) {
        let (next, sent, key) = (next.clone(), sent.clone(), key.to_owned());
        let batch = options.batch;
        senders.spawn(async move {
            let mut client = Client::new(server);
            let (mut body, mut token) = (String::new(), None);
            loop {
                // Members whose events make about one request.
                let share = (batch as u32 / 3).max(1);
                let from = next.fetch_add(share, Ordering::Relaxed);
                if from >= members {
                    return Ok::<_, DemoError>(token);
                }
                body.clear();
                body.push('[');
                let mut events = 0;
                for number in from..members.min(from + share) {
                    events += member(&mut body, number);
                }
                body.pop();
                body.push(']');
                token = post(&mut client, &key, body.as_bytes()).await?.0.or(token);
                sent.fetch_add(events, Ordering::Relaxed);
            }
        });
    }
    let mut tokens = Vec::new();
    let (begun, mut told) = (Instant::now(), Instant::now());
    loop {
        match tokio::time::timeout(TELL_EVERY, senders.join_next()).await {
            Ok(None) => break,
            Ok(Some(done)) => {
                let token = done.map_err(|error| BenchError::Part(error.to_string()))??;
                tokens.extend(token);
            }
            Err(_) => {}
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            say(format_args!(
                "{} of {members} members sent, {:.0} k events/s",
                next.load(Ordering::Relaxed).min(members),
                sent.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64() / 1e3
            ));
        }
    }
    Ok((tokens, sent.load(Ordering::Relaxed)))
}

/// Posts events; answers the token, and how often the server asked to come back later.
async fn post(
    client: &mut Client,
    key: &str,
    body: &[u8],
) -> Result<(Option<String>, u32), DemoError> {
    let (answer, refused) = client.post_patiently(PATH, key, body).await?;
    match answer.is_good() {
        true => Ok((answer.token, refused)),
        false => Err(DemoError::Refused {
            what: PATH.to_owned(),
            status: answer.status,
            body: answer.text(),
        }),
    }
}

/// Writes a member's events, each with a comma behind it; answers how many.
fn member(out: &mut String, number: u32) -> u64 {
    let it = person(number);
    let _ = write!(
        out,
        r#"{{"message_id":"s{number}","type":"track","name":"visit","time":"{}","identifiers":["user_id:m{number}"],"traits":"#,
        NOW.rfc3339()
    );
    traits(out, &it);
    out.push_str("},");
    for (at, event) in it.events.iter().enumerate() {
        let name = if event.buy { "buy" } else { "scan" };
        let (time, amount) = (event.time.rfc3339(), event.amount);
        let _ = write!(
            out,
            r#"{{"message_id":"s{number}-{at}","type":"track","name":"{name}","time":"{time}","identifiers":["user_id:m{number}"],"properties":{{"amount":{amount}}}}},"#
        );
    }
    1 + it.events.len() as u64
}

fn traits(out: &mut String, it: &Person) {
    // Noon of the day that the member was born.
    let birthday = Time(i64::from(it.birthday) * 86_400_000 + 43_200_000).rfc3339();
    let _ = write!(
        out,
        r#"{{"level":"{}","city":"city{}","channel":"{}","vip":{},"age":{},"points":{},"spent":{},"birthday":"{}","registered":"{}","nickname":"{}""#,
        LEVELS[it.level],
        it.city,
        CHANNELS[it.channel],
        it.vip,
        it.age,
        it.points,
        it.spent,
        &birthday[..10],
        it.registered.rfc3339(),
        it.nickname
    );
    if let Some(female) = it.gender {
        let _ = write!(out, r#","gender":"{}""#, if female { "f" } else { "m" });
    }
    for bit in (0..FLAGS).filter(|bit| it.flags >> bit & 1 != 0) {
        let _ = write!(out, r#","flag{bit}":true"#);
    }
    for (at, interest) in it.interests.iter().enumerate() {
        let before = if at == 0 { r#","interests":["# } else { "," };
        let _ = write!(out, r#"{before}"i{interest}""#);
    }
    if !it.interests.is_empty() {
        out.push(']');
    }
    out.push('}');
}

/// Events of members that flow in until they are stopped.
pub(super) struct Flow {
    senders: JoinSet<Result<Flowed, DemoError>>,
    stop: Arc<AtomicBool>,
}

/// What flowed.
#[derive(Debug, Default)]
pub(super) struct Flowed {
    pub events: u64,
    /// Until the last acknowledgement.
    pub took: Duration,
    /// From the instant a request was due, at a rate, to its acknowledgement.
    pub acks: Times,
    /// Requests that were asked to come back later.
    pub refused: u64,
    pub tokens: Vec<String>,
}

/// Numbers of message ids: no event of one flow is in another.
static FLOWS: AtomicU64 = AtomicU64::new(0);

impl Flow {
    /// Begins to send events of random members, so many a second or as many as are taken.
    pub fn start(
        options: &BenchOptions,
        server: SocketAddr,
        key: &str,
        members: u32,
        rate: Option<u32>,
    ) -> Flow {
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let (planned, number) = (
            Arc::new(AtomicU64::new(0)),
            FLOWS.fetch_add(1, Ordering::Relaxed),
        );
        let mut senders = JoinSet::new();
        // At a rate, small requests often: large ones would measure how long they take to gather.
        let batch = match rate {
            Some(_) => options.batch.min(100),
            None => options.batch,
        } as u64;
        for _ in 0..options.connections.max(1) {
            let (stop, planned, key) = (stop.clone(), planned.clone(), key.to_owned());
            senders.spawn(async move {
                let (mut client, mut body) = (Client::new(server), String::new());
                let mut flowed = Flowed::default();
                while !stop.load(Ordering::Relaxed) {
                    let first = planned.fetch_add(batch, Ordering::Relaxed);
                    let due = match rate {
                        Some(rate) => {
                            begun + Duration::from_secs_f64(first as f64 / f64::from(rate.max(1)))
                        }
                        None => Instant::now(),
                    };
                    tokio::time::sleep_until(due.into()).await;
                    body.clear();
                    body.push('[');
                    (first..first + batch).for_each(|at| event(&mut body, number, at, members));
                    body.pop();
                    body.push(']');
                    let (token, refused) = post(&mut client, &key, body.as_bytes()).await?;
                    flowed.acks.push(due.elapsed());
                    flowed.events += batch;
                    flowed.refused += u64::from(refused);
                    flowed.tokens = token.into_iter().collect();
                    flowed.took = begun.elapsed();
                }
                Ok(flowed)
            });
        }
        Flow { senders, stop }
    }

    /// Lets it end by then, whatever happens: whoever waits for what flowed must not wait for what flows meanwhile.
    pub fn end_at(&self, until: Instant) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until.into()).await;
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<Flowed, BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Flowed::default();
        while let Some(done) = self.senders.join_next().await {
            let one = done.map_err(|error| BenchError::Part(error.to_string()))??;
            all.events += one.events;
            all.refused += one.refused;
            all.acks.extend(one.acks);
            all.tokens.extend(one.tokens);
            all.took = all.took.max(one.took);
        }
        Ok(all)
    }
}

/// One event of a random member: it bought or scanned, and one in ten tells its points.
fn event(out: &mut String, flow: u64, number: u64, members: u32) {
    let roll = (number ^ flow << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let member = roll % u64::from(members.max(1));
    let name = if roll & 3 == 0 { "buy" } else { "scan" };
    let _ = write!(
        out,
        r#"{{"message_id":"f{flow}-{number}","type":"track","name":"{name}","time":"{}","identifiers":["user_id:m{member}"],"properties":{{"amount":{}}}"#,
        NOW.rfc3339(),
        100 + roll % 100_000
    );
    if number.is_multiple_of(TELLING) {
        let _ = write!(out, r#","traits":{{"points":{}}}"#, roll % 200_000);
    }
    out.push_str("},");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_json_that_says_the_same() {
        let mut out = String::from("[");
        let events: u64 = (0..50).map(|number| member(&mut out, number)).sum();
        (0..20).for_each(|number| event(&mut out, 3, number, 50));
        out.pop();
        out.push(']');
        let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let all = json.as_array().expect("a list");
        assert_eq!(all.len() as u64, events + 20);
        let first = &all[0]["traits"];
        let person = person(0);
        assert_eq!(first["nickname"], *person.nickname);
        assert_eq!(first["points"], person.points);
        assert_eq!(first["flag0"].is_boolean(), person.flags & 1 != 0);
        let ids: std::collections::BTreeSet<_> = (all.iter())
            .map(|event| event["message_id"].to_string())
            .collect();
        assert_eq!(ids.len(), all.len());
    }
}
