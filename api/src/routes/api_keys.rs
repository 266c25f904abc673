//! API keys: made with a role and a scope, shown once, revoked for ever.

use actors::model::{BrandId, BrandSet, FieldClass, Scope};
use actors::registry::{ApiKey, NewApiKey};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::auth::{ROLES, Role};
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "API keys";
    crate::http::routes()
        .get(
            "/api/v1/api-keys",
            Permission::KeysManage,
            list,
            doc(tag, "Keys, revoked ones too, without their secrets")
                .query::<ListQuery>()
                .lists::<KeyAnswer>(),
        )
        .post(
            "/api/v1/api-keys",
            Permission::KeysManage,
            create,
            doc(tag, "Make a key")
                .enters("api_key", "create")
                .more("It sees no more than its maker. The key itself is shown this once.")
                .body::<KeyInput>()
                .written::<NewKeyAnswer>(),
        )
        .delete(
            "/api/v1/api-keys/{id}",
            Permission::KeysManage,
            revoke,
            doc(tag, "Revoke a key, for ever")
                .enters("api_key", "revoke")
                .written::<RevokedAnswer>(),
        )
        .get(
            "/api/v1/me",
            Permission::StatsRead,
            me,
            doc(tag, "What the key of this request may do and see").answers::<MeAnswer>(),
        )
}

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyInput {
    /// What it is for.
    pub name: String,
    /// What it may do: `admin`, `manager`, `analyst`, `viewer`.
    #[schema(example = "viewer")]
    pub role: String,
    /// Brands that it sees; left out: all.
    pub brands: Option<Vec<u32>>,
    /// Most personal class of fields that it sees unmasked: `P0` to `P3`; left out: `P3`.
    #[schema(value_type = Option<String>, example = "P1")]
    pub fields: Option<FieldClass>,
}

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyAnswer {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// Its first characters.
    pub hint: String,
    /// What it may do.
    pub role: String,
    /// Brands that it sees; null: all.
    pub brands: Option<Vec<u32>>,
    /// Most personal class of fields that it sees unmasked.
    #[schema(value_type = String)]
    pub fields: FieldClass,
    /// When it was made.
    pub created: String,
    /// When it was last noted as used.
    pub last_used: Option<String>,
    /// When it was revoked.
    pub revoked: Option<String>,
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewKeyAnswer {
    /// What the list shows.
    #[serde(flatten)]
    pub info: KeyAnswer,
    /// The key, shown this once.
    pub key: String,
}

/// A revoked key.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevokedAnswer {
    /// Its number.
    pub id: i64,
    /// Always true.
    pub revoked: bool,
}

/// What a key may do and see.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeAnswer {
    /// Name of the key.
    pub name: String,
    /// Its permissions.
    pub permissions: Vec<&'static str>,
    /// Brands that it sees; null: all.
    pub brands: Option<Vec<u32>>,
    /// Most personal class of fields that it sees unmasked.
    #[schema(value_type = String)]
    pub fields: FieldClass,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<KeyAnswer>>, ApiError> {
    let (limit, cursor) = query.registry()?;
    let page = shared
        .registry()
        .api_key_list(&caller.scope, limit, cursor)
        .await?;
    Ok(Json(Page {
        items: page.items.iter().map(answer).collect(),
        next_cursor: page.next_cursor,
    }))
}

async fn create(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<KeyInput>,
) -> Result<Written<NewKeyAnswer>, ApiError> {
    let Some(role) = Role::find(&input.role) else {
        let known: Vec<_> = ROLES.iter().map(|role| role.name).collect();
        let message = format!(
            "there is no role `{}`; there are: {}",
            input.role,
            known.join(", ")
        );
        return Err(ApiError::new("body_invalid", message).field("role"));
    };
    if !role.permissions().within(caller.permissions) {
        let message = "a key cannot do more than its maker";
        return Err(ApiError::new("permission_missing", message).field("role"));
    }
    let brands = match input.brands {
        None => BrandSet::All,
        Some(brands) => {
            let brands: Vec<BrandId> = brands.into_iter().map(BrandId).collect();
            shared.brands_exist(&brands, "brands").await?;
            BrandSet::Only(brands)
        }
    };
    let new = NewApiKey {
        name: input.name,
        scope: Scope {
            brands,
            fields: input.fields.unwrap_or(FieldClass::P3),
        },
        role: role.name.to_owned(),
    };
    let (made, secret) = shared
        .registry()
        .api_key_create(&caller.scope, new, shared.now())
        .await?;
    let made = NewKeyAnswer {
        info: answer(&made),
        key: secret.reveal().to_owned(),
    };
    let item = made.info.id;
    let detail = format!("role {}", made.info.role);
    Ok(Written::created(shared.token(), made)
        .about(item)
        .detail(detail))
}

async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<i64>,
) -> Result<Written<RevokedAnswer>, ApiError> {
    shared
        .registry()
        .api_key_revoke(&caller.scope, id, shared.now())
        .await?;
    Ok(Written::changed(
        shared.token(),
        RevokedAnswer { id, revoked: true },
    ))
}

async fn me(caller: Caller) -> Json<MeAnswer> {
    Json(MeAnswer {
        permissions: Permission::ALL
            .iter()
            .filter(|permission| caller.permissions.has(**permission))
            .map(|permission| permission.as_str())
            .collect(),
        brands: brands(&caller.scope),
        fields: caller.scope.fields,
        name: caller.name,
    })
}

fn brands(scope: &Scope) -> Option<Vec<u32>> {
    match &scope.brands {
        BrandSet::All => None,
        BrandSet::Only(brands) => Some(brands.iter().map(|brand| brand.0).collect()),
    }
}

fn answer(key: &ApiKey) -> KeyAnswer {
    KeyAnswer {
        id: key.id,
        name: key.name.clone(),
        hint: key.hint.clone(),
        role: key.role.clone(),
        brands: brands(&key.scope),
        fields: key.scope.fields,
        created: key.created.rfc3339(),
        last_used: key.last_used.map(|at| at.rfc3339()),
        revoked: key.revoked.map(|at| at.rfc3339()),
    }
}
