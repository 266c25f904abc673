//! The strict reader of one event: JSON by the letter, within the limits, in one pass without recursion.

use std::borrow::Cow;

use super::{Flaw, FlawKind, syntax};
use crate::limits;

/// Bounds for one event; depth and name length are the same for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Names over all objects.
    pub properties: u32,
}

impl Bounds {
    pub const TRACKING: Bounds = Bounds {
        properties: limits::EVENT_PROPERTIES,
    };
    pub const ORDER: Bounds = Bounds {
        properties: limits::ORDER_PROPERTIES,
    };
}

/// What a check found out on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checked {
    /// Half a surrogate pair was escaped somewhere, e.g. an emoji cut in two: see [`clean`].
    pub lone_surrogate: bool,
    /// Names over all objects.
    pub properties: u32,
}

/// Checks that `text` is one JSON value within `bounds`, with white space around it at most.
pub(crate) fn check(text: &str, bounds: Bounds) -> Result<Checked, Flaw> {
    Checker {
        bytes: text.as_bytes(),
        at: 0,
        depth: 0,
        levels: [0; limits::JSON_DEPTH],
        bounds,
        found: Checked::default(),
    }
    .run()
}

struct Checker<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Per open level: [`LIST`], or how many names the object has so far.
    levels: [u32; limits::JSON_DEPTH],
    bounds: Bounds,
    found: Checked,
}

/// Marks a level that is a list.
const LIST: u32 = u32::MAX;

impl Checker<'_> {
    fn run(mut self) -> Result<Checked, Flaw> {
        loop {
            self.space();
            let opened = self.value()?;
            if opened {
                continue;
            }
            // A value has ended: close levels until the next value is due.
            loop {
                self.space();
                if self.depth == 0 {
                    return match self.peek() {
                        None => Ok(self.found),
                        Some(_) => Err(syntax(self.at, "text behind the end of the value")),
                    };
                }
                let list = self.levels[self.depth - 1] == LIST;
                match (self.peek(), list) {
                    (Some(b','), true) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        self.name()?;
                        break;
                    }
                    (Some(b']'), true) | (Some(b'}'), false) => {
                        self.at += 1;
                        self.depth -= 1;
                    }
                    (None, _) => return Err(syntax(self.at, "the text ends too early")),
                    (_, true) => return Err(syntax(self.at, "expected `,` or `]`")),
                    (_, false) => return Err(syntax(self.at, "expected `,` or `}`")),
                }
            }
        }
    }

    /// Reads a scalar or an empty object or list, or opens one: true if a value must follow.
    fn value(&mut self) -> Result<bool, Flaw> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| false),
            Some(b'{') => {
                self.open(0)?;
                self.space();
                if self.peek() == Some(b'}') {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(false);
                }
                self.name()?;
                Ok(true)
            }
            Some(b'[') => {
                self.open(LIST)?;
                self.space();
                if self.peek() == Some(b']') {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(false);
                }
                Ok(true)
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(_) => Err(syntax(self.at, "expected a value")),
            None => Err(syntax(self.at, "the text ends too early")),
        }
    }

    fn open(&mut self, level: u32) -> Result<(), Flaw> {
        let Some(slot) = self.levels.get_mut(self.depth) else {
            return Err(self.flaw(FlawKind::Depth));
        };
        *slot = level;
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Reads a name and its colon.
    fn name(&mut self) -> Result<(), Flaw> {
        self.space();
        if self.peek() != Some(b'"') {
            return Err(syntax(self.at, "expected a name in quotes"));
        }
        let start = self.at;
        if self.string()? > limits::NAME_BYTES {
            self.at = start;
            return Err(self.flaw(FlawKind::Name));
        }
        let names = &mut self.levels[self.depth - 1];
        *names += 1;
        self.found.properties += 1;
        if *names > limits::OBJECT_PROPERTIES {
            return Err(self.flaw(FlawKind::Properties(limits::OBJECT_PROPERTIES)));
        }
        if self.found.properties > self.bounds.properties {
            return Err(self.flaw(FlawKind::Properties(self.bounds.properties)));
        }
        self.space();
        if self.peek() != Some(b':') {
            return Err(syntax(self.at, "expected `:`"));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string and answers its length in bytes between the quotes.
    fn string(&mut self) -> Result<usize, Flaw> {
        let start = self.at + 1;
        self.at = start;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.at - 1 - start);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(syntax(self.at, "a control character inside a text")),
                None => return Err(syntax(self.at, "a text that does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Flaw> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let Some(unit) = hex4(self.bytes, self.at + 2) else {
                    return Err(syntax(
                        self.at,
                        "expected four hexadecimal digits after `\\u`",
                    ));
                };
                let pair = high(unit)
                    && self.bytes.get(self.at + 6..self.at + 8) == Some(b"\\u")
                    && hex4(self.bytes, self.at + 8).is_some_and(low);
                if (high(unit) || low(unit)) && !pair {
                    self.found.lone_surrogate = true;
                }
                self.at += if pair { 12 } else { 6 };
                Ok(())
            }
            _ => Err(syntax(self.at, "an unknown escape")),
        }
    }

    fn number(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(syntax(start, "expected a value")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits_some()?;
        }
        let mut wide = self.at - start > 300;
        if let Some(b'e' | b'E') = self.peek() {
            wide = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits_some()?;
        }
        if wide {
            // Readers behind us refuse a whole object for one number like 1e400.
            let finite = std::str::from_utf8(&self.bytes[start..self.at])
                .ok()
                .and_then(|text| text.parse::<f64>().ok())
                .is_some_and(f64::is_finite);
            if !finite {
                self.at = start;
                return Err(self.flaw(FlawKind::Number));
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn digits_some(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        self.digits();
        if self.at == start {
            return Err(syntax(start, "expected a digit"));
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<bool, Flaw> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(false)
        } else {
            Err(syntax(self.at, "expected a value"))
        }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn flaw(&self, kind: FlawKind) -> Flaw {
        Flaw { at: self.at, kind }
    }
}

/// The first quote, backslash or control character at or behind `at`; the end of the text if there is none.
/// Eight bytes at a time: texts are most of what comes in.
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero = |v: u64| v.wrapping_sub(ONES) & !v & HIGHS;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = zero(word ^ (ONES * b'"' as u64));
        let backslash = zero(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        // The lowest hit is exact: a borrow makes false hits only above a true one.
        let hit = quote | backslash | control;
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            break;
        }
        at += 1;
    }
    at
}

/// The text with every lone half of a surrogate pair replaced by `\ufffd`, so that every reader takes it.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut cleaned = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = bytes[at..].iter().position(|b| *b == b'\\') {
        at += found;
        let Some(unit) = (bytes.get(at + 1) == Some(&b'u'))
            .then(|| hex4(bytes, at + 2))
            .flatten()
        else {
            at = (at + 2).min(bytes.len());
            continue;
        };
        if high(unit)
            && bytes.get(at + 6..at + 8) == Some(b"\\u")
            && hex4(bytes, at + 8).is_some_and(low)
        {
            at += 12;
        } else if high(unit) || low(unit) {
            cleaned.push_str(&text[copied..at]);
            cleaned.push_str("\\ufffd");
            at += 6;
            copied = at;
        } else {
            at += 6;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    cleaned.push_str(&text[copied..]);
    Cow::Owned(cleaned)
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |unit, byte| {
        Some(unit << 4 | (*byte as char).to_digit(16)?)
    })
}

fn high(unit: u32) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn low(unit: u32) -> bool {
    (0xdc00..0xe000).contains(&unit)
}
