//! What admission and decoding cost, measured in this process. `tributary bench` prints it.

pub mod files;

use std::hint::black_box;
use std::time::Instant;

use actors::model::{BrandId, IdSpace, SourceId, Time};
use bytes::Bytes;

use crate::{OrderDefaults, Protocol, RawRecord, Request, SourceInfo, admit, decode};

/// Events of the batch that is measured; what SDKs send.
const BATCH_EVENTS: usize = 100;

/// Rounds that a measurement is cut into. The best counts: the others measure what else the machine does.
const ROUNDS: usize = 10;

/// Cost per event in nanoseconds, by step, and the size of one event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Bytes of one event.
    pub event_bytes: usize,
    /// Taking a batch apart and checking each event.
    pub admit_ns: f64,
    /// Writing the two parts of a record.
    pub encode_ns: f64,
    /// Reading the two parts of a record.
    pub read_ns: f64,
    /// Decoding a record into an event.
    pub decode_ns: f64,
}

/// Measures `batches` batches of 100 tracking events of about 600 bytes, as the Segment SDKs send them.
pub fn cost(batches: usize) -> Cost {
    let (event_bytes, body) = batch();
    let source = SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(0),
        test: false,
        orders: OrderDefaults::default(),
        sensors: Default::default(),
    };
    let take = || {
        let request = Request {
            path: "/v1/batch",
            headers: &[],
            received: Time(1_795_341_042_000),
            query: "",
            nonce: 1,
            body: body.clone(),
        };
        admit(Protocol::Segment, &source, request).map_or_else(|_| Vec::new(), |a| a.records)
    };
    let records = take();
    let per_event = |run: &mut dyn FnMut()| {
        let round = || {
            let start = Instant::now();
            for _ in 0..batches.div_ceil(ROUNDS) {
                run();
            }
            start.elapsed().as_nanos() as f64 / (batches.div_ceil(ROUNDS) * BATCH_EVENTS) as f64
        };
        std::iter::repeat_with(round)
            .take(ROUNDS)
            .fold(f64::INFINITY, f64::min)
    };
    let parts: Vec<_> = records
        .iter()
        .map(|record| (record.envelope(), Bytes::from(record.personal())))
        .collect();
    let mut out = Vec::new();
    Cost {
        event_bytes,
        admit_ns: per_event(&mut || {
            black_box(take());
        }),
        encode_ns: per_event(&mut || {
            for record in &records {
                out.clear();
                record.envelope_into(&mut out);
                record.personal_into(&mut out);
                black_box(&out);
            }
        }),
        read_ns: per_event(&mut || {
            for (envelope, personal) in &parts {
                black_box(RawRecord::from_parts(envelope, personal).ok());
            }
        }),
        decode_ns: per_event(&mut || {
            for record in &records {
                black_box(decode(record).ok());
            }
        }),
    }
}

/// Nanoseconds to decode one tracking event of about 600 bytes.
pub fn decode_ns_per_event() -> f64 {
    cost(200).decode_ns
}

fn batch() -> (usize, Bytes) {
    let mut items = Vec::with_capacity(BATCH_EVENTS);
    for n in 0..BATCH_EVENTS {
        items.push(format!(
            r#"{{"type":"track","event":"Product Viewed","userId":"user-{n}","anonymousId":"0a1b2c3d-0000-4000-8000-{n:012}","messageId":"node-next-1795341041080-0a1b2c3d-0000-4000-8000-{n:012}","timestamp":"2026-11-22T09:50:41.080Z","properties":{{"product_id":"sku-{n}","name":"有机纯牛奶 250ml×12","category":"dairy/milk","price":69.90,"quantity":2,"channel":"mini-program","campaign":"spring-2026","position":{n},"in_stock":true}},"context":{{"library":{{"name":"@segment/analytics-node","version":"3.1.0"}},"ip":"10.0.0.1","locale":"zh-CN"}},"integrations":{{}},"_metadata":{{"nodeVersion":"22.1.0"}}}}"#
        ));
    }
    let bytes = items[0].len();
    let body = format!(
        r#"{{"batch":[{}],"sentAt":"2026-11-22T09:50:41.580Z","writeKey":"WK1"}}"#,
        items.join(",")
    );
    (bytes, Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_measured() {
        let cost = cost(20);
        assert!(cost.event_bytes > 500);
        for ns in [cost.admit_ns, cost.encode_ns, cost.read_ns, cost.decode_ns] {
            assert!(ns > 0.0);
        }
        println!("{cost:?}");
    }
}
