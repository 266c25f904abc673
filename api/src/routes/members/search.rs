//! Finding members by what somebody remembers of them.

use std::sync::Arc;

use actors::model::{BrandSet, SegmentId};
use axum::Json;
use axum::extract::State;
use pipelines::search::{matches, text};
use query::search::{Filter, LIMIT_MAX, Search, SearchError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::view::MemberAnswer;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::cursor;
use crate::http::{Caller, Paging, Permission, Query, Routes, doc};

/// Characters of a question.
const QUESTION_CHARS_MAX: usize = 200;

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes().get(
        "/api/v1/members/search",
        Permission::MembersRead,
        search,
        doc(tag, "Find members as you type")
            .more(
                "By name, its pinyin (`zhangsan`, `zs`), any part of a phone number from four digits on, the beginning of \
                 an identifier or word, parts of addresses, tags and other texts. Words apart by blanks must all be found. \
                 The best come first.",
            )
            .query::<Find>()
            .answers::<FoundAnswer>()
            .searches(),
    )
}

/// What somebody looks for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Find {
    /// What was typed.
    #[param(example = "张 浦东")]
    q: String,
    /// Only members of this segment.
    segment: Option<u32>,
    /// Items of a page, 1 to 100; 20 when left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of members, the best first.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundAnswer {
    /// Members.
    pub items: Vec<MemberAnswer>,
    /// How many there are in all; `null` for callers who see some brands only.
    pub total: Option<usize>,
    /// Pass it as `cursor` for more; `null` at the end.
    pub next_cursor: Option<String>,
}

async fn search(
    State(shared): State<Shared>,
    caller: Caller,
    Query(find): Query<Find>,
) -> Result<Json<FoundAnswer>, ApiError> {
    if find.q.chars().count() > QUESTION_CHARS_MAX {
        let message = format!("more than {QUESTION_CHARS_MAX} characters");
        return Err(ApiError::new("parameter_form", message).field("q"));
    }
    let limit = find.limit.unwrap_or(20);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let message = format!("limit is 1 to {LIMIT_MAX}");
        return Err(ApiError::new("parameter_form", message).field("limit"));
    }
    let paging = Paging {
        limit: None,
        cursor: find.cursor.clone(),
    };
    let offset = paging.offset()?;
    let brands = match &caller.scope.brands {
        BrandSet::All => None,
        BrandSet::Only(brands) => Some(brands.clone()),
    };
    let everything = brands.is_none();
    let question = Search {
        text: find.q.clone(),
        brands,
        offset,
        limit,
    };
    let filter: Option<Filter> = match find.segment {
        None => None,
        Some(segment) => {
            crate::routes::audience::sees_segment(&shared, &caller, segment).await?;
            let segment = SegmentId(segment);
            let brands = caller.scope.brands.clone();
            // A copy of four bytes a member: the index asks for one at a time, and must not lock the engine each time.
            let members = shared
                .ask(move |audience| audience.segment_members(&brands, segment, None, usize::MAX))
                .await?;
            Some(Arc::new(move |member| {
                members.binary_search(&member).is_ok()
            }))
        }
    };
    let searcher = shared.search().searcher().clone();
    let done = tokio::task::spawn_blocking(move || searcher.search(&question, filter)).await;
    let found = done.map_err(|error| {
        tracing::error!(%error, "a search failed");
        ApiError::new("internal", "the server could not do this")
    })?;
    let found = match found {
        Err(SearchError::TooFar) => return Err(SearchError::TooFar.into()),
        found => found?,
    };
    let shown = offset + found.members.len();
    let snapshot = shared.snapshot()?;
    let schema = shared.attributes(&snapshot)?.1;
    let labels = shared.audience().names();
    let sees_tag = |tag| {
        let label = labels.tags.get(&tag);
        label.is_some_and(|label| caller.scope.sees(label.brand))
    };
    let mut items = Vec::with_capacity(found.members.len());
    for member in &found.members {
        // The index knows facts of all brands: what a brand's user finds must show in what that user sees.
        if !everything {
            let own = text(&snapshot, &schema, *member, &caller.scope, Some(&sees_tag))?;
            if !own.is_some_and(|own| matches(&own, &find.q)) {
                continue;
            }
        }
        if let Some(found) = super::load(&shared, &snapshot, &caller.scope, *member)? {
            items.push(MemberAnswer::of(&shared, &snapshot, &caller.scope, found)?);
        }
    }
    let more = shown < found.total && !found.members.is_empty();
    Ok(Json(FoundAnswer {
        items,
        total: everything.then_some(found.total),
        next_cursor: more.then(|| cursor(&(shown as u64).to_be_bytes())),
    }))
}
