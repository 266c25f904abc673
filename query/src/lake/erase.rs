//! Taking persons out of rows: what is asked for, and how a batch looks afterwards.

use std::collections::HashSet;
use std::sync::Arc;

use actors::model::IdentNo;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::UInt32Type;
use arrow::error::ArrowError;

use super::lend::numbers;
use super::manifest::{Erasure, FileEntry};
use super::schema::{PERSONAL, column};

/// Fragments whose rows are shown, and written, without personal columns.
#[derive(Debug, Default)]
pub(super) struct Erased {
    fragments: HashSet<IdentNo>,
    /// Number of the last erasure in it.
    pub number: u64,
}

impl Erased {
    /// All erasures that some file may lack, up to `number`.
    pub fn of(pending: &[Erasure], number: u64) -> Erased {
        let fragments = pending.iter().flat_map(|erasure| &erasure.fragments);
        Erased {
            fragments: fragments.copied().collect(),
            number,
        }
    }

    /// Whether this fragment is in it.
    pub fn holds(&self, fragment: IdentNo) -> bool {
        !self.fragments.is_empty() && self.fragments.contains(&fragment)
    }

    /// Those that a file may have, going by its first and last fragment.
    pub fn within(&self, file: &FileEntry) -> Vec<IdentNo> {
        let (first, last) = file.fragments;
        let mut found: Vec<IdentNo> = self
            .fragments
            .iter()
            .copied()
            .filter(|fragment| (first..=last).contains(fragment))
            .collect();
        found.sort_unstable();
        found
    }

    /// The batch without the personal columns of these fragments.
    pub fn blank(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.fragments.is_empty() {
            return Ok(batch);
        }
        let fragments = numbers::<UInt32Type>(&batch, column::FRAGMENT)
            .map_err(ArrowError::SchemaError)?
            .values();
        let gone: BooleanArray = fragments
            .iter()
            .map(|fragment| Some(self.holds(IdentNo(*fragment))))
            .collect();
        if gone.true_count() == 0 {
            return Ok(batch);
        }
        let schema = batch.schema();
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        for (field, array) in schema.fields().iter().zip(&mut columns) {
            if PERSONAL.contains(&field.name().as_str()) {
                *array = compute::nullif(array, &gone)?;
            } else if field.name() == column::ERASED {
                let before = array
                    .as_any()
                    .downcast_ref::<BooleanArray>()
                    .ok_or_else(|| ArrowError::SchemaError("erased is no flag".into()))?;
                *array = Arc::new(compute::or(before, &gone)?);
            }
        }
        RecordBatch::try_new(schema, columns)
    }
}
