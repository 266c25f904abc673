//! From what somebody sent to what is kept: the common fields, the body of the kind, its check.

use actors::model::{BrandId, BrandSet};
use actors::registry::{Item, NewItem};
use serde_json::{Map, Value};

use super::answer::{OWN, WRITTEN, object};
use super::{Context, Draft, Resource};
use crate::error::ApiError;
use crate::http::Caller;

/// What every resource has and people write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// Name.
    pub name: String,
    /// Code; empty for none.
    pub code: String,
    /// What it is for.
    pub description: String,
    /// Folder.
    pub folder: String,
    /// Owner.
    pub brand: BrandId,
    /// State.
    pub state: String,
}

fn wrong(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::new("body_invalid", message).field(field)
}

/// A text field; absent and `null` are empty.
fn text(fields: &mut Map<String, Value>, name: &str) -> Result<String, ApiError> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(wrong(name, "expected text")),
    }
}

/// The brand of something that does not say: a key of one brand writes for it, others for the group.
pub(super) fn brand_of(caller: &Caller) -> BrandId {
    match &caller.scope.brands {
        BrandSet::Only(brands) if brands.len() == 1 => brands[0],
        _ => BrandId(0),
    }
}

/// Reads and checks what somebody sent for a new resource, or the whole of a changed one.
pub async fn read<R: Resource>(
    context: &Context<'_>,
    id: Option<i64>,
    mut fields: Map<String, Value>,
) -> Result<NewItem, ApiError> {
    // What a changed one has of them was looked at when the change was merged.
    let own_fields = if id.is_none() { R::OWN_FIELDS } else { &[] };
    for own in OWN.iter().chain(own_fields) {
        if fields.contains_key(*own) {
            return Err(wrong(own, format!("`{own}` is the server's")));
        }
    }
    let brand = match fields.remove("brand") {
        None | Some(Value::Null) => brand_of(context.caller),
        Some(value) => value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .map(BrandId)
            .ok_or_else(|| wrong("brand", "expected the number of a brand"))?,
    };
    context.shared.brands_exist(&[brand], "brand").await?;
    let mut common = Common {
        name: text(&mut fields, "name")?,
        code: text(&mut fields, "code")?,
        description: text(&mut fields, "description")?,
        folder: text(&mut fields, "folder")?,
        brand,
        state: text(&mut fields, "state")?,
    };
    if common.state.is_empty() {
        R::STATE.clone_into(&mut common.state);
    }
    if !R::STATES.contains(&&*common.state) {
        let message = format!("expected one of {}", R::STATES.join(", "));
        return Err(wrong("state", message));
    }
    let body = body::<R>(fields)?;
    let draft = Draft {
        id,
        common: &common,
        body,
    };
    let checked = R::check(context, draft).await?;
    Ok(NewItem {
        brand: common.brand,
        code: common.code,
        name: common.name,
        description: common.description,
        folder: common.folder,
        state: common.state,
        body: serde_json::to_string(&checked.body).expect("a body is plain JSON"),
        fields: checked.fields,
        search: checked.search,
        uses: checked.uses,
    })
}

fn body<R: Resource>(fields: Map<String, Value>) -> Result<R::Body, ApiError> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let field = error.path().to_string();
        let mut message = error.into_inner().to_string();
        if message.starts_with("unknown field") && !field.contains(['.', '[']) {
            message.push_str(&format!(", or what all have: {}", WRITTEN.join(", ")));
        }
        ApiError::misfit("body_invalid", &field, &message)
    })
}

/// The whole of a resource with some fields changed: `null` takes one out. What the server writes may stand in it as it
/// was answered, so that what was read can be sent back; `version` is the version that the change starts from.
pub fn merged<R: Resource>(
    item: &Item,
    change: Map<String, Value>,
) -> Result<(Map<String, Value>, Option<i64>), ApiError> {
    let present = object::<R>(item)?;
    let base = match change.get("version") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            value
                .as_i64()
                .ok_or_else(|| wrong("version", "expected a number"))?,
        ),
    };
    let mut whole = writable(present.clone());
    for (name, value) in change {
        if OWN.contains(&&*name) || R::OWN_FIELDS.contains(&&*name) {
            if name != "version" && present.get(&name) != Some(&value) {
                return Err(wrong(&name, format!("`{name}` is the server's")));
            }
            continue;
        }
        match value {
            Value::Null => whole.remove(&name),
            value => whole.insert(name, value),
        };
    }
    Ok((whole, base))
}

/// What of an answered resource people write.
pub fn writable(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.retain(|name, value| {
        !(OWN.contains(&&**name) || WRITTEN.contains(&&**name) && value.is_null())
    });
    fields
}
