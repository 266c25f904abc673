//! What was seen of a fragment: how many events, when first and last. It changes with every event, so it stands in a small
//! row of its own: what a member was told is rewritten only when something is told.

use actors::machine::RowsError;
use actors::model::{BrandId, EventKind, SourceId, Time};
use serde::{Deserialize, Serialize};

use super::form;

/// Events of one sort from one source and brand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Brand.
    pub brand: BrandId,
    /// Source.
    pub source: SourceId,
    /// Sort of event.
    pub kind: EventKind,
    /// How many.
    pub count: u64,
    /// Earliest event time.
    pub first: Time,
    /// Latest event time.
    pub last: Time,
}

impl Seen {
    fn key(&self) -> (BrandId, SourceId, EventKind) {
        (self.brand, self.source, self.kind)
    }
}

/// What was seen of a fragment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Activity {
    /// Events, by brand, source and sort.
    pub seen: Vec<Seen>,
    /// Identity notes in the timeline.
    pub notes: u32,
}

impl Activity {
    /// Reads a row. The one place that knows older versions.
    ///
    /// Errors: damage, or a form of a later version.
    pub fn decode(row: &[u8]) -> Result<Activity, RowsError> {
        form::decode(row, "an activity row")
    }

    /// The row: nothing personal.
    pub fn encode(&self) -> Vec<u8> {
        form::encode(self, 64)
    }

    /// Whether nothing was seen: then there is no row.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.notes == 0
    }

    /// Counts an event.
    pub(crate) fn see(&mut self, event: Seen) {
        match self.seen.binary_search_by_key(&event.key(), Seen::key) {
            Ok(at) => {
                let known = &mut self.seen[at];
                known.count += event.count;
                known.first = known.first.min(event.first);
                known.last = known.last.max(event.last);
            }
            Err(at) => self.seen.insert(at, event),
        }
    }

    /// Joins what was seen of the same fragment (disjoint events), or of another one for a view of the whole member.
    pub fn merge(&mut self, other: Activity) {
        for seen in other.seen {
            self.see(seen);
        }
        self.notes += other.notes;
    }
}
