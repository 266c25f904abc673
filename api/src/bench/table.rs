//! Rows of figures with what they must reach, for people (a table) and for programs (JSON).

use std::fmt;
use std::time::Duration;

use super::disk::Syncs;
use super::{BenchOptions, What};

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it must reach, and what it should reach then, as text.
    pub goal: &'static str,
}

/// Figures that are read across: printed as Markdown.
#[derive(Debug, Clone)]
struct Grid {
    heads: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|at| {
                let cells = self.lines.iter().filter_map(|line| line.get(at));
                let cells = cells.chain([&self.heads[at]]);
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            write!(f, "|")?;
            for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                match at {
                    0 => write!(f, " {cell:<width$} |")?,
                    _ => write!(f, " {cell:>width$} |")?,
                }
            }
            writeln!(f)
        };
        line(f, &self.heads)?;
        let rules: Vec<String> = (widths.iter().enumerate())
            .map(|(at, width)| match at {
                0 => "-".repeat(*width),
                _ => format!("{}:", "-".repeat(width.saturating_sub(1))),
            })
            .collect();
        line(f, &rules)?;
        self.lines.iter().try_for_each(|cells| line(f, cells))
    }
}

/// The figures of one run.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    syncs: Syncs,
    cores: usize,
    rows: Vec<Row>,
    grids: Vec<Grid>,
    notes: Vec<String>,
}

impl Table {
    pub(super) fn new(options: &BenchOptions, syncs: Syncs) -> Table {
        let title = match options.what {
            What::Ingest => "events over HTTP, acknowledged durable",
            What::Apply => "events over HTTP, applied",
            What::Restart => "ready after kill -9",
            What::Log => "appends to the segment log",
            What::Identity => "the identity machine in this process",
            What::Profile => "the profile machine in this process",
            What::Lake => "the lake of events in this process",
            What::Decode => "admission and decoding in this process",
            What::Generate => "the load generator alone",
            What::Segments => "counting segments",
            What::Import => "files read in this process",
            What::Export => "a segment exported over HTTP",
        };
        Table {
            title: title.to_owned(),
            syncs,
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            rows: Vec::new(),
            grids: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a figure without a goal.
    pub(super) fn row(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.goal(what, value, unit, "");
    }

    /// Adds a figure with what it must reach.
    pub(super) fn goal(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: &'static str,
    ) {
        let what = what.into();
        // A long run that somebody stops, or that fails at its end, has told what it measured.
        let printed = printed(value);
        eprintln!("… {}: {printed} {unit}", what.trim_start());
        self.rows.push(Row {
            what,
            value,
            unit,
            goal,
        });
    }

    /// Adds the median and the slowest of a hundred.
    pub(super) fn times(&mut self, what: &str, times: &mut Times, goal: &'static str) {
        self.row(format!("{what}, p50"), times.ms(0.50), "ms");
        self.goal(format!("{what}, p99"), times.ms(0.99), "ms", goal);
    }

    /// Adds figures that are read across, under the rows.
    pub(super) fn grid(&mut self, heads: Vec<String>, lines: Vec<Vec<String>>) {
        self.grids.push(Grid { heads, lines });
    }

    /// Adds a sentence under the table.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "what": row.what, "value": row.value, "unit": row.unit, "goal": row.goal,
                })
            })
            .collect();
        serde_json::json!({
            "title": self.title,
            "version": env!("CARGO_PKG_VERSION"),
            "optimised": !cfg!(debug_assertions),
            "cores": self.cores,
            "sync_p50_ms": self.syncs.p50_ms,
            "sync_p99_ms": self.syncs.p99_ms,
            "rows": rows,
            "grids": self.grids.iter()
                .map(|grid| serde_json::json!({ "heads": grid.heads, "lines": grid.lines }))
                .collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}   ({} cores; the disk syncs in {:.2} ms at the median, {:.2} ms at p99)",
            self.title, self.cores, self.syncs.p50_ms, self.syncs.p99_ms
        )?;
        for row in &self.rows {
            let value = printed(row.value);
            let line = format!("  {:<46}{value:>12} {:<12}{}", row.what, row.unit, row.goal);
            writeln!(f, "{}", line.trim_end())?;
        }
        for grid in &self.grids {
            writeln!(f, "\n{grid}")?;
        }
        for note in &self.notes {
            writeln!(f, "  - {note}")?;
        }
        Ok(())
    }
}

/// Three digits that matter.
pub(super) fn printed(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Durations of which quantiles are asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all does not exceed, in milliseconds; 0 if there is none.
    pub fn ms(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.0.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut times = Times::default();
        assert_eq!(times.ms(0.5), 0.0);
        for ms in (1..=100).rev() {
            times.push(Duration::from_millis(ms));
        }
        assert_eq!((times.ms(0.0), times.ms(1.0)), (1.0, 100.0));
        assert_eq!((times.ms(0.5), times.ms(0.99)), (51.0, 99.0));
    }

    #[test]
    fn what_is_read_across_is_markdown() {
        let text = |line: &[&str]| line.iter().map(|cell| cell.to_string()).collect();
        let grid = Grid {
            heads: text(&["what", "ms"]),
            lines: vec![text(&["a", "1.25"])],
        };
        let expected = "| what |   ms |\n| ---- | ---: |\n| a    | 1.25 |\n";
        assert_eq!(grid.to_string(), expected);
    }

    #[test]
    fn figures_print_with_three_digits() {
        let printed: Vec<_> = [1234.5, 12.34, 0.456].map(super::printed).into();
        assert_eq!(printed, ["1234", "12.3", "0.46"]);
    }
}
