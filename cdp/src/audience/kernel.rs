//! The inner loops: words against words, and a block's cells against a range or a set of codes.
//!
//! Plain Rust that vectorises, compiled twice: for any processor, and for those with AVX2, chosen when the program runs.
//! A compare writes one byte per cell and packs eight or thirty-two of them into bits at once; nothing branches on data.

use super::bits::{BLOCK, WORDS, Words};

/// An unsigned cell of a block.
pub(crate) trait Cell: Copy + Send + Sync + 'static {
    /// The largest distance that fits.
    const MAX: u64;
    fn from_u64(value: u64) -> Self;
    fn to_u64(self) -> u64;
    /// `self - low <= span`, wrapping: one compare for a range.
    fn within(self, low: Self, span: Self) -> bool;
}

macro_rules! cell {
    ($($kind:ty),*) => {$(
        impl Cell for $kind {
            const MAX: u64 = <$kind>::MAX as u64;
            #[inline(always)]
            fn from_u64(value: u64) -> $kind {
                value as $kind
            }
            #[inline(always)]
            fn to_u64(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn within(self, low: $kind, span: $kind) -> bool {
                self.wrapping_sub(low) <= span
            }
        }
    )*};
}
cell!(u8, u16, u32, u64);

/// How a word of cells becomes bits: the one step that differs between processors.
trait Pack {
    /// Bytes of 0 or 1 to bits, the first to the lowest.
    fn pack(bytes: &[u8; 64]) -> u64;
}

struct Plain;

impl Pack for Plain {
    #[inline(always)]
    fn pack(bytes: &[u8; 64]) -> u64 {
        let mut word = 0;
        for (at, eight) in bytes.as_chunks::<8>().0.iter().enumerate() {
            // Multiplying moves the lowest bit of each byte into the highest byte, the first of them lowest.
            let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            word |= bits << (at * 8);
        }
        word
    }
}

#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Pack for Avx2 {
    #[inline(always)]
    fn pack(bytes: &[u8; 64]) -> u64 {
        use std::arch::x86_64::{
            __m256i, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_slli_epi16,
        };
        let half = |at: usize| {
            let from = bytes[at..at + 32].as_ptr().cast::<__m256i>();
            // SAFETY: 32 bytes are readable there (sliced above), the load is unaligned, and this type is used only inside
            // functions that are called after AVX2 was detected.
            let bits =
                unsafe { _mm256_movemask_epi8(_mm256_slli_epi16::<7>(_mm256_loadu_si256(from))) };
            u64::from(bits as u32)
        };
        half(0) | half(32) << 32
    }
}

#[inline(always)]
fn ranges_with<P: Pack, C: Cell>(cells: &[C; BLOCK], ranges: &[(C, C)], out: &mut Words) {
    let rows = cells.as_chunks::<64>().0;
    match ranges {
        [] => out.fill(0),
        &[(low, span)] => {
            for (word, row) in out.iter_mut().zip(rows) {
                let mut hit = [0u8; 64];
                for (hit, cell) in hit.iter_mut().zip(row) {
                    *hit = u8::from(cell.within(low, span));
                }
                *word = P::pack(&hit);
            }
        }
        several => {
            for (word, row) in out.iter_mut().zip(rows) {
                let mut hit = [0u8; 64];
                for &(low, span) in several {
                    for (hit, cell) in hit.iter_mut().zip(row) {
                        *hit |= u8::from(cell.within(low, span));
                    }
                }
                *word = P::pack(&hit);
            }
        }
    }
}

#[inline(always)]
fn table_with<C: Cell>(cells: &[C; BLOCK], table: &[u64], out: &mut Words) {
    let Some(last) = table.len().checked_sub(1) else {
        out.fill(0);
        return;
    };
    for (word, row) in out.iter_mut().zip(cells.as_chunks::<64>().0) {
        let mut bits = 0;
        for (at, cell) in row.iter().enumerate() {
            let code = cell.to_u64() as usize;
            let known = u64::from(code >> 6 <= last);
            bits |= (table[(code >> 6).min(last)] >> (code & 63) & known) << at;
        }
        *word = bits;
    }
}

#[inline(always)]
fn pairs_with<P: Pack>(a: &[u8], b: &[u8], want: [u8; 4]) -> Option<(usize, u64)> {
    let [case_a, want_a, case_b, want_b] = want;
    let groups = a.as_chunks::<64>().0.iter().zip(b.as_chunks::<64>().0);
    for (group, (a, b)) in groups.enumerate() {
        let mut hit = [0u8; 64];
        for ((hit, a), b) in hit.iter_mut().zip(a).zip(b) {
            *hit = u8::from(a | case_a == want_a) & u8::from(b | case_b == want_b);
        }
        let bits = P::pack(&hit);
        if bits != 0 {
            return Some((group * 64, bits));
        }
    }
    None
}

#[inline(always)]
fn count_with(words: &Words) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

#[inline(always)]
fn count_and_with(a: &Words, b: &Words) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a & b).count_ones()).sum()
}

/// Whether the wider forms may run here. The answer is remembered by the standard library.
#[cfg(target_arch = "x86_64")]
#[inline]
fn is_wide() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("popcnt")
}

macro_rules! dispatch {
    ($(#[$doc:meta])* $name:ident / $wide:ident $(<$cell:ident>)? ($($arg:ident: $kind:ty),*) $(-> $answer:ty)?,
     $plain:expr, $avx2:expr) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,popcnt")]
        fn $wide $(<$cell: Cell>)? ($($arg: $kind),*) $(-> $answer)? {
            $avx2
        }

        $(#[$doc])*
        pub(crate) fn $name $(<$cell: Cell>)? ($($arg: $kind),*) $(-> $answer)? {
            #[cfg(target_arch = "x86_64")]
            if is_wide() {
                // SAFETY: the processor has what the function was compiled for.
                return unsafe { $wide($($arg),*) };
            }
            $plain
        }
    };
}

dispatch!(
    /// Cells within one of the ranges, each given as its low end and its span.
    ranges / ranges_wide<C>(cells: &[C; BLOCK], ranges: &[(C, C)], out: &mut Words),
    ranges_with::<Plain, C>(cells, ranges, out),
    ranges_with::<Avx2, C>(cells, ranges, out)
);

dispatch!(
    /// Cells whose bit in the table is set; cells behind its end are not in.
    table / table_wide<C>(cells: &[C; BLOCK], table: &[u64], out: &mut Words),
    table_with(cells, table, out),
    table_with(cells, table, out)
);

dispatch!(
    /// The first group of sixty-four places where the bytes of both are as wanted, and at which of them. `want`: the bits
    /// that a byte of `a` is joined with, what it is then, and the same of `b`. Whole groups only.
    pairs / pairs_wide(a: &[u8], b: &[u8], want: [u8; 4]) -> Option<(usize, u64)>,
    pairs_with::<Plain>(a, b, want),
    pairs_with::<Avx2>(a, b, want)
);

dispatch!(
    /// Bits that are set.
    count / count_wide(words: &Words) -> u32,
    count_with(words),
    count_with(words)
);

dispatch!(
    /// Bits that are set in both.
    count_and / count_and_wide(a: &Words, b: &Words) -> u32,
    count_and_with(a, b),
    count_and_with(a, b)
);

/// `out &= with`.
pub(crate) fn and(out: &mut Words, with: &Words) {
    for (out, with) in out.iter_mut().zip(with) {
        *out &= with;
    }
}

/// `out |= with`.
pub(crate) fn or(out: &mut Words, with: &Words) {
    for (out, with) in out.iter_mut().zip(with) {
        *out |= with;
    }
}

/// `out &= !with`.
pub(crate) fn and_not(out: &mut Words, with: &Words) {
    for (out, with) in out.iter_mut().zip(with) {
        *out &= !with;
    }
}

/// `out = within & !out`.
pub(crate) fn complement(out: &mut Words, within: &Words) {
    for (out, within) in out.iter_mut().zip(within) {
        *out = within & !*out;
    }
}

/// Whether no bit is set.
pub(crate) fn is_empty(words: &Words) -> bool {
    words
        .as_chunks::<16>()
        .0
        .iter()
        .all(|chunk| chunk.iter().fold(0, |all, word| all | word) == 0)
}

const _: () = assert!(WORDS.is_multiple_of(16));

#[cfg(test)]
mod tests;
