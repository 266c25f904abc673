//! A condition held against a whole column: ranges and sets of codes per lane, made once, then block by block.
//!
//! Which numbers of a lane satisfy a condition is found by asking the condition itself, so that both agree by construction:
//! comparing grows with the number, so the border is found by halving; texts and other coded values are asked one by one,
//! except equality, which is looked up.

use std::cmp::Ordering;

use actors::model::Time;
use jiff::tz::TimeZone;
use smallvec::{SmallVec, smallvec};

use super::bits::{Part, Words, new_words, set_bit};
use super::cells::{VALUE_MAX, has_code};
use super::column::{Column, DECIMAL_DIGITS, Lane, read, text};
use super::dict::Dict;
use super::kernel;
use crate::profile::Value;
use crate::profile::value::Number;
use crate::rule::condition::{Compare, Fixed, Want, compare};
use crate::rule::constant::Point;
use crate::rule::scalar::Scalar;

/// Runs of codes up to which ranges beat a table: each costs a compare, the table a load.
const RUNS_MAX: usize = 6;

/// A condition made for a column as it is now. It must not outlive a change of the column.
#[derive(Debug)]
pub(crate) struct Filter {
    /// All of them hold.
    wanted: SmallVec<[Wanted; 1]>,
    /// Whether those without a value satisfy what is wanted.
    absent: bool,
    /// The complement of all this.
    pub negative: bool,
}

#[derive(Debug)]
struct Wanted {
    lanes: [Pick; 7],
    /// Elements of lists.
    elements: Pick,
    /// For objects, which are asked one by one; `None`: all or none of them, by `every_object`.
    objects: Option<Box<Fixed>>,
    every_object: bool,
}

/// Which numbers of a lane.
#[derive(Debug, Clone)]
pub(crate) enum Pick {
    None,
    All,
    /// Both ends included; ascending.
    Ranges(SmallVec<[(i64, i64); 2]>),
    /// Bit `code + 1`.
    Codes(Vec<u64>),
}

impl Filter {
    /// A condition for a column. `default`: what those without a value are held to have. `threads`: how many may look
    /// through texts.
    pub fn new(
        test: &Fixed,
        column: &Column,
        zone: &TimeZone,
        default: Option<&Value>,
        threads: usize,
    ) -> Filter {
        let mut positive = test.clone();
        positive.negative = false;
        let wanted = match &positive.want {
            Want::All(points) => points
                .iter()
                .map(|point| {
                    let mut one = positive.clone();
                    one.want = Want::Compare(Compare::Eq, point.clone());
                    Wanted::new(&one, column, zone, threads)
                })
                .collect(),
            _ => smallvec![Wanted::new(&positive, column, zone, threads)],
        };
        Filter {
            wanted,
            absent: positive.holds(default),
            negative: test.negative,
        }
    }

    /// Whoever has a value.
    pub fn exists() -> Filter {
        Filter {
            wanted: smallvec![Wanted {
                lanes: [const { Pick::All }; 7],
                elements: Pick::All,
                objects: None,
                every_object: true,
            }],
            absent: false,
            negative: false,
        }
    }

    /// Who satisfies it, of those `within`.
    pub fn eval(&self, column: &Column, block: usize, within: &Words, out: &mut Words) {
        match &self.wanted[..] {
            [one]
                if !self.absent
                    && let Some(part) = one.single(column, block) =>
            {
                // One pass instead of three.
                super::query::of_part(part, within, out);
                if self.negative {
                    kernel::complement(out, within);
                }
                return;
            }
            [one] => one.eval(column, block, self.absent, out),
            several => {
                // Each of several wants a value: those without are in none of them.
                let mut next = new_words();
                for (at, wanted) in several.iter().enumerate() {
                    let to = if at == 0 { &mut *out } else { &mut *next };
                    wanted.eval(column, block, false, to);
                    if at > 0 {
                        kernel::and(out, &next);
                    }
                }
            }
        }
        match self.negative {
            true => kernel::complement(out, within),
            false => kernel::and(out, within),
        }
    }

    /// What it costs to look at one block, in parts of a pass over its words.
    pub fn cost(&self, column: &Column, block: usize) -> u32 {
        let lane = |pick: &Pick, lane: Lane| match (pick, column.lane(lane, block)) {
            (Pick::None, _) | (_, None) => 0,
            (Pick::Codes(_), Some(cells)) => 4 * cells.cost(),
            (_, Some(cells)) => cells.cost(),
        };
        let one = |wanted: &Wanted| {
            let lanes = Lane::ALL
                .iter()
                .map(|it| lane(&wanted.lanes[*it as usize], *it));
            let objects = match wanted.objects {
                Some(_) if !column.objects.is_unused() => 100_000,
                _ => 0,
            };
            lanes.sum::<u32>() + objects
        };
        self.wanted.iter().map(one).sum()
    }
}

impl Wanted {
    fn new(test: &Fixed, column: &Column, zone: &TimeZone, threads: usize) -> Wanted {
        let lanes = Lane::ALL.map(|lane| match lane {
            _ if !column.has_lane(lane) => Pick::None,
            Lane::Text => text_codes(test, column, threads),
            Lane::Other => codes(&column.others, threads, &|bytes| {
                read(bytes).is_some_and(|value| test.holds(Some(&value)))
            }),
            plain => numbers(test, plain, zone),
        });
        let elements = match &column.lists {
            Some(lists) => match &test.want {
                Want::Compare(Compare::Eq, Point::Text(text)) => {
                    Pick::one(lists.code(&Value::Text(text.clone())))
                }
                _ => codes(&lists.elements, threads, &|bytes| {
                    read(bytes).is_some_and(|value| test.holds(Some(&value)))
                }),
            },
            None => Pick::None,
        };
        let every_object = matches!(test.want, Want::Value | Want::Anything);
        Wanted {
            lanes,
            elements,
            objects: (!every_object).then(|| Box::new(test.clone())),
            every_object,
        }
    }

    /// The bitmap that is the answer, where there is one.
    fn single<'a>(&self, column: &'a Column, block: usize) -> Option<&'a Part> {
        if column.lists.is_some() || !column.objects.is_unused() {
            return None;
        }
        let mut used = Lane::ALL
            .into_iter()
            .filter(|lane| column.lane(*lane, block).is_some());
        let (lane, None) = (used.next()?, used.next()) else {
            return None;
        };
        let pick = &self.lanes[lane as usize];
        column.lane(lane, block)?.single(|value| pick.has(value))
    }

    /// `absent`: those without a value are in as well.
    fn eval(&self, column: &Column, block: usize, absent: bool, out: &mut Words) {
        let mut used = Lane::ALL
            .into_iter()
            .filter(|lane| column.lane(*lane, block).is_some());
        let first = used.next();
        let more = used.next().is_some() || column.lists.is_some() || !column.objects.is_unused();
        if let (Some(lane), false) = (first, more) {
            let cells = column.lane(lane, block).expect("found above");
            return self.lanes[lane as usize].eval(cells, absent, out);
        }
        out.fill(0);
        let mut next = new_words();
        for lane in Lane::ALL {
            if let Some(cells) = column.lane(lane, block)
                && !matches!(self.lanes[lane as usize], Pick::None)
            {
                self.lanes[lane as usize].eval(cells, false, &mut next);
                kernel::or(out, &next);
            }
        }
        if let Some(lists) = &column.lists {
            lists.any(block, &|code| self.elements.has(code.into()), out);
        }
        column.objects.each_in(block, |place, bytes| {
            let hit = match &self.objects {
                Some(test) => test.holds(read(bytes).as_ref()),
                None => self.every_object,
            };
            if hit {
                set_bit(out, place);
            }
        });
        if absent {
            column.exists(block, &mut next);
            next.iter_mut().for_each(|word| *word = !*word);
            kernel::or(out, &next);
        }
    }
}

impl Pick {
    fn one(code: Option<u32>) -> Pick {
        code.map_or(Pick::None, |code| {
            Pick::Ranges(smallvec![(code.into(), code.into())])
        })
    }

    /// Of codes, ascending.
    fn of_codes(codes: &[u32], all: usize) -> Pick {
        let mut runs: SmallVec<[(i64, i64); 2]> = SmallVec::new();
        for &code in codes {
            let code = i64::from(code);
            match runs.last_mut() {
                Some((_, end)) if *end + 1 == code => *end = code,
                _ => runs.push((code, code)),
            }
            if runs.len() > RUNS_MAX {
                let mut table = vec![0; (all + 1).div_ceil(64)];
                for &code in codes {
                    let at = code as usize + 1;
                    table[at >> 6] |= 1 << (at & 63);
                }
                return Pick::Codes(table);
            }
        }
        match runs.is_empty() {
            true => Pick::None,
            false => Pick::Ranges(runs),
        }
    }

    fn has(&self, number: i64) -> bool {
        match self {
            Pick::None => false,
            Pick::All => true,
            Pick::Ranges(ranges) => ranges
                .iter()
                .any(|&(low, high)| low <= number && number <= high),
            Pick::Codes(table) => has_code(table, number),
        }
    }

    /// Writes who is in; `absent`: those without a value as well.
    fn eval(&self, cells: &super::cells::Cells, absent: bool, out: &mut Words) {
        const EVERY: (i64, i64) = (-VALUE_MAX, VALUE_MAX);
        match self {
            Pick::None if absent => cells.ranges_or_absent(&[], out),
            Pick::None => out.fill(0),
            Pick::All if absent => out.fill(u64::MAX),
            Pick::All => cells.ranges(&[EVERY], out),
            Pick::Ranges(ranges) if absent => cells.ranges_or_absent(ranges, out),
            Pick::Ranges(ranges) => cells.ranges(ranges, out),
            Pick::Codes(table) if absent => {
                let mut table = table.clone();
                table[0] |= 1;
                cells.table(&table, out);
            }
            Pick::Codes(table) => cells.table(table, out),
        }
    }
}

/// Codes whose string satisfies a condition.
fn codes(dict: &Dict, threads: usize, holds: &(dyn Fn(&[u8]) -> bool + Sync)) -> Pick {
    Pick::of_codes(&dict.which(threads, holds), dict.codes())
}

fn text_codes(test: &Fixed, column: &Column, threads: usize) -> Pick {
    let dict = &column.texts;
    match &test.want {
        Want::Anything | Want::Value => Pick::All,
        Want::Compare(Compare::Eq, Point::Text(text)) => Pick::one(dict.code(text.as_bytes())),
        Want::Compare(_, Point::Number(_) | Point::Bool(_)) => Pick::None,
        Want::Among(among) if among.others.is_empty() => {
            let mut hits: Vec<u32> = among
                .texts
                .iter()
                .filter_map(|text| dict.code(text.as_bytes()))
                .collect();
            hits.sort_unstable();
            Pick::of_codes(&hits, dict.codes())
        }
        Want::Contains(part) => {
            let hits = dict.holding(part.as_bytes(), threads, &|bytes| wants(test, bytes));
            Pick::of_codes(&hits, dict.codes())
        }
        _ => codes(dict, threads, &|bytes| wants(test, bytes)),
    }
}

fn wants(test: &Fixed, bytes: &[u8]) -> bool {
    let mut probe = test.probe();
    probe.feed(&Scalar::Text(text(bytes).into()));
    probe.holds()
}

/// Which numbers of a lane without codes.
fn numbers(test: &Fixed, lane: Lane, zone: &TimeZone) -> Pick {
    let ends = ends(lane);
    let border = |wanted: Compare, point: &Point| -> Option<(i64, i64)> {
        let (low, high) = equal(lane, point, zone)?;
        Some(match wanted {
            Compare::Eq => (low, high),
            Compare::Lt => (ends.0, low - 1),
            Compare::Lte => (ends.0, high),
            Compare::Gt => (high + 1, ends.1),
            Compare::Gte => (low, ends.1),
        })
    };
    let mut ranges: Vec<(i64, i64)> = match &test.want {
        Want::Anything | Want::Value => return Pick::All,
        Want::Compare(wanted, point) => border(*wanted, point).into_iter().collect(),
        Want::Between(low, high) => {
            let (low, high) = (border(Compare::Gte, low), border(Compare::Lte, high));
            let both = low.zip(high).map(|(low, high)| (low.0, high.1));
            both.into_iter().collect()
        }
        Want::Among(among) => {
            let numbers = among.numbers.iter().map(|it| Point::Number(*it));
            let points = numbers.chain(among.others.iter().cloned());
            points.filter_map(|it| border(Compare::Eq, &it)).collect()
        }
        Want::OnDay { day, from, to } => match lane {
            Lane::Date => vec![(i64::from(*day), i64::from(*day))],
            Lane::Time => vec![(from.0, to.0 - 1)],
            _ => Vec::new(),
        },
        Want::All(_)
        | Want::Contains(_)
        | Want::StartsWith(_)
        | Want::EndsWith(_)
        | Want::Matches(_) => Vec::new(),
    };
    ranges.retain(|(low, high)| low <= high);
    ranges.sort_unstable();
    let mut joined: SmallVec<[(i64, i64); 2]> = SmallVec::new();
    for (low, high) in ranges {
        match joined.last_mut() {
            Some((_, end)) if low <= *end + 1 => *end = high.max(*end),
            _ => joined.push((low, high)),
        }
    }
    match joined.is_empty() {
        true => Pick::None,
        false => Pick::Ranges(joined),
    }
}

/// The smallest and the largest number that a lane may hold.
fn ends(lane: Lane) -> (i64, i64) {
    match lane {
        Lane::Bool => (0, 1),
        Lane::Date => (i32::MIN.into(), i32::MAX.into()),
        _ => (-VALUE_MAX, VALUE_MAX),
    }
}

/// The numbers that equal a point: from the first that is not less to the last that is not greater (which may be one below,
/// where none is equal). `None`: types differ.
fn equal(lane: Lane, point: &Point, zone: &TimeZone) -> Option<(i64, i64)> {
    let (low, high) = ends(lane);
    let order = |number: i64| compare(&scalar(lane, number), point, zone);
    order(low)?;
    // The first number in `low..=high + 1` of which it does not hold any more that its order is below.
    let first = |below: fn(Ordering) -> bool| {
        let (mut from, mut to) = (low, high + 1);
        while from < to {
            let middle = from + (to - from) / 2;
            match order(middle).is_some_and(below) {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        from
    };
    Some((first(Ordering::is_lt), first(Ordering::is_le) - 1))
}

/// The value of a number of a lane without codes.
fn scalar(lane: Lane, number: i64) -> Scalar<'static> {
    match lane {
        Lane::Bool => Scalar::Bool(number != 0),
        Lane::Decimal => Scalar::Number(Number::from_scaled(number, DECIMAL_DIGITS)),
        Lane::Date => Scalar::Date(number as i32),
        Lane::Time => Scalar::Time(Time(number)),
        Lane::Int | Lane::Text | Lane::Other => Scalar::Int(number),
    }
}
