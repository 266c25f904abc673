//! Our own JSON for events: `POST /v1/events`, JSONL files, and what rows of CSV files become.
//!
//! ```json
//! {"message_id": "o-1-paid", "type": "order", "time": "2026-11-22T09:50:41+08:00",
//!  "identifiers": ["phone:13800000000", {"kind": "openid", "scope": "wxabc", "value": "o1"}],
//!  "traits": {"city": "上海"}, "properties": {"channel": "live"},
//!  "order": {"order_id": "E1", "shop": "tmall-1", "status": "paid", "currency": "CNY", "total": "12.50",
//!            "lines": [{"line_id": "1", "sku": "S1", "name": "奶粉", "quantity": 2, "unit_price": "6.25"}]}}
//! ```
//! `type` is `track identify page screen group alias order scan`; without it an event with an `order` is an order, one
//! with a `name` a track event, one with `traits` an identify. A request is one event, a list, `{"events": […]}`, or
//! lines. A field that we do not know is refused: `messageId` for `message_id` would count things twice.
//! `sent_at` corrects the sender's clock, as in the tracking API. Orders and scans may name nobody.

use std::borrow::Cow;

use actors::model::{Event, EventKind, Place, RawJson};

use super::{
    Identifiers, blank, event_name, id_text, kept, nobody, object, order, unknown, written,
    wrong_type,
};
use crate::admit::{Common, Head, Intake};
use crate::json::{self, ObjectWriter, Value};
use crate::place::{self, Datum};
use crate::region;
use crate::{AdmitError, RawRecord, Reject, RejectCode, time};

/// Splits a request of our own JSON (events or scans) into events; true for a batch.
pub(crate) fn split(intake: &mut Intake<'_>, text: &str) -> Result<bool, AdmitError> {
    let common = Common {
        correct_clock: true,
        ..Common::default()
    };
    let bad = |flaw| AdmitError::json(text, flaw);
    if text.is_empty() {
        return Err(AdmitError::Empty);
    }
    if text.starts_with('[') {
        let list = json::split_array(text).map_err(bad)?;
        return items(intake, &list, &common);
    }
    if let Some(lines) = lines(text) {
        return items(intake, &lines, &common);
    }
    let outer = json::split_object(text).map_err(bad)?;
    if let [(name, list)] = &outer[..]
        && (name == "events" || name == "batch" || name == "scans")
    {
        let offset = list.as_ptr() as usize - text.as_ptr() as usize;
        let list = json::split_array(list).map_err(|mut flaw| {
            flaw.at += offset;
            bad(flaw)
        })?;
        return items(intake, &list, &common);
    }
    intake.only(text, &common)?;
    Ok(false)
}

fn items(intake: &mut Intake<'_>, list: &[&str], common: &Common) -> Result<bool, AdmitError> {
    intake.room_for(list.len())?;
    for item in list {
        intake.item(item, common);
    }
    Ok(true)
}

/// The lines of JSONL: several lines that each begin an object. One object printed over several lines is none.
fn lines(text: &str) -> Option<Vec<&str>> {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_matches([' ', '\t', '\r']))
        .filter(|line| !line.is_empty())
        .collect();
    (lines.len() > 1 && lines.iter().all(|line| line.starts_with('{'))).then_some(lines)
}

/// The members of an event as they stand there.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    pub message_id: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub time: &'a str,
    pub sent_at: &'a str,
    pub identifiers: &'a str,
    pub traits: &'a str,
    pub properties: &'a str,
    pub context: &'a str,
    pub order: &'a str,
    pub place: &'a str,
}

const FIELDS: &str =
    "message_id, type, name, time, sent_at, identifiers, traits, properties, context, order, place";

impl<'a> Fields<'a> {
    /// Reads the members; the first unknown name beside them.
    pub fn read(item: &'a str) -> (Fields<'a>, Option<Cow<'a, str>>) {
        let mut fields = Fields::default();
        let mut stranger = None;
        for (name, value) in json::members(item) {
            let slot = match &*name {
                "message_id" => &mut fields.message_id,
                "type" => &mut fields.kind,
                "name" => &mut fields.name,
                "time" => &mut fields.time,
                "sent_at" => &mut fields.sent_at,
                "identifiers" => &mut fields.identifiers,
                "traits" => &mut fields.traits,
                "properties" => &mut fields.properties,
                "context" => &mut fields.context,
                "order" => &mut fields.order,
                "place" => &mut fields.place,
                _ => {
                    stranger.get_or_insert(name);
                    continue;
                }
            };
            *slot = value;
        }
        (fields, stranger)
    }

    fn kind(&self) -> Result<EventKind, Reject> {
        use EventKind::*;
        match json::read(self.kind) {
            Value::Null => {}
            Value::Text(word) => {
                let known = [Track, Identify, Page, Screen, Group, Alias, Order, Scan];
                return known
                    .into_iter()
                    .find(|kind| kind.as_str() == word)
                    .ok_or_else(|| {
                        Reject::at(
                            RejectCode::TypeUnknown,
                            "type",
                            format!(
                                "there is no type `{word}`: use track, identify, page, screen, group, alias, order or scan"
                            ),
                        )
                    });
            }
            _ => return Err(wrong_type("type", "text")),
        }
        let there = |raw: &str| !matches!(raw, "" | "null");
        Ok(match () {
            () if there(self.order) => Order,
            () if there(self.name) => Track,
            () if there(self.traits) => Identify,
            () => {
                return Err(Reject::at(
                    RejectCode::TypeUnknown,
                    "type",
                    "say what happened: `type`, or an `order`, a `name` or `traits`",
                ));
            }
        })
    }
}

/// What admission reads of one event.
pub(crate) fn head(item: &str) -> Head<'_> {
    let (fields, _) = Fields::read(item);
    let order = !matches!(fields.order, "" | "null");
    plain_head(item, fields.message_id, fields.sent_at, fields.time, order)
}

/// The head of an event whose fields have our own names.
pub(crate) fn plain_head<'a>(
    item: &'a str,
    message_id: &'a str,
    sent_at: &str,
    when: &str,
    order: bool,
) -> Head<'a> {
    let (message_id, flaw) = match id_text(message_id, "message_id") {
        Ok(id) => (id, None),
        Err(reject) => (None, Some(reject)),
    };
    Head {
        message_id,
        sent_at: time::read(&json::read(sent_at)),
        timed: !matches!(when, "" | "null" | "\"\""),
        order,
        flaw: if item.starts_with('{') {
            flaw
        } else {
            Some(Reject::new(
                RejectCode::NotAnObject,
                "each event is a JSON object",
            ))
        },
    }
}

/// Reads one event.
pub(crate) fn decode(record: &RawRecord, body: &str) -> Result<Event, Reject> {
    let (fields, stranger) = Fields::read(body);
    if let Some(name) = stranger {
        return Err(unknown(name, FIELDS));
    }
    let kind = fields.kind()?;
    let mut event = event(record, &fields, kind)?;
    if !matches!(fields.order, "" | "null") {
        let text =
            object(fields.order, "order")?.ok_or_else(|| wrong_type("order", "an object"))?;
        event.order = Some(order::from_own(record, text, "order", true)?);
    } else if kind == EventKind::Order {
        return Err(Reject::at(
            RejectCode::FieldMissing,
            "order",
            "an order needs `order`",
        ));
    }
    somebody(&event)?;
    Ok(event)
}

/// An event without its order.
pub(crate) fn event(
    record: &RawRecord,
    fields: &Fields<'_>,
    kind: EventKind,
) -> Result<Event, Reject> {
    let name = match (kind, fields.name) {
        (EventKind::Track, name) => event_name(name, "name")?,
        (kind, "" | "null" | "\"\"") => Cow::Borrowed(kind.as_str()),
        (_, name) => event_name(name, "name")?,
    };
    let mut event = blank(record, kind, &name);
    if let Some(at) = time::event_time(&json::read(fields.time), "time", record.clock_offset_ms)? {
        event.time = at;
    }
    let mut identifiers = Identifiers::new(record);
    identifiers.explicit(fields.identifiers, "identifiers")?;
    event.identifiers = identifiers.finish();
    event.traits = kept(fields.traits, "traits")?;
    event.properties = kept(fields.properties, "properties")?;
    event.context = kept(fields.context, "context")?;
    if let Some(placed) = read_place(fields.place)? {
        event.place = Some(placed.place);
        event.properties = placed.into_properties(event.properties, record);
    }
    Ok(event)
}

/// Only orders and scans may name nobody: the order or the item is told about.
pub(crate) fn somebody(event: &Event) -> Result<(), Reject> {
    let may = event.order.is_some() || event.kind == EventKind::Scan;
    if event.identifiers.is_empty() && !may {
        return Err(nobody("`identifiers`, e.g. [\"phone:13800000000\"]"));
    }
    Ok(())
}

/// A place as sent: where, and how it was found.
pub(crate) struct Placed {
    /// In WGS-84.
    pub place: Place,
    /// How it was found, in the sender's word: `gps`, `wifi`, `ip`, `store` …
    source: Option<String>,
}

impl Placed {
    /// `properties` with what the place says: its district (`region`) and how it was found (`place_source`).
    pub fn into_properties(
        self,
        properties: Option<RawJson>,
        record: &RawRecord,
    ) -> Option<RawJson> {
        let mut facts = ObjectWriter::new();
        if record.decoder < 2 {
            return properties;
        }
        if let Some(region) = region::find(self.place.lat, self.place.lon) {
            facts.raw("region", &region.to_json());
        }
        if let Some(source) = &self.source {
            facts.text("place_source", source);
        }
        match properties {
            _ if facts.is_empty() => properties,
            None => written(&facts.finish()),
            Some(given) => written(&json::merge(given.as_str(), &facts.finish())),
        }
    }
}

/// `{"lat","lon","datum","accuracy_m","source"}`, converted to WGS-84.
pub(crate) fn read_place(raw: &str) -> Result<Option<Placed>, Reject> {
    let Some(text) = object(raw, "place")? else {
        return Ok(None);
    };
    let (mut lat, mut lon, mut accuracy) = (None, None, None);
    let mut source = None;
    let mut datum = Datum::Wgs84;
    for (name, raw) in json::members(text) {
        let field = || format!("place.{name}");
        let value = json::read(raw);
        let number = || match &value {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(number.parse::<f64>().ok()),
            Value::Text(text) => match text.trim().parse::<f64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(wrong_type(field(), "a number")),
            },
            _ => Err(wrong_type(field(), "a number")),
        };
        match &*name {
            "lat" => lat = number()?,
            "lon" => lon = number()?,
            "accuracy_m" => accuracy = number()?,
            "datum" => {
                datum = match &value {
                    Value::Null => Datum::Wgs84,
                    Value::Text(word) => Datum::from_word(word).ok_or_else(|| {
                        Reject::at(
                            RejectCode::WordUnknown,
                            field(),
                            format!("`{word}` is no datum; known are wgs84, gcj02, bd09"),
                        )
                    })?,
                    _ => return Err(wrong_type(field(), "text")),
                }
            }
            "source" => source = id_text(raw, &field())?.map(Cow::into_owned),
            _ => return Err(unknown(field(), "lat, lon, datum, accuracy_m, source")),
        }
    }
    let (Some(lat), Some(lon)) = (lat, lon) else {
        return Err(Reject::at(
            RejectCode::FieldMissing,
            "place",
            "a place needs `lat` and `lon`",
        ));
    };
    let accuracy = accuracy
        .map(|metres| metres as f32)
        .filter(|metres| metres.is_finite() && *metres >= 0.0);
    match place::place(lat, lon, datum, accuracy) {
        Some(place) => Ok(Some(Placed { place, source })),
        None => Err(Reject::at(
            RejectCode::PlaceRange,
            "place",
            "latitude is −90…90, longitude −180…180: are they swapped?",
        )),
    }
}
