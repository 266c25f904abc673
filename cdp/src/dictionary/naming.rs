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
        if let Some(rule) = wrong.event(status, naming, &among(events)) {
            rules.events.insert(name.into(), rule);
        }
    }
    for &(name, status, naming) in attributes {
        let mut wrong = Wrong {
            name,
            issues: &mut issues,
        };
        if let Some(rule) = wrong.attribute(status, naming, &among(attributes)) {
            rules.attributes.insert(name.into(), rule);
        }
    }
    match issues.is_empty() {
        true => Ok(rules),
        false => Err(issues),
    }
}

/// What is said of another name among these.
fn among<'a>(all: &'a [Named<'_>]) -> impl Fn(&str) -> Option<(Status, bool)> + 'a {
    |other| {
        let known = all.iter().find(|(known, ..)| *known == other);
        known.map(|(_, status, naming)| (*status, naming.alias_of.is_some()))
    }
}

fn field_rule(status: Status, alias: Option<&str>) -> Option<FieldRule> {
    match (status, alias) {
        (Status::Blocked, _) => Some(FieldRule::Block),
        (_, Some(alias)) => Some(FieldRule::As(alias.into())),
        _ => None,
    }
}

/// What is said of events, attributes and properties alike.
struct Said<'a> {
    name: &'a str,
    status: Status,
    title: &'a Titled,
    owner: &'a str,
    expected_type: Option<&'a str>,
    alias_of: Option<&'a str>,
}

impl Naming {
    fn said<'a>(&'a self, name: &'a str, status: Status) -> Said<'a> {
        Said {
            name,
            status,
            title: &self.title,
            owner: &self.owner,
            expected_type: self.expected_type.as_deref(),
            alias_of: self.alias_of.as_deref(),
        }
    }
}

impl PropertyNaming {
    fn said<'a>(&'a self, name: &'a str) -> Said<'a> {
        Said {
            name,
            status: self.status,
            title: &self.title,
            owner: &self.owner,
            expected_type: self.expected_type.as_deref(),
            alias_of: self.alias_of.as_deref(),
        }
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

    /// What becomes of an event, if anything does.
    fn event(&mut self, status: Status, naming: &Naming, other: Other<'_>) -> Option<EventRule> {
        let name = self.name;
        let said = Said {
            expected_type: None,
            ..naming.said(name, status)
        };
        let alias = self.said("", &said, other);
        if naming.expected_type.is_some() {
            let message = "an event has no type: say it of its properties";
            self.at("expected_type", message.into());
        }
        if let Some(alias) = alias
            && (FIXED.contains(&name) || FIXED.contains(&alias))
        {
            let message = format!(
                "{} mean what their kind says: merge other names",
                FIXED.join(", ")
            );
            self.at("alias_of", message);
        }
        if naming.properties.len() > PROPERTIES_MAX {
            self.at("properties", format!("at most {PROPERTIES_MAX} properties"));
        }
        let other = |other: &str| {
            let other = naming.properties.get(other)?;
            Some((other.status, other.alias_of.is_some()))
        };
        let mut properties = BTreeMap::new();
        for (field, said) in &naming.properties {
            let place = format!("properties.{field}");
            if said.description.chars().count() > DESCRIPTION_CHARS_MAX {
                let message = format!("at most {DESCRIPTION_CHARS_MAX} characters");
                self.at(&format!("{place}.description"), message);
            }
            if field.is_empty() || field.len() > NAME_BYTES_MAX {
                self.at(&place, format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
            }
            let alias = self.said(&format!("{place}."), &said.said(field), &other);
            if let Some(rule) = field_rule(said.status, alias) {
                properties.insert(Box::from(field.as_str()), rule);
            }
        }
        let rule = EventRule {
            alias: alias.map(Box::from),
            block: (status == Status::Blocked).then_some(match naming.on_block {
                OnBlock::DeadLetter => Blocked::DeadLetter,
                OnBlock::Drop => Blocked::Drop,
            }),
            properties,
        };
        (rule != EventRule::default()).then_some(rule)
    }

    /// What becomes of an attribute, if anything does.
    fn attribute(
        &mut self,
        status: Status,
        naming: &Naming,
        other: Other<'_>,
    ) -> Option<FieldRule> {
        let alias = self.said("", &naming.said(self.name, status), other);
        if !naming.properties.is_empty() {
            self.at("properties", "an attribute has none".into());
        }
        if naming.on_block == OnBlock::Drop {
            let message = "a blocked attribute is always left out and counted";
            self.at("on_block", message.into());
        }
        field_rule(status, alias)
    }

    /// Checks what is said of anything that has a name; answers the name that it is merged into.
    fn said<'n>(&mut self, place: &str, said: &Said<'n>, other: Other<'_>) -> Option<&'n str> {
        let texts = [
            ("title.zh", said.title.zh.as_str()),
            ("title.en", &said.title.en),
            ("owner", said.owner),
        ];
        for (field, text) in texts {
            if text.chars().count() > TITLE_CHARS_MAX || text.chars().any(char::is_control) {
                let message =
                    format!("at most {TITLE_CHARS_MAX} characters without control characters");
                self.at(&format!("{place}{field}"), message);
            }
        }
        if let Some(word) = said.expected_type
            && AttributeType::parse(word).is_none()
        {
            let message = format!(
                "`{word}` is not a type: use text, int, number, bool, date, time, object, or a list such as texts"
            );
            self.at(&format!("{place}expected_type"), message);
        }
        self.merged(&format!("{place}alias_of"), said, other)
    }

    /// The name that another is merged into, if that may be: chains would make what a name means hang on the order of
    /// edits.
    fn merged<'n>(&mut self, field: &str, said: &Said<'n>, other: Other<'_>) -> Option<&'n str> {
        let alias = said.alias_of?;
        if alias.is_empty() || alias.len() > NAME_BYTES_MAX {
            self.at(field, format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
        } else if alias == said.name {
            self.at(field, "a name is not merged into itself".into());
        } else if said.status == Status::Blocked {
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
