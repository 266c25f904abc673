//! Segment and RudderStack tracking API.
//!
//! | what SDKs do | what we do |
//! |---|---|
//! | gzip with any content type, or none | known by its first bytes |
//! | `anonymousId: null`, numbers as ids | null is absent, integers are taken digit by digit |
//! | RudderStack: `originalTimestamp`, no `timestamp` | the one that is there, `originalTimestamp` first |
//! | RudderStack: traits at `context.traits` | merged under `traits`; kept for every kind of event |
//! | wrong clocks | time + (received − `sentAt`), `sentAt` of the batch before that of the event; not on `/v1/import` |
//! | `NaN` in one event of a batch (Python) | that event is set aside, the others are taken |
//! | PHP: `"properties": []` | an empty object |
//! | an emoji cut in half (`"\ud83d"`) | read as U+FFFD |
//! | no `messageId` | one is derived, see [`admit`](crate::admit) |
//!
//! `alias`: `previousId` is an `anonymous_id` when it equals the message's `anonymousId` or has the form of a UUID, which
//! is what SDKs make up for anonymous visitors; otherwise it is a `user_id`.
//! `group`: traits describe the group, so they become properties (`group_id`, `traits`).

mod fields;

use std::borrow::Cow;

use actors::model::{Event, EventKind, RawJson};
use bytes::Bytes;

use super::{Identifiers, blank, event_name, id_text, kept, object, order, written};
use crate::admit::{Common, Head, Intake};
use crate::json::{self, Bounds, ObjectWriter, Value};
use crate::{AdmitError, RawRecord, Reject, RejectCode, place, time};
use fields::{Fields, fields, present};

/// Splits a request into events; true for a batch.
pub(crate) fn split(intake: &mut Intake<'_>, text: &str) -> Result<bool, AdmitError> {
    let path = intake.request.path;
    let (kind, import) = endpoint(path).ok_or_else(|| AdmitError::UnknownPath {
        path: path.to_owned(),
    })?;
    let mut common = Common {
        correct_clock: !import,
        ..Common::default()
    };
    if text.starts_with('[') {
        let list = json::split_array(text).map_err(|flaw| AdmitError::json(text, flaw))?;
        return items(intake, &list, &common);
    }
    if text.is_empty() {
        return Err(AdmitError::Empty);
    }
    let outer = json::split_object(text).map_err(|flaw| AdmitError::json(text, flaw))?;
    let batch = outer.iter().rev().find(|(name, _)| name == "batch");
    match (batch, kind) {
        (Some((_, list)), _) if list.starts_with('[') => {
            let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
            let mut shared = ObjectWriter::new();
            for (name, value) in outer.iter().filter(|(name, _)| name != "batch") {
                let checked = json::check(value, Bounds::TRACKING).map_err(|mut flaw| {
                    flaw.at += offset(value);
                    AdmitError::json(text, flaw)
                })?;
                match &**name {
                    "sentAt" if !import => common.sent_at = time::read(&json::read(value)),
                    "context" | "integrations" if matches!(object(value, name), Ok(Some(_))) => {
                        let value = match checked.lone_surrogate {
                            true => json::clean(value),
                            false => Cow::Borrowed(*value),
                        };
                        shared.raw(name, &value);
                    }
                    _ => {}
                }
            }
            if !shared.is_empty() {
                common.shared = Some(Bytes::from(shared.finish()));
            }
            let list = json::split_array(list).map_err(|mut flaw| {
                flaw.at += offset(list);
                AdmitError::json(text, flaw)
            })?;
            items(intake, &list, &common)
        }
        (_, Some(_)) => {
            common.kind = kind;
            intake.only(text, &common)?;
            Ok(false)
        }
        (_, None) => Err(AdmitError::Shape {
            wanted: "{\"batch\": [event, …]}",
        }),
    }
}

fn items(intake: &mut Intake<'_>, list: &[&str], common: &Common) -> Result<bool, AdmitError> {
    intake.room_for(list.len())?;
    intake.records.reserve_exact(list.len());
    for item in list {
        intake.item(item, common);
    }
    Ok(true)
}

/// The kind that an endpoint says, and whether it is the import.
fn endpoint(path: &str) -> Option<(Option<EventKind>, bool)> {
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    let kind = match last {
        "batch" | "b" => return Some((None, false)),
        "import" => return Some((None, true)),
        "identify" | "i" => EventKind::Identify,
        "track" | "t" => EventKind::Track,
        "page" | "p" => EventKind::Page,
        "screen" | "s" => EventKind::Screen,
        "group" | "g" => EventKind::Group,
        "alias" | "a" => EventKind::Alias,
        _ => return None,
    };
    Some((Some(kind), false))
}

/// What admission reads of one event.
pub(crate) fn head(item: &str, endpoint: Option<EventKind>) -> Head<'_> {
    if !item.starts_with('{') {
        return Head {
            message_id: None,
            sent_at: None,
            timed: false,
            order: false,
            flaw: Some(Reject::new(
                RejectCode::NotAnObject,
                "each event is a JSON object",
            )),
        };
    }
    let fields = fields(item);
    let (message_id, id_flaw) = match id_text(fields.message_id, "messageId") {
        Ok(id) => (id, None),
        Err(reject) => (None, Some(reject)),
    };
    Head {
        message_id,
        sent_at: time::read(&json::read(fields.sent_at)),
        timed: present(fields.time().0),
        order: order::is_commerce(&json::text(fields.event)),
        flaw: fields.rules(endpoint).err().or(id_flaw),
    }
}

/// Reads one event.
pub(crate) fn decode(record: &RawRecord, body: &str, shared: &str) -> Result<Event, Reject> {
    let fields = fields(body);
    fields.rules(record.kind)?;
    let kind = fields.kind(record.kind)?;
    let name = match kind {
        EventKind::Track => event_name(fields.event, "event")?,
        other => Cow::Borrowed(other.as_str()),
    };
    let mut event = blank(record, kind, &name);
    let (when, field) = fields.time();
    if let Some(at) = time::event_time(&json::read(when), field, record.clock_offset_ms)? {
        event.time = at;
    }

    let context = context(&fields, shared)?;
    let about = Context::read(context.as_deref().unwrap_or("{}"));
    let mut identifiers = Identifiers::new(record);
    identifiers.field("user_id", fields.user_id, "userId")?;
    identifiers.field("anonymous_id", fields.anonymous_id, "anonymousId")?;
    if kind == EventKind::Alias {
        identifiers.field(previous_kind(&fields), fields.previous_id, "previousId")?;
    }
    identifiers.explicit(fields.identifiers, "identifiers")?;
    identifiers.external(about.external_ids, "context.externalIds")?;
    identifiers.external(about.external_id, "context.externalId")?;
    // What the SDK found out about the device; a form that is no identifier is the device's affair, not the sender's.
    if let Ok(Some(device)) = id_text(about.device, "context.device.id") {
        identifiers
            .add("device_id", "", &device, "context.device.id")
            .ok();
    }
    event.identifiers = identifiers.finish();

    event.properties = properties(kind, &fields)?;
    event.traits = match kind {
        EventKind::Group | EventKind::Alias => None,
        EventKind::Identify => match (
            object(about.traits, "context.traits")?,
            object(fields.traits, "traits")?,
        ) {
            (Some(base), Some(over)) => written(&json::merge(base, over)),
            (one, other) => one.or(other).and_then(written),
        },
        _ => kept(about.traits, "context.traits").unwrap_or_default(),
    };
    event.order = match &event.properties {
        Some(properties) if kind == EventKind::Track => {
            order::from_commerce(record, &name, properties.as_str())?
        }
        _ => None,
    };
    event.place = about.place();
    event.context = context.as_deref().and_then(written);
    Ok(event)
}

/// The context of the event over that of its batch, with `integrations` in it if they say anything.
fn context<'a>(fields: &Fields<'a>, shared: &'a str) -> Result<Option<Cow<'a, str>>, Reject> {
    let (mut batch_context, mut batch_integrations) = ("", "");
    for (name, value) in json::members(shared) {
        match &*name {
            "context" => batch_context = value,
            "integrations" => batch_integrations = value,
            _ => {}
        }
    }
    let join = |base: Option<&'a str>, over: Option<&'a str>| match (base, over) {
        (Some(base), Some(over)) => Some(Cow::Owned(json::merge(base, over))),
        (one, other) => one.or(other).map(Cow::Borrowed),
    };
    let context = join(
        object(batch_context, "context")?,
        object(fields.context, "context")?,
    );
    let integrations = join(
        object(batch_integrations, "integrations")?,
        object(fields.integrations, "integrations").unwrap_or_default(),
    );
    Ok(match integrations {
        None => context,
        Some(integrations) => {
            let mut extra = ObjectWriter::new();
            extra.raw("integrations", &integrations);
            let extra = extra.finish();
            Some(Cow::Owned(match context {
                Some(context) => json::merge(&context, &extra),
                None => extra,
            }))
        }
    })
}

fn previous_kind(fields: &Fields<'_>) -> &'static str {
    let previous = json::text(fields.previous_id);
    let uuid = previous.len() == 36
        && previous.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if uuid || previous == json::text(fields.anonymous_id) {
        "anonymous_id"
    } else {
        "user_id"
    }
}

fn properties(kind: EventKind, fields: &Fields<'_>) -> Result<Option<RawJson>, Reject> {
    let given = object(fields.properties, "properties")?;
    let mut extra = ObjectWriter::new();
    let mut add = |name: &str, raw: &str| {
        let there = given.is_some_and(|given| json::members(given).any(|(other, _)| other == name));
        if present(raw) && !there {
            extra.raw(name, raw);
        }
    };
    match kind {
        EventKind::Page | EventKind::Screen => {
            add("name", fields.name);
            add("category", fields.category);
        }
        EventKind::Group => {
            add("group_id", fields.group_id);
            add("traits", fields.traits);
        }
        _ => {}
    }
    let extra = (!extra.is_empty()).then(|| extra.finish());
    Ok(match (given, &extra) {
        (Some(given), Some(extra)) => written(&json::merge(given, extra)),
        (given, extra) => given.or(extra.as_deref()).and_then(written),
    })
}

/// What we read of the context.
#[derive(Default)]
struct Context<'a> {
    traits: &'a str,
    device: &'a str,
    external_ids: &'a str,
    external_id: &'a str,
    lat: &'a str,
    lon: &'a str,
}

impl<'a> Context<'a> {
    fn read(context: &'a str) -> Context<'a> {
        let mut read = Context::default();
        for (name, value) in json::members(context) {
            match &*name {
                "traits" => read.traits = value,
                "externalIds" => read.external_ids = value,
                "externalId" => read.external_id = value,
                "device" => read.device = member(value, "id"),
                "location" => {
                    read.lat = member(value, "latitude");
                    read.lon = member(value, "longitude");
                }
                _ => {}
            }
        }
        read
    }

    fn place(&self) -> Option<actors::model::Place> {
        let degrees = |raw: &str| match json::read(raw) {
            Value::Number(number) => number.parse().ok(),
            _ => None,
        };
        place::place(
            degrees(self.lat)?,
            degrees(self.lon)?,
            place::Datum::Wgs84,
            None,
        )
    }
}

fn member<'a>(object: &'a str, wanted: &str) -> &'a str {
    json::members(object)
        .filter(|(name, _)| name == wanted)
        .last()
        .map_or("", |(_, value)| value)
}
