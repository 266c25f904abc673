//! Totals over all units, as of one snapshot.

use std::collections::BTreeMap;

use actors::machine::{Counters, Rows, RowsError};
use actors::model::{PartitionId, Unit, UnitKind};
use actors::runtime::core::{UnitState, read_state};
use serde::Serialize;

/// What `/api/v1/stats` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Events that reached the raw log, duplicates and rejected ones included.
    pub received: u64,
    /// Events applied to members and to items, each once.
    pub applied: i64,
    /// Events dropped because their message id was known.
    pub duplicates: i64,
    /// Events that could not be taken and wait in the dead-letter list.
    pub dead_letters: i64,
    /// Raw records that identity has not consumed yet.
    pub lag: u64,
    /// Members: people known by more than a device.
    pub members: i64,
    /// Visitors: known by a device or an anonymous identifier only.
    pub visitors: i64,
    /// Conflicts of identifiers.
    pub conflicts: i64,
    /// Orders, each once.
    pub orders: i64,
    /// Of these, cancelled.
    pub orders_cancelled: i64,
    /// Of these, without a person.
    pub orders_without_person: i64,
    /// Sum of order amounts by currency, in the smallest unit.
    pub order_amount: BTreeMap<String, i64>,
    /// Every counter by name: `applied` is what members took, [`IDENTIFIED`] what identity sent them.
    pub counters: BTreeMap<String, i64>,
}

/// What identity's `applied` is called among the counters of all: events of which it has decided whose they are. Members
/// count the same events as `applied` a moment later, so the two are not added up.
pub const IDENTIFIED: &str = "identified";

/// What a unit counts the events as that it took.
const APPLIED: &str = "applied";

/// Counter prefix of order amounts; the currency follows.
const ORDER_AMOUNT: &str = "order_amount.";

impl Stats {
    /// Adds up the counters of all units.
    pub fn of(totals: &[(Unit, UnitState)]) -> Stats {
        let mut counters: BTreeMap<String, i64> = BTreeMap::new();
        for (unit, state) in totals {
            add(&mut counters, *unit, &state.counters);
        }
        let of = |name: &str| counters.get(name).copied().unwrap_or_default();
        Stats {
            applied: of(APPLIED) + of("items_told"),
            duplicates: of("duplicates"),
            dead_letters: of("dead_letters"),
            members: of("members"),
            visitors: of("visitors"),
            conflicts: of("conflicts"),
            orders: of("orders"),
            orders_cancelled: of("orders_cancelled"),
            orders_without_person: of("orders_without_person"),
            order_amount: counters
                .iter()
                .filter_map(|(name, total)| {
                    Some((name.strip_prefix(ORDER_AMOUNT)?.to_owned(), *total))
                })
                .collect(),
            counters,
            ..Stats::default()
        }
    }
}

/// The states of all units in a snapshot.
pub fn unit_states(rows: &dyn Rows, partitions: u16) -> Result<Vec<(Unit, UnitState)>, RowsError> {
    let units = std::iter::once(Unit::IDENTITY)
        .chain((0..partitions).map(|partition| Unit::member(PartitionId(partition))));
    let mut states = Vec::with_capacity(usize::from(partitions) + 1);
    for unit in units {
        if let Some(state) = read_state(rows, unit)? {
            states.push((unit, state));
        }
    }
    Ok(states)
}

fn add(totals: &mut BTreeMap<String, i64>, unit: Unit, counters: &Counters) {
    for (name, by) in counters {
        let name = match (unit.kind, &**name) {
            (UnitKind::Identity, APPLIED) => IDENTIFIED,
            (_, name) => name,
        };
        let total = totals.entry(name.to_owned()).or_default();
        *total = total.wrapping_add(*by);
    }
}

#[cfg(test)]
mod tests;
