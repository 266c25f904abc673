//! The query string of a list: sort, search, and a filter per column.

use actors::model::Time;
use actors::registry::{Column, Filter, ResourceQuery, Test, Word};
use utoipa::IntoParams;

use super::{ColumnType, Resource};
use crate::error::ApiError;
use crate::http::page::Paging;

/// Columns that every kind has.
pub const COMMON: [(&str, Column, ColumnType); 11] = [
    ("id", Column::Id, ColumnType::Number),
    ("brand", Column::Brand, ColumnType::Number),
    ("code", Column::Code, ColumnType::Text),
    ("name", Column::Name, ColumnType::Text),
    ("folder", Column::Folder, ColumnType::Text),
    ("state", Column::State, ColumnType::Text),
    ("version", Column::Version, ColumnType::Number),
    ("created", Column::Created, ColumnType::Time),
    ("created_by", Column::CreatedBy, ColumnType::Text),
    ("updated", Column::Updated, ColumnType::Time),
    ("updated_by", Column::UpdatedBy, ColumnType::Text),
];

/// Parameters of a list, for its description. Every column is a parameter too.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the derive only")]
pub struct ListParameters {
    /// A column; `-` in front turns the order round.
    #[param(example = "-updated")]
    sort: Option<String>,
    /// Columns to answer, by comma; `id` always.
    #[param(example = "name,state")]
    columns: Option<String>,
    /// Words that name, code, description and other texts contain.
    q: Option<String>,
    /// One of these states, by comma. Every column can stand here: `name=…`, `updated.from=…`, `id.to=…`, `folder.starts=…`.
    state: Option<String>,
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What a query string asks for.
pub struct Asked {
    /// Which items.
    pub query: ResourceQuery,
    /// Columns to answer; `None`: all.
    pub columns: Option<Vec<String>>,
    /// Parameters that no list has, e.g. `format`.
    pub others: Vec<(String, String)>,
}

fn wrong(name: &str, message: impl Into<String>) -> ApiError {
    ApiError::new("parameter_form", message).field(name)
}

fn column<R: Resource>(name: &str) -> Option<(Column, ColumnType)> {
    let common = COMMON.iter().find(|(known, ..)| *known == name);
    common.map(|(_, column, of)| (*column, *of)).or_else(|| {
        let spec = R::COLUMNS.iter().find(|spec| spec.name == name)?;
        let column = match spec.of {
            ColumnType::Text => Column::Text(spec.name),
            ColumnType::Number | ColumnType::Time => Column::Number(spec.name),
        };
        Some((column, spec.of))
    })
}

fn word(name: &str, of: ColumnType, text: &str) -> Result<Word, ApiError> {
    match of {
        ColumnType::Text => Ok(Word::Text(text.to_owned())),
        ColumnType::Number => text
            .parse()
            .map(Word::Number)
            .map_err(|_| wrong(name, "expected a whole number")),
        ColumnType::Time => Time::from_rfc3339(text)
            .map(|time| Word::Number(time.0))
            .ok_or_else(|| wrong(name, "expected an instant such as 2026-05-01T08:00:00Z")),
    }
}

/// Reads the pairs of a query string. `others`: parameters that this route takes besides.
pub fn read<R: Resource>(pairs: Vec<(String, String)>, others: &[&str]) -> Result<Asked, ApiError> {
    let mut paging = Paging::default();
    let mut asked = Asked {
        query: ResourceQuery::default(),
        columns: None,
        others: Vec::new(),
    };
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => {
                let limit = value.parse();
                paging.limit = Some(limit.map_err(|_| wrong("limit", "expected a number"))?);
            }
            "cursor" => asked.query.cursor = Some(value),
            "q" => asked.query.search = Some(value),
            "sort" => {
                let (down, by) = match value.strip_prefix('-') {
                    Some(by) => (true, by),
                    None => (false, &*value),
                };
                let (column, _) = column::<R>(by)
                    .ok_or_else(|| wrong("sort", format!("there is no column `{by}`")))?;
                asked.query.sort = Some((column, down));
            }
            "columns" => {
                let names: Vec<String> =
                    value.split(',').map(str::trim).map(str::to_owned).collect();
                let known = super::table::shown::<R>();
                if let Some(name) = names.iter().find(|name| !known.contains(*name)) {
                    let known = known.join(", ");
                    let message = format!("there is no column `{name}`; there are {known}");
                    return Err(wrong("columns", message));
                }
                asked.columns = Some(names);
            }
            _ if others.contains(&&*name) => asked.others.push((name, value)),
            _ => asked.query.filters.push(filter::<R>(&name, &value)?),
        }
    }
    asked.query.limit = u32::try_from(paging.limit()?).expect("a limit is at most LIMIT_MAX");
    Ok(asked)
}

fn filter<R: Resource>(name: &str, value: &str) -> Result<Filter, ApiError> {
    let (by, how) = match name.rsplit_once('.') {
        Some((by, how @ ("from" | "to" | "starts"))) => (by, how),
        _ => (name, ""),
    };
    let (column, of) = column::<R>(by).ok_or_else(|| {
        wrong(
            name,
            format!("there is no parameter and no column `{by}`; GET …/schema lists columns"),
        )
    })?;
    let test = match how {
        "from" => Test::AtLeast(word(name, of, value)?),
        "to" => Test::AtMost(word(name, of, value)?),
        "starts" if of != ColumnType::Text => {
            return Err(wrong(name, "only texts begin with something"));
        }
        "starts" => Test::StartsWith(value.to_owned()),
        _ => {
            let mut parts = value.split(',').map(str::trim);
            if by == "state"
                && let Some(state) = parts.find(|state| !R::STATES.contains(state))
            {
                let known = R::STATES.join(", ");
                return Err(wrong(
                    name,
                    format!("there is no state `{state}`; there are {known}"),
                ));
            }
            let words = value.split(',').map(|part| word(name, of, part.trim()));
            Test::In(words.collect::<Result<_, _>>()?)
        }
    };
    Ok(Filter { column, test })
}
