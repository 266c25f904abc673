//! History in memory: what tests of its readers use, and the yardstick for others.

use std::ops::ControlFlow;

use parking_lot::RwLock;

use super::{Columns, Each, History, HistoryError, HistoryEvent, HistoryOrder, Scanned, Wanted};
use crate::machine::RecordAt;
use crate::model::{
    BrandId, Currency, EventKind, IdentNo, Offset, OrderStatus, Place, Position, SourceId, Time,
};

/// [`HistoryEvent`] that owns its texts.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the same words as in HistoryEvent")]
pub struct OwnedEvent {
    pub fragment: IdentNo,
    pub at: RecordAt,
    pub raw: Position,
    pub time: Time,
    pub received: Time,
    pub kind: EventKind,
    pub name: Box<str>,
    pub source: SourceId,
    pub brand: BrandId,
    pub test: bool,
    pub erased: bool,
    pub order_only: bool,
    pub message_id: Option<Box<str>>,
    pub identifiers: Vec<Box<str>>,
    pub properties: Option<Box<str>>,
    pub traits: Option<Box<str>>,
    pub context: Option<Box<str>>,
    pub place: Option<Place>,
    pub order: Option<OwnedOrder>,
}

/// [`HistoryOrder`] that owns its texts.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the same words as in HistoryOrder")]
pub struct OwnedOrder {
    pub order: IdentNo,
    pub holder: IdentNo,
    pub order_id: Box<str>,
    pub shop: Box<str>,
    pub status: Option<OrderStatus>,
    pub currency: Currency,
    pub total: Option<i64>,
    pub lines: Box<str>,
}

impl OwnedEvent {
    /// A track event with nothing but these.
    pub fn new(fragment: IdentNo, at: RecordAt, time: Time, name: &str) -> OwnedEvent {
        OwnedEvent {
            fragment,
            at,
            raw: Position::default(),
            time,
            received: time,
            kind: EventKind::Track,
            name: name.into(),
            source: SourceId(1),
            brand: BrandId(1),
            test: false,
            erased: false,
            order_only: false,
            message_id: None,
            identifiers: Vec::new(),
            properties: None,
            traits: None,
            context: None,
            place: None,
            order: None,
        }
    }

    /// A copy of a lent event.
    pub fn of(event: &HistoryEvent<'_>) -> OwnedEvent {
        let text = |text: Option<&str>| text.map(Box::from);
        OwnedEvent {
            fragment: event.fragment,
            at: event.at,
            raw: event.raw,
            time: event.time,
            received: event.received,
            kind: event.kind,
            name: event.name.into(),
            source: event.source,
            brand: event.brand,
            test: event.test,
            erased: event.erased,
            order_only: event.order_only,
            message_id: text(event.message_id),
            identifiers: event.identifiers.iter().map(|&id| id.into()).collect(),
            properties: text(event.properties),
            traits: text(event.traits),
            context: text(event.context),
            place: event.place,
            order: event.order.map(|order| OwnedOrder {
                order: order.order,
                holder: order.holder,
                order_id: order.order_id.into(),
                shop: order.shop.into(),
                status: order.status,
                currency: order.currency,
                total: order.total,
                lines: order.lines_json().into(),
            }),
        }
    }

    /// Lends it with `columns` filled. `scratch` keeps the list of identifiers.
    pub fn lend<'a>(&'a self, columns: Columns, scratch: &'a mut Vec<&'a str>) -> HistoryEvent<'a> {
        scratch.clear();
        if columns.identifiers {
            scratch.extend(self.identifiers.iter().map(|id| &**id));
        }
        let order = self.order.as_ref().map(OwnedOrder::lend);
        HistoryEvent {
            fragment: self.fragment,
            at: self.at,
            raw: self.raw,
            time: self.time,
            received: self.received,
            kind: self.kind,
            name: &self.name,
            source: self.source,
            brand: self.brand,
            test: self.test,
            erased: self.erased,
            order_only: self.order_only,
            message_id: self.message_id.as_deref().filter(|_| columns.message_id),
            identifiers: scratch,
            properties: self.properties.as_deref().filter(|_| columns.properties),
            traits: self.traits.as_deref().filter(|_| columns.traits),
            context: self.context.as_deref().filter(|_| columns.context),
            place: self.place.filter(|_| columns.place),
            order: order.filter(|_| columns.order),
        }
    }

    /// Takes out what an erase takes out: the whole personal part. Order facts stay.
    pub fn erase(&mut self) {
        self.erased = true;
        self.message_id = None;
        self.identifiers.clear();
        self.properties = None;
        self.traits = None;
        self.context = None;
        self.place = None;
    }
}

impl OwnedOrder {
    fn lend(&self) -> HistoryOrder<'_> {
        HistoryOrder::new(
            self.order,
            self.holder,
            &self.order_id,
            &self.shop,
            self.status,
            self.currency,
            self.total,
            &self.lines,
        )
    }
}

/// Events in memory.
#[derive(Debug, Default)]
pub struct MemoryHistory {
    events: RwLock<(Vec<OwnedEvent>, Offset)>,
}

impl MemoryHistory {
    /// Adds events of results below `position`.
    pub fn extend(&self, events: impl IntoIterator<Item = OwnedEvent>, position: Offset) {
        let mut held = self.events.write();
        held.0.extend(events);
        held.1 = held.1.max(position);
    }

    /// Takes the personal part out of all events of these fragments.
    pub fn erase(&self, fragments: &[IdentNo]) {
        let mut held = self.events.write();
        for event in &mut held.0 {
            if fragments.contains(&event.fragment) {
                event.erase();
            }
        }
    }
}

impl History for MemoryHistory {
    fn position(&self) -> Offset {
        self.events.read().1
    }

    fn scan(&self, wanted: &Wanted, sinks: &mut [&mut Each<'_>]) -> Result<Scanned, HistoryError> {
        let held = self.events.read();
        let until = wanted.until.unwrap_or(held.1);
        if until > held.1 {
            return Err(HistoryError::Behind {
                position: held.1,
                wanted: until,
            });
        }
        let mut seen = Scanned {
            position: until,
            ..Scanned::default()
        };
        let count = sinks.len().max(1);
        for event in &held.0 {
            seen.read += 1;
            let mut scratch = Vec::new();
            let lent = event.lend(wanted.columns, &mut scratch);
            if !wanted.holds(&lent) || lent.at.position.offset >= until {
                continue;
            }
            let turn = seen.shown as usize % count;
            seen.shown += 1;
            if let Some(sink) = sinks.get_mut(turn)
                && sink(&lent) == ControlFlow::Break(())
            {
                seen.stopped = true;
                break;
            }
        }
        Ok(seen)
    }
}
