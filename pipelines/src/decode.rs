//! The port between identity and ingest: raw records are read by the decoders that admitted them.

use actors::machine::{Personal, Record};
use actors::model::{BrandId, Fault, SourceId, Time};
use cdp::control::{self, Control};
use cdp::identity::port::{RawDecoder, RawInput, Reject};
use ingest::raw::RawError;
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
        let Personal::Open(personal) = &record.personal else {
            return RawInput::Unknown;
        };
        if record.schema != RAW_EVENT {
            return RawInput::Unknown;
        }
        let raw = match RawRecord::from_parts(&record.envelope, personal) {
            Ok(raw) => raw,
            Err(error) => return RawInput::Rejected(unreadable(&error)),
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
                event: ingest::event_name(&raw).map(Into::into),
                message_id: raw.message_id,
                source: raw.source,
                brand: raw.brand,
                received: raw.received,
            }),
        }
    }
}

/// A record that does not read is no record of no use: it waits as a dead letter for a version that reads it.
fn unreadable(error: &RawError) -> Reject {
    Reject {
        code: error.code().into(),
        reason: error.to_string().into(),
        field: None,
        event: None,
        message_id: "".into(),
        source: SourceId(0),
        brand: BrandId(0),
        received: Time(0),
    }
}

#[cfg(test)]
mod tests {
    use actors::machine::RecordAt;
    use actors::model::ShardId;
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_record_of_a_newer_version_is_a_dead_letter_and_an_erased_one_is_not() {
        let record = |envelope: &'static [u8], personal| Record {
            at: RecordAt::default(),
            schema: RAW_EVENT,
            shard: ShardId(0),
            envelope: Bytes::from_static(envelope),
            personal,
        };
        let open = || Personal::Open(Bytes::from_static(b"x"));
        let code = |record: &Record| match Decoder.decode(record) {
            RawInput::Rejected(reject) => reject.code.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(code(&record(&[250], open())), "raw_newer");
        assert_eq!(code(&record(&[1], open())), "raw_damaged");
        assert_eq!(code(&record(&[1], Personal::Erased)), "Unknown");
    }
}
