//! The answer to a write: what came of it, and the token that reads take as `?after=`.

use actors::model::Token;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::trail;

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
}

impl<T> Written<T> {
    /// A change.
    pub fn changed(token: impl Into<Option<Token>>, result: T) -> Written<T> {
        Written {
            token: token.into().map(|token: Token| token.to_string()),
            result,
            created: false,
        }
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
    fn into_response(self) -> Response {
        let status = if self.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let token = self.token.as_deref().and_then(|token| token.parse().ok());
        let mut response = (status, axum::Json(self)).into_response();
        if let Some(token) = token {
            let value = trail::token_header(token);
            response.headers_mut().insert(trail::TOKEN.clone(), value);
        }
        response
    }
}
