//! The manifest: which files are the lake, and up to which result they reach. Swapped whole, so that a crash leaves the
//! old lake or the new one, position and files together.
//!
//! Form: the CRC-32C of the rest in hex, a line break, JSON.

use std::io;
use std::path::Path;

use actors::disk::{self, RealDisk};
use actors::model::{EventKind, IdentNo, Offset, Time};
use serde::{Deserialize, Serialize};

use super::schema::kind_of;

/// Version of the form.
const FORM: u32 = 1;

/// File name of the manifest within the lake's folder.
pub const NAME: &str = "manifest.json";

/// What the lake is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    form: u32,
    /// Events of all results below are in the files.
    pub position: Offset,
    /// Number of the next file.
    pub next_file: u64,
    /// Number of the last erasure.
    pub erasure: u64,
    /// Erasures that some file may not have in it yet.
    pub pending: Vec<Erasure>,
    /// The files.
    pub files: Vec<FileEntry>,
}

/// Fragments whose personal columns must go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Erasure {
    /// Its number; grows.
    pub number: u64,
    /// When it was asked for.
    pub at: Time,
    /// Rows below were known when it was asked for: they are in files once the manifest is there.
    pub position: Offset,
    /// Who.
    pub fragments: Vec<IdentNo>,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    /// Names it.
    pub number: u64,
    /// The one sort of event in it, as its word.
    kind: String,
    /// How often its rows were merged; [`FileEntry::MONTH`] for a merged month.
    pub level: u8,
    /// Rows.
    pub rows: u64,
    /// Rows that are not only about an order.
    pub events: u64,
    /// Length.
    pub bytes: u64,
    /// Checksum of its list of checksums.
    pub sums: u32,
    /// First and last event time.
    pub times: (Time, Time),
    /// First and last offset of results.
    pub offsets: (Offset, Offset),
    /// First and last fragment.
    pub fragments: (IdentNo, IdentNo),
    /// Erasures up to this number are applied to it.
    pub erasure: u64,
}

impl FileEntry {
    /// Level of a file that a merge of a whole month wrote.
    pub const MONTH: u8 = 100;

    /// An entry without rows, to be filled while the file is written.
    pub fn empty(number: u64, kind: EventKind, level: u8, erasure: u64) -> FileEntry {
        FileEntry {
            number,
            kind: kind.as_str().into(),
            level,
            rows: 0,
            events: 0,
            bytes: 0,
            sums: 0,
            times: (Time::MAX, Time::MIN),
            offsets: (Offset(u64::MAX), Offset(0)),
            fragments: (IdentNo(u32::MAX), IdentNo(0)),
            erasure,
        }
    }

    /// The sort of its events.
    pub fn kind(&self) -> EventKind {
        kind_of(&self.kind).unwrap_or(EventKind::Track)
    }

    /// Its name in the folder.
    pub fn file_name(&self) -> String {
        file_name(self.number)
    }
}

/// The name of the file with this number.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:08}.parquet")
}

/// Why a manifest does not read.
#[derive(Debug)]
pub(super) enum Unreadable {
    Io(io::Error),
    Damaged(String),
}

impl Manifest {
    /// An empty lake that begins at this result.
    pub fn new(position: Offset) -> Manifest {
        Manifest {
            form: FORM,
            position,
            next_file: 1,
            erasure: 0,
            pending: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Reads the manifest of a folder. `None`: there is none.
    pub fn load(folder: &Path) -> Result<Option<Manifest>, Unreadable> {
        let text = match std::fs::read(folder.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Unreadable::Io(error)),
        };
        Manifest::parse(&text)
            .map(Some)
            .map_err(Unreadable::Damaged)
    }

    fn parse(text: &[u8]) -> Result<Manifest, String> {
        let (sum, json) = text
            .split_at_checked(9)
            .ok_or("it is too short".to_owned())?;
        let told = std::str::from_utf8(&sum[..8])
            .ok()
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        if told != Some(crc32c::crc32c(json)) {
            return Err("its checksum does not fit".into());
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match manifest.form {
            FORM => Ok(manifest),
            form => Err(format!("it has form {form}, this version reads {FORM}")),
        }
    }

    /// Replaces the manifest of a folder, durably.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        disk::replace(&RealDisk, &folder.join(NAME), &self.to_bytes())
    }

    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("a manifest serialises");
        let mut text = format!("{:08x}\n", crc32c::crc32c(&json)).into_bytes();
        text.extend_from_slice(&json);
        text
    }

    /// Forgets erasures that every file has in it.
    pub fn settle_erasures(&mut self) {
        let (files, position) = (&self.files, self.position);
        self.pending.retain(|erasure| {
            position < erasure.position || files.iter().any(|file| file.erasure < erasure.number)
        });
    }
}
