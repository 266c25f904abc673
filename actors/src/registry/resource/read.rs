//! Reading single resources, their versions, and who uses them.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::super::{Page, Registry, RegistryError, page};
use super::{Item, ResourceChanged, ResourceKind, item_of};
use crate::model::{BrandId, Scope, Time};

/// What a resource was after one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemVersion {
    /// Which version.
    pub version: i64,
    /// Its name then.
    pub name: String,
    /// Its state then; [`super::DELETED`] is the last.
    pub state: String,
    /// Its body then.
    pub body: String,
    /// When.
    pub at: Time,
    /// Who made it.
    pub by: String,
}

/// The resource of a row, unless there is none or `scope` hides it: both are answered alike.
fn visible(row: Option<&AnyRow>, scope: &Scope, kind: ResourceKind) -> Result<Item, RegistryError> {
    match row.map(item_of).transpose()? {
        Some(item) if scope.sees(item.brand) => Ok(item),
        _ => Err(RegistryError::NotFound(kind.name)),
    }
}

impl Registry {
    /// One resource.
    pub async fn resource_get(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        id: i64,
    ) -> Result<Item, RegistryError> {
        let row = sqlx::query("SELECT * FROM resources WHERE kind = $1 AND id = $2")
            .bind(kind.name)
            .bind(id)
            .fetch_optional(&self.db.reader)
            .await?;
        visible(row.as_ref(), scope, kind)
    }

    /// The resource that others refer to in this way.
    pub async fn resource_by_handle(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        handle: &str,
    ) -> Result<Item, RegistryError> {
        let row = sqlx::query("SELECT * FROM resources WHERE kind = $1 AND handle = $2")
            .bind(kind.name)
            .bind(handle)
            .fetch_optional(&self.db.reader)
            .await?;
        visible(row.as_ref(), scope, kind)
    }

    /// Everything of a kind, by number: for engines, which hold all of it in memory anyway.
    pub async fn resource_all(
        &self,
        scope: &Scope,
        kind: ResourceKind,
    ) -> Result<Vec<Item>, RegistryError> {
        let rows = sqlx::query("SELECT * FROM resources WHERE kind = $1 ORDER BY id")
            .bind(kind.name)
            .fetch_all(&self.db.reader)
            .await?;
        let all: Vec<Item> = rows.iter().map(item_of).collect::<Result<_, _>>()?;
        Ok(all
            .into_iter()
            .filter(|item| scope.sees(item.brand))
            .collect())
    }

    /// Notices of changes from now on. Read everything with [`Registry::resource_all`] *after* this call; a follower that
    /// falls behind is told so (`Lagged`) and reads everything again.
    pub fn resource_changes(&self) -> tokio::sync::broadcast::Receiver<ResourceChanged> {
        self.changes.subscribe()
    }

    /// The versions of a resource, oldest first. Those of a deleted one are kept but shown to nobody.
    pub async fn resource_versions(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        id: i64,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<ItemVersion>, RegistryError> {
        self.resource_get(scope, kind, id).await?;
        let limit = page::limit(limit);
        let rows = sqlx::query(
            "SELECT * FROM resource_versions WHERE kind = $1 AND id = $2 AND version > $3 ORDER BY version LIMIT $4",
        )
        .bind(kind.name)
        .bind(id)
        .bind(page::after(cursor)?)
        .bind(limit as i64 + 1)
        .fetch_all(&self.db.reader)
        .await?;
        let versions = rows
            .iter()
            .map(|row| {
                Ok(ItemVersion {
                    version: row.try_get("version")?,
                    name: row.try_get("name")?,
                    state: row.try_get("state")?,
                    body: row.try_get("body")?,
                    at: Time(row.try_get("at")?),
                    by: row.try_get("author")?,
                })
            })
            .collect::<Result<Vec<_>, RegistryError>>()?;
        Ok(Page::of(versions, limit, |version| version.version))
    }

    /// Who refers to a resource, or to anything else that has a kind and a handle (attributes), as far as the scope sees
    /// them.
    pub async fn resource_uses(
        &self,
        scope: &Scope,
        kind: &str,
        handle: &str,
    ) -> Result<Vec<Item>, RegistryError> {
        let rows = sqlx::query(
            "SELECT r.* FROM resource_uses u JOIN resources r ON r.kind = u.kind AND r.id = u.id \
             WHERE u.used_kind = $1 AND u.used = $2 ORDER BY r.kind, r.id",
        )
        .bind(kind)
        .bind(handle)
        .fetch_all(&self.db.reader)
        .await?;
        let all: Vec<Item> = rows.iter().map(item_of).collect::<Result<_, _>>()?;
        Ok(all
            .into_iter()
            .filter(|item| scope.sees(item.brand))
            .collect())
    }

    /// The folders of a kind that hold something the scope sees, with how many.
    pub async fn resource_folders(
        &self,
        scope: &Scope,
        kind: ResourceKind,
    ) -> Result<Vec<(String, u64)>, RegistryError> {
        let rows = sqlx::query(
            "SELECT folder, brand, count(*) AS items FROM resources WHERE kind = $1 \
             GROUP BY folder, brand ORDER BY folder",
        )
        .bind(kind.name)
        .fetch_all(&self.db.reader)
        .await?;
        let mut folders: Vec<(String, u64)> = Vec::new();
        for row in &rows {
            if !scope.sees(BrandId(super::super::db_u32(row.try_get("brand")?)?)) {
                continue;
            }
            let items = u64::try_from(row.try_get::<i64, _>("items")?).unwrap_or(0);
            let folder: String = row.try_get("folder")?;
            match folders.last_mut() {
                Some((last, count)) if *last == folder => *count += items,
                _ => folders.push((folder, items)),
            }
        }
        Ok(folders)
    }
}
