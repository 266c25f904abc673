//! What a handler reads from a request: the body within its limit and time, JSON of a known form, query and path.
//!
//! All of them refuse with an [`ApiError`], so that no answer has another shape than ours. Bodies are never read in
//! another way: the limits live here.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::app::Shared;
use crate::error::ApiError;

/// Bytes of a JSON body of `/api/v1`. The largest is a fixed dead letter, an order of 4 MiB; all else is far smaller.
pub const API_BODY_BYTES: usize = 5 * 1024 * 1024;

/// Bytes thrown away behind a body that is too large: covers honest mistakes, such as a file sent as one batch.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time for that.
const LINGER_TIME_MAX: Duration = Duration::from_secs(10);

/// Reads a whole body, at most `max` bytes within `http.body_timeout_s` and the memory that is left for bodies.
pub async fn read_body(
    shared: &Shared,
    headers: &HeaderMap,
    body: axum::body::Body,
    max: usize,
) -> Result<Bytes, ApiError> {
    let within = shared.config.http.body_timeout;
    let mut room = shared.bodies.room();
    let too_large = || {
        let message = format!("the body is larger than {max} bytes");
        ApiError::new("body_too_large", message)
    };
    let told = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|bytes| bytes > max) {
        linger(body);
        return Err(too_large());
    }
    let read = async {
        let mut body = body;
        let mut whole = BytesMut::new();
        let mut first = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                ApiError::new("body_shape", format!("the body broke off: {error}"))
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let bytes = whole.len() + first.as_ref().map_or(0, Bytes::len) + data.len();
            if bytes > max {
                linger(body);
                return Err(too_large());
            }
            if let Err(full) = room.grow(bytes) {
                linger(body);
                return Err(full);
            }
            // Most bodies come in one piece and are kept without a copy.
            match (first.take(), whole.is_empty()) {
                (None, true) => first = Some(data),
                (Some(before), _) => {
                    whole.reserve(told.unwrap_or(0).max(before.len() + data.len()));
                    whole.extend_from_slice(&before);
                    whole.extend_from_slice(&data);
                }
                (None, false) => whole.extend_from_slice(&data),
            }
        }
        Ok(room.keep(first.unwrap_or_else(|| whole.freeze())))
    };
    tokio::time::timeout(within, read).await.map_err(|_| {
        let message = format!("the body was not there within {} s", within.as_secs());
        ApiError::new("body_timeout", message)
    })?
}

/// Reads on and throws away, while the refusal is being sent: a client that is still sending would otherwise see its
/// connection reset and never the answer.
pub(super) fn linger(mut body: axum::body::Body) {
    tokio::spawn(async move {
        let drain = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > LINGER_BYTES_MAX {
                    break;
                }
            }
        };
        // Whoever is slower than this loses the answer.
        let _ = tokio::time::timeout(LINGER_TIME_MAX, drain).await;
    });
}

/// The bytes of a body of `/api/v1`.
pub struct Body(pub Bytes);

impl FromRequest<Shared> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        read_body(shared, &parts.headers, body, API_BODY_BYTES)
            .await
            .map(Body)
    }
}

/// A JSON body of a known form, whatever its media type says.
pub struct Input<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, ApiError> {
        let Body(bytes) = Body::from_request(request, shared).await?;
        parse_json(&bytes).map(Input)
    }
}

/// Parses JSON of a known form; the error names the field.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::new("body_empty", "the body is empty"));
    }
    // serde_json stops at 128 levels by itself, which guards the stack.
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        let code = match inner.classify() {
            serde_json::error::Category::Data => "body_invalid",
            _ if inner.to_string().starts_with("recursion limit") => "body_too_deep",
            _ => "body_not_json",
        };
        ApiError::misfit(code, &field, &inner.to_string())
    })?;
    reader
        .end()
        .map_err(|error| ApiError::new("body_not_json", error.to_string()))?;
    Ok(value)
}

/// Query parameters of a known form. `T` should deny unknown fields; `after` is no field of it, see
/// [`super::auth::check`].
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let own: Vec<&str> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("after="))
            .collect();
        let refuse = |message: String| ApiError::new("parameter_form", message);
        let uri = Uri::try_from(format!("/?{}", own.join("&")))
            .map_err(|error| refuse(error.to_string()))?;
        axum::extract::Query::try_from_uri(&uri)
            .map(|axum::extract::Query(value)| Query(value))
            .map_err(|error| parameter(&error.body_text()))
    }
}

/// The parameter that a text of axum is about: `Failed to deserialize query string: limit: invalid digit …`.
fn parameter(text: &str) -> ApiError {
    let text = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(text);
    let named = text.split_once(": ").filter(|(name, _)| {
        let mut bytes = name.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    });
    match named {
        Some((name, what)) => ApiError::misfit("parameter_form", name, &format!("{name}: {what}")),
        None => ApiError::misfit("parameter_form", "", text),
    }
}

/// What makes a repeated command the same one: the header `Idempotency-Key`, or a value of its own.
pub struct RequestId(pub Box<str>);

/// Longest `Idempotency-Key`: a UUID with a prefix, several times over. Each is remembered with its decision.
const REQUEST_ID_CHARS_MAX: usize = 200;

impl FromRequestParts<Shared> for RequestId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            // The leading word keeps ours apart from those of callers.
            let own = format!("auto {} {}", shared.now().0, shared.nonce());
            return Ok(RequestId(own.into()));
        };
        let text = value
            .to_str()
            .ok()
            .filter(|text| (1..=REQUEST_ID_CHARS_MAX).contains(&text.len()))
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
        match text {
            Some(text) => Ok(RequestId(text.into())),
            None => {
                let message = "the idempotency key is empty, too long or not visible ASCII";
                Err(ApiError::new("idempotency_key_form", message).field("Idempotency-Key"))
            }
        }
    }
}

/// Path parameters of a known form.
pub struct Segment<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Segment<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        Path::from_request_parts(parts, shared)
            .await
            .map(|Path(value)| Segment(value))
            .map_err(|error| ApiError::new("path_form", error.body_text()))
    }
}

/// The version in `If-Match`, with or without quotes.
pub fn if_match(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim_matches('"');
    text.parse().map(Some).map_err(|_| {
        let message = "If-Match is no version, e.g. \"3\"";
        ApiError::new("parameter_form", message).field("If-Match")
    })
}
