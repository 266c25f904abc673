//! What a person runs when a partition refuses to open: look at all of it, and cut it at the damage.

use std::path::{Path, PathBuf};

use tracing::warn;

use super::manifest::Manifest;
use super::partition::{partition_dir, segment_path};
use super::recover::{partition_ids, segment_files};
use super::writer::create_segment;
use crate::disk::{Disk, FolderLock, read_whole, write_all_at};
use crate::log::LogError;
use crate::log::frame::{FRAME_HEAD, SegmentKey, corrupt};
use crate::log::scan::Scan;
use crate::model::{Offset, PartitionId};

/// What a full scan found in one partition. Segments in the archive are not scanned.
#[derive(Debug, Clone)]
pub struct PartitionReport {
    /// The partition.
    pub partition: PartitionId,
    /// The first kept offset, in the archive or here.
    pub start: Offset,
    /// Offset after the last good record before any damage.
    pub end: Offset,
    /// Segment files read.
    pub segments: u64,
    /// Good bytes in them.
    pub bytes: u64,
    /// Bytes at the end that were never acknowledged and that the next open cuts.
    pub torn: u64,
    /// The first damage, a [`LogError::Corrupt`].
    pub damage: Option<LogError>,
    good: Option<Good>,
    last_seen: u64,
}

/// What [`repair`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The partition ends here now.
    pub end: Offset,
    /// Records that are no longer in it: from `end` to the last one that was still found.
    pub dropped: u64,
    /// The damaged files as they were, and later ones, beside their old place; remove them when nobody needs them.
    pub kept: Vec<PathBuf>,
}

/// Where the good part ends: a segment, and the bytes of it without a seal.
#[derive(Debug, Clone, Copy)]
struct Good {
    first: u64,
    bytes: u64,
}

/// Reads all segment files of a log and tells what is there. Changes nothing. The log may be open meanwhile; then its
/// newest groups may be reported as torn.
pub fn verify(disk: &dyn Disk, dir: &Path) -> Result<Vec<PartitionReport>, LogError> {
    let ids = partition_ids(disk, dir)?;
    ids.into_iter()
        .map(|id| verify_partition(disk, dir, id))
        .collect()
}

fn verify_partition(
    disk: &dyn Disk,
    dir: &Path,
    id: PartitionId,
) -> Result<PartitionReport, LogError> {
    let dir = partition_dir(dir, id);
    let mut files = segment_files(disk, &dir)?;
    let (manifest, damage) = match Manifest::load(disk, &dir, id) {
        Ok(manifest) => (manifest.unwrap_or_default(), None),
        Err(damage @ LogError::Corrupt { .. }) => {
            // Nothing says where the log should begin, so it begins where it does.
            let start = files.keys().next().copied().unwrap_or(0);
            (Manifest::beginning_at(start), Some(damage))
        }
        Err(error) => return Err(error),
    };
    files.retain(|first, _| *first >= manifest.start);
    let firsts: Vec<u64> = files.into_keys().collect();
    let both = |first: &u64| manifest.archived.iter().any(|one| one.first == *first);
    let expected = match firsts.first().copied().filter(both) {
        Some(first) => first,
        None => manifest.end(),
    };
    let mut report = PartitionReport {
        partition: id,
        start: Offset(manifest.start),
        end: Offset(expected),
        segments: 0,
        bytes: 0,
        torn: 0,
        damage: None,
        good: None,
        last_seen: expected,
    };
    if firsts.is_empty() {
        report.damage = Some(corrupt(id, &dir, 0, expected, "no segment file is there"));
    }
    for (at, first) in firsts.iter().copied().enumerate() {
        let path = segment_path(&dir, first);
        let content = read_whole(disk, &path)
            .map_err(|error| LogError::io(format!("reading {}", path.display()), error))?;
        report.segment(&path, first, firsts.get(at + 1).copied(), &content);
    }
    report.damage = damage.or(report.damage);
    Ok(report)
}

impl PartitionReport {
    /// Adds what one segment holds; `next` is where the one after it begins.
    fn segment(&mut self, path: &Path, first: u64, next: Option<u64>, content: &[u8]) {
        let key = SegmentKey::new(self.partition, first);
        let scan = Scan::of(key, content);
        self.segments += 1;
        self.last_seen = self.last_seen.max(scan.last_seen);
        if self.damage.is_some() {
            return;
        }
        if first != self.end.0 {
            let what = "the segment before it is missing";
            self.damage = Some(key.corrupt(path, 0, self.end.0, what));
            return;
        }
        let seal = if scan.sealed { FRAME_HEAD as u64 } else { 0 };
        self.end = Offset(scan.end);
        self.bytes += scan.bytes;
        self.good = Some(Good {
            first,
            bytes: scan.bytes - seal,
        });
        let found = match next {
            // A damaged seal is made again by the next open.
            Some(next) if next == scan.end && !scan.head_damaged => None,
            Some(_) => scan
                .first_damage(key)
                .map(|damage| (damage.byte, damage.offset, damage.what)),
            None if scan.sealed => {
                let what = "the segment that follows it is missing";
                Some((content.len() as u64, scan.end, what))
            }
            None => {
                let refusal = scan.refusal(key);
                if refusal.is_none() {
                    self.torn = content.len() as u64 - scan.bytes;
                }
                refusal.map(|damage| (damage.byte, damage.offset, damage.what))
            }
        };
        self.damage = found.map(|(byte, offset, what)| key.corrupt(path, byte, offset, what));
    }
}

/// Cuts a damaged partition at its damage, so that it opens again. **Records behind the damage are no longer in the log**,
/// also whole ones. The files stay beside their old place as `.damaged`. Does nothing to a partition that is whole.
///
/// Where the manifest itself is damaged it is made anew from the files here, and the archive's segments are out of view.
pub fn repair(disk: &dyn Disk, dir: &Path, id: PartitionId) -> Result<Repaired, LogError> {
    let _lock = FolderLock::take_on(disk, dir)?;
    restore_heads(disk, &partition_dir(dir, id), id)?;
    let report = verify_partition(disk, dir, id)?;
    let mut done = Repaired {
        end: report.end,
        dropped: 0,
        kept: Vec::new(),
    };
    let Some(damage) = &report.damage else {
        return Ok(done);
    };
    let dir = partition_dir(dir, id);
    let failed = |error| LogError::io(format!("repairing {}", dir.display()), error);
    // The newest first: after a crash in between the partition still refuses to open, and repair can go on.
    let keep = report.good.map(|good| good.first);
    let gone = segment_files(disk, &dir)?.into_keys().rev();
    for first in gone.take_while(|first| keep.is_none_or(|keep| *first > keep)) {
        let path = segment_path(&dir, first);
        let aside = aside(&path);
        disk.rename(&path, &aside).map_err(failed)?;
        drop_index(disk, &path);
        done.kept.push(aside);
    }
    disk.sync_dir(&dir).map_err(failed)?;
    match report.good {
        Some(good) => {
            let path = segment_path(&dir, good.first);
            drop_index(disk, &path);
            let kept = cut(disk, &path, good.bytes);
            done.kept.extend(kept.map_err(failed)?);
        }
        None => {
            create_segment(disk, &dir, SegmentKey::new(id, report.end.0))?;
        }
    }
    if Manifest::load(disk, &dir, id).is_err() {
        Manifest::beginning_at(report.start.0).save(disk, &dir)?;
    }
    done.dropped = report.last_seen.saturating_sub(report.end.0);
    warn!(%damage, end = %done.end, dropped = done.dropped, "partition cut");
    Ok(done)
}

/// The head of a segment follows from its name, so a damaged one costs nothing.
fn restore_heads(disk: &dyn Disk, dir: &Path, id: PartitionId) -> Result<(), LogError> {
    for first in segment_files(disk, dir)?.into_keys() {
        let path = segment_path(dir, first);
        let failed = |error| LogError::io(format!("repairing {}", path.display()), error);
        let head = SegmentKey::new(id, first).segment_head();
        if !read_whole(disk, &path).map_err(failed)?.starts_with(&head) {
            let file = disk.open(&path).map_err(failed)?;
            write_all_at(&*file, &head, 0).map_err(failed)?;
            file.sync_data().map_err(failed)?;
        }
    }
    Ok(())
}

/// Cuts a segment after `bytes`, keeping a copy of it as it was if that changes anything.
fn cut(disk: &dyn Disk, path: &Path, bytes: u64) -> std::io::Result<Option<PathBuf>> {
    let content = read_whole(disk, path)?;
    if content.len() as u64 == bytes {
        return Ok(None);
    }
    let aside = aside(path);
    let copy = disk.create(&aside)?;
    write_all_at(&*copy, &content, 0)?;
    copy.sync_data()?;
    disk.sync_dir(path.parent().expect("a segment lies in a folder"))?;
    let file = disk.open(path)?;
    file.truncate(bytes)?;
    file.sync_data()?;
    Ok(Some(aside))
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("seg.damaged")
}

fn drop_index(disk: &dyn Disk, path: &Path) {
    // A cache, and there may be none.
    let _ = disk.unlink(&path.with_extension("idx"));
}
