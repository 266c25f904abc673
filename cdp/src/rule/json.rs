//! The JSON form of rules: reading with all errors at once, and writing in one canonical way.
//!
//! Numbers keep all their digits: constants are read from the text, never through a double.

mod tree;
mod write;

pub(super) use write::measure_key;

use actors::model::Time;
use tree::Json;

use super::ast::{
    Aggregate, Ask, Base, Const, DateExpr, EventNames, EventRule, Length, Op, Operand, Path, Round,
    RoundTo, Rule, Step, Unit, WindowRule,
};
use super::error::{RuleError, inside};
use super::limits::{RULE_BYTES_MAX, SHIFT_MAX, TEXT_BYTES_MAX};
use super::scalar::When;
use crate::profile::value::Number;

/// Keys that say which node an object is.
const KINDS: [&str; 12] = [
    "and", "or", "not", "attr", "tag", "some", "event", "sequence", "segment", "list", "random",
    "near",
];

impl Rule {
    /// Reads the JSON form. What the names in it mean is for [`super::check`] to say.
    ///
    /// ```
    /// use cdp::rule::Rule;
    /// let rule = Rule::from_json(r#"{"and":[{"tag":"level","op":"eq","value":"gold"}]}"#).unwrap();
    /// assert_eq!(rule.to_json(), r#"{"and":[{"tag":"level","op":"eq","value":"gold"}]}"#);
    /// let errors = Rule::from_json(r#"{"and":[{"tag":"level","op":"equals"},{"atr":"city"}]}"#).unwrap_err();
    /// let places: Vec<_> = errors.iter().map(|it| (&*it.place, it.code)).collect();
    /// assert_eq!(places, [("and[0].op", "unknown_operator"), ("and[1]", "unknown_node")]);
    /// ```
    pub fn from_json(text: &str) -> Result<Rule, Vec<RuleError>> {
        if text.len() > RULE_BYTES_MAX {
            let message = format!("a rule has at most {RULE_BYTES_MAX} bytes");
            return Err(vec![RuleError::new("", "too_long", message)]);
        }
        let json = Json::parse(text).map_err(|error| vec![error])?;
        let mut reader = Reader { errors: Vec::new() };
        let rule = reader.node(&json, "");
        match rule {
            Some(rule) if reader.errors.is_empty() => Ok(rule),
            _ => Err(reader.errors),
        }
    }
}

/// Keeps all errors; what could not be read is `None`.
struct Reader {
    errors: Vec<RuleError>,
}

impl Reader {
    fn fail<T>(&mut self, error: RuleError) -> Option<T> {
        self.errors.push(error);
        None
    }

    fn form<T>(&mut self, place: &str, expected: &str, found: &Json) -> Option<T> {
        let message = format!("expected {expected}, found {}", found.what());
        self.fail(RuleError::new(place, "rule_form", message))
    }

    /// The pairs of an object that has no other keys than these.
    fn object<'j, 'a>(
        &mut self,
        json: &'j Json<'a>,
        place: &str,
        expected: &str,
        known: &[&str],
    ) -> Option<Fields<'j, 'a>> {
        let Json::Object(pairs) = json else {
            return self.form(place, expected, json);
        };
        for (index, (key, _)) in pairs.iter().enumerate() {
            let at = inside(place, key);
            if !known.contains(&&**key) {
                let message = format!("`{key}` has no meaning here");
                let error = RuleError::new(at, "unknown_key", message);
                let near = error.nearest(key, known.iter().copied());
                self.errors.push(match near.hint {
                    Some(_) => near,
                    None => near.hint(format!("known here: {}", known.join(", "))),
                });
            } else if pairs[..index].iter().any(|(other, _)| other == key) {
                let message = format!("`{key}` stands twice");
                self.errors
                    .push(RuleError::new(at, "duplicate_key", message));
            }
        }
        Some(Fields(pairs))
    }

    fn required<'j, 'a>(
        &mut self,
        fields: &Fields<'j, 'a>,
        key: &str,
        place: &str,
    ) -> Option<&'j Json<'a>> {
        fields.get(key).or_else(|| {
            let message = format!("`{key}` is missing");
            self.fail(RuleError::new(place, "missing_key", message))
        })
    }

    fn list<'j, 'a>(&mut self, json: &'j Json<'a>, place: &str) -> Option<&'j [Json<'a>]> {
        match json {
            Json::List(items) => Some(items),
            other => self.form(place, "a list", other),
        }
    }

    fn nodes(&mut self, json: &Json, place: &str) -> Option<Vec<Rule>> {
        let items = self.list(json, place)?;
        let nodes: Vec<Option<Rule>> = (items.iter().enumerate())
            .map(|(index, item)| self.node(item, &format!("{place}[{index}]")))
            .collect();
        nodes.into_iter().collect()
    }

    fn node(&mut self, json: &Json, place: &str) -> Option<Rule> {
        let Json::Object(pairs) = json else {
            return self.form(place, "a rule: an object", json);
        };
        // `prop` is another word for `attr`, for conditions on properties of events.
        let is_kind = |key: &str| KINDS.contains(&key) || key == "prop";
        let mut kinds = pairs.iter().map(|(key, _)| &**key).filter(|it| is_kind(it));
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            let both: Vec<&str> = (pairs.iter().map(|(key, _)| &**key))
                .filter(|it| is_kind(it))
                .collect();
            let error = if both.is_empty() {
                let error = RuleError::new(place, "unknown_node", "this is none of the nodes");
                let near = pairs
                    .iter()
                    .find_map(|(key, _)| super::error::nearest(key, KINDS));
                error.hint(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("one of these says what it is: {}", KINDS.join(", ")),
                })
            } else {
                let message = format!("one node cannot be several: {}", both.join(", "));
                RuleError::new(place, "unknown_node", message)
                    .hint("put them into a list under `and` or `or`")
            };
            return self.fail(error);
        };
        let at = inside(place, kind);
        let what = "a rule: an object";
        match kind {
            "and" | "or" => {
                let fields = self.object(json, place, what, &[kind])?;
                let nodes = self.nodes(fields.get(kind)?, &at)?;
                Some(if kind == "and" {
                    Rule::And(nodes)
                } else {
                    Rule::Or(nodes)
                })
            }
            "not" => {
                let fields = self.object(json, place, what, &["not"])?;
                let node = self.node(fields.get("not")?, &at)?;
                Some(Rule::Not(Box::new(node)))
            }
            "attr" | "prop" => {
                let fields = self.object(json, place, what, &[kind, "op", "value"])?;
                let path = self.path(fields.get(kind)?, &at);
                let ask = self.ask(&fields, place);
                Some(Rule::Attr {
                    path: path?,
                    ask: ask?,
                })
            }
            "tag" => {
                let fields = self.object(json, place, what, &["tag", "op", "value"])?;
                let code = self.name(fields.get("tag")?, &at);
                let ask = self.ask(&fields, place);
                Some(Rule::Tag {
                    code: code?,
                    ask: ask?,
                })
            }
            "some" => {
                let fields = self.object(json, place, what, &["some", "match"])?;
                let path = self.path(fields.get("some")?, &at);
                let rule = self
                    .required(&fields, "match", place)
                    .and_then(|it| self.node(it, &inside(place, "match")));
                Some(Rule::Some {
                    path: path?,
                    rule: Box::new(rule?),
                })
            }
            "event" => self.event(json, place),
            "sequence" => self.sequence(json, place),
            "segment" | "list" => {
                let fields = self.object(json, place, what, &[kind])?;
                let id = self.id(fields.get(kind)?, &at)?;
                Some(if kind == "segment" {
                    Rule::Segment(id)
                } else {
                    Rule::List(id)
                })
            }
            "random" => {
                let fields = self.object(json, place, what, &["random"])?;
                let keys = ["seed", "percent"];
                let inner = self.object(fields.get("random")?, &at, "an object", &keys)?;
                let seed = self
                    .required(&inner, "seed", &at)
                    .and_then(|it| self.id(it, &inside(&at, "seed")));
                let percent = self.number_of(&inner, "percent", &at);
                Some(Rule::Random {
                    seed: seed?,
                    percent: percent?,
                })
            }
            _ => {
                let fields = self.object(json, place, what, &["near"])?;
                let keys = ["lat", "lon", "km", "of"];
                let inner = self.object(fields.get("near")?, &at, "an object", &keys)?;
                let [lat, lon, km] =
                    ["lat", "lon", "km"].map(|key| self.number_of(&inner, key, &at));
                let of = self
                    .required(&inner, "of", &at)
                    .and_then(|it| self.name(it, &inside(&at, "of")));
                Some(Rule::Near {
                    lat: lat?,
                    lon: lon?,
                    km: km?,
                    of: of?,
                })
            }
        }
    }

    fn event(&mut self, json: &Json, place: &str) -> Option<Rule> {
        const KEYS: [&str; 9] = [
            "event", "where", "agg", "field", "op", "value", "within", "between", "ago",
        ];
        let fields = self.object(json, place, "an event", &KEYS)?;
        let event = self.names(fields.get("event")?, &inside(place, "event"));
        let conditions = self.conditions(&fields, place);
        let agg = match fields.get("agg") {
            Some(json) => self.word(json, &inside(place, "agg"), Aggregate::parse, || {
                ("unknown_aggregate", words(Aggregate::ALL, Aggregate::word))
            }),
            None => Some(Aggregate::Count),
        };
        let field = match fields.get("field") {
            Some(json) => self.path(json, &inside(place, "field")).map(Some),
            None => Some(None),
        };
        let asks = ["op", "value", "agg"]
            .iter()
            .any(|it| fields.get(it).is_some());
        let ask = match asks {
            true => self.ask(&fields, place),
            false => Some(Ask::at_least_one()),
        };
        let window = self.window(&fields, place);
        Some(Rule::Event(EventRule {
            event: event?,
            conditions: conditions?,
            agg: agg?,
            field: field?,
            ask: ask?,
            window: window?,
        }))
    }

    fn sequence(&mut self, json: &Json, place: &str) -> Option<Rule> {
        let keys = ["sequence", "within", "lookback"];
        let fields = self.object(json, place, "a sequence", &keys)?;
        let at = inside(place, "sequence");
        let items = self.list(fields.get("sequence")?, &at)?;
        let steps: Vec<Option<Step>> = (items.iter().enumerate())
            .map(|(index, item)| {
                let at = format!("{at}[{index}]");
                let fields = self.object(item, &at, "an event", &["event", "where"])?;
                let event = self
                    .required(&fields, "event", &at)
                    .and_then(|it| self.names(it, &inside(&at, "event")));
                let conditions = self.conditions(&fields, &at);
                Some(Step {
                    event: event?,
                    conditions: conditions?,
                })
            })
            .collect();
        let within = match fields.get("within") {
            Some(json) => self.length(json, &inside(place, "within")).map(Some),
            None => Some(None),
        };
        let at = inside(place, "lookback");
        let lookback = match self.required(&fields, "lookback", place) {
            Some(text @ Json::Text(_)) => self.length(text, &at).map(WindowRule::Within),
            Some(json) => self
                .object(
                    json,
                    &at,
                    "a length such as \"90d\"",
                    &["within", "between", "ago"],
                )
                .and_then(|fields| self.window(&fields, &at)),
            None => None,
        };
        Some(Rule::Sequence {
            steps: steps.into_iter().collect::<Option<_>>()?,
            within: within?,
            lookback: lookback?,
        })
    }

    fn conditions(&mut self, fields: &Fields, place: &str) -> Option<Vec<Rule>> {
        match fields.get("where") {
            Some(json) => self.nodes(json, &inside(place, "where")),
            None => Some(Vec::new()),
        }
    }

    fn names(&mut self, json: &Json, place: &str) -> Option<EventNames> {
        match json {
            Json::Object(_) => {
                let fields = self.object(json, place, "a name", &["prefix"])?;
                let prefix = self.required(&fields, "prefix", place)?;
                let prefix = self.name(prefix, &inside(place, "prefix"))?;
                Some(EventNames::Prefix(prefix))
            }
            Json::List(items) => {
                let names: Vec<Option<Box<str>>> = (items.iter().enumerate())
                    .map(|(index, item)| self.name(item, &format!("{place}[{index}]")))
                    .collect();
                let names: Vec<Box<str>> = names.into_iter().collect::<Option<_>>()?;
                Some(EventNames::written(names))
            }
            one => Some(EventNames::written(vec![self.name(one, place)?])),
        }
    }

    fn window(&mut self, fields: &Fields, place: &str) -> Option<WindowRule> {
        let keys = ["within", "between", "ago"];
        let mut given = keys.iter().filter_map(|key| Some((*key, fields.get(key)?)));
        let (first, second) = (given.next(), given.next());
        if let Some((key, _)) = second {
            let message = "at most one of within, between, ago";
            return self.fail(RuleError::new(inside(place, key), "two_windows", message));
        }
        let Some((key, json)) = first else {
            return Some(WindowRule::All);
        };
        let at = inside(place, key);
        if key == "within" {
            return self.length(json, &at).map(WindowRule::Within);
        }
        let items = self.list(json, &at)?;
        let [a, b] = items else {
            let message = format!("`{key}` has two bounds, found {}", items.len());
            return self.fail(RuleError::new(at, "rule_form", message));
        };
        let (first, second) = (format!("{at}[0]"), format!("{at}[1]"));
        if key == "between" {
            let (a, b) = (self.constant(a, &first), self.constant(b, &second));
            return Some(WindowRule::Between(a?, b?));
        }
        let (a, b) = (self.length(a, &first), self.length(b, &second));
        Some(WindowRule::Ago(a?, b?))
    }

    fn ask(&mut self, fields: &Fields, place: &str) -> Option<Ask> {
        let op = self.required(fields, "op", place)?;
        let op = self.word(op, &inside(place, "op"), Op::parse, || {
            ("unknown_operator", words(Op::ALL, Op::word))
        })?;
        let at = inside(place, "value");
        let value = match (op, fields.get("value")) {
            (Op::Exists | Op::Missing, None) => Operand::None,
            (Op::Exists | Op::Missing, Some(_)) => {
                let message = format!("`{}` has no value", op.word());
                return self.fail(RuleError::new(at, "value_unused", message));
            }
            (_, None) => {
                let message = format!("`{}` needs a value", op.word());
                return self.fail(RuleError::new(at, "value_missing", message));
            }
            (op, Some(Json::List(items))) if op.takes_several() => {
                let constants: Vec<Option<Const>> = (items.iter().enumerate())
                    .map(|(index, item)| self.constant(item, &format!("{at}[{index}]")))
                    .collect();
                Operand::Many(constants.into_iter().collect::<Option<_>>()?)
            }
            (Op::Between, Some(other)) => {
                return self.form(&at, "a list of two bounds", other);
            }
            (op, Some(one)) => {
                let constant = self.constant(one, &at)?;
                match op.takes_several() {
                    true => Operand::Many(vec![constant]),
                    false => Operand::One(constant),
                }
            }
        };
        Some(Ask { op, value })
    }

    fn constant(&mut self, json: &Json, place: &str) -> Option<Const> {
        match json {
            Json::Text(text) if text.len() > TEXT_BYTES_MAX => {
                let message = format!("a text has at most {TEXT_BYTES_MAX} bytes");
                self.fail(RuleError::new(place, "too_long", message))
            }
            Json::Text(text) => Some(Const::Text(text.as_ref().into())),
            Json::Bool(yes) => Some(Const::Bool(*yes)),
            Json::Number(_) => self.number(json, place).map(Const::Number),
            Json::Object(_) => self.date(json, place).map(Const::Date),
            Json::Null => self.fail(
                RuleError::new(place, "value_type", "nothing equals null: null is absent")
                    .hint("use `missing` or `exists`"),
            ),
            Json::List(_) => self.form(place, "one value", json),
        }
    }

    fn date(&mut self, json: &Json, place: &str) -> Option<DateExpr> {
        let keys = ["base", "shift", "floor", "ceil"];
        let fields = self.object(json, place, "a date", &keys)?;
        let at = inside(place, "base");
        let base = match self.required(&fields, "base", place) {
            Some(Json::Text(text)) => match &**text {
                "now" => Some(Base::Now),
                text => match When::parse(text) {
                    Some(When::Day(day)) => Some(Base::Day(day)),
                    Some(When::Instant(at)) => Some(Base::Instant(at)),
                    None => self.fail(
                        RuleError::new(at, "date_form", format!("`{text}` is no date"))
                            .hint("use \"now\", \"2026-01-31\" or \"2026-01-31T10:00:00+08:00\""),
                    ),
                },
            },
            Some(other) => self.form(&at, "\"now\", an instant or a day", other),
            None => None,
        };
        let shift = match fields.get("shift") {
            Some(json) => self.shifts(json, &inside(place, "shift")),
            None => Some(Vec::new()),
        };
        let mut round = None;
        let mut failed = false;
        for (key, direction) in [("floor", Round::Floor), ("ceil", Round::Ceil)] {
            let Some(json) = fields.get(key) else {
                continue;
            };
            let at = inside(place, key);
            let to = match json {
                Json::Text(text) if text == "day" => Some(RoundTo::Day),
                Json::Text(text) if text == "month" => Some(RoundTo::Month),
                other => self.form(&at, "\"day\" or \"month\"", other),
            };
            if round.is_some() {
                let message = "`floor` and `ceil` exclude each other";
                self.errors.push(RuleError::new(at, "not_here", message));
            }
            failed |= to.is_none();
            round = to.map(|to| (direction, to));
        }
        Some(DateExpr {
            base: base?,
            shift: shift?,
            round: (!failed).then_some(round)?,
        })
    }

    fn shifts(&mut self, json: &Json, place: &str) -> Option<Vec<(i32, Unit)>> {
        let items = self.list(json, place)?;
        let shifts: Vec<Option<(i32, Unit)>> = (items.iter().enumerate())
            .map(|(index, item)| {
                let at = format!("{place}[{index}]");
                let Json::List(pair) = item else {
                    return self.form(&at, "a shift such as [-7, \"d\"]", item);
                };
                let [n, unit] = &**pair else {
                    return self.form(&at, "a shift such as [-7, \"d\"]", item);
                };
                let n = self
                    .number(n, &format!("{at}[0]"))
                    .and_then(|number| self.shift_of(number, &format!("{at}[0]")));
                let unit = self.word(unit, &format!("{at}[1]"), Unit::parse, || {
                    ("unknown_unit", words(Unit::ALL, Unit::word))
                });
                Some((n?, unit?))
            })
            .collect();
        shifts.into_iter().collect()
    }

    fn shift_of(&mut self, number: Number, place: &str) -> Option<i32> {
        match number.as_int() {
            Some(n) if n.abs() <= SHIFT_MAX => i32::try_from(n).ok(),
            _ => {
                let message = format!("a shift is a whole number from -{SHIFT_MAX} to {SHIFT_MAX}");
                self.fail(RuleError::new(place, "number_range", message))
            }
        }
    }

    fn length(&mut self, json: &Json, place: &str) -> Option<Length> {
        let Json::Text(text) = json else {
            return self.form(place, "a length such as \"7d\"", json);
        };
        Length::parse(text).map_or_else(
            |code| {
                let message = format!("`{text}` is no length of time");
                let units = "a number and d (days), mo (months), h, m or s";
                self.fail(RuleError::new(place, code, message).hint(units))
            },
            Some,
        )
    }

    fn number_of(&mut self, fields: &Fields, key: &str, place: &str) -> Option<Number> {
        let json = self.required(fields, key, place)?;
        self.number(json, &inside(place, key))
    }

    fn number(&mut self, json: &Json, place: &str) -> Option<Number> {
        let Json::Number(raw) = json else {
            return self.form(place, "a number", json);
        };
        match Number::parse(raw) {
            Some(number) => Some(number),
            None => {
                let message = "a number has at most 28 digits";
                self.fail(RuleError::new(place, "number_range", message))
            }
        }
    }

    fn name(&mut self, json: &Json, place: &str) -> Option<Box<str>> {
        match json {
            Json::Text(text) => Some(text.as_ref().into()),
            other => self.form(place, "a text", other),
        }
    }

    /// A text, or a whole number that stands for it.
    fn id(&mut self, json: &Json, place: &str) -> Option<Box<str>> {
        match json {
            Json::Text(text) => Some(text.as_ref().into()),
            Json::Number(raw) if raw.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some((*raw).into())
            }
            other => self.form(place, "a text", other),
        }
    }

    fn path(&mut self, json: &Json, place: &str) -> Option<Path> {
        match json {
            Json::Text(text) => Some(Path::dotted(text)),
            Json::List(items) => {
                let keys: Vec<Option<Box<str>>> = (items.iter().enumerate())
                    .map(|(index, item)| self.name(item, &format!("{place}[{index}]")))
                    .collect();
                Some(Path(keys.into_iter().collect::<Option<_>>()?))
            }
            other => self.form(place, "a path: dotted text or a list of keys", other),
        }
    }

    fn word<T>(
        &mut self,
        json: &Json,
        place: &str,
        parse: impl Fn(&str) -> Option<T>,
        known: impl Fn() -> (&'static str, Vec<&'static str>),
    ) -> Option<T> {
        let Json::Text(text) = json else {
            return self.form(place, "a word", json);
        };
        if let Some(found) = parse(text) {
            return Some(found);
        }
        let (code, known) = known();
        let error = RuleError::new(place, code, format!("`{text}` is not known"));
        let alias = ALIASES
            .iter()
            .find(|(alias, _)| alias.eq_ignore_ascii_case(text));
        self.fail(match alias {
            Some((_, word)) if known.contains(word) => {
                error.hint(format!("did you mean `{word}`?"))
            }
            _ => match error.nearest(text, known.iter().copied()) {
                error if error.hint.is_some() => error,
                error => error.hint(format!("known: {}", known.join(", "))),
            },
        })
    }
}

/// What people write who know another language.
const ALIASES: [(&str, &str); 26] = [
    ("=", "eq"),
    ("==", "eq"),
    ("is", "eq"),
    ("equals", "eq"),
    ("!=", "ne"),
    ("<>", "ne"),
    ("neq", "ne"),
    (">", "gt"),
    (">=", "gte"),
    ("ge", "gte"),
    ("<", "lt"),
    ("<=", "lte"),
    ("le", "lte"),
    ("like", "contains"),
    ("nin", "not_in"),
    ("is_set", "exists"),
    ("is_null", "missing"),
    ("matches", "regex"),
    ("day", "d"),
    ("days", "d"),
    ("week", "w"),
    ("month", "mo"),
    ("months", "mo"),
    ("hour", "h"),
    ("hours", "h"),
    ("average", "avg"),
];

fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|it| word(*it)).collect()
}

/// The pairs of an object.
struct Fields<'j, 'a>(&'j [(std::borrow::Cow<'a, str>, Json<'a>)]);

impl<'j, 'a> Fields<'j, 'a> {
    fn get(&self, key: &str) -> Option<&'j Json<'a>> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, it)| it)
    }
}

impl Op {
    /// Whether it takes a list of constants.
    pub fn takes_several(self) -> bool {
        matches!(
            self,
            Op::Between | Op::In | Op::NotIn | Op::HasAny | Op::HasAll | Op::HasNone
        )
    }
}

impl Length {
    /// Reads `7d`, `12mo`, `24h`. The error is its code.
    pub fn parse(text: &str) -> Result<Length, &'static str> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (n, unit) = text.split_at(digits);
        if n.is_empty() {
            return Err("rule_form");
        }
        let n = n.parse().map_err(|_| "number_range")?;
        let unit = Unit::parse(unit).ok_or("unknown_unit")?;
        Ok(Length { n, unit })
    }
}

/// A day as text.
pub(super) fn day_text(day: i32) -> String {
    super::calendar::date_of(day).to_string()
}

/// An instant as text.
pub(super) fn instant_text(at: Time) -> String {
    at.rfc3339()
}
