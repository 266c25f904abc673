//! What identity needs from outside: somebody who reads raw records.

use actors::machine::Record;
use actors::model::{BrandId, Event, SourceId, Time};

use crate::control::Control;

/// Reads raw records; pure, like everything that a machine asks.
pub trait RawDecoder: Send {
    /// What a raw record says.
    fn decode(&self, record: &Record) -> RawInput;
}

/// What a raw record says.
#[derive(Debug, Clone, PartialEq)]
pub enum RawInput {
    /// Something happened.
    Event {
        /// What.
        event: Box<Event>,
    },
    /// It was set aside at admission, or does not decode.
    Rejected(Reject),
    /// A command, a definition, a timer, a mark.
    Control(Control),
    /// A record of no use: its day key is gone, or its schema is of a later version.
    Unknown,
}

/// Why an event cannot be taken, for its dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Stable code.
    pub code: Box<str>,
    /// What is wrong and what to do.
    pub reason: Box<str>,
    /// Where in the event.
    pub field: Option<Box<str>>,
    /// Name of the event, if it could be read.
    pub event: Option<Box<str>>,
    /// The sender's message id; empty if it could not be read.
    pub message_id: Box<str>,
    /// Source.
    pub source: SourceId,
    /// Brand.
    pub brand: BrandId,
    /// When it was received.
    pub received: Time,
}
