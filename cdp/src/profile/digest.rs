//! A digest over facts: equal for two installations that know the same of the same people.
//!
//! Left out are internal numbers (members, fragments, orders), positions, receive times and identity notes. A member is
//! named by its identifiers, an order by shop and id. The members' hashes are added up, so order and storage do not matter
//! and nothing is held but one member.

use std::collections::BTreeMap;

use actors::machine::{Rows, RowsError, Space};
use actors::model::{BrandId, Identifier, MemberNo};
use bytes::Bytes;

use super::activity::{Activity, Seen};
use super::attribute::{Facts, Told};
use super::cell::Cell;
use super::order::{Order, OrderHead};
use super::row::{self, Suffix, TimelineRow, What};

/// Length of a digest.
pub const DIGEST_BYTES: usize = 32;

/// Digest of all members in `rows`; `identifiers_of` answers those of a member, in any order.
pub fn digest(
    rows: &dyn Rows,
    identifiers_of: &dyn Fn(MemberNo) -> Result<Vec<Identifier>, RowsError>,
) -> Result<[u8; DIGEST_BYTES], RowsError> {
    let mut total = Sum::default();
    let mut members = 0u64;
    let mut add = |member| -> Result<(), RowsError> {
        let Some(facts) = facts_of(rows, member)? else {
            return Ok(());
        };
        let mut names: Vec<String> = identifiers_of(member)?
            .iter()
            .map(Identifier::to_string)
            .collect();
        names.sort_unstable();
        members += 1;
        total.add(hash(&(names, facts)));
        Ok(())
    };
    // Members of rows older than activity rows, and those that hold orders and have seen no event of their own.
    let spaces = [row::ACTIVITY, row::CELLS, row::ORDERS];
    for (at, space) in spaces.into_iter().enumerate() {
        each_member(rows, space, &mut |member| {
            let mut added = false;
            for before in &spaces[..at] {
                rows.scan(*before, &row::member_front(member), &mut |_, _| {
                    added = true;
                    false
                })?;
            }
            if added { Ok(()) } else { add(member) }
        })?;
    }
    Ok(hash(&(total.0, members)))
}

/// Members are collected in runs of this many, so that no scan is under way while another one begins.
const RUN_MEMBERS: usize = 1024;

fn each_member(
    rows: &dyn Rows,
    space: Space,
    each: &mut dyn FnMut(MemberNo) -> Result<(), RowsError>,
) -> Result<(), RowsError> {
    let mut from = Vec::new();
    loop {
        let mut run: Vec<MemberNo> = Vec::with_capacity(RUN_MEMBERS);
        let mut next = None;
        rows.scan_from(space, &[], &from, &mut |key, _| {
            if let Some((member, _)) = row::whose(key)
                && run.last() != Some(&member)
            {
                if run.len() == RUN_MEMBERS {
                    next = Some(key.to_vec());
                    return false;
                }
                run.push(member);
            }
            true
        })?;
        run.into_iter().try_for_each(&mut *each)?;
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

type AttributeFacts = BTreeMap<(Box<str>, BrandId), Facts>;
type MemberFacts = (Vec<Seen>, AttributeFacts, [u64; 4], [u64; 4]);

/// `None`: the member has no facts (everything it had has moved away).
fn facts_of(rows: &dyn Rows, member: MemberNo) -> Result<Option<MemberFacts>, RowsError> {
    let front = row::member_front(member);
    let mut failed = None;
    let mut fail = |result: Result<(), RowsError>| match result {
        Ok(()) => true,
        Err(error) => {
            failed = Some(error);
            false
        }
    };
    let mut whole = Cell::default();
    rows.scan(row::ACTIVITY, &front, &mut |_, value| {
        fail(Activity::decode(value).map(|activity| whole.activity.merge(activity)))
    })?;
    rows.scan(row::CELLS, &front, &mut |_, value| {
        let cell = Cell::decode(&Bytes::copy_from_slice(value));
        fail(cell.and_then(|cell| whole.merge(cell)))
    })?;
    let mut orders = Sum::default();
    rows.scan(row::ORDERS, &front, &mut |_, value| {
        fail(Order::decode(value).map(|order| orders.add(order_hash(order))))
    })?;
    let mut timeline = Sum::default();
    rows.scan(row::TIMELINE, &front, &mut |key, value| {
        let suffix = key.get(row::FRONT..).and_then(Suffix::from_bytes);
        fail(TimelineRow::decode(value).map(|line| {
            if let (What::Event(_), Some(suffix)) = (line.what, suffix) {
                timeline.add(line_hash(suffix, &line));
            }
        }))
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let seen = std::mem::take(&mut whole.activity.seen);
    let mut attributes = AttributeFacts::new();
    for mut attribute in whole.into_attributes()? {
        attribute.facts.forget_positions();
        attributes.insert((attribute.name, attribute.brand), attribute.facts);
    }
    let nothing = seen.is_empty() && attributes.is_empty() && orders.0 == [0; 4];
    Ok((!nothing).then_some((seen, attributes, orders.0, timeline.0)))
}

impl Facts {
    /// Leaves only what was told, when, and by whom. Sets follow from the timeline, which the digest covers as well.
    fn forget_positions(&mut self) {
        let each: [&mut dyn Iterator<Item = &mut Told>; 2] = [
            &mut self.latest.iter_mut(),
            &mut [&mut self.first, &mut self.min, &mut self.max]
                .into_iter()
                .flatten(),
        ];
        for told in each.into_iter().flatten() {
            told.position = Default::default();
        }
        self.set = None;
        if let Some(operations) = &mut self.operations {
            operations.forget_positions();
        }
    }
}

fn order_hash(order: Order) -> [u8; DIGEST_BYTES] {
    let OrderHead {
        order_id,
        shop,
        brand,
        source,
        first,
        last,
        line_time,
        test,
        status,
        currency,
        told_total,
        lines: _,
        lines_total: _,
    } = order.head;
    let lines: Vec<_> = order
        .lines
        .into_iter()
        .map(|line| (line.stamp.time, line.line))
        .collect();
    hash(&(
        (order_id, shop, brand, source),
        (first.time, last.time, line_time, test, status),
        (currency.0.time, currency.1),
        told_total.map(|(stamp, total)| (stamp.time, total)),
        lines,
    ))
}

fn line_hash(suffix: Suffix, line: &TimelineRow) -> [u8; DIGEST_BYTES] {
    let facts = (suffix.time, line.what, line.name(), line.source, line.brand);
    hash(&(facts, line.flags, line.message, &line.told))
}

fn hash<T: serde::Serialize>(facts: &T) -> [u8; DIGEST_BYTES] {
    let bytes = postcard::to_stdvec(facts).expect("our own types always serialise");
    *blake3::hash(&bytes).as_bytes()
}

/// A sum of hashes, in four lanes of 64 bits.
#[derive(Default)]
struct Sum([u64; 4]);

impl Sum {
    fn add(&mut self, hash: [u8; DIGEST_BYTES]) {
        for (lane, bytes) in self.0.iter_mut().zip(hash.chunks_exact(8)) {
            let bytes = bytes.try_into().expect("chunks of eight");
            *lane = lane.wrapping_add(u64::from_le_bytes(bytes));
        }
    }
}
