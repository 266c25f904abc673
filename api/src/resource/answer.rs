//! A resource as the API shows it.

use actors::registry::Item;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Resource;
use crate::error::ApiError;

/// A resource.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answer<B> {
    /// Its number.
    pub id: i64,
    /// The brand that owns it; 0: the group.
    pub brand: u32,
    /// Code.
    pub code: Option<String>,
    /// Name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its folder, `a/b`.
    pub folder: String,
    /// State.
    pub state: String,
    /// Grows with every change; `If-Match` takes it.
    pub version: i64,
    /// The version in which its content changed last.
    pub body_version: i64,
    /// The content version that is at work; 0: none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving_version: Option<i64>,
    /// The newest content is being computed; what was at work before serves meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub building: Option<bool>,
    /// Computing the newest content was broken off; what was at work before goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<bool>,
    /// What computing the content that is at work has found and is not in it: `cuts` of an RFM tag by quantiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub computed: Option<Value>,
    /// When it was made.
    pub created: String,
    /// By whom.
    pub created_by: String,
    /// When it was changed last.
    pub updated: String,
    /// By whom.
    pub updated_by: String,
    /// What its kind says of it.
    #[serde(flatten)]
    pub body: B,
}

/// A resource to make. To change one, send what changes; `null` takes a field out.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResourceInput<B> {
    /// Name.
    #[schema(example = "金卡会员")]
    pub name: String,
    /// Code: letters, digits, `.`, `-`, `_`.
    pub code: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its folder, `a/b`.
    pub folder: Option<String>,
    /// The brand that owns it; left out: the group, or the only brand of the key.
    pub brand: Option<u32>,
    /// State.
    pub state: Option<String>,
    /// Of a change: the version that it starts from, as in `If-Match`.
    pub version: Option<i64>,
    /// What its kind says of it.
    #[serde(flatten)]
    pub body: B,
}

/// Fields of every resource that people write.
pub const WRITTEN: [&str; 6] = ["name", "code", "description", "folder", "brand", "state"];

/// Fields of every resource that the server writes.
pub const OWN: [&str; 11] = [
    "id",
    "version",
    "body_version",
    "serving_version",
    "building",
    "cancelled",
    "computed",
    "created",
    "created_by",
    "updated",
    "updated_by",
];

/// A resource as answered. A body that does not read any more (of a later version of ours) is our fault.
pub fn answer<R: Resource>(item: &Item) -> Result<Answer<R::Body>, ApiError> {
    let body: R::Body = serde_json::from_str(&item.body).map_err(|error| {
        tracing::error!(kind = item.kind, id = item.id, %error, "a stored resource does not read");
        ApiError::new("internal", "the server could not do this")
    })?;
    Ok(Answer {
        id: item.id,
        brand: item.brand.0,
        code: (!item.code.is_empty()).then(|| item.code.clone()),
        name: item.name.clone(),
        description: item.description.clone(),
        folder: item.folder.clone(),
        state: item.state.clone(),
        version: item.version,
        body_version: item.body_version,
        serving_version: R::BUILT.then_some(item.serving),
        building: R::BUILT
            .then(|| R::is_built(&body) && item.building() && item.state == "enabled"),
        cancelled: R::BUILT.then(|| item.cancelled()),
        computed: computed(item),
        created: item.created.rfc3339(),
        created_by: item.created_by.clone(),
        updated: item.updated.rfc3339(),
        updated_by: item.updated_by.clone(),
        body,
    })
}

/// What computing the body that is at work has found. Of another version, or of a later one of ours: nothing.
pub fn computed(item: &Item) -> Option<Value> {
    let of_it = item.computed_version == item.serving && !item.computed.is_empty();
    of_it.then(|| serde_json::from_str(&item.computed).ok())?
}

/// The same as a JSON object, to choose columns of.
pub fn object<R: Resource>(item: &Item) -> Result<Map<String, Value>, ApiError> {
    match serde_json::to_value(answer::<R>(item)?) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(ApiError::new("internal", "the server could not do this")),
    }
}
