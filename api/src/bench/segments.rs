//! Counting segments over made-up members: in this process, over HTTP against a real server, and beside peers.
//!
//! In this process the members are given to the engine as they are; over HTTP they go to the server as events, which takes
//! longer, so there may be fewer. Peers get the columns of the former as files.

mod export;
mod http;
mod peers;
mod process;
mod seed;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use cdp::audience::bench::{NOW, rules};

use super::table::{Table, Times, printed};
use super::{BenchError, BenchOptions};

/// One question is asked for so long at most: half a minute for all of them.
const QUESTION_MAX: Duration = Duration::from_secs(2);

/// Threads of a question in this process, and of each peer: as on the machines that goals are for.
const THREADS: usize = 2;

/// What a question came to.
#[derive(Debug, Default)]
struct Asked {
    count: u64,
    /// The first time: with it what the question reads is computed.
    first: Duration,
    idle: Times,
    /// While events flow in.
    loaded: Times,
}

/// By key of the question.
type Answers = BTreeMap<&'static str, Asked>;

/// Measures all of it.
pub(super) async fn run(
    options: &BenchOptions,
    dir: &Path,
    table: &mut Table,
) -> Result<(), BenchError> {
    let peers = match options.peers {
        true => peers::present(),
        false => Err("--no-peers was given".to_owned()),
    };
    let folder = match (&options.export, &peers) {
        (Some(folder), _) => Some(folder.clone()),
        (None, Ok(())) => Some(dir.join("columns")),
        (None, Err(_)) => None,
    };
    let local = process::run(options, table)?;
    if let Some(folder) = &folder {
        say("writing the columns");
        export::export(folder, options.members).map_err(BenchError::io("writing the columns"))?;
        write_answers(folder, options, &local)?;
    }
    let peers = match (peers, &folder) {
        (Ok(()), Some(folder)) => peers::ask(folder),
        (Err(why), _) => {
            eprintln!("SKIPPED: peers because {why}");
            peers::Peers::default()
        }
        (Ok(()), None) => peers::Peers::default(),
    };
    let remote = match options.http_members {
        0 => None,
        members => Some(http::run(options, members, dir, table).await?),
    };
    grid(options, table, &local, remote.as_ref(), &peers);
    Ok(())
}

/// A line about where we are, for whoever waits.
fn say(what: impl std::fmt::Display) {
    eprintln!("… {what}");
}

/// Asks until it was asked often enough or for long enough.
fn repeat<E>(runs: usize, mut ask: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    let (mut times, begun) = (Times::default(), Instant::now());
    while times.len() < runs.max(1) && begun.elapsed() < QUESTION_MAX {
        let asked = Instant::now();
        ask()?;
        times.push(asked.elapsed());
    }
    Ok(times)
}

fn grid(
    options: &BenchOptions,
    table: &mut Table,
    local: &Answers,
    remote: Option<&Answers>,
    peers: &peers::Peers,
) {
    let rate = f64::from(options.rate) / 1e3;
    let mut heads: Vec<String> = ["ms", "members", "p50", "p99", "first"]
        .map(Into::into)
        .into();
    heads.extend([format!("p50 at {rate} k/s"), format!("p99 at {rate} k/s")]);
    heads.extend(peers.names.iter().cloned());
    heads.push("fastest peer / p50".into());
    if remote.is_some() {
        let http = format!("HTTP {} k", options.http_members / 1_000);
        heads.extend([format!("{http}: p50"), "p99".into(), "first".into()]);
        heads.extend([format!("p50 at {rate} k/s"), format!("p99 at {rate} k/s")]);
    }
    let ms = |time: Duration| printed(time.as_secs_f64() * 1e3);
    let quantiles = |times: &Times| {
        let mut times = times.clone();
        match times.len() {
            0 => ["-".to_owned(), "-".to_owned()],
            _ => [printed(times.ms(0.5)), printed(times.ms(0.99))],
        }
    };
    let mut lines = Vec::new();
    let (mut slower, mut differ) = (Vec::new(), Vec::new());
    for (key, what, _) in rules() {
        let Some(asked) = local.get(key) else {
            continue;
        };
        let mut line = vec![what.to_owned(), asked.count.to_string()];
        line.extend(quantiles(&asked.idle));
        line.push(ms(asked.first));
        line.extend(quantiles(&asked.loaded));
        let p50 = asked.idle.clone().ms(0.5);
        let mut fastest: Option<f64> = None;
        for peer in &peers.names {
            match peers.answer(peer, key) {
                Some((count, took)) if count == asked.count => {
                    fastest = Some(fastest.map_or(took, |known| known.min(took)));
                    line.push(printed(took));
                }
                Some((_, took)) => {
                    differ.push(format!("{peer}, {what}"));
                    line.push(format!("{} !", printed(took)));
                }
                None => line.push("-".into()),
            }
        }
        line.push(fastest.map_or("-".into(), |fastest| printed(fastest / p50.max(1e-6))));
        if fastest.is_some_and(|fastest| fastest < p50) {
            slower.push(what);
        }
        if let Some(remote) = remote {
            let asked = &remote[key];
            line.extend(quantiles(&asked.idle));
            line.push(ms(asked.first));
            line.extend(quantiles(&asked.loaded));
        }
        lines.push(line);
    }
    table.grid(heads, lines);
    table.note(format!(
        "{} made-up members in this process, {THREADS} threads a question; first: what the question reads (a window of \
         time over events) is computed, in slices between which others are answered",
        options.members
    ));
    if remote.is_some() {
        table.note(format!(
            "HTTP: {} of the same members, sent to a started server as events; one kept-alive connection asks for the \
             count, the counts of all clauses and ten members; flags are attributes there and not tags",
            options.http_members
        ));
    }
    if !peers.names.is_empty() {
        table.note(
            "peers: the same columns in this run, medians, idle; ! = another count".to_owned(),
        );
        match slower.is_empty() {
            true => table.note("no question is slower than the fastest peer"),
            false => table.note(format!(
                "SLOWER than the fastest peer: {}",
                slower.join(", ")
            )),
        }
    }
    if !differ.is_empty() {
        table.note(format!("counts differ: {}", differ.join("; ")));
    }
}

/// For whoever reads the exported columns.
fn write_answers(
    folder: &Path,
    options: &BenchOptions,
    answers: &Answers,
) -> Result<(), BenchError> {
    let answers: Vec<_> = (rules().iter())
        .filter_map(|(key, what, _)| Some((key, what, answers.get(key)?)))
        .map(|(key, what, asked)| {
            let mut idle = asked.idle.clone();
            serde_json::json!({
                "key": key, "what": what, "count": asked.count,
                "first_ms": asked.first.as_secs_f64() * 1e3, "p50_ms": idle.ms(0.5), "p99_ms": idle.ms(0.99),
            })
        })
        .collect();
    let all =
        serde_json::json!({ "members": options.members, "now_ms": NOW.0, "answers": answers });
    std::fs::write(folder.join("answers.json"), all.to_string())
        .map_err(BenchError::io("writing the answers"))
}
