//! Orders in every order of arrival, and what the counters make of them.

use actors::machine::Rows;
use actors::model::{IdentNo, MemberNo, OrderStatus, Time};

use super::harness::{Made, World, change};
use crate::profile::{Limits, Order, row};

/// Events as (time in seconds, status, total, lines), in order of arrival.
type Told<'a> = (i64, Option<OrderStatus>, Option<i64>, &'a [(&'a str, i64)]);

/// What is to come out: status, total in fen, lines, time in seconds.
type Expected<'a> = (Option<OrderStatus>, i64, &'a [(&'a str, i64)], i64);

fn check(what: &str, told: &[Told], expected: Expected) {
    // One batch for all, and a batch for each.
    for batch in [100, 1] {
        let mut world = World::new(Limits::default());
        for (n, (time, status, total, lines)) in told.iter().enumerate() {
            Made::new(n as u64, 1, 10, *time)
                .order(77, 10, change(77, *status, *total, lines))
                .send(&mut world);
        }
        world.drain(batch);
        let key = row::order_key(MemberNo(1), IdentNo(10), IdentNo(77));
        let order = Order::decode(&world.rows.get(row::ORDERS, &key).unwrap().unwrap()).unwrap();
        let lines: Vec<(&str, i64)> = order
            .lines
            .iter()
            .map(|it| (&*it.line.line_id, it.line.amount))
            .collect();
        let found = (
            order.head.status.map(|(_, status)| status),
            order.head.total(),
            &lines[..],
            order.head.time().0 / 1000,
        );
        assert_eq!(found, expected, "{what}");
        assert_eq!(world.counter("orders"), 1, "{what}");
        assert_eq!(world.counter("order_amount.CNY"), expected.1, "{what}");
        assert_eq!(world.counter("lines"), expected.2.len() as i64, "{what}");
        let cancelled = expected.0 == Some(OrderStatus::Cancelled);
        assert_eq!(
            world.counter("orders_cancelled"),
            i64::from(cancelled),
            "{what}"
        );
        assert_eq!(world.counter("orders_without_person"), 0, "{what}");
    }
}

#[test]
fn orders_come_out_the_same_in_every_order_of_arrival() {
    use OrderStatus::{Cancelled, Completed, Created, Paid};
    check(
        "lines add up, time is the first line's",
        &[
            (20, Some(Created), None, &[("b", 200)]),
            (10, None, None, &[("a", 100)]),
        ],
        (Some(Created), 300, &[("a", 100), ("b", 200)], 10),
    );
    check(
        "a known line replaces",
        &[
            (10, None, None, &[("a", 100)]),
            (20, None, None, &[("a", 70)]),
        ],
        (None, 70, &[("a", 70)], 10),
    );
    check(
        "an old line that comes late does not",
        &[
            (20, None, None, &[("a", 70)]),
            (10, None, None, &[("a", 100)]),
        ],
        (None, 70, &[("a", 70)], 10),
    );
    check(
        "of equal times the later arrival replaces",
        &[
            (10, None, None, &[("a", 100)]),
            (10, None, None, &[("a", 70)]),
        ],
        (None, 70, &[("a", 70)], 10),
    );
    check(
        "the last of one id in one event counts",
        &[(10, None, None, &[("a", 1), ("b", 5), ("a", 2), ("a", 3)])],
        (None, 8, &[("a", 3), ("b", 5)], 10),
    );
    check(
        "a told total wins over lines, the latest one",
        &[
            (20, None, Some(90), &[("a", 100)]),
            (10, None, Some(80), &[]),
        ],
        (None, 90, &[("a", 100)], 20),
    );
    check(
        "cancelled before created, by arrival",
        &[
            (20, Some(Cancelled), None, &[]),
            (10, Some(Created), None, &[("a", 100)]),
        ],
        (Some(Cancelled), 100, &[("a", 100)], 10),
    );
    check(
        "of equal times the further status",
        &[
            (10, Some(Completed), None, &[]),
            (10, Some(Paid), None, &[]),
        ],
        (Some(Completed), 0, &[], 10),
    );
    check(
        "negative lines of a return",
        &[(10, Some(Cancelled), None, &[("a", -350), ("b", -1)])],
        (Some(Cancelled), -351, &[("a", -350), ("b", -1)], 10),
    );
    check(
        "without lines the earliest event",
        &[
            (30, Some(Paid), Some(5), &[]),
            (20, Some(Created), None, &[]),
        ],
        (Some(Paid), 5, &[], 20),
    );
}

#[test]
fn an_order_without_a_person_and_one_of_a_test_source() {
    let mut world = World::new(Limits::default());
    Made::new(1, 5, 77, 1)
        .order(77, 77, change(77, None, None, &[("a", 100)]))
        .send(&mut world);
    let mut test = Made::new(2, 6, 10, 1).order(78, 10, change(78, None, None, &[("a", 900)]));
    test.head.test = true;
    test.send(&mut world);
    world.drain(10);
    assert_eq!(world.counter("orders"), 1);
    assert_eq!(world.counter("orders_without_person"), 1);
    assert_eq!(world.counter("order_amount.CNY"), 100);
    assert_eq!(world.counter("applied"), 1);
    assert_eq!(world.counter("applied_test"), 1);
    let key = row::order_key(MemberNo(6), IdentNo(10), IdentNo(78));
    let order = Order::decode(&world.rows.get(row::ORDERS, &key).unwrap().unwrap()).unwrap();
    assert_eq!((order.head.total(), order.head.time()), (900, Time(1000)));
}
