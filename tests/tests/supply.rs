//! What others wrote and we build in: where it comes from, under which licence, and that the lock file pins it. Works
//! offline; known vulnerabilities are asked for by `.ci/run`, because their list is elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::binary::repository;

/// Licences that may be distributed with ours (Apache-2.0). A new one is a decision: read it first.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What is not built in, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "TLS is rustls: no C library of the machine"),
    ("native-tls", "TLS is rustls: no C library of the machine"),
];

/// Where packages may come from, beside this repository.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// All packages of the lock file that are built for some target.
fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(repository())
        .output()
        .expect("cargo runs: it built this test");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let all = metadata["packages"].as_array().expect("a list");
    all.iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .cloned()
        .collect()
}

/// Whether a licence expression (`MIT OR (Apache-2.0 AND ISC)`, `MIT/Apache-2.0`) can be met with allowed licences.
fn allowed(expression: &str) -> bool {
    fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
        let mut parts = Vec::new();
        let (mut depth, mut from) = (0, 0);
        for (at, letter) in text.char_indices() {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ if depth == 0 && at >= from && text[at..].starts_with(word) => {
                    parts.push(text[from..at].trim());
                    from = at + word.len();
                }
                _ => {}
            }
        }
        parts.push(text[from..].trim());
        parts
    }
    let text = expression.replace('/', " OR ");
    let text = text.trim();
    let either = split(text, " OR ");
    if either.len() > 1 {
        return either.into_iter().any(allowed);
    }
    let both = split(text, " AND ");
    if both.len() > 1 {
        return both.into_iter().all(allowed);
    }
    match text
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
    {
        Some(inner) => allowed(inner),
        None => LICENCES.contains(&text),
    }
}

#[test]
fn licence_expressions_are_read() {
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("(GPL-2.0 OR GPL-3.0) AND ISC", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("", false),
    ] {
        assert_eq!(allowed(expression), expected, "{expression}");
    }
}

#[test]
fn every_package_is_from_the_registry_under_a_licence_that_fits_and_wanted() {
    let mut complaints = Vec::new();
    let packages = packages();
    assert!(packages.len() > 100, "the packages are found");
    for package in &packages {
        let text = |name: &str| package[name].as_str().unwrap_or_default();
        let name = format!("{} {}", text("name"), text("version"));
        match package["source"].as_str() {
            Some(REGISTRY) => {}
            Some(other) => complaints.push(format!("{name} comes from {other}")),
            None if text("manifest_path").starts_with(&*repository().to_string_lossy()) => {}
            None => complaints.push(format!("{name} comes from {}", text("manifest_path"))),
        }
        let licence = text("license");
        if !allowed(licence) {
            complaints.push(format!("{name} has the licence `{licence}`"));
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == text("name")) {
            complaints.push(format!("{name}: {why}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_lock_file_pins_every_package_by_its_content() {
    let text = fs::read_to_string(repository().join("Cargo.lock")).expect("it is there");
    let lock: toml::Table = toml::from_str(&text).expect("cargo wrote it");
    let packages = lock["package"].as_array().expect("a list");
    let unpinned: Vec<&str> = packages
        .iter()
        .filter(|package| package.get("source").is_some() && package.get("checksum").is_none())
        .filter_map(|package| package["name"].as_str())
        .collect();
    assert!(unpinned.is_empty(), "without a checksum: {unpinned:?}");
}
