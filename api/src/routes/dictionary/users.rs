//! Rules that ask about a name: merging or blocking it would leave them without what they ask for.

use std::sync::Arc;

use actors::model::Scope;
use actors::registry::{Item, ResourceKind};
use cdp::rule::{EventNames, Measure};
use cdp::tag::{TagDefinition, TagPlan};
use pipelines::dictionary::{ATTRIBUTE, EVENT_NAME, RuleNames, SEGMENT, TAG};
use serde_json::Value;

use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};

/// Users that a refusal names; it says how many there are.
const NAMED_MAX: usize = 20;

/// A name that is to go: merged into another, or blocked.
pub struct Going<'a> {
    /// What goes.
    pub what: What<'a>,
    /// The name that it is merged into; `None`: it is blocked.
    pub target: Option<&'a str>,
}

/// What has a name.
pub enum What<'a> {
    /// An event or an attribute.
    Name(&'a str),
    /// A property.
    Property {
        /// Its name.
        name: &'a str,
        /// The event that has it, and that which it is recorded as.
        of: Vec<&'a str>,
    },
}

/// Refuses if a rule asks about one of these names, saying which rules. Rules of all brands count.
pub async fn refuse(
    shared: &Shared,
    kind: ResourceKind,
    going: &[Going<'_>],
) -> Result<(), ApiError> {
    let mut details = Vec::new();
    let rules = match going.is_empty() || kind != EVENT_NAME {
        true => Vec::new(),
        false => rules(shared).await?,
    };
    for going in going {
        let found = match (&going.what, kind == EVENT_NAME) {
            (What::Name(name), false) => {
                let registry = shared.registry();
                let all = Scope::installation();
                registry.resource_uses(&all, ATTRIBUTE, name).await?
            }
            _ => {
                let asking = rules
                    .iter()
                    .filter(|(_, measures)| measures.iter().any(|it| going.concerns(it)));
                asking.map(|(item, _)| item.clone()).collect()
            }
        };
        going.refused(&found, &mut details);
    }
    match details.is_empty() {
        true => Ok(()),
        false => Err(ApiError::several("in_use", details)),
    }
}

/// Segments and tags with what they ask about events. One that does not read any more asks for nothing.
async fn rules(shared: &Shared) -> Result<Vec<(Item, Vec<Arc<Measure>>)>, ApiError> {
    let all = Scope::installation();
    let registry = shared.registry();
    let segments = registry.resource_all(&all, SEGMENT).await?;
    let tags = registry.resource_all(&all, TAG).await?;
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    let names = RuleNames::stored(schema, &tags, &segments);
    let zone = shared.platform().zone();
    let segments = segments.into_iter().map(|item| {
        let body: Value = serde_json::from_str(&item.body).unwrap_or_default();
        let plan = names.compile(&body["rule"], None).map(|(_, plan)| plan);
        let measures = plan.map(|plan| plan.measures()).unwrap_or_default();
        (item, measures)
    });
    let tags = tags.into_iter().map(|item| {
        let body = serde_json::from_str::<TagDefinition>(&item.body).ok();
        let plan = body.and_then(|body| TagPlan::new(&body, &names, zone).ok());
        let measures = plan.map(|plan| plan.plan.measures()).unwrap_or_default();
        (item, measures)
    });
    Ok(segments.chain(tags).collect())
}

impl Going<'_> {
    /// Whether a measure finds less when the name is gone. Names by prefix follow a merge into another that has it, and mean
    /// whatever there is.
    fn concerns(&self, measure: &Measure) -> bool {
        match &self.what {
            What::Property { name, of } => {
                of.iter().any(|event| measure.is_about(event))
                    && measure.properties().contains(name)
            }
            What::Name(name) => {
                let stays = match measure.names {
                    EventNames::Names(_) | EventNames::Orders => false,
                    EventNames::Prefix(_) => self.target.is_none_or(|it| measure.is_about(it)),
                };
                measure.is_about(name) && !stays
            }
        }
    }

    fn refused(&self, users: &[Item], details: &mut Vec<ErrorDetail>) {
        let (field, name) = match &self.what {
            What::Name(name) => (String::new(), format!("`{name}`")),
            What::Property { name, of } => (
                format!("properties.{name}."),
                format!("property `{name}` of `{}`", of.join("`, `")),
            ),
        };
        let field = match self.target {
            Some(_) => format!("{field}alias_of"),
            None => format!("{field}status"),
        };
        let instead = match self.target {
            Some(target) => format!("let it ask about `{target}` first"),
            None => "change or delete it first".to_owned(),
        };
        let many = users.len();
        details.extend(users.iter().take(NAMED_MAX).map(|item| {
            let handle = match item.code.is_empty() {
                true => item.id.to_string(),
                false => item.code.clone(),
            };
            let message = format!(
                "{} {handle} (`{}`) asks about {name}; {many} in all",
                item.kind, item.name
            );
            ErrorDetail::new("in_use", field.clone(), message).hint(Some(instead.clone()))
        }));
    }
}

#[cfg(test)]
mod tests {
    use cdp::definition::AttributeSchema;
    use serde_json::json;

    use super::*;

    fn measures(rule: &Value) -> Vec<Arc<Measure>> {
        let names = RuleNames::stored(Arc::new(AttributeSchema::default()), &[], &[]);
        names.compile(rule, None).unwrap().1.measures()
    }

    fn check(rule: &Value, what: What<'_>, target: Option<&str>, found: bool) {
        let going = Going { what, target };
        let asks = measures(rule).iter().any(|it| going.concerns(it));
        assert_eq!(asks, found, "{rule}");
    }

    #[test]
    fn rules_that_name_an_event_are_found_wherever_it_stands() {
        let leaf = |event: Value| json!({"and": [{"not": {"event": event, "within": "7d"}}]});
        let name = |rule: &Value, target, found| check(rule, What::Name("paid"), target, found);
        name(&leaf(json!("paid")), Some("pay"), true);
        name(&leaf(json!("paid2")), Some("pay"), false);
        name(&leaf(json!(["login", "paid"])), None, true);
        name(&leaf(json!({"prefix": "pa"})), Some("pay"), false);
        name(&leaf(json!({"prefix": "pai"})), Some("pay"), true);
        name(&leaf(json!({"prefix": "pa"})), None, false);
        let sequence =
            json!({"sequence": [{"event": "scan"}, {"event": "paid"}], "lookback": "30d"});
        name(&sequence, None, true);
        // An attribute's value is no event.
        name(
            &json!({"attr": "last", "op": "eq", "value": "paid"}),
            None,
            false,
        );
    }

    #[test]
    fn rules_that_look_at_a_property_are_found() {
        let rule = json!({"or": [
            {"event": "paid", "where": [{"attr": "shop.city", "op": "eq", "value": "上海"},
                {"some": "items", "match": {"attr": "sku", "op": "eq", "value": "S1"}},
                {"attr": "@day", "op": "gte", "value": "2026-01-01"}],
                "agg": "sum", "field": "amount", "op": "gte", "value": 1},
            {"sequence": [{"event": "scan", "where": [{"attr": "code", "op": "exists"}]}, {"event": {"prefix": "pa"}}],
                "lookback": "30d"}]});
        let property = |name, of: &[&str], found| {
            let of = of.to_vec();
            check(&rule, What::Property { name, of }, None, found);
        };
        property("shop", &["paid"], true);
        property("items", &["paid"], true);
        property("amount", &["paid"], true);
        property("amount", &["buy", "paid"], true);
        property("code", &["scan"], true);
        property("city", &["paid"], false);
        property("sku", &["paid"], false);
        property("amount", &["scan"], false);
        property("code", &["paid"], false);
        property("@day", &["paid"], false);
    }
}
