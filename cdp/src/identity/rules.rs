//! The rules of identity: which kinds of identifiers there are, how strong, how many of each a member may have, which
//! values say nothing, and which attributes are identifiers. A definition that people edit; `rules/default.json` is shipped.
//!
//! `kinds` stand in order of strength, strongest first. A kind that is not listed follows `other`: after the listed kinds
//! that make a person, before those that do not. An `openid` told as an attribute takes its scope from the first of
//! `scope_from` found among the attributes, then the properties, then `context.app` and `context`; without one it has
//! none. Limits count per kind and scope.
//!
//! A changed rule holds for links seen from then on, and for those that an unmerge or rejoin decides again.

mod normalise;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use actors::model::Identifier;
use serde::{Deserialize, Serialize};

use crate::definition::DefinitionError;

pub use normalise::Unusable;
pub use read::{Named, order_identifier};

/// Most kinds that a definition may list; kind numbers are bytes and unlisted kinds need some as well.
const KINDS_MAX: usize = 100;
/// Most identifiers of one member that a definition may allow: a member is walked whole when it grows.
const IDENTIFIERS_MAX: u8 = 200;
/// The kind under which orders are remembered; never an identifier of a person.
pub const ORDER_KIND: &str = "order";

/// The definition as people write it: the body of `GET` and `PUT /api/v1/identity/rules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesForm {
    /// Kinds, strongest first.
    pub kinds: Vec<KindForm>,
    /// What holds for kinds that are not listed.
    pub other: OtherForm,
    /// Most identifiers of one member, all kinds together.
    pub identifiers_max: u8,
    /// An identifier that was left out with this many different people no longer links anybody; 0 switches this off.
    pub shared_after: u16,
    /// Region of phone numbers without a country code, e.g. `CN`.
    pub region: Box<str>,
    /// Values that point to nobody, for all kinds; compared after NFKC and trimming, in any case.
    #[serde(default)]
    pub blocked: Vec<Box<str>>,
    /// Attributes that are identifiers.
    #[serde(default)]
    pub traits: Vec<TraitForm>,
}

/// One kind of identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindForm {
    /// Its name.
    pub kind: Box<str>,
    /// Most identifiers of this kind and one scope that a member may have.
    pub limit: u8,
    /// Whether it makes a member; somebody with none of these kinds is a visitor.
    #[serde(default = "yes")]
    pub person: bool,
    /// What its scope means.
    #[serde(default)]
    pub scope: ScopeUse,
    /// How values are made comparable.
    #[serde(default)]
    pub normalise: Normalise,
    /// More blocked values, for this kind only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<Box<str>>,
}

/// What holds for kinds that are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherForm {
    /// As [`KindForm::limit`].
    pub limit: u8,
    /// As [`KindForm::person`].
    pub person: bool,
}

/// An attribute that is an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraitForm {
    /// Name of the attribute.
    #[serde(rename = "trait")]
    pub name: Box<str>,
    /// The kind that its value is of.
    pub kind: Box<str>,
    /// Fields that give the scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope_from: Vec<Box<str>>,
}

/// What a kind's scope means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeUse {
    /// Values are unique everywhere; a scope that is sent is dropped.
    None,
    /// Values with different scopes, or none, are different.
    #[default]
    Optional,
    /// A value without a scope points to nobody.
    Required,
}

/// How values are made comparable. NFKC and trimming come first for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Nothing more.
    #[default]
    Text,
    /// Lower case.
    Email,
    /// E.164; a number that is valid nowhere is kept as its digits.
    Phone,
}

/// Rules in force: checked and ready to be asked.
#[derive(Debug, Clone)]
pub struct Rules {
    form: RulesForm,
    ranks: BTreeMap<Box<str>, usize>,
    blocked: BTreeSet<String>,
    blocked_kind: Vec<BTreeSet<String>>,
    region: phonenumber::country::Id,
    other_rank: u16,
}

/// What the rules say of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindRule {
    /// Strength: lower is stronger.
    pub rank: u16,
    /// Limit per scope.
    pub limit: u8,
    /// Makes a member.
    pub person: bool,
}

impl Rules {
    /// The rules of a new installation.
    pub fn shipped() -> Rules {
        Rules::parse(include_str!("rules/default.json")).expect("the shipped rules are checked")
    }

    /// Reads and checks a definition's JSON.
    pub fn parse(json: &str) -> Result<Rules, Vec<DefinitionError>> {
        let form: RulesForm = serde_json::from_str(json).map_err(|error| {
            vec![DefinitionError::new(
                "",
                "rules_form",
                format!("{error}: take what GET /api/v1/identity/rules answers and change that"),
            )]
        })?;
        Rules::check(form)
    }

    /// Checks a definition; answers everything that is wrong with it.
    pub fn check(form: RulesForm) -> Result<Rules, Vec<DefinitionError>> {
        let mut errors = Errors::default();
        let mut ranks = BTreeMap::new();
        errors.range("kinds", form.kinds.len(), 1, KINDS_MAX);
        for (index, kind) in form.kinds.iter().enumerate() {
            let at = |field: &str| format!("kinds[{index}].{field}");
            if Identifier::new(&kind.kind, "", "x").check().is_err() {
                errors.add(
                    at("kind"),
                    "kind_form",
                    format!("`{}` is no name of a kind", kind.kind),
                    "use a-z, 0-9 and _",
                );
            }
            if &*kind.kind == ORDER_KIND {
                errors.add(
                    at("kind"),
                    "kind_reserved",
                    "`order` names orders, not people".to_owned(),
                    "choose another name",
                );
            }
            if ranks.insert(kind.kind.clone(), index).is_some() {
                errors.add(
                    at("kind"),
                    "kind_twice",
                    format!("`{}` is listed twice", kind.kind),
                    "list every kind once, strongest first",
                );
            }
            errors.range(&at("limit"), kind.limit.into(), 1, IDENTIFIERS_MAX.into());
        }
        if !form.kinds.iter().any(|kind| kind.person) {
            errors.add(
                "kinds".to_owned(),
                "no_person",
                "no kind makes a member".to_owned(),
                "set `person` to true for the kinds that name a person, e.g. phone",
            );
        }
        errors.range(
            "other.limit",
            form.other.limit.into(),
            1,
            IDENTIFIERS_MAX.into(),
        );
        errors.range(
            "identifiers_max",
            form.identifiers_max.into(),
            2,
            IDENTIFIERS_MAX.into(),
        );
        let region = form.region.parse().ok();
        if region.is_none() {
            errors.add(
                "region".to_owned(),
                "region_unknown",
                format!("`{}` is no region", form.region),
                "use two capital letters (ISO 3166-1), e.g. CN",
            );
        }
        for (index, entry) in form.traits.iter().enumerate() {
            if !ranks.contains_key(&entry.kind) {
                errors.add(
                    format!("traits[{index}].kind"),
                    "kind_unknown",
                    format!("`{}` is not among the kinds", entry.kind),
                    "list the kind first",
                );
            }
            if entry.name.is_empty() {
                errors.add(
                    format!("traits[{index}].trait"),
                    "trait_empty",
                    "the attribute has no name".to_owned(),
                    "name it",
                );
            }
        }
        let Some(region) = region.filter(|_| errors.0.is_empty()) else {
            return Err(errors.0);
        };
        Ok(Rules {
            blocked: folded(&form.blocked),
            blocked_kind: form
                .kinds
                .iter()
                .map(|kind| folded(&kind.blocked))
                .collect(),
            other_rank: other_rank(&form),
            ranks,
            region,
            form,
        })
    }

    /// The definition.
    pub fn form(&self) -> &RulesForm {
        &self.form
    }

    /// The definition's JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.form).expect("a definition is plain JSON")
    }

    /// What holds for a kind.
    pub fn kind(&self, kind: &str) -> KindRule {
        match self.ranks.get(kind) {
            Some(&index) => {
                let form = &self.form.kinds[index];
                KindRule {
                    rank: index as u16 * 2,
                    limit: form.limit,
                    person: form.person,
                }
            }
            None => KindRule {
                rank: self.other_rank,
                limit: self.form.other.limit,
                person: self.form.other.person,
            },
        }
    }

    fn kind_form(&self, kind: &str) -> Option<(usize, &KindForm)> {
        let index = *self.ranks.get(kind)?;
        Some((index, &self.form.kinds[index]))
    }
}

/// Unlisted kinds stand right behind the last listed person's kind, or behind all.
fn other_rank(form: &RulesForm) -> u16 {
    let behind = match form.other.person {
        true => form.kinds.iter().rposition(|kind| kind.person),
        false => form.kinds.len().checked_sub(1),
    };
    behind.map_or(0, |index| index as u16 * 2 + 1)
}

fn folded(values: &[Box<str>]) -> BTreeSet<String> {
    values
        .iter()
        .map(|value| normalise::text(value).to_lowercase())
        .collect()
}

fn yes() -> bool {
    true
}

#[derive(Default)]
struct Errors(Vec<DefinitionError>);

impl Errors {
    fn add(&mut self, field: String, code: &'static str, message: String, hint: &str) {
        let message = format!("{message}: {hint}");
        self.0.push(DefinitionError::new(field, code, message));
    }

    fn range(&mut self, field: &str, value: usize, min: usize, max: usize) {
        if !(min..=max).contains(&value) {
            self.add(
                field.to_owned(),
                "out_of_range",
                format!("{value} is not between {min} and {max}"),
                "choose a number in that range",
            );
        }
    }
}

#[cfg(test)]
mod tests;
