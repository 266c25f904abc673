//! The audit chain: who did what, in the order of the commits. Each entry holds the hash of itself and of the one before,
//! so an entry that was changed, taken out or put in later does not fit.
//!
//! An entry names who did it, from which address, and of what has versions those before and after and the fields that
//! differ; not their values, which may be personal: the versions themselves are kept beside ([`super::ItemVersion`]).
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
    /// From where: the address that the request came from. Empty: nobody asked, or it was not noted then.
    pub from: String,
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
    /// What became of something that has versions.
    pub change: Option<Change>,
}

/// What an act changed of something that has versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The version before; 0: there was none.
    pub before: i64,
    /// The version since.
    pub after: i64,
    /// Names of the fields that differ, never their values; empty where all of it came or went.
    pub fields: Vec<String>,
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
    /// Which parts its hash covers: 1 until addresses and changes were noted, 2 since.
    pub form: i64,
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

/// The form of new entries. Entries are checked by the form that they were made in, so those of older programs still fit.
const FORM: i64 = 2;

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
                    && hash(&verdict.head, &entry).is_some_and(|hash| hash == entry.hash);
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
    let mut entry = AuditEntry {
        seq,
        at: now,
        act: act.clone(),
        form: FORM,
        hash: String::new(),
    };
    entry.hash = hash(&before, &entry).expect("this program knows the form that it writes");
    let change = act.change.as_ref();
    sqlx::query(
        "INSERT INTO audit (seq, at, actor, brand, action, kind, item, detail, hash, form, address, version_before, \
         version_after, fields) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(seq)
    .bind(now.0)
    .bind(&*act.by)
    .bind(i64::from(act.brand.0))
    .bind(&*act.action)
    .bind(&*act.kind)
    .bind(&*act.item)
    .bind(&*act.detail)
    .bind(entry.hash)
    .bind(FORM)
    .bind(&*act.from)
    .bind(change.map_or(0, |change| change.before))
    .bind(change.map_or(0, |change| change.after))
    .bind(change.map_or_else(String::new, |change| change.fields.join(",")))
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

/// The hash of an entry: every part with its length, so that no two entries read the same. `None`: no entry of that form
/// looks like this.
fn hash(before: &str, entry: &AuditEntry) -> Option<String> {
    let AuditEntry { seq, at, act, .. } = entry;
    let numbers = [seq.to_string(), at.0.to_string(), act.brand.0.to_string()];
    let [seq, at, brand] = &numbers;
    let told = [&*act.by, &*act.action, &*act.kind, &*act.item, &*act.detail];
    let mut texts = vec![before, &seq[..], &at[..], &brand[..]];
    texts.extend(told);
    match entry.form {
        1 => {
            // What that form's hash does not cover must not be there.
            let plain = act.from.is_empty() && act.change.is_none();
            plain.then(|| hash_of("tributary 2026 audit chain v1", &texts))
        }
        2 => {
            let change = act.change.clone().unwrap_or_default();
            let (was, is) = (change.before.to_string(), change.after.to_string());
            let fields = change.fields.join(",");
            texts.extend([&*act.from, &*was, &*is, &*fields]);
            Some(hash_of("tributary 2026 audit chain v2", &texts))
        }
        _ => None,
    }
}

fn hash_of(form: &str, texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(form);
    for text in texts {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn entry_of(row: &AnyRow) -> Result<AuditEntry, RegistryError> {
    let fields: String = row.try_get("fields")?;
    let change = Change {
        before: row.try_get("version_before")?,
        after: row.try_get("version_after")?,
        fields: match &*fields {
            "" => Vec::new(),
            fields => fields.split(',').map(str::to_owned).collect(),
        },
    };
    Ok(AuditEntry {
        seq: row.try_get("seq")?,
        at: Time(row.try_get("at")?),
        act: Act {
            by: row.try_get("actor")?,
            from: row.try_get("address")?,
            brand: BrandId(super::db_u32(row.try_get("brand")?)?),
            action: row.try_get("action")?,
            kind: row.try_get("kind")?,
            item: row.try_get("item")?,
            detail: row.try_get("detail")?,
            change: (change != Change::default()).then_some(change),
        },
        form: row.try_get("form")?,
        hash: row.try_get("hash")?,
    })
}
