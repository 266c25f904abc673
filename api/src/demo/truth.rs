//! What really happened, to hold the platform's answers against: who owns which identifier, and what orders add up to.
//!
//! Links are judged over pairs of identifiers: a pair is *found* if both belong to one member, *true* if both belong to
//! one person. Pairs are counted by cells of the table person × member, so a million identifiers take a sort and not a
//! trillion comparisons. An identifier that several people use (the phone of a household) belongs to its owner.

use std::collections::HashMap;

use super::generator::{Message, Source, Status};
use super::people::Key;

/// Everything that the messages so far ought to have led to.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Number of each identifier, in order of appearance.
    numbers: HashMap<Key, u32>,
    keys: Vec<Key>,
    /// Union-find over identifiers that messages put together *and* that belong to one person.
    parents: Vec<u32>,
    orders: Vec<Option<Order>>,
    messages: u64,
    repeats: u64,
    by_source: [u64; Source::ALL.len()],
}

#[derive(Debug, Clone, Copy)]
struct Order {
    said_ms: i64,
    amount: i64,
    status: Status,
    person: bool,
}

/// Sums over all orders, in fen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OrderTotals {
    /// Orders.
    pub orders: u64,
    /// Of them, called off.
    pub cancelled: u64,
    /// Of them, named nobody to the end.
    pub without_person: u64,
    /// Amount of all of them; a partial refund is taken off, a whole one is not.
    pub amount: i64,
    /// Of it, of cancelled ones.
    pub amount_cancelled: i64,
}

/// How well the platform's members agree with people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    /// Identifiers that messages named.
    pub identifiers: u64,
    /// Of them, found on the platform.
    pub known: u64,
    /// Pairs of one person.
    pub pairs_true: u64,
    /// Of these, pairs that some chain of messages of that person puts together: what can be known at all.
    pub pairs_said: u64,
    /// Pairs of one member.
    pub pairs_found: u64,
    /// Pairs of one person and of one member.
    pub pairs_right: u64,
    /// The same of those that can be known.
    pub pairs_said_right: u64,
}

impl Links {
    /// Of the pairs found, how many are true.
    pub fn precision(&self) -> f64 {
        share(self.pairs_right, self.pairs_found)
    }

    /// Of the true pairs that can be known, how many were found.
    pub fn recall(&self) -> f64 {
        share(self.pairs_said_right, self.pairs_said)
    }

    /// Of all true pairs, how many were found.
    pub fn recall_of_all(&self) -> f64 {
        share(self.pairs_right, self.pairs_true)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

impl Truth {
    /// Takes note of a message that the platform was given.
    pub fn take(&mut self, message: &Message) {
        self.messages += 1;
        self.by_source[message.source as usize] += 1;
        if message.repeats.is_some() {
            self.repeats += 1;
            return;
        }
        let keys = message.keys.as_slice();
        let mut numbers = [0u32; 8];
        for (key, number) in keys.iter().zip(&mut numbers) {
            *number = self.number(*key);
        }
        for (at, key) in keys.iter().enumerate() {
            if let Some(before) = keys[..at].iter().position(|k| k.owner() == key.owner()) {
                self.join(numbers[before], numbers[at]);
            }
        }
        if let Some(fact) = message.order {
            let at = fact.order as usize;
            if self.orders.len() <= at {
                self.orders.resize(at + 1, None);
            }
            let order = self.orders[at].get_or_insert(Order {
                said_ms: i64::MIN,
                amount: 0,
                status: fact.status,
                person: false,
            });
            order.person |= !keys.is_empty();
            // Messages come in any order; the latest by its own time says how it is now.
            if message.said_ms >= order.said_ms {
                order.said_ms = message.said_ms;
                order.amount = fact.amount;
                order.status = fact.status;
            }
        }
    }

    /// Messages, repeated ones included.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages that repeat an earlier one.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Messages of one source, repeated ones included.
    pub fn messages_of(&self, source: Source) -> u64 {
        self.by_source[source as usize]
    }

    /// Identifiers in order of appearance.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// People of whom at least one identifier that names a person appeared.
    pub fn people(&self) -> usize {
        let mut owners: Vec<u32> = self
            .keys
            .iter()
            .filter(|k| k.kind().names_person())
            .map(|k| k.owner())
            .collect();
        owners.sort_unstable();
        owners.dedup();
        owners.len()
    }

    /// Sums over all orders.
    pub fn order_totals(&self) -> OrderTotals {
        let mut totals = OrderTotals::default();
        for order in self.orders.iter().flatten() {
            totals.orders += 1;
            totals.amount += order.amount;
            totals.without_person += u64::from(!order.person);
            if order.status == Status::Cancelled {
                totals.cancelled += 1;
                totals.amount_cancelled += order.amount;
            }
        }
        totals
    }

    /// Judges `found`: for each of [`Truth::keys`] the member that it belongs to, as any number.
    pub fn links(&mut self, found: &[Option<u32>]) -> Links {
        let mut rows = Vec::with_capacity(self.keys.len());
        for at in 0..self.keys.len() {
            rows.push(Row {
                person: self.keys[at].owner(),
                said: self.root(at as u32),
                found: found.get(at).copied().flatten(),
            });
        }
        let mut links = Links {
            identifiers: rows.len() as u64,
            known: rows.iter().filter(|r| r.found.is_some()).count() as u64,
            ..Links::default()
        };
        links.pairs_true = pairs_by(&mut rows, |r| r.person);
        links.pairs_said = pairs_by(&mut rows, |r| r.said);
        rows.retain(|r| r.found.is_some());
        links.pairs_found = pairs_by(&mut rows, |r| r.found);
        links.pairs_right = pairs_by(&mut rows, |r| (r.found, r.person));
        links.pairs_said_right = pairs_by(&mut rows, |r| (r.found, r.said));
        links
    }

    fn number(&mut self, key: Key) -> u32 {
        let next = self.keys.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.keys.push(key);
            self.parents.push(next);
        }
        number
    }

    fn root(&mut self, mut at: u32) -> u32 {
        while self.parents[at as usize] != at {
            let above = self.parents[self.parents[at as usize] as usize];
            self.parents[at as usize] = above;
            at = above;
        }
        at
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    person: u32,
    said: u32,
    found: Option<u32>,
}

/// Pairs of rows that agree in `group`.
fn pairs_by<G: Ord>(rows: &mut [Row], group: impl Fn(&Row) -> G) -> u64 {
    rows.sort_unstable_by_key(&group);
    rows.chunk_by(|a, b| group(a) == group(b))
        .map(|cell| cell.len() as u64 * (cell.len() as u64 - 1) / 2)
        .sum()
}

#[cfg(test)]
mod tests;
