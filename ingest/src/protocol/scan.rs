//! Scans of codes: `POST /v1/scan`, one, a list or lines.
//!
//! ```json
//! {"message_id": "s-1", "code": "https://t.cn/01/06901234567892/21/A1", "role": "consumer",
//!  "time": "2026-11-22T09:50:41+08:00", "identifiers": ["openid@wxabc:o1"],
//!  "place": {"lat": 31.23, "lon": 121.47, "datum": "gcj02", "accuracy_m": 30, "source": "gps"},
//!  "device": "d1", "campaign": "spring", "properties": {"store": "S9"}}
//! ```
//! The district of the place becomes the property `region` (see [`crate::region`]), how it was found `place_source`.
//! A consumer's `device` is also a `device_id`, the weakest identifier; that of a till or a PDA belongs to nobody.

use actors::model::{Event, EventKind};

use super::{id_text, kept, object, own, unknown, written};
use crate::admit::Head;
use crate::json::{self, ObjectWriter, Value};
use crate::protocol::{Identifiers, blank, wrong_type};
use crate::{RawRecord, Reject, RejectCode, time};

const ROLES: [&str; 5] = ["consumer", "store", "clerk", "inspector", "pda"];

const FIELDS: &str = "message_id, code, role, time, sent_at, identifiers, place, device, campaign, properties, context";

#[derive(Default)]
struct Fields<'a> {
    message_id: &'a str,
    code: &'a str,
    role: &'a str,
    time: &'a str,
    sent_at: &'a str,
    identifiers: &'a str,
    place: &'a str,
    device: &'a str,
    campaign: &'a str,
    properties: &'a str,
    context: &'a str,
}

impl<'a> Fields<'a> {
    fn read(item: &'a str) -> (Fields<'a>, Option<String>) {
        let mut fields = Fields::default();
        let mut stranger = None;
        for (name, value) in json::members(item) {
            let slot = match &*name {
                "message_id" => &mut fields.message_id,
                "code" => &mut fields.code,
                "role" => &mut fields.role,
                "time" => &mut fields.time,
                "sent_at" => &mut fields.sent_at,
                "identifiers" => &mut fields.identifiers,
                "place" => &mut fields.place,
                "device" => &mut fields.device,
                "campaign" => &mut fields.campaign,
                "properties" => &mut fields.properties,
                "context" => &mut fields.context,
                _ => {
                    stranger.get_or_insert(name.into_owned());
                    continue;
                }
            };
            *slot = value;
        }
        (fields, stranger)
    }
}

/// What admission reads of one scan.
pub(crate) fn head(item: &str) -> Head<'_> {
    let (fields, _) = Fields::read(item);
    own::plain_head(item, fields.message_id, fields.sent_at, fields.time, false)
}

/// Reads one scan.
pub(crate) fn decode(record: &RawRecord, body: &str) -> Result<Event, Reject> {
    read(record, body, None)
}

/// Reads one scan; `role` is what the envelope around it says.
pub(crate) fn read(record: &RawRecord, body: &str, role: Option<&str>) -> Result<Event, Reject> {
    let (fields, stranger) = Fields::read(body);
    if let Some(name) = stranger {
        return Err(unknown(name, FIELDS));
    }
    let code = id_text(fields.code, "code")?.ok_or_else(|| {
        Reject::at(
            RejectCode::FieldMissing,
            "code",
            "a scan needs the `code` that was read",
        )
    })?;
    let role = match json::read(fields.role) {
        Value::Null => role.unwrap_or(ROLES[0]).to_owned(),
        Value::Text(word) => word.into_owned(),
        _ => return Err(wrong_type("role", "text")),
    };
    if !ROLES.contains(&&*role) {
        return Err(Reject::at(
            RejectCode::WordUnknown,
            "role",
            format!("`{role}` is no role; known are {}", ROLES.join(", ")),
        ));
    }
    let mut event = blank(record, EventKind::Scan, EventKind::Scan.as_str());
    if let Some(at) = time::event_time(&json::read(fields.time), "time", record.clock_offset_ms)? {
        event.time = at;
    }
    let device = id_text(fields.device, "device")?;
    let mut identifiers = Identifiers::new(record);
    identifiers.explicit(fields.identifiers, "identifiers")?;
    if let (Some(device), "consumer") = (&device, &*role) {
        identifiers.add("device_id", "", device, "device")?;
    }
    event.identifiers = identifiers.finish();
    event.context = kept(fields.context, "context")?;

    let mut facts = ObjectWriter::new();
    facts.text("code", &code).text("role", &role);
    if let Some(campaign) = id_text(fields.campaign, "campaign")? {
        facts.text("campaign", &campaign);
    }
    if let Some(device) = &device {
        facts.text("device", device);
    }
    let facts = facts.finish();
    event.properties = match object(fields.properties, "properties")? {
        Some(given) => written(&json::merge(given, &facts)),
        None => written(&facts),
    };
    if let Some(placed) = own::read_place(fields.place)? {
        event.place = Some(placed.place);
        event.properties = placed.into_properties(event.properties, record);
    }
    Ok(event)
}

/// A role that the type of a CloudEvent ends with.
pub(crate) fn role_word(word: &str) -> Option<&'static str> {
    ROLES.into_iter().find(|role| *role == word)
}
