use std::collections::BTreeMap;

use super::*;
use crate::audience::bits::{each_bit, new_words};

/// Values of a certain sort, set and cleared at random, against a map.
fn check(sort: &str, codes: bool, mut value: impl FnMut(u64) -> i64) {
    let mut state = 7u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    let mut cells = Cells::default();
    let mut truth = BTreeMap::new();
    for turn in 0..60_000u64 {
        let place = (next() % if turn < 3000 { 1500 } else { BLOCK as u64 }) as u16;
        if next() % 5 == 0 {
            cells.set(place, None, codes);
            truth.remove(&place);
        } else {
            let it = value(next());
            cells.set(place, Some(it), codes);
            truth.insert(place, it);
        }
        if turn % 9973 != 0 && turn != 59_999 {
            continue;
        }
        for place in 0..BLOCK {
            let place = place as u16;
            assert_eq!(
                cells.get(place),
                truth.get(&place).copied(),
                "{sort} {place}"
            );
        }
        let mut seen = BTreeMap::new();
        cells.each(|place, value| assert_eq!(seen.insert(place, value), None, "{sort}"));
        assert!(seen == truth, "{sort}: each");
        let (a, b) = (value(next()), value(next()));
        let ranges = [(a.min(b), a.max(b)), (i64::MIN, -5), (a.max(b), i64::MAX)];
        for ranges in [&ranges[..1], &ranges[..2], &ranges[..], &[]] {
            let mut found = new_words();
            cells.ranges(ranges, &mut found);
            let mut places = Vec::new();
            each_bit(&found, |place| places.push(place));
            let expected = truth
                .iter()
                .filter(|(_, v)| ranges.iter().any(|(low, high)| (low..=high).contains(v)))
                .map(|(place, _)| *place);
            assert!(places.into_iter().eq(expected), "{sort} {ranges:?}");
        }
        if codes {
            let table = [0b1011_0110 << 1, 77];
            let mut found = new_words();
            cells.table(&table, &mut found);
            for (&place, &code) in &truth {
                let bit = found[place as usize >> 6] >> (place & 63) & 1 != 0;
                assert_eq!(bit, has_code(&table, code), "{sort} {code}");
            }
        }
    }
}

#[test]
fn every_form_keeps_what_it_was_told() {
    check("few", false, |n| (n % 7) as i64 - 3);
    check("few codes", true, |n| (n % 9) as i64);
    check("byte codes", true, |n| (n % 200) as i64);
    check("word codes", true, |n| (n % 50_000) as i64);
    check("bytes", false, |n| (n % 180) as i64 - 90);
    check("words", false, |n| (n % 60_000) as i64 + 1_000_000);
    check("long words", false, |n| (n as i64 - (1 << 30)) * 2);
    check("wide", false, |n| (n as i64 - (1 << 30)) << 31);
    check("ends", false, |n| match n % 40 {
        0 => VALUE_MAX,
        1 => -VALUE_MAX,
        n => n as i64,
    });
}

#[test]
fn a_form_widens_when_values_spread() {
    let mut cells = Cells::default();
    for place in 0..10_000u16 {
        cells.set(place, Some(i64::from(place % 100)), false);
    }
    assert!(matches!(cells, Cells::U8(_)));
    cells.set(5, Some(40_000), false);
    assert!(matches!(cells, Cells::U16(_)));
    cells.set(6, Some(1 << 50), false);
    assert!(matches!(cells, Cells::U64(_)));
    assert_eq!(
        [cells.get(5), cells.get(6), cells.get(99)],
        [Some(40_000), Some(1 << 50), Some(99)]
    );
}
