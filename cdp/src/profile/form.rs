//! The form of the rows of a member: a version, then what stands in it.

use actors::machine::RowsError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Of all rows so far.
const VERSION: u8 = 1;

/// Reads a row that `what` names for the error: damage, or a later version.
pub(super) fn decode<T: DeserializeOwned>(row: &[u8], what: &str) -> Result<T, RowsError> {
    take(row, what).map(|(row, _)| row)
}

/// As [`decode`]; answers what stands behind it, too.
pub(super) fn take<'a, T: DeserializeOwned>(
    row: &'a [u8],
    what: &str,
) -> Result<(T, &'a [u8]), RowsError> {
    match row.split_first() {
        Some((&VERSION, body)) => postcard::take_from_bytes(body).ok(),
        _ => None,
    }
    .ok_or_else(|| damaged(what))
}

/// The row; `bytes_about` is what it will take.
pub(super) fn encode<T: Serialize>(row: &T, bytes_about: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes_about);
    out.push(VERSION);
    append(row, out)
}

/// Puts more behind a row.
pub(super) fn append<T: Serialize>(more: &T, out: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(more, out).expect("our own types always serialise")
}

/// The error about a row.
pub(super) fn damaged(what: &str) -> RowsError {
    RowsError(format!("{what} is damaged or of a later version"))
}
