//! The compact text form, for people who write rules by hand, for logs and for explanations.
//!
//! ```text
//! rule      = and { "or" and }
//! and       = unary { "and" unary }
//! unary     = "not" unary | primary
//! primary   = "(" rule ")"
//!           | "all" "(" [ rule { "," rule } ] ")"        all of them; all() is everybody
//!           | "any" "(" [ rule { "," rule } ] ")"        one of them; any() is nobody
//!           | path ask                                   an attribute (in where and match: a property)
//!           | "tags" "." key ask                         a tag
//!           | "some" path "match" "(" rule ")"           one object of a list
//!           | "event" "(" events [ window ] ")"          it happened
//!           | aggregate "(" [ path "of" ] events [ window ] ")" ask
//!           | "sequence" "(" events { "then" events } [ "within" length ] "lookback" lookback ")"
//!           | "segment" "(" text ")" | "list" "(" text ")"
//!           | "random" "(" text "," number "%" ")"
//!           | "near" "(" key "," latitude "," longitude "," number "km" ")"
//! events    = names [ "where" rule { "," rule } ]
//! names     = "prefix" text | text { "," text }
//! window    = "within" length | "between" constant "and" constant | "ago" length "to" length
//! lookback  = length | window
//! aggregate = "count" | "sum" | "avg" | "min" | "max" | "distinct" | "first" | "last" | "most_frequent"
//! ask       = ( "=" | "!=" | ">" | ">=" | "<" | "<=" ) constant | "between" constant "and" constant
//!           | [ "not" ] "in" list | "has" ( "any" | "all" | "none" ) list
//!           | ( "contains" | "starts" "with" | "ends" "with" | "matches" | "is" "day" ) constant
//!           | "exists" | "missing"
//! list      = "(" [ constant { "," constant } ] ")"
//! constant  = text | number | "true" | "false" | date
//! date      = ( "now" | "date" text ) { ( "+" | "-" ) length } [ ( "floor" | "ceil" ) ( "day" | "month" ) ]
//! path      = key { "." key }
//! length    = number and unit without space: 7d 12mo 24h 30m 10s; in dates also 1y 2w
//! ```
//!
//! Texts are written as in JSON. A key that is no plain word, or is one of the grammar's own such as `in`, stands in
//! backticks: `` `first order`.total ``. Words of the grammar may be written in any case.

mod lex;
mod parse;
mod print;

pub(super) use print::print_conditions;

use super::ast::Rule;
use super::error::RuleError;

impl Rule {
    /// Reads the text form. What is wrong has its `line:column` as place.
    ///
    /// ```
    /// use cdp::rule::Rule;
    /// let text = r#"tags.level = "gold" and count("Order Completed" where total > 300 within 90d) >= 2 and not event("scan" within 90d)"#;
    /// let rule = Rule::from_text(text).unwrap();
    /// assert_eq!(rule.to_text(), text);
    /// assert_eq!(Rule::from_json(&rule.to_json()).unwrap(), rule);
    /// let error = Rule::from_text("city = \"上海\"\n and age > ").unwrap_err();
    /// assert_eq!((&*error.place, error.code), ("2:12", "rule_syntax"));
    /// ```
    pub fn from_text(text: &str) -> Result<Rule, RuleError> {
        parse::parse(text)
    }

    /// Writes the text form; it reads back to an equal rule.
    pub fn to_text(&self) -> String {
        print::print(self)
    }
}

/// Words of the grammar that could be taken for a path where one may stand, or that nobody would read as one.
const RESERVED: [&str; 18] = [
    "and", "between", "exists", "has", "in", "is", "lookback", "match", "missing", "not", "of",
    "or", "prefix", "some", "tags", "then", "where", "within",
];

fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|it| it.eq_ignore_ascii_case(word))
}

/// Whether a key needs no backticks, reserved words aside.
fn is_plain(key: &str) -> bool {
    let mut letters = key.chars();
    letters.next().is_some_and(starts_word) && letters.all(goes_on_word)
}

fn starts_word(letter: char) -> bool {
    letter.is_alphabetic() || matches!(letter, '_' | '$' | '@')
}

fn goes_on_word(letter: char) -> bool {
    starts_word(letter) || letter.is_ascii_digit()
}
