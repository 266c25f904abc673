//! Attributes that an event told and that could not be taken: listed as dead letters. The event itself applies.

use actors::machine::WriteSet;
use actors::model::{BrandId, MemberNo, Position, SourceId, Time};
use serde::{Deserialize, Serialize};

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

/// One attribute left out. The value is not repeated here: it is in the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Raw position of the event.
    pub raw: Position,
    /// When it was received.
    pub received: Time,
    /// Source.
    pub source: SourceId,
    /// Brand.
    pub brand: BrandId,
    /// The member at that time.
    pub member: MemberNo,
    /// The attribute.
    pub attribute: Box<str>,
    /// Why, as a stable code.
    pub code: Box<str>,
}

impl LeftOut {
    pub(super) fn new(head: &EventHead, attribute: Box<str>, code: &'static str) -> LeftOut {
        LeftOut {
            raw: head.raw,
            received: head.received,
            source: head.source,
            brand: head.brand,
            member: head.member,
            attribute,
            code: code.into(),
        }
    }
}

/// A name that is too long, cut for showing.
pub(super) fn shortened(name: &str) -> Box<str> {
    let mut end = name.len().min(NAME_SHOWN_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}

/// Lists them.
pub(super) fn write(list: Vec<LeftOut>, out: &mut WriteSet) {
    out.count(
        "attributes_left_out",
        i64::try_from(list.len()).unwrap_or(i64::MAX),
    );
}
