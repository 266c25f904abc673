//! The answer to a write: what came of it, and the token that reads take as `?after=`.

use actors::model::{BrandId, Token};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::trail::{self, About};

/// What a write answers: the fields of `T`, the token beside them and in the header.
#[derive(Debug, Serialize, ToSchema)]
pub struct Written<T> {
    /// Pass it as `?after=` to read what follows from this write.
    #[schema(example = "0-17")]
    pub token: Option<String>,
    /// What came of it.
    #[serde(flatten)]
    pub result: T,
    #[serde(skip)]
    #[schema(ignore)]
    created: bool,
    #[serde(skip)]
    #[schema(ignore)]
    about: About,
}

impl<T> Written<T> {
    /// A change.
    pub fn changed(token: impl Into<Option<Token>>, result: T) -> Written<T> {
        Written {
            token: token.into().map(|token: Token| token.to_string()),
            result,
            created: false,
            about: About::default(),
        }
    }

    /// Tells the audit chain which thing was written, for routes whose path does not say.
    #[must_use]
    pub fn about(mut self, item: impl ToString) -> Written<T> {
        self.about.item = Some(item.to_string());
        self
    }

    /// Tells the audit chain to which brand it belongs.
    #[must_use]
    pub fn of_brand(mut self, brand: BrandId) -> Written<T> {
        self.about.brand = Some(brand);
        self
    }

    /// Tells the audit chain more. Never personal data: it cannot be erased.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Written<T> {
        self.about.detail = detail.into();
        self
    }

    /// Something new: answers 201.
    pub fn created(token: impl Into<Option<Token>>, result: T) -> Written<T> {
        Written {
            created: true,
            ..Written::changed(token, result)
        }
    }
}

impl<T: Serialize> IntoResponse for Written<T> {
    fn into_response(mut self) -> Response {
        let about = std::mem::take(&mut self.about);
        let status = if self.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let token = self.token.as_deref().and_then(|token| token.parse().ok());
        let mut response = (status, axum::Json(self)).into_response();
        response.extensions_mut().insert(about);
        if let Some(token) = token {
            let value = trail::token_header(token);
            response.headers_mut().insert(trail::TOKEN.clone(), value);
        }
        response
    }
}
