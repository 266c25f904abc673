//! Random rules and histories: the same seed, the same rule. Values come from few choices, so that they meet.

use actors::history::ORDER;
use actors::model::Time;
use actors::testkit::Random;
use jiff::tz::TimeZone;

use super::{Dictionary, Happened, Person};
use crate::definition::AttributeType;
use crate::profile::Value;
use crate::profile::value::Number;
use crate::rule::ast::{
    Aggregate, Ask, Base, Const, DateExpr, EventNames, EventRule, Length, Op, Operand, Path, Round,
    RoundTo, Rule, Step, Unit, WindowRule,
};

/// Names and types that made rules and people use.
const ATTRIBUTES: [(&str, &str); 10] = [
    ("city", "text"),
    ("age", "int"),
    ("spent", "number"),
    ("vip", "bool"),
    ("birthday", "date"),
    ("joined", "time"),
    ("tastes", "texts"),
    ("visits", "times"),
    ("home", "object"),
    ("cards", "objects"),
];
const TAGS: [(&str, &str); 4] = [
    ("level", "text"),
    ("score", "number"),
    ("since", "date"),
    ("likes", "texts"),
];
const EVENTS: [&str; 3] = ["scan", "order", "Ｏpened"];
const TEXTS: [&str; 8] = [
    "beer",
    "Beer",
    "ＢＥＥＲ",
    "上海",
    "b",
    "milk",
    "2026-03-29",
    "Straße",
];
const NUMBERS: [&str; 8] = [
    "0",
    "1",
    "2",
    "2.5",
    "-3",
    "10",
    "100.01",
    "9007199254740993",
];
const ZONES: [&str; 5] = [
    "Asia/Shanghai",
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "America/Sao_Paulo",
];

/// Instants around which things happen: leap days, changes of clocks, ends of months and years.
const MOMENTS: [&str; 8] = [
    "2026-03-29T00:59:59Z",
    "2026-03-08T07:00:00Z",
    "2024-02-29T23:30:00Z",
    "2026-01-01T00:00:00Z",
    "2018-11-04T03:00:00Z",
    "2026-10-25T00:30:00Z",
    "2026-05-31T15:59:59Z",
    "2026-02-28T16:00:00Z",
];

const HOUR_MS: i64 = 3_600_000;

/// Makes things from a seed.
#[derive(Debug, Clone)]
pub struct Maker(Random);

/// The dictionary that made rules fit.
pub fn dictionary() -> Dictionary {
    let kind = |word: &str| AttributeType::parse(word).expect("the table names known types");
    let mut names = Dictionary::default();
    for (name, word) in ATTRIBUTES {
        names.attributes.insert(name.to_owned(), Some(kind(word)));
    }
    names.attributes.insert("free".to_owned(), None);
    for (code, word) in TAGS {
        names.tags.insert(code.to_owned(), kind(word));
    }
    for id in ["s1", "s2"] {
        names.segments.insert(id.to_owned(), Vec::new());
        names.lists.insert(id.to_owned());
    }
    names
        .places
        .extend(["last_scan".to_owned(), "address".to_owned()]);
    names
}

impl Maker {
    /// The maker of a seed.
    pub fn new(seed: u64) -> Maker {
        Maker(Random::new(seed))
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.0.below(of.len() as u64)).expect("it is below a length")]
    }

    fn times(&mut self, most: u64) -> std::ops::Range<u64> {
        0..self.0.below(most + 1)
    }

    /// One of the zones with an eventful clock.
    pub fn zone(&mut self) -> TimeZone {
        TimeZone::get(self.one(&ZONES)).expect("a zone of the database")
    }

    /// An instant near one where clocks or calendars do something.
    pub fn instant(&mut self) -> Time {
        let moment = Time::from_rfc3339(self.one(&MOMENTS)).expect("an instant");
        let hours = i64::try_from(self.0.below(96 * 60)).expect("it is small") - 48 * 60;
        match self.0.below(4) {
            0 => moment,
            1 => moment.plus_ms(self.one(&[-1, 1, HOUR_MS, -HOUR_MS, 24 * HOUR_MS])),
            2 => moment.plus_ms(hours * 60_000),
            _ => moment.plus_ms(hours * 60_000 * self.one(&[7, 30, 100])),
        }
    }

    /// A person with a history around `now`.
    pub fn person(&mut self, zone: &TimeZone, now: Time) -> Person {
        let mut person = Person {
            member: u32::try_from(self.0.below(1_000)).expect("it is small"),
            zone: Some(zone.clone()),
            ..Person::default()
        };
        for (name, word) in ATTRIBUTES {
            if self.0.chance(70) {
                let value = self.value(word, now);
                person.attributes.insert(name.to_owned(), value);
            }
        }
        if self.0.chance(70) {
            let word = self.one(&["text", "int", "number", "bool", "texts", "object"]);
            let value = self.value(word, now);
            person.attributes.insert("free".to_owned(), value);
        }
        for (code, word) in TAGS {
            if self.0.chance(60) {
                let value = self.value(word, now);
                person.tags.insert(code.to_owned(), value);
            }
        }
        for id in ["s1", "s2"] {
            if self.0.chance(50) {
                person.segments.insert(id.to_owned());
            }
            if self.0.chance(50) {
                person.lists.insert(id.to_owned());
            }
        }
        if self.0.chance(60) {
            person
                .places
                .insert("last_scan".to_owned(), (31.23, 121.47));
        }
        for _ in self.times(12) {
            let kinds = ["scan", "order", "Opened", "other", EventNames::ORDERS];
            let mut event = Happened {
                name: self.one(&kinds).to_owned(),
                time: self.near(now),
                properties: self.properties(),
            };
            if event.name == EventNames::ORDERS {
                event.properties = format!(r#"{{"{ORDER}":{}}}"#, event.properties);
            }
            person.events.push(event);
        }
        person.events.sort_by_key(|event| event.time);
        person
    }

    fn near(&mut self, now: Time) -> Time {
        let whole = self.one(&[0, 1, -1, 24, -24, -48, -7 * 24, 26, -720, -744, -8760]);
        let minutes = i64::try_from(self.0.below(40 * 24 * 60)).expect("it is small");
        match self.0.below(3) {
            0 => now.plus_ms(whole * HOUR_MS),
            1 => now.plus_ms(-minutes * 60_000),
            _ => self.instant(),
        }
    }

    fn value(&mut self, word: &str, now: Time) -> Value {
        match word {
            "int" => Value::Int(self.one(&[0, 1, 2, 10, -3, 9_007_199_254_740_993])),
            "number" => Value::Number(self.number()),
            "bool" => Value::Bool(self.0.chance(50)),
            "date" => {
                let at = self.near(now);
                Value::Date(i32::try_from(at.0.div_euclid(24 * HOUR_MS)).expect("it is near"))
            }
            "time" => Value::Time(self.near(now)),
            "object" => Value::Object(self.object(1).into()),
            "texts" | "times" | "objects" => {
                let single = word.trim_end_matches('s');
                let count = 1 + self.0.below(3);
                Value::List((0..count).map(|_| self.value(single, now)).collect())
            }
            _ => Value::Text(self.one(&TEXTS).into()),
        }
    }

    fn number(&mut self) -> Number {
        Number::parse(self.one(&NUMBERS)).expect("a number")
    }

    /// JSON text of an event's properties.
    pub fn properties(&mut self) -> String {
        self.object(2)
    }

    fn object(&mut self, levels: u32) -> String {
        let mut pairs = Vec::new();
        for key in ["brand", "total", "ok", "at", "lines", "tags", "deep"] {
            if !self.0.chance(60) {
                continue;
            }
            let value = match key {
                "total" => self.one(&NUMBERS).to_owned(),
                "ok" => self.one(&["true", "false", "null"]).to_owned(),
                "at" => self
                    .one(&[
                        "\"2026-03-29\"",
                        "\"2026-03-29T01:30:00Z\"",
                        "\"2026-03-29 02:30:00\"",
                        "\"soon\"",
                        "20260329",
                    ])
                    .to_owned(),
                "tags" => {
                    let tags: Vec<String> = self.times(3).map(|_| self.text()).collect();
                    format!("[{}]", tags.join(" , "))
                }
                "lines" if levels > 0 => {
                    let count = self.times(2);
                    let lines: Vec<String> = count.map(|_| self.object(levels - 1)).collect();
                    format!("[ {} ]", lines.join(","))
                }
                "deep" if levels > 0 => self.object(levels - 1),
                "lines" | "deep" => "[]".to_owned(),
                _ => match self.0.below(6) {
                    0 => "\"\"".to_owned(),
                    1 => self.one(&NUMBERS).to_owned(),
                    _ => self.text(),
                },
            };
            pairs.push(format!("\"{key}\": {value}"));
        }
        format!("{{{}}}", pairs.join(", "))
    }

    fn text(&mut self) -> String {
        let text = self.one(&TEXTS);
        match self.0.below(3) {
            // The same text with an escape.
            0 => match text.chars().next() {
                Some(first) if (first as u32) < 0x1_0000 => {
                    let rest = &text[first.len_utf8()..];
                    format!("\"\\u{:04x}{rest}\"", first as u32)
                }
                _ => format!("\"{text}\""),
            },
            _ => format!("\"{text}\""),
        }
    }

    /// A rule that [`dictionary`] accepts.
    pub fn rule(&mut self, depth: u32) -> Rule {
        if depth > 0 && self.0.chance(60) {
            let nodes = |it: &mut Maker| it.times(3).map(|_| it.rule(depth - 1)).collect();
            return match self.0.below(3) {
                0 => Rule::And(nodes(self)),
                1 => Rule::Or(nodes(self)),
                _ => Rule::Not(Box::new(self.rule(depth - 1))),
            };
        }
        match self.0.below(16) {
            0..=3 => {
                let (name, word) = self.one(&ATTRIBUTES);
                if matches!(word, "object" | "objects") && self.0.chance(80) {
                    let key = self.one(&["brand", "total", "ok", "tags", "at"]);
                    let ask = self.ask_any();
                    let path = Path(vec![name.into(), key.into()]);
                    return Rule::Attr { path, ask };
                }
                let ask = self.ask(word);
                let path = Path(vec![name.into()]);
                Rule::Attr { path, ask }
            }
            4 => Rule::Attr {
                path: Path(vec!["free".into()]),
                ask: self.ask_any(),
            },
            5 | 6 => {
                let (code, word) = self.one(&TAGS);
                let ask = self.ask(word);
                let code = code.into();
                Rule::Tag { code, ask }
            }
            7 => Rule::Some {
                path: Path(vec!["cards".into()]),
                rule: Box::new(self.condition(1, false)),
            },
            8 => match self.0.below(4) {
                0 => Rule::Segment(self.one(&["s1", "s2"]).into()),
                1 => Rule::List(self.one(&["s1", "s2"]).into()),
                2 => Rule::Random {
                    seed: self.one(&["a", "b"]).into(),
                    percent: self.one(&[0, 10, 50, 100]).to_string().parse_number(),
                },
                _ => Rule::Near {
                    lat: "31.2".parse_number(),
                    lon: "121.5".parse_number(),
                    km: self.one(&["1", "4.5", "100"]).parse_number(),
                    of: self.one(&["last_scan", "address"]).into(),
                },
            },
            9 | 10 => self.sequence(),
            _ => self.event(),
        }
    }

    fn names(&mut self) -> EventNames {
        match self.0.below(6) {
            5 => EventNames::Orders,
            0 => EventNames::Prefix(self.one(&["o", "sc", "Op"]).into()),
            1 => EventNames::Names(vec!["scan".into(), "order".into()]),
            _ => EventNames::Names(vec![self.one(&EVENTS).into()]),
        }
    }

    /// Conditions on events of these names; what an order says stands under one key.
    fn conditions_of(&mut self, names: &EventNames) -> Vec<Rule> {
        let mut conditions = self.conditions();
        if *names == EventNames::Orders {
            conditions.iter_mut().for_each(under_order);
        }
        conditions
    }

    fn conditions(&mut self) -> Vec<Rule> {
        match self.0.chance(50) {
            true => self.times(2).map(|_| self.condition(2, true)).collect(),
            false => Vec::new(),
        }
    }

    /// A condition on a property, of an event or of an object in a list.
    fn condition(&mut self, depth: u32, event: bool) -> Rule {
        if depth > 0 && self.0.chance(40) {
            let nodes = |it: &mut Maker| {
                it.times(2)
                    .map(|_| it.condition(depth - 1, event))
                    .collect()
            };
            return match self.0.below(4) {
                0 => Rule::And(nodes(self)),
                1 => Rule::Or(nodes(self)),
                2 => Rule::Not(Box::new(self.condition(depth - 1, event))),
                _ => Rule::Some {
                    path: Path::dotted(self.one(&["lines", "deep", "deep.lines"])),
                    rule: Box::new(self.condition(depth - 1, event)),
                },
            };
        }
        if event && self.0.chance(10) {
            let (path, word) = self.one(&[("@time", "time"), ("@day", "date")]);
            let op = self.one(&[Op::Gt, Op::Lte, Op::Eq, Op::IsDay]);
            let value = Operand::One(self.fixed_date(word));
            let path = Path::dotted(path);
            let ask = Ask { op, value };
            return Rule::Attr { path, ask };
        }
        let path = Path::dotted(self.one(&[
            "brand",
            "total",
            "ok",
            "at",
            "tags",
            "lines.brand",
            "lines.total",
            "deep.tags",
            "deep.lines.total",
            "absent",
        ]));
        let ask = match event {
            true => self.ask_any_fixed(),
            false => self.ask_any(),
        };
        Rule::Attr { path, ask }
    }

    fn event(&mut self) -> Rule {
        let agg = self.one(Aggregate::ALL);
        let field = match (agg, self.0.below(4)) {
            (Aggregate::Count, 0..=2) => None,
            (Aggregate::Sum | Aggregate::Avg, _) => {
                Some(self.one(&["total", "lines.total", "brand"]))
            }
            (_, 0) => Some("@time"),
            (_, 1) => Some("@day"),
            _ => Some(self.one(&["brand", "total", "lines.brand", "tags", "ok", "lines"])),
        };
        let ask = match (agg, field) {
            (Aggregate::Count | Aggregate::Sum | Aggregate::Avg | Aggregate::Distinct, _) => {
                self.ask("number")
            }
            (_, Some("@time")) => self.ask("time"),
            (_, Some("@day")) => self.ask("date"),
            _ => self.ask_any(),
        };
        let event = self.names();
        let default = agg == Aggregate::Count && field.is_none() && self.0.chance(50);
        Rule::Event(EventRule {
            conditions: self.conditions_of(&event),
            field: field.map(|field| match event {
                EventNames::Orders if !field.starts_with('@') => Path::dotted(field).under(ORDER),
                _ => Path::dotted(field),
            }),
            event,
            agg,
            ask: if default { Ask::at_least_one() } else { ask },
            window: self.window(),
        })
    }

    fn sequence(&mut self) -> Rule {
        let steps = (0..1 + self.0.below(3))
            .map(|_| {
                let event = self.names();
                Step {
                    conditions: self.conditions_of(&event),
                    event,
                }
            })
            .collect();
        let within = self.0.chance(60).then(|| Length {
            n: self.one(&[1, 2, 24, 48]),
            unit: self.one(&[Unit::Day, Unit::Hour, Unit::Minute]),
        });
        let lookback = match self.window() {
            WindowRule::Within(length) => WindowRule::Within(length),
            WindowRule::Ago(a, b) if a.unit == Unit::Day => WindowRule::Ago(a, b),
            _ => WindowRule::Within(length(30, Unit::Day)),
        };
        Rule::Sequence {
            steps,
            within,
            lookback,
        }
    }

    fn window(&mut self) -> WindowRule {
        let n = self.one(&[1, 2, 7, 13, 30]);
        match self.0.below(8) {
            0 => WindowRule::All,
            1 | 2 => WindowRule::Within(length(n, Unit::Day)),
            3 => WindowRule::Within(length(n.min(13), Unit::Month)),
            4 => WindowRule::Within(length(n * 24, self.one(&[Unit::Hour, Unit::Minute]))),
            5 => {
                let unit = self.one(&[Unit::Day, Unit::Day, Unit::Month]);
                let less = self.one(&[0, 1, n]);
                WindowRule::Ago(length(n, unit), length(less.min(n), unit))
            }
            _ => {
                let a = self.date_constant("time");
                WindowRule::Between(a, self.date_constant("time"))
            }
        }
    }

    /// What goes with a type.
    fn ask(&mut self, word: &str) -> Ask {
        let single = word.strip_suffix('s').unwrap_or(word);
        if single == "object" {
            return bare(self.one(&[Op::Exists, Op::Missing]));
        }
        let mut ops = vec![
            Op::Eq,
            Op::Ne,
            Op::In,
            Op::NotIn,
            Op::HasAny,
            Op::HasAll,
            Op::HasNone,
            Op::Exists,
            Op::Missing,
        ];
        if single != "bool" {
            ops.extend([Op::Gt, Op::Gte, Op::Lt, Op::Lte, Op::Between]);
        }
        match single {
            "text" => ops.extend([Op::Contains, Op::StartsWith, Op::EndsWith, Op::Regex]),
            "date" | "time" => ops.push(Op::IsDay),
            _ => {}
        }
        let op = self.one(&ops);
        self.ask_with(op, &mut |it| it.constant(single))
    }

    /// What may be asked of a value without type.
    fn ask_any(&mut self) -> Ask {
        let word = self.one(&["text", "number", "bool", "time"]);
        self.ask(word)
    }

    /// As [`Maker::ask_any`], independent of the present.
    fn ask_any_fixed(&mut self) -> Ask {
        match self.0.chance(20) {
            true => {
                let op = self.one(&[Op::Eq, Op::Gt, Op::Lte, Op::IsDay, Op::Ne]);
                self.ask_with(op, &mut |it| it.fixed_date("time"))
            }
            false => {
                let word = self.one(&["text", "number", "bool"]);
                self.ask(word)
            }
        }
    }

    fn ask_with(&mut self, op: Op, constant: &mut dyn FnMut(&mut Maker) -> Const) -> Ask {
        let value = match op {
            Op::Exists | Op::Missing => return bare(op),
            Op::Between => Operand::Many(vec![constant(self), constant(self)]),
            Op::Regex => {
                let pattern = self.one(&["b.*", "[a-z]+", "(?i)BEER|x", "be|beer", ""]);
                Operand::One(Const::Text(pattern.into()))
            }
            Op::Contains | Op::StartsWith | Op::EndsWith => {
                let part = self.one(&["", "B", "ＥＲ", "eer", "上", "SS", "straß"]);
                Operand::One(Const::Text(part.into()))
            }
            op if op.takes_several() => {
                Operand::Many(self.times(3).map(|_| constant(self)).collect())
            }
            _ => Operand::One(constant(self)),
        };
        Ask { op, value }
    }

    fn constant(&mut self, word: &str) -> Const {
        match word {
            "int" | "number" => Const::Number(self.number()),
            "bool" => Const::Bool(self.0.chance(50)),
            "date" | "time" => self.date_constant(word),
            _ => Const::Text(self.one(&TEXTS).into()),
        }
    }

    fn date_constant(&mut self, word: &str) -> Const {
        if self.0.chance(50) {
            return self.fixed_date(word);
        }
        let mut date = DateExpr::of(Base::Now);
        self.dress(&mut date);
        Const::Date(date)
    }

    fn fixed_date(&mut self, _word: &str) -> Const {
        let at = self.instant();
        let day = i32::try_from(at.0.div_euclid(24 * HOUR_MS)).expect("it is near");
        let mut date = DateExpr::of(match self.0.chance(50) {
            true => Base::Day(day),
            false => Base::Instant(at),
        });
        match self.0.below(3) {
            0 => Const::Text(at.rfc3339().into()),
            1 => Const::Text(at.rfc3339()[..10].into()),
            _ => {
                self.dress(&mut date);
                Const::Date(date)
            }
        }
    }

    fn dress(&mut self, date: &mut DateExpr) {
        for _ in self.times(2) {
            let n = self.one(&[-1, 1, -7, 13, -30, 0, -2]);
            date.shift.push((n, self.one(Unit::ALL)));
        }
        if self.0.chance(50) {
            let round = self.one(&[Round::Floor, Round::Ceil]);
            date.round = Some((round, self.one(&[RoundTo::Day, RoundTo::Month])));
        }
    }
}

trait ParseNumber {
    fn parse_number(&self) -> Number;
}

impl ParseNumber for str {
    fn parse_number(&self) -> Number {
        Number::parse(self).expect("a number")
    }
}

fn length(n: u32, unit: Unit) -> Length {
    Length { n, unit }
}

fn bare(op: Op) -> Ask {
    let value = Operand::None;
    Ask { op, value }
}

fn under_order(rule: &mut Rule) {
    match rule {
        Rule::And(rules) | Rule::Or(rules) => rules.iter_mut().for_each(under_order),
        Rule::Not(rule) => under_order(rule),
        Rule::Attr { path, .. } if path.is(Path::TIME) || path.is(Path::DAY) => {}
        Rule::Attr { path, .. } | Rule::Some { path, .. } => *path = path.under(ORDER),
        _ => unreachable!("conditions on properties are made of nothing else"),
    }
}

trait Under {
    fn under(&self, key: &str) -> Path;
}

impl Under for Path {
    fn under(&self, key: &str) -> Path {
        let keys = self.0.iter().cloned();
        Path(std::iter::once(key.into()).chain(keys).collect())
    }
}
