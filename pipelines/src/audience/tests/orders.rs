//! Rules about orders: what one event says of an order, and orders as they stand.

use super::*;

/// What events say of orders, live, from history, and for one person.
#[tokio::test(flavor = "multi_thread")]
async fn rules_see_what_events_say_of_orders() {
    const LARGE: &str = r#"{"event":"Order Paid","where":[{"attr":"order.total","op":"gt","value":300},{"attr":"order.status","op":"eq","value":"paid"}],"agg":"count","op":"gte","value":2,"within":"7d"}"#;
    const MILK: &str = r#"{"event":"Order Paid","where":[{"some":"order.lines","match":{"and":[{"attr":"sku","op":"eq","value":"milk"},{"attr":"quantity","op":"gte","value":2.5}]}}],"op":"gte","value":1}"#;
    const SPENT: &str =
        r#"{"event":"Order Paid","agg":"sum","field":"order.total","op":"gte","value":700.7}"#;
    let mut world = World::new().await;
    for rule in [LARGE, MILK, SPENT] {
        world.plan(rule);
    }
    let live = world.segment("live", LARGE).await;
    world.serving(live, 1).await;
    let mut number = 0;
    let mut paid = async |world: &mut World, who: &str, total: &str| {
        number += 1;
        let lines = r#"[{"line_id":"1","sku":"milk","quantity":2.5,"unit_price":1,"amount":2.5}]"#;
        let order = format!(
            r#""type":"order","name":"Order Paid","time":{NOON:?},"properties":{{"order":"hidden","channel":"app"}},"order":{{"order_id":"o{number}","shop":"s","status":"paid","currency":"CNY","total":{total},"lines":{lines}}}"#
        );
        world.send(&[who], &order).await;
    };
    paid(&mut world, "user_id:a", "300.01").await;
    paid(&mut world, "user_id:a", "400.69").await;
    paid(&mut world, "user_id:b", "400").await;
    paid(&mut world, "user_id:b", "300").await;
    world.track(&["user_id:c"], "Order Paid", NOON, "{}").await;
    world.settled().await;
    assert_eq!(world.members(live), [world.member("user_id:a")]);
    let after = world.segment("from history", MILK).await;
    world.serving(after, 1).await;
    let (a, b) = (world.member("user_id:a"), world.member("user_id:b"));
    assert_eq!(world.members(after), [a, b]);
    for (rule, wanted) in [
        (LARGE, [true, false]),
        (MILK, [true, true]),
        (SPENT, [true, false]),
    ] {
        let counted = wanted.iter().filter(|it| **it).count() as u64;
        assert_eq!(world.count(rule).await, counted, "{rule}");
        for (who, wanted) in ["user_id:a", "user_id:b"].into_iter().zip(wanted) {
            assert_eq!(world.explains(who, rule, None), wanted, "{who} {rule}");
            let then = Some(time(NOON));
            assert_eq!(world.explains(who, rule, then), wanted, "then {who} {rule}");
        }
    }
}

/// Orders as they stand: of a file with a row per line, told in parts, cancelled later, by several identifiers, while people
/// are joined and taken apart; live, from rows, after a restart, and for one person.
#[tokio::test(flavor = "multi_thread")]
async fn rules_see_orders_as_they_stand() {
    const TWO_LARGE: &str = r#"{"event":"@order","where":[{"attr":"order.total","op":"gt","value":300},{"attr":"order.status","op":"ne","value":"cancelled"}],"agg":"count","op":"gte","value":2,"within":"7d"}"#;
    const SPENT: &str =
        r#"{"event":"@order","agg":"sum","field":"order.total","op":"gte","value":900.5}"#;
    let mut world = World::new().await;
    let live = world.segment("live", TWO_LARGE).await;
    world.serving(live, 1).await;
    // Two lines of 200 each: neither is large, the order is.
    for (order, line) in [("o1", 1), ("o1", 2), ("o2", 1), ("o2", 2)] {
        world
            .order(&["user_id:a"], order, "paid", line, "200")
            .await;
    }
    world.order(&["user_id:b"], "o3", "paid", 1, "500.5").await;
    world
        .order(&["phone:13800000000"], "o4", "paid", 1, "400")
        .await;
    world.order(&[], "o5", "paid", 1, "999").await;
    world.settled().await;
    let a = world.member("user_id:a");
    assert_eq!(world.members(live), [a]);
    let agree = async |world: &World, two: &[&str], spent: &[&str], about: &str| {
        for (rule, wanted) in [(TWO_LARGE, two), (SPENT, spent)] {
            assert_eq!(
                world.count(rule).await,
                wanted.len() as u64,
                "{about}: {rule}"
            );
            for who in ["user_id:a", "user_id:b"] {
                let is = wanted.contains(&who);
                assert_eq!(world.explains(who, rule, None), is, "{about}: {who} {rule}");
                let then = Some(time(NOON));
                let past = world.explains(who, rule, then);
                assert_eq!(past, is, "{about}: {who} {rule}, then");
            }
        }
    };
    agree(&world, &["user_id:a"], &[], "told").await;
    // The phone belongs to b, with its order; then one of the orders without a person is named by b too.
    let both = ["user_id:b", "phone:13800000000"];
    world.identify(&both, "{}").await;
    world.settled().await;
    agree(
        &world,
        &["user_id:a", "user_id:b"],
        &["user_id:b"],
        "joined",
    )
    .await;
    assert_eq!(world.members(live).len(), 2);
    world
        .order(&["user_id:a"], "o1", "cancelled", 1, "200")
        .await;
    world.settled().await;
    agree(&world, &["user_id:b"], &["user_id:b"], "cancelled").await;
    world.order(&["user_id:a"], "o5", "paid", 1, "999").await;
    world.settled().await;
    let all = ["user_id:a", "user_id:b"];
    agree(&world, &all, &all, "named").await;
    world.restart(true).await;
    world.serving(live, 1).await;
    agree(&world, &all, &all, "restarted").await;
    assert_eq!(world.members(live).len(), 2);
    // A change right after the start comes in live again.
    world
        .order(&["user_id:b"], "o3", "cancelled", 1, "500.5")
        .await;
    world.settled().await;
    agree(&world, &["user_id:a"], &all, "restarted and cancelled").await;
    let b = world.member("user_id:b");
    let changes = world.changes("user_id:b");
    assert_eq!(changes, ["+1 live", "-1 live"], "{b:?}: nothing in between");
}

/// Too many orders at once to note each: all are looked at.
#[tokio::test(flavor = "multi_thread")]
async fn more_orders_than_are_noted_one_by_one() {
    const PEOPLE: u64 = 30;
    const TWO: &str = r#"{"event":"@order","where":[{"attr":"order.status","op":"eq","value":"paid"}],"op":"gte","value":2}"#;
    let mut world = World::new().await;
    let live = world.segment("live", TWO).await;
    world.serving(live, 1).await;
    for (status, wanted) in [("paid", PEOPLE), ("cancelled", 0), ("refunded", 0)] {
        let mut records = Vec::new();
        for order in 0..2 * PEOPLE {
            let who = format!("user_id:p{}", order / 2);
            records.extend(world.admit_order(&[&who], &format!("o{order}"), status, 1, "5"));
        }
        world.append(&records).await;
        world.settled().await;
        assert_eq!(world.count(TWO).await, wanted, "{status}");
        let members = (world.audience()).segment_members(&BrandSet::All, live, None, 100);
        assert_eq!(members.unwrap().len() as u64, wanted, "{status}");
    }
}
