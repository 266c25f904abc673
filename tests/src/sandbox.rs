//! One installation in a temporary folder: started, killed, stopped, restarted, asked.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{self, ADMIN_KEY};
use crate::http::{self, Http};
use crate::wait;

/// How the next start differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
    /// Environment, e.g. `FAILPOINTS`.
    pub environment: Vec<(String, String)>,
    /// A program that starts the binary, with its arguments, e.g. `prlimit --as=…`.
    pub wrapper: Vec<String>,
}

impl Options {
    /// With one more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Options {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Options {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a configuration key.
    #[must_use]
    pub fn set(self, key: &str, value: &str) -> Options {
        self.arg("--set").arg(&format!("{key}={value}"))
    }

    /// Started by another program.
    #[must_use]
    pub fn through(mut self, wrapper: &[&str]) -> Options {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }
}

/// One installation. Its process, if one runs, ends with it.
pub struct Sandbox {
    root: TempDir,
    data: PathBuf,
    listen: String,
    options: Options,
    server: Option<Child>,
    starts: usize,
}

impl Sandbox {
    /// An empty installation, not started.
    pub fn new(options: Options) -> Sandbox {
        let root = tempfile::Builder::new()
            .prefix("tributary-test-")
            .tempdir()
            .expect("the machine has room for temporary files");
        let data = root.path().join("data");
        Sandbox {
            root,
            data,
            listen: "127.0.0.1:0".into(),
            options,
            server: None,
            starts: 0,
        }
    }

    /// An empty installation that runs.
    pub fn start() -> Sandbox {
        Sandbox::start_with(Options::default())
    }

    /// An empty installation that runs with options.
    pub fn start_with(options: Options) -> Sandbox {
        let mut sandbox = Sandbox::new(options);
        sandbox.boot();
        sandbox
    }

    /// The same with its data elsewhere, e.g. on a disk of its own.
    pub fn at(data: &Path, options: Options) -> Sandbox {
        let mut sandbox = Sandbox::new(options);
        sandbox.data = data.to_owned();
        sandbox
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The data folder as an argument.
    pub fn data_text(&self) -> &str {
        self.data.to_str().expect("temporary paths are UTF-8")
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.root.path()
    }

    /// Options of the next start.
    pub fn options(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Starts the server and waits until it says its address; must work.
    pub fn boot(&mut self) {
        if let Err(why) = self.try_boot() {
            panic!("the server did not start: {why}\n{}", self.log());
        }
    }

    /// Starts the server and waits until it says its address, or says how it ended instead.
    pub fn try_boot(&mut self) -> Result<(), String> {
        assert!(self.server.is_none(), "it runs already");
        let mut arguments = vec![
            "serve",
            "--data",
            self.data_text(),
            "--listen",
            &self.listen,
        ];
        arguments.extend(self.options.arguments.iter().map(String::as_str));
        let mut command = binary::command(&arguments);
        if let Some((program, rest)) = self.options.wrapper.split_first() {
            let own = command;
            command = std::process::Command::new(program);
            command
                .args(rest)
                .arg(own.get_program())
                .args(own.get_args());
            command.env_clear().stdin(Stdio::null());
            for (name, value) in own.get_envs() {
                if let Some(value) = value {
                    command.env(name, value);
                }
            }
        }
        command.envs(self.options.environment.iter().map(|(n, v)| (n, v)));
        self.starts += 1;
        let log = File::create(self.log_path()).expect("the folder is there");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdout = child.stdout.take().expect("it is piped");
        let (found, address) = mpsc::channel();
        // Reads on to the end, so that the server never waits for its pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line) {
                    // Only the first is waited for.
                    let _ = found.send(address);
                }
            }
        });
        match address.recv_timeout(wait::PATIENCE) {
            Ok(address) => {
                self.listen = address;
                self.server = Some(child);
                Ok(())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = wait_for(&mut child);
                Err(format!(
                    "it ended with {status} before it printed its address"
                ))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                Err("it never printed its address".into())
            }
        }
    }

    /// Sets the clock of a server that runs with `--manual-clock`.
    pub fn set_clock(&self, now: &str) {
        let put = self
            .http()
            .json("PUT", "/api/v1/clock", &json!({ "now": now }));
        put.ok("the clock can be set");
    }

    /// Whether its process is there.
    pub fn runs(&mut self) -> bool {
        self.server
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends the process as a power cut of the process would: SIGKILL.
    pub fn kill9(&mut self) {
        let mut child = self.server.take().expect("it runs");
        child.kill().expect("our own child can be killed");
        child.wait().expect("our own child can be waited for");
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        let mut child = self.server.take().expect("it runs");
        wait_for(&mut child)
    }

    /// Waits until the process has ended by itself, e.g. at a fail point.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.server.take().expect("it was started");
        wait_for(&mut child)
    }

    /// Whether it has ended, and how; does not wait.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.server.as_mut()?.try_wait().ok()??;
        self.server = None;
        Some(status)
    }

    /// Sends a signal, e.g. SIGSTOP.
    pub fn signal(&self, signal: i32) {
        let child = self.server.as_ref().expect("it runs");
        let pid = i32::try_from(child.id()).expect("process ids are small");
        // SAFETY: `kill` takes plain numbers; the process is our child and not yet waited for.
        let done = unsafe { libc::kill(pid, signal) };
        assert_eq!(done, 0, "signal {signal}");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("it runs").id()
    }

    /// `http://127.0.0.1:PORT`. The port stays the same over restarts.
    pub fn base(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// A client with the admin key.
    pub fn http(&self) -> Http {
        Http::new(&self.base(), Some(format!("Bearer {ADMIN_KEY}")))
    }

    /// A client with a write key.
    pub fn sender(&self, write_key: &str) -> Http {
        Http::new(&self.base(), Some(http::basic(write_key)))
    }

    /// Makes a source; answers its write key.
    pub fn source(&self, name: &str) -> String {
        let made = self
            .http()
            .post_ok("/api/v1/sources", &json!({"name": name, "kind": "http"}))
            .value();
        made["write_key"]
            .as_str()
            .unwrap_or_else(|| panic!("a source has a write key: {made}"))
            .to_owned()
    }

    /// Sends events of our own form that must all be accepted; answers the token.
    pub fn send(&self, write_key: &str, events: &Value) -> String {
        let answer = self.sender(write_key).post_ok("/v1/events", events);
        let value = answer.value();
        assert_eq!(value["rejected"], json!([]), "all must be accepted");
        answer.token().to_owned()
    }

    /// The member of an identifier, once the token (empty: none) is applied.
    pub fn member(&self, identifier: &str, after: &str) -> Value {
        self.find(identifier, after)
            .unwrap_or_else(|| panic!("nobody has {identifier}"))
    }

    /// The member of an identifier, if somebody has it.
    pub fn find(&self, identifier: &str, after: &str) -> Option<Value> {
        let mut path = format!("/api/v1/members?identifier={}", http::query(identifier));
        if !after.is_empty() {
            path = format!("{path}&after={after}");
        }
        let found = self.http().list(&path);
        assert!(
            found.len() < 2,
            "{identifier} belongs to one member: {found:?}"
        );
        found.into_iter().next()
    }

    /// The counts, once everything that was acknowledged is in them: each event is applied, a duplicate or a dead letter.
    pub fn stats(&self) -> Value {
        let http = self.http();
        let count = |stats: &Value, name: &str| stats[name].as_i64().unwrap_or_default();
        let mut last = Value::Null;
        let done = wait::within(wait::PATIENCE, || {
            last = http.read("/api/v1/stats");
            let ended = ["applied", "duplicates", "dead_letters"];
            let ended: i64 = ended.iter().map(|name| count(&last, name)).sum();
            (count(&last, "lag") == 0 && ended == count(&last, "received")).then_some(())
        });
        assert!(
            done.is_some(),
            "not everything received is accounted for: {last}"
        );
        last
    }

    /// `tributary digest` of the stopped installation with further arguments.
    pub fn digest(&self, arguments: &[&str]) -> String {
        assert!(self.server.is_none(), "a running folder is locked");
        digest_of(&self.data, arguments)
    }

    /// What the server wrote to standard error since its last start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.root.path().join(format!("serve-{}.log", self.starts))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("last lines of the server's log, newest first:");
            for line in tail {
                eprintln!("  {line}");
            }
            if std::env::var_os("TRIBUTARY_KEEP").is_some() {
                self.root.disable_cleanup(true);
                eprintln!("kept: {}", self.root.path().display());
            }
        }
    }
}

/// `tributary digest` of a folder that no process uses.
pub fn digest_of(data: &Path, arguments: &[&str]) -> String {
    let data = data.to_str().expect("temporary paths are UTF-8");
    let mut all = vec!["digest", "--data", data];
    all.extend(arguments);
    let text = binary::run_ok(&all).trim().to_owned();
    assert!(!text.is_empty(), "a digest is printed");
    text
}

/// Whether the process was ended by this signal.
pub fn ended_by(status: ExitStatus, signal: i32) -> bool {
    status.signal() == Some(signal)
}

/// The `HOST:PORT` behind `http://` in a line.
fn address_in(line: &str) -> Option<String> {
    let rest = line.split_once("http://")?.1;
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]".contains(c)))
        .unwrap_or(rest.len());
    let address = &rest[..end];
    address
        .parse::<std::net::SocketAddr>()
        .is_ok()
        .then(|| address.to_owned())
}

fn wait_for(child: &mut Child) -> ExitStatus {
    /// A drain finishes open requests for ten seconds and syncs once.
    const END_MAX: Duration = Duration::from_secs(60);
    let ended = wait::within(END_MAX, || child.try_wait().expect("it is our child"));
    ended.unwrap_or_else(|| {
        let _ = child.kill();
        let _ = child.wait();
        panic!("the process did not end within {END_MAX:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn the_address_is_found_in_whatever_is_printed_around_it() {
        let found = |line| address_in(line);
        assert_eq!(
            found("ready: http://127.0.0.1:8080/ (data: x)").as_deref(),
            Some("127.0.0.1:8080")
        );
        assert_eq!(found("http://[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(found("see http://example.org/docs"), None);
        assert_eq!(found("nothing"), None);
    }
}
