//! Whatever happens in whatever order, the lake shows what a list in memory shows.

use std::collections::BTreeSet;

use actors::history::{Columns, NameWanted, Wanted};
use actors::model::{EventKind, IdentNo, Offset, Time};
use proptest::prelude::*;

use super::model::*;

#[derive(Debug, Clone)]
enum Step {
    /// A frame with so many events.
    Frame(u64),
    Follow,
    Flush,
    Tend,
    /// Close and open again.
    Reopen,
    Erase(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..60).prop_map(Step::Frame),
        4 => Just(Step::Follow),
        3 => Just(Step::Flush),
        2 => Just(Step::Tend),
        1 => Just(Step::Reopen),
        1 => (0u32..50).prop_map(Step::Erase),
    ]
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let names = prop_oneof![
        2 => Just(None),
        1 => Just(Some(vec![NameWanted::Is("viewed".into()), NameWanted::Is("scan".into())])),
        1 => Just(Some(vec![NameWanted::StartsWith("浏".into())])),
    ];
    let kinds = prop_oneof![
        2 => Just(None),
        1 => Just(Some(BTreeSet::from([EventKind::Order]))),
    ];
    let fragments = proptest::option::of(proptest::collection::btree_set(
        (0u32..60).prop_map(IdentNo),
        0..4,
    ));
    let times = proptest::option::of((0i64..200, 0i64..200));
    (names, kinds, fragments, times, any::<[bool; 8]>()).prop_map(
        |(names, kinds, fragments, times, asked)| Wanted {
            names,
            kinds,
            fragments,
            times: times.map(|(ago, days)| {
                let start = NOW.0 - ago * DAY_MS;
                Time(start)..Time(start + days * DAY_MS)
            }),
            columns: Columns {
                message_id: asked[0],
                identifiers: asked[1],
                properties: asked[2],
                traits: asked[3],
                context: asked[4],
                place: asked[5],
                order: asked[6],
            },
            order_only: asked[7],
            ..Wanted::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: actors::testkit::seeds(32, 500).count() as u32, ..ProptestConfig::default() })]
    #[test]
    fn the_lake_shows_what_a_list_shows(
        steps in proptest::collection::vec(step(), 1..40),
        wishes in proptest::collection::vec(wanted(), 1..6),
        seed in any::<u32>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let frames = Frames::default();
        let mut lake = open(folder.path(), &frames);
        let mut next = u64::from(seed);
        for step in steps {
            match step {
                Step::Frame(count) => {
                    frames.add((0..count).map(|n| event(next + n)).collect());
                    next += count;
                }
                Step::Follow => follow(&lake, &frames),
                Step::Flush => lake.flush().unwrap(),
                Step::Tend => tend(&lake, NOW),
                Step::Reopen => {
                    drop(lake);
                    lake = open(folder.path(), &frames);
                }
                Step::Erase(fragment) => {
                    frames.erase(IdentNo(fragment));
                    lake.erase(&[IdentNo(fragment)], NOW).unwrap();
                }
            }
        }
        follow(&lake, &frames);
        same(&lake, &frames, &all());
        for wanted in &wishes {
            same(&lake, &frames, wanted);
        }
        lake.flush().unwrap();
        tend(&lake, NOW);
        prop_assert_eq!(lake.stats().erasing, 0);
        same(&lake, &frames, &all());
        drop(lake);
        let lake = open(folder.path(), &frames);
        for wanted in &wishes {
            let until = Wanted { until: Some(Offset(lake.stats().position.0 / 2)), ..wanted.clone() };
            same(&lake, &frames, &until);
        }
    }
}
