//! Codes for byte strings: each distinct one is kept once, for as long as somebody uses it.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

use super::find::{Needle, is_simple};

/// Bytes of strings that are worth another thread to look through: some tenths of a millisecond.
const SHARE_BYTES_MIN: usize = 1 << 20;

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
    /// Where strings begin and whose they are, in the order of their places: kept while that is not the order of codes.
    /// Strings that are gone are still in it.
    places: Option<Vec<(u32, u32)>>,
    /// One bit per code: the string has letters whose case is not simple ([`is_simple`]).
    special: Vec<u64>,
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
                let entries = &mut self.entries;
                let places = self.places.get_or_insert_with(|| {
                    let entries = entries.iter().enumerate();
                    entries.map(|(code, it)| (it.at, code as u32)).collect()
                });
                places.push((entry.at, code));
                entries[code as usize] = entry;
                code
            }
            None => {
                let code = self.entries.len() as u32;
                self.entries.push(entry);
                if let Some(places) = &mut self.places {
                    places.push((entry.at, code));
                }
                code
            }
        };
        self.set_special(code, !is_simple(text));
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
        self.set_special(code, false);
        self.idle.push(code);
    }

    fn set_special(&mut self, code: u32, special: bool) {
        let (word, bit) = (code as usize >> 6, 1 << (code & 63));
        if special {
            if self.special.len() <= word {
                self.special.resize(word + 1, 0);
            }
            self.special[word] |= bit;
        } else if let Some(word) = self.special.get_mut(word) {
            *word &= !bit;
        }
    }

    fn is_special(&self, code: u32) -> bool {
        let word = self.special.get(code as usize >> 6);
        word.is_some_and(|word| word >> (code & 63) & 1 != 0)
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

    /// Codes in use whose text (NFKC) holds `part`, which is without case, in any case; ascending. `holds` is asked of texts
    /// whose letters are special.
    pub fn holding(
        &self,
        part: &[u8],
        threads: usize,
        holds: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Vec<u32> {
        if part.is_empty() {
            return self.iter().map(|(code, _)| code).collect();
        }
        let mut codes = Vec::new();
        // A part with special letters is in no other text.
        if is_simple(part) {
            let needle = Needle::new(part);
            let all = self.places.as_ref().map_or(self.entries.len(), Vec::len);
            let shares = shares(all, self.bytes.len(), threads);
            codes = side_by_side(shares, &|share| self.search(&needle, share));
            if self.places.is_some() {
                codes.sort_unstable();
            }
        }
        let simple = codes.len();
        let words = shares(self.special.len(), self.special.len() * 1024, threads);
        codes.extend(side_by_side(words, &|words| {
            let mut found = Vec::new();
            for word in words {
                let mut left = self.special[word];
                while left != 0 {
                    let code = word as u32 * 64 + left.trailing_zeros();
                    left &= left - 1;
                    if holds(self.get(code)) {
                        found.push(code);
                    }
                }
            }
            found
        }));
        if simple > 0 && simple < codes.len() {
            codes.sort_unstable();
        }
        codes
    }

    /// Codes in use whose string satisfies a condition, ascending.
    pub fn which(&self, threads: usize, holds: &(dyn Fn(&[u8]) -> bool + Sync)) -> Vec<u32> {
        // A condition costs more than looking at bytes.
        let shares = shares(self.entries.len(), self.bytes.len() * 8, threads);
        side_by_side(shares, &|share| {
            let entries = &self.entries[share.clone()];
            let used = (share.start as u32..)
                .zip(entries)
                .filter(|(_, it)| it.uses > 0);
            used.filter(|(_, it)| holds(&self.bytes[it.at as usize..][..it.len as usize]))
                .map(|(code, _)| code)
                .collect()
        })
    }

    /// Codes of strings with simple letters that hold the needle, by place, among some places: one search through them.
    fn search(&self, needle: &Needle<'_>, places: Range<usize>) -> Vec<u32> {
        let of = |place: usize| match &self.places {
            Some(places) => places[place],
            None => (self.entries[place].at, place as u32),
        };
        let all = self.places.as_ref().map_or(self.entries.len(), Vec::len);
        let from = match places.start == 0 {
            true => 0,
            false => of(places.start).0 as usize,
        };
        let to = match places.end == all {
            true => self.bytes.len(),
            false => of(places.end).0 as usize,
        };
        let mut codes = Vec::new();
        let mut place = places.start;
        needle.each(&self.bytes[from..to], |at, length| {
            let at = from + at;
            // The last string that begins at or before it: with growing steps, then by halving.
            let mut step = 1;
            while place + step < places.end && of(place + step).0 as usize <= at {
                place += step;
                step *= 2;
            }
            let mut end = places.end.min(place + step);
            while place + 1 < end {
                let middle = place + (end - place) / 2;
                match of(middle).0 as usize <= at {
                    true => place = middle,
                    false => end = middle,
                }
            }
            let (begin, code) = of(place);
            let entry = self.entries[code as usize];
            let until = begin as usize + entry.len as usize;
            // It may run over the end of a string, stand in a gap, or belong to one that is gone.
            if entry.at == begin && entry.uses > 0 && at + length <= until && !self.is_special(code)
            {
                codes.push(code);
                return until - from;
            }
            at + 1 - from
        });
        codes
    }

    /// All codes are below this.
    pub fn codes(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + (self.slots.capacity() + self.idle.capacity()) * 4
            + (self.places.as_ref().map_or(0, Vec::capacity) + self.special.capacity()) * 8
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
        self.places = None;
    }
}

/// Equal shares of so many things that take so many bytes, as many as are worth a thread.
fn shares(things: usize, bytes: usize, threads: usize) -> Vec<Range<usize>> {
    let threads = threads.min(bytes / SHARE_BYTES_MIN).max(1);
    let share = things.div_ceil(threads).max(1);
    (0..things)
        .step_by(share)
        .map(|from| from..things.min(from + share))
        .collect()
}

/// Does the shares on a thread each and joins what they found, in order.
fn side_by_side(
    mut shares: Vec<Range<usize>>,
    work: &(dyn Fn(Range<usize>) -> Vec<u32> + Sync),
) -> Vec<u32> {
    let Some(mine) = shares.pop() else {
        return Vec::new();
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let mine = work(mine);
        let mut all = Vec::new();
        for other in others {
            match other.join() {
                Ok(found) => all.extend(found),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all.extend(mine);
        all
    })
}

fn hash(text: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish() as usize
}

#[cfg(test)]
mod tests;
