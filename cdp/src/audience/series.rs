//! The events of one measure, per fragment: times in order, and the value taken of each where the measure takes one.
//!
//! An event is a handful of bytes: distances in time, and numbers as they are; other values are codes.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use actors::model::{IdentNo, Position, Time};
use smallvec::SmallVec;

use super::blobs::{Blobs, push_varint, take_varint, unzigzag, zigzag};
use super::column::{read, stored};
use super::dict::Dict;
use super::engine::OrderTold;
use crate::profile::Value;
use crate::rule::Span;
use crate::rule::measure::{Extractor, Hit, Measure};

/// Whole numbers up to this (either sign) are kept as they are.
const PLAIN_MAX: i64 = 1 << 60;

/// The events of a measure.
#[derive(Debug)]
pub struct Series {
    pub(crate) extractor: Extractor,
    rows: Blobs,
    values: Dict,
    /// The measure takes a value, so that the order of events of one instant matters; or it is of orders, which are told
    /// apart by their numbers.
    valued: bool,
    /// Orders that were told, with who holds them or held them: what history says of them is out of date. `None`: it is not
    /// waiting for history.
    told: Option<HashSet<(IdentNo, IdentNo)>>,
}

/// What lies in a window.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// There are events, inside or not.
    pub any: bool,
    /// Events.
    pub count: i64,
    /// Events with a whole number.
    pub valued: i64,
    /// The sum of these.
    pub sum: i128,
    /// There are values that are no plain whole numbers: then the two before say nothing.
    pub coded: bool,
    /// The first.
    pub oldest: Option<i64>,
    /// The last.
    pub newest: Option<i64>,
    /// The first behind the window.
    pub coming: Option<i64>,
}

fn earlier(known: Option<i64>, time: i64) -> Option<i64> {
    Some(known.map_or(time, |known| known.min(time)))
}

/// An event as kept: time, arrival, packed value.
type Entry = (i64, u64, u64);

impl Series {
    /// A measure without events.
    pub fn new(extractor: Extractor) -> Series {
        let measure = extractor.measure();
        let valued = measure.field.is_some() || measure.is_of_orders();
        Series {
            extractor,
            rows: Blobs::default(),
            values: Dict::default(),
            valued,
            told: None,
        }
    }

    /// The measure.
    pub fn measure(&self) -> &Arc<Measure> {
        self.extractor.measure()
    }

    /// Adds an event of a fragment. Each event once; in any order.
    pub fn push(&mut self, fragment: IdentNo, at: Position, hit: &Hit) {
        let packed = self.pack(hit);
        self.insert(fragment, (hit.time.0, arrival(at), packed));
    }

    /// Takes over how an order stands now, if the measure is of orders; answers whether that changes something.
    pub fn put_order(
        &mut self,
        holder: IdentNo,
        order: IdentNo,
        told: Option<&OrderTold<'_>>,
    ) -> bool {
        if !self.measure().is_of_orders() {
            return false;
        }
        if let Some(orders) = &mut self.told {
            orders.insert((holder, order));
        }
        let told = told.filter(|told| self.measure().sees(told.brand));
        let hit = told.and_then(|told| self.extractor.of_order(told.time, told.facts));
        let mut entries = self.entries(self.rows.get(holder.0));
        let known = entries.iter().position(|it| it.1 == u64::from(order.0));
        let before = known.map(|at| self.hit(&entries[at]));
        if before == hit {
            return false;
        }
        if let Some(at) = known {
            self.release(entries.remove(at));
            let row = self.encode(&entries);
            self.rows.set(holder.0, &row);
        }
        if let Some(hit) = hit {
            let packed = self.pack(&hit);
            self.insert(holder, (hit.time.0, order.0.into(), packed));
        }
        true
    }

    /// From now on it notes which orders are told: history comes later.
    pub(crate) fn note_orders(&mut self) {
        self.told = self.measure().is_of_orders().then(HashSet::new);
    }

    /// Adds the orders that a fragment holds.
    pub(crate) fn orders_of(&self, holder: IdentNo, orders: &mut BTreeSet<IdentNo>) {
        if self.measure().is_of_orders() {
            let entries = self.entries(self.rows.get(holder.0)).into_iter();
            orders.extend(entries.map(|(_, order, _)| IdentNo(order as u32)));
        }
    }

    /// Adds the fragments that hold orders.
    pub(crate) fn order_holders(&self, holders: &mut BTreeSet<IdentNo>) {
        if self.measure().is_of_orders() {
            self.rows.each(|holder, _| {
                holders.insert(IdentNo(holder));
            });
        }
    }

    fn pack(&mut self, hit: &Hit) -> u64 {
        match &hit.value {
            None => 0,
            Some(Value::Int(number)) if number.abs() < PLAIN_MAX => zigzag(*number) << 2 | 1,
            Some(value) => u64::from(self.values.acquire(&stored(value))) << 2 | 2,
        }
    }

    fn hit(&self, entry: &Entry) -> Hit {
        let value = match entry.2 & 3 {
            0 => None,
            1 => Some(Value::Int(unzigzag(entry.2 >> 2))),
            _ => read(self.values.get((entry.2 >> 2) as u32)),
        };
        let time = Time(entry.0);
        Hit { time, value }
    }

    fn release(&mut self, (_, _, packed): Entry) {
        if packed & 3 == 2 {
            self.values.release((packed >> 2) as u32);
        }
    }

    /// Adds an event of a fragment if the measure is about it.
    pub fn offer(
        &mut self,
        fragment: IdentNo,
        at: Position,
        name: &str,
        time: Time,
        properties: Option<&str>,
    ) {
        if let Some(hit) = self.extractor.of(name, time, properties) {
            self.push(fragment, at, &hit);
        }
    }

    fn insert(&mut self, fragment: IdentNo, entry: Entry) {
        let bytes = self.rows.get(fragment.0);
        // Histories come in order of time, mostly: then the rest stays as it is.
        let last = self.last(bytes);
        if (last.0, last.1) <= (entry.0, entry.1) || bytes.is_empty() {
            let mut row: SmallVec<[u8; 128]> = SmallVec::from_slice(bytes);
            self.encode_one(last, &entry, &mut row);
            return self.rows.set(fragment.0, &row);
        }
        let mut entries = self.entries(bytes);
        let place = entries.partition_point(|it| (it.0, it.1) <= (entry.0, entry.1));
        entries.insert(place, entry);
        let row = self.encode(&entries);
        self.rows.set(fragment.0, &row);
    }

    /// Adds the events of one fragment to a history; sort it with [`in_order`] when all fragments are in.
    pub(crate) fn collect(&self, fragment: IdentNo, into: &mut Vec<(u64, Hit)>) {
        for entry in self.entries(self.rows.get(fragment.0)) {
            into.push((entry.1, self.hit(&entry)));
        }
    }

    /// Adds what lies in a window of a fragment's events, without making values of them; shows the instants of these.
    pub(crate) fn add_inside(
        &self,
        fragment: IdentNo,
        span: Span,
        inside: &mut Inside,
        mut each: impl FnMut(Time),
    ) {
        let mut bytes = self.rows.get(fragment.0);
        let mut time = 0i64;
        while !bytes.is_empty() {
            inside.any = true;
            time = time.wrapping_add(unzigzag(take_varint(&mut bytes)));
            let mut packed = 0;
            if self.valued {
                take_varint(&mut bytes);
                packed = take_varint(&mut bytes);
            }
            if time > span.to.0 {
                inside.coming = earlier(inside.coming, time);
                break;
            }
            if time < span.from.0 {
                continue;
            }
            each(Time(time));
            inside.count += 1;
            inside.oldest = earlier(inside.oldest, time);
            inside.newest = Some(inside.newest.map_or(time, |known| known.max(time)));
            match packed & 3 {
                0 => {}
                1 => {
                    inside.valued += 1;
                    inside.sum += i128::from(unzigzag(packed >> 2));
                }
                _ => inside.coded = true,
            }
        }
    }

    /// Takes over the events of another series of the same measure; each is in one of the two only. Of an order what the
    /// other one says counts.
    pub(crate) fn join(&mut self, other: &Series) {
        for (holder, order) in other.told.iter().flatten() {
            self.put_order(*holder, *order, None);
        }
        other.rows.each(|fragment, bytes| {
            for (time, arrival, packed) in other.entries(bytes) {
                let packed = match packed & 3 {
                    2 => {
                        let value = other.values.get((packed >> 2) as u32);
                        u64::from(self.values.acquire(value)) << 2 | 2
                    }
                    _ => packed,
                };
                self.insert(IdentNo(fragment), (time, arrival, packed));
            }
        });
    }

    /// Forgets a fragment's events. Orders stand as their rows do, which an erase leaves.
    pub(crate) fn forget(&mut self, fragment: IdentNo) {
        if self.measure().is_of_orders() {
            return;
        }
        for entry in self.entries(self.rows.get(fragment.0)) {
            self.release(entry);
        }
        self.rows.set(fragment.0, &[]);
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.values.bytes()
    }

    fn entries(&self, mut bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(bytes.len() / if self.valued { 8 } else { 4 } + 1);
        let (mut time, mut arrival) = (0i64, 0u64);
        while !bytes.is_empty() {
            time = time.wrapping_add(unzigzag(take_varint(&mut bytes)));
            let mut packed = 0;
            if self.valued {
                arrival = arrival.wrapping_add(unzigzag(take_varint(&mut bytes)) as u64);
                packed = take_varint(&mut bytes);
            }
            entries.push((time, arrival, packed));
        }
        entries
    }

    /// The last entry; zeros if there is none.
    fn last(&self, mut bytes: &[u8]) -> Entry {
        let (mut time, mut arrival) = (0i64, 0u64);
        while !bytes.is_empty() {
            time = time.wrapping_add(unzigzag(take_varint(&mut bytes)));
            if self.valued {
                arrival = arrival.wrapping_add(unzigzag(take_varint(&mut bytes)) as u64);
                take_varint(&mut bytes);
            }
        }
        (time, arrival, 0)
    }

    fn encode(&self, entries: &[Entry]) -> SmallVec<[u8; 128]> {
        let mut bytes = SmallVec::new();
        let mut last = (0, 0, 0);
        for entry in entries {
            self.encode_one(last, entry, &mut bytes);
            last = *entry;
        }
        bytes
    }

    /// Writes an entry as what is behind another one.
    fn encode_one(&self, last: Entry, entry: &Entry, out: &mut SmallVec<[u8; 128]>) {
        push_varint(out, zigzag(entry.0.wrapping_sub(last.0)));
        if self.valued {
            push_varint(out, zigzag(entry.1.wrapping_sub(last.1) as i64));
            push_varint(out, entry.2);
        }
    }
}

/// Sorts what [`Series::collect`] brought: by time, ties in the order of arrival.
pub(crate) fn in_order(mut hits: Vec<(u64, Hit)>, fragments: usize) -> Vec<Hit> {
    if fragments > 1 {
        hits.sort_by_key(|(arrival, hit)| (hit.time, *arrival));
    }
    hits.into_iter().map(|(_, hit)| hit).collect()
}

/// Positions as one number that grows with them. Offsets stay below 2⁴⁸: at a million a second for nine years.
fn arrival(at: Position) -> u64 {
    u64::from(at.partition.0) << 48 | at.offset.0 & ((1 << 48) - 1)
}

#[cfg(test)]
mod tests;
