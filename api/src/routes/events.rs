//! Events in over HTTP: the Segment and RudderStack tracking API, CloudEvents, scans, our own JSON.
//!
//! 200 is answered only after the events are durable. Which parser reads a body depends on the path alone, never on its
//! media type, and one bad event never fails its batch.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ingest::{Protocol, Reject, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use actors::model::{SourceId, Token};

use crate::app::{Sender, Shared, source_info};
use crate::error::ApiError;
use crate::http::auth;
use crate::http::{Doc, Permission, Routes, Segment, doc, read_body, trail};

/// Names and letters of the tracking API. Server SDKs use `batch` only; browsers also use the letters.
const TRACKING: &[(&str, &str)] = &[
    ("/v1/identify", "Attributes of a person"),
    ("/v1/i", "Attributes of a person"),
    ("/v1/track", "Something a person did"),
    ("/v1/t", "Something a person did"),
    ("/v1/page", "A page was seen"),
    ("/v1/p", "A page was seen"),
    ("/v1/screen", "A screen was seen"),
    ("/v1/s", "A screen was seen"),
    ("/v1/group", "A person belongs to a group"),
    ("/v1/g", "A person belongs to a group"),
    ("/v1/alias", "Two ids are one person"),
    ("/v1/a", "Two ids are one person"),
    ("/v1/batch", "Up to 2,500 calls at once"),
    ("/v1/b", "Up to 2,500 calls at once"),
    ("/v1/import", "Up to 2,500 calls of the past at once"),
];

/// The tracking API.
fn tracking() -> Routes {
    let settings = doc("Events in", "Settings that browser SDKs load first")
        .answers::<serde_json::Value>()
        .more("Segment's form; says where to send events.");
    let list = crate::http::routes().get(
        "/v1/projects/{write_key}/settings",
        Permission::EventsSend,
        settings_of_project,
        settings,
    );
    TRACKING.iter().fold(list, |list, (path, summary)| {
        let doc = doc("Events in", summary)
            .more(
                "Segment and RudderStack tracking API: unmodified SDKs work by changing the host. gzip is recognised by \
                 its first bytes. 200 `{\"success\":true}` means durable.",
            )
            .body::<serde_json::Value>()
            .answers::<Success>();
        list.post(path, Permission::EventsSend, track, doc)
    })
}

/// The routes of this topic.
pub fn routes() -> Routes {
    let own = |summary, more| -> Doc {
        doc("Events in", summary)
            .more(more)
            .body::<serde_json::Value>()
            .answers::<Taken>()
    };
    let send = Permission::EventsSend;
    tracking()
        .post(
            "/v1/cloudevents",
            send,
            cloudevents,
            own(
                "CloudEvents 1.0",
                "Structured, binary or batch; also one event per line.",
            ),
        )
        .post(
            "/v1/scan",
            send,
            scan,
            own(
                "Scans of codes",
                "One object, a list, or one object per line.",
            ),
        )
        .post(
            "/v1/events",
            send,
            events,
            own(
                "Our own events and orders",
                "One object, a list, or one object per line.",
            ),
        )
}

/// The answer of the tracking API.
#[derive(Debug, Serialize, ToSchema)]
pub struct Success {
    /// Always true: all is durable.
    pub success: bool,
}

/// The answer to our own JSON, scans and CloudEvents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Taken {
    /// Always true: all is durable.
    pub success: bool,
    /// Pass it as `?after=` to read what follows from these events.
    pub token: Option<String>,
    /// Events accepted.
    pub accepted: usize,
    /// Events set aside, with their reasons; they are in the list of dead letters.
    pub rejected: Vec<Rejected>,
}

/// One event that was set aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rejected {
    /// Place in the request, from 0.
    pub index: usize,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
    /// Where in the event.
    pub field: Option<String>,
}

/// The JSON of an error as Segment's SDKs read it: they fail on anything but an object with these two.
#[derive(Debug, Serialize)]
struct SegmentError<'a> {
    code: &'a str,
    message: &'a str,
    hint: &'a str,
}

async fn track(State(shared): State<Shared>, request: Request) -> Response {
    match take(&shared, Protocol::Segment, request).await {
        Ok(done) => done.respond(&Success { success: true }),
        Err(error) => segment_error(&error),
    }
}

async fn cloudevents(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
    take_own(&shared, Protocol::CloudEvents, request).await
}

async fn scan(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
    take_own(&shared, Protocol::Scan, request).await
}

async fn events(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
    take_own(&shared, Protocol::Own, request).await
}

async fn take_own(
    shared: &Shared,
    protocol: Protocol,
    request: Request,
) -> Result<Response, ApiError> {
    let done = take(shared, protocol, request).await?;
    let taken = Taken {
        success: true,
        token: done.token.map(|token| token.to_string()),
        accepted: done.accepted,
        rejected: done
            .rejected
            .iter()
            .map(|(index, reject)| rejected(*index, reject))
            .collect(),
    };
    Ok(done.respond(&taken))
}

fn segment_error(error: &ApiError) -> Response {
    error.respond(SegmentError {
        code: error.code(),
        message: error.message(),
        hint: error.hint(),
    })
}

/// What became of a request.
struct Done {
    token: Option<Token>,
    accepted: usize,
    rejected: Vec<(usize, Reject)>,
}

impl Done {
    fn respond(&self, body: &impl Serialize) -> Response {
        let mut response = (StatusCode::OK, axum::Json(body)).into_response();
        if let Some(token) = self.token {
            let value = trail::token_header(token);
            response.headers_mut().insert(trail::TOKEN.clone(), value);
        }
        response
    }
}

/// Reads, authenticates, admits, appends. The key may stand in the body, so the body is read first; its limit holds for
/// everybody.
async fn take(shared: &Shared, protocol: Protocol, request: Request) -> Result<Done, ApiError> {
    let (parts, body) = request.into_parts();
    let max = ingest::limits::body_bytes(protocol);
    let body = read_body(shared, &parts.headers, body, max).await?;
    let packed = body.len();
    let mut body = unpack(protocol, body).await?;
    if body.len() != packed {
        body = shared.bodies.hold(body)?;
    }
    let authorization = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let source = match parts.headers.get(SOURCE) {
        Some(id) => named_source(shared, &parts.headers, id).await?,
        None => {
            let key = ingest::write_key(authorization, parts.uri.query(), &body);
            let key = key.ok_or_else(|| {
                let message = "no write key in Authorization, query or body";
                ApiError::new("write_key_missing", message)
            })?;
            shared.source(&key).await?
        }
    };
    let headers = text_headers(&parts.headers);
    let request = ingest::Request {
        path: parts.uri.path(),
        query: "",
        headers: &headers,
        received: shared.now(),
        nonce: shared.nonce(),
        body,
    };
    let admitted = ingest::admit(protocol, &source.info, request)?;
    shared.within_rate(&source, admitted.records.len())?;
    // The sender of a single event of our own forms is told at once and nothing is kept; SDKs of the tracking API
    // would only repeat or drop it, so theirs is set aside.
    if let ([record], false, true) = (
        admitted.records.as_slice(),
        admitted.batch,
        protocol != Protocol::Segment,
    ) && let Verdict::Rejected(reject) = &record.verdict
    {
        let error = ApiError::new(reject.code.as_str(), reject.reason.clone());
        return Err(match &reject.field {
            Some(field) => error.field(field.clone()),
            None => error,
        });
    }
    let rejected: Vec<_> = admitted
        .rejected()
        .map(|(index, reject)| (index, reject.clone()))
        .collect();
    let accepted = admitted.records.len() - rejected.len();
    let token = match admitted.records {
        records if records.is_empty() => None,
        records => Some(shared.append(records).await?),
    };
    Ok(Done {
        token,
        accepted,
        rejected,
    })
}

/// Names a source by its id, for callers with an API key that may write sources: imports, whose write key nobody kept.
pub const SOURCE: &str = "tributary-source";

pub(super) async fn named_source(
    shared: &Shared,
    headers: &HeaderMap,
    id: &HeaderValue,
) -> Result<Sender, ApiError> {
    let caller = auth::caller(shared, headers, Permission::SourcesWrite).await?;
    let id = id.to_str().ok().and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| {
        ApiError::new("parameter_form", "the header names no id of a source").field(SOURCE)
    })?;
    let source = shared
        .registry()
        .source_get(&caller.scope, SourceId(id))
        .await?;
    if !source.enabled {
        return Err(ApiError::new("source_disabled", "this source is disabled"));
    }
    // Files are imported as fast as the machine goes.
    Ok(Sender {
        info: source_info(&source),
        per_second: None,
    })
}

/// Undoes gzip. Large bodies take milliseconds of pure computing, which must not hold up the sockets of this thread.
async fn unpack(protocol: Protocol, body: Bytes) -> Result<Bytes, ApiError> {
    if body.len() < INLINE_BYTES_MAX || !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(ingest::open(protocol, body)?);
    }
    let opened = tokio::task::spawn_blocking(move || ingest::open(protocol, body)).await;
    Ok(opened.map_err(|error| {
        tracing::error!(%error, "unpacking a body failed");
        ApiError::new("internal", "the server could not do this")
    })??)
}

/// Packed bodies up to this size are unpacked where they are: handing over costs more.
const INLINE_BYTES_MAX: usize = 16 * 1024;

fn text_headers(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect()
}

pub(super) fn rejected(index: usize, reject: &Reject) -> Rejected {
    Rejected {
        index,
        code: reject.code.as_str(),
        message: reject.reason.clone(),
        hint: reject.code.info().fix,
        field: reject.field.clone(),
    }
}

/// What Segment's browser SDK asks for before it sends anything.
async fn settings_of_project(
    State(shared): State<Shared>,
    Segment(key): Segment<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(error) = shared.source(&key).await {
        return segment_error(&error);
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").unwrap_or("localhost");
    let protocol = match text("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    let settings = serde_json::json!({
        "integrations": {
            "Segment.io": {
                "apiKey": key,
                "apiHost": format!("{host}/v1"),
                "protocol": protocol,
                "addBundledMetadata": true,
                "unbundledIntegrations": [],
            }
        },
        "plan": {
            "track": {"__default": {"enabled": true, "integrations": {}}},
            "identify": {"__default": {"enabled": true}},
            "group": {"__default": {"enabled": true}},
        },
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
    });
    axum::Json(settings).into_response()
}
