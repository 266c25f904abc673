//! Sensors Analytics (神策): what its SDKs send to `/sa`, `/sa.gif` and `/debug`.
//!
//! | what SDKs do | what we do |
//! |---|---|
//! | form in the body with any content type, or in the URL | known by its fields `data` and `data_list`; [`envelope`] |
//! | base64 of JSON or of gzip of JSON, with or without `gzip=1` | gzip is known by its first bytes |
//! | `crc` or `ext=crc%3D…` of the base64 text | compared where it is there |
//! | `_track_id` (clients), none (servers) | the message id is a hash, see [`message_id`] |
//! | `time` in milliseconds or ten digits | both; `_flush_time` corrects clocks that are wrong by a minute or more |
//! | `time_free: true` | history: the time is taken as it is |
//! | dates as `2026-11-22 10:00:00.7` for 7 ms | zeros are put in front: `.007` |
//! | `project` and `token` in the record | `project` counts before that of the URL |
//!
//! `track`, `track_signup`, `track_id_bind`, `track_id_unbind` become events with their name. `profile_…` become events
//! of the kind `identify` whose **name says how** attributes are told (`profile_set_once` …, see `cdp::profile`).
//! `item_set` and `item_delete` are about no person: events of the kind `item`.
//!
//! Two equal events of one millisecond from a server SDK, which sends no `_track_id`, count as one.

pub(crate) mod envelope;
mod identity;
mod record;

use actors::model::{Event, EventKind, Linking};
use bytes::Bytes;

use super::{blank, id_text, nobody, written};
use crate::admit::{Admitted, Common, Head, Intake};
use crate::json::{self, ObjectWriter, Value};
use crate::request::open;
use crate::{
    AdmitError, IdMapping, Protocol, RawRecord, Reject, RejectCode, Request, SourceInfo, time,
};
use record::{Fields, Shared, Type};

/// Clocks are set right from this difference on. What is less is the way of the record: a queue on the phone, a retry.
const CLOCK_ERROR_MS_MIN: i64 = 60_000;
/// Longest distinct id, item id or original id in characters. The vendor's own limit.
const ID_CHARS_MAX: usize = 255;

/// Takes a request apart. What cannot be read at all becomes one rejected record that holds the whole form: SDKs drop
/// what they were refused, so that nothing would be left of it.
pub(crate) fn admit(source: &SourceInfo, request: &Request<'_>) -> Result<Admitted, AdmitError> {
    let body = open(Protocol::Sensors, request.body.clone())?;
    let form = envelope::form(&body, request.query).ok_or(AdmitError::Empty)?;
    let common = Common {
        kind: None,
        shared: Shared::of(&source.sensors, request.query).map(Bytes::from),
        sent_at: None,
        correct_clock: true,
    };
    let whole = |batch| -> Result<Admitted, AdmitError> {
        let text = crate::request::text(&form)?;
        let mut intake = Intake::new(Protocol::Sensors, source, request, &form);
        intake.item(text, &common);
        Ok(Admitted {
            records: intake.records,
            batch,
        })
    };
    let Ok(json) = envelope::unfold(&form) else {
        return whole(false);
    };
    let text = crate::request::text(&json)?;
    let mut intake = Intake::new(Protocol::Sensors, source, request, &json);
    let batch = text.starts_with('[');
    if batch {
        let Ok(items) = json::split_array(text) else {
            return whole(true);
        };
        intake.room_for(items.len())?;
        intake.records.reserve_exact(items.len());
        for item in items {
            intake.item(item, &common);
        }
    } else if text.starts_with('{') {
        intake.item(text, &common);
    } else {
        return whole(false);
    }
    Ok(Admitted {
        records: intake.records,
        batch,
    })
}

/// What admission reads of one record.
pub(crate) fn head<'a>(item: &'a str, shared: Option<&Bytes>) -> Head<'a> {
    if !item.starts_with('{') {
        return Head {
            message_id: None,
            sent_at: None,
            // The same bytes again are the same mistake again.
            timed: true,
            order: false,
            flaw: Some(envelope::problem(item)),
        };
    }
    let fields = Fields::read(item);
    let shared = shared.and_then(|shared| std::str::from_utf8(shared).ok());
    let message_id = message_id(item, &fields, shared.unwrap_or_default());
    Head {
        timed: message_id.is_some(),
        message_id: message_id.map(Into::into),
        sent_at: match fields.time_free() {
            true => None,
            false => time::read(&json::read(fields.flush_time)),
        },
        order: false,
        flaw: None,
    }
}

/// With `_track_id`, which is random: a hash of it with project, id, type, name and time. Without: of all members but
/// `_flush_time`, which differs when a record is sent again. `None`: nothing tells a repeat from another record.
fn message_id(item: &str, fields: &Fields<'_>, shared: &str) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &str| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(&fields.project(&Shared::read(shared)));
    if !matches!(fields.track_id, "" | "null") {
        for part in [
            fields.distinct_id,
            fields.item_id,
            fields.kind,
            fields.event,
            fields.time,
            fields.track_id,
        ] {
            add(part);
        }
    } else if matches!(fields.time, "" | "null") {
        return None;
    } else {
        for (name, value) in json::members(item) {
            if name != "_flush_time" {
                add(&name);
                add(value);
            }
        }
    }
    let mut id = String::from("sa-");
    id.push_str(&hasher.finalize().to_hex()[..32]);
    Some(id)
}

/// Reads one record.
pub(crate) fn decode(record: &RawRecord, body: &str, shared: &str) -> Result<Event, Reject> {
    let fields = Fields::read(body);
    let shared = Shared::read(shared);
    let kind = fields.kind()?;
    let mut event = match kind {
        Type::Item(word) => item(record, &fields, word)?,
        Type::Track(linking) => {
            let name = record::event_name(&fields, linking)?;
            let mut event = blank(record, EventKind::Track, &name);
            event.properties = record::properties(fields.properties)?
                .as_deref()
                .and_then(written);
            event.linking = linking;
            event
        }
        Type::Profile(how) => {
            let mut event = blank(record, EventKind::Identify, how.as_str());
            event.traits = record::traits(fields.properties, how)?
                .as_deref()
                .and_then(written);
            event
        }
    };
    let offset = match record.clock_offset_ms {
        _ if fields.time_free() => 0,
        small if small.abs() < CLOCK_ERROR_MS_MIN => 0,
        large => large,
    };
    if let Some(at) = time::event_time(&json::read(fields.time), "time", offset)? {
        event.time = at;
    }
    if !matches!(kind, Type::Item(_)) {
        event.identifiers = identity::identifiers(record, &fields, kind, &shared)?;
        if event.identifiers.is_empty() {
            return Err(nobody("`distinct_id` or `identities`"));
        }
        if event.linking == Linking::Join && shared.id_mapping == IdMapping::One {
            event.linking = Linking::PairOnce;
        }
    }
    let mut context = ObjectWriter::new();
    if let Value::Object(lib) = json::read(fields.lib) {
        context.raw("library", lib);
    }
    if let Value::Object(identities) = json::read(fields.identities) {
        context.raw("identities", identities);
    }
    let project = fields.project(&shared);
    if !project.is_empty() {
        context.text("project", &project);
    }
    if !context.is_empty() {
        event.context = written(&context.finish());
    }
    Ok(event)
}

/// A thing of a catalogue: `{"item_type","item_id","properties"}` are its properties.
fn item(record: &RawRecord, fields: &Fields<'_>, word: &'static str) -> Result<Event, Reject> {
    let kind = record::item_type(fields.item_type)?;
    let id = id_text(fields.item_id, "item_id")?.ok_or_else(|| {
        Reject::at(
            RejectCode::FieldMissing,
            "item_id",
            "an item needs `item_id`",
        )
    })?;
    if id.chars().count() > ID_CHARS_MAX {
        return Err(record::value_form("item_id", "an id over 255 characters"));
    }
    let mut properties = ObjectWriter::new();
    properties.text("item_type", &kind);
    properties.text("item_id", &id);
    if let Some(told) = record::properties(fields.properties)? {
        properties.raw("properties", &told);
    }
    let mut event = blank(record, EventKind::Item, word);
    event.properties = written(&properties.finish());
    Ok(event)
}

#[cfg(test)]
mod tests;
