//! CloudEvents 1.0 over HTTP: structured (one JSON object), batch (a list), binary (`ce-…` headers, the body is the data).
//!
//! | `type` | becomes |
//! |---|---|
//! | `tributary.order.<status>` | an order: `data` is the order of our own JSON, or `{"order": …, "identifiers": …}` |
//! | `tributary.scan.<role>` | a scan: `data` is the scan of our own JSON |
//! | `tributary.identify` | attributes: `data` is `{"identifiers": …, "traits": …}` |
//! | any other | a track event of that name; `data` becomes its properties |
//!
//! Identifiers: `subject` if it is one, and `data.identifiers`. Unique by (`source`, `id`): the message id is both with a
//! space between, or a hash of them when that is too long. All attributes are kept as the event's context.

use std::borrow::Cow;

use actors::model::{Event, EventKind, Identifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Identifiers, blank, event_name, kept, nobody, object, order, own, scan, written};
use crate::admit::{Common, Head, Intake};
use crate::json::{self, Bounds, ObjectWriter, Value};
use crate::{AdmitError, RawRecord, Reject, RejectCode, limits, time};

/// Splits a request into events; true for a batch.
pub(crate) fn split(intake: &mut Intake<'_>, text: &str) -> Result<bool, AdmitError> {
    let mut common = Common::default();
    if let Some(attributes) = from_headers(intake.request.headers)? {
        common.shared = Some(attributes.into());
        if text.is_empty() {
            intake.item(text, &common);
        } else {
            intake.only(text, &common)?;
        }
        return Ok(false);
    }
    if !text.starts_with('[') {
        intake.only(text, &common)?;
        return Ok(false);
    }
    let list = json::split_array(text).map_err(|flaw| AdmitError::json(text, flaw))?;
    intake.room_for(list.len())?;
    for item in list {
        intake.item(item, &common);
    }
    Ok(true)
}

/// The attributes of binary mode as a JSON object; none if the request is not in binary mode.
fn from_headers(headers: &[(&str, &str)]) -> Result<Option<String>, AdmitError> {
    let mut attributes = ObjectWriter::new();
    let mut binary = false;
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let attribute = match name.strip_prefix("ce-") {
            Some(attribute) => {
                binary = true;
                attribute
            }
            None if name == "content-type" => "datacontenttype",
            None => continue,
        };
        let value = percent_decoded(value).ok_or_else(|| AdmitError::Header {
            header: name.clone(),
        })?;
        attributes.text(attribute, &value);
    }
    Ok(binary.then(|| attributes.finish()))
}

/// A header's value: `%` with two hexadecimal digits stands for a byte of UTF-8.
fn percent_decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let pair = behind.first_chunk::<2>().and_then(|hex| {
            let digit = |b: u8| (b as char).to_digit(16);
            Some((digit(hex[0])? << 4 | digit(hex[1])?) as u8)
        });
        match (first, pair) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// The members of an event as they stand there.
#[derive(Default)]
struct Fields<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    kind: &'a str,
    subject: &'a str,
    time: &'a str,
    data: &'a str,
    data_base64: &'a str,
}

impl<'a> Fields<'a> {
    fn read(attributes: &'a str) -> Fields<'a> {
        let mut fields = Fields::default();
        for (name, value) in json::members(attributes) {
            let slot = match &*name {
                "specversion" => &mut fields.specversion,
                "id" => &mut fields.id,
                "source" => &mut fields.source,
                "type" => &mut fields.kind,
                "subject" => &mut fields.subject,
                "time" => &mut fields.time,
                "data" => &mut fields.data,
                "data_base64" => &mut fields.data_base64,
                _ => continue,
            };
            *slot = value;
        }
        fields
    }

    /// What the specification requires.
    fn required(&self) -> Result<(), Reject> {
        for (field, raw) in [
            ("specversion", self.specversion),
            ("id", self.id),
            ("source", self.source),
            ("type", self.kind),
        ] {
            match json::read(raw) {
                Value::Text(text) if !text.is_empty() => {}
                _ => {
                    return Err(Reject::at(
                        RejectCode::FieldMissing,
                        field,
                        format!("a CloudEvent needs the text `{field}`"),
                    ));
                }
            }
        }
        if json::text(self.specversion) != "1.0" {
            return Err(Reject::at(
                RejectCode::WordUnknown,
                "specversion",
                "only version 1.0 of CloudEvents is known",
            ));
        }
        Ok(())
    }

    fn message_id(&self) -> Option<String> {
        let (Value::Text(source), Value::Text(id)) = (json::read(self.source), json::read(self.id))
        else {
            return None;
        };
        if source.is_empty() || id.is_empty() {
            return None;
        }
        let plain = format!("{source} {id}");
        // A source is a URI and has no space; with one the first space would not tell them apart.
        if plain.chars().count() <= limits::MESSAGE_ID_CHARS && !source.contains(' ') {
            return Some(plain);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(source.len() as u64).to_le_bytes());
        hasher.update(source.as_bytes());
        hasher.update(id.as_bytes());
        Some(format!("ce-{}", &hasher.finalize().to_hex()[..32]))
    }
}

/// What admission reads of one event.
pub(crate) fn head<'a>(item: &'a str, shared: Option<&Bytes>) -> Head<'a> {
    let shared = shared.and_then(|shared| std::str::from_utf8(shared).ok());
    let flaw = (shared.is_none() && !item.starts_with('{'))
        .then(|| Reject::new(RejectCode::NotAnObject, "each CloudEvent is a JSON object"));
    let fields = Fields::read(shared.unwrap_or(item));
    Head {
        message_id: fields.message_id().map(Cow::Owned),
        sent_at: None,
        timed: true,
        order: json::text(fields.kind).starts_with("tributary.order."),
        flaw,
    }
}

/// Reads one event. `shared` holds the attributes in binary mode, then `body` is the data.
pub(crate) fn decode(record: &RawRecord, body: &str, shared: &str) -> Result<Event, Reject> {
    let binary = !shared.is_empty();
    let attributes = if binary { shared } else { body };
    let fields = Fields::read(attributes);
    fields.required()?;
    let unpacked;
    let data = if binary {
        body
    } else if matches!(fields.data_base64, "" | "null") {
        fields.data
    } else {
        unpacked = unpack(fields.data_base64)?;
        &*unpacked
    };
    let kind = json::text(fields.kind);
    let mut event = match kind.strip_prefix("tributary.") {
        Some("identify") => {
            let (own_fields, _) = own::Fields::read(data);
            own::event(record, &own_fields, EventKind::Identify)?
        }
        Some(rest) if rest.starts_with("order.") => order_event(record, data, &rest[6..])?,
        Some(rest) if rest.starts_with("scan.") => {
            scan::read(record, data, scan::role_word(&rest[5..]))?
        }
        _ => track(record, fields.kind, data)?,
    };
    if let Some(at) = time::event_time(&json::read(fields.time), "time", 0)? {
        event.time = at;
    }
    subject(record, &fields, &mut event)?;
    if event.order.is_none() && event.kind != EventKind::Scan && event.identifiers.is_empty() {
        return Err(nobody(
            "`subject`, e.g. phone:13800000000, or `data.identifiers`",
        ));
    }
    let mut context = ObjectWriter::new();
    for (name, value) in json::members(attributes) {
        if binary || !matches!(&*name, "data" | "data_base64") {
            context.raw(&name, value);
        }
    }
    event.context = written(&context.finish());
    Ok(event)
}

/// Puts the subject before the other identifiers if it is one.
fn subject(record: &RawRecord, fields: &Fields<'_>, event: &mut Event) -> Result<(), Reject> {
    let Ok(subject) = json::text(fields.subject).parse::<Identifier>() else {
        return Ok(());
    };
    let mut identifiers = Identifiers::new(record);
    identifiers.add(&subject.kind, &subject.scope, &subject.value, "subject")?;
    for other in &event.identifiers {
        identifiers.add(&other.kind, &other.scope, &other.value, "data.identifiers")?;
    }
    event.identifiers = identifiers.finish();
    Ok(())
}

fn track(record: &RawRecord, name: &str, data: &str) -> Result<Event, Reject> {
    let mut event = blank(record, EventKind::Track, &event_name(name, "type")?);
    let mut identifiers = Identifiers::new(record);
    match json::read(data) {
        Value::Null => {}
        Value::Object(text) => {
            for (name, value) in json::members(text) {
                if name == "identifiers" && value.starts_with('[') {
                    identifiers.explicit(value, "data.identifiers")?;
                }
            }
            event.properties = kept(text, "data")?;
        }
        _ => {
            let mut wrapped = ObjectWriter::new();
            wrapped.raw("data", data);
            event.properties = written(&wrapped.finish());
        }
    }
    event.identifiers = identifiers.finish();
    Ok(event)
}

fn order_event(record: &RawRecord, data: &str, word: &str) -> Result<Event, Reject> {
    let text = object(data, "data")?.ok_or_else(|| {
        Reject::at(
            RejectCode::FieldMissing,
            "data",
            "an order needs `data` with `order_id`",
        )
    })?;
    let (fields, _) = own::Fields::read(text);
    let mut event = own::event(record, &fields, EventKind::Order)?;
    let mut change = match object(fields.order, "data.order")? {
        Some(inner) => order::from_own(record, inner, "data.order", true)?,
        None => order::from_own(record, text, "data", false)?,
    };
    change.status = change.status.or(order::status(word));
    event.order = Some(change);
    Ok(event)
}

/// `data_base64` as JSON: itself if it is, otherwise kept as it came.
fn unpack(raw: &str) -> Result<Cow<'_, str>, Reject> {
    let bad = |what: &str| Reject::at(RejectCode::FieldType, "data_base64", what);
    let Value::Text(packed) = json::read(raw) else {
        return Err(bad("expected base64 text"));
    };
    let bytes = STANDARD
        .decode(packed.as_bytes())
        .map_err(|_| bad("this is not base64"))?;
    if let Ok(text) = String::from_utf8(bytes)
        && let Ok(checked) = json::check(&text, Bounds::ORDER)
    {
        let text = text.trim_matches([' ', '\n', '\r', '\t']);
        return Ok(Cow::Owned(match checked.lone_surrogate {
            true => json::clean(text).into_owned(),
            false => text.to_owned(),
        }));
    }
    let mut kept = ObjectWriter::new();
    kept.raw("data_base64", raw);
    Ok(Cow::Owned(kept.finish()))
}
