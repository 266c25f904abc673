mod cases;
mod differential;
mod questions;
mod tags;
mod world;

use std::sync::Arc;

use crate::rule::{Known, Names, Plan, Rule, check};

/// Everything is known, of any type.
pub(super) struct Anything;

impl Names for Anything {
    fn attribute(&self, _: &str) -> Known {
        Known::Seen
    }
    fn tag(&self, _: &str) -> Known {
        Known::Seen
    }
    fn segment(&self, _: &str) -> Option<Vec<Box<str>>> {
        Some(Vec::new())
    }
    fn list(&self, _: &str) -> bool {
        true
    }
    fn place(&self, _: &str) -> bool {
        true
    }
    fn attribute_names(&self) -> Vec<&str> {
        Vec::new()
    }
    fn tag_codes(&self) -> Vec<&str> {
        Vec::new()
    }
    fn place_names(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The plan of a rule.
pub(super) fn plan(json: &str) -> Arc<Plan> {
    let rule = Rule::from_json(json).unwrap_or_else(|errors| panic!("{json}: {errors:?}"));
    let plan = check(&rule, &Anything, None).unwrap_or_else(|errors| panic!("{json}: {errors:?}"));
    Arc::new(plan)
}
