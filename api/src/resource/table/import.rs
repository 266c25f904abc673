//! Import of a table of resources: what was exported comes back, here or in another installation.
//!
//! A row is about the resource that has its code; otherwise, of kinds whose names are their own, about the one of its brand
//! with its name; otherwise it makes a new one. A number (`id`) is another's elsewhere: it only tells to which row of the
//! table another one refers. A column that the table has not stays as it is, an empty cell empties the field. All rows are
//! done, or none, and each is reported.

mod aliases;

use std::collections::HashMap;

use actors::model::BrandId;
use actors::registry::{ImportOutcome, ImportRow, Imported, Item, NewItem, RegistryError};
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use self::aliases::{Aliases, order};
use super::super::answer::{OWN, WRITTEN};
use super::super::routes::{author, note};
use super::super::{Context, Resource, form};
use super::sheet::{self, Table};
use super::{body_types, read_table};
use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};
use crate::http::{Body, Caller, Query, Routes, Written, doc};

/// Rows of one import: a person checks them all.
const ROWS_MAX: usize = 20_000;
/// Mistakes that one refusal names.
const DETAILS_MAX: usize = 1_000;

/// Fields that an empty cell leaves as they are: nothing has no name and no state, and a code that was given stays.
const NEVER_EMPTIED: [&str; 4] = ["name", "code", "brand", "state"];

/// Parameters of an import.
#[derive(IntoParams, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportParameters {
    /// Say what would become of each row, and write nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What an import did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportAnswer {
    /// Rows read.
    pub rows: usize,
    /// New ones.
    pub created: usize,
    /// Changed ones.
    pub changed: usize,
    /// Those that were so before.
    pub unchanged: usize,
    /// Those that cannot be taken; only a dry run answers with some, an import is refused as a whole.
    pub refused: usize,
    /// Nothing was written.
    pub dry_run: bool,
    /// Each row.
    pub results: Vec<RowResult>,
}

/// What became of a row.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowResult {
    /// Which, from 1 below the head.
    pub row: usize,
    /// What became of it.
    #[schema(inline)]
    pub outcome: RowOutcome,
    /// The resource; none: a dry run has made no number for it, or it is refused.
    pub id: Option<i64>,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorDetail>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowOutcome {
    /// It is new.
    Created,
    /// It is as the row says now.
    Changed,
    /// It was so before.
    Unchanged,
    /// It cannot be taken.
    Refused,
}

/// The import of a kind.
pub fn import_routes<R: Resource>() -> Routes {
    let (paths, tag) = (R::PATHS, R::TAG);
    crate::http::routes().post(
        paths.import,
        R::WRITE,
        import::<R>,
        doc(tag, "Import CSV or XLSX")
            .enters_itself()
            .more(
                "The body is the file; the first row has the names of fields, as an export has them. A row changes what has \
                 its code, otherwise what has its name in its brand (where names are unique), otherwise it makes a new one; \
                 `id` only tells which row others refer to. Columns that are not there stay as they are, empty cells empty a field. All rows or \
                 none: `details` names every mistake with its row. `dry_run=true` tells what would become of each row.",
            )
            .query::<ImportParameters>()
            .written::<ImportAnswer>(),
    )
}

async fn import<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Query(parameters): Query<ImportParameters>,
    Body(body): Body,
) -> Result<Written<ImportAnswer>, ApiError> {
    let table = read_table(&body, ROWS_MAX)?;
    let types = body_types::<R>();
    known_columns(&table, &types)?;
    let registry = shared.registry();
    let present = registry.resource_all(&caller.scope, R::KIND).await?;
    let matched = matches::<R>(&caller, &Present::of(&present), &table, &types);
    let aliases = Aliases::of::<R>(&table, &matched, shared.nonce());
    let mut context = Context::new(&shared, &caller);
    context.coming = aliases.coming::<R>(&matched);
    let mut rows = Vec::with_capacity(matched.len());
    for (at, matched) in matched.into_iter().enumerate() {
        let row = match matched {
            Ok(matched) => ready::<R>(&context, matched, &aliases, at).await,
            Err(error) => Err(error),
        };
        rows.push(row);
    }
    let order = order::<R>(&mut rows, &aliases);
    let wrong = rows.iter().any(Result::is_err);
    let whole: Vec<ImportRow> = order
        .iter()
        .filter_map(|at| rows[*at].as_ref().ok().cloned())
        .collect();
    // With mistakes nothing is written, but what else is wrong is found at once.
    let only_asked = parameters.dry_run || wrong;
    let done = registry
        .resource_import(author(&shared, &caller), R::KIND, &whole, only_asked)
        .await?;
    let mut done: HashMap<usize, _> = order.into_iter().zip(done).collect();
    let rows = rows.into_iter().enumerate().map(|(at, row)| {
        row?;
        let imported = done.remove(&at).expect("each row is answered");
        imported.map_err(refusal::<R>)
    });
    let names = table.column("name");
    let results: Vec<RowResult> = rows
        .zip(names)
        .enumerate()
        .map(|(at, (row, name))| result(at, name, row, parameters.dry_run))
        .collect();
    let count = |outcome| results.iter().filter(|row| row.outcome == outcome).count();
    let refused = count(RowOutcome::Refused);
    if refused > 0 && !parameters.dry_run {
        let mistakes = results.into_iter().flat_map(|row| row.errors);
        let mistakes = mistakes.take(DETAILS_MAX).collect();
        return Err(ApiError::several("import_invalid", mistakes));
    }
    let (created, changed) = (count(RowOutcome::Created), count(RowOutcome::Changed));
    let token = match parameters.dry_run || created + changed == 0 {
        true => None,
        false => {
            note(
                &shared,
                R::KIND.name,
                0,
                json!({"imported": created + changed}),
            )
            .await
        }
    };
    let answer = ImportAnswer {
        rows: results.len(),
        created,
        changed,
        unchanged: count(RowOutcome::Unchanged),
        refused,
        dry_run: parameters.dry_run,
        results,
    };
    Ok(Written::changed(token, answer))
}

/// Refuses columns that nobody knows.
fn known_columns(table: &Table, types: &[(String, bool)]) -> Result<(), ApiError> {
    let known = |name: &str| {
        OWN.contains(&name)
            || WRITTEN.contains(&name)
            || types.iter().any(|(known, _)| known == name)
    };
    let unknown = table.head.iter().filter(|name| !known(name)).map(|name| {
        let what = "there is no field of this name";
        ErrorDetail::new("unknown_column", name.as_str(), what)
    });
    let unknown: Vec<ErrorDetail> = unknown.collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(ApiError::several("import_invalid", unknown)),
    }
}

/// What is there already, as rows name it.
struct Present<'a> {
    codes: HashMap<&'a str, &'a Item>,
    names: HashMap<(BrandId, &'a str), &'a Item>,
}

impl<'a> Present<'a> {
    fn of(items: &'a [Item]) -> Present<'a> {
        Present {
            codes: items
                .iter()
                .filter(|item| !item.code.is_empty())
                .map(|item| (item.code.as_str(), item))
                .collect(),
            names: items
                .iter()
                .map(|item| ((item.brand, item.name.as_str()), item))
                .collect(),
        }
    }

    /// The resource that a row is about.
    fn find<R: Resource>(
        &self,
        code: &str,
        name: &str,
        brand: BrandId,
    ) -> Result<Option<&'a Item>, ApiError> {
        if let Some(item) = self.codes.get(code) {
            return Ok(Some(*item));
        }
        let named = self.names.get(&(brand, name));
        match named.filter(|_| R::KIND.unique_name) {
            Some(item) if !code.is_empty() && !item.code.is_empty() => {
                let message = format!(
                    "{} {} has this name and the code `{}`, this row has the code `{code}`",
                    R::KIND.name,
                    item.id,
                    item.code
                );
                Err(ApiError::new("name_taken", message).field("code"))
            }
            found => Ok(found.copied()),
        }
    }
}

/// A row with the resource that it is about.
struct Matched<'a> {
    fields: Map<String, Value>,
    item: Option<&'a Item>,
}

impl Matched<'_> {
    fn text(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The fields of the body, unchecked.
    fn body(&self) -> String {
        let body = self
            .fields
            .iter()
            .filter(|(name, _)| !WRITTEN.contains(&name.as_str()));
        let body: Map<_, _> = body
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Value::Object(body).to_string()
    }
}

/// Finds what each row is about. Two about the same one contradict each other.
fn matches<'a, R: Resource>(
    caller: &Caller,
    present: &Present<'a>,
    table: &Table,
    types: &[(String, bool)],
) -> Vec<Result<Matched<'a>, ApiError>> {
    let mut seen: HashMap<i64, usize> = HashMap::new();
    let rows = table.rows.iter().enumerate().map(|(at, row)| {
        let mut fields = fields(&table.head, row, types);
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let brand = match fields.get("brand").and_then(Value::as_u64) {
            Some(brand) => BrandId(u32::try_from(brand).unwrap_or(u32::MAX)),
            None => form::brand_of(caller),
        };
        let item = present.find::<R>(text("code"), text("name"), brand)?;
        if let Some(item) = item
            && let Some(other) = seen.insert(item.id, at)
        {
            let message = format!("row {} is about the same {}", other + 1, R::KIND.name);
            return Err(ApiError::new("name_taken", message).field("name"));
        }
        fields.retain(|name, value| {
            // Nothing is to be emptied of what is new.
            !value.is_null() || item.is_some() && !NEVER_EMPTIED.contains(&name.as_str())
        });
        Ok(Matched { fields, item })
    });
    rows.collect()
}

/// Reads and checks a row, as a request that makes or changes one would be.
async fn ready<R: Resource>(
    context: &Context<'_>,
    Matched { mut fields, item }: Matched<'_>,
    aliases: &Aliases,
    at: usize,
) -> Result<ImportRow, ApiError> {
    aliases.renumber::<R>(&mut fields);
    let (known, new): (_, NewItem) = match item {
        None => (None, form::read::<R>(context, None, fields).await?),
        Some(item) => {
            let (whole, _) = form::merged::<R>(item, fields)?;
            let new = form::read::<R>(context, Some(item.id), whole).await?;
            (Some((item.id, item.version)), new)
        }
    };
    let alias = aliases.new[at].clone().filter(|_| !R::KIND.by_code);
    Ok(ImportRow {
        known,
        new,
        alias: alias.unwrap_or_default(),
    })
}

/// What the registry says to a row.
fn refusal<R: Resource>(error: RegistryError) -> ApiError {
    match error {
        // Between looking and writing.
        RegistryError::Conflict(_) | RegistryError::NotFound(_) => {
            let message = format!("somebody has changed this {} meanwhile", R::KIND.name);
            ApiError::new("conflict", message)
        }
        error => error.into(),
    }
}

fn result(at: usize, name: &str, row: Result<Imported, ApiError>, dry: bool) -> RowResult {
    let row_number = at + 1;
    match row {
        Ok(Imported { item, outcome }) => RowResult {
            row: row_number,
            // A dry run has given no number.
            id: (!dry || outcome != ImportOutcome::Created).then_some(item.id),
            outcome: match outcome {
                ImportOutcome::Created => RowOutcome::Created,
                ImportOutcome::Changed => RowOutcome::Changed,
                ImportOutcome::Unchanged => RowOutcome::Unchanged,
            },
            name: item.name,
            errors: Vec::new(),
        },
        Err(error) => {
            let mut errors = error.into_details();
            for error in &mut errors {
                error.row = Some(row_number);
            }
            RowResult {
                row: row_number,
                outcome: RowOutcome::Refused,
                id: None,
                name: name.to_owned(),
                errors,
            }
        }
    }
}

/// The fields of a row; `null` for an empty cell.
fn fields(head: &[String], row: &[String], types: &[(String, bool)]) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, cell) in head.iter().zip(row) {
        let cell = sheet::plain(cell);
        if OWN.contains(&name.as_str()) {
            continue;
        }
        let is_text = types
            .iter()
            .find(|(known, _)| known == name)
            .map_or(name != "brand", |(_, is_text)| *is_text);
        let value = match (cell, is_text) {
            ("", _) => Value::Null,
            (cell, true) => Value::String(cell.to_owned()),
            // What is no JSON is text: a check says what it expected.
            (cell, false) => {
                serde_json::from_str(cell).unwrap_or_else(|_| Value::String(cell.to_owned()))
            }
        };
        fields.insert(name.clone(), value);
    }
    fields
}
