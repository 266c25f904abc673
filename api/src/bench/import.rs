//! Reading files: rows a second by format, beside DuckDB reading the same file.

use std::path::Path;
use std::process::Command;

use ingest::bench::files::{self, FORMATS, XLSX_ROWS_MAX};
use ingest::file::Mapping;
use serde_json::Value;

use super::table::Table;
use super::{BenchError, BenchOptions};

/// What DuckDB runs: a script of the tests.
const SCRIPT: &str = include_str!("../../../tests/bench/import_duckdb.py");

/// Writes files of `events` rows and reads them.
pub(super) fn run(options: &BenchOptions, dir: &Path, table: &mut Table) -> Result<(), BenchError> {
    let part = |error: files::BenchError| BenchError::Part(error.to_string());
    let mapping =
        Mapping::parse(files::MAPPING).map_err(|errors| BenchError::Part(errors.to_string()))?;
    let mut done = Vec::new();
    for format in FORMATS {
        let rows = match *format {
            "xlsx" => options.events.min(XLSX_ROWS_MAX),
            _ => options.events,
        };
        let path = files::write(dir, format, rows).map_err(part)?;
        let (read, took) = files::read(&path, &mapping).map_err(part)?;
        done.push((*format, read as f64, took.as_secs_f64()));
    }
    let duck = duckdb(dir);
    for (format, rows, seconds) in done {
        table.row(
            format!("{format}: rows to records"),
            rows / seconds / 1e3,
            "k rows/s",
        );
        match &duck {
            Ok(duck) => match duck["seconds"][format].as_f64() {
                Some(seconds) => table.row(
                    "  DuckDB, one thread, reads",
                    rows / seconds / 1e3,
                    "k rows/s",
                ),
                None => eprintln!("SKIPPED: DuckDB on {format}: {}", duck["skipped"][format]),
            },
            Err(why) => eprintln!("SKIPPED: DuckDB on {format} because {why}"),
        }
    }
    Ok(())
}

/// Seconds by format, from a Python that has DuckDB: `TRIBUTARY_PYTHON` or `python3`.
fn duckdb(dir: &Path) -> Result<Value, String> {
    let python = std::env::var_os("TRIBUTARY_PYTHON").unwrap_or_else(|| "python3".into());
    let done = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(dir)
        .output()
        .map_err(|error| format!("{} does not start: {error}", python.display()))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(said.lines().last().unwrap_or_default().to_owned());
    }
    serde_json::from_slice(&done.stdout).map_err(|error| error.to_string())
}
