//! The forms in which events come: one module each, with how a request is split, what admission reads, how one is decoded.

pub(crate) mod cloud;
pub(crate) mod order;
pub(crate) mod own;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod sensors;

use std::borrow::Cow;

use actors::model::{DISTINCT_KIND, Event, EventKind, Identifier, Linking, RawJson};

use crate::json::{self, Value};
use crate::{RawRecord, Reject, RejectCode, limits, number};

/// Kinds that belong to the source's id space.
const SPACED_KINDS: [&str; 5] = [
    "user_id",
    "anonymous_id",
    "device_id",
    "member_card",
    DISTINCT_KIND,
];

/// An event with nothing but what the record itself says.
pub(crate) fn blank(record: &RawRecord, kind: EventKind, name: &str) -> Event {
    Event {
        message_id: record.message_id.clone(),
        kind,
        name: name.into(),
        time: record.received,
        received: record.received,
        source: record.source,
        id_space: record.id_space,
        brand: record.brand,
        test: record.test,
        identifiers: Vec::new(),
        linking: Linking::Join,
        traits: None,
        properties: None,
        context: None,
        order: None,
        place: None,
    }
}

/// Collects the identifiers of one event in their order, each once.
pub(crate) struct Identifiers<'r> {
    record: &'r RawRecord,
    list: Vec<Identifier>,
}

impl<'r> Identifiers<'r> {
    pub fn new(record: &'r RawRecord) -> Self {
        Identifiers {
            record,
            list: Vec::new(),
        }
    }

    /// Adds `kind` with the value of one field; absent values add nothing.
    pub fn field(&mut self, kind: &str, raw: &str, field: &str) -> Result<(), Reject> {
        match id_text(raw, field)? {
            Some(value) => self.add(kind, "", &value, field),
            None => Ok(()),
        }
    }

    /// Adds one identifier; kinds of an id space get the source's.
    pub fn add(&mut self, kind: &str, scope: &str, value: &str, field: &str) -> Result<(), Reject> {
        let space;
        let scope = if scope.is_empty() && SPACED_KINDS.contains(&kind) {
            space = match self.record.id_space.0 {
                0 => String::new(),
                number => number.to_string(),
            };
            &*space
        } else {
            scope
        };
        let identifier = Identifier::new(kind, scope, value);
        identifier
            .check()
            .map_err(|error| Reject::at(RejectCode::IdentifierForm, field, error.to_string()))?;
        if !self.list.contains(&identifier) {
            if self.list.len() == limits::IDENTIFIERS {
                return Err(Reject::at(
                    RejectCode::TooManyIdentifiers,
                    field,
                    format!("more than {} identifiers in one event", limits::IDENTIFIERS),
                ));
            }
            self.list.push(identifier);
        }
        Ok(())
    }

    /// Adds a list of `"kind[@scope]:value"` or `{"kind","scope","value"}`.
    pub fn explicit(&mut self, raw: &str, field: &str) -> Result<(), Reject> {
        let list = match json::read(raw) {
            Value::Null => return Ok(()),
            Value::Array(list) => list,
            _ => return Err(wrong_type(field, "a list")),
        };
        for (at, item) in json::items(list).enumerate() {
            let place = || format!("{field}[{at}]");
            match json::read(item) {
                Value::Text(text) => {
                    let identifier: Identifier =
                        text.parse()
                            .map_err(|error: actors::model::IdentifierError| {
                                Reject::at(RejectCode::IdentifierForm, place(), error.to_string())
                            })?;
                    self.add(
                        &identifier.kind,
                        &identifier.scope,
                        &identifier.value,
                        &place(),
                    )?;
                }
                Value::Object(object) => self.object(object, &place())?,
                _ => return Err(wrong_type(place(), "kind[@scope]:value or an object")),
            }
        }
        Ok(())
    }

    fn object(&mut self, object: &str, place: &str) -> Result<(), Reject> {
        let (mut kind, mut scope, mut value) = (None, None, None);
        for (name, raw) in json::members(object) {
            let slot = match &*name {
                "kind" => &mut kind,
                "scope" => &mut scope,
                "value" => &mut value,
                _ => return Err(unknown(format!("{place}.{name}"), "kind, scope, value")),
            };
            *slot = id_text(raw, place)?;
        }
        let missing = |part: &str| {
            Reject::at(
                RejectCode::IdentifierForm,
                place,
                format!("an identifier needs `{part}`"),
            )
        };
        let kind = kind.ok_or_else(|| missing("kind"))?;
        let value = value.ok_or_else(|| missing("value"))?;
        self.add(&kind, scope.as_deref().unwrap_or(""), &value, place)
    }

    /// Adds Segment's `externalIds`: `[{"id","type","collection"}]`. A type becomes a kind by lower-casing it and
    /// writing `_` for what a kind cannot hold; `type@scope` keeps its scope. Ids of accounts are left out.
    pub fn external(&mut self, raw: &str, field: &str) -> Result<(), Reject> {
        let Value::Array(list) = json::read(raw) else {
            return Ok(());
        };
        for (at, item) in json::items(list).enumerate() {
            let (mut id, mut kind, mut users) = (None, None, true);
            for (name, raw) in json::members(item) {
                match &*name {
                    "id" => id = id_text(raw, field)?,
                    "type" => kind = id_text(raw, field)?,
                    "collection" => users = json::text(raw) == "users",
                    _ => {}
                }
            }
            let (Some(id), Some(kind), true) = (id, kind, users) else {
                continue;
            };
            let (kind, scope) = kind.split_once('@').unwrap_or((&kind, ""));
            let kind: String = kind
                .chars()
                .map(|c| match c.to_ascii_lowercase() {
                    c @ ('a'..='z' | '0'..='9') => c,
                    _ => '_',
                })
                .collect();
            self.add(&kind, scope, &id, &format!("{field}[{at}]"))?;
        }
        Ok(())
    }

    pub fn finish(self) -> Vec<Identifier> {
        self.list
    }
}

/// An id: a text, or an integer taken digit by digit. Null, empty and white space are absent.
pub(crate) fn id_text<'a>(raw: &'a str, field: &str) -> Result<Option<Cow<'a, str>>, Reject> {
    match json::read(raw) {
        Value::Null => Ok(None),
        Value::Text(text) if text.trim().is_empty() => Ok(None),
        Value::Text(text) => Ok(Some(text)),
        Value::Number(number) => match number::as_id(number) {
            Some(id) => Ok(Some(Cow::Borrowed(id))),
            None => Err(Reject::at(
                RejectCode::FieldType,
                field,
                "a number with a fraction or exponent is no id: send text",
            )),
        },
        _ => Err(wrong_type(field, "text")),
    }
}

/// An object, if there is one with anything in it. An empty list is an empty object of PHP.
pub(crate) fn object<'a>(raw: &'a str, field: &str) -> Result<Option<&'a str>, Reject> {
    match json::read(raw) {
        Value::Null => Ok(None),
        Value::Object(object) => Ok(json::members(object).next().map(|_| object)),
        Value::Array(list) if json::items(list).next().is_none() => Ok(None),
        _ => Err(wrong_type(field, "an object")),
    }
}

/// The same, kept.
pub(crate) fn kept(raw: &str, field: &str) -> Result<Option<RawJson>, Reject> {
    Ok(object(raw, field)?.and_then(|text| RawJson::object(text).ok()))
}

/// A JSON object that we wrote ourselves.
pub(crate) fn written(text: &str) -> Option<RawJson> {
    RawJson::object(text).ok()
}

/// The name of an event, within its limit.
pub(crate) fn event_name<'a>(raw: &'a str, field: &str) -> Result<Cow<'a, str>, Reject> {
    match json::read(raw) {
        Value::Text(name) if name.len() > limits::NAME_BYTES => Err(Reject::at(
            RejectCode::NameTooLong,
            field,
            format!("a name over {} bytes", limits::NAME_BYTES),
        )),
        Value::Text(name) if !name.trim().is_empty() => Ok(name),
        Value::Null | Value::Text(_) => Err(Reject::at(
            RejectCode::NameMissing,
            field,
            "a track event needs a name",
        )),
        _ => Err(wrong_type(field, "text")),
    }
}

pub(crate) fn wrong_type(field: impl Into<String>, wanted: &str) -> Reject {
    Reject::at(RejectCode::FieldType, field, format!("expected {wanted}"))
}

/// What people who know Segment's API write in our own JSON, and what it is called there.
const SEGMENT_NAMES: &[(&str, &str)] = &[
    ("event", "name"),
    ("messageId", "message_id"),
    ("timestamp", "time"),
    ("sentAt", "sent_at"),
    ("userId", "identifiers: [user_id:…]"),
    ("anonymousId", "identifiers: [anonymous_id:…]"),
    ("order.id", "order.order_id"),
    ("order.amount", "order.total"),
    ("order.items", "order.lines"),
];

pub(crate) fn unknown(field: impl Into<String>, known: &str) -> Reject {
    let field = field.into();
    let meant = match SEGMENT_NAMES.iter().find(|(theirs, _)| *theirs == field) {
        Some((_, ours)) => format!(" (here it is called `{ours}`)"),
        None => String::new(),
    };
    let reason = format!("there is no field `{field}`{meant}; known are {known}");
    Reject::at(RejectCode::FieldUnknown, field, reason)
}

pub(crate) fn nobody(wanted: &str) -> Reject {
    Reject::new(
        RejectCode::IdentifierMissing,
        format!("the event names nobody: send {wanted}"),
    )
}
