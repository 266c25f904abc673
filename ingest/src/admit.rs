//! Admission: one request becomes raw records, one per event, each with a verdict.
//!
//! What is looked at depends on what the answer needs. Tracking SDKs read the status only, so their events are checked for
//! form (JSON, limits, who, what) and decoded later. Senders of our own JSON, scans and CloudEvents are told about every
//! event, so theirs are decoded here once and the verdict is final.

use std::borrow::Cow;
use std::collections::HashMap;

use actors::model::{EventKind, Time};
use bytes::Bytes;

use crate::json::{self, Bounds, FlawKind};
use crate::protocol::{cloud, own, scan, segment, sensors};
use crate::raw::DECODER;
use crate::request::{open, text};
use crate::{
    AdmitError, Protocol, RawRecord, Reject, RejectCode, Request, SourceInfo, Verdict, decode,
    limits,
};

/// What a request holds, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// One per event; rejected ones are dead letters and are stored all the same.
    pub records: Vec<RawRecord>,
    /// Whether it came as a batch (a list or lines) rather than as one event.
    pub batch: bool,
}

impl Admitted {
    /// The rejected events: place in the request, from 0, and reason.
    pub fn rejected(&self) -> impl Iterator<Item = (usize, &Reject)> {
        self.records
            .iter()
            .enumerate()
            .filter_map(|(at, record)| match &record.verdict {
                Verdict::Accepted => None,
                Verdict::Rejected(reject) => Some((at, reject)),
            })
    }
}

/// What admission reads of one event.
pub(crate) struct Head<'a> {
    /// The sender's id, if there is one.
    pub message_id: Option<Cow<'a, str>>,
    /// When the sender says that it sent this event.
    pub sent_at: Option<Time>,
    /// Whether it says when it happened.
    pub timed: bool,
    /// Whether limits of orders hold.
    pub order: bool,
    /// What is wrong with what was read.
    pub flaw: Option<Reject>,
}

/// Takes a request apart. An empty batch is a success with no records, as real servers answer it.
///
/// An event without a message id gets one derived from its bytes without `sentAt`, and from how many equal ones came
/// before it in the request: a client that sends the same again is recognised. If it does not even say when it happened,
/// nothing tells a repeat from a second event, so the request's time and nonce go in and it counts.
pub fn admit(
    protocol: Protocol,
    source: &SourceInfo,
    request: Request<'_>,
) -> Result<Admitted, AdmitError> {
    if protocol == Protocol::Sensors {
        return sensors::admit(source, &request);
    }
    let body = open(protocol, request.body.clone())?;
    let text = text(&body)?;
    let mut intake = Intake::new(protocol, source, &request, &body);
    let batch = match protocol {
        Protocol::Segment => segment::split(&mut intake, text)?,
        Protocol::CloudEvents => cloud::split(&mut intake, text)?,
        Protocol::Scan | Protocol::Own => own::split(&mut intake, text)?,
        Protocol::Sensors => unreachable!("taken above"),
    };
    Ok(Admitted {
        records: intake.records,
        batch,
    })
}

/// Admits a corrected `body` in place of the one that was set aside. All else stays, the message id too unless the new
/// body brings one.
pub fn readmit(record: &RawRecord, body: Bytes) -> RawRecord {
    let mut fixed = RawRecord {
        body: body.clone(),
        decoder: DECODER,
        verdict: Verdict::Accepted,
        lone_surrogate: false,
        ..record.clone()
    };
    match text(&body) {
        Err(error) => {
            fixed.verdict =
                Verdict::Rejected(Reject::new(RejectCode::InvalidUtf8, error.to_string()));
        }
        Ok(text) => {
            fixed.body = body.slice_ref(text.as_bytes());
            let head = head(fixed.protocol, text, fixed.kind, fixed.shared.as_ref());
            judge(&mut fixed, text, head);
        }
    }
    fixed
}

/// A row of a file: `body` is an event of our own JSON; `message_id` is that in it, if the caller knows it.
pub(crate) fn row_record(
    source: &SourceInfo,
    received: Time,
    message_id: Option<String>,
    body: Bytes,
) -> RawRecord {
    let mut record = RawRecord {
        source: source.id,
        id_space: source.id_space,
        brand: source.brand,
        test: source.test,
        received,
        clock_offset_ms: 0,
        protocol: Protocol::Own,
        decoder: DECODER,
        kind: None,
        lone_surrogate: false,
        orders: source.orders.clone(),
        message_id: message_id.unwrap_or_default().into(),
        verdict: Verdict::Accepted,
        body: body.clone(),
        shared: None,
    };
    match text(&body) {
        Ok(text) => {
            record.body = body.slice_ref(text.as_bytes());
            judge(&mut record, text, own::head(text));
        }
        Err(error) => {
            let reject = Reject::new(RejectCode::InvalidUtf8, error.to_string());
            record.verdict = Verdict::Rejected(reject);
        }
    }
    record
}

/// The request while it is taken apart.
pub(crate) struct Intake<'a> {
    pub protocol: Protocol,
    pub source: &'a SourceInfo,
    pub request: &'a Request<'a>,
    pub body: &'a Bytes,
    /// Derived ids so far and how often.
    repeats: HashMap<[u8; 16], u32>,
    pub records: Vec<RawRecord>,
}

/// What the events of a batch have in common.
#[derive(Default, Clone)]
pub(crate) struct Common {
    /// The kind that the endpoint says.
    pub kind: Option<EventKind>,
    /// See [`RawRecord::shared`].
    pub shared: Option<Bytes>,
    /// When the sender says that it sent the batch.
    pub sent_at: Option<Time>,
    /// Whether `sentAt` of single events counts; not for imports, which carry that of long ago.
    pub correct_clock: bool,
}

impl<'a> Intake<'a> {
    pub fn new(
        protocol: Protocol,
        source: &'a SourceInfo,
        request: &'a Request<'a>,
        body: &'a Bytes,
    ) -> Intake<'a> {
        Intake {
            protocol,
            source,
            request,
            body,
            repeats: HashMap::new(),
            records: Vec::new(),
        }
    }

    /// Refuses batches with too many events, before any is looked at.
    pub fn room_for(&self, events: usize) -> Result<(), AdmitError> {
        let max = limits::batch_events(self.protocol);
        if events > max {
            return Err(AdmitError::TooManyEvents { events, max });
        }
        Ok(())
    }

    /// Admits a request that holds one event only: what is no JSON or too large is refused, not set aside.
    pub fn only(&mut self, text: &str, common: &Common) -> Result<(), AdmitError> {
        if text.is_empty() {
            return Err(AdmitError::Empty);
        }
        let head = head(self.protocol, text, common.kind, common.shared.as_ref());
        let (max, bounds) = bounds(self.protocol, head.order);
        if text.len() > max {
            return Err(AdmitError::EventTooLarge {
                bytes: text.len(),
                max,
            });
        }
        if let Err(flaw) = json::check(text, bounds)
            && let FlawKind::Syntax(_) = flaw.kind
        {
            return Err(AdmitError::json(text, flaw));
        }
        self.push(text, common, head);
        Ok(())
    }

    /// Admits one event of several.
    pub fn item(&mut self, item: &str, common: &Common) {
        let head = head(self.protocol, item, common.kind, common.shared.as_ref());
        self.push(item, common, head);
    }

    fn push(&mut self, item: &str, common: &Common, head: Head<'_>) {
        let received = self.request.received;
        let sent_at = match (common.sent_at, head.sent_at) {
            (Some(batch), _) => Some(batch),
            (None, single) if common.correct_clock => single,
            _ => None,
        };
        let mut record = RawRecord {
            source: self.source.id,
            id_space: self.source.id_space,
            brand: self.source.brand,
            test: self.source.test,
            received,
            clock_offset_ms: sent_at.map_or(0, |sent| received.0.saturating_sub(sent.0)),
            protocol: self.protocol,
            decoder: DECODER,
            kind: common.kind,
            lone_surrogate: false,
            orders: self.source.orders.clone(),
            message_id: "".into(),
            verdict: Verdict::Accepted,
            body: self.body.slice_ref(item.as_bytes()),
            shared: common.shared.clone(),
        };
        let timed = head.timed;
        judge(&mut record, item, head);
        if record.message_id.is_empty() {
            record.message_id = self.derived_id(item, common.kind, timed);
        }
        self.records.push(record);
    }

    fn derived_id(&mut self, item: &str, kind: Option<EventKind>, timed: bool) -> Box<str> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind.map_or("", EventKind::as_str).as_bytes());
        let mut named = false;
        for (name, value) in json::members(item) {
            if !matches!(&*name, "sentAt" | "sent_at" | "writeKey") {
                for part in [&*name, value] {
                    hasher.update(&(part.len() as u64).to_le_bytes());
                    hasher.update(part.as_bytes());
                }
            }
            named = true;
        }
        if !named {
            hasher.update(item.as_bytes());
        }
        if !timed {
            hasher.update(&self.request.received.0.to_le_bytes());
            hasher.update(&self.request.nonce.to_le_bytes());
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        let before = self.repeats.entry(hash).or_default();
        let id = match *before {
            0 => format!("auto-{:032x}", u128::from_be_bytes(hash)),
            n => format!("auto-{:032x}-{n}", u128::from_be_bytes(hash)),
        };
        *before += 1;
        id.into()
    }
}

fn head<'a>(
    protocol: Protocol,
    item: &'a str,
    kind: Option<EventKind>,
    shared: Option<&Bytes>,
) -> Head<'a> {
    match protocol {
        Protocol::Segment => segment::head(item, kind),
        Protocol::CloudEvents => cloud::head(item, shared),
        Protocol::Scan => scan::head(item),
        Protocol::Own => own::head(item),
        Protocol::Sensors => sensors::head(item, shared),
    }
}

fn bounds(protocol: Protocol, order: bool) -> (usize, Bounds) {
    if protocol == Protocol::Sensors {
        (limits::SENSORS_EVENT_BYTES, Bounds::TRACKING)
    } else if order {
        (limits::ORDER_EVENT_BYTES, Bounds::ORDER)
    } else {
        (limits::TRACKING_EVENT_BYTES, Bounds::TRACKING)
    }
}

/// Sets message id and verdict of a record whose body is `item`.
fn judge(record: &mut RawRecord, item: &str, head: Head<'_>) {
    let mut verdict = form(record, item, &head);
    match head.message_id {
        Some(id) if id.chars().count() > limits::MESSAGE_ID_CHARS => {
            verdict = verdict.and(Err(Reject::new(
                RejectCode::MessageIdTooLong,
                format!(
                    "the message id has {} characters, the limit is {}",
                    id.chars().count(),
                    limits::MESSAGE_ID_CHARS
                ),
            )));
        }
        Some(id) => record.message_id = id.into(),
        None => {}
    }
    if verdict.is_ok() && record.protocol != Protocol::Segment {
        verdict = decode(record).map(|_| ());
    }
    if let Err(reject) = verdict {
        record.verdict = Verdict::Rejected(reject);
    }
}

/// Form: size, JSON, limits, and what the head found.
fn form(record: &mut RawRecord, item: &str, head: &Head<'_>) -> Result<(), Reject> {
    let (max, bounds) = bounds(record.protocol, head.order);
    // What was set aside before it was taken apart into events is judged by what was wrong then.
    if record.protocol == Protocol::Sensors
        && !item.starts_with('{')
        && let Some(reject) = &head.flaw
    {
        return Err(reject.clone());
    }
    if item.len() > max {
        return Err(Reject::new(
            RejectCode::TooLarge,
            format!("the event has {} bytes, the limit is {max}", item.len()),
        ));
    }
    if !item.is_empty() || record.shared.is_none() {
        record.lone_surrogate = json::check(item, bounds)?.lone_surrogate;
    }
    match &head.flaw {
        Some(reject) => Err(reject.clone()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
