//! RFM: how lately, how often and for how much somebody bought, cut into scores, as rules.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value as Json, json};
use utoipa::ToSchema;

use super::Case;
use crate::definition::DefinitionError;

/// Cuts per dimension: five scores, 125 classes.
const CUTS_MAX: usize = 4;

/// Cuts and classes. Members without an order in the window have no value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rfm {
    /// Names of the events that are orders.
    #[serde(default = "events")]
    pub events: Vec<String>,
    /// The property that holds the amount.
    #[serde(default = "amount")]
    pub amount: String,
    /// Orders of the last so many days count.
    #[serde(default = "window_days")]
    pub window_days: u32,
    /// In place of the three lists below: as many groups, of equal size among all who bought, by the time of the last order,
    /// the number of orders and the sum of amounts. Cuts are taken whenever the tag is computed: on a schedule or when
    /// somebody asks. Equal figures have equal scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 2, maximum = 5)]
    pub quantiles: Option<usize>,
    /// Days since the last order, ascending: bought within the first gives the highest score.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recency_days: Vec<u32>,
    /// Numbers of orders, ascending: each one reached gives a score more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frequency: Vec<u32>,
    /// Sums of amounts, ascending: each one reached gives a score more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<f64>)]
    pub monetary: Vec<Number>,
    /// Names for scores, the first that fits; without them the value is the three scores, e.g. `543`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<RfmClass>,
}

/// A name for some scores. Bounds are included; left out: any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RfmClass {
    /// The tag's value.
    #[schema(example = "重要价值客户")]
    pub value: String,
    /// Least and greatest recency score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recency: Option<(usize, usize)>,
    /// Least and greatest frequency score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<(usize, usize)>,
    /// Least and greatest amount score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monetary: Option<(usize, usize)>,
}

fn events() -> Vec<String> {
    vec!["Order Completed".to_owned()]
}

fn amount() -> String {
    "total".to_owned()
}

fn window_days() -> u32 {
    365
}

impl Rfm {
    pub(super) fn check(&self, place: &str, errors: &mut Vec<DefinitionError>) {
        let mut wrong = |field: &str, message: &str| {
            errors.push(DefinitionError::new(
                format!("{place}.{field}"),
                "rfm_form",
                message,
            ));
        };
        let amounts: Vec<f64> = self.monetary.iter().filter_map(Number::as_f64).collect();
        let recency: Vec<f64> = self.recency_days.iter().map(|it| f64::from(*it)).collect();
        let frequency: Vec<f64> = self.frequency.iter().map(|it| f64::from(*it)).collect();
        for (field, cuts) in [
            ("recency_days", &recency),
            ("frequency", &frequency),
            ("monetary", &amounts),
        ] {
            if let Some(groups) = self.quantiles {
                if !cuts.is_empty() {
                    wrong(field, "leave it out: `quantiles` takes the cuts");
                }
                if !(2..=CUTS_MAX + 1).contains(&groups) && field == "frequency" {
                    wrong("quantiles", "two to five groups");
                }
                continue;
            }
            let rises = cuts.windows(2).all(|pair| pair[0] < pair[1]);
            let positive = cuts.iter().all(|cut| *cut > 0.0);
            if cuts.is_empty() || cuts.len() > CUTS_MAX || !rises || !positive {
                wrong(field, "write one to four rising numbers above 0");
            }
        }
        if self.events.is_empty() || self.events.iter().any(|name| name.trim().is_empty()) {
            wrong("events", "write the names of the events that are orders");
        }
        if self.amount.trim().is_empty() {
            wrong("amount", "write the property that holds the amount");
        }
        if self.window_days == 0 || self.recency_days.iter().any(|day| *day > self.window_days) {
            wrong(
                "window_days",
                "at least 1, and not below any of recency_days",
            );
        }
    }

    /// What quantiles are taken of, of members with an order in the window: the last order, orders, amounts.
    pub(super) fn figures(&self) -> [Json; 3] {
        let window = format!("{}d", self.window_days);
        let events = &self.events;
        [
            json!({"event": events, "agg": "max", "field": "@time", "op": "gte", "value": "1970-01-01T00:00:00Z", "within": window}),
            json!({"event": events, "op": "gte", "value": 1, "within": window}),
            json!({"event": events, "agg": "sum", "field": self.amount, "op": "gte", "value": 0, "within": window}),
        ]
    }

    /// A case per class, or per combination of scores. None for quantiles: values depend on where others are.
    pub(super) fn cases(&self) -> Vec<Case> {
        if self.quantiles.is_some() {
            return Vec::new();
        }
        let [rs, fs, ms] = [
            self.recency_days.len() + 1,
            self.frequency.len() + 1,
            self.monetary.len() + 1,
        ];
        if !self.classes.is_empty() {
            let all = |bounds: Option<(usize, usize)>, most: usize| {
                bounds.map_or((1, most), |(from, to)| (from, to.min(most)))
            };
            let cases = self.classes.iter().map(|class| {
                let bounds = [
                    all(class.recency, rs),
                    all(class.frequency, fs),
                    all(class.monetary, ms),
                ];
                Case {
                    value: class.value.clone().into(),
                    rule: self.rule(bounds),
                }
            });
            return cases.collect();
        }
        let mut cases = Vec::with_capacity(rs * fs * ms);
        for r in (1..=rs).rev() {
            for f in (1..=fs).rev() {
                for m in (1..=ms).rev() {
                    cases.push(Case {
                        value: format!("{r}{f}{m}").into(),
                        rule: self.rule([(r, r), (f, f), (m, m)]),
                    });
                }
            }
        }
        cases
    }

    /// Members whose scores lie within bounds.
    fn rule(&self, [recency, frequency, monetary]: [(usize, usize); 3]) -> Json {
        let mut all = vec![self.bought(self.window_days)];
        // Recency score s of n cuts: bought within cut n + 1 - s, and not within the one before.
        let cuts = self.recency_days.len();
        if recency.0 > 1 {
            all.push(self.bought(self.recency_days[cuts + 1 - recency.0]));
        }
        if recency.1 <= cuts {
            all.push(json!({"not": self.bought(self.recency_days[cuts - recency.1])}));
        }
        let counts: Vec<Json> = self.frequency.iter().map(|cut| (*cut).into()).collect();
        self.reached("count", &counts, frequency, &mut all);
        let sums: Vec<Json> = self
            .monetary
            .iter()
            .map(|cut| Json::Number(cut.clone()))
            .collect();
        self.reached("sum", &sums, monetary, &mut all);
        json!({"and": all})
    }

    fn bought(&self, days: u32) -> Json {
        json!({"event": self.events, "op": "gte", "value": 1, "within": format!("{days}d")})
    }

    /// Score s: at least cut s - 1, and less than cut s.
    fn reached(&self, agg: &str, cuts: &[Json], bounds: (usize, usize), all: &mut Vec<Json>) {
        let mut ask = |op: &str, cut: &Json| {
            let mut leaf = json!({
                "event": self.events,
                "agg": agg,
                "op": op,
                "value": cut,
                "within": format!("{}d", self.window_days),
            });
            if agg != "count" {
                leaf["field"] = self.amount.clone().into();
            }
            all.push(leaf);
        };
        if bounds.0 > 1 {
            ask("gte", &cuts[bounds.0 - 2]);
        }
        if bounds.1 <= cuts.len() {
            ask("lt", &cuts[bounds.1 - 1]);
        }
    }
}
