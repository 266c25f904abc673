//! Conflicts: identifiers that an event named and that were left out, with the reason.

use actors::machine::Rows;
use actors::model::{BrandSet, IdentNo, MemberId, Scope, Time};
use axum::Json;
use axum::extract::State;
use cdp::identity::fold::Reason;
use cdp::identity::row::{self, ConflictRow, IdentRow};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::members::view::shown;
use crate::app::{Shared, Snapshot};
use crate::error::ApiError;
use crate::http::page::{cursor, cursor_form};
use crate::http::{Caller, Page, Paging, Permission, Query, Routes, doc};

/// Rows that one page reads at most: a filter that rarely matches answers a short page with a cursor.
const PAGE_READS_MAX: usize = 10_000;

/// The routes of this topic.
pub fn routes() -> Routes {
    crate::http::routes().get(
        "/api/v1/conflicts",
        Permission::MembersRead,
        list,
        doc(
            "Members",
            "Identifiers that were left out of a merge, oldest first",
        )
        .query::<ConflictsQuery>()
        .lists::<ConflictAnswer>()
        .reads(),
    )
}

/// Which conflicts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConflictsQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those of this identifier, as the one left out or as the owner.
    identifier: Option<String>,
    /// Only `limit too_many separated shared behind`.
    reason: Option<String>,
    /// `true`: only those whose obstacle is gone; `false`: only the others.
    resolved: Option<bool>,
}

/// An identifier that was left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConflictAnswer {
    /// When the event was received.
    pub time: String,
    /// The identifier left out.
    pub identifier: Option<String>,
    /// The strongest identifier of the event, which owns it.
    pub owner: Option<String>,
    /// `limit too_many separated shared behind`.
    pub reason: String,
    /// The reason in words.
    pub message: &'static str,
    /// The member that had the identifier then.
    pub with: Option<String>,
    /// The member that owns the event now.
    pub member: Option<String>,
    /// The event's position in the raw log.
    pub event: String,
    /// The event's source.
    pub source: u32,
    /// The obstacle is gone: both belong to one member now.
    pub resolved: bool,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ConflictsQuery>,
) -> Result<Json<Page<ConflictAnswer>>, ApiError> {
    let snapshot = shared.snapshot()?;
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor.clone(),
    };
    let limit = paging.limit()?;
    let from = match paging.cursor()? {
        Some(bytes) if bytes.len() == KEY_BYTES => bytes,
        Some(_) => return Err(cursor_form()),
        None => Vec::new(),
    };
    let of = match &query.identifier {
        Some(text) => Some(identifier_number(&snapshot, text)?),
        None => None,
    };
    let (keys, mut next) = match of {
        Some(None) => (Vec::new(), None),
        Some(Some(ident)) => keys(
            &snapshot,
            row::CONFLICT_BY_IDENT,
            &row::key32(ident.0),
            &from,
        )?,
        None => keys(&snapshot, row::CONFLICT, &[], &from)?,
    };
    let mut items = Vec::new();
    for key in keys {
        if items.len() == limit {
            next = Some(key);
            break;
        }
        let Some(conflict) = row::get::<ConflictRow>(&snapshot, row::CONFLICT, &key)? else {
            continue;
        };
        let wanted = query
            .reason
            .as_deref()
            .is_none_or(|reason| reason == reason_word(&conflict.reason).0)
            && query.resolved.is_none_or(|yes| yes == conflict.resolved);
        if wanted && let Some(item) = answer(&snapshot, &caller.scope, &key, &conflict)? {
            items.push(item);
        }
    }
    Ok(Json(Page {
        items,
        next_cursor: next.map(|key| cursor(&key)),
    }))
}

/// Bytes of a conflict's key.
const KEY_BYTES: usize = 17;

type Keys = (Vec<[u8; KEY_BYTES]>, Option<[u8; KEY_BYTES]>);

/// Keys of conflicts behind `prefix` from `from` on, and where reading stopped.
fn keys(
    rows: &dyn Rows,
    space: actors::machine::Space,
    prefix: &[u8],
    from: &[u8],
) -> Result<Keys, ApiError> {
    let mut found = Vec::new();
    let mut next = None;
    let start = [prefix, from].concat();
    rows.scan_from(space, prefix, &start, &mut |key, _| {
        let tail = key
            .get(prefix.len()..)
            .and_then(|tail| tail.try_into().ok());
        let Some(tail) = tail else { return true };
        if found.len() == PAGE_READS_MAX {
            next = Some(tail);
            return false;
        }
        found.push(tail);
        true
    })?;
    Ok((found, next))
}

fn identifier_number(snapshot: &Snapshot, text: &str) -> Result<Option<IdentNo>, ApiError> {
    let normal = super::members::normal_identifier(snapshot, text)
        .map_err(|error| error.field("identifier"))?;
    Ok(row::ident_of(snapshot, &normal)?)
}

fn answer(
    snapshot: &Snapshot,
    scope: &Scope,
    key: &[u8; KEY_BYTES],
    conflict: &ConflictRow,
) -> Result<Option<ConflictAnswer>, ApiError> {
    let read = |ident: IdentNo| row::get::<IdentRow>(snapshot, row::IDENT, &row::key32(ident.0));
    let (left, owner) = (read(conflict.identifier)?, read(conflict.owner)?);
    // A brand's user sees conflicts between identifiers that its own events brought.
    let visible = match &scope.brands {
        BrandSet::All => true,
        BrandSet::Only(_) => [&left, &owner]
            .iter()
            .all(|row| row.as_ref().is_some_and(|row| scope.sees(row.brand))),
    };
    if !visible {
        return Ok(None);
    }
    let text = |row: Option<IdentRow>| row.map(|row| shown(&row.identifier, scope).0.to_string());
    let (reason, message) = reason_word(&conflict.reason);
    let id = |member| MemberId(member).to_string();
    Ok(Some(ConflictAnswer {
        time: time_of(key).rfc3339(),
        identifier: text(left),
        owner: text(owner),
        reason: reason.to_owned(),
        message,
        with: conflict.with.map(id),
        member: row::member_of(snapshot, conflict.owner)?.map(id),
        event: conflict.cause.to_string(),
        source: conflict.source.0,
        resolved: conflict.resolved,
    }))
}

/// The time at the front of a conflict's key.
fn time_of(key: &[u8; KEY_BYTES]) -> Time {
    let front: [u8; 8] = key[..8].try_into().expect("a key has 17 bytes");
    Time((u64::from_be_bytes(front) ^ 1 << 63) as i64)
}

/// The stable word of a reason and what it means.
fn reason_word(reason: &Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Limit { .. } => (
            "limit",
            "the member would have too many identifiers of this kind",
        ),
        Reason::TooMany => ("too_many", "the member would have too many identifiers"),
        Reason::Separated => ("separated", "an unmerge took them apart"),
        Reason::Shared => (
            "shared",
            "it was left out with so many people that it no longer links anybody",
        ),
        Reason::Behind => (
            "behind",
            "a stronger identifier of the same event was left out",
        ),
    }
}
