use super::*;

fn state(counters: &[(&str, i64)]) -> UnitState {
    UnitState {
        counters: counters
            .iter()
            .map(|(name, by)| ((*name).into(), *by))
            .collect(),
        ..UnitState::default()
    }
}

#[test]
fn an_event_that_identity_and_a_member_have_seen_counts_once() {
    let totals = [
        (
            Unit::IDENTITY,
            state(&[("applied", 5), ("items_told", 2), ("members", 3)]),
        ),
        (
            Unit::member(PartitionId(0)),
            state(&[("applied", 3), ("orders", 1)]),
        ),
        (Unit::member(PartitionId(1)), state(&[("applied", 1)])),
    ];
    let stats = Stats::of(&totals);
    assert_eq!(stats.applied, 6, "four by members, two of items");
    let expected = [
        ("applied", 4),
        ("identified", 5),
        ("items_told", 2),
        ("members", 3),
        ("orders", 1),
    ];
    let counters: Vec<_> = stats
        .counters
        .iter()
        .map(|(name, by)| (name.as_str(), *by))
        .collect();
    assert_eq!(counters, expected);
}
