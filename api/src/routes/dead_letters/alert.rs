//! Alerts: so many dead letters of a sort within a window of time.
//!
//! What people define is a resource. A beat counts letters by the time of their receipt and keeps, in memory and in a small
//! file, which alerts fire; a change goes through the log, so webhooks hear of it (`dead_letters.alert`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use actors::disk::{RealDisk, read_whole, replace};
use actors::model::{BrandId, BrandSet, Scope, Time};
use actors::registry::{Item, ResourceKind, Word};
use axum::Json;
use axum::extract::State;
use cdp::control::{AlertChange, Control};
use cdp::dead::{self, DeadRow};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;

use super::filter::walk;
use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail, chain};
use crate::http::page::ListQuery;
use crate::http::{Caller, Page, Permission, Query, Routes, doc};
use crate::resource::{
    Checked, ColumnSpec, ColumnType, Context, Draft, Paths, Resource, routes as resource_routes,
};

/// How often letters are counted: nobody is called by the second.
const EVERY: Duration = Duration::from_secs(5);
/// Rows that one count reads at most: more than enough to fire whatever is defined.
const READS_MAX: usize = 500_000;
/// Longest window, in seconds: original bytes are kept for thirty days.
const WINDOW_S_MAX: u32 = 30 * 86_400;
/// Largest threshold: a count stops at [`READS_MAX`].
const COUNT_MAX: u32 = 100_000;
/// Where it is kept which alerts fire.
const FILE: &str = "dead-letter-alerts.json";

/// The kind.
pub const ALERT: ResourceKind = ResourceKind {
    name: "dead_letter_alert",
    by_code: false,
    unique_name: true,
};

/// The routes of alerts.
pub fn routes() -> Routes {
    resource_routes::<Alert>().get(
        "/api/v1/dead-letter-alerts/states",
        Permission::DeadLettersRead,
        states,
        doc("Dead letters", "Which alerts fire, since when")
            .more("Counted every five seconds. Webhooks that hear of `dead_letters.alert` are called when one begins or ends.")
            .query::<ListQuery>()
            .lists::<AlertState>(),
    )
}

/// Alerts.
pub enum Alert {}

/// When an alert fires. An alert of a brand counts letters of that brand, one of the group all.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertBody {
    /// Only letters of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<u32>,
    /// Only with this code of a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only events of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// From so many on it fires.
    #[schema(minimum = 1, maximum = 100_000)]
    pub count: u32,
    /// Received within so many seconds.
    #[serde(default = "window_default")]
    #[schema(minimum = 60, maximum = 2_592_000)]
    pub window_s: u32,
}

fn window_default() -> u32 {
    3_600
}

/// An alert and whether it fires.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlertState {
    /// Number of the alert.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// It fires.
    pub firing: bool,
    /// Since when it does, or does not; null: it never fired.
    pub since: Option<String>,
    /// Letters in its window when they were last counted.
    pub count: u64,
    /// Letters from which on it fires.
    pub threshold: u32,
}

impl Resource for Alert {
    type Body = AlertBody;

    const KIND: ResourceKind = ALERT;
    const PATHS: Paths = crate::paths!("/api/v1/dead-letter-alerts");
    const TAG: &'static str = "Dead letters";
    const READ: Permission = Permission::DeadLettersRead;
    const WRITE: Permission = Permission::DeadLettersWrite;
    const STATES: &'static [&'static str] = &["enabled", "disabled"];
    const COLUMNS: &'static [ColumnSpec] = &[ColumnSpec {
        name: "count",
        of: ColumnType::Number,
    }];

    async fn check(
        context: &Context<'_>,
        draft: Draft<'_, AlertBody>,
    ) -> Result<Checked<AlertBody>, ApiError> {
        let mut wrong = Vec::new();
        let mut check = |field: &str, fine: bool, message: String| {
            if !fine {
                wrong.push(ErrorDetail::new("body_invalid", field.to_owned(), message));
            }
        };
        let body = &draft.body;
        let message = format!("expected 1 to {COUNT_MAX}");
        check("count", (1..=COUNT_MAX).contains(&body.count), message);
        let message = format!("expected 60 to {WINDOW_S_MAX}");
        check(
            "window_s",
            (60..=WINDOW_S_MAX).contains(&body.window_s),
            message,
        );
        if let Some(source) = body.source {
            let id = actors::model::SourceId(source);
            let found = context
                .shared
                .registry()
                .source_get(&context.caller.scope, id)
                .await;
            check(
                "source",
                found.is_ok(),
                "there is no such source".to_owned(),
            );
        }
        if !wrong.is_empty() {
            return Err(ApiError::several("body_invalid", wrong));
        }
        let count = Word::Number(i64::from(body.count));
        Ok(Checked {
            body: draft.body,
            fields: vec![("count", count)],
            search: Vec::new(),
            uses: Vec::new(),
        })
    }
}

/// Which alerts fire.
pub struct Alerts {
    file: PathBuf,
    known: Mutex<BTreeMap<i64, Known>>,
}

/// What is known of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    firing: bool,
    since: Option<Time>,
    #[serde(skip)]
    count: u64,
}

impl Alerts {
    /// Those of a data folder.
    pub fn open(data: &std::path::Path) -> Alerts {
        let file = data.join(FILE);
        // Without the file those that fire are told once more.
        let known = read_whole(&RealDisk, &file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Alerts {
            file,
            known: Mutex::new(known.unwrap_or_default()),
        }
    }

    fn write(&self) {
        let json =
            serde_json::to_vec(&*self.known.lock()).expect("numbers and booleans are plain JSON");
        if let Err(error) = replace(&RealDisk, &self.file, &json) {
            tracing::warn!(%error, "which alerts fire is not written");
        }
    }
}

async fn states(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<AlertState>>, ApiError> {
    let items = shared.registry().resource_all(&caller.scope, ALERT).await?;
    let known = shared.alerts().known.lock().clone();
    let states = items.iter().filter_map(|item| {
        let body = body(item)?;
        let known = known.get(&item.id).copied().unwrap_or_default();
        Some(AlertState {
            id: item.id,
            name: item.name.clone(),
            firing: known.firing,
            since: known.since.map(Time::rfc3339),
            count: known.count,
            threshold: body.count,
        })
    });
    Page::slice(states.collect(), &query.paging()).map(Json)
}

fn body(item: &Item) -> Option<AlertBody> {
    serde_json::from_str(&item.body).ok()
}

/// Counts until `stopped` says so.
pub async fn run(shared: Shared, mut stopped: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = look(&shared).await {
            tracing::warn!(error = error.message(), "alerts of dead letters wait");
        }
    }
}

async fn look(shared: &Shared) -> Result<(), ApiError> {
    let all = shared
        .registry()
        .resource_all(&Scope::installation(), ALERT)
        .await?;
    let now = shared.now();
    let enabled: Vec<(Item, AlertBody)> = all
        .into_iter()
        .filter(|item| item.state == "enabled")
        .filter_map(|item| {
            let body = body(&item)?;
            Some((item, body))
        })
        .collect();
    if enabled.is_empty() && shared.alerts().known.lock().is_empty() {
        return Ok(());
    }
    let counting = shared.clone();
    let counted = tokio::task::spawn_blocking(move || {
        let counts = count(&counting, &enabled, now);
        (enabled, counts)
    });
    let (enabled, counts) = counted.await.map_err(|error| {
        tracing::error!(%error, "counting dead letters failed");
        ApiError::new("internal", "the server could not do this")
    })?;
    let counts = counts?;
    let mut changes = Vec::new();
    {
        let mut known = shared.alerts().known.lock();
        // What was disabled or removed neither fires nor is told.
        known.retain(|id, _| enabled.iter().any(|(item, _)| item.id == *id));
        for ((item, body), count) in enabled.iter().zip(counts) {
            let firing = count >= u64::from(body.count);
            let state = known.entry(item.id).or_default();
            state.count = count;
            if state.firing != firing {
                changes.push(Control::Alert(AlertChange {
                    id: u32::try_from(item.id).unwrap_or(u32::MAX),
                    name: item.name.as_str().into(),
                    brand: item.brand,
                    source: body.source,
                    code: body.reason.as_deref().map(Into::into),
                    event: body.event.as_deref().map(Into::into),
                    firing,
                    count,
                    threshold: body.count,
                    window_s: body.window_s,
                    at: now,
                }));
            }
            let labels = [("alert", item.id.to_string())];
            metrics::gauge!("tributary_dead_letter_alert", &labels)
                .set(f64::from(u8::from(firing)));
            metrics::gauge!("tributary_dead_letter_alert_count", &labels).set(count as f64);
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    // Told first, then noted: a crash in between tells twice, as webhooks may anyway.
    shared
        .platform()
        .publish_all(&changes)
        .await
        .map_err(|error| {
            tracing::warn!(error = %chain(&error), "a change of an alert is not told yet");
            ApiError::from(error)
        })?;
    {
        let mut known = shared.alerts().known.lock();
        for change in &changes {
            if let Control::Alert(change) = change
                && let Some(state) = known.get_mut(&i64::from(change.id))
            {
                state.firing = change.firing;
                state.since = Some(now);
                tracing::warn!(
                    alert = &*change.name,
                    firing = change.firing,
                    count = change.count,
                    "dead letters"
                );
            }
        }
    }
    shared.alerts().write();
    Ok(())
}

/// Letters in the window of each alert, one walk for all.
fn count(shared: &Shared, alerts: &[(Item, AlertBody)], now: Time) -> Result<Vec<u64>, ApiError> {
    let mut counts = vec![0; alerts.len()];
    let begins = |body: &AlertBody| Time(now.0.saturating_sub(i64::from(body.window_s) * 1_000));
    let Some(first) = alerts.iter().map(|(_, body)| begins(body)).min() else {
        return Ok(counts);
    };
    walk(
        &shared.snapshot()?,
        &dead::key_from(first),
        READS_MAX,
        |id, row| {
            for ((item, body), count) in alerts.iter().zip(&mut counts) {
                if id.received > begins(body) && meant(item.brand, body, &row) {
                    *count += 1;
                }
            }
            true
        },
    )?;
    Ok(counts)
}

fn meant(brand: BrandId, body: &AlertBody, row: &DeadRow) -> bool {
    let scope = match brand {
        BrandId(0) => BrandSet::All,
        brand => BrandSet::Only(vec![brand]),
    };
    let scope = Scope {
        brands: scope,
        ..Scope::installation()
    };
    scope.sees(row.brand)
        && body.source.is_none_or(|source| source == row.source.0)
        && body.reason.as_deref().is_none_or(|code| code == &*row.code)
        && body
            .event
            .as_deref()
            .is_none_or(|event| row.event.as_deref() == Some(event))
}
