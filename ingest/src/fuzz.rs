//! Entry points for hostile bytes: none of them may panic, run away, or build more than it was given.
//!
//! They are called by property tests here and by the crate `tests`. What they answer does not matter; what they assert is
//! what every later reader relies on: an accepted event has JSON that parses and identifiers that are well-formed, and a
//! record reads back as it was written.

use actors::model::{BrandId, Event, IdSpace, SourceId, Time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::file::{Mapping, Row, Rows};
use crate::{
    IdMapping, Protocol, RawRecord, Request, SourceInfo, admit, decode, readmit, write_key,
};

/// Stored bytes: the first says how many of the others are the envelope.
pub fn raw(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else {
        return;
    };
    let (envelope, personal) = rest.split_at(usize::from(*length).min(rest.len()));
    if let Ok(record) = RawRecord::from_parts(envelope, &Bytes::copy_from_slice(personal)) {
        let again = RawRecord::from_parts(&record.envelope(), &Bytes::from(record.personal()));
        assert_eq!(
            again,
            Ok(record.clone()),
            "a record reads back as it was written"
        );
        // Bytes that no admission wrote: no promise but to come back.
        decode(&record).ok();
    }
}

/// The tracking API, batches and single events.
pub fn segment(bytes: &[u8]) {
    write_key(None, None, bytes);
    for path in ["/v1/batch", "/v1/track", "/v1/alias", "/v1/import"] {
        request(Protocol::Segment, path, &[], bytes);
    }
}

/// CloudEvents, structured, batch and binary.
pub fn cloudevents(bytes: &[u8]) {
    let binary = [
        ("ce-id", "%31"),
        ("ce-source", "s"),
        ("ce-type", "tributary.order.paid"),
        ("ce-specversion", "1.0"),
    ];
    request(Protocol::CloudEvents, "/", &[], bytes);
    request(Protocol::CloudEvents, "/", &binary, bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let own = [("ce-id", text), ("ce-type", text)];
        request(Protocol::CloudEvents, "/", &own, b"{}");
    }
}

/// Scans and our own JSON.
pub fn scan(bytes: &[u8]) {
    request(Protocol::Scan, "/v1/scan", &[], bytes);
    request(Protocol::Own, "/v1/events", &[], bytes);
}

/// Sensors Analytics: the form in the body and in the URL, and records of all three modes.
pub fn sensors(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    request(Protocol::Sensors, "/sa", &[], bytes);
    let plain = format!("data={}", STANDARD.encode(bytes));
    request(Protocol::Sensors, "/sa", &[], plain.as_bytes());
    for id_mapping in [IdMapping::Two, IdMapping::Three] {
        let mut source = source();
        source.sensors.id_mapping = id_mapping;
        request_to(
            &source,
            Protocol::Sensors,
            "/sa",
            &text,
            &[],
            plain.as_bytes(),
        );
    }
    request_to(&source(), Protocol::Sensors, "/sa.gif", &text, &[], b"");
}

/// Files of rows and of lines, and the mapping itself.
pub fn csv(bytes: &[u8]) {
    let shipped = include_str!("../examples/online_retail.toml");
    let mapping = Mapping::parse(shipped).expect("the shipped mapping is right");
    rows(bytes, &mapping);
    let header =
        b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";
    rows(&[&header[..], bytes].concat(), &mapping);
    rows(bytes, &with_file(shipped, "format = \"jsonl\""));
    rows(
        bytes,
        &with_file(
            shipped,
            "format = \"csv\"\ndelimiter = \"whitespace\"\nencoding = \"gb18030\"",
        ),
    );
    if let Ok(rows) = Rows::own_json(bytes, &source(), Time(0)) {
        rows.flatten().for_each(sound);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        Mapping::parse(text).ok();
    }
}

/// Parquet: as it is, and with the bytes that every table begins and ends with.
pub fn parquet(bytes: &[u8]) {
    let mapping = Mapping::parse(include_str!("../examples/online_retail.toml"))
        .expect("the shipped mapping is right");
    rows(bytes, &mapping);
    let length = u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
    rows(&[b"PAR1", bytes, &length, b"PAR1"].concat(), &mapping);
}

/// Workbooks: as they are, and as the sheet and the shared texts of one that is right otherwise.
pub fn xlsx(bytes: &[u8]) {
    let mapping = Mapping::parse(include_str!("../examples/online_retail.toml"))
        .expect("the shipped mapping is right");
    rows(bytes, &mapping);
    for part in ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"] {
        if let Ok(book) = crate::file::workbook_with(part, bytes) {
            rows(&book, &mapping);
        }
    }
}

/// A file of an unknown kind: a mapping is guessed, and it must be right in itself.
pub fn suggest(bytes: &[u8]) {
    let open = || Ok(crate::file::Content::from(bytes));
    if let Ok(found) = crate::file::suggest(open, &crate::file::Known::default()) {
        let parsed = Mapping::parse(&found.mapping);
        assert!(parsed.is_ok(), "{parsed:?} in {}", found.mapping);
    }
}

/// The shipped mapping for a file that is laid out so.
fn with_file(shipped: &str, file: &str) -> Mapping {
    let text = shipped.replace("[event]", &format!("[file]\n{file}\n[event]"));
    Mapping::parse(&text).expect("the layout may change")
}

fn rows(bytes: &[u8], mapping: &Mapping) {
    if let Ok(rows) = Rows::new(bytes, mapping, &source(), Time(0)) {
        rows.flatten().for_each(sound);
    }
}

fn sound(row: Row) {
    if let Row::Record(record) = row {
        check(&decode(&record).expect("rows are decoded before they are handed out"));
    }
}

fn request(protocol: Protocol, path: &str, headers: &[(&str, &str)], bytes: &[u8]) {
    request_to(&source(), protocol, path, "", headers, bytes);
}

fn request_to(
    source: &SourceInfo,
    protocol: Protocol,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    bytes: &[u8],
) {
    let request = Request {
        path,
        headers,
        received: Time(1_795_341_042_000),
        query,
        nonce: 1,
        body: Bytes::copy_from_slice(bytes),
    };
    let Ok(admitted) = admit(protocol, source, request) else {
        return;
    };
    for record in admitted.records {
        assert!(!record.message_id.is_empty(), "every record has an id");
        let stored = RawRecord::from_parts(&record.envelope(), &Bytes::from(record.personal()));
        assert_eq!(
            stored,
            Ok(record.clone()),
            "a record reads back as it was written"
        );
        if let Ok(event) = decode(&record) {
            check(&event);
        }
        assert_eq!(
            readmit(&record, record.body.clone()).verdict,
            record.verdict
        );
    }
}

/// What later readers rely on.
fn check(event: &Event) {
    for json in [&event.traits, &event.properties, &event.context]
        .into_iter()
        .flatten()
    {
        let parsed: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_str(json.as_str());
        assert!(parsed.is_ok(), "{parsed:?} in {}", json.as_str());
    }
    for identifier in &event.identifiers {
        assert_eq!(identifier.check(), Ok(()));
    }
    assert!((Time(0)..=Time::MAX).contains(&event.time));
}

fn source() -> SourceInfo {
    SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(2),
        brand: BrandId(3),
        test: false,
        orders: crate::OrderDefaults::default(),
        sensors: Default::default(),
    }
}

#[cfg(test)]
mod tests;
