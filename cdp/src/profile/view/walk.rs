//! Walking the timelines of several fragments as one, and the cursors of such a walk.

use std::collections::VecDeque;

use actors::machine::{Rows, RowsError};
use actors::model::{IdentNo, MemberNo, Offset, PartitionId, Position, Time};

use super::scan_from;
use crate::profile::row::{self, FRONT, Suffix, TimelineRow};

/// Rows of one fragment read at a time.
const CHUNK_ROWS: usize = 64;

/// A place between two rows of a merged timeline.
pub(super) type Place = ([u8; Suffix::BYTES], IdentNo);

/// Merges the timelines of fragments: each is read in chunks, the newest of all fronts comes next.
pub(super) struct Walk<'a> {
    rows: &'a dyn Rows,
    lanes: Vec<Lane>,
    back: Option<(Place, TimelineRow)>,
}

struct Lane {
    fragment: IdentNo,
    front: [u8; FRONT],
    /// Rows read and not yet given, by suffix.
    ahead: VecDeque<([u8; Suffix::BYTES], TimelineRow)>,
    /// Key to read on from; `None`: all read.
    from: Option<Vec<u8>>,
}

impl<'a> Walk<'a> {
    /// All rows before `to`, behind `after`.
    pub fn new(
        rows: &'a dyn Rows,
        member: MemberNo,
        fragments: &[IdentNo],
        to: Option<Time>,
        after: Option<Place>,
    ) -> Walk<'a> {
        let lanes = fragments.iter().map(|&fragment| {
            let front = row::front(member, fragment);
            let mut start = [0; Suffix::BYTES];
            if let Some(to) = to {
                let newest = Suffix {
                    time: Time(to.0.saturating_sub(1)),
                    position: Position {
                        partition: PartitionId(u16::MAX),
                        offset: Offset(u64::MAX),
                    },
                    index: u32::MAX,
                };
                start = newest.to_bytes();
            }
            let mut from = front.to_vec();
            match after {
                Some((suffix, last)) if suffix >= start => {
                    from.extend_from_slice(&suffix);
                    // The row itself was given if its fragment comes first among equals.
                    if fragment <= last {
                        from.push(0);
                    }
                }
                _ => from.extend_from_slice(&start),
            }
            Lane {
                fragment,
                front,
                ahead: VecDeque::new(),
                from: Some(from),
            }
        });
        Walk {
            rows,
            lanes: lanes.collect(),
            back: None,
        }
    }

    pub fn next(&mut self) -> Result<Option<(Place, TimelineRow)>, RowsError> {
        if let Some(back) = self.back.take() {
            return Ok(Some(back));
        }
        let mut best: Option<(Place, usize)> = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if lane.ahead.is_empty() {
                lane.read(self.rows)?;
            }
            if let Some((suffix, _)) = lane.ahead.front() {
                let place = (*suffix, lane.fragment);
                if best.is_none_or(|(known, _)| place < known) {
                    best = Some((place, index));
                }
            }
        }
        Ok(best.and_then(|(place, index)| {
            let (_, line) = self.lanes[index].ahead.pop_front()?;
            Some((place, line))
        }))
    }

    pub fn put_back(&mut self, place: Place, line: TimelineRow) {
        self.back = Some((place, line));
    }
}

impl Lane {
    fn read(&mut self, rows: &dyn Rows) -> Result<(), RowsError> {
        let Some(from) = self.from.take() else {
            return Ok(());
        };
        let ahead = &mut self.ahead;
        let mut next = None;
        scan_from(
            rows,
            row::TIMELINE,
            &self.front,
            &from,
            &mut |key, value| {
                if ahead.len() == CHUNK_ROWS {
                    next = Some(key.to_vec());
                    return Ok(false);
                }
                let suffix = key.get(FRONT..).and_then(|rest| rest.try_into().ok());
                ahead.push_back((suffix.ok_or_else(foreign)?, TimelineRow::decode(value)?));
                Ok(true)
            },
        )?;
        self.from = next;
        Ok(())
    }
}

pub(super) fn foreign() -> RowsError {
    RowsError("a key of the timeline has another form".into())
}

pub(super) fn write_cursor((suffix, fragment): Place) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * (Suffix::BYTES + 4));
    for byte in suffix.iter().chain(&fragment.0.to_be_bytes()) {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

pub(super) fn read_cursor(text: &str) -> Option<Place> {
    if text.len() != 2 * (Suffix::BYTES + 4) || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; Suffix::BYTES + 4];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    let suffix = bytes[..Suffix::BYTES].try_into().ok()?;
    let fragment = bytes[Suffix::BYTES..].try_into().ok()?;
    Some((suffix, IdentNo(u32::from_be_bytes(fragment))))
}
