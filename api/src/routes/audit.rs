//! The audit chain: who did what, and whether it is whole.

use actors::registry::{AuditEntry, AuditQuery};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::Paging;
use crate::http::{Caller, Page, Permission, Query, Routes, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Audit";
    crate::http::routes()
        .get(
            "/api/v1/audit",
            Permission::AuditRead,
            list,
            doc(tag, "Who did what, the newest first")
                .more("Entries about the group's own things need a key that sees the whole installation.")
                .query::<Find>()
                .lists::<AuditView>(),
        )
        .get(
            "/api/v1/audit/verify",
            Permission::AuditRead,
            verify,
            doc(tag, "Check the chain")
                .more("Every entry holds the hash of the one before. Keep `head` elsewhere: only comparing it shows that the end was cut off.")
                .answers::<VerdictView>(),
        )
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Find {
    /// Kind of thing, e.g. `segment`.
    kind: Option<String>,
    /// Which one.
    item: Option<String>,
    /// Who.
    by: Option<String>,
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// An entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Its number, without gaps.
    pub seq: i64,
    /// When.
    pub at: String,
    /// Who.
    pub by: String,
    /// The address that the request came from; none: nobody asked, or it was not noted then.
    pub address: Option<String>,
    /// The brand that it is about; 0: the group.
    pub brand: u32,
    /// What.
    pub action: String,
    /// Kind of thing.
    pub kind: String,
    /// Which one.
    pub item: String,
    /// More.
    pub detail: String,
    /// Of what has versions: the one before, 0 for none.
    pub version_before: Option<i64>,
    /// Of what has versions: the one since. `…/versions` of the resource has both.
    pub version_after: Option<i64>,
    /// Names of the fields that differ between the two.
    pub fields: Vec<String>,
    /// Hash over it and the hash before.
    pub hash: String,
}

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerdictView {
    /// Every entry fits the one before.
    pub sound: bool,
    /// Entries that fit.
    pub entries: i64,
    /// Hash of the last of them.
    pub head: String,
    /// The first entry that does not fit.
    pub broken_at: Option<i64>,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(find): Query<Find>,
) -> Result<Json<Page<AuditView>>, ApiError> {
    let paging = Paging {
        limit: find.limit,
        cursor: None,
    };
    let limit = u32::try_from(paging.limit()?).expect("a limit is at most LIMIT_MAX");
    let query = AuditQuery {
        kind: find.kind,
        item: find.item,
        by: find.by,
    };
    let page = shared
        .registry()
        .audit_list(&caller.scope, &query, limit, find.cursor.as_deref())
        .await?;
    Ok(Json(Page {
        items: page.items.into_iter().map(view).collect(),
        next_cursor: page.next_cursor,
    }))
}

async fn verify(State(shared): State<Shared>, _: Caller) -> Result<Json<VerdictView>, ApiError> {
    let verdict = shared.registry().audit_verify().await?;
    let sound = verdict.broken_at.is_none();
    // The log is kept elsewhere than the registry: its last line says how long the chain was.
    tracing::info!(
        sound,
        entries = verdict.entries,
        head = verdict.head,
        "audit chain"
    );
    Ok(Json(VerdictView {
        sound,
        entries: verdict.entries,
        head: verdict.head,
        broken_at: verdict.broken_at,
    }))
}

fn view(entry: AuditEntry) -> AuditView {
    let change = entry.act.change;
    AuditView {
        version_before: change.as_ref().map(|change| change.before),
        version_after: change.as_ref().map(|change| change.after),
        fields: change.map(|change| change.fields).unwrap_or_default(),
        address: Some(entry.act.from).filter(|address| !address.is_empty()),
        seq: entry.seq,
        at: entry.at.rfc3339(),
        by: entry.act.by,
        brand: entry.act.brand.0,
        action: entry.act.action,
        kind: entry.act.kind,
        item: entry.act.item,
        detail: entry.act.detail,
        hash: entry.hash,
    }
}
