//! Writing the canonical JSON form: keys in a fixed order, nothing that is a default.

use super::{day_text, instant_text};
use crate::rule::ast::{
    Aggregate, Ask, Base, Const, DateExpr, EventNames, EventRule, Length, Operand, Path, Round,
    RoundTo, Rule, WindowRule,
};

impl Rule {
    /// The canonical JSON form: equal rules have equal texts, and it reads back to an equal rule.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        rule(&mut out, self);
        out
    }
}

/// What a measure is, in canonical JSON: its key.
pub(in crate::rule) fn measure_key(
    names: &EventNames,
    conditions: &[Rule],
    field: Option<&Path>,
) -> String {
    let mut out = String::from("{\"event\":");
    event_names(&mut out, names);
    // All conditions hold, in any order.
    let mut texts: Vec<String> = conditions.iter().map(Rule::to_json).collect();
    texts.sort_unstable();
    texts.dedup();
    if !texts.is_empty() {
        out.push_str(",\"where\":[");
        out.push_str(&texts.join(","));
        out.push(']');
    }
    if let Some(field) = field {
        out.push_str(",\"field\":");
        path(&mut out, field);
    }
    out.push('}');
    out
}

fn rule(out: &mut String, it: &Rule) {
    match it {
        Rule::And(nodes) => {
            out.push_str("{\"and\":");
            list(out, nodes, rule);
        }
        Rule::Or(nodes) => {
            out.push_str("{\"or\":");
            list(out, nodes, rule);
        }
        Rule::Not(node) => {
            out.push_str("{\"not\":");
            rule(out, node);
        }
        Rule::Attr { path: at, ask: it } => {
            out.push_str("{\"attr\":");
            path(out, at);
            ask(out, it);
        }
        Rule::Tag { code, ask: it } => {
            out.push_str("{\"tag\":");
            text(out, code);
            ask(out, it);
        }
        Rule::Some { path: at, rule: it } => {
            out.push_str("{\"some\":");
            path(out, at);
            out.push_str(",\"match\":");
            rule(out, it);
        }
        Rule::Event(it) => event(out, it),
        Rule::Sequence {
            steps,
            within,
            lookback,
        } => {
            out.push_str("{\"sequence\":");
            list(out, steps, |out, step| {
                out.push_str("{\"event\":");
                event_names(out, &step.event);
                conditions(out, &step.conditions);
                out.push('}');
            });
            if let Some(within) = within {
                out.push_str(",\"within\":");
                length(out, *within);
            }
            match lookback {
                WindowRule::Within(it) => {
                    out.push_str(",\"lookback\":");
                    length(out, *it);
                }
                other => {
                    let mut inner = String::new();
                    window(&mut inner, other);
                    out.push_str(",\"lookback\":{");
                    out.push_str(inner.trim_start_matches(','));
                    out.push('}');
                }
            }
        }
        Rule::Segment(id) => {
            out.push_str("{\"segment\":");
            text(out, id);
        }
        Rule::List(id) => {
            out.push_str("{\"list\":");
            text(out, id);
        }
        Rule::Random { seed, percent } => {
            out.push_str("{\"random\":{\"seed\":");
            text(out, seed);
            out.push_str(&format!(",\"percent\":{percent}}}"));
        }
        Rule::Near { lat, lon, km, of } => {
            out.push_str(&format!(
                "{{\"near\":{{\"lat\":{lat},\"lon\":{lon},\"km\":{km},\"of\":"
            ));
            text(out, of);
            out.push('}');
        }
    }
    out.push('}');
}

fn event(out: &mut String, it: &EventRule) {
    out.push_str("{\"event\":");
    event_names(out, &it.event);
    conditions(out, &it.conditions);
    let is_default =
        it.agg == Aggregate::Count && it.field.is_none() && it.ask == Ask::at_least_one();
    if !is_default {
        out.push_str(",\"agg\":");
        text(out, it.agg.word());
        if let Some(field) = &it.field {
            out.push_str(",\"field\":");
            path(out, field);
        }
        ask(out, &it.ask);
    }
    window(out, &it.window);
}

fn conditions(out: &mut String, it: &[Rule]) {
    if !it.is_empty() {
        out.push_str(",\"where\":");
        list(out, it, rule);
    }
}

fn event_names(out: &mut String, it: &EventNames) {
    match it {
        EventNames::Names(names) => match &**names {
            [name] => text(out, name),
            names => list(out, names, |out, name| text(out, name)),
        },
        EventNames::Orders => text(out, EventNames::ORDERS),
        EventNames::Prefix(prefix) => {
            out.push_str("{\"prefix\":");
            text(out, prefix);
            out.push('}');
        }
    }
}

fn window(out: &mut String, it: &WindowRule) {
    match it {
        WindowRule::All => {}
        WindowRule::Within(it) => {
            out.push_str(",\"within\":");
            length(out, *it);
        }
        WindowRule::Between(a, b) => {
            out.push_str(",\"between\":");
            list(out, &[a, b], |out, it| constant(out, it));
        }
        WindowRule::Ago(a, b) => {
            out.push_str(",\"ago\":");
            list(out, &[*a, *b], |out, it| length(out, *it));
        }
    }
}

fn ask(out: &mut String, it: &Ask) {
    out.push_str(",\"op\":");
    text(out, it.op.word());
    match &it.value {
        Operand::None => {}
        Operand::One(it) => {
            out.push_str(",\"value\":");
            constant(out, it);
        }
        Operand::Many(them) => {
            out.push_str(",\"value\":");
            list(out, them, constant);
        }
    }
}

fn constant(out: &mut String, it: &Const) {
    match it {
        Const::Text(it) => text(out, it),
        Const::Number(it) => out.push_str(&it.to_string()),
        Const::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Const::Date(it) => date(out, it),
    }
}

fn date(out: &mut String, it: &DateExpr) {
    out.push_str("{\"base\":");
    match it.base {
        Base::Now => text(out, "now"),
        Base::Instant(at) => text(out, &instant_text(at)),
        Base::Day(day) => text(out, &day_text(day)),
    }
    if !it.shift.is_empty() {
        out.push_str(",\"shift\":");
        list(out, &it.shift, |out, (n, unit)| {
            out.push_str(&format!("[{n},\"{}\"]", unit.word()));
        });
    }
    if let Some((round, to)) = it.round {
        out.push_str(match round {
            Round::Floor => ",\"floor\":",
            Round::Ceil => ",\"ceil\":",
        });
        out.push_str(match to {
            RoundTo::Day => "\"day\"",
            RoundTo::Month => "\"month\"",
        });
    }
    out.push('}');
}

fn length(out: &mut String, it: Length) {
    out.push_str(&format!("\"{}{}\"", it.n, it.unit.word()));
}

/// Dotted text where that reads back, otherwise a list of keys.
fn path(out: &mut String, it: &Path) {
    if it.0.iter().any(|key| key.contains('.')) || it.0.is_empty() {
        list(out, &it.0, |out, key| text(out, key));
    } else {
        text(out, &it.display());
    }
}

fn text(out: &mut String, it: &str) {
    out.push_str(&serde_json::to_string(it).expect("a text is always JSON"));
}

fn list<T>(out: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}
