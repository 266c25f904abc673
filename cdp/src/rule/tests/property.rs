//! Random rules over random people: the plan says what the oracle says, at every instant, and changes only when announced.

use actors::model::Time;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::naive::World;
use crate::rule::testkit::{Maker, Person, dictionary};
use crate::rule::{Extractor, Motion, Plan, Rule, check, evaluate, next_change};

const HOUR_MS: i64 = 3_600_000;

fn plan(rule: &Rule) -> Plan {
    check(rule, &dictionary(), None).unwrap_or_else(|errors| {
        panic!("{}\n{}\n{errors:#?}", rule.to_json(), rule.to_text());
    })
}

/// The oracle's answer.
fn oracle(rule: &Rule, person: &Person, now: Time, zone: &TimeZone) -> bool {
    let names = dictionary();
    let zone = zone.clone();
    let world = World {
        person,
        names: &names,
        now,
        zone,
    };
    world.holds(rule)
}

/// Instants at which something could happen: near now, at events, at midnights and hours.
fn instants(person: &Person, now: Time) -> Vec<Time> {
    let mut instants = vec![now.plus_ms(1), now.plus_ms(-1)];
    for hours in [
        1,
        2,
        5,
        11,
        13,
        24,
        25,
        30,
        24 * 7,
        24 * 13,
        24 * 31,
        24 * 400,
    ] {
        let at = now.plus_ms(hours * HOUR_MS);
        instants.extend([at, at.plus_ms(-1), at.plus_ms(1)]);
        // The next midnight of a zone is a full hour, or a half one, of the time line.
        let hour = Time(at.0 - at.0.rem_euclid(HOUR_MS));
        instants.extend([hour, hour.plus_ms(-1)]);
    }
    for event in &person.events {
        for later in [0, 24 * HOUR_MS, 7 * 24 * HOUR_MS] {
            let at = event.time.plus_ms(later);
            instants.extend([at, at.plus_ms(1), at.plus_ms(-1)]);
        }
    }
    instants
}

proptest! {
    #[test]
    fn a_plan_means_what_the_oracle_says(seed in any::<u64>()) {
        let mut maker = Maker::new(seed);
        let zone = maker.zone();
        let now = maker.instant();
        let rule = maker.rule(3);
        let plan = plan(&rule);
        for _ in 0..4 {
            let person = maker.person(&zone, now);
            let mut nows = instants(&person, now);
            nows.truncate(24);
            nows.push(now);
            for at in nows {
                let (found, wanted) =
                    (evaluate(&plan, &person, at, &zone), oracle(&rule, &person, at, &zone));
                prop_assert_eq!(found, wanted, "{} at {}\n{:#?}", rule.to_text(), at.rfc3339(), person);
            }
        }
    }

    #[test]
    fn nothing_changes_before_it_is_announced(seed in any::<u64>()) {
        let mut maker = Maker::new(seed);
        let zone = maker.zone();
        let now = maker.instant();
        let rule = maker.rule(1);
        let plan = plan(&rule);
        for _ in 0..4 {
            let person = maker.person(&zone, now);
            let present = evaluate(&plan, &person, now, &zone);
            let change = next_change(&plan, &person, now, &zone);
            if let Some(change) = change {
                prop_assert!(change > now);
            }
            let mut nows = instants(&person, now);
            nows.extend(change.map(|at| at.plus_ms(-1)));
            for at in nows {
                if at > now && change.is_none_or(|change| at < change) {
                    let then = evaluate(&plan, &person, at, &zone);
                    prop_assert_eq!(
                        present, then, "{} from {} to {}, announced {:?}\n{:#?}",
                        rule.to_text(), now.rfc3339(), at.rfc3339(), change.map(Time::rfc3339), person
                    );
                }
            }
        }
    }

    #[test]
    fn constants_and_days_step_only_when_announced(seed in any::<u64>()) {
        let mut maker = Maker::new(seed);
        let zone = maker.zone();
        let now = maker.instant();
        let plan = plan(&maker.rule(1));
        let nobody = Person::default();
        let step = plan.next_change(now, &zone);
        for at in instants(&nobody, now) {
            if at <= now || step.is_some_and(|step| at >= step) {
                continue;
            }
            for leaf in plan.leaves.iter().filter(|it| it.motion() == Motion::Steps) {
                if let crate::rule::Leaf::Attr { test, .. } = leaf {
                    for constant in &test.constants {
                        prop_assert_eq!(constant.at(now, &zone), constant.at(at, &zone));
                    }
                }
                if let crate::rule::Leaf::Behaviour(it) = leaf {
                    prop_assert_eq!(it.window.at(now, &zone).from, it.window.at(at, &zone).from);
                }
            }
        }
    }

    #[test]
    fn both_forms_read_back(seed in any::<u64>()) {
        let rule = Maker::new(seed).rule(4);
        let (json, text) = (rule.to_json(), rule.to_text());
        prop_assert_eq!(&Rule::from_json(&json).unwrap(), &rule, "{}", json);
        prop_assert_eq!(&Rule::from_text(&text).unwrap_or_else(|e| panic!("{text}\n{e:?}")), &rule, "{}", text);
    }

    #[test]
    fn equal_keys_are_equal_measures(seed in any::<u64>()) {
        let mut maker = Maker::new(seed);
        let (zone, now) = (maker.zone(), maker.instant());
        let measures: Vec<_> = (0..6).flat_map(|_| plan(&maker.rule(2)).measures()).collect();
        let person = maker.person(&zone, now);
        let hits = |measure: &std::sync::Arc<crate::rule::Measure>| -> Vec<_> {
            let extractor = Extractor::new(measure.clone(), &zone);
            person.events.iter().map(|it| extractor.of(&it.name, it.time, Some(&it.properties))).collect()
        };
        for a in &measures {
            for b in measures.iter().filter(|b| b.key() == a.key()) {
                prop_assert_eq!(hits(a), hits(b));
            }
        }
    }
}
