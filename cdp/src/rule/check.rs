//! From a rule to a plan: every name looked up, every constant typed, every limit held. All errors at once.

mod ask;
mod time;

use std::collections::BTreeSet;
use std::sync::Arc;

use actors::history::ORDER;

use super::ast::{Aggregate, EventNames, EventRule, Path, Rule, Step};
use super::behaviour::{Behaviour, Over};
use super::error::{RuleError, inside};
use super::json::measure_key;
use super::limits::{DEPTH_MAX, NAMES_MAX, NODES_MAX, PATH_KEYS_MAX, STEPS_MAX, TEXT_BYTES_MAX};
use super::measure::{Filter, Measure};
use super::names::{Known, Names};
use super::plan::{Leaf, Near, Node, Plan, Share};
use super::scalar::nfkc;
use super::sequence::Sequence;
use crate::definition::{AttributeType, Basic};
use crate::profile::value::Number;

/// Checks a rule and makes it a plan. `this`: the id of the segment that the rule defines, to find cycles.
///
/// Errors come all at once, with places of the JSON form.
pub fn check(rule: &Rule, names: &dyn Names, this: Option<&str>) -> Result<Plan, Vec<RuleError>> {
    let mut checker = Checker {
        names,
        this,
        errors: Vec::new(),
        count: 0,
        nodes: Vec::new(),
        places: Vec::new(),
        leaves: Vec::new(),
    };
    checker.node(rule, "", 0);
    if checker.count > NODES_MAX {
        let message = format!("a rule has at most {NODES_MAX} nodes and conditions");
        checker.errors.push(RuleError::new("", "too_many", message));
    }
    if !checker.errors.is_empty() {
        return Err(checker.errors);
    }
    Ok(Plan {
        rule: rule.clone(),
        nodes: checker.nodes,
        places: checker.places,
        leaves: checker.leaves,
        brands: None,
    })
}

/// What a condition is about, for the types of its constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// A known type.
    Typed(Basic),
    /// Any: properties of events, attributes without definition.
    Any,
}

/// Where a condition on a property stands.
#[derive(Debug, Clone, Copy)]
struct Inside {
    /// Of an event: `@time` and `@day` exist, and constants may not depend on the present, because events are measured once.
    event: bool,
    depth: usize,
}

struct Checker<'n> {
    names: &'n dyn Names,
    this: Option<&'n str>,
    errors: Vec<RuleError>,
    count: usize,
    nodes: Vec<Node>,
    places: Vec<Box<str>>,
    leaves: Vec<Leaf>,
}

impl Checker<'_> {
    fn fail<T>(&mut self, error: RuleError) -> Option<T> {
        self.errors.push(error);
        None
    }

    /// Counts a node; `false`: too deep to go on.
    fn enter(&mut self, place: &str, depth: usize) -> bool {
        self.count += 1;
        if depth == DEPTH_MAX {
            let message = format!("a rule has at most {DEPTH_MAX} levels");
            self.errors.push(RuleError::new(place, "too_deep", message));
        }
        depth < DEPTH_MAX
    }

    /// The number of a checked node. Of one with errors any number will do: there will be no plan.
    fn node(&mut self, rule: &Rule, place: &str, depth: usize) -> usize {
        if !self.enter(place, depth) {
            return 0;
        }
        let node = match rule {
            Rule::And(nodes) | Rule::Or(nodes) => {
                let is_and = matches!(rule, Rule::And(_));
                let at = inside(place, if is_and { "and" } else { "or" });
                let numbers = (nodes.iter().enumerate())
                    .map(|(index, node)| self.node(node, &format!("{at}[{index}]"), depth + 1))
                    .collect();
                if is_and {
                    Node::And(numbers)
                } else {
                    Node::Or(numbers)
                }
            }
            Rule::Not(node) => Node::Not(self.node(node, &inside(place, "not"), depth + 1)),
            leaf => match self.leaf(leaf, place, depth) {
                Some(leaf) => {
                    self.leaves.push(leaf);
                    Node::Leaf(self.leaves.len() - 1)
                }
                None => Node::Or(Vec::new()),
            },
        };
        self.nodes.push(node);
        self.places.push(place.into());
        self.nodes.len() - 1
    }

    fn leaf(&mut self, rule: &Rule, place: &str, depth: usize) -> Option<Leaf> {
        match rule {
            Rule::Attr { path, ask } => {
                let subject = self.attribute(path, &inside(place, "attr"))?;
                let test = self.test(ask, subject, place)?;
                let path = path.clone();
                Some(Leaf::Attr { path, test })
            }
            Rule::Tag { code, ask } => {
                let subject = match self.names.tag(code) {
                    Known::Typed(kind) => Subject::Typed(kind.basic),
                    Known::Seen => Subject::Any,
                    Known::Unknown => {
                        let at = inside(place, "tag");
                        let error = RuleError::new(at, "unknown_tag", unknown("tag", code));
                        let error = error.nearest(code, self.names.tag_codes());
                        return self.fail(error);
                    }
                };
                let test = self.test(ask, subject, place)?;
                let code = code.clone();
                Some(Leaf::Tag { code, test })
            }
            Rule::Some { path, rule } => {
                let at = inside(place, "some");
                let subject = self.attribute(path, &at);
                if let Some(Subject::Typed(basic)) = subject
                    && basic != Basic::Object
                {
                    let message = format!("`{}` has no objects inside", path.display());
                    self.errors.push(RuleError::new(at, "value_type", message));
                }
                let here = Inside {
                    event: false,
                    depth: depth + 1,
                };
                let filter = self.filter(rule, &inside(place, "match"), here);
                subject?;
                Some(Leaf::Some {
                    path: path.clone(),
                    filter: filter?,
                })
            }
            Rule::Event(event) => self.event(event, place, depth).map(Leaf::Behaviour),
            Rule::Sequence {
                steps,
                within,
                lookback,
            } => {
                let at = inside(place, "sequence");
                if steps.is_empty() || steps.len() > STEPS_MAX {
                    let message = format!("a sequence has 1 to {STEPS_MAX} steps");
                    self.errors.push(RuleError::new(&*at, "too_many", message));
                }
                let measures: Vec<Option<Arc<Measure>>> = (steps.iter().enumerate())
                    .map(|(index, step)| self.step(step, &format!("{at}[{index}]"), depth))
                    .collect();
                let within_ms = match within {
                    Some(within) => self.duration(*within, &inside(place, "within")).map(Some),
                    None => Some(None),
                };
                let lookback = self.lookback(lookback, &inside(place, "lookback"));
                Some(Leaf::Sequence(Sequence {
                    steps: measures.into_iter().collect::<Option<_>>()?,
                    within_ms: within_ms?,
                    lookback: lookback?,
                }))
            }
            Rule::Segment(id) => {
                self.segment(id, &inside(place, "segment"))?;
                Some(Leaf::Segment(id.clone()))
            }
            Rule::List(id) => {
                if !self.names.list(id) {
                    let at = inside(place, "list");
                    return self.fail(RuleError::new(at, "unknown_list", unknown("list", id)));
                }
                Some(Leaf::List(id.clone()))
            }
            Rule::Random { seed, percent } => self.random(seed, *percent, place),
            Rule::Near { lat, lon, km, of } => {
                let at = inside(place, "near");
                let lat = self.degrees(*lat, 90.0, &inside(&at, "lat"));
                let lon = self.degrees(*lon, 180.0, &inside(&at, "lon"));
                let km = self.distance(*km, &inside(&at, "km"));
                if !self.names.place(of) {
                    let error =
                        RuleError::new(inside(&at, "of"), "unknown_place", unknown("place", of));
                    let error = error.nearest(of, self.names.place_names());
                    return self.fail(error);
                }
                Some(Leaf::Near(Near {
                    lat: lat?,
                    lon: lon?,
                    km: km?,
                    of: of.clone(),
                }))
            }
            Rule::And(_) | Rule::Or(_) | Rule::Not(_) => None,
        }
    }

    /// The type of what stands at a path of attributes.
    fn attribute(&mut self, path: &Path, place: &str) -> Option<Subject> {
        self.path(path, place)?;
        let name = path.root();
        match self.names.attribute(name) {
            Known::Typed(AttributeType { basic, .. }) => match (basic, path.rest().is_empty()) {
                (basic, true) => Some(Subject::Typed(basic)),
                (Basic::Object, false) => Some(Subject::Any),
                (_, false) => {
                    let message = format!("`{name}` is no object: nothing lies inside");
                    let error = RuleError::new(place, "value_type", message);
                    self.fail(
                        error.hint("if the key holds a dot, write the path as a list: [\"a.b\"]"),
                    )
                }
            },
            Known::Seen => Some(Subject::Any),
            Known::Unknown => {
                let error = RuleError::new(place, "unknown_attribute", unknown("attribute", name));
                let error = error.nearest(name, self.names.attribute_names());
                self.fail(error)
            }
        }
    }

    fn path(&mut self, path: &Path, place: &str) -> Option<()> {
        if path.0.is_empty() || path.0.iter().any(|key| key.is_empty()) {
            return self.fail(RuleError::new(place, "empty_path", "a key without text"));
        }
        if path.0.len() > PATH_KEYS_MAX {
            let message = format!("a path has at most {PATH_KEYS_MAX} keys");
            return self.fail(RuleError::new(place, "too_many", message));
        }
        Some(())
    }

    fn event(&mut self, event: &EventRule, place: &str, depth: usize) -> Option<Behaviour> {
        let at = inside(place, "field");
        let over = match &event.field {
            None if event.agg == Aggregate::Count => Some(Over::Events),
            None => {
                let message = format!("`{}` needs a `field`", event.agg.word());
                self.fail(RuleError::new(place, "missing_key", message))
            }
            Some(field) if field.is(Path::TIME) => Some(Over::Time),
            Some(field) if field.is(Path::DAY) => Some(Over::Day),
            Some(field) => self.path(field, &at).map(|()| Over::Field),
        };
        if matches!(over, Some(Over::Time | Over::Day))
            && matches!(event.agg, Aggregate::Sum | Aggregate::Avg)
        {
            let message = format!("there is no `{}` of instants or days", event.agg.word());
            self.errors
                .push(RuleError::new(at, "operator_type", message));
        }
        let field = match over {
            Some(Over::Field) => event.field.clone(),
            _ => None,
        };
        let measure = self.measure(&event.event, &event.conditions, field, place, depth);
        let subject = match (event.agg, over) {
            (Aggregate::Count | Aggregate::Distinct | Aggregate::Sum | Aggregate::Avg, _) => {
                Subject::Typed(Basic::Number)
            }
            (_, Some(Over::Time)) => Subject::Typed(Basic::Time),
            (_, Some(Over::Day)) => Subject::Typed(Basic::Date),
            _ => Subject::Any,
        };
        let test = self.test(&event.ask, subject, place);
        let window = self.window(&event.window, place);
        Some(Behaviour {
            measure: measure?,
            window: window?,
            aggregate: event.agg,
            over: over?,
            test: test?,
        })
    }

    fn step(&mut self, step: &Step, place: &str, depth: usize) -> Option<Arc<Measure>> {
        self.measure(&step.event, &step.conditions, None, place, depth)
    }

    fn measure(
        &mut self,
        names: &EventNames,
        conditions: &[Rule],
        field: Option<Path>,
        place: &str,
        depth: usize,
    ) -> Option<Arc<Measure>> {
        let names = self.event_names(names, &inside(place, "event"));
        let at = inside(place, "where");
        let here = Inside {
            event: true,
            depth: depth + 1,
        };
        let filters: Vec<Option<Filter>> = (conditions.iter().enumerate())
            .map(|(index, rule)| self.filter(rule, &format!("{at}[{index}]"), here))
            .collect();
        let names = names?;
        let mut filters: Vec<Filter> = filters.into_iter().collect::<Option<_>>()?;
        if names == EventNames::Orders {
            self.of_orders(&filters, field.as_ref(), place)?;
        }
        let key = measure_key(&names, conditions, field.as_ref()).into();
        let filter = match filters.len() {
            0 | 1 => filters.pop(),
            _ => Some(Filter::And(filters)),
        };
        Some(Arc::new(Measure {
            names,
            filter,
            field,
            brands: None,
            key,
        }))
    }

    /// Conditions on orders are about [`ORDER`]: a property of that name would be looked for in vain.
    fn of_orders(&mut self, filters: &[Filter], field: Option<&Path>, place: &str) -> Option<()> {
        let mut roots = BTreeSet::new();
        filters.iter().for_each(|filter| filter.roots(&mut roots));
        roots.extend(field.map(Path::root));
        let strange = roots
            .into_iter()
            .find(|root| ![ORDER, Path::TIME, Path::DAY].contains(root));
        let Some(strange) = strange else {
            return Some(());
        };
        let message = format!("an order has no property `{strange}`");
        let hint = format!("what an order says stands under `{ORDER}`: `{ORDER}.{strange}`");
        self.fail(RuleError::new(place, "not_here", message).hint(hint))
    }

    /// Names after NFKC, sorted, each once.
    fn event_names(&mut self, names: &EventNames, place: &str) -> Option<EventNames> {
        let empty = |name: &str| name.trim().is_empty();
        match names {
            EventNames::Prefix(prefix) => {
                if empty(prefix) {
                    let at = inside(place, "prefix");
                    return self.fail(RuleError::new(at, "empty_name", "an event has a name"));
                }
                Some(EventNames::Prefix(nfkc(prefix).into()))
            }
            EventNames::Orders => Some(EventNames::Orders),
            EventNames::Names(names) => {
                if names.iter().any(|name| **name == *EventNames::ORDERS) {
                    let message = format!("`{}` stands alone", EventNames::ORDERS);
                    let hint = "it means orders as they stand, which are no events";
                    return self.fail(RuleError::new(place, "not_here", message).hint(hint));
                }
                if names.is_empty() || names.iter().any(|name| empty(name)) {
                    return self.fail(RuleError::new(place, "empty_name", "an event has a name"));
                }
                if names.len() > NAMES_MAX {
                    let message = format!("at most {NAMES_MAX} names");
                    return self.fail(RuleError::new(place, "too_many", message));
                }
                if names.iter().any(|name| name.len() > TEXT_BYTES_MAX) {
                    let message = format!("a name has at most {TEXT_BYTES_MAX} bytes");
                    return self.fail(RuleError::new(place, "too_long", message));
                }
                let names: BTreeSet<Box<str>> = names.iter().map(|it| nfkc(it).into()).collect();
                Some(EventNames::Names(names.into_iter().collect()))
            }
        }
    }

    fn filter(&mut self, rule: &Rule, place: &str, here: Inside) -> Option<Filter> {
        if !self.enter(place, here.depth) {
            return None;
        }
        let deeper = Inside {
            depth: here.depth + 1,
            ..here
        };
        match rule {
            Rule::And(nodes) | Rule::Or(nodes) => {
                let is_and = matches!(rule, Rule::And(_));
                let at = inside(place, if is_and { "and" } else { "or" });
                let filters: Vec<Option<Filter>> = (nodes.iter().enumerate())
                    .map(|(index, node)| self.filter(node, &format!("{at}[{index}]"), deeper))
                    .collect();
                let filters = filters.into_iter().collect::<Option<_>>()?;
                Some(if is_and {
                    Filter::And(filters)
                } else {
                    Filter::Or(filters)
                })
            }
            Rule::Not(node) => {
                let filter = self.filter(node, &inside(place, "not"), deeper)?;
                Some(Filter::Not(Box::new(filter)))
            }
            Rule::Attr { path, ask } => {
                let at = inside(place, "attr");
                self.path(path, &at)?;
                let (is_time, is_day) = (path.is(Path::TIME), path.is(Path::DAY));
                if (is_time || is_day) && !here.event {
                    let message = format!("only events have `{}`", path.display());
                    return self.fail(RuleError::new(at, "not_here", message));
                }
                let subject = match (is_time, is_day) {
                    (true, _) => Subject::Typed(Basic::Time),
                    (_, true) => Subject::Typed(Basic::Date),
                    _ => Subject::Any,
                };
                let test = self.test(ask, subject, place)?;
                if here.event && test.motion() != super::Motion::Still {
                    let error = RuleError::new(
                        inside(place, "value"),
                        "not_here",
                        "a condition on a property cannot depend on the present",
                    );
                    return self.fail(error.hint("use the window of the event for its time"));
                }
                Some(Filter::Test(path.clone(), test))
            }
            Rule::Some { path, rule } => {
                let path_ok = self.path(path, &inside(place, "some"));
                let filter = self.filter(rule, &inside(place, "match"), deeper);
                path_ok?;
                Some(Filter::Some(path.clone(), Box::new(filter?)))
            }
            other => {
                let message = format!("`{}` has no meaning inside an object", other.kind());
                let error = RuleError::new(place, "not_here", message);
                self.fail(error.hint("conditions on properties: attr, some, and, or, not"))
            }
        }
    }

    /// Whether a segment exists and does not depend on the one that is being defined.
    fn segment(&mut self, id: &str, place: &str) -> Option<()> {
        let Some(uses) = self.names.segment(id) else {
            if self.this == Some(id) {
                return self.cycle(id, place);
            }
            return self.fail(RuleError::new(
                place,
                "unknown_segment",
                unknown("segment", id),
            ));
        };
        let Some(this) = self.this else {
            return Some(());
        };
        if id == this {
            return self.cycle(id, place);
        }
        let mut seen = BTreeSet::from([Box::<str>::from(id)]);
        let mut open = uses;
        while let Some(next) = open.pop() {
            if *next == *this {
                return self.cycle(id, place);
            }
            if seen.insert(next.clone()) {
                open.extend(self.names.segment(&next).unwrap_or_default());
            }
        }
        Some(())
    }

    fn cycle<T>(&mut self, id: &str, place: &str) -> Option<T> {
        let message = format!("the segment `{id}` would depend on itself");
        self.fail(RuleError::new(place, "segment_cycle", message))
    }

    fn random(&mut self, seed: &str, percent: Number, place: &str) -> Option<Leaf> {
        let percent = percent.decimal() * rust_decimal::Decimal::from(10_000);
        let millionths = Number::new(percent).as_int();
        match millionths.and_then(|it| u32::try_from(it).ok()) {
            Some(millionths) if millionths <= 1_000_000 => {
                Some(Leaf::Random(Share::new(seed, millionths)))
            }
            _ => {
                let at = inside(&inside(place, "random"), "percent");
                let message = "a percentage from 0 to 100 with at most four decimals";
                self.fail(RuleError::new(at, "number_range", message))
            }
        }
    }

    fn degrees(&mut self, number: Number, most: f64, place: &str) -> Option<f64> {
        match double(number) {
            degrees if degrees.abs() <= most => Some(degrees),
            _ => {
                let message = format!("degrees from -{most} to {most}");
                self.fail(RuleError::new(place, "number_range", message))
            }
        }
    }

    fn distance(&mut self, number: Number, place: &str) -> Option<f64> {
        /// Half around the earth: nothing is farther.
        const KM_MAX: f64 = 20_038.0;
        match double(number) {
            km if km > 0.0 && km <= KM_MAX => Some(km),
            _ => {
                let message = format!("more than 0 and at most {KM_MAX} kilometres");
                self.fail(RuleError::new(place, "number_range", message))
            }
        }
    }
}

/// For places on the earth, where a double is exact enough.
fn double(number: Number) -> f64 {
    number.to_string().parse().unwrap_or(f64::INFINITY)
}

fn unknown(what: &str, name: &str) -> String {
    format!("there is no {what} `{name}`")
}

impl Rule {
    /// The key that says what node it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Rule::And(_) => "and",
            Rule::Or(_) => "or",
            Rule::Not(_) => "not",
            Rule::Attr { .. } => "attr",
            Rule::Tag { .. } => "tag",
            Rule::Some { .. } => "some",
            Rule::Event(_) => "event",
            Rule::Sequence { .. } => "sequence",
            Rule::Segment(_) => "segment",
            Rule::List(_) => "list",
            Rule::Random { .. } => "random",
            Rule::Near { .. } => "near",
        }
    }

    /// The segments that it names, each once: what a port answers for [`Names::segment`].
    pub fn segments(&self) -> Vec<Box<str>> {
        let mut found = BTreeSet::new();
        let mut open = vec![self];
        while let Some(rule) = open.pop() {
            match rule {
                Rule::And(nodes) | Rule::Or(nodes) => open.extend(nodes),
                Rule::Not(node) => open.push(node),
                Rule::Segment(id) => drop(found.insert(id.clone())),
                _ => {}
            }
        }
        found.into_iter().collect()
    }
}
