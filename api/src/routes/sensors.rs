//! Events in as the SDKs of Sensors Analytics (神策) send them: `/sa`, `/sa.gif` and `/debug`.
//!
//! `server_url` of an SDK is `http://host/sa?project=default&token=WRITE_KEY`. 200 means durable. Data that cannot be read
//! is answered 200 as well and becomes a dead letter: SDKs would drop it, or send it again for ever. `/debug` says what is
//! wrong instead, and keeps nothing then.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ingest::{Admitted, Protocol};

use super::events::{Rejected, SOURCE, named_source, rejected};
use crate::app::{Sender, Shared};
use crate::error::ApiError;
use crate::http::{Permission, Routes, doc, read_body, trail};

/// A transparent picture of one pixel.
const PIXEL: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;";

/// Requests up to this size are taken apart where they are: handing over costs more.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// The routes of this topic.
pub fn routes() -> Routes {
    let send = Permission::EventsSend;
    let about = |summary| {
        doc("Events in", summary)
            .more(
                "Sensors Analytics (神策): unmodified SDKs work with `server_url` set to \
                 `https://host/sa?project=default&token=WRITE_KEY`. Fields `data` or `data_list` (base64 of JSON or of \
                 gzip of JSON), `gzip`, `crc`, `ext`, in the query or the body, whatever its media type. 200 means \
                 durable; what cannot be read is answered 200, too, and becomes a dead letter.",
            )
            .media("text/plain")
    };
    let pixel = |summary| {
        doc("Events in", summary)
            .more("As `/sa`; answers a picture of one pixel.")
            .media("image/gif")
    };
    let debug = |summary| {
        doc("Events in", summary)
            .more(
                "As `/sa`, for the debug modes of SDKs: 400 says what is wrong and keeps nothing. With `Dry-Run: true` \
                 nothing is kept in any case.",
            )
            .answers::<Debug>()
    };
    crate::http::routes()
        .get("/sa", send, take, about("神策 SDKs: data in the URL"))
        .post("/sa", send, take, about("神策 SDKs: data in the body"))
        .get(
            "/sa.gif",
            send,
            take_pixel,
            pixel("神策 web SDK: a picture"),
        )
        .post(
            "/sa.gif",
            send,
            take_pixel,
            pixel("神策 web SDK: ajax and beacon"),
        )
        .get(
            "/debug",
            send,
            take_debug,
            debug("神策 SDKs in debug mode: data in the URL"),
        )
        .post("/debug", send, take_debug, debug("神策 SDKs in debug mode"))
}

/// What the debug modes are told.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct Debug {
    /// Records that are right.
    pub accepted: usize,
    /// Whether they were kept.
    pub stored: bool,
    /// Records that are wrong, and why.
    pub rejected: Vec<Rejected>,
}

async fn take(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
    Ok(answer(keep(&shared, request).await?, "text/plain", &[]))
}

async fn take_pixel(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
    Ok(answer(keep(&shared, request).await?, "image/gif", PIXEL))
}

async fn take_debug(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let dry = request
        .headers()
        .get("dry-run")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let admitted = admit(&shared, request).await?;
    let wrong: Vec<Rejected> = admitted
        .rejected()
        .map(|(index, reject)| rejected(index, reject))
        .collect();
    let right = wrong.is_empty();
    let accepted = admitted.records.len() - wrong.len();
    let stored = right && !dry && accepted > 0;
    let token = match stored {
        true => Some(shared.append(admitted.records).await?),
        false => None,
    };
    let status = match right {
        true => StatusCode::OK,
        false => StatusCode::BAD_REQUEST,
    };
    let body = Debug {
        accepted,
        stored,
        rejected: wrong,
    };
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(token) = token {
        let headers = response.headers_mut();
        headers.insert(trail::TOKEN.clone(), trail::token_header(token));
    }
    Ok(response)
}

fn answer(
    token: Option<actors::model::Token>,
    media: &'static str,
    body: &'static [u8],
) -> Response {
    // Browsers must not answer a pixel from their cache.
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = (StatusCode::OK, headers, body).into_response();
    if let Some(token) = token {
        let headers = response.headers_mut();
        headers.insert(trail::TOKEN.clone(), trail::token_header(token));
    }
    response
}

/// All of a request is kept: right records as events, the others as dead letters.
async fn keep(shared: &Shared, request: Request) -> Result<Option<actors::model::Token>, ApiError> {
    let admitted = admit(shared, request).await?;
    match admitted.records {
        records if records.is_empty() => Ok(None),
        records => Ok(Some(shared.append(records).await?)),
    }
}

async fn admit(shared: &Shared, request: Request) -> Result<Admitted, ApiError> {
    let (parts, body) = request.into_parts();
    let max = ingest::limits::body_bytes(Protocol::Sensors);
    let body = read_body(shared, &parts.headers, body, max).await?;
    let source = source(shared, &parts).await?;
    let rates = shared.clone();
    let (received, nonce) = (shared.now(), shared.nonce());
    let bytes = body.len() + parts.uri.query().map_or(0, str::len);
    let admit = move || -> Result<Admitted, ApiError> {
        let request = ingest::Request {
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &[],
            received,
            nonce,
            body,
        };
        let admitted = ingest::admit(Protocol::Sensors, &source.info, request)?;
        rates.within_rate(&source, admitted.records.len())?;
        Ok(admitted)
    };
    if bytes < INLINE_BYTES_MAX {
        return admit();
    }
    // Unpacking takes milliseconds of pure computing, which must not hold up the sockets of this thread.
    let done = tokio::task::spawn_blocking(admit).await;
    done.map_err(|error| {
        tracing::error!(%error, "taking a request apart failed");
        ApiError::new("internal", "the server could not do this")
    })?
}

async fn source(shared: &Shared, parts: &Parts) -> Result<Sender, ApiError> {
    let headers: &HeaderMap = &parts.headers;
    if let Some(id) = headers.get(SOURCE) {
        return named_source(shared, headers, id).await;
    }
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let key = ingest::sensors_key(authorization, parts.uri.query());
    let key = key.ok_or_else(|| {
        let message = "no write key: set it as `token` in the SDK's server_url";
        ApiError::new("write_key_missing", message)
    })?;
    shared.source(&key).await
}
