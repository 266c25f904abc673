//! How long a partition is kept, and where: sealed segments to the archive, old ones away.

use std::sync::Arc;

use tracing::warn;

use super::manifest::ArchivedSegment;
use super::partition::Partition;
use super::read::Segment;
use crate::log::LogError;
use crate::log::archive::{ArchiveStore, archive_name};
use crate::log::scan::Scan;

/// What a run of [`super::SegmentLog::archive`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Archived {
    /// Segments copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments removed here.
    pub removed: u64,
}

impl Partition {
    pub(super) fn archive(&self, keep: usize, below: u64) -> Result<Archived, LogError> {
        let Some(store) = &self.archive else {
            let cause = std::io::ErrorKind::NotFound.into();
            return Err(LogError::io("no archive is configured", cause));
        };
        let mut manifest = self.manifest.lock();
        let mut done = Archived::default();
        let hot: Vec<_> = {
            let segments = self.segments.read();
            let hot = segments.values().filter(|s| s.is_sealed() && s.is_hot());
            hot.cloned().collect()
        };
        for segment in &hot {
            let first = segment.key.first;
            if manifest.archived.iter().any(|known| known.first == first) {
                continue;
            }
            self.copy(&**store, segment)?;
            let mut next = manifest.clone();
            next.archived.push(ArchivedSegment {
                first,
                end: segment.end(),
                bytes: segment.bytes(),
            });
            next.save(&*self.disk, &self.dir)?;
            *manifest = next;
            done.copied += 1;
            done.bytes += segment.bytes();
        }
        let spare = hot[..hot.len().saturating_sub(keep)].iter();
        for segment in spare.take_while(|segment| segment.end() <= below) {
            // The index is asked for before the file goes, so that it is there when only the archive is.
            segment.open(self)?;
            let cooled = segment.cool(&*self.disk);
            cooled.map_err(|e| LogError::io(format!("removing {}", segment.path.display()), e))?;
            done.removed += 1;
        }
        Ok(done)
    }

    /// Copies a segment that is whole, and compares what came to lie there.
    fn copy(&self, store: &dyn ArchiveStore, segment: &Arc<Segment>) -> Result<(), LogError> {
        let content = segment.content(&*segment.open(self)?)?;
        let scan = Scan::of(segment.key, &content);
        if let Some(damage) = scan.first_damage(segment.key) {
            let (byte, offset) = (damage.byte, damage.offset);
            return Err(segment
                .key
                .corrupt(&segment.path, byte, offset, damage.what));
        }
        let name = archive_name(segment.key);
        let range = 0..content.len() as u64;
        let present = match store.get(&name, range.clone()) {
            Ok(present) => Some(present == content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(LogError::io(
                    format!("looking for {name} in the archive"),
                    error,
                ));
            }
        };
        let copied = match present {
            // A crash came between the copy and the manifest.
            Some(true) => Ok(()),
            // Somebody else's: a restored folder, say, that shares the archive of its original.
            Some(false) => Err(std::io::ErrorKind::AlreadyExists.into()),
            None => store.put(&name, content.clone()).and_then(|()| {
                match store.get(&name, range)? == content {
                    true => Ok(()),
                    false => {
                        // Ours, and bad: the next run shall not take it for somebody else's.
                        let _ = store.delete(&name);
                        Err(std::io::ErrorKind::InvalidData.into())
                    }
                }
            }),
        };
        copied.map_err(|e| LogError::io(format!("copying {name} to the archive"), e))
    }

    pub(super) fn trim(&self, below: u64) -> Result<u64, LogError> {
        let mut manifest = self.manifest.lock();
        let old: Vec<_> = {
            let segments = self.segments.read();
            let old = segments.values();
            old.take_while(|s| s.is_sealed() && s.end() <= below)
                .cloned()
                .collect()
        };
        let Some(start) = old.last().map(|segment| segment.end()) else {
            return Ok(self.start());
        };
        let mut next = manifest.clone();
        next.start = start;
        next.archived.retain(|known| known.first >= start);
        next.save(&*self.disk, &self.dir)?;
        let archived = std::mem::replace(&mut *manifest, next).archived;
        self.set_start(start);
        self.segments.write().retain(|first, _| *first >= start);
        for segment in old {
            // What is not removed now is at the next open; the manifest has forgotten it.
            if segment.is_hot()
                && let Err(error) = segment.cool(&*self.disk)
            {
                warn!(%error, file = %segment.path.display(), "trimmed segment not removed");
            }
            // A cache, and there may be none.
            let _ = self.disk.unlink(&segment.path.with_extension("idx"));
            let copied = archived
                .iter()
                .any(|known| known.first == segment.key.first);
            if let Some(store) = self.archive.as_ref().filter(|_| copied) {
                let name = archive_name(segment.key);
                if let Err(error) = store.delete(&name) {
                    warn!(%error, name, "trimmed segment not removed from the archive");
                }
            }
        }
        Ok(start)
    }
}
