//! Input of units: identity reads the raw log, members read what is addressed to them in the result log.
//!
//! Units pull by position, so a slow unit holds no memory and a restart needs no other path than the usual one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::core::{Batch, Input};
use crate::log::{Log, LogError};
use crate::machine::{Record, RecordAt};
use crate::model::{ErrorKind, Fault, Offset, PartitionId, Position, Unit, UnitKind};
use crate::raw;
use crate::result::{Decoded, FrameError, Partial, Slice};
use crate::seal::Sealer;

/// The one partition of the embedded result log.
pub const RESULTS: PartitionId = PartitionId(0);

/// Bytes read from a log at once, at most. Enough for a full batch, little enough to keep in cache.
const READ_BYTES: usize = 4 << 20;

/// Bytes of records that one batch takes, unless a single one has more: what comes of them has to fit into one record of the
/// result log ([`crate::log::frame::RECORD_BYTES_MAX`]), whatever has piled up.
const BATCH_BYTES: usize = 4 << 20;

/// What a raw record is taken for before one was read: what is read beyond the records asked for is read again.
const RECORD_BYTES_GUESS: usize = 512;

/// Decoded frames kept for the other units of the node, which read the same frames at about the same time: how many, and
/// how many bytes of them (the newest one always). A frame of identity has some megabytes.
const FRAMES_CACHED: usize = 64;
const FRAMES_CACHED_BYTES: usize = 48 << 20;

/// Why input cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FeedError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Fault for FeedError {
    fn kind(&self) -> ErrorKind {
        match self {
            FeedError::Log(error) => error.kind(),
            FeedError::Frame(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            FeedError::Log(error) => error.code(),
            FeedError::Frame(error) => error.code(),
        }
    }
}

/// A frame that is looked at.
enum Held {
    Whole(Arc<Decoded>),
    Part(Partial),
}

impl Held {
    fn at(&self) -> Position {
        match self {
            Held::Whole(frame) => frame.at,
            Held::Part(frame) => frame.at(),
        }
    }
}

/// Reads input for all units of a node.
pub struct Feeds {
    raw: Arc<dyn Log>,
    results: Arc<dyn Log>,
    sealer: Arc<dyn Sealer>,
    partitions: u16,
    frames: Mutex<VecDeque<Arc<Decoded>>>,
    /// The frame that was looked at last: effects ask for one record after the other.
    looked_at: Mutex<Option<Held>>,
}

impl Feeds {
    /// End of a partition of a unit's input log.
    pub fn end(&self, unit: Unit, partition: PartitionId) -> Offset {
        match unit.kind {
            UnitKind::Identity => self.raw.end(partition),
            UnitKind::Member => self.results.end(partition),
        }
    }

    /// Feeds over the two logs. `partitions` is the number of member partitions.
    pub fn new(
        raw: Arc<dyn Log>,
        results: Arc<dyn Log>,
        sealer: Arc<dyn Sealer>,
        partitions: u16,
    ) -> Self {
        Feeds {
            raw,
            results,
            sealer,
            partitions,
            frames: Mutex::default(),
            looked_at: Mutex::default(),
        }
    }

    /// The next input of a unit behind `consumed`: about `records_max` records. An empty batch with slices moves the
    /// position over frames that hold nothing for the unit.
    pub fn next(
        &self,
        unit: Unit,
        consumed: &BTreeMap<PartitionId, Offset>,
        records_max: usize,
    ) -> Result<Batch, FeedError> {
        match unit.kind {
            UnitKind::Identity => self.raw_batch(consumed, records_max),
            UnitKind::Member => self.member_batch(unit, consumed, records_max),
        }
    }

    /// The same slices again, for a replay.
    pub fn again(&self, unit: Unit, slices: &[Slice]) -> Result<Batch, FeedError> {
        let mut batch = Batch {
            slices: slices.to_vec(),
            ..Batch::default()
        };
        for slice in slices {
            match unit.kind {
                UnitKind::Identity => {
                    self.raw_slice(*slice, usize::MAX, &mut batch.inputs)?;
                }
                UnitKind::Member => {
                    let mut at = slice.from;
                    while at < slice.to {
                        let frame = self.frame(at)?;
                        self.take(unit, &frame, &mut batch.inputs)?;
                        at = Offset(at.0 + 1);
                    }
                }
            }
        }
        Ok(batch)
    }

    /// One record by its place: of the raw log for identity, of a result frame for members.
    pub fn record(&self, unit: Unit, at: RecordAt) -> Result<Record, FeedError> {
        match unit.kind {
            UnitKind::Identity => self.raw_record(at.position),
            UnitKind::Member => {
                let frame = self.frame(at.position.offset)?;
                Ok(frame.record_at(at.index as usize, &*self.sealer)?)
            }
        }
    }

    /// Gives `each` the records of result frames at some places, with the number of the place, in the order of the log: for
    /// who looks at few of them. Of a large frame only these are read. One frame is held at a time, apart from those kept
    /// for the units, who would lose what they are about to read.
    pub fn look_up(
        &self,
        places: &[RecordAt],
        each: &mut dyn FnMut(usize, Record),
    ) -> Result<(), FeedError> {
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_unstable_by_key(|number| {
            let RecordAt { position, index } = places[*number];
            (position.offset, index)
        });
        let mut held = self.looked_at.lock().take();
        for number in order {
            let RecordAt { position, index } = places[number];
            let kept = self.results.start(RESULTS) <= position.offset;
            let known = held.take().filter(|frame| kept && frame.at() == position);
            let frame = match known {
                Some(frame) => frame,
                None => self.hold(position)?,
            };
            let part = match &frame {
                Held::Part(frame) => frame.record_at(index, &*self.sealer)?,
                Held::Whole(_) => None,
            };
            let (frame, record) = match (part, frame) {
                (Some(record), frame) => (frame, record),
                (None, frame) => {
                    let whole = match frame {
                        Held::Whole(frame) => frame,
                        Held::Part(_) => self.read_frame(position.offset)?,
                    };
                    let record = whole.record_at(index as usize, &*self.sealer)?;
                    (Held::Whole(whole), record)
                }
            };
            each(number, record);
            held = Some(frame);
        }
        *self.looked_at.lock() = held;
        Ok(())
    }

    fn hold(&self, position: Position) -> Result<Held, FeedError> {
        if let Some(frame) = self.cached(position.offset) {
            return Ok(Held::Whole(frame));
        }
        if let Some(parts) = self.results.parts(RESULTS, position.offset)?
            && let Some(frame) = Partial::open(position, parts)?
        {
            return Ok(Held::Part(frame));
        }
        Ok(Held::Whole(self.read_frame(position.offset)?))
    }

    /// One raw record, opened.
    pub fn raw_record(&self, position: Position) -> Result<Record, FeedError> {
        let stored = self.raw.read(position.partition, position.offset, 1)?;
        let stored = first(stored, position)?;
        Ok(raw::open(position, &stored.record, &*self.sealer)?)
    }

    /// A decoded frame of the result log, cached while it is fresh.
    pub fn frame(&self, offset: Offset) -> Result<Arc<Decoded>, FeedError> {
        if let Some(frame) = self.cached(offset) {
            return Ok(frame);
        }
        let frame = self.read_frame(offset)?;
        self.remember(&frame);
        Ok(frame)
    }

    fn read_frame(&self, offset: Offset) -> Result<Arc<Decoded>, FeedError> {
        let position = Position {
            partition: RESULTS,
            offset,
        };
        let stored = first(self.results.read(RESULTS, offset, 1)?, position)?;
        let frame = Decoded::read(position, &stored.record.payload)?;
        Ok(Arc::new(frame))
    }

    fn raw_batch(
        &self,
        consumed: &BTreeMap<PartitionId, Offset>,
        records_max: usize,
    ) -> Result<Batch, FeedError> {
        let mut batch = Batch::default();
        let mut room_bytes = BATCH_BYTES;
        // Commands first (partition 0), then events: a command is never stuck behind a flood.
        for partition in (0..self.raw.partitions()).map(PartitionId) {
            let from = consumed.get(&partition).copied().unwrap_or_default();
            let room = records_max.saturating_sub(batch.inputs.len());
            let to = Offset(self.raw.end(partition).0.min(from.0 + room as u64));
            if from < to && room_bytes > 0 {
                let before = batch.inputs.len();
                let slice = Slice {
                    partition,
                    from,
                    to,
                };
                room_bytes -= self.raw_slice(slice, room_bytes, &mut batch.inputs)?;
                let read = (batch.inputs.len() - before) as u64;
                batch.slices.push(Slice {
                    partition,
                    from,
                    to: Offset(from.0 + read),
                });
            }
        }
        Ok(batch)
    }

    /// Reads records of a slice until there are `bytes_max` bytes of them, at least one. Answers how many of these bytes
    /// they took.
    fn raw_slice(
        &self,
        slice: Slice,
        bytes_max: usize,
        inputs: &mut Vec<Input>,
    ) -> Result<usize, FeedError> {
        let mut at = slice.from;
        let mut room = bytes_max;
        let (mut records, mut bytes) = (1, RECORD_BYTES_GUESS);
        while at < slice.to && room > 0 {
            let wanted = (slice.to.0 - at.0) as usize;
            let about = (bytes / records).saturating_mul(wanted).min(READ_BYTES);
            let stored = self.raw.read(slice.partition, at, about)?;
            if stored.is_empty() {
                break;
            }
            records += stored.len();
            bytes += stored
                .iter()
                .map(|it| it.record.payload.len())
                .sum::<usize>();
            for stored in stored {
                if stored.offset >= slice.to || room == 0 {
                    break;
                }
                let position = Position {
                    partition: slice.partition,
                    offset: stored.offset,
                };
                room = room.saturating_sub(stored.record.payload.len());
                inputs.push(Input {
                    record: raw::open(position, &stored.record, &*self.sealer)?,
                    from: None,
                });
                at = Offset(stored.offset.0 + 1);
            }
        }
        Ok(bytes_max - room)
    }

    fn member_batch(
        &self,
        unit: Unit,
        consumed: &BTreeMap<PartitionId, Offset>,
        records_max: usize,
    ) -> Result<Batch, FeedError> {
        let from = consumed.get(&RESULTS).copied().unwrap_or_default();
        let end = self.results.end(RESULTS);
        let mut batch = Batch::default();
        let mut at = from;
        let mut bytes = 0;
        while at < end && batch.inputs.len() < records_max && bytes < BATCH_BYTES {
            let frame = self.frame(at)?;
            let before = batch.inputs.len();
            self.take(unit, &frame, &mut batch.inputs)?;
            let taken = batch.inputs[before..].iter();
            bytes += taken.map(|input| input.record.bytes()).sum::<usize>();
            at = Offset(at.0 + 1);
        }
        if from < at {
            batch.slices.push(Slice {
                partition: RESULTS,
                from,
                to: at,
            });
        }
        Ok(batch)
    }

    fn take(&self, unit: Unit, frame: &Decoded, inputs: &mut Vec<Input>) -> Result<(), FeedError> {
        let from = frame.header.unit;
        let records = frame.records_for(unit, self.partitions, &*self.sealer)?;
        inputs.extend(records.into_iter().map(|(number, record)| Input {
            record,
            from: Some((from, number)),
        }));
        Ok(())
    }

    fn cached(&self, offset: Offset) -> Option<Arc<Decoded>> {
        let frames = self.frames.lock();
        frames
            .iter()
            .rev()
            .find(|frame| frame.at.offset == offset)
            .cloned()
    }

    fn remember(&self, frame: &Arc<Decoded>) {
        let mut frames = self.frames.lock();
        let mut bytes = frame.bytes() + frames.iter().map(|it| it.bytes()).sum::<usize>();
        while frames.len() >= FRAMES_CACHED || bytes > FRAMES_CACHED_BYTES {
            let Some(oldest) = frames.pop_front() else {
                break;
            };
            bytes -= oldest.bytes();
        }
        frames.push_back(frame.clone());
    }
}

fn first(
    stored: Vec<crate::log::Stored>,
    position: Position,
) -> Result<crate::log::Stored, FeedError> {
    stored.into_iter().next().ok_or_else(|| {
        FrameError::Form(position, "there is no record at this position yet".into()).into()
    })
}

#[cfg(test)]
mod tests;
