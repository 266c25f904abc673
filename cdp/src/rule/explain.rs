//! Why a member is in or out: clause by clause, what was asked and what was found, in Chinese and English.

mod words;

use actors::model::Time;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::ast::Rule;
use super::behaviour::text_of;
use super::evaluate::Facts;
use super::measure::Hit;
use super::plan::{Leaf, Node, Plan};
use super::scalar::value_at;
use crate::definition::Titles;
use crate::profile::Value;
use words::Speaker;

/// One sentence in both languages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Phrase {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// A clause and how it came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Where it stands in the rule, such as `and[1].not`.
    pub place: String,
    /// Its text form.
    pub rule: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was asked.
    pub asked: Phrase,
    /// What was found; of `and`, `or`, `not` how many of their clauses hold.
    pub found: Phrase,
    /// The value that was found, absent if there is none. Of event clauses the aggregate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// Events that counted: how many, first and last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Events>,
    /// The first instant at which the clause may come out otherwise by the clock alone (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Clauses inside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clauses: Vec<Explanation>,
}

/// Events behind a clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Events {
    /// How many lie in the window.
    pub count: usize,
    /// How many there are in all, future ones too.
    pub known: usize,
    /// The first in the window (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// The last in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// The latest of them, newest first, with their values; of a sequence its steps.
    pub some: Vec<EventFound>,
}

/// An event behind a clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventFound {
    /// When (RFC 3339).
    pub time: String,
    /// The value of the clause's field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
}

/// A name that people have a title for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing<'a> {
    /// An attribute, by name.
    Attribute(&'a str),
    /// A tag, by code.
    Tag(&'a str),
    /// An event, by name.
    Event(&'a str),
    /// A segment, by id.
    Segment(&'a str),
    /// A list, by id.
    List(&'a str),
    /// A place.
    Place(&'a str),
}

/// What people call things: a port over definitions.
pub trait Labels {
    /// The titles of a thing; `None`: its own name will do.
    fn titles(&self, thing: Thing<'_>) -> Option<Titles>;
}

/// No titles: names as they are.
impl Labels for () {
    fn titles(&self, _: Thing<'_>) -> Option<Titles> {
        None
    }
}

/// Events that an explanation shows of one clause at most.
const EVENTS_SHOWN: usize = 5;

/// Explains a plan for one member at `now`.
pub fn explain(
    plan: &Plan,
    facts: &dyn Facts,
    labels: &dyn Labels,
    now: Time,
    zone: &TimeZone,
) -> Explanation {
    let explainer = Explainer {
        plan,
        facts,
        now,
        zone,
        speaker: Speaker { labels, now, zone },
    };
    explainer.node(plan.root(), &plan.rule)
}

struct Explainer<'a> {
    plan: &'a Plan,
    facts: &'a dyn Facts,
    now: Time,
    zone: &'a TimeZone,
    speaker: Speaker<'a>,
}

impl Explainer<'_> {
    fn node(&self, number: usize, rule: &Rule) -> Explanation {
        let mut explanation = match (&self.plan.nodes[number], rule) {
            (Node::And(numbers), Rule::And(rules)) | (Node::Or(numbers), Rule::Or(rules)) => {
                let clauses: Vec<Explanation> = (numbers.iter().zip(rules))
                    .map(|(number, rule)| self.node(*number, rule))
                    .collect();
                let met = clauses.iter().filter(|it| it.holds).count();
                let is_and = matches!(rule, Rule::And(_));
                let (holds, asked) = match is_and {
                    true => (met == clauses.len(), words::all()),
                    false => (met > 0, words::any()),
                };
                Explanation {
                    found: words::met(met, clauses.len()),
                    clauses,
                    ..blank(holds, asked)
                }
            }
            (Node::Not(number), Rule::Not(rule)) => {
                let clause = self.node(*number, rule);
                Explanation {
                    found: words::met(usize::from(clause.holds), 1),
                    ..blank(!clause.holds, words::not()).with(clause)
                }
            }
            (Node::Leaf(leaf), rule) => self.leaf(&self.plan.leaves[*leaf], rule),
            // A plan is made of its rule, node by node.
            _ => blank(false, Phrase::default()),
        };
        explanation.place = self.plan.places[number].to_string();
        explanation.rule = rule.to_text();
        explanation
    }

    fn leaf(&self, leaf: &Leaf, rule: &Rule) -> Explanation {
        let holds = leaf.holds(self.facts, self.now, self.zone);
        let mut explanation = blank(holds, self.speaker.asked(leaf, rule));
        explanation.until = leaf
            .next_change(self.facts, self.now, self.zone)
            .map(Time::rfc3339);
        match leaf {
            Leaf::Attr { path, .. } | Leaf::Some { path, .. } => {
                let root = self.facts.attribute(path.root());
                let value = root.and_then(|root| value_at(&root, path));
                self.value(&mut explanation, value.as_ref());
            }
            Leaf::Tag { code, .. } => {
                let value = self.facts.tag(code);
                self.value(&mut explanation, value.as_deref());
            }
            Leaf::Behaviour(it) => {
                let hits = self.facts.hits(&it.measure);
                let inside = it.window.at(self.now, self.zone).of(&hits);
                let value = it.evaluate(&hits, self.now, self.zone);
                self.value(&mut explanation, value.as_ref());
                let latest = inside
                    .iter()
                    .rev()
                    .take(EVENTS_SHOWN)
                    .map(|hit| EventFound {
                        time: hit.time.rfc3339(),
                        value: hit.value.as_ref().map(Value::to_json),
                    });
                let events = Events {
                    count: inside.len(),
                    known: hits.len(),
                    first: inside.first().map(|hit| hit.time.rfc3339()),
                    last: inside.last().map(|hit| hit.time.rfc3339()),
                    some: latest.collect(),
                };
                let (first, last) = (inside.first(), inside.last());
                if let (Some(first), Some(last)) = (first, last) {
                    let more = self.speaker.events(inside.len(), first.time, last.time);
                    explanation.found.zh += &more.zh;
                    explanation.found.en += &more.en;
                }
                explanation.events = Some(events);
            }
            Leaf::Sequence(it) => {
                let steps: Vec<_> = it.steps.iter().map(|step| self.facts.hits(step)).collect();
                let steps: Vec<&[Hit]> = steps.iter().map(|hits| &**hits).collect();
                let span = it.lookback.at(self.now, self.zone);
                let counts: Vec<usize> = steps.iter().map(|hits| span.of(hits).len()).collect();
                let chain = it.evaluate(&steps, self.now, self.zone);
                let times = chain.as_ref().map_or(&[][..], |chain| &chain.0);
                explanation.found = self.speaker.chain(times, &counts);
                explanation.events = Some(Events {
                    count: counts.iter().sum(),
                    known: steps.iter().map(|hits| hits.len()).sum(),
                    first: times.first().map(|at| at.rfc3339()),
                    last: times.last().map(|at| at.rfc3339()),
                    some: (times.iter())
                        .map(|at| EventFound {
                            time: at.rfc3339(),
                            value: None,
                        })
                        .collect(),
                });
            }
            Leaf::Segment(_) | Leaf::List(_) | Leaf::Random(_) => {
                explanation.found = words::inside(holds);
            }
            Leaf::Near(near) => {
                let place = self.facts.place(&near.of);
                let km = place.map(|it| near.distance_km(it.lat, it.lon));
                explanation.found = words::distance(km);
                explanation.value = km.map(|km| ((km * 1000.0).round() / 1000.0).into());
            }
        }
        explanation
    }

    fn value(&self, explanation: &mut Explanation, value: Option<&Value>) {
        let text = value.map(|value| self.speaker.value(value));
        explanation.found = words::found(text.as_ref());
        explanation.value = value.map(Value::to_json);
    }
}

fn blank(holds: bool, asked: Phrase) -> Explanation {
    Explanation {
        place: String::new(),
        rule: String::new(),
        holds,
        asked,
        found: Phrase::default(),
        value: None,
        events: None,
        until: None,
        clauses: Vec::new(),
    }
}

impl Explanation {
    fn with(mut self, clause: Explanation) -> Explanation {
        self.clauses.push(clause);
        self
    }
}

/// A value for people: what a list holds in turn.
fn plain(value: &Value) -> String {
    match value {
        Value::List(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        one => text_of(one),
    }
}
