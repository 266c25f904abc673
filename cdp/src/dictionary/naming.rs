//! What people say of names, and the rules that follow ([`compile`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rules::{Blocked, EventRule, FieldRule, NameRules};
use crate::definition::AttributeType;

/// Longest title and owner, in characters: they stand in tables.
const TITLE_CHARS_MAX: usize = 100;
/// Longest name of an event or a property, in bytes, as admission has it.
const NAME_BYTES_MAX: usize = 255;
/// Properties of one event that may be named.
const PROPERTIES_MAX: usize = 500;
/// Longest description of a property, in characters.
const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// Words that are names of events because of their kind, not because a sender chose them: nothing is merged into them, nor
/// they into anything, since only their kind gives them their meaning.
const FIXED: &[&str] = &[
    "identify", "page", "screen", "group", "alias", "order", "scan", "item",
];

/// How far people have come with a name.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has looked at it.
    #[default]
    New,
    /// It is as it should be.
    Accepted,
    /// It is not wanted.
    Blocked,
}

impl Status {
    /// All words.
    pub const WORDS: &'static [&'static str] = &["new", "accepted", "blocked"];

    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        Status::WORDS[self as usize]
    }

    /// Of a word; unknown ones (of a later version) are new.
    pub fn of(word: &str) -> Status {
        match word {
            "accepted" => Status::Accepted,
            "blocked" => Status::Blocked,
            _ => Status::New,
        }
    }
}

/// Names for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Titled {
    /// Chinese.
    #[serde(default)]
    #[schema(example = "支付完成")]
    pub zh: String,
    /// English.
    #[serde(default)]
    #[schema(example = "Order completed")]
    pub en: String,
}

/// Where events of a blocked name go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBlock {
    /// Into the dead-letter list, with the reason `event_blocked`.
    #[default]
    DeadLetter,
    /// Nowhere; they are counted.
    Drop,
}

/// What people say of an event or an attribute, besides description and status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Naming {
    /// Names for people.
    #[serde(default)]
    pub title: Titled,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// It is another name for this one: from now on recorded as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<String>,
    /// Of a blocked event: where it goes.
    #[serde(default)]
    #[schema(inline)]
    pub on_block: OnBlock,
    /// Of an attribute: the type that its values should have, e.g. `text`, `number`, `times`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_type: Option<String>,
    /// Of an event: its properties by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, PropertyNaming>,
}

/// What people say of a property.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PropertyNaming {
    /// Names for people.
    #[serde(default)]
    pub title: Titled,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// `blocked`: it is left out of events, and counted.
    #[serde(default)]
    #[schema(inline)]
    pub status: Status,
    /// It is another name for this property.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<String>,
    /// The type that its values should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_type: Option<String>,
}

/// Something that is wrong with what people say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamingIssue {
    /// Of which event or attribute.
    pub name: String,
    /// Where in it, e.g. `properties.price.alias_of`.
    pub field: String,
    /// What, and how to put it right.
    pub message: String,
}

/// One name with what people say of it.
pub type Named<'a> = (&'a str, Status, &'a Naming);

/// Checks everything that people say of names, and makes the rules that follow. All mistakes at once.
pub fn compile(
    events: &[Named<'_>],
    attributes: &[Named<'_>],
) -> Result<NameRules, Vec<NamingIssue>> {
    let mut issues = Vec::new();
    let mut rules = NameRules::default();
    for &(name, status, naming) in events {
        let mut wrong = Wrong {
            name,
            issues: &mut issues,
        };
        wrong.common(
            "",
            naming.title.zh.as_str(),
            &naming.title.en,
            &naming.owner,
        );
        if naming.expected_type.is_some() {
            wrong.at(
                "expected_type",
                "an event has no type: say it of its properties".into(),
            );
        }
        let alias = wrong.merged(
            "alias_of",
            name,
            status,
            naming.alias_of.as_deref(),
            &|other| {
                events
                    .iter()
                    .find(|(known, ..)| *known == other)
                    .map(|(_, status, naming)| (*status, naming.alias_of.is_some()))
            },
        );
        if alias.is_some() && (FIXED.contains(&name) || alias.is_some_and(|it| FIXED.contains(&it)))
        {
            let message = format!(
                "{} mean what their kind says: merge other names",
                FIXED.join(", ")
            );
            wrong.at("alias_of", message);
        }
        if naming.properties.len() > PROPERTIES_MAX {
            wrong.at("properties", format!("at most {PROPERTIES_MAX} properties"));
        }
        let mut fields = BTreeMap::new();
        for (field, said) in &naming.properties {
            let place = format!("properties.{field}");
            wrong.common(
                &format!("{place}."),
                &said.title.zh,
                &said.title.en,
                &said.owner,
            );
            wrong.typed(
                &format!("{place}.expected_type"),
                said.expected_type.as_deref(),
            );
            if said.description.chars().count() > DESCRIPTION_CHARS_MAX {
                let message = format!("at most {DESCRIPTION_CHARS_MAX} characters");
                wrong.at(&format!("{place}.description"), message);
            }
            if field.is_empty() || field.len() > NAME_BYTES_MAX {
                wrong.at(&place, format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
            }
            let at = format!("{place}.alias_of");
            let alias = wrong.merged(
                &at,
                field,
                said.status,
                said.alias_of.as_deref(),
                &|other| {
                    let other = naming.properties.get(other)?;
                    Some((other.status, other.alias_of.is_some()))
                },
            );
            if let Some(rule) = field_rule(said.status, alias) {
                fields.insert(Box::from(field.as_str()), rule);
            }
        }
        let rule = EventRule {
            alias: alias.map(Box::from),
            block: (status == Status::Blocked).then_some(match naming.on_block {
                OnBlock::DeadLetter => Blocked::DeadLetter,
                OnBlock::Drop => Blocked::Drop,
            }),
            properties: fields,
        };
        if rule != EventRule::default() {
            rules.events.insert(name.into(), rule);
        }
    }
    for &(name, status, naming) in attributes {
        let mut wrong = Wrong {
            name,
            issues: &mut issues,
        };
        wrong.common(
            "",
            naming.title.zh.as_str(),
            &naming.title.en,
            &naming.owner,
        );
        wrong.typed("expected_type", naming.expected_type.as_deref());
        if !naming.properties.is_empty() {
            wrong.at("properties", "an attribute has none".into());
        }
        if naming.on_block == OnBlock::Drop {
            wrong.at(
                "on_block",
                "a blocked attribute is always left out and counted".into(),
            );
        }
        let alias = wrong.merged(
            "alias_of",
            name,
            status,
            naming.alias_of.as_deref(),
            &|other| {
                attributes
                    .iter()
                    .find(|(known, ..)| *known == other)
                    .map(|(_, status, naming)| (*status, naming.alias_of.is_some()))
            },
        );
        if let Some(rule) = field_rule(status, alias) {
            rules.attributes.insert(name.into(), rule);
        }
    }
    match issues.is_empty() {
        true => Ok(rules),
        false => Err(issues),
    }
}

fn field_rule(status: Status, alias: Option<&str>) -> Option<FieldRule> {
    match (status, alias) {
        (Status::Blocked, _) => Some(FieldRule::Block),
        (_, Some(alias)) => Some(FieldRule::As(alias.into())),
        _ => None,
    }
}

/// Collects what is wrong with one name.
struct Wrong<'a> {
    name: &'a str,
    issues: &'a mut Vec<NamingIssue>,
}

/// What is said of another name: its status, and whether it is merged itself.
type Other<'a> = &'a dyn Fn(&str) -> Option<(Status, bool)>;

impl Wrong<'_> {
    fn at(&mut self, field: &str, message: String) {
        self.issues.push(NamingIssue {
            name: self.name.to_owned(),
            field: field.to_owned(),
            message,
        });
    }

    fn common(&mut self, place: &str, zh: &str, en: &str, owner: &str) {
        for (field, text) in [("title.zh", zh), ("title.en", en), ("owner", owner)] {
            if text.chars().count() > TITLE_CHARS_MAX || text.chars().any(char::is_control) {
                let message =
                    format!("at most {TITLE_CHARS_MAX} characters without control characters");
                self.at(&format!("{place}{field}"), message);
            }
        }
    }

    fn typed(&mut self, field: &str, word: Option<&str>) {
        if let Some(word) = word
            && AttributeType::parse(word).is_none()
        {
            let message = format!(
                "`{word}` is not a type: use text, int, number, bool, date, time, object, or a list such as texts"
            );
            self.at(field, message);
        }
    }

    /// The name that another is merged into, if that may be: chains would make what a name means hang on the order of
    /// edits.
    fn merged<'n>(
        &mut self,
        field: &str,
        name: &str,
        status: Status,
        alias: Option<&'n str>,
        other: Other<'_>,
    ) -> Option<&'n str> {
        let alias = alias?;
        if alias.is_empty() || alias.len() > NAME_BYTES_MAX {
            self.at(field, format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
        } else if alias == name {
            self.at(field, "a name is not merged into itself".into());
        } else if status == Status::Blocked {
            self.at(
                field,
                "a blocked name is not merged: unblock it, or take `alias_of` out".into(),
            );
        }
        match other(alias) {
            Some((Status::Blocked, _)) => {
                self.at(field, format!("`{alias}` is blocked: unblock it first"));
            }
            Some((_, true)) => {
                self.at(
                    field,
                    format!("`{alias}` is merged into another name: name that one"),
                );
            }
            _ => {}
        }
        Some(alias)
    }
}
