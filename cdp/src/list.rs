//! Uploaded lists: who is meant by an entry.
//!
//! An entry is kept as the keyed fingerprint of its normalised identifier: a list is no store of personal data, and an
//! entry matches whoever has the identifier, today or later.

use actors::model::Identifier;
use actors::registry::Print;

use crate::identity::row::text_key;

/// The fingerprint of a normalised identifier.
pub fn print(key: &[u8; 32], normal: &Identifier) -> Print {
    let hash = blake3::keyed_hash(key, &text_key(normal));
    *hash
        .as_bytes()
        .first_chunk()
        .expect("a hash has 32 bytes, a print 16")
}
