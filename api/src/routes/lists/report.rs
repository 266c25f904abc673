//! What has become of the entries of a list: how many mean somebody today, and which mean nobody.

use actors::model::BrandSet;
use actors::registry::{Print, Waiting};
use axum::Json;
use axum::extract::State;
use pipelines::audience::Sees;
use pipelines::dictionary::LIST;
use serde::Serialize;
use utoipa::ToSchema;

use super::ListBody;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::{ListQuery, cursor, cursor_form};
use crate::http::{Caller, Page, Permission, Query, Routes, Segment, doc};
use crate::resource::answer;
use crate::routes::audience::PositionsAnswer;

/// Entries that one page looks at for a key that sees some brands only; a short page has a cursor.
const READS_MAX: u32 = 5_000;

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes()
        .get(
            "/api/v1/lists/{id}/report",
            Permission::ListsRead,
            report,
            doc(tag, "What has become of the entries")
                .more("Exact at the positions that are answered: merges, and identifiers that came since the upload, count.")
                .answers::<MatchReport>()
                .sees(Sees::Counts),
        )
        .get(
            "/api/v1/lists/{id}/unmatched",
            Permission::ListsRead,
            unmatched,
            doc(tag, "Entries that mean nobody")
                .more("By their place in what was uploaded: a list keeps fingerprints, no identifiers.")
                .query::<ListQuery>()
                .lists::<Unmatched>()
                .sees(Sees::Counts),
        )
}

/// What has become of the entries of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct MatchReport {
    /// Entries that were sent, those left out too.
    pub given: u64,
    /// Different entries that were kept.
    pub entries: u64,
    /// Of these, how many mean a member today.
    pub matched: u64,
    /// How many mean somebody who is no member: a visitor, somebody known from tests only.
    pub no_member: u64,
    /// How many mean nobody that this key knows of.
    pub unmatched: u64,
    /// Members of the list: several entries may mean one.
    pub members: u64,
    /// Entries that stood there twice.
    pub duplicates: u64,
    /// Entries that are no identifiers and were left out.
    pub invalid: u64,
    /// Exact at these positions.
    pub positions: PositionsAnswer,
}

/// An entry that means nobody.
#[derive(Debug, Serialize, ToSchema)]
pub struct Unmatched {
    /// Its line in the file, or its place in the list of members, from 1.
    pub line: u32,
}

async fn report(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<i64>,
) -> Result<Json<MatchReport>, ApiError> {
    let item = shared
        .registry()
        .resource_get(&caller.scope, LIST, id)
        .await?;
    let body: ListBody = answer::<super::List>(&item)?.body;
    let brands = caller.scope.brands.clone();
    let seen = shared
        .ask(move |audience| audience.list(&brands, id))
        .await?;
    let Some((figures, position)) = seen else {
        let message = format!("the list is {}: only lists at work are counted", item.state);
        return Err(ApiError::new("list_not_at_work", message));
    };
    // What only others know of means nobody here.
    let known = match caller.scope.brands {
        BrandSet::All => figures.known,
        BrandSet::Only(_) => figures.matched,
    };
    Ok(Json(MatchReport {
        given: body.entries + body.duplicates + body.invalid,
        entries: body.entries,
        matched: figures.matched,
        no_member: known - figures.matched,
        unmatched: body.entries.saturating_sub(known),
        members: figures.members,
        duplicates: body.duplicates,
        invalid: body.invalid,
        positions: position.into(),
    }))
}

async fn unmatched(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<i64>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Unmatched>>, ApiError> {
    let registry = shared.registry();
    registry.resource_get(&caller.scope, LIST, id).await?;
    let paging = query.paging();
    let limit = paging.limit()?;
    let after = paging.cursor()?;
    let more = u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1);
    if caller.scope.brands != BrandSet::All {
        return unseen(shared, caller, id, after, limit).await;
    }
    let after: Option<Waiting> = after.map(|bytes| waiting(&bytes)).transpose()?;
    let mut entries = registry.list_entry_waiting_page(id, after, more).await?;
    let next = (entries.len() > limit).then(|| {
        entries.truncate(limit);
        let last = entries.last();
        last.map(|(line, print)| cursor(&[&line.to_be_bytes()[..], print].concat()))
    });
    Ok(Json(Page {
        items: (entries.into_iter())
            .map(|(line, _)| Unmatched { line })
            .collect(),
        next_cursor: next.flatten(),
    }))
}

/// Entries of others' members mean nobody for a key that sees some brands only: all entries are looked at, in no meaningful
/// order.
async fn unseen(
    shared: Shared,
    caller: Caller,
    list: i64,
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Json<Page<Unmatched>>, ApiError> {
    let after: Option<Print> = match after {
        Some(bytes) => Some(bytes.try_into().map_err(|_| cursor_form())?),
        None => None,
    };
    let registry = shared.registry();
    let entries = registry.list_entry_page(list, after, READS_MAX).await?;
    let idents: Vec<_> = entries.iter().map(|entry| entry.ident).collect();
    let brands = caller.scope.brands;
    let seen = shared
        .ask(move |audience| audience.whose(&brands, &idents))
        .await?;
    let mut items = Vec::new();
    let full = entries.len() == READS_MAX as usize;
    let mut next = entries.last().filter(|_| full).map(|last| last.print);
    let nobody = entries.iter().zip(seen).filter(|(_, seen)| !seen);
    for (entry, _) in nobody {
        if items.len() == limit {
            break;
        }
        items.push(Unmatched { line: entry.line });
        if items.len() == limit && entries.last() != Some(entry) {
            next = Some(entry.print);
        }
    }
    Ok(Json(Page {
        items,
        next_cursor: next.map(|print| cursor(&print)),
    }))
}

fn waiting(bytes: &[u8]) -> Result<Waiting, ApiError> {
    let (line, print) = bytes.split_first_chunk::<4>().ok_or_else(cursor_form)?;
    let print = print.try_into().map_err(|_| cursor_form())?;
    Ok((u32::from_be_bytes(*line), print))
}
