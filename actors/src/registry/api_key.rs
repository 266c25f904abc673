//! API keys: who calls, and what they see.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::brand::whole;
use super::db::transaction;
use super::source::{check_name, holds};
use super::{Page, Registry, RegistryError, Secret, key, page};
use crate::model::{BrandSet, Scope, Time};

/// The role that may do everything.
pub const ADMIN: &str = "admin";

/// Name of the admin key that comes from the environment.
const GIVEN: &str = "admin key of the environment";

/// Name of the admin key made at the first start.
const FIRST: &str = "first admin key";

/// Shortest admin key that an operator may choose: it is kept as a plain hash.
const GIVEN_BYTES_MIN: usize = 16;

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its number, from 1.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// Its first characters.
    pub hint: String,
    /// What it sees.
    pub scope: Scope,
    /// What it may do; `api` knows the roles.
    pub role: String,
    /// When it was made.
    pub created: Time,
    /// When it was last noted as used.
    pub last_used: Option<Time>,
    /// When it was revoked.
    pub revoked: Option<Time>,
}

/// An API key to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// What it is for.
    pub name: String,
    /// What it sees: no more than its maker.
    pub scope: Scope,
    /// What it may do.
    pub role: String,
}

impl Registry {
    /// Makes a key. It is shown now and never again.
    pub async fn api_key_create(
        &self,
        scope: &Scope,
        new: NewApiKey,
        now: Time,
    ) -> Result<(ApiKey, Secret), RegistryError> {
        check_name("name", &new.name)?;
        check_name("role", &new.role)?;
        if !within(&new.scope, scope) {
            return Err(RegistryError::Denied(
                "a key cannot see more than its maker",
            ));
        }
        let secret = Secret::api_key()?;
        let made = self.insert(&new, &secret, now).await?;
        Ok((made, secret))
    }

    /// Sees to it that there is an admin key. With `given` (from the environment) that one is valid from now on, and one
    /// given earlier is revoked. Without, a key is made at the first start and answered, to be shown once.
    pub async fn api_key_ensure_admin(
        &self,
        given: Option<&str>,
        now: Time,
    ) -> Result<Option<Secret>, RegistryError> {
        let new = |name: &str| NewApiKey {
            name: name.to_owned(),
            scope: Scope::installation(),
            role: ADMIN.to_owned(),
        };
        let Some(given) = given else {
            let row = sqlx::query(
                "SELECT count(*) AS keys FROM api_keys WHERE role = $1 AND revoked IS NULL",
            )
            .bind(ADMIN)
            .fetch_one(&self.db.reader)
            .await?;
            if row.try_get::<i64, _>("keys")? > 0 {
                return Ok(None);
            }
            let secret = Secret::api_key()?;
            self.insert(&new(FIRST), &secret, now).await?;
            return Ok(Some(secret));
        };
        if given.len() < GIVEN_BYTES_MIN {
            return Err(RegistryError::invalid(
                "admin_key",
                format!("use at least {GIVEN_BYTES_MIN} random characters"),
            ));
        }
        let secret = Secret::given(given);
        let hash = secret.hash();
        let known = transaction!(&self.db, tx => {
            sqlx::query(
                "UPDATE api_keys SET revoked = $1 WHERE name = $2 AND key_hash <> $3 AND revoked IS NULL",
            )
            .bind(now.0)
            .bind(GIVEN)
            .bind(&*hash)
            .execute(&mut *tx)
            .await?;
            // Given again after another one, or after it was revoked by hand: the environment is the operator's word.
            let taken = sqlx::query("UPDATE api_keys SET revoked = NULL, role = $2 WHERE key_hash = $1")
                .bind(&*hash)
                .bind(ADMIN)
                .execute(&mut *tx)
                .await?;
            taken.rows_affected() > 0
        })?;
        self.api_keys.forget();
        if !known {
            self.insert(&new(GIVEN), &secret, now).await?;
        }
        Ok(None)
    }

    /// The key that a caller shows, if it is valid. No scope: the key says who calls. Answers are remembered for a few
    /// seconds.
    pub async fn api_key_by_key(&self, shown: &str) -> Result<Option<ApiKey>, RegistryError> {
        // An operator's own key has no check characters, so only what cannot be any key is refused here.
        if shown.len() < GIVEN_BYTES_MIN || shown.starts_with("tw_") {
            return Ok(None);
        }
        let hash = key::hash(shown);
        let ticket = match self.api_keys.get(&hash) {
            Ok(found) => return Ok(Some(found)),
            Err(ticket) => ticket,
        };
        let row = sqlx::query("SELECT * FROM api_keys WHERE key_hash = $1 AND revoked IS NULL")
            .bind(&*hash)
            .fetch_optional(&self.db.reader)
            .await?;
        let Some(row) = row.filter(|row| holds(row, &hash)) else {
            return Ok(None);
        };
        let found = api_key_of(&row)?;
        self.api_keys.remember(hash, found.clone(), ticket);
        Ok(Some(found))
    }

    /// Notes that a key was used. Not for every request: once a minute is enough.
    pub async fn api_key_used(&self, id: i64, now: Time) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            sqlx::query("UPDATE api_keys SET last_used = $2 WHERE id = $1")
                .bind(id)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
        })
    }

    /// Revokes a key, for ever. Idempotent.
    pub async fn api_key_revoke(
        &self,
        scope: &Scope,
        id: i64,
        now: Time,
    ) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT * FROM api_keys WHERE id = $1")
                .bind(id)
                .fetch_optional(&mut *tx)
                .await?;
            match row.as_ref().map(api_key_of).transpose()? {
                Some(found) if within(&found.scope, scope) => {}
                _ => Err(RegistryError::NotFound("API key"))?,
            }
            sqlx::query("UPDATE api_keys SET revoked = $2 WHERE id = $1 AND revoked IS NULL")
                .bind(id)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
        })?;
        self.api_keys.forget();
        Ok(())
    }

    /// All keys, revoked ones too. Only who sees the whole installation may.
    pub async fn api_key_list(
        &self,
        scope: &Scope,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<ApiKey>, RegistryError> {
        whole(scope)?;
        let limit = page::limit(limit);
        let rows = sqlx::query("SELECT * FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(page::after(cursor)?)
            .bind(limit as i64 + 1)
            .fetch_all(&self.db.reader)
            .await?;
        let keys = rows.iter().map(api_key_of).collect::<Result<_, _>>()?;
        Ok(Page::of(keys, limit, |key: &ApiKey| key.id))
    }

    async fn insert(
        &self,
        new: &NewApiKey,
        secret: &Secret,
        now: Time,
    ) -> Result<ApiKey, RegistryError> {
        let scope = serde_json::to_string(&new.scope).expect("a scope always serialises");
        transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT coalesce(max(id), 0) + 1 AS id FROM api_keys")
                .fetch_one(&mut *tx)
                .await?;
            let id = row.try_get::<i64, _>("id")?;
            sqlx::query(
                "INSERT INTO api_keys (id, name, key_hash, key_hint, scope, role, created) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(id)
            .bind(&*new.name)
            .bind(secret.hash())
            .bind(secret.hint())
            .bind(&*scope)
            .bind(&*new.role)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
            ApiKey {
                id,
                name: new.name.clone(),
                hint: secret.hint(),
                scope: new.scope.clone(),
                role: new.role.clone(),
                created: now,
                last_used: None,
                revoked: None,
            }
        })
    }
}

/// Whether `inner` sees nothing that `outer` does not.
fn within(inner: &Scope, outer: &Scope) -> bool {
    let brands = match (&inner.brands, &outer.brands) {
        (_, BrandSet::All) => true,
        (BrandSet::All, BrandSet::Only(_)) => false,
        (BrandSet::Only(inner), BrandSet::Only(outer)) => {
            inner.iter().all(|brand| outer.contains(brand))
        }
    };
    brands && inner.fields <= outer.fields
}

fn api_key_of(row: &AnyRow) -> Result<ApiKey, RegistryError> {
    let scope: String = row.try_get("scope")?;
    Ok(ApiKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        hint: row.try_get("key_hint")?,
        scope: serde_json::from_str(&scope)
            .map_err(|error| RegistryError::Damaged(format!("scope of an API key: {error}")))?,
        role: row.try_get("role")?,
        created: Time(row.try_get("created")?),
        last_used: row.try_get::<Option<i64>, _>("last_used")?.map(Time),
        revoked: row.try_get::<Option<i64>, _>("revoked")?.map(Time),
    })
}
