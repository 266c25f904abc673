//! The words that every part shares: ids, time, money, identifiers, events, scope, errors.
//!
//! Absent on purpose: behaviour. A type here says what a thing is; the crates say what happens to it.

mod error;
mod event;
mod id;
mod identifier;
mod money;
mod scope;
mod time;

pub use error::{ErrorKind, Fault, Retry};
pub use event::{
    CONSENT_PREFIX, Event, EventKind, Linking, OrderChange, OrderLine, OrderStatus, Place, RawJson,
    RawJsonError,
};
pub use id::{
    BrandId, IdSpace, IdentNo, MemberId, MemberNo, Offset, PartitionId, Position, SHARDS,
    SegmentId, ShardId, SourceId, TagId, Token, Unit, UnitKind,
};
pub use identifier::{DISTINCT_KIND, Identifier, IdentifierError};
pub use money::{Currency, Money, MoneyError, UnitPrice, decimal};
pub use scope::{BrandSet, FieldClass, Scope};
pub use time::{Clock, ManualClock, SystemClock, Time};
