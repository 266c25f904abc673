//! What a partition must hold: its first kept offset and the segments that went to the archive.
//!
//! Without it a missing first segment would look like a log that begins later.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, read_whole, replace};
use crate::log::LogError;
use crate::log::frame::corrupt;
use crate::model::PartitionId;

/// Its file within the folder of the partition: a checksum, a line end, JSON.
pub(super) const FILE: &str = "manifest";

/// What a partition must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The first kept offset.
    pub(super) start: u64,
    /// Segments in the archive, ascending, without gaps.
    pub(super) archived: Vec<ArchivedSegment>,
}

/// A segment that the archive has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ArchivedSegment {
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) bytes: u64,
}

impl Manifest {
    /// Of a partition of which nothing is archived.
    pub(super) fn beginning_at(start: u64) -> Manifest {
        let archived = Vec::new();
        Manifest { start, archived }
    }

    /// Where the part that is in the archive ends.
    pub(super) fn end(&self) -> u64 {
        self.archived.last().map_or(self.start, |last| last.end)
    }

    /// Reads it; `None` if there is none.
    pub(super) fn load(
        disk: &dyn Disk,
        dir: &Path,
        partition: PartitionId,
    ) -> Result<Option<Manifest>, LogError> {
        let path = dir.join(FILE);
        let content = match read_whole(disk, &path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io(format!("reading {}", path.display()), error)),
        };
        let read = || {
            let (crc, json) = content.split_at_checked(9)?;
            let crc = std::str::from_utf8(crc).ok()?.strip_suffix('\n')?;
            if crc != format!("{:08x}", crc32c::crc32c(json)) {
                return None;
            }
            serde_json::from_slice(json).ok()
        };
        let damaged = || corrupt(partition, &path, 0, 0, "the manifest is damaged");
        read().map(Some).ok_or_else(damaged)
    }

    /// Writes it, so that a power cut leaves the old or the new one.
    pub(super) fn save(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        let path = dir.join(FILE);
        let json = serde_json::to_vec(self).expect("numbers and lists have a JSON form");
        let mut content = format!("{:08x}\n", crc32c::crc32c(&json)).into_bytes();
        content.extend_from_slice(&json);
        replace(disk, &path, &content).map_err(|error| match crate::disk::is_full(&error) {
            true => LogError::Full,
            false => LogError::io(format!("writing {}", path.display()), error),
        })
    }
}
