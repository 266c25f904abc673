//! The cases of `cases/*.json`, through the plan and through the oracle.

use super::naive::World;
use crate::rule::testkit::{Case, cases};
use crate::rule::{Plan, Rule, RuleError, check, evaluate};

fn compile(case: &Case) -> Result<(Rule, Plan), Vec<RuleError>> {
    let rule = case.read()?;
    let plan = check(&rule, &case.names, Some("this"))?;
    Ok((rule, plan))
}

#[test]
fn rules_mean_what_the_cases_say() {
    let mut complaints = Vec::new();
    let all = cases();
    assert!(all.len() > 300, "{} cases", all.len());
    for case in &all {
        let name = &case.name;
        match (compile(case), &case.expected) {
            (Err(errors), Err(wanted)) => {
                let mut found: Vec<String> = (errors.iter())
                    .map(|error| format!("{} at {}", error.code, error.place))
                    .collect();
                let mut wanted = wanted.clone();
                found.sort();
                wanted.sort();
                if found != wanted {
                    complaints.push(format!(
                        "{name}\n  refused with {found:?}\n  not {wanted:?}"
                    ));
                }
            }
            (Err(errors), Ok(_)) => complaints.push(format!("{name}\n  refused: {errors:?}")),
            (Ok(_), Err(wanted)) => complaints.push(format!("{name}\n  not refused: {wanted:?}")),
            (Ok((rule, plan)), Ok(wanted)) => {
                let zone = case.person.zone();
                let found = evaluate(&plan, &case.person, case.now, &zone);
                let world = World {
                    person: &case.person,
                    names: &case.names,
                    now: case.now,
                    zone,
                };
                let naive = world.holds(&rule);
                if (found, naive) != (*wanted, *wanted) {
                    complaints.push(format!("{name}\n  plan {found}, oracle {naive}"));
                }
                assert_eq!(Rule::from_json(&rule.to_json()).unwrap(), rule, "{name}");
                assert_eq!(Rule::from_text(&rule.to_text()).unwrap(), rule, "{name}");
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
