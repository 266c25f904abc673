//! Walking over JSON by brackets and strings only. Whether a value is right is for `check` to say.

use std::borrow::Cow;

use super::check::plain_end;
use super::{Flaw, syntax, text};

/// The members of an object, outermost level only, in order. Ends at the first thing that is no member.
pub(crate) fn members(object: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let mut walk = Walk::new(object, b'{', b'}');
    std::iter::from_fn(move || walk.member().ok().flatten())
}

/// The items of a list, outermost level only, in order. Ends at the first thing that is no item.
pub(crate) fn items(list: &str) -> impl Iterator<Item = &str> {
    let mut walk = Walk::new(list, b'[', b']');
    std::iter::from_fn(move || walk.item().ok().flatten())
}

/// Takes an object apart; nothing but white space may stand around it.
pub(crate) fn split_object(object: &str) -> Result<Vec<(Cow<'_, str>, &str)>, Flaw> {
    let mut walk = Walk::new(object, b'{', b'}');
    let mut members = Vec::new();
    while let Some(member) = walk.member()? {
        members.push(member);
    }
    walk.finish()?;
    Ok(members)
}

/// Takes a list apart; nothing but white space may stand around it.
pub(crate) fn split_array(list: &str) -> Result<Vec<&str>, Flaw> {
    let mut walk = Walk::new(list, b'[', b']');
    let mut items = Vec::new();
    while let Some(item) = walk.item()? {
        items.push(item);
    }
    walk.finish()?;
    Ok(items)
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    state: State,
    open: u8,
    close: u8,
}

#[derive(PartialEq)]
enum State {
    Start,
    Inside,
    Done,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, open: u8, close: u8) -> Self {
        Walk {
            text,
            at: 0,
            state: State::Start,
            open,
            close,
        }
    }

    /// Moves to the next item or member: false at the end.
    fn advance(&mut self) -> Result<bool, Flaw> {
        let bytes = self.text.as_bytes();
        self.at = skip_space(bytes, self.at);
        let here = bytes.get(self.at).copied();
        match self.state {
            State::Done => return Ok(false),
            State::Start if here != Some(self.open) => {
                self.state = State::Done;
                return Err(syntax(
                    self.at,
                    if self.open == b'{' {
                        "expected `{`"
                    } else {
                        "expected `[`"
                    },
                ));
            }
            State::Start => {
                self.state = State::Inside;
                self.at = skip_space(bytes, self.at + 1);
                if bytes.get(self.at) != Some(&self.close) {
                    return Ok(true);
                }
            }
            State::Inside if here == Some(b',') => {
                self.at = skip_space(bytes, self.at + 1);
                return Ok(true);
            }
            State::Inside if here == Some(self.close) => {}
            State::Inside => {
                self.state = State::Done;
                return Err(syntax(
                    self.at,
                    match here {
                        None => "the text ends too early",
                        Some(_) if self.close == b'}' => "expected `,` or `}`",
                        Some(_) => "expected `,` or `]`",
                    },
                ));
            }
        }
        self.at += 1;
        self.state = State::Done;
        Ok(false)
    }

    fn item(&mut self) -> Result<Option<&'a str>, Flaw> {
        if !self.advance()? {
            return Ok(None);
        }
        self.value().map(Some)
    }

    fn member(&mut self) -> Result<Option<(Cow<'a, str>, &'a str)>, Flaw> {
        if !self.advance()? {
            return Ok(None);
        }
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            self.state = State::Done;
            return Err(syntax(self.at, "expected a name in quotes"));
        }
        let name = self.value()?;
        self.at = skip_space(bytes, self.at);
        if bytes.get(self.at) != Some(&b':') {
            self.state = State::Done;
            return Err(syntax(self.at, "expected `:`"));
        }
        self.at = skip_space(bytes, self.at + 1);
        Ok(Some((text(name), self.value()?)))
    }

    fn value(&mut self) -> Result<&'a str, Flaw> {
        match value_end(self.text.as_bytes(), self.at) {
            Ok(end) => {
                let value = &self.text[self.at..end];
                self.at = end;
                Ok(value)
            }
            Err(flaw) => {
                self.state = State::Done;
                Err(flaw)
            }
        }
    }

    fn finish(&self) -> Result<(), Flaw> {
        let rest = skip_space(self.text.as_bytes(), self.at);
        if rest == self.text.len() {
            Ok(())
        } else {
            Err(syntax(rest, "text behind the end of the value"))
        }
    }
}

/// Where the value that begins at `at` ends, by brackets and strings only.
fn value_end(bytes: &[u8], at: usize) -> Result<usize, Flaw> {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => {
            let mut depth = 0usize;
            let mut here = at;
            while let Some(byte) = bytes.get(here) {
                match byte {
                    b'"' => {
                        here = string_end(bytes, here)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Ok(here + 1);
                        }
                    }
                    _ => {}
                }
                here += 1;
            }
            Err(syntax(here, "the text ends too early"))
        }
        _ => {
            let length = bytes[at.min(bytes.len())..]
                .iter()
                .position(|b| {
                    matches!(
                        b,
                        b',' | b']'
                            | b'}'
                            | b'{'
                            | b'['
                            | b'"'
                            | b':'
                            | b' '
                            | b'\n'
                            | b'\r'
                            | b'\t'
                    )
                })
                .unwrap_or(bytes.len().saturating_sub(at));
            if length == 0 {
                let what = if at >= bytes.len() {
                    "the text ends too early"
                } else {
                    "expected a value"
                };
                return Err(syntax(at, what));
            }
            Ok(at + length)
        }
    }
}

fn string_end(bytes: &[u8], at: usize) -> Result<usize, Flaw> {
    let mut here = at + 1;
    loop {
        here = plain_end(bytes, here);
        match bytes.get(here) {
            Some(b'"') => return Ok(here + 1),
            Some(b'\\') => here += 2,
            Some(_) => here += 1,
            None => return Err(syntax(bytes.len(), "a text that does not end")),
        }
    }
}
