//! The audit chain: who did what, in the order of the commits. Each entry holds the hash of itself and of the one before,
//! so an entry that was changed, taken out or put in later does not fit.
//!
//! Entries are only ever added. What the chain cannot show by itself is that its end was cut off: keep the hash that
//! [`Registry::audit_verify`] answers elsewhere (the log of the process has it at every check) and compare.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::db::transaction;
use super::{Page, Registry, RegistryError, page};
use crate::model::{BrandId, BrandSet, Scope, Time};

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Who: the name of the key or user.
    pub by: String,
    /// The brand that it is about; 0: the group.
    pub brand: BrandId,
    /// What, e.g. `create`, `export`.
    pub action: String,
    /// The kind of thing, e.g. `segment`.
    pub kind: String,
    /// Which one.
    pub item: String,
    /// More, for people. Never personal data: it cannot be erased.
    pub detail: String,
}

/// An entry of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, from 1, without gaps.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// What.
    pub act: Act,
    /// Hash over the entry and the hash before, in hexadecimal.
    pub hash: String,
}

/// What a check of the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Entries that were read.
    pub entries: i64,
    /// The hash of the last one; empty for an empty chain.
    pub head: String,
    /// The first entry that does not fit.
    pub broken_at: Option<i64>,
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Of this kind of thing.
    pub kind: Option<String>,
    /// Of this one.
    pub item: Option<String>,
    /// By this person.
    pub by: Option<String>,
}

/// Entries read at once by a check.
const CHUNK: i64 = 1_000;

impl Registry {
    /// Enters something that is no change of the registry itself: an export, a reveal, a command.
    pub async fn audit(&self, act: &Act, now: Time) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            enter(&mut tx, act, now).await?;
        })
    }

    /// Entries of the scope's brands, the newest first. Those of the group need the whole installation.
    pub async fn audit_list(
        &self,
        scope: &Scope,
        query: &AuditQuery,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<AuditEntry>, RegistryError> {
        let limit = page::limit(limit);
        let mut before = match cursor {
            Some(cursor) => page::after(Some(cursor))?,
            None => i64::MAX,
        };
        let any = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut entries = Vec::new();
        // In chunks, because a brand sees few of many.
        while entries.len() <= limit {
            let rows = sqlx::query(
                "SELECT * FROM audit WHERE seq < $1 AND ($2 = '' OR kind = $2) AND ($3 = '' OR item = $3) \
                 AND ($4 = '' OR actor = $4) ORDER BY seq DESC LIMIT $5",
            )
            .bind(before)
            .bind(any(&query.kind))
            .bind(any(&query.item))
            .bind(any(&query.by))
            .bind(CHUNK)
            .fetch_all(&self.db.reader)
            .await?;
            for row in &rows {
                let entry = entry_of(row)?;
                before = entry.seq;
                if sees(scope, entry.act.brand) && entries.len() <= limit {
                    entries.push(entry);
                }
            }
            if (rows.len() as i64) < CHUNK {
                break;
            }
        }
        Ok(Page::of(entries, limit, |entry| entry.seq))
    }

    /// Reads the whole chain and checks every hash.
    pub async fn audit_verify(&self) -> Result<AuditVerdict, RegistryError> {
        let mut verdict = AuditVerdict {
            entries: 0,
            head: String::new(),
            broken_at: None,
        };
        loop {
            let rows = sqlx::query("SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2")
                .bind(verdict.entries)
                .bind(CHUNK)
                .fetch_all(&self.db.reader)
                .await?;
            for row in &rows {
                let entry = entry_of(row)?;
                let fits = entry.seq == verdict.entries + 1
                    && entry.hash == hash(&verdict.head, entry.seq, &entry.act, entry.at);
                if !fits {
                    verdict.broken_at = Some(verdict.entries + 1);
                    return Ok(verdict);
                }
                verdict.entries = entry.seq;
                verdict.head = entry.hash;
            }
            if (rows.len() as i64) < CHUNK {
                return Ok(verdict);
            }
        }
    }
}

/// Adds an entry within a transaction.
pub(super) async fn enter(
    tx: &mut AnyConnection,
    act: &Act,
    now: Time,
) -> Result<(), RegistryError> {
    let last = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        .fetch_optional(&mut *tx)
        .await?;
    let (seq, before) = match last {
        Some(row) => (row.try_get::<i64, _>("seq")? + 1, row.try_get("hash")?),
        None => (1, String::new()),
    };
    sqlx::query(
        "INSERT INTO audit (seq, at, actor, brand, action, kind, item, detail, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(seq)
    .bind(now.0)
    .bind(&*act.by)
    .bind(i64::from(act.brand.0))
    .bind(&*act.action)
    .bind(&*act.kind)
    .bind(&*act.item)
    .bind(&*act.detail)
    .bind(hash(&before, seq, act, now))
    .execute(tx)
    .await?;
    Ok(())
}

/// What people do to the group's own things concerns no brand.
fn sees(scope: &Scope, brand: BrandId) -> bool {
    match &scope.brands {
        BrandSet::All => true,
        BrandSet::Only(brands) => brands.contains(&brand),
    }
}

/// The hash of an entry: every part with its length, so that no two entries read the same.
fn hash(before: &str, seq: i64, act: &Act, at: Time) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("tributary 2026 audit chain v1");
    let numbers = [seq.to_string(), at.0.to_string(), act.brand.0.to_string()];
    let texts = [
        before,
        &*numbers[0],
        &*numbers[1],
        &*numbers[2],
        &*act.by,
        &*act.action,
        &*act.kind,
        &*act.item,
        &*act.detail,
    ];
    for text in texts {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn entry_of(row: &AnyRow) -> Result<AuditEntry, RegistryError> {
    Ok(AuditEntry {
        seq: row.try_get("seq")?,
        at: Time(row.try_get("at")?),
        act: Act {
            by: row.try_get("actor")?,
            brand: BrandId(super::db_u32(row.try_get("brand")?)?),
            action: row.try_get("action")?,
            kind: row.try_get("kind")?,
            item: row.try_get("item")?,
            detail: row.try_get("detail")?,
        },
        hash: row.try_get("hash")?,
    })
}
