//! Sources of events and their write keys.

use actors::model::{BrandId, RawJson, SourceId};
use actors::registry::{NewSource, Source, SourceChange};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Sources";
    crate::http::routes()
        .get(
            "/api/v1/sources",
            Permission::SourcesRead,
            list,
            doc(tag, "Sources, oldest first")
                .query::<ListQuery>()
                .lists::<SourceAnswer>(),
        )
        .post(
            "/api/v1/sources",
            Permission::SourcesWrite,
            create,
            doc(tag, "Add a source")
                .enters("source", "create")
                .more("Answers its `write_key`, which is shown this once.")
                .body::<NewSourceInput>()
                .written::<KeyedSource>(),
        )
        .get(
            "/api/v1/sources/{id}",
            Permission::SourcesRead,
            get,
            doc(tag, "One source").answers::<SourceAnswer>(),
        )
        .patch(
            "/api/v1/sources/{id}",
            Permission::SourcesWrite,
            change,
            doc(
                tag,
                "Rename, enable or disable a source, change its settings",
            )
            .enters("source", "update")
            .body::<SourceInput>()
            .written::<SourceAnswer>(),
        )
        .post(
            "/api/v1/sources/{id}/rotate",
            Permission::SourcesWrite,
            rotate,
            doc(tag, "Give a source a new write key")
                .enters("source", "rotate")
                .more("The old one is refused from now on; the new one is shown this once.")
                .written::<KeyedSource>(),
        )
}

/// A source to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSourceInput {
    /// Name, unique within the brand.
    #[schema(example = "mini-program")]
    pub name: String,
    /// What sends, e.g. `http`, `segment`, `scan`, `import`.
    #[schema(example = "http")]
    pub kind: String,
    /// The brand that owns its events; 0 or left out: the group.
    #[serde(default)]
    pub brand: u32,
    /// Name of the id space of its `user_id anonymous_id device_id member_card`; left out: the installation's.
    #[serde(default)]
    pub id_space: String,
    /// Its events are kept out of counts.
    #[serde(default)]
    pub test: bool,
    /// Settings of its kind: `currency` and `shop` are taken by orders that do not say them; `id_mapping` (`1.0`, `2.0`,
    /// `3.0`) and `id_keys` say how ids of 神策 SDKs become one person; beyond `events_per_second` it is answered 429.
    pub settings: Option<Value>,
}

/// What to change of a source.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceInput {
    /// Another name.
    pub name: Option<String>,
    /// Whether it may send.
    pub enabled: Option<bool>,
    /// Kept out of counts from now on.
    pub test: Option<bool>,
    /// All settings anew: `events_per_second` bounds what it sends; `currency` and `shop` of orders that do not say;
    /// `id_keys` and `id_mapping` of Sensors SDKs, which only goes up: from 1.0 to 2.0 or 3.0, from 2.0 to 3.0.
    pub settings: Option<Value>,
}

/// A source.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceAnswer {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What sends.
    pub kind: String,
    /// The brand that owns its events; 0: the group.
    pub brand: u32,
    /// Its id space; 0: the installation's.
    pub id_space: u32,
    /// Its events are kept out of counts.
    pub test: bool,
    /// Whether it may send.
    pub enabled: bool,
    /// First characters of its write key.
    pub key_hint: String,
    /// Settings of its kind.
    pub settings: Value,
    /// When it was made.
    pub created: String,
}

/// A source with its write key.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyedSource {
    /// The source.
    #[serde(flatten)]
    pub source: SourceAnswer,
    /// The write key, shown this once.
    pub write_key: String,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<SourceAnswer>>, ApiError> {
    let (limit, cursor) = query.registry()?;
    let page = shared
        .registry()
        .source_list(&caller.scope, limit, cursor)
        .await?;
    Ok(Json(Page {
        items: page.items.iter().map(answer).collect(),
        next_cursor: page.next_cursor,
    }))
}

async fn create(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<NewSourceInput>,
) -> Result<Written<KeyedSource>, ApiError> {
    let registry = shared.registry();
    let settings = settings(input.settings)?;
    shared
        .brands_exist(&[BrandId(input.brand)], "brand")
        .await?;
    let new = NewSource {
        name: input.name,
        kind: input.kind,
        brand: BrandId(input.brand),
        id_space: registry.id_space_ensure(&input.id_space).await?,
        test: input.test,
        settings,
    };
    let (source, key) = registry
        .source_create(&caller.scope, new, shared.now())
        .await?;
    let answer = KeyedSource {
        source: answer(&source),
        write_key: key.reveal().to_owned(),
    };
    Ok(Written::created(shared.token(), answer)
        .about(source.id.0)
        .of_brand(source.brand))
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
) -> Result<Json<SourceAnswer>, ApiError> {
    let registry = shared.registry();
    let source = registry.source_get(&caller.scope, SourceId(id)).await?;
    Ok(Json(answer(&source)))
}

async fn change(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
    Input(input): Input<SourceInput>,
) -> Result<Written<SourceAnswer>, ApiError> {
    let change = SourceChange {
        name: input.name,
        settings: settings(input.settings)?,
        enabled: input.enabled,
        test: input.test,
    };
    let registry = shared.registry();
    if let Some(new) = &change.settings {
        let known = registry.source_get(&caller.scope, SourceId(id)).await?;
        one_way(&known.settings, new)?;
    }
    let source = registry
        .source_update(&caller.scope, SourceId(id), change)
        .await?;
    Ok(Written::changed(shared.token(), answer(&source)).of_brand(source.brand))
}

async fn rotate(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
) -> Result<Written<KeyedSource>, ApiError> {
    let registry = shared.registry();
    let id = SourceId(id);
    let key = registry.source_key_rotate(&caller.scope, id).await?;
    let source = registry.source_get(&caller.scope, id).await?;
    let answer = KeyedSource {
        source: answer(&source),
        write_key: key.reveal().to_owned(),
    };
    Ok(Written::changed(shared.token(), answer).of_brand(source.brand))
}

/// ID-Mapping goes one way: what 2.0 or 3.0 joined, an earlier mode cannot take apart.
fn one_way(known: &RawJson, new: &RawJson) -> Result<(), ApiError> {
    let mode = |settings| {
        crate::app::sensors_settings(settings)
            .unwrap_or_default()
            .id_mapping
    };
    let (known, new) = (mode(known), mode(new));
    if new < known {
        let message = format!(
            "id_mapping goes up only: this source has {}, which cannot become {}",
            known.as_str(),
            new.as_str()
        );
        return Err(ApiError::new("conflict", message).field("settings.id_mapping"));
    }
    Ok(())
}

/// Names of settings: of orders that do not say, of Sensors SDKs, and how much it may send.
const SETTINGS: [&str; 5] = [
    "currency",
    "shop",
    "id_mapping",
    "id_keys",
    crate::rate::SETTING,
];

/// Settings must be an object of known names that have their form.
fn settings(value: Option<Value>) -> Result<Option<RawJson>, ApiError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let wrong = |message: &str| ApiError::new("body_invalid", message).field("settings");
    let raw =
        RawJson::object(&value.to_string()).map_err(|_| wrong("settings are not a JSON object"))?;
    if let Some(name) = raw
        .parse()
        .keys()
        .find(|name| !SETTINGS.contains(&name.as_str()))
    {
        let known = SETTINGS.join(", ");
        let message = format!("there is no setting `{name}`; known are {known}");
        return Err(ApiError::new("body_invalid", message).field(format!("settings.{name}")));
    }
    crate::app::order_defaults(&raw).map_err(|message| wrong(&message))?;
    crate::app::sensors_settings(&raw).map_err(|message| wrong(&message))?;
    crate::rate::of_settings(&raw).map_err(|message| wrong(&message))?;
    Ok(Some(raw))
}

fn answer(source: &Source) -> SourceAnswer {
    SourceAnswer {
        id: source.id.0,
        name: source.name.clone(),
        kind: source.kind.clone(),
        brand: source.brand.0,
        id_space: source.id_space.0,
        test: source.test,
        enabled: source.enabled,
        key_hint: source.key_hint.clone(),
        settings: Value::Object(source.settings.parse()),
        created: source.created.rfc3339(),
    }
}
