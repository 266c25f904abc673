//! The routes of a kind.

use actors::model::Token;
use actors::registry::{Author, Item, ItemChange};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use cdp::control::{Control, DefinitionChange};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::answer::{WRITTEN, answer, object};
use super::query::{self, COMMON, ListParameters};
use super::{Answer, ColumnSpec, Context, Resource, ResourceInput, form, table};
use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};
use crate::http::input::if_match;
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Query, Routes, Segment, Written, doc};

/// Ids of one batch: a page of a list, several times over.
const BATCH_MAX: usize = 1_000;

/// A page of resources.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResourcePage<T> {
    /// The items, with the columns asked for.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; `null` at the end.
    pub next_cursor: Option<String>,
    /// All that the filters let through.
    pub total: u64,
}

/// A version of a resource.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionView {
    /// Which.
    pub version: i64,
    /// Its name then.
    pub name: String,
    /// Its state then.
    pub state: String,
    /// What its kind said of it then.
    pub body: Value,
    /// When.
    pub at: String,
    /// Who made it.
    pub by: String,
}

/// Who refers to a resource.
#[derive(Debug, Serialize, ToSchema)]
pub struct UseView {
    /// Kind.
    pub kind: String,
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
}

/// Who refers to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsesAnswer {
    /// As far as the caller may see them.
    pub items: Vec<UseView>,
}

/// A name for the copy.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyInput {
    /// Its name; left out: the old one with a number.
    pub name: Option<String>,
    /// Its code; needed where others refer to codes.
    pub code: Option<String>,
}

/// What to do with many.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchInput {
    /// What.
    #[schema(inline)]
    pub action: BatchAction,
    /// With which, at most 1,000.
    pub ids: Vec<i64>,
}

/// What a batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchAction {
    /// Put to work.
    Enable,
    /// Put to rest.
    Disable,
    /// Remove.
    Delete,
}

/// What a batch did. Each is done or refused by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchAnswer {
    /// Done.
    pub done: Vec<i64>,
    /// Refused.
    pub failed: Vec<BatchFailure>,
}

/// One that a batch could not do.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchFailure {
    /// Which.
    pub id: i64,
    /// Why.
    #[serde(flatten)]
    pub error: ErrorDetail,
}

/// A folder.
#[derive(Debug, Serialize, ToSchema)]
pub struct Folder {
    /// Its path, `a/b`; empty: the top.
    pub path: String,
    /// Items directly in it.
    pub items: u64,
}

/// The tree of folders: all that hold something, by path.
#[derive(Debug, Serialize, ToSchema)]
pub struct Folders {
    /// The folders.
    pub folders: Vec<Folder>,
}

/// What a form and a table need to know of a kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct SchemaView {
    /// Its word.
    pub kind: &'static str,
    /// Others refer to its code.
    pub by_code: bool,
    /// Its states.
    pub states: &'static [&'static str],
    /// Columns to filter and sort by.
    pub columns: Vec<ColumnSpec>,
    /// JSON Schema of what `POST` takes.
    pub schema: Value,
}

/// The routes of a kind.
pub fn routes<R: Resource>() -> Routes {
    let (paths, tag, read, write) = (R::PATHS, R::TAG, R::READ, R::WRITE);
    let base = "`If-Match` (or `version` in the body) with the version that the change starts from refuses it if another has come since.";
    crate::http::routes()
        .get(
            paths.all,
            read,
            list::<R>,
            doc(tag, "List, filter, sort and search")
                .more("Every column is a parameter: `name=…`, several values by comma; `updated.from=…`, `id.to=…`, `folder.starts=…`.")
                .query::<ListParameters>()
                .with::<R::Body>()
                .answers::<ResourcePage<Answer<R::Body>>>().with::<Answer<R::Body>>()
                .reads(),
        )
        .get(
            paths.one,
            read,
            get::<R>,
            doc(tag, "One").answers::<Answer<R::Body>>().with::<R::Body>().reads(),
        )
        .patch(
            paths.one,
            write,
            change::<R>,
            doc(tag, "Change some fields").enters_itself()
                .more(base)
                .body::<ResourceInput<R::Body>>().with::<R::Body>()
                .written::<Answer<R::Body>>().with::<R::Body>()
                .reads(),
        )
        .delete(
            paths.one,
            write,
            delete::<R>,
            doc(tag, "Remove one that nobody uses").enters_itself()
                .more(base)
                .written::<Answer<R::Body>>().with::<R::Body>(),
        )
        .post(
            paths.enable,
            write,
            enable::<R>,
            doc(tag, "Enable").enters_itself().written::<Answer<R::Body>>().with::<R::Body>(),
        )
        .post(
            paths.disable,
            write,
            disable::<R>,
            doc(tag, "Disable").enters_itself().written::<Answer<R::Body>>().with::<R::Body>(),
        )
        .post(
            paths.batch,
            write,
            batch::<R>,
            doc(tag, "Enable, disable or remove many").enters_itself()
                .body::<BatchInput>()
                .written::<BatchAnswer>(),
        )
        .get(
            paths.versions,
            read,
            versions::<R>,
            doc(tag, "Versions, oldest first")
                .query::<ListQuery>()
                .lists::<VersionView>()
                .reads(),
        )
        .get(
            paths.uses,
            read,
            uses::<R>,
            doc(tag, "Who refers to it")
                .answers::<UsesAnswer>()
                .reads(),
        )
        .get(
            paths.schema,
            read,
            schema::<R>,
            doc(tag, "Form, states and columns").answers::<SchemaView>(),
        )
        .get(
            paths.folders,
            read,
            folders::<R>,
            doc(tag, "The tree of folders").answers::<Folders>().reads(),
        )
        .and(table::export_routes::<R>())
        .and(match R::CREATABLE {
            true => making::<R>(),
            false => Routes::default(),
        })
}

/// Routes that make new ones.
fn making<R: Resource>() -> Routes {
    let (paths, tag, write) = (R::PATHS, R::TAG, R::WRITE);
    crate::http::routes()
        .post(
            paths.all,
            write,
            create::<R>,
            doc(tag, "Make one")
                .enters_itself()
                .body::<ResourceInput<R::Body>>()
                .with::<R::Body>()
                .written::<Answer<R::Body>>()
                .with::<R::Body>()
                // Rules name what others have just defined.
                .reads(),
        )
        .post(
            paths.copy,
            write,
            copy::<R>,
            doc(tag, "Copy")
                .enters_itself()
                .more("The copy is a draft where its kind has drafts, otherwise disabled.")
                .body::<CopyInput>()
                .written::<Answer<R::Body>>()
                .with::<R::Body>(),
        )
        .and(table::import_routes::<R>())
}

/// Notes in the log that something of a kind has changed, so that the write has a token that every unit passes. The
/// change itself is in force already: if the log takes nothing just now, the answer has no token.
pub async fn note(shared: &Shared, kind: &str, version: i64, body: Value) -> Option<Token> {
    let record = Control::Definition(DefinitionChange {
        kind: kind.into(),
        version: u32::try_from(version).unwrap_or(u32::MAX),
        body: body.to_string().into(),
    });
    match shared.platform().publish(&record).await {
        Ok(token) => Some(token),
        Err(error) => {
            tracing::warn!(kind, error = %crate::error::chain(&error), "a change has no note in the log");
            None
        }
    }
}

/// [`note`] about one.
pub async fn note_item(shared: &Shared, item: &Item) -> Option<Token> {
    let body = json!({"id": item.id, "version": item.version, "state": item.state});
    note(shared, &item.kind, item.version, body).await
}

/// The caller as author of a change, now.
pub fn author<'a>(shared: &Shared, caller: &'a Caller) -> Author<'a> {
    Author {
        scope: &caller.scope,
        by: &caller.name,
        from: &caller.address,
        now: shared.now(),
    }
}

async fn list<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<ResourcePage<Value>>, ApiError> {
    let asked = query::read::<R>(pairs, &[])?;
    let listed = shared
        .registry()
        .resource_list(&caller.scope, R::KIND, &asked.query)
        .await?;
    let mut items = Vec::with_capacity(listed.items.len());
    for item in &listed.items {
        let mut fields = object::<R>(item)?;
        if let Some(columns) = &asked.columns {
            fields.retain(|name, _| name == "id" || columns.iter().any(|column| column == name));
        }
        items.push(Value::Object(fields));
    }
    Ok(Json(ResourcePage {
        items,
        next_cursor: listed.next_cursor,
        total: listed.total,
    }))
}

async fn create<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Input(fields): Input<Map<String, Value>>,
) -> Result<Written<Answer<R::Body>>, ApiError> {
    make::<R>(&shared, &caller, fields).await
}

pub async fn make<R: Resource>(
    shared: &Shared,
    caller: &Caller,
    fields: Map<String, Value>,
) -> Result<Written<Answer<R::Body>>, ApiError> {
    let context = Context::new(shared, caller);
    let new = form::read::<R>(&context, None, fields).await?;
    let item = shared
        .registry()
        .resource_create(author(shared, caller), R::KIND, &new)
        .await?;
    let token = note_item(shared, &item).await;
    Ok(Written::created(token, answer::<R>(&item)?))
}

async fn get<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Json<Answer<R::Body>>, ApiError> {
    let item = load::<R>(&shared, &caller, &id).await?;
    answer::<R>(&item).map(Json)
}

/// By number, or by code where others refer to codes.
pub async fn load<R: Resource>(
    shared: &Shared,
    caller: &Caller,
    id: &str,
) -> Result<Item, ApiError> {
    let registry = shared.registry();
    if let Ok(id) = id.parse() {
        match registry.resource_get(&caller.scope, R::KIND, id).await {
            Err(actors::registry::RegistryError::NotFound(_)) if R::KIND.by_code => {}
            found => return Ok(found?),
        }
    }
    if !R::KIND.by_code {
        return Err(ApiError::not_found(R::KIND.name));
    }
    Ok(registry
        .resource_by_handle(&caller.scope, R::KIND, id)
        .await?)
}

async fn change<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    headers: HeaderMap,
    Input(fields): Input<Map<String, Value>>,
) -> Result<Written<Answer<R::Body>>, ApiError> {
    let item = load::<R>(&shared, &caller, &id).await?;
    let (whole, told) = form::merged::<R>(&item, fields)?;
    // Whatever the caller saw: what was merged here is this version.
    let base = if_match(&headers)?.or(told).unwrap_or(item.version);
    let context = Context::new(&shared, &caller);
    let new = form::read::<R>(&context, Some(item.id), whole).await?;
    let change = ItemChange::Whole(new);
    let item = shared
        .registry()
        .resource_update(
            author(&shared, &caller),
            R::KIND,
            item.id,
            Some(base),
            &change,
        )
        .await?;
    let token = note_item(&shared, &item).await;
    Ok(Written::changed(token, answer::<R>(&item)?))
}

async fn delete<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    headers: HeaderMap,
) -> Result<Written<Answer<R::Body>>, ApiError> {
    let item = load::<R>(&shared, &caller, &id).await?;
    let gone = remove::<R>(&shared, &caller, &item, if_match(&headers)?).await?;
    let token = note_item(&shared, &gone).await;
    Ok(Written::changed(token, answer::<R>(&gone)?))
}

async fn remove<R: Resource>(
    shared: &Shared,
    caller: &Caller,
    item: &Item,
    base: Option<i64>,
) -> Result<Item, ApiError> {
    let gone = shared
        .registry()
        .resource_delete(author(shared, caller), R::KIND, item.id, base)
        .await?;
    R::removed(shared, &gone).await?;
    Ok(gone)
}

async fn copy<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    crate::http::Body(body): crate::http::Body,
) -> Result<Written<Answer<R::Body>>, ApiError> {
    let input: CopyInput = match body.is_empty() {
        true => CopyInput::default(),
        false => crate::http::input::parse_json(&body)?,
    };
    let item = load::<R>(&shared, &caller, &id).await?;
    let mut fields = form::writable(object::<R>(&item)?);
    let name = match input.name {
        Some(name) => name,
        None => free_name::<R>(&shared, &caller, &item).await?,
    };
    fields.insert("name".into(), name.into());
    match input.code {
        Some(code) => fields.insert("code".into(), code.into()),
        None => fields.remove("code"),
    };
    let rest = ["draft", "disabled"];
    if let Some(state) = rest.iter().find(|state| R::STATES.contains(*state)) {
        fields.insert("state".into(), (*state).into());
    }
    make::<R>(&shared, &caller, fields).await
}

/// `name (2)`, or the next number that is free.
async fn free_name<R: Resource>(
    shared: &Shared,
    caller: &Caller,
    item: &Item,
) -> Result<String, ApiError> {
    let all = shared
        .registry()
        .resource_all(&caller.scope, R::KIND)
        .await?;
    let stem = item
        .name
        .rsplit_once(" (")
        .filter(|(_, rest)| {
            rest.strip_suffix(')')
                .is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .map_or(&*item.name, |(stem, _)| stem);
    let free = |name: &String| {
        !all.iter()
            .any(|other| other.brand == item.brand && other.name == *name)
    };
    let names = (2u32..).map(|number| format!("{stem} ({number})"));
    Ok(names
        .into_iter()
        .find(free)
        .expect("names are finite, numbers go on"))
}

async fn enable<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    headers: HeaderMap,
) -> Result<Written<Answer<R::Body>>, ApiError> {
    switch::<R>(shared, caller, id, headers, "enabled").await
}

async fn disable<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    headers: HeaderMap,
) -> Result<Written<Answer<R::Body>>, ApiError> {
    switch::<R>(shared, caller, id, headers, "disabled").await
}

async fn switch<R: Resource>(
    shared: Shared,
    caller: Caller,
    id: String,
    headers: HeaderMap,
    state: &str,
) -> Result<Written<Answer<R::Body>>, ApiError> {
    let item = load::<R>(&shared, &caller, &id).await?;
    let item = set_state::<R>(&shared, &caller, &item, if_match(&headers)?, state).await?;
    let token = note_item(&shared, &item).await;
    Ok(Written::changed(token, answer::<R>(&item)?))
}

/// Another state. What is enabled is checked again: what it refers to may have changed while it rested.
async fn set_state<R: Resource>(
    shared: &Shared,
    caller: &Caller,
    item: &Item,
    base: Option<i64>,
    state: &str,
) -> Result<Item, ApiError> {
    if item.state == state {
        return Ok(item.clone());
    }
    if state == "enabled" {
        let context = Context::new(shared, caller);
        let fields = form::writable(object::<R>(item)?);
        form::read::<R>(&context, Some(item.id), fields).await?;
    }
    let change = ItemChange::State(state.to_owned());
    let base = base.or(Some(item.version));
    Ok(shared
        .registry()
        .resource_update(author(shared, caller), R::KIND, item.id, base, &change)
        .await?)
}

async fn batch<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<BatchInput>,
) -> Result<Written<BatchAnswer>, ApiError> {
    if input.ids.len() > BATCH_MAX {
        let message = format!("at most {BATCH_MAX} ids");
        return Err(ApiError::new("body_invalid", message).field("ids"));
    }
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for id in input.ids {
        let one = async {
            let item = load::<R>(&shared, &caller, &id.to_string()).await?;
            match input.action {
                BatchAction::Enable => {
                    set_state::<R>(&shared, &caller, &item, None, "enabled").await
                }
                BatchAction::Disable => {
                    set_state::<R>(&shared, &caller, &item, None, "disabled").await
                }
                BatchAction::Delete => remove::<R>(&shared, &caller, &item, None).await,
            }
        };
        match one.await {
            Ok(_) => done.push(id),
            Err(error) => failed.extend(
                error
                    .into_details()
                    .into_iter()
                    .take(1)
                    .map(|error| BatchFailure { id, error }),
            ),
        }
    }
    let token = match done.is_empty() {
        true => None,
        false => note(&shared, R::KIND.name, 0, json!({"ids": done})).await,
    };
    Ok(Written::changed(token, BatchAnswer { done, failed }))
}

async fn versions<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<VersionView>>, ApiError> {
    let item = load::<R>(&shared, &caller, &id).await?;
    let (limit, cursor) = query.registry()?;
    let page = shared
        .registry()
        .resource_versions(&caller.scope, R::KIND, item.id, limit, cursor)
        .await?;
    let items = page.items.into_iter().map(|version| VersionView {
        version: version.version,
        name: version.name,
        state: version.state,
        body: serde_json::from_str(&version.body).unwrap_or_default(),
        at: version.at.rfc3339(),
        by: version.by,
    });
    Ok(Json(Page {
        items: items.collect(),
        next_cursor: page.next_cursor,
    }))
}

async fn uses<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Json<UsesAnswer>, ApiError> {
    let item = load::<R>(&shared, &caller, &id).await?;
    let users = shared
        .registry()
        .resource_uses(&caller.scope, R::KIND.name, &item.handle(R::KIND))
        .await?;
    Ok(Json(UsesAnswer {
        items: users.into_iter().map(use_view).collect(),
    }))
}

/// One that refers to something.
pub fn use_view(item: Item) -> UseView {
    UseView {
        kind: item.kind,
        id: item.id,
        name: item.name,
        state: item.state,
    }
}

async fn folders<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<Json<Folders>, ApiError> {
    let folders = shared
        .registry()
        .resource_folders(&caller.scope, R::KIND)
        .await?;
    let folders = folders
        .into_iter()
        .map(|(path, items)| Folder { path, items });
    Ok(Json(Folders {
        folders: folders.collect(),
    }))
}

async fn schema<R: Resource>(_: Caller) -> Json<SchemaView> {
    Json(schema_of::<R>())
}

/// What a form and a table need to know.
pub fn schema_of<R: Resource>() -> SchemaView {
    let common = COMMON
        .iter()
        .map(|(name, _, of)| ColumnSpec { name, of: *of });
    SchemaView {
        kind: R::KIND.name,
        by_code: R::KIND.by_code,
        states: R::STATES,
        columns: common.chain(R::COLUMNS.iter().copied()).collect(),
        schema: json_schema::<R>(),
    }
}

/// A JSON Schema of the body with the common fields, in one document: what it refers to stands under `$defs`.
fn json_schema<R: Resource>() -> Value {
    let mut inner = Vec::new();
    <R::Body as ToSchema>::schemas(&mut inner);
    let text = json!({"type": "string"});
    let mut schema =
        serde_json::to_value(<R::Body as PartialSchema>::schema()).expect("a schema is plain JSON");
    let properties = schema["properties"].take();
    let mut all = Map::new();
    for name in WRITTEN {
        all.insert(name.into(), text.clone());
    }
    all.insert("brand".into(), json!({"type": "integer", "minimum": 0}));
    all.insert("state".into(), json!({"type": "string", "enum": R::STATES}));
    if let Value::Object(own) = properties {
        all.extend(own);
    }
    let mut required = vec![json!("name")];
    if R::KIND.by_code {
        required.push(json!("code"));
    }
    if let Value::Array(own) = schema["required"].take() {
        required.extend(own);
    }
    let defs: Map<String, Value> = inner
        .into_iter()
        .map(|(name, schema)| {
            let schema = serde_json::to_value(schema).expect("a schema is plain JSON");
            (name, schema)
        })
        .collect();
    let whole = json!({
        "type": "object",
        "properties": all,
        "required": required,
        "additionalProperties": false,
        "$defs": defs,
    });
    let text = whole
        .to_string()
        .replace("#/components/schemas/", "#/$defs/");
    serde_json::from_str(&text).expect("it was JSON before")
}
