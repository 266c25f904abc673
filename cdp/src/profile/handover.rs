//! Handing a fragment or an order over to another member, and taking one in.
//!
//! A part carries whole rows without personal content in the open, and what is personal (attributes, what timeline rows
//! were told) sealed with the fragment's key, so that an erase on the way leaves amounts and counts. The timeline goes
//! first and the cell last: while a large fragment leaves over several batches, the old home can still list what is left.

use std::collections::BTreeMap;

use actors::machine::{Outgoing, Personal, Record, Rows, RowsError, Space, To, WriteSet};
use actors::model::{IdentNo, MemberNo};
use bytes::Bytes;

use super::cell::Cell;
use super::machine::{MemberMachine, unreadable};
use super::moves::{self, Step};
use super::order::Order;
use super::row::{self, FRONT, Flags, Suffix, TIMELINE_KEY, TimelineRow};
use super::value::Value;
use crate::routed::{self, Data, DataRows, Expect, Moved, Release, schema};

/// What a row costs beside its bytes: key, lengths, space.
const ROW_OVERHEAD_BYTES: usize = 32;

type Told = Vec<(Box<str>, Value)>;

/// Parts on their way out.
struct Parts<'a> {
    movement: u64,
    moved: Moved,
    to: MemberNo,
    part_bytes_max: usize,
    open: DataRows,
    personal: DataRows,
    bytes: usize,
    out: &'a mut WriteSet,
}

impl Parts<'_> {
    fn add(&mut self, space: Space, key: &[u8], open: Bytes, personal: Option<Bytes>) -> usize {
        let size = ROW_OVERHEAD_BYTES + open.len() + personal.as_ref().map_or(0, Bytes::len);
        if self.bytes > 0 && self.bytes + size > self.part_bytes_max {
            self.send(false);
        }
        self.bytes += size;
        let key = Bytes::copy_from_slice(key);
        if let Some(personal) = personal {
            self.personal.0.push((space.0, key.clone(), personal));
        }
        self.open.0.push((space.0, key, open));
        size
    }

    fn send(&mut self, last: bool) {
        let data = Data {
            movement: self.movement,
            member: self.to,
            moved: self.moved,
            last,
            open: std::mem::take(&mut self.open),
        };
        let personal = std::mem::take(&mut self.personal);
        self.bytes = 0;
        self.out.outgoing.push(Outgoing {
            to: To::Shard(self.to.shard()),
            schema: schema::DATA,
            envelope: routed::encode(&data),
            personal: (!personal.0.is_empty())
                .then(|| (moves::giver(self.moved), routed::encode(&personal))),
        });
    }
}

impl MemberMachine {
    pub(super) fn expect(&mut self, rows: &dyn Rows, expect: Expect) -> Result<(), RowsError> {
        let receiver = moves::receiver(expect.moved);
        self.batch
            .queue(rows, expect.member, receiver)?
            .expect(expect.movement, expect.from);
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        rows: &dyn Rows,
        release: Release,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let giver = moves::giver(release.moved);
        let queue = self.batch.queue(rows, release.member, giver)?;
        if release.member == release.to && matches!(release.moved, Moved::Fragment(_)) {
            // From a member to itself: all rows are where they should be.
            queue.arrived(release.movement);
        } else {
            queue.steps.push_back(Step::Release {
                movement: release.movement,
                moved: release.moved,
                to: release.to,
                started: false,
            });
        }
        self.run(rows, release.member, giver, None, out)
    }

    /// A large release goes on.
    pub(super) fn go_on(
        &mut self,
        rows: &dyn Rows,
        release: Release,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let giver = moves::giver(release.moved);
        self.run(rows, release.member, giver, Some(release.movement), out)
    }

    /// Takes a part in.
    pub(super) fn data(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        data: Data,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let member = data.member;
        let receiver = moves::receiver(data.moved);
        let mut personal: BTreeMap<(u8, Bytes), Bytes> = BTreeMap::new();
        if let Personal::Open(bytes) = &record.personal {
            let Some(rows) = routed::decode::<DataRows>(bytes) else {
                unreadable(record)
            };
            personal.extend(
                rows.0
                    .into_iter()
                    .map(|(space, key, value)| ((space, key), value)),
            );
        }
        let forgotten = self.was_forgotten(rows, member, receiver)?;
        if forgotten {
            personal.clear();
        }
        let erased = forgotten || record.personal == Personal::Erased;
        for (space, key, value) in data.open.0 {
            let own = personal.remove(&(space, key.clone()));
            match Space(space) {
                row::CELLS => {
                    let mut told = intact(record, Cell::decode(&value));
                    let activity = self.batch.activity(rows, member, receiver)?;
                    activity.dirty = true;
                    activity.value.merge(std::mem::take(&mut told.activity));
                    if let Some(packed) = own {
                        intact(record, told.merge_packed(&packed));
                    }
                    if !told.is_empty() {
                        let cell = self.batch.cell(rows, member, receiver)?;
                        cell.dirty = true;
                        intact(record, cell.value.merge(told));
                    }
                }
                row::TIMELINE => {
                    let Ok(suffix) = <[u8; Suffix::BYTES]>::try_from(&key[..]) else {
                        unreadable(record)
                    };
                    let value = match own {
                        None if !erased => value,
                        own => intact(record, complete(&value, own.as_deref(), erased)),
                    };
                    let key = row::timeline_key(member, receiver, &suffix);
                    self.batch.timeline.insert(key, value);
                }
                row::ORDERS => {
                    let Ok(order) = <[u8; 4]>::try_from(&key[..]) else {
                        unreadable(record)
                    };
                    let order = IdentNo(u32::from_be_bytes(order));
                    let told = intact(record, Order::decode(&value));
                    let before = told.head.share(moves::giver(data.moved) == order);
                    self.batch.counts.share(-1, before);
                    self.batch.join_order(rows, member, receiver, order, told)?;
                }
                _ => unreadable(record),
            }
        }
        if data.last {
            self.batch
                .queue(rows, member, receiver)?
                .arrived(data.movement);
            self.run(rows, member, receiver, None, out)?;
            if forgotten && self.batch.queue(rows, member, receiver)?.is_empty() {
                let key = row::front(member, receiver);
                self.batch.forgotten.remove(&key[..]);
                out.delete(row::FORGOTTEN, key.to_vec());
            }
        }
        Ok(())
    }

    /// Carries out the releases whose turn it is.
    fn run(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        giver: IdentNo,
        mut continuing: Option<u64>,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        while let Some((movement, moved, to)) =
            self.batch.queue(rows, member, giver)?.due(continuing)
        {
            continuing = None;
            let mut parts = Parts {
                movement,
                moved,
                to,
                part_bytes_max: self.limits.part_bytes_max,
                open: DataRows::default(),
                personal: DataRows::default(),
                bytes: 0,
                out,
            };
            let complete = match moved {
                Moved::Fragment(fragment) => {
                    self.give_fragment(rows, member, fragment, &mut parts)?
                }
                Moved::Order { order, from, .. } => {
                    self.give_order(rows, member, from, order, &mut parts)?;
                    true
                }
            };
            if complete {
                parts.send(true);
                self.batch.queue(rows, member, giver)?.steps.pop_front();
                continue;
            }
            if parts.bytes > 0 {
                parts.send(false);
            }
            let release = Release {
                movement,
                member,
                moved,
                to,
            };
            out.outgoing.push(Outgoing {
                to: To::Shard(member.shard()),
                schema: schema::CONTINUE,
                envelope: routed::encode(&release),
                personal: None,
            });
            if let Some(Step::Release { started, .. }) =
                self.batch.queue(rows, member, giver)?.steps.front_mut()
            {
                *started = true;
            }
            return Ok(());
        }
        Ok(())
    }

    /// Hands out rows until all are gone (`true`) or the batch has handed out enough (`false`).
    fn give_fragment(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
        parts: &mut Parts,
    ) -> Result<bool, RowsError> {
        Ok(self.give_timeline(rows, member, fragment, parts)?
            && self.give_orders(rows, member, fragment, parts)?
            && self.give_cell(rows, member, fragment, parts)?)
    }

    fn is_full(&self) -> bool {
        self.batch.released >= self.limits.batch_bytes_max
    }

    fn give_timeline(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
        parts: &mut Parts,
    ) -> Result<bool, RowsError> {
        let front = row::front(member, fragment);
        let mut first = [0; TIMELINE_KEY];
        first[..FRONT].copy_from_slice(&front);
        loop {
            let next = self.batch.timeline.range(first..).next();
            let Some(key) = next
                .map(|(key, _)| *key)
                .filter(|key| key.starts_with(&front))
            else {
                break;
            };
            if self.is_full() {
                return Ok(false);
            }
            let value = self.batch.timeline.remove(&key).expect("found above");
            let (open, told) = strip(&value)?;
            self.batch.released += parts.add(row::TIMELINE, &key[FRONT..], open, told);
        }
        let batch = &mut self.batch;
        let full_at = self.limits.batch_bytes_max;
        let mut outcome = Ok(true);
        rows.scan(row::TIMELINE, &front, &mut |key, value| {
            if batch.released >= full_at {
                outcome = Ok(false);
                return false;
            }
            match strip(value) {
                Ok((open, told)) => {
                    batch.released += parts.add(row::TIMELINE, &key[FRONT..], open, told);
                    parts.out.delete(row::TIMELINE, key.to_vec());
                    true
                }
                Err(error) => {
                    outcome = Err(error);
                    false
                }
            }
        })?;
        outcome
    }

    fn give_orders(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        holder: IdentNo,
        parts: &mut Parts,
    ) -> Result<bool, RowsError> {
        let mut orders: Vec<IdentNo> = self
            .batch
            .orders
            .range((member, holder, IdentNo(0))..=(member, holder, IdentNo(u32::MAX)))
            .map(|((_, _, order), _)| *order)
            .collect();
        rows.scan(row::ORDERS, &row::front(member, holder), &mut |key, _| {
            orders.extend(row::order_of(key));
            true
        })?;
        orders.sort_unstable();
        orders.dedup();
        for order in orders {
            if self.is_full() {
                return Ok(false);
            }
            self.give_order(rows, member, holder, order, parts)?;
        }
        Ok(true)
    }

    /// The counters stay: the order is counted until its new home takes it over.
    fn give_order(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        holder: IdentNo,
        order: IdentNo,
        parts: &mut Parts,
    ) -> Result<(), RowsError> {
        let slot = self.batch.order_slot(rows, member, holder, order)?;
        if let Some(known) = slot.value.take() {
            slot.dirty = true;
            let key = order.0.to_be_bytes();
            self.batch.released += parts.add(row::ORDERS, &key, known.encode().into(), None);
        }
        Ok(())
    }

    fn give_cell(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
        parts: &mut Parts,
    ) -> Result<bool, RowsError> {
        if self.is_full() {
            return Ok(false);
        }
        let seen = self.batch.activity(rows, member, fragment)?;
        let activity = std::mem::take(&mut seen.value);
        seen.dirty = true;
        let slot = self.batch.cell(rows, member, fragment)?;
        let mut cell = std::mem::take(&mut slot.value);
        slot.dirty = true;
        cell.activity.merge(activity);
        if !cell.is_empty() {
            let mut packed = Vec::new();
            cell.pack_attributes(&mut packed);
            let own = (!packed.is_empty()).then(|| packed.into());
            self.batch.released += parts.add(row::CELLS, &[], cell.encode_open().into(), own);
        }
        Ok(true)
    }
}

/// What a record carries and does not read is the record's fault, not the store's: it is parked, not tried for ever.
fn intact<T>(record: &Record, read: Result<T, RowsError>) -> T {
    read.unwrap_or_else(|_| unreadable(record))
}

/// A timeline row without what it was told, and that.
fn strip(value: &[u8]) -> Result<(Bytes, Option<Bytes>), RowsError> {
    let mut line = TimelineRow::decode(value)?;
    if line.told.is_empty() {
        return Ok((Bytes::copy_from_slice(value), None));
    }
    let told = routed::encode(&std::mem::take(&mut line.told));
    Ok((line.encode().into(), Some(told)))
}

/// The opposite of [`strip`].
fn complete(open: &[u8], told: Option<&[u8]>, erased: bool) -> Result<Bytes, RowsError> {
    let mut line = TimelineRow::decode(open)?;
    if let Some(told) = told {
        line.told = routed::decode::<Told>(told)
            .ok_or_else(|| RowsError("attributes of a timeline row are damaged".into()))?;
    }
    line.flags = line.flags.with(Flags::ERASED, erased);
    Ok(line.encode().into())
}
