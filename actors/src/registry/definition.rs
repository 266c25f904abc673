//! Definitions: rules, attributes, tags, as versions that go through the log.
//!
//! draft → published (version and outbox row in one transaction) → the record is in the raw log → all units have consumed
//! it → active. The one before becomes superseded.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::brand::{whole, writes};
use super::db::transaction;
use super::source::check_name;
use super::{Page, Registry, RegistryError, page};
use crate::model::{BrandId, Offset, PartitionId, Position, Scope, Time};

/// How far a version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionState {
    /// Saved, effective nowhere.
    Draft,
    /// On its way to the units.
    Published,
    /// In force.
    Active,
    /// Was in force, or was overtaken on its way.
    Superseded,
}

impl DefinitionState {
    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            DefinitionState::Draft => "draft",
            DefinitionState::Published => "published",
            DefinitionState::Active => "active",
            DefinitionState::Superseded => "superseded",
        }
    }

    fn parse(text: &str) -> Option<DefinitionState> {
        use DefinitionState::{Active, Draft, Published, Superseded};
        [Draft, Published, Active, Superseded]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One version of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What it defines, e.g. `identity` or `tag/gold`.
    pub kind: String,
    /// Dense number within the kind, from 1, except where a lost registry was overtaken by what units had.
    pub version: i64,
    /// The brand that owns it; 0 is the group.
    pub brand: BrandId,
    /// The definition itself, JSON.
    pub body: String,
    /// How far it has come.
    pub state: DefinitionState,
    /// Who wrote it.
    pub author: String,
    /// When it was saved.
    pub created: Time,
    /// When it came into force.
    pub activated: Option<Time>,
}

/// A version to save or publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDefinition {
    /// What it defines.
    pub kind: String,
    /// The brand that owns it; 0 is the group.
    pub brand: BrandId,
    /// The definition, JSON that its crate has checked.
    pub body: String,
    /// Who writes it.
    pub author: String,
    /// The version that the author had before them: if another has come since, it is a conflict. `None` does not ask.
    pub base: Option<i64>,
}

/// A published version that waits for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Its number; rows are sent in this order.
    pub id: i64,
    /// What is defined.
    pub kind: String,
    /// Which version.
    pub version: i64,
    /// The definition, JSON.
    pub payload: String,
}

const BODY_BYTES_MAX: usize = 4 << 20;

impl Registry {
    /// Saves a version as a draft.
    pub async fn definition_draft(
        &self,
        scope: &Scope,
        new: NewDefinition,
        now: Time,
    ) -> Result<Definition, RegistryError> {
        self.definition_insert(scope, new, DefinitionState::Draft, now)
            .await
    }

    /// Publishes a version: it and its outbox row are written in one transaction.
    pub async fn definition_publish(
        &self,
        scope: &Scope,
        new: NewDefinition,
        now: Time,
    ) -> Result<Definition, RegistryError> {
        self.definition_insert(scope, new, DefinitionState::Published, now)
            .await
    }

    /// Publishes a draft. A draft older than what is published since is a conflict: save it again on top.
    pub async fn definition_publish_draft(
        &self,
        scope: &Scope,
        kind: &str,
        version: i64,
    ) -> Result<Definition, RegistryError> {
        transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT * FROM definitions WHERE kind = $1 AND version = $2")
                .bind(kind)
                .bind(version)
                .fetch_optional(&mut *tx)
                .await?;
            let mut definition = seen(scope, row.as_ref())?;
            writes(scope, definition.brand)?;
            let later = sqlx::query(
                "SELECT count(*) AS later FROM definitions WHERE kind = $1 AND version > $2 AND state <> 'draft'",
            )
            .bind(kind)
            .bind(version)
            .fetch_one(&mut *tx)
            .await?;
            if definition.state != DefinitionState::Draft || later.try_get::<i64, _>("later")? > 0 {
                Err(RegistryError::Conflict(format!(
                    "version {version} of {kind} is not a draft on top of the newest published version"
                )))?;
            }
            definition.state = DefinitionState::Published;
            sqlx::query("UPDATE definitions SET state = 'published' WHERE kind = $1 AND version = $2")
                .bind(kind)
                .bind(version)
                .execute(&mut *tx)
                .await?;
            outbox_insert(&mut tx, &definition).await?;
            definition
        })
    }

    /// One version.
    pub async fn definition_get(
        &self,
        scope: &Scope,
        kind: &str,
        version: i64,
    ) -> Result<Definition, RegistryError> {
        let row = sqlx::query("SELECT * FROM definitions WHERE kind = $1 AND version = $2")
            .bind(kind)
            .bind(version)
            .fetch_optional(&self.db.reader)
            .await?;
        seen(scope, row.as_ref())
    }

    /// The version in force.
    pub async fn definition_active(
        &self,
        scope: &Scope,
        kind: &str,
    ) -> Result<Definition, RegistryError> {
        let row = sqlx::query("SELECT * FROM definitions WHERE kind = $1 AND state = 'active'")
            .bind(kind)
            .fetch_optional(&self.db.reader)
            .await?;
        seen(scope, row.as_ref())
    }

    /// The newest version that is not a draft: in force, or about to be.
    pub async fn definition_newest(
        &self,
        scope: &Scope,
        kind: &str,
    ) -> Result<Definition, RegistryError> {
        let row = sqlx::query(
            "SELECT * FROM definitions WHERE kind = $1 AND state <> 'draft' ORDER BY version DESC LIMIT 1",
        )
        .bind(kind)
        .fetch_optional(&self.db.reader)
        .await?;
        seen(scope, row.as_ref())
    }

    /// The versions of a kind, oldest first.
    pub async fn definition_list(
        &self,
        scope: &Scope,
        kind: &str,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Definition>, RegistryError> {
        let limit = page::limit(limit);
        let rows = sqlx::query(
            "SELECT * FROM definitions WHERE kind = $1 AND version > $2 ORDER BY version",
        )
        .bind(kind)
        .bind(page::after(cursor)?)
        .fetch_all(&self.db.reader)
        .await?;
        let mut definitions = Vec::new();
        for row in &rows {
            let definition = definition_of(row)?;
            if scope.sees(definition.brand) {
                definitions.push(definition);
            }
            if definitions.len() > limit {
                break;
            }
        }
        Ok(Page::of(definitions, limit, |definition| {
            definition.version
        }))
    }

    /// Everything that the scope sees in force, by kind.
    pub async fn definition_active_all(
        &self,
        scope: &Scope,
    ) -> Result<Vec<Definition>, RegistryError> {
        let rows = sqlx::query("SELECT * FROM definitions WHERE state = 'active' ORDER BY kind")
            .fetch_all(&self.db.reader)
            .await?;
        let all: Vec<Definition> = rows.iter().map(definition_of).collect::<Result<_, _>>()?;
        Ok(all
            .into_iter()
            .filter(|definition| scope.sees(definition.brand))
            .collect())
    }

    /// Puts a version into force once all units have consumed its position; versions before it are superseded.
    /// Idempotent. A version overtaken by a later active one stays superseded.
    pub async fn definition_activate(
        &self,
        scope: &Scope,
        kind: &str,
        version: i64,
        now: Time,
    ) -> Result<(), RegistryError> {
        whole(scope)?;
        transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT * FROM definitions WHERE kind = $1 AND version = $2")
                .bind(kind)
                .bind(version)
                .fetch_optional(&mut *tx)
                .await?;
            match seen(scope, row.as_ref())?.state {
                DefinitionState::Published => {
                    sqlx::query(
                        "UPDATE definitions SET state = 'superseded' \
                         WHERE kind = $1 AND version < $2 AND state IN ('active', 'published')",
                    )
                    .bind(kind)
                    .bind(version)
                    .execute(&mut *tx)
                    .await?;
                    sqlx::query(
                        "UPDATE definitions SET state = 'active', activated = $3 WHERE kind = $1 AND version = $2",
                    )
                    .bind(kind)
                    .bind(version)
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?;
                }
                DefinitionState::Active | DefinitionState::Superseded => {}
                DefinitionState::Draft => Err(RegistryError::Conflict(format!(
                    "version {version} of {kind} is a draft"
                )))?,
            }
        })
    }

    /// Says that the log has had a version. What is published from now on is above it, although the registry may have been
    /// restored to a state that knows nothing of it: units ignore a version that they have.
    pub fn definition_sent(&self, kind: &str, version: i64) {
        let mut sent = self.sent.lock();
        let known = sent.entry(kind.to_owned()).or_default();
        *known = version.max(*known);
    }

    /// The version that the next one of a kind must be above.
    pub(super) fn sent(&self, kind: &str) -> i64 {
        self.sent.lock().get(kind).copied().unwrap_or_default()
    }

    /// The oldest published version that is not in the log yet.
    pub async fn outbox_next(&self) -> Result<Option<Outbox>, RegistryError> {
        let row = sqlx::query("SELECT * FROM outbox WHERE at_offset IS NULL ORDER BY id LIMIT 1")
            .fetch_optional(&self.db.reader)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(Outbox {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            version: row.try_get("version")?,
            payload: row.try_get("payload")?,
        }))
    }

    /// Where a published version stands in the raw log, once it does.
    pub async fn outbox_position(
        &self,
        kind: &str,
        version: i64,
    ) -> Result<Option<Position>, RegistryError> {
        let row = sqlx::query(
            "SELECT at_partition, at_offset FROM outbox WHERE kind = $1 AND version = $2 AND at_offset IS NOT NULL",
        )
        .bind(kind)
        .bind(version)
        .fetch_optional(&self.db.reader)
        .await?;
        row.as_ref().map(position_of).transpose()
    }

    /// Notes where an outbox row stands in the raw log. A crash before this sends it twice: units take a version once.
    pub async fn outbox_sent(&self, id: i64, at: Position) -> Result<(), RegistryError> {
        let offset = i64::try_from(at.offset.0)
            .map_err(|_| RegistryError::invalid("position", "the offset is out of range"))?;
        transaction!(&self.db, tx => {
            sqlx::query(
                "UPDATE outbox SET at_partition = $2, at_offset = $3 WHERE id = $1 AND at_offset IS NULL",
            )
            .bind(id)
            .bind(i64::from(at.partition.0))
            .bind(offset)
            .execute(&mut *tx)
            .await?;
        })
    }

    /// Published versions that are in the log and not yet in force, with their positions: those that units must have
    /// consumed before [`Registry::definition_activate`].
    pub async fn outbox_unacknowledged(
        &self,
    ) -> Result<Vec<(String, i64, Position)>, RegistryError> {
        let rows = sqlx::query(
            "SELECT o.kind, o.version, o.at_partition, o.at_offset FROM outbox o \
             JOIN definitions d ON d.kind = o.kind AND d.version = o.version \
             WHERE o.at_offset IS NOT NULL AND d.state = 'published' ORDER BY o.id",
        )
        .fetch_all(&self.db.reader)
        .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    row.try_get("kind")?,
                    row.try_get("version")?,
                    position_of(row)?,
                ))
            })
            .collect()
    }

    async fn definition_insert(
        &self,
        scope: &Scope,
        new: NewDefinition,
        state: DefinitionState,
        now: Time,
    ) -> Result<Definition, RegistryError> {
        writes(scope, new.brand)?;
        check_name("kind", &new.kind)?;
        let json: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&new.body);
        if let Err(error) = json {
            return Err(RegistryError::invalid("body", format!("no JSON: {error}")));
        }
        if new.body.len() > BODY_BYTES_MAX {
            return Err(RegistryError::invalid(
                "body",
                format!("longer than {BODY_BYTES_MAX} bytes"),
            ));
        }
        let sent = self.sent(&new.kind);
        transaction!(&self.db, tx => {
            let row = sqlx::query(
                "SELECT coalesce(max(version), 0) AS newest, \
                 coalesce(max(CASE WHEN state <> 'draft' THEN version ELSE 0 END), 0) AS published \
                 FROM definitions WHERE kind = $1",
            )
            .bind(&*new.kind)
            .fetch_one(&mut *tx)
            .await?;
            let newest = row.try_get::<i64, _>("newest")?;
            let published = row.try_get::<i64, _>("published")?;
            if let Some(base) = new.base
                && base != published
            {
                Err(RegistryError::Conflict(format!(
                    "{} has changed: it is based on version {base}, but {published} is the newest",
                    new.kind
                )))?;
            }
            let owner = sqlx::query("SELECT brand FROM definitions WHERE kind = $1 LIMIT 1")
                .bind(&*new.kind)
                .fetch_optional(&mut *tx)
                .await?;
            if let Some(owner) = owner
                && owner.try_get::<i64, _>("brand")? != i64::from(new.brand.0)
            {
                Err(RegistryError::Conflict(format!("{} belongs to another brand", new.kind)))?;
            }
            let definition = Definition {
                kind: new.kind.clone(),
                version: newest.max(sent) + 1,
                brand: new.brand,
                body: new.body.clone(),
                state,
                author: new.author.clone(),
                created: now,
                activated: None,
            };
            insert(&mut tx, &definition).await?;
            if state == DefinitionState::Published {
                outbox_insert(&mut tx, &definition).await?;
            }
            definition
        })
    }
}

/// Publishes the next version of a kind of the group, above `sent`, within a transaction that changes what it is made of.
pub(super) async fn publish_next(
    tx: &mut sqlx::AnyConnection,
    kind: &str,
    sent: i64,
    body: String,
    author: &str,
    now: Time,
) -> Result<(), RegistryError> {
    let row =
        sqlx::query("SELECT coalesce(max(version), 0) AS version FROM definitions WHERE kind = $1")
            .bind(kind)
            .fetch_one(&mut *tx)
            .await?;
    let definition = Definition {
        kind: kind.to_owned(),
        version: row.try_get::<i64, _>("version")?.max(sent) + 1,
        brand: BrandId(0),
        body,
        state: DefinitionState::Published,
        author: author.to_owned(),
        created: now,
        activated: None,
    };
    insert(tx, &definition).await?;
    outbox_insert(tx, &definition).await
}

async fn insert(
    tx: &mut sqlx::AnyConnection,
    definition: &Definition,
) -> Result<(), RegistryError> {
    sqlx::query(
        "INSERT INTO definitions (kind, version, brand, body, state, author, created, activated) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&*definition.kind)
    .bind(definition.version)
    .bind(i64::from(definition.brand.0))
    .bind(&*definition.body)
    .bind(definition.state.as_str())
    .bind(&*definition.author)
    .bind(definition.created.0)
    .bind(definition.activated.map(|at| at.0))
    .execute(tx)
    .await?;
    Ok(())
}

async fn outbox_insert(
    tx: &mut sqlx::AnyConnection,
    definition: &Definition,
) -> Result<(), RegistryError> {
    sqlx::query(
        "INSERT INTO outbox (id, kind, version, payload) \
         SELECT coalesce(max(id), 0) + 1, $1, $2, $3 FROM outbox",
    )
    .bind(&*definition.kind)
    .bind(definition.version)
    .bind(&*definition.body)
    .execute(tx)
    .await?;
    Ok(())
}

fn position_of(row: &AnyRow) -> Result<Position, RegistryError> {
    let damaged = |_| RegistryError::Damaged("a position is out of range".into());
    Ok(Position {
        partition: PartitionId(
            u16::try_from(row.try_get::<i64, _>("at_partition")?).map_err(damaged)?,
        ),
        offset: Offset(u64::try_from(row.try_get::<i64, _>("at_offset")?).map_err(damaged)?),
    })
}

fn seen(scope: &Scope, row: Option<&AnyRow>) -> Result<Definition, RegistryError> {
    match row.map(definition_of).transpose()? {
        Some(definition) if scope.sees(definition.brand) => Ok(definition),
        _ => Err(RegistryError::NotFound("definition")),
    }
}

fn definition_of(row: &AnyRow) -> Result<Definition, RegistryError> {
    let state: String = row.try_get("state")?;
    Ok(Definition {
        kind: row.try_get("kind")?,
        version: row.try_get("version")?,
        brand: BrandId(super::db_u32(row.try_get("brand")?)?),
        body: row.try_get("body")?,
        state: DefinitionState::parse(&state)
            .ok_or_else(|| RegistryError::Damaged(format!("state `{state}` of a definition")))?,
        author: row.try_get("author")?,
        created: Time(row.try_get("created")?),
        activated: row.try_get::<Option<i64>, _>("activated")?.map(Time),
    })
}
