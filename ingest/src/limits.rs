//! Named limits of everything that comes in.
//!
//! | limit | value | when it is passed |
//! |---|---|---|
//! | [`TRACKING_EVENT_BYTES`] | 32 KiB | the event is rejected (`too_large`); alone in its request: 400 |
//! | [`TRACKING_BATCH_BYTES`] | 500 KiB, after gzip is undone | 400 `body_too_large` |
//! | [`TRACKING_BATCH_EVENTS`] | 2,500 | 400 `too_many_events` |
//! | [`ORDER_EVENT_BYTES`] | 4 MiB | as for tracking events |
//! | [`OWN_BATCH_BYTES`] | 8 MiB, after gzip is undone | 400 `body_too_large` |
//! | [`OWN_BATCH_EVENTS`] | 10,000 | 400 `too_many_events` |
//! | [`SENSORS_EVENT_BYTES`] | 256 KiB | the event is rejected (`too_large`) |
//! | [`SENSORS_BODY_BYTES`] | 4 MiB, as sent | 400 `body_too_large` |
//! | [`SENSORS_BATCH_BYTES`] | 8 MiB, after base64 and gzip are undone | the request is set aside (`too_large`) |
//! | [`JSON_DEPTH`] | 64 levels | the event is rejected (`too_deep`) |
//! | [`OBJECT_PROPERTIES`] | 1,000 names in one object | the event is rejected (`too_many_properties`) |
//! | [`EVENT_PROPERTIES`] | 5,000 names in one event, orders 200,000 | the event is rejected (`too_many_properties`) |
//! | [`NAME_BYTES`] | 255 bytes, names of events and properties | the event is rejected (`name_too_long`) |
//! | [`MESSAGE_ID_CHARS`] | 100 characters | the event is rejected (`message_id_too_long`) |
//! | [`IDENTIFIERS`] | 20 in one event | the event is rejected (`too_many_identifiers`) |
//! | [`AMOUNT_MAX`] | 10^15 of the smallest unit | the order is rejected (`amount_form`) |
//! | [`TIME_FIRST`] … [`TIME_LAST`] | 1970 to 9999 | the event is rejected (`time_range`) |
//! | [`ROW_BYTES`] | 4 MiB for a row of a file | the file is refused there: a quote is not closed |
//! | [`ROW_KEYS`] | 50 million different keys in one file | the file is refused there: split it, or `unique = true` |
//! | [`XLSX_MEMBERS`] | 10,000 parts of a workbook | the file is refused (`file_limit`) |
//! | [`XLSX_HELD_BYTES`] | 256 MiB of shared texts and styles, unpacked | the file is refused (`file_limit`) |
//! | [`XLSX_SHEETS_BYTES`] | 8 GiB of sheets, unpacked | the file is refused (`file_limit`) |
//!
//! There is no ratio limit for gzip: reading stops one byte after the batch limit, so a bomb costs no more than a batch.
//! An event dated in the future is kept, whatever its distance; it counts from its own time on.

use actors::model::Time;

use crate::Protocol;

/// Bytes of one tracking event. Segment's own limit, so that no SDK sends more.
pub const TRACKING_EVENT_BYTES: usize = 32 * 1024;
/// Bytes of one tracking request after gzip is undone. Segment's own limit.
pub const TRACKING_BATCH_BYTES: usize = 500 * 1024;
/// Events of one tracking request. Segment's own limit.
pub const TRACKING_BATCH_EVENTS: usize = 2_500;
/// Bytes of one order: some thousands of lines.
pub const ORDER_EVENT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one request of our own JSON, scans or CloudEvents after gzip is undone: two of the largest orders.
pub const OWN_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Events of one request of our own JSON, scans or CloudEvents.
pub const OWN_BATCH_EVENTS: usize = 10_000;
/// Bytes of one event of the Sensors Analytics SDKs: some ten texts of the longest form, in Chinese.
pub const SENSORS_EVENT_BYTES: usize = 256 * 1024;
/// Bytes of one request of the Sensors Analytics SDKs as it is sent: base64, mostly of gzip, percent-encoded.
pub const SENSORS_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of its records once base64 and gzip are undone. SDKs send 50 to 200 records of 1 to 2 KiB.
pub const SENSORS_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Nesting of objects and lists in one event. Half of what later readers of the JSON accept (128).
pub const JSON_DEPTH: usize = 64;
/// Names in one object. A thousand is a data model gone wrong: ids used as names.
pub const OBJECT_PROPERTIES: u32 = 1_000;
/// Names in one tracking event, over all its objects.
pub const EVENT_PROPERTIES: u32 = 5_000;
/// Names in one order, over all its objects: [`ORDER_EVENT_BYTES`] of small lines.
pub const ORDER_PROPERTIES: u32 = 200_000;
/// Bytes of the name of an event or a property.
pub const NAME_BYTES: usize = 255;
/// Characters of a message id. Segment's own limit.
pub const MESSAGE_ID_CHARS: usize = 100;
/// Identifiers of one event. Real ones carry fewer than ten; more would join strangers.
pub const IDENTIFIERS: usize = 20;
/// First accepted event time: 1970-01-01T00:00:00Z. Earlier ones are clocks that were never set.
pub const TIME_FIRST: Time = Time(0);
/// Last accepted event time: the last instant of year 9999 that is a day of that year in every time zone, so that it can be
/// written down anywhere.
pub const TIME_LAST: Time = Time(253_402_207_199_999);
/// Largest amount of an order or line, in the smallest unit of its currency, either sign: ten trillion yuan. Nine thousand
/// such orders still fit into one sum.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000_000;
/// Bytes of one row of a file. A longer one is a quote that was opened and never closed.
pub const ROW_BYTES: usize = 4 * 1024 * 1024;
/// Different message keys in one file: about 1.2 GB of counts (see [`crate::file`]).
pub const ROW_KEYS: usize = 50_000_000;
/// Parts of a workbook. Real ones have some dozens; each costs memory before anything is read.
pub const XLSX_MEMBERS: usize = 10_000;
/// Unpacked bytes of a workbook's parts that are held in memory: shared texts, styles, relations. The texts of a full
/// sheet of a million rows.
pub const XLSX_HELD_BYTES: u64 = 256 * 1024 * 1024;
/// Unpacked bytes of a workbook's sheets, which are read cell by cell: several full ones.
pub const XLSX_SHEETS_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// Bytes that a request of this protocol may have, before and after gzip is undone. HTTP stops reading there.
pub fn body_bytes(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Segment => TRACKING_BATCH_BYTES,
        Protocol::Sensors => SENSORS_BODY_BYTES,
        Protocol::CloudEvents | Protocol::Scan | Protocol::Own => OWN_BATCH_BYTES,
    }
}

/// Events that a request of this protocol may have.
pub fn batch_events(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Segment => TRACKING_BATCH_EVENTS,
        Protocol::CloudEvents | Protocol::Scan | Protocol::Own | Protocol::Sensors => {
            OWN_BATCH_EVENTS
        }
    }
}
