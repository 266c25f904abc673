//! The person is gone, amounts stay.

use actors::model::IdentNo;

use super::model::*;

/// Files that still hold this text anywhere. Texts are stored packed, so rows are read, not bytes.
fn shown_of(lake: &crate::lake::Lake, fragment: IdentNo) -> (usize, usize) {
    let events = seen(lake, &all()).unwrap();
    let of: Vec<_> = events.iter().filter(|e| e.fragment == fragment).collect();
    let personal = of.iter().filter(|e| {
        e.message_id.is_some()
            || !e.identifiers.is_empty()
            || e.properties.is_some()
            || e.traits.is_some()
            || e.context.is_some()
            || e.place.is_some()
    });
    (of.len(), personal.count())
}

#[test]
fn an_erased_person_is_hidden_at_once_and_rewritten_later() {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let lake = open(folder.path(), &frames);
    for part in 0..2 {
        frames.add((0..400).map(|n| event(part * 1000 + n)).collect());
        follow(&lake, &frames);
        if part == 0 {
            lake.flush().unwrap();
        }
    }
    let who = IdentNo(7);
    let (rows, personal) = shown_of(&lake, who);
    assert!(personal > 0);
    frames.erase(who);
    lake.erase(&[who], NOW).unwrap();
    assert_eq!(shown_of(&lake, who), (rows, 0));
    assert_eq!(lake.stats().erasing, 1);
    same(&lake, &frames, &all());

    // The wish survives a restart, and what was only in memory is read again without the person.
    drop(lake);
    let lake = open(folder.path(), &frames);
    follow(&lake, &frames);
    assert_eq!(shown_of(&lake, who), (rows, 0));

    lake.flush().unwrap();
    tend(&lake, NOW);
    assert_eq!(lake.stats().erasing, 0);
    same(&lake, &frames, &all());
    // Nothing hides it any more: it is not in the files.
    drop(lake);
    let lake = open(folder.path(), &frames);
    assert_eq!(shown_of(&lake, who), (rows, 0));
    same(&lake, &frames, &all());
}

#[test]
fn files_are_rewritten_for_an_erasure_once_a_week() {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let mut config = config(folder.path());
    config.erase_after_ms = 7 * DAY_MS;
    let lake = crate::lake::Lake::open(config, &frames).unwrap();
    frames.add((0..400).map(event).collect());
    follow(&lake, &frames);
    lake.flush().unwrap();
    tend(&lake, NOW);
    for (day, who) in [(0, 7), (3, 8)] {
        frames.erase(IdentNo(who));
        lake.erase(&[IdentNo(who)], NOW.plus_ms(day * DAY_MS))
            .unwrap();
    }
    tend(&lake, NOW.plus_ms(7 * DAY_MS - 1));
    assert_eq!(lake.stats().erasing, 2);
    same(&lake, &frames, &all());
    tend(&lake, NOW.plus_ms(7 * DAY_MS));
    assert_eq!(lake.stats().erasing, 0);
    same(&lake, &frames, &all());
}

#[test]
fn erasing_somebody_without_events_ends() {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let lake = open(folder.path(), &frames);
    frames.add((0..50).map(event).collect());
    follow(&lake, &frames);
    lake.flush().unwrap();
    let before = lake.stats().files;
    lake.erase(&[IdentNo(1_000_000)], NOW).unwrap();
    tend(&lake, NOW);
    assert_eq!((lake.stats().erasing, lake.stats().files), (0, before));
}
