//! Resources as tables: export of a list, import of rows. CSV and XLSX.
//!
//! An export's columns are what an import takes: the common fields, and those of the body, nested ones as JSON. Columns
//! that the server writes are ignored on the way back ([`import`]).

mod import;
mod sheet;

pub use import::import_routes;
pub use sheet::{Sheet, SheetFormat, XLSX_CELL_CHARS, read as read_table, safe};

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use utoipa::{IntoParams, PartialSchema};

use super::answer::{OWN, WRITTEN, object};
use super::{Resource, query};
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Query, Routes, doc};

/// Rows of one export.
const EXPORT_ROWS_MAX: usize = 200_000;
/// Resources read at once.
const CHUNK: u32 = 500;

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

/// Fields of the body, and whether each is text.
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
        detail: format!("{rows} rows"),
        ..caller.act(R::KIND.name, "export", "", actors::model::BrandId(0))
    };
    shared.registry().audit(&act, shared.now()).await?;
    sheet.respond(R::KIND.name)
}
