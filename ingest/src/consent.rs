//! Consents: a person allows a brand to use a channel for a purpose, or takes that back.
//!
//! A consent is an event named `consent`, from any source; the event, with whatever else stands in its properties, is the
//! evidence:
//!
//! ```json
//! {"message_id": "c-1", "type": "track", "name": "consent", "identifiers": ["phone:13800000000"],
//!  "properties": {"channel": "sms", "purpose": "marketing", "state": "withdrawn", "text_version": "2026-01", "page": "/me"}}
//! ```
//! `channel` and `purpose` are words of the brand's own or `*` for all. Decoding tells it as the attribute
//! `consent:sms:marketing` with the value `granted` or `withdrawn`, so a consent has a time, a source, a brand and a history
//! like every other fact, moves with its identifier, and can be asked for in a rule.

use actors::model::{CONSENT_PREFIX as PREFIX, Event, EventKind, RawJson};

use crate::json::{self, ObjectWriter, Value};
use crate::{Reject, RejectCode};

/// Name of the event.
pub const EVENT: &str = "consent";

/// Longest word for a channel or a purpose, in bytes.
const WORD_BYTES_MAX: usize = 40;

/// A channel or purpose.
///
/// ```
/// assert!(ingest::consent::is_word("wechat_subscribe") && ingest::consent::is_word("*"));
/// assert!(!ingest::consent::is_word("a:b") && !ingest::consent::is_word(""));
/// ```
pub fn is_word(word: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    word == "*" || (1..=WORD_BYTES_MAX).contains(&word.len()) && word.bytes().all(plain)
}

/// Lets an event named `consent` tell its attribute, and any other event tell none of these.
pub(crate) fn tell(event: &mut Event) -> Result<(), Reject> {
    if let Some(traits) = &event.traits
        && traits.as_str().contains(PREFIX)
        && json::members(traits.as_str()).any(|(name, _)| name.starts_with(PREFIX))
    {
        let reason =
            format!("attributes that begin with `{PREFIX}` are told by events named `{EVENT}`");
        return Err(Reject::at(RejectCode::AttributeReserved, "traits", reason));
    }
    if event.kind != EventKind::Track || &*event.name != EVENT {
        return Ok(());
    }
    let properties = event.properties.as_ref().map_or("{}", RawJson::as_str);
    let channel = word(properties, "channel")?;
    let purpose = word(properties, "purpose")?;
    let state = text(properties, "state")?;
    if !matches!(&*state, "granted" | "withdrawn") {
        let reason = format!("`{state}` is no state of a consent: use granted or withdrawn");
        return Err(Reject::at(
            RejectCode::WordUnknown,
            "properties.state",
            reason,
        ));
    }
    let mut told = ObjectWriter::new();
    told.text(&format!("{PREFIX}{channel}:{purpose}"), &state);
    let told = told.finish();
    let all = match &event.traits {
        Some(traits) => json::merge(traits.as_str(), &told),
        None => told,
    };
    event.traits = RawJson::object(&all).ok();
    Ok(())
}

fn word(properties: &str, name: &str) -> Result<String, Reject> {
    let word = text(properties, name)?;
    if !is_word(&word) {
        let reason = format!(
            "`{word}` is no {name}: use a word of a-z, 0-9, `_` and `-` of up to {WORD_BYTES_MAX} letters, or `*` for all"
        );
        return Err(Reject::at(
            RejectCode::WordUnknown,
            format!("properties.{name}"),
            reason,
        ));
    }
    Ok(word)
}

fn text(properties: &str, name: &str) -> Result<String, Reject> {
    let field = || format!("properties.{name}");
    let found = json::members(properties).find(|(member, _)| member == name);
    match found.map_or(Value::Null, |(_, raw)| json::read(raw)) {
        Value::Text(text) => Ok(text.into_owned()),
        Value::Null => Err(Reject::at(
            RejectCode::FieldMissing,
            field(),
            format!("a consent needs `{name}` in its properties"),
        )),
        _ => Err(Reject::at(
            RejectCode::FieldType,
            field(),
            format!("`{name}` must be text"),
        )),
    }
}

#[cfg(test)]
mod tests;
