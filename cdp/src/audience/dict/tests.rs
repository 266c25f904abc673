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
    let mut dict = Dict::default();
    let texts = ["ab", "b", "", "abab", "ba", "xab", "a", "bb"];
    let codes: Vec<u32> = texts
        .iter()
        .map(|text| dict.acquire(text.as_bytes()))
        .collect();
    let expected = |part: &str, dict: &Dict| -> Vec<u32> {
        let part = part.as_bytes();
        let holds = |text: &[u8]| text.windows(part.len()).any(|it| it == part);
        dict.iter()
            .filter(|(_, text)| holds(text))
            .map(|(code, _)| code)
            .collect()
    };
    for part in ["ab", "b", "a", "bab", "aba", "zz"] {
        assert_eq!(
            dict.holding(part.as_bytes()),
            Some(expected(part, &dict)),
            "{part}"
        );
    }
    assert_eq!(dict.holding(b""), None);
    dict.release(codes[3]);
    for part in ["ab", "ba", "\0"] {
        assert_eq!(
            dict.holding(part.as_bytes()),
            Some(expected(part, &dict)),
            "{part}"
        );
    }
    dict.acquire(b"late");
    assert_eq!(dict.holding(b"ab"), None, "a code was used again");
}
