//! Text into tokens.

use super::{goes_on_word, starts_word};
use crate::rule::error::RuleError;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A plain word: key or word of the grammar.
    Word(String),
    /// A key in backticks.
    Key(String),
    /// Text in quotes.
    Text(String),
    /// Digits, perhaps with a point, and the letters that follow without space.
    Number(String, String),
    /// A sign.
    Sign(&'static str),
    /// Nothing more.
    End,
}

impl Token {
    /// For messages.
    pub fn what(&self) -> String {
        match self {
            Token::Word(word) => format!("`{word}`"),
            Token::Key(key) => format!("the key `{key}`"),
            Token::Text(text) => format!("the text {text:?}"),
            Token::Number(digits, unit) => format!("`{digits}{unit}`"),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".to_owned(),
        }
    }
}

const SIGNS: [&str; 13] = [
    "!=", ">=", "<=", "(", ")", ",", ".", "=", ">", "<", "-", "+", "%",
];

/// All tokens with the byte where each begins; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, RuleError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if starts_word(first) {
            let length = length_while(rest, goes_on_word);
            (Token::Word(rest[..length].to_owned()), length)
        } else if first.is_ascii_digit() {
            number(rest)
        } else if first == '"' {
            string(rest).ok_or_else(|| {
                error(text, at, "this text has no end, or a wrong escape")
                    .hint("texts are written as in JSON: \"a \\\"quoted\\\" word\"")
            })?
        } else if first == '`' {
            key(rest).ok_or_else(|| error(text, at, "this key has no closing backtick"))?
        } else {
            match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => {
                    let message = format!("`{first}` has no meaning here");
                    let error = error(text, at, message);
                    return Err(match first {
                        '\'' | '“' | '”' => error.hint("texts stand in straight double quotes"),
                        _ => error,
                    });
                }
            }
        };
        tokens.push((token, at));
        at += length;
    }
    tokens.push((Token::End, text.len()));
    Ok(tokens)
}

/// A syntax error at a byte, as `line:column` counted in letters from 1.
pub(super) fn error(text: &str, at: usize, message: impl Into<String>) -> RuleError {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
    RuleError::new(format!("{line}:{column}"), "rule_syntax", message)
}

fn length_while(text: &str, part: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !part(letter)).unwrap_or(text.len())
}

fn number(text: &str) -> (Token, usize) {
    let is_digit = |letter: char| letter.is_ascii_digit();
    let mut length = length_while(text, is_digit);
    if let Some(fraction) = text[length..].strip_prefix('.')
        && fraction.starts_with(is_digit)
    {
        length += 1 + length_while(fraction, is_digit);
    }
    let unit = length_while(&text[length..], char::is_alphabetic);
    let (digits, unit) = (&text[..length], &text[length..length + unit]);
    let token = Token::Number(digits.to_owned(), unit.to_owned());
    (token, digits.len() + unit.len())
}

fn string(text: &str) -> Option<(Token, usize)> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    let value = serde_json::from_str(text.get(..=at)?).ok()?;
    Some((Token::Text(value), at + 1))
}

fn key(text: &str) -> Option<(Token, usize)> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        match (letter, letters.peek()) {
            ('`', Some((_, '`'))) => {
                letters.next();
                value.push('`');
            }
            ('`', _) => return Some((Token::Key(value), at + 1)),
            _ => value.push(letter),
        }
    }
    None
}
