//! The numbers of one block of a column, in the form that suits them: a short list, a bitmap per value, or cells as narrow
//! as the spread of the values allows.
//!
//! A cell holds `value - base + 1`, so that 0 is *absent* and a range is one subtraction and one compare.

use super::bits::{BLOCK, Part, Words, new_words, set_bit};
use super::kernel::{self, Cell};

/// Values lie between minus and plus this, so that distances fit 64 bits.
pub(crate) const VALUE_MAX: i64 = (1 << 62) - 1;

/// Values that a list holds before it becomes bitmaps or cells: above it a list is larger than the narrowest cells.
const LIST_MAX: usize = 2048;

/// Distinct values that bitmaps are kept for: sixteen take twice the memory of cells of a byte, and a query that asks for
/// one of them reads an eighth.
const FEW_MAX: usize = 16;

/// Values of one block.
#[derive(Debug, Clone)]
pub(crate) enum Cells {
    /// Places, ascending, and their values.
    List(Vec<u16>, Vec<i64>),
    /// A bitmap per value, in no order.
    Few(Vec<(i64, Part)>),
    /// A cell per place.
    U8(Grid<u8>),
    /// As above.
    U16(Grid<u16>),
    /// As above.
    U32(Grid<u32>),
    /// As above.
    U64(Grid<u64>),
}

/// A cell per place.
#[derive(Debug, Clone)]
pub(crate) struct Grid<C> {
    base: i64,
    cells: Box<[C; BLOCK]>,
}

impl<C: Cell> Grid<C> {
    fn new(base: i64) -> Grid<C> {
        let cells = vec![C::from_u64(0); BLOCK].into_boxed_slice();
        Grid {
            base,
            cells: cells.try_into().ok().expect("made with this length"),
        }
    }

    fn fits(&self, value: i64) -> bool {
        value >= self.base && (value.wrapping_sub(self.base) as u64) < C::MAX
    }

    fn get(&self, place: u16) -> Option<i64> {
        self.value(self.cells[place as usize])
    }

    fn value(&self, cell: C) -> Option<i64> {
        let stored = cell.to_u64().checked_sub(1)?;
        Some(self.base.wrapping_add(stored as i64))
    }

    /// The value must fit.
    fn set(&mut self, place: u16, value: Option<i64>) {
        let stored = value.map_or(0, |value| value.wrapping_sub(self.base) as u64 + 1);
        self.cells[place as usize] = C::from_u64(stored);
    }

    fn ranges(&self, ranges: &[(i64, i64)], absent: bool, out: &mut Words) {
        let last = self
            .base
            .saturating_add((C::MAX - 1).min(i64::MAX as u64) as i64);
        let clipped: smallvec::SmallVec<[(C, C); 4]> = ranges
            .iter()
            .map(|&(low, high)| (low.max(self.base), high.min(last)))
            .filter(|(low, high)| low <= high)
            .map(|(low, high)| {
                let stored = low.wrapping_sub(self.base) as u64 + 1;
                let span = high.wrapping_sub(low) as u64;
                (C::from_u64(stored), C::from_u64(span))
            })
            .chain(absent.then_some((C::from_u64(0), C::from_u64(0))))
            .collect();
        kernel::ranges(&self.cells, &clipped, out);
    }

    fn each(&self, mut each: impl FnMut(u16, i64)) {
        for (place, &cell) in self.cells.iter().enumerate() {
            if let Some(value) = self.value(cell) {
                each(place as u16, value);
            }
        }
    }
}

impl Default for Cells {
    fn default() -> Cells {
        Cells::List(Vec::new(), Vec::new())
    }
}

impl Cells {
    pub fn get(&self, place: u16) -> Option<i64> {
        match self {
            Cells::List(places, values) => places.binary_search(&place).ok().map(|at| values[at]),
            Cells::Few(few) => few
                .iter()
                .find(|(_, part)| part.has(place))
                .map(|&(value, _)| value),
            Cells::U8(grid) => grid.get(place),
            Cells::U16(grid) => grid.get(place),
            Cells::U32(grid) => grid.get(place),
            Cells::U64(grid) => grid.get(place),
        }
    }

    /// Sets or clears a value. `codes`: the values are codes, which count from 0; cells then start there, so that a table
    /// of codes fits every block.
    pub fn set(&mut self, place: u16, value: Option<i64>, codes: bool) {
        let reform = match self {
            Cells::List(places, values) => {
                // Filling goes upwards.
                let at = match places.last() {
                    Some(&last) if last >= place => places.binary_search(&place),
                    _ => Err(places.len()),
                };
                match (at, value) {
                    (Ok(at), Some(value)) => values[at] = value,
                    (Err(at), Some(value)) => {
                        places.insert(at, place);
                        values.insert(at, value);
                    }
                    (Ok(at), None) => {
                        places.remove(at);
                        values.remove(at);
                    }
                    (Err(_), None) => {}
                }
                places.len() > LIST_MAX
            }
            Cells::Few(few) => set_few(few, place, value),
            Cells::U8(grid) => put(grid, place, value),
            Cells::U16(grid) => put(grid, place, value),
            Cells::U32(grid) => put(grid, place, value),
            Cells::U64(grid) => put(grid, place, value),
        };
        if reform {
            let mut all = Vec::new();
            self.each(|at, known| {
                if at != place {
                    all.push((at, known));
                }
            });
            all.extend(value.map(|value| (place, value)));
            let was_grid = !matches!(self, Cells::List(..) | Cells::Few(..));
            *self = Cells::of(&all, codes, was_grid);
        }
    }

    /// The form for these values, in any order, no place twice.
    fn of(all: &[(u16, i64)], codes: bool, keep_grid: bool) -> Cells {
        if !keep_grid {
            let mut few: Vec<(i64, Part)> = Vec::new();
            // A value that is one too many is refused: then it is not few.
            if !all
                .iter()
                .any(|&(place, value)| set_few(&mut few, place, Some(value)))
            {
                return Cells::Few(few);
            }
        }
        let (low, high) = all.iter().fold((i64::MAX, i64::MIN), |(low, high), it| {
            (low.min(it.1), high.max(it.1))
        });
        let low = if codes { low.min(0) } else { low };
        let span = high.wrapping_sub(low) as u64;
        // Room on both sides, so that the next value rarely needs a new form.
        let base = |max: u64| {
            let slack = if codes { 0 } else { (max - 1 - span) / 2 };
            low.saturating_sub(slack.min(VALUE_MAX as u64) as i64)
                .max(-VALUE_MAX)
        };
        fn fill<C: Cell>(base: i64, all: &[(u16, i64)]) -> Grid<C> {
            let mut grid = Grid::new(base);
            for &(place, value) in all {
                grid.set(place, Some(value));
            }
            grid
        }
        if span < u64::from(u8::MAX) {
            Cells::U8(fill(base(u8::MAX.into()), all))
        } else if span < u64::from(u16::MAX) {
            Cells::U16(fill(base(u16::MAX.into()), all))
        } else if span < u64::from(u32::MAX) {
            Cells::U32(fill(base(u32::MAX.into()), all))
        } else {
            Cells::U64(fill(-VALUE_MAX, all))
        }
    }

    /// Values of a block that holds none yet, by place, no place twice.
    pub fn fresh(all: &[(u16, i64)], codes: bool) -> Cells {
        if all.len() <= LIST_MAX {
            return Cells::List(
                all.iter().map(|it| it.0).collect(),
                all.iter().map(|it| it.1).collect(),
            );
        }
        let mut values: Vec<i64> = Vec::with_capacity(FEW_MAX);
        for &(_, value) in all {
            if !values.contains(&value) {
                if values.len() == FEW_MAX {
                    return Cells::of(all, codes, true);
                }
                values.push(value);
            }
        }
        let mut words: Vec<Box<Words>> = values.iter().map(|_| new_words()).collect();
        for (place, value) in all {
            if let Some(at) = values.iter().position(|it| it == value) {
                set_bit(&mut words[at], *place);
            }
        }
        let parts = words.iter().map(|words| Part::of_words(words));
        Cells::Few(values.into_iter().zip(parts).collect())
    }

    /// Places whose value lies in one of the ranges, both ends included.
    pub fn ranges(&self, ranges: &[(i64, i64)], out: &mut Words) {
        let inside = |value: i64| {
            ranges
                .iter()
                .any(|&(low, high)| low <= value && value <= high)
        };
        match self {
            Cells::List(..) | Cells::Few(_) => self.by_value(inside, out),
            Cells::U8(grid) => grid.ranges(ranges, false, out),
            Cells::U16(grid) => grid.ranges(ranges, false, out),
            Cells::U32(grid) => grid.ranges(ranges, false, out),
            Cells::U64(grid) => grid.ranges(ranges, false, out),
        }
    }

    /// As [`Cells::ranges`], and those without a value.
    pub fn ranges_or_absent(&self, ranges: &[(i64, i64)], out: &mut Words) {
        let outside = |value: i64| {
            !ranges
                .iter()
                .any(|&(low, high)| low <= value && value <= high)
        };
        match self {
            Cells::List(..) | Cells::Few(_) => {
                self.by_value(outside, out);
                out.iter_mut().for_each(|word| *word = !*word);
            }
            Cells::U8(grid) => grid.ranges(ranges, true, out),
            Cells::U16(grid) => grid.ranges(ranges, true, out),
            Cells::U32(grid) => grid.ranges(ranges, true, out),
            Cells::U64(grid) => grid.ranges(ranges, true, out),
        }
    }

    /// The bitmap of the only value that is `inside`, where values have bitmaps.
    pub fn single(&self, mut inside: impl FnMut(i64) -> bool) -> Option<&Part> {
        let Cells::Few(few) = self else {
            return None;
        };
        let mut picked = few.iter().filter(|(value, _)| inside(*value));
        match (picked.next(), picked.next()) {
            (Some((_, part)), None) => Some(part),
            _ => None,
        }
    }

    /// What a pass over it costs, in passes over the words of a block.
    pub fn cost(&self) -> u32 {
        match self {
            Cells::List(..) => 1,
            Cells::Few(_) => 2,
            Cells::U8(_) => 10,
            Cells::U16(_) => 18,
            Cells::U32(_) => 34,
            Cells::U64(_) => 66,
        }
    }

    /// Places whose code is in the table: bit `code + 1` is set (bit 0 stands for *absent*).
    pub fn table(&self, table: &[u64], out: &mut Words) {
        let absent = table.first().is_some_and(|word| word & 1 != 0);
        match self {
            Cells::List(..) | Cells::Few(_) if absent => {
                self.by_value(|value| !has_code(table, value), out);
                out.iter_mut().for_each(|word| *word = !*word);
            }
            Cells::List(..) | Cells::Few(_) => self.by_value(|value| has_code(table, value), out),
            Cells::U8(grid) => kernel::table(&grid.cells, table, out),
            Cells::U16(grid) => kernel::table(&grid.cells, table, out),
            Cells::U32(grid) => kernel::table(&grid.cells, table, out),
            Cells::U64(grid) => kernel::table(&grid.cells, table, out),
        }
    }

    /// Places with a value that satisfies `inside`, asked once per distinct value where these are few.
    pub fn by_value(&self, mut inside: impl FnMut(i64) -> bool, out: &mut Words) {
        out.fill(0);
        match self {
            Cells::Few(few) => few
                .iter()
                .filter(|(value, _)| inside(*value))
                .for_each(|(_, part)| part.or_into(out)),
            _ => self.each(|place, value| {
                if inside(value) {
                    set_bit(out, place);
                }
            }),
        }
    }

    /// Values and how often they occur among `who`; a value may be shown several times.
    pub fn count_values(&self, who: &Words, each: &mut dyn FnMut(i64, u64)) {
        let inside = |place: u16| who[place as usize >> 6] >> (place & 63) & 1 != 0;
        match self {
            Cells::Few(few) => {
                for (value, part) in few {
                    let count = match part {
                        Part::Dense(words, _) => kernel::count_and(words, who).into(),
                        Part::List(list) => list.iter().filter(|it| inside(**it)).count() as u64,
                    };
                    if count > 0 {
                        each(*value, count);
                    }
                }
            }
            _ => self.each(|place, value| {
                if inside(place) {
                    each(value, 1);
                }
            }),
        }
    }

    /// The places and values; by place, except where there is a bitmap per value.
    pub fn each(&self, mut each: impl FnMut(u16, i64)) {
        match self {
            Cells::List(places, values) => {
                for (&place, &value) in places.iter().zip(values) {
                    each(place, value);
                }
            }
            Cells::Few(few) => {
                for (value, part) in few {
                    part.each(|place| each(place, *value));
                }
            }
            Cells::U8(grid) => grid.each(each),
            Cells::U16(grid) => grid.each(each),
            Cells::U32(grid) => grid.each(each),
            Cells::U64(grid) => grid.each(each),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Cells::List(places, _) => places.is_empty(),
            Cells::Few(few) => few.iter().all(|(_, part)| part.is_empty()),
            _ => false,
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Cells::List(places, values) => places.capacity() * 2 + values.capacity() * 8,
            Cells::Few(few) => few.iter().map(|(_, part)| part.bytes() + 40).sum(),
            Cells::U8(_) => BLOCK,
            Cells::U16(_) => BLOCK * 2,
            Cells::U32(_) => BLOCK * 4,
            Cells::U64(_) => BLOCK * 8,
        }
    }
}

/// Whether a code is in a table of [`Cells::table`].
pub(crate) fn has_code(table: &[u64], code: i64) -> bool {
    let at = code as usize + 1;
    table
        .get(at >> 6)
        .is_some_and(|word| word >> (at & 63) & 1 != 0)
}

/// Answers whether another form is needed; nothing is set then.
fn put<C: Cell>(grid: &mut Grid<C>, place: u16, value: Option<i64>) -> bool {
    if value.is_some_and(|value| !grid.fits(value)) {
        return true;
    }
    grid.set(place, value);
    false
}

/// As [`put`].
fn set_few(few: &mut Vec<(i64, Part)>, place: u16, value: Option<i64>) -> bool {
    let new = value.filter(|value| few.iter().all(|(known, _)| known != value));
    if new.is_some() && few.len() == FEW_MAX {
        few.retain(|(_, part)| !part.is_empty());
        if few.len() == FEW_MAX {
            return true;
        }
    }
    for (known, part) in few.iter_mut() {
        if Some(*known) == value {
            part.insert(place);
        } else {
            part.remove(place);
        }
    }
    if let Some(value) = new {
        let mut part = Part::default();
        part.insert(place);
        few.push((value, part));
    }
    false
}

#[cfg(test)]
mod tests;
