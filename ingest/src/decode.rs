//! Decoding: one raw record becomes one event, the same one each time.

use actors::model::Event;

use crate::consent;
use crate::json::clean;
use crate::protocol::{cloud, own, scan, segment, sensors};
use crate::raw::DECODER;
use crate::{Protocol, RawRecord, Reject, RejectCode, Verdict};

/// Reads a stored record. Pure: depends on the record only. A rejected record answers its reason again.
pub fn decode(record: &RawRecord) -> Result<Event, Reject> {
    if let Verdict::Rejected(reject) = &record.verdict {
        return Err(reject.clone());
    }
    if !(1..=DECODER).contains(&record.decoder) {
        return Err(Reject::new(
            RejectCode::DecoderUnknown,
            format!(
                "admitted for decoder {}, this version has {DECODER}",
                record.decoder
            ),
        ));
    }
    let not_utf8 = |_| Reject::new(RejectCode::InvalidUtf8, "the event is not UTF-8");
    let body = std::str::from_utf8(&record.body).map_err(not_utf8)?;
    let shared = std::str::from_utf8(record.shared.as_deref().unwrap_or_default());
    let shared = shared.map_err(not_utf8)?;
    let cleaned;
    let body = if record.lone_surrogate {
        cleaned = clean(body);
        &*cleaned
    } else {
        body
    };
    let mut event = match record.protocol {
        Protocol::Segment => segment::decode(record, body, shared)?,
        Protocol::CloudEvents => cloud::decode(record, body, shared)?,
        Protocol::Scan => scan::decode(record, body)?,
        Protocol::Own => own::decode(record, body)?,
        Protocol::Sensors => sensors::decode(record, body, shared)?,
    };
    if record.decoder >= 2 {
        consent::tell(&mut event)?;
    }
    Ok(event)
}

/// Name of an event that could not be taken, as far as it can be read: the word that its protocol has for it, or its type.
pub fn event_name(record: &RawRecord) -> Option<String> {
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&record.body).unwrap_or_default();
    let words: &[&str] = match record.protocol {
        Protocol::Segment => &["event", "type"],
        Protocol::CloudEvents => &["type"],
        Protocol::Scan => &[],
        Protocol::Own => &["name", "type"],
        Protocol::Sensors => &["event", "type"],
    };
    let told = words.iter().find_map(|word| {
        let text = fields.get(*word)?.as_str()?;
        (!text.is_empty() && text.len() <= crate::limits::NAME_BYTES).then(|| text.to_owned())
    });
    let of_kind = || record.kind.map(|kind| kind.as_str().to_owned());
    match record.protocol {
        Protocol::Scan => Some("scan".to_owned()),
        _ => told.or_else(of_kind),
    }
}
