//! Brands of the installation.

use actors::registry::Brand;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Brands";
    crate::http::routes()
        .get(
            "/api/v1/brands",
            Permission::BrandsRead,
            list,
            doc(tag, "Brands, oldest first")
                .query::<ListQuery>()
                .lists::<BrandAnswer>(),
        )
        .post(
            "/api/v1/brands",
            Permission::BrandsWrite,
            create,
            doc(tag, "Add a brand")
                .enters("brand", "create")
                .body::<BrandInput>()
                .written::<BrandAnswer>(),
        )
}

/// A brand to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrandInput {
    /// Its name, unique.
    pub name: String,
}

/// A brand.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrandAnswer {
    /// Its id, from 1.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: String,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<BrandAnswer>>, ApiError> {
    let (limit, cursor) = query.registry()?;
    let page = shared
        .registry()
        .brand_list(&caller.scope, limit, cursor)
        .await?;
    Ok(Json(Page {
        items: page.items.iter().map(answer).collect(),
        next_cursor: page.next_cursor,
    }))
}

async fn create(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<BrandInput>,
) -> Result<Written<BrandAnswer>, ApiError> {
    let registry = shared.registry();
    let brand = registry
        .brand_create(&caller.scope, &input.name, shared.now())
        .await?;
    Ok(Written::created(shared.token(), answer(&brand)).about(brand.id.0))
}

fn answer(brand: &Brand) -> BrandAnswer {
    BrandAnswer {
        id: brand.id.0,
        name: brand.name.clone(),
        created: brand.created.rfc3339(),
    }
}
