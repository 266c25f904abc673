//! Measurements of identity alone: `cargo run --release -p cdp --example identity_bench -- MEMBERS`.

use std::path::Path;
use std::time::Instant;

use actors::machine::{Machine, Personal, Record, RecordAt, Rows, RowsError, Space, WriteSet};
use actors::model::{
    BrandId, Event, EventKind, IdSpace, Identifier, Offset, PartitionId, Position, ShardId,
    SourceId, Time,
};
use bytes::Bytes;

use super::machine::{Found, IdentityMachine, Setup};
use super::memory::Dedup;
use super::port::{RawDecoder, RawInput};

/// Identifiers that each member of the measurement has.
const IDENTIFIERS_EACH: u64 = 3;
/// Events that are decided together, as the runtime does.
const BATCH: u64 = 2_048;
/// Events for the figures of known members, at most: enough for a second or two.
const KNOWN_EVENTS_MAX: u64 = 1_000_000;

/// What was measured. Rates are per second of CPU time of the one thread that decides, so that a busy machine tells the same;
/// checkpoint and open are by the wall clock.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Identifiers in memory.
    pub identifiers: u64,
    /// New members per second: three new identifiers and a link each, everything but fsync.
    pub new_members_per_s: f64,
    /// The longest batch while building (growth of tables included), milliseconds.
    pub longest_batch_ms: f64,
    /// Events of known members per second: de-duplication, owner, outgoing record, delta.
    pub known_events_per_s: f64,
    /// Finding the owner of a known list of three identifiers, per second, without decoding and sending.
    pub resolves_per_s: f64,
    /// Bytes in memory per identifier, without the de-duplication memory.
    pub bytes_per_identifier: f64,
    /// How long the first checkpoint (everything) stops the writer, milliseconds.
    pub checkpoint_pause_ms: f64,
    /// The first checkpoint until it is durable: seconds and bytes written.
    pub checkpoint: (f64, u64),
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Opening the files, every page checked, seconds.
    pub open_s: f64,
}

/// Builds `members` members in `dir`, an empty folder, and measures.
pub fn run(members: u32, dir: &Path) -> Result<Figures, String> {
    let members = u64::from(members);
    let (mut machine, _) = IdentityMachine::open(setup(dir))?;
    let mut clock = Clock::default();

    let started = cpu_s();
    let mut longest: f64 = 0.0;
    for first in (0..members).step_by(BATCH as usize) {
        let batch = cpu_s();
        let numbers = first..(first + BATCH).min(members);
        clock.decide(&mut machine, numbers.map(|n| (n, n)))?;
        longest = longest.max(cpu_s() - batch);
    }
    let build = cpu_s() - started;

    let started = cpu_s();
    let known_events = members.min(KNOWN_EVENTS_MAX);
    for first in (0..known_events).step_by(BATCH as usize) {
        let events = first..(first + BATCH).min(known_events);
        clock.decide(
            &mut machine,
            events.map(|n| (members + n, scatter(n) % members)),
        )?;
    }
    let known = cpu_s() - started;

    let lists: Vec<_> = (0..known_events.min(100_000))
        .map(|n| identifiers(scatter(n) % members))
        .collect();
    let started = cpu_s();
    let mut found = 0;
    for _ in 0..10 {
        for list in &lists {
            found += u64::from(machine.memory().resolve_known(list).is_some());
        }
    }
    let resolve = cpu_s() - started;
    if found != 10 * lists.len() as u64 {
        return Err(format!("only {found} lists were known"));
    }

    let (bytes, seen) = machine.memory().bytes();
    let started = Instant::now();
    let written = machine.memory().dirty_bytes() * 2;
    machine.checkpoint(Offset(1))?;
    let paused = started.elapsed();
    // Deciding goes on while it is written, and copies what it changes.
    clock.decide(
        &mut machine,
        (0..BATCH).map(|n| (2 * members + n, n % members)),
    )?;
    machine.wait_for_checkpoint()?;
    let checkpoint = started.elapsed();
    drop(machine);
    let files = std::fs::read_dir(dir).map_err(|error| error.to_string())?;
    let file_bytes = files
        .filter_map(|file| file.and_then(|file| file.metadata()).ok())
        .map(|file| file.len())
        .sum();
    let started = Instant::now();
    let (machine, opened) = IdentityMachine::open(setup(dir))?;
    let open = started.elapsed();
    if opened != Found::Checkpoint(Offset(1)) {
        return Err(format!("opened as {opened:?}"));
    }
    drop(machine);
    let identifiers = members * IDENTIFIERS_EACH;
    Ok(Figures {
        identifiers,
        new_members_per_s: members as f64 / build,
        longest_batch_ms: longest * 1e3,
        known_events_per_s: known_events as f64 / known,
        resolves_per_s: 10.0 * lists.len() as f64 / resolve,
        bytes_per_identifier: (bytes - seen) as f64 / identifiers as f64,
        checkpoint_pause_ms: paused.as_secs_f64() * 1e3,
        checkpoint: (checkpoint.as_secs_f64(), written),
        file_bytes,
        open_s: open.as_secs_f64(),
    })
}

/// CPU seconds of this thread; seconds by the wall clock where the kernel does not tell.
fn cpu_s() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    ns.map_or_else(
        || START.get_or_init(Instant::now).elapsed().as_secs_f64(),
        |ns| ns / 1e9,
    )
}

fn setup(dir: &Path) -> Setup {
    Setup {
        dir: dir.to_owned(),
        key: [1; 32],
        decoder: Box::new(Generator),
        dedup: Dedup::default(),
    }
}

#[derive(Default)]
struct Clock {
    now: i64,
    offset: u64,
}

impl Clock {
    /// Decides one batch of events: (message, member).
    fn decide(
        &mut self,
        machine: &mut IdentityMachine,
        events: impl Iterator<Item = (u64, u64)>,
    ) -> Result<(), String> {
        let mut out = WriteSet::default();
        self.now += 10;
        machine.begin(Time(1_700_000_000_000 + self.now));
        for (message, member) in events {
            self.offset += 1;
            let mut envelope = message.to_le_bytes().to_vec();
            envelope.extend_from_slice(&member.to_le_bytes());
            let position = Position {
                partition: PartitionId(1),
                offset: Offset(self.offset),
            };
            let record = Record {
                at: RecordAt { position, index: 0 },
                schema: 0,
                shard: ShardId(0),
                envelope: envelope.into(),
                personal: Personal::None,
            };
            machine
                .apply(&NoRows, &record, &mut out)
                .map_err(|error| error.to_string())?;
        }
        machine
            .finish(&NoRows, &mut out)
            .map_err(|error| error.to_string())
    }
}

/// Makes the event that a record numbers.
struct Generator;

impl RawDecoder for Generator {
    fn decode(&self, record: &Record) -> RawInput {
        let word = |at: usize| {
            let bytes = record
                .envelope
                .get(at..at + 8)
                .and_then(|b| b.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let (message, member) = (word(0), word(8));
        RawInput::Event {
            event: Box::new(Event {
                message_id: format!("message-{message:016x}").into(),
                kind: EventKind::Track,
                name: "viewed".into(),
                time: Time(1_700_000_000_000),
                received: Time(1_700_000_000_000),
                source: SourceId(1),
                id_space: IdSpace(0),
                brand: BrandId(1),
                test: false,
                identifiers: identifiers(member),
                linking: Default::default(),
                traits: None,
                properties: None,
                context: None,
                order: None,
                place: None,
            }),
        }
    }
}

fn identifiers(member: u64) -> Vec<Identifier> {
    vec![
        Identifier::new("user_id", "", &format!("user{member}")),
        Identifier::new("phone", "", &format!("1{:010}", 3_000_000_000 + member)),
        Identifier::new(
            "anonymous_id",
            "",
            &format!("{:016x}-{member:08x}", scatter(member)),
        ),
    ]
}

/// A bijection on 64 bits, so that neighbours are far apart (SplitMix64's finaliser).
fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct NoRows;

impl Rows for NoRows {
    fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, RowsError> {
        Ok(None)
    }
    fn scan(
        &self,
        _: Space,
        _: &[u8],
        _: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        Ok(())
    }
}
