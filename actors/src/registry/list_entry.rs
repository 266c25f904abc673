//! Entries of uploaded lists: fingerprints of identifiers, so that no list is a store of personal data.
//!
//! A list of a million is written in batches and read in pages; neither needs it in memory. Entries that nobody had at the
//! upload wait as fingerprints: whoever gets the identifier later is in the list from then on.

use std::collections::BTreeSet;

use ring::rand::{SecureRandom, SystemRandom};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::db::transaction;
use super::{Registry, RegistryError};
use crate::model::IdentNo;

/// A keyed fingerprint of an identifier.
pub type Print = [u8; 16];

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListEntry {
    /// Fingerprint of the normalised identifier.
    pub print: Print,
    /// The identifier's number, once somebody has it.
    pub ident: Option<IdentNo>,
    /// Where it stood first in what was uploaded, from 1: what tells people which one it is. 0: not kept.
    pub line: u32,
}

/// An entry that waits, by the order of [`Registry::list_entry_waiting_page`].
pub type Waiting = (u32, Print);

/// Rows of one statement: SQLite takes 32,766 values, and larger statements are not faster.
const ROWS: usize = 500;

/// No number: identifiers count from 0.
const UNKNOWN: i64 = -1;

/// Name of the fingerprint key among the settings.
const KEY: &str = "list_key";

impl Registry {
    /// The key of all fingerprints, made at the first call.
    pub async fn list_key(&self) -> Result<[u8; 32], RegistryError> {
        let mut fresh = [0; 32];
        SystemRandom::new().fill(&mut fresh).map_err(|_| {
            RegistryError::Unavailable("the operating system gives no random bytes".into())
        })?;
        let fresh = data_encoding::HEXLOWER.encode(&fresh);
        let kept: String = transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
                .bind(KEY)
                .fetch_optional(&mut *tx)
                .await?;
            match row {
                Some(row) => row.try_get("value")?,
                None => {
                    sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2)")
                        .bind(KEY)
                        .bind(&*fresh)
                        .execute(&mut *tx)
                        .await?;
                    fresh.clone()
                }
            }
        })?;
        data_encoding::HEXLOWER
            .decode(kept.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| RegistryError::Damaged("the key of lists does not read".into()))
    }

    /// Adds entries; answers those that were new. One transaction: call it with a few thousand at a time.
    pub async fn list_entry_add(
        &self,
        list: i64,
        entries: &[ListEntry],
    ) -> Result<Vec<Print>, RegistryError> {
        transaction!(&self.db, tx => {
            let mut added = Vec::with_capacity(entries.len());
            for rows in entries.chunks(ROWS) {
                let places: Vec<String> = (0..rows.len())
                    .map(|at| format!("($1, ${}, ${}, ${})", at * 3 + 2, at * 3 + 3, at * 3 + 4))
                    .collect();
                let sql = format!(
                    "INSERT INTO list_entries (list, print, ident, line) VALUES {} ON CONFLICT DO NOTHING RETURNING print",
                    places.join(", ")
                );
                let mut query = sqlx::query(AssertSqlSafe(sql)).bind(list);
                for row in rows {
                    query = query
                        .bind(hex(&row.print))
                        .bind(row.ident.map_or(UNKNOWN, |ident| i64::from(ident.0)))
                        .bind(i64::from(row.line));
                }
                for row in &query.fetch_all(&mut *tx).await? {
                    added.push(print_of(row)?);
                }
            }
            added
        })
    }

    /// Entries by fingerprint, behind `after`.
    pub async fn list_entry_page(
        &self,
        list: i64,
        after: Option<Print>,
        limit: u32,
    ) -> Result<Vec<ListEntry>, RegistryError> {
        let after = after.map_or(String::new(), |print| hex(&print));
        let rows = sqlx::query(
            "SELECT print, ident, line FROM list_entries WHERE list = $1 AND print > $2 ORDER BY print LIMIT $3",
        )
        .bind(list)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.db.reader)
        .await?;
        rows.iter()
            .map(|row| {
                let ident = u32::try_from(row.try_get::<i64, _>("ident")?);
                Ok(ListEntry {
                    print: print_of(row)?,
                    ident: ident.ok().map(IdentNo),
                    line: line_of(row)?,
                })
            })
            .collect()
    }

    /// Entries of a list that wait for somebody, in the order of the upload, behind `after`.
    pub async fn list_entry_waiting_page(
        &self,
        list: i64,
        after: Option<Waiting>,
        limit: u32,
    ) -> Result<Vec<Waiting>, RegistryError> {
        let (line, print) = after.map_or((-1, String::new()), |(line, print)| {
            (i64::from(line), hex(&print))
        });
        let rows = sqlx::query(
            "SELECT line, print FROM list_entries WHERE list = $1 AND ident = -1 \
             AND (line > $2 OR (line = $2 AND print > $3)) ORDER BY line, print LIMIT $4",
        )
        .bind(list)
        .bind(line)
        .bind(print)
        .bind(i64::from(limit))
        .fetch_all(&self.db.reader)
        .await?;
        rows.iter()
            .map(|row| Ok((line_of(row)?, print_of(row)?)))
            .collect()
    }

    /// Somebody has these identifiers now: entries of all lists that waited for them learn their numbers. Answers the lists.
    pub async fn list_entry_found(
        &self,
        found: &[(Print, IdentNo)],
    ) -> Result<Vec<(i64, IdentNo)>, RegistryError> {
        transaction!(&self.db, tx => {
            let mut lists = Vec::new();
            for (print, ident) in found {
                let rows = sqlx::query(
                    "UPDATE list_entries SET ident = $2 WHERE print = $1 AND ident = -1 RETURNING list",
                )
                .bind(hex(print))
                .bind(i64::from(ident.0))
                .fetch_all(&mut *tx)
                .await?;
                for row in &rows {
                    lists.push((row.try_get("list")?, *ident));
                }
            }
            lists
        })
    }

    /// Which of `lists` have an entry for one of these identifiers.
    pub async fn list_entry_lists(
        &self,
        prints: &[Print],
        lists: &[i64],
    ) -> Result<Vec<i64>, RegistryError> {
        let mut found = Vec::new();
        for list in lists {
            for prints in prints.chunks(ROWS) {
                let sql = format!(
                    "SELECT print FROM list_entries WHERE list = $1 AND print IN ({}) LIMIT 1",
                    places(prints.len(), 2)
                );
                let mut query = sqlx::query(AssertSqlSafe(sql)).bind(list);
                for print in prints {
                    query = query.bind(hex(print));
                }
                if query.fetch_optional(&self.db.reader).await?.is_some() {
                    found.push(*list);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Forgets identifiers in all lists: their owner was erased. `idents` are their numbers, `prints` find entries that
    /// nobody has matched yet. Answers the lists that lost entries; doing it twice does no harm.
    pub async fn list_entry_forget(
        &self,
        idents: &[IdentNo],
        prints: &[Print],
    ) -> Result<Vec<i64>, RegistryError> {
        transaction!(&self.db, tx => {
            let mut lists = BTreeSet::new();
            for idents in idents.chunks(ROWS) {
                let sql = format!(
                    "DELETE FROM list_entries WHERE ident IN ({}) RETURNING list",
                    places(idents.len(), 1)
                );
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for ident in idents {
                    query = query.bind(i64::from(ident.0));
                }
                for row in &query.fetch_all(&mut *tx).await? {
                    lists.insert(row.try_get::<i64, _>("list")?);
                }
            }
            for prints in prints.chunks(ROWS) {
                let sql = format!(
                    "DELETE FROM list_entries WHERE ident = $1 AND print IN ({}) RETURNING list",
                    places(prints.len(), 2)
                );
                let mut query = sqlx::query(AssertSqlSafe(sql)).bind(UNKNOWN);
                for print in prints {
                    query = query.bind(hex(print));
                }
                for row in &query.fetch_all(&mut *tx).await? {
                    lists.insert(row.try_get::<i64, _>("list")?);
                }
            }
            lists.into_iter().collect()
        })
    }

    /// Removes all entries of a list.
    pub async fn list_entry_clear(&self, list: i64) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            for sql in [
                "DELETE FROM list_entries WHERE list = $1",
                "DELETE FROM list_looked WHERE list = $1",
            ] {
                sqlx::query(sql).bind(list).execute(&mut *tx).await?;
            }
        })
    }

    /// An upload begins: identifiers below `ident` are looked up while its entries are kept.
    pub async fn list_looked_begin(&self, list: i64, ident: u32) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            sqlx::query("INSERT INTO list_looked (list, ident) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(list)
                .bind(i64::from(ident))
                .execute(&mut *tx)
                .await?;
        })
    }

    /// Entries of these lists that wait were held against all identifiers below `ident`.
    pub async fn list_looked_advance(
        &self,
        lists: &[i64],
        ident: u32,
    ) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            for list in lists {
                sqlx::query("UPDATE list_looked SET ident = $2 WHERE list = $1 AND ident < $2")
                    .bind(list)
                    .bind(i64::from(ident))
                    .execute(&mut *tx)
                    .await?;
            }
        })
    }

    /// Entries of a list that wait were held against all identifiers below this one.
    pub async fn list_looked(&self, list: i64) -> Result<u32, RegistryError> {
        let row = sqlx::query("SELECT ident FROM list_looked WHERE list = $1")
            .bind(list)
            .fetch_optional(&self.db.reader)
            .await?;
        match row {
            Some(row) => super::db_u32(row.try_get("ident")?),
            None => Ok(0),
        }
    }
}

fn hex(print: &Print) -> String {
    data_encoding::HEXLOWER.encode(print)
}

fn line_of(row: &AnyRow) -> Result<u32, RegistryError> {
    super::db_u32(row.try_get("line")?)
}

/// `$first, $…`: places of so many values.
fn places(count: usize, first: usize) -> String {
    let places: Vec<String> = (first..first + count).map(|at| format!("${at}")).collect();
    places.join(", ")
}

fn print_of(row: &AnyRow) -> Result<Print, RegistryError> {
    let print: String = row.try_get("print")?;
    data_encoding::HEXLOWER
        .decode(print.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| RegistryError::Damaged("an entry of a list".into()))
}
