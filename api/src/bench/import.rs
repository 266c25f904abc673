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

/// How many times smaller the file is that memory is compared with.
const PART: u64 = 4;

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
        // A part first: memory that grows with the file shows in the peaks.
        let path = files::write(dir, format, rows.div_ceil(PART)).map_err(part)?;
        let (read, of_part) = peak(|| files::read(&path, &mapping));
        read.map_err(part)?;
        let path = files::write(dir, format, rows).map_err(part)?;
        let (read, of_all) = peak(|| files::read(&path, &mapping));
        let (read, took) = read.map_err(part)?;
        done.push((*format, read as f64, took.as_secs_f64(), of_part, of_all));
    }
    let duck = duckdb(dir);
    for (format, rows, seconds, of_part, of_all) in done {
        table.row(
            format!("{format}: rows to records"),
            rows / seconds / 1e3,
            "k rows/s",
        );
        for (what, bytes) in [
            ("  peak memory, a quarter of the rows", of_part),
            ("  peak memory, all rows", of_all),
        ] {
            match bytes {
                Some(bytes) => table.row(what, bytes as f64 / 1_048_576.0, "MiB"),
                None => eprintln!("SKIPPED: peak memory because this is no Linux"),
            }
        }
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

/// What work comes to, and the most memory that this process had meanwhile.
fn peak<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    // Forgets earlier peaks. Not possible everywhere: then there is no figure.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let done = work();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next())
        .and_then(|text| text.parse::<u64>().ok());
    (done, kib.filter(|_| reset).map(|kib| kib * 1_024))
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
