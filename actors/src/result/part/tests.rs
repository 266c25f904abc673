use proptest::prelude::*;

use super::*;
use crate::machine::{Outgoing, To};
use crate::model::{IdentNo, Offset, PartitionId, ShardId, Time, Unit};
use crate::result::{BatchResult, Decoded, Header, Inner};
use crate::seal::TestSealer;

const AT: Position = Position {
    partition: PartitionId(0),
    offset: Offset(9),
};

/// A frame of identity with so many records of about so many bytes; one in three has nothing personal.
pub(crate) fn frame(records: u32, bytes: usize, sealer: &TestSealer) -> Vec<u8> {
    let outgoing = (0..records).map(|number| {
        let text = |what: &str| Bytes::from(format!("{what} {number} ").repeat(bytes / 16));
        Outgoing {
            to: To::Shard(ShardId(number as u16 % 256)),
            schema: 7,
            envelope: text("open"),
            personal: (number % 3 != 0).then(|| (IdentNo(number), text("personal"))),
        }
    });
    let result = BatchResult {
        header: Header {
            unit: Unit::IDENTITY,
            epoch: 1,
            batch: 1,
            logic: 1,
            now: Time(0),
            slices: Vec::new(),
            retried: Vec::new(),
        },
        inner: Inner {
            delta: vec![3; 700],
            ..Inner::default()
        },
        outgoing: outgoing.collect(),
    };
    let mut number = 0;
    let numbered = result.encode(sealer, |_| {
        number += 1;
        number
    });
    numbered.unwrap()
}

fn open(frame: &[u8]) -> Option<Partial> {
    Partial::open(AT, Box::new(Bytes::copy_from_slice(frame))).unwrap()
}

#[test]
fn each_record_is_that_of_the_whole_frame() {
    let sealer = TestSealer::new(1);
    for (records, bytes) in [(0, 0), (1, 16), (40, 200), (2_048, 32)] {
        let frame = frame(records, bytes, &sealer);
        let whole = Decoded::read(AT, &frame.clone().into()).unwrap();
        let part = open(&frame).unwrap();
        for index in 0..records {
            let expected = whole.record_at(index as usize, &sealer).unwrap();
            let found = part.record_at(index, &sealer).unwrap();
            assert_eq!(found, Some(expected), "{index} of {records}");
        }
        assert_eq!(part.record_at(records, &sealer).unwrap(), None);
    }
}

#[test]
fn a_frame_of_before_is_read_as_a_whole_only() {
    let sealer = TestSealer::new(1);
    let mut frame = frame(5, 100, &sealer);
    frame.truncate(frame.len() - 6 * WORD);
    assert!(open(&frame).is_none());
    let whole = Decoded::read(AT, &frame.into()).unwrap();
    assert_eq!(whole.refs().len(), 5);
    whole.record_at(4, &sealer).unwrap();
}

proptest! {
    /// Whatever is changed: a record is right, or nobody gets it.
    #[test]
    fn a_damaged_part_is_never_taken_for_the_record(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let sealer = TestSealer::new(1);
        let good = frame(12, 60, &sealer);
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= 1 << bit;
        let (good, bad) = (open(&good).unwrap(), open(&bad));
        let mut lost = 0;
        for index in 0..12 {
            let found = bad.as_ref().and_then(|bad| bad.record_at(index, &sealer).unwrap());
            lost += usize::from(found.is_none());
            if let Some(found) = found {
                prop_assert_eq!(Some(found), good.record_at(index, &sealer).unwrap());
            }
        }
        // A record, its checksum, or what stands before all of them; the result part is nobody's.
        prop_assert!([0, 1, 12].contains(&lost), "{} of byte {}", lost, at);
    }
}
