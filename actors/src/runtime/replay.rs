//! Deciding everything again from the logs and comparing with what was decided then (I2).
//!
//! Every result says which slices of input it consumed, in which order, at what time; so a fresh machine is given the
//! same and must come to the same rows, records and counters. Reaches back as far as the day keys are kept.
//!
//! A result also says which version of the logic decided it ([`crate::machine::Machine::logic_version`]). This program has
//! one, its own: what another version decided is taken over as it was recorded, as a restart does, and counted. So a folder
//! that older programs wrote replays, and what is compared is what this one can be held to.

use std::collections::{BTreeMap, BTreeSet};

use super::core::{StepError, UnitCore, UnitState};
use super::feed::{FeedError, RESULTS};
use super::runner::Shared;
use crate::machine::{Machines, Outgoing, Personal, Record, RecordAt, Rows, Space};
use crate::model::{ErrorKind, Fault, Offset, Unit};
use crate::result::{BatchResult, Decoded, Inner};
use crate::store::{Committed, RowStore};

/// Where a replay keeps its rows.
pub trait ReplayRows {
    /// Rows so far.
    fn rows(&self) -> Result<Box<dyn Rows + '_>, String>;
    /// Applies the next result.
    fn apply(&self, result: Committed) -> Result<(), String>;
}

impl ReplayRows for RowStore {
    fn rows(&self) -> Result<Box<dyn Rows + '_>, String> {
        match self.snapshot() {
            Ok(snapshot) => Ok(Box::new(snapshot)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn apply(&self, result: Committed) -> Result<(), String> {
        RowStore::apply(self, &[result])
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}

/// Why a replay stopped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplayError {
    /// The decision differs from the recorded one.
    #[error("the result at {at} of {unit} is decided differently now: {what}")]
    Differs {
        /// Offset of the recorded result.
        at: Offset,
        /// Whose it is.
        unit: Unit,
        /// The first difference.
        what: String,
    },
    /// The key that opens a record is destroyed: a replay does not reach so far back.
    #[error(
        "{0} is older than the keys that open it: a replay reaches back as far as keys are kept"
    )]
    KeyGone(String),
    /// The logs cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A batch cannot be decided at all.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The replay's own rows fail.
    #[error("rows of the replay: {0}")]
    Rows(String),
}

impl Fault for ReplayError {
    fn kind(&self) -> ErrorKind {
        match self {
            ReplayError::Differs { .. } => ErrorKind::Corrupt,
            ReplayError::KeyGone(_) => ErrorKind::Unavailable,
            ReplayError::Feed(error) => error.kind(),
            ReplayError::Step(_) | ReplayError::Rows(_) => ErrorKind::Internal,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            ReplayError::Differs { .. } => "replay_differs",
            ReplayError::KeyGone(_) => "replay_reach",
            ReplayError::Feed(error) => error.code(),
            ReplayError::Step(_) => "replay_step",
            ReplayError::Rows(_) => "replay_rows",
        }
    }
}

/// What a replay came to: results by what was done with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decided again, with the same outcome.
    pub decided: u64,
    /// Of another version of the logic: taken over as recorded.
    pub recorded: u64,
}

/// Decides every result of the log again, into `store`, which must be empty. `tell` hears done and total.
pub fn replay(
    shared: &Shared,
    machines: &dyn Machines,
    store: &dyn ReplayRows,
    mut tell: impl FnMut(u64, u64),
) -> Result<Replayed, ReplayError> {
    let mut done = Replayed::default();
    let end = shared.results.end(RESULTS);
    let mut units: BTreeMap<Unit, UnitCore> = BTreeMap::new();
    for at in (0..end.0).map(Offset) {
        let frame = shared.feeds.frame(at)?;
        let unit = frame.header.unit;
        let inner = frame
            .inner(&*shared.sealer)
            .map_err(FeedError::from)?
            .ok_or_else(|| ReplayError::KeyGone(format!("the result at {at}")))?;
        let core = match units.entry(unit) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let rows = store.rows().map_err(ReplayError::Rows)?;
                let made = machines.make(unit, &*rows).map_err(ReplayError::Rows)?;
                new.insert(UnitCore::new(
                    unit,
                    shared.partitions,
                    made.machine,
                    UnitState::default(),
                ))
            }
        };
        if frame.header.logic == core.machine().logic_version() {
            core.set_aside(set_aside(&inner));
            let again = decide_again(shared, core, store, &frame)?;
            let differs = |what: String| ReplayError::Differs { at, unit, what };
            compare(shared, &frame, &inner, &again).map_err(differs)?;
            done.decided += 1;
        } else {
            core.follow(&inner)
                .map_err(|error| ReplayError::Rows(error.to_string()))?;
            done.recorded += 1;
        }
        let result = Committed {
            at,
            header: frame.header.clone(),
            inner: inner.into(),
            sent: frame.sent(shared.partitions),
        };
        store.apply(result).map_err(ReplayError::Rows)?;
        tell(at.0 + 1, end.0);
    }
    Ok(done)
}

fn decide_again(
    shared: &Shared,
    core: &mut UnitCore,
    store: &dyn ReplayRows,
    frame: &Decoded,
) -> Result<BatchResult, ReplayError> {
    let unit = frame.header.unit;
    let mut batch = shared.feeds.again(unit, &frame.header.slices)?;
    let mut retried = Vec::with_capacity(frame.header.retried.len());
    for at in &frame.header.retried {
        retried.push(super::core::Input {
            record: shared.feeds.record(unit, *at)?,
            from: None,
        });
    }
    batch.retried = retried.len();
    retried.append(&mut batch.inputs);
    batch.inputs = retried;
    if unit == Unit::IDENTITY
        && let Some(gone) = batch
            .inputs
            .iter()
            .find(|input| input.record.personal == Personal::Erased)
    {
        return Err(ReplayError::KeyGone(format!(
            "the raw record at {}",
            gone.record.at.position
        )));
    }
    let rows = store.rows().map_err(ReplayError::Rows)?;
    Ok(core.step(&*rows, &batch, frame.header.now, frame.header.epoch)?)
}

/// The records that a result parked. They are not tried again: one that killed the process would kill the replay.
fn set_aside(inner: &Inner) -> BTreeSet<RecordAt> {
    let rows = inner.rows.iter();
    rows.filter(|row| row.space == Space::PARKED)
        .filter_map(|row| postcard::from_bytes(row.value.as_ref()?).ok())
        .collect()
}

/// The first difference between what was recorded and what is decided now.
fn compare(
    shared: &Shared,
    frame: &Decoded,
    inner: &Inner,
    again: &BatchResult,
) -> Result<(), String> {
    if let Some((then, now)) = inner
        .rows
        .iter()
        .zip(&again.inner.rows)
        .find(|(then, now)| then != now)
    {
        return Err(format!(
            "row {:?} {:02x?}: {:?} then, {:?} now",
            then.space, then.key, then.value, now.value
        ));
    }
    if inner.rows.len() != again.inner.rows.len() {
        let (then, now) = (inner.rows.len(), again.inner.rows.len());
        return Err(format!("{then} rows then, {now} now"));
    }
    if inner.counters != again.inner.counters {
        let (then, now) = (&inner.counters, &again.inner.counters);
        return Err(format!("counters {then:?} then, {now:?} now"));
    }
    if inner.delta != again.inner.delta {
        return Err("the machine's memory changes in another way".into());
    }
    if frame.refs().len() != again.outgoing.len() {
        let (then, now) = (frame.refs().len(), again.outgoing.len());
        return Err(format!("{then} records sent then, {now} now"));
    }
    for (index, now) in again.outgoing.iter().enumerate() {
        let then = frame
            .record_at(index, &*shared.sealer)
            .map_err(|error| error.to_string())?;
        if frame.refs()[index].to != now.to || !same(&then, now) {
            return Err(format!("record {index} is another one now"));
        }
    }
    Ok(())
}

/// Whether a recorded record is the one that is sent now. What was erased since cannot be compared.
fn same(then: &Record, now: &Outgoing) -> bool {
    then.schema == now.schema
        && then.envelope == now.envelope
        && match (&then.personal, &now.personal) {
            (Personal::None, None) | (Personal::Erased, Some(_)) => true,
            (Personal::Open(then), Some((_, now))) => then == now,
            _ => false,
        }
}
