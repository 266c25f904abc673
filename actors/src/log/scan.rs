//! Reading a whole segment file: what is good, where the damage is, and whether the damage matters.
//!
//! Damage behind the last synced byte is a torn tail, as a power cut leaves it: none of it was acknowledged. Damage before
//! it is a fault of the disk. The frames say which: each tells how far its file was synced when it was written, so any
//! frame or mark *behind* the damage that is still readable proves it. Hence the search goes on after the damage.

use super::frame::{FRAME_HEAD, NoFrame, SEGMENT_HEAD, SegmentKey, flag};
use super::segment::Index;

/// What a segment file holds.
#[derive(Debug)]
pub struct Scan {
    /// Offset after the last whole group before any damage.
    pub end: u64,
    /// Byte after the last whole group or mark before any damage.
    pub bytes: u64,
    /// Sparse index of the good part.
    pub index: Index,
    /// Whether the last good frame is the seal and nothing follows it.
    pub sealed: bool,
    /// Every byte below was synced once: the highest proof found anywhere in the file.
    pub synced: u64,
    /// Whether the head of the file is damaged. The frames are readable nevertheless: their checksums know the segment.
    pub head_damaged: bool,
    /// The first thing that is wrong behind the head.
    pub damage: Option<Damage>,
    /// Offset after the last record found anywhere, also behind the damage.
    pub last_seen: u64,
}

/// The first thing that is wrong in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub byte: u64,
    /// The first offset that cannot be read.
    pub offset: u64,
    /// What.
    pub what: &'static str,
}

impl Scan {
    /// Reads a whole file.
    pub fn of(key: SegmentKey, file: &[u8]) -> Scan {
        let mut scan = Scan {
            end: key.first,
            bytes: SEGMENT_HEAD as u64,
            index: Index::default(),
            sealed: false,
            synced: 0,
            head_damaged: !file.starts_with(&key.segment_head()),
            damage: None,
            last_seen: key.first,
        };
        let mut at = SEGMENT_HEAD;
        let mut next = key.first;
        while scan.damage.is_none() && at < file.len() {
            let head = match key.get(&file[at..], at as u64) {
                Ok(head) => head,
                Err(NoFrame::Short(_)) => {
                    scan.found(at, next, "a frame is cut short");
                    break;
                }
                Err(NoFrame::Damaged(what)) => {
                    scan.found(at, next, what);
                    break;
                }
            };
            if head.offset != next {
                scan.found(at, next, "a record is missing");
                break;
            }
            if head.is_mark() && scan.end != next {
                scan.found(at, next, "a group is not whole");
                break;
            }
            scan.synced = scan.synced.max(head.synced);
            if !head.is_mark() {
                scan.index.note(next, at as u64);
                next += 1;
            }
            at += head.bytes();
            if head.is_mark() || head.is_last() {
                scan.end = next;
                scan.bytes = at as u64;
                scan.sealed = head.flags & flag::SEAL != 0 && at == file.len();
            }
        }
        if scan.damage.is_none() && scan.end != next {
            scan.found(at, next, "a group is not whole");
        }
        scan.index.cut(scan.end);
        scan.last_seen = next;
        scan.search_behind(key, file);
        scan
    }

    fn found(&mut self, at: usize, offset: u64, what: &'static str) {
        self.damage = Some(Damage {
            byte: at as u64,
            offset,
            what,
        });
    }

    /// Looks for frames behind the damage, byte by byte, for what they prove.
    fn search_behind(&mut self, key: SegmentKey, file: &[u8]) {
        let Some(damage) = self.damage else { return };
        let mut at = (damage.byte as usize + 1).max(SEGMENT_HEAD);
        while at + FRAME_HEAD <= file.len() {
            match key.get(&file[at..], at as u64) {
                Ok(head) => {
                    self.synced = self.synced.max(head.synced);
                    let after = head.offset + u64::from(!head.is_mark());
                    self.last_seen = self.last_seen.max(after);
                    at += head.bytes();
                }
                Err(_) => at += 1,
            }
        }
    }

    /// The first damage of any kind.
    pub fn first_damage(&self, key: SegmentKey) -> Option<Damage> {
        let head = Damage {
            byte: 0,
            offset: key.first,
            what: "the head of the segment is damaged",
        };
        self.head_damaged.then_some(head).or(self.damage)
    }

    /// The damage, unless it is a torn tail: bytes that were never known synced, which may be cut. The head is always
    /// known synced: it is, before the file gets its name.
    pub fn refusal(&self, key: SegmentKey) -> Option<Damage> {
        let damage = self.first_damage(key);
        damage.filter(|_| self.head_damaged || self.synced > self.bytes)
    }
}
