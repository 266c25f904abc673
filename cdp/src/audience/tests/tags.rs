//! Calculated tags: first match wins, several values, edits, merges, absence, the clock, and random rules twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::model::{IdentNo, MemberNo, Time};
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::world::{Dice, position};
use super::{Anything, plan};
use crate::audience::{Change, Engine};
use crate::identity::row::MemberState;
use crate::profile::Value;
use crate::tag::{TagDefinition, TagPlan};

const DAY_MS: i64 = 86_400_000;

/// An engine with what it told of one tag.
struct World {
    engine: Engine,
    told: BTreeMap<u32, Json>,
    now: Time,
}

fn tag(body: Json) -> Arc<TagPlan> {
    let definition: TagDefinition = serde_json::from_value(body).unwrap();
    assert_eq!(definition.check(), []);
    Arc::new(TagPlan::new(&definition, &Anything, &TimeZone::UTC).unwrap())
}

/// A tag by the attribute `x`: cases in order.
fn by_x(cases: &[(&str, i64)], rest: Option<&str>) -> Arc<TagPlan> {
    let cases: Vec<Json> = (cases.iter())
        .map(|(value, least)| json!({"value": value, "rule": {"attr": "x", "op": "gte", "value": least}}))
        .collect();
    tag(json!({"value_type": "text",
        "calculation": {"type": "rule", "cases": cases, "otherwise": rest}}))
}

impl World {
    fn new() -> World {
        World {
            engine: Engine::new(TimeZone::UTC, Time(100 * DAY_MS), 2),
            told: BTreeMap::new(),
            now: Time(100 * DAY_MS),
        }
    }

    fn person(&mut self, member: u32, state: MemberState, fragments: &[u32]) {
        let fragments: Vec<IdentNo> = fragments.iter().copied().map(IdentNo).collect();
        self.engine.apply(Change::Member {
            member: MemberNo(member),
            state,
            test: false,
            fragments: &fragments,
        });
    }

    fn member(&mut self, member: u32) {
        self.person(member, MemberState::Member, &[member]);
    }

    fn x(&mut self, member: u32, x: i64) {
        self.engine.apply(Change::Attributes {
            member: MemberNo(member),
            values: &[("x", Value::Int(x))],
        });
    }

    fn event(&mut self, fragment: u32, offset: u64, at: Time) {
        self.engine.apply(Change::Event {
            fragment: IdentNo(fragment),
            position: position(offset),
            time: at,
            name: "buy",
            properties: Some(r#"{"amount": 10}"#),
            place: None,
            brand: actors::model::BrandId(0),
        });
    }

    fn put(&mut self, version: u32, plan: &Arc<TagPlan>) {
        for measure in self.engine.measure_wanted(&plan.plan) {
            let series = self.engine.measure_builder(measure);
            self.engine.measure_install(series);
        }
        self.engine.tag_put("t", version, Some(plan.clone()), false);
    }

    /// Brings all up to date; answers who was told what, in order, with `!` if rebuilt.
    fn news(&mut self) -> Vec<String> {
        while self.engine.tick(self.now) {}
        let told = self.engine.take_retags();
        told.into_iter()
            .map(|it| {
                let value = it.value.as_ref().map_or(Json::Null, |it| it.to_json());
                match value.is_null() {
                    true => self.told.remove(&it.member.0),
                    false => self.told.insert(it.member.0, value.clone()),
                };
                let mark = if it.rebuilt { "!" } else { "" };
                format!(
                    "{}={}{mark}",
                    it.member.0,
                    value.to_string().replace('"', "")
                )
            })
            .collect()
    }
}

#[test]
fn the_first_match_wins_and_the_rest_falls_through() {
    let mut world = World::new();
    for (member, x) in [(0, 5), (1, 15), (2, 25)] {
        world.member(member);
        world.x(member, x);
    }
    world.person(3, MemberState::Visitor, &[3]);
    world.x(3, 99);
    world.put(1, &by_x(&[("gold", 20), ("silver", 10)], None));
    assert_eq!(world.news(), ["1=silver!", "2=gold!"]);
    world.x(1, 30);
    world.x(2, 1);
    world.x(0, 6);
    assert_eq!(world.news(), ["1=gold", "2=null"]);
    assert!(world.news().is_empty());
    // A visitor becomes a member; a member of nobody any more loses it.
    world.person(3, MemberState::Member, &[3]);
    world.person(1, MemberState::Absorbed, &[]);
    assert_eq!(world.news(), ["1=null", "3=gold"]);
}

/// Scores of random buyers, against sorting all of them.
#[test]
fn quantiles_are_those_of_a_sorted_list() {
    let mut dice = Dice(11);
    for round in 0..20u64 {
        let mut world = World::new();
        let groups = 2 + (round % 4) as usize;
        let plan = by_quantiles(groups);
        for measure in world.engine.measure_wanted(&plan.plan) {
            let series = world.engine.measure_builder(measure);
            world.engine.measure_install(series);
        }
        let (mut offset, mut bought) = (0, BTreeMap::new());
        for member in 0..40 {
            world.member(member);
            for _ in 0..dice.roll(4) {
                // Some are too old to count.
                let at = Time(world.now.0 - dice.roll(45) as i64 * DAY_MS);
                offset += 1;
                world.event(member, offset, at);
                if at.0 > world.now.0 - 30 * DAY_MS {
                    let (last, count) = bought.entry(member).or_insert((at.0, 0));
                    (*last, *count) = ((*last).max(at.0), *count + 1);
                }
            }
        }
        world.engine.tag_put("t", 1, Some(plan), true);
        world.news();
        let figures: [Vec<i64>; 3] = [
            bought.values().map(|(last, _)| *last).collect(),
            bought.values().map(|(_, count)| *count).collect(),
            bought.values().map(|(_, count)| *count * 10).collect(),
        ];
        let score = |of: usize, figure: i64| {
            let mut sorted = figures[of].clone();
            sorted.sort_unstable();
            let cuts = (1..groups).map(|k| sorted[(k * sorted.len()).div_ceil(groups) - 1]);
            1 + cuts.filter(|cut| *cut < figure).count()
        };
        let wanted: BTreeMap<u32, Json> = (bought.iter())
            .map(|(member, (last, count))| {
                let (r, f, m) = (score(0, *last), score(1, *count), score(2, *count * 10));
                (*member, json!(format!("{r}{f}{m}")))
            })
            .collect();
        assert_eq!(world.told, wanted, "round {round}");
        let cuts = world.engine.tag_cuts("t").unwrap().clone();
        assert_eq!(cuts.members, bought.len() as u64);
        // Computed again of the same, nothing changes.
        world
            .engine
            .tag_put("t", 1, Some(by_quantiles(groups)), true);
        assert!(world.news().is_empty());
        assert_eq!(world.engine.tag_cuts("t"), Some(&cuts));
    }
}

fn by_quantiles(groups: usize) -> Arc<TagPlan> {
    tag(
        json!({"value_type": "text", "update": "manual", "calculation": {"type": "rfm",
        "rfm": {"events": ["buy"], "amount": "amount", "quantiles": groups, "window_days": 30}}}),
    )
}

#[test]
fn an_edit_tells_differences_only_and_the_old_serves_meanwhile() {
    let mut world = World::new();
    for member in 0..4 {
        world.member(member);
        world.x(member, i64::from(member) * 10);
    }
    world.put(1, &by_x(&[("gold", 20), ("silver", 10)], None));
    world.news();
    // Another order of cases, another name for one: who keeps the value is not told.
    world.put(
        2,
        &by_x(
            &[("platinum", 30), ("gold", 20), ("silver", 5)],
            Some("none"),
        ),
    );
    assert_eq!(world.engine.tag_versions("t"), Some((Some(1), Some(2))));
    assert_eq!(world.news(), ["0=none!", "3=platinum!"]);
    assert_eq!(world.engine.tag_versions("t"), Some((Some(2), None)));
    // What rows say of it afterwards is what was told from here: it is not taken in again.
    world.engine.apply(Change::Tag {
        member: MemberNo(0),
        code: "t",
        value: Some(Value::Text("stale".into())),
    });
    assert!(world.news().is_empty());
    let had = world.engine.tag_remove("t");
    assert_eq!(had, [0, 1, 2, 3].map(MemberNo));
    assert_eq!(world.engine.tag_versions("t"), None);
}

#[test]
fn what_members_hold_at_the_start_is_compared() {
    let mut world = World::new();
    for (member, held) in [(0, "gold"), (1, "silver"), (2, "gold")] {
        world.member(member);
        world.x(member, 25 - 10 * i64::from(member));
        world.engine.apply(Change::Tag {
            member: MemberNo(member),
            code: "t",
            value: Some(Value::Text(held.into())),
        });
    }
    // Member 7 was merged away before the end, and its value was not taken.
    world.person(7, MemberState::Absorbed, &[]);
    world.engine.apply(Change::Tag {
        member: MemberNo(7),
        code: "t",
        value: Some(Value::Text("gold".into())),
    });
    world.put(4, &by_x(&[("gold", 20), ("silver", 10)], None));
    assert_eq!(world.news(), ["2=null!", "7=null!"]);
}

#[test]
fn of_several_values_all_that_hold() {
    let mut world = World::new();
    for (member, x) in [(0, 5), (1, 15), (2, 25)] {
        world.member(member);
        world.x(member, x);
    }
    let case = |value: Json, least: i64| json!({"value": value, "rule": {"attr": "x", "op": "gte", "value": least}});
    let body = |cases: Vec<Json>| json!({"value_type": "multi", "calculation": {"type": "rule", "cases": cases}});
    world.put(
        1,
        &tag(body(vec![
            case(json!(["a"]), 10),
            case(json!(["b", "a"]), 20),
        ])),
    );
    assert_eq!(world.news(), ["1=[a]!", "2=[a,b]!"]);
    world.x(1, 20);
    world.x(2, 0);
    assert_eq!(world.news(), ["1=[a,b]", "2=null"]);
    world.put(
        2,
        &tag(body(vec![case(json!(["a"]), 10), case(json!(["b"]), 20)])),
    );
    assert!(world.news().is_empty());
}

#[test]
fn segments_read_tags_and_tags_read_segments_in_one_go() {
    let mut world = World::new();
    world.member(0);
    world.x(0, 25);
    world
        .engine
        .segment_put("1", 1, plan(r#"{"tag":"t","op":"eq","value":"gold"}"#));
    world.put(1, &by_x(&[("gold", 20)], None));
    let over = tag(
        json!({"value_type": "bool", "calculation": {"type": "rule", "cases":
        [{"value": true, "rule": {"segment": "1"}}], "otherwise": false}}),
    );
    world.engine.tag_put("over", 1, Some(over), false);
    world.news();
    world.engine.take_transitions();
    world.x(0, 1);
    while world.engine.tick(world.now) {}
    let told: Vec<String> = (world.engine.take_retags().into_iter())
        .map(|it| format!("{}={:?}", it.code, it.value.map(|it| it.to_json())))
        .collect();
    assert_eq!(told, ["t=None", "over=Some(Bool(false))"]);
    let left = world.engine.take_transitions();
    assert_eq!((left.len(), left[0].entered), (1, false));
}

#[test]
fn merged_people_add_up_and_come_apart() {
    let mut world = World::new();
    world.member(0);
    world.member(1);
    let twice = tag(
        json!({"value_type": "enum", "calculation": {"type": "rule", "cases": [
        {"value": "often", "rule": {"event": "buy", "op": "gte", "value": 2, "within": "3d"}},
        {"value": "once", "rule": {"event": "buy", "within": "3d"}}]}}),
    );
    world.put(1, &twice);
    assert!(world.news().is_empty());
    for member in 0..2 {
        world.event(member, u64::from(member), Time(99 * DAY_MS));
    }
    assert_eq!(world.news(), ["0=once", "1=once"]);
    world.person(0, MemberState::Member, &[0, 1]);
    world.person(1, MemberState::Absorbed, &[]);
    assert_eq!(world.news(), ["0=often", "1=null"]);
    world.person(0, MemberState::Member, &[0]);
    world.person(5, MemberState::Member, &[1]);
    assert_eq!(world.news(), ["0=once", "5=once"]);
    // The day turns: what was bought on day 99 counts until the end of day 101.
    world.now = Time(102 * DAY_MS - 1);
    assert!(world.news().is_empty());
    world.now = Time(102 * DAY_MS);
    assert_eq!(world.news(), ["0=null", "5=null"]);
}

#[test]
fn on_demand_means_once() {
    let mut world = World::new();
    world.member(0);
    world.member(1);
    world.x(0, 25);
    let gold = by_x(&[("gold", 20)], None);
    world.engine.tag_put("t", 1, None, true);
    assert!(world.news().is_empty());
    world.engine.tag_put("t", 1, Some(gold.clone()), true);
    assert_eq!(world.news(), ["0=gold!"]);
    world.x(0, 1);
    world.x(1, 25);
    assert!(world.news().is_empty());
    world.engine.tag_put("t", 1, Some(gold), true);
    assert_eq!(world.news(), ["0=null", "1=gold"]);
    // Who is nobody any more has no tags.
    world.person(1, MemberState::Absorbed, &[]);
    assert_eq!(world.news(), ["1=null"]);
}

/// Changes of a few members look at these, changes of many at all: both ways end the same.
#[test]
fn looking_at_some_and_looking_at_all_agree() {
    let cases = [("a", 90), ("b", 70), ("c", 40), ("b", 20)];
    let plan = by_x(&cases, Some("z"));
    let mut world = World::new();
    let mut dice = Dice(7);
    let mut xs = vec![0i64; 70_000];
    for member in 0..xs.len() {
        world.member(member as u32);
    }
    world.put(1, &plan);
    world.news();
    for round in 0..6 {
        let many = if round % 2 == 0 { 20 } else { 5_000 };
        for _ in 0..many {
            let member = dice.roll(xs.len() as u64) as usize;
            xs[member] = dice.roll(100) as i64;
            world.x(member as u32, xs[member]);
        }
        world.news();
        for (member, x) in xs.iter().enumerate() {
            let wanted = cases.iter().find(|(_, least)| x >= least);
            // An attribute that was never told satisfies no comparison: the rest.
            let wanted = wanted.map_or("z", |(value, _)| value);
            assert_eq!(
                world.told[&(member as u32)],
                json!(wanted),
                "member {member}"
            );
        }
    }
}

#[test]
fn formulas_compute_and_what_cannot_be_computed_is_absent() {
    let with = |of: &str, formula: Json| {
        tag(json!({"value_type": of, "calculation": {"type": "formula", "formula": formula}}))
    };
    let x = json!({"attr": "x"});
    let count = json!({"event": "buy", "within": "3d"});
    let sum = json!({"event": "buy", "agg": "sum", "field": "amount"});
    // Nothing is known of 0; 1 has x = 7 and bought twice for 10; 2 has x = 0.
    for (of, formula, wanted) in [
        (
            "number",
            json!({"add": [x, 1.5, {"mul": [2, 3]}]}),
            json!([null, 14.5, 7.5]),
        ),
        (
            "number",
            json!({"div": [sum, count]}),
            json!([null, 10, null]),
        ),
        (
            "number",
            json!({"or_else": [{"div": [sum, count]}, -1]}),
            json!([-1, 10, -1]),
        ),
        (
            "number",
            json!({"round": {"div": [x, 3]}, "digits": 2}),
            json!([null, 2.33, 0]),
        ),
        (
            "number",
            json!({"round": {"sub": [0, 2.5]}}),
            json!([-3, -3, -3]),
        ),
        (
            "number",
            json!({"div": [1, 3]}),
            json!(["0.333333333", "0.333333333", "0.333333333"]),
        ),
        (
            "number",
            json!({"max": [count, {"min": [x, 5]}]}),
            json!([null, 5, 0]),
        ),
        (
            "number",
            json!({"mul": [1e20, 1e20]}),
            json!([null, null, null]),
        ),
        (
            "text",
            json!({"if": {"attr": "x", "op": "gte", "value": 5}, "then": "big", "else": "small"}),
            json!(["small", "big", "small"]),
        ),
        (
            "bool",
            json!({"if": {"compare": [count, "gt", x]}, "then": true, "else": {"if":
            {"compare": [x, "gt", count]}, "then": false}}),
            json!([null, false, null]),
        ),
        (
            "bool",
            json!({"if": {"compare": [count, "eq", x]}, "then": true}),
            json!([null, null, true]),
        ),
    ] {
        let mut world = World::new();
        for member in 0..3 {
            world.member(member);
        }
        world.put(1, &with(of, formula.clone()));
        world.news();
        world.x(1, 7);
        world.x(2, 0);
        for offset in 0..2 {
            world.event(1, offset, Time(99 * DAY_MS));
        }
        world.news();
        let seen: Vec<Json> = (0..3)
            .map(|member| world.told.get(&member).cloned().unwrap_or_default())
            .collect();
        let same = |a: &Json, b: &Json| match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-12,
            (Some(a), None) => b.as_str().is_some_and(|b| b == a.to_string()),
            _ => a == b,
        };
        let all = seen.iter().zip(wanted.as_array().unwrap());
        assert!(
            all.into_iter().all(|(a, b)| same(a, b)),
            "{formula}: {seen:?}, not {wanted}"
        );
        // Everybody at once gives the same: nothing is told by an edition that says the same.
        world.put(2, &with(of, formula.clone()));
        assert!(world.news().is_empty(), "{formula}");
    }
}

#[test]
fn a_formula_that_cannot_be_right_is_refused() {
    let names = crate::rule::testkit::dictionary();
    for (of, formula, place) in [
        (
            "number",
            json!({"add": ["a", 1]}),
            "formula.add[0] value_type",
        ),
        ("number", json!({"sub": [1]}), "formula.sub formula_form"),
        ("number", json!("a"), "formula value_type"),
        ("number", json!({"pow": [1, 2]}), "formula.pow unknown_word"),
        (
            "number",
            json!({"attr": "citty"}),
            "formula.attr.attr unknown_attribute",
        ),
        (
            "number",
            json!({"event": "buy", "agg": "first", "field": "x"}),
            "formula.agg unknown_aggregate",
        ),
        (
            "number",
            json!({"event": "buy", "op": "gt"}),
            "formula.op formula_form",
        ),
        (
            "number",
            json!({"round": 1, "digits": 10}),
            "formula.digits formula_form",
        ),
        (
            "text",
            json!({"if": {"compare": [1, "is", 2]}, "then": "a"}),
            "formula.if.compare[1] unknown_operator",
        ),
        (
            "text",
            json!({"if": {"and": []}, "then": "a", "else": 1}),
            "formula.else value_type",
        ),
        ("text", json!({"if": {"and": []}}), "formula formula_form"),
        ("date", json!(1), " value_type"),
        ("number", json!([1]), "formula formula_form"),
        (
            "number",
            json!({"add": [1], "mul": [2]}),
            "formula formula_form",
        ),
    ] {
        let definition: TagDefinition = serde_json::from_value(
            json!({"value_type": of, "calculation": {"type": "formula", "formula": formula}}),
        )
        .unwrap();
        let errors = TagPlan::new(&definition, &names, &TimeZone::UTC).unwrap_err();
        let seen: Vec<String> = (errors.iter())
            .map(|it| format!("{} {}", it.place, it.code))
            .collect();
        assert!(seen.iter().any(|it| it == place), "{formula}: {seen:?}");
    }
}
