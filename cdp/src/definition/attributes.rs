//! The typed schema of attributes: type, survivorship, class, titles.
//!
//! Attributes that the schema does not name are accepted with the type they look like, unless it is `strict`. Changing a
//! survivorship rule needs no rebuild: cells keep what every rule needs (see [`crate::profile`]).

use std::collections::BTreeMap;

use actors::model::{BrandId, FieldClass, SourceId};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::DefinitionError;

/// Most attributes of a schema; more is a document, not a profile.
const ATTRIBUTES_MAX: usize = 2_000;

/// Longest name of an attribute in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// A checked schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeSchema {
    /// Leaves out (and lists) attributes that it does not name.
    pub strict: bool,
    /// Class of attributes that it does not name.
    pub unknown_class: FieldClass,
    attributes: BTreeMap<Box<str>, AttributeDefinition>,
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeDefinition {
    /// Name, as in traits.
    pub name: Box<str>,
    /// Type.
    #[serde(rename = "type", with = "type_word")]
    pub kind: AttributeType,
    /// Which of several tellings counts.
    #[serde(default)]
    pub survivorship: Survivorship,
    /// For `survivorship: priority`: sources, most trusted first; others come after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceId>,
    /// How personal it is.
    #[serde(default = "class_default")]
    pub class: FieldClass,
    /// The brand that owns it; 0: the group. Another brand's users do not see it.
    #[serde(default)]
    pub brand: BrandId,
    /// What people read.
    #[serde(default, skip_serializing_if = "Titles::is_empty")]
    pub title: Titles,
}

/// Names for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Titles {
    /// Chinese.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub zh: Box<str>,
    /// English.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub en: Box<str>,
}

impl Titles {
    fn is_empty(&self) -> bool {
        self.zh.is_empty() && self.en.is_empty()
    }
}

/// A type: a basic one, or a list of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeType {
    /// Of one value.
    pub basic: Basic,
    /// Whether there may be several.
    pub list: bool,
}

/// Basic types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basic {
    /// Text.
    Text,
    /// Whole number of 64 bits.
    Int,
    /// Decimal number of up to 28 digits.
    Number,
    /// Yes or no.
    Bool,
    /// Calendar day.
    Date,
    /// Instant.
    Time,
    /// JSON object.
    Object,
}

/// Which of several tellings is the attribute's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survivorship {
    /// The latest by event time.
    #[default]
    Latest,
    /// The earliest by event time.
    First,
    /// The latest of the most trusted source that told one.
    Priority,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// All of them, each once.
    Union,
    /// Their sum.
    Sum,
}

const BASICS: [(Basic, &str); 7] = [
    (Basic::Text, "text"),
    (Basic::Int, "int"),
    (Basic::Number, "number"),
    (Basic::Bool, "bool"),
    (Basic::Date, "date"),
    (Basic::Time, "time"),
    (Basic::Object, "object"),
];

impl AttributeType {
    /// `text`, `ints` …
    pub fn parse(word: &str) -> Option<AttributeType> {
        let (stem, list) = match word.strip_suffix('s') {
            Some(stem) => (stem, true),
            None => (word, false),
        };
        BASICS
            .iter()
            .find(|(_, name)| *name == stem)
            .map(|&(basic, _)| AttributeType { basic, list })
    }

    /// The word in JSON.
    pub fn word(self) -> String {
        let name = BASICS
            .iter()
            .find(|(basic, _)| *basic == self.basic)
            .map_or("text", |(_, name)| name);
        format!("{name}{}", if self.list { "s" } else { "" })
    }
}

mod type_word {
    use super::AttributeType;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(kind: &AttributeType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&kind.word())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<AttributeType, D::Error> {
        let word = String::deserialize(from)?;
        AttributeType::parse(&word).ok_or_else(|| {
            D::Error::custom(format!(
                "`{word}` is not a type: use text, int, number, bool, date, time, object, or a list such as texts"
            ))
        })
    }
}

fn class_default() -> FieldClass {
    FieldClass::P1
}

impl Default for AttributeSchema {
    /// The usual names of people's attributes. Nothing here makes a name an identifier: identity's rules do.
    fn default() -> Self {
        let mut attributes = BTreeMap::new();
        for (name, word, class, zh, en) in USUAL {
            let kind = AttributeType::parse(word).expect("the table names known types");
            attributes.insert(
                Box::from(name),
                AttributeDefinition {
                    name: name.into(),
                    kind,
                    survivorship: Survivorship::Latest,
                    sources: Vec::new(),
                    class,
                    brand: BrandId(0),
                    title: Titles {
                        zh: zh.into(),
                        en: en.into(),
                    },
                },
            );
        }
        AttributeSchema {
            strict: false,
            unknown_class: FieldClass::P2,
            attributes,
        }
    }
}

use FieldClass::{P0, P1, P2, P3};

const USUAL: [(&str, &str, FieldClass, &str, &str); 22] = [
    ("name", "text", P2, "姓名", "Name"),
    ("first_name", "text", P2, "名", "First name"),
    ("firstName", "text", P2, "名", "First name"),
    ("last_name", "text", P2, "姓", "Last name"),
    ("lastName", "text", P2, "姓", "Last name"),
    ("nickname", "text", P2, "昵称", "Nickname"),
    ("gender", "text", P1, "性别", "Gender"),
    ("birthday", "date", P1, "生日", "Birthday"),
    ("age", "int", P1, "年龄", "Age"),
    ("country", "text", P1, "国家", "Country"),
    ("province", "text", P1, "省份", "Province"),
    ("city", "text", P1, "城市", "City"),
    ("district", "text", P1, "区县", "District"),
    ("phone", "text", P2, "手机", "Phone"),
    ("email", "text", P2, "邮箱", "E-mail"),
    ("avatar", "text", P2, "头像", "Avatar"),
    ("language", "text", P0, "语言", "Language"),
    ("occupation", "text", P1, "职业", "Occupation"),
    ("id_card", "text", P3, "身份证号", "ID card"),
    ("created_at", "time", P0, "注册时间", "Registered"),
    ("createdAt", "time", P0, "注册时间", "Registered"),
    ("registered_at", "time", P0, "注册时间", "Registered"),
];

impl AttributeSchema {
    /// Checks the body of an `attributes` definition; all errors at once. Usual names that the body does not define keep
    /// their defaults.
    ///
    /// ```
    /// use cdp::definition::AttributeSchema;
    /// let body = serde_json::json!({"attributes": [
    ///     {"name": "taste", "type": "texts", "survivorship": "union"},
    ///     {"name": "height", "type": "metres"},
    ///     {"name": "vip", "type": "bool", "survivorship": "sum"},
    /// ]});
    /// let places: Vec<String> = AttributeSchema::check(&body).unwrap_err().into_iter().map(|e| e.place).collect();
    /// assert_eq!(places, ["attributes[1]", "attributes[2].survivorship"]);
    /// ```
    pub fn check(body: &Json) -> Result<AttributeSchema, Vec<DefinitionError>> {
        let mut errors = Vec::new();
        let mut schema = AttributeSchema::default();
        let Json::Object(fields) = body else {
            return Err(vec![DefinitionError::new(
                "",
                "definition_form",
                "expected an object with `attributes`",
            )]);
        };
        for (field, value) in fields {
            match field.as_str() {
                "strict" => match value {
                    Json::Bool(strict) => schema.strict = *strict,
                    _ => errors.push(DefinitionError::new(
                        "strict",
                        "definition_form",
                        "expected true or false",
                    )),
                },
                "unknown_class" => match FieldClass::deserialize(value) {
                    Ok(class) => schema.unknown_class = class,
                    Err(error) => errors.push(DefinitionError::new(
                        "unknown_class",
                        "definition_form",
                        error.to_string(),
                    )),
                },
                "attributes" => schema.check_list(value, &mut errors),
                _ => errors.push(DefinitionError::new(
                    field.as_str(),
                    "unknown_field",
                    "known fields: attributes, strict, unknown_class",
                )),
            }
        }
        if errors.is_empty() {
            Ok(schema)
        } else {
            Err(errors)
        }
    }

    fn check_list(&mut self, value: &Json, errors: &mut Vec<DefinitionError>) {
        let Json::Array(items) = value else {
            errors.push(DefinitionError::new(
                "attributes",
                "definition_form",
                "expected a list",
            ));
            return;
        };
        if items.len() > ATTRIBUTES_MAX {
            errors.push(DefinitionError::new(
                "attributes",
                "too_many",
                format!("at most {ATTRIBUTES_MAX} attributes"),
            ));
            return;
        }
        let mut names: BTreeMap<Box<str>, usize> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let place = format!("attributes[{index}]");
            let definition = match AttributeDefinition::deserialize(item) {
                Ok(definition) => definition,
                Err(error) => {
                    errors.push(DefinitionError::new(
                        place,
                        "definition_form",
                        error.to_string(),
                    ));
                    continue;
                }
            };
            definition.check(&place, errors);
            if let Some(first) = names.insert(definition.name.clone(), index) {
                errors.push(DefinitionError::new(
                    format!("{place}.name"),
                    "duplicate_name",
                    format!("attributes[{first}] has this name already"),
                ));
            }
            self.attributes.insert(definition.name.clone(), definition);
        }
    }

    /// The definition of an attribute, if there is one.
    pub fn get(&self, name: &str) -> Option<&AttributeDefinition> {
        self.attributes.get(name)
    }

    /// All definitions, by name.
    pub fn iter(&self) -> impl Iterator<Item = &AttributeDefinition> {
        self.attributes.values()
    }

    /// How personal an attribute is.
    pub fn class(&self, name: &str) -> FieldClass {
        self.get(name).map_or(self.unknown_class, |it| it.class)
    }

    /// The body that [`AttributeSchema::check`] reads back to the same schema.
    pub fn to_body(&self) -> Json {
        serde_json::json!({
            "strict": self.strict,
            "unknown_class": self.unknown_class,
            "attributes": self.attributes.values().collect::<Vec<_>>(),
        })
    }
}

impl AttributeDefinition {
    fn check(&self, place: &str, errors: &mut Vec<DefinitionError>) {
        if self.name.trim().is_empty() || self.name.len() > NAME_BYTES_MAX {
            errors.push(DefinitionError::new(
                format!("{place}.name"),
                "name_length",
                format!("a name has 1 to {NAME_BYTES_MAX} bytes"),
            ));
        }
        let AttributeType { basic, list } = self.kind;
        let fits = match self.survivorship {
            Survivorship::Sum => !list && matches!(basic, Basic::Int | Basic::Number),
            Survivorship::Max | Survivorship::Min => {
                !list
                    && matches!(
                        basic,
                        Basic::Int | Basic::Number | Basic::Date | Basic::Time
                    )
            }
            Survivorship::Union
            | Survivorship::Latest
            | Survivorship::First
            | Survivorship::Priority => true,
        };
        if !fits {
            errors.push(DefinitionError::new(
                format!("{place}.survivorship"),
                "survivorship_type",
                "sum needs int or number; max and min need int, number, date or time",
            ));
        }
        if self.survivorship == Survivorship::Priority && self.sources.is_empty() {
            errors.push(DefinitionError::new(
                format!("{place}.sources"),
                "sources_missing",
                "survivorship `priority` needs `sources`, most trusted first",
            ));
        }
        if self.survivorship != Survivorship::Priority && !self.sources.is_empty() {
            errors.push(DefinitionError::new(
                format!("{place}.sources"),
                "sources_unused",
                "`sources` goes with survivorship `priority` only",
            ));
        }
    }
}
