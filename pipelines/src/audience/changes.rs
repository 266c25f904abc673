//! Which members' rows have changed: what the write-behind thread tells the audience.
//!
//! It notes numbers, not rows: the audience reads the rows from a snapshot when it gets to them, so a member that changed
//! a hundred times meanwhile costs one look. Memory is bounded: beyond [`MEMBERS_MAX`] the note is "everybody".

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actors::machine::RowWrite;
use actors::model::{IdentNo, MemberNo, Offset, TagId};
use actors::store::Committed;
use cdp::identity;
use cdp::profile;
use parking_lot::{Condvar, Mutex};

/// Members noted before the note is "everybody": 4 MB. Looking at so many one by one takes about as long as a scan.
const MEMBERS_MAX: usize = 1 << 20;

/// Orders noted one by one before the note is "all": 100 MB. They are noted only when a rule asks about orders. Few in
/// tests, so that these meet it.
const ORDERS_MAX: usize = if cfg!(test) { 16 } else { 1 << 22 };

/// A row of an order was written or taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderNote {
    /// Of this member.
    pub member: MemberNo,
    /// Under this fragment.
    pub holder: IdentNo,
    /// The order.
    pub order: IdentNo,
}

/// Members whose rows have changed since the audience last took the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// These; none if it is everybody.
    pub members: Vec<MemberNo>,
    /// There were too many to note.
    pub everybody: bool,
    /// Orders whose rows have changed, if that is asked for ([`Changes::note_each_order`]); none if it is all.
    pub orders: Vec<OrderNote>,
    /// There were too many to note.
    pub all_orders: bool,
    /// Rows of results below this offset are told.
    pub until: Offset,
}

/// The list, with whoever waits for it.
#[derive(Default)]
pub struct Changes {
    noted: Mutex<Noted>,
    told: Condvar,
    /// Orders concern whoever has them: see [`Changes::note_orders`].
    orders: AtomicBool,
    /// See [`Changes::note_each_order`].
    each_order: AtomicBool,
}

#[derive(Default)]
struct Noted {
    members: HashSet<MemberNo>,
    everybody: bool,
    orders: HashSet<OrderNote>,
    all_orders: bool,
    until: Offset,
    /// Somebody wants the audience to look, whatever has changed.
    woken: bool,
    /// Tags of which rows only repeat what the audience said.
    calculated: BTreeSet<TagId>,
}

impl Changes {
    /// Takes the tags that the audience calculates itself: rows of theirs are not noted. What was noted stays.
    pub fn set_calculated(&self, tags: BTreeSet<TagId>) {
        self.noted.lock().calculated = tags;
    }

    /// Notes what frames have written. Called by the write-behind thread.
    pub fn note(&self, frames: &[Committed]) {
        let mut noted = self.noted.lock();
        for frame in frames {
            noted.until = Offset(frame.at.0 + 1);
            if self.each_order.load(Ordering::Relaxed) {
                noted.note_orders(&frame.inner.rows);
            }
            if noted.everybody {
                continue;
            }
            let noted = &mut *noted;
            let (members, everybody) = (&mut noted.members, &mut noted.everybody);
            let orders = self.orders.load(Ordering::Relaxed);
            members_of(
                &frame.inner.rows,
                &noted.calculated,
                orders,
                &mut |note| match note {
                    Note::Member(member) => {
                        members.insert(member);
                    }
                    Note::Everybody => *everybody = true,
                },
            );
            if noted.everybody || noted.members.len() > MEMBERS_MAX {
                noted.members = HashSet::new();
                noted.everybody = true;
            }
        }
        self.told.notify_one();
    }

    /// Takes the list; everything before it is forgotten.
    pub fn take(&self) -> Changed {
        let mut noted = self.noted.lock();
        noted.woken = false;
        let mut members: Vec<MemberNo> = std::mem::take(&mut noted.members).into_iter().collect();
        members.sort_unstable();
        let orders = std::mem::take(&mut noted.orders);
        Changed {
            members,
            everybody: std::mem::take(&mut noted.everybody),
            orders: orders.into_iter().collect(),
            all_orders: std::mem::take(&mut noted.all_orders),
            until: noted.until,
        }
    }

    /// From now on members whose orders change are noted as well: an order makes a member visible to its brand.
    pub fn note_orders(&self) {
        self.orders.store(true, Ordering::Relaxed);
    }

    /// From now on orders are noted one by one: a rule asks about them.
    pub fn note_each_order(&self) {
        self.each_order.store(true, Ordering::Relaxed);
    }

    /// Takes a list back that could not be looked at.
    pub fn give_back(&self, changed: Changed) {
        let mut noted = self.noted.lock();
        noted.all_orders |= changed.all_orders;
        if !noted.all_orders {
            noted.orders.extend(changed.orders);
        }
        noted.everybody |= changed.everybody;
        if !noted.everybody {
            noted.members.extend(changed.members);
        }
    }

    /// Makes [`Changes::wait`] return.
    pub fn wake(&self) {
        self.noted.lock().woken = true;
        self.told.notify_one();
    }

    /// Waits until results behind `seen` are told, somebody wakes, or the time has come.
    pub fn wait(&self, seen: Offset, until: Instant) {
        let mut noted = self.noted.lock();
        while !noted.woken && noted.until <= seen {
            if self.told.wait_until(&mut noted, until).timed_out() {
                return;
            }
        }
    }
}

impl Noted {
    fn note_orders(&mut self, rows: &[RowWrite]) {
        if self.all_orders {
            return;
        }
        for row in rows.iter().filter(|row| row.space == profile::row::ORDERS) {
            if let (Some((member, holder)), Some(order)) = (
                profile::row::whose(&row.key),
                profile::row::order_of(&row.key),
            ) {
                self.orders.insert(OrderNote {
                    member,
                    holder,
                    order,
                });
            }
        }
        if self.orders.len() > ORDERS_MAX {
            self.orders = HashSet::new();
            self.all_orders = true;
        }
    }
}

/// Members whose facts a frame's rows change: who they are, what they were told, their tags.
///
/// Most rows say that somebody did something and was told nothing (activity, timeline): the member need not be looked at,
/// what it did comes with the event.
fn members_of(
    rows: &[RowWrite],
    calculated: &BTreeSet<TagId>,
    orders: bool,
    each: &mut dyn FnMut(Note),
) {
    for row in rows {
        match row.space {
            identity::row::MEMBER => {
                if let Ok(key) = row.key[..].try_into() {
                    each(Note::Member(MemberNo(u32::from_be_bytes(key))));
                }
            }
            profile::row::TAGS
                if profile::row::whose(&row.key)
                    .is_some_and(|(_, IdentNo(tag))| calculated.contains(&TagId(tag))) => {}
            profile::row::ORDERS if !orders => {}
            profile::row::CELLS
            | profile::row::TAGS
            | profile::row::MOVES
            | profile::row::ORDERS => {
                if let Some((member, _)) = profile::row::whose(&row.key) {
                    each(Note::Member(member));
                }
            }
            profile::row::DEFINITIONS if row.key.ends_with(ATTRIBUTES.as_bytes()) => {
                each(Note::Everybody);
            }
            _ => {}
        }
    }
}

/// The end of the keys of attribute schemas.
const ATTRIBUTES: &str = "attributes";

enum Note {
    Member(MemberNo),
    /// The rules by which attributes are read have changed.
    Everybody,
}

#[cfg(test)]
mod tests;
