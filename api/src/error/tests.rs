use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

/// All Rust sources of the crates that HTTP answers for.
fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            out.push(path);
        }
    }
}

/// Codes in the bodies of `fn code(&self) -> &'static str`.
fn fault_codes() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for part in ["actors", "ingest", "cdp", "query", "pipelines"] {
        sources(&root.join(part).join("src"), &mut files);
    }
    let mut codes = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        // By reference in `Fault`, by value in enums without data.
        for head in [
            "fn code(&self) -> &'static str {",
            "fn code(self) -> &'static str {",
        ] {
            for after in text.split(head).skip(1) {
                let body = after.split("\n    }\n").next().unwrap();
                codes.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
            }
        }
    }
    codes
}

#[test]
fn every_fault_code_has_a_row() {
    let codes = fault_codes();
    assert!(
        codes.len() > 10,
        "the search found next to nothing: {codes:?}"
    );
    let missing: Vec<_> = codes.iter().filter(|code| row(code).is_none()).collect();
    assert!(
        missing.is_empty(),
        "add to the table in api/src/error.rs: {missing:?}"
    );
}

#[test]
fn every_row_is_used() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    files.retain(|file| !file.ends_with("error.rs"));
    let own: String = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let faults = fault_codes();
    let general: BTreeSet<_> = [
        ErrorKind::Invalid,
        ErrorKind::Denied,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::Busy,
        ErrorKind::Full,
        ErrorKind::Unavailable,
        ErrorKind::Internal,
    ]
    .map(code_of)
    .into();
    let unused: Vec<_> = TABLE
        .iter()
        .map(|row| row.code)
        .filter(|code| {
            !faults.contains(*code)
                && !general.contains(code)
                && !own.contains(&format!("\"{code}\""))
        })
        .collect();
    assert!(unused.is_empty(), "rows that nobody answers: {unused:?}");
}

#[test]
fn codes_are_unique_and_statuses_are_errors() {
    let mut seen = BTreeSet::new();
    for row in TABLE {
        assert!(seen.insert(row.code), "{} twice", row.code);
        assert!((400..600).contains(&row.status), "{}", row.code);
        assert!(
            row.hint.ends_with('.') || row.hint.ends_with('…'),
            "{}",
            row.code
        );
    }
}

#[test]
fn details_of_our_own_faults_stay_inside() {
    let error = actors::log::LogError::Io {
        what: "writing /secret/path".into(),
        source: std::sync::Arc::new(std::io::Error::other("no")),
    };
    let shown = ApiError::fault(&error);
    assert_eq!(shown.code(), "log_io");
    assert_eq!(shown.status().as_u16(), 500);
    assert!(!shown.message().contains("secret"));
}

#[test]
fn what_a_retry_can_help_says_when() {
    let full = ApiError::fault(&actors::log::LogError::Full);
    assert_eq!(full.status().as_u16(), 507);
    let response = full.into_response();
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    assert!(
        ApiError::not_found("member")
            .into_response()
            .headers()
            .get(header::RETRY_AFTER)
            .is_none()
    );
}
