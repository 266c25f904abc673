//! Webhooks, as far as units decide them: who wants to hear of what.
//!
//! Subscriptions are a definition (kind `webhooks`) that goes through the log like any other, so a replay makes the same
//! effects. Addresses and secrets are not in it: they stay in the registry, where the dispatcher reads them when it calls.
//! An effect carries only where its cause stands, nothing personal: the body is made from the log when it is sent, and what
//! was erased by then is gone from it.
//!
//! **To add something that webhooks hear of** (a tag, a balance): a variant of [`Occurrence`] and
//! [`Notice`], its word in [`WORDS`], and a call of [`Hooks::tell`] in the machine that decides it.

use actors::machine::{Effect, RecordAt, WriteSet};
use actors::model::{BrandId, MemberNo, Position, SegmentId, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::control::AlertChange;
use crate::definition::DefinitionError;
use crate::routed::{self, AlertPart, EventHead, IdentityNote, MembershipPart, NoteKind};

/// Name of the channel in effects.
pub const CHANNEL: &str = "webhook";

/// Everything.
const ALL: &str = "*";
/// Every event.
const EVENT: &str = "event";
/// Front of `event:NAME`: events of one name.
const EVENT_NAMED: &str = "event:";

/// Also changes of segments that come from an edited rule, not from members.
const REBUILT: &str = "rebuilt";
/// An alert of dead letters begins or ends.
const ALERT: &str = "dead_letters.alert";
const ENTERED: &str = "segment.entered";
const LEFT: &str = "segment.left";

/// The words that a webhook may subscribe to, besides `event:NAME` and `segment.entered:ID`, `segment.left:ID`.
pub const WORDS: &[&str] = &[
    ALL,
    EVENT,
    "member.linked",
    "member.merged",
    "member.conflict",
    "member.unmerged",
    "member.rejoined",
    ENTERED,
    LEFT,
    REBUILT,
    ALERT,
];

/// Words of one webhook.
const WORDS_MAX: usize = 100;
/// Bytes of one word.
const WORD_BYTES_MAX: usize = 300;

/// One webhook, as units know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its number in the registry, never used twice.
    pub id: u32,
    /// The brand whose events it hears; 0: of the whole group.
    pub brand: BrandId,
    /// What it wants to hear of.
    pub events: Vec<Box<str>>,
}

/// All webhooks that are switched on: the body of a definition.
///
/// ```
/// use cdp::webhook::Hooks;
/// let body = serde_json::json!({"webhooks": [{"id": 1, "brand": 0, "events": ["member.merged", "event:order"]}]});
/// assert_eq!(Hooks::check(&body).unwrap().to_body(), body);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    webhooks: Vec<Hook>,
}

/// Something that webhooks may hear of.
#[derive(Debug, Clone, Copy)]
pub enum Occurrence<'a> {
    /// An event of a member.
    Event(&'a EventHead, RecordAt),
    /// A change of who the member is.
    Identity(&'a IdentityNote),
    /// A member entered (`true`) or left a segment.
    Segment(&'a MembershipPart, MemberNo, bool),
    /// An alert of dead letters begins or ends.
    Alert(&'a AlertPart),
}

/// The payload of an effect: what happened, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// An event: its record in the result log says the rest.
    Event {
        /// The member it belonged to then.
        member: MemberNo,
        /// Where identity sent it.
        at: RecordAt,
    },
    /// A change of who a member is.
    Identity {
        /// The member.
        member: MemberNo,
        /// The other one, of merges and unmerges.
        other: Option<MemberNo>,
        /// What happened.
        what: NoteKind,
        /// When.
        time: Time,
        /// The raw record that caused it.
        cause: Position,
    },
    /// A member entered or left a segment.
    Segment {
        /// The member.
        member: MemberNo,
        /// The segment.
        segment: SegmentId,
        /// The version of its rule.
        version: u32,
        /// Entered, not left.
        entered: bool,
        /// Because the rule was edited or computed for the first time.
        rebuilt: bool,
        /// As of when.
        time: Time,
        /// The control record that said so.
        cause: Position,
    },
    /// An alert of dead letters begins or ends.
    Alert(AlertChange),
}

impl Hooks {
    /// These webhooks.
    pub fn new(webhooks: Vec<Hook>) -> Hooks {
        Hooks { webhooks }
    }

    /// Reads the body of a definition.
    pub fn check(body: &Value) -> Result<Hooks, DefinitionError> {
        let wrong = |error: serde_json::Error| {
            DefinitionError::new("", "definition_form", error.to_string())
        };
        Hooks::deserialize(body).map_err(wrong)
    }

    /// The body of a definition.
    pub fn to_body(&self) -> Value {
        serde_json::to_value(self).expect("webhooks are plain JSON")
    }

    /// Makes the effects that follow from an occurrence: one for each webhook that wants to hear of it.
    pub fn tell(&self, occurrence: Occurrence<'_>, out: &mut WriteSet) {
        for hook in &self.webhooks {
            if occurrence.is_for(hook) {
                out.effects.push(Effect {
                    key: occurrence.key(hook.id),
                    channel: CHANNEL.into(),
                    target: hook.id.into(),
                    at_most_once: false,
                    payload: routed::encode(&occurrence.notice()),
                });
            }
        }
    }
}

impl Occurrence<'_> {
    fn is_for(&self, hook: &Hook) -> bool {
        let group = hook.brand == BrandId(0);
        match self {
            Occurrence::Event(head, _) => {
                let wants = |word: &str| {
                    word == ALL
                        || word == EVENT
                        || word.strip_prefix(EVENT_NAMED) == Some(&*head.name)
                };
                (group || hook.brand == head.brand) && hook.events.iter().any(|word| wants(word))
            }
            // Who a member is concerns all brands that know it: a brand alone does not hear of it.
            Occurrence::Identity(note) => {
                let own = note_word(note.what);
                let wants = |word: &str| word == ALL || word == own;
                group && hook.events.iter().any(|word| wants(word))
            }
            Occurrence::Segment(part, _, entered) => {
                let own = segment_word(*entered);
                let wants = |word: &str| match word.strip_prefix(own) {
                    Some("") => true,
                    Some(rest) => rest.strip_prefix(':') == Some(&*part.segment.to_string()),
                    None => word == ALL,
                };
                let asked = hook.events.iter().any(|word| &**word == REBUILT);
                (group || hook.brand == part.brand)
                    && (!part.rebuilt || asked)
                    && hook.events.iter().any(|word| wants(word))
            }
            Occurrence::Alert(part) => {
                (group || hook.brand == part.change.brand)
                    && hook
                        .events
                        .iter()
                        .any(|word| matches!(&**word, ALL | ALERT))
            }
        }
    }

    fn notice(&self) -> Notice {
        match *self {
            Occurrence::Event(head, at) => Notice::Event {
                member: head.member,
                at,
            },
            Occurrence::Identity(note) => Notice::Identity {
                member: note.member,
                other: note.other,
                what: note.what,
                time: note.time,
                cause: note.cause,
            },
            Occurrence::Segment(part, member, entered) => Notice::Segment {
                member,
                segment: part.segment,
                version: part.version,
                entered,
                rebuilt: part.rebuilt,
                time: part.at,
                cause: part.cause,
            },
            Occurrence::Alert(part) => Notice::Alert(part.change.clone()),
        }
    }

    /// Derived from the raw record that caused it, so that deciding it again gives the same key.
    fn key(&self, hook: u32) -> u64 {
        let derived = match self {
            Occurrence::Event(head, _) => routed::encode(&(hook, 0u8, head.raw)),
            Occurrence::Identity(note) => routed::encode(&(
                hook,
                1u8,
                note.cause,
                note.what,
                note.member,
                note.fragment,
                note.other,
            )),
            Occurrence::Segment(part, member, entered) => {
                routed::encode(&(hook, 2u8, part.cause, part.segment, member, entered))
            }
            Occurrence::Alert(part) => routed::encode(&(hook, 3u8, part.cause, part.change.id)),
        };
        let hash = blake3::hash(&derived);
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

impl Notice {
    /// Reads the payload of an effect.
    pub fn read(payload: &[u8]) -> Option<Notice> {
        routed::decode(payload)
    }

    /// Its word, without the name of an event.
    pub fn word(&self) -> &'static str {
        match self {
            Notice::Event { .. } => EVENT,
            Notice::Identity { what, .. } => note_word(*what),
            Notice::Segment { entered, .. } => segment_word(*entered),
            Notice::Alert(_) => ALERT,
        }
    }
}

fn note_word(what: NoteKind) -> &'static str {
    match what {
        NoteKind::Linked => "member.linked",
        NoteKind::Merged => "member.merged",
        NoteKind::Conflict => "member.conflict",
        NoteKind::Unmerged => "member.unmerged",
        NoteKind::Rejoined => "member.rejoined",
    }
}

fn segment_word(entered: bool) -> &'static str {
    match entered {
        true => ENTERED,
        false => LEFT,
    }
}

/// Checks what a webhook wants to subscribe to; says what is wrong.
pub fn check_words(words: &[String], brand: BrandId) -> Result<(), String> {
    if words.is_empty() || words.len() > WORDS_MAX {
        return Err(format!("name 1 to {WORDS_MAX} sorts of events"));
    }
    for word in words {
        let named = word.strip_prefix(EVENT_NAMED);
        let segment = [ENTERED, LEFT]
            .iter()
            .find_map(|front| word.strip_prefix(front));
        let segment = segment.and_then(|rest| rest.strip_prefix(':')?.parse::<u32>().ok());
        let known = WORDS.contains(&word.as_str())
            || named.is_some_and(|name| !name.is_empty())
            || segment.is_some();
        if !known || word.len() > WORD_BYTES_MAX {
            return Err(format!(
                "`{word}` is nothing to hear of; there are: {}, event:NAME, segment.entered:ID, segment.left:ID",
                WORDS.join(", ")
            ));
        }
        if brand != BrandId(0) && word.starts_with("member.") {
            return Err(format!(
                "`{word}` concerns all brands: only a webhook of the group hears of it"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
