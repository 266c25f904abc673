//! Ids. Numbers inside, opaque text outside; a type per idea so that none is passed for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Virtual shards of an installation. Fixed for ever: partitions divide it, keys begin with a shard.
pub const SHARDS: u16 = 256;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A brand of the installation; 0 is the group itself.
    BrandId(u32)
);
number!(
    /// A source of events: one write key, one mapping.
    SourceId(u32)
);
number!(
    /// The id space that `user_id anonymous_id device_id member_card` of a source belong to. 0 is the installation's.
    IdSpace(u32)
);
number!(
    /// An identifier's dense number, given by identity in order of arrival. Also names the **fragment**: the facts that
    /// this identifier owns.
    IdentNo(u32)
);
number!(
    /// A member's dense number, given by identity in order of arrival. Outside it is a [`MemberId`].
    MemberNo(u32)
);
number!(
    /// A segment's number, given by the registry; never given again.
    SegmentId(u32)
);
number!(
    /// A tag's number, given by the registry; never given again.
    TagId(u32)
);
number!(
    /// A virtual shard, below [`SHARDS`].
    ShardId(u16)
);
number!(
    /// A partition of a log or of shards.
    PartitionId(u16)
);
number!(
    /// The dense number of a record within one log partition, from 0.
    Offset(u64)
);

/// Where a record stands: partition and dense offset within it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position {
    /// Log partition.
    pub partition: PartitionId,
    /// Dense number within the partition.
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

/// What an acknowledged write answers, and `?after=` takes: the last raw position of the write, as `partition-offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(pub Position);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Token {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (partition, offset) = text.split_once('-').ok_or(())?;
        Ok(Token(Position {
            partition: PartitionId(partition.parse().map_err(|_| ())?),
            offset: Offset(offset.parse().map_err(|_| ())?),
        }))
    }
}

/// Which machine a unit of work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UnitKind {
    /// The one identity writer.
    Identity,
    /// Member shards: profile, later tags, segments, loyalty.
    Member,
}

/// A unit of ownership, decision and commit: one machine over one partition of the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// The machine.
    pub kind: UnitKind,
    /// Its partition; 0 for identity.
    pub partition: PartitionId,
}

impl Unit {
    /// The identity writer.
    pub const IDENTITY: Unit = Unit {
        kind: UnitKind::Identity,
        partition: PartitionId(0),
    };

    /// The member unit of one partition.
    pub fn member(partition: PartitionId) -> Unit {
        Unit {
            kind: UnitKind::Member,
            partition,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            UnitKind::Identity => write!(f, "identity"),
            UnitKind::Member => write!(f, "member-{}", self.partition),
        }
    }
}

impl MemberNo {
    /// The shard that keeps this member's facts.
    pub fn shard(self) -> ShardId {
        ShardId((mix32(self.0) % u32::from(SHARDS)) as u16)
    }
}

impl ShardId {
    /// The partition that this shard belongs to when there are `partitions` of them (a divisor of [`SHARDS`]).
    pub fn partition(self, partitions: u16) -> PartitionId {
        PartitionId(self.0 % partitions)
    }
}

/// A member as the outside sees it: opaque text such as `m2k7x9q1`, reversible to the number, the same for ever.
///
/// The number is scrambled so that ids say nothing of how many members there are; it is no secret and no permission.
///
/// ```
/// use actors::model::{MemberId, MemberNo};
/// let id = MemberId(MemberNo(7));
/// assert_eq!(id.to_string().parse::<MemberId>(), Ok(id));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub MemberNo);

/// Keeps the first numbers from looking like numbers. Any value does; it is part of every member id for ever.
const SCRAMBLE: u32 = 0x5eed_1e55;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut scrambled = mix32(self.0.0 ^ SCRAMBLE);
        let mut text = *b"m0000000";
        for digit in text[1..].iter_mut().rev() {
            *digit = ALPHABET[(scrambled & 31) as usize];
            scrambled >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl FromStr for MemberId {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix('m').ok_or(())?.as_bytes();
        if digits.len() != 7 {
            return Err(());
        }
        let mut scrambled = 0u64;
        for digit in digits {
            let value = ALPHABET.iter().position(|a| a == digit).ok_or(())?;
            scrambled = scrambled << 5 | value as u64;
        }
        let scrambled = u32::try_from(scrambled).map_err(|_| ())?;
        Ok(MemberId(MemberNo(unmix32(scrambled) ^ SCRAMBLE)))
    }
}

/// A bijection on 32 bits (the finaliser of MurmurHash3), so that dense numbers look unrelated.
fn mix32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ x >> 16
}

/// The inverse of [`mix32`]: each step undone in turn.
fn unmix32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7ed1_b41d);
    x ^= x >> 13 ^ x >> 26;
    x = x.wrapping_mul(0xa5cb_9243);
    x ^ x >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_read_back() {
        for no in [0, 1, 2, 7, 65_535, 10_000_000, u32::MAX] {
            let id = MemberId(MemberNo(no));
            assert_eq!(id.to_string().parse(), Ok(id), "{no}");
        }
    }

    #[test]
    fn foreign_text_is_no_member_id() {
        for text in [
            "",
            "m",
            "m000",
            "x0000000",
            "mzzzzzzz",
            "m0000000 ",
            "mu000000",
        ] {
            assert!(text.parse::<MemberId>().is_err(), "{text}");
        }
    }
}
