//! The members of a tracking event, and the API's rules of who and what.

use actors::model::EventKind;

use crate::json;
use crate::protocol::{event_name, id_text, nobody};
use crate::{Reject, RejectCode};

/// The members of an event as they stand there; an absent one reads as null. The last of equal names counts.
pub(super) struct Fields<'a> {
    pub kind: &'a str,
    pub event: &'a str,
    pub user_id: &'a str,
    pub anonymous_id: &'a str,
    pub previous_id: &'a str,
    pub group_id: &'a str,
    pub message_id: &'a str,
    pub timestamp: &'a str,
    pub original_timestamp: &'a str,
    pub sent_at: &'a str,
    pub name: &'a str,
    pub category: &'a str,
    pub properties: &'a str,
    pub traits: &'a str,
    pub context: &'a str,
    pub integrations: &'a str,
    pub identifiers: &'a str,
}

pub(super) fn fields(item: &str) -> Fields<'_> {
    let mut fields = Fields {
        kind: "",
        event: "",
        user_id: "",
        anonymous_id: "",
        previous_id: "",
        group_id: "",
        message_id: "",
        timestamp: "",
        original_timestamp: "",
        sent_at: "",
        name: "",
        category: "",
        properties: "",
        traits: "",
        context: "",
        integrations: "",
        identifiers: "",
    };
    for (name, value) in json::members(item) {
        let slot = match &*name {
            "type" => &mut fields.kind,
            "event" => &mut fields.event,
            "userId" => &mut fields.user_id,
            "anonymousId" => &mut fields.anonymous_id,
            "previousId" => &mut fields.previous_id,
            "groupId" => &mut fields.group_id,
            "messageId" => &mut fields.message_id,
            "timestamp" => &mut fields.timestamp,
            "originalTimestamp" => &mut fields.original_timestamp,
            "sentAt" => &mut fields.sent_at,
            "name" => &mut fields.name,
            "category" => &mut fields.category,
            "properties" => &mut fields.properties,
            "traits" => &mut fields.traits,
            "context" => &mut fields.context,
            "integrations" => &mut fields.integrations,
            "identifiers" => &mut fields.identifiers,
            _ => continue,
        };
        *slot = value;
    }
    fields
}

/// Null and an empty text are absent.
pub(super) fn present(raw: &str) -> bool {
    !matches!(raw, "" | "null" | "\"\"")
}

impl<'a> Fields<'a> {
    pub fn kind(&self, endpoint: Option<EventKind>) -> Result<EventKind, Reject> {
        if let Some(kind) = endpoint {
            return Ok(kind);
        }
        Ok(match &*json::text(self.kind) {
            "track" => EventKind::Track,
            "identify" => EventKind::Identify,
            "page" => EventKind::Page,
            "screen" => EventKind::Screen,
            "group" => EventKind::Group,
            "alias" => EventKind::Alias,
            _ => {
                return Err(Reject::at(
                    RejectCode::TypeUnknown,
                    "type",
                    "an event of a batch needs a `type`: track, identify, page, screen, group or alias",
                ));
            }
        })
    }

    /// When it happened, as written, and under which name.
    pub fn time(&self) -> (&'a str, &'static str) {
        if present(self.original_timestamp) {
            (self.original_timestamp, "originalTimestamp")
        } else {
            (self.timestamp, "timestamp")
        }
    }

    /// The rules of the API: who and what.
    pub fn rules(&self, endpoint: Option<EventKind>) -> Result<(), Reject> {
        let kind = self.kind(endpoint)?;
        let user = id_text(self.user_id, "userId")?.is_some();
        let anonymous = id_text(self.anonymous_id, "anonymousId")?.is_some();
        if !user && !anonymous && !present(self.identifiers) {
            return Err(nobody("userId or anonymousId"));
        }
        let needed = match kind {
            EventKind::Track => return event_name(self.event, "event").map(|_| ()),
            EventKind::Alias => ("previousId", self.previous_id),
            EventKind::Group => ("groupId", self.group_id),
            _ => return Ok(()),
        };
        match id_text(needed.1, needed.0)? {
            Some(_) => Ok(()),
            None => Err(Reject::at(
                RejectCode::FieldMissing,
                needed.0,
                format!("{} needs `{}`", kind.as_str(), needed.0),
            )),
        }
    }
}
