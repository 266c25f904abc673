//! Many resources at once, of which each makes a new one or changes one that is there: all or none, and an answer for each.

use std::collections::HashMap;

use sqlx::AnyConnection;

use super::super::db::transaction;
use super::super::{Registry, RegistryError};
use super::write::{create, load, update};
use super::{Author, Item, ItemChange, NewItem, ResourceKind};

/// A row of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRow {
    /// The resource that it changes: its number, and the version that the change starts from. `None`: it makes a new one.
    pub known: Option<(i64, i64)>,
    /// What it is to be.
    pub new: NewItem,
    /// What rows behind it call it in references and bodies, until it has its number. Empty: they know what it is called.
    pub alias: String,
}

/// What an import of one row did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The resource as it is then.
    pub item: Item,
    /// What became of it.
    pub outcome: ImportOutcome,
}

/// What became of a row of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is new.
    Created,
    /// It has another version.
    Changed,
    /// It was so before.
    Unchanged,
}

impl Registry {
    /// Makes or changes many at once, all or none; answers what became of each row. If one is refused, or `dry`, none of it
    /// is kept: then the answer says what would have become of them. A row that changes nothing makes no version.
    pub async fn resource_import(
        &self,
        author: Author<'_>,
        kind: ResourceKind,
        rows: &[ImportRow],
        dry: bool,
    ) -> Result<Vec<Result<Imported, RegistryError>>, RegistryError> {
        let mut would = None;
        let done = transaction!(&self.db, tx => {
            let mut done = Vec::with_capacity(rows.len());
            let mut called = HashMap::new();
            for row in rows {
                // What a refused row has begun is taken back, so that the next one is judged as if it were not there.
                sqlx::query("SAVEPOINT import_row").execute(&mut *tx).await?;
                let imported = import(&mut tx, author, kind, row, &called).await;
                if let Err(error) = &imported {
                    if !error.is_refusal() {
                        Err(error.clone())?;
                    }
                    sqlx::query("ROLLBACK TO SAVEPOINT import_row").execute(&mut *tx).await?;
                }
                if let Ok(imported) = &imported && !row.alias.is_empty() {
                    called.insert(row.alias.as_str(), imported.item.handle(kind));
                }
                sqlx::query("RELEASE SAVEPOINT import_row").execute(&mut *tx).await?;
                done.push(imported);
            }
            if dry || done.iter().any(Result::is_err) {
                would = Some(done);
                // An error is what gives a transaction up.
                Err(RegistryError::Unsupported("nothing is to be kept".into()))?;
                unreachable!("the line above left")
            }
            done
        });
        if let Some(would) = would {
            return Ok(would);
        }
        let done = done?;
        for imported in done.iter().flatten() {
            if imported.outcome != ImportOutcome::Unchanged {
                self.tell(kind, imported.item.id);
            }
        }
        Ok(done)
    }
}

/// Makes or changes what a row of an import says.
async fn import(
    tx: &mut AnyConnection,
    author: Author<'_>,
    kind: ResourceKind,
    row: &ImportRow,
    called: &HashMap<&str, String>,
) -> Result<Imported, RegistryError> {
    let mut new = row.new.clone();
    for used in &mut new.uses {
        if let Some(handle) = called.get(used.handle.as_str()) {
            // As JSON writes a text: nothing but a whole text of the body can look like this.
            let (alias, number) = (format!("\"{}\"", used.handle), format!("\"{handle}\""));
            new.body = new.body.replace(&alias, &number);
            used.handle.clone_from(handle);
        }
    }
    let Some((id, base)) = row.known else {
        return Ok(Imported {
            item: create(tx, author, kind, &new).await?,
            outcome: ImportOutcome::Created,
        });
    };
    let item = load(&mut *tx, author.scope, kind, id).await?;
    if item.version == base && item.is(&new) {
        return Ok(Imported {
            item,
            outcome: ImportOutcome::Unchanged,
        });
    }
    let change = ItemChange::Whole(new);
    Ok(Imported {
        item: update(tx, author, kind, id, Some(base), &change).await?,
        outcome: ImportOutcome::Changed,
    })
}
