use super::*;

#[test]
fn a_string_lives_as_long_as_it_is_used() {
    let mut dict = Dict::default();
    let a = dict.acquire(b"a");
    assert_eq!(dict.acquire(b"a"), a);
    dict.release(a);
    assert_eq!((dict.code(b"a"), dict.get(a)), (Some(a), &b"a"[..]));
    dict.release(a);
    assert_eq!((dict.code(b"a"), dict.get(a)), (None, &b""[..]));
    assert!(!dict.bytes.contains(&b'a'), "nothing is left in memory");
    assert_eq!(dict.acquire(b"b"), a, "the code is used again");
}

#[test]
fn many_come_and_go() {
    let mut dict = Dict::default();
    let text = |n: u32| format!("{n:0>200}").into_bytes();
    let mut codes = Vec::new();
    for round in 0..5u32 {
        for n in 0..4000 {
            codes.push((n + round, dict.acquire(&text(n + round))));
        }
        for (_, code) in codes.drain(..codes.len() / 2) {
            dict.release(code);
        }
        for &(n, code) in &codes {
            assert_eq!(dict.get(code), text(n), "round {round}");
            assert_eq!(dict.code(&text(n)), Some(code));
        }
    }
    assert!(dict.codes() < 12_000);
    assert_eq!(dict.iter().count(), dict.entries.len() - dict.idle.len());
}

#[test]
fn one_search_finds_all_who_hold_a_part() {
    let holds = |text: &[u8], part: &str| {
        let text = crate::rule::scalar::folded(std::str::from_utf8(text).expect("texts go in"));
        text.contains(part)
    };
    let check = |dict: &Dict, part: &str| {
        let expected: Vec<u32> = (dict.iter())
            .filter(|(_, text)| holds(text, part))
            .map(|(code, _)| code)
            .collect();
        let found = dict.holding(part.as_bytes(), 2, &|text| holds(text, part));
        assert_eq!(found, expected, "{part:?}");
    };
    let parts = [
        "ab", "b", "a", "bab", "aba", "zz", "阳", "é", "ж", "k", "i", "\0", "",
    ];
    let mut dict = Dict::default();
    let mut codes = Vec::new();
    for text in [
        "ab", "b", "", "ABab", "ba", "xab", "a", "bb", "阳b", "É", "Жk", "İz", "K·😀",
    ] {
        codes.push(dict.acquire(text.as_bytes()));
        parts.iter().for_each(|part| check(&dict, part));
    }
    dict.release(codes[3]);
    dict.release(codes[9]);
    parts.iter().for_each(|part| check(&dict, part));
    // Codes are used again, by one text with special letters, by another without.
    for text in ["late", "spät"] {
        dict.acquire(text.as_bytes());
        parts
            .iter()
            .chain(&["te"])
            .for_each(|part| check(&dict, part));
    }
}

#[test]
fn many_texts_are_searched_by_several_threads() {
    let mut dict = Dict::default();
    let text = |n: u32| format!("{:>60}{n}", if n.is_multiple_of(1000) { "É" } else { "X" });
    let codes: Vec<u32> = (0..60_000)
        .map(|n| dict.acquire(text(n).as_bytes()))
        .collect();
    codes
        .iter()
        .filter(|it| *it % 3 == 0)
        .for_each(|it| dict.release(*it));
    for n in 0..100 {
        dict.acquire(text(n * 3 + 100_000).as_bytes());
    }
    for part in ["x77", "7", " x5", "é4"] {
        let holds = |text: &[u8]| {
            let text = std::str::from_utf8(text)
                .expect("texts go in")
                .to_lowercase();
            text.contains(part)
        };
        let expected: Vec<u32> = (dict.iter())
            .filter(|(_, text)| holds(text))
            .map(|(code, _)| code)
            .collect();
        assert!(!expected.is_empty());
        assert_eq!(dict.holding(part.as_bytes(), 4, &holds), expected);
        assert_eq!(dict.which(4, &holds), expected);
    }
}
