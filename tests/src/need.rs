//! What a test needs from the machine, and the visible line when it is not there.
//!
//! `cargo test` hides the output of tests that pass, so the line goes to standard error past its capture. In CI
//! (`TRIBUTARY_TESTS_STRICT=1`) a tool that could have been installed is a failure; what the machine itself refuses
//! (mounting, for example) never is.

use std::io::Write;

/// Something that is missing.
#[derive(Debug)]
pub struct Missing {
    /// What, and how to get it.
    pub why: String,
    /// Whether installing something would help.
    pub avoidable: bool,
}

impl Missing {
    /// Could have been installed: a failure in CI.
    pub fn tool(why: impl Into<String>) -> Missing {
        Missing {
            why: why.into(),
            avoidable: true,
        }
    }

    /// The machine does not allow it.
    pub fn machine(why: impl Into<String>) -> Missing {
        Missing {
            why: why.into(),
            avoidable: false,
        }
    }
}

/// What was needed, or `None` after saying visibly that `test` is skipped.
pub fn or_skip<T>(test: &str, needed: Result<T, Missing>) -> Option<T> {
    match needed {
        Ok(thing) => Some(thing),
        Err(missing) => {
            let strict = std::env::var_os("TRIBUTARY_TESTS_STRICT").is_some();
            assert!(
                !(strict && missing.avoidable),
                "{test} must not be skipped here: {}",
                missing.why
            );
            // Not `eprintln!`: the test runner would swallow it.
            let line = format!("SKIPPED: {test} because {}\n", missing.why);
            let _ = std::io::stderr().write_all(line.as_bytes());
            None
        }
    }
}
