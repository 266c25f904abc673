//! A small seeded random source: the same seed gives the same numbers on every machine and in every version.
//!
//! Absent on purpose: floats (library functions differ between machines) and secrecy.

/// SplitMix64 (Steele, Lea, Flood 2014): one addition and one mix per number, any state is a good state.
#[derive(Debug, Clone)]
pub struct Random(u64);

/// The odd constant of SplitMix64: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A million, the base of [`Random::chance`].
const MILLION: u32 = 1_000_000;

impl Random {
    /// Numbers that follow from `seed` alone.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `bound`; 0 if the bound is 0. The bias of at most `bound` / 2^32 does not matter here.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        scale(self.bits(), bound)
    }

    /// A number from `low` to `high`, both included.
    #[inline]
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True `per_million` times in a million.
    #[inline]
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(MILLION) < per_million
    }
}

/// Maps the upper half of `bits` to `0..bound` without a division.
#[inline]
pub fn scale(bits: u64, bound: u32) -> u32 {
    (((bits >> 32) * u64::from(bound)) >> 32) as u32
}

/// The finaliser of SplitMix64: a bijection that makes neighbours look unrelated. Derives facts from numbers.
#[inline]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A hash of two numbers, for facts about the `b`th thing of sort `a`.
#[inline]
pub fn derive(a: u64, b: u64) -> u64 {
    mix(mix(a.wrapping_add(GOLDEN)) ^ b.wrapping_mul(GOLDEN))
}
