//! Codes for byte strings: each distinct one is kept once, for as long as somebody uses it.

use std::hash::{DefaultHasher, Hasher};

/// Free slot.
const FREE: u32 = u32::MAX;

/// Slot whose entry went away: searching goes on behind it.
const GONE: u32 = u32::MAX - 1;

/// Byte strings by code. Codes are dense; that of a string nobody uses any more is given to the next new one, and its
/// bytes are overwritten at once, since they may be personal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dict {
    /// All strings, one after the other, with gaps.
    bytes: Vec<u8>,
    /// Where each begins, how long it is, and how many use it.
    entries: Vec<Entry>,
    /// Codes at the place that their hash says, or behind it.
    slots: Vec<u32>,
    /// Slots that are not [`FREE`].
    taken: usize,
    /// Codes that wait for a string.
    idle: Vec<u32>,
    /// Bytes in gaps.
    garbage: usize,
    /// Strings do not stand in the order of their codes any more.
    shuffled: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// In units of one byte; strings of a column stay below 4 GB together, see [`Dict::acquire`].
    at: u32,
    len: u32,
    uses: u32,
}

impl Dict {
    /// The string of a code; empty if nobody uses the code.
    pub fn get(&self, code: u32) -> &[u8] {
        self.entries
            .get(code as usize)
            .map_or(&[], |it| &self.bytes[it.at as usize..][..it.len as usize])
    }

    /// The code of a string that somebody uses.
    pub fn code(&self, text: &[u8]) -> Option<u32> {
        self.find(text).ok()
    }

    /// One more use of a string.
    ///
    /// # Panics
    /// If the distinct strings of one column exceed 4 GB.
    pub fn acquire(&mut self, text: &[u8]) -> u32 {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.rehash();
        }
        let slot = match self.find(text) {
            Ok(code) => {
                self.entries[code as usize].uses += 1;
                return code;
            }
            Err(slot) => slot,
        };
        if self.garbage > 1 << 20 && self.garbage > self.bytes.len() / 2 {
            self.sweep();
        }
        let entry = Entry {
            at: u32::try_from(self.bytes.len()).expect("distinct texts of a column below 4 GB"),
            len: u32::try_from(text.len()).expect("a text below 4 GB"),
            uses: 1,
        };
        self.bytes.extend_from_slice(text);
        let code = match self.idle.pop() {
            Some(code) => {
                self.shuffled = true;
                self.entries[code as usize] = entry;
                code
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.taken += usize::from(self.slots[slot] == FREE);
        self.slots[slot] = code;
        code
    }

    /// One use less.
    pub fn release(&mut self, code: u32) {
        let entry = &mut self.entries[code as usize];
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        let Entry { at, len, .. } = *entry;
        let slot = self.slot_of(code);
        self.slots[slot] = GONE;
        self.bytes[at as usize..][..len as usize].fill(0);
        self.garbage += len as usize;
        self.entries[code as usize].len = 0;
        self.idle.push(code);
    }

    /// Codes in use and their strings.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let used = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, it)| it.uses > 0);
        used.map(|(code, it)| {
            (
                code as u32,
                &self.bytes[it.at as usize..][..it.len as usize],
            )
        })
    }

    /// Codes in use whose string holds `part`, ascending: one search through all of them where they stand in order.
    /// `None`: they do not, or `part` is empty.
    pub fn holding(&self, part: &[u8]) -> Option<Vec<u32>> {
        if self.shuffled || part.is_empty() {
            return None;
        }
        let finder = memchr::memmem::Finder::new(part);
        let mut codes = Vec::new();
        let mut from = 0;
        while let Some(found) = finder.find(&self.bytes[from..]) {
            let at = from + found;
            // The last string that begins at or before it; strings of no length begin where the next one does.
            let code = self.entries.partition_point(|it| it.at as usize <= at) - 1;
            let entry = self.entries[code];
            let end = entry.at as usize + entry.len as usize;
            if at + part.len() <= end {
                codes.push(code as u32);
                from = end;
            } else {
                // It runs over the end of a string, or stands in a gap.
                from = at + 1;
            }
        }
        Some(codes)
    }

    /// All codes are below this.
    pub fn codes(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + (self.slots.capacity() + self.idle.capacity()) * 4
    }

    /// The code, or the slot for it.
    fn find(&self, text: &[u8]) -> Result<u32, usize> {
        if self.slots.is_empty() {
            return Err(0);
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash(text) & mask;
        let mut first_gone = None;
        loop {
            match self.slots[slot] {
                FREE => return Err(first_gone.unwrap_or(slot)),
                GONE => first_gone = first_gone.or(Some(slot)),
                code if self.get(code) == text => return Ok(code),
                _ => {}
            }
            slot = (slot + 1) & mask;
        }
    }

    fn slot_of(&self, code: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash(self.get(code)) & mask;
        while self.slots[slot] != code {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn rehash(&mut self) {
        let live = self.entries.len() - self.idle.len();
        let size = ((live + 1) * 2).next_power_of_two().max(16);
        let mut slots = vec![FREE; size];
        for (code, text) in self.iter() {
            let mut slot = hash(text) & (size - 1);
            while slots[slot] != FREE {
                slot = (slot + 1) & (size - 1);
            }
            slots[slot] = code;
        }
        self.slots = slots;
        self.taken = live;
    }

    fn sweep(&mut self) {
        let mut kept = Vec::with_capacity(self.bytes.len() - self.garbage);
        for entry in &mut self.entries {
            let from = entry.at as usize;
            entry.at = kept.len() as u32;
            kept.extend_from_slice(&self.bytes[from..from + entry.len as usize]);
        }
        self.bytes = kept;
        self.garbage = 0;
        self.shuffled = false;
    }
}

fn hash(text: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish() as usize
}

#[cfg(test)]
mod tests;
