//! What a request leaves behind: one log line and its metrics; an entry in the audit chain if it did something; and the
//! header that every write answers.
//!
//! Neither holds the query string, headers or bodies: they may be personal. Paths appear as their pattern.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use actors::model::{BrandId, BrandSet, Token};
use actors::registry::Act;
use axum::response::IntoResponse;

use crate::app::Shared;
use crate::error::{ApiError, ErrorCode, chain};
use crate::http::Caller;

/// The header of an acknowledged write; `?after=` takes its value.
pub static TOKEN: HeaderName = HeaderName::from_static("tributary-token");

/// Requests slower than this are logged as a warning: ten times what a read may take.
const SLOW_MS: u128 = 1_000;

/// Logs and counts a request.
pub async fn follow(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    let code = response.extensions().get::<ErrorCode>().map(|code| code.0);
    let labels = [
        ("method", method.to_owned()),
        ("route", route.clone()),
        ("status", status.to_string()),
    ];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_seconds", "route" => route.clone()).record(elapsed);
    let ms = elapsed.as_millis();
    if status >= 500 || ms >= SLOW_MS {
        tracing::warn!(method, route, status, code, ms, "request");
    } else if status >= 400 {
        tracing::info!(method, route, status, code, ms, "request");
    } else {
        tracing::debug!(method, route, status, ms, "request");
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

/// A method as logs and metrics name it. HTTP takes any word: each would be a metric of its own for ever.
fn method_label(method: &Method) -> &'static str {
    const USUAL: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    USUAL
        .into_iter()
        .find(|usual| method.as_str() == *usual)
        .unwrap_or("other")
}

/// What an answer tells the audit chain beside what the route says. Never personal data: it cannot be erased.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Which thing; left out: what the path names.
    pub item: Option<String>,
    /// The brand that it belongs to; left out: that of a caller who sees one brand only, else the group.
    pub brand: Option<BrandId>,
    /// More, for people.
    pub detail: String,
}

/// Runs a request whose deed the audit chain must hear of. It runs to its end also if the caller hangs up meanwhile:
/// otherwise whoever hangs up in time would have done it without an entry.
pub async fn enter(
    shared: Shared,
    caller: Caller,
    (kind, action): (&'static str, &'static str),
    request: Request,
    next: Next,
) -> Response {
    let done = tokio::spawn(async move {
        let named = path_values(&request);
        let response = next.run(request).await;
        let status = response.status();
        // What ended with an error of ours may be done, in part or altogether: commands that wait for their decision.
        if !status.is_success() && !status.is_server_error() {
            return response;
        }
        let mut about = response
            .extensions()
            .get::<About>()
            .cloned()
            .unwrap_or_default();
        if status.is_server_error() {
            let code = response.extensions().get::<ErrorCode>().map(|it| it.0);
            about.detail = format!("answered {} {}", status.as_u16(), code.unwrap_or_default());
        }
        let one_brand = match &caller.scope.brands {
            BrandSet::Only(brands) if brands.len() == 1 => brands.iter().next().copied(),
            _ => None,
        };
        let brand = about.brand.or(one_brand).unwrap_or(BrandId(0));
        let act = Act {
            detail: about.detail,
            ..caller.act(kind, action, about.item.unwrap_or(named), brand)
        };
        if let Err(error) = shared.registry().audit(&act, shared.now()).await {
            // It is done, so the caller hears of that; this line is what is left.
            let Act { by, item, .. } = &act;
            tracing::error!(error = %chain(&error), by, action, kind, item, "no entry in the audit chain");
        }
        response
    });
    done.await.unwrap_or_else(|error| {
        tracing::error!(%error, kind, action, "a request failed");
        ApiError::new("internal", "the server could not do this").into_response()
    })
}

/// The values of a path's parameters.
fn path_values(request: &Request) -> String {
    let Some(pattern) = request.extensions().get::<MatchedPath>() else {
        return String::new();
    };
    let named = pattern
        .as_str()
        .split('/')
        .zip(request.uri().path().split('/'))
        .filter(|(pattern, _)| pattern.starts_with('{'))
        .map(|(_, value)| value);
    named.collect::<Vec<_>>().join("/")
}

/// The header value of a token.
pub fn token_header(token: Token) -> HeaderValue {
    HeaderValue::try_from(token.to_string()).expect("digits and a dash are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_strangers_are_no_metrics() {
        for (method, label) in [
            ("GET", "GET"),
            ("PATCH", "PATCH"),
            ("BREW", "other"),
            ("get", "other"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(method_label(&method), label);
        }
    }
}
