//! Lists in pages: a limit, and a cursor that says where the next page begins.

use data_encoding::BASE32_NOPAD;

use super::RegistryError;

/// Items of one page at most.
pub const PAGE_MAX: u32 = 1000;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Give it back to get the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

/// Where a list goes on: after this number.
pub(super) fn after(cursor: Option<&str>) -> Result<i64, RegistryError> {
    let Some(cursor) = cursor else {
        return Ok(i64::MIN);
    };
    BASE32_NOPAD
        .decode(cursor.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(i64::from_be_bytes)
        .ok_or_else(|| RegistryError::invalid("cursor", "it is not one that a list has answered"))
}

/// Items per page, within what is allowed.
pub(super) fn limit(limit: u32) -> usize {
    limit.clamp(1, PAGE_MAX) as usize
}

impl<T> Page<T> {
    /// A page of the items that were read: one more than `limit` says that there are others.
    pub(super) fn of(mut items: Vec<T>, limit: usize, number: impl Fn(&T) -> i64) -> Page<T> {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items
            .last()
            .filter(|_| more)
            .map(|last| BASE32_NOPAD.encode(&number(last).to_be_bytes()));
        Page { items, next_cursor }
    }
}
