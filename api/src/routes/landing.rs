//! The page at `/`: what runs here, where the documentation is, and live figures for whoever has a key.
//!
//! Absent on purpose: any figure without a key.

use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::ApiError;
use crate::http::{Permission, Query, Routes, doc};

const PAGE_ZH: &str = include_str!("landing/zh.html");
const PAGE_EN: &str = include_str!("landing/en.html");
const SCRIPT: &str = include_str!("landing/landing.js");
const STYLE: &str = include_str!("landing/landing.css");

/// Only our own two files may run or style anything.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The routes of this topic.
pub fn routes() -> Routes {
    let part = |summary| doc("Documentation", summary);
    crate::http::routes()
        .get(
            "/",
            Permission::Public,
            page,
            part("What runs here")
                .query::<Language>()
                .media("text/html"),
        )
        .get(
            "/landing.js",
            Permission::Public,
            async || text("text/javascript; charset=utf-8", SCRIPT),
            part("Script of the page").media("text/javascript"),
        )
        .get(
            "/landing.css",
            Permission::Public,
            async || text("text/css; charset=utf-8", STYLE),
            part("Style of the page").media("text/css"),
        )
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Language {
    /// `zh` or `en`; otherwise what the browser prefers.
    lang: Option<String>,
}

async fn page(Query(language): Query<Language>, headers: HeaderMap) -> Result<Response, ApiError> {
    let english = match language.lang.as_deref() {
        Some("en") => true,
        Some("zh") => false,
        Some(_) => {
            let refusal = ApiError::new("parameter_form", "lang is zh or en");
            return Err(refusal.field("lang"));
        }
        None => prefers_english(&headers),
    };
    let page = if english { PAGE_EN } else { PAGE_ZH };
    let mut response = text("text/html; charset=utf-8", page);
    response.headers_mut().insert(
        HeaderName::from_static("content-security-policy"),
        header::HeaderValue::from_static(POLICY),
    );
    Ok(response)
}

fn text(media: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media)], body).into_response()
}

/// The first language of `Accept-Language` that we have; Chinese if there is none.
fn prefers_english(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("zh");
    let first = accepted
        .split(',')
        .map(|part| part.trim().to_ascii_lowercase())
        .find(|part| part.starts_with("zh") || part.starts_with("en"));
    first.is_some_and(|part| part.starts_with("en"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_unless_english_comes_first() {
        for (accepted, english) in [
            ("", false),
            ("fr", false),
            ("zh-CN,zh;q=0.9,en;q=0.8", false),
            ("en-US,en;q=0.5", true),
            ("de, EN;q=0.7, zh;q=0.3", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, accepted.parse().unwrap());
            assert_eq!(prefers_english(&headers), english, "{accepted}");
        }
    }

    #[test]
    fn both_pages_show_the_same_figures() {
        let figures = |page: &str| -> Vec<String> {
            page.split("data-figure=\"")
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(figures(PAGE_ZH), figures(PAGE_EN));
        assert!(figures(PAGE_ZH).len() >= 6);
    }
}
