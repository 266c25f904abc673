//! Which versions of definitions units hold.

use actors::machine::{Rows, RowsError};
use actors::model::PartitionId;

use super::{Definition, DefinitionKind};
use crate::identity;
use crate::profile::row::{DEFINITIONS, definition_key};

/// The highest version of each kind that a unit holds, from the rows of units; kinds that nobody holds are left out.
pub fn held(rows: &dyn Rows, partitions: u16) -> Result<Vec<(DefinitionKind, u32)>, RowsError> {
    let mut held = vec![
        (DefinitionKind::IdentityRules, identity::row::rules(rows)?.0),
        (DefinitionKind::Dictionary, identity::row::names(rows)?.0),
    ];
    for kind in [DefinitionKind::Attributes, DefinitionKind::Webhooks] {
        let mut newest = 0;
        for partition in (0..partitions).map(PartitionId) {
            if let Some(json) = rows.get(DEFINITIONS, &definition_key(partition, kind))? {
                let known =
                    Definition::parse(&json).map_err(|error| RowsError(error.to_string()))?;
                newest = newest.max(known.version);
            }
        }
        held.push((kind, newest));
    }
    held.retain(|(_, version)| *version > 0);
    Ok(held)
}
