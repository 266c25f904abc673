//! What is wrong with a rule: a code, a place, a hint.

use serde::Serialize;

/// One thing that is wrong with a rule. A check answers all of them at once.
///
/// | code | means |
/// |---|---|
/// | `rule_syntax` | not JSON, or not the text form; the place is `line:column` |
/// | `rule_form` | a value of another shape was expected |
/// | `unknown_key`, `missing_key`, `duplicate_key` | keys of an object |
/// | `unknown_node` | an object that is none of the nodes, or more than one |
/// | `not_here` | a node, operator or constant that has no meaning at this place |
/// | `unknown_operator`, `unknown_aggregate`, `unknown_unit` | words |
/// | `value_missing`, `value_unused` | an operator without its constant, or with one too many |
/// | `value_type`, `operator_type` | the constant or operator does not go with the type of what is compared |
/// | `date_form`, `number_range`, `regex` | constants |
/// | `empty_name`, `empty_path` | names without text |
/// | `two_windows`, `window_range`, `window_too_long` | windows |
/// | `unknown_attribute`, `unknown_tag`, `unknown_segment`, `unknown_list`, `unknown_place` | the dictionary has no such name |
/// | `segment_cycle` | the segment would depend on itself |
/// | `too_deep`, `too_many`, `too_long` | limits ([`super::limits`]) |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{place}: {message}")]
pub struct RuleError {
    /// Where: a path into the JSON form such as `and[1].where[0].op`; empty: the whole.
    pub place: String,
    /// Stable code, of the table above.
    pub code: &'static str,
    /// What.
    pub message: String,
    /// How to put it right, where something is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl RuleError {
    /// An error at a place.
    pub fn new(place: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        RuleError {
            place: place.into(),
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// How to put it right: what is known of this one, or what helps with all of its code.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref().or_else(|| usual_advice(self.code))
    }

    /// With *did you mean*, if one of the known words is near.
    #[must_use]
    pub(crate) fn nearest<'a>(
        self,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> RuleError {
        match nearest(word, known) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// What helps with every mistake of a code; each code of the table has it.
fn usual_advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "rule_syntax" => {
            "the place is line:column of the text; README.md shows both forms of a rule"
        }
        "rule_form" => "write the value in the form that is expected there",
        "unknown_key" => "take the key out",
        "missing_key" => "add the key",
        "duplicate_key" => "keep one of them",
        "unknown_node" => {
            "one key says what a node is: and, or, not, attr, tag, some, event, sequence, …"
        }
        "not_here" => "take it out of this place",
        "unknown_operator" | "unknown_aggregate" => "use one of the words that are known",
        "unknown_unit" => "a number and d (days), mo (months), h, m or s",
        "value_missing" => "give the operator its `value`",
        "value_unused" => "leave `value` out: the operator takes none",
        "value_type" => {
            "write the value in the type of what it is compared with: \"3\" is a text, 3 a number"
        }
        "operator_type" => "use an operator that goes with the type",
        "date_form" => "write \"now\", \"2026-01-31\" or \"2026-01-31T10:00:00+08:00\"",
        "number_range" => "write a number within the bounds that are named",
        "regex" => "correct the regular expression; it matches the whole value",
        "empty_name" | "empty_path" => "write the name",
        "two_windows" => "keep one of within, between and ago",
        "window_range" => "write the earlier end first",
        "window_days" | "window_too_long" => "write a shorter window",
        "unknown_attribute" => {
            "GET /api/v1/attributes lists attributes; POST /api/v1/attributes adds one"
        }
        "unknown_tag" => "GET /api/v1/tags lists tags by code",
        "unknown_segment" => "GET /api/v1/segments lists segments by id",
        "unknown_list" => "GET /api/v1/lists lists them by id",
        "unknown_place" => "name a place that members have",
        "segment_cycle" => "take the reference out that leads back to this one",
        "formula_form" | "unknown_word" => "all words of formulas are in cdp/src/tag/formula.rs",
        "too_deep" | "too_many" | "too_long" => "split it: a segment can refer to others",
        _ => return None,
    })
}

/// A place one key further in.
pub(crate) fn inside(place: &str, key: &str) -> String {
    match place {
        "" => key.to_owned(),
        _ => format!("{place}.{key}"),
    }
}

/// The known word that is nearest to a misspelt one: at most a third of its letters apart.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to change, add or leave out (Levenshtein); case is free.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
