use super::*;
use crate::audience::bits::new_words;

fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    }
}

fn check<C: Cell>(limit: u64) {
    let mut next = noise(limit);
    let cells: Box<[C; BLOCK]> = (0..BLOCK)
        .map(|_| C::from_u64(next() % limit))
        .collect::<Vec<_>>()
        .into_boxed_slice()
        .try_into()
        .ok()
        .expect("as long as a block");
    let table: Vec<u64> = (0..limit.div_ceil(64).min(4))
        .map(|_| next() << 31 ^ next())
        .collect();
    let all = [(3, 40), (90, 1), (limit - 1, 0)];
    for several in 0..=all.len() {
        let ranges: Vec<_> = all[..several]
            .iter()
            .map(|&(low, span)| (C::from_u64(low), C::from_u64(span)))
            .collect();
        let (mut plain, mut quick) = (new_words(), new_words());
        ranges_with::<Plain, C>(&cells, &ranges, &mut plain);
        self::ranges(&cells, &ranges, &mut quick);
        for (at, cell) in cells.iter().enumerate() {
            let value = cell.to_u64();
            let expected = all[..several]
                .iter()
                .any(|&(low, span)| value >= low && value - low <= span);
            assert_eq!(
                plain[at / 64] >> (at % 64) & 1 != 0,
                expected,
                "{at}: {value}"
            );
        }
        assert!(plain == quick, "both forms agree");
    }
    let mut found = new_words();
    self::table(&cells, &table, &mut found);
    for (at, cell) in cells.iter().enumerate() {
        let code = cell.to_u64() as usize;
        let expected = table
            .get(code / 64)
            .is_some_and(|word| word >> (code % 64) & 1 != 0);
        assert_eq!(
            found[at / 64] >> (at % 64) & 1 != 0,
            expected,
            "{at}: {code}"
        );
    }
    let ones: u32 = found.iter().map(|word| word.count_ones()).sum();
    assert_eq!(count(&found), ones);
    assert_eq!(count_and(&found, &found), ones);
}

#[test]
fn cells_of_every_width_are_compared_exactly() {
    check::<u8>(250);
    check::<u16>(65_000);
    check::<u32>(1 << 30);
    check::<u64>(1 << 31);
}
