//! Reading members: pure over rows, so that the API gives a snapshot and a test gives a map.
//!
//! Every read takes a [`Scope`]: facts of brands outside it do not exist, fields above its class are masked.

pub mod consent;
mod mask;
mod member;
mod orders;
mod timeline;
mod walk;
mod whole;

pub use mask::mask;
pub use member::{AttributeView, OrderSummary, View, fragments, member_facts, member_view};
pub use orders::{OrderPage, OrderView, is_order_cursor, order_page};
pub use timeline::{
    Change, ChangeKind, HistoryItem, TimelineFilter, TimelineItem, TimelinePage, attribute_history,
    is_timeline_cursor, timeline_page,
};

pub use whole::{
    Attributes, attributes_as_told, members_among, scan_among, whole_attributes,
    whole_attributes_among,
};

use actors::machine::{Rows, RowsError, Space};

/// Takes a key and its value, answers whether to go on.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool, RowsError>;

/// Scans and stops at the first row that does not read.
fn scan(
    rows: &dyn Rows,
    space: Space,
    prefix: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, RowsError>,
) -> Result<(), RowsError> {
    scan_from(rows, space, prefix, prefix, &mut each)
}

/// As [`scan`], from a key on.
fn scan_from(
    rows: &dyn Rows,
    space: Space,
    prefix: &[u8],
    from: &[u8],
    each: Each,
) -> Result<(), RowsError> {
    let mut failed = None;
    rows.scan_from(
        space,
        prefix,
        from,
        &mut |key, value| match each(key, value) {
            Ok(more) => more,
            Err(error) => {
                failed = Some(error);
                false
            }
        },
    )?;
    failed.map_or(Ok(()), Err)
}
