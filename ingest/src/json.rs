//! JSON read in place: nothing is built, values stay slices of the text, so numbers keep all their digits.
//!
//! Three tools: [`check`](check::check) is strict and bounded, for one event; [`split_object`] and [`split_array`] look
//! at brackets and strings only, so that one broken event (a NaN, say) does not hide where the next one begins;
//! [`members`] and [`items`] walk text that was checked. None of them recurses and none panics, whatever the text.

mod check;
mod walk;

use std::borrow::Cow;
use std::fmt;

pub(crate) use check::{Bounds, check, clean};
pub(crate) use walk::{items, members, split_array, split_object};

/// What is wrong with a JSON text, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Byte offset.
    pub at: usize,
    /// What.
    pub kind: FlawKind,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlawKind {
    /// Not JSON.
    Syntax(&'static str),
    /// Nested too deep.
    Depth,
    /// More names than this.
    Properties(u32),
    /// A name is too long.
    Name,
    /// A number that no reader can keep.
    Number,
}

impl fmt::Display for FlawKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlawKind::Syntax(what) => f.write_str(what),
            FlawKind::Depth => write!(f, "nested more than {} deep", crate::limits::JSON_DEPTH),
            FlawKind::Properties(max) => write!(f, "more than {max} names"),
            FlawKind::Name => write!(f, "a name over {} bytes", crate::limits::NAME_BYTES),
            FlawKind::Number => f.write_str("a number out of range"),
        }
    }
}

pub(crate) fn syntax(at: usize, what: &'static str) -> Flaw {
    Flaw {
        at,
        kind: FlawKind::Syntax(what),
    }
}

/// One value, told apart by its first character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'a str),
    /// Escapes undone.
    Text(Cow<'a, str>),
    /// As written, with brackets.
    Array(&'a str),
    /// As written, with braces.
    Object(&'a str),
}

/// Reads one checked value.
pub(crate) fn read(raw: &str) -> Value<'_> {
    match raw.as_bytes().first() {
        Some(b'"') => Value::Text(text(raw)),
        Some(b'{') => Value::Object(raw),
        Some(b'[') => Value::Array(raw),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') | None => Value::Null,
        Some(_) => Value::Number(raw),
    }
}

/// The text of a string in quotes, escapes undone. An escape that means nothing reads as U+FFFD.
pub(crate) fn text(raw: &str) -> Cow<'_, str> {
    let inner = raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(raw);
    if !inner.as_bytes().contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    match serde_json::from_str::<String>(raw) {
        Ok(text) => Cow::Owned(text),
        Err(_) => {
            Cow::Owned(serde_json::from_str(&clean(raw)).unwrap_or_else(|_| "\u{fffd}".into()))
        }
    }
}

/// `text` as a JSON string in quotes, appended to `out`.
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        if short.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(short);
        }
        plain = at + 1;
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// Writes an object member by member.
pub(crate) struct ObjectWriter {
    out: String,
}

impl ObjectWriter {
    pub fn new() -> ObjectWriter {
        ObjectWriter { out: "{".into() }
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        push_text(&mut self.out, name);
        self.out.push(':');
    }

    /// Adds a member whose value is JSON already.
    pub fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        self.out.push_str(value);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        push_text(&mut self.out, value);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.out.len() == 1
    }

    pub fn finish(mut self) -> String {
        self.out.push('}');
        self.out
    }
}

/// The members of `base` whose names `over` does not have, then those of `over`. One level deep, like the SDKs merge.
pub(crate) fn merge(base: &str, over: &str) -> String {
    let mut merged = ObjectWriter::new();
    for (name, value) in members(base) {
        if !members(over).any(|(other, _)| other == name) {
            merged.raw(&name, value);
        }
    }
    for (name, value) in members(over) {
        merged.raw(&name, value);
    }
    merged.finish()
}

#[cfg(test)]
mod tests;
