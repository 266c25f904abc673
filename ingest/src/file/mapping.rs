//! Mapping: which column means what. TOML; unknown keys are refused and all mistakes are told at once.
//!
//! ```toml
//! time_zone = "Asia/Shanghai"            # of times without an offset
//! time_formats = ["iso", "%Y/%m/%d"]     # tried in order; iso is the default
//! [file]
//! format = "csv"                         # or xlsx, parquet, jsonl (there a column is a dotted path); by default what
//!                                        # the file itself says
//! delimiter = ";"                        # one character, "," by default; or "whitespace": any number of blanks
//! quote = "none"                         # one character, \" by default
//! encoding = "gb18030"                   # by default told from the first bytes: UTF-8 or GB18030
//! skip_lines = 2                         # lines before the header
//! columns = ["card", "day"]              # names, for a file without a header
//! sheet = "2026"                         # of a workbook; by default the first
//! [event]
//! type = "order"                         # track identify page screen group alias order scan
//! name = "Bought"                        # or name_column
//! message_id = ["order", "sku"]          # key columns
//! unique = true                          # no two rows have the same key: nothing is counted, so memory stays constant
//! time = "paid_at"
//! [[identifiers]]
//! kind = "openid"
//! scope = "wxabc"                        # or scope_column
//! column = "openid"
//! whole_number = true                    # 17850.0 means 17850
//! prefix = "old-"                        # put before each value, where another system's ids would meet ours
//! [traits]
//! city = "city"                          # a column, or with a type: text number boolean time
//! [properties]
//! points = { column = "points", type = "number" }
//! [order]
//! order_id = "order"                     # or each_row = true: every row is an order and its key is its id
//! shop = "tmall-1"                       # or shop_column
//! currency = "CNY"                       # or currency_column
//! status = "paid"                        # or status_column
//! total = "total"
//! [[order.status_when]]                  # the first that holds; before `status`
//! column = "order"
//! starts_with = "C"                      # or equals
//! status = "cancelled"
//! [order.line]
//! line_id = "line"                       # by default the key columns but the order id, and the count
//! sku = "sku"
//! name = "title"
//! quantity = "qty"
//! unit_price = "price"
//! amount = "amount"                      # by default quantity times unit price
//! ```

use std::fmt;

use actors::model::{Currency, Identifier};
use jiff::tz::TimeZone;

use super::options::{self, FileOptions};
use super::section::{Notes, Section};
use crate::protocol::order;

/// A mapping that is right in itself; whether the file has its columns shows when it is opened.
#[derive(Debug, Clone)]
pub struct Mapping {
    pub(super) file: FileOptions,
    /// Every column that is named, once; the rest points here.
    pub(super) columns: Vec<String>,
    pub(super) zone: TimeZone,
    pub(super) time_formats: Vec<TimeFormat>,
    pub(super) kind: String,
    pub(super) name: Option<Given>,
    pub(super) key: Vec<Column>,
    /// No two rows have the same key.
    pub(super) unique: bool,
    pub(super) time: Option<Column>,
    pub(super) identifiers: Vec<IdentifierPart>,
    pub(super) traits: Vec<FieldPart>,
    pub(super) properties: Vec<FieldPart>,
    pub(super) order: Option<OrderPart>,
}

/// One mistake in a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingProblem {
    /// Where, e.g. `order.line.sku`.
    pub place: String,
    /// What is wrong and what is known.
    pub what: String,
}

/// All mistakes of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingErrors(pub Vec<MappingProblem>);

impl fmt::Display for MappingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the mapping has a mistake")?,
            many => write!(f, "the mapping has {many} mistakes")?,
        }
        for problem in &self.0 {
            write!(f, "\n  {}: {}", problem.place, problem.what)?;
        }
        Ok(())
    }
}

impl std::error::Error for MappingErrors {}

/// Index into [`Mapping::columns`].
pub(super) type Column = usize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    Iso,
    Pattern(String),
}

/// A fixed text or that of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    Text(String),
    Column(Column),
}

#[derive(Debug, Clone)]
pub(super) struct IdentifierPart {
    pub kind: String,
    pub scope: Option<Given>,
    pub column: Column,
    pub whole_number: bool,
    pub prefix: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct FieldPart {
    pub name: String,
    pub column: Column,
    pub kind: FieldKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    Text,
    Number,
    Boolean,
    Time,
}

#[derive(Debug, Clone)]
pub(super) struct OrderPart {
    /// None: each row is an order, and its message id is the order's.
    pub order_id: Option<Column>,
    pub shop: Option<Given>,
    pub currency: Option<Given>,
    pub status: Option<Given>,
    pub status_when: Vec<StatusWhen>,
    pub total: Option<Column>,
    pub line: Option<LinePart>,
}

#[derive(Debug, Clone)]
pub(super) struct StatusWhen {
    pub column: Column,
    pub test: Test,
    pub status: String,
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    StartsWith(String),
    Equals(String),
}

#[derive(Debug, Clone, Default)]
pub(super) struct LinePart {
    pub line_id: Option<Column>,
    pub sku: Option<Column>,
    pub name: Option<Column>,
    pub quantity: Option<Column>,
    pub unit_price: Option<Column>,
    pub amount: Option<Column>,
}

const KINDS: [&str; 8] = [
    "track", "identify", "page", "screen", "group", "alias", "order", "scan",
];

impl Mapping {
    /// Reads a mapping.
    pub fn parse(text: &str) -> Result<Mapping, MappingErrors> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            MappingErrors(vec![MappingProblem {
                place: "mapping".into(),
                what: error.to_string().trim_end().to_owned(),
            }])
        })?;
        let notes = Notes::default();
        let mapping = read(&Section::new(&table, String::new(), &notes));
        let problems = notes.problems.into_inner();
        match mapping {
            Some(mapping) if problems.is_empty() => Ok(Mapping {
                columns: notes.columns.into_inner(),
                ..mapping
            }),
            _ => Err(MappingErrors(problems)),
        }
    }

    /// Where its columns stand in a header.
    pub(super) fn bind(&self, header: &[String]) -> Result<Vec<usize>, MappingErrors> {
        let mut problems = Vec::new();
        let mut problem = |column: &str, what: String| {
            problems.push(MappingProblem {
                place: column.to_owned(),
                what,
            });
        };
        let mut places = Vec::new();
        for column in &self.columns {
            let mut found = header
                .iter()
                .enumerate()
                .filter(|(_, name)| *name == column);
            match (found.next(), found.next()) {
                (Some((place, _)), None) => places.push(place),
                (None, _) => problem(
                    column,
                    format!(
                        "unknown column `{column}`; the file has: {}",
                        header.join(", ")
                    ),
                ),
                (Some(_), Some(_)) => {
                    problem(column, format!("the file has column `{column}` twice"));
                }
            }
        }
        if problems.is_empty() {
            Ok(places)
        } else {
            Err(MappingErrors(problems))
        }
    }
}

fn read(top: &Section<'_>) -> Option<Mapping> {
    let zone_name = top.text("time_zone");
    let zone = zone_name.as_ref().and_then(|name| {
        TimeZone::get(name)
            .map_err(|_| {
                top.problem(
                    "time_zone",
                    format!("`{name}` is no time zone: use e.g. Asia/Shanghai"),
                )
            })
            .ok()
    });
    let time_formats = top
        .texts("time_formats")
        .unwrap_or_else(|| vec!["iso".into()]);
    let file = top.table("file");
    let event = top.table("event");
    if event.is_none() {
        top.problem("event", "is missing: say `type` and `message_id`".into());
    }
    let order = top.table("order");
    let identifiers: Vec<_> = top
        .tables("identifiers")
        .iter()
        .filter_map(identifier)
        .collect();
    let traits = top.table("traits").map(|t| fields(&t)).unwrap_or_default();
    let properties = top
        .table("properties")
        .map(|t| fields(&t))
        .unwrap_or_default();
    top.finish(&[
        "time_zone",
        "time_formats",
        "file",
        "event",
        "identifiers",
        "traits",
        "properties",
        "order",
    ]);

    let options = match &file {
        Some(file) => options::read(file),
        None => Some(FileOptions::default()),
    };
    let order = order.as_ref().and_then(read_order);
    let event = event?;
    let kind = event.word("type", &KINDS);
    let name = event.given("name", "name_column");
    let key = event.texts("message_id").unwrap_or_default();
    if key.is_empty() {
        event.problem(
            "message_id",
            "is missing: list the columns that tell rows apart".into(),
        );
    }
    let key: Vec<_> = key.iter().map(|name| event.notes.column(name)).collect();
    let time = event.column("time");
    let unique = event.flag("unique");
    event.finish(&[
        "type",
        "name",
        "name_column",
        "message_id",
        "unique",
        "time",
    ]);

    let timed = time.is_some()
        || traits
            .iter()
            .chain(&properties)
            .any(|field: &FieldPart| field.kind == FieldKind::Time);
    if timed && zone_name.is_none() {
        top.problem(
            "time_zone",
            "is missing: times without an offset are local, e.g. Asia/Shanghai".into(),
        );
    }
    if kind.as_deref() == Some("order") && order.is_none() && !top.has("order") {
        top.problem("order", "is missing: an order needs `order_id`".into());
    }
    if kind.as_deref() == Some("track") && name.is_none() {
        event.problem("name", "is missing: a track event needs a name".into());
    }
    Some(Mapping {
        file: options?,
        columns: Vec::new(),
        zone: zone.unwrap_or(TimeZone::UTC),
        time_formats: time_formats
            .into_iter()
            .map(|format| match &*format {
                "iso" => TimeFormat::Iso,
                _ => TimeFormat::Pattern(format),
            })
            .collect(),
        kind: kind?,
        name,
        key,
        unique,
        time,
        identifiers,
        traits,
        properties,
        order,
    })
}

fn identifier(section: &Section<'_>) -> Option<IdentifierPart> {
    let kind = section.required("kind");
    if let Some(kind) = &kind
        && let Err(error) = Identifier::new(kind, "", "x").check()
    {
        section.problem("kind", error.to_string());
    }
    let scope = section.given("scope", "scope_column");
    let column = section
        .required("column")
        .map(|name| section.notes.column(&name));
    let whole_number = section.flag("whole_number");
    let prefix = section.text("prefix");
    section.finish(&[
        "kind",
        "scope",
        "scope_column",
        "column",
        "whole_number",
        "prefix",
    ]);
    Some(IdentifierPart {
        kind: kind?,
        scope,
        column: column?,
        whole_number,
        prefix,
    })
}

fn fields(section: &Section<'_>) -> Vec<FieldPart> {
    let mut fields = Vec::new();
    for (name, value) in section.table {
        let (column, kind) = match value {
            toml::Value::String(column) => (Some(column.clone()), FieldKind::Text),
            toml::Value::Table(table) => {
                let inner = Section::new(table, section.path(name), section.notes);
                let kind = match inner.has("type") {
                    true => inner.word("type", &["text", "number", "boolean", "time"]),
                    false => None,
                };
                let kind = match kind.as_deref() {
                    Some("number") => FieldKind::Number,
                    Some("boolean") => FieldKind::Boolean,
                    Some("time") => FieldKind::Time,
                    _ => FieldKind::Text,
                };
                let column = inner.required("column");
                inner.finish(&["column", "type"]);
                (column, kind)
            }
            _ => {
                section.problem(
                    name,
                    "expected a column, or { column = …, type = … }".into(),
                );
                (None, FieldKind::Text)
            }
        };
        if let Some(column) = column {
            fields.push(FieldPart {
                name: name.clone(),
                column: section.notes.column(&column),
                kind,
            });
        }
    }
    fields
}

fn read_order(section: &Section<'_>) -> Option<OrderPart> {
    let each_row = section.flag("each_row");
    let order_id = match each_row {
        true => {
            if section.has("order_id") {
                section.problem("order_id", "say either `order_id` or `each_row`".into());
            }
            Some(None)
        }
        false => section
            .required("order_id")
            .map(|name| Some(section.notes.column(&name))),
    };
    let shop = section.given("shop", "shop_column");
    let currency = section.given("currency", "currency_column");
    if let Some(Given::Text(code)) = &currency
        && let Err(error) = code.parse::<Currency>()
    {
        section.problem("currency", error.to_string());
    }
    let status = section.given("status", "status_column");
    if let Some(Given::Text(word)) = &status {
        known_status(section, word);
    }
    let total = section.column("total");
    let status_when: Vec<_> = section
        .tables("status_when")
        .iter()
        .filter_map(read_status_when)
        .collect();
    let line = section.table("line").map(|line| {
        let part = LinePart {
            line_id: line.column("line_id"),
            sku: line.column("sku"),
            name: line.column("name"),
            quantity: line.column("quantity"),
            unit_price: line.column("unit_price"),
            amount: line.column("amount"),
        };
        line.finish(&["line_id", "sku", "name", "quantity", "unit_price", "amount"]);
        part
    });
    section.finish(&[
        "order_id",
        "each_row",
        "shop",
        "shop_column",
        "currency",
        "currency_column",
        "status",
        "status_column",
        "total",
        "status_when",
        "line",
    ]);
    Some(OrderPart {
        order_id: order_id?,
        shop,
        currency,
        status,
        status_when,
        total,
        line,
    })
}

fn read_status_when(section: &Section<'_>) -> Option<StatusWhen> {
    let column = section
        .required("column")
        .map(|name| section.notes.column(&name));
    let test = match (section.text("starts_with"), section.text("equals")) {
        (Some(start), None) => Some(Test::StartsWith(start)),
        (None, Some(value)) => Some(Test::Equals(value)),
        _ => {
            section.problem("starts_with", "say either `starts_with` or `equals`".into());
            None
        }
    };
    let status = section.required("status");
    if let Some(word) = &status {
        known_status(section, word);
    }
    section.finish(&["column", "starts_with", "equals", "status"]);
    Some(StatusWhen {
        column: column?,
        test: test?,
        status: status?,
    })
}

fn known_status(section: &Section<'_>, word: &str) {
    if order::status(word).is_none() {
        section.problem(
            "status",
            format!("`{word}` is no status; known are {}", order::STATUS_WORDS),
        );
    }
}
