//! What applying an event costs, by step, on one core and rows in memory: the machine's own part, without log and disk.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Instant;

use actors::machine::{
    Machine, Personal, Record, RecordAt, RowWrite, Rows, RowsError, Space, WriteSet,
};
use actors::model::{
    BrandId, Currency, EventKind, IdentNo, Identifier, MemberNo, Offset, OrderChange, OrderLine,
    OrderStatus, PartitionId, Position, RawJson, SourceId, Time, UnitPrice,
};
use bytes::Bytes;
use jiff::tz::TimeZone;

use super::traits::{self, BodyFront};
use super::{MemberMachine, row};
use crate::definition::AttributeSchema;
use crate::routed::{self, EventBody, EventHead, OrderPart, schema};

/// Records that one batch decides, as the runtime does under load.
const BATCH: usize = 512;

/// Events per member: what 20,000 events/s leave with 10 M members in some minutes, hot ones more often.
const EVENTS_PER_MEMBER: usize = 10;

/// What was measured. Times are per event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Events applied: seven in ten tracked, two with five traits, one order of two lines.
    pub events: usize,
    /// Reading head, body and traits (part of `apply_ns` too).
    pub decode_ns: f64,
    /// Deciding, with reading rows from a hash map; the product reads them from the store.
    pub apply_ns: f64,
    /// Rows read.
    pub reads: f64,
    /// Writing the changed rows of a batch.
    pub encode_ns: f64,
    /// Row writes.
    pub rows: f64,
    /// Bytes of keys and values written.
    pub row_bytes: f64,
    /// Mean size of a cell's row in the end.
    pub cell_bytes: f64,
    /// Mean size of a timeline row without its key.
    pub timeline_bytes: f64,
}

/// Applies `events` made-up events.
pub fn bench(events: usize) -> Report {
    let records: Vec<Record> = (0..events.max(1)).map(|n| record(n, events)).collect();
    let mut rows = Memory::default();
    let mut machine = MemberMachine::new(PartitionId(0), TimeZone::UTC);
    let (mut apply, mut encode) = (0, 0);
    let (mut writes, mut bytes) = (0, 0);
    for batch in records.chunks(BATCH) {
        let mut out = WriteSet::default();
        let started = cpu_ns();
        machine.begin(Time(0));
        for record in batch {
            machine
                .apply(&rows, record, &mut out)
                .expect("rows in memory are readable");
        }
        let applied = cpu_ns();
        machine
            .finish(&rows, &mut out)
            .expect("rows in memory are readable");
        encode += cpu_ns() - applied;
        apply += applied - started;
        writes += out.rows.len();
        for write in out.rows {
            bytes += write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
            rows.write(write);
        }
    }
    let events = records.len();
    let per_event = |ns: u64| ns as f64 / events as f64;
    Report {
        events,
        decode_ns: per_event(decode(&records)),
        apply_ns: per_event(apply),
        reads: rows.reads.get() as f64 / events as f64,
        encode_ns: per_event(encode),
        rows: writes as f64 / events as f64,
        row_bytes: bytes as f64 / events as f64,
        cell_bytes: rows.mean_bytes(row::CELLS),
        timeline_bytes: rows.mean_bytes(row::TIMELINE),
    }
}

/// The reading alone.
fn decode(records: &[Record]) -> u64 {
    let schema = AttributeSchema::default();
    let started = cpu_ns();
    let mut told = 0;
    for record in records {
        let head: Option<EventHead> = routed::decode(&record.envelope);
        std::hint::black_box(&head);
        if let Personal::Open(body) = &record.personal
            && let Some(front) = BodyFront::read(body)
            && let Some(text) = front.traits
        {
            told += traits::read(text, &schema, &TimeZone::UTC).told.len();
        }
    }
    std::hint::black_box(told);
    cpu_ns() - started
}

fn record(n: usize, events: usize) -> Record {
    let members = (events / EVENTS_PER_MEMBER).max(1);
    // A few members have most events: the square of an even spread leans to the front.
    let spread = (n.wrapping_mul(2_654_435_761) % 65_536) as f64 / 65_536.0;
    let member = ((spread * spread * members as f64) as u32).min(members as u32 - 1);
    let (kind, name) = match n % 10 {
        0 => (EventKind::Order, "order"),
        1 | 2 => (EventKind::Identify, "identify"),
        _ => (EventKind::Track, "product_viewed"),
    };
    let line = |id: &str| OrderLine {
        line_id: id.into(),
        sku: "6901234567892".into(),
        name: "纯牛奶 250ml×12".into(),
        quantity_milli: 2000,
        unit_price: UnitPrice(39_900_000),
        amount: 7980,
    };
    let order = (kind == EventKind::Order).then(|| OrderPart {
        order: IdentNo(1 << 30 | n as u32),
        holder: IdentNo(member),
        change: OrderChange {
            order_id: format!("E2026112200{n:08}").into(),
            shop: "youzan".into(),
            status: Some(OrderStatus::Paid),
            currency: Currency::CNY,
            total: Some(15_960),
            lines: vec![line("1"), line("2")],
        },
    });
    let head = EventHead {
        member: MemberNo(member),
        fragment: IdentNo(member),
        raw: Position {
            partition: PartitionId(1),
            offset: Offset(n as u64),
        },
        kind,
        name: name.into(),
        time: Time(1_763_800_000_000 + n as i64),
        received: Time(1_763_800_000_500 + n as i64),
        source: SourceId(1 + n as u32 % 3),
        brand: BrandId(1),
        test: false,
        order,
        order_only: false,
    };
    let traits = format!(
        r#"{{"name":"张三","city":"上海","gender":"female","birthday":"1990-01-31","level":{}}}"#,
        n % 7
    );
    let body = EventBody {
        message_id: format!("01912f4c-8c1b-7b1e-a8f9-{n:012x}").into(),
        identifiers: vec![
            Identifier::new("phone", "", "+8613800000000"),
            Identifier::new(
                "openid",
                "wx1234567890abcdef",
                "oABCDEFGHIJKLMNOPQRSTUVWXYZ0",
            ),
        ],
        traits: (kind == EventKind::Identify)
            .then(|| RawJson::object(&traits).expect("made as an object")),
        properties: Some(
            RawJson::object(r#"{"sku":"6901234567892","price":39.9,"page":"detail"}"#)
                .expect("written as an object"),
        ),
        context: None,
        place: None,
    };
    Record {
        at: RecordAt {
            position: Position {
                partition: PartitionId(0),
                offset: Offset((n / BATCH) as u64),
            },
            index: (n % BATCH) as u32,
        },
        schema: schema::EVENT,
        shard: MemberNo(member).shard(),
        envelope: routed::encode(&head),
        personal: Personal::Open(routed::encode(&body)),
    }
}

/// Time that this thread has spent on a core, so that a busy machine does not change the figures; where the system does
/// not tell, time that has passed.
fn cpu_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let on_core = told.split(' ').next().and_then(|ns| ns.parse().ok());
    on_core.unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}

/// Rows in memory.
#[derive(Default)]
struct Memory {
    rows: HashMap<(u8, Bytes), Bytes>,
    reads: Cell<usize>,
}

impl Memory {
    fn write(&mut self, write: RowWrite) {
        let key = (write.space.0, write.key);
        match write.value {
            Some(value) => self.rows.insert(key, value),
            None => self.rows.remove(&key),
        };
    }

    fn mean_bytes(&self, space: Space) -> f64 {
        let sizes = self.rows.iter().filter(|((of, _), _)| *of == space.0);
        let (count, total) = sizes.fold((0, 0), |(count, total), (_, value)| {
            (count + 1, total + value.len())
        });
        total as f64 / f64::from(count.max(1))
    }
}

impl Rows for Memory {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        self.reads.set(self.reads.get() + 1);
        let found = self.rows.get(&(space.0, Bytes::copy_from_slice(key)));
        Ok(found.cloned())
    }

    fn scan(
        &self,
        _: Space,
        _: &[u8],
        _: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        Err(RowsError("no made-up event scans".into()))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_measures_something() {
        let events = std::env::var("BENCH_EVENTS").map_or(2_000, |n| n.parse().unwrap());
        let report = super::bench(events);
        println!("{report:#?}");
        assert!(report.row_bytes > 0.0 && report.cell_bytes > 0.0);
    }
}
