//! The sentences of explanations.

use actors::model::Time;
use jiff::tz::TimeZone;

use super::{Labels, Phrase, Thing, plain};
use crate::profile::Value;
use crate::rule::ast::{Aggregate, EventNames, Op, Path, Rule};
use crate::rule::behaviour::{Behaviour, Over};
use crate::rule::calendar::date_of;
use crate::rule::condition::Test;
use crate::rule::constant::{Constant, Point};
use crate::rule::plan::Leaf;
use crate::rule::sequence::Sequence;
use crate::rule::text::print_conditions;
use crate::rule::window::Window;

/// Speaks of a rule at one instant.
pub(super) struct Speaker<'a> {
    pub labels: &'a dyn Labels,
    pub now: Time,
    pub zone: &'a TimeZone,
}

fn phrase(zh: impl Into<String>, en: impl Into<String>) -> Phrase {
    Phrase {
        zh: zh.into(),
        en: en.into(),
    }
}

pub(super) fn all() -> Phrase {
    phrase("以下条件全部满足", "all of these")
}

pub(super) fn any() -> Phrase {
    phrase("以下条件满足任意一条", "one of these")
}

pub(super) fn not() -> Phrase {
    phrase("以下条件不满足", "not this")
}

pub(super) fn met(met: usize, of: usize) -> Phrase {
    phrase(
        format!("{of} 条中满足 {met} 条"),
        format!("{met} of {of} hold"),
    )
}

pub(super) fn inside(inside: bool) -> Phrase {
    match inside {
        true => phrase("在其中", "is in it"),
        false => phrase("不在其中", "is not in it"),
    }
}

pub(super) fn found(value: Option<&Phrase>) -> Phrase {
    match value {
        Some(value) => phrase(format!("实际：{}", value.zh), format!("found {}", value.en)),
        None => phrase("实际：无值", "found nothing"),
    }
}

pub(super) fn distance(km: Option<f64>) -> Phrase {
    match km {
        Some(km) => phrase(
            format!("实际距离 {km:.2} 公里"),
            format!("is {km:.2} km away"),
        ),
        None => phrase("没有位置", "no such place is known"),
    }
}

impl Speaker<'_> {
    /// What a leaf asks.
    pub fn asked(&self, leaf: &Leaf, rule: &Rule) -> Phrase {
        match leaf {
            Leaf::Attr { path, test } => {
                let name = self.attribute(path);
                self.ask(name, test)
            }
            Leaf::Tag { code, test } => {
                let name = self.title(Thing::Tag(code));
                let name = phrase(format!("标签{}", name.zh), format!("tag {}", name.en));
                self.ask(name, test)
            }
            Leaf::Some { path, .. } => {
                let name = self.attribute(path);
                let inside = match rule {
                    Rule::Some { rule, .. } => rule.to_text(),
                    _ => String::new(),
                };
                phrase(
                    format!("{}中有一项满足 {inside}", name.zh),
                    format!("one of {} with {inside}", name.en),
                )
            }
            Leaf::Behaviour(it) => self.behaviour(it, rule),
            Leaf::Sequence(it) => self.sequence(it, rule),
            Leaf::Segment(id) => {
                let name = self.title(Thing::Segment(id));
                phrase(
                    format!("属于人群{}", name.zh),
                    format!("in segment {}", name.en),
                )
            }
            Leaf::List(id) => {
                let name = self.title(Thing::List(id));
                phrase(
                    format!("在名单{}中", name.zh),
                    format!("in list {}", name.en),
                )
            }
            Leaf::Random(share) => {
                let percent = f64::from(share.millionths) / 10_000.0;
                phrase(
                    format!("属于随机抽取的 {percent}%"),
                    format!("in a random share of {percent}%"),
                )
            }
            Leaf::Near(near) => {
                let name = self.title(Thing::Place(&near.of));
                let (lat, lon, km) = (near.lat, near.lon, near.km);
                phrase(
                    format!("{}距 ({lat}, {lon}) 不超过 {km} 公里", name.zh),
                    format!("{} within {km} km of ({lat}, {lon})", name.en),
                )
            }
        }
    }

    /// A value that was found.
    pub fn value(&self, value: &Value) -> Phrase {
        match value {
            Value::Bool(true) => phrase("是", "yes"),
            Value::Bool(false) => phrase("否", "no"),
            Value::Text(text) => phrase(format!("「{text}」"), format!("{text:?}")),
            Value::Time(at) => {
                let wall = self.wall(*at);
                phrase(wall.clone(), wall)
            }
            other => phrase(plain(other), plain(other)),
        }
    }

    /// How many events, and when.
    pub fn events(&self, count: usize, first: Time, last: Time) -> Phrase {
        let (first, last) = (self.wall(first), self.wall(last));
        phrase(
            format!("（{count} 次，首次 {first}，最近 {last}）"),
            format!(" ({count} events, first {first}, last {last})"),
        )
    }

    /// The events of a sequence, or how many each step had.
    pub fn chain(&self, times: &[Time], counts: &[usize]) -> Phrase {
        if times.is_empty() {
            let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
            return phrase(
                format!("没有符合的先后顺序（各步骤 {} 次）", counts.join("、")),
                format!(
                    "no events in this order (steps happened {} times)",
                    counts.join(", ")
                ),
            );
        }
        let times: Vec<String> = times.iter().map(|at| self.wall(*at)).collect();
        phrase(
            format!("依次发生于 {}", times.join(" → ")),
            format!("happened {}", times.join(" → ")),
        )
    }

    fn title(&self, thing: Thing<'_>) -> Phrase {
        let (Thing::Attribute(name)
        | Thing::Tag(name)
        | Thing::Event(name)
        | Thing::Segment(name)
        | Thing::List(name)
        | Thing::Place(name)) = thing;
        let titles = self.labels.titles(thing).unwrap_or_default();
        let or_name = |title: &str| match title {
            "" => name.to_owned(),
            title => title.to_owned(),
        };
        phrase(
            format!("「{}」", or_name(&titles.zh)),
            format!("\"{}\"", or_name(&titles.en)),
        )
    }

    fn attribute(&self, path: &Path) -> Phrase {
        let mut name = self.title(Thing::Attribute(path.root()));
        if !path.rest().is_empty() {
            let rest = path.rest().join(".");
            name.zh = format!("{}的 {rest}", name.zh);
            name.en = format!("{rest} of {}", name.en);
        }
        name
    }

    fn behaviour(&self, it: &Behaviour, rule: &Rule) -> Phrase {
        let Rule::Event(event) = rule else {
            return Phrase::default();
        };
        let events = self.named(&it.measure.names, &event.conditions);
        let window = self.window(&it.window);
        let field = match (it.over, &event.field) {
            (Over::Time, _) => phrase("时间", "time"),
            (Over::Day, _) => phrase("日期", "day"),
            (_, Some(path)) => phrase(format!("「{}」", path.display()), path.display()),
            _ => phrase("", ""),
        };
        let (zh, en) = match (it.aggregate, it.over) {
            (Aggregate::Count, Over::Field) => ("有该项的次数", "number with a value of"),
            (Aggregate::Count, _) => ("次数", "number"),
            (Aggregate::Sum, _) => ("合计", "sum of"),
            (Aggregate::Avg, _) => ("平均值", "mean of"),
            (Aggregate::Min, _) => ("最小值", "smallest"),
            (Aggregate::Max, _) => ("最大值", "largest"),
            (Aggregate::Distinct, _) => ("不同值个数", "number of different"),
            (Aggregate::First, _) => ("首次的值", "first"),
            (Aggregate::Last, _) => ("最近一次的值", "last"),
            (Aggregate::MostFrequent, _) => ("最常见的值", "most frequent"),
        };
        let subject = phrase(
            format!("{}{}的{}{zh}", window.zh, events.zh, field.zh),
            match field.en.is_empty() {
                true => format!("{en} of {} {}", events.en, window.en),
                false => format!("{en} {} of {} {}", field.en, events.en, window.en),
            },
        );
        self.ask(subject, &it.test)
    }

    fn sequence(&self, it: &Sequence, rule: &Rule) -> Phrase {
        let Rule::Sequence { steps, within, .. } = rule else {
            return Phrase::default();
        };
        let steps: Vec<Phrase> = (it.steps.iter().zip(steps))
            .map(|(measure, step)| self.named(&measure.names, &step.conditions))
            .collect();
        let zh: Vec<&str> = steps.iter().map(|it| &*it.zh).collect();
        let en: Vec<&str> = steps.iter().map(|it| &*it.en).collect();
        let window = self.window(&it.lookback);
        let within = match within {
            Some(within) => {
                let length = format!("{}{}", within.n, within.unit.word());
                phrase(
                    format!("，首尾相隔不超过 {length}"),
                    format!(", first to last within {length}"),
                )
            }
            None => Phrase::default(),
        };
        phrase(
            format!("{}先后发生 {}{}", window.zh, zh.join(" → "), within.zh),
            format!("{} {}{}", en.join(", then "), window.en, within.en),
        )
    }

    fn named(&self, names: &EventNames, conditions: &[Rule]) -> Phrase {
        let mut name = match names {
            EventNames::Prefix(prefix) => phrase(
                format!("以「{prefix}」开头的事件"),
                format!("events beginning with {prefix:?}"),
            ),
            EventNames::Orders => phrase("订单", "orders"),
            EventNames::Names(names) => {
                let titles = names.iter().map(|name| self.title(Thing::Event(name)));
                let (zh, en): (Vec<String>, Vec<String>) = titles.map(|it| (it.zh, it.en)).unzip();
                phrase(zh.join("或"), en.join(" or "))
            }
        };
        if !conditions.is_empty() {
            let inside = print_conditions(conditions);
            name.zh += &format!("（{inside}）");
            name.en += &format!(" where {inside}");
        }
        name
    }

    fn window(&self, window: &Window) -> Phrase {
        match window {
            Window::All => phrase("历史上", "ever"),
            Window::Days(1) => phrase("今天", "today"),
            Window::Days(n) => phrase(format!("最近 {n} 天"), format!("in the last {n} days")),
            Window::Months(1) => phrase("本月", "this month"),
            Window::Months(n) => {
                phrase(format!("最近 {n} 个月"), format!("in the last {n} months"))
            }
            Window::Slide(ms) => {
                let seconds = ms / 1000;
                let (n, zh, en) = match seconds {
                    s if s % 3600 == 0 => (s / 3600, "小时", "hours"),
                    s if s % 60 == 0 => (s / 60, "分钟", "minutes"),
                    s => (s, "秒", "seconds"),
                };
                phrase(format!("过去 {n} {zh}"), format!("in the last {n} {en}"))
            }
            Window::Between(a, b) => {
                let (a, b) = (self.constant(a), self.constant(b));
                phrase(
                    format!("{} 至 {} ", a.zh, b.zh),
                    format!("from {} to {}", a.en, b.en),
                )
            }
            Window::DaysAgo(a, b) => phrase(
                format!("{a} 天前至 {b} 天前"),
                format!("from {a} to {b} days ago"),
            ),
            Window::MonthsAgo(a, b) => phrase(
                format!("{a} 个月前至 {b} 个月前"),
                format!("from {a} to {b} months ago"),
            ),
        }
    }

    fn ask(&self, subject: Phrase, test: &Test) -> Phrase {
        let constants = test.constants.iter().map(|it| self.constant(it));
        let (zh, en): (Vec<String>, Vec<String>) = constants.map(|it| (it.zh, it.en)).unzip();
        let is_date = matches!(
            test.constants.first(),
            Some(Constant::Day(_) | Constant::Instant(_) | Constant::Computed(_))
        );
        let (verb_zh, verb_en) = match (test.op, is_date) {
            (Op::Eq, _) => ("等于", "is"),
            (Op::Ne, _) => ("不等于", "is not"),
            (Op::Gt, true) => ("晚于", "is after"),
            (Op::Gte, true) => ("不早于", "is not before"),
            (Op::Lt, true) => ("早于", "is before"),
            (Op::Lte, true) => ("不晚于", "is not after"),
            (Op::Gt, false) => ("大于", "is more than"),
            (Op::Gte, false) => ("大于等于", "is at least"),
            (Op::Lt, false) => ("小于", "is less than"),
            (Op::Lte, false) => ("小于等于", "is at most"),
            (Op::Between, _) => ("介于", "is between"),
            (Op::In, _) => ("是其中之一：", "is one of"),
            (Op::NotIn, _) => ("不是其中任何一个：", "is none of"),
            (Op::Contains, _) => ("包含", "contains"),
            (Op::StartsWith, _) => ("开头是", "begins with"),
            (Op::EndsWith, _) => ("结尾是", "ends with"),
            (Op::Exists, _) => ("有值", "has a value"),
            (Op::Missing, _) => ("无值", "has no value"),
            (Op::HasAny, _) => ("含有其中任意一个：", "has one of"),
            (Op::HasAll, _) => ("含有全部：", "has all of"),
            (Op::HasNone, _) => ("不含其中任何一个：", "has none of"),
            (Op::IsDay, _) => ("在当天：", "lies on"),
            (Op::Regex, _) => ("完全匹配", "matches"),
        };
        let (zh, en) = match test.op {
            Op::Between => (zh.join(" 与 ") + " 之间", en.join(" and ")),
            _ => (zh.join("、"), en.join(", ")),
        };
        let en = format!("{} {verb_en} {en}", subject.en);
        phrase(
            format!("{}{verb_zh}{}{zh}", subject.zh, gap(&zh)),
            en.trim_end(),
        )
    }

    /// A constant; a computed date as what it is at this instant.
    fn constant(&self, constant: &Constant) -> Phrase {
        match constant.at(self.now, self.zone) {
            Point::Text(text) => phrase(format!("「{text}」"), format!("{text:?}")),
            Point::Number(number) => phrase(number.to_string(), number.to_string()),
            Point::Bool(true) => phrase("是", "yes"),
            Point::Bool(false) => phrase("否", "no"),
            Point::Day { day, .. } => {
                let day = date_of(day).to_string();
                phrase(day.clone(), day)
            }
            Point::Instant { at, .. } => {
                let wall = self.wall(at);
                phrase(wall.clone(), wall)
            }
        }
    }

    /// An instant on the wall clock of the installation.
    fn wall(&self, at: Time) -> String {
        match jiff::Timestamp::from_millisecond(at.0) {
            Ok(stamp) => {
                let wall = stamp.to_zoned(self.zone.clone());
                wall.strftime("%Y-%m-%d %H:%M:%S").to_string()
            }
            Err(_) => at.rfc3339(),
        }
    }
}

/// A space between Chinese and what is written in digits.
fn gap(text: &str) -> &'static str {
    match text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        true => " ",
        false => "",
    }
}
