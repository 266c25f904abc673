//! A row becomes an event of our own JSON, the same text for the same row each time.

use actors::model::Time;

use super::mapping::{Column, FieldKind, FieldPart, Given, Mapping, OrderPart, Test, TimeFormat};
use crate::json::{self, Bounds, ObjectWriter, Value};
use crate::{Reject, RejectCode, limits, number, time};

/// An event built from a row.
pub(super) struct Built {
    pub message_id: String,
    pub body: String,
}

impl Mapping {
    /// The values of the key columns, joined so that different values never look alike.
    pub(super) fn key(&self, cells: &[String]) -> String {
        join(self.key.iter().map(|column| &*cells[*column]))
    }

    /// The event of a row whose key was seen `before` times in the file.
    pub(super) fn event(&self, cells: &[String], key: &str, before: u32) -> Result<Built, Reject> {
        let message_id = counted(key, before);
        let mut event = ObjectWriter::new();
        event.text("message_id", &message_id);
        event.text("type", &self.kind);
        if let Some(name) = given(&self.name, cells) {
            event.text("name", name);
        }
        if let Some(column) = self.time {
            let at = self.time(&cells[column], &self.columns[column])?;
            event.text("time", &at.rfc3339());
        }
        let identifiers = self.identifiers(cells)?;
        if identifiers.len() > 2 {
            event.raw("identifiers", &identifiers);
        }
        for (name, parts) in [("traits", &self.traits), ("properties", &self.properties)] {
            let fields = self.fields(parts, cells)?;
            if !fields.is_empty() {
                event.raw(name, &fields.finish());
            }
        }
        if let Some(order) = &self.order {
            event.raw("order", &self.order(order, cells, &message_id, before)?);
        }
        Ok(Built {
            message_id,
            body: event.finish(),
        })
    }

    fn identifiers(&self, cells: &[String]) -> Result<String, Reject> {
        let mut list = String::from("[");
        for part in &self.identifiers {
            let mut value = &*cells[part.column];
            if value.is_empty() {
                continue;
            }
            if part.whole_number {
                value = number::as_id(value).ok_or_else(|| {
                    Reject::at(
                        RejectCode::FieldType,
                        &*self.columns[part.column],
                        format!("`{value}` is no whole number"),
                    )
                })?;
            }
            let mut identifier = ObjectWriter::new();
            identifier.text("kind", &part.kind);
            if let Some(scope) = given(&part.scope, cells) {
                identifier.text("scope", scope);
            }
            match &part.prefix {
                None => identifier.text("value", value),
                Some(prefix) => identifier.text("value", &format!("{prefix}{value}")),
            };
            if list.len() > 1 {
                list.push(',');
            }
            list.push_str(&identifier.finish());
        }
        list.push(']');
        Ok(list)
    }

    fn fields(&self, parts: &[FieldPart], cells: &[String]) -> Result<ObjectWriter, Reject> {
        let mut fields = ObjectWriter::new();
        for part in parts {
            let value = &*cells[part.column];
            let column = &*self.columns[part.column];
            if value.is_empty() {
                continue;
            }
            match part.kind {
                FieldKind::Text => fields.text(&part.name, value),
                FieldKind::Number => fields.raw(&part.name, json_number(value, column)?),
                FieldKind::Boolean => fields.raw(&part.name, boolean(value, column)?),
                FieldKind::Time => fields.text(&part.name, &self.time(value, column)?.rfc3339()),
            };
        }
        Ok(fields)
    }

    fn order(
        &self,
        part: &OrderPart,
        cells: &[String],
        message_id: &str,
        before: u32,
    ) -> Result<String, Reject> {
        let cell = |column: Option<Column>| column.map_or("", |column| &*cells[column]);
        let mut order = ObjectWriter::new();
        let own = part.order_id.map_or(message_id, |column| &*cells[column]);
        order.text("order_id", own);
        if let Some(shop) = given(&part.shop, cells) {
            order.text("shop", shop);
        }
        let decided = part.status_when.iter().find(|when| match &when.test {
            Test::StartsWith(start) => cells[when.column].starts_with(&**start),
            Test::Equals(value) => cells[when.column] == *value,
        });
        let status = decided.map(|when| &*when.status);
        if let Some(status) = status.or_else(|| given(&part.status, cells)) {
            order.text("status", status);
        }
        if let Some(currency) = given(&part.currency, cells) {
            order.text("currency", currency);
        }
        if !cell(part.total).is_empty() {
            order.text("total", cell(part.total));
        }
        if let Some(line) = &part.line {
            let mut written = ObjectWriter::new();
            let line_id = match line.line_id {
                Some(column) => cells[column].clone(),
                None => {
                    let rest = self
                        .key
                        .iter()
                        .filter(|column| Some(**column) != part.order_id);
                    counted(&join(rest.map(|column| &*cells[*column])), before)
                }
            };
            written.text("line_id", &line_id);
            for (name, column) in [
                ("sku", line.sku),
                ("name", line.name),
                ("quantity", line.quantity),
                ("unit_price", line.unit_price),
                ("amount", line.amount),
            ] {
                if !cell(column).is_empty() {
                    written.text(name, cell(column));
                }
            }
            order.raw("lines", &format!("[{}]", written.finish()));
        }
        Ok(order.finish())
    }

    /// A time of the file: with its offset if it has one, otherwise local to the mapping's zone. A local time that
    /// happens twice means the first; one that is skipped means as much later.
    fn time(&self, text: &str, column: &str) -> Result<Time, Reject> {
        self.time_formats
            .iter()
            .find_map(|format| match format {
                TimeFormat::Iso => self.iso(text),
                TimeFormat::Pattern(pattern) => {
                    let parsed = jiff::fmt::strtime::parse(pattern, text).ok()?;
                    match parsed.offset() {
                        Some(_) => parsed
                            .to_timestamp()
                            .ok()
                            .map(|at| Time(at.as_millisecond())),
                        None => self.local(match parsed.to_datetime() {
                            Ok(at) => at,
                            Err(_) => parsed.to_date().ok()?.into(),
                        }),
                    }
                }
            })
            .ok_or_else(|| {
                Reject::at(
                    RejectCode::TimeForm,
                    column,
                    format!("`{text}` is no time in the mapping's `time_formats`"),
                )
            })
    }

    fn iso(&self, text: &str) -> Option<Time> {
        if let Ok(at) = text.parse::<jiff::civil::DateTime>()
            && !text.ends_with(['Z', 'z'])
            && Time::from_rfc3339(text).is_none()
        {
            return self.local(at);
        }
        time::read(&Value::Text(text.into()))
    }

    fn local(&self, at: jiff::civil::DateTime) -> Option<Time> {
        let zoned = at.to_zoned(self.zone.clone()).ok()?;
        Some(Time(zoned.timestamp().as_millisecond()))
    }
}

fn given<'a>(given: &'a Option<Given>, cells: &'a [String]) -> Option<&'a str> {
    match given {
        Some(Given::Text(text)) => Some(text),
        Some(Given::Column(column)) => Some(&*cells[*column]).filter(|text| !text.is_empty()),
        None => None,
    }
}

/// Joins by `|`; that and `%` inside a value are escaped.
fn join<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for (at, value) in values.enumerate() {
        if at > 0 {
            joined.push('|');
        }
        for char in value.chars() {
            match char {
                '%' => joined.push_str("%25"),
                '|' => joined.push_str("%7C"),
                char => joined.push(char),
            }
        }
    }
    joined
}

/// The key and its count; a key too long for a message id is replaced by its hash.
fn counted(key: &str, before: u32) -> String {
    let id = if key.is_empty() {
        before.to_string()
    } else {
        format!("{key}|{before}")
    };
    if id.chars().count() <= limits::MESSAGE_ID_CHARS {
        return id;
    }
    format!(
        "row-{}|{before}",
        &blake3::hash(key.as_bytes()).to_hex()[..32]
    )
}

fn json_number<'a>(value: &'a str, column: &str) -> Result<&'a str, Reject> {
    let is_number = value.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && json::check(value, Bounds::TRACKING).is_ok();
    if is_number {
        return Ok(value);
    }
    Err(Reject::at(
        RejectCode::FieldType,
        column,
        format!("`{value}` is no number"),
    ))
}

fn boolean(value: &str, column: &str) -> Result<&'static str, Reject> {
    match &*value.to_ascii_lowercase() {
        "true" | "1" | "yes" | "y" | "是" => Ok("true"),
        "false" | "0" | "no" | "n" | "否" => Ok("false"),
        _ => Err(Reject::at(
            RejectCode::FieldType,
            column,
            format!("`{value}` is neither true nor false"),
        )),
    }
}
