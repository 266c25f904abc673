//! Things of a catalogue (goods, articles, courses) as sources describe them. They are about nobody: no member has them.
//!
//! A description replaces the one before it by event time, whatever the order of arrival; a removal is kept as a row, so
//! that an older description that comes late does not bring the thing back.

use actors::machine::{RowsError, Space};
use actors::model::{BrandId, Position, RawJson, SourceId, Time};
use serde::{Deserialize, Serialize};

/// The table of items: brand, type, id.
pub const SPACE: Space = Space(0x2E);

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRow {
    /// Its type, e.g. `sku`.
    pub item_type: Box<str>,
    /// Its id, unique within brand and type.
    pub item_id: Box<str>,
    /// What was told of it (JSON object); nothing once it is removed.
    pub properties: Option<RawJson>,
    /// Whether it is removed.
    pub removed: bool,
    /// When that was told, by event time.
    pub time: Time,
    /// The record that told it: decides between equal times.
    pub position: Position,
    /// Its source.
    pub source: SourceId,
}

impl ItemRow {
    /// Whether this is told later than `other`.
    pub fn follows(&self, other: &ItemRow) -> bool {
        (self.time, self.position) > (other.time, other.position)
    }

    /// The row.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("our own types always serialise")
    }

    /// Reads a row.
    pub fn decode(row: &[u8]) -> Result<ItemRow, RowsError> {
        postcard::from_bytes(row).map_err(|error| RowsError(format!("an item: {error}")))
    }
}

/// Beginning of the keys of a brand's items, or of those of one type.
pub fn prefix(brand: BrandId, item_type: Option<&str>) -> Vec<u8> {
    let mut key = brand.0.to_be_bytes().to_vec();
    if let Some(item_type) = item_type {
        key.push(item_type.len() as u8);
        key.extend_from_slice(item_type.as_bytes());
    }
    key
}

/// Key of an item. Types have at most 100 bytes.
pub fn key(brand: BrandId, item_type: &str, item_id: &str) -> Vec<u8> {
    let mut key = prefix(brand, Some(item_type));
    key.extend_from_slice(item_id.as_bytes());
    key
}

/// The brand of a key.
pub fn brand_of(key: &[u8]) -> Option<BrandId> {
    Some(BrandId(u32::from_be_bytes(*key.first_chunk()?)))
}
