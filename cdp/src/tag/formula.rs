//! Formulas: a tag's value computed of attributes, tags and what members did.
//!
//! | JSON | is |
//! |---|---|
//! | `12.5`, `true`, `"gold"` | a constant |
//! | `{"attr": path}`, `{"tag": code}` | the value of an attribute or tag |
//! | `{"event": …, "agg": "sum", "field": "total", "within": "90d"}` | a figure of behaviour, written as in rules without `op` and `value` |
//! | `{"add": […]}`, `{"mul": […]}`, `{"min": […]}`, `{"max": […]}` | of numbers |
//! | `{"sub": [a, b]}`, `{"div": [a, b]}` | of two numbers |
//! | `{"round": a, "digits": 2}` | half away from zero; 0 digits when left out |
//! | `{"or_else": [a, b, …]}` | the first that is there |
//! | `{"if": rule, "then": a, "else": b}` | by a rule; without `else` absent |
//! | `{"if": {"compare": [a, "gte", b]}, "then": a}` | by two numbers or texts: `eq ne gt gte lt lte` |
//!
//! Numbers are exact decimals; a result has nine digits behind the point at most. What is computed of something absent, of
//! something that is no number, by dividing by zero, or beyond 28 digits, is absent; so is a text that is none of `values`. A comparison with something absent
//! does not hold.

use std::cmp::Ordering;

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Map, Value as Json};

use super::ValueType;
use crate::definition::Basic;
use crate::profile::Value;
use crate::profile::value::Number;
use crate::rule::{Known, Names, Plan, Rule, RuleError, check};

/// Levels of a formula.
const DEPTH_MAX: usize = 32;
/// Parts of a formula: each is computed for each member.
const PARTS_MAX: usize = 200;
/// Digits behind the point of a result.
const DIGITS_MAX: u32 = 9;

/// Aggregates that are numbers.
const AGGREGATES: [&str; 6] = ["count", "sum", "avg", "min", "max", "distinct"];

/// A checked formula. Leaves and nodes are those of the tag's plan.
#[derive(Debug, Clone)]
pub struct Formula {
    expr: Expr,
    of: ValueType,
    /// The values that there are, if only some are.
    values: Vec<String>,
}

#[derive(Debug, Clone)]
enum Expr {
    Constant(Value),
    Leaf(usize),
    Fold(Fold, Vec<Expr>),
    OrElse(Vec<Expr>),
    Round(Box<Expr>, u32),
    If(When, Box<Expr>, Option<Box<Expr>>),
}

/// What is made of several numbers, from left to right.
#[derive(Debug, Clone, Copy)]
enum Fold {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

#[derive(Debug, Clone)]
enum When {
    Node(usize),
    Compare(Box<Expr>, fn(Ordering) -> bool, Box<Expr>),
}

/// What is known of a part's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Bool,
    /// Anything: what has no definition, or a list, a date, an object.
    Any,
}

/// One member, as a formula sees it.
pub trait Reads {
    /// The value that a leaf reads, whatever its condition.
    fn leaf(&mut self, leaf: usize) -> Option<Value>;
    /// Whether a node holds.
    fn holds(&mut self, node: usize) -> bool;
}

impl Formula {
    /// The value of one member.
    pub fn value(&self, member: &mut dyn Reads) -> Option<Value> {
        let value = self.expr.value(member)?;
        match (self.of, value) {
            (ValueType::Number, value) => {
                let number = decimal(&value)?;
                let strategy = RoundingStrategy::MidpointAwayFromZero;
                let number = number.round_dp_with_strategy(DIGITS_MAX, strategy);
                Some(Value::Number(Number::new(number)))
            }
            (ValueType::Bool, Value::Bool(yes)) => Some(Value::Bool(yes)),
            (ValueType::Text | ValueType::Enum, Value::Text(text)) => {
                let known = self.values.is_empty() || self.values.iter().any(|it| **it == *text);
                (known && !text.is_empty()).then_some(Value::Text(text))
            }
            _ => None,
        }
    }

    /// Checks a formula; its leaves and rules are added to a plan by `add`, which answers the number of a rule's root.
    pub(super) fn new(
        json: &Json,
        (of, values): (ValueType, &[String]),
        names: &dyn Names,
        plan: &mut Plan,
        add: &mut dyn FnMut(&mut Plan, &Plan, &str) -> usize,
    ) -> Result<Formula, Vec<RuleError>> {
        let mut reader = Reader {
            names,
            plan,
            add,
            parts: 0,
            errors: Vec::new(),
        };
        let (expr, kind) = reader.expr(json, "formula", 0);
        let wanted = match of {
            ValueType::Number => Some(Kind::Number),
            ValueType::Text | ValueType::Enum => Some(Kind::Text),
            ValueType::Bool => Some(Kind::Bool),
            ValueType::Date | ValueType::Multi => None,
        };
        match wanted {
            None => {
                let message = "a formula gives a number, a text or yes and no: use value_type number, text, enum or bool";
                reader.fail("", "value_type", message);
            }
            Some(wanted) if kind != wanted && kind != Kind::Any => {
                let message = format!("the formula does not give a value of type {}", of.word());
                reader.fail("formula", "value_type", message);
            }
            Some(_) => {}
        }
        match reader.errors.is_empty() {
            true => Ok(Formula {
                expr,
                of,
                values: values.to_vec(),
            }),
            false => Err(reader.errors),
        }
    }
}

impl Expr {
    fn value(&self, member: &mut dyn Reads) -> Option<Value> {
        match self {
            Expr::Constant(value) => Some(value.clone()),
            Expr::Leaf(leaf) => member.leaf(*leaf),
            Expr::Fold(fold, parts) => {
                let mut numbers = parts.iter();
                let mut sum = decimal(&numbers.next()?.value(member)?)?;
                for part in numbers {
                    sum = fold.apply(sum, decimal(&part.value(member)?)?)?;
                }
                Some(Value::Number(Number::new(sum)))
            }
            Expr::OrElse(parts) => parts.iter().find_map(|part| part.value(member)),
            Expr::Round(part, digits) => {
                let number = decimal(&part.value(member)?)?;
                let strategy = RoundingStrategy::MidpointAwayFromZero;
                let number = number.round_dp_with_strategy(*digits, strategy);
                Some(Value::Number(Number::new(number)))
            }
            Expr::If(when, then, otherwise) => match when.holds(member) {
                true => then.value(member),
                false => otherwise.as_ref()?.value(member),
            },
        }
    }
}

impl Fold {
    fn apply(self, a: Decimal, b: Decimal) -> Option<Decimal> {
        match self {
            Fold::Add => a.checked_add(b),
            Fold::Sub => a.checked_sub(b),
            Fold::Mul => a.checked_mul(b),
            // None as well for a divisor of zero.
            Fold::Div => a.checked_div(b),
            Fold::Min => Some(a.min(b)),
            Fold::Max => Some(a.max(b)),
        }
    }
}

impl When {
    fn holds(&self, member: &mut dyn Reads) -> bool {
        match self {
            When::Node(node) => member.holds(*node),
            When::Compare(a, allows, b) => {
                let (Some(a), Some(b)) = (a.value(member), b.value(member)) else {
                    return false;
                };
                let order = match (&a, &b) {
                    (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
                    (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
                    _ => decimal(&a).zip(decimal(&b)).map(|(a, b)| a.cmp(&b)),
                };
                order.is_some_and(allows)
            }
        }
    }
}

fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Int(number) => Some(Decimal::from(*number)),
        Value::Number(number) => Some(number.decimal()),
        _ => None,
    }
}

struct Reader<'a> {
    names: &'a dyn Names,
    plan: &'a mut Plan,
    add: &'a mut dyn FnMut(&mut Plan, &Plan, &str) -> usize,
    parts: usize,
    errors: Vec<RuleError>,
}

/// What stands where something is wrong: there will be no formula.
const NOTHING: (Expr, Kind) = (Expr::OrElse(Vec::new()), Kind::Any);

impl Reader<'_> {
    fn fail(
        &mut self,
        place: &str,
        code: &'static str,
        message: impl Into<String>,
    ) -> (Expr, Kind) {
        self.errors.push(RuleError::new(place, code, message));
        NOTHING
    }

    fn expr(&mut self, json: &Json, place: &str, depth: usize) -> (Expr, Kind) {
        self.parts += 1;
        if depth == DEPTH_MAX {
            return self.fail(
                place,
                "too_deep",
                format!("a formula has at most {DEPTH_MAX} levels"),
            );
        }
        if self.parts == PARTS_MAX {
            return self.fail(
                place,
                "too_many",
                format!("a formula has at most {PARTS_MAX} parts"),
            );
        }
        if self.parts > PARTS_MAX {
            return NOTHING;
        }
        match json {
            Json::Bool(yes) => (Expr::Constant(Value::Bool(*yes)), Kind::Bool),
            Json::String(text) if !text.is_empty() => (
                Expr::Constant(Value::Text(text.as_str().into())),
                Kind::Text,
            ),
            Json::Number(number) => match Number::parse(&number.to_string()) {
                Some(number) => (Expr::Constant(Value::Number(number)), Kind::Number),
                None => self.fail(place, "number_form", "a number has at most 28 digits"),
            },
            Json::Object(fields) => self.object(fields, place, depth),
            _ => self.fail(
                place,
                "formula_form",
                "write a number, a text, true, false or an object",
            ),
        }
    }

    fn object(&mut self, fields: &Map<String, Json>, place: &str, depth: usize) -> (Expr, Kind) {
        const WORDS: &str = "attr, tag, event, add, sub, mul, div, min, max, round, or_else, if";
        if fields.contains_key("event") {
            return self.event(fields, place);
        }
        let also: &[&str] = match () {
            () if fields.contains_key("if") => &["if", "then", "else"],
            () if fields.contains_key("round") => &["round", "digits"],
            () => &[],
        };
        if also.is_empty() && fields.len() != 1 {
            let message = format!("an object is one of {WORDS}, and nothing else");
            return self.fail(place, "formula_form", message);
        }
        if let Some(strange) = fields
            .keys()
            .find(|it| !also.is_empty() && !also.contains(&&***it))
        {
            let message = format!("`{strange}` does not belong here");
            return self.fail(place, "formula_form", message);
        }
        if fields.contains_key("if") {
            return self.when(fields, place, depth);
        }
        if let Some(of) = fields.get("round") {
            let part = self.number(of, &format!("{place}.round"), depth);
            let digits = fields.get("digits").map_or(Some(0), Json::as_u64);
            return match digits
                .and_then(|it| u32::try_from(it).ok())
                .filter(|it| *it <= DIGITS_MAX)
            {
                Some(digits) => (Expr::Round(Box::new(part), digits), Kind::Number),
                None => {
                    let place = format!("{place}.digits");
                    self.fail(
                        &place,
                        "formula_form",
                        format!("digits are 0 to {DIGITS_MAX}"),
                    )
                }
            };
        }
        let Some((word, of)) = fields.iter().next() else {
            return NOTHING;
        };
        let place = format!("{place}.{word}");
        let fold = match &**word {
            "attr" | "tag" => return self.known(word, of, &place),
            "or_else" => return self.or_else(of, &place, depth),
            "add" => Fold::Add,
            "sub" => Fold::Sub,
            "mul" => Fold::Mul,
            "div" => Fold::Div,
            "min" => Fold::Min,
            "max" => Fold::Max,
            other => {
                let message = format!("`{other}` is none of {WORDS}");
                return self.fail(&place, "unknown_word", message);
            }
        };
        let two = matches!(fold, Fold::Sub | Fold::Div);
        match of.as_array() {
            Some(parts) if parts.len() == 2 || (!two && !parts.is_empty()) => {
                let parts = parts.iter().enumerate();
                let parts = parts.map(|(at, it)| self.number(it, &format!("{place}[{at}]"), depth));
                (Expr::Fold(fold, parts.collect()), Kind::Number)
            }
            _ if two => self.fail(&place, "formula_form", "write a list of two parts"),
            _ => self.fail(&place, "formula_form", "write a list of parts"),
        }
    }

    fn number(&mut self, json: &Json, place: &str, depth: usize) -> Expr {
        let (expr, kind) = self.expr(json, place, depth + 1);
        if !matches!(kind, Kind::Number | Kind::Any) {
            self.fail(place, "value_type", "this is no number");
        }
        expr
    }

    fn or_else(&mut self, of: &Json, place: &str, depth: usize) -> (Expr, Kind) {
        let Some(parts) = of.as_array().filter(|parts| !parts.is_empty()) else {
            return self.fail(place, "formula_form", "write a list of parts");
        };
        let mut kind = None;
        let mut exprs = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let place = format!("{place}[{at}]");
            let (expr, of) = self.expr(part, &place, depth + 1);
            kind = Some(self.same(kind, of, &place));
            exprs.push(expr);
        }
        (Expr::OrElse(exprs), kind.unwrap_or(Kind::Any))
    }

    /// What two ways lead to is of one type.
    fn same(&mut self, one: Option<Kind>, other: Kind, place: &str) -> Kind {
        match (one, other) {
            (None | Some(Kind::Any), other) => other,
            (Some(one), Kind::Any) => one,
            (Some(one), other) if one == other => one,
            (Some(one), _) => {
                self.fail(
                    place,
                    "value_type",
                    "this is of another type than what stands before it",
                );
                one
            }
        }
    }

    fn when(&mut self, fields: &Map<String, Json>, place: &str, depth: usize) -> (Expr, Kind) {
        let when = self.condition(&fields["if"], &format!("{place}.if"), depth);
        let Some(then) = fields.get("then") else {
            return self.fail(place, "formula_form", "`then` is missing");
        };
        let (then, kind) = self.expr(then, &format!("{place}.then"), depth + 1);
        let (otherwise, kind) = match fields.get("else") {
            None => (None, kind),
            Some(json) => {
                let place = format!("{place}.else");
                let (expr, of) = self.expr(json, &place, depth + 1);
                (Some(Box::new(expr)), self.same(Some(kind), of, &place))
            }
        };
        match when {
            Some(when) => (Expr::If(when, Box::new(then), otherwise), kind),
            None => NOTHING,
        }
    }

    fn condition(&mut self, json: &Json, place: &str, depth: usize) -> Option<When> {
        let Some(compare) = json.get("compare") else {
            let part = self.rule(json, place)?;
            return Some(When::Node((self.add)(self.plan, &part, place)));
        };
        let place = format!("{place}.compare");
        let (Some([a, word, b]), Some(1)) = (
            compare.as_array().map(Vec::as_slice),
            json.as_object().map(Map::len),
        ) else {
            self.fail(
                &place,
                "formula_form",
                "write a part, an operator and a part",
            );
            return None;
        };
        let allows: fn(Ordering) -> bool = match word.as_str() {
            Some("eq") => Ordering::is_eq,
            Some("ne") => Ordering::is_ne,
            Some("gt") => Ordering::is_gt,
            Some("gte") => Ordering::is_ge,
            Some("lt") => Ordering::is_lt,
            Some("lte") => Ordering::is_le,
            _ => {
                let at = format!("{place}[1]");
                self.fail(
                    &at,
                    "unknown_operator",
                    "compare with eq, ne, gt, gte, lt or lte",
                );
                return None;
            }
        };
        let (a, of) = self.expr(a, &format!("{place}[0]"), depth + 1);
        let at = format!("{place}[2]");
        let (b, other) = self.expr(b, &at, depth + 1);
        self.same(Some(of), other, &at);
        Some(When::Compare(Box::new(a), allows, Box::new(b)))
    }

    fn rule(&mut self, json: &Json, place: &str) -> Option<Plan> {
        let plan =
            Rule::from_json(&json.to_string()).and_then(|rule| check(&rule, self.names, None));
        plan.map_err(|errors| {
            self.errors.extend(errors.into_iter().map(|mut error| {
                error.place = match error.place.as_str() {
                    "" => place.to_owned(),
                    inner => format!("{place}.{inner}"),
                };
                error
            }));
        })
        .ok()
    }

    /// The leaf of a rule of one clause.
    fn leaf(&mut self, rule: &Json, place: &str) -> Option<usize> {
        let part = self.rule(rule, place)?;
        let root = (self.add)(self.plan, &part, place);
        match self.plan.nodes.get(root) {
            Some(crate::rule::Node::Leaf(leaf)) => Some(*leaf),
            _ => None,
        }
    }

    fn known(&mut self, word: &str, of: &Json, place: &str) -> (Expr, Kind) {
        let rule = serde_json::json!({word: of, "op": "exists"});
        let Some(leaf) = self.leaf(&rule, place) else {
            return NOTHING;
        };
        let inner = of.as_array().is_some() || of.as_str().is_some_and(|it| it.contains('.'));
        let known = match (word, of.as_str()) {
            ("tag", Some(code)) => self.names.tag(code),
            ("attr", Some(name)) if !inner => self.names.attribute(name),
            _ => Known::Seen,
        };
        let kind = match known {
            Known::Typed(of) if !of.list => match of.basic {
                Basic::Int | Basic::Number => Kind::Number,
                Basic::Text => Kind::Text,
                Basic::Bool => Kind::Bool,
                Basic::Date | Basic::Time | Basic::Object => Kind::Any,
            },
            _ => Kind::Any,
        };
        (Expr::Leaf(leaf), kind)
    }

    fn event(&mut self, fields: &Map<String, Json>, place: &str) -> (Expr, Kind) {
        for field in ["op", "value"] {
            if fields.contains_key(field) {
                let place = format!("{place}.{field}");
                return self.fail(
                    &place,
                    "formula_form",
                    "a figure has no condition: leave it out",
                );
            }
        }
        let agg = fields.get("agg").map_or(Some("count"), Json::as_str);
        if !agg.is_some_and(|agg| AGGREGATES.contains(&agg)) {
            let place = format!("{place}.agg");
            let message = format!("a figure is one of {}", AGGREGATES.join(", "));
            return self.fail(&place, "unknown_aggregate", message);
        }
        let time = fields.get("field").and_then(Json::as_str);
        if matches!(agg, Some("min" | "max")) && time.is_some_and(|it| it.starts_with('@')) {
            let place = format!("{place}.field");
            return self.fail(&place, "value_type", "an instant is no number");
        }
        let mut rule = fields.clone();
        rule.insert("op".into(), "gte".into());
        rule.insert("value".into(), 0.into());
        match self.leaf(&Json::Object(rule), place) {
            Some(leaf) => (Expr::Leaf(leaf), Kind::Number),
            None => NOTHING,
        }
    }
}
