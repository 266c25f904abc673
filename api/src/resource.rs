//! Resources over HTTP: one definition of a kind gives its routes, its JSON Schema, its checks and its tables.
//!
//! A kind is a type that implements [`Resource`]: the form of its body, its path and permissions, its columns, and a check
//! that answers everything that is wrong at once. [`routes`] makes the rest of it:
//!
//! | route | does |
//! |---|---|
//! | `GET /kind` | list: `sort`, `columns`, `q`, `limit`, `cursor`, and a filter per column |
//! | `POST /kind`, `GET PATCH DELETE /kind/{id}` | one |
//! | `POST /kind/{id}/copy`, `…/enable`, `…/disable` | states |
//! | `POST /kind/batch` | enable, disable, delete many |
//! | `GET /kind/{id}/versions`, `GET /kind/{id}/uses` | history, and who refers to it |
//! | `GET /kind/export`, `POST /kind/import` | CSV and XLSX |
//! | `GET /kind/schema` | what a form and a table need to know |
//! | `GET /kind/folders` | the tree |
//!
//! Adding a kind: one file under `routes/` and its line in `routes.rs`.

mod answer;
mod form;
mod query;
mod routes;
mod table;

pub use answer::{Answer, ResourceInput, answer, computed};
pub use form::{Common, read};
pub use routes::{UsesAnswer, author, load, note, note_item, routes, schema_of, use_view};
pub use table::{SheetFormat, XLSX_CELL_CHARS, read_table, safe};

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::model::BrandId;
use actors::registry::{Reference, ResourceKind, Word};
use parking_lot::Mutex;
use pipelines::dictionary::RuleNames;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Permission};
use crate::names;

/// States of most kinds: being written, at work, at rest.
pub const STATES: &[&str] = &["draft", "enabled", "disabled"];

/// A kind of resource.
pub trait Resource: Send + Sync + 'static {
    /// What people write of it besides name, code, folder, description, brand and state. Denies unknown fields.
    type Body: Serialize + DeserializeOwned + ToSchema + Clone + Send + Sync + 'static;

    /// Its word in SQL and audit, and how others refer to it.
    const KIND: ResourceKind;
    /// Its paths, from [`crate::paths`].
    const PATHS: Paths;
    /// Its group in OpenAPI.
    const TAG: &'static str;
    /// Who may read it.
    const READ: Permission;
    /// Who may change it.
    const WRITE: Permission;
    /// Its states.
    const STATES: &'static [&'static str] = STATES;
    /// The state of one that is made without saying.
    const STATE: &'static str = "enabled";
    /// Values of the body that lists filter and sort by; [`Resource::check`] answers them.
    const COLUMNS: &'static [ColumnSpec] = &[];
    /// Fields of the body that the server writes.
    const OWN_FIELDS: &'static [&'static str] = &[];
    /// It is made by sending it; otherwise its file has routes of its own for that.
    const CREATABLE: bool = true;
    /// An engine works by it: answers say which version is at work.
    const BUILT: bool = false;

    /// Whether the engine has something to build of this one.
    fn is_built(_body: &Self::Body) -> bool {
        Self::BUILT
    }

    /// Checks what somebody wrote and finds what it refers to.
    fn check(
        context: &Context<'_>,
        draft: Draft<'_, Self::Body>,
    ) -> impl Future<Output = Result<Checked<Self::Body>, ApiError>> + Send;

    /// One was removed: takes away what belongs to it elsewhere.
    fn removed(
        _shared: &Shared,
        _item: &actors::registry::Item,
    ) -> impl Future<Output = Result<(), ApiError>> + Send {
        async { Ok(()) }
    }
}

/// What a check may ask.
pub struct Context<'a> {
    /// The application.
    pub shared: &'a Shared,
    /// Who writes.
    pub caller: &'a Caller,
    /// What comes together with what is checked: rows of one import name each other.
    coming: Vec<Coming>,
    /// What rules may name, by the brand that owns them: read once for all that is checked.
    names: Mutex<BTreeMap<BrandId, Arc<RuleNames>>>,
}

/// A resource that is not there yet and will be.
struct Coming {
    kind: &'static str,
    /// What others call it.
    handle: String,
    /// What it says, unchecked.
    body: String,
}

impl<'a> Context<'a> {
    /// For what this caller writes.
    pub fn new(shared: &'a Shared, caller: &'a Caller) -> Context<'a> {
        Context {
            shared,
            caller,
            coming: Vec::new(),
            names: Mutex::default(),
        }
    }

    /// What rules owned by `brand` may name.
    pub async fn names(&self, brand: BrandId) -> Result<Arc<RuleNames>, ApiError> {
        if let Some(known) = self.names.lock().get(&brand) {
            return Ok(known.clone());
        }
        let mut names = names::names(self.shared, brand).await?;
        for coming in &self.coming {
            names.expect(coming.kind, &coming.handle, &coming.body);
        }
        let names = Arc::new(names);
        self.names.lock().insert(brand, names.clone());
        Ok(names)
    }
}

/// What somebody wrote.
pub struct Draft<'a, B> {
    /// Its number; `None`: a new one.
    pub id: Option<i64>,
    /// Name and the like.
    pub common: &'a Common,
    /// The body as it reads.
    pub body: B,
}

/// What a check made of it.
pub struct Checked<B> {
    /// The body to keep.
    pub body: B,
    /// Values of [`Resource::COLUMNS`].
    pub fields: Vec<(&'static str, Word)>,
    /// Texts that a search finds it by.
    pub search: Vec<String>,
    /// What it refers to.
    pub uses: Vec<Reference>,
}

impl<B> Checked<B> {
    /// A body without columns and references.
    pub fn plain(body: B) -> Checked<B> {
        Checked {
            body,
            fields: Vec::new(),
            search: Vec::new(),
            uses: Vec::new(),
        }
    }
}

/// A value of the body in lists.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ColumnSpec {
    /// Its name in the body and in `filter`, `sort`, `columns`.
    pub name: &'static str,
    /// `text` or `number`.
    #[serde(rename = "type")]
    pub of: ColumnType,
}

/// How values of a column compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// As text.
    Text,
    /// As whole numbers.
    Number,
    /// As instants.
    Time,
}

/// The paths of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Paths {
    /// `/api/v1/kind`.
    pub all: &'static str,
    /// `/api/v1/kind/{id}`.
    pub one: &'static str,
    /// …`/copy`.
    pub copy: &'static str,
    /// …`/enable`.
    pub enable: &'static str,
    /// …`/disable`.
    pub disable: &'static str,
    /// …`/versions`.
    pub versions: &'static str,
    /// …`/uses`.
    pub uses: &'static str,
    /// `/api/v1/kind/batch`.
    pub batch: &'static str,
    /// …`/export`.
    pub export: &'static str,
    /// …`/import`.
    pub import: &'static str,
    /// …`/schema`.
    pub schema: &'static str,
    /// …`/folders`.
    pub folders: &'static str,
}

/// The paths of a kind below one path.
#[macro_export]
macro_rules! paths {
    ($base:literal) => {
        $crate::resource::Paths {
            all: $base,
            one: concat!($base, "/{id}"),
            copy: concat!($base, "/{id}/copy"),
            enable: concat!($base, "/{id}/enable"),
            disable: concat!($base, "/{id}/disable"),
            versions: concat!($base, "/{id}/versions"),
            uses: concat!($base, "/{id}/uses"),
            batch: concat!($base, "/batch"),
            export: concat!($base, "/export"),
            import: concat!($base, "/import"),
            schema: concat!($base, "/schema"),
            folders: concat!($base, "/folders"),
        }
    };
}
