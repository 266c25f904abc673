//! Measures: the events that a clause is about and the value it takes of each.
//!
//! Windows, aggregates and thresholds are no part of a measure, so clauses of many rules share one. Equal measures have
//! equal [`Measure::key`]s.

use std::collections::BTreeSet;
use std::sync::Arc;

use actors::history::ORDER;
use actors::model::{BrandId, Time};
use jiff::tz::TimeZone;

use super::ast::{EventNames, Path};
use super::condition::{Fixed, Test};
use super::scalar::{Scalar, gathered, nfkc};
use super::{calendar, scan};
use crate::profile::Value;

/// Which events, and which value of each.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Names, after NFKC.
    pub names: EventNames,
    /// What their properties have to satisfy.
    pub filter: Option<Filter>,
    /// The property that is taken. `None`: the event's time is enough.
    pub field: Option<Path>,
    /// Only events of these brands and of the group count. `None`: of all.
    pub brands: Option<Arc<[BrandId]>>,
    pub(super) key: Arc<str>,
}

/// A condition on the properties of an event, or on an object in a list.
#[derive(Debug, Clone)]
pub enum Filter {
    /// All of them.
    And(Vec<Filter>),
    /// One of them.
    Or(Vec<Filter>),
    /// The complement.
    Not(Box<Filter>),
    /// A condition on the values at a path.
    Test(Path, Test),
    /// One object at a path satisfies a filter as a whole.
    Some(Path, Box<Filter>),
}

/// An event of a measure: when, and the value taken of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// When it happened.
    pub time: Time,
    /// The value of the measure's field: absent, one, or a list of several. Objects are kept as `{}`: that there is one.
    pub value: Option<Value>,
}

impl Measure {
    /// The same for equal measures, canonical JSON.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether events of a brand count.
    pub fn sees(&self, brand: BrandId) -> bool {
        let brands = self.brands.as_ref();
        brands.is_none_or(|brands| brand == BrandId(0) || brands.contains(&brand))
    }

    /// The same of what somebody sees who may see these brands only.
    #[must_use]
    pub fn within(&self, brands: &[BrandId]) -> Measure {
        let numbers: Vec<String> = brands.iter().map(|brand| brand.0.to_string()).collect();
        let key = format!(r#"{{"brands":[{}],"of":{}}}"#, numbers.join(","), self.key);
        Measure {
            brands: Some(brands.into()),
            key: key.into(),
            ..self.clone()
        }
    }

    /// The properties of events that it looks at.
    pub fn properties(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        if let Some(filter) = &self.filter {
            filter.roots(&mut found);
        }
        found.extend(self.field.as_ref().map(Path::root));
        // The event's own time is none.
        found.remove(Path::TIME);
        found.remove(Path::DAY);
        found
    }

    /// Whether it looks at what events say of orders: [`actors::history::ORDER`].
    pub fn asks_orders(&self) -> bool {
        !self.is_of_orders() && self.properties().contains(ORDER)
    }

    /// Whether it is about orders as they stand, and about no event.
    pub fn is_of_orders(&self) -> bool {
        self.names == EventNames::Orders
    }

    /// Whether events of a name are measured.
    pub fn is_about(&self, name: &str) -> bool {
        let name = nfkc(name);
        match &self.names {
            EventNames::Names(names) => names.iter().any(|it| name == **it),
            EventNames::Prefix(prefix) => name.starts_with(&**prefix),
            EventNames::Orders => false,
        }
    }
}

/// A measure made ready for one zone: what runs over every event.
#[derive(Debug, Clone)]
pub struct Extractor {
    measure: Arc<Measure>,
    matcher: Matcher,
    /// The slot of the field's first key, and its further keys.
    field: Option<(usize, Box<[Box<str>]>)>,
}

impl Extractor {
    /// Makes a measure ready. Its constants do not depend on the present: the check has seen to that.
    pub fn new(measure: Arc<Measure>, zone: &TimeZone) -> Extractor {
        let mut keys = Vec::new();
        let node = match &measure.filter {
            Some(filter) => filter.node(Time(0), zone, &mut keys),
            None => Node::And(Vec::new()),
        };
        let field =
            (measure.field.as_ref()).map(|field| (slot(field, &mut keys), field.rest().into()));
        let matcher = Matcher {
            keys: keys.into(),
            node,
            zone: zone.clone(),
        };
        Extractor {
            measure,
            matcher,
            field,
        }
    }

    /// The measure.
    pub fn measure(&self) -> &Arc<Measure> {
        &self.measure
    }

    /// The hit of an event, if the measure is about it. `properties`: JSON text of an object.
    pub fn of(&self, name: &str, time: Time, properties: Option<&str>) -> Option<Hit> {
        match self.measure.is_about(name) {
            true => self.of_named(time, properties),
            false => None,
        }
    }

    /// The hit of an order as it stands, if the measure is about orders and about this one. `facts`: JSON text of an object with
    /// what it says under [`actors::history::ORDER`].
    pub fn of_order(&self, time: Time, facts: &str) -> Option<Hit> {
        match self.measure.is_of_orders() {
            true => self.of_named(time, Some(facts)),
            false => None,
        }
    }

    /// As [`Extractor::of`] for an event whose name is known to fit. Reads the properties once, and not at all if the
    /// measure asks nothing of them.
    pub fn of_named(&self, time: Time, properties: Option<&str>) -> Option<Hit> {
        let properties = properties.unwrap_or("{}");
        self.matcher.with_slots(properties, |slots| {
            if !self.matcher.eval(&self.matcher.node, slots, Some(time)) {
                return None;
            }
            let value = self.field.as_ref().and_then(|(slot, rest)| {
                let json = slots[*slot]?;
                let mut first = None;
                let mut more = Vec::new();
                scan::each_at(json, rest, &mut |scalar| {
                    let value = match scalar {
                        Scalar::Object(_) => Value::Object("{}".into()),
                        scalar => scalar.to_value(),
                    };
                    match first {
                        None => first = Some(value),
                        Some(_) => more.push(value),
                    }
                });
                if !more.is_empty() {
                    more.splice(0..0, first.take());
                    return Some(Value::List(more));
                }
                first
            });
            Some(Hit { time, value })
        })
    }
}

impl Filter {
    /// The filter at one instant.
    pub fn at(&self, now: Time, zone: &TimeZone) -> Matcher {
        let mut keys = Vec::new();
        let node = self.node(now, zone, &mut keys);
        Matcher {
            keys: keys.into(),
            node,
            zone: zone.clone(),
        }
    }

    fn node(&self, now: Time, zone: &TimeZone, keys: &mut Vec<Box<str>>) -> Node {
        let mut all = |filters: &[Filter]| -> Vec<Node> {
            filters.iter().map(|it| it.node(now, zone, keys)).collect()
        };
        match self {
            Filter::And(filters) => Node::And(all(filters)),
            Filter::Or(filters) => Node::Or(all(filters)),
            Filter::Not(filter) => Node::Not(Box::new(filter.node(now, zone, keys))),
            Filter::Test(path, test) if path.is(Path::TIME) => Node::Time(test.at(now, zone)),
            Filter::Test(path, test) if path.is(Path::DAY) => Node::Day(test.at(now, zone)),
            Filter::Test(path, test) => {
                Node::Test(slot(path, keys), path.rest().into(), test.at(now, zone))
            }
            Filter::Some(path, filter) => {
                let inner = Box::new(filter.at(now, zone));
                Node::Some(slot(path, keys), path.rest().into(), inner)
            }
        }
    }

    /// The first instant after `now` at which the filter may come out otherwise for an object below a value.
    pub fn next_change(
        &self,
        root: &Value,
        rest: &[Box<str>],
        now: Time,
        zone: &TimeZone,
    ) -> Option<Time> {
        let mut next: Option<Time> = None;
        Scalar::each_at(root, rest, &mut |scalar| {
            if let Scalar::Object(object) = scalar {
                let object = Value::Object(object.into());
                let change = match self {
                    Filter::And(filters) | Filter::Or(filters) => {
                        let changes = filters.iter();
                        changes
                            .filter_map(|it| it.next_change(&object, &[], now, zone))
                            .min()
                    }
                    Filter::Not(filter) => filter.next_change(&object, &[], now, zone),
                    Filter::Some(path, filter) => filter.next_change(&object, &path.0, now, zone),
                    Filter::Test(path, test) => {
                        let mut values = Vec::new();
                        Scalar::each_at(&object, &path.0, &mut |it| values.push(it.to_value()));
                        test.next_change(gathered(values).as_ref(), now, zone)
                    }
                };
                next = next.into_iter().chain(change).min();
            }
        });
        next
    }

    /// First keys of all its paths.
    pub(super) fn roots<'a>(&'a self, found: &mut BTreeSet<&'a str>) {
        match self {
            Filter::And(filters) | Filter::Or(filters) => {
                filters.iter().for_each(|filter| filter.roots(found));
            }
            Filter::Not(filter) => filter.roots(found),
            // Paths of what is inside begin at an object of it.
            Filter::Test(path, _) | Filter::Some(path, _) => {
                found.insert(path.root());
            }
        }
    }

    /// All tests in it.
    pub fn tests(&self) -> Vec<&Test> {
        match self {
            Filter::And(filters) | Filter::Or(filters) => {
                filters.iter().flat_map(Filter::tests).collect()
            }
            Filter::Not(filter) | Filter::Some(_, filter) => filter.tests(),
            Filter::Test(_, test) => vec![test],
        }
    }
}

/// The slot of a path's first key.
fn slot(path: &Path, keys: &mut Vec<Box<str>>) -> usize {
    let root = path.root();
    keys.iter()
        .position(|key| **key == *root)
        .unwrap_or_else(|| {
            keys.push(root.into());
            keys.len() - 1
        })
}

/// A [`Filter`] with computed constants: reads an object's text once, for the keys that it needs.
#[derive(Debug, Clone)]
pub struct Matcher {
    keys: Box<[Box<str>]>,
    node: Node,
    zone: TimeZone,
}

#[derive(Debug, Clone)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Test(usize, Box<[Box<str>]>, Fixed),
    Some(usize, Box<[Box<str>]>, Box<Matcher>),
    Time(Fixed),
    Day(Fixed),
}

/// Keys of a filter for which no memory is taken.
const SLOTS: usize = 8;

impl Matcher {
    /// Whether an object (JSON text) satisfies the filter. `time`: of the event, for `@time` and `@day`.
    pub fn holds(&self, object: &str, time: Option<Time>) -> bool {
        self.with_slots(object, |slots| self.eval(&self.node, slots, time))
    }

    /// Looks up the keys of an object in one pass.
    fn with_slots<'a, T>(&self, object: &'a str, f: impl FnOnce(&[Option<&'a str>]) -> T) -> T {
        if self.keys.is_empty() {
            f(&[])
        } else if self.keys.len() <= SLOTS {
            let mut slots = [None; SLOTS];
            scan::pick(object, &self.keys, &mut slots);
            f(&slots)
        } else {
            let mut slots = vec![None; self.keys.len()];
            scan::pick(object, &self.keys, &mut slots);
            f(&slots)
        }
    }

    fn eval(&self, node: &Node, slots: &[Option<&str>], time: Option<Time>) -> bool {
        match node {
            Node::And(nodes) => nodes.iter().all(|it| self.eval(it, slots, time)),
            Node::Or(nodes) => nodes.iter().any(|it| self.eval(it, slots, time)),
            Node::Not(node) => !self.eval(node, slots, time),
            Node::Test(slot, rest, fixed) => {
                let mut probe = fixed.probe();
                if let Some(json) = slots[*slot] {
                    scan::each_at(json, rest, &mut |scalar| probe.feed(&scalar));
                }
                probe.holds()
            }
            Node::Some(slot, rest, matcher) => {
                let mut holds = false;
                if let Some(json) = slots[*slot] {
                    scan::each_object_at(json, rest, &mut |object| {
                        holds = holds || matcher.holds(object, time);
                    });
                }
                holds
            }
            Node::Time(fixed) => fixed.holds(time.map(Value::Time).as_ref()),
            Node::Day(fixed) => {
                let day = time.map(|at| Value::Date(calendar::day_of(at, &self.zone)));
                fixed.holds(day.as_ref())
            }
        }
    }

    /// Whether one object at a path below a value satisfies the filter.
    pub fn some(&self, root: &Value, rest: &[Box<str>]) -> bool {
        let mut holds = false;
        Scalar::each_at(root, rest, &mut |scalar| {
            if let Scalar::Object(object) = scalar {
                holds = holds || self.holds(object, None);
            }
        });
        holds
    }
}
