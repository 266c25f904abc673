//! The cases that say what rules mean, and random rules over random people, through blocks and live segments.

use std::sync::Arc;

use actors::model::{IdentNo, MemberNo, Place, Time};
use jiff::tz::TimeZone;

use super::world::position;
use crate::audience::{Change, Engine, OrderTold};
use crate::identity::row::MemberState;
use crate::rule::testkit::{Maker, Person, cases, dictionary};
use crate::rule::{EventNames, Plan, check, evaluate};

/// Tells the engine of a person and of the segments that the person is in.
fn tell(engine: &mut Engine, person: &Person) {
    let member = MemberNo(person.member);
    engine.apply(Change::Member {
        member,
        state: MemberState::Member,
        test: false,
        fragments: &[IdentNo(person.member)],
    });
    let values: Vec<_> = (person.attributes.iter())
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    engine.apply(Change::Attributes {
        member,
        values: &values,
    });
    for (code, value) in &person.tags {
        engine.apply(Change::Tag {
            member,
            code,
            value: Some(value.clone()),
        });
    }
    for (of, (lat, lon)) in &person.places {
        let place = Some(Place {
            lat: *lat,
            lon: *lon,
            accuracy_m: None,
        });
        engine.apply(Change::Place { member, of, place });
    }
    for (number, event) in person.events.iter().enumerate() {
        if event.name == EventNames::ORDERS {
            engine.apply(Change::Order {
                holder: IdentNo(person.member),
                order: IdentNo(number as u32),
                told: Some(OrderTold {
                    time: event.time,
                    facts: &event.properties,
                    brand: actors::model::BrandId(0),
                }),
            });
            continue;
        }
        engine.apply(Change::Event {
            fragment: IdentNo(person.member),
            position: position(number as u64),
            time: event.time,
            name: &event.name,
            properties: Some(&event.properties),
            place: None,
            brand: actors::model::BrandId(0),
        });
    }
}

fn install(engine: &mut Engine, plan: &Plan) {
    for measure in engine.measure_wanted(plan) {
        let series = engine.measure_builder(measure);
        engine.measure_install(series);
    }
}

/// Lists, and segments of which the rule is made up so that just these people are in.
fn groups(engine: &mut Engine, people: &[Person]) {
    let names = dictionary();
    let mut lists: Vec<&String> = names.lists.iter().collect();
    lists.extend(people.iter().flat_map(|person| &person.lists));
    let mut segments: Vec<&String> = names.segments.keys().collect();
    segments.extend(people.iter().flat_map(|person| &person.segments));
    for list in lists {
        let fragments: Vec<IdentNo> = (people.iter())
            .filter(|person| person.lists.contains(list))
            .map(|person| IdentNo(person.member))
            .collect();
        engine.apply(Change::List {
            list,
            fragments: &fragments,
        });
    }
    for id in segments {
        let list = format!("of {id}");
        let fragments: Vec<IdentNo> = (people.iter())
            .filter(|person| person.segments.contains(id))
            .map(|person| IdentNo(person.member))
            .collect();
        engine.apply(Change::List {
            list: &list,
            fragments: &fragments,
        });
        engine.segment_put(id, 1, super::plan(&format!(r#"{{"list":"{list}"}}"#)));
    }
    engine.drain_transitions();
}

#[test]
fn blocks_and_live_segments_mean_what_the_cases_say() {
    let mut complaints = Vec::new();
    for case in cases() {
        let Ok(wanted) = case.expected else { continue };
        let Ok(plan) = case.read().and_then(|rule| check(&rule, &case.names, None)) else {
            // Cases of rules that name themselves are refused with their own id only.
            continue;
        };
        let plan = Arc::new(plan);
        let mut engine = Engine::new(case.person.zone(), case.now, 1);
        let people = std::slice::from_ref(&case.person);
        groups(&mut engine, people);
        for id in case
            .names
            .segments
            .keys()
            .filter(|id| !case.person.segments.contains(*id))
        {
            engine.segment_put(id, 1, super::plan(r#"{"or":[]}"#));
        }
        engine.drain_transitions();
        install(&mut engine, &plan);
        engine.segment_put("live", 1, plan.clone());
        tell(&mut engine, &case.person);
        engine.drain_transitions();
        let member = MemberNo(case.person.member);
        let live = engine.holds("live", member);
        let fresh = engine
            .members(&plan, case.now, None, 9)
            .map(|it| it.contains(&member));
        if live != Some(wanted) || fresh.as_ref().ok() != Some(&wanted) {
            complaints.push(format!("{}: live {live:?}, fresh {fresh:?}", case.name));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn agree(seed: u64, zone: &TimeZone, now: Time, maker: &mut Maker) {
    let mut engine = Engine::new(zone.clone(), now, 1);
    let people: Vec<Person> = (0..60)
        .map(|number| Person {
            member: number,
            ..maker.person(zone, now)
        })
        .collect();
    groups(&mut engine, &people);
    let plans: Vec<(String, Arc<Plan>)> = (0..25)
        .filter_map(|_| {
            let rule = maker.rule(3);
            Some((
                rule.to_json(),
                Arc::new(check(&rule, &dictionary(), None).ok()?),
            ))
        })
        .collect();
    for (number, (_, plan)) in plans.iter().enumerate() {
        install(&mut engine, plan);
        engine.segment_put(&format!("live {number}"), 1, plan.clone());
    }
    engine.drain_transitions();
    people.iter().for_each(|person| tell(&mut engine, person));
    for later in [0, 1, 3_600_000, 86_400_000, 40 * 86_400_000] {
        let now = now.plus_ms(later);
        while engine.tick(now) {}
        engine.drain_transitions();
        for (number, (json, plan)) in plans.iter().enumerate() {
            let expected: Vec<MemberNo> = (people.iter())
                .filter(|person| evaluate(plan, *person, now, zone))
                .map(|person| MemberNo(person.member))
                .collect();
            let fresh = engine.members(plan, now, None, 99).expect("installed");
            assert_eq!(fresh, expected, "seed {seed}, {later} ms later: {json}");
            let live = engine.segment_members(&format!("live {number}"), None, 99);
            assert_eq!(
                live,
                Some(expected),
                "seed {seed}, {later} ms later, live: {json}"
            );
        }
    }
}

#[test]
fn random_rules_over_random_people() {
    for seed in 0..12 {
        let mut maker = Maker::new(seed);
        let (zone, now) = (maker.zone(), maker.instant());
        agree(seed, &zone, now, &mut maker);
    }
}
