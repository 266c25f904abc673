//! Rows of members: where each fact stands and how to read it.
//!
//! Every key begins with `shard u16 | member u32 | fragment u32` (big endian), so that a member, and within it a
//! fragment, is one run of keys.
//!
//! | space | rest of the key | value |
//! |---|---|---|
//! | [`CELLS`] | | [`super::Cell`] |
//! | [`TIMELINE`] | time, raw position, index, all inverted: newest first ([`Suffix`]) | [`TimelineRow`] |
//! | [`ORDERS`] | `order u32` | [`super::Order`] |
//! | [`MOVES`] | | [`super::moves::Queue`] |
//! | [`ACTIVITY`] | | [`super::Activity`] |
//! | [`MEMBERSHIPS`] | `segment u32` instead of the fragment | [`super::Membership`] |
//! | [`TAGS`] | `tag u32` instead of the fragment | [`super::TagValue`] |
//! | [`FORGOTTEN`] | | one byte |
//! | [`DEFINITIONS`] | instead of all this: `partition u16 \| kind` | JSON of a [`crate::definition::Definition`] |
//!
//! Values begin with a version byte.

use actors::machine::{RecordAt, RowsError, Space};
use actors::model::{
    BrandId, EventKind, IdentNo, MemberNo, Offset, PartitionId, Position, SegmentId, SourceId,
    TagId, Time,
};
use serde::{Deserialize, Serialize};

use super::attribute::Operation;
use super::form;
use super::value::Value;
use crate::definition::DefinitionKind;
use crate::routed::NoteKind;

/// What a fragment was told.
pub const CELLS: Space = Space(0x40);
/// Definitions in force, per partition.
pub const DEFINITIONS: Space = Space(0x41);
/// Segments that a member is in.
pub const MEMBERSHIPS: Space = Space(0x42);
/// Tags that a member has.
pub const TAGS: Space = Space(0x43);
/// Fragments whose person was forgotten while facts were on their way: what arrives loses what is personal.
pub const FORGOTTEN: Space = Space(0x44);
/// What happened, newest first.
pub const TIMELINE: Space = Space(0x60);
/// Orders by their holder.
pub const ORDERS: Space = Space(0x80);
/// Moves that are not finished.
pub const MOVES: Space = Space(0xA0);
/// What was seen of a fragment: rewritten with every event, hence in a keyspace of small rows only.
pub const ACTIVITY: Space = Space(0xC0);

/// Bytes in front of every key: shard, member, fragment.
pub const FRONT: usize = 10;

/// Numbers of identity notes among the rows of one raw position begin here; below are the event itself and its parts.
const NOTES_FROM: u32 = 1 << 31;

/// Front of the keys of all rows of a member.
pub fn member_front(member: MemberNo) -> [u8; 6] {
    let mut key = [0; 6];
    key[..2].copy_from_slice(&member.shard().0.to_be_bytes());
    key[2..].copy_from_slice(&member.0.to_be_bytes());
    key
}

/// Front of the keys of all rows of a fragment; the whole key of its cell.
pub fn front(member: MemberNo, fragment: IdentNo) -> [u8; FRONT] {
    let mut key = [0; FRONT];
    key[..6].copy_from_slice(&member_front(member));
    key[6..].copy_from_slice(&fragment.0.to_be_bytes());
    key
}

/// Member and fragment of a key. `None`: too short to be one of ours.
pub fn whose(key: &[u8]) -> Option<(MemberNo, IdentNo)> {
    let member = key.get(2..6)?.try_into().ok()?;
    let fragment = key.get(6..FRONT)?.try_into().ok()?;
    Some((
        MemberNo(u32::from_be_bytes(member)),
        IdentNo(u32::from_be_bytes(fragment)),
    ))
}

/// Key of a membership or of a tag: what it is of stands where other keys have the fragment.
pub fn concluded_key(member: MemberNo, of: u32) -> [u8; FRONT] {
    front(member, IdentNo(of))
}

/// Key of an order.
pub fn order_key(member: MemberNo, holder: IdentNo, order: IdentNo) -> [u8; FRONT + 4] {
    let mut key = [0; FRONT + 4];
    key[..FRONT].copy_from_slice(&front(member, holder));
    key[FRONT..].copy_from_slice(&order.0.to_be_bytes());
    key
}

/// The order that a key of [`ORDERS`] ends with.
pub fn order_of(key: &[u8]) -> Option<IdentNo> {
    let rest = key.get(FRONT..)?.try_into().ok()?;
    Some(IdentNo(u32::from_be_bytes(rest)))
}

/// Key of a definition's row: the partition stands where other keys have the shard.
pub fn definition_key(partition: PartitionId, kind: DefinitionKind) -> Vec<u8> {
    let mut key = partition.0.to_be_bytes().to_vec();
    key.extend_from_slice(kind.as_str().as_bytes());
    key
}

/// Where a row stands in a timeline. As bytes ([`Suffix::BYTES`]) ascending is newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suffix {
    /// When it happened.
    pub time: Time,
    /// Raw position of its cause.
    pub position: Position,
    /// Number among the rows of one cause.
    pub index: u32,
}

impl Suffix {
    /// Length as bytes: time 8, partition 2, offset 8, index 4.
    pub const BYTES: usize = 22;

    /// The place of an event.
    pub fn event(time: Time, position: Position) -> Suffix {
        Suffix {
            time,
            position,
            index: 0,
        }
    }

    /// The place of the identity note that stands at `at`.
    pub fn note(time: Time, cause: Position, at: RecordAt) -> Suffix {
        Suffix {
            time,
            position: cause,
            index: NOTES_FROM | at.index,
        }
    }

    /// The key part.
    pub fn to_bytes(self) -> [u8; Suffix::BYTES] {
        let mut bytes = [0; Suffix::BYTES];
        // Flipping the sign bit orders signed numbers as bytes; inverting turns the order round.
        let time = !((self.time.0 as u64) ^ (1 << 63));
        bytes[..8].copy_from_slice(&time.to_be_bytes());
        bytes[8..10].copy_from_slice(&(!self.position.partition.0).to_be_bytes());
        bytes[10..18].copy_from_slice(&(!self.position.offset.0).to_be_bytes());
        bytes[18..].copy_from_slice(&(!self.index).to_be_bytes());
        bytes
    }

    /// Reads the key part.
    pub fn from_bytes(bytes: &[u8]) -> Option<Suffix> {
        let time = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let partition = u16::from_be_bytes(bytes.get(8..10)?.try_into().ok()?);
        let offset = u64::from_be_bytes(bytes.get(10..18)?.try_into().ok()?);
        let index = u32::from_be_bytes(bytes.get(18..)?.try_into().ok()?);
        Some(Suffix {
            time: Time((!time ^ (1 << 63)) as i64),
            position: Position {
                partition: PartitionId(!partition),
                offset: Offset(!offset),
            },
            index: !index,
        })
    }
}

/// Length of a timeline key.
pub const TIMELINE_KEY: usize = FRONT + Suffix::BYTES;

/// Key of a timeline row.
pub fn timeline_key(
    member: MemberNo,
    fragment: IdentNo,
    suffix: &[u8; Suffix::BYTES],
) -> [u8; TIMELINE_KEY] {
    let mut key = [0; TIMELINE_KEY];
    key[..FRONT].copy_from_slice(&front(member, fragment));
    key[FRONT..].copy_from_slice(suffix);
    key
}

/// What a timeline row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// An event.
    Event(EventKind),
    /// A change of who the member is.
    Note(NoteKind),
    /// The member entered or left a segment.
    Segment(SegmentNote),
    /// The member got, changed or lost a tag: what it was and what it is are told as [`TAG_OLD`] and [`TAG_NEW`].
    Tag(TagNote),
}

/// The member entered or left a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentNote {
    /// Which.
    pub segment: SegmentId,
    /// The version of its rule.
    pub version: u32,
    /// Entered, or left.
    pub entered: bool,
    /// Because the rule was edited or computed for the first time.
    pub rebuilt: bool,
}

/// The member's value of a tag changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagNote {
    /// Which.
    pub tag: TagId,
    /// The version of its definition.
    pub version: u32,
    /// Because the definition was edited or computed for the first time.
    pub rebuilt: bool,
}

/// The name under which a row of a tag tells the value before; absent if there was none.
pub const TAG_OLD: &str = "old";
/// The name under which a row of a tag tells the value from then on; absent if there is none.
pub const TAG_NEW: &str = "new";

/// Marks of a timeline row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(pub u8);

impl Flags {
    /// From a test source.
    pub const TEST: Flags = Flags(1);
    /// The personal part was gone when it was applied.
    pub const ERASED: Flags = Flags(2);

    /// Whether `mark` is set.
    pub fn has(self, mark: Flags) -> bool {
        self.0 & mark.0 != 0
    }

    /// Sets `mark` if `yes`.
    #[must_use]
    pub fn with(self, mark: Flags, yes: bool) -> Flags {
        Flags(self.0 | if yes { mark.0 } else { 0 })
    }
}

/// One row of a timeline. The event's body is read where [`TimelineRow::at`] points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// What it is about.
    pub what: What,
    /// The event's name; empty where it is the word of its kind.
    name: Box<str>,
    /// Source; 0 for notes.
    pub source: SourceId,
    /// Brand; 0 for notes.
    pub brand: BrandId,
    /// The record (event or note) in the result log.
    pub at: RecordAt,
    /// Marks.
    pub flags: Flags,
    /// Fingerprint of the message id ([`fingerprint`]): tells events of one instant apart.
    pub message: [u8; 8],
    /// The other member of a merge or unmerge.
    pub other: Option<MemberNo>,
    /// Attributes that the event told, by name, as coerced. Of another row its own values: see [`What`].
    pub told: Vec<(Box<str>, Value)>,
}

impl TimelineRow {
    /// A row without attributes.
    pub fn new(what: What, name: &str, source: SourceId, brand: BrandId, at: RecordAt) -> Self {
        let plain = matches!(what, What::Event(kind) if kind.as_str() == name);
        TimelineRow {
            what,
            name: if plain { "".into() } else { name.into() },
            source,
            brand,
            at,
            flags: Flags::default(),
            message: [0; 8],
            other: None,
            told: Vec::new(),
        }
    }

    /// The event's name, or the word of the note.
    pub fn name(&self) -> &str {
        match self.what {
            _ if !self.name.is_empty() => &self.name,
            What::Event(kind) => kind.as_str(),
            What::Note(note) => note_word(note),
            What::Segment(note) if note.entered => "segment_entered",
            What::Segment(_) => "segment_left",
            What::Tag(_) => "tag_changed",
        }
    }

    /// Attributes that it told.
    pub fn attributes(&self) -> &[(Box<str>, Value)] {
        match self.what {
            What::Event(_) | What::Note(_) => &self.told,
            What::Segment(_) | What::Tag(_) => &[],
        }
    }

    /// What it does to them.
    pub fn operation(&self) -> Operation {
        match self.what {
            What::Event(kind) => Operation::of(kind, self.name()),
            _ => Operation::Set,
        }
    }

    /// Whether attributes can have another value by it.
    pub fn changes_attributes(&self) -> bool {
        !self.attributes().is_empty() || self.operation() == Operation::Delete
    }

    /// The row.
    pub fn encode(&self) -> Vec<u8> {
        form::encode(self, 48)
    }

    /// Reads a row. The one place that knows older versions.
    pub fn decode(row: &[u8]) -> Result<TimelineRow, RowsError> {
        form::decode(row, "a timeline row")
    }
}

/// The word of a note in JSON.
fn note_word(note: NoteKind) -> &'static str {
    match note {
        NoteKind::Linked => "linked",
        NoteKind::Merged => "merged",
        NoteKind::Conflict => "conflict",
        NoteKind::Unmerged => "unmerged",
        NoteKind::Rejoined => "rejoined",
    }
}

/// 64 bits of a message id (FNV-1a): enough to tell a member's events apart, too little to be an identifier.
pub fn fingerprint(message_id: &str) -> [u8; 8] {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in message_id.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.to_be_bytes()
}
