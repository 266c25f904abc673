//! Orders as they stand: for rules about [`cdp::rule::EventNames::Orders`].
//!
//! The engine hears of an order by its number, whenever a row of it was written ([`super::changes`]); where the order stands
//! is looked up then. An order that is on its way from one holder to another is left as it was until it has arrived, so that
//! nobody loses it for a moment. What is missing at the beginning is read from a snapshot of all rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;

use actors::history::{Columns, Each, History, HistoryError, HistoryEvent, HistoryOrder, Wanted};
use actors::machine::{Rows, RowsError};
use actors::model::{BrandId, IdentNo, MemberNo, OrderChange, Scope, Time};
use actors::store::Snapshot;
use cdp::audience::{Change, Engine, OrderTold, Series};
use cdp::identity::row as identity;
use cdp::profile::moves::is_awaited;
use cdp::profile::order::{Cause, Order, Stamp};
use cdp::profile::row;
use cdp::rule::{Hit, Measure};
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::changes::OrderNote;

/// Rounds that an order is waited for which stands nowhere and is not on its way: a round takes 15 ms at least.
const PATIENCE_ROUNDS: u32 = 400;

/// An order as rules see it.
pub(super) struct Told {
    holder: IdentNo,
    order: IdentNo,
    /// When it was placed, whose it is, what it says. `None`: it does not count, or is not there any more.
    facts: Option<(Time, BrandId, String)>,
}

impl Told {
    fn new(holder: IdentNo, order: IdentNo, row: Option<Order>) -> Told {
        let counts = row.filter(|it| !it.head.test);
        Told {
            holder,
            order,
            facts: counts.map(|order| (order.head.time(), order.head.brand, order.facts())),
        }
    }

    fn told(&self) -> Option<OrderTold<'_>> {
        (self.facts.as_ref()).map(|(time, brand, facts)| OrderTold {
            time: *time,
            facts,
            brand: *brand,
        })
    }

    /// Gives it to the engine.
    pub fn apply(&self, engine: &mut Engine) {
        engine.apply(Change::Order {
            holder: self.holder,
            order: self.order,
            told: self.told(),
        });
    }
}

/// Where an order is by now.
enum Stands {
    /// There.
    At(Told),
    /// It is on its way.
    Moves,
    /// It is not where it should be.
    Nowhere,
    /// No member has it.
    WithNobody,
}

fn stands(rows: &dyn Rows, note: &OrderNote) -> Result<Stands, RowsError> {
    let order = note.order;
    // Mostly it is where it was seen; identity is asked about those that went away.
    if let Some(found) = row_of(rows, note.member, note.holder, order)? {
        // More of it may have to come yet.
        let moves = is_awaited(rows, note.member, note.holder)?;
        return Ok(if moves {
            Stands::Moves
        } else {
            Stands::At(found)
        });
    }
    let Some(state) = identity::state_of(rows, order)? else {
        return Ok(Stands::WithNobody);
    };
    let holder = state.attached().unwrap_or(order);
    let Some(member) = identity::member_of(rows, order)? else {
        return Ok(Stands::WithNobody);
    };
    if is_awaited(rows, member, holder)? {
        return Ok(Stands::Moves);
    }
    Ok(row_of(rows, member, holder, order)?.map_or(Stands::Nowhere, Stands::At))
}

fn row_of(
    rows: &dyn Rows,
    member: MemberNo,
    holder: IdentNo,
    order: IdentNo,
) -> Result<Option<Told>, RowsError> {
    let found = rows.get(row::ORDERS, &row::order_key(member, holder, order))?;
    found
        .map(|found| Ok(Told::new(holder, order, Some(Order::decode(&found)?))))
        .transpose()
}

/// Orders that were noted and had not arrived when they were looked for, and for how many rounds.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<OrderNote, u32>);

impl Waiting {
    /// Looks for orders that were noted, and again for those that it waits for.
    pub fn look(&mut self, rows: &Snapshot, noted: &[OrderNote]) -> Result<Vec<Told>, RowsError> {
        let news = noted.iter().filter(|it| !self.0.contains_key(it));
        let all = self.0.iter().map(|(note, rounds)| (*note, *rounds));
        let mut waiting = BTreeMap::new();
        let mut told = Vec::new();
        for (note, rounds) in all.chain(news.map(|note| (*note, 0))) {
            match stands(rows, &note)? {
                Stands::At(now) => {
                    if now.holder != note.holder {
                        told.push(Told::new(note.holder, note.order, None));
                    }
                    told.push(now);
                }
                Stands::Moves => {
                    waiting.insert(note, rounds);
                }
                Stands::Nowhere if rounds < PATIENCE_ROUNDS => {
                    waiting.insert(note, rounds + 1);
                }
                Stands::Nowhere | Stands::WithNobody => {
                    told.push(Told::new(note.holder, note.order, None));
                }
            }
        }
        self.0 = waiting;
        Ok(told)
    }
}

/// Shows all orders of a snapshot, those of a holder one after the other, until `each` says `false`; answers whether it came
/// to the end.
fn scan(
    rows: &dyn Rows,
    front: &[u8],
    each: &mut dyn FnMut(IdentNo, IdentNo, Order) -> bool,
) -> Result<bool, RowsError> {
    let (mut failed, mut whole) = (None, true);
    rows.scan(row::ORDERS, front, &mut |key, value| {
        let (Some((_, holder)), Some(order)) = (row::whose(key), row::order_of(key)) else {
            return true;
        };
        match Order::decode(value) {
            Ok(read) => whole = each(holder, order, read),
            Err(error) => failed = Some(error),
        }
        whole && failed.is_none()
    })?;
    failed.map_or(Ok(whole), Err)
}

/// Fills series of orders from a snapshot of rows, as long as `on` says so. Answers whether it came to the end.
pub(super) fn read_all(
    rows: &Snapshot,
    series: &mut [Series],
    on: &mut dyn FnMut() -> bool,
) -> Result<bool, RowsError> {
    scan(rows, &[], &mut |holder, order, read| {
        let told = Told::new(holder, order, Some(read));
        for series in &mut *series {
            series.put_order(holder, order, told.told().as_ref());
        }
        on()
    })
}

/// Tells the engine of all orders, when too many were written to note each.
pub(super) fn tell_all(rows: &Snapshot, engine: &Mutex<Engine>) -> Result<(), RowsError> {
    let mut met: HashSet<IdentNo> = HashSet::new();
    let mut group: Vec<Told> = Vec::new();
    let mut close = |group: &mut Vec<Told>| {
        let Some(first) = group.first() else { return };
        let holder = first.holder;
        met.insert(holder);
        let held: BTreeSet<IdentNo> = group.iter().map(|told| told.order).collect();
        let mut engine = engine.lock();
        for order in engine.orders_of(holder).difference(&held) {
            Told::new(holder, *order, None).apply(&mut engine);
        }
        group.drain(..).for_each(|told| told.apply(&mut engine));
    };
    scan(rows, &[], &mut |holder, order, read| {
        if group.first().is_some_and(|first| first.holder != holder) {
            close(&mut group);
        }
        group.push(Told::new(holder, order, Some(read)));
        true
    })?;
    close(&mut group);
    let mut engine = engine.lock();
    for holder in engine.order_holders() {
        if met.contains(&holder) {
            continue;
        }
        for order in engine.orders_of(holder) {
            Told::new(holder, order, None).apply(&mut engine);
        }
    }
    Ok(())
}

/// Orders of one person by number.
#[derive(Default)]
pub(super) struct Orders(BTreeMap<IdentNo, Order>);

impl Orders {
    /// As they stand.
    pub fn now(rows: &dyn Rows, member: MemberNo) -> Result<Orders, RowsError> {
        let mut orders = Orders::default();
        scan(rows, &row::member_front(member), &mut |_, order, read| {
            orders.0.insert(order, read);
            true
        })?;
        Ok(orders)
    }

    /// As events had told them that were received by `then`, and how many came later. An order that somebody else held at
    /// first is known from when these fragments held it.
    pub fn as_of(
        history: &dyn History,
        fragments: &[IdentNo],
        then: Time,
    ) -> Result<(Orders, u64), HistoryError> {
        let wanted = Wanted {
            fragments: Some(fragments.iter().copied().collect()),
            columns: Columns {
                order: true,
                ..Columns::NONE
            },
            order_only: true,
            ..Wanted::default()
        };
        let (mut orders, mut late) = (Orders::default(), 0);
        let mut each = |event: &HistoryEvent<'_>| {
            let Some(told) = event.order else {
                return ControlFlow::Continue(());
            };
            if event.received <= then {
                orders.join(event, &told);
            } else {
                late += 1;
            }
            ControlFlow::Continue(())
        };
        let sink: &mut Each<'_> = &mut each;
        history.scan(&wanted, &mut [sink])?;
        Ok((orders, late))
    }

    fn join(&mut self, event: &HistoryEvent<'_>, told: &HistoryOrder<'_>) {
        let change = OrderChange {
            order_id: told.order_id.into(),
            shop: told.shop.into(),
            status: told.status,
            currency: told.currency,
            total: told.total,
            lines: told.lines().unwrap_or_default(),
        };
        let cause = Cause {
            stamp: Stamp {
                time: event.time,
                position: event.raw,
            },
            brand: event.brand,
            source: event.source,
            test: event.test,
        };
        let part = Order::of(change, cause);
        match self.0.get_mut(&told.order) {
            Some(known) => known.merge(part),
            None => {
                self.0.insert(told.order, part);
            }
        }
    }

    /// The hits of a measure, for somebody of this scope: by time, of one instant by number.
    pub fn hits(&self, measure: &Measure, scope: &Scope, zone: &TimeZone) -> Vec<Hit> {
        let extractor = cdp::rule::Extractor::new(measure.clone().into(), zone);
        let seen = self.0.values().filter(|order| {
            let brand = order.head.brand;
            !order.head.test && scope.sees(brand) && measure.sees(brand)
        });
        let mut hits: Vec<Hit> = seen
            .filter_map(|order| extractor.of_order(order.head.time(), &order.facts()))
            .collect();
        hits.sort_by_key(|hit| hit.time);
        hits
    }
}
