//! Definitions that people edit: identity rules and attributes.
//!
//! A change is a new version. It goes through the log, so every unit takes it at one place of its input; `?after=` with the
//! token of the change waits until it is in force.

use actors::model::{Scope, Token};
use actors::registry::RegistryError;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use cdp::definition::{AttributeDefinition, AttributeSchema, DefinitionError, DefinitionKind};
use cdp::identity::row;
use cdp::identity::rules::Rules;
use pipelines::dictionary::ATTRIBUTE;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};
use crate::http::input::if_match;
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};
use crate::resource::{UsesAnswer, use_view};

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
            doc(tag, "Replace the identity rules").enters("identity_rules", "replace")
                .more(base)
                .body::<Value>()
                .written::<VersionAnswer>(),
        )
        .get(
            "/api/v1/attributes",
            read,
            attributes,
            doc(tag, "Attributes by name")
                .query::<ListQuery>()
                .lists::<Value>()
                .reads(),
        )
        .post(
            "/api/v1/attributes",
            write,
            add_attribute,
            doc(tag, "Add an attribute").enters("attribute", "create")
                .more(base)
                .body::<Value>()
                .written::<VersionAnswer>(),
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
            doc(tag, "Replace an attribute, or add it").enters("attribute", "replace")
                .more(base)
                .body::<Value>()
                .written::<VersionAnswer>(),
        )
        .patch(
            "/api/v1/attributes/{name}",
            write,
            patch_attribute,
            doc(tag, "Change some fields of an attribute").enters("attribute", "update")
                .more(base)
                .body::<Value>()
                .written::<VersionAnswer>(),
        )
        .delete(
            "/api/v1/attributes/{name}",
            write,
            delete_attribute,
            doc(tag, "Remove an attribute that no rule uses").enters("attribute", "delete")
                .more("Values stay with members, as of an attribute that nobody defined. A usual one gets its default back.")
                .written::<VersionAnswer>(),
        )
        .get(
            "/api/v1/attributes/{name}/uses",
            read,
            attribute_uses,
            doc(tag, "Tags and segments that name an attribute")
                .answers::<UsesAnswer>()
                .reads(),
        )
        .put(
            "/api/v1/attributes",
            write,
            put_schema,
            doc(tag, "Replace all attributes").enters("attribute_schema", "replace")
                .more("The body has `strict`, `unknown_class` and `attributes`, as `GET /api/v1/attribute-schema` answers it.")
                .body::<Value>()
                .written::<VersionAnswer>(),
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
    let added = edit_attribute(&shared, &caller, &headers, &name, Edit::Add(body)).await?;
    Ok(added.about(name))
}

async fn put_attribute(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(mut body): Input<Value>,
) -> Result<Written<VersionAnswer>, ApiError> {
    named(&mut body, &name)?;
    edit_attribute(&shared, &caller, &headers, &name, Edit::Put(body)).await
}

async fn patch_attribute(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(mut body): Input<Value>,
) -> Result<Written<VersionAnswer>, ApiError> {
    named(&mut body, &name)?;
    edit_attribute(&shared, &caller, &headers, &name, Edit::Patch(body)).await
}

async fn delete_attribute(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
) -> Result<Written<VersionAnswer>, ApiError> {
    edit_attribute(&shared, &caller, &headers, &name, Edit::Remove).await
}

async fn attribute_uses(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Json<UsesAnswer>, ApiError> {
    let users = shared
        .registry()
        .resource_uses(&caller.scope, ATTRIBUTE, &name)
        .await?;
    let items = users.into_iter().map(use_view).collect();
    Ok(Json(UsesAnswer { items }))
}

/// Puts the name of the path into a body that does not say it.
fn named(body: &mut Value, name: &str) -> Result<(), ApiError> {
    if let Value::Object(fields) = body {
        let told = fields.entry("name").or_insert_with(|| name.into());
        if told.as_str() != Some(name) {
            let message = "the name in the body is another than in the path";
            return Err(ApiError::new("body_invalid", message).field("name"));
        }
    }
    Ok(())
}

fn present<'a>(
    schema: &'a AttributeSchema,
    caller: &Caller,
    name: &str,
) -> Result<&'a AttributeDefinition, ApiError> {
    schema
        .get(name)
        .filter(|attribute| caller.scope.sees(attribute.brand))
        .ok_or_else(|| ApiError::not_found("attribute"))
}

/// Refuses if a rule names the attribute, whoever owns the rule.
async fn unused(shared: &Shared, name: &str) -> Result<(), ApiError> {
    let all = Scope::installation();
    let users = shared
        .registry()
        .resource_uses(&all, ATTRIBUTE, name)
        .await?;
    match users.len() {
        0 => Ok(()),
        many => Err(ApiError::new(
            "in_use",
            format!("{many} rules name this attribute"),
        )),
    }
}

/// What to do with one attribute.
enum Edit {
    /// It is not there yet.
    Add(Value),
    /// This it is from now on.
    Put(Value),
    /// These fields it has from now on; `null` takes one out.
    Patch(Value),
    /// It goes.
    Remove,
}

impl Edit {
    /// The attribute as it is to be; `None`: it goes.
    fn apply(
        &self,
        schema: &AttributeSchema,
        caller: &Caller,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        let usual = AttributeSchema::default();
        match self {
            Edit::Add(body) => match schema.get(name) {
                // A usual attribute that nobody has changed can be added as if it were not there.
                Some(known) if usual.get(name) != Some(known) => {
                    let message = format!("there is an attribute `{name}` already");
                    Err(ApiError::new("name_taken", message).field("name"))
                }
                _ => Ok(Some(body.clone())),
            },
            Edit::Put(body) => Ok(Some(body.clone())),
            Edit::Patch(change) => {
                let present = present(schema, caller, name)?;
                let mut whole = serde_json::to_value(present).expect("a definition is plain JSON");
                if let (Value::Object(whole), Value::Object(change)) = (&mut whole, change) {
                    for (field, value) in change {
                        match value {
                            Value::Null => whole.remove(field),
                            value => whole.insert(field.clone(), value.clone()),
                        };
                    }
                }
                Ok(Some(whole))
            }
            Edit::Remove => {
                let present = present(schema, caller, name)?;
                if usual.get(name) == Some(present) {
                    let message = "this attribute is known from the start; nobody has changed it";
                    return Err(ApiError::new("in_use", message));
                }
                Ok(None)
            }
        }
    }
}

/// Attempts of an edit that others come before. Each attempt of somebody succeeds, so this many must have.
const EDITS_MAX: u32 = 16;

/// Changes one attribute of the newest document, on its way or in force. Done again if another change came in between,
/// unless the caller said what it starts from.
async fn edit_attribute(
    shared: &Shared,
    caller: &Caller,
    headers: &HeaderMap,
    name: &str,
    edit: Edit,
) -> Result<Written<VersionAnswer>, ApiError> {
    let base = if_match(headers)?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (version, schema) = newest(shared).await?;
        let attribute = edit.apply(&schema, caller, name)?;
        // Rules were checked against the type: it stays while there are some.
        let word = attribute.as_ref().map(|it| it["type"].as_str());
        if let Some(present) = schema.get(name)
            && word != Some(Some(&*present.kind.word()))
        {
            unused(shared, name).await?;
        }
        // What is wrong with it alone is told at its own fields.
        if let Some(attribute) = &attribute {
            alone(attribute)?;
        }
        let mut body = schema.to_body();
        let list = body["attributes"].as_array_mut();
        let list = list.ok_or_else(|| ApiError::new("internal", "the schema has no attributes"))?;
        let at = list.iter().position(|item| item["name"] == *name);
        match (attribute, at) {
            (Some(attribute), Some(at)) => list[at] = attribute,
            (Some(attribute), None) => list.push(attribute),
            (None, Some(at)) => drop(list.remove(at)),
            (None, None) => {}
        }
        let done = publish_schema(shared, caller, &body, base.or(Some(version))).await;
        match done {
            Err(error) if error.code() == "conflict" && base.is_none() && attempt < EDITS_MAX => {}
            done => return done,
        }
    }
}

/// Refuses one attribute that is wrong in itself.
fn alone(attribute: &Value) -> Result<(), ApiError> {
    if let Err(error) = serde_path_to_error::deserialize::<_, AttributeDefinition>(attribute) {
        let place = error.path().to_string();
        let message = error.into_inner().to_string();
        return Err(ApiError::misfit("attribute_invalid", &place, &message));
    }
    let Err(errors) = AttributeSchema::check(&json!({ "attributes": [attribute] })) else {
        return Ok(());
    };
    let details = errors.into_iter().map(|error| {
        let place = error.place.trim_start_matches("attributes[0]");
        ErrorDetail::new(error.code, place.trim_start_matches('.'), error.message)
    });
    Err(ApiError::several("attribute_invalid", details.collect()))
}

/// The newest document that anybody has published, and its version: what units have may be older.
async fn newest(shared: &Shared) -> Result<(i64, AttributeSchema), ApiError> {
    let kind = DefinitionKind::Attributes.as_str();
    let found = shared
        .registry()
        .definition_newest(&Scope::installation(), kind)
        .await;
    let definition = match found {
        Err(RegistryError::NotFound(_)) => return Ok((0, AttributeSchema::default())),
        found => found?,
    };
    let damaged = || ApiError::new("internal", "the server could not do this");
    let body = serde_json::from_str(&definition.body).map_err(|_| damaged())?;
    let schema = AttributeSchema::check(&body).map_err(|_| damaged())?;
    Ok((definition.version, schema))
}

async fn publish_schema(
    shared: &Shared,
    caller: &Caller,
    body: &Value,
    base: Option<i64>,
) -> Result<Written<VersionAnswer>, ApiError> {
    let schema =
        AttributeSchema::check(body).map_err(|errors| refusal("attribute_invalid", &errors))?;
    // Asked here and not by the check: what is defined already stays readable.
    if let Some(wrong) = schema
        .iter()
        .find(|it| it.name.chars().any(char::is_control))
    {
        let message = format!("{:?}: a name has no control characters", wrong.name);
        return Err(ApiError::new("attribute_invalid", message).field("name"));
    }
    let kind = DefinitionKind::Attributes;
    publish(shared, caller, kind, schema.to_body().to_string(), base).await
}

/// All that is wrong in one message; the field is that of the first.
fn refusal(code: &'static str, errors: &[DefinitionError]) -> ApiError {
    let text = |error: &DefinitionError| match error.place.is_empty() {
        true => error.message.clone(),
        false => error.to_string(),
    };
    let texts: Vec<_> = errors.iter().map(text).collect();
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
    let (version, token): (i64, Token) = shared.publish(caller, kind, body, base).await?;
    let detail = format!("version {version}");
    Ok(Written::changed(token, VersionAnswer { version }).detail(detail))
}
