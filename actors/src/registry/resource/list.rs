//! Lists of resources: filters, order, search, pages. One statement, put together from fixed pieces and bound values.

use data_encoding::BASE32_NOPAD;
use sqlx::any::AnyArguments;
use sqlx::{Any, AssertSqlSafe, Row};

use super::super::{Registry, RegistryError, page};
use super::{Item, ResourceKind, Word, item_of};
use crate::model::{BrandSet, Scope};

/// What lists filter and sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Number.
    Id,
    /// Owner.
    Brand,
    /// Code.
    Code,
    /// Name.
    Name,
    /// Folder.
    Folder,
    /// State.
    State,
    /// Version.
    Version,
    /// When it was made.
    Created,
    /// By whom.
    CreatedBy,
    /// When it was changed last.
    Updated,
    /// By whom.
    UpdatedBy,
    /// A text of the body.
    Text(&'static str),
    /// A number of the body.
    Number(&'static str),
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// On what.
    pub column: Column,
    /// What must hold.
    pub test: Test,
}

/// What must hold. The word has the sort of its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// One of these.
    In(Vec<Word>),
    /// At least this.
    AtLeast(Word),
    /// At most this.
    AtMost(Word),
    /// Begins with this; text only, exact case.
    StartsWith(String),
}

/// Which resources, in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceQuery {
    /// All of these.
    pub filters: Vec<Filter>,
    /// Words that name, code or searched texts contain, in any case; all of them.
    pub search: Option<String>,
    /// By what, and whether the greatest comes first. `None`: by number.
    pub sort: Option<(Column, bool)>,
    /// Items of a page.
    pub limit: u32,
    /// Where it goes on.
    pub cursor: Option<String>,
}

/// A page of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The items.
    pub items: Vec<Item>,
    /// Give it back to get the next page.
    pub next_cursor: Option<String>,
    /// All that the filters let through.
    pub total: u64,
}

/// Most words of a search: more narrows nothing.
const SEARCH_WORDS_MAX: usize = 8;

impl Column {
    /// Whether it holds numbers.
    pub fn is_number(self) -> bool {
        matches!(
            self,
            Column::Id
                | Column::Brand
                | Column::Version
                | Column::Created
                | Column::Updated
                | Column::Number(_)
        )
    }
}

/// A statement in the making.
struct Statement {
    sql: String,
    words: Vec<Word>,
}

impl Statement {
    /// A bound value's place.
    fn bind(&mut self, word: Word) -> String {
        self.words.push(word);
        format!("${}", self.words.len())
    }

    fn text(&mut self, text: impl Into<String>) -> String {
        self.bind(Word::Text(text.into()))
    }

    /// The expression of a column. Fields of bodies are looked up by key.
    fn column(&mut self, column: Column) -> String {
        let own = match column {
            Column::Id => "r.id",
            Column::Brand => "r.brand",
            Column::Code => "r.code",
            Column::Name => "r.name",
            Column::Folder => "r.folder",
            Column::State => "r.state",
            Column::Version => "r.version",
            Column::Created => "r.created",
            Column::CreatedBy => "r.created_by",
            Column::Updated => "r.updated",
            Column::UpdatedBy => "r.updated_by",
            Column::Text(field) => {
                let field = self.text(field);
                return format!(
                    "coalesce((SELECT f.words FROM resource_fields f WHERE f.kind = r.kind AND f.id = r.id \
                     AND f.field = {field}), '')"
                );
            }
            Column::Number(field) => {
                let field = self.text(field);
                return format!(
                    "coalesce((SELECT f.number FROM resource_fields f WHERE f.kind = r.kind AND f.id = r.id \
                     AND f.field = {field}), -9223372036854775807)"
                );
            }
        };
        own.to_owned()
    }

    fn and(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    fn filter(&mut self, filter: &Filter) {
        let column = self.column(filter.column);
        let condition = match &filter.test {
            Test::In(words) if words.is_empty() => "1 = 0".to_owned(),
            Test::In(words) => {
                let places: Vec<_> = words.iter().map(|word| self.bind(word.clone())).collect();
                format!("{column} IN ({})", places.join(", "))
            }
            Test::AtLeast(word) => format!("{column} >= {}", self.bind(word.clone())),
            Test::AtMost(word) => format!("{column} <= {}", self.bind(word.clone())),
            Test::StartsWith(start) => {
                // Not LIKE: SQLite's ignores case.
                let (a, b) = (self.text(&**start), self.text(&**start));
                format!("substr({column}, 1, length({a})) = {b}")
            }
        };
        self.and(&condition);
    }

    fn query(&self) -> sqlx::query::Query<'_, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql.as_str().to_owned()));
        for word in &self.words {
            query = match word {
                Word::Text(text) => query.bind(text.as_str()),
                Word::Number(number) => query.bind(*number),
            };
        }
        query
    }
}

/// A pattern that finds `text` anywhere.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// What a search compares with.
pub(super) fn folded(text: &str) -> String {
    text.to_lowercase()
}

impl Registry {
    /// A page of resources that the scope sees.
    pub async fn resource_list(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        query: &ResourceQuery,
    ) -> Result<Listed, RegistryError> {
        let mut statement = Statement {
            sql: String::from(" FROM resources r WHERE r.kind = $1"),
            words: vec![Word::Text(kind.name.to_owned())],
        };
        if let BrandSet::Only(brands) = &scope.brands {
            let mut places = vec!["0".to_owned()];
            places.extend(
                brands
                    .iter()
                    .map(|brand| statement.bind(Word::Number(i64::from(brand.0)))),
            );
            statement.and(&format!("r.brand IN ({})", places.join(", ")));
        }
        for filter in &query.filters {
            statement.filter(filter);
        }
        let search = query.search.as_deref().unwrap_or_default();
        for word in search.split_whitespace().take(SEARCH_WORDS_MAX) {
            let place = statement.text(pattern(&folded(word)));
            statement.and(&format!("r.search LIKE {place} ESCAPE '\\'"));
        }
        let total = {
            let count = Statement {
                sql: format!("SELECT count(*) AS items{}", statement.sql),
                words: statement.words.clone(),
            };
            let row = count.query().fetch_one(&self.db.reader).await?;
            u64::try_from(row.try_get::<i64, _>("items")?).unwrap_or(0)
        };
        let (column, down) = query.sort.unwrap_or((Column::Id, false));
        let sorted = statement.column(column);
        if let Some(cursor) = &query.cursor {
            let (word, id) = position(cursor, column)?;
            let (a, b) = (statement.bind(word.clone()), statement.bind(word));
            let id = statement.bind(Word::Number(id));
            let than = if down { '<' } else { '>' };
            statement.and(&format!(
                "({sorted} {than} {a} OR ({sorted} = {b} AND r.id {than} {id}))"
            ));
        }
        let limit = page::limit(query.limit);
        let order = if down { "DESC" } else { "ASC" };
        let count = statement.bind(Word::Number(limit as i64 + 1));
        statement.sql = format!(
            "SELECT r.*, {sorted} AS sorted{} ORDER BY sorted {order}, r.id {order} LIMIT {count}",
            statement.sql
        );
        let rows = statement.query().fetch_all(&self.db.reader).await?;
        let mut items = Vec::with_capacity(rows.len().min(limit));
        let mut next_cursor = None;
        for (at, row) in rows.iter().enumerate() {
            if at == limit {
                let last = &rows[at - 1];
                let word = match column.is_number() {
                    true => Word::Number(last.try_get("sorted")?),
                    false => Word::Text(last.try_get("sorted")?),
                };
                next_cursor = Some(cursor_of(&word, last.try_get("id")?));
                break;
            }
            items.push(item_of(row)?);
        }
        Ok(Listed {
            items,
            next_cursor,
            total,
        })
    }
}

/// A cursor: the number of the last item, then what it was sorted by.
fn cursor_of(word: &Word, id: i64) -> String {
    let mut bytes = id.to_be_bytes().to_vec();
    match word {
        Word::Number(number) => bytes.extend_from_slice(&number.to_be_bytes()),
        Word::Text(text) => bytes.extend_from_slice(text.as_bytes()),
    }
    BASE32_NOPAD.encode(&bytes)
}

fn position(cursor: &str, column: Column) -> Result<(Word, i64), RegistryError> {
    let wrong = || RegistryError::invalid("cursor", "it is not one that a list has answered");
    let bytes = BASE32_NOPAD
        .decode(cursor.as_bytes())
        .map_err(|_| wrong())?;
    let (id, rest) = bytes.split_first_chunk().ok_or_else(wrong)?;
    let word = match column.is_number() {
        true => Word::Number(i64::from_be_bytes(rest.try_into().map_err(|_| wrong())?)),
        false => Word::Text(String::from_utf8(rest.to_vec()).map_err(|_| wrong())?),
    };
    Ok((word, i64::from_be_bytes(*id)))
}
