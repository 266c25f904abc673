//! One file of the simulated disk: what is synced, what was done since, and what a reader sees.

use std::collections::BTreeMap;

use crate::testkit::Random;

/// What a disk writes at once or not at all, in bytes; the smallest there is, so the harshest to assume.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Inode {
    /// What a reader sees.
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { bytes: usize },
}

impl Inode {
    pub(super) fn bytes(&self) -> u64 {
        self.live.len() as u64
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.change(Change::Write {
            at: at as usize,
            bytes: bytes.to_vec(),
        });
    }

    pub(super) fn truncate(&mut self, bytes: u64) {
        let bytes = bytes as usize;
        self.change(Change::Truncate { bytes });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// The kernel drops what it could not write and says so once: some of it is on disk, a reader still sees all of it,
    /// and no later sync writes the rest.
    pub(super) fn sync_failed(&mut self, dice: &mut Random) {
        self.durable = self.after_power_cut(dice).durable;
        self.pending.clear();
    }

    pub(super) fn flip(&mut self, byte: u64, mask: u8) -> bool {
        self.sync();
        let byte = byte as usize;
        let Some(live) = self.live.get_mut(byte) else {
            return false;
        };
        *live ^= mask;
        if let Some(durable) = self.durable.get_mut(byte) {
            *durable ^= mask;
        }
        true
    }

    pub(super) fn after_power_cut(&self, dice: &mut Random) -> Inode {
        let mut lengths = vec![self.durable.len()];
        let mut touched: BTreeMap<usize, Vec<&Change>> = BTreeMap::new();
        for change in &self.pending {
            let before = *lengths.last().expect("it begins with one");
            let (from, to, after) = match change {
                Change::Write { at, bytes } => {
                    let end = at + bytes.len();
                    (*at, end, before.max(end))
                }
                Change::Truncate { bytes } => (*bytes, before, *bytes),
            };
            for sector in from / SECTOR..to.div_ceil(SECTOR) {
                touched.entry(sector).or_default().push(change);
            }
            lengths.push(after);
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut content = self.durable.clone();
        content.resize(longest.next_multiple_of(SECTOR), 0);
        // From nothing over half to all, so that rare shapes (one sector of a hundred missing) come up too.
        let eighths = [0, 1, 4, 7, 8][dice.below(5) as usize];
        for (sector, changes) in touched {
            let place = sector * SECTOR..(sector + 1) * SECTOR;
            let kept = changes.iter().take_while(|_| dice.below(8) < eighths);
            for change in kept {
                change.apply_within(&mut content[place.clone()], place.start);
            }
        }
        let length = match eighths {
            8 => self.live.len(),
            _ => lengths[dice.below(lengths.len() as u64) as usize],
        };
        content.truncate(length);
        Inode {
            live: content.clone(),
            durable: content,
            pending: Vec::new(),
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes } => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            Change::Truncate { bytes } => content.resize(*bytes, 0),
        }
    }

    /// Its part within the bytes of one sector, which begins at `start`.
    fn apply_within(&self, sector: &mut [u8], start: usize) {
        let end = start + sector.len();
        match self {
            Change::Write { at, bytes } => {
                let from = start.max(*at);
                let to = end.min(at + bytes.len());
                if from < to {
                    sector[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
                }
            }
            Change::Truncate { bytes } => {
                let from = start.max(*bytes).min(end);
                sector[from - start..].fill(0);
            }
        }
    }
}
