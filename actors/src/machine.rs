//! The contract of a pure decider.
//!
//! A machine reads one record at a time and writes what follows from it into a [`WriteSet`]. It has no clock, no
//! randomness, no I/O of its own and no dependence on hash-map order, so the same records give the same writes. The
//! shell (see [`crate::runtime`]) loads, commits and sends; nothing of a batch leaves before its commit is durable.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{ErrorKind, Fault, IdentNo, Offset, PartitionId, Position, ShardId, Time, Unit};

/// Which table of rows. The upper three bits choose the keyspace of the store, the whole byte begins the key.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Space(pub u8);

impl Space {
    /// What the store remembers of each unit, to prove that no batch is missing.
    pub const UNITS: Space = Space(0x00);
    /// Durable timers.
    pub const TIMERS: Space = Space(0x01);
    /// Effect intents that wait for their dispatcher.
    pub const EFFECTS: Space = Space(0x02);
    /// Records set aside because their key is parked.
    pub const PARKED: Space = Space(0x03);
    /// What each unit remembers of itself.
    pub const STATES: Space = Space(0x05);
    /// Dead letters.
    pub const DEAD: Space = Space(0x04);

    /// The keyspace, 0 to 7.
    pub fn keyspace(self) -> usize {
        usize::from(self.0 >> 5)
    }
}

/// A read of rows failed; the batch is given up and tried again later, never half done.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read rows: {0}")]
pub struct RowsError(pub String);

impl Fault for RowsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
    fn code(&self) -> &'static str {
        "rows_unavailable"
    }
}

/// The rows a machine may read: everything committed before the present batch.
pub trait Rows {
    /// One row.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError>;

    /// Rows whose key (within `space`) starts with `prefix`, in key order, until `each` answers `false`.
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError>;

    /// As [`Rows::scan`], from the key `from` (included) on. Stores that can seek do; the default skips.
    fn scan_from(
        &self,
        space: Space,
        prefix: &[u8],
        from: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        self.scan(space, prefix, &mut |key, value| {
            key < from || each(key, value)
        })
    }
}

/// Where a record came from: its log position, and its number within a result frame (0 for raw records).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct RecordAt {
    /// Log position.
    pub position: Position,
    /// Number within the frame.
    pub index: u32,
}

/// The personal part of a record, after the shell has tried to open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Personal {
    /// The record has none.
    None,
    /// Opened.
    Open(Bytes),
    /// Its key was destroyed: amounts stay, the person is gone.
    Erased,
}

/// One input record of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub at: RecordAt,
    /// Which payload this is.
    pub schema: u16,
    /// The shard it is for (0 for identity).
    pub shard: ShardId,
    /// The part without personal data.
    pub envelope: Bytes,
    /// The personal part.
    pub personal: Personal,
}

impl Record {
    /// Bytes of its parts.
    pub fn bytes(&self) -> usize {
        let personal = match &self.personal {
            Personal::Open(bytes) => bytes.len(),
            Personal::None | Personal::Erased => 0,
        };
        self.envelope.len() + personal
    }
}

/// Who receives an outgoing record.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum To {
    /// The member unit that owns a shard.
    Shard(ShardId),
    /// One member unit, whatever shard.
    Partition(PartitionId),
    /// Every member unit, once each (definitions). The shell turns it into one [`To::Partition`] each.
    EveryPartition,
}

/// A record for another unit (or for oneself, later).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Receiver.
    pub to: To,
    /// Which payload this is.
    pub schema: u16,
    /// Not personal.
    pub envelope: Bytes,
    /// Personal part and the fragment whose key seals it.
    pub personal: Option<(IdentNo, Bytes)>,
}

/// A row to write or delete.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowWrite {
    /// Table.
    pub space: Space,
    /// Key within the table.
    pub key: Bytes,
    /// New value; `None` deletes.
    pub value: Option<Bytes>,
}

/// A timer to set: it comes back as a record with its payload, once, not before `at`. A second timer with the same
/// shard and id replaces the first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Timer {
    /// Shard that set it and gets it.
    pub shard: ShardId,
    /// Unique within the shard.
    pub id: u64,
    /// Not before.
    pub at: Time,
    /// What to do after downtime, when `at` is long past.
    pub misfire: Misfire,
    /// Handed back.
    pub payload: Bytes,
}

/// The record that a timer comes back as: schema [`FIRED`], to the shard that set it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fired {
    /// The timer's id within the shard.
    pub id: u64,
    /// When it was due.
    pub at: Time,
    /// Handed back.
    pub payload: Bytes,
}

/// Schema of [`Fired`].
pub const FIRED: u16 = 0x0170;

/// What a timer does when it is found overdue after downtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Misfire {
    /// Fire now.
    Fire,
    /// Drop it if it is overdue by more than this many milliseconds.
    SkipAfterMs(i64),
}

/// Something to do in the outside world, once its cause is committed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Effect {
    /// Idempotency key, derived from the cause; the receiver sees it.
    pub key: u64,
    /// Which dispatcher, e.g. `webhook`.
    pub channel: Box<str>,
    /// Whom within the channel, e.g. the webhook's number: effects of one target wait for it alone.
    pub target: u64,
    /// Marks "sending" durably before the call, so that a crash never sends twice (but may lose one).
    pub at_most_once: bool,
    /// For the dispatcher.
    pub payload: Bytes,
}

/// What became of an effect, or what a person wants of it. Takes effect once; what no longer fits is ignored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EffectMark {
    /// About to be sent, of an effect that is sent at most once.
    Sending,
    /// Sent, or of no use any more.
    Done,
    /// It did not work: again from `due` on.
    Failed {
        /// Calls so far.
        attempts: u32,
        /// Not before.
        due: Time,
        /// What went wrong.
        reason: Box<str>,
    },
    /// Given up: it waits for a person.
    Dead {
        /// Calls so far.
        attempts: u32,
        /// What went wrong.
        reason: Box<str>,
    },
    /// A person: try a dead one again, from the first attempt.
    Retry,
    /// A person: send it although effects are held.
    Release,
    /// A person: forget it.
    Discard,
}

/// Counters that add up over units, e.g. `orders`; names end up in `/api/v1/stats` and `/metrics`.
pub type Counters = BTreeMap<Box<str>, i64>;

/// Everything that a machine decides in one batch.
#[derive(Debug, Default)]
pub struct WriteSet {
    /// Rows, in order; the last write of a key wins.
    pub rows: Vec<RowWrite>,
    /// Records for other units.
    pub outgoing: Vec<Outgoing>,
    /// Timers set.
    pub timers: Vec<Timer>,
    /// Timers cancelled: shard and id.
    pub cancelled: Vec<(ShardId, u64)>,
    /// Things to do outside.
    pub effects: Vec<Effect>,
    /// What became of effects, by key.
    pub effect_marks: Vec<(u64, EffectMark)>,
    /// Keys whose parked records are given up, see [`crate::runtime::core::parked`].
    pub unparked: Vec<u64>,
    /// What the machine's own memory needs to be brought up to date without deciding again; its own encoding.
    pub delta: Vec<u8>,
    /// Changes of counters.
    pub counters: Counters,
}

impl WriteSet {
    /// Writes a row.
    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.rows.push(RowWrite {
            space,
            key: key.into(),
            value: Some(value.into()),
        });
    }

    /// Deletes a row.
    pub fn delete(&mut self, space: Space, key: impl Into<Bytes>) {
        self.rows.push(RowWrite {
            space,
            key: key.into(),
            value: None,
        });
    }

    /// Adds to a counter.
    pub fn count(&mut self, name: &str, by: i64) {
        if by != 0 {
            match self.counters.get_mut(name) {
                // Wraps as sums of amounts do: what is taken away later comes out right.
                Some(total) => *total = total.wrapping_add(by),
                None => {
                    self.counters.insert(name.into(), by);
                }
            }
        }
    }
}

/// A pure decider over one unit's records.
///
/// One batch is `begin`, `apply` for each record in order, `finish`. After `finish` the machine's memory holds the
/// batch's state already (the commit follows or the process ends). `rollback` forgets everything since `begin`.
pub trait Machine: Send {
    /// A batch starts; `now` is the batch's time and never goes back.
    fn begin(&mut self, now: Time);

    /// Decides one record.
    fn apply(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        out: &mut WriteSet,
    ) -> Result<(), RowsError>;

    /// Writes what the batch changed as rows and delta.
    fn finish(&mut self, rows: &dyn Rows, out: &mut WriteSet) -> Result<(), RowsError>;

    /// Forgets the batch: a record of it panicked or rows could not be read. Also called in the middle of one.
    fn rollback(&mut self);

    /// What a poisoned record parks: later records with the same key queue behind it. `None`: only the record itself.
    fn key(&self, record: &Record) -> Option<u64>;

    /// Brings the memory up to date from a committed batch's delta, without deciding. Rows are applied by the shell.
    fn absorb(&mut self, delta: &[u8]) -> Result<(), RowsError>;

    /// Which logic decided: goes into every result, so that a replay knows.
    fn logic_version(&self) -> u16;

    /// Writes memory that is not rows to disk, so that a restart absorbs only results from `at` (an offset of the result
    /// log) on. Called between batches. Machines whose memory is rows have nothing to do.
    fn checkpoint(&mut self, at: Offset) -> Result<(), String> {
        let _ = at;
        Ok(())
    }

    /// Results below this offset are in memory that is on disk. `None`: its memory is rows only.
    fn checkpointed(&self) -> Option<Offset> {
        None
    }

    /// Waits until no checkpoint is being written, and says how the last one went. Called before a process ends.
    fn checkpoint_wait(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A machine as it comes from its maker.
pub struct Made {
    /// The machine.
    pub machine: Box<dyn Machine>,
    /// For machines with memory of their own: results below this offset of the result log are in it already. `None`: its
    /// memory is rows only, there is nothing to absorb.
    pub absorbed: Option<Offset>,
}

/// Makes machines: at start, and again when a unit is rebuilt.
pub trait Machines: Send + Sync + 'static {
    /// The machine of a unit, with whatever memory its last checkpoint holds. `rows` is the store as it stands.
    fn make(&self, unit: Unit, rows: &dyn Rows) -> Result<Made, String>;

    /// The raw record that carries a due timer through identity to its shard (identity answers with [`FIRED`]).
    fn timer_record(&self, timer: &Timer) -> crate::raw::RawRecord;
}
