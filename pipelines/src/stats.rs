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
    /// Every counter by name.
    pub counters: BTreeMap<String, i64>,
}

/// Counter prefix of order amounts; the currency follows.
const ORDER_AMOUNT: &str = "order_amount.";

impl Stats {
    /// Adds up the counters of all units.
    pub fn of(totals: &[(Unit, UnitState)]) -> Stats {
        let mut counters: BTreeMap<String, i64> = BTreeMap::new();
        for (_, state) in totals {
            add(&mut counters, &state.counters);
        }
        let to_members: i64 = totals
            .iter()
            .filter(|(unit, _)| unit.kind == UnitKind::Member)
            .filter_map(|(_, state)| state.counters.get("applied"))
            .sum();
        let of = |name: &str| counters.get(name).copied().unwrap_or_default();
        Stats {
            applied: to_members + of("items_told"),
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

fn add(totals: &mut BTreeMap<String, i64>, counters: &Counters) {
    for (name, by) in counters {
        let total = totals.entry(name.to_string()).or_default();
        *total = total.wrapping_add(*by);
    }
}
