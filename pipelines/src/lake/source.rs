//! The result log as the lake reads it: identity's outgoing events, their personal part opened.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use actors::history::{HistoryEvent, HistoryOrder};
use actors::log::Log;
use actors::machine::{Personal, RecordAt};
use actors::model::{Offset, Position, Unit};
use actors::result::{Decoded, SealedRecord};
use actors::runtime::feed::RESULTS;
use actors::seal::Sealer;
use cdp::routed::{self, EventBodyRef, EventHead, OrderPart};
use query::lake::Results;

/// Bytes of the log read at once.
const READ_BYTES: usize = 4 << 20;

/// The committed results of a node.
pub struct ResultEvents {
    results: Arc<dyn Log>,
    sealer: Arc<dyn Sealer>,
}

impl ResultEvents {
    /// Over a result log and the keys that open it.
    pub fn new(results: Arc<dyn Log>, sealer: Arc<dyn Sealer>) -> ResultEvents {
        ResultEvents { results, sealer }
    }
}

impl Results for ResultEvents {
    fn start(&self) -> Offset {
        self.results.start(RESULTS)
    }

    fn end(&self) -> Offset {
        self.results.end(RESULTS)
    }

    fn read(
        &self,
        range: Range<Offset>,
        pick: &mut dyn FnMut(&HistoryEvent<'_>) -> bool,
        each: &mut dyn FnMut(&HistoryEvent<'_>),
    ) -> Result<(), String> {
        let mut texts = Texts::default();
        let mut at = range.start;
        while at < range.end {
            let read = self.results.read(RESULTS, at, READ_BYTES);
            let read = read.map_err(|error| error.to_string())?;
            if read.is_empty() {
                return Err(format!("there is no result at {at} yet"));
            }
            for stored in read {
                if stored.offset >= range.end {
                    return Ok(());
                }
                let position = Position {
                    partition: RESULTS,
                    offset: stored.offset,
                };
                let frame = Decoded::read(position, &stored.record.payload)
                    .map_err(|error| error.to_string())?;
                if frame.header.unit == Unit::IDENTITY {
                    let events = frame.sealed();
                    for record in events.filter(|record| record.schema == routed::schema::EVENT) {
                        self.event(position, &record, &mut texts, pick, each)?;
                    }
                }
                at = Offset(stored.offset.0 + 1);
            }
        }
        Ok(())
    }
}

impl ResultEvents {
    fn event(
        &self,
        position: Position,
        record: &SealedRecord<'_>,
        texts: &mut Texts,
        pick: &mut dyn FnMut(&HistoryEvent<'_>) -> bool,
        each: &mut dyn FnMut(&HistoryEvent<'_>),
    ) -> Result<(), String> {
        let at = RecordAt {
            position,
            index: record.index,
        };
        let broken = || {
            format!(
                "the event at {position}, number {}, does not read",
                at.index
            )
        };
        let head: EventHead = routed::decode(record.envelope).ok_or_else(broken)?;
        let lines = head.order.as_ref().map(lines_of).unwrap_or_default();
        let bare = bare(&head, at, &lines);
        if !pick(&bare) {
            return Ok(());
        }
        let opened = record.open(&*self.sealer);
        match opened.map_err(|error| error.to_string())? {
            Personal::None | Personal::Erased => each(&bare),
            Personal::Open(bytes) => {
                let body: EventBodyRef<'_> = routed::decode(&bytes).ok_or_else(broken)?;
                let identifiers = texts.identifiers(&body);
                each(&HistoryEvent {
                    erased: false,
                    message_id: Some(body.message_id),
                    identifiers: &identifiers,
                    properties: body.properties,
                    traits: body.traits,
                    context: body.context,
                    place: body.place,
                    ..bare
                });
            }
        }
        Ok(())
    }
}

/// The lines that an event tells of an order, as history keeps them: JSON of a list, or nothing.
pub(crate) fn lines_of(part: &OrderPart) -> String {
    match part.change.lines.is_empty() {
        true => String::new(),
        false => serde_json::to_string(&part.change.lines).expect("lines are plain data"),
    }
}

/// An event without its personal part; `lines`: its [`lines_of`].
pub(crate) fn bare<'a>(head: &'a EventHead, at: RecordAt, lines: &'a str) -> HistoryEvent<'a> {
    let order = head.order.as_ref().map(|part| {
        let change = &part.change;
        HistoryOrder::new(
            part.order,
            part.holder,
            &change.order_id,
            &change.shop,
            change.status,
            change.currency,
            change.total,
            lines,
        )
    });
    HistoryEvent {
        fragment: head.fragment,
        at,
        raw: head.raw,
        time: head.time,
        received: head.received,
        kind: head.kind,
        name: &head.name,
        source: head.source,
        brand: head.brand,
        test: head.test,
        erased: true,
        order_only: head.order_only,
        message_id: None,
        identifiers: &[],
        properties: None,
        traits: None,
        context: None,
        place: None,
        order,
    }
}

/// Texts of identifiers, made in the same place for event after event.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn identifiers(&mut self, body: &EventBodyRef<'_>) -> Vec<&str> {
        if self.0.len() < body.identifiers.len() {
            self.0.resize_with(body.identifiers.len(), String::new);
        }
        for (text, (kind, scope, value)) in self.0.iter_mut().zip(&body.identifiers) {
            text.clear();
            let written = match scope.is_empty() {
                true => write!(text, "{kind}:{value}"),
                false => write!(text, "{kind}@{scope}:{value}"),
            };
            written.expect("a text takes everything");
        }
        let count = body.identifiers.len();
        self.0[..count].iter().map(String::as_str).collect()
    }
}
