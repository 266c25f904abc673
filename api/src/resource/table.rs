//! Resources as tables: export of a list, import of rows. CSV and XLSX.
//!
//! An export's columns are what an import takes: the common fields, and those of the body, nested ones as JSON. Columns
//! that the server writes are ignored on the way back. A row whose code is there already changes that resource; all rows
//! are done, or none.

mod sheet;

pub use sheet::{Sheet, SheetFormat, XLSX_CELL_CHARS, read as read_table, safe};

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::answer::{OWN, WRITTEN, object};
use super::routes::{author, note};
use super::{Context, Resource, form, query};
use crate::app::Shared;
use crate::error::{ApiError, ErrorDetail};
use crate::http::{Body, Caller, Query, Routes, Written, doc};

/// Rows of one import: a person checks them all.
const IMPORT_ROWS_MAX: usize = 20_000;
/// Rows of one export.
const EXPORT_ROWS_MAX: usize = 200_000;
/// Resources read at once.
const CHUNK: u32 = 500;
/// Mistakes that one answer names.
const DETAILS_MAX: usize = 1_000;

/// Parameters of an import.
#[derive(IntoParams, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportParameters {
    /// Check only.
    #[serde(default)]
    dry_run: bool,
}

/// Parameters of an export, besides those of the list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the derive only")]
struct ExportParameters {
    /// `csv` (when left out) or `xlsx`.
    format: Option<String>,
    /// `true`: texts as they are. Otherwise those that a spreadsheet would take for a formula begin with `'`.
    raw: Option<bool>,
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
    /// Nothing was written.
    pub dry_run: bool,
}

/// The export of a kind.
pub fn export_routes<R: Resource>() -> Routes {
    let (paths, tag) = (R::PATHS, R::TAG);
    crate::http::routes().get(
            paths.export,
            R::READ,
            export::<R>,
            doc(tag, "Export as CSV or XLSX")
                .more("Takes the parameters of the list. Cells that a spreadsheet would take for a formula begin with `'`.")
                .query::<query::ListParameters>()
                .query::<ExportParameters>()
                .media("text/csv")
                .reads(),
        )
}

/// The import of a kind.
pub fn import_routes<R: Resource>() -> Routes {
    let (paths, tag) = (R::PATHS, R::TAG);
    crate::http::routes().post(
            paths.import,
            R::WRITE,
            import::<R>,
            doc(tag, "Import CSV or XLSX").enters_itself()
                .more("The body is the file; the first row has the names of fields, as an export has them. All rows or none; `details` names every mistake with its row.")
                .query::<ImportParameters>()
                .written::<ImportAnswer>(),
        )
}

/// The columns of a kind's table: common ones that people write, those of the body, then the server's.
fn columns<R: Resource>() -> Vec<String> {
    let own = [
        "id",
        "version",
        "created",
        "created_by",
        "updated",
        "updated_by",
    ];
    let mut columns: Vec<String> = vec!["id".to_owned()];
    columns.extend(WRITTEN.map(str::to_owned));
    columns.extend(body_types::<R>().into_iter().map(|(name, _)| name));
    columns.extend(own.into_iter().skip(1).map(str::to_owned));
    columns
}

/// Fields of the body, and whether each is text.
/// What `columns` may name: the columns of the table, and what only the server says.
pub(super) fn shown<R: Resource>() -> Vec<String> {
    let mut shown = columns::<R>();
    let more = OWN.iter().chain(R::OWN_FIELDS).copied();
    for name in more.chain(R::COLUMNS.iter().map(|column| column.name)) {
        if !shown.iter().any(|known| known == name) {
            shown.push(name.to_owned());
        }
    }
    shown
}

fn body_types<R: Resource>() -> Vec<(String, bool)> {
    let schema =
        serde_json::to_value(<R::Body as PartialSchema>::schema()).expect("a schema is plain JSON");
    let Value::Object(properties) = &schema["properties"] else {
        return Vec::new();
    };
    let is_text = |schema: &Value| match &schema["type"] {
        Value::String(of) => of == "string",
        Value::Array(of) => of.iter().any(|of| of == "string"),
        _ => false,
    };
    properties
        .iter()
        .map(|(name, schema)| (name.clone(), is_text(schema)))
        .collect()
}

async fn export<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let mut asked = query::read::<R>(pairs, &["format", "raw"])?;
    let option = |name: &str| {
        let found = asked.others.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    };
    let format = SheetFormat::parse(option("format"))?;
    let raw = option("raw") == "true";
    let columns = asked.columns.take().unwrap_or_else(columns::<R>);
    let mut sheet = Sheet::new(format, raw, &columns)?;
    asked.query.limit = CHUNK;
    let mut rows = 0;
    loop {
        let listed = shared
            .registry()
            .resource_list(&caller.scope, R::KIND, &asked.query)
            .await?;
        for item in &listed.items {
            let fields = object::<R>(item)?;
            sheet.row(columns.iter().map(|column| fields.get(column)))?;
            rows += 1;
        }
        asked.query.cursor = listed.next_cursor;
        if asked.query.cursor.is_none() {
            break;
        }
        if rows >= EXPORT_ROWS_MAX {
            let message = format!("more than {EXPORT_ROWS_MAX} rows: filter them");
            return Err(ApiError::new("parameter_form", message));
        }
    }
    let act = actors::registry::Act {
        by: caller.name.clone(),
        brand: actors::model::BrandId(0),
        action: "export".into(),
        kind: R::KIND.name.into(),
        item: String::new(),
        detail: format!("{rows} rows"),
    };
    shared.registry().audit(&act, shared.now()).await?;
    sheet.respond(R::KIND.name)
}

async fn import<R: Resource>(
    State(shared): State<Shared>,
    caller: Caller,
    Query(parameters): Query<ImportParameters>,
    Body(body): Body,
) -> Result<Written<ImportAnswer>, ApiError> {
    let table = read_table(&body, IMPORT_ROWS_MAX)?;
    let types = body_types::<R>();
    let known = |name: &str| {
        OWN.contains(&name)
            || WRITTEN.contains(&name)
            || types.iter().any(|(known, _)| known == name)
    };
    let unknown: Vec<ErrorDetail> = table
        .head
        .iter()
        .filter(|name| !known(name))
        .map(|name| {
            ErrorDetail::new(
                "unknown_column",
                name.as_str(),
                "there is no field of this name",
            )
        })
        .collect();
    if !unknown.is_empty() {
        return Err(ApiError::several("import_invalid", unknown));
    }
    let context = Context {
        shared: &shared,
        caller: &caller,
    };
    let mut items = Vec::with_capacity(table.rows.len());
    let mut mistakes = Vec::new();
    for (at, row) in table.rows.iter().enumerate() {
        let done = match fields(&table.head, row, &types) {
            Ok(fields) => form::read::<R>(&context, None, fields).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(item) => items.push(item),
            Err(error) => mistakes.extend(of_row(error, at)),
        }
        if mistakes.len() >= DETAILS_MAX {
            break;
        }
    }
    if !mistakes.is_empty() {
        return Err(ApiError::several("import_invalid", mistakes));
    }
    let registry = shared.registry();
    let author = author(&shared, &caller);
    let done = registry
        .resource_import(author, R::KIND, &items, parameters.dry_run)
        .await
        .map_err(|(at, error)| {
            let mistakes = of_row(ApiError::from(error), at);
            ApiError::several("import_invalid", mistakes)
        })?;
    let created = done.iter().filter(|one| one.created).count();
    let token = match parameters.dry_run {
        true => None,
        false => {
            note(
                &shared,
                R::KIND.name,
                0,
                serde_json::json!({"imported": done.len()}),
            )
            .await
        }
    };
    Ok(Written::changed(
        token,
        ImportAnswer {
            rows: done.len(),
            created,
            changed: done.len() - created,
            dry_run: parameters.dry_run,
        },
    ))
}

fn of_row(error: ApiError, at: usize) -> Vec<ErrorDetail> {
    let mut details = error.into_details();
    for detail in &mut details {
        detail.row = Some(at + 1);
    }
    details
}

/// The fields of a row. An empty cell is an absent field.
fn fields(
    head: &[String],
    row: &[String],
    types: &[(String, bool)],
) -> Result<Map<String, Value>, ApiError> {
    let mut fields = Map::new();
    for (name, cell) in head.iter().zip(row) {
        let cell = sheet::plain(cell);
        if cell.is_empty() || OWN.contains(&name.as_str()) {
            continue;
        }
        let is_text = types
            .iter()
            .find(|(known, _)| known == name)
            .map_or(name != "brand", |(_, is_text)| *is_text);
        let value = match is_text {
            true => Value::String(cell.to_owned()),
            // What is no JSON is text: a check says what it expected.
            false => serde_json::from_str(cell).unwrap_or_else(|_| Value::String(cell.to_owned())),
        };
        fields.insert(name.clone(), value);
    }
    Ok(fields)
}
