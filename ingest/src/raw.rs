//! The raw record: one event as it came, with what is needed to read it again in years.
//!
//! It is stored in two parts. The **envelope** holds nothing personal and stays readable: source, brand, times, protocol,
//! verdict. The **personal part** holds the message id, the original bytes and what the batch said for all its events; the
//! caller seals it. Both begin with nothing but a version, so that a later version reads what an earlier one wrote: it
//! adds its reader to [`READERS`] and lifts the older form into today's [`RawRecord`] there.

use actors::model::{BrandId, Currency, ErrorKind, EventKind, Fault, IdSpace, SourceId, Time};
use bytes::Bytes;

use crate::{OrderDefaults, Reject, RejectCode};

/// How an event is written; with the decoder's version it says which code reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Segment and RudderStack tracking API.
    Segment,
    /// CloudEvents 1.0.
    CloudEvents,
    /// Our own JSON for scans.
    Scan,
    /// Our own JSON for events; also what a row of a file becomes.
    Own,
    /// Sensors Analytics (神策).
    Sensors,
}

/// What admission found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Looks right; decoding has the last word.
    Accepted,
    /// Set aside: a dead letter.
    Rejected(Reject),
}

/// One event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Where it came from.
    pub source: SourceId,
    /// The source's id space.
    pub id_space: IdSpace,
    /// The brand that owns it.
    pub brand: BrandId,
    /// From a test source: kept out of counts.
    pub test: bool,
    /// When we received it.
    pub received: Time,
    /// Added to the times that the event states: how far the sender's clock was behind ours when it sent.
    pub clock_offset_ms: i64,
    /// How it is written.
    pub protocol: Protocol,
    /// Version of the decoder that admitted it; the same version reads it at replay.
    pub decoder: u8,
    /// The kind that the endpoint says, for events that do not say it themselves.
    pub kind: Option<EventKind>,
    /// Half a surrogate pair is escaped in the body; the decoder replaces it.
    pub lone_surrogate: bool,
    /// What the source says of orders that do not say it themselves.
    pub orders: OrderDefaults,
    /// The sender's id of this message, or a derived one.
    pub message_id: Box<str>,
    /// What admission found.
    pub verdict: Verdict,
    /// The original bytes of this one event.
    pub body: Bytes,
    /// What stands outside the event and belongs to it: JSON object with the batch's `context` and `integrations`
    /// (Segment), the attributes from headers (CloudEvents), or the source's settings (Sensors).
    pub shared: Option<Bytes>,
}

/// Version of the stored form that this code writes.
pub const VERSION: u8 = 1;

/// Version of the decoders that this code runs. 2: places tell their district, consents become attributes.
pub const DECODER: u8 = 2;

/// Readers by version, oldest first. A new version of the stored form adds one line here and keeps the others.
const READERS: [Read; VERSION as usize] = [read_v1];

/// Reads one version of the stored form: envelope and personal part.
type Read = fn(&[u8], &Bytes) -> Option<RawRecord>;

/// Why stored bytes are no raw record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// Written by a newer version.
    #[error(
        "raw record of version {0}: start the version of Tributary that wrote it, or a newer one"
    )]
    Newer(u8),
    /// The bytes do not fit their version.
    #[error("raw record of version {0} is damaged")]
    Damaged(u8),
}

impl Fault for RawError {
    fn kind(&self) -> ErrorKind {
        match self {
            RawError::Newer(_) => ErrorKind::Unavailable,
            RawError::Damaged(_) => ErrorKind::Corrupt,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            RawError::Newer(_) => "raw_newer",
            RawError::Damaged(_) => "raw_damaged",
        }
    }
}

const FLAG_TEST: u8 = 1;
const FLAG_REJECTED: u8 = 2;
const FLAG_LONE_SURROGATE: u8 = 4;
const FLAG_SHARED: u8 = 8;
const FLAG_FIELD: u8 = 16;

impl RawRecord {
    /// The part that holds nothing personal.
    pub fn envelope(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        self.envelope_into(&mut out);
        out
    }

    /// Appends the envelope to `out`.
    pub fn envelope_into(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        let mut set = |flag: u8, on: bool| flags |= if on { flag } else { 0 };
        set(FLAG_TEST, self.test);
        set(FLAG_LONE_SURROGATE, self.lone_surrogate);
        set(FLAG_SHARED, self.shared.is_some());
        if let Verdict::Rejected(reject) = &self.verdict {
            set(FLAG_REJECTED, true);
            set(FLAG_FIELD, reject.field.is_some());
        }
        out.extend([
            VERSION,
            flags,
            protocol_number(self.protocol),
            self.decoder,
            self.kind.map_or(0, kind_number),
        ]);
        push_number(out, self.source.0.into());
        push_number(out, self.id_space.0.into());
        push_number(out, self.brand.0.into());
        push_signed(out, self.received.0);
        push_signed(out, self.clock_offset_ms);
        out.extend(self.orders.currency.as_str().bytes());
        push_bytes(out, self.orders.shop.as_bytes());
        if let Verdict::Rejected(reject) = &self.verdict {
            out.push(reject.code.number());
        }
    }

    /// The part to be sealed.
    pub fn personal(&self) -> Vec<u8> {
        let shared = self.shared.as_ref().map_or(0, Bytes::len);
        let mut out = Vec::with_capacity(self.body.len() + shared + self.message_id.len() + 16);
        self.personal_into(&mut out);
        out
    }

    /// Appends the personal part to `out`.
    pub fn personal_into(&self, out: &mut Vec<u8>) {
        push_bytes(out, self.message_id.as_bytes());
        if let Verdict::Rejected(reject) = &self.verdict {
            push_bytes(out, reject.reason.as_bytes());
            if let Some(field) = &reject.field {
                push_bytes(out, field.as_bytes());
            }
        }
        if let Some(shared) = &self.shared {
            push_bytes(out, shared);
        }
        out.extend_from_slice(&self.body);
    }

    /// Reads a record back. The body stays a slice of `personal`.
    pub fn from_parts(envelope: &[u8], personal: &Bytes) -> Result<RawRecord, RawError> {
        let version = envelope.first().copied().unwrap_or(0);
        let index = usize::from(version)
            .checked_sub(1)
            .ok_or(RawError::Damaged(version))?;
        let reader = READERS.get(index).ok_or(RawError::Newer(version))?;
        reader(envelope, personal).ok_or(RawError::Damaged(version))
    }

    /// Bytes that it holds, for permits.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.shared.as_ref().map_or(0, Bytes::len) + 64
    }
}

fn read_v1(envelope: &[u8], personal: &Bytes) -> Option<RawRecord> {
    let mut head = Reader {
        bytes: envelope,
        at: 1,
    };
    let flags = head.byte()?;
    let protocol = protocol_from(head.byte()?)?;
    let decoder = head.byte()?;
    let kind = match head.byte()? {
        0 => None,
        number => Some(kind_from(number)?),
    };
    let source = SourceId(head.number32()?);
    let id_space = IdSpace(head.number32()?);
    let brand = BrandId(head.number32()?);
    let received = Time(head.signed()?);
    let clock_offset_ms = head.signed()?;
    let currency: Currency = std::str::from_utf8(head.take(3)?).ok()?.parse().ok()?;
    let shop = head.text()?.into();
    let code = match flags & FLAG_REJECTED {
        0 => None,
        _ => Some(RejectCode::from_number(head.byte()?)?),
    };
    if head.at != envelope.len() {
        return None;
    }

    let mut tail = Reader {
        bytes: personal,
        at: 0,
    };
    let message_id = tail.text()?.into();
    let verdict = match code {
        None => Verdict::Accepted,
        Some(code) => Verdict::Rejected(Reject {
            code,
            reason: tail.text()?.to_owned(),
            field: match flags & FLAG_FIELD {
                0 => None,
                _ => Some(tail.text()?.to_owned()),
            },
        }),
    };
    let shared = match flags & FLAG_SHARED {
        0 => None,
        _ => Some(personal.slice_ref(tail.prefixed()?)),
    };
    Some(RawRecord {
        source,
        id_space,
        brand,
        test: flags & FLAG_TEST != 0,
        received,
        clock_offset_ms,
        protocol,
        decoder,
        kind,
        lone_surrogate: flags & FLAG_LONE_SURROGATE != 0,
        orders: OrderDefaults { currency, shop },
        message_id,
        verdict,
        body: personal.slice(tail.at..),
        shared,
    })
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Segment => 1,
        Protocol::CloudEvents => 2,
        Protocol::Scan => 3,
        Protocol::Own => 4,
        Protocol::Sensors => 5,
    }
}

fn protocol_from(number: u8) -> Option<Protocol> {
    [
        Protocol::Segment,
        Protocol::CloudEvents,
        Protocol::Scan,
        Protocol::Own,
        Protocol::Sensors,
    ]
    .into_iter()
    .find(|p| protocol_number(*p) == number)
}

fn kind_number(kind: EventKind) -> u8 {
    match kind {
        EventKind::Track => 1,
        EventKind::Identify => 2,
        EventKind::Page => 3,
        EventKind::Screen => 4,
        EventKind::Group => 5,
        EventKind::Alias => 6,
        EventKind::Order => 7,
        EventKind::Scan => 8,
        EventKind::Item => 9,
    }
}

fn kind_from(number: u8) -> Option<EventKind> {
    use EventKind::*;
    [
        Track, Identify, Page, Screen, Group, Alias, Order, Scan, Item,
    ]
    .into_iter()
    .find(|k| kind_number(*k) == number)
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_signed(out: &mut Vec<u8>, number: i64) {
    push_number(out, (number << 1 ^ number >> 63) as u64);
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn number32(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn prefixed(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?.try_into().ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.prefixed()?).ok()
    }
}

#[cfg(test)]
mod tests;
