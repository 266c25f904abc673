//! Made-up members for measuring: the same person for a number every time, so that a peer can be given the same columns.

use std::sync::Arc;

use actors::model::{IdentNo, MemberNo, Offset, PartitionId, Position, Time};
use jiff::tz::TimeZone;

use super::{Change, Engine};
use crate::identity::row::MemberState;
use crate::profile::Value;
use crate::rule::{Known, Names, Plan, Rule, check};

/// The present of the made-up members: 2026-03-01T12:00:00Z, in UTC so that peers need no calendar.
pub const NOW: Time = Time(1_772_366_400_000);

/// One day in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// Flags that every member may have, beside the attributes.
pub const FLAGS: usize = 20;

/// Interests to choose from.
pub const INTERESTS: u64 = 40;

/// Levels, most frequent first.
pub const LEVELS: [&str; 5] = ["basic", "silver", "gold", "platinum", "diamond"];

/// Channels.
pub const CHANNELS: [&str; 8] = [
    "app", "mini", "store", "tmall", "jd", "douyin", "web", "other",
];

/// Letters that nicknames are made of.
const LETTERS: [&str; 24] = [
    "小", "大", "王", "李", "张", "美", "丽", "阳", "光", "海", "云", "山", "Li", "Mo", "xin",
    "Tao", "a", "K", "9", "7", "月", "星", "雨", "风",
];

/// A made-up member.
#[derive(Debug, Clone)]
pub struct Person {
    /// Of [`LEVELS`].
    pub level: usize,
    /// City, of three hundred.
    pub city: u32,
    /// Of [`CHANNELS`].
    pub channel: usize,
    /// Three of five members are known to be one or the other.
    pub gender: Option<bool>,
    /// Whether a very important one.
    pub vip: bool,
    /// Years.
    pub age: i64,
    /// Points.
    pub points: i64,
    /// Spent in all, in cents.
    pub spent: i64,
    /// Days since 1970-01-01.
    pub birthday: i32,
    /// When the member registered.
    pub registered: Time,
    /// Millions of different ones.
    pub nickname: String,
    /// Up to four of [`INTERESTS`].
    pub interests: Vec<u64>,
    /// Bits, one per flag.
    pub flags: u32,
    /// Events, in order.
    pub events: Vec<Happened>,
}

/// Something a made-up member did.
#[derive(Debug, Clone, Copy)]
pub struct Happened {
    /// Bought, or scanned.
    pub buy: bool,
    /// When.
    pub time: Time,
    /// Cents, of what was bought.
    pub amount: i64,
}

/// The member of a number.
pub fn person(number: u32) -> Person {
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed;
    let mut roll = |below: u64| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    };
    let skewed = |roll: &mut dyn FnMut(u64) -> u64, below: u64| {
        roll(below).min(roll(below)).min(roll(below))
    };
    let level = skewed(&mut roll, 5) as usize;
    let city = skewed(&mut roll, 300) as u32;
    let channel = roll(8) as usize;
    let gender = match roll(5) {
        0 | 1 => Some(true),
        2 => Some(false),
        _ => None,
    };
    let letters = 2 + roll(3);
    let mut nickname: String = (0..letters).map(|_| LETTERS[roll(24) as usize]).collect();
    if roll(2) == 0 {
        nickname.push_str(&roll(1000).to_string());
    }
    let mut interests: Vec<u64> = (0..roll(5)).map(|_| roll(INTERESTS)).collect();
    interests.sort_unstable();
    interests.dedup();
    let flags =
        (0..FLAGS as u64).fold(0, |flags, bit| flags | u32::from(roll(3 + bit) == 0) << bit);
    let vip = roll(10) == 0;
    let age = 14 + (roll(40) + roll(40)) as i64;
    let points = skewed(&mut roll, 200_000) as i64;
    let spent = skewed(&mut roll, 5_000_000) as i64;
    let birthday = (20_513 - age * 365 - roll(365) as i64) as i32;
    let registered = NOW.plus_ms(-(roll(2000 * DAY_MS as u64) as i64));
    let events = match roll(5) {
        0 | 1 => 0,
        _ => 1 + skewed(&mut roll, 10),
    };
    let mut events: Vec<Happened> = (0..events)
        .map(|_| Happened {
            buy: roll(3) == 0,
            time: NOW.plus_ms(-(roll(400 * DAY_MS as u64) as i64)),
            amount: 100 + roll(100_000) as i64,
        })
        .collect();
    events.sort_by_key(|event| event.time);
    Person {
        level,
        city,
        channel,
        gender,
        vip,
        age,
        points,
        spent,
        birthday,
        registered,
        nickname,
        interests,
        flags,
        events,
    }
}

/// An engine with the first so many members, their measures installed.
pub fn fill(members: u32, threads: usize) -> Engine {
    let mut engine = Engine::new(TimeZone::UTC, NOW, threads);
    let mut series: Vec<_> = queries()
        .iter()
        .flat_map(|(_, _, plans)| plans)
        .flat_map(|plan| engine.measure_wanted(plan))
        .map(|measure| (measure.key().to_owned(), measure))
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_values()
        .map(|measure| engine.measure_builder(measure))
        .collect();
    let flags: Vec<String> = (0..FLAGS).map(|flag| format!("flag{flag}")).collect();
    let cities: Vec<Value> = (0..300).map(|city| text(&format!("city{city}"))).collect();
    let mut offset = 0;
    for number in 0..members {
        let (it, member) = (person(number), MemberNo(number));
        engine.apply(Change::Member {
            member,
            state: MemberState::Member,
            test: false,
            fragments: &[IdentNo(number)],
        });
        let mut values = vec![
            ("level", text(LEVELS[it.level])),
            ("city", cities[it.city as usize].clone()),
            ("channel", text(CHANNELS[it.channel])),
            ("vip", Value::Bool(it.vip)),
            ("age", Value::Int(it.age)),
            ("points", Value::Int(it.points)),
            ("spent", Value::Int(it.spent)),
            ("birthday", Value::Date(it.birthday)),
            ("registered", Value::Time(it.registered)),
            ("nickname", text(&it.nickname)),
        ];
        if let Some(gender) = it.gender {
            values.push(("gender", text(if gender { "f" } else { "m" })));
        }
        if !it.interests.is_empty() {
            let list = it.interests.iter().map(|n| text(&format!("i{n}")));
            values.push(("interests", Value::List(list.collect())));
        }
        values.sort_unstable_by_key(|(name, _)| *name);
        engine.apply(Change::Attributes {
            member,
            values: &values,
        });
        for (bit, code) in flags.iter().enumerate() {
            if it.flags >> bit & 1 != 0 {
                engine.apply(Change::Tag {
                    member,
                    code,
                    value: Some(Value::Bool(true)),
                });
            }
        }
        for event in &it.events {
            offset += 1;
            let position = Position {
                partition: PartitionId(1),
                offset: Offset(offset),
            };
            let properties = format!(r#"{{"amount":{}}}"#, event.amount);
            let name = if event.buy { "buy" } else { "scan" };
            for series in &mut series {
                series.offer(
                    IdentNo(number),
                    position,
                    name,
                    event.time,
                    Some(&properties),
                );
            }
        }
    }
    for series in series {
        engine.measure_install(series);
    }
    engine
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Questions that a marketer asks: a key that peers know it by, what it is, and its plans (several: their overlap).
pub fn queries() -> Vec<(&'static str, &'static str, Vec<Arc<Plan>>)> {
    let plans = |rules: Vec<String>| rules.iter().map(|json| plan(json)).collect();
    rules()
        .into_iter()
        .map(|(key, what, rules)| (key, what, plans(rules)))
        .collect()
}

/// The rules of [`queries`], JSON. Flags are tags.
pub fn rules() -> Vec<(&'static str, &'static str, Vec<String>)> {
    const LEVEL: &str = r#"{"attr":"level","op":"eq","value":"gold"}"#;
    const APP: &str = r#"{"attr":"channel","op":"eq","value":"app"}"#;
    const AGE: &str = r#"{"attr":"age","op":"between","value":[25,40]}"#;
    const VIP: &str = r#"{"attr":"vip","op":"eq","value":true}"#;
    let and = |parts: &[&str]| format!(r#"{{"and":[{}]}}"#, parts.join(","));
    let or = |parts: &[&str]| format!(r#"{{"or":[{}]}}"#, parts.join(","));
    let flag = |flag: usize| format!(r#"{{"tag":"flag{flag}","op":"eq","value":true}}"#);
    let age = |age: i64| format!(r#"{{"attr":"age","op":"eq","value":{age}}}"#);
    vec![
        ("enums", "three enum clauses", vec![and(&[
            LEVEL,
            APP,
            r#"{"attr":"city","op":"in","value":["city1","city2","city3"]}"#,
        ])]),
        ("bitmaps", "four bitmaps and a range", vec![and(&[
            VIP,
            &flag(0),
            &flag(3),
            r#"{"not":{"tag":"flag5","op":"exists"}}"#,
            AGE,
        ])]),
        ("nested", "eight nested clauses", vec![and(&[
            &or(&[LEVEL, &and(&[VIP, r#"{"attr":"points","op":"gte","value":50000}"#])]),
            &or(&[APP, r#"{"attr":"channel","op":"eq","value":"mini"}"#, &flag(2)]),
            AGE,
            r#"{"not":{"attr":"gender","op":"eq","value":"m"}}"#,
        ])]),
        ("ranges", "three numeric ranges", vec![and(&[
            AGE,
            r#"{"attr":"points","op":"between","value":[10000,60000]}"#,
            r#"{"attr":"spent","op":"gte","value":1000000}"#,
        ])]),
        ("or10", "or of ten", vec![or(&[
            LEVEL, APP, VIP, &flag(7), &flag(9), &flag(11), &age(20), &age(30), &age(40),
            r#"{"attr":"city","op":"eq","value":"city9"}"#,
        ])]),
        ("not", "who lacks what", vec![and(&[
            r#"{"attr":"gender","op":"missing"}"#,
            r#"{"attr":"level","op":"ne","value":"basic"}"#,
            r#"{"tag":"flag1","op":"missing"}"#,
        ])]),
        ("contains", "text contains", vec![r#"{"attr":"nickname","op":"contains","value":"阳光"}"#.to_owned()]),
        ("case", "text contains, any case", vec![r#"{"attr":"nickname","op":"contains","value":"XIN9"}"#.to_owned()]),
        ("has_any", "list has one of three", vec![
            r#"{"attr":"interests","op":"has_any","value":["i3","i17","i29"]}"#.to_owned(),
        ]),
        ("dates", "registered in a window, birthday before", vec![and(&[
            r#"{"attr":"registered","op":"between","value":["2025-06-01","2025-12-31"]}"#,
            r#"{"attr":"birthday","op":"lt","value":"1995-01-01"}"#,
        ])]),
        ("behaviour", "bought at least twice in 90 days", vec![
            r#"{"event":"buy","op":"gte","value":2,"within":"90d"}"#.to_owned(),
        ]),
        ("sum", "spent 300 in 180 days, and gold", vec![and(&[
            LEVEL,
            r#"{"event":"buy","agg":"sum","field":"amount","op":"gte","value":30000,"within":"180d"}"#,
        ])]),
        ("absence", "no scan in 90 days", vec![
            r#"{"event":"scan","op":"eq","value":0,"within":"90d"}"#.to_owned(),
        ]),
        ("sequence", "scanned, then bought within 7 days", vec![
            r#"{"sequence":[{"event":"scan"},{"event":"buy"}],"within":"7d","lookback":"180d"}"#.to_owned(),
        ]),
        ("overlap", "overlap of three", vec![
            LEVEL.to_owned(),
            AGE.to_owned(),
            flag(0),
        ]),
    ]
}

/// The plan of a rule that names any attributes, tags and events.
///
/// # Panics
/// If the rule is wrong.
pub fn plan(json: &str) -> Arc<Plan> {
    let rule = Rule::from_json(json).expect("rules of this file read");
    Arc::new(check(&rule, &Anything, None).expect("rules of this file are right"))
}

/// Everything is known, of any type.
struct Anything;

impl Names for Anything {
    fn attribute(&self, _: &str) -> Known {
        Known::Seen
    }
    fn tag(&self, _: &str) -> Known {
        Known::Seen
    }
    fn segment(&self, _: &str) -> Option<Vec<Box<str>>> {
        None
    }
    fn list(&self, _: &str) -> bool {
        false
    }
    fn place(&self, _: &str) -> bool {
        false
    }
    fn attribute_names(&self) -> Vec<&str> {
        Vec::new()
    }
    fn tag_codes(&self) -> Vec<&str> {
        Vec::new()
    }
    fn place_names(&self) -> Vec<&str> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_of_the_benchmark_is_answered() {
        let mut engine = fill(3000, 1);
        for (key, _, plans) in queries() {
            for plan in &plans {
                let count = engine.count(plan, NOW).expect("installed").count;
                assert!(
                    count > 0 && count < 3000 || key == "contains" || key == "case",
                    "{key}: {count}"
                );
            }
        }
    }
}
