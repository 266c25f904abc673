//! A small seeded generator (SplitMix64, Steele et al. 2014): tests need reproducible choices, not good ones.

/// A seeded generator.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 for 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// True in `percent` of cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The seeds that a simulation plays: `usual` of them from 0, `soak` with `make soak` (`TRIBUTARY_SOAK=1`), or what
/// `TRIBUTARY_SEEDS` says, as a number or as `from..to`.
///
/// ```no_run
/// for seed in actors::testkit::seeds(20, 10_000) {
///     println!("again with TRIBUTARY_SEEDS={seed}..{}", seed + 1);
/// }
/// ```
pub fn seeds(usual: u64, soak: u64) -> std::ops::Range<u64> {
    let told = std::env::var("TRIBUTARY_SEEDS").unwrap_or_default();
    let range = match told.split_once("..") {
        Some((from, to)) => from.parse().ok().zip(to.parse().ok()),
        None => told.parse().ok().map(|count| (0, count)),
    };
    match range {
        Some((from, to)) => from..to,
        None if std::env::var_os("TRIBUTARY_SOAK").is_some() => 0..soak,
        None => 0..usual,
    }
}
