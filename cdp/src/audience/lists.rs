//! Lists of plain values: each ordinal's elements, and for each element of a block the places that have it.

use std::collections::BTreeMap;

use super::bits::{Part, Words, split};
use super::blobs::{Blobs, push_varint, take_varint};
use super::column::{is_absent, normal, read, stored};
use super::dict::Dict;
use crate::profile::Value;

/// Lists by ordinal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    /// Distinct elements in their stored form, texts after NFKC.
    pub elements: Dict,
    rows: Blobs,
    places: Vec<BTreeMap<u32, Part>>,
}

impl Lists {
    /// Sets the list; without elements the ordinal has none.
    pub fn set(&mut self, ordinal: u32, values: &[Value]) {
        let codes: Vec<u32> = values
            .iter()
            .filter(|value| !is_absent(value))
            .map(|value| self.elements.acquire(&element(value)))
            .collect();
        let old = self.codes(ordinal);
        let (block, place) = split(ordinal);
        if self.places.len() <= block {
            if codes.is_empty() {
                return;
            }
            self.places.resize_with(block + 1, BTreeMap::new);
        }
        let places = &mut self.places[block];
        for code in &old {
            if !codes.contains(code)
                && let Some(part) = places.get_mut(code)
            {
                part.remove(place);
                if part.is_empty() {
                    places.remove(code);
                }
            }
            self.elements.release(*code);
        }
        let mut row = Vec::with_capacity(codes.len() * 2);
        for code in codes {
            places.entry(code).or_default().insert(place);
            push_varint(&mut row, code.into());
        }
        self.rows.set(ordinal, &row);
    }

    /// The elements in their order.
    pub fn get(&self, ordinal: u32) -> Option<Vec<Value>> {
        let codes = self.codes(ordinal);
        (!codes.is_empty()).then(|| codes.into_iter().map(|code| self.element(code)).collect())
    }

    /// Whether it has a list.
    pub fn has(&self, ordinal: u32) -> bool {
        !self.rows.get(ordinal).is_empty()
    }

    /// The element of a code.
    pub fn element(&self, code: u32) -> Value {
        read(self.elements.get(code)).unwrap_or(Value::Cleared)
    }

    /// The code of an element that some list has.
    pub fn code(&self, value: &Value) -> Option<u32> {
        self.elements.code(&element(value))
    }

    /// Adds the places of a block whose list has one of the elements.
    pub fn any(&self, block: usize, has: &dyn Fn(u32) -> bool, out: &mut Words) {
        let Some(places) = self.places.get(block) else {
            return;
        };
        for (_, part) in places.iter().filter(|(code, _)| has(**code)) {
            part.or_into(out);
        }
    }

    /// Elements of a block and the places that have them.
    pub fn elements_in(&self, block: usize) -> impl Iterator<Item = (u32, &Part)> {
        let places = self.places.get(block).into_iter().flatten();
        places.map(|(code, part)| (*code, part))
    }

    pub fn bytes(&self) -> usize {
        let parts = self.places.iter().flat_map(BTreeMap::values);
        self.elements.bytes()
            + self.rows.bytes()
            + parts.map(|part| part.bytes() + 48).sum::<usize>()
    }

    fn codes(&self, ordinal: u32) -> Vec<u32> {
        let mut row = self.rows.get(ordinal);
        let mut codes = Vec::new();
        while !row.is_empty() {
            codes.push(take_varint(&mut row) as u32);
        }
        codes
    }
}

fn element(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(text) => stored(&Value::Text(normal(text).into())),
        other => stored(other),
    }
}
