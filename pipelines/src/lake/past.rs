//! The history of a platform: the lake as far as it reaches, the result log behind it.
//!
//! Usually the lake stands at the end of the log and nothing is read from the log. After a start, and while a lake is made
//! again, the answer is right all the same; it only costs more.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use actors::history::{Each, History, HistoryError, HistoryEvent, Scanned, Wanted};
use actors::model::Offset;
use query::lake::{Lake, Results};

use super::ResultEvents;

/// The lake and what it has not read yet.
pub struct Past {
    lake: Arc<Lake>,
    log: Arc<ResultEvents>,
}

impl Past {
    /// Over a lake and the log that it follows.
    pub fn new(lake: Arc<Lake>, log: Arc<ResultEvents>) -> Past {
        Past { lake, log }
    }

    /// Results that are not in the lake yet: by one thread, in order.
    fn log(
        &self,
        wanted: &Wanted,
        range: Range<Offset>,
        sink: &mut Each<'_>,
    ) -> Result<Scanned, HistoryError> {
        let (mut read, mut shown) = (0, 0);
        let stopped = Cell::new(false);
        let mut pick = |event: &HistoryEvent<'_>| {
            read += 1;
            !stopped.get() && wanted.holds(event)
        };
        let mut each = |event: &HistoryEvent<'_>| {
            shown += 1;
            stopped.set(sink(&event.only(wanted.columns)).is_break());
        };
        let done = self.log.read(range, &mut pick, &mut each);
        done.map_err(HistoryError::Io)?;
        Ok(Scanned {
            shown,
            read,
            stopped: stopped.get(),
            ..Scanned::default()
        })
    }
}

impl History for Past {
    fn position(&self) -> Offset {
        self.log.end()
    }

    fn scan(&self, wanted: &Wanted, sinks: &mut [&mut Each<'_>]) -> Result<Scanned, HistoryError> {
        let position = self.position();
        let until = wanted.until.unwrap_or(position);
        if until > position {
            let wanted = until;
            return Err(HistoryError::Behind { position, wanted });
        }
        let reached = self.lake.position().min(until);
        let in_lake = Wanted {
            until: Some(reached),
            ..wanted.clone()
        };
        let mut seen = Scanned {
            position: until,
            ..Scanned::default()
        };
        let mut add = |more: Scanned| {
            seen.shown += more.shown;
            seen.read += more.read;
            seen.stopped |= more.stopped;
            more.stopped
        };
        let stopped = add(self.lake.scan(&in_lake, sinks)?);
        let behind = wanted.from.max(reached);
        if let Some(sink) = sinks.first_mut()
            && !stopped
            && behind < until
        {
            add(self.log(wanted, behind..until, sink)?);
        }
        Ok(seen)
    }
}
