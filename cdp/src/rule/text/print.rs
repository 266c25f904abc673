//! A rule into text.

use super::{is_plain, is_reserved};
use crate::rule::ast::{
    Aggregate, Ask, Base, Const, DateExpr, EventNames, EventRule, Length, Op, Operand, Path, Round,
    RoundTo, Rule, WindowRule,
};
use crate::rule::json::{day_text, instant_text};

/// Writes conditions that all hold: for explanations.
pub(in crate::rule) fn print_conditions(them: &[Rule]) -> String {
    join(them, ", ", Binds::Or)
}

/// How tightly a rule binds; what binds less than its surroundings stands in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binds {
    Or,
    And,
    Not,
}

/// Writes a rule.
pub(super) fn print(it: &Rule) -> String {
    rule(it, Binds::Or)
}

fn rule(it: &Rule, outside: Binds) -> String {
    let (text, binds) = match it {
        Rule::And(nodes) if nodes.len() > 1 => (join(nodes, " and ", Binds::Not), Binds::And),
        Rule::Or(nodes) if nodes.len() > 1 => (join(nodes, " or ", Binds::And), Binds::Or),
        Rule::And(nodes) => (format!("all({})", join(nodes, ", ", Binds::Or)), Binds::Not),
        Rule::Or(nodes) => (format!("any({})", join(nodes, ", ", Binds::Or)), Binds::Not),
        Rule::Not(node) => (format!("not {}", rule(node, Binds::Not)), Binds::Not),
        leaf => (primary(leaf), Binds::Not),
    };
    match binds < outside {
        true => format!("({text})"),
        false => text,
    }
}

fn join(nodes: &[Rule], between: &str, outside: Binds) -> String {
    let texts: Vec<String> = nodes.iter().map(|node| rule(node, outside)).collect();
    texts.join(between)
}

fn primary(it: &Rule) -> String {
    match it {
        Rule::Attr { path: at, ask: it } => format!("{} {}", path(at), ask(it)),
        Rule::Tag { code, ask: it } => format!("tags.{} {}", key(code), ask(it)),
        Rule::Some { path: at, rule: it } => {
            format!("some {} match ({})", path(at), rule(it, Binds::Or))
        }
        Rule::Event(it) => event(it),
        Rule::Sequence {
            steps,
            within,
            lookback,
        } => {
            let steps: Vec<String> = (steps.iter())
                .map(|step| events(&step.event, &step.conditions))
                .collect();
            let within = within.map_or(String::new(), |it| format!(" within {}", length(it)));
            let lookback = match lookback {
                WindowRule::Within(it) => format!(" {}", length(*it)),
                other => window(other),
            };
            format!(
                "sequence({}{within} lookback{lookback})",
                steps.join(" then ")
            )
        }
        Rule::Segment(id) => format!("segment({})", text(id)),
        Rule::List(id) => format!("list({})", text(id)),
        Rule::Random { seed, percent } => format!("random({}, {percent}%)", text(seed)),
        Rule::Near { lat, lon, km, of } => format!("near({}, {lat}, {lon}, {km}km)", key(of)),
        Rule::And(_) | Rule::Or(_) | Rule::Not(_) => format!("({})", rule(it, Binds::Or)),
    }
}

fn event(it: &EventRule) -> String {
    let inner = format!(
        "{}{}",
        events(&it.event, &it.conditions),
        window(&it.window)
    );
    if it.agg == Aggregate::Count && it.field.is_none() && it.ask == Ask::at_least_one() {
        return format!("event({inner})");
    }
    let of = match &it.field {
        Some(field) => format!("{} of ", path(field)),
        None => String::new(),
    };
    format!("{}({of}{inner}) {}", it.agg.word(), ask(&it.ask))
}

fn events(names: &EventNames, conditions: &[Rule]) -> String {
    let names = match names {
        EventNames::Prefix(prefix) => format!("prefix {}", text(prefix)),
        EventNames::Orders => text(EventNames::ORDERS),
        EventNames::Names(names) => {
            let names: Vec<String> = names.iter().map(|name| text(name)).collect();
            names.join(", ")
        }
    };
    match conditions {
        [] => names,
        some => format!("{names} where {}", join(some, ", ", Binds::Or)),
    }
}

fn window(it: &WindowRule) -> String {
    match it {
        WindowRule::All => String::new(),
        WindowRule::Within(it) => format!(" within {}", length(*it)),
        WindowRule::Between(a, b) => format!(" between {} and {}", constant(a), constant(b)),
        WindowRule::Ago(a, b) => format!(" ago {} to {}", length(*a), length(*b)),
    }
}

fn ask(it: &Ask) -> String {
    let word = match it.op {
        Op::Eq => "=",
        Op::Ne => "!=",
        Op::Gt => ">",
        Op::Gte => ">=",
        Op::Lt => "<",
        Op::Lte => "<=",
        Op::Between => "between",
        Op::In => "in",
        Op::NotIn => "not in",
        Op::Contains => "contains",
        Op::StartsWith => "starts with",
        Op::EndsWith => "ends with",
        Op::Exists => "exists",
        Op::Missing => "missing",
        Op::HasAny => "has any",
        Op::HasAll => "has all",
        Op::HasNone => "has none",
        Op::IsDay => "is day",
        Op::Regex => "matches",
    };
    match &it.value {
        Operand::None => word.to_owned(),
        Operand::One(it) => format!("{word} {}", constant(it)),
        Operand::Many(them) => {
            let texts: Vec<String> = them.iter().map(constant).collect();
            match it.op {
                Op::Between => format!("{word} {}", texts.join(" and ")),
                _ => format!("{word} ({})", texts.join(", ")),
            }
        }
    }
}

fn constant(it: &Const) -> String {
    match it {
        Const::Text(it) => text(it),
        Const::Number(it) => it.to_string(),
        Const::Bool(it) => it.to_string(),
        Const::Date(it) => date(it),
    }
}

fn date(it: &DateExpr) -> String {
    let mut out = match it.base {
        Base::Now => "now".to_owned(),
        Base::Instant(at) => format!("date {}", text(&instant_text(at))),
        Base::Day(day) => format!("date {}", text(&day_text(day))),
    };
    for (n, unit) in &it.shift {
        let sign = if *n < 0 { '-' } else { '+' };
        out.push_str(&format!(" {sign} {}{}", n.unsigned_abs(), unit.word()));
    }
    if let Some((round, to)) = it.round {
        out.push_str(match round {
            Round::Floor => " floor",
            Round::Ceil => " ceil",
        });
        out.push_str(match to {
            RoundTo::Day => " day",
            RoundTo::Month => " month",
        });
    }
    out
}

fn length(it: Length) -> String {
    format!("{}{}", it.n, it.unit.word())
}

fn path(it: &Path) -> String {
    let keys: Vec<String> = it.0.iter().map(|it| key(it)).collect();
    keys.join(".")
}

fn key(it: &str) -> String {
    match is_plain(it) && !is_reserved(it) {
        true => it.to_owned(),
        false => format!("`{}`", it.replace('`', "``")),
    }
}

fn text(it: &str) -> String {
    serde_json::to_string(it).expect("a text is always JSON")
}
