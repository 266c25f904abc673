//! The rules of the code base that no compiler knows: who may use whom, one door per technology, what has no place.
//!
//! Each rule is a function from files to complaints, and each complaint names file, line and what to do.

use std::fs;
use std::path::{Path, PathBuf};

use tests::binary::repository;

/// The map: crate, and which of ours it may use. From STYLE: everything flows downwards.
const MAP: &[(&str, &[&str])] = &[
    ("actors", &[]),
    ("ingest", &["actors"]),
    ("cdp", &["actors"]),
    ("trace", &["actors"]),
    ("query", &["actors"]),
    ("marketing", &["actors", "cdp"]),
    (
        "pipelines",
        &["actors", "ingest", "cdp", "trace", "query", "marketing"],
    ),
    (
        "api",
        &[
            "actors",
            "ingest",
            "cdp",
            "trace",
            "query",
            "marketing",
            "pipelines",
        ],
    ),
    (
        "tests",
        &[
            "actors",
            "ingest",
            "cdp",
            "trace",
            "query",
            "marketing",
            "pipelines",
            "api",
        ],
    ),
];

/// One door per technology: crate name as it is written in code, and the paths that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("actix", &["actors/src/runtime", "actors/tests"]),
    (
        "rdkafka",
        &[
            "actors/src/log",
            "ingest/src/source",
            "pipelines/src/effect",
        ],
    ),
    ("roaring", &["cdp/", "query/"]),
    ("axum", &["api/"]),
    // Forms of definitions have one type, which is their schema too.
    (
        "utoipa",
        &["api/", "cdp/src/tag", "cdp/src/dictionary/naming"],
    ),
    ("tower_http", &["api/"]),
    ("fjall", &["actors/src/store"]),
    (
        "sqlx",
        &[
            "actors/src/registry",
            "cdp/src/store",
            "marketing/src/store",
            "trace/src/store",
        ],
    ),
    ("datafusion", &["query/"]),
    ("arrow", &["query/"]),
    ("tantivy", &["query/"]),
    (
        "memmap2",
        &[
            "actors/src/memfile",
            "actors/src/seal",
            "actors/src/runtime/guard",
        ],
    ),
    ("reqwest", &["api/", "tests/", "pipelines/src/effect"]),
    (
        "object_store",
        &[
            "actors/src/log",
            "api/src/objects",
            "pipelines/src/backup",
            "query/",
        ],
    ),
    ("ring", &["actors/src/seal", "actors/src/registry"]),
];

/// Folders and files at the top. A new one is a decision: put it here with its crate or purpose.
const TOP: &[&str] = &[
    ".ci",
    ".git",
    ".gitignore",
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "actors",
    "api",
    "cdp",
    "console",
    "deploy",
    "docs",
    "ingest",
    "marketing",
    "pipelines",
    "query",
    "target",
    "tests",
    "trace",
];

/// Lines past which a file is named in the report: look for the second noun hiding inside.
const LINES_LONG: usize = 400;
/// Lines past which it is a failure.
const LINES_MAX: usize = 1_000;

/// One source file, its test part apart.
struct Source {
    /// Path from the root of the repository.
    path: String,
    text: String,
    /// The line from which on everything is test code.
    tests_from: usize,
}

impl Source {
    fn is_test(&self) -> bool {
        self.tests_from == 0
    }

    fn crate_name(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// Lines with their number from 1, comments removed.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().filter_map(|(number, line)| {
            let code = match line.trim_start().starts_with("//") {
                true => "",
                false => line,
            };
            (!code.is_empty()).then_some((number + 1, code))
        })
    }

    /// The part that ships.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().filter(|(number, _)| *number < self.tests_from)
    }
}

/// All Rust files of our crates.
fn sources() -> Vec<Source> {
    let root = repository();
    let mut files = Vec::new();
    for (name, _) in MAP {
        walk(&root.join(name), &mut files);
    }
    files.sort();
    let sources: Vec<Source> = files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("sources are readable UTF-8");
            let path = file.strip_prefix(&root).expect("it is inside");
            let path = path.to_str().expect("paths are ASCII").replace('\\', "/");
            let whole = path.starts_with("tests/")
                || path.contains("/tests/")
                || path.ends_with("/tests.rs")
                || path.contains("/testkit")
                || path.contains("/examples/")
                || path.contains("/benches/");
            let inner = text
                .lines()
                .position(|line| line.trim() == "#[cfg(test)]")
                .map_or(usize::MAX, |line| line + 1);
            // A test module in the file's middle would hide what follows: modules of one file come last.
            let tests_from = if whole { 0 } else { inner };
            Source {
                path,
                text,
                tests_from,
            }
        })
        .collect();
    assert!(sources.len() > 50, "the walk finds the sources");
    sources
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            if !matches!(
                path.file_name().and_then(|n| n.to_str()),
                Some("target" | "node_modules")
            ) {
                walk(&path, files);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// Fails with all complaints at once.
fn none(complaints: Vec<String>) {
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

/// `word` as a whole word in `line`.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next())
    })
}

#[test]
fn crates_use_only_what_is_below_them() {
    let root = repository();
    let ours: Vec<&str> = MAP.iter().map(|(name, _)| *name).collect();
    let mut complaints = Vec::new();
    for (name, allowed) in MAP {
        let Ok(text) = fs::read_to_string(root.join(name).join("Cargo.toml")) else {
            continue;
        };
        let manifest: toml::Table = toml::from_str(&text).expect("cargo read it before us");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(list) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for used in list.keys() {
                if ours.contains(&used.as_str()) && !allowed.contains(&used.as_str()) {
                    complaints.push(format!(
                        "{name}/Cargo.toml uses {used}; it may use {allowed:?}"
                    ));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn every_crate_of_the_workspace_is_on_the_map() {
    let text = fs::read_to_string(repository().join("Cargo.toml")).expect("it is there");
    let manifest: toml::Table = toml::from_str(&text).expect("cargo read it before us");
    let members = manifest["workspace"]["members"].as_array().expect("a list");
    let unknown: Vec<String> = members
        .iter()
        .filter_map(toml::Value::as_str)
        .filter(|member| !MAP.iter().any(|(name, _)| name == member))
        .map(|member| format!("{member}: put it on the map in tests/tests/tidy.rs"))
        .collect();
    none(unknown);
}

#[test]
fn each_technology_has_one_door() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (door, paths) in DOORS {
            if paths.iter().any(|path| source.path.starts_with(path)) || source.is_test() {
                continue;
            }
            for (number, line) in source.shipped() {
                let named = line.contains(&format!("{door}::"))
                    && !line.contains(&format!("::{door}::"))
                    && has_word(line, door);
                if named && !line.contains(&format!("crate::{door}")) {
                    complaints.push(format!(
                        "{}:{number}: {door} only in {paths:?}",
                        source.path
                    ));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn sql_lives_in_stores() {
    let verbs = [
        "SELECT ",
        "INSERT INTO ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "ALTER TABLE ",
    ];
    let mut complaints = Vec::new();
    for source in sources() {
        if ["/store", "/registry"]
            .iter()
            .any(|door| source.path.contains(door))
            || source.crate_name() == "query"
        {
            continue;
        }
        for (number, line) in source.shipped() {
            if line.contains('"') && verbs.iter().any(|verb| line.contains(verb)) {
                complaints.push(format!(
                    "{}:{number}: SQL belongs to the crate's store",
                    source.path
                ));
            }
        }
    }
    none(complaints);
}

#[test]
fn nothing_shipped_unwraps_or_is_unfinished() {
    // Written apart, so that this file does not complain about itself.
    let words = [
        (
            ".unwrap()",
            "say why it cannot happen: expect(\"…\"), or return the error",
        ),
        ("todo!(", "unfinished"),
        ("unimplemented!(", "unfinished"),
        ("dbg!(", "left over"),
    ];
    let mut complaints = Vec::new();
    for source in sources() {
        for (number, line) in source.shipped() {
            for (word, why) in words {
                if line.contains(word) {
                    complaints.push(format!("{}:{number}: {word}: {why}", source.path));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn no_test_is_ignored_and_none_sleeps() {
    let mut complaints = Vec::new();
    for source in sources() {
        let exempt = ["tests/src/wait.rs", "tests/tests/tidy.rs"].contains(&source.path.as_str());
        let bench = source.path.starts_with("tests/bench") || source.path.contains("/examples/");
        for (number, line) in source.code() {
            if line.trim() == "#[ignore]" || line.trim().starts_with("#[ignore =") {
                complaints.push(format!("{}:{number}: run it or remove it", source.path));
            }
            let test = number >= source.tests_from;
            if test
                && !exempt
                && !bench
                && (line.contains("thread::sleep(") || line.contains("time::sleep("))
            {
                complaints.push(format!(
                    "{}:{number}: wait for what you need, not for time",
                    source.path
                ));
            }
        }
    }
    none(complaints);
}

#[test]
fn the_core_has_no_clock_and_no_randomness() {
    let banned = [
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "rand::",
        "thread_rng",
    ];
    let mut complaints = Vec::new();
    for source in sources() {
        // `model/time.rs` is the clock's own door: shells take it from there and pass `now` on.
        let core = matches!(
            source.crate_name(),
            "cdp" | "ingest" | "marketing" | "trace"
        ) || (source.path.starts_with("actors/src/model")
            && !source.path.ends_with("/time.rs"))
            || source.path.starts_with("actors/src/machine");
        // Benches measure time by trade.
        if !core || source.path.contains("/bench") {
            continue;
        }
        for (number, line) in source.shipped() {
            for word in banned {
                // `operand::` is no `rand::`.
                let found = line.find(word).is_some_and(|at| {
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
                });
                if found {
                    complaints.push(format!(
                        "{}:{number}: {word}: `now` is an argument",
                        source.path
                    ));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut complaints = Vec::new();
    for source in sources() {
        if source.path.ends_with("/mod.rs") {
            complaints.push(format!("{}: modules are foo.rs beside foo/", source.path));
        }
        if !source.is_test() && !source.text.starts_with("//!") {
            complaints.push(format!("{}: begin with //! and one sentence", source.path));
        }
    }
    none(complaints);
}

#[test]
fn files_stay_readable() {
    let mut complaints = Vec::new();
    let mut long = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            complaints.push(format!(
                "{}: {lines} lines, at most {LINES_MAX}",
                source.path
            ));
        } else if lines > LINES_LONG {
            long.push((lines, source.path));
        }
    }
    long.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, path) in &long {
        println!("{lines:5} {path}");
    }
    none(complaints);
}

#[test]
fn the_top_folder_is_the_map() {
    let mut complaints = Vec::new();
    for entry in fs::read_dir(repository())
        .expect("it is there")
        .map_while(Result::ok)
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !TOP.contains(&name.as_str()) {
            complaints.push(format!(
                "{name}: is it part of the product? then name it in tidy.rs"
            ));
        }
    }
    none(complaints);
}

#[test]
fn the_readme_says_how_to_begin() {
    let text = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let needed = [
        "make demo",
        "make test",
        "tributary serve",
        "tributary import",
        "Apache-2.0",
    ];
    let missing: Vec<String> = needed
        .iter()
        .filter(|word| !text.contains(*word))
        .map(|word| format!("README.md does not mention `{word}`"))
        .collect();
    none(missing);
    let root = repository();
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let broken: Vec<String> = links
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .filter(|link| {
            !root
                .join(link.split('#').next().unwrap_or_default())
                .exists()
        })
        .map(|link| format!("README.md links to {link}, which is not there"))
        .collect();
    none(broken);
}

#[test]
fn no_secret_and_no_foreign_host_in_the_files() {
    // Hosts of package registries belong into nobody's source; keys have a form that is easy to see.
    let banned = ["BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE", "AKIA"];
    let mut complaints = Vec::new();
    for source in sources() {
        if source.path.ends_with("tidy.rs") {
            continue;
        }
        for word in banned {
            if source.text.contains(word) {
                complaints.push(format!("{}: {word}", source.path));
            }
        }
    }
    none(complaints);
}
