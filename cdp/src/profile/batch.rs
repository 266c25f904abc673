//! What one batch has touched: each row loaded once, changed in memory, written once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use actors::machine::{Rows, RowsError, Space, WriteSet};
use actors::model::{Currency, IdentNo, MemberNo, PartitionId, SegmentId, TagId};
use bytes::Bytes;

use super::activity::Activity;
use super::cell::Cell;
use super::concluded::{self, Membership, TagValue};
use super::moves::Queue;
use super::order::{Order, Share};
use super::row::{self, TIMELINE_KEY};
use crate::definition::{Definition, DefinitionKind};

/// A row in the batch's memory.
pub(super) struct Slot<T> {
    pub value: T,
    /// Whether the store has a row.
    pub stored: bool,
    /// Whether it changed.
    pub dirty: bool,
}

impl<T> Slot<Option<T>> {
    fn of(known: Option<T>) -> Self {
        Slot {
            stored: known.is_some(),
            value: known,
            dirty: false,
        }
    }
}

impl<T: Default> Slot<T> {
    fn or_default(known: Option<T>) -> Self {
        Slot {
            stored: known.is_some(),
            value: known.unwrap_or_default(),
            dirty: false,
        }
    }
}

impl<T> Slot<T> {
    /// Writes it if it changed; `row` answers nothing for what has no row.
    fn write(
        &self,
        space: Space,
        key: &[u8],
        out: &mut WriteSet,
        row: impl FnOnce(&T) -> Option<Vec<u8>>,
    ) {
        if !self.dirty {
            return;
        }
        match row(&self.value) {
            Some(row) => out.put(space, key.to_vec(), row),
            None if self.stored => out.delete(space, key.to_vec()),
            None => {}
        }
    }
}

/// What the present batch has touched.
#[derive(Default)]
pub(super) struct Batch {
    pub activity: BTreeMap<(MemberNo, IdentNo), Slot<Activity>>,
    pub cells: BTreeMap<(MemberNo, IdentNo), Slot<Cell>>,
    /// By member, holder, order.
    pub orders: BTreeMap<(MemberNo, IdentNo, IdentNo), Slot<Option<Order>>>,
    /// New rows only: no row is ever changed in place.
    pub timeline: BTreeMap<[u8; TIMELINE_KEY], Bytes>,
    pub queues: BTreeMap<(MemberNo, IdentNo), Slot<Queue>>,
    pub memberships: BTreeMap<(MemberNo, SegmentId), Slot<Option<Membership>>>,
    pub tags: BTreeMap<(MemberNo, TagId), Slot<Option<TagValue>>>,
    pub counts: Counts,
    pub definitions: BTreeMap<DefinitionKind, Definition>,
    /// Keys of [`row::FORGOTTEN`] that this batch wrote.
    pub forgotten: BTreeSet<Bytes>,
    /// Bytes handed over so far.
    pub released: usize,
}

/// Changes of counters.
#[derive(Default)]
pub(super) struct Counts {
    pub applied: i64,
    pub applied_test: i64,
    orders: i64,
    cancelled: i64,
    without_person: i64,
    lines: i64,
    amounts: BTreeMap<Currency, i64>,
}

impl Counts {
    /// Adds (`sign` 1) or takes away (−1) what an order contributes.
    pub fn share(&mut self, sign: i64, share: Share) {
        self.orders += sign * share.orders;
        self.cancelled += sign * share.cancelled;
        self.without_person += sign * share.without_person;
        self.lines += sign * share.lines;
        if let Some((currency, amount)) = share.amount {
            let total = self.amounts.entry(currency).or_default();
            *total = total.wrapping_add(amount.wrapping_mul(sign));
        }
    }

    fn write(&self, out: &mut WriteSet) {
        out.count("applied", self.applied);
        out.count("applied_test", self.applied_test);
        out.count("orders", self.orders);
        out.count("orders_cancelled", self.cancelled);
        out.count("orders_without_person", self.without_person);
        out.count("lines", self.lines);
        for (currency, amount) in &self.amounts {
            out.count(&format!("order_amount.{currency}"), *amount);
        }
    }
}

impl Batch {
    pub fn activity(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
    ) -> Result<&mut Slot<Activity>, RowsError> {
        slot(self.activity.entry((member, fragment)), || {
            let row = rows.get(row::ACTIVITY, &row::front(member, fragment))?;
            let known = row.map(|row| Activity::decode(&row)).transpose()?;
            Ok(Slot::or_default(known))
        })
    }

    pub fn cell(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
    ) -> Result<&mut Slot<Cell>, RowsError> {
        slot(self.cells.entry((member, fragment)), || {
            let row = rows.get(row::CELLS, &row::front(member, fragment))?;
            let known = row.map(|row| Cell::decode(&row)).transpose()?;
            Ok(Slot::or_default(known))
        })
    }

    pub fn order_slot(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        holder: IdentNo,
        order: IdentNo,
    ) -> Result<&mut Slot<Option<Order>>, RowsError> {
        slot(self.orders.entry((member, holder, order)), || {
            let row = rows.get(row::ORDERS, &row::order_key(member, holder, order))?;
            Ok(Slot::of(row.map(|row| Order::decode(&row)).transpose()?))
        })
    }

    pub fn queue(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
    ) -> Result<&mut Queue, RowsError> {
        let slot = slot(self.queues.entry((member, fragment)), || {
            let row = rows.get(row::MOVES, &row::front(member, fragment))?;
            let known = row.map(|row| Queue::decode(&row)).transpose()?;
            Ok(Slot::or_default(known))
        })?;
        // Queues are loaded to be changed.
        slot.dirty = true;
        Ok(&mut slot.value)
    }

    pub fn membership(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        segment: SegmentId,
    ) -> Result<&mut Slot<Option<Membership>>, RowsError> {
        slot(self.memberships.entry((member, segment)), || {
            known(rows, row::MEMBERSHIPS, member, segment.0)
        })
    }

    pub fn tag(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        tag: TagId,
    ) -> Result<&mut Slot<Option<TagValue>>, RowsError> {
        slot(self.tags.entry((member, tag)), || {
            known(rows, row::TAGS, member, tag.0)
        })
    }

    /// Joins what is known of an order to what its holder knows already, and counts the difference.
    pub fn join_order(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        holder: IdentNo,
        order: IdentNo,
        told: Order,
    ) -> Result<(), RowsError> {
        let without_person = holder == order;
        self.order_slot(rows, member, holder, order)?;
        let slot = self
            .orders
            .get_mut(&(member, holder, order))
            .expect("loaded above");
        slot.dirty = true;
        let merged = match slot.value.take() {
            Some(mut known) => {
                self.counts.share(-1, known.head.share(without_person));
                known.merge(told);
                known
            }
            None => told,
        };
        self.counts.share(1, merged.head.share(without_person));
        slot.value = Some(merged);
        Ok(())
    }

    /// Writes what changed.
    pub fn write(self, partition: PartitionId, out: &mut WriteSet) {
        for ((member, fragment), slot) in self.activity {
            let key = row::front(member, fragment);
            slot.write(row::ACTIVITY, &key, out, |it| {
                (!it.is_empty()).then(|| it.encode())
            });
        }
        for ((member, fragment), slot) in self.cells {
            let key = row::front(member, fragment);
            slot.write(row::CELLS, &key, out, |it| {
                (!it.is_empty()).then(|| it.encode())
            });
        }
        for (key, line) in self.timeline {
            out.put(row::TIMELINE, key.to_vec(), line);
        }
        for ((member, holder, order), slot) in self.orders {
            let key = row::order_key(member, holder, order);
            slot.write(row::ORDERS, &key, out, |it| it.as_ref().map(Order::encode));
        }
        for ((member, fragment), slot) in self.queues {
            let key = row::front(member, fragment);
            slot.write(row::MOVES, &key, out, |it| {
                (!it.is_empty()).then(|| it.encode())
            });
        }
        for ((member, segment), slot) in self.memberships {
            let key = row::concluded_key(member, segment.0);
            slot.write(row::MEMBERSHIPS, &key, out, |it| {
                it.as_ref().map(concluded::encode)
            });
        }
        for ((member, tag), slot) in self.tags {
            let key = row::concluded_key(member, tag.0);
            slot.write(row::TAGS, &key, out, |it| {
                it.as_ref().map(concluded::encode)
            });
        }
        for (kind, definition) in self.definitions {
            let key = row::definition_key(partition, kind);
            out.put(row::DEFINITIONS, key, definition.to_json().into_bytes());
        }
        self.counts.write(out);
    }
}

fn known<T: serde::de::DeserializeOwned>(
    rows: &dyn Rows,
    space: Space,
    member: MemberNo,
    of: u32,
) -> Result<Slot<Option<T>>, RowsError> {
    let row = rows.get(space, &row::concluded_key(member, of))?;
    Ok(Slot::of(row.as_deref().map(concluded::decode).transpose()?))
}

fn slot<K: Ord, T>(
    entry: Entry<'_, K, Slot<T>>,
    known: impl FnOnce() -> Result<Slot<T>, RowsError>,
) -> Result<&mut Slot<T>, RowsError> {
    Ok(match entry {
        Entry::Occupied(slot) => slot.into_mut(),
        Entry::Vacant(free) => free.insert(known()?),
    })
}
