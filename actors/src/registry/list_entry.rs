//! Entries of uploaded lists: fingerprints of identifiers, so that no list is a store of personal data.
//!
//! A list of a million is written in batches and read in pages; neither needs it in memory. Entries that nobody had at the
//! upload wait as fingerprints: whoever gets the identifier later is in the list from then on.

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
}

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
                    .map(|at| format!("($1, ${}, ${})", at * 2 + 2, at * 2 + 3))
                    .collect();
                let sql = format!(
                    "INSERT INTO list_entries (list, print, ident) VALUES {} ON CONFLICT DO NOTHING RETURNING print",
                    places.join(", ")
                );
                let mut query = sqlx::query(AssertSqlSafe(sql)).bind(list);
                for row in rows {
                    query = query
                        .bind(data_encoding::HEXLOWER.encode(&row.print))
                        .bind(row.ident.map_or(UNKNOWN, |ident| i64::from(ident.0)));
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
        let after = after.map_or(String::new(), |print| {
            data_encoding::HEXLOWER.encode(&print)
        });
        let rows = sqlx::query(
            "SELECT print, ident FROM list_entries WHERE list = $1 AND print > $2 ORDER BY print LIMIT $3",
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
                })
            })
            .collect()
    }

    /// Somebody has this identifier now: entries of all lists that waited for it learn its number. Answers those lists.
    pub async fn list_entry_found(
        &self,
        print: Print,
        ident: IdentNo,
    ) -> Result<Vec<i64>, RegistryError> {
        let print = data_encoding::HEXLOWER.encode(&print);
        transaction!(&self.db, tx => {
            let rows = sqlx::query("SELECT list FROM list_entries WHERE print = $1 AND ident = $2")
                .bind(&*print)
                .bind(UNKNOWN)
                .fetch_all(&mut *tx)
                .await?;
            sqlx::query("UPDATE list_entries SET ident = $2 WHERE print = $1")
                .bind(&*print)
                .bind(i64::from(ident.0))
                .execute(&mut *tx)
                .await?;
            rows.iter()
                .map(|row| row.try_get("list"))
                .collect::<Result<Vec<i64>, _>>()?
        })
    }

    /// Fingerprints that wait for somebody, in any list, behind `after`.
    pub async fn list_entry_waiting(
        &self,
        after: Option<Print>,
        limit: u32,
    ) -> Result<Vec<Print>, RegistryError> {
        let after = after.map_or(String::new(), |print| {
            data_encoding::HEXLOWER.encode(&print)
        });
        let rows = sqlx::query(
            "SELECT DISTINCT print FROM list_entries WHERE ident = $1 AND print > $2 ORDER BY print LIMIT $3",
        )
        .bind(UNKNOWN)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.db.reader)
        .await?;
        rows.iter().map(print_of).collect()
    }

    /// Forgets an identifier in all lists: its owner was erased.
    pub async fn list_entry_forget(&self, print: Print) -> Result<u64, RegistryError> {
        let print = data_encoding::HEXLOWER.encode(&print);
        transaction!(&self.db, tx => {
            sqlx::query("DELETE FROM list_entries WHERE print = $1")
                .bind(&*print)
                .execute(&mut *tx)
                .await?
                .rows_affected()
        })
    }

    /// Removes all entries of a list.
    pub async fn list_entry_clear(&self, list: i64) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            sqlx::query("DELETE FROM list_entries WHERE list = $1")
                .bind(list)
                .execute(&mut *tx)
                .await?;
        })
    }
}

fn print_of(row: &AnyRow) -> Result<Print, RegistryError> {
    let print: String = row.try_get("print")?;
    data_encoding::HEXLOWER
        .decode(print.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| RegistryError::Damaged("an entry of a list".into()))
}
