//! What has become of the entries of a list: how many mean somebody today, and which mean nobody.

use actors::registry::Waiting;
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
use crate::routes::audience::{PositionsAnswer, sees_everybody};

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
                .answers::<Page<Unmatched>>()
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
    sees_everybody(&caller)?;
    let seen = shared.ask(move |audience| audience.list(id)).await?;
    let Some((figures, position)) = seen else {
        let message = format!("the list is {}: only lists at work are counted", item.state);
        return Err(ApiError::new("list_not_at_work", message));
    };
    Ok(Json(MatchReport {
        given: body.entries + body.duplicates + body.invalid,
        entries: body.entries,
        matched: figures.matched,
        no_member: figures.known - figures.matched,
        unmatched: body.entries.saturating_sub(figures.known),
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
    sees_everybody(&caller)?;
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

fn waiting(bytes: &[u8]) -> Result<Waiting, ApiError> {
    let (line, print) = bytes.split_first_chunk::<4>().ok_or_else(cursor_form)?;
    let print = print.try_into().map_err(|_| cursor_form())?;
    Ok((u32::from_be_bytes(*line), print))
}
