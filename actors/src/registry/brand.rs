//! Brands of the installation. Brand 0 is the group and has no row.

use sqlx::Row;

use super::db::transaction;
use super::{Page, Registry, RegistryError, page};
use crate::model::{BrandId, BrandSet, Scope, Time};

/// A brand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand {
    /// Its id, from 1.
    pub id: BrandId,
    /// Its name, unique.
    pub name: String,
    /// When it was made.
    pub created: Time,
}

impl Registry {
    /// Makes a brand. Only who sees the whole installation may.
    pub async fn brand_create(
        &self,
        scope: &Scope,
        name: &str,
        now: Time,
    ) -> Result<Brand, RegistryError> {
        whole(scope)?;
        super::source::check_name("name", name)?;
        transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT coalesce(max(id), 0) + 1 AS id FROM brands")
                .fetch_one(&mut *tx)
                .await?;
            let id = row.try_get::<i64, _>("id")?;
            sqlx::query("INSERT INTO brands (id, name, created) VALUES ($1, $2, $3)")
                .bind(id)
                .bind(name)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            Brand { id: BrandId(super::db_u32(id)?), name: name.to_owned(), created: now }
        })
    }

    /// The brands that the scope sees.
    pub async fn brand_list(
        &self,
        scope: &Scope,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Brand>, RegistryError> {
        let limit = page::limit(limit);
        let rows = sqlx::query("SELECT id, name, created FROM brands WHERE id > $1 ORDER BY id")
            .bind(page::after(cursor)?)
            .fetch_all(&self.db.reader)
            .await?;
        let mut brands = Vec::new();
        for row in &rows {
            let brand = Brand {
                id: BrandId(super::db_u32(row.try_get("id")?)?),
                name: row.try_get("name")?,
                created: Time(row.try_get("created")?),
            };
            if scope.sees(brand.id) {
                brands.push(brand);
            }
            if brands.len() > limit {
                break;
            }
        }
        Ok(Page::of(brands, limit, |brand| i64::from(brand.id.0)))
    }

    /// The first of these that is no brand of the installation. What is made for one that does not exist yet would
    /// belong to whoever gets that number.
    pub async fn brand_unknown(
        &self,
        brands: &[BrandId],
    ) -> Result<Option<BrandId>, RegistryError> {
        for brand in brands {
            if *brand == BrandId(0) {
                continue;
            }
            let found = sqlx::query("SELECT id FROM brands WHERE id = $1")
                .bind(i64::from(brand.0))
                .fetch_optional(&self.db.reader)
                .await?;
            if found.is_none() {
                return Ok(Some(*brand));
            }
        }
        Ok(None)
    }
}

/// Refuses a scope that does not see the whole installation.
pub(super) fn whole(scope: &Scope) -> Result<(), RegistryError> {
    match scope.brands {
        BrandSet::All => Ok(()),
        BrandSet::Only(_) => Err(RegistryError::Denied(
            "it belongs to the whole installation",
        )),
    }
}

/// Refuses a brand that the scope may not write for. The group's own things need the whole installation.
pub(super) fn writes(scope: &Scope, brand: BrandId) -> Result<(), RegistryError> {
    match &scope.brands {
        BrandSet::All => Ok(()),
        BrandSet::Only(brands) if brands.contains(&brand) => Ok(()),
        BrandSet::Only(_) => Err(RegistryError::Denied("it belongs to another brand")),
    }
}
