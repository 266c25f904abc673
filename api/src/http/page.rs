//! Paging: every list answers `{"items","next_cursor"}` and takes `limit` and `cursor`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;

/// Items of a page when the caller does not say: fits one screen.
pub const LIMIT_DEFAULT: usize = 50;
/// Most items of a page: a page stays below a few hundred kilobytes.
pub const LIMIT_MAX: usize = 500;
/// Longest cursor: ours are far shorter.
const CURSOR_CHARS_MAX: usize = 1_024;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; `null` at the end.
    pub next_cursor: Option<String>,
}

/// Which page, before it is checked.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    /// Items of a page, 1 to 500; 50 when left out.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Paging {
    /// The number of items, within bounds.
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.limit {
            None => Ok(LIMIT_DEFAULT),
            Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            Some(limit) => {
                let message = format!("limit is {limit}, allowed are 1 to {LIMIT_MAX}");
                Err(ApiError::new("parameter_form", message).field("limit"))
            }
        }
    }

    /// The bytes of the cursor.
    pub fn cursor(&self) -> Result<Option<Vec<u8>>, ApiError> {
        let Some(text) = &self.cursor else {
            return Ok(None);
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .filter(|_| text.len() <= CURSOR_CHARS_MAX);
        bytes.map(Some).ok_or_else(cursor_form)
    }

    /// The cursor of a list that is simply counted through.
    pub fn offset(&self) -> Result<usize, ApiError> {
        let Some(bytes) = self.cursor()? else {
            return Ok(0);
        };
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| cursor_form())?;
        usize::try_from(u64::from_be_bytes(bytes)).map_err(|_| cursor_form())
    }
}

/// Parameters of lists that the registry pages.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ListQuery {
    /// Limit and cursor as the registry takes them; it reads its cursors itself.
    pub fn registry(&self) -> Result<(u32, Option<&str>), ApiError> {
        let paging = Paging {
            limit: self.limit,
            cursor: None,
        };
        let limit = u32::try_from(paging.limit()?).expect("a limit is at most LIMIT_MAX");
        Ok((limit, self.cursor.as_deref()))
    }

    /// As parameters of a list in memory.
    pub fn paging(self) -> Paging {
        Paging {
            limit: self.limit,
            cursor: self.cursor,
        }
    }
}

/// The cursor is not one of ours.
pub fn cursor_form() -> ApiError {
    ApiError::new("cursor_form", "the cursor is none that a page answered").field("cursor")
}

/// A cursor of bytes.
pub fn cursor(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl<T> Page<T> {
    /// One page of a list that is short enough to be in memory.
    pub fn slice(all: Vec<T>, paging: &Paging) -> Result<Page<T>, ApiError> {
        let (from, limit) = (paging.offset()?, paging.limit()?);
        let total = all.len();
        let items: Vec<T> = all.into_iter().skip(from).take(limit).collect();
        let next = from.saturating_add(limit);
        Ok(Page {
            items,
            next_cursor: (next < total).then(|| cursor(&(next as u64).to_be_bytes())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(limit: Option<usize>, cursor: Option<&str>) -> Paging {
        Paging {
            limit,
            cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let mut cursor = None;
        let mut seen = Vec::new();
        loop {
            let asked = Paging {
                limit: Some(3),
                cursor,
            };
            let page = Page::slice((0..8).collect(), &asked).unwrap();
            seen.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn limits_and_cursors_are_checked() {
        for limit in [0, LIMIT_MAX + 1] {
            assert_eq!(
                paging(Some(limit), None).limit().unwrap_err().code(),
                "parameter_form"
            );
        }
        for cursor in ["!", "AAAA", &"A".repeat(4_000)] {
            assert_eq!(
                paging(None, Some(cursor)).offset().unwrap_err().code(),
                "cursor_form"
            );
        }
    }
}
