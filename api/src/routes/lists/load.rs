//! Reading a list in: normalise, look up, keep the fingerprint. Memory does not grow with the list.

use std::collections::BTreeSet;

use actors::model::{BrandSet, IdentNo, Identifier, MemberId};
use actors::registry::{ListEntry, Print};
use axum::body::Body;
use bytes::{Buf, BytesMut};
use cdp::identity::row::{self, IdentRow, MemberRow};
use cdp::identity::rules::Rules;
use http_body_util::BodyExt;
use pipelines::audience::lists::next_ident;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{Shared, Snapshot};
use crate::error::ApiError;
use crate::http::Caller;

/// Entries decided and written at once.
pub const CHUNK: usize = 2_000;
/// Bytes of a line: an identifier and whatever other columns a file has.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a file: some ten million entries.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Entries that a report names.
const SHOWN: usize = 100;
/// First cells that name a column and no member.
const HEADS: [&str; 3] = ["member", "identifier", "id"];

/// What came of an upload.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct LoadReport {
    /// Different entries that were kept.
    pub entries: u64,
    /// How many of them mean somebody today.
    pub matched: u64,
    /// Entries that stood there twice.
    pub duplicates: u64,
    /// Kept entries that nobody has yet: the first 100.
    pub unmatched: Vec<String>,
    /// How many those are in all.
    pub unmatched_count: u64,
    /// Entries that are no identifiers and were left out: the first 100.
    pub invalid: Vec<InvalidEntry>,
    /// How many those are in all.
    pub invalid_count: u64,
}

/// An entry that was left out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InvalidEntry {
    /// As it was sent.
    pub entry: String,
    /// Why.
    pub code: String,
}

/// A list being read in.
pub struct Loader {
    shared: Shared,
    caller: Caller,
    list: i64,
    kind: Option<String>,
    key: [u8; 32],
    /// Lines read so far.
    lines: u32,
    report: LoadReport,
}

/// An entry as it was sent, and where.
pub type Sent = (u32, String);

/// What an entry is.
enum Decided {
    Kept {
        text: String,
        entry: ListEntry,
        matched: bool,
    },
    Left(InvalidEntry),
}

impl Loader {
    /// Into this list. `kind`: of entries that do not say.
    pub async fn new(
        shared: &Shared,
        caller: &Caller,
        list: i64,
        kind: Option<String>,
    ) -> Result<Loader, ApiError> {
        // Whoever is younger than this is looked at again when the list is at work: it may have come meanwhile.
        let youngest = next_ident(&shared.snapshot()?)?;
        shared.registry().list_looked_begin(list, youngest).await?;
        Ok(Loader {
            shared: shared.clone(),
            caller: caller.clone(),
            list,
            kind: kind.filter(|kind| !kind.is_empty()),
            key: shared.registry().list_key().await?,
            lines: 0,
            report: LoadReport::default(),
        })
    }

    /// What came of it.
    pub fn report(self) -> LoadReport {
        self.report
    }

    /// Adds some entries.
    pub async fn add(&mut self, texts: Vec<Sent>) -> Result<(), ApiError> {
        let (shared, caller) = (self.shared.clone(), self.caller.clone());
        let (kind, key) = (self.kind.clone(), self.key);
        // Rows are read from disk: not on the threads that serve sockets.
        let decided = tokio::task::spawn_blocking(move || {
            let snapshot = shared.snapshot()?;
            let (_, rules) = row::rules(&snapshot)?;
            let decider = Decider {
                shared: &shared,
                caller: &caller,
                snapshot: &snapshot,
                rules: &rules,
                kind: kind.as_deref(),
                key: &key,
            };
            texts
                .into_iter()
                .filter(|(_, text)| !text.trim().is_empty())
                .map(|(line, text)| decider.decide(line, text))
                .collect::<Result<Vec<_>, ApiError>>()
        });
        let decided = decided.await.map_err(|error| {
            tracing::error!(%error, "reading a list failed");
            ApiError::new("internal", "the server could not do this")
        })??;
        let mut kept: Vec<(ListEntry, bool, String)> = Vec::with_capacity(decided.len());
        for one in decided {
            match one {
                Decided::Kept {
                    text,
                    entry,
                    matched,
                } => kept.push((entry, matched, text)),
                Decided::Left(invalid) => {
                    self.report.invalid_count += 1;
                    if self.report.invalid.len() < SHOWN {
                        self.report.invalid.push(invalid);
                    }
                }
            }
        }
        let before = kept.len() as u64;
        kept.sort_by_key(|(entry, ..)| (entry.print, entry.line));
        kept.dedup_by_key(|(entry, ..)| entry.print);
        let entries: Vec<ListEntry> = kept.iter().map(|(entry, ..)| *entry).collect();
        let added = self
            .shared
            .registry()
            .list_entry_add(self.list, &entries)
            .await?;
        let new: BTreeSet<Print> = added.into_iter().collect();
        self.report.entries += new.len() as u64;
        self.report.duplicates += before - new.len() as u64;
        kept.retain(|(entry, ..)| new.contains(&entry.print));
        for (_, matched, text) in kept {
            if matched {
                self.report.matched += 1;
            } else {
                self.report.unmatched_count += 1;
                if self.report.unmatched.len() < SHOWN {
                    self.report.unmatched.push(text);
                }
            }
        }
        Ok(())
    }

    /// Adds the first cells of a file as it arrives.
    pub async fn stream(&mut self, mut body: Body) -> Result<(), ApiError> {
        let idle = self.shared.config.http.body_timeout;
        let broken = |error: axum::Error| {
            ApiError::new("body_shape", format!("the body broke off: {error}"))
        };
        let mut open = BytesMut::new();
        let mut texts = Vec::with_capacity(CHUNK);
        let (mut bytes, mut first) = (0u64, true);
        loop {
            let frame = tokio::time::timeout(idle, body.frame())
                .await
                .map_err(|_| ApiError::new("body_timeout", "the file stopped coming"))?;
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            bytes += data.len() as u64;
            if bytes > FILE_BYTES_MAX {
                let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
                return Err(ApiError::new("body_too_large", message));
            }
            open.extend_from_slice(&data);
            while let Some(end) = open.iter().position(|byte| *byte == b'\n') {
                let line = open.split_to(end);
                open.advance(1);
                self.line(&line, &mut first, &mut texts)?;
                if texts.len() == CHUNK {
                    self.add(std::mem::take(&mut texts)).await?;
                }
            }
            if open.len() > LINE_BYTES_MAX {
                let message = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                return Err(ApiError::new("table_form", message));
            }
        }
        let rest = open.split();
        self.line(&rest, &mut first, &mut texts)?;
        self.add(texts).await
    }

    fn line(
        &mut self,
        line: &[u8],
        first: &mut bool,
        texts: &mut Vec<Sent>,
    ) -> Result<(), ApiError> {
        self.lines = self.lines.saturating_add(1);
        let line = match *first {
            true => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
            false => line,
        };
        let line = std::str::from_utf8(line)
            .map_err(|_| ApiError::new("table_form", "the file is not UTF-8"))?;
        let cell = first_cell(line.trim_end_matches('\r'));
        if cell.is_empty() {
            return Ok(());
        }
        if std::mem::take(first) && !cell.contains(':') {
            if HEADS.contains(&cell.as_str()) {
                return Ok(());
            }
            let (_, rules) = row::rules(&self.shared.snapshot()?)?;
            let kind = cell.split('@').next().unwrap_or_default();
            if rules.form().kinds.iter().any(|known| *known.kind == *kind) {
                self.kind.get_or_insert(cell);
                return Ok(());
            }
        }
        texts.push((self.lines, cell));
        Ok(())
    }
}

/// The first cell of a CSV line.
fn first_cell(line: &str) -> String {
    let line = line.trim();
    let cell = match line.strip_prefix('"') {
        Some(quoted) => {
            let mut cell = String::new();
            let mut chars = quoted.chars().peekable();
            while let Some(c) = chars.next() {
                match c {
                    '"' if chars.peek() == Some(&'"') => {
                        chars.next();
                        cell.push('"');
                    }
                    '"' => break,
                    c => cell.push(c),
                }
            }
            cell
        }
        None => line
            .split([',', '\t', ';'])
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    // Spreadsheets keep long numbers as text with such a sign, and our own exports do.
    cell.trim().trim_start_matches('\'').to_owned()
}

struct Decider<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    snapshot: &'a Snapshot,
    rules: &'a Rules,
    kind: Option<&'a str>,
    key: &'a [u8; 32],
}

impl Decider<'_> {
    fn decide(&self, line: u32, text: String) -> Result<Decided, ApiError> {
        let cell = text.trim();
        if let Ok(MemberId(number)) = cell.parse::<MemberId>() {
            return match self.member(number)? {
                Some((ident, identifier)) => self.kept(line, text, Some(ident), &identifier),
                None => Ok(left(text, "not_found")),
            };
        }
        let full = match self.kind {
            Some(kind) if !cell.contains(':') => format!("{kind}:{cell}"),
            _ => cell.to_owned(),
        };
        let Ok(sent) = full.parse::<Identifier>() else {
            return Ok(left(text, "identifier_form"));
        };
        match self.rules.normalise(&sent) {
            Ok(normal) => {
                let ident = row::ident_of(self.snapshot, &normal)?;
                self.kept(line, text, ident, &normal)
            }
            Err(unusable) => Ok(left(text, unusable.code())),
        }
    }

    /// The identifier that stands for a member for ever, if the caller may see the member.
    fn member(
        &self,
        number: actors::model::MemberNo,
    ) -> Result<Option<(IdentNo, Identifier)>, ApiError> {
        let Some(today) = row::resolve(self.snapshot, number)? else {
            return Ok(None);
        };
        if !super::sees(self.shared, self.snapshot, self.caller, today)? {
            return Ok(None);
        }
        let member: Option<MemberRow> =
            row::get(self.snapshot, row::MEMBER, &row::key32(number.0))?;
        let Some(member) = member else {
            return Ok(None);
        };
        let anchor = member.anchor;
        let ident: Option<IdentRow> = row::get(self.snapshot, row::IDENT, &row::key32(anchor.0))?;
        Ok(ident.map(|row| (anchor, row.identifier)))
    }

    fn kept(
        &self,
        line: u32,
        text: String,
        ident: Option<IdentNo>,
        normal: &Identifier,
    ) -> Result<Decided, ApiError> {
        let member = match ident {
            Some(ident) => row::member_of(self.snapshot, ident)?,
            None => None,
        };
        let matched = match (member, &self.caller.scope.brands) {
            (None, _) => false,
            (Some(_), BrandSet::All) => true,
            // A brand does not learn from a report whom the group knows.
            (Some(member), _) => super::sees(self.shared, self.snapshot, self.caller, member)?,
        };
        Ok(Decided::Kept {
            entry: ListEntry {
                print: cdp::list::print(self.key, normal),
                ident,
                line,
            },
            matched,
            text,
        })
    }
}

fn left(entry: String, code: &str) -> Decided {
    Decided::Left(InvalidEntry {
        entry,
        code: code.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::first_cell;

    #[test]
    fn the_first_cell_of_a_line() {
        for (line, cell) in [
            ("phone:138", "phone:138"),
            (" 138 , x", "138"),
            ("\"a,\"\"b\"\"\",c", "a,\"b\""),
            ("'138\tx", "138"),
            ("", ""),
            (",x", ""),
        ] {
            assert_eq!(first_cell(line), cell, "{line}");
        }
    }
}
