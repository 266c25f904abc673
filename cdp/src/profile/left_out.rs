//! Attributes that an event told and that could not be taken: one dead letter for each such event.
//!
//! The event itself is applied, so the letter cannot be replayed (its message was counted): whoever mends it sends the
//! attribute again with a new message and drops the letter.

use actors::machine::WriteSet;

use crate::dead::{self, DeadId, DeadRow, DeadStatus};
use crate::routed::EventHead;

/// The value does not fit the attribute's type.
pub const ATTRIBUTE_TYPE: &str = "attribute_type";
/// The value is longer than [`super::VALUE_BYTES_MAX`].
pub const ATTRIBUTE_LENGTH: &str = "attribute_length";
/// The name is empty or too long.
pub const ATTRIBUTE_NAME: &str = "attribute_name";
/// The schema is strict and does not name the attribute.
pub const ATTRIBUTE_UNKNOWN: &str = "attribute_unknown";

/// Bytes of a name too long that are shown.
const NAME_SHOWN_BYTES: usize = 64;

/// Attributes that one letter names; the count says how many more there are.
const NAMED_MAX: usize = 20;

/// A name that is too long, cut for showing.
pub(super) fn shortened(name: &str) -> Box<str> {
    let mut end = name.len().min(NAME_SHOWN_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}

/// Writes the letter of one event; nothing if nothing was left out. Values are not quoted: they are in the event.
pub(super) fn write(
    head: &EventHead,
    message_id: &str,
    left_out: &[(Box<str>, &'static str)],
    out: &mut WriteSet,
) {
    let Some((first, code)) = left_out.first() else {
        return;
    };
    let named: Vec<String> = left_out
        .iter()
        .take(NAMED_MAX)
        .map(|(name, code)| format!("`{name}` {}", why(code)))
        .collect();
    let more = match left_out.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("; {more} more"),
    };
    let letter = DeadRow {
        code: (*code).into(),
        reason: format!(
            "left out: {}{more}. The event was applied without; send the attribute again with a new message, then drop this letter",
            named.join("; ")
        )
        .into(),
        field: Some(format!("traits.{first}").into()),
        source: head.source,
        brand: head.brand,
        message_id: message_id.into(),
        status: DeadStatus::Open,
        decided: head.received,
        event: Some(head.name.clone()),
    };
    let id = DeadId {
        received: head.received,
        position: head.raw,
    };
    out.put(dead::SPACE, id.key().to_vec(), letter.encode());
    out.count("dead_letters", 1);
    out.count(
        "attributes_left_out",
        i64::try_from(left_out.len()).unwrap_or(i64::MAX),
    );
}

fn why(code: &str) -> &'static str {
    match code {
        ATTRIBUTE_TYPE => "does not fit its type",
        ATTRIBUTE_LENGTH => "is too long",
        ATTRIBUTE_NAME => "has an empty name or one that is too long",
        _ => "is not in the schema, which is strict",
    }
}
