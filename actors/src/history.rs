//! The port between who keeps the events of all time and who computes over them: measures, backfill, explain, reports.
//!
//! An event belongs to its **fragment** for ever, and a member is a set of fragments; who wants a member asks for its
//! fragments, so a merge or an unmerge never touches history. Events are lent, one after the other, without an allocation
//! each: a scan goes over millions in a second. The lake (crate `query`) implements this; [`MemoryHistory`] does for tests.

mod facts;
mod memory;

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use crate::machine::RecordAt;
use crate::model::{
    BrandId, Currency, ErrorKind, EventKind, Fault, IdentNo, Offset, OrderLine, OrderStatus, Place,
    Position, Retry, SourceId, Time,
};

pub use facts::{ORDER, OrderFacts};
pub use memory::{MemoryHistory, OwnedEvent, OwnedOrder};

/// An event of the past, lent for the time of one call. Columns that were not asked for ([`Columns`]) are `None` or empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistoryEvent<'a> {
    /// The fragment that owns it.
    pub fragment: IdentNo,
    /// Its record in the result log: unique, and grows in the order in which identity decided.
    pub at: RecordAt,
    /// The raw record that it came with.
    pub raw: Position,
    /// When it happened.
    pub time: Time,
    /// When we received it.
    pub received: Time,
    /// Sort.
    pub kind: EventKind,
    /// Name.
    pub name: &'a str,
    /// Source.
    pub source: SourceId,
    /// Brand.
    pub brand: BrandId,
    /// From a test source: kept out of counts.
    pub test: bool,
    /// Its personal part is gone; what is left are time, name, and amounts.
    pub erased: bool,
    /// Only the order facts of an event whose owner is another member: no timeline row, no count of events.
    pub order_only: bool,
    /// The sender's message id.
    pub message_id: Option<&'a str>,
    /// Identifiers as text (`kind[@scope]:value`), strongest first.
    pub identifiers: &'a [&'a str],
    /// Properties: the text of a JSON object.
    pub properties: Option<&'a str>,
    /// Attributes told: the text of a JSON object.
    pub traits: Option<&'a str>,
    /// The sender's context: the text of a JSON object.
    pub context: Option<&'a str>,
    /// Where it happened.
    pub place: Option<Place>,
    /// What it says of an order.
    pub order: Option<HistoryOrder<'a>>,
}

impl HistoryEvent<'_> {
    /// The event with only these columns filled.
    #[must_use]
    pub fn only(self, columns: Columns) -> Self {
        HistoryEvent {
            message_id: self.message_id.filter(|_| columns.message_id),
            identifiers: match columns.identifiers {
                true => self.identifiers,
                false => &[],
            },
            properties: self.properties.filter(|_| columns.properties),
            traits: self.traits.filter(|_| columns.traits),
            context: self.context.filter(|_| columns.context),
            place: self.place.filter(|_| columns.place),
            order: self.order.filter(|_| columns.order),
            ..self
        }
    }
}

/// What an event says of an order. Not personal: it stays when the person is erased.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistoryOrder<'a> {
    /// The order's own identifier number.
    pub order: IdentNo,
    /// The fragment that kept the order when the event was decided.
    pub holder: IdentNo,
    /// The order's id, unique within `shop`.
    pub order_id: &'a str,
    /// Where the id is unique.
    pub shop: &'a str,
    /// New status, if the event says one.
    pub status: Option<OrderStatus>,
    /// Currency of all amounts.
    pub currency: Currency,
    /// Total in the smallest unit, if the event says one.
    pub total: Option<i64>,
    /// Lines that the event adds or replaces: JSON of a list of [`OrderLine`]; empty text for none.
    lines: &'a str,
}

impl<'a> HistoryOrder<'a> {
    /// The order facts with `lines` as JSON.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        order: IdentNo,
        holder: IdentNo,
        order_id: &'a str,
        shop: &'a str,
        status: Option<OrderStatus>,
        currency: Currency,
        total: Option<i64>,
        lines: &'a str,
    ) -> HistoryOrder<'a> {
        HistoryOrder {
            order,
            holder,
            order_id,
            shop,
            status,
            currency,
            total,
            lines,
        }
    }

    /// The lines, read. `None`: they are damaged.
    pub fn lines(&self) -> Option<Vec<OrderLine>> {
        match self.lines {
            "" => Some(Vec::new()),
            text => serde_json::from_str(text).ok(),
        }
    }

    /// The lines as JSON; empty text for none.
    pub fn lines_json(&self) -> &'a str {
        self.lines
    }
}

/// Which names a scan wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameWanted {
    /// Exactly this one.
    Is(Box<str>),
    /// All that begin with this.
    StartsWith(Box<str>),
}

impl NameWanted {
    /// Whether `name` is wanted.
    pub fn holds(&self, name: &str) -> bool {
        match self {
            NameWanted::Is(wanted) => &**wanted == name,
            NameWanted::StartsWith(prefix) => name.starts_with(&**prefix),
        }
    }
}

/// Columns beyond the fixed ones, which cost reading and decompressing: ask for what you need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Columns {
    /// [`HistoryEvent::message_id`].
    pub message_id: bool,
    /// [`HistoryEvent::identifiers`].
    pub identifiers: bool,
    /// [`HistoryEvent::properties`].
    pub properties: bool,
    /// [`HistoryEvent::traits`].
    pub traits: bool,
    /// [`HistoryEvent::context`].
    pub context: bool,
    /// [`HistoryEvent::place`].
    pub place: bool,
    /// [`HistoryEvent::order`].
    pub order: bool,
}

impl Columns {
    /// Only the fixed columns.
    pub const NONE: Columns = Columns {
        message_id: false,
        identifiers: false,
        properties: false,
        traits: false,
        context: false,
        place: false,
        order: false,
    };
    /// Everything.
    pub const ALL: Columns = Columns {
        message_id: true,
        identifiers: true,
        properties: true,
        traits: true,
        context: true,
        place: true,
        order: true,
    };
    /// What rules over events read: properties and order facts.
    pub const FACTS: Columns = Columns {
        properties: true,
        order: true,
        ..Columns::NONE
    };
}

/// What a scan wants. The default is every event with the fixed columns only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Names, any of them; `None`: all.
    pub names: Option<Vec<NameWanted>>,
    /// Sorts, any of them; `None`: all.
    pub kinds: Option<BTreeSet<EventKind>>,
    /// Fragments; `None`: all. A few cost little: files and row groups without them are not read.
    /// An empty set wants nothing.
    pub fragments: Option<BTreeSet<IdentNo>>,
    /// Event times, start included, end excluded; `None`: all.
    pub times: Option<Range<Time>>,
    /// Only events of results from this offset of the result log on.
    pub from: Offset,
    /// Only events of results below this offset; `None`: up to where the history stands. [`HistoryError::Behind`] if it
    /// does not reach so far yet.
    pub until: Option<Offset>,
    /// Columns to fill.
    pub columns: Columns,
    /// Also records that only say something of an order ([`HistoryEvent::order_only`]).
    pub order_only: bool,
}

impl Wanted {
    /// Whether the fixed columns of an event are as wanted. Says nothing of `until: None`.
    pub fn holds(&self, event: &HistoryEvent<'_>) -> bool {
        self.holds_name(event.name) && self.holds_but_name(event)
    }

    /// As [`Wanted::holds`] without looking at the name: for who has compared names in another way.
    pub fn holds_but_name(&self, event: &HistoryEvent<'_>) -> bool {
        let offset = event.at.position.offset;
        (self.order_only || !event.order_only)
            && self.from <= offset
            && self.until.is_none_or(|until| offset < until)
            && self.times.as_ref().is_none_or(|t| t.contains(&event.time))
            && self.kinds.as_ref().is_none_or(|k| k.contains(&event.kind))
            && (self.fragments.as_ref()).is_none_or(|f| f.contains(&event.fragment))
    }

    /// Whether an event of this name is wanted.
    pub fn holds_name(&self, name: &str) -> bool {
        let names = self.names.as_ref();
        names.is_none_or(|names| names.iter().any(|wanted| wanted.holds(name)))
    }
}

/// What a scan saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scanned {
    /// The scan showed exactly the wanted events of all results below this offset: a reader of the result log goes on from
    /// here. With [`Wanted::until`] it is that.
    pub position: Offset,
    /// Events shown.
    pub shown: u64,
    /// Events decoded: those that could not be left out by what is known of their file, row group, fragment and name.
    pub read: u64,
    /// A callback broke the scan off: not everything was shown.
    pub stopped: bool,
}

/// Why a scan failed. What was shown until then is part of the answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HistoryError {
    /// History does not reach to the wanted offset yet.
    #[error("the history of events reaches to result {position}, {wanted} is wanted: try again")]
    Behind {
        /// Where it stands.
        position: Offset,
        /// What was asked for.
        wanted: Offset,
    },
    /// A part of it is damaged and could not be made again.
    #[error("the history of events is damaged: {file}: {what}")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// Reading failed.
    #[error("the history of events cannot be read: {0}")]
    Io(String),
}

impl Fault for HistoryError {
    fn kind(&self) -> ErrorKind {
        match self {
            HistoryError::Behind { .. } => ErrorKind::Unavailable,
            HistoryError::Damaged { .. } => ErrorKind::Corrupt,
            HistoryError::Io(_) => ErrorKind::Internal,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            HistoryError::Behind { .. } => "history_behind",
            HistoryError::Damaged { .. } => "history_damaged",
            HistoryError::Io(_) => "history_io",
        }
    }
    fn retry(&self) -> Retry {
        match self {
            HistoryError::Behind { .. } => Retry::After(1),
            _ => Retry::Never,
        }
    }
}

/// Takes one event of a scan; `Break` ends the whole scan (a cancel). Keep it short: it runs inside the scan.
pub type Each<'a> = dyn FnMut(&HistoryEvent<'_>) -> ControlFlow<()> + Send + 'a;

/// All events up to a position.
pub trait History: Send + Sync + 'static {
    /// Events of all results below are here. Only grows.
    fn position(&self) -> Offset;

    /// Shows the wanted events, each once, **in no particular order**, to the sinks: each sink runs on a thread of its own and sees
    /// a part of them. One sink runs on the caller's thread. Blocks until done.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use actors::history::{History, MemoryHistory, Wanted};
    /// let history = MemoryHistory::default();
    /// let mut count = 0;
    /// let seen = history.scan(&Wanted::default(), &mut [&mut |_| {
    ///     count += 1;
    ///     ControlFlow::Continue(())
    /// }])?;
    /// assert_eq!((count, seen.shown), (0, 0));
    /// # Ok::<(), actors::history::HistoryError>(())
    /// ```
    fn scan(&self, wanted: &Wanted, sinks: &mut [&mut Each<'_>]) -> Result<Scanned, HistoryError>;
}
