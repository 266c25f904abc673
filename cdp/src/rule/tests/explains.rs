//! Explanations: the result agrees with evaluation, and the sentences read well.

use proptest::prelude::*;

use crate::definition::Titles;
use crate::rule::testkit::{Case, Maker, cases, dictionary};
use crate::rule::{Explanation, Labels, Rule, Thing, check, evaluate, explain};

struct Chinese;

impl Labels for Chinese {
    fn titles(&self, thing: Thing<'_>) -> Option<Titles> {
        let zh = match thing {
            Thing::Attribute("city") => "城市",
            Thing::Event("order") => "下单",
            Thing::Tag("level") => "等级",
            _ => return None,
        };
        Some(Titles {
            zh: zh.into(),
            en: "".into(),
        })
    }
}

fn lines(it: &Explanation, out: &mut Vec<String>) {
    let mark = if it.holds { "+" } else { "-" };
    out.push(format!(
        "{mark} {} | {} | {} | {}",
        it.place, it.asked.en, it.found.en, it.asked.zh
    ));
    it.clauses.iter().for_each(|clause| lines(clause, out));
}

fn case(about: &str) -> Case {
    let mut cases = cases().into_iter();
    cases
        .find(|case| case.name.contains(about))
        .expect("there is such a group")
}

#[test]
fn an_explanation_goes_clause_by_clause() {
    let case = case("Conditions on properties: any tree");
    let mut names = case.names.clone();
    names.attributes.insert("city".into(), None);
    let text = r#"city = "上海" and not (count("order" where brand = "A" within 90d) >= 2 or max(@time of "order") < now - 7d) and sequence("order" then "order" lookback 30d)"#;
    let rule = Rule::from_text(text).unwrap();
    let plan = check(&rule, &names, None).unwrap();
    let zone = case.person.zone();
    let found = explain(&plan, &case.person, &Chinese, case.now, &zone);
    let mut out = Vec::new();
    lines(&found, &mut out);
    assert_eq!(
        out,
        [
            "-  | all of these | 2 of 3 hold | 以下条件全部满足",
            "- and[0] | \"city\" is \"上海\" | found nothing | 「城市」等于「上海」",
            "+ and[1] | not this | 0 of 1 hold | 以下条件不满足",
            "- and[1].not | one of these | 0 of 2 hold | 以下条件满足任意一条",
            "- and[1].not.or[0] | number of \"order\" where brand = \"A\" in the last 90 days is at least 2 | found 1 (1 events, first 2026-03-01 10:00:00, last 2026-03-01 10:00:00) | 最近 90 天「下单」（brand = \"A\"）的次数大于等于 2",
            "- and[1].not.or[1] | largest time of \"order\" ever is before 2026-03-03 12:00:00 | found 2026-03-09 10:00:00 (2 events, first 2026-03-01 10:00:00, last 2026-03-09 10:00:00) | 历史上「下单」的时间最大值早于 2026-03-03 12:00:00",
            "+ and[2] | \"order\", then \"order\" in the last 30 days | happened 2026-03-01 10:00:00 → 2026-03-09 10:00:00 | 最近 30 天先后发生 「下单」 → 「下单」",
        ]
    );
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        json["clauses"][1]["clauses"][0]["clauses"][0]["events"]["count"],
        1
    );
    assert_eq!(json["clauses"][2]["until"], "2026-03-30T16:00:00.000Z");
}

proptest! {
    #[test]
    fn an_explanation_agrees_with_evaluation(seed in any::<u64>()) {
        let mut maker = Maker::new(seed);
        let (zone, now) = (maker.zone(), maker.instant());
        let rule = maker.rule(3);
        let plan = check(&rule, &dictionary(), None).unwrap();
        let person = maker.person(&zone, now);
        let found = explain(&plan, &person, &(), now, &zone);
        prop_assert_eq!(found.holds, evaluate(&plan, &person, now, &zone));
        prop_assert_eq!(found.rule, rule.to_text());
        prop_assert!(serde_json::to_string(&found.clauses).is_ok());
    }
}
