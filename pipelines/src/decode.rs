//! The port between identity and ingest: raw records are read by the decoders that admitted them.

use actors::machine::{Personal, Record};
use cdp::control::{self, Control};
use cdp::identity::port::{RawDecoder, RawInput, Reject};
use ingest::{RawRecord, Verdict};

/// Schema of raw events in the raw log; the stored form has a version of its own.
pub const RAW_EVENT: u16 = 0x0001;

/// A raw event on its way into the log.
pub fn to_raw(record: &RawRecord) -> actors::raw::RawRecord {
    actors::raw::RawRecord {
        schema: RAW_EVENT,
        envelope: record.envelope().into(),
        personal: record.personal().into(),
    }
}

/// A raw event as it came out of the log. `None`: another schema, erased, or damaged.
pub fn from_record(record: &Record) -> Option<RawRecord> {
    match (&record.personal, record.schema) {
        (Personal::Open(personal), RAW_EVENT) => {
            RawRecord::from_parts(&record.envelope, personal).ok()
        }
        _ => None,
    }
}

/// Reads raw records with the decoders of `ingest`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decoder;

impl RawDecoder for Decoder {
    fn decode(&self, record: &Record) -> RawInput {
        if record.schema == control::SCHEMA {
            return match Control::read(record) {
                Some(control) => RawInput::Control(control),
                None => RawInput::Unknown,
            };
        }
        let Some(raw) = from_record(record) else {
            return RawInput::Unknown;
        };
        let found = match &raw.verdict {
            Verdict::Rejected(reject) => Err(reject.clone()),
            Verdict::Accepted => ingest::decode(&raw),
        };
        match found {
            Ok(event) => RawInput::Event {
                event: Box::new(event),
            },
            Err(reject) => RawInput::Rejected(Reject {
                code: reject.code.as_str().into(),
                reason: reject.reason.as_str().into(),
                field: reject.field.as_deref().map(Into::into),
                message_id: raw.message_id,
                source: raw.source,
                brand: raw.brand,
                received: raw.received,
            }),
        }
    }
}
