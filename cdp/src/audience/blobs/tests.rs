use std::collections::BTreeMap;

use super::*;

#[test]
fn bytes_survive_changes_and_sweeps() {
    let mut state = 1u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u32
    };
    let (mut blobs, mut truth) = (Blobs::default(), BTreeMap::new());
    for _ in 0..80_000 {
        let number = next() % 7000 + if next() % 9 == 0 { 70_000 } else { 0 };
        let bytes = vec![next() as u8; (next() % 200) as usize];
        blobs.set(number, &bytes);
        match bytes.is_empty() {
            true => truth.remove(&number),
            false => truth.insert(number, bytes),
        };
    }
    for number in 0..80_000 {
        assert_eq!(
            blobs.get(number),
            truth.get(&number).map_or(&[][..], |it| it),
            "{number}"
        );
    }
    let mut seen = BTreeMap::new();
    blobs.each(|number, bytes| drop(seen.insert(number, bytes.to_vec())));
    assert!(seen == truth);
    let live: usize = truth.values().map(Vec::len).sum();
    assert!(blobs.bytes() < live * 5, "{} for {live}", blobs.bytes());
}

#[test]
fn numbers_as_bytes() {
    for value in [0, 1, 127, 128, 300, u64::MAX] {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, value);
        assert_eq!(bytes.len(), head(value as usize), "{value}");
        assert_eq!(take_varint(&mut &bytes[..]), value);
        assert_eq!(zigzag(unzigzag(value)), value);
    }
}
