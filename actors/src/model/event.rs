//! An event: something that happened, immutable, decoded from whatever a source sent.

use serde::{Deserialize, Serialize};

use super::{BrandId, Currency, IdSpace, Identifier, SourceId, Time, UnitPrice};

/// The JSON text of one object, kept as it came: numbers keep all their digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<str>);

/// The text is not one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSON object")]
pub struct RawJsonError;

impl RawJson {
    /// Takes the text of a JSON object that a parser has already accepted.
    pub fn object(text: &str) -> Result<RawJson, RawJsonError> {
        if text.starts_with('{') && text.ends_with('}') {
            Ok(RawJson(text.into()))
        } else {
            Err(RawJsonError)
        }
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses it. A text that no longer parses reads as an empty object.
    pub fn parse(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// What the names of the attributes begin with that consents tell: `consent:CHANNEL:PURPOSE`, either word may be `*`.
pub const CONSENT_PREFIX: &str = "consent:";

/// What sort of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Behaviour with a name and properties.
    Track,
    /// Attributes of a person.
    Identify,
    /// A page was seen.
    Page,
    /// A screen was seen.
    Screen,
    /// A person belongs to a group.
    Group,
    /// Two ids are one person.
    Alias,
    /// An order or a part of it was created or changed.
    Order,
    /// A code was scanned.
    Scan,
    /// A thing of a catalogue was described or removed; it is about nobody.
    Item,
}

/// What an event does to the identifiers that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linking {
    /// They are one person, as far as the limits of the rules go.
    #[default]
    Join,
    /// They are one person if none of them is paired already: one user id, one device, the first pairing wins.
    PairOnce,
    /// They are one person; what an earlier [`Linking::TakeOut`] took apart comes together again.
    Bind,
    /// Each of them is taken out of the member that has it.
    TakeOut,
}

impl EventKind {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Track => "track",
            EventKind::Identify => "identify",
            EventKind::Page => "page",
            EventKind::Screen => "screen",
            EventKind::Group => "group",
            EventKind::Alias => "alias",
            EventKind::Order => "order",
            EventKind::Scan => "scan",
            EventKind::Item => "item",
        }
    }
}

/// Something that happened, as identity reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The sender's id of this message, unique within the source. De-duplication key.
    pub message_id: Box<str>,
    /// Sort of event.
    pub kind: EventKind,
    /// Name: the track event's name, otherwise a fixed word (`identify`, `page`, `order`, `scan` …).
    pub name: Box<str>,
    /// When it happened, corrected for the sender's clock.
    pub time: Time,
    /// When we received it.
    pub received: Time,
    /// Where it came from.
    pub source: SourceId,
    /// The source's id space.
    pub id_space: IdSpace,
    /// The brand that owns it.
    pub brand: BrandId,
    /// From a test source: kept out of counts.
    pub test: bool,
    /// Identifiers as sent, scoped by the decoder, not yet normalised; order of the message.
    pub identifiers: Vec<Identifier>,
    /// What the event does to them.
    #[serde(default)]
    pub linking: Linking,
    /// Attributes told about the person (JSON object).
    pub traits: Option<RawJson>,
    /// Properties of the event (JSON object).
    pub properties: Option<RawJson>,
    /// The sender's context (JSON object).
    pub context: Option<RawJson>,
    /// Order facts, for orders.
    pub order: Option<OrderChange>,
    /// Where it happened, for scans and sources that say so.
    pub place: Option<Place>,
}

/// State of an order as far as the core cares; the source's own word stays in the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Known, not yet paid.
    Created,
    /// Paid.
    Paid,
    /// On its way.
    Shipped,
    /// Finished.
    Completed,
    /// Refunded in whole or in part.
    Refunded,
    /// Cancelled.
    Cancelled,
}

impl OrderStatus {
    /// Its word in JSON and files.
    pub fn as_str(self) -> &'static str {
        match self {
            OrderStatus::Created => "created",
            OrderStatus::Paid => "paid",
            OrderStatus::Shipped => "shipped",
            OrderStatus::Completed => "completed",
            OrderStatus::Refunded => "refunded",
            OrderStatus::Cancelled => "cancelled",
        }
    }
}

/// What one event says of an order: a header, lines, or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderChange {
    /// The order's id, unique within `shop`.
    pub order_id: Box<str>,
    /// Where the id is unique: a shop or, by default, the source's id space as text.
    pub shop: Box<str>,
    /// New status, if the event says one.
    pub status: Option<OrderStatus>,
    /// Currency of all amounts.
    pub currency: Currency,
    /// Total in the smallest unit, if the event says one; otherwise the sum of lines is the total.
    pub total: Option<i64>,
    /// Lines that this event adds or replaces (by `line_id`).
    pub lines: Vec<OrderLine>,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Unique within the order; a line with a known id replaces it.
    pub line_id: Box<str>,
    /// Product code.
    pub sku: Box<str>,
    /// Product name; may be empty.
    pub name: Box<str>,
    /// Quantity in thousandths; negative for returns.
    pub quantity_milli: i64,
    /// Price of one unit, millionths of the main unit.
    pub unit_price: UnitPrice,
    /// Amount in the smallest unit, rounded once per line, half away from zero.
    pub amount: i64,
}

/// Where something happened: WGS-84 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Latitude, −90 to 90.
    pub lat: f64,
    /// Longitude, −180 to 180.
    pub lon: f64,
    /// Radius of the uncertainty in metres, if told.
    pub accuracy_m: Option<f32>,
}
