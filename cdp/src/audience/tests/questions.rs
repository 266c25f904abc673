//! Questions beside counts, editions of segments, and what comes in slices.

use std::collections::BTreeMap;

use actors::model::{IdentNo, MemberNo, Time};
use jiff::tz::TimeZone;

use super::plan;
use super::world::position;
use crate::audience::{Change, Engine};
use crate::identity::row::MemberState;
use crate::profile::Value;

const NOW: Time = Time(1_772_900_000_000);
const DAY: i64 = 24 * 3_600_000;

/// Members 0..n, each with a level 0..3 and an age 0..50, over more than one block.
fn engine(members: u32) -> Engine {
    let mut engine = Engine::new(TimeZone::UTC, NOW, 2);
    for n in 0..members {
        let member = MemberNo(n);
        engine.apply(Change::Member {
            member,
            state: MemberState::Member,
            test: false,
            fragments: &[IdentNo(n)],
        });
        let level = Value::Text(format!("level{}", n % 3).into());
        let values = [("age", Value::Int((n % 50).into())), ("level", level)];
        engine.apply(Change::Attributes {
            member,
            values: &values,
        });
    }
    engine
}

fn buy(engine: &mut Engine, member: u32, offset: u64, time: Time) {
    engine.apply(Change::Event {
        fragment: IdentNo(member),
        position: position(offset),
        time,
        name: "buy",
        properties: None,
        place: None,
        brand: actors::model::BrandId(0),
    });
}

fn install(engine: &mut Engine, json: &str) {
    for measure in engine.measure_wanted(&plan(json)) {
        let series = engine.measure_builder(measure);
        engine.measure_install(series);
    }
}

const LEVEL0: &str = r#"{"attr":"level","op":"eq","value":"level0"}"#;
const YOUNG: &str = r#"{"attr":"age","op":"lt","value":10}"#;
const BOUGHT: &str = r#"{"event":"buy","within":"3d"}"#;

#[test]
fn counts_of_clauses_add_up() {
    let mut engine = engine(70_000);
    let both = plan(&format!(r#"{{"and":[{LEVEL0},{{"not":{YOUNG}}}]}}"#));
    let counts = engine.clause_counts(&both, NOW).expect("no measures");
    let by_place: BTreeMap<&str, u64> = both
        .places
        .iter()
        .map(|it| &**it)
        .zip(counts.iter().copied())
        .collect();
    assert_eq!(by_place["and[0]"], 23_334);
    assert_eq!(by_place["and[1].not"], 14_000);
    assert_eq!(by_place["and[1]"], 56_000);
    assert_eq!(
        engine.count(&both, NOW).expect("no measures").count,
        by_place[""]
    );
}

#[test]
fn regions_of_an_overlap_are_disjoint() {
    let mut engine = engine(3000);
    let (level, young) = (plan(LEVEL0), plan(YOUNG));
    let regions = engine.overlap(&[&level, &young], NOW).expect("no measures");
    assert_eq!(regions, [1600, 800, 400, 200]);
}

#[test]
fn values_are_counted_within_an_audience() {
    let mut engine = engine(3000);
    let (young, level) = (plan(YOUNG), plan(LEVEL0));
    let spread = engine
        .distribution(&young, &level.leaves[0], NOW, 2)
        .expect("no measures");
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(
        spread.values,
        [(text("level0"), 200), (text("level1"), 200)]
    );
    assert_eq!(
        (spread.distinct, spread.present, spread.absent),
        (3, 600, 0)
    );
    install(&mut engine, BOUGHT);
    buy(&mut engine, 3, 1, NOW);
    let spread = engine
        .distribution(&young, &plan(BOUGHT).leaves[0], NOW, 9)
        .expect("installed");
    assert_eq!(spread.values, [(Value::Int(0), 599), (Value::Int(1), 1)]);
}

#[test]
fn samples_are_members_of_the_audience() {
    let mut engine = engine(70_000);
    let young = plan(YOUNG);
    let some = engine.sample(&young, NOW, 20, 1).expect("no measures");
    assert_eq!(some.len(), 20);
    assert!(some.iter().all(|member| member.0 % 50 < 10));
    assert!(
        some.iter().any(|member| member.0 > 1000),
        "not only the first"
    );
    assert_eq!(
        some,
        engine.sample(&young, NOW, 20, 1).expect("no measures")
    );
    assert_ne!(
        some,
        engine.sample(&young, NOW, 20, 2).expect("no measures")
    );
}

#[test]
fn everybody_has_the_same_chance_and_most_stay_when_others_come() {
    let mut engine = engine(70_000);
    let young = plan(YOUNG);
    let mut low = 0;
    for seed in 0..60 {
        let some = engine.sample(&young, NOW, 50, seed).expect("no measures");
        low += some.iter().filter(|member| member.0 < 35_000).count();
    }
    assert!(
        (1350..1650).contains(&low),
        "{low} of 3000 are in the lower half"
    );
    let before = engine.sample(&young, NOW, 50, 7).expect("no measures");
    let values = [("age", Value::Int(90))];
    for n in 0..7_000 {
        let member = MemberNo(n * 10);
        engine.apply(Change::Attributes {
            member,
            values: &values,
        });
    }
    let after = engine.sample(&young, NOW, 50, 7).expect("no measures");
    let stayed = before.iter().filter(|it| it.0 % 10 != 0);
    assert!(stayed.clone().count() > 25 && stayed.clone().all(|it| after.contains(it)));
    let all = engine.sample(&young, NOW, 20_000, 7).expect("no measures");
    assert_eq!(
        all.len() as u64,
        engine.count(&young, NOW).expect("no measures").count
    );
}

#[test]
fn a_new_window_is_made_in_slices_and_says_the_same() {
    let mut engine = engine(600_000);
    install(&mut engine, BOUGHT);
    for member in 0..600_000 {
        buy(
            &mut engine,
            member,
            member.into(),
            NOW.plus_ms(-i64::from(member % 5) * DAY),
        );
    }
    let bought = plan(BOUGHT);
    let mut slices = 0;
    while engine.warm(&[&bought], NOW).expect("installed") {
        slices += 1;
        // Meanwhile somebody of the part that is made, and somebody of the rest, buys.
        buy(&mut engine, 3, 1_000_000 + slices, NOW);
        buy(&mut engine, 599_999, 1_000_000 + slices, NOW);
    }
    assert!(slices >= 3, "{slices}");
    assert_eq!(
        engine.count(&bought, NOW).expect("installed").count,
        360_000 + 2
    );
    // The day turns: those whose third day it was leave, in slices as well.
    let later = NOW.plus_ms(DAY);
    let mut slices = 0;
    while engine.warm(&[&bought], later).expect("installed") {
        slices += 1;
    }
    assert!(slices >= 10, "{slices}");
    assert_eq!(
        engine.count(&bought, later).expect("installed").count,
        240_000 + 2
    );
}

#[test]
fn members_come_in_pages() {
    let mut engine = engine(70_000);
    let young = plan(YOUNG);
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = engine
            .members(&young, NOW, after, 999)
            .expect("no measures");
        let Some(last) = page.last() else { break };
        after = Some(*last);
        all.extend(page);
    }
    let expected: Vec<MemberNo> = (0..70_000).filter(|n| n % 50 < 10).map(MemberNo).collect();
    assert!(all == expected);
}

#[test]
fn the_old_edition_serves_until_the_new_one_is_computed() {
    let mut engine = engine(100);
    engine.segment_put("s", 1, plan(YOUNG));
    let entered = engine.drain_transitions();
    assert_eq!(entered.len(), 20);
    assert!(
        entered
            .iter()
            .all(|it| it.rebuilt && it.entered && it.version == 1)
    );
    engine.segment_put("s", 2, plan(BOUGHT));
    assert!(engine.drain_transitions().is_empty(), "history is missing");
    assert_eq!(engine.segment_versions("s"), Some((Some(1), Some(2))));
    assert_eq!(engine.holds("s", MemberNo(5)), Some(true));
    install(&mut engine, BOUGHT);
    buy(&mut engine, 5, 1, NOW);
    let changes = engine.drain_transitions();
    assert_eq!(changes.len(), 19, "one stays");
    assert!(
        changes
            .iter()
            .all(|it| it.rebuilt && !it.entered && it.version == 2)
    );
    buy(&mut engine, 6, 2, NOW);
    let changes = engine.drain_transitions();
    assert_eq!(changes.len(), 1);
    assert!(changes[0].entered && !changes[0].rebuilt);
}

#[test]
fn a_restored_segment_only_tells_what_is_new() {
    let mut engine = engine(100);
    engine.segment_restore("s", (0..100).filter(|n| n % 50 < 9).map(MemberNo), true);
    engine.segment_put("s", 1, plan(YOUNG));
    let changes = engine.drain_transitions();
    let who: Vec<u32> = changes.iter().map(|it| it.member.0).collect();
    assert_eq!(who, [9, 59]);
}

#[test]
fn a_day_that_turns_is_worked_off_in_slices() {
    let mut engine = engine(30_000);
    install(&mut engine, BOUGHT);
    engine.segment_put("s", 1, plan(BOUGHT));
    for member in 0..30_000 {
        buy(&mut engine, member, member.into(), NOW);
    }
    while engine.tick(NOW) {}
    assert_eq!(engine.take_transitions().len(), 30_000);
    let later = NOW.plus_ms(3 * DAY);
    let mut calls = 1;
    while engine.tick(later) {
        calls += 1;
    }
    assert!(calls >= 3, "{calls}");
    let left = engine.take_transitions();
    assert_eq!(left.len(), 30_000);
    assert!(left.iter().all(|it| !it.entered && !it.rebuilt));
    assert_eq!(engine.segment_count("s"), Some(0));
}

#[test]
fn memory_is_told() {
    let mut engine = engine(1000);
    install(&mut engine, BOUGHT);
    buy(&mut engine, 1, 1, NOW);
    engine.segment_put("s", 1, plan(BOUGHT));
    engine.drain_transitions();
    let memory = engine.memory();
    assert!(
        memory.people > 0 && memory.attributes > 0 && memory.measures > 0 && memory.derived > 0
    );
    assert!(memory.total() >= memory.people + memory.attributes);
}
