//! A tag's cases as one plan: what the audience evaluates.
//!
//! Cases ask much the same (RFM: the same three figures), so a clause that stands in several of them is one leaf.

use std::collections::HashMap;
use std::sync::Arc;

use actors::model::BrandId;
use jiff::tz::TimeZone;

use super::formula::Formula;
use super::quantile::Quantiles;
use super::{Calculation, TagDefinition, ValueType};
use crate::profile::{Value, coerce};
use crate::rule::{Names, Node, Plan, Rule, RuleError, check};

/// Cases with their rules checked.
#[derive(Debug, Clone)]
pub struct TagPlan {
    /// Nodes and leaves of all cases; its root is of no meaning.
    pub plan: Arc<Plan>,
    /// In this order.
    pub cases: Vec<PlannedCase>,
    /// A member has the values of all cases that hold, as a list; otherwise that of the first.
    pub multi: bool,
    /// The value is computed instead of chosen.
    pub formula: Option<Formula>,
    /// The value is where a member is among others.
    pub quantiles: Option<Quantiles>,
}

/// A value and the rule by which members have it.
#[derive(Debug, Clone)]
pub struct PlannedCase {
    /// The value.
    pub value: Arc<Value>,
    /// The node of [`TagPlan::plan`] that says who.
    pub node: usize,
}

impl TagPlan {
    /// Checks the cases of a definition. Places of errors begin with the case, `cases[2].rule.and[0]`.
    pub fn new(
        definition: &TagDefinition,
        names: &dyn Names,
        zone: &TimeZone,
    ) -> Result<TagPlan, Vec<RuleError>> {
        let mut plan = Plan {
            rule: Rule::Or(Vec::new()),
            nodes: Vec::new(),
            places: Vec::new(),
            leaves: Vec::new(),
            brands: None,
        };
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut cases = Vec::new();
        let mut errors = Vec::new();
        for (at, case) in definition.cases().into_iter().enumerate() {
            let wanted = Some(definition.value_type.attribute_type());
            let value = match coerce(wanted, &case.value.to_string(), zone) {
                Ok(Some(value)) => Arc::new(value),
                _ => {
                    let place = format!("cases[{at}].value");
                    let message = "the value does not fit the tag";
                    errors.push(RuleError::new(place, "value_type", message));
                    continue;
                }
            };
            let part =
                Rule::from_json(&case.rule.to_string()).and_then(|rule| check(&rule, names, None));
            match part {
                Ok(part) => {
                    let node = add(&mut plan, &part, &mut known, &format!("cases[{at}].rule"));
                    cases.push(PlannedCase { value, node });
                }
                Err(wrong) => errors.extend(wrong.into_iter().map(|mut error| {
                    error.place = format!("cases[{at}].rule.{}", error.place);
                    error
                })),
            }
        }
        let mut formula = None;
        if let Calculation::Formula { formula: json } = &definition.calculation {
            let of = (definition.value_type, &definition.values[..]);
            let mut adds =
                |plan: &mut Plan, part: &Plan, place: &str| add(plan, part, &mut known, place);
            match Formula::new(json, of, names, &mut plan, &mut adds) {
                Ok(read) => formula = Some(read),
                Err(wrong) => errors.extend(wrong),
            }
        }
        let mut quantiles = None;
        if let Calculation::Rfm { rfm } = &definition.calculation
            && let Some(groups) = rfm.quantiles
        {
            let mut adds =
                |plan: &mut Plan, part: &Plan, place: &str| add(plan, part, &mut known, place);
            match Quantiles::new(rfm, groups, names, &mut plan, &mut adds) {
                Ok(read) => quantiles = Some(read),
                Err(wrong) => errors.extend(wrong),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(TagPlan {
            plan: Arc::new(plan),
            cases,
            multi: definition.value_type == ValueType::Multi,
            formula,
            quantiles,
        })
    }
}

impl TagPlan {
    /// The same for what somebody knows who sees these brands only: see [`Plan::within`].
    #[must_use]
    pub fn within(&self, brands: &[BrandId]) -> TagPlan {
        TagPlan {
            plan: Arc::new(self.plan.within(brands)),
            ..self.clone()
        }
    }
}

/// Adds the nodes of `part`; answers the number of its root.
fn add(plan: &mut Plan, part: &Plan, known: &mut HashMap<String, usize>, place: &str) -> usize {
    let leaves: Vec<usize> = (part.leaves.iter())
        .map(|leaf| {
            *known.entry(format!("{leaf:?}")).or_insert_with(|| {
                plan.leaves.push(leaf.clone());
                plan.leaves.len() - 1
            })
        })
        .collect();
    let first = plan.nodes.len();
    let moved = |nodes: &[usize]| nodes.iter().map(|node| first + node).collect();
    for (node, at) in part.nodes.iter().zip(&part.places) {
        plan.nodes.push(match node {
            Node::And(nodes) => Node::And(moved(nodes)),
            Node::Or(nodes) => Node::Or(moved(nodes)),
            Node::Not(node) => Node::Not(first + node),
            Node::Leaf(leaf) => Node::Leaf(leaves[*leaf]),
        });
        plan.places.push(format!("{place}.{at}").into());
    }
    first + part.root()
}
