//! Entry points for hostile bytes: every reader of bytes that somebody else may have written or a disk may have changed.
//!
//! None may panic, run away, or take changed bytes for right ones. Called by `tests/tests/fuzz.rs` in every run and by the
//! coverage-guided targets in `tests/fuzz`.

use actors::log::LogRecord;
use actors::log::frame::{Head, SegmentKey};
use actors::model::{Offset, PartitionId, Position};
use actors::result::{Decoded, Partial};
use actors::seal::TestSealer;
use bytes::{Bytes, BytesMut};

/// Everything that comes over HTTP or from a file.
pub fn decoders(bytes: &[u8]) {
    ingest::fuzz::segment(bytes);
    ingest::fuzz::cloudevents(bytes);
    ingest::fuzz::scan(bytes);
    ingest::fuzz::sensors(bytes);
    ingest::fuzz::csv(bytes);
    ingest::fuzz::suggest(bytes);
    workbooks_and_tables(bytes);
    ingest::fuzz::raw(bytes);
}

/// Rules, in both forms, and the properties that they look into.
pub fn rules(bytes: &[u8]) {
    cdp::rule::testkit::hostile(bytes);
}

/// Files that are unpacked and read by libraries.
pub fn workbooks_and_tables(bytes: &[u8]) {
    ingest::fuzz::parquet(bytes);
    ingest::fuzz::xlsx(bytes);
}

/// Everything that lies on the disk.
pub fn frames(bytes: &[u8]) {
    let key = SegmentKey::new(PartitionId(1), 7);
    // A checksum by chance is one in four billion: what is read here was never written.
    assert!(key.get(bytes, 32).is_err(), "bytes were taken for a frame");
    let sealer = TestSealer::new(1);
    let at = Position {
        partition: PartitionId(1),
        offset: Offset(1),
    };
    let payload = Bytes::copy_from_slice(bytes);
    if let Ok(decoded) = Decoded::read(at, &payload) {
        let _ = decoded.inner(&sealer);
        for index in 0..decoded.refs().len() {
            let _ = decoded.record_at(index, &sealer);
        }
    }
    if let Ok(Some(part)) = Partial::open(at, Box::new(payload.clone())) {
        for index in 0..100 {
            let _ = part.record_at(index, &sealer);
        }
    }
    let record = LogRecord { schema: 1, payload };
    let _ = actors::raw::open(at, &record, &sealer);
}

/// A frame with one byte changed, or at another place, is no frame.
pub fn changed_frame(payload: &[u8], at: usize, flip: u8) {
    const PLACE: u64 = 4_096;
    let key = SegmentKey::new(PartitionId(3), 100);
    let head = Head {
        length: u32::try_from(payload.len()).expect("test payloads are small"),
        flags: 1,
        schema: 0x0101,
        offset: 123,
        synced: 64,
    };
    let mut frame = BytesMut::new();
    key.put(&mut frame, PLACE, head, payload);
    assert_eq!(key.get(&frame, PLACE), Ok(head), "what was written is read");
    assert!(key.get(&frame, PLACE + 1).is_err(), "at another place");
    let other = SegmentKey::new(PartitionId(4), 100);
    assert!(other.get(&frame, PLACE).is_err(), "of another partition");
    let at = at % frame.len();
    frame[at] ^= flip;
    assert!(key.get(&frame, PLACE).is_err(), "byte {at} was changed");
}
