//! A script of `tests/sdk/` that drives a published client: how it is started, and the lines that it prints.
//!
//! Each script takes the server's address, a write key and a number of events, then options of its own. It prints one
//! JSON object a line and waits for a line of input where a test has something to do in between.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::need::Missing;
use crate::tools;

/// A Python script of `tests/sdk/` that needs these modules.
pub fn python(modules: &[&str], script: &str) -> Result<Command, Missing> {
    let mut command = Command::new(tools::python(modules)?);
    // The script's folder is on the path; caches beside the sources are not wanted.
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(tools::script(script));
    Ok(command)
}

/// A Node script of `tests/sdk/` that needs these packages.
pub fn node(packages: &[&str], script: &str) -> Result<Command, Missing> {
    let folder = tools::node(packages)?;
    let mut command = Command::new("node");
    // The SDKs of mini-programs and the web write wall clocks: of the installation's zone, as phones there do.
    command
        .env("TZ", "Asia/Shanghai")
        .env("SDK_FOLDER", folder)
        .arg(tools::script(script));
    Ok(command)
}

/// A running script. It ends with this value.
pub struct Script {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Script {
    /// Starts it against the server at `base`.
    pub fn start(
        mut command: Command,
        base: &str,
        key: &str,
        events: usize,
        options: &[&str],
    ) -> Script {
        let mut child = command
            .args([base, key, &events.to_string()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Clients log every attempt that fails; that is what some tests bring about.
            .stderr(Stdio::null())
            .spawn()
            .expect("the tool was there a moment ago");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        Script { child, out }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it prints UTF-8");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the script printed {line:?}"))
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"\n").expect("the script waits for it");
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// The last line of a script that ended well.
    pub fn end(&mut self) -> Value {
        let last = self.line();
        assert!(self.child.wait().expect("it is our child").success());
        last
    }

    /// The client says that all events were delivered.
    pub fn delivered(&mut self, events: usize) {
        let last = self.end();
        assert_eq!(last["sent"], events, "{last}");
        assert_eq!(last["errors"], serde_json::json!([]), "the SDK gave up");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // After `end` it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
