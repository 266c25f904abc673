//! Definitions that people edit: identity rules and attributes.
//!
//! A change is a new version. It goes through the log, so every unit takes it at one place of its input; `?after=` with the
//! token of the change waits until it is in force.

use actors::model::Token;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use cdp::definition::{AttributeSchema, DefinitionError, DefinitionKind};
use cdp::identity::row;
use cdp::identity::rules::Rules;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Definitions";
    let (read, write) = (Permission::DefinitionsRead, Permission::DefinitionsWrite);
    let base = "The header `If-Match` with the version that the change starts from refuses it if another has come since.";
    crate::http::routes()
        .get(
            "/api/v1/identity/rules",
            read,
            rules,
            doc(tag, "Identity rules in force")
                .answers::<RulesAnswer>()
                .reads(),
        )
        .put(
            "/api/v1/identity/rules",
            write,
            put_rules,
            doc(tag, "Replace the identity rules")
                .more(base)
                .body::<Value>()
                .answers::<Written<VersionAnswer>>(),
        )
        .get(
            "/api/v1/attributes",
            read,
            attributes,
            doc(tag, "Attributes by name")
                .query::<ListQuery>()
                .answers::<Page<Value>>()
                .reads(),
        )
        .post(
            "/api/v1/attributes",
            write,
            add_attribute,
            doc(tag, "Add an attribute")
                .more(base)
                .body::<Value>()
                .answers::<Written<VersionAnswer>>(),
        )
        .get(
            "/api/v1/attributes/{name}",
            read,
            attribute,
            doc(tag, "One attribute").answers::<Value>().reads(),
        )
        .put(
            "/api/v1/attributes/{name}",
            write,
            put_attribute,
            doc(tag, "Replace an attribute, or add it")
                .more(base)
                .body::<Value>()
                .answers::<Written<VersionAnswer>>(),
        )
        .put(
            "/api/v1/attributes",
            write,
            put_schema,
            doc(tag, "Replace all attributes")
                .more("The body has `strict`, `unknown_class` and `attributes`, as `GET /api/v1/attribute-schema` answers it.")
                .body::<Value>()
                .answers::<Written<VersionAnswer>>(),
        )
        .get(
            "/api/v1/attribute-schema",
            read,
            schema,
            doc(tag, "All attributes as one document")
                .answers::<SchemaAnswer>()
                .reads(),
        )
}

/// Identity rules with their version.
#[derive(Debug, Serialize, ToSchema)]
pub struct RulesAnswer {
    /// 0: the shipped ones.
    pub version: u32,
    /// Kinds of identifiers, limits, blocked values.
    pub rules: Value,
}

/// All attributes with their version.
#[derive(Debug, Serialize, ToSchema)]
pub struct SchemaAnswer {
    /// 0: nothing has been defined.
    pub version: u32,
    /// The document that `PUT /api/v1/attributes` takes.
    pub schema: Value,
}

/// A new version of a definition.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionAnswer {
    /// Its number.
    pub version: i64,
}

async fn rules(State(shared): State<Shared>, _: Caller) -> Result<Json<RulesAnswer>, ApiError> {
    let (version, rules) = row::rules(&shared.snapshot()?)?;
    let rules = serde_json::to_value(rules.form()).expect("rules are plain JSON");
    Ok(Json(RulesAnswer { version, rules }))
}

/// Rules as they are put: alone, or as `GET` answers them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesInput {
    version: Option<u32>,
    rules: Value,
}

async fn put_rules(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<VersionAnswer>, ApiError> {
    let mut base = if_match(&headers)?;
    let body = match RulesInput::deserialize(&body) {
        Ok(input) => {
            base = base.or(input.version.map(i64::from));
            input.rules
        }
        Err(_) => body,
    };
    let rules =
        Rules::parse(&body.to_string()).map_err(|errors| refusal("rules_invalid", &errors))?;
    let kind = DefinitionKind::IdentityRules;
    publish(&shared, &caller, kind, rules.to_json(), base).await
}

async fn attributes(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Value>>, ApiError> {
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    let all = schema
        .iter()
        .filter(|attribute| caller.scope.sees(attribute.brand))
        .map(|attribute| serde_json::to_value(attribute).expect("a definition is plain JSON"))
        .collect();
    Page::slice(all, &query.paging()).map(Json)
}

async fn attribute(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Json<Value>, ApiError> {
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    let found = schema
        .get(&name)
        .filter(|attribute| caller.scope.sees(attribute.brand));
    let found = found.ok_or_else(|| ApiError::not_found("attribute"))?;
    Ok(Json(
        serde_json::to_value(found).expect("a definition is plain JSON"),
    ))
}

async fn schema(State(shared): State<Shared>, _: Caller) -> Result<Json<SchemaAnswer>, ApiError> {
    let (version, schema) = shared.attributes(&shared.snapshot()?)?;
    Ok(Json(SchemaAnswer {
        version,
        schema: schema.to_body(),
    }))
}

async fn put_schema(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<VersionAnswer>, ApiError> {
    let base = if_match(&headers)?;
    publish_schema(&shared, &caller, &body, base).await
}

async fn add_attribute(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<VersionAnswer>, ApiError> {
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    let (version, schema) = shared.attributes(&shared.snapshot()?)?;
    if schema.get(&name).is_some() {
        let message = format!("there is an attribute `{name}` already");
        return Err(ApiError::new("name_taken", message).field("name"));
    }
    let base = if_match(&headers)?.or(Some(i64::from(version)));
    put_in(&shared, &caller, &schema, &name, body, base).await
}

async fn put_attribute(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(mut body): Input<Value>,
) -> Result<Written<VersionAnswer>, ApiError> {
    if let Value::Object(fields) = &mut body {
        let told = fields.entry("name").or_insert_with(|| name.clone().into());
        if told.as_str() != Some(&name) {
            let message = "the name in the body is another than in the path";
            return Err(ApiError::new("body_invalid", message).field("name"));
        }
    }
    let (version, schema) = shared.attributes(&shared.snapshot()?)?;
    let base = if_match(&headers)?.or(Some(i64::from(version)));
    put_in(&shared, &caller, &schema, &name, body, base).await
}

/// The present document with one attribute put in.
async fn put_in(
    shared: &Shared,
    caller: &Caller,
    schema: &AttributeSchema,
    name: &str,
    attribute: Value,
    base: Option<i64>,
) -> Result<Written<VersionAnswer>, ApiError> {
    let mut body = schema.to_body();
    let list = body["attributes"].as_array_mut();
    let list = list.ok_or_else(|| ApiError::new("internal", "the schema has no attributes"))?;
    match list.iter_mut().find(|item| item["name"] == name) {
        Some(item) => *item = attribute,
        None => list.push(attribute),
    }
    publish_schema(shared, caller, &body, base).await
}

async fn publish_schema(
    shared: &Shared,
    caller: &Caller,
    body: &Value,
    base: Option<i64>,
) -> Result<Written<VersionAnswer>, ApiError> {
    let schema =
        AttributeSchema::check(body).map_err(|errors| refusal("attribute_invalid", &errors))?;
    let kind = DefinitionKind::Attributes;
    publish(shared, caller, kind, schema.to_body().to_string(), base).await
}

/// All that is wrong in one message; the field is that of the first.
fn refusal(code: &'static str, errors: &[DefinitionError]) -> ApiError {
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let refusal = ApiError::new(code, texts.join("; "));
    match errors.first() {
        Some(first) if !first.place.is_empty() => refusal.field(first.place.clone()),
        _ => refusal,
    }
}

async fn publish(
    shared: &Shared,
    caller: &Caller,
    kind: DefinitionKind,
    body: String,
    base: Option<i64>,
) -> Result<Written<VersionAnswer>, ApiError> {
    // Version 0 is what is shipped: the registry has nothing yet, and says so by having no version.
    let base = base.filter(|version| *version > 0);
    let (version, token): (i64, Token) = shared.publish(caller, kind, body, base).await?;
    Ok(Written::changed(token, VersionAnswer { version }))
}

/// The version in `If-Match`, with or without quotes.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim_matches('"');
    text.parse().map(Some).map_err(|_| {
        let message = "If-Match is no version, e.g. \"3\"";
        ApiError::new("parameter_form", message).field("If-Match")
    })
}
