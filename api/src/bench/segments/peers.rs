//! The same questions in polars, DuckDB and chDB, by the script of the tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::say;

/// What a Python runs.
const SCRIPT: &str = include_str!("../../../../tests/bench/segments_peers.py");

/// What peers answered.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// With their versions.
    pub names: Vec<String>,
    answers: BTreeMap<String, Value>,
}

impl Peers {
    /// The count and the median in milliseconds.
    pub fn answer(&self, peer: &str, key: &str) -> Option<(u64, f64)> {
        let answer = &self.answers.get(peer)?[key];
        Some((answer["count"].as_u64()?, answer["ms"].as_f64()?))
    }
}

/// Whether there is a Python (`TRIBUTARY_PYTHON` or `python3`) that can load the columns.
pub(super) fn present() -> Result<(), String> {
    let done = python()
        .args(["-c", "import numpy, polars"])
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("python3 does not start: {error}"))?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&done.stderr);
            let last = said.lines().last().unwrap_or_default();
            Err(format!(
                "{last} (pip install numpy polars duckdb chdb; TRIBUTARY_PYTHON names another Python)"
            ))
        }
    }
}

/// Asks them about the columns in a folder; a peer that is missing is named on stderr by the script.
pub(super) fn ask(folder: &Path) -> Peers {
    say("polars, DuckDB, chDB");
    // A file, because it starts itself once for each peer.
    let script = folder.join("segments_peers.py");
    let told = std::fs::write(&script, SCRIPT)
        .map_err(|error| format!("{} cannot be written: {error}", script.display()))
        .and_then(|()| {
            let done = python()
                .arg(&script)
                .args(["--json", "--columns"])
                .arg(folder)
                .stderr(Stdio::inherit())
                .output();
            let done = done.map_err(|error| format!("python3 does not start: {error}"))?;
            // With a signal, such as the one of a machine without memory left, it says nothing itself.
            if !done.status.success() {
                return Err(format!("the script ended with {}", done.status));
            }
            match serde_json::from_slice(&done.stdout) {
                Ok(Value::Object(told)) => Ok(told),
                Ok(_) | Err(_) => {
                    let said = String::from_utf8_lossy(&done.stdout);
                    Err(format!("the script answered {said:?}"))
                }
            }
        });
    let told = match told {
        Ok(told) => told,
        Err(why) => {
            eprintln!("SKIPPED: peers because {why}");
            return Peers::default();
        }
    };
    let answers: BTreeMap<String, Value> = told.into_iter().collect();
    Peers {
        names: answers.keys().cloned().collect(),
        answers,
    }
}

fn python() -> Command {
    Command::new(std::env::var_os("TRIBUTARY_PYTHON").unwrap_or_else(|| "python3".into()))
}
