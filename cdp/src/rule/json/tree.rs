//! JSON with numbers as they were written and keys in their order.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::rule::error::RuleError;
use crate::rule::limits::DEPTH_MAX;
use crate::rule::scan::{Cursor, try_unescaped};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Levels of lists and objects inside each other: a rule takes two for each of its own, a condition in it some more.
const LEVELS_MAX: usize = 4 * DEPTH_MAX;

impl<'a> Json<'a> {
    /// Reads one value. serde_json judges the syntax, so the walk below meets little that is wrong.
    pub fn parse(text: &'a str) -> Result<Json<'a>, RuleError> {
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Json::read(text.trim_ascii(), 0),
            Err(error) => Err(RuleError::new(
                format!("{}:{}", error.line(), error.column()),
                "rule_syntax",
                format!("not JSON: {error}"),
            )),
        }
    }

    fn read(raw: &'a str, level: usize) -> Result<Json<'a>, RuleError> {
        if level > LEVELS_MAX {
            let message = format!("at most {LEVELS_MAX} levels of lists and objects");
            return Err(RuleError::new("", "too_deep", message));
        }
        Ok(match raw.as_bytes().first() {
            Some(b'{') => {
                let mut pairs = Cursor::inside(raw);
                let mut object = Vec::new();
                while let Some((key, value)) = pairs.pair() {
                    object.push((text(key)?, Json::read(value, level + 1)?));
                }
                Json::Object(object)
            }
            Some(b'[') => {
                let mut items = Cursor::inside(raw);
                let mut list = Vec::new();
                while let Some(item) = items.item() {
                    list.push(Json::read(item, level + 1)?);
                }
                Json::List(list)
            }
            Some(b'"') => Json::Text(text(raw.get(1..raw.len() - 1).unwrap_or_default())?),
            Some(b't') => Json::Bool(true),
            Some(b'f') => Json::Bool(false),
            Some(b'n') | None => Json::Null,
            Some(_) => Json::Number(raw),
        })
    }

    /// What it is, for messages.
    pub fn what(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "true or false",
            Json::Number(_) => "a number",
            Json::Text(_) => "a text",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

/// The text between quotes. Half a surrogate pair is what JSON's syntax allows and no text is.
fn text(inner: &str) -> Result<Cow<'_, str>, RuleError> {
    try_unescaped(inner).ok_or_else(|| {
        let message = format!("\"{inner}\" holds an escape that is no letter");
        RuleError::new("", "rule_syntax", message)
    })
}
