//! JSON text read where it lies: only the values at the paths that somebody asks for are looked at.
//!
//! The text was accepted by a JSON parser when it came in. What does not scan all the same (a damaged row) reads as absent
//! and never panics.

use std::borrow::Cow;

use super::scalar::Scalar;
use crate::profile::value::Number;

/// Hands over the values at a path below the JSON text of a value: objects are entered, lists are collected, absent values
/// left out. Of a key that stands twice the last counts, as JSON readers have it.
pub fn each_at<'a>(json: &'a str, path: &[Box<str>], f: &mut dyn FnMut(Scalar<'a>)) {
    let json = json.trim_ascii();
    match (json.as_bytes().first(), path.split_first()) {
        (Some(b'['), _) => {
            let mut items = Cursor::inside(json);
            while let Some(item) = items.item() {
                each_at(item, path, f);
            }
        }
        (Some(b'{'), Some((key, rest))) => {
            let mut pairs = Cursor::inside(json);
            let mut found = None;
            while let Some((name, value)) = pairs.pair() {
                if unescaped(name) == **key {
                    found = Some(value);
                }
            }
            if let Some(value) = found {
                each_at(value, rest, f);
            }
        }
        (Some(_), None) => {
            if let Some(scalar) = scalar(json) {
                f(scalar);
            }
        }
        _ => {}
    }
}

/// Hands over the objects at a path: those of a list in turn.
pub fn each_object_at<'a>(json: &'a str, path: &[Box<str>], f: &mut dyn FnMut(&'a str)) {
    each_at(json, path, &mut |scalar| {
        if let Scalar::Object(text) = scalar {
            f(text);
        }
    });
}

/// Puts the raw values of the wanted keys of an object into slots, in one pass.
pub fn pick<'a>(json: &'a str, keys: &[Box<str>], slots: &mut [Option<&'a str>]) {
    let json = json.trim_ascii();
    if !json.starts_with('{') {
        return;
    }
    let mut pairs = Cursor::inside(json);
    while let Some((name, value)) = pairs.pair() {
        let name = unescaped(name);
        if let Some(slot) = keys.iter().position(|key| name == **key) {
            slots[slot] = Some(value);
        }
    }
}

/// A value that is no list; `None` for absent ones.
fn scalar(raw: &str) -> Option<Scalar<'_>> {
    match raw.as_bytes().first()? {
        b'"' => {
            let text = unescaped(raw.get(1..raw.len().checked_sub(1)?)?);
            (!text.is_empty()).then_some(Scalar::Text(text))
        }
        b't' => Some(Scalar::Bool(true)),
        b'f' => Some(Scalar::Bool(false)),
        b'n' => None,
        b'{' => Some(Scalar::Object(raw)),
        // What no exact number holds stays text, as in profiles.
        _ => Some(match number(raw) {
            Some(scalar) => scalar,
            None => Scalar::Text(Cow::Borrowed(raw)),
        }),
    }
}

fn number(raw: &str) -> Option<Scalar<'static>> {
    // The common case without a decimal library: a whole number of up to 18 digits.
    if raw.len() <= 18 && raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return raw.parse().ok().map(Scalar::Int);
    }
    let number = Number::parse(raw)?;
    Some(match number.as_int() {
        Some(whole) => Scalar::Int(whole),
        None => Scalar::Number(number),
    })
}

/// The text between quotes; what is no text (half a surrogate pair) is empty.
fn unescaped(inner: &str) -> Cow<'_, str> {
    try_unescaped(inner).unwrap_or_default()
}

/// The text between quotes.
pub(super) fn try_unescaped(inner: &str) -> Option<Cow<'_, str>> {
    if !inner.as_bytes().contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(&format!("\"{inner}\""))
        .ok()
        .map(Cow::Owned)
}

/// A place in JSON text.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Behind the opening bracket.
    pub fn inside(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 1 }
    }

    /// The next element of a list.
    pub fn item(&mut self) -> Option<&'a str> {
        self.separator();
        match self.peek()? {
            b']' => None,
            _ => self.value(),
        }
    }

    /// The next key (between its quotes, escaped) and value of an object.
    pub fn pair(&mut self) -> Option<(&'a str, &'a str)> {
        self.separator();
        if self.peek()? != b'"' {
            return None;
        }
        let key = self.value()?;
        self.space();
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        self.space();
        let value = self.value()?;
        Some((key.get(1..key.len().checked_sub(1)?)?, value))
    }

    fn separator(&mut self) {
        self.space();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.space();
        }
    }

    fn space(&mut self) {
        self.pass(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    }

    /// Goes on to the next byte that is wanted, or to the end. One tight loop: this is where the time goes.
    fn pass(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest
            .iter()
            .position(|byte| wanted(*byte))
            .unwrap_or(rest.len());
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes one value as text.
    fn value(&mut self) -> Option<&'a str> {
        let from = self.at;
        match self.peek()? {
            b'"' => self.string()?,
            b'{' | b'[' => {
                let mut depth = 0usize;
                loop {
                    self.pass(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'));
                    match self.peek()? {
                        b'"' => {
                            self.string()?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        _ => depth -= 1,
                    }
                    self.at += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            _ => {
                self.pass(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
            }
        }
        // A value without bytes would never come to an end.
        if self.at == from {
            return None;
        }
        self.text.get(from..self.at)
    }

    /// Passes a string, quotes included.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.pass(|byte| matches!(byte, b'"' | b'\\'));
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 2,
            }
        }
    }
}
