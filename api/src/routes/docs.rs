//! OpenAPI as JSON, and a page to browse it; both are compiled into the binary.

use std::sync::{Arc, OnceLock};

use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};

use crate::error::ApiError;
use crate::http::{Permission, Routes, Segment, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    crate::http::routes()
        .get(
            "/openapi.json",
            Permission::Public,
            openapi,
            doc("Documentation", "This document").media("application/json"),
        )
        .get(
            "/docs",
            Permission::Public,
            async || Redirect::to("/docs/"),
            doc("Documentation", "To the page").media("text/html"),
        )
        .get(
            "/docs/",
            Permission::Public,
            async || asset("index.html"),
            doc("Documentation", "A page to browse and try this document").media("text/html"),
        )
        .get(
            "/docs/{file}",
            Permission::Public,
            async |Segment(file): Segment<String>| asset(&file),
            doc("Documentation", "Parts of the page").media("application/octet-stream"),
        )
}

async fn openapi() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let document = crate::openapi::document(&super::all());
        serde_json::to_string(&document).expect("the document is plain JSON")
    });
    let media = [(header::CONTENT_TYPE, "application/json")];
    (media, text.as_str()).into_response()
}

fn asset(file: &str) -> Result<Response, ApiError> {
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    match utoipa_swagger_ui::serve(file, config) {
        Ok(Some(found)) => {
            let media = [(header::CONTENT_TYPE, found.content_type)];
            Ok((media, found.bytes.to_vec()).into_response())
        }
        _ => Err(ApiError::not_found("page")),
    }
}
