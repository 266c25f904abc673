//! Opening a partition: is every segment there, was the end torn, may the tail be cut?

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::Setup;
use super::manifest::{self, Manifest};
use super::partition::{Partition, partition_dir, segment_first, segment_path};
use super::read::Segment;
use super::writer::{Writer, create_segment, seal};
use crate::disk::{Disk, read_exact_at, read_whole};
use crate::log::LogError;
use crate::log::frame::{FRAME_HEAD, SEGMENT_HEAD, SegmentKey, corrupt, flag};
use crate::log::scan::Scan;
use crate::model::PartitionId;

/// Records in folders that nobody would open must not be forgotten.
pub(super) fn refuse_strange_partitions(
    disk: &dyn Disk,
    dir: &Path,
    partitions: u16,
) -> Result<(), LogError> {
    for id in partition_ids(disk, dir)? {
        if id.0 >= partitions {
            let what = format!("it is there, but only {partitions} partitions are configured");
            return Err(corrupt(id, &partition_dir(dir, id), 0, 0, &what));
        }
    }
    Ok(())
}

/// The partitions that have a folder.
pub(super) fn partition_ids(disk: &dyn Disk, dir: &Path) -> Result<Vec<PartitionId>, LogError> {
    let entries = disk.list(dir);
    let entries = entries.map_err(|e| LogError::io(format!("listing {}", dir.display()), e))?;
    let folders = entries.iter().filter(|entry| entry.is_dir);
    let mut ids: Vec<_> = folders
        .filter_map(|entry| entry.name.parse().ok().map(PartitionId))
        .collect();
    ids.sort();
    Ok(ids)
}

/// The segment files of a partition: first offset and length in bytes.
pub(super) fn segment_files(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<u64, u64>, LogError> {
    let entries = disk.list(dir);
    let entries = entries.map_err(|e| LogError::io(format!("listing {}", dir.display()), e))?;
    let files = entries.iter().filter(|entry| !entry.is_dir);
    Ok(files
        .filter_map(|entry| Some((segment_first(&entry.name)?, entry.bytes)))
        .collect())
}

/// Opens a partition, making it if it is not there.
pub(super) fn open(id: PartitionId, setup: &Setup) -> Result<(Arc<Partition>, Writer), LogError> {
    let dir = partition_dir(&setup.dir, id);
    let disk = &*setup.disk;
    let failed = |error| LogError::io(format!("opening {}", dir.display()), error);
    disk.create_dir(&dir).map_err(failed)?;
    disk.sync_dir(&setup.dir).map_err(failed)?;
    for entry in disk.list(&dir).map_err(failed)? {
        if entry.name.ends_with(".tmp") {
            disk.unlink(&dir.join(&entry.name)).map_err(failed)?;
        }
    }
    // Names that a crash left unsynced are relied on from here.
    disk.sync_dir(&dir).map_err(failed)?;

    let stored = Manifest::load(disk, &dir, id)?;
    let mut files = segment_files(disk, &dir)?;
    if files.is_empty() && stored.is_none() {
        create_segment(disk, &dir, SegmentKey::new(id, 0))?;
        files.insert(0, SEGMENT_HEAD as u64);
    }
    let manifest = stored.clone().unwrap_or_default();
    drop_trimmed(disk, &dir, &manifest, &mut files)?;
    let chain = Chain {
        id,
        dir: &dir,
        disk,
        manifest: &manifest,
        files: &files,
    };
    let (mut segments, last) = chain.walk()?;
    if stored.is_none() {
        manifest.save(disk, &dir)?;
    }
    let key = SegmentKey::new(id, last);
    let (segment, file, len, next) = open_last(disk, &dir, key)?;
    segments.insert(last, Arc::clone(&segment));
    let partition = Arc::new(Partition::new(id, setup, manifest, segments, next));
    let segment_bytes = setup.options.segment_bytes;
    let writer = Writer::new(
        Arc::clone(&partition),
        segment_bytes,
        segment,
        file,
        len,
        next,
    );
    Ok((partition, writer))
}

/// Files that a trim no longer came to remove.
fn drop_trimmed(
    disk: &dyn Disk,
    dir: &Path,
    manifest: &Manifest,
    files: &mut BTreeMap<u64, u64>,
) -> Result<(), LogError> {
    // The segment that begins at the start must be here or in the archive; only then are those before it superfluous.
    let archived = manifest.archived.iter().map(|segment| segment.first);
    if !files
        .keys()
        .copied()
        .chain(archived)
        .any(|first| first == manifest.start)
    {
        return Ok(());
    }
    while let Some(first) = files
        .keys()
        .next()
        .copied()
        .filter(|first| *first < manifest.start)
    {
        let path = segment_path(dir, first);
        let failed = |error| LogError::io(format!("removing {}", path.display()), error);
        disk.unlink(&path).map_err(failed)?;
        files.remove(&first);
    }
    Ok(())
}

type Opened = (Arc<Segment>, Arc<dyn crate::disk::DiskFile>, u64, u64);

/// The newest segment is the only one that may end badly.
fn open_last(disk: &dyn Disk, dir: &Path, key: SegmentKey) -> Result<Opened, LogError> {
    let path = segment_path(dir, key.first);
    let failed = |error| LogError::io(format!("opening {}", path.display()), error);
    let content = read_whole(disk, &path).map_err(failed)?;
    let scan = Scan::of(key, &content);
    if let Some(damage) = scan.refusal(key) {
        return Err(key.corrupt(&path, damage.byte, damage.offset, damage.what));
    }
    if scan.sealed {
        let what = "the segment that follows it is missing";
        return Err(key.corrupt(&path, content.len() as u64, scan.end, what));
    }
    let file = disk.open(&path).map_err(failed)?;
    if scan.bytes < content.len() as u64 {
        let cut = content.len() as u64 - scan.bytes;
        warn!(file = %path.display(), byte = scan.bytes, cut, "torn tail cut: nothing of it was acknowledged");
        file.truncate(scan.bytes).map_err(failed)?;
    }
    // What a killed process had written but not synced is taken as part of the log, so it must stay.
    file.sync_data().map_err(failed)?;
    info!(file = %path.display(), end = scan.end, "partition open");
    let (end, bytes) = (scan.end, scan.bytes);
    let segment = Segment::active(key, path, end, bytes, Arc::clone(&file), scan.index);
    Ok((Arc::new(segment), file, bytes, end))
}

/// The segments of a partition, which must follow each other from the start on.
struct Chain<'a> {
    id: PartitionId,
    dir: &'a Path,
    disk: &'a dyn Disk,
    manifest: &'a Manifest,
    files: &'a BTreeMap<u64, u64>,
}

impl Chain<'_> {
    /// All but the newest, and where that begins.
    fn walk(&self) -> Result<(BTreeMap<u64, Arc<Segment>>, u64), LogError> {
        let mut segments = BTreeMap::new();
        let archived = self.manifest.archived.iter();
        let archived: BTreeMap<u64, _> = archived.map(|one| (one.first, one)).collect();
        let mut firsts: Vec<u64> = archived.keys().chain(self.files.keys()).copied().collect();
        firsts.sort();
        firsts.dedup();
        let mut expected = self.manifest.start;
        for (at, first) in firsts.iter().copied().enumerate() {
            let path = segment_path(self.dir, first);
            if first != expected {
                let what = match first > expected {
                    true => "the segment before it is missing",
                    false => "it overlaps the segment before it",
                };
                return Err(corrupt(self.id, &path, 0, expected, what));
            }
            let key = SegmentKey::new(self.id, first);
            let (end, bytes, hot) = match (self.files.get(&first), archived.get(&first)) {
                (Some(_), None) if at + 1 == firsts.len() => return Ok((segments, first)),
                (Some(bytes), _) => {
                    let next = firsts.get(at + 1).copied();
                    let (end, bytes) = self.sealed_end(key, *bytes, next)?;
                    (end, bytes, true)
                }
                (None, Some(archived)) => (archived.end, archived.bytes, false),
                (None, None) => unreachable!("the list was made of both"),
            };
            expected = end;
            let segment = Segment::sealed(key, path, end, bytes, hot);
            segments.insert(first, Arc::new(segment));
        }
        let path = self.dir.join(manifest::FILE);
        let what = "the newest segment is missing";
        Err(corrupt(self.id, &path, 0, expected, what))
    }

    /// Where a segment that is not the newest ends: its seal says so. If a crash came before the seal, it is sealed now,
    /// provided that its records reach the next segment.
    fn sealed_end(
        &self,
        key: SegmentKey,
        bytes: u64,
        next: Option<u64>,
    ) -> Result<(u64, u64), LogError> {
        let path = segment_path(self.dir, key.first);
        let failed = |error| LogError::io(format!("reading {}", path.display()), error);
        let file = self.disk.open(&path).map_err(failed)?;
        if let Some(at) = bytes.checked_sub((SEGMENT_HEAD + FRAME_HEAD) as u64) {
            let at = at + SEGMENT_HEAD as u64;
            let mut head = [0; SEGMENT_HEAD];
            read_exact_at(&*file, &mut head, 0).map_err(failed)?;
            let head_is_good = head == key.segment_head();
            let mut seal = [0; FRAME_HEAD];
            read_exact_at(&*file, &mut seal, at).map_err(failed)?;
            match key.get(&seal, at) {
                Ok(head) if head_is_good && head.flags & flag::SEAL != 0 => {
                    return Ok((head.offset, bytes));
                }
                _ => {}
            }
        }
        let content = read_whole(self.disk, &path).map_err(failed)?;
        let scan = Scan::of(key, &content);
        if next != Some(scan.end) || scan.head_damaged {
            let (byte, offset, what) = match scan.first_damage(key) {
                Some(damage) => (damage.byte, damage.offset, damage.what),
                None => (bytes, scan.end, "its end is missing"),
            };
            return Err(key.corrupt(&path, byte, offset, what));
        }
        warn!(file = %path.display(), "segment without a seal: all its records are there, sealed now");
        let bytes = seal(&*file, key, scan.bytes, scan.end).map_err(failed)?;
        Ok((scan.end, bytes))
    }
}
