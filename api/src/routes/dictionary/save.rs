//! Writing what people say of a name: checked together with all other names, kept, and published with what follows.

use actors::model::BrandId;
use actors::registry::{Followed, Item, NewItem, RegistryError, ResourceKind, Word};
use axum::http::HeaderMap;
use cdp::definition::DefinitionKind;
use cdp::dictionary::{Naming, NamingIssue, Status, compile};
use pipelines::dictionary::{ATTRIBUTE_NAME, EVENT_NAME};
use serde_json::{Map, Value};

use super::answer::NamingAnswer;
use super::users::{self, Going, What};
use super::{AllSaid, Said, said, understood};
use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};
use crate::http::input::if_match;
use crate::http::{Caller, Written};
use crate::resource::author;

/// What to do with what is said of a name.
pub enum Edit {
    /// This it is from now on.
    Put(Value),
    /// These fields change; `null` takes one out.
    Patch(Value),
}

/// Saves what is said of a name.
pub async fn save(
    shared: &Shared,
    caller: &Caller,
    kind: ResourceKind,
    name: &str,
    headers: &HeaderMap,
    edit: Edit,
) -> Result<Written<NamingAnswer>, ApiError> {
    let events = said(shared, EVENT_NAME).await?;
    let attributes = said(shared, ATTRIBUTE_NAME).await?;
    let known = match kind == EVENT_NAME {
        true => events.get(name),
        false => attributes.get(name),
    };
    let mut fields = match edit {
        Edit::Put(Value::Object(fields)) => fields,
        Edit::Patch(Value::Object(change)) => {
            let mut present = match known {
                None => Value::Object(Map::new()),
                Some(said) => serde_json::to_value(NamingAnswer::of(said).said)
                    .expect("what is said is plain JSON"),
            };
            merge(&mut present, Value::Object(change));
            match present {
                Value::Object(fields) => fields,
                _ => Map::new(),
            }
        }
        Edit::Put(_) | Edit::Patch(_) => {
            return Err(ApiError::new("body_invalid", "expected an object"));
        }
    };
    let base = version(headers, &mut fields)?;
    // Version 0 is that of a name that nobody has said anything of.
    let present = known.map_or(0, |said| said.item.version);
    if base.is_some_and(|base| base != present) {
        let message = format!("it has changed: version {present} is the newest");
        return Err(ApiError::new("conflict", message));
    }
    let (description, status, naming) = read(fields)?;
    check(kind, name, (status, &naming), &events, &attributes)?;
    let going = going(name, (status, &naming), known);
    users::refuse(shared, kind, &going).await?;
    let new = NewItem {
        brand: BrandId(0),
        name: name.to_owned(),
        description,
        state: status.as_str().to_owned(),
        body: serde_json::to_string(&naming).expect("a naming is plain JSON"),
        fields: vec![("owner", Word::Text(naming.owner.clone()))],
        search: vec![naming.title.zh.clone(), naming.title.en.clone()],
        ..NewItem::default()
    };
    let followed = Followed {
        definition: DefinitionKind::Dictionary.as_str(),
        of: &[EVENT_NAME, ATTRIBUTE_NAME],
        body: &body,
    };
    let item = shared
        .registry()
        .resource_put(
            author(shared, caller),
            kind,
            known.map(|said| said.item.id),
            known.map(|said| said.item.version),
            &new,
            followed,
        )
        .await?;
    let token = shared.publish_pending().await?;
    Ok(Written::changed(token, NamingAnswer::of(&understood(item))))
}

/// What rules may not ask about any more: merged or blocked now, and not so before. Who asks about it would get no answer
/// from now on; what goes already stays gone.
fn going<'a>(
    name: &'a str,
    (status, naming): (Status, &'a Naming),
    known: Option<&Said>,
) -> Vec<Going<'a>> {
    /// Whether it is blocked, and what it is merged into.
    fn goes(status: Status, alias: Option<&str>) -> Option<(bool, Option<&str>)> {
        let blocked = status == Status::Blocked;
        (blocked || alias.is_some()).then_some((blocked, alias))
    }
    let mut going = Vec::new();
    let mut look =
        |what, now: (Status, Option<&'a str>), before: Option<(Status, Option<&str>)>| {
            let before = before.and_then(|(status, alias)| goes(status, alias));
            let now = goes(now.0, now.1);
            if let Some((_, target)) = now.filter(|_| now != before) {
                going.push(Going { what, target });
            }
        };
    let before = known.map(|said| (said.status, said.naming.alias_of.as_deref()));
    let recorded = naming.alias_of.as_deref();
    let recorded = recorded.filter(|it| before.is_some_and(|(_, alias)| alias == Some(*it)));
    look(
        What::Name(name),
        (status, naming.alias_of.as_deref()),
        before,
    );
    for (property, said) in &naming.properties {
        let before = known.and_then(|known| known.naming.properties.get(property));
        let before = before.map(|said| (said.status, said.alias_of.as_deref()));
        // Events of this name that were recorded as another one lack the property there.
        let of = std::iter::once(name).chain(recorded);
        let what = What::Property {
            name: property,
            of: of.collect(),
        };
        look(what, (said.status, said.alias_of.as_deref()), before);
    }
    going
}

/// The definition that follows from what is said of all names. What two people said at the same time may not fit together.
fn body(items: &[Item]) -> Result<String, RegistryError> {
    let all: Vec<Said> = items.iter().cloned().map(understood).collect();
    let of = |kind: ResourceKind| {
        let these = all.iter().filter(move |said| said.item.kind == kind.name);
        these
            .map(|said| (said.item.name.as_str(), said.status, &said.naming))
            .collect::<Vec<_>>()
    };
    match compile(&of(EVENT_NAME), &of(ATTRIBUTE_NAME)) {
        Ok(rules) => Ok(rules.to_json()),
        Err(issues) => {
            let NamingIssue {
                name,
                field,
                message,
            } = &issues[0];
            Err(RegistryError::Conflict(format!(
                "{name}, {field}: {message}"
            )))
        }
    }
}

/// Checks a name as it is to be among all others.
fn check(
    kind: ResourceKind,
    name: &str,
    new: (Status, &Naming),
    events: &AllSaid,
    attributes: &AllSaid,
) -> Result<(), ApiError> {
    let with = |all: &AllSaid, own: bool| {
        let mut all: Vec<(String, Status, Naming)> = all
            .iter()
            .filter(|(known, _)| !own || known.as_str() != name)
            .map(|(known, said)| (known.clone(), said.status, said.naming.clone()))
            .collect();
        if own {
            all.push((name.to_owned(), new.0, new.1.clone()));
        }
        all
    };
    let (events, attributes) = (
        with(events, kind == EVENT_NAME),
        with(attributes, kind == ATTRIBUTE_NAME),
    );
    fn lent(all: &[(String, Status, Naming)]) -> Vec<(&str, Status, &Naming)> {
        let all = all.iter();
        all.map(|(name, status, naming)| (name.as_str(), *status, naming))
            .collect()
    }
    let issues = match compile(&lent(&events), &lent(&attributes)) {
        Ok(_) => return Ok(()),
        Err(issues) => issues,
    };
    let details = issues.into_iter().map(|issue| {
        let message = match issue.name == name {
            true => issue.message,
            false => format!("of `{}`: {}", issue.name, issue.message),
        };
        ErrorDetail::new("naming_invalid", issue.field, message)
    });
    Err(ApiError::several("naming_invalid", details.collect()))
}

/// The version that a change starts from, as the header or the body says it.
fn version(headers: &HeaderMap, fields: &mut Map<String, Value>) -> Result<Option<i64>, ApiError> {
    let told =
        match fields.remove("version") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_i64().ok_or_else(|| {
                ApiError::new("body_invalid", "expected a number").field("version")
            })?),
        };
    Ok(if_match(headers)?.or(told))
}

fn read(mut fields: Map<String, Value>) -> Result<(String, Status, Naming), ApiError> {
    let wrong = |field: &str, message: String| ApiError::new("body_invalid", message).field(field);
    let description = match fields.remove("description") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(_) => return Err(wrong("description", "expected text".into())),
    };
    let status = match fields.remove("status") {
        None | Some(Value::Null) => Status::New,
        Some(Value::String(word)) if Status::WORDS.contains(&&*word) => Status::of(&word),
        Some(_) => {
            let message = format!("expected one of {}", Status::WORDS.join(", "));
            return Err(wrong("status", message));
        }
    };
    let naming = serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let field = error.path().to_string();
        wrong(&field, error.into_inner().to_string())
    })?;
    Ok((description, status, naming))
}

/// A change as RFC 7396 has it: objects field by field, `null` takes out, everything else replaces.
fn merge(whole: &mut Value, change: Value) {
    match (whole, change) {
        (Value::Object(whole), Value::Object(change)) => {
            for (name, value) in change {
                match value {
                    Value::Null => drop(whole.remove(&name)),
                    value => merge(whole.entry(name).or_insert(Value::Null), value),
                }
            }
        }
        (whole, Value::Object(change)) => {
            *whole = Value::Object(Map::new());
            merge(whole, Value::Object(change));
        }
        (whole, change) => *whole = change,
    }
}
