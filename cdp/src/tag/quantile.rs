//! RFM by quantiles: who is where among all who bought, instead of above or below given cuts.
//!
//! Cuts are taken of all members with an order in the window, each time the tag is computed, and stay until it is computed
//! again: so it is computed on a schedule or when somebody asks. Equal figures have equal scores, so groups are of equal
//! size only as far as figures differ.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use actors::model::Time;
use rust_decimal::Decimal;
use serde_json::{Value as Json, json};

use super::rfm::{Rfm, RfmClass};
use crate::profile::Value;
use crate::profile::value::Number;
use crate::rule::{Names, Plan, Rule, RuleError, check};

/// A figure that quantiles are taken of, in an order in which more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure(Decimal);

impl PartialOrd for Figure {
    fn partial_cmp(&self, other: &Figure) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Figure {
    fn cmp(&self, other: &Figure) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Figure {
    fn of(value: &Value) -> Option<Figure> {
        match value {
            Value::Int(number) => Some(Figure(Decimal::from(*number))),
            Value::Number(number) => Some(Figure(number.decimal())),
            Value::Time(time) => Some(Figure(Decimal::from(time.0))),
            _ => None,
        }
    }
}

/// What the scores of one run were cut at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts {
    /// Recency, frequency and amount: the greatest figure of each group but the last, ascending.
    pub figures: [Vec<Figure>; 3],
    /// Members with an order in the window.
    pub members: u64,
    /// When they were taken.
    pub at: Time,
}

impl Cuts {
    /// As people read them: the time of the last order, the number of orders, the sum of amounts.
    pub fn to_json(&self) -> Json {
        let [recency, frequency, monetary] = &self.figures;
        let times: Vec<Json> = (recency.iter())
            .map(|cut| {
                let ms = i64::try_from(cut.0).unwrap_or_default();
                Time(ms).rfc3339().into()
            })
            .collect();
        let numbers = |cuts: &[Figure]| -> Vec<Json> {
            let value = |cut: &Figure| Value::Number(Number::new(cut.0)).to_json();
            cuts.iter().map(value).collect()
        };
        json!({
            "last_order": times,
            "frequency": numbers(frequency),
            "monetary": numbers(monetary),
            "members": self.members,
            "at": self.at.rfc3339(),
        })
    }
}

/// RFM by quantiles as a plan.
#[derive(Debug, Clone)]
pub struct Quantiles {
    /// Leaves of the tag's plan: the time of the last order, the number of orders, the sum of amounts.
    pub leaves: [usize; 3],
    groups: usize,
    classes: Vec<RfmClass>,
    /// Of this run; `None`: not computed yet.
    pub cuts: Option<Cuts>,
}

impl Quantiles {
    /// Adds what it reads to a plan.
    pub fn new(
        rfm: &Rfm,
        groups: usize,
        names: &dyn Names,
        plan: &mut Plan,
        add: &mut dyn FnMut(&mut Plan, &Plan, &str) -> usize,
    ) -> Result<Quantiles, Vec<RuleError>> {
        let mut leaves = [0; 3];
        for (leaf, rule) in leaves.iter_mut().zip(rfm.figures()) {
            let part = Rule::from_json(&rule.to_string()).and_then(|it| check(&it, names, None))?;
            let root = add(plan, &part, "rfm");
            if let Some(crate::rule::Node::Leaf(number)) = plan.nodes.get(root) {
                *leaf = *number;
            }
        }
        Ok(Quantiles {
            leaves,
            groups,
            classes: rfm.classes.clone(),
            cuts: None,
        })
    }

    /// Takes cuts of what was counted: how many members have which figure, for each of the three.
    #[must_use]
    pub fn cut(&self, counted: [BTreeMap<Figure, u64>; 3], at: Time) -> Quantiles {
        let members = counted[1].values().sum();
        Quantiles {
            cuts: Some(Cuts {
                figures: counted.map(|counted| cuts(&counted, self.groups)),
                members,
                at,
            }),
            ..self.clone()
        }
    }

    /// A member's value. `figure`: what it has at a leaf.
    pub fn value(&self, figure: &mut dyn FnMut(usize) -> Option<Value>) -> Option<Value> {
        let cuts = self.cuts.as_ref()?;
        let mut scores = [0; 3];
        for ((score, leaf), cuts) in scores.iter_mut().zip(self.leaves).zip(&cuts.figures) {
            let figure = Figure::of(&figure(leaf)?)?;
            *score = 1 + cuts.partition_point(|cut| *cut < figure);
        }
        let [r, f, m] = scores;
        if self.classes.is_empty() {
            return Some(Value::Text(format!("{r}{f}{m}").into()));
        }
        let inside = |bounds: Option<(usize, usize)>, score: usize| {
            bounds.is_none_or(|(from, to)| (from..=to).contains(&score))
        };
        let class = self.classes.iter().find(|class| {
            inside(class.recency, r) && inside(class.frequency, f) && inside(class.monetary, m)
        })?;
        Some(Value::Text(class.value.as_str().into()))
    }
}

/// Adds a member's figure to what is counted.
pub fn count(counted: &mut BTreeMap<Figure, u64>, value: &Value, members: u64) {
    if let Some(figure) = Figure::of(value) {
        *counted.entry(figure).or_default() += members;
    }
}

/// The figure at rank ⌈k·n/groups⌉ of n, for each k below `groups`; the same figure once.
fn cuts(counted: &BTreeMap<Figure, u64>, groups: usize) -> Vec<Figure> {
    let all: u64 = counted.values().sum();
    let mut cuts = Vec::with_capacity(groups - 1);
    let (mut seen, mut k) = (0, 1);
    for (figure, members) in counted {
        seen += members;
        while k < groups && seen >= (all * k as u64).div_ceil(groups as u64) {
            cuts.push(*figure);
            k += 1;
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(figures: &[i64]) -> BTreeMap<Figure, u64> {
        let mut counted = BTreeMap::new();
        for figure in figures {
            count(&mut counted, &Value::Int(*figure), 1);
        }
        counted
    }

    /// Cuts and what falls into each group, by sorting all figures and looking.
    fn check(figures: &[i64], groups: usize) -> Vec<usize> {
        let mut sorted = figures.to_vec();
        sorted.sort_unstable();
        let naive: Vec<Figure> = (1..groups)
            .map(|k| sorted[(k * sorted.len()).div_ceil(groups) - 1])
            .map(|cut| Figure(cut.into()))
            .collect();
        let found = cuts(&counted(figures), groups);
        assert_eq!(found, naive, "{figures:?}");
        let mut sizes = vec![0; groups];
        for figure in figures {
            sizes[found.partition_point(|cut| *cut < Figure((*figure).into()))] += 1;
        }
        sizes
    }

    #[test]
    fn groups_are_equal_and_equal_figures_stay_together() {
        assert_eq!(check(&[5, 1, 4, 2, 3, 7, 6, 8, 10, 9], 5), [2, 2, 2, 2, 2]);
        assert_eq!(check(&[1, 2, 3, 4, 5, 6, 7], 3), [3, 2, 2]);
        assert_eq!(check(&[1, 1, 1, 1, 9], 5), [4, 0, 0, 0, 1]);
        assert_eq!(check(&[3], 4), [1, 0, 0, 0]);
        // Numbers that look random, against sorting.
        let mut seed = 7u64;
        for groups in 2..=5 {
            for size in 1..60 {
                let figures: Vec<i64> = (0..size)
                    .map(|_| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (seed >> 33) as i64 % 12
                    })
                    .collect();
                check(&figures, groups);
            }
        }
    }
}
