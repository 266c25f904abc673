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
        match self.activity.entry((member, fragment)) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(free) => {
                let row = rows.get(row::ACTIVITY, &row::front(member, fragment))?;
                let known = row.as_deref().map(Activity::decode).transpose()?;
                Ok(free.insert(Slot {
                    stored: known.is_some(),
                    value: known.unwrap_or_default(),
                    dirty: false,
                }))
            }
        }
    }

    pub fn cell(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
    ) -> Result<&mut Slot<Cell>, RowsError> {
        match self.cells.entry((member, fragment)) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(free) => {
                let row = rows.get(row::CELLS, &row::front(member, fragment))?;
                let stored = row.is_some();
                let value = row.map_or(Ok(Cell::default()), |row| Cell::decode(&row))?;
                Ok(free.insert(Slot {
                    value,
                    stored,
                    dirty: false,
                }))
            }
        }
    }

    pub fn order_slot(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        holder: IdentNo,
        order: IdentNo,
    ) -> Result<&mut Slot<Option<Order>>, RowsError> {
        match self.orders.entry((member, holder, order)) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(free) => {
                let row = rows.get(row::ORDERS, &row::order_key(member, holder, order))?;
                let value = row.map(|row| Order::decode(&row)).transpose()?;
                Ok(free.insert(Slot {
                    stored: value.is_some(),
                    value,
                    dirty: false,
                }))
            }
        }
    }

    pub fn queue(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
    ) -> Result<&mut Queue, RowsError> {
        match self.queues.entry((member, fragment)) {
            Entry::Occupied(slot) => Ok(&mut slot.into_mut().value),
            Entry::Vacant(free) => {
                let row = rows.get(row::MOVES, &row::front(member, fragment))?;
                let value = row.as_deref().map(Queue::decode).transpose()?;
                // Queues are loaded to be changed.
                let slot = free.insert(Slot {
                    stored: value.is_some(),
                    value: value.unwrap_or_default(),
                    dirty: true,
                });
                Ok(&mut slot.value)
            }
        }
    }

    pub fn membership(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        segment: SegmentId,
    ) -> Result<&mut Slot<Option<Membership>>, RowsError> {
        let known = || known(rows, row::MEMBERSHIPS, member, segment.0);
        slot(self.memberships.entry((member, segment)), known)
    }

    pub fn tag(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        tag: TagId,
    ) -> Result<&mut Slot<Option<TagValue>>, RowsError> {
        let known = || known(rows, row::TAGS, member, tag.0);
        slot(self.tags.entry((member, tag)), known)
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
            if !slot.dirty {
                continue;
            }
            let key = row::front(member, fragment).to_vec();
            if !slot.value.is_empty() {
                out.put(row::ACTIVITY, key, slot.value.encode());
            } else if slot.stored {
                out.delete(row::ACTIVITY, key);
            }
        }
        for ((member, fragment), slot) in self.cells {
            if !slot.dirty {
                continue;
            }
            let key = row::front(member, fragment).to_vec();
            if !slot.value.is_empty() {
                out.put(row::CELLS, key, slot.value.encode());
            } else if slot.stored {
                out.delete(row::CELLS, key);
            }
        }
        for (key, line) in self.timeline {
            out.put(row::TIMELINE, key.to_vec(), line);
        }
        for ((member, holder, order), slot) in self.orders {
            if !slot.dirty {
                continue;
            }
            let key = row::order_key(member, holder, order).to_vec();
            if let Some(order) = slot.value {
                out.put(row::ORDERS, key, order.encode());
            } else if slot.stored {
                out.delete(row::ORDERS, key);
            }
        }
        for ((member, fragment), slot) in self.queues {
            let key = row::front(member, fragment).to_vec();
            if !slot.value.is_empty() {
                out.put(row::MOVES, key, slot.value.encode());
            } else if slot.stored {
                out.delete(row::MOVES, key);
            }
        }
        for ((member, segment), slot) in self.memberships {
            conclude(row::MEMBERSHIPS, member, segment.0, slot, out);
        }
        for ((member, tag), slot) in self.tags {
            conclude(row::TAGS, member, tag.0, slot, out);
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
) -> Result<Option<T>, RowsError> {
    let row = rows.get(space, &row::concluded_key(member, of))?;
    row.as_deref().map(concluded::decode).transpose()
}

fn slot<K: Ord, T>(
    entry: Entry<'_, K, Slot<Option<T>>>,
    known: impl FnOnce() -> Result<Option<T>, RowsError>,
) -> Result<&mut Slot<Option<T>>, RowsError> {
    Ok(match entry {
        Entry::Occupied(slot) => slot.into_mut(),
        Entry::Vacant(free) => {
            let value = known()?;
            free.insert(Slot {
                stored: value.is_some(),
                value,
                dirty: false,
            })
        }
    })
}

fn conclude<T: serde::Serialize>(
    space: Space,
    member: MemberNo,
    of: u32,
    slot: Slot<Option<T>>,
    out: &mut WriteSet,
) {
    if !slot.dirty {
        return;
    }
    let key = row::concluded_key(member, of).to_vec();
    if let Some(value) = &slot.value {
        out.put(space, key, concluded::encode(value));
    } else if slot.stored {
        out.delete(space, key);
    }
}
