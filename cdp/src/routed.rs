//! What identity tells members' shards, and members' shards tell each other.
//!
//! Each form has a schema number; the envelope holds nothing personal, the personal part is sealed with the key of the
//! fragment it is about. A record whose personal part is erased still applies: amounts stay, the person is gone.
//!
//! Moving a fragment (merge, unmerge, an order that gets its person): identity sends [`Expect`] to the new home and
//! [`Release`] to the old one in the same batch; the old home answers with [`Data`] and forgets the rows. Events for the
//! fragment that arrive at the new home before its data are kept there and joined with the data: facts of a fragment are
//! mergeable in any order. A release that arrives while the fragment's data is still awaited waits for it.

use actors::model::{
    BrandId, EventKind, IdentNo, Identifier, MemberNo, OrderChange, Place, Position, RawJson,
    SegmentId, SourceId, TagId, Time,
};
use bytes::Bytes;

use crate::control::AlertChange;
use serde::{Deserialize, Serialize};

/// Schema numbers of the forms below (high byte 0x01; raise the low byte for a new version).
pub mod schema {
    /// [`super::EventHead`] and [`super::EventBody`].
    pub const EVENT: u16 = 0x0110;
    /// [`super::Expect`].
    pub const EXPECT: u16 = 0x0120;
    /// [`super::Release`].
    pub const RELEASE: u16 = 0x0130;
    /// [`super::Release`] again, from a member unit to itself: a large one goes on in the next batch.
    pub const CONTINUE: u16 = 0x0131;
    /// [`super::Data`]; the rows with personal content are the personal part.
    pub const DATA: u16 = 0x0140;
    /// [`super::IdentityNote`] and, personal, its identifiers.
    pub const NOTE: u16 = 0x0150;
    /// A definition: JSON of `cdp::definition::Definition`, to every partition.
    pub const DEFINITION: u16 = 0x0160;
    /// [`super::MembershipPart`].
    pub const MEMBERSHIP: u16 = 0x0180;
    /// [`super::TaggedPart`]; the value is the personal part, none for a value that is gone.
    pub const TAGGED: u16 = 0x0190;
    /// [`super::Erased`].
    pub const ERASED: u16 = 0x01A0;
    /// The parked records of a key are given up: the key, `u64`.
    pub const UNPARK: u16 = 0x01B0;
    /// An alert begins or ends, to one partition: [`super::AlertPart`].
    pub const ALERT: u16 = 0x01C0;
    /// A timer that fires: [`actors::machine::Fired`].
    pub const FIRED: u16 = actors::machine::FIRED;
}

/// An event for a member: the part without personal data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventHead {
    /// The member that the event belongs to now.
    pub member: MemberNo,
    /// The fragment that owns the event: its strongest identifier.
    pub fragment: IdentNo,
    /// Where the raw record stands.
    pub raw: Position,
    /// Sort.
    pub kind: EventKind,
    /// Name.
    pub name: Box<str>,
    /// When it happened.
    pub time: Time,
    /// When we received it.
    pub received: Time,
    /// Source.
    pub source: SourceId,
    /// Brand.
    pub brand: BrandId,
    /// From a test source.
    pub test: bool,
    /// Order facts, if any.
    pub order: Option<OrderPart>,
    /// `true`: only the order facts are for this member (the event itself belongs to another one, or was sent to it
    /// separately), so it makes no timeline row.
    pub order_only: bool,
}

/// Order facts and who holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderPart {
    /// The order's own identifier number: its name among the fragment's orders.
    pub order: IdentNo,
    /// The fragment that keeps the order: the identifier it is attached to, or `order` itself without a person.
    pub holder: IdentNo,
    /// What the event says of it.
    pub change: OrderChange,
}

/// An event for a member: the personal part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventBody {
    /// The sender's message id.
    pub message_id: Box<str>,
    /// Normalised identifiers, strongest first.
    pub identifiers: Vec<Identifier>,
    /// Attributes told.
    pub traits: Option<RawJson>,
    /// Properties.
    pub properties: Option<RawJson>,
    /// Context.
    pub context: Option<RawJson>,
    /// Place.
    pub place: Option<Place>,
}

/// [`EventBody`] lent from its bytes: for readers of many.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EventBodyRef<'a> {
    /// The sender's message id.
    pub message_id: &'a str,
    /// Normalised identifiers, strongest first: kind, scope, value.
    #[serde(borrow)]
    pub identifiers: Vec<(&'a str, &'a str, &'a str)>,
    /// Attributes told: the text of a JSON object.
    pub traits: Option<&'a str>,
    /// Properties: the text of a JSON object.
    pub properties: Option<&'a str>,
    /// Context: the text of a JSON object.
    pub context: Option<&'a str>,
    /// Place.
    pub place: Option<Place>,
}

/// What moves between members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Moved {
    /// A whole fragment: its cell, timeline and the orders it holds.
    Fragment(IdentNo),
    /// One order: from the holder `from` to the holder `to`.
    Order {
        /// The order.
        order: IdentNo,
        /// Its old holder.
        from: IdentNo,
        /// Its new holder.
        to: IdentNo,
    },
}

/// To the new home: data will come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// Unique number of this move.
    pub movement: u64,
    /// The new member.
    pub member: MemberNo,
    /// What comes.
    pub moved: Moved,
    /// The member it comes from.
    pub from: MemberNo,
}

/// To the old home: hand over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Unique number of this move.
    pub movement: u64,
    /// The old member.
    pub member: MemberNo,
    /// What goes.
    pub moved: Moved,
    /// The member it goes to.
    pub to: MemberNo,
}

/// From the old home to the new one. Large fragments come in several; `last` closes the move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The move.
    pub movement: u64,
    /// The new member.
    pub member: MemberNo,
    /// What comes.
    pub moved: Moved,
    /// Whether this is the last part.
    pub last: bool,
    /// What is not personal: orders, counts, bare timeline rows. It arrives even if the person was erased on the way.
    pub open: DataRows,
}

/// Rows of a fragment on the move: space, key behind (member, fragment), value. In [`Data::open`] whole rows; as the
/// personal part of [`Data`] what belongs into them: packed attributes of a cell, attributes told of a timeline row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRows(pub Vec<(u8, Bytes, Bytes)>);

/// A person is forgotten: rows of these fragments lose what is personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// The member that it was.
    pub member: MemberNo,
    /// Its fragments, those of its orders too.
    pub fragments: Vec<IdentNo>,
}

/// What an effect of channel [`ERASE_CHANNEL`] carries: destroy these fragments' keys, and whatever else was copied from
/// events of theirs (lake, index, entries of lists). Doing it twice does no harm. Its row is gone when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseEffect {
    /// Fragments.
    pub fragments: Vec<IdentNo>,
    /// The identifiers that were forgotten: only they find entries of lists that wait for somebody.
    pub identifiers: Vec<Identifier>,
}

impl EraseEffect {
    /// Reads one, also of earlier versions, which named fragments only.
    pub fn read(bytes: &[u8]) -> Option<EraseEffect> {
        decode(bytes).or_else(|| {
            let fragments: Vec<IdentNo> = decode(bytes)?;
            Some(EraseEffect {
                fragments,
                identifiers: Vec::new(),
            })
        })
    }
}

/// Channel of [`EraseEffect`].
pub const ERASE_CHANNEL: &str = "erase";

/// A change of who the member is, for the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityNote {
    /// The member whose timeline shows it.
    pub member: MemberNo,
    /// The fragment it is filed under.
    pub fragment: IdentNo,
    /// What happened.
    pub what: NoteKind,
    /// When.
    pub time: Time,
    /// The other member, for merges and unmerges.
    pub other: Option<MemberNo>,
    /// The event that caused it.
    pub cause: Position,
}

/// Sorts of identity change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// An identifier joined the member.
    Linked,
    /// Another member was merged into this one.
    Merged,
    /// An identifier was left out in a conflict.
    Conflict,
    /// Identifiers were taken out.
    Unmerged,
    /// A separation was lifted.
    Rejoined,
}

/// Members of one shard who entered or left a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipPart {
    /// The segment.
    pub segment: SegmentId,
    /// The version of its rule.
    pub version: u32,
    /// The brand that owns it.
    pub brand: BrandId,
    /// Because the rule was edited or computed for the first time.
    pub rebuilt: bool,
    /// As of when.
    pub at: Time,
    /// The control record.
    pub cause: Position,
    /// Member; the fragment under which its timeline shows it, `None` for a number that was absorbed (it keeps no
    /// timeline); whether it entered.
    pub members: Vec<(MemberNo, Option<IdentNo>, bool)>,
}

/// An alert of dead letters that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertPart {
    /// What changed.
    pub change: AlertChange,
    /// The control record.
    pub cause: Position,
}

/// A member whose value of a tag changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedPart {
    /// The member.
    pub member: MemberNo,
    /// The fragment under which its timeline shows it; `None` for a number that was absorbed.
    pub fragment: Option<IdentNo>,
    /// The tag.
    pub tag: TagId,
    /// The version of its definition.
    pub version: u32,
    /// The brand that owns it.
    pub brand: BrandId,
    /// Because the definition was edited or computed for the first time.
    pub rebuilt: bool,
    /// As of when.
    pub at: Time,
    /// The control record.
    pub cause: Position,
}

/// Encodes any of the forms.
pub fn encode<T: Serialize>(form: &T) -> Bytes {
    postcard::to_stdvec(form)
        .expect("our own types always serialise")
        .into()
}

/// Reads any of the forms. `None`: the bytes are of another form, which only a bug or damage can cause.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}
