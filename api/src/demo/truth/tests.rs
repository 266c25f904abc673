use super::*;
use crate::demo::generator::{Generator, World};
use crate::demo::people::Kind;

/// Members that a perfect platform would make of what was said: the components themselves.
fn perfect(truth: &mut Truth) -> Vec<Option<u32>> {
    (0..truth.keys.len() as u32)
        .map(|at| Some(truth.root(at)))
        .collect()
}

/// A truth of people with as many identifiers as `people` says, all said together.
fn tiny(people: &[u8]) -> Truth {
    let mut truth = Truth::default();
    for (person, count) in people.iter().enumerate() {
        let first = truth.number(Key::new(Kind::Device, person as u32, 0));
        for variant in 1..*count {
            let other = truth.number(Key::new(Kind::Device, person as u32, variant));
            truth.join(first, other);
        }
    }
    truth
}

/// `people` identifiers each; `members` is the member of each identifier in turn, `-` none.
/// Expects identifiers known, pairs true, found, right.
fn check(people: &[u8], members: &str, expected: [u64; 4]) {
    let mut truth = tiny(people);
    let found: Vec<Option<u32>> = members.chars().map(|c| c.to_digit(36)).collect();
    assert_eq!(found.len(), truth.keys.len(), "{members}");
    let links = truth.links(&found);
    assert_eq!(
        [
            links.known,
            links.pairs_true,
            links.pairs_found,
            links.pairs_right
        ],
        expected,
        "{members}"
    );
    assert_eq!(links.pairs_true, links.pairs_said);
}

#[test]
fn pairs_are_counted_by_person_and_member() {
    check(&[3, 2], "11122", [5, 4, 4, 4]);
    check(&[3, 2], "11111", [5, 4, 10, 4]);
    check(&[3, 2], "12345", [5, 4, 0, 0]);
    check(&[3, 2], "11222", [5, 4, 4, 2]);
    check(&[3, 2], "1-122", [4, 4, 2, 2]);
    check(&[3, 2], "-----", [0, 4, 0, 0]);
    check(&[1], "1", [1, 0, 0, 0]);
}

#[test]
fn nothing_found_is_no_false_find() {
    let mut truth = tiny(&[2]);
    let links = truth.links(&[None, None]);
    assert_eq!((links.precision(), links.recall()), (1.0, 0.0));
}

#[test]
fn only_what_was_said_can_be_recalled() {
    let mut truth = Truth::default();
    let key = |variant| Key::new(Kind::Device, 1, variant);
    let (a, b) = (truth.number(key(0)), truth.number(key(1)));
    truth.number(key(2));
    truth.join(a, b);
    let links = truth.links(&[Some(1), Some(1), Some(2)]);
    assert_eq!((links.pairs_true, links.pairs_said), (3, 1));
    assert_eq!(links.recall(), 1.0);
    assert!(links.recall_of_all() < 0.34);
}

#[test]
fn a_perfect_platform_is_perfect_on_the_generated_world() {
    let mut generator = Generator::new(World {
        seed: 3,
        people: 500,
        start_ms: 1_760_000_000_000,
        end_ms: 1_770_000_000_000,
        messages: 8_000,
        stream: 0,
    });
    let mut truth = Truth::default();
    let mut out = Vec::new();
    while let Some(message) = generator.next(&mut out) {
        truth.take(&message);
        out.clear();
    }
    assert_eq!(truth.messages(), 8_000);
    assert!(truth.repeats() > 20);
    let members = perfect(&mut truth);
    let links = truth.links(&members);
    assert_eq!((links.precision(), links.recall()), (1.0, 1.0));
    assert_eq!(links.known, links.identifiers);
    assert!(links.recall_of_all() < 1.0, "some links are never said");
    let totals = truth.order_totals();
    assert!(totals.orders > 300 && totals.cancelled > 2 && totals.without_person > 5);
    assert!(totals.amount > totals.amount_cancelled && totals.amount_cancelled > 0);
}
