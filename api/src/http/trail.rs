//! What a request leaves behind: one log line and its metrics; and the header that every write answers.
//!
//! Neither holds the query string, headers or bodies: they may be personal. Paths appear as their pattern.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use actors::model::Token;

use crate::error::ErrorCode;

/// The header of an acknowledged write; `?after=` takes its value.
pub static TOKEN: HeaderName = HeaderName::from_static("tributary-token");

/// Requests slower than this are logged as a warning: ten times what a read may take.
const SLOW_MS: u128 = 1_000;

/// Logs and counts a request.
pub async fn follow(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    let code = response.extensions().get::<ErrorCode>().map(|code| code.0);
    let labels = [
        ("method", method.to_string()),
        ("route", route.clone()),
        ("status", status.to_string()),
    ];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_seconds", "route" => route.clone()).record(elapsed);
    let ms = elapsed.as_millis();
    if status >= 500 || ms >= SLOW_MS {
        tracing::warn!(%method, route, status, code, ms, "request");
    } else if status >= 400 {
        tracing::info!(%method, route, status, code, ms, "request");
    } else {
        tracing::debug!(%method, route, status, ms, "request");
    }
    // Answers are never to be taken for another type or framed, whatever a proxy makes of them.
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The header value of a token.
pub fn token_header(token: Token) -> HeaderValue {
    HeaderValue::try_from(token.to_string()).expect("digits and a dash are a header value")
}
