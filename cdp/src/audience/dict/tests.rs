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
