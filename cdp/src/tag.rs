//! What a tag says: its values and how a member gets one.
//!
//! Whatever the calculation, the audience sees an ordered list of cases, a value and a rule each; a member has the value of
//! the first rule that holds ([`TagDefinition::cases`]). RFM is such a list made of cuts. Tags given by hand have no cases.
//!
//! Computed in real time, on a schedule, or when somebody asks ([`Update`]); given by hand at once.
//!
//! Absent on purpose: SQL as a calculation, until there is an engine for it.

pub mod formula;
mod plan;
pub mod quantile;
mod rfm;
mod update;

pub use plan::{PlannedCase, TagPlan};
pub use rfm::{Rfm, RfmClass};
pub use update::{Schedule, Update};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use utoipa::ToSchema;

use crate::definition::{AttributeType, Basic, DefinitionError};

/// Most values of a tag; more is an attribute.
pub const CASES_MAX: usize = 200;

/// A tag's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TagDefinition {
    /// What its values are.
    #[schema(inline)]
    pub value_type: ValueType,
    /// For `enum` and `multi`: the values that there are, in their order. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// How a member gets its value.
    pub calculation: Calculation,
    /// When a calculated value is computed.
    #[serde(default)]
    #[schema(inline)]
    pub update: Update,
}

/// What a tag's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// One of a few texts.
    Enum,
    /// Text.
    Text,
    /// Number.
    Number,
    /// Calendar day.
    Date,
    /// Yes or no.
    Bool,
    /// Several of a few texts.
    Multi,
}

/// How a member gets its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Calculation {
    /// The value of the first rule that holds.
    Rule {
        /// In this order.
        cases: Vec<Case>,
        /// The value of everybody else; left out: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        otherwise: Option<Json>,
    },
    /// Recency, frequency and amount of orders.
    Rfm {
        /// Cuts and classes.
        rfm: Rfm,
    },
    /// Computed of attributes, tags and behaviour: see [`formula`].
    Formula {
        /// The formula.
        #[schema(value_type = Object, example = json!({"div": [{"event": "Order Completed", "agg": "sum", "field": "total"}, {"event": "Order Completed"}]}))]
        formula: Json,
    },
    /// From files.
    Import,
    /// By hand.
    Manual,
    /// By a query. Refused: there is no engine for it yet.
    Sql {
        /// The query.
        #[serde(default)]
        sql: String,
    },
}

/// A value and who has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The value.
    #[schema(value_type = Object)]
    pub value: Json,
    /// Who: a rule.
    #[schema(value_type = Object)]
    pub rule: Json,
}

impl ValueType {
    /// The type of values, for constants of rules and for what people enter.
    pub fn attribute_type(self) -> AttributeType {
        let (basic, list) = match self {
            ValueType::Enum | ValueType::Text => (Basic::Text, false),
            ValueType::Number => (Basic::Number, false),
            ValueType::Date => (Basic::Date, false),
            ValueType::Bool => (Basic::Bool, false),
            ValueType::Multi => (Basic::Text, true),
        };
        AttributeType { basic, list }
    }

    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            ValueType::Enum => "enum",
            ValueType::Text => "text",
            ValueType::Number => "number",
            ValueType::Date => "date",
            ValueType::Bool => "bool",
            ValueType::Multi => "multi",
        }
    }
}

impl Calculation {
    /// The word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Calculation::Rule { .. } => "rule",
            Calculation::Rfm { .. } => "rfm",
            Calculation::Formula { .. } => "formula",
            Calculation::Import => "import",
            Calculation::Manual => "manual",
            Calculation::Sql { .. } => "sql",
        }
    }

    /// People give its values, one by one or in files.
    pub fn by_hand(&self) -> bool {
        matches!(self, Calculation::Import | Calculation::Manual)
    }
}

impl TagDefinition {
    /// Values and rules, in order: a member has the value of the first that holds. Empty for formulas and tags given by hand.
    pub fn cases(&self) -> Vec<Case> {
        match &self.calculation {
            Calculation::Rule { cases, otherwise } => {
                let rest = otherwise.as_ref().map(|value| Case {
                    value: value.clone(),
                    rule: json!({"and": []}),
                });
                cases.iter().cloned().chain(rest).collect()
            }
            Calculation::Rfm { rfm } => rfm.cases(),
            Calculation::Formula { .. }
            | Calculation::Import
            | Calculation::Manual
            | Calculation::Sql { .. } => Vec::new(),
        }
    }

    /// Everything that is wrong but the rules.
    pub fn check(&self) -> Vec<DefinitionError> {
        let mut errors = Vec::new();
        let few = matches!(self.value_type, ValueType::Enum | ValueType::Multi);
        if !few && !self.values.is_empty() {
            errors.push(DefinitionError::new(
                "values",
                "values_unused",
                "`values` goes with value_type enum and multi only",
            ));
        }
        for (at, value) in self.values.iter().enumerate() {
            if value.trim().is_empty() || self.values[..at].contains(value) {
                errors.push(DefinitionError::new(
                    format!("values[{at}]"),
                    "value_form",
                    "each value once, none empty",
                ));
            }
        }
        self.update.check(&mut errors);
        if self.calculation.by_hand() && self.update != Update::default() {
            errors.push(DefinitionError::new(
                "update",
                "update_unused",
                "what is given by hand is there at once: leave `update` out",
            ));
        }
        if let Calculation::Sql { .. } = self.calculation {
            errors.push(DefinitionError::new(
                "calculation.type",
                "sql_unavailable",
                "tags by SQL wait for the SQL engine, which this version does not have: use rule, rfm, formula, manual or import",
            ));
        }
        if let Calculation::Rfm { rfm } = &self.calculation {
            rfm.check("calculation.rfm", &mut errors);
            if rfm.quantiles.is_some() && !self.update.on_demand() {
                errors.push(DefinitionError::new(
                    "update",
                    "update_form",
                    "quantiles are taken of everybody at one time: use `scheduled` or `manual`",
                ));
            }
            if !matches!(self.value_type, ValueType::Enum | ValueType::Text) {
                errors.push(DefinitionError::new(
                    "value_type",
                    "value_type",
                    "RFM gives texts: use enum or text",
                ));
            }
        }
        // Only sound cuts are spread out: their number is bounded.
        if !errors.is_empty() {
            return errors;
        }
        if let Calculation::Rfm { rfm } = &self.calculation
            && rfm.quantiles.is_some()
        {
            for (at, class) in rfm.classes.iter().enumerate() {
                if let Err(message) = self.check_value(&class.value.as_str().into()) {
                    let place = format!("calculation.rfm.classes[{at}].value");
                    errors.push(DefinitionError::new(place, "value_type", message));
                }
            }
        }
        let cases = self.cases();
        if cases.len() > CASES_MAX {
            errors.push(DefinitionError::new(
                "calculation",
                "too_many",
                format!("at most {CASES_MAX} values"),
            ));
        }
        if let Calculation::Rule { cases, .. } = &self.calculation
            && cases.is_empty()
        {
            errors.push(DefinitionError::new(
                "calculation.cases",
                "too_few",
                "a rule tag needs a case",
            ));
        }
        for (at, case) in cases.iter().enumerate() {
            if let Err(message) = self.check_value(&case.value) {
                errors.push(DefinitionError::new(
                    format!("calculation.cases[{at}].value"),
                    "value_type",
                    message,
                ));
            }
        }
        errors
    }

    /// Whether a value is one of this tag.
    pub fn check_value(&self, value: &Json) -> Result<(), String> {
        let known = |text: &str| self.values.is_empty() || self.values.iter().any(|it| it == text);
        let one = |value: &Json| match value.as_str() {
            Some("") => Err("the value is empty".to_owned()),
            Some(text) if known(text) => Ok(()),
            Some(text) => Err(format!("`{text}` is none of `values`")),
            None => Err("expected text".to_owned()),
        };
        match self.value_type {
            ValueType::Enum => one(value),
            ValueType::Text => match value {
                Json::String(text) if !text.is_empty() => Ok(()),
                _ => Err("expected text".to_owned()),
            },
            ValueType::Number if value.is_number() => Ok(()),
            ValueType::Number => Err("expected a number".to_owned()),
            ValueType::Bool if value.is_boolean() => Ok(()),
            ValueType::Bool => Err("expected true or false".to_owned()),
            ValueType::Date => match value.as_str().map(str::parse::<jiff::civil::Date>) {
                Some(Ok(_)) => Ok(()),
                _ => Err("expected a day such as 2026-05-01".to_owned()),
            },
            ValueType::Multi => match value.as_array() {
                Some(values) if !values.is_empty() => values.iter().try_for_each(one),
                _ => Err("expected a list of texts".to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests;
