//! Sources of events: one write key, one brand, one id space each. Never deleted, only disabled: events name them.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::brand::writes;
use super::db::transaction;
use super::{Page, Registry, RegistryError, Secret, key, page};
use crate::model::{BrandId, IdSpace, RawJson, Scope, SourceId, Time};

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its id, from 1.
    pub id: SourceId,
    /// Its name, unique within the brand.
    pub name: String,
    /// What sends, e.g. `http`, `import`, `scan`.
    pub kind: String,
    /// The brand that owns its events.
    pub brand: BrandId,
    /// The id space of its `user_id anonymous_id device_id member_card`.
    pub id_space: IdSpace,
    /// The first characters of its write key.
    pub key_hint: String,
    /// Its events are kept out of counts.
    pub test: bool,
    /// Settings of its kind (a JSON object).
    pub settings: RawJson,
    /// Whether it may send.
    pub enabled: bool,
    /// When it was made.
    pub created: Time,
}

/// A source to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSource {
    /// Name, unique within the brand.
    pub name: String,
    /// What sends.
    pub kind: String,
    /// The brand that owns its events.
    pub brand: BrandId,
    /// Its id space.
    pub id_space: IdSpace,
    /// Kept out of counts.
    pub test: bool,
    /// Settings (a JSON object); `None` is an empty one.
    pub settings: Option<RawJson>,
}

/// What to change of a source; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceChange {
    /// Another name.
    pub name: Option<String>,
    /// Other settings.
    pub settings: Option<RawJson>,
    /// Whether it may send.
    pub enabled: Option<bool>,
    /// Kept out of counts from now on.
    pub test: Option<bool>,
}

const NAME_BYTES_MAX: usize = 200;
const SETTINGS_BYTES_MAX: usize = 256 << 10;

impl Registry {
    /// Makes a source. The write key is shown now and never again.
    pub async fn source_create(
        &self,
        scope: &Scope,
        new: NewSource,
        now: Time,
    ) -> Result<(Source, Secret), RegistryError> {
        writes(scope, new.brand)?;
        check_name("name", &new.name)?;
        check_name("kind", &new.kind)?;
        let settings = new
            .settings
            .unwrap_or_else(|| RawJson::object("{}").expect("an empty object is one"));
        check_settings(&settings)?;
        let secret = Secret::write_key()?;
        let source = transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT coalesce(max(id), 0) + 1 AS id FROM sources")
                .fetch_one(&mut *tx)
                .await?;
            let id = row.try_get::<i64, _>("id")?;
            sqlx::query(
                "INSERT INTO sources (id, name, kind, brand, id_space, key_hash, key_hint, test, settings, enabled, created) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10)",
            )
            .bind(id)
            .bind(&*new.name)
            .bind(&*new.kind)
            .bind(i64::from(new.brand.0))
            .bind(i64::from(new.id_space.0))
            .bind(secret.hash())
            .bind(secret.hint())
            .bind(i64::from(new.test))
            .bind(settings.as_str())
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
            Source {
                id: SourceId(super::db_u32(id)?),
                name: new.name.clone(),
                kind: new.kind.clone(),
                brand: new.brand,
                id_space: new.id_space,
                key_hint: secret.hint(),
                test: new.test,
                settings: settings.clone(),
                enabled: true,
                created: now,
            }
        })?;
        Ok((source, secret))
    }

    /// The sources that the scope sees, oldest first.
    pub async fn source_list(
        &self,
        scope: &Scope,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Source>, RegistryError> {
        let limit = page::limit(limit);
        let rows = sqlx::query("SELECT * FROM sources WHERE id > $1 ORDER BY id")
            .bind(page::after(cursor)?)
            .fetch_all(&self.db.reader)
            .await?;
        let mut sources = Vec::new();
        for row in &rows {
            let source = source_of(row)?;
            if scope.sees(source.brand) {
                sources.push(source);
            }
            if sources.len() > limit {
                break;
            }
        }
        Ok(Page::of(sources, limit, |source| i64::from(source.id.0)))
    }

    /// One source.
    pub async fn source_get(&self, scope: &Scope, id: SourceId) -> Result<Source, RegistryError> {
        let row = sqlx::query("SELECT * FROM sources WHERE id = $1")
            .bind(i64::from(id.0))
            .fetch_optional(&self.db.reader)
            .await?;
        match row.as_ref().map(source_of).transpose()? {
            Some(source) if scope.sees(source.brand) => Ok(source),
            _ => Err(RegistryError::NotFound("source")),
        }
    }

    /// Changes a source; answers it as it is then.
    pub async fn source_update(
        &self,
        scope: &Scope,
        id: SourceId,
        change: SourceChange,
    ) -> Result<Source, RegistryError> {
        writes(scope, self.source_get(scope, id).await?.brand)?;
        if let Some(name) = &change.name {
            check_name("name", name)?;
        }
        if let Some(settings) = &change.settings {
            check_settings(settings)?;
        }
        let source = transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT * FROM sources WHERE id = $1")
                .bind(i64::from(id.0))
                .fetch_one(&mut *tx)
                .await?;
            let mut source = source_of(&row)?;
            source.name = change.name.clone().unwrap_or(source.name);
            source.settings = change.settings.clone().unwrap_or(source.settings);
            source.enabled = change.enabled.unwrap_or(source.enabled);
            source.test = change.test.unwrap_or(source.test);
            sqlx::query("UPDATE sources SET name = $2, settings = $3, enabled = $4, test = $5 WHERE id = $1")
                .bind(i64::from(id.0))
                .bind(&*source.name)
                .bind(source.settings.as_str())
                .bind(i64::from(source.enabled))
                .bind(i64::from(source.test))
                .execute(&mut *tx)
                .await?;
            source
        })?;
        self.sources.forget();
        Ok(source)
    }

    /// Gives a source a new write key; the old one is refused from now on.
    pub async fn source_key_rotate(
        &self,
        scope: &Scope,
        id: SourceId,
    ) -> Result<Secret, RegistryError> {
        let source = self.source_get(scope, id).await?;
        writes(scope, source.brand)?;
        let secret = Secret::write_key()?;
        transaction!(&self.db, tx => {
            sqlx::query("UPDATE sources SET key_hash = $2, key_hint = $3 WHERE id = $1")
                .bind(i64::from(id.0))
                .bind(secret.hash())
                .bind(secret.hint())
                .execute(&mut *tx)
                .await?;
        })?;
        self.sources.forget();
        Ok(secret)
    }

    /// The source that a write key belongs to, enabled or not. No scope: the key says who calls. Answers are remembered
    /// for a few seconds.
    pub async fn source_by_write_key(&self, key: &str) -> Result<Option<Source>, RegistryError> {
        if !super::is_key(key) {
            return Ok(None);
        }
        let hash = key::hash(key);
        let ticket = match self.sources.get(&hash) {
            Ok(source) => return Ok(Some(source)),
            Err(ticket) => ticket,
        };
        let row = sqlx::query("SELECT * FROM sources WHERE key_hash = $1")
            .bind(&*hash)
            .fetch_optional(&self.db.reader)
            .await?;
        let Some(row) = row.filter(|row| holds(row, &hash)) else {
            return Ok(None);
        };
        let source = source_of(&row)?;
        self.sources.remember(hash, source.clone(), ticket);
        Ok(Some(source))
    }
}

/// Whether the row that was found really has this hash.
pub(super) fn holds(row: &AnyRow, hash: &str) -> bool {
    row.try_get::<String, _>("key_hash")
        .is_ok_and(|kept| key::equal(&kept, hash))
}

/// A name that people give: not empty, not long, no control characters.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), RegistryError> {
    let fine = !name.trim().is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.chars().any(char::is_control);
    if fine {
        Ok(())
    } else {
        Err(RegistryError::invalid(
            field,
            format!("write 1 to {NAME_BYTES_MAX} bytes without control characters"),
        ))
    }
}

fn check_settings(settings: &RawJson) -> Result<(), RegistryError> {
    let object: Result<serde_json::Map<String, serde_json::Value>, _> =
        serde_json::from_str(settings.as_str());
    if object.is_ok() && settings.as_str().len() <= SETTINGS_BYTES_MAX {
        Ok(())
    } else {
        Err(RegistryError::invalid(
            "settings",
            format!("expected a JSON object of at most {SETTINGS_BYTES_MAX} bytes"),
        ))
    }
}

fn source_of(row: &AnyRow) -> Result<Source, RegistryError> {
    let settings: String = row.try_get("settings")?;
    Ok(Source {
        id: SourceId(super::db_u32(row.try_get("id")?)?),
        name: row.try_get("name")?,
        kind: row.try_get("kind")?,
        brand: BrandId(super::db_u32(row.try_get("brand")?)?),
        id_space: IdSpace(super::db_u32(row.try_get("id_space")?)?),
        key_hint: row.try_get("key_hint")?,
        test: row.try_get::<i64, _>("test")? != 0,
        settings: RawJson::object(&settings)
            .map_err(|error| RegistryError::Damaged(format!("settings of a source: {error}")))?,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        created: Time(row.try_get("created")?),
    })
}
