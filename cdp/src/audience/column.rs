//! A column: one value per ordinal, of any type, exact.
//!
//! Types count, so a column keeps a **lane** of plain numbers per type: whole numbers, decimals in ten-thousandths, days,
//! instants, yes and no, codes of texts. What fits none of these (numbers beyond 2⁶², decimals with more digits) has a code
//! in a dictionary of values; lists are kept by element, objects as they came. An ordinal has its value in one lane at most.

use super::bits::{Words, set_bit, split};
use super::blobs::Blobs;
use super::cells::{Cells, VALUE_MAX};
use super::dict::Dict;
use super::lists::Lists;
use crate::profile::Value;
use crate::profile::value::Number;
use actors::model::Time;

/// Digits behind the point that the lane of decimals keeps.
pub(crate) const DECIMAL_DIGITS: u32 = 4;

/// The lanes of plain numbers, in the order of [`Column::lane`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Bool,
    Int,
    Decimal,
    Date,
    Time,
    /// Codes of [`Column::texts`].
    Text,
    /// Codes of [`Column::others`].
    Other,
}

impl Lane {
    pub const ALL: [Lane; 7] = [
        Lane::Bool,
        Lane::Int,
        Lane::Decimal,
        Lane::Date,
        Lane::Time,
        Lane::Text,
        Lane::Other,
    ];

    /// Whether the numbers are codes.
    pub fn is_coded(self) -> bool {
        matches!(self, Lane::Text | Lane::Other)
    }
}

/// One value per ordinal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    lanes: [Vec<Cells>; 7],
    /// Texts after NFKC: that is how they are compared.
    pub texts: Dict,
    /// Values in their stored form.
    pub others: Dict,
    /// Lists of plain values.
    pub lists: Option<Box<Lists>>,
    /// Objects and lists with objects in them, stored form.
    pub objects: Blobs,
}

/// Where a value stands or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Lane(Lane, i64),
    List,
    Object,
}

impl Column {
    /// Sets or clears the value. [`Value::Cleared`], empty text and empty lists are *absent*.
    pub fn set(&mut self, ordinal: u32, value: Option<&Value>) {
        let held = self.held(ordinal);
        self.put(ordinal, held, value.filter(|value| !is_absent(value)));
    }

    /// As [`Column::set`]; answers whether it was another value.
    pub fn replace(&mut self, ordinal: u32, value: Option<&Value>) -> bool {
        let held = self.held(ordinal);
        let value = value.filter(|value| !is_absent(value));
        let same = match (held, value) {
            (None, None) => true,
            (Some(Home::Lane(lane, number)), Some(value)) => {
                self.find(value) == Some((lane, number))
            }
            (Some(_), Some(_)) => {
                let before = self.get(ordinal);
                self.put(ordinal, held, value);
                return self.get(ordinal) != before;
            }
            _ => false,
        };
        if !same {
            self.put(ordinal, held, value);
        }
        !same
    }

    /// Gives an ordinal its first value; answers whether it is one. It must have none: nobody looks.
    pub fn add(&mut self, ordinal: u32, value: &Value) -> bool {
        let value = Some(value).filter(|value| !is_absent(value));
        self.put(ordinal, None, value);
        value.is_some()
    }

    fn put(&mut self, ordinal: u32, held: Option<Home>, value: Option<&Value>) {
        let home = value.map(|value| self.home(value));
        self.clear_other(ordinal, held, home);
        match (home, value) {
            (Some(Home::Lane(lane, number)), _) => self.set_lane(lane, ordinal, Some(number)),
            (Some(Home::List), Some(Value::List(values))) => {
                self.lists.get_or_insert_default().set(ordinal, values)
            }
            (Some(Home::Object), Some(value)) => self.objects.set(ordinal, &stored(value)),
            _ => {}
        }
    }

    /// Where the value of an ordinal stands.
    fn held(&self, ordinal: u32) -> Option<Home> {
        for lane in Lane::ALL {
            if let Some(number) = self.number(lane, ordinal) {
                return Some(Home::Lane(lane, number));
            }
        }
        if self.lists.as_ref().is_some_and(|it| it.has(ordinal)) {
            return Some(Home::List);
        }
        (!self.objects.get(ordinal).is_empty()).then_some(Home::Object)
    }

    /// Takes numbers of a lane without codes for ordinals of a block that have no value, by place.
    pub fn fill(&mut self, lane: Lane, block: usize, values: &[(u16, i64)]) {
        let blocks = &mut self.lanes[lane as usize];
        if blocks.len() <= block {
            blocks.resize_with(block + 1, Cells::default);
        }
        match &mut blocks[block] {
            empty if empty.is_empty() => *empty = Cells::fresh(values, false),
            cells => values
                .iter()
                .for_each(|(place, value)| cells.set(*place, Some(*value), false)),
        }
    }

    /// The value, texts after NFKC.
    pub fn get(&self, ordinal: u32) -> Option<Value> {
        for lane in Lane::ALL {
            if let Some(number) = self.number(lane, ordinal) {
                return Some(self.value(lane, number));
            }
        }
        if let Some(values) = self.lists.as_ref().and_then(|lists| lists.get(ordinal)) {
            return Some(Value::List(values));
        }
        read(self.objects.get(ordinal))
    }

    /// The value behind a number of a lane.
    pub fn value(&self, lane: Lane, number: i64) -> Value {
        match lane {
            Lane::Bool => Value::Bool(number != 0),
            Lane::Int => Value::Int(number),
            Lane::Decimal => Value::Number(Number::from_scaled(number, DECIMAL_DIGITS)),
            Lane::Date => Value::Date(number as i32),
            Lane::Time => Value::Time(Time(number)),
            Lane::Text => Value::Text(text(self.texts.get(number as u32)).into()),
            Lane::Other => read(self.others.get(number as u32)).unwrap_or(Value::Cleared),
        }
    }

    /// Where a value stands, if it stands in a lane and somebody has it: the other way of [`Column::value`].
    pub fn find(&self, value: &Value) -> Option<(Lane, i64)> {
        match value {
            Value::Text(text) => {
                let code = self.texts.code(normal(text).as_bytes())?;
                Some((Lane::Text, i64::from(code)))
            }
            Value::List(_) | Value::Object(_) | Value::Cleared => None,
            plain => {
                let other = || Some((Lane::Other, i64::from(self.others.code(&stored(plain))?)));
                Column::plain(plain).or_else(other)
            }
        }
    }

    /// The number of an ordinal in a lane.
    pub fn number(&self, lane: Lane, ordinal: u32) -> Option<i64> {
        let (block, place) = split(ordinal);
        self.lanes[lane as usize].get(block)?.get(place)
    }

    /// A block of a lane, if it holds anything.
    pub fn lane(&self, lane: Lane, block: usize) -> Option<&Cells> {
        self.lanes[lane as usize]
            .get(block)
            .filter(|cells| !cells.is_empty())
    }

    /// Whether a lane was ever used.
    pub fn has_lane(&self, lane: Lane) -> bool {
        !self.lanes[lane as usize].is_empty()
    }

    /// Who has a value.
    pub fn exists(&self, block: usize, out: &mut Words) {
        out.fill(0);
        let mut set = |place, _| set_bit(out, place);
        for cells in Lane::ALL
            .into_iter()
            .filter_map(|lane| self.lane(lane, block))
        {
            cells.each(&mut set);
        }
        if let Some(lists) = &self.lists {
            lists.any(block, &|_| true, out);
        }
        self.objects.each_in(block, |place, _| set_bit(out, place));
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        let lanes = self.lanes.iter().flatten();
        lanes
            .map(|it| it.bytes() + size_of::<Cells>())
            .sum::<usize>()
            + self.texts.bytes()
            + self.others.bytes()
            + self.lists.as_ref().map_or(0, |lists| lists.bytes())
            + self.objects.bytes()
    }

    /// The lane and the number of a value that needs no code.
    pub fn plain(value: &Value) -> Option<(Lane, i64)> {
        let plain = |number: i64| (-VALUE_MAX..=VALUE_MAX).contains(&number).then_some(number);
        match value {
            Value::Bool(yes) => Some((Lane::Bool, i64::from(*yes))),
            Value::Int(number) => plain(*number).map(|number| (Lane::Int, number)),
            Value::Number(number) => number
                .scaled(DECIMAL_DIGITS)
                .and_then(plain)
                .map(|number| (Lane::Decimal, number)),
            Value::Date(days) => Some((Lane::Date, i64::from(*days))),
            Value::Time(time) => plain(time.0).map(|ms| (Lane::Time, ms)),
            _ => None,
        }
    }

    fn home(&mut self, value: &Value) -> Home {
        let lane = match value {
            Value::Text(text) => {
                let code = self.texts.acquire(normal(text).as_bytes());
                Some((Lane::Text, i64::from(code)))
            }
            Value::List(values) if values.iter().all(is_plain) => return Home::List,
            Value::List(_) | Value::Object(_) => return Home::Object,
            plain => Column::plain(plain),
        };
        let (lane, number) =
            lane.unwrap_or_else(|| (Lane::Other, i64::from(self.others.acquire(&stored(value)))));
        Home::Lane(lane, number)
    }

    /// Takes the old value out of where it stands, if the new one goes elsewhere.
    fn clear_other(&mut self, ordinal: u32, held: Option<Home>, new: Option<Home>) {
        match (held, new) {
            (Some(Home::Lane(lane, _)), Some(Home::Lane(new, _))) if lane == new => {}
            (Some(Home::Lane(lane, _)), _) => self.set_lane(lane, ordinal, None),
            (Some(Home::List), new) if new != Some(Home::List) => {
                if let Some(lists) = &mut self.lists {
                    lists.set(ordinal, &[]);
                }
            }
            (Some(Home::Object), new) if new != Some(Home::Object) => {
                self.objects.set(ordinal, &[]);
            }
            _ => {}
        }
    }

    /// A new code has been acquired; the old one is released here.
    fn set_lane(&mut self, lane: Lane, ordinal: u32, value: Option<i64>) {
        let (block, place) = split(ordinal);
        let blocks = &mut self.lanes[lane as usize];
        if blocks.len() <= block {
            if value.is_none() {
                return;
            }
            blocks.resize_with(block + 1, Cells::default);
        }
        let cells = &mut blocks[block];
        if lane.is_coded() {
            let old = cells.get(place);
            cells.set(place, value, true);
            if let Some(old) = old {
                let dict = match lane {
                    Lane::Text => &mut self.texts,
                    _ => &mut self.others,
                };
                dict.release(old as u32);
            }
        } else {
            cells.set(place, value, false);
        }
    }
}

/// Null, empty text and an empty list say nothing.
pub(crate) fn is_absent(value: &Value) -> bool {
    match value {
        Value::Cleared => true,
        Value::Text(text) => text.is_empty(),
        Value::List(values) => values.iter().all(is_absent),
        _ => false,
    }
}

/// Neither list nor object.
fn is_plain(value: &Value) -> bool {
    !matches!(value, Value::List(_) | Value::Object(_))
}

/// Text after NFKC.
pub(crate) fn normal(text: &str) -> std::borrow::Cow<'_, str> {
    use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
    if text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        return text.into();
    }
    text.nfkc().collect::<String>().into()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("texts go in as UTF-8")
}

/// The stored form of a value.
pub(crate) fn stored(value: &Value) -> Vec<u8> {
    postcard::to_stdvec(value).expect("our own types always serialise")
}

/// Reads a stored form; `None` for no bytes.
pub(crate) fn read(bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    Some(postcard::from_bytes(bytes).expect("written by `stored`"))
}

#[cfg(test)]
mod tests;
