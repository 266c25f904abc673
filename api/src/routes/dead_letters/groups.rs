//! How many dead letters for which reason.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use actors::model::Time;
use axum::Json;
use axum::extract::State;
use cdp::dead::DeadId;

use super::answer::{GroupAnswer, hint, reason};
use super::filter::{DeadQuery, walk};
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Page, Query};

/// Rows that one request counts: about a second. Beyond it `next_cursor` leads on, and counts are those of this part.
const READS_MAX: usize = 500_000;

/// Groups of one answer: more is ids in names of fields. Letters of others are in the group without event and field.
const GROUPS_MAX: usize = 2_000;

/// Reason, source, event, field.
type Key = (Box<str>, u32, Option<Box<str>>, Option<Box<str>>);

struct Group {
    count: u64,
    first: Time,
    last: Time,
    example: DeadId,
    reason: Option<String>,
}

pub async fn groups(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<DeadQuery>,
) -> Result<Json<Page<GroupAnswer>>, ApiError> {
    let counted = tokio::task::spawn_blocking(move || count(&shared, &caller, &query)).await;
    let page = counted.map_err(|error| {
        tracing::error!(%error, "counting dead letters failed");
        ApiError::new("internal", "the server could not do this")
    })?;
    page.map(Json)
}

fn count(
    shared: &Shared,
    caller: &Caller,
    query: &DeadQuery,
) -> Result<Page<GroupAnswer>, ApiError> {
    let filter = query.filter()?;
    let mut groups: HashMap<Key, Group> = HashMap::new();
    let next_cursor = walk(&shared.snapshot()?, &query.from()?, READS_MAX, |id, row| {
        if !filter.takes(id, &row, &caller.scope) {
            return true;
        }
        let known = groups.len();
        let mut key = (
            row.code.clone(),
            row.source.0,
            row.event.clone(),
            row.field.clone(),
        );
        if known >= GROUPS_MAX && !groups.contains_key(&key) {
            (key.2, key.3) = (None, None);
        }
        match groups.entry(key) {
            Entry::Occupied(mut group) => {
                let group = group.get_mut();
                group.count += 1;
                group.last = group.last.max(id.received);
            }
            Entry::Vacant(place) => {
                place.insert(Group {
                    count: 1,
                    first: id.received,
                    last: id.received,
                    example: id,
                    reason: reason(&row, &caller.scope),
                });
            }
        }
        true
    })?;
    let mut all: Vec<(Key, Group)> = groups.into_iter().collect();
    all.sort_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(&b.0)));
    let items = all
        .into_iter()
        .map(|((code, source, event, field), group)| GroupAnswer {
            hint: hint(&code),
            code: code.into(),
            source,
            event: event.map(Into::into),
            field: field.map(Into::into),
            count: group.count,
            first: group.first.rfc3339(),
            last: group.last.rfc3339(),
            example: group.example.to_string(),
            reason: group.reason,
        });
    Ok(Page {
        items: items.collect(),
        next_cursor,
    })
}
