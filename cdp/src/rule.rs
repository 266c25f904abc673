//! The one rule language: segments, tags and journeys say with it who is meant.

pub mod ast;
pub mod behaviour;
pub mod calendar;
mod check;
pub mod condition;
pub mod constant;
mod error;
mod evaluate;
mod json;
pub mod limits;
pub mod measure;
mod names;
pub mod plan;
pub mod scalar;
mod scan;
mod sequence;
#[doc(hidden)]
pub mod testkit;
mod text;
pub mod window;

pub use ast::{Aggregate, EventNames, Op, Path, Rule};
pub use behaviour::{Behaviour, Over};
pub use check::check;
pub use condition::{Fixed, Test, Want};
pub use constant::{Constant, Motion, Point};
pub use error::RuleError;
pub use evaluate::{Facts, evaluate, next_change};
pub use measure::{Extractor, Filter, Hit, Matcher, Measure};
pub use names::{Known, Names};
pub use plan::{Leaf, Near, Node, Plan, Read, Share};
pub use sequence::{Chain, Sequence};
pub use window::{Span, Window};

#[cfg(test)]
mod tests;
