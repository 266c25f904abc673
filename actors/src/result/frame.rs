//! The frame of a batch result: written once, read by caches whole and by units in part.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BatchResult, Header, Inner};
use crate::machine::{Outgoing, Personal, Record, RecordAt, To};
use crate::model::{ErrorKind, Fault, IdentNo, Position, ShardId, Unit, UnitKind};
use crate::seal::{SealError, Sealer};

/// Schema of result frames in the log.
pub const SCHEMA: u16 = 0x0201;

/// Why a frame does not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FrameError {
    /// The bytes are no frame of this schema.
    #[error("result frame at {0}: {1}")]
    Form(Position, String),
    /// A sealed part does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Fault for FrameError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
    fn code(&self) -> &'static str {
        "result_frame"
    }
}

/// Where one outgoing record lies in the frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingRef {
    /// Receiver.
    pub to: To,
    /// Dense number from this unit to the receiver's unit, from 1.
    pub number: u64,
    /// Payload schema.
    pub schema: u16,
    /// Fragment whose key seals the personal part.
    pub fragment: Option<IdentNo>,
    envelope_len: u32,
    personal_len: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    header: Header,
    pub(super) inner_len: u32,
    pub(super) outgoing: Vec<OutgoingRef>,
}

/// Bytes of the length in front of the head, and of a checksum.
pub(super) const WORD: usize = 4;

impl Head {
    /// The head in a frame's first bytes, and how many it takes. `Err`: what is wrong with them.
    pub(super) fn read(frame: &[u8]) -> Result<(Head, usize), String> {
        let end = Head::end(frame).ok_or("too short")?;
        let head = frame.get(WORD..end).ok_or("header cut")?;
        let head = postcard::from_bytes(head).map_err(|error| error.to_string())?;
        Ok((head, end))
    }

    /// Where it ends, by a frame's first bytes.
    pub(super) fn end(frame: &[u8]) -> Option<usize> {
        let len = u32::from_le_bytes(*frame.first_chunk::<WORD>()?);
        Some(WORD + len as usize)
    }

    /// Bytes of all outgoing records.
    pub(super) fn body_len(&self) -> usize {
        self.outgoing.iter().map(OutgoingRef::bytes).sum()
    }

    /// Bytes of the checksums behind them.
    pub(super) fn sums_len(&self) -> usize {
        (self.outgoing.len() + 1) * WORD
    }
}

/// One outgoing record of a frame, still sealed.
#[derive(Debug, Clone, Copy)]
pub struct SealedRecord<'a> {
    /// Its number within the frame.
    pub index: u32,
    /// Payload schema.
    pub schema: u16,
    /// The part without personal data.
    pub envelope: &'a [u8],
    personal: Option<(IdentNo, &'a [u8])>,
}

impl SealedRecord<'_> {
    /// Opens the personal part.
    pub fn open(&self, sealer: &dyn Sealer) -> Result<Personal, SealError> {
        Ok(match self.personal {
            None => Personal::None,
            Some((fragment, sealed)) => match sealer.open_fragment(fragment, sealed)? {
                Some(plain) => Personal::Open(plain.into()),
                None => Personal::Erased,
            },
        })
    }
}

/// A frame read from the log: the header parsed, the rest still in place.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Where it stands.
    pub at: Position,
    /// Who, when, which input.
    pub header: Header,
    refs: Vec<OutgoingRef>,
    inner: Bytes,
    body: Bytes,
}

impl BatchResult {
    /// The frame's bytes. `number` gives each outgoing record its dense number, in order.
    pub fn encode(
        &self,
        sealer: &dyn Sealer,
        mut number: impl FnMut(&To) -> u64,
    ) -> Result<Vec<u8>, SealError> {
        let inner = to_bytes_of(&self.inner, self.inner.bytes_about());
        let mut sealed = Vec::with_capacity(inner.len() + 64);
        sealer.seal_day(self.header.now, &inner, &mut sealed)?;
        let mut body = Vec::with_capacity(self.outgoing.iter().map(bytes_about).sum());
        let mut refs = Vec::with_capacity(self.outgoing.len());
        let mut sums = Vec::with_capacity(self.outgoing.len() + 1);
        for outgoing in &self.outgoing {
            let start = body.len();
            body.extend_from_slice(&outgoing.envelope);
            let before = body.len();
            if let Some((fragment, personal)) = &outgoing.personal {
                sealer.seal_fragment(*fragment, personal, &mut body)?;
            }
            refs.push(OutgoingRef {
                to: outgoing.to,
                number: number(&outgoing.to),
                schema: outgoing.schema,
                fragment: outgoing.personal.as_ref().map(|(fragment, _)| *fragment),
                envelope_len: len32(outgoing.envelope.len()),
                personal_len: len32(body.len() - before),
            });
            sums.push(crc32c::crc32c(&body[start..]));
        }
        let head = Head {
            header: self.header.clone(),
            inner_len: len32(sealed.len()),
            outgoing: refs,
        };
        let head = to_bytes_of(&head, HEADER_BYTES + head.outgoing.len() * REF_BYTES);
        let sums_len = (sums.len() + 1) * WORD;
        let mut frame =
            Vec::with_capacity(WORD + head.len() + sealed.len() + body.len() + sums_len);
        frame.extend_from_slice(&len32(head.len()).to_le_bytes());
        frame.extend_from_slice(&head);
        sums.push(crc32c::crc32c(&frame));
        frame.extend_from_slice(&sealed);
        frame.extend_from_slice(&body);
        frame.extend(sums.into_iter().flat_map(u32::to_le_bytes));
        Ok(frame)
    }
}

impl Decoded {
    /// Parses the header of a frame.
    pub fn read(at: Position, frame: &Bytes) -> Result<Decoded, FrameError> {
        let form = |what: &str| FrameError::Form(at, what.to_owned());
        let (head, head_end) = Head::read(frame).map_err(|what| form(&what))?;
        let inner_end = head_end + head.inner_len as usize;
        if frame.len() < inner_end {
            return Err(form("inner part cut"));
        }
        let body_end = inner_end + head.body_len();
        // Frames of before have no checksums. The log has checked the whole, so nobody looks at them here.
        if ![body_end, body_end + head.sums_len()].contains(&frame.len()) {
            return Err(form("outgoing part has another length than its table says"));
        }
        let body = frame.slice(inner_end..body_end);
        Ok(Decoded {
            at,
            header: head.header,
            refs: head.outgoing,
            inner: frame.slice(head_end..inner_end),
            body,
        })
    }

    /// Bytes that it holds in memory, about.
    pub fn bytes(&self) -> usize {
        self.inner.len() + self.body.len() + self.refs.len() * size_of::<OutgoingRef>()
    }

    /// Opens the inner part. `None`: its day key has been destroyed.
    pub fn inner(&self, sealer: &dyn Sealer) -> Result<Option<Inner>, FrameError> {
        let Some(plain) = sealer.open_day(&self.inner)? else {
            return Ok(None);
        };
        postcard::from_bytes(&plain)
            .map(Some)
            .map_err(|error| FrameError::Form(self.at, error.to_string()))
    }

    /// All outgoing records' places.
    pub fn refs(&self) -> &[OutgoingRef] {
        &self.refs
    }

    /// The last number given per receiver.
    pub fn sent(&self, partitions: u16) -> Vec<(Unit, u64)> {
        let mut last = std::collections::BTreeMap::new();
        for outgoing in &self.refs {
            last.insert(outgoing.to.receiver(partitions), outgoing.number);
        }
        last.into_iter().collect()
    }

    /// The records for `unit` among `partitions` member partitions, opened, with their numbers, in order.
    pub fn records_for(
        &self,
        unit: Unit,
        partitions: u16,
        sealer: &dyn Sealer,
    ) -> Result<Vec<(u64, Record)>, FrameError> {
        let mut records = Vec::new();
        let mut start = 0;
        for (index, outgoing) in self.refs.iter().enumerate() {
            if outgoing.to.reaches(unit, partitions) {
                let record = self.record(index, outgoing, start, sealer)?;
                records.push((outgoing.number, record));
            }
            start += outgoing.bytes();
        }
        Ok(records)
    }

    /// All outgoing records in order, sealed as they are: for readers who want few of them, or look before they open.
    pub fn sealed(&self) -> impl Iterator<Item = SealedRecord<'_>> {
        let mut start = 0;
        self.refs.iter().zip(0..).map(move |(outgoing, index)| {
            let envelope_end = start + outgoing.envelope_len as usize;
            let end = start + outgoing.bytes();
            let record = SealedRecord {
                index,
                schema: outgoing.schema,
                envelope: &self.body[start..envelope_end],
                personal: outgoing
                    .fragment
                    .map(|fragment| (fragment, &self.body[envelope_end..end])),
            };
            start = end;
            record
        })
    }

    /// One outgoing record by its number within the frame.
    pub fn record_at(&self, index: usize, sealer: &dyn Sealer) -> Result<Record, FrameError> {
        let outgoing = self
            .refs
            .get(index)
            .ok_or_else(|| FrameError::Form(self.at, format!("no record {index}")))?;
        let start = self.refs[..index].iter().map(OutgoingRef::bytes).sum();
        self.record(index, outgoing, start, sealer)
    }

    fn record(
        &self,
        index: usize,
        outgoing: &OutgoingRef,
        start: usize,
        sealer: &dyn Sealer,
    ) -> Result<Record, FrameError> {
        let at = RecordAt {
            position: self.at,
            index: len32(index),
        };
        let bytes = self.body.slice(start..start + outgoing.bytes());
        outgoing.record(at, bytes, sealer)
    }
}

impl OutgoingRef {
    /// Bytes of the record.
    pub(super) fn bytes(&self) -> usize {
        self.envelope_len as usize + self.personal_len as usize
    }

    /// The record in its bytes, opened.
    pub(super) fn record(
        &self,
        at: RecordAt,
        bytes: Bytes,
        sealer: &dyn Sealer,
    ) -> Result<Record, FrameError> {
        let envelope_len = self.envelope_len as usize;
        let personal = match self.fragment {
            None => Personal::None,
            Some(fragment) => match sealer.open_fragment(fragment, &bytes[envelope_len..])? {
                Some(plain) => Personal::Open(plain.into()),
                None => Personal::Erased,
            },
        };
        Ok(Record {
            at,
            schema: self.schema,
            shard: match self.to {
                To::Shard(shard) => shard,
                To::Partition(_) | To::EveryPartition => ShardId(0),
            },
            envelope: bytes.slice(..envelope_len),
            personal,
        })
    }
}

impl To {
    /// The unit that receives it among `partitions` member partitions.
    pub fn receiver(&self, partitions: u16) -> Unit {
        match self {
            To::Shard(shard) => Unit::member(shard.partition(partitions)),
            To::Partition(partition) => Unit::member(*partition),
            To::EveryPartition => unreachable!("broadcasts are addressed before they are numbered"),
        }
    }

    /// Whether `unit` is (one of) the receivers.
    pub fn reaches(&self, unit: Unit, partitions: u16) -> bool {
        match (self, unit.kind) {
            (To::Shard(shard), UnitKind::Member) => shard.partition(partitions) == unit.partition,
            (To::Partition(partition), UnitKind::Member) => *partition == unit.partition,
            (To::EveryPartition, UnitKind::Member) => true,
            _ => false,
        }
    }
}

/// What sealing adds to a part, at most.
const SEAL_BYTES: usize = 64;
/// A header with a few slices.
const HEADER_BYTES: usize = 512;
/// An [`OutgoingRef`], at most.
const REF_BYTES: usize = 40;
/// What stands around the key and the value of a row.
const ROW_BYTES: usize = 8;

impl Inner {
    /// Bytes that it takes, a little more rather than less: frames have megabytes, and a buffer that grows while it is
    /// filled is copied again and again.
    fn bytes_about(&self) -> usize {
        let rows = self.rows.iter().map(|row| {
            let value = row.value.as_ref().map_or(0, Bytes::len);
            ROW_BYTES + row.key.len() + value
        });
        let counters = self.counters.keys().map(|name| name.len() + 12);
        64 + rows.sum::<usize>() + self.delta.len() + counters.sum::<usize>()
    }
}

fn bytes_about(outgoing: &Outgoing) -> usize {
    let personal = outgoing.personal.as_ref();
    outgoing.envelope.len() + personal.map_or(0, |(_, plain)| plain.len() + SEAL_BYTES)
}

fn to_bytes_of<T: Serialize>(value: &T, bytes_about: usize) -> Vec<u8> {
    let room = Vec::with_capacity(bytes_about);
    postcard::to_extend(value, room).expect("our own types always serialise")
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("a frame is far below 4 GiB")
}
