//! The registry: what people edit. Installation settings, brands, sources, keys, definitions.
//!
//! SQLite in the data folder, or PostgreSQL by URL; the same portable SQL (`text`, `bigint`, `$1`) for both. Members and
//! events never come here. A definition becomes effective through the log: publishing writes its version and an outbox row
//! in one transaction, one publisher moves outbox rows into the raw log, units acknowledge by consuming that position, and
//! then the version is activated.
//!
//! Every call but those that find out who is calling takes a [`Scope`](crate::model::Scope). What the scope does not see
//! reads as not found.
//!
//! Absent on purpose: status codes, sessions, and what a definition's JSON means.

mod api_key;
mod audit;
mod brand;
mod db;
mod definition;
mod error;
mod installation;
mod key;
mod list_entry;
mod lookup;
mod migrate;
mod page;
mod resource;
mod source;
mod webhook;

pub use api_key::{ADMIN, ApiKey, NewApiKey};
pub use audit::{Act, AuditEntry, AuditQuery, AuditVerdict, Change};
pub use brand::Brand;
pub use definition::{Definition, DefinitionState, NewDefinition, Outbox};
pub use error::RegistryError;
pub use installation::{Installation, InstallationWish};
pub use key::{Secret, is_key};
pub use list_entry::{ListEntry, Print, Waiting};
pub use page::{PAGE_MAX, Page};
pub use resource::{
    Author, Column, DELETED, Filter, Followed, ImportOutcome, ImportRow, Imported, Item,
    ItemChange, ItemVersion, Listed, NewItem, Reference, ResourceChanged, ResourceKind,
    ResourceQuery, Test, Word,
};
pub use source::{NewSource, Source, SourceChange};
pub use webhook::{NewWebhook, Telling, Webhook, WebhookChange};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use db::Db;
use lookup::Lookup;
use parking_lot::Mutex;

/// Notices kept for a follower that is busy; one that falls further behind reads everything again.
const CHANGES_KEPT: usize = 1_024;

/// The registry of an installation. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    db: Db,
    sources: Arc<Lookup<Source>>,
    api_keys: Arc<Lookup<ApiKey>>,
    changes: tokio::sync::broadcast::Sender<ResourceChanged>,
    /// Highest versions of definitions that the log has had.
    sent: Arc<Mutex<BTreeMap<String, i64>>>,
}

impl Registry {
    /// Opens the SQLite file at `path`, made if it is not there; checks it and brings its tables up to date.
    pub async fn open_file(path: &Path) -> Result<Registry, RegistryError> {
        Registry::new(Db::open_file(path).await?).await
    }

    /// Opens the PostgreSQL database at `url` and brings its tables up to date.
    pub async fn open_postgres(url: &str) -> Result<Registry, RegistryError> {
        Registry::new(Db::open_postgres(url).await?).await
    }

    async fn new(db: Db) -> Result<Registry, RegistryError> {
        migrate::run(&db).await?;
        Ok(Registry {
            db,
            sources: Arc::default(),
            api_keys: Arc::default(),
            changes: tokio::sync::broadcast::channel(CHANGES_KEPT).0,
            sent: Arc::default(),
        })
    }

    /// Reads every page of the database. [`RegistryError::Damaged`] if it is not sound. Nothing to do on PostgreSQL.
    pub async fn check(&self) -> Result<(), RegistryError> {
        self.db.check().await
    }

    /// Copies the database, as of now, into a new file while it is in use. PostgreSQL has its own tools for this.
    pub async fn backup(&self, to: &Path) -> Result<(), RegistryError> {
        self.db.backup(to).await
    }

    /// Closes all connections; the SQLite file is then complete without its WAL.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// A number of ours that SQL keeps as a `bigint`.
fn db_u32(number: i64) -> Result<u32, RegistryError> {
    u32::try_from(number)
        .map_err(|_| RegistryError::Damaged(format!("{number} is out of the range of an id")))
}

#[cfg(test)]
mod tests;
