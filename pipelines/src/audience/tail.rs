//! Events as they are committed: read from the result log, right behind identity.
//!
//! The history of events (the lake) answers for long ranges; this is for the last moments, which the audience must not wait
//! for. Frames are shared with the member units, which read the same ones at about the same time.

use std::ops::ControlFlow;
use std::sync::Arc;

use actors::history::{Each, History, HistoryError, HistoryEvent, Scanned, Wanted};
use actors::machine::{Personal, RecordAt};
use actors::model::{IdentNo, Offset, Unit};
use actors::result::FrameError;
use actors::runtime::feed::{FeedError, RESULTS};
use actors::runtime::runner::Shared;
use cdp::routed::{self, Erased, EventBodyRef, EventHead, schema};

use crate::lake::{bare, lines_of};

/// Reads committed events from the result log.
#[derive(Clone)]
pub struct Tail {
    shared: Arc<Shared>,
}

impl Tail {
    /// Over a node's logs.
    pub fn new(shared: Arc<Shared>) -> Tail {
        Tail { shared }
    }

    /// Results below this offset are committed.
    pub fn end(&self) -> Offset {
        self.shared.results.end(RESULTS)
    }

    /// Shows all events of results from `from` up to `until`, in the order in which identity decided them, until `each`
    /// breaks off. A result is shown to its end even so: answered is from where to go on, behind that result. Events that
    /// `pick` does not want by their name are not opened; `orders`: whether order facts are wanted. `erased` hears of
    /// fragments whose person was forgotten; no event of theirs comes later.
    pub fn read(
        &self,
        from: Offset,
        until: Offset,
        pick: &mut dyn FnMut(&str) -> bool,
        orders: bool,
        each: &mut dyn FnMut(&HistoryEvent<'_>) -> ControlFlow<()>,
        erased: &mut dyn FnMut(&[IdentNo]),
    ) -> Result<Offset, FeedError> {
        let mut at = from;
        while at < until {
            let frame = self.shared.feeds.frame(at)?;
            let mut flow = ControlFlow::Continue(());
            if frame.header.unit == Unit::IDENTITY {
                let mut forgotten_here: Vec<IdentNo> = Vec::new();
                for record in frame.sealed() {
                    match record.schema {
                        schema::EVENT => {
                            // One that does not read, the member unit parks; it counts for nobody.
                            let head = routed::decode::<EventHead>(record.envelope);
                            let Some(head) = head.filter(|it| !it.order_only && pick(&it.name))
                            else {
                                continue;
                            };
                            let at = RecordAt {
                                position: frame.at,
                                index: record.index,
                            };
                            let told = head.order.as_ref().filter(|_| orders);
                            let lines = told.map(lines_of).unwrap_or_default();
                            let bare = bare(&head, at, &lines);
                            let sealer = &*self.shared.sealer;
                            let personal = record.open(sealer).map_err(FrameError::from)?;
                            let body: Option<EventBodyRef<'_>> = match &personal {
                                Personal::Open(bytes) => routed::decode(bytes),
                                Personal::None | Personal::Erased => None,
                            };
                            let event = HistoryEvent {
                                erased: body.is_none(),
                                properties: body.as_ref().and_then(|body| body.properties),
                                place: body.as_ref().and_then(|body| body.place),
                                order: bare.order.filter(|_| orders),
                                ..bare
                            };
                            if each(&event).is_break() {
                                flow = ControlFlow::Break(());
                            }
                        }
                        schema::ERASED => {
                            if let Some(forgotten) = routed::decode::<Erased>(record.envelope) {
                                forgotten_here.extend(forgotten.fragments);
                            }
                        }
                        _ => {}
                    }
                }
                // No event of theirs comes later.
                if !forgotten_here.is_empty() {
                    erased(&forgotten_here);
                }
            }
            at = Offset(at.0 + 1);
            if flow.is_break() {
                break;
            }
        }
        Ok(at)
    }
}

/// The log itself as the history of events: right, but it reads everything for any question. For a platform without a lake.
impl History for Tail {
    fn position(&self) -> Offset {
        self.end()
    }

    fn scan(&self, wanted: &Wanted, sinks: &mut [&mut Each<'_>]) -> Result<Scanned, HistoryError> {
        let position = self.position();
        let until = wanted.until.unwrap_or(position);
        if until > position {
            let wanted = until;
            return Err(HistoryError::Behind { position, wanted });
        }
        let mut seen = Scanned {
            position: until,
            ..Scanned::default()
        };
        let Some(sink) = sinks.first_mut() else {
            return Ok(seen);
        };
        let read = self.read(
            wanted.from,
            until,
            &mut |_| true,
            wanted.columns.order,
            &mut |event| {
                if seen.stopped {
                    return ControlFlow::Break(());
                }
                seen.read += 1;
                if !wanted.holds(event) {
                    return ControlFlow::Continue(());
                }
                seen.shown += 1;
                let flow = sink(event);
                seen.stopped = flow.is_break();
                flow
            },
            &mut |_| (),
        );
        read.map_err(|error| HistoryError::Io(error.to_string()))?;
        Ok(seen)
    }
}
