//! Lists of names: filters, order and pages over what fits in memory, some thousands of names.

use actors::model::Time;
use cdp::dictionary::Status;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::ApiError;
use crate::http::Page;
use crate::http::page::Paging;

/// Which names.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// `name` (when left out), `total`, `first_seen`, `last_seen` or `status`; `-` in front turns the order round.
    #[param(example = "-total")]
    pub sort: Option<String>,
    /// A text that name, title, description or owner contain, in any case.
    pub q: Option<String>,
    /// `new`, `accepted` or `blocked`; several by comma.
    #[param(example = "new")]
    pub status: Option<String>,
    /// Only of this owner.
    pub owner: Option<String>,
    /// Only names that were seen (`true`) or never were (`false`).
    pub seen: Option<bool>,
}

/// What lists need of an item.
pub trait NameRow {
    /// Its name.
    fn name(&self) -> &str;
    /// Texts that a search looks into.
    fn texts(&self) -> Vec<&str>;
    /// Who answers for it.
    fn owner(&self) -> &str;
    /// Its status.
    fn status(&self) -> Status;
    /// How often it was seen.
    fn total(&self) -> u64;
    /// When it was first and last seen.
    fn times(&self) -> Option<(Time, Time)>;
}

/// A page of items, which come by name.
pub fn page<T: NameRow>(mut items: Vec<T>, query: &ListQuery) -> Result<Page<T>, ApiError> {
    let wrong =
        |field: &str, message: String| ApiError::new("parameter_form", message).field(field);
    let statuses = match &query.status {
        None => None,
        Some(words) => {
            let words: Vec<&str> = words.split(',').map(str::trim).collect();
            if let Some(word) = words.iter().find(|word| !Status::WORDS.contains(word)) {
                let message = format!("`{word}` is none of {}", Status::WORDS.join(", "));
                return Err(wrong("status", message));
            }
            Some(words)
        }
    };
    let search = query.q.as_ref().map(|text| text.to_lowercase());
    items.retain(|item| {
        statuses
            .as_ref()
            .is_none_or(|words| words.contains(&item.status().as_str()))
            && search.as_ref().is_none_or(|search| {
                let texts = item.texts();
                texts
                    .iter()
                    .any(|text| text.to_lowercase().contains(search))
            })
            && query
                .owner
                .as_ref()
                .is_none_or(|owner| owner == item.owner())
            && query.seen.is_none_or(|seen| seen == item.times().is_some())
    });
    let sort = query.sort.as_deref().unwrap_or("name");
    let (down, by) = match sort.strip_prefix('-') {
        Some(by) => (true, by),
        None => (false, sort),
    };
    // Stable: what is equal stays by name.
    match by {
        "name" => items.sort_by(|a, b| a.name().cmp(b.name())),
        "total" => items.sort_by_key(T::total),
        "first_seen" => items.sort_by_key(|item| item.times().map(|(first, _)| first)),
        "last_seen" => items.sort_by_key(|item| item.times().map(|(_, last)| last)),
        "status" => items.sort_by_key(T::status),
        _ => {
            let known = "name, total, first_seen, last_seen, status";
            return Err(wrong("sort", format!("`{by}` is none of {known}")));
        }
    }
    if down {
        items.reverse();
    }
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor.clone(),
    };
    Page::slice(items, &paging)
}
