//! Changing resources. Each change is one transaction: the row, what lists find it by, its references, a version, an entry
//! of the audit chain.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, Row};

use super::super::audit::{self, Act, Change};
use super::super::brand::writes;
use super::super::db::transaction;
use super::super::definition::publish_next;
use super::super::source::check_name;
use super::super::{Registry, RegistryError};
use super::list::folded;
use super::{
    DELETED, Item, NewItem, Reference, ResourceChanged, ResourceKind, Word, item_of, may_use,
};
use crate::model::{BrandId, Scope, Time};

/// Longest code.
const CODE_BYTES_MAX: usize = 64;
/// Longest folder path.
const FOLDER_BYTES_MAX: usize = 500;
/// Longest description.
const DESCRIPTION_BYTES_MAX: usize = 4_000;
/// Largest body. Lists of members are kept apart.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Characters of a body's hash in the audit chain: 80 bits, not to be met by chance or by trying.
const BODY_HASH_CHARS: usize = 20;
/// Resources that a chain of references may pass: far more than anybody can follow.
const CHAIN_MAX: usize = 10_000;

/// Who changes something, what they may see, and when.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// What they may see and write.
    pub scope: &'a Scope,
    /// Their name, as versions and audit show it.
    pub by: &'a str,
    /// The address that they ask from, for the audit; empty: nobody asks.
    pub from: &'a str,
    /// Now.
    pub now: Time,
}

/// What to make of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemChange {
    /// All of it, in this form. The brand stays.
    Whole(NewItem),
    /// Another state.
    State(String),
}

/// A definition that is made of resources: published in the transaction that changes one of them, if it is another then.
pub struct Followed<'a> {
    /// Kind of the definition.
    pub definition: &'a str,
    /// The kinds that it is made of.
    pub of: &'a [ResourceKind],
    /// Its body, of all resources of these kinds.
    pub body: &'a (dyn Fn(&[Item]) -> Result<String, RegistryError> + Send + Sync),
}

impl Registry {
    /// Makes a resource.
    pub async fn resource_create(
        &self,
        author: Author<'_>,
        kind: ResourceKind,
        new: &NewItem,
    ) -> Result<Item, RegistryError> {
        let item = transaction!(&self.db, tx => {
            create(&mut tx, author, kind, new).await?
        })?;
        self.tell(kind, item.id);
        Ok(item)
    }

    /// Changes a resource; answers it as it is then. `base`: the version that the author saw; another has come since: a
    /// conflict.
    pub async fn resource_update(
        &self,
        author: Author<'_>,
        kind: ResourceKind,
        id: i64,
        base: Option<i64>,
        change: &ItemChange,
    ) -> Result<Item, RegistryError> {
        let item = transaction!(&self.db, tx => {
            update(&mut tx, author, kind, id, base, change).await?
        })?;
        self.tell(kind, id);
        Ok(item)
    }

    /// Makes a resource, or (`id`) changes all of it, and publishes the definition that follows from all of them.
    pub async fn resource_put(
        &self,
        author: Author<'_>,
        kind: ResourceKind,
        id: Option<i64>,
        base: Option<i64>,
        new: &NewItem,
        followed: Followed<'_>,
    ) -> Result<Item, RegistryError> {
        let sent = self.sent(followed.definition);
        let item = transaction!(&self.db, tx => {
            let item = match id {
                Some(id) => {
                    let change = ItemChange::Whole(new.clone());
                    update(&mut tx, author, kind, id, base, &change).await?
                }
                None => create(&mut tx, author, kind, new).await?,
            };
            follow(&mut tx, author, &followed, sent).await?;
            item
        })?;
        self.tell(kind, item.id);
        Ok(item)
    }

    /// Removes a resource that nobody uses. Its versions and its audit entries stay; its number is not given again.
    pub async fn resource_delete(
        &self,
        author: Author<'_>,
        kind: ResourceKind,
        id: i64,
        base: Option<i64>,
    ) -> Result<Item, RegistryError> {
        let item = transaction!(&self.db, tx => {
            let mut item = load(&mut tx, author.scope, kind, id).await?;
            writes(author.scope, item.brand)?;
            check_base(&item, base)?;
            let handle = item.handle(kind);
            let users = sqlx::query(
                "SELECT r.* FROM resource_uses u JOIN resources r ON r.kind = u.kind AND r.id = u.id \
                 WHERE u.used_kind = $1 AND u.used = $2 AND NOT (u.kind = $1 AND u.id = $3) ORDER BY r.kind, r.id",
            )
            .bind(kind.name)
            .bind(&*handle)
            .bind(id)
            .fetch_all(&mut *tx)
            .await?;
            if !users.is_empty() {
                let users: Vec<Item> = users.iter().map(item_of).collect::<Result<_, _>>()?;
                Err(RegistryError::InUse(in_use(author.scope, &users)))?;
            }
            for table in [
                "DELETE FROM resources WHERE kind = $1 AND id = $2",
                "DELETE FROM resource_fields WHERE kind = $1 AND id = $2",
                "DELETE FROM resource_uses WHERE kind = $1 AND id = $2",
            ] {
                sqlx::query(table).bind(kind.name).bind(id).execute(&mut *tx).await?;
            }
            item.version += 1;
            item.state = DELETED.to_owned();
            item.updated = author.now;
            item.updated_by = author.by.to_owned();
            keep(&mut tx, author, &item, "delete", Vec::new()).await?;
            item
        })?;
        self.tell(kind, id);
        Ok(item)
    }

    /// Notes that a body version is at work. An older one than what is at work changes nothing. No new version: nobody
    /// edited anything.
    pub async fn resource_serving(
        &self,
        kind: ResourceKind,
        id: i64,
        body_version: i64,
    ) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            sqlx::query(
                "UPDATE resources SET serving = $3 WHERE kind = $1 AND id = $2 AND serving < $3 AND body_version >= $3",
            )
            .bind(kind.name)
            .bind(id)
            .bind(body_version)
            .execute(&mut *tx)
            .await?;
        })
    }

    /// Keeps what computing a body version has found, JSON, in place of what was found before. Not of an older version than
    /// that. No new version: nobody edited anything.
    pub async fn resource_computed(
        &self,
        kind: ResourceKind,
        id: i64,
        body_version: i64,
        computed: &str,
    ) -> Result<(), RegistryError> {
        transaction!(&self.db, tx => {
            sqlx::query(
                "UPDATE resources SET computed = $4, computed_version = $3 \
                 WHERE kind = $1 AND id = $2 AND computed_version <= $3 AND body_version >= $3",
            )
            .bind(kind.name)
            .bind(id)
            .bind(body_version)
            .bind(computed)
            .execute(&mut *tx)
            .await?;
        })
    }

    /// Notes that the building of a body version was broken off (`true`), or is to be taken up again. Another version than
    /// the newest changes nothing. Answers whether anything changed. No new version: nobody edited anything.
    pub async fn resource_cancelled(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        id: i64,
        body_version: i64,
        cancelled: bool,
    ) -> Result<bool, RegistryError> {
        let noted = if cancelled { body_version } else { 0 };
        writes(scope, self.resource_get(scope, kind, id).await?.brand)?;
        let changed = transaction!(&self.db, tx => {
            sqlx::query(
                "UPDATE resources SET cancelled = $4 WHERE kind = $1 AND id = $2 AND body_version = $3 AND cancelled <> $4",
            )
            .bind(kind.name)
            .bind(id)
            .bind(body_version)
            .bind(noted)
            .execute(&mut *tx)
            .await?
            .rows_affected()
        })? > 0;
        if changed {
            self.tell(kind, id);
        }
        Ok(changed)
    }

    /// Tells followers that something which belongs to a resource has changed: members of a list.
    pub fn resource_touched(&self, kind: ResourceKind, id: i64) {
        self.tell(kind, id);
    }

    /// Tells followers. Nobody listening is fine.
    pub(super) fn tell(&self, kind: ResourceKind, id: i64) {
        let _ = self.changes.send(ResourceChanged {
            kind: kind.name.to_owned(),
            id,
        });
    }
}

/// Publishes the next version of a definition if resources make another body than its newest one has.
async fn follow(
    tx: &mut AnyConnection,
    author: Author<'_>,
    followed: &Followed<'_>,
    sent: i64,
) -> Result<(), RegistryError> {
    let mut items = Vec::new();
    for kind in followed.of {
        let rows = sqlx::query("SELECT * FROM resources WHERE kind = $1 ORDER BY id")
            .bind(kind.name)
            .fetch_all(&mut *tx)
            .await?;
        for row in &rows {
            items.push(item_of(row)?);
        }
    }
    let body = (followed.body)(&items)?;
    let newest = sqlx::query(
        "SELECT body FROM definitions WHERE kind = $1 AND state <> 'draft' ORDER BY version DESC LIMIT 1",
    )
    .bind(followed.definition)
    .fetch_optional(&mut *tx)
    .await?;
    let newest: Option<String> = newest.map(|row| row.try_get("body")).transpose()?;
    match newest == Some(body.clone()) {
        true => Ok(()),
        false => {
            let kind = followed.definition;
            publish_next(tx, kind, sent, body, author.by, author.now).await
        }
    }
}

pub(super) async fn create(
    tx: &mut AnyConnection,
    author: Author<'_>,
    kind: ResourceKind,
    new: &NewItem,
) -> Result<Item, RegistryError> {
    writes(author.scope, new.brand)?;
    check(kind, new)?;
    let row =
        sqlx::query("SELECT coalesce(max(id), 0) + 1 AS id FROM resource_versions WHERE kind = $1")
            .bind(kind.name)
            .fetch_one(&mut *tx)
            .await?;
    let item = Item {
        kind: kind.name.to_owned(),
        id: row.try_get("id")?,
        brand: new.brand,
        code: new.code.clone(),
        name: new.name.clone(),
        description: new.description.clone(),
        folder: new.folder.clone(),
        state: new.state.clone(),
        version: 1,
        body_version: 1,
        serving: 0,
        cancelled: 0,
        computed: String::new(),
        computed_version: 0,
        body: new.body.clone(),
        created: author.now,
        created_by: author.by.to_owned(),
        updated: author.now,
        updated_by: author.by.to_owned(),
    };
    free(tx, kind, &item).await?;
    sqlx::query(
        "INSERT INTO resources (kind, id, brand, handle, code, name, folder, state, version, body_version, serving, \
         body, search, created, created_by, updated, updated_by, description) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 1, 0, $9, $10, $11, $12, $11, $12, $13)",
    )
    .bind(kind.name)
    .bind(item.id)
    .bind(i64::from(item.brand.0))
    .bind(item.handle(kind))
    .bind(&*item.code)
    .bind(&*item.name)
    .bind(&*item.folder)
    .bind(&*item.state)
    .bind(&*item.body)
    .bind(search_of(new))
    .bind(author.now.0)
    .bind(author.by)
    .bind(&*item.description)
    .execute(&mut *tx)
    .await?;
    beside(tx, author.scope, kind, &item, new).await?;
    keep(tx, author, &item, "create", Vec::new()).await?;
    Ok(item)
}

pub(super) async fn update(
    tx: &mut AnyConnection,
    author: Author<'_>,
    kind: ResourceKind,
    id: i64,
    base: Option<i64>,
    change: &ItemChange,
) -> Result<Item, RegistryError> {
    let old = load(tx, author.scope, kind, id).await?;
    writes(author.scope, old.brand)?;
    check_base(&old, base)?;
    let mut item = old.clone();
    item.version += 1;
    item.updated = author.now;
    item.updated_by = author.by.to_owned();
    let action = match change {
        ItemChange::State(state) => {
            item.state = state.clone();
            state.clone()
        }
        ItemChange::Whole(new) => {
            check(kind, new)?;
            if new.brand != item.brand {
                return Err(RegistryError::invalid(
                    "brand",
                    "what a brand owns stays with it: copy it instead",
                ));
            }
            if kind.by_code && new.code != item.code {
                return Err(RegistryError::invalid(
                    "code",
                    "others refer to this code, so it stays: copy it instead",
                ));
            }
            if new.body != item.body {
                item.body_version = item.version;
            }
            item.code.clone_from(&new.code);
            item.name.clone_from(&new.name);
            item.description.clone_from(&new.description);
            item.folder.clone_from(&new.folder);
            item.state.clone_from(&new.state);
            item.body.clone_from(&new.body);
            free(tx, kind, &item).await?;
            beside(tx, author.scope, kind, &item, new).await?;
            sqlx::query("UPDATE resources SET search = $3 WHERE kind = $1 AND id = $2")
                .bind(kind.name)
                .bind(id)
                .bind(search_of(new))
                .execute(&mut *tx)
                .await?;
            "update".to_owned()
        }
    };
    sqlx::query(
        "UPDATE resources SET code = $3, name = $4, folder = $5, state = $6, version = $7, body_version = $8, \
         body = $9, updated = $10, updated_by = $11, description = $12 WHERE kind = $1 AND id = $2",
    )
    .bind(kind.name)
    .bind(id)
    .bind(&*item.code)
    .bind(&*item.name)
    .bind(&*item.folder)
    .bind(&*item.state)
    .bind(item.version)
    .bind(item.body_version)
    .bind(&*item.body)
    .bind(author.now.0)
    .bind(author.by)
    .bind(&*item.description)
    .execute(&mut *tx)
    .await?;
    keep(tx, author, &item, &action, old.differs(&item)).await?;
    Ok(item)
}

pub(super) async fn load(
    tx: &mut AnyConnection,
    scope: &Scope,
    kind: ResourceKind,
    id: i64,
) -> Result<Item, RegistryError> {
    let row = sqlx::query("SELECT * FROM resources WHERE kind = $1 AND id = $2")
        .bind(kind.name)
        .bind(id)
        .fetch_optional(tx)
        .await?;
    match row.as_ref().map(item_of).transpose()? {
        Some(item) if scope.sees(item.brand) => Ok(item),
        _ => Err(RegistryError::NotFound(kind.name)),
    }
}

async fn by_code(
    tx: &mut AnyConnection,
    kind: ResourceKind,
    code: &str,
) -> Result<Option<Item>, RegistryError> {
    let row = sqlx::query("SELECT * FROM resources WHERE kind = $1 AND code = $2")
        .bind(kind.name)
        .bind(code)
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(item_of).transpose()
}

/// Code and name are not another's.
async fn free(
    tx: &mut AnyConnection,
    kind: ResourceKind,
    item: &Item,
) -> Result<(), RegistryError> {
    if !item.code.is_empty()
        && let Some(other) = by_code(&mut *tx, kind, &item.code).await?
        && other.id != item.id
    {
        return Err(RegistryError::Taken {
            field: "code",
            what: format!("a {} has the code `{}` already", kind.name, item.code),
        });
    }
    if kind.unique_name {
        let row = sqlx::query(
            "SELECT count(*) AS others FROM resources WHERE kind = $1 AND brand = $2 AND name = $3 AND id <> $4",
        )
        .bind(kind.name)
        .bind(i64::from(item.brand.0))
        .bind(&*item.name)
        .bind(item.id)
        .fetch_one(tx)
        .await?;
        if row.try_get::<i64, _>("others")? > 0 {
            return Err(RegistryError::Taken {
                field: "name",
                what: format!("a {} has the name `{}` already", kind.name, item.name),
            });
        }
    }
    Ok(())
}

/// Writes what stands beside the row: values for lists, references. References must lead to what the owner may use, and
/// not in a circle.
async fn beside(
    tx: &mut AnyConnection,
    scope: &Scope,
    kind: ResourceKind,
    item: &Item,
    new: &NewItem,
) -> Result<(), RegistryError> {
    for table in [
        "DELETE FROM resource_fields WHERE kind = $1 AND id = $2",
        "DELETE FROM resource_uses WHERE kind = $1 AND id = $2",
    ] {
        sqlx::query(table)
            .bind(kind.name)
            .bind(item.id)
            .execute(&mut *tx)
            .await?;
    }
    for (field, word) in &new.fields {
        let (words, number) = match word {
            Word::Text(text) => (text.as_str(), 0),
            Word::Number(number) => ("", *number),
        };
        sqlx::query(
            "INSERT INTO resource_fields (kind, id, field, words, number) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(kind.name)
        .bind(item.id)
        .bind(*field)
        .bind(words)
        .bind(number)
        .execute(&mut *tx)
        .await?;
    }
    let uses: BTreeSet<&Reference> = new.uses.iter().collect();
    for used in uses {
        usable(tx, scope, item.brand, used).await?;
        sqlx::query(
            "INSERT INTO resource_uses (kind, id, used_kind, used) VALUES ($1, $2, $3, $4)",
        )
        .bind(kind.name)
        .bind(item.id)
        .bind(used.kind)
        .bind(&*used.handle)
        .execute(&mut *tx)
        .await?;
    }
    no_circle(tx, kind, item).await
}

/// Kinds that are referred to and have no row here: definitions check them.
const ELSEWHERE: &[&str] = &["attribute"];

async fn usable(
    tx: &mut AnyConnection,
    scope: &Scope,
    owner: BrandId,
    used: &Reference,
) -> Result<(), RegistryError> {
    if ELSEWHERE.contains(&used.kind) {
        return Ok(());
    }
    let row = sqlx::query("SELECT brand FROM resources WHERE kind = $1 AND handle = $2")
        .bind(used.kind)
        .bind(&*used.handle)
        .fetch_optional(tx)
        .await?;
    let brand = match row {
        Some(row) => Some(BrandId(super::super::db_u32(row.try_get("brand")?)?)),
        None => None,
    };
    match brand {
        Some(brand) if may_use(owner, brand) => Ok(()),
        Some(brand) if scope.sees(brand) => Err(RegistryError::Reference(format!(
            "{} `{}` belongs to a brand: only what that brand owns may refer to it",
            used.kind, used.handle
        ))),
        _ => Err(RegistryError::Reference(format!(
            "there is no {} `{}`",
            used.kind, used.handle
        ))),
    }
}

/// Follows the references from `item` on; they must not come back to it.
async fn no_circle(
    tx: &mut AnyConnection,
    kind: ResourceKind,
    item: &Item,
) -> Result<(), RegistryError> {
    let mut seen = BTreeSet::new();
    let mut open = vec![(kind.name.to_owned(), item.id)];
    while let Some((of, id)) = open.pop() {
        let rows = sqlx::query(
            "SELECT r.kind, r.id FROM resource_uses u JOIN resources r ON r.kind = u.used_kind AND r.handle = u.used \
             WHERE u.kind = $1 AND u.id = $2",
        )
        .bind(&*of)
        .bind(id)
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let next: (String, i64) = (row.try_get("kind")?, row.try_get("id")?);
            if next.0 == kind.name && next.1 == item.id {
                return Err(RegistryError::Circle(format!(
                    "{} {} would refer to itself through {of} {id}",
                    kind.name, item.id
                )));
            }
            if seen.len() < CHAIN_MAX && seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(())
}

/// Keeps the version and enters the change, of these fields, into the audit chain.
async fn keep(
    tx: &mut AnyConnection,
    author: Author<'_>,
    item: &Item,
    action: &str,
    fields: Vec<String>,
) -> Result<(), RegistryError> {
    sqlx::query(
        "INSERT INTO resource_versions (kind, id, version, name, state, body, at, author) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&*item.kind)
    .bind(item.id)
    .bind(item.version)
    .bind(&*item.name)
    .bind(&*item.state)
    .bind(&*item.body)
    .bind(item.updated.0)
    .bind(&*item.updated_by)
    .execute(&mut *tx)
    .await?;
    let act = Act {
        by: author.by.to_owned(),
        from: author.from.to_owned(),
        brand: item.brand,
        action: action.to_owned(),
        kind: item.kind.clone(),
        item: item.id.to_string(),
        // With the hash, the chain vouches for the kept version too.
        detail: format!(
            "version {} {}: {}",
            item.version,
            &blake3::hash(item.body.as_bytes()).to_hex()[..BODY_HASH_CHARS],
            item.name
        ),
        change: Some(Change {
            before: item.version - 1,
            after: item.version,
            fields,
        }),
    };
    audit::enter(tx, &act, item.updated).await
}

fn check_base(item: &Item, base: Option<i64>) -> Result<(), RegistryError> {
    match base {
        Some(base) if base != item.version => Err(RegistryError::Conflict(format!(
            "it has changed: the change is based on version {base}, but {} is the newest",
            item.version
        ))),
        _ => Ok(()),
    }
}

fn check(kind: ResourceKind, new: &NewItem) -> Result<(), RegistryError> {
    check_name("name", &new.name)?;
    let code_form = |code: &str| {
        code.len() <= CODE_BYTES_MAX
            && code
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    if !code_form(&new.code) || (kind.by_code && new.code.is_empty()) {
        return Err(RegistryError::invalid(
            "code",
            format!(
                "write 1 to {CODE_BYTES_MAX} letters a-z, digits, dots, dashes and underscores"
            ),
        ));
    }
    if new.description.len() > DESCRIPTION_BYTES_MAX {
        return Err(RegistryError::invalid(
            "description",
            format!("at most {DESCRIPTION_BYTES_MAX} bytes"),
        ));
    }
    let parts = new.folder.split('/');
    let folder_form = new.folder.is_empty()
        || new.folder.len() <= FOLDER_BYTES_MAX
            && !new.folder.chars().any(char::is_control)
            && parts.into_iter().all(|part| !part.trim().is_empty());
    if !folder_form {
        return Err(RegistryError::invalid(
            "folder",
            format!("write names parted by `/`, at most {FOLDER_BYTES_MAX} bytes"),
        ));
    }
    let object: Result<serde_json::Map<String, serde_json::Value>, _> =
        serde_json::from_str(&new.body);
    if object.is_err() || new.body.len() > BODY_BYTES_MAX {
        return Err(RegistryError::invalid(
            "body",
            format!("expected a JSON object of at most {BODY_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

/// Who uses it, as far as the caller may know.
fn in_use(scope: &Scope, users: &[Item]) -> String {
    const NAMED: usize = 5;
    let seen: Vec<String> = users
        .iter()
        .filter(|item| scope.sees(item.brand))
        .take(NAMED)
        .map(|item| format!("{} {} ({})", item.kind, item.id, item.name))
        .collect();
    let more = users.len() - seen.len();
    match (seen.is_empty(), more) {
        (true, _) => format!("{} others use it", users.len()),
        (false, 0) => format!("it is used by {}", seen.join(", ")),
        (false, more) => format!("it is used by {} and {more} others", seen.join(", ")),
    }
}

/// What a search finds it by.
fn search_of(new: &NewItem) -> String {
    let mut text = folded(&new.name);
    for part in [&new.code, &new.description].into_iter().chain(&new.search) {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(&folded(part));
        }
    }
    text
}
