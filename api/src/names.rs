//! Rules that callers send: checked against the dictionary of their brand, refused with every mistake and its place.

use std::sync::Arc;

use actors::model::BrandId;
use actors::registry::Reference;
use cdp::rule::{Plan, RuleError};
use pipelines::dictionary::{self, RuleNames};
use serde_json::Value;

use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};
use crate::http::Caller;

/// A rule that was checked.
pub struct CheckedRule {
    /// Its canonical form.
    pub json: Value,
    /// What it refers to.
    pub uses: Vec<Reference>,
    /// What is evaluated.
    pub plan: Plan,
}

/// What rules owned by a brand may name.
pub async fn names(shared: &Shared, brand: BrandId) -> Result<RuleNames, ApiError> {
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    Ok(RuleNames::load(shared.registry(), schema, brand).await?)
}

/// What rules may name that somebody asks about: all that the caller sees.
pub async fn names_for(shared: &Shared, caller: &Caller) -> Result<Arc<RuleNames>, ApiError> {
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    Ok(shared.names(schema, &caller.scope.brands).await?)
}

/// Checks a rule that stands in `field`. `this`: the segment that it defines.
pub fn check(
    names: &RuleNames,
    field: &str,
    rule: &Value,
    this: Option<&str>,
) -> Result<CheckedRule, ApiError> {
    let (rule, plan) = names
        .compile(rule, this)
        .map_err(|errors| refused(field, errors))?;
    Ok(CheckedRule {
        json: serde_json::from_str(&rule.to_json()).expect("a rule writes JSON"),
        uses: dictionary::references(&plan),
        plan,
    })
}

/// Refuses a rule of a brand that looks into what is not kept by brand: the brand would conclude from facts of others.
pub fn owned(field: &str, owner: BrandId, plan: &Plan) -> Result<(), ApiError> {
    match plan.mixes().filter(|_| owner != BrandId::default()) {
        None => Ok(()),
        Some(mixed) => {
            let message = format!(
                "`{mixed}` may be told by several brands, and what is inside it is not kept by brand"
            );
            let detail = ErrorDetail::new("facts_mixed", field.to_owned(), message);
            let hint = "let the group own it (`\"brand\": 0`), or leave the condition out";
            Err(ApiError::several(
                "rule_invalid",
                vec![detail.hint(Some(hint.to_owned()))],
            ))
        }
    }
}

/// Mistakes of a rule that stands in `field`.
pub fn refused(field: &str, errors: Vec<RuleError>) -> ApiError {
    let details = errors.into_iter().map(|error| {
        let place = match error.place.as_str() {
            "" => field.to_owned(),
            place => format!("{field}.{place}"),
        };
        let advice = error.advice().map(str::to_owned);
        ErrorDetail::new(error.code, place, error.message).hint(advice)
    });
    ApiError::several("rule_invalid", details.collect())
}
