use std::sync::Arc;

use actors::machine::Space;
use actors::model::{IdentNo, PartitionId, Time, Unit};
use actors::result::{Header, Inner};
use bytes::Bytes;
use cdp::definition::DefinitionKind;

use super::*;

fn frame(at: u64, rows: Vec<(Space, Vec<u8>)>) -> Committed {
    let rows = rows.into_iter().map(|(space, key)| RowWrite {
        space,
        key: key.into(),
        value: Some(Bytes::new()),
    });
    written(at, rows.collect())
}

fn written(at: u64, rows: Vec<RowWrite>) -> Committed {
    Committed {
        at: Offset(at),
        header: Header {
            unit: Unit::IDENTITY,
            epoch: 1,
            batch: at + 1,
            logic: 1,
            now: Time(0),
            slices: Vec::new(),
            retried: Vec::new(),
        },
        inner: Arc::new(Inner {
            rows,
            ..Inner::default()
        }),
        sent: Vec::new(),
    }
}

fn cell(member: u32) -> (Space, Vec<u8>) {
    let key = profile::row::front(MemberNo(member), IdentNo(7));
    (profile::row::CELLS, key.to_vec())
}

#[test]
fn members_are_noted_once_and_rows_of_no_interest_not_at_all() {
    let changes = Changes::default();
    let timeline = (profile::row::TIMELINE, cell(9).1);
    let identity = (identity::row::MEMBER, 5u32.to_be_bytes().to_vec());
    changes.note(&[
        frame(0, vec![cell(3), cell(3), timeline]),
        frame(1, vec![identity, cell(1)]),
    ]);
    let wanted = Changed {
        members: vec![MemberNo(1), MemberNo(3), MemberNo(5)],
        everybody: false,
        orders: Vec::new(),
        all_orders: false,
        until: Offset(2),
    };
    assert_eq!(changes.take(), wanted);
    let nothing = Changed {
        until: Offset(2),
        ..Changed::default()
    };
    assert_eq!(changes.take(), nothing);
    // Told already: no waiting.
    changes.wait(Offset(1), Instant::now());
}

#[test]
fn too_many_are_everybody() {
    let changes = Changes::default();
    let rows = (0..=MEMBERS_MAX as u32).map(cell).collect();
    changes.note(&[frame(0, rows)]);
    changes.note(&[frame(1, vec![cell(1)])]);
    let taken = changes.take();
    assert!(taken.everybody && taken.members.is_empty());
    assert_eq!(taken.until, Offset(2));
    changes.note(&[frame(2, vec![cell(1)])]);
    assert_eq!(changes.take().members, [MemberNo(1)]);
}

fn put((space, key): (Space, Vec<u8>)) -> RowWrite {
    RowWrite {
        space,
        key: key.into(),
        value: Some(Bytes::new()),
    }
}

#[test]
fn whoever_was_told_nothing_is_not_looked_at() {
    let changes = Changes::default();
    let at = |space, member| put((space, cell(member).1));
    let (activity, timeline) = (profile::row::ACTIVITY, profile::row::TIMELINE);
    changes.note(&[
        written(0, vec![at(activity, 1), at(timeline, 1)]),
        written(1, vec![put(cell(2)), at(activity, 2), at(timeline, 2)]),
        written(2, vec![put(cell(3))]),
    ]);
    assert_eq!(changes.take().members, [MemberNo(2), MemberNo(3)]);
    let key = profile::row::definition_key(PartitionId(0), DefinitionKind::Attributes);
    changes.note(&[written(3, vec![put((profile::row::DEFINITIONS, key))])]);
    assert!(changes.take().everybody);
}
