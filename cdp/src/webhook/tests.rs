use actors::model::{EventKind, IdentNo, Offset, PartitionId, SourceId};

use super::*;

fn head(name: &str, brand: u32) -> EventHead {
    EventHead {
        member: MemberNo(4),
        fragment: IdentNo(1),
        raw: Position {
            partition: PartitionId(1),
            offset: Offset(7),
        },
        kind: EventKind::Track,
        name: name.into(),
        time: Time(1),
        received: Time(2),
        source: SourceId(1),
        brand: BrandId(brand),
        test: false,
        order: None,
        order_only: false,
    }
}

fn hook(id: u32, brand: u32, events: &[&str]) -> Hook {
    Hook {
        id,
        brand: BrandId(brand),
        events: events.iter().map(|&word| word.into()).collect(),
    }
}

fn targets(hooks: &Hooks, occurrence: Occurrence<'_>) -> Vec<u64> {
    let mut out = WriteSet::default();
    hooks.tell(occurrence, &mut out);
    out.effects.iter().map(|effect| effect.target).collect()
}

#[test]
fn each_hook_hears_of_what_it_wants_and_may_see() {
    let hooks = Hooks::new(vec![
        hook(1, 0, &["*"]),
        hook(2, 0, &["event:paid", "member.merged"]),
        hook(3, 5, &["event"]),
        hook(4, 6, &["*"]),
    ]);
    let at = RecordAt::default();
    assert_eq!(
        targets(&hooks, Occurrence::Event(&head("paid", 5), at)),
        [1, 2, 3]
    );
    assert_eq!(
        targets(&hooks, Occurrence::Event(&head("other", 0), at)),
        [1]
    );
    let note = |what| IdentityNote {
        member: MemberNo(4),
        fragment: IdentNo(1),
        what,
        time: Time(1),
        other: Some(MemberNo(9)),
        cause: Position::default(),
    };
    assert_eq!(
        targets(&hooks, Occurrence::Identity(&note(NoteKind::Merged))),
        [1, 2]
    );
    assert_eq!(
        targets(&hooks, Occurrence::Identity(&note(NoteKind::Linked))),
        [1]
    );
}

#[test]
fn keys_are_derived_from_the_cause_and_payloads_read_back() {
    let hooks = Hooks::new(vec![hook(1, 0, &["*"]), hook(2, 0, &["*"])]);
    let decide = |place: u32| {
        let at = RecordAt {
            index: place,
            ..RecordAt::default()
        };
        let mut out = WriteSet::default();
        hooks.tell(Occurrence::Event(&head("x", 0), at), &mut out);
        out.effects
    };
    let (first, again) = (decide(0), decide(1));
    assert_eq!(
        first[0].key, again[0].key,
        "decided again elsewhere: the same effect"
    );
    assert_ne!(first[0].key, first[1].key);
    let notice = Notice::read(&first[0].payload).unwrap();
    assert_eq!(
        (notice.word(), &notice),
        (
            "event",
            &Occurrence::Event(&head("x", 0), RecordAt::default()).notice()
        )
    );
}

#[test]
fn words_are_checked() {
    let check = |words: &[&str], brand| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        check_words(&words, BrandId(brand)).is_ok()
    };
    assert!(check(&["*", "event:paid", "member.merged"], 0));
    assert!(check(
        &["event:order", "event", "segment.left:12", "segment.entered"],
        3
    ));
    for (words, brand) in [
        (&["member.merged"][..], 3),
        (&["event:"], 0),
        (&["orders"], 0),
        (&["segment.left:gold"], 0),
        (&["segment.leftover"], 0),
        (&[], 0),
    ] {
        assert!(!check(words, brand), "{words:?}");
    }
}

#[test]
fn segments_are_heard_of_by_number_and_rebuilt_ones_only_when_asked() {
    let hooks = Hooks::new(vec![
        hook(1, 0, &["*"]),
        hook(2, 0, &["segment.entered:7"]),
        hook(3, 0, &["segment.entered", "rebuilt"]),
        hook(4, 5, &["segment.left"]),
    ]);
    let part = |segment, brand, rebuilt| MembershipPart {
        segment: SegmentId(segment),
        version: 1,
        brand: BrandId(brand),
        rebuilt,
        at: Time(1),
        cause: Position::default(),
        members: Vec::new(),
    };
    let of = |part: &MembershipPart, entered| {
        targets(&hooks, Occurrence::Segment(part, MemberNo(1), entered))
    };
    assert_eq!(of(&part(7, 0, false), true), [1, 2, 3]);
    assert_eq!(of(&part(70, 0, false), true), [1, 3]);
    assert_eq!(of(&part(7, 5, false), false), [1, 4]);
    assert_eq!(of(&part(7, 0, true), true), [3]);
}
