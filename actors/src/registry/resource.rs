//! Resources: what people make, list and edit one by one. Tags, segments, lists, later products and stores.
//!
//! All kinds share one table layout: an [`Item`] has a kind, a number, a brand, a name and a JSON body that its kind has
//! checked. Values of the body that lists filter and sort by are written beside it; so are references to other resources,
//! from which come *where used*, the refusal to delete what is used, and the refusal of cycles. Every change makes a
//! version, an entry in the audit chain and a notice to whoever follows the kind, the first two in the same transaction.
//!
//! Absent on purpose: what a body means, permissions of routes, forms of import and export (`api`).

mod import;
mod list;
mod read;
mod write;

pub use import::{ImportOutcome, ImportRow, Imported};
pub use list::{Column, Filter, Listed, ResourceQuery, Test};
pub use read::ItemVersion;
pub use write::{Author, Followed, ItemChange};

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::RegistryError;
use crate::model::{BrandId, Time};

/// A kind of resource, as SQL and audit name it, and how others refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceKind {
    /// Stable word, e.g. `segment`.
    pub name: &'static str,
    /// Others refer to its code; otherwise to its number.
    pub by_code: bool,
    /// Two of one brand may not have the same name.
    pub unique_name: bool,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its kind.
    pub kind: String,
    /// Its number within the kind, from 1; never given twice.
    pub id: i64,
    /// The brand that owns it; 0 is the group.
    pub brand: BrandId,
    /// Code, unique within the kind; empty if it has none.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Place in the tree of folders, `a/b`; empty: the top.
    pub folder: String,
    /// A state of its kind, e.g. `enabled`.
    pub state: String,
    /// Grows by one with every change of anything.
    pub version: i64,
    /// The version in which the body changed last.
    pub body_version: i64,
    /// The body version that is at work; others are being built. 0: none.
    pub serving: i64,
    /// The body version whose building somebody broke off. 0: none.
    pub cancelled: i64,
    /// What computing a body version has found, JSON; empty: nothing to be kept.
    pub computed: String,
    /// The body version of which that was found.
    pub computed_version: i64,
    /// What its kind says of it, a JSON object.
    pub body: String,
    /// When it was made.
    pub created: Time,
    /// By whom.
    pub created_by: String,
    /// When it was changed last.
    pub updated: Time,
    /// By whom.
    pub updated_by: String,
}

/// What a resource is to be, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewItem {
    /// The brand that owns it.
    pub brand: BrandId,
    /// Code; empty for none.
    pub code: String,
    /// Name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Folder.
    pub folder: String,
    /// State.
    pub state: String,
    /// Checked body.
    pub body: String,
    /// Values of the body that lists filter and sort by.
    pub fields: Vec<(&'static str, Word)>,
    /// What else of the body a search finds.
    pub search: Vec<String>,
    /// What it refers to: kind, and code or number there.
    pub uses: Vec<Reference>,
}

/// A reference to a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Kind.
    pub kind: &'static str,
    /// Its code, or its number as text.
    pub handle: String,
}

/// A value that lists compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Text.
    Text(String),
    /// Whole number; instants are milliseconds.
    Number(i64),
}

/// A resource has changed: sent after the commit, to followers in this process. Others poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceChanged {
    /// Its kind.
    pub kind: String,
    /// Its number.
    pub id: i64,
}

/// State of a version that says the resource is gone.
pub const DELETED: &str = "deleted";

/// Who may refer to whom: the group's things by all, a brand's by that brand.
fn may_use(user: BrandId, used: BrandId) -> bool {
    used == BrandId(0) || used == user
}

impl Item {
    /// How others refer to it.
    pub fn handle(&self, kind: ResourceKind) -> String {
        match kind.by_code {
            true => self.code.clone(),
            false => self.id.to_string(),
        }
    }

    /// Whether it says what `new` does.
    fn is(&self, new: &NewItem) -> bool {
        let own = [
            &self.code,
            &self.name,
            &self.description,
            &self.folder,
            &self.state,
            &self.body,
        ];
        let wanted = [
            &new.code,
            &new.name,
            &new.description,
            &new.folder,
            &new.state,
            &new.body,
        ];
        self.brand == new.brand && own == wanted
    }

    /// Names of the fields in which another version differs: those that all have, then those of the body.
    fn differs(&self, other: &Item) -> Vec<String> {
        let common = [
            ("name", &self.name, &other.name),
            ("code", &self.code, &other.code),
            ("description", &self.description, &other.description),
            ("folder", &self.folder, &other.folder),
            ("state", &self.state, &other.state),
        ];
        let mut fields: Vec<String> = common
            .into_iter()
            .filter(|(_, own, others)| own != others)
            .map(|(name, ..)| name.to_owned())
            .collect();
        if self.body != other.body {
            let (own, others) = (fields_of(&self.body), fields_of(&other.body));
            let names: BTreeSet<&String> = own.keys().chain(others.keys()).collect();
            let differing = names
                .into_iter()
                .filter(|name| own.get(*name) != others.get(*name));
            fields.extend(differing.cloned());
        }
        fields
    }

    /// The newest body is not at work yet and will be.
    pub fn building(&self) -> bool {
        self.serving != self.body_version && !self.cancelled()
    }

    /// Somebody broke off the building of the newest body: what was at work before goes on.
    pub fn cancelled(&self) -> bool {
        self.cancelled == self.body_version
    }
}

/// The fields of a body. One that is no object was refused when it was written.
fn fields_of(body: &str) -> Map<String, Value> {
    serde_json::from_str(body).unwrap_or_default()
}

fn item_of(row: &AnyRow) -> Result<Item, RegistryError> {
    Ok(Item {
        kind: row.try_get("kind")?,
        id: row.try_get("id")?,
        brand: BrandId(super::db_u32(row.try_get("brand")?)?),
        code: row.try_get("code")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        folder: row.try_get("folder")?,
        state: row.try_get("state")?,
        version: row.try_get("version")?,
        body_version: row.try_get("body_version")?,
        serving: row.try_get("serving")?,
        cancelled: row.try_get("cancelled")?,
        computed: row.try_get("computed")?,
        computed_version: row.try_get("computed_version")?,
        body: row.try_get("body")?,
        created: Time(row.try_get("created")?),
        created_by: row.try_get("created_by")?,
        updated: Time(row.try_get("updated")?),
        updated_by: row.try_get("updated_by")?,
    })
}
