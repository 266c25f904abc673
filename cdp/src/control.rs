//! Commands, definitions, timers and marks: records of the raw log's control partition, which identity reads first.

use actors::machine::{EffectMark, Personal, Record};
use actors::model::{BrandId, Identifier, MemberNo, SegmentId, ShardId, TagId, Time, Unit};
use actors::raw::RawRecord;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dead::DeadId;
use crate::profile::Value;

/// Schema of control records in the raw log (high byte 0x03; raise the low byte for a new version). The whole record is
/// the personal part where it may name a person, otherwise the envelope.
pub const SCHEMA: u16 = 0x0301;

/// One control record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Take identifiers out of a member.
    Unmerge(Regroup),
    /// Let identifiers that were taken out of a member join it again.
    Rejoin(Regroup),
    /// A new version of a definition, for everybody; identity takes `identity_rules` itself.
    Definition(DefinitionChange),
    /// A timer came due: to its shard.
    TimerFired {
        /// The shard that set it.
        shard: ShardId,
        /// Its id there.
        id: u64,
        /// When it was due.
        at: Time,
        /// Handed back.
        payload: Bytes,
    },
    /// What became of an effect: the form before [`Control::Effects`].
    EffectMark {
        /// The effect.
        key: u64,
        /// `false`: about to be sent; `true`: done with.
        finished: bool,
    },
    /// A dead letter, mended or as it was, to be decided again.
    DeadLetterReplay(DeadLetterReplay),
    /// A dead letter that nobody wants any more.
    DeadLetterDrop {
        /// Idempotency key.
        request: Box<str>,
        /// Which.
        dead: DeadId,
    },
    /// Members entered or left a segment.
    Membership(MembershipChange),
    /// Members got, changed or lost the value of a tag.
    Tagged(TagChange),
    /// Forget a person.
    Erase(Erase),
    /// What became of effects, by key.
    Effects(Vec<(u64, EffectMark)>),
    /// The parked records of a key are given up.
    Unpark {
        /// The unit that parked them.
        unit: Unit,
        /// Their key.
        key: u64,
    },
    /// An alert of dead letters begins or ends: webhooks hear of it.
    Alert(AlertChange),
}

/// An alert that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertChange {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: Box<str>,
    /// The brand that owns it.
    pub brand: BrandId,
    /// Of which source; `None`: of all.
    pub source: Option<u32>,
    /// Of which reason.
    pub code: Option<Box<str>>,
    /// Of which event.
    pub event: Option<Box<str>>,
    /// It begins.
    pub firing: bool,
    /// Letters in its window.
    pub count: u64,
    /// Letters from which on it fires.
    pub threshold: u32,
    /// Seconds of its window.
    pub window_s: u32,
    /// When.
    pub at: Time,
}

/// Forgetting a person: identifiers, attributes, what events said of them. Amounts, times and names of events stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erase {
    /// Idempotency key.
    pub request: Box<str>,
    /// The member.
    pub member: MemberNo,
    /// Who asked.
    pub by: Box<str>,
    /// Why.
    pub reason: Box<str>,
}

/// Members of one segment whose membership changed, as the audience found it.
///
/// A member stands in it once: what changed again is another record. Repeating a record changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipChange {
    /// The segment.
    pub segment: SegmentId,
    /// The version of its rule.
    pub version: u32,
    /// The brand that owns it.
    pub brand: BrandId,
    /// Because the rule was edited, or the first computation of it: journeys and webhooks ignore it unless asked.
    pub rebuilt: bool,
    /// As of when.
    pub at: Time,
    /// Who; `true` entered, `false` left. At most [`CHANGE_MEMBERS_MAX`].
    pub members: Vec<(MemberNo, bool)>,
}

/// Members whose value of one tag changed. As [`MembershipChange`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChange {
    /// The tag.
    pub tag: TagId,
    /// The version of its definition.
    pub version: u32,
    /// The brand that owns it.
    pub brand: BrandId,
    /// Because the definition was edited, or the first computation of it.
    pub rebuilt: bool,
    /// As of when.
    pub at: Time,
    /// Who; the value from now on, `None` for none. At most [`CHANGE_MEMBERS_MAX`].
    pub members: Vec<(MemberNo, Option<Value>)>,
}

/// Members in one record of changes. Identity decides a record as a whole: more would make others wait for milliseconds.
pub const CHANGE_MEMBERS_MAX: usize = 4_096;

/// An unmerge or a rejoin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regroup {
    /// Idempotency key: the same one gets the same decision.
    pub request: Box<str>,
    /// The member.
    pub member: MemberNo,
    /// Which identifiers, as the caller wrote them.
    pub identifiers: Vec<Identifier>,
    /// Who asked.
    pub by: Box<str>,
    /// Why.
    pub reason: Box<str>,
}

/// A new version of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionChange {
    /// What it is about, e.g. `identity_rules`.
    pub kind: Box<str>,
    /// Its version; only grows.
    pub version: u32,
    /// Its JSON, checked before it was admitted.
    pub body: Box<str>,
}

/// A dead letter to be decided again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterReplay {
    /// Idempotency key.
    pub request: Box<str>,
    /// Which dead letter.
    pub dead: DeadId,
    /// Schema of the raw record to decide in its place.
    pub schema: u16,
    /// Its envelope.
    pub envelope: Bytes,
    /// Its personal part, opened.
    pub personal: Bytes,
}

impl Control {
    /// The record to append to the control partition (seal it with [`RawRecord::seal`]).
    pub fn to_raw(&self) -> RawRecord {
        let bytes: Bytes = postcard::to_stdvec(self)
            .expect("our own types always serialise")
            .into();
        let (envelope, personal) = match self {
            Control::Unmerge(_)
            | Control::Rejoin(_)
            | Control::DeadLetterReplay(_)
            | Control::Tagged(_)
            | Control::Erase(_) => (Bytes::new(), bytes),
            Control::Definition(_)
            | Control::TimerFired { .. }
            | Control::EffectMark { .. }
            | Control::Effects(_)
            | Control::Unpark { .. }
            | Control::DeadLetterDrop { .. }
            | Control::Alert(_)
            | Control::Membership(_) => (bytes, Bytes::new()),
        };
        RawRecord {
            schema: SCHEMA,
            envelope,
            personal,
        }
    }

    /// Reads a record of the control partition. `None`: another schema, erased, or damaged.
    pub fn read(record: &Record) -> Option<Control> {
        if record.schema != SCHEMA {
            return None;
        }
        let bytes = match &record.personal {
            Personal::Open(personal) => personal,
            Personal::None => &record.envelope,
            Personal::Erased => return None,
        };
        postcard::from_bytes(bytes).ok()
    }
}
