//! JSON with numbers as they were written and keys in their order.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::rule::error::RuleError;
use crate::rule::scan::{Cursor, unescaped};

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

impl<'a> Json<'a> {
    /// Reads one value. serde_json judges the syntax (at most 128 levels), so the walk below meets nothing wrong.
    pub fn parse(text: &'a str) -> Result<Json<'a>, RuleError> {
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(Json::read(text.trim_ascii())),
            Err(error) => Err(RuleError::new(
                format!("{}:{}", error.line(), error.column()),
                "rule_syntax",
                format!("not JSON: {error}"),
            )),
        }
    }

    fn read(raw: &'a str) -> Json<'a> {
        match raw.as_bytes().first() {
            Some(b'{') => {
                let mut pairs = Cursor::inside(raw);
                let mut object = Vec::new();
                while let Some((key, value)) = pairs.pair() {
                    object.push((unescaped(key), Json::read(value)));
                }
                Json::Object(object)
            }
            Some(b'[') => {
                let mut items = Cursor::inside(raw);
                let mut list = Vec::new();
                while let Some(item) = items.item() {
                    list.push(Json::read(item));
                }
                Json::List(list)
            }
            Some(b'"') => Json::Text(unescaped(raw.get(1..raw.len() - 1).unwrap_or_default())),
            Some(b't') => Json::Bool(true),
            Some(b'f') => Json::Bool(false),
            Some(b'n') | None => Json::Null,
            Some(_) => Json::Number(raw),
        }
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
