//! The server as a child process, and what the kernel says of it: CPU by thread, memory, bytes written.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::demo::client::Client;

use super::{BenchError, BenchOptions};

/// The key that the measured server is given.
pub(super) const ADMIN_KEY: &str = "bench-admin-key-0123456789abcdef";
/// A server that says nothing for so long is broken.
const START_MAX: Duration = Duration::from_secs(300);
/// Between two questions whether it is ready.
const POLL: Duration = Duration::from_millis(2);

/// A running server.
pub(super) struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start until `/readyz` said so.
    pub ready_after: Duration,
}

/// What the kernel counted for a process so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    /// CPU in microseconds, by name of thread (without a number behind it).
    pub cpu_us: BTreeMap<String, f64>,
    /// Bytes that it caused to be written to the disk.
    pub written: u64,
    /// Memory that is resident, in bytes.
    pub resident: u64,
    /// Of it, memory that no file stands behind.
    pub anonymous: u64,
}

impl Usage {
    /// CPU of all threads in microseconds.
    pub fn cpu_total_us(&self) -> f64 {
        self.cpu_us.values().sum()
    }

    /// What came since `before`; memory is that of now.
    pub fn since(&self, before: &Usage) -> Usage {
        let mut cpu_us = self.cpu_us.clone();
        for (name, us) in &before.cpu_us {
            if let Some(now) = cpu_us.get_mut(name) {
                *now = (*now - us).max(0.0);
            }
        }
        Usage {
            cpu_us,
            written: self.written.saturating_sub(before.written),
            ..*self
        }
    }
}

impl Server {
    /// Starts one on `data` and waits until it is ready.
    pub async fn start(options: &BenchOptions, data: &Path) -> Result<Server, BenchError> {
        let begun = Instant::now();
        let mut command = Command::new(&options.program);
        command
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(["--listen", "127.0.0.1:0"])
            .args(&options.serve_args)
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| BenchError::Server(format!("cannot be started: {error}")))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let address = tokio::time::timeout(START_MAX, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = address_in(&line) {
                    return Ok(address);
                }
            }
            Err(BenchError::Server("ended before it listened".to_owned()))
        })
        .await
        .map_err(|_| BenchError::Server("did not say where it listens".to_owned()))??;
        // Whatever else it prints must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut client = Client::new(address);
        loop {
            match client.get("/readyz", "").await {
                Ok(answer) if answer.is_good() => break,
                _ if begun.elapsed() > START_MAX => {
                    return Err(BenchError::Server("did not get ready".to_owned()));
                }
                _ => tokio::time::sleep(POLL).await,
            }
        }
        Ok(Server {
            child,
            address,
            ready_after: begun.elapsed(),
        })
    }

    /// What the kernel counted for it.
    pub fn usage(&self) -> Usage {
        self.child.id().map(usage_of).unwrap_or_default()
    }

    /// Ends it as a power cut would end the process: kill −9.
    pub async fn kill(mut self) -> Result<(), BenchError> {
        self.child
            .kill()
            .await
            .map_err(|error| BenchError::Server(format!("cannot be killed: {error}")))
    }
}

/// The address in a line such as `listening on http://127.0.0.1:8080`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let at = line.find("127.0.0.1:")?;
    let rest = &line[at..];
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Counters of a process of Linux; zeros elsewhere.
fn usage_of(pid: u32) -> Usage {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let mut usage = Usage::default();
    for task in fs::read_dir(proc.join("task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let schedstat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanoseconds = schedstat
            .split(' ')
            .next()
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or_default();
        *usage.cpu_us.entry(plain_name(&name)).or_default() += nanoseconds / 1e3;
    }
    let io = fs::read_to_string(proc.join("io")).unwrap_or_default();
    usage.written = field(&io, "write_bytes:").unwrap_or_default();
    let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
    usage.resident = field(&status, "VmRSS:").unwrap_or_default() * 1_024;
    usage.anonymous = field(&status, "RssAnon:").unwrap_or_default() * 1_024;
    usage
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].split_whitespace().next()?.parse().ok()
}

/// `member-3` and `member-4` are one step.
fn plain_name(name: &str) -> String {
    name.trim()
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .trim_end_matches(['-', '_', '#', ':', ' '])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_whatever_the_server_says() {
        for (line, expected) in [
            ("listening on http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("127.0.0.1:1", Some("127.0.0.1:1")),
            ("{\"address\":\"127.0.0.1:9\",\"x\":1}", Some("127.0.0.1:9")),
            ("admin key abc", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(address_in(line), expected, "{line}");
        }
    }

    #[test]
    fn threads_of_one_step_have_one_name() {
        for (name, expected) in [
            ("member-3\n", "member"),
            ("http", "http"),
            ("tokio-rt-worker", "tokio-rt-worker"),
            ("row writer 2", "row writer"),
        ] {
            assert_eq!(plain_name(name), expected);
        }
    }

    #[test]
    fn our_own_process_has_used_something() {
        let usage = usage_of(std::process::id());
        if cfg!(target_os = "linux") {
            assert!(usage.resident > 1_000_000 && usage.cpu_total_us() > 0.0);
        }
    }
}
