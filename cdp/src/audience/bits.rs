//! Sets of ordinals, by blocks of 65,536: words for whole blocks, short lists where few are in.

/// Ordinals in one block.
pub(crate) const BLOCK: usize = 1 << 16;

/// Words of 64 bits in one block.
pub(crate) const WORDS: usize = BLOCK / 64;

/// Members of a block that a list holds before it becomes words: a list of them takes a quarter of the words' 8 KB.
const LIST_MAX: usize = 1024;

/// One bit per ordinal of a block.
pub(crate) type Words = [u64; WORDS];

/// The block and the place in it of an ordinal.
pub(crate) fn split(ordinal: u32) -> (usize, u16) {
    ((ordinal >> 16) as usize, ordinal as u16)
}

/// The ordinal at a place of a block.
pub(crate) fn join(block: usize, place: u16) -> u32 {
    (block as u32) << 16 | u32::from(place)
}

/// Zeroed words on the heap.
pub(crate) fn new_words() -> Box<Words> {
    vec![0; WORDS]
        .into_boxed_slice()
        .try_into()
        .expect("made with this length")
}

/// Ordinals of one block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// Ascending places; few of them or none.
    List(Vec<u16>),
    /// Words and how many bits are set in them.
    Dense(Box<Words>, u32),
}

impl Default for Part {
    fn default() -> Part {
        Part::List(Vec::new())
    }
}

impl Part {
    pub fn len(&self) -> u32 {
        match self {
            Part::List(list) => list.len() as u32,
            Part::Dense(_, count) => *count,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn has(&self, place: u16) -> bool {
        match self {
            Part::List(list) => list.binary_search(&place).is_ok(),
            Part::Dense(words, _) => words[place as usize >> 6] >> (place & 63) & 1 != 0,
        }
    }

    /// Adds; answers whether it was not in.
    pub fn insert(&mut self, place: u16) -> bool {
        match self {
            Part::List(list) => {
                // Filling goes upwards: the end is where most come.
                if list.last().is_none_or(|&last| last < place) {
                    list.push(place);
                } else {
                    match list.binary_search(&place) {
                        Ok(_) => return false,
                        Err(at) => list.insert(at, place),
                    }
                }
                if list.len() > LIST_MAX {
                    let mut words = new_words();
                    for &place in list.iter() {
                        words[place as usize >> 6] |= 1 << (place & 63);
                    }
                    *self = Part::Dense(words, LIST_MAX as u32 + 1);
                }
                true
            }
            Part::Dense(words, count) => {
                let word = &mut words[place as usize >> 6];
                let bit = 1 << (place & 63);
                let new = *word & bit == 0;
                *word |= bit;
                *count += u32::from(new);
                new
            }
        }
    }

    /// Takes out; answers whether it was in. Words become a list again only when none is left: a set that breathes
    /// around the border would be copied for ever.
    pub fn remove(&mut self, place: u16) -> bool {
        match self {
            Part::List(list) => match list.binary_search(&place) {
                Ok(at) => {
                    list.remove(at);
                    true
                }
                Err(_) => false,
            },
            Part::Dense(words, count) => {
                let word = &mut words[place as usize >> 6];
                let bit = 1 << (place & 63);
                let was = *word & bit != 0;
                *word &= !bit;
                *count -= u32::from(was);
                if *count == 0 {
                    *self = Part::default();
                }
                was
            }
        }
    }

    /// The places, ascending.
    pub fn each(&self, each: impl FnMut(u16)) {
        match self {
            Part::List(list) => list.iter().copied().for_each(each),
            Part::Dense(words, _) => each_bit(words, each),
        }
    }

    /// Adds these places to words.
    pub fn or_into(&self, words: &mut Words) {
        match self {
            Part::List(list) => list.iter().for_each(|&place| set_bit(words, place)),
            Part::Dense(mine, _) => super::kernel::or(words, mine),
        }
    }

    /// Takes over words.
    pub fn of_words(words: &Words) -> Part {
        let count = super::kernel::count(words);
        if count as usize > LIST_MAX {
            return Part::Dense(Box::new(*words), count);
        }
        let mut list = Vec::with_capacity(count as usize);
        each_bit(words, |place| list.push(place));
        Part::List(list)
    }

    pub fn bytes(&self) -> usize {
        match self {
            Part::List(list) => list.capacity() * 2,
            Part::Dense(..) => WORDS * 8,
        }
    }
}

/// Sets the bit of a place.
pub(crate) fn set_bit(words: &mut Words, place: u16) {
    words[place as usize >> 6] |= 1 << (place & 63);
}

/// The places of set bits, ascending.
pub(crate) fn each_bit(words: &Words, mut each: impl FnMut(u16)) {
    for (at, &word) in words.iter().enumerate() {
        let mut left = word;
        while left != 0 {
            each((at as u32 * 64 + left.trailing_zeros()) as u16);
            left &= left - 1;
        }
    }
}

/// A set of ordinals.
#[derive(Debug, Clone, Default)]
pub(crate) struct Set {
    parts: Vec<Part>,
}

impl Set {
    pub fn has(&self, ordinal: u32) -> bool {
        let (block, place) = split(ordinal);
        self.parts.get(block).is_some_and(|part| part.has(place))
    }

    /// Adds; answers whether it was not in.
    pub fn insert(&mut self, ordinal: u32) -> bool {
        let (block, place) = split(ordinal);
        self.part_mut(block).insert(place)
    }

    /// Takes out; answers whether it was in.
    pub fn remove(&mut self, ordinal: u32) -> bool {
        let (block, place) = split(ordinal);
        self.parts
            .get_mut(block)
            .is_some_and(|part| part.remove(place))
    }

    /// Puts it in or takes it out; answers whether that changed anything.
    pub fn put(&mut self, ordinal: u32, inside: bool) -> bool {
        match inside {
            true => self.insert(ordinal),
            false => self.remove(ordinal),
        }
    }

    pub fn part(&self, block: usize) -> Option<&Part> {
        self.parts.get(block).filter(|part| !part.is_empty())
    }

    pub fn part_mut(&mut self, block: usize) -> &mut Part {
        if self.parts.len() <= block {
            self.parts.resize_with(block + 1, Part::default);
        }
        &mut self.parts[block]
    }

    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.len())).sum()
    }

    pub fn blocks(&self) -> usize {
        self.parts.len()
    }

    /// The ordinals that are in both.
    pub fn and(&self, other: &Set) -> Set {
        let (mut mine, mut out) = (new_words(), new_words());
        let mut both = Set::default();
        for block in 0..self.parts.len() {
            if let (Some(a), Some(b)) = (self.part(block), other.part(block)) {
                mine.fill(0);
                a.or_into(&mut mine);
                super::query::of_part(b, &mine, &mut out);
                *both.part_mut(block) = Part::of_words(&out);
            }
        }
        both
    }

    /// How many ordinals are in both.
    pub fn both(&self, other: &Set) -> u64 {
        let mut count = 0;
        let (mut mine, mut out) = (new_words(), new_words());
        for block in 0..self.parts.len() {
            if let (Some(a), Some(b)) = (self.part(block), other.part(block)) {
                mine.fill(0);
                a.or_into(&mut mine);
                super::query::of_part(b, &mine, &mut out);
                count += u64::from(super::kernel::count(&out));
            }
        }
        count
    }

    /// Shows each ordinal that is in one of the two only, and whether it is in `new`; ascending.
    pub fn diff(&self, new: &Set, mut each: impl FnMut(u32, bool)) {
        let none = Part::default();
        for block in 0..self.parts.len().max(new.parts.len()) {
            let old = self.parts.get(block).unwrap_or(&none);
            let new = new.parts.get(block).unwrap_or(&none);
            if old == new {
                continue;
            }
            let (mut was, mut is) = (new_words(), new_words());
            old.or_into(&mut was);
            new.or_into(&mut is);
            for (was, is) in was.iter_mut().zip(&*is) {
                *was ^= is;
            }
            each_bit(&was, |place| each(join(block, place), new.has(place)));
        }
    }

    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum::<usize>()
            + self.parts.capacity() * size_of::<Part>()
    }
}

impl FromIterator<u32> for Set {
    fn from_iter<T: IntoIterator<Item = u32>>(ordinals: T) -> Set {
        let mut set = Set::default();
        for ordinal in ordinals {
            set.insert(ordinal);
        }
        set
    }
}
