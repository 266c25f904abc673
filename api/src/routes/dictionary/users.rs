//! Rules that ask about a name: merging or blocking it would leave them without what they ask for.

use actors::model::Scope;
use actors::registry::{Item, ResourceKind};
use pipelines::dictionary::{ATTRIBUTE, EVENT_NAME, SEGMENT, TAG};
use serde_json::Value;

use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};

/// Users that a refusal names; it says how many there are.
const NAMED_MAX: usize = 20;

/// The event that RFM counts when a tag does not say.
const RFM_EVENT: &str = "Order Completed";

/// Refuses if a rule asks about a name that is to go: merged into `target`, or blocked. Rules of all brands count.
pub async fn refuse(
    shared: &Shared,
    kind: ResourceKind,
    name: &str,
    target: Option<&str>,
) -> Result<(), ApiError> {
    let all = Scope::installation();
    let registry = shared.registry();
    let users: Vec<Item> = match kind == EVENT_NAME {
        false => registry.resource_uses(&all, ATTRIBUTE, name).await?,
        true => {
            let mut items = registry.resource_all(&all, SEGMENT).await?;
            items.extend(registry.resource_all(&all, TAG).await?);
            let asks = |item: &Item| {
                let body: Value = serde_json::from_str(&item.body).unwrap_or_default();
                asks_event(&body, name, target)
            };
            items.retain(asks);
            items
        }
    };
    if users.is_empty() {
        return Ok(());
    }
    let instead = match target {
        Some(target) => format!("let it ask about `{target}` first"),
        None => "change or delete it first".to_owned(),
    };
    let many = users.len();
    let details = users.iter().take(NAMED_MAX).map(|item| {
        let handle = match item.code.is_empty() {
            true => item.id.to_string(),
            false => item.code.clone(),
        };
        let message = format!(
            "{} {handle} (`{}`) asks about `{name}`; {many} in all",
            item.kind, item.name
        );
        let field = match target {
            Some(_) => "alias_of",
            None => "status",
        };
        ErrorDetail::new("in_use", field.to_owned(), message).hint(Some(instead.clone()))
    });
    Err(ApiError::several("in_use", details.collect()))
}

/// Whether a definition asks about an event by this name. Names by prefix follow a merge into another that has it, and
/// mean whatever there is.
fn asks_event(body: &Value, name: &str, target: Option<&str>) -> bool {
    match body {
        Value::Object(fields) => fields.iter().any(|(key, value)| match (&**key, value) {
            ("event", Value::String(event)) => event == name,
            ("event" | "events", Value::Array(events)) => {
                events.iter().any(|event| event.as_str() == Some(name))
            }
            ("event", Value::Object(event)) => {
                let prefix = event.get("prefix").and_then(Value::as_str);
                prefix.is_some_and(|prefix| {
                    name.starts_with(prefix)
                        && target.is_some_and(|target| !target.starts_with(prefix))
                })
            }
            ("rfm", Value::Object(rfm)) if !rfm.contains_key("events") => name == RFM_EVENT,
            _ => asks_event(value, name, target),
        }),
        Value::Array(parts) => parts.iter().any(|part| asks_event(part, name, target)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_that_name_an_event_are_found_wherever_it_stands() {
        let leaf =
            |event: Value| json!({"rule": {"and": [{"not": {"event": event, "within": "7d"}}]}});
        let check = |body: &Value, target: Option<&str>, found: bool| {
            assert_eq!(asks_event(body, "paid", target), found, "{body}");
        };
        check(&leaf(json!("paid")), Some("pay"), true);
        check(&leaf(json!("paid2")), Some("pay"), false);
        check(&leaf(json!(["login", "paid"])), None, true);
        check(&leaf(json!({"prefix": "pa"})), Some("pay"), false);
        check(&leaf(json!({"prefix": "pai"})), Some("pay"), true);
        check(&leaf(json!({"prefix": "pa"})), None, false);
        let sequence =
            json!({"rule": {"sequence": [{"event": "scan"}, {"event": "paid"}], "within": "7d"}});
        check(&sequence, None, true);
        let rfm = |rfm: Value| json!({"calculation": {"type": "rfm", "rfm": rfm}});
        check(&rfm(json!({"events": ["paid"]})), None, true);
        check(&rfm(json!({"frequency": [2]})), None, false);
        assert!(asks_event(&rfm(json!({"frequency": [2]})), RFM_EVENT, None));
        // A property's value is no event.
        let about = json!({"rule": {"attr": "last", "op": "eq", "value": "paid"}});
        check(&about, None, false);
    }
}
