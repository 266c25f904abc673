//! What a marketer of the brand would have made of its stream: attributes, tags, segments.
//!
//! Each sort has a handful of shapes; the n-th of a sort is a shape with numbers of its own, so that a load can have as many
//! as it wants and no two are the same rule.

use std::time::Duration;

use serde_json::{Value, json};

use super::DemoError;
use super::client::{Client, api_key};
use super::place::CITIES;

/// Tags, and segments, of the demo.
pub const DEMO_RULES: usize = 8;

/// Between two looks whether a definition is at work.
const LOOK: Duration = Duration::from_millis(50);
/// Looks before giving up: minutes.
const LOOKS_MAX: u32 = 6_000;

/// Attributes that people tell, with their types. What rules compare is typed; names and phones appear by themselves.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("city", "text"),
    ("province", "text"),
    ("gender", "text"),
    ("children", "int"),
    ("birthday", "date"),
    ("newsletter", "bool"),
];

const CATEGORIES: &[&str] = &["儿童奶", "酸奶", "鲜奶", "常温奶", "奶粉", "奶酪"];

/// A tag: name, code, and values with their rules, the first that holds.
fn tag(number: usize) -> Value {
    let (round, days) = (number / 4, 30 + number);
    let category = CATEGORIES[round % CATEGORIES.len()];
    let (name, code, cases): (String, &str, Vec<(&str, String)>) = match number % 4 {
        0 => (
            format!("活跃度（{days} 天）"),
            "activity",
            vec![
                (
                    "high",
                    format!("count(\"App Launched\" within {days}d) >= 4"),
                ),
                ("low", format!("event(\"App Launched\" within {days}d)")),
            ],
        ),
        1 => (
            format!("购买阶段 {}", round + 1),
            "buyer",
            vec![
                (
                    "loyal",
                    format!("count(\"Order Completed\") >= {}", round + 4),
                ),
                (
                    "repeat",
                    format!("count(\"Order Completed\") >= {}", round % 2 + 2),
                ),
                ("first", "event(\"Order Completed\")".to_owned()),
            ],
        ),
        2 => (
            format!("{category}兴趣"),
            "interest",
            vec![
                (
                    "strong",
                    format!(
                        "count(\"Product Viewed\" where category = \"{category}\" within {days}d) >= 3"
                    ),
                ),
                (
                    "some",
                    format!(
                        "event(\"Product Viewed\" where category = \"{category}\" within {days}d)"
                    ),
                ),
            ],
        ),
        _ => (
            format!("家庭 {}", round + 1),
            "family",
            vec![
                ("children", format!("children >= {}", round % 2 + 1)),
                ("none", "children = 0".to_owned()),
            ],
        ),
    };
    let code = match round {
        0 => code.to_owned(),
        _ => format!("{code}_{}", round + 1),
    };
    let values: Vec<&str> = cases.iter().map(|(value, _)| *value).collect();
    let cases = cases.iter();
    let cases: Vec<Value> = cases
        .map(|(value, rule)| json!({ "value": value, "rule": rule }))
        .collect();
    json!({
        "name": name, "code": code, "value_type": "enum", "values": values, "update": "real_time",
        "calculation": { "type": "rule", "cases": cases },
    })
}

/// A segment: name and rule.
fn segment(number: usize) -> Value {
    let (round, days) = (number / DEMO_RULES, 60 + number);
    let (city, category) = (
        CITIES[round % CITIES.len()].name,
        CATEGORIES[round % CATEGORIES.len()],
    );
    let nth = round + 1;
    let (name, rule) = match number % DEMO_RULES {
        0 => (
            format!("{city}常客 {nth}"),
            format!(
                "city = \"{city}\" and count(\"@order\" where order.total > 50 and order.status != \"cancelled\" within {days}d) >= 2"
            ),
        ),
        1 => (
            format!("{days} 天未到访 {nth}"),
            format!("event(\"App Launched\") and not event(\"App Launched\" within {days}d)"),
        ),
        2 => (
            format!("扫码后 7 天内下单 {nth}"),
            format!("sequence(\"scan\" then \"Order Created\" within 7d lookback {days}d)"),
        ),
        3 => (
            format!("{category}潜客 {nth}"),
            format!(
                "event(\"Product Added\" where category = \"{category}\" within {days}d) \
                 and not event(\"Order Completed\" within {days}d)"
            ),
        ),
        4 => (
            format!("忠诚会员 {nth}"),
            "tags.buyer = \"loyal\" and tags.activity = \"high\"".to_owned() + &or_random(nth),
        ),
        5 => (
            format!("签到达人 {nth}"),
            format!(
                "max(streak of \"Daily Sign-in\" within {days}d) >= {}",
                7 + round % 20
            ),
        ),
        6 => (
            format!("有孩家庭，订阅或女性 {nth}"),
            "children >= 1 and (newsletter = true or gender = \"female\")".to_owned()
                + &or_random(nth),
        ),
        _ => (
            format!("逛过多个商品 {nth}"),
            format!(
                "distinct(sku of \"Product Viewed\" within {days}d) >= {}",
                3 + round % 5
            ),
        ),
    };
    json!({ "name": name, "rule": rule })
}

/// Makes a rule another one without changing much of it.
fn or_random(nth: usize) -> String {
    match nth {
        1 => String::new(),
        _ => format!(" or random(\"demo-{nth}\", 1%)"),
    }
}

/// A segment that the demo made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// Members in it.
    pub members: u64,
}

/// Defines attributes, `tags` tags and `segments` segments, and waits until all of them are at work.
pub async fn define(
    client: &mut Client,
    admin_key: &str,
    tags: usize,
    segments: usize,
) -> Result<Vec<Made>, DemoError> {
    let mut maker = Maker {
        client,
        admin: api_key(admin_key),
        after: String::new(),
    };
    for (name, kind) in ATTRIBUTES {
        maker
            .make("/api/v1/attributes", &json!({ "name": name, "type": kind }))
            .await?;
    }
    for number in 0..tags {
        let made = maker.make("/api/v1/tags", &tag(number)).await?;
        let code = made["code"].as_str().unwrap_or_default();
        maker.at_work(&format!("/api/v1/tags/{code}")).await?;
    }
    let mut all = Vec::new();
    for number in 0..segments {
        let made = maker.make("/api/v1/segments", &segment(number)).await?;
        let id = made["id"].as_u64().unwrap_or_default();
        maker.at_work(&format!("/api/v1/segments/{id}")).await?;
        let body = json!({ "rule": segment(number)["rule"], "sample": 0 });
        let preview = maker.make("/api/v1/segments/preview", &body).await?;
        all.push(Made {
            name: made["name"].as_str().unwrap_or_default().to_owned(),
            id,
            members: preview["count"].as_u64().unwrap_or_default(),
        });
    }
    Ok(all)
}

struct Maker<'a> {
    client: &'a mut Client,
    admin: String,
    /// The last token: what comes next may name what was just defined.
    after: String,
}

impl Maker<'_> {
    async fn make(&mut self, path: &str, body: &Value) -> Result<Value, DemoError> {
        let path = match self.after.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?after={}", self.after),
        };
        let body = body.to_string();
        let sent = self
            .client
            .post_patiently(&path, &self.admin, body.as_bytes());
        let (answer, _) = sent.await?;
        if !answer.is_good() {
            return Err(DemoError::Refused {
                what: format!("{path} {body}"),
                status: answer.status,
                body: answer.text(),
            });
        }
        if let Some(token) = &answer.token {
            self.after.clone_from(token);
        }
        Ok(answer.json())
    }

    /// Waits until what lies at `path` is computed from all history.
    async fn at_work(&mut self, path: &str) -> Result<(), DemoError> {
        for _ in 0..LOOKS_MAX {
            let answer = self.client.get(path, &self.admin).await?;
            if answer.is_good() && answer.json()["building"] == false {
                return Ok(());
            }
            if !answer.is_good() && !answer.asks_patience() {
                return Err(DemoError::Refused {
                    what: path.to_owned(),
                    status: answer.status,
                    body: answer.text(),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(DemoError::Task(format!("{path} does not get ready")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cdp::rule::Rule;

    use super::*;

    #[test]
    fn a_hundred_tags_and_segments_are_a_hundred_rules() {
        let mut rules = BTreeSet::new();
        for number in 0..100 {
            let rule = segment(number)["rule"].as_str().unwrap().to_owned();
            Rule::from_text(&rule).unwrap_or_else(|error| panic!("{rule}: {error:?}"));
            assert!(rules.insert(rule.clone()), "{rule}");
            let tag = tag(number);
            for case in tag["calculation"]["cases"].as_array().unwrap() {
                let rule = case["rule"].as_str().unwrap();
                Rule::from_text(rule).unwrap_or_else(|error| panic!("{rule}: {error:?}"));
            }
            assert!(
                rules.insert(format!("tag {}", tag["code"])),
                "{}",
                tag["code"]
            );
        }
    }
}
