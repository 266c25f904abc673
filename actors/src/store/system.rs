//! Rows of the store itself as bytes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::machine::RowsError;

/// Rows of the runtime as bytes.
pub trait RowForm: Serialize + DeserializeOwned {
    /// The row's value.
    fn to_row(&self) -> Bytes {
        postcard::to_stdvec(self)
            .expect("our own types always serialise")
            .into()
    }

    /// Reads a value.
    fn from_row(bytes: &[u8]) -> Result<Self, RowsError> {
        postcard::from_bytes(bytes).map_err(|error| RowsError(format!("a row's form: {error}")))
    }
}

impl RowForm for super::UnitRow {}
