//! Health, readiness and metrics, for whoever watches the process.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use pipelines::Writes;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Permission, Routes, doc};
use crate::telemetry;

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Health";
    crate::http::routes()
        .get(
            "/healthz",
            Permission::Public,
            async || "ok\n",
            doc(tag, "The process answers").media("text/plain"),
        )
        .get(
            "/readyz",
            Permission::Public,
            ready,
            doc(tag, "Whether requests should be sent here")
                .more(
                    "503 while it drains, or when a part stands still. A full disk leaves it at 200: reads are answered, and \
                     nobody else could take the writes; `writes` says so until there is room.",
                )
                .answers::<ReadyAnswer>(),
        )
        .get(
            "/metrics",
            Permission::Public,
            metrics,
            doc(tag, "Metrics in Prometheus' text form").media("text/plain"),
        )
}

/// Whether requests should be sent here.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadyAnswer {
    /// They should.
    pub ready: bool,
    /// `ok`; `disk_low`: writes are kept but become visible only when there is more room on the disk; `disk_full`: they are
    /// answered with 507 until there is. Reads go on.
    pub writes: &'static str,
    /// Why not.
    pub reason: Option<String>,
    /// Version of the program.
    pub version: &'static str,
    /// `system`, or `manual`: for tests, it stands still until it is set.
    pub clock: &'static str,
    /// What it takes for now.
    pub now: String,
    /// Acknowledged records that are not applied yet.
    pub lag: u64,
    /// Effects wait for a person, and why.
    pub effects_held: Option<String>,
    /// Timers wait for a person: the clock jumped.
    pub timers_held: bool,
}

async fn ready(State(shared): State<Shared>) -> Response {
    let trouble = match shared.draining() {
        true => Some("the process is stopping".to_owned()),
        false => shared.platform().trouble(),
    };
    // What cannot be found out is not the matter of who asks whether to send requests.
    let writes = shared.writes().await.unwrap_or(Writes::Taken);
    let answer = ReadyAnswer {
        ready: trouble.is_none(),
        writes: match writes {
            Writes::Taken => "ok",
            Writes::DiskLow => "disk_low",
            Writes::DiskFull => "disk_full",
        },
        version: env!("CARGO_PKG_VERSION"),
        clock: match shared.manual_clock() {
            Some(_) => "manual",
            None => "system",
        },
        now: shared.now().rfc3339(),
        lag: shared.platform().node().lag(),
        effects_held: shared
            .platform()
            .effect_hold()
            .held()
            .map(|hold| hold.reason),
        timers_held: shared.platform().node().timers_held(),
        reason: trouble,
    };
    match answer.ready {
        true => axum::Json(answer).into_response(),
        false => ApiError::new("unavailable", "not ready").respond(answer),
    }
}

async fn metrics(State(shared): State<Shared>) -> Result<Response, ApiError> {
    shared.measure().await?;
    let media = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    Ok((StatusCode::OK, media, telemetry::metrics().render()).into_response())
}
