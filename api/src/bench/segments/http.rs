//! The same questions over HTTP against a server that was started for it, idle and under load; who enters and leaves; what
//! a midnight costs; reads of members meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use cdp::audience::bench::{NOW, fill, queries, rules};
use serde_json::{Value, json};

use crate::demo::DemoError;
use crate::demo::client::{Answer, Client, api_key, write_key};

use super::super::child::{ADMIN_KEY, Server};
use super::super::table::{Table, Times};
use super::super::{BenchError, BenchOptions, apply, reads};
use super::seed::{self, Flow, Flowed};
use super::{Answers, Asked, QUESTION_MAX, THREADS, say};

/// Waiting for one thing, however large, ends here with an error: a benchmark must end.
const PATIENCE_MAX: Duration = Duration::from_secs(900);
/// Between two looks at something that takes its time.
const LOOK: Duration = Duration::from_millis(20);
/// Who edits a rule asks this often: at each letter.
const EDITOR_EVERY: Duration = Duration::from_millis(100);
/// People who edit at the same time.
const EDITORS: usize = 10;
/// Members whose 360 view is read, and who enter and leave.
const SOME: usize = 100;
/// The midnight behind [`NOW`], and one second.
const MIDNIGHT: &str = "2026-03-02T00:00:01Z";

/// A started server with members, and one connection to ask it.
struct Asker<'a> {
    options: &'a BenchOptions,
    server: Server,
    client: Client,
    admin: String,
    key: String,
    members: u32,
    /// Numbers of the segments that overlap.
    overlap: Vec<u64>,
}

/// Starts a server, fills it, asks it.
pub(super) async fn run(
    options: &BenchOptions,
    members: u32,
    dir: &Path,
    table: &mut Table,
) -> Result<Answers, BenchError> {
    let mut asker = Asker::start(options, members, dir, table).await?;
    let mut answers = asker.idle().await?;
    if options.rate > 0 {
        asker.loaded(&mut answers, table).await?;
        asker.reads(table).await?;
        asker.enter_and_leave(table).await?;
    }
    asker.editors(table).await?;
    asker.new_history(table).await?;
    say("a live segment of all members");
    let begun = Instant::now();
    let rule = r#"{"event":"visit","within":"1d"}"#;
    let today = asker.segment("bench today", rule).await?;
    let seconds = begun.elapsed().as_secs_f64();
    table.row(
        "  a live segment of all members: at work after",
        seconds,
        "s",
    );
    asker.told().await?;
    asker.midnight(today, table).await?;
    let usage = asker.server.usage();
    table.row(
        "  memory of the server, resident",
        usage.resident as f64 / 1e6,
        "MB",
    );
    Ok(answers)
}

impl<'a> Asker<'a> {
    async fn start(
        options: &'a BenchOptions,
        members: u32,
        dir: &Path,
        table: &mut Table,
    ) -> Result<Asker<'a>, BenchError> {
        say(format_args!("a server with {members} members"));
        let mut with = options.clone();
        // The peers' calendar; a clock that is set, so that counts are those of the same members in this process.
        for arg in ["--manual-clock", "--set", "time_zone=UTC"] {
            with.serve_args.push(arg.to_owned());
        }
        let server = Server::start(&with, &dir.join("data")).await?;
        let mut asker = Asker {
            client: Client::new(server.address),
            admin: api_key(ADMIN_KEY),
            key: String::new(),
            server,
            options,
            members,
            overlap: Vec::new(),
        };
        let now = json!({ "now": NOW.rfc3339() });
        asker.put("/api/v1/clock", &now.to_string()).await?;
        asker.put("/api/v1/attributes", &seed::attributes()).await?;
        let source = json!({ "name": "bench", "kind": "http" });
        let source = asker.post("/api/v1/sources", &source).await?;
        let key = source["write_key"].as_str().unwrap_or_default();
        asker.key = write_key(key);
        let begun = Instant::now();
        let address = asker.server.address;
        let (tokens, events) = seed::fill(options, address, &asker.key, members).await?;
        apply::wait_applied(&mut asker.client, &tokens).await?;
        asker.taken_in(&tokens).await?;
        let seconds = begun.elapsed().as_secs_f64();
        table.row("over HTTP: members", f64::from(members), "");
        table.row(
            "  filled through /v1/events, in the audience",
            events as f64 / seconds / 1e3,
            "k events/s",
        );
        let figures = asker.get("/api/v1/audience").await?;
        let bytes = figures["memory_bytes"].as_f64().unwrap_or_default();
        table.row("  memory: the audience in the server", bytes / 1e6, "MB");
        let usage = asker.server.usage();
        table.row(
            "  memory of the server when filled, resident",
            usage.resident as f64 / 1e6,
            "MB",
        );
        for (_, what, rules) in rules() {
            if rules.len() > 1 {
                for (at, rule) in rules.iter().enumerate() {
                    let id = asker.segment(&format!("{what} {at}"), rule).await?;
                    asker.overlap.push(id);
                }
            }
        }
        Ok(asker)
    }

    async fn idle(&mut self) -> Result<Answers, BenchError> {
        say("asking over HTTP, idle");
        let expected = self.expected()?;
        let mut answers = Answers::new();
        for ((key, what, _), expected) in rules().into_iter().zip(expected) {
            let begun = Instant::now();
            let count = self.question(key).await?;
            let mut asked = Asked {
                count,
                first: begun.elapsed(),
                ..Asked::default()
            };
            if count != expected {
                let said = format!("{what}: {count} over HTTP, {expected} in process");
                return Err(BenchError::Part(said));
            }
            let begun = Instant::now();
            while asked.idle.len() < self.options.queries && begun.elapsed() < QUESTION_MAX {
                let one = Instant::now();
                self.question(key).await?;
                asked.idle.push(one.elapsed());
            }
            tell(what, "idle", &asked.idle);
            answers.insert(key, asked);
        }
        Ok(answers)
    }

    /// What the same members come to in this process.
    fn expected(&self) -> Result<Vec<u64>, BenchError> {
        let mut engine = fill(self.members, THREADS);
        let mut counts = Vec::new();
        for (_, _, plans) in queries() {
            let plans: Vec<_> = plans.iter().map(|plan| &**plan).collect();
            let regions = engine.overlap(&plans, NOW);
            let regions = regions.map_err(|missing| BenchError::Part(format!("{missing:?}")))?;
            counts.push(regions.last().copied().unwrap_or_default());
        }
        Ok(counts)
    }

    /// Asks a question of the benchmark.
    async fn question(&mut self, key: &str) -> Result<u64, BenchError> {
        let (path, body, field) = request(key, &self.overlap);
        let answer = self.post(path, &body).await?;
        answer[field]
            .as_u64()
            .ok_or_else(|| BenchError::Part(format!("{key}: {answer}")))
    }

    async fn loaded(&mut self, answers: &mut Answers, table: &mut Table) -> Result<(), BenchError> {
        let rate = self.options.rate;
        say(format_args!("asking over HTTP at {rate} events/s"));
        let until = Instant::now() + self.seconds();
        let flow = self.flow(Some(rate));
        while Instant::now() < until {
            for (key, _, _) in rules() {
                let one = Instant::now();
                self.question(key).await?;
                answers.entry(key).or_default().loaded.push(one.elapsed());
            }
        }
        let lag = self.get("/api/v1/audience").await?["lag"].as_f64();
        let mut flowed = flow.stop().await?;
        for (key, what, _) in rules() {
            tell(what, "under load", &answers.entry(key).or_default().loaded);
        }
        let what = format!(
            "  at {} k/s while one asks without a pause: reached",
            rate / 1_000
        );
        table.row(
            what,
            flowed.events as f64 / flowed.took.as_secs_f64() / 1e3,
            "k/s",
        );
        table.times("    acknowledgement of a request", &mut flowed.acks, "");
        table.row(
            "    results that the audience was behind, at the end",
            lag.unwrap_or_default(),
            "",
        );
        self.drained(&flowed).await
    }

    /// 360 views and searches under load.
    async fn reads(&mut self, table: &mut Table) -> Result<(), BenchError> {
        let everybody = json!({ "rule": { "and": [] }, "sample": SOME });
        let some = self.post("/api/v1/segments/preview", &everybody).await?;
        let ids: Vec<String> = (some["sample"].as_array().into_iter().flatten())
            .filter_map(|id| Some(id.as_str()?.to_owned()))
            .collect();
        say("360 views and searches under load");
        let until = Instant::now() + self.seconds();
        let flow = self.flow(Some(self.options.rate));
        // The words of nicknames, the beginning of an identifier; `%…` is 阳光.
        let words = [
            "%E9%98%B3%E5%85%89",
            "m12345",
            "xin9",
            "%E5%B0%8F%E7%BE%8E",
            "Tao",
        ]
        .map(str::to_owned);
        let (mut views, mut finds) =
            reads::views_and_searches(&mut self.client, &ids, &words, until).await?;
        let flowed = flow.stop().await?;
        table.times("  360 of a member under load", &mut views, "< 5, then 2");
        table.times("  a search under load", &mut finds, "");
        self.drained(&flowed).await
    }

    /// From the acknowledgement of an event until the member's 360 view shows the membership that it causes or ends.
    async fn enter_and_leave(&mut self, table: &mut Table) -> Result<(), BenchError> {
        say("entering and leaving under load");
        let rule = r#"{"event":"probe","op":"eq","value":1}"#;
        let segment = self.segment("bench probe", rule).await?;
        let until = Instant::now() + self.seconds();
        let flow = self.flow(Some(self.options.rate));
        flow.end_at(until);
        let mut probe = Client::new(self.server.address);
        let (mut enters, mut leaves) = (Times::default(), Times::default());
        for number in 0u64.. {
            if Instant::now() >= until {
                break;
            }
            let member = number.wrapping_mul(7_919) % u64::from(self.members.max(1));
            let path = format!("/api/v1/members?identifier=user_id%3Am{member}");
            let found = self.get(&path).await?;
            let id = found["items"][0]["id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            for (step, times) in [(1, &mut enters), (2, &mut leaves)] {
                let event = json!({
                    "message_id": format!("p{number}-{step}"), "type": "track", "name": "probe",
                    "time": NOW.rfc3339(), "identifiers": [format!("user_id:m{member}")],
                });
                let body = event.to_string();
                let (answer, _) = probe
                    .post_patiently("/v1/events", &self.key, body.as_bytes())
                    .await
                    .map_err(DemoError::from)?;
                let token = good("/v1/events", answer)?.token.unwrap_or_default();
                let acknowledged = Instant::now();
                let view = self
                    .get(&format!("/api/v1/members/{id}/360?after={token}"))
                    .await?;
                let inside = (view["segments"].as_array().into_iter().flatten())
                    .any(|it| it["name"] == "bench probe");
                if inside != (step == 1) {
                    let said = format!(
                        "segment {segment}: probe {number}, step {step}: {}",
                        view["segments"]
                    );
                    return Err(BenchError::Part(said));
                }
                times.push(acknowledged.elapsed());
            }
        }
        let flowed = flow.stop().await?;
        table.row(
            "  probes that entered and left under load",
            enters.len() as f64,
            "",
        );
        table.times("    acknowledged until entered", &mut enters, "< 1000");
        table.times("    acknowledged until left", &mut leaves, "< 1000");
        self.drained(&flowed).await
    }

    /// How many events a second are applied alone, and while ten people edit rules.
    async fn editors(&mut self, table: &mut Table) -> Result<(), BenchError> {
        say("as many events as are taken, then with ten editors");
        for editors in [0, EDITORS] {
            let begun = Instant::now();
            let until = begun + self.seconds();
            let flow = self.flow(None);
            let asking: Vec<_> = (0..editors)
                .map(|editor| {
                    let client = Client::new(self.server.address);
                    let (admin, overlap) = (self.admin.clone(), self.overlap.clone());
                    tokio::spawn(edit(client, admin, overlap, editor, until))
                })
                .collect();
            tokio::time::sleep_until(until.into()).await;
            let mut times = Times::default();
            for one in asking {
                let one = one
                    .await
                    .map_err(|error| BenchError::Part(error.to_string()))??;
                times.extend(one);
            }
            let flowed = flow.stop().await?;
            self.drained(&flowed).await?;
            let rate = flowed.events as f64 / begun.elapsed().as_secs_f64();
            let who = match editors {
                0 => "alone".to_owned(),
                n => format!("while {n} editors ask"),
            };
            table.row(
                format!("  events applied and in the audience, {who}"),
                rate / 1e3,
                "k/s",
            );
            if editors > 0 {
                table.times("    an editor's question then", &mut times, "");
            }
        }
        Ok(())
    }

    /// A rule about a past that nobody asked about.
    async fn new_history(&mut self, table: &mut Table) -> Result<(), BenchError> {
        say("a rule with a history of its own");
        let before = self.get("/api/v1/stats").await?["applied"].as_f64();
        let begun = Instant::now();
        let rule = json!({ "rule": {
            "event": "scan", "where": [{ "attr": "amount", "op": "gt", "value": 777 }],
            "op": "gte", "value": 1, "within": "60d",
        }});
        self.post("/api/v1/segments/preview", &rule).await?;
        let seconds = begun.elapsed().as_secs_f64();
        table.row("  backfill of a new rule: answered after", seconds, "s");
        let events = before.unwrap_or_default();
        table.goal(
            "    events of the installation by that time",
            events / seconds / 1e6,
            "M/s",
            ">= 2, then 5",
        );
        Ok(())
    }

    /// All members leave a live segment because the day turns, under load.
    async fn midnight(&mut self, segment: u64, table: &mut Table) -> Result<(), BenchError> {
        say("midnight under load");
        let rate = self.options.rate.max(1);
        let flow = self.flow(Some(rate));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = json!({ "now": MIDNIGHT });
        self.put("/api/v1/clock", &now.to_string()).await?;
        let begun = Instant::now();
        let (mut lag, mut behind, mut empty) = (0f64, 0f64, None);
        loop {
            let figures = self.get("/api/v1/audience").await?;
            lag = lag.max(figures["lag"].as_f64().unwrap_or_default());
            let stats = self.get("/api/v1/stats").await?;
            behind = behind.max(stats["lag"].as_f64().unwrap_or_default());
            let count = self
                .get(&format!("/api/v1/segments/{segment}/count"))
                .await?;
            if count["count"] == 0 {
                empty.get_or_insert(begun.elapsed());
            }
            if empty.is_some() && figures["waiting"] == 0 {
                break;
            }
            if begun.elapsed() > PATIENCE_MAX {
                table.note("midnight: not everything was told in time");
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let told = begun.elapsed();
        let mut flowed = flow.stop().await?;
        table.row("  midnight: members who leave", f64::from(self.members), "");
        let seconds = empty.unwrap_or(told).as_secs_f64();
        table.row("    the segment is right after", seconds, "s");
        table.row(
            "    every departure is appended after",
            told.as_secs_f64(),
            "s",
        );
        table.row(
            "    events meanwhile",
            flowed.events as f64 / flowed.took.as_secs_f64() / 1e3,
            "k/s",
        );
        table.times(
            "    acknowledgement of a request meanwhile",
            &mut flowed.acks,
            "",
        );
        table.row("    identity behind at most, records", behind, "");
        table.row("    audience behind at most, results", lag, "");
        Ok(())
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs(self.options.seconds.max(1).into())
    }

    fn flow(&self, rate: Option<u32>) -> Flow {
        Flow::start(
            self.options,
            self.server.address,
            &self.key,
            self.members,
            rate,
        )
    }

    /// Waits until what flowed is applied and in the audience.
    async fn drained(&mut self, flowed: &Flowed) -> Result<(), BenchError> {
        apply::wait_applied(&mut self.client, &flowed.tokens).await?;
        self.taken_in(&flowed.tokens).await
    }

    async fn taken_in(&mut self, tokens: &[String]) -> Result<(), BenchError> {
        for token in tokens {
            let path = format!("/api/v1/segments/preview?after={token}");
            let body = json!({ "rule": { "and": [] }, "sample": 0 });
            self.post(&path, &body).await?;
        }
        Ok(())
    }

    /// Waits until every change of a segment is told.
    async fn told(&mut self) -> Result<(), BenchError> {
        let begun = Instant::now();
        while self.get("/api/v1/audience").await?["waiting"] != 0 {
            if begun.elapsed() > PATIENCE_MAX {
                return Err(BenchError::Part("changes of segments are not told".into()));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Makes a segment and waits until it is at work.
    async fn segment(&mut self, name: &str, rule: &str) -> Result<u64, BenchError> {
        let rule: Value = serde_json::from_str(&over_http(rule)).unwrap_or_default();
        let made = self
            .post("/api/v1/segments", &json!({ "name": name, "rule": rule }))
            .await?;
        let id = made["id"].as_u64().unwrap_or_default();
        let begun = Instant::now();
        while self.get(&format!("/api/v1/segments/{id}")).await?["building"] != false {
            if begun.elapsed() > PATIENCE_MAX {
                return Err(BenchError::Part(format!(
                    "segment {name} does not get ready"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(id)
    }

    async fn get(&mut self, path: &str) -> Result<Value, BenchError> {
        let begun = Instant::now();
        loop {
            let answer = self.client.get(path, &self.admin).await;
            let answer = answer.map_err(DemoError::from)?;
            if !answer.asks_patience() || begun.elapsed() > PATIENCE_MAX {
                return Ok(good(path, answer)?.json());
            }
        }
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Value, BenchError> {
        patiently(&mut self.client, &self.admin, path, &body.to_string()).await
    }

    async fn put(&mut self, path: &str, body: &str) -> Result<(), BenchError> {
        let answer = self.client.put(path, &self.admin, body.as_bytes()).await;
        good(path, answer.map_err(DemoError::from)?)?;
        Ok(())
    }
}

/// One who edits rules: a question ten times a second.
async fn edit(
    mut client: Client,
    admin: String,
    overlap: Vec<u64>,
    editor: usize,
    until: Instant,
) -> Result<Times, BenchError> {
    let (mut times, rules) = (Times::default(), rules());
    for (key, _, _) in rules.iter().cycle().skip(editor * 3) {
        if Instant::now() >= until {
            break;
        }
        let (path, body, _) = request(key, &overlap);
        let one = Instant::now();
        patiently(&mut client, &admin, path, &body.to_string()).await?;
        times.push(one.elapsed());
        tokio::time::sleep(EDITOR_EVERY).await;
    }
    Ok(times)
}

/// A line for whoever waits, or does not wait for the table.
fn tell(what: &str, when: &str, times: &Times) {
    let mut times = times.clone();
    let (half, most) = (times.ms(0.5), times.ms(0.99));
    say(format_args!(
        "{what}, {when}: p50 {half:.2} ms, p99 {most:.2} ms of {}",
        times.len()
    ));
}

/// Where a question goes, and where its count is in the answer.
fn request(key: &str, overlap: &[u64]) -> (&'static str, Value, &'static str) {
    let rules = rules();
    let rule = rules.iter().find(|(known, ..)| *known == key);
    match rule.map_or(&[][..], |(_, _, rules)| rules) {
        [rule] => {
            let rule: Value = serde_json::from_str(&over_http(rule)).unwrap_or_default();
            ("/api/v1/segments/preview", json!({ "rule": rule }), "count")
        }
        _ => (
            "/api/v1/segments/overlap",
            json!({ "segments": overlap }),
            "intersection",
        ),
    }
}

/// Flags are attributes over HTTP: nobody gives a million members tags by hand.
fn over_http(rule: &str) -> String {
    rule.replace(r#""tag":"flag"#, r#""attr":"flag"#)
}

/// Posts until the answer is no request for patience.
async fn patiently(
    client: &mut Client,
    admin: &str,
    path: &str,
    body: &str,
) -> Result<Value, BenchError> {
    let begun = Instant::now();
    loop {
        let answer = client.post(path, admin, body.as_bytes()).await;
        let answer = answer.map_err(DemoError::from)?;
        if !answer.asks_patience() || begun.elapsed() > PATIENCE_MAX {
            return Ok(good(path, answer)?.json());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn good(path: &str, answer: Answer) -> Result<Answer, BenchError> {
    match answer.is_good() {
        true => Ok(answer),
        false => Err(BenchError::Load(DemoError::Refused {
            what: path.to_owned(),
            status: answer.status,
            body: answer.text(),
        })),
    }
}
