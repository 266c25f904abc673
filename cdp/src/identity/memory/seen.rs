//! De-duplication memory: fingerprints of messages, in generations.
//!
//! A generation begins with a new day, or when the present one has an eighth of the byte budget. It is dropped when all of
//! it is older than the window, or earlier, oldest first, when all together outgrow the budget; that is counted.

use std::collections::VecDeque;

use actors::memfile::MemFile;
use actors::model::Time;
use serde::{Deserialize, Serialize};

use super::{HEADS, Memory, SEEN_SECTION};
use crate::identity::table::{Fp, InSet, SUBS, Table};

/// Generations that may exist at once: 8 by budget and [`Dedup::WINDOW_DAYS_MAX`] + 2 by day.
pub(super) const SLOTS: usize = 32;
const DAY_MS: i64 = 86_400_000;

/// How long and how much messages are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedup {
    /// Days that a message id is remembered at least, within the budget.
    pub window_days: u16,
    /// Bytes of memory; a message takes 11 to 21. 1 GiB holds about 60 million, a week at 100 a second.
    pub bytes_max: u64,
}

impl Dedup {
    /// Longest window.
    pub const WINDOW_DAYS_MAX: u16 = 20;
}

impl Default for Dedup {
    fn default() -> Self {
        Dedup {
            window_days: 7,
            bytes_max: 1 << 30,
        }
    }
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number, also the first part of its rows' keys.
    pub number: u32,
    /// When it began.
    pub opened: Time,
    /// Rows written.
    pub rows: u32,
}

/// The generations that exist, oldest first, and rows of dropped ones that are still to be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    pub(in crate::identity) live: VecDeque<Generation>,
    pub(in crate::identity) next: u32,
    /// (number, first row not deleted, rows).
    pub(in crate::identity) dropped: VecDeque<(u32, u32, u32)>,
}

impl Generation {
    fn table(&self) -> Table<InSet, 2> {
        table(self.number)
    }
}

fn table(number: u32) -> Table<InSet, 2> {
    let slot = number as usize % SLOTS;
    Table::new(
        HEADS,
        ((2 + slot) * SUBS) as u64,
        SEEN_SECTION + slot * SUBS,
    )
}

impl Generations {
    pub(super) fn tables(&self) -> impl Iterator<Item = Table<InSet, 2>> {
        self.live.iter().map(Generation::table)
    }
}

impl Memory {
    /// Whether a message was remembered; newest generation first, because repeats come soon.
    pub(in crate::identity) fn was_seen(&self, fp: &Fp) -> bool {
        let generations = self.small.seen.live.iter().rev();
        generations
            .map(Generation::table)
            .any(|table| table.find(&self.file, fp).is_some())
    }

    /// Remembers a message in the present generation.
    pub(in crate::identity) fn see(&mut self, fp: Fp) {
        insert(&self.small.seen, &mut self.file, &fp);
        self.batch.seen.push(fp);
    }

    /// Drops and begins generations for a batch at `now`. Answers how many went before their time. Not undone by a
    /// rollback: it follows from `now`, and the batch is decided again later.
    pub(super) fn advance(&mut self, now: Time, dedup: &Dedup) -> u64 {
        let days = dedup.window_days.clamp(1, Dedup::WINDOW_DAYS_MAX);
        self.small.now = now.max(self.small.now);
        let oldest = self.small.now.plus_ms(-i64::from(days) * DAY_MS);
        let share = dedup.bytes_max / 8;
        let mut early = 0;
        // All of a generation's messages are of the day on which it began.
        let day = |time: Time| time.0.div_euclid(DAY_MS);
        while (self.small.seen.live.front())
            .is_some_and(|first| (day(first.opened) + 1) * DAY_MS < oldest.0)
        {
            self.drop_oldest();
        }
        while self.small.seen.live.len() > 1 && self.seen_bytes() > dedup.bytes_max {
            self.drop_oldest();
            early += 1;
        }
        let current = self.small.seen.live.back();
        let begin = current.is_none_or(|current| {
            day(current.opened) < day(self.small.now) || current.table().bytes(&self.file) > share
        });
        if begin {
            if self.small.seen.live.len() == SLOTS {
                self.drop_oldest();
                early += 1;
            }
            let seen = &mut self.small.seen;
            seen.live.push_back(Generation {
                number: seen.next,
                opened: self.small.now,
                rows: 0,
            });
            seen.next += 1;
        }
        early
    }

    fn drop_oldest(&mut self) {
        if let Some(gone) = self.small.seen.live.pop_front() {
            gone.table().clear(&mut self.file);
            let rows = (gone.number, 0, gone.rows);
            self.small.seen.dropped.push_back(rows);
        }
    }

    /// Takes over the generations of a delta; those that went are emptied.
    pub(super) fn follow(&mut self, generations: &Generations) {
        let kept = generations
            .live
            .front()
            .map_or(generations.next, |g| g.number);
        for gone in &self.small.seen.live {
            if gone.number < kept {
                gone.table().clear(&mut self.file);
            }
        }
    }

    /// Puts a message of a delta or a row into its generation.
    pub(super) fn absorb_seen(&mut self, generation: u32, fp: &Fp) {
        table(generation).insert(&mut self.file, fp, None);
    }

    pub(super) fn seen_bytes(&self) -> u64 {
        let tables = self.small.seen.tables();
        tables.map(|table| table.bytes(&self.file)).sum()
    }
}

fn insert(seen: &Generations, file: &mut MemFile, fp: &Fp) {
    let current = seen.live.back().expect("a batch begins with a generation");
    current.table().insert(file, fp, None);
}
