//! One unit's decisions: a machine, its position, and what is parked. No threads, no clock, no log.
//!
//! The same code runs under the actor shell and under the simulator. A batch is decided as a whole; a record whose
//! decision panics is parked (with later records of its key) and the batch is decided again without it, so state is
//! never torn.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::guard::Mark;
use super::{effects, timers};
use crate::crash;
use crate::machine::{
    Counters, FIRED, Fired, Machine, Outgoing, Personal, Record, RecordAt, RowWrite, Rows,
    RowsError, Space, To, WriteSet,
};
use crate::model::{Offset, PartitionId, Time, Unit};
use crate::result::{BatchResult, Header, Inner, Slice};

/// Parked keys at which a unit stops: more means that the logic is broken, not the data.
pub const PARKED_KEYS_MAX: usize = 100;

/// One input record and, for records of other units, its dense number from there.
#[derive(Debug, Clone)]
pub struct Input {
    /// The record.
    pub record: Record,
    /// Sender and number; `None` for raw records.
    pub from: Option<(Unit, u64)>,
}

/// What one batch decides about.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Records in order.
    pub inputs: Vec<Input>,
    /// The log slices they make up, in order.
    pub slices: Vec<Slice>,
    /// Of the inputs, how many at the front are parked records tried again.
    pub retried: usize,
}

/// What a unit remembers besides its machine's state; a row of every result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// Next offset to consume, by log partition.
    pub consumed: BTreeMap<PartitionId, Offset>,
    /// Number of the last committed batch; 0 before the first.
    pub batch: u64,
    /// Epoch of the owner that decided it.
    pub epoch: u64,
    /// Time of the last batch.
    pub now: Time,
    /// Last number given, by receiver.
    pub sent: BTreeMap<Unit, u64>,
    /// Last number taken, by sender.
    pub heard: BTreeMap<Unit, u64>,
    /// Totals since the beginning.
    pub counters: Counters,
    /// Keys that are parked.
    pub parked: BTreeSet<u64>,
}

/// Why a batch could not be decided. Nothing has changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepError {
    /// Rows cannot be read now: try again later.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// A sender's numbers have a gap: records are missing. The unit stops.
    #[error("{unit} expected record {expected} from {from} and got {got}: records are missing")]
    Gap {
        /// Receiver.
        unit: Unit,
        /// Sender.
        from: Unit,
        /// Number expected.
        expected: u64,
        /// Number found.
        got: u64,
    },
    /// The machine panicked outside of a record, or too many keys are parked. The unit stops.
    #[error("{unit} cannot go on: {what}")]
    Broken {
        /// The unit.
        unit: Unit,
        /// Why.
        what: String,
    },
}

/// A machine and its position.
pub struct UnitCore {
    unit: Unit,
    partitions: u16,
    machine: Box<dyn Machine>,
    state: UnitState,
    aside: BTreeSet<RecordAt>,
    mark: Option<Mark>,
}

impl UnitCore {
    /// A unit at a committed state. `partitions` is the number of member partitions.
    pub fn new(unit: Unit, partitions: u16, machine: Box<dyn Machine>, state: UnitState) -> Self {
        UnitCore {
            unit,
            partitions,
            machine,
            state,
            aside: BTreeSet::new(),
            mark: None,
        }
    }

    /// Treats these records, and no others, as poisoned without trying them: they killed the process.
    pub fn set_aside(&mut self, records: BTreeSet<RecordAt>) {
        self.aside = records;
    }

    /// From now on says which record is being decided, for the crash-loop guard.
    pub fn watched(&mut self, mark: Option<Mark>) {
        self.mark = mark;
    }

    /// See [`UnitCore::watched`].
    pub fn mark(&self) -> Option<Mark> {
        self.mark.clone()
    }

    /// Who this is.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The state after the last decided batch.
    pub fn state(&self) -> &UnitState {
        &self.state
    }

    /// The machine.
    pub fn machine(&self) -> &dyn Machine {
        &*self.machine
    }

    /// The machine, for checkpoints.
    pub fn machine_mut(&mut self) -> &mut dyn Machine {
        &mut *self.machine
    }

    /// Takes a result over as it was recorded, without deciding anything.
    pub fn follow(&mut self, inner: &Inner) -> Result<(), RowsError> {
        let key = unit_key(self.unit);
        let mut rows = inner.rows.iter();
        let row = rows.find(|row| row.space == Space::STATES && row.key == key);
        let state = row
            .and_then(|row| postcard::from_bytes(row.value.as_ref()?).ok())
            .ok_or_else(|| RowsError(format!("a result of {} has no state", self.unit)))?;
        self.machine.absorb(&inner.delta)?;
        self.state = state;
        Ok(())
    }

    /// Decides a batch. On success memory already holds the result; the caller commits it or ends the process.
    pub fn step(
        &mut self,
        rows: &dyn Rows,
        batch: &Batch,
        clock: Time,
        epoch: u64,
    ) -> Result<BatchResult, StepError> {
        let mut next = self.state.clone();
        next.batch += 1;
        next.epoch = epoch;
        next.now = clock.max(self.state.now);
        let fresh = self.take_numbers(&mut next, batch)?;
        for slice in &batch.slices {
            next.consumed.insert(slice.partition, slice.to);
        }
        let (mut out, poisoned) = self.decide(rows, batch, &fresh, next.now)?;
        self.park(&mut next, &mut out, batch, &fresh, &poisoned)?;
        self.unpark(&mut next, &mut out, rows)?;
        let outgoing = self.address(&mut next, std::mem::take(&mut out.outgoing));
        timers::write(&mut out, rows)
            .and_then(|()| effects::write(&mut out, rows, next.now))
            .map_err(|error| StepError::Broken {
                unit: self.unit,
                what: error.to_string(),
            })?;
        for (name, by) in &out.counters {
            let total = next.counters.entry(name.clone()).or_default();
            *total = total.wrapping_add(*by);
        }
        out.put(Space::STATES, unit_key(self.unit), encode_state(&next));
        let inner = Inner {
            rows: out.rows,
            delta: out.delta,
            counters: out.counters,
        };
        self.state = next;
        Ok(BatchResult {
            header: Header {
                unit: self.unit,
                epoch,
                batch: self.state.batch,
                logic: self.machine.logic_version(),
                now: self.state.now,
                slices: batch.slices.clone(),
                retried: batch.inputs[..batch.retried]
                    .iter()
                    .map(|input| input.record.at)
                    .collect(),
            },
            inner,
            outgoing,
        })
    }

    /// Drops what was heard before and checks that nothing is missing. Answers the indexes that are new.
    fn take_numbers(&self, next: &mut UnitState, batch: &Batch) -> Result<Vec<usize>, StepError> {
        let mut fresh = Vec::with_capacity(batch.inputs.len());
        for (index, input) in batch.inputs.iter().enumerate() {
            if let Some((from, number)) = input.from
                && index >= batch.retried
            {
                let heard = next.heard.entry(from).or_default();
                if number <= *heard {
                    continue;
                }
                if number != *heard + 1 {
                    return Err(StepError::Gap {
                        unit: self.unit,
                        from,
                        expected: *heard + 1,
                        got: number,
                    });
                }
                *heard = number;
            }
            fresh.push(index);
        }
        Ok(fresh)
    }

    fn decide(
        &mut self,
        rows: &dyn Rows,
        batch: &Batch,
        fresh: &[usize],
        now: Time,
    ) -> Result<(WriteSet, BTreeSet<usize>), StepError> {
        let mut poisoned: BTreeSet<usize> = fresh
            .iter()
            .copied()
            .filter(|index| self.aside.contains(&batch.inputs[*index].record.at))
            .collect();
        loop {
            let mut out = WriteSet::default();
            let current = Cell::new(None);
            let machine = &mut self.machine;
            let parked = &self.state.parked;
            let mark = self.mark.as_ref();
            let outcome = catch_unwind(AssertUnwindSafe(|| -> Result<(), RowsError> {
                machine.begin(now);
                let mut parked_now: BTreeSet<u64> = BTreeSet::new();
                for &index in fresh {
                    let record = &batch.inputs[index].record;
                    current.set(Some(index));
                    if let Some(mark) = mark {
                        mark.record(record.at);
                    }
                    let key = machine.key(record);
                    if poisoned.contains(&index) {
                        parked_now.extend(key);
                        continue;
                    }
                    let waits = key.is_some_and(|key| {
                        parked_now.contains(&key)
                            || (index >= batch.retried && parked.contains(&key))
                    });
                    if !waits && fires(rows, record, now, &mut out)? {
                        crash::record([&record.envelope, opened(record)]);
                        machine.apply(rows, record, &mut out)?;
                    }
                }
                current.set(None);
                // The end of a batch of one is that record's.
                if let (Some(mark), [_, _, ..]) = (mark, fresh) {
                    mark.batch();
                }
                machine.finish(rows, &mut out)
            }));
            match outcome {
                Ok(Ok(())) => return Ok((out, poisoned)),
                Ok(Err(error)) => {
                    self.machine.rollback();
                    return Err(error.into());
                }
                Err(panic) => {
                    self.machine.rollback();
                    let what = panic_text(&*panic);
                    match current.get() {
                        Some(index) => {
                            let at = batch.inputs[index].record.at;
                            tracing::error!(unit = %self.unit, position = %at.position, panic = what, "record parked");
                            poisoned.insert(index);
                        }
                        None => {
                            return Err(StepError::Broken {
                                unit: self.unit,
                                what,
                            });
                        }
                    }
                }
            }
        }
    }

    /// Writes the parked records as rows, so that they can be tried again, and lifts what went well in a retry.
    fn park(
        &self,
        next: &mut UnitState,
        out: &mut WriteSet,
        batch: &Batch,
        fresh: &[usize],
        poisoned: &BTreeSet<usize>,
    ) -> Result<(), StepError> {
        let retrying: BTreeSet<u64> = batch.inputs[..batch.retried]
            .iter()
            .filter_map(|input| self.machine.key(&input.record))
            .collect();
        for key in &retrying {
            next.parked.remove(key);
        }
        for input in &batch.inputs[..batch.retried] {
            let key = self.machine.key(&input.record);
            out.delete(
                Space::PARKED,
                parked_key(self.unit, key.unwrap_or(u64::MAX), input.record.at),
            );
        }
        for &index in fresh {
            let record = &batch.inputs[index].record;
            let key = self.machine.key(record);
            let waits = key.is_some_and(|key| next.parked.contains(&key));
            if poisoned.contains(&index) || waits {
                next.parked.extend(key);
                let value = postcard::to_stdvec(&record.at).expect("a position serialises");
                out.put(
                    Space::PARKED,
                    parked_key(self.unit, key.unwrap_or(u64::MAX), record.at),
                    value,
                );
                out.count("parked_records", 1);
            }
        }
        if next.parked.len() > PARKED_KEYS_MAX {
            return Err(StepError::Broken {
                unit: self.unit,
                what: format!("more than {PARKED_KEYS_MAX} keys are parked"),
            });
        }
        Ok(())
    }

    /// Gives up the parked records of keys, as far as they stood before this batch: what the batch itself parks stays.
    fn unpark(
        &self,
        next: &mut UnitState,
        out: &mut WriteSet,
        rows: &dyn Rows,
    ) -> Result<(), StepError> {
        for key in std::mem::take(&mut out.unparked) {
            let front = [&unit_key(self.unit)[..], &key.to_be_bytes()].concat();
            let fresh = |write: &RowWrite| {
                write.space == Space::PARKED
                    && write.value.is_some()
                    && write.key.starts_with(&front)
            };
            if !out.rows.iter().any(fresh) {
                next.parked.remove(&key);
            }
            for (_, at) in parked(rows, self.unit, Some(key)).map_err(StepError::from)? {
                out.delete(Space::PARKED, parked_key(self.unit, key, at));
                out.count("parked_discarded", 1);
            }
        }
        Ok(())
    }

    /// One record per receiving unit, numbered.
    fn address(&self, next: &mut UnitState, outgoing: Vec<Outgoing>) -> Vec<Outgoing> {
        let mut addressed = Vec::with_capacity(outgoing.len());
        for record in outgoing {
            if record.to != To::EveryPartition {
                *next
                    .sent
                    .entry(record.to.receiver(self.partitions))
                    .or_default() += 1;
                addressed.push(record);
                continue;
            }
            for partition in 0..self.partitions {
                let to = To::Partition(PartitionId(partition));
                *next.sent.entry(to.receiver(self.partitions)).or_default() += 1;
                addressed.push(Outgoing {
                    to,
                    ..record.clone()
                });
            }
        }
        addressed
    }
}

/// The personal part, if it is open.
fn opened(record: &Record) -> &[u8] {
    match &record.personal {
        Personal::Open(bytes) => bytes,
        Personal::None | Personal::Erased => &[],
    }
}

/// Whether the machine sees the record. A timer's record counts once: the timer must still stand at that time.
fn fires(
    rows: &dyn Rows,
    record: &Record,
    now: Time,
    out: &mut WriteSet,
) -> Result<bool, RowsError> {
    if record.schema != FIRED {
        return Ok(true);
    }
    let Ok(fired) = postcard::from_bytes::<Fired>(&record.envelope) else {
        return Ok(false);
    };
    let again = out.cancelled.contains(&(record.shard, fired.id));
    match timers::due(rows, record.shard, &fired, now)? {
        Some(acts) if !again => {
            out.cancelled.push((record.shard, fired.id));
            Ok(acts)
        }
        _ => Ok(false),
    }
}

/// Gives the outgoing records of one result their numbers: `sent` is the state *before* the batch.
pub fn numbering(mut sent: BTreeMap<Unit, u64>, partitions: u16) -> impl FnMut(&To) -> u64 {
    move |to| {
        let last = sent.entry(to.receiver(partitions)).or_default();
        *last += 1;
        *last
    }
}

/// Key of a unit's row in [`Space::STATES`].
pub fn unit_key(unit: Unit) -> bytes::Bytes {
    postcard::to_stdvec(&unit)
        .expect("a unit serialises")
        .into()
}

/// A unit's row.
pub fn encode_state(state: &UnitState) -> bytes::Bytes {
    postcard::to_stdvec(state)
        .expect("a unit state serialises")
        .into()
}

/// Reads a unit's row. `None`: there is none yet, or it is of an unknown form.
pub fn read_state(rows: &dyn Rows, unit: Unit) -> Result<Option<UnitState>, RowsError> {
    match rows.get(Space::STATES, &unit_key(unit))? {
        None => Ok(None),
        Some(row) => postcard::from_bytes(&row)
            .map(Some)
            .map_err(|error| RowsError(format!("row of {unit}: {error}"))),
    }
}

/// Key of a parked record: unit, key, place.
fn parked_key(unit: Unit, key: u64, at: RecordAt) -> Vec<u8> {
    let mut bytes = unit_key(unit).to_vec();
    bytes.extend_from_slice(&key.to_be_bytes());
    bytes.extend_from_slice(&at.position.partition.0.to_be_bytes());
    bytes.extend_from_slice(&at.position.offset.0.to_be_bytes());
    bytes.extend_from_slice(&at.index.to_be_bytes());
    bytes
}

/// The parked records of a unit (of one key, or all), in order of key and place.
pub fn parked(
    rows: &dyn Rows,
    unit: Unit,
    key: Option<u64>,
) -> Result<Vec<(u64, RecordAt)>, RowsError> {
    let mut prefix = unit_key(unit).to_vec();
    let key_at = prefix.len();
    if let Some(key) = key {
        prefix.extend_from_slice(&key.to_be_bytes());
    }
    let mut found = Vec::new();
    rows.scan(Space::PARKED, &prefix, &mut |row_key, value| {
        let key = row_key
            .get(key_at..key_at + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes);
        if let (Some(key), Ok(at)) = (key, postcard::from_bytes(value)) {
            found.push((key, at));
        }
        true
    })?;
    Ok(found)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}

#[cfg(test)]
pub(in crate::runtime) mod tests;
