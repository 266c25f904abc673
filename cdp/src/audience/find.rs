//! Finding a part in many texts that lie one after the other, in any case.
//!
//! Most texts are made of letters whose case is simple: ASCII, and letters that have none. Those are searched as bytes,
//! two bytes of the part at sixty-four places at once; what else there is (`é`, `Ж`) is asked one by one by the caller.

use super::kernel;

/// Bits by which a lower and an upper letter of ASCII differ.
const CASE: u8 = 0x20;

/// A part to look for: its letters are lower ones.
#[derive(Debug)]
pub(crate) struct Needle<'a> {
    part: &'a [u8],
    /// The two places in it that are looked at first.
    at: [usize; 2],
    /// What a byte there is joined with, and what it is then.
    want: [u8; 4],
}

impl<'a> Needle<'a> {
    /// Of a part that is not empty.
    pub fn new(part: &'a [u8]) -> Needle<'a> {
        let mut places: Vec<usize> = (0..part.len()).collect();
        places.sort_by_key(|at| frequency(part[*at]));
        let first = places[0];
        let second = places.get(1).copied().unwrap_or(first);
        let (a, b) = (part[first], part[second]);
        Needle {
            part,
            at: [first, second],
            want: [case_of(a), a, case_of(b), b],
        }
    }

    /// Shows where it begins in `bytes`, ascending, and its length. `each` answers up to where nothing more is of interest.
    pub fn each(&self, bytes: &[u8], mut each: impl FnMut(usize, usize) -> usize) {
        let Some(last) = bytes.len().checked_sub(self.part.len()) else {
            return;
        };
        let starts = last + 1;
        let of = |at: usize| &bytes[at..at + starts];
        let (a, b) = (of(self.at[0]), of(self.at[1]));
        let (mut from, mut skip) = (0, 0);
        while from < starts {
            let Some((group, mut bits)) = kernel::pairs(&a[from..], &b[from..], self.want) else {
                // Less than a group is left.
                let left = from + (starts - from) / 64 * 64;
                for at in left..starts {
                    if at >= skip && self.is_at(bytes, at) {
                        skip = each(at, self.part.len());
                    }
                }
                return;
            };
            let base = from + group;
            while bits != 0 {
                let at = base + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if at >= skip && self.is_at(bytes, at) {
                    skip = each(at, self.part.len());
                }
            }
            from = (base + 64).max(skip);
        }
    }

    fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        let found = &bytes[at..at + self.part.len()];
        let mut both = found.iter().zip(self.part);
        both.all(|(found, part)| found | case_of(*part) == *part)
    }
}

/// The bit to set before a byte is compared with one of the part.
fn case_of(part: u8) -> u8 {
    match part.is_ascii_lowercase() {
        true => CASE,
        false => 0,
    }
}

/// How often a byte is met, roughly: the rarest are looked for first.
fn frequency(byte: u8) -> u8 {
    match byte {
        // First bytes of Chinese letters.
        0xe3..=0xe9 => 9,
        b'a' | b'e' | b'i' | b'n' | b'o' => 8,
        b'a'..=b'z' => 6,
        b'0'..=b'9' => 5,
        0x80..=0xbf => 4,
        _ => 3,
    }
}

/// Whether the case of every letter is simple: those of ASCII have it as ASCII does, the others have none, and no letter of
/// another text becomes one of them. For texts after NFKC.
pub(crate) fn is_simple(text: &[u8]) -> bool {
    if text.is_ascii() {
        return true;
    }
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let second = behind.first().copied().unwrap_or_default();
        let length = match (first, second) {
            (0..0x80, _) => 1,
            // U+0080 to U+00BF: the middle dot of names.
            (0xc2, _) => 2,
            // U+2000 to U+20FF punctuation, U+2600 to U+27FF signs.
            (0xe2, 0x80..=0x83 | 0x98..=0x9f) => 3,
            // U+3000 to U+9FFF: Chinese, kana. U+B000 to U+DFFF: Hangul.
            (0xe3..=0xe9 | 0xeb..=0xed, _) => 3,
            // U+FE00 to U+FE3F: which form a sign has.
            (0xef, 0xb8) => 3,
            // U+1F000 to U+1FFFF: emoji.
            (0xf0, 0x9f) => 4,
            _ => return false,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::scalar::{folded, nfkc};

    #[test]
    fn letters_called_simple_are() {
        for letter in (0..=0x10_ffffu32).filter_map(char::from_u32) {
            let text = letter.to_string();
            if !letter.is_ascii() && is_simple(text.as_bytes()) && nfkc(&text) == text {
                assert_eq!(folded(&text), text, "{letter:?} {:x}", letter as u32);
            }
            if !is_simple(text.as_bytes()) {
                continue;
            }
            assert!(
                letter
                    .to_lowercase()
                    .all(|it| is_simple(it.to_string().as_bytes()))
            );
        }
        for (text, simple) in [
            ("", true),
            ("张·Wei 😀❤️", true),
            ("é", false),
            ("Ж", false),
        ] {
            assert_eq!(is_simple(text.as_bytes()), simple, "{text}");
        }
    }

    #[test]
    fn every_place_is_found_wherever_it_lies() {
        let naive = |bytes: &[u8], part: &[u8]| -> Vec<usize> {
            let windows = bytes.windows(part.len()).enumerate();
            windows
                .filter(|(_, it)| it.to_ascii_lowercase() == part)
                .map(|(at, _)| at)
                .collect()
        };
        let mut state = 1u64;
        let mut roll = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        for round in 0..3000 {
            let letters = ["a", "A", "b", "1", "阳", "光", "@", "`", "\0"];
            let text: String = (0..roll(200)).map(|_| letters[roll(9)]).collect();
            let part: String = (0..1 + roll(4)).map(|_| letters[roll(9)]).collect();
            let part = part.to_ascii_lowercase();
            let mut found = Vec::new();
            Needle::new(part.as_bytes()).each(text.as_bytes(), |at, _| {
                found.push(at);
                at + 1
            });
            assert_eq!(
                found,
                naive(text.as_bytes(), part.as_bytes()),
                "{round}: {part} in {text}"
            );
        }
    }

    #[test]
    fn what_is_skipped_is_not_shown() {
        let mut found = Vec::new();
        Needle::new(b"a").each(&[b'A'; 300], |at, _| {
            found.push(at);
            at + 70
        });
        assert_eq!(found, [0, 70, 140, 210, 280]);
    }
}
