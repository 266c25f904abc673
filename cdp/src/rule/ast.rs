//! A rule as it was written: what JSON and text read into, and are written from.

use actors::model::Time;

use crate::profile::value::Number;

/// A rule, or a node of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// All of them; none is everybody.
    And(Vec<Rule>),
    /// One of them; none is nobody.
    Or(Vec<Rule>),
    /// The complement.
    Not(Box<Rule>),
    /// A condition on an attribute; inside `where` and `match` on a property.
    Attr {
        /// Where the value stands.
        path: Path,
        /// What is asked of it.
        ask: Ask,
    },
    /// A condition on a tag.
    Tag {
        /// The tag's code.
        code: Box<str>,
        /// What is asked of it.
        ask: Ask,
    },
    /// One object of a list satisfies a rule as a whole.
    Some {
        /// Where the list stands.
        path: Path,
        /// What is asked of one object; paths in it begin at the object.
        rule: Box<Rule>,
    },
    /// What a member did, or did not do.
    Event(EventRule),
    /// Events one after the other.
    Sequence {
        /// The steps, in order.
        steps: Vec<Step>,
        /// Longest time from the first step to the last.
        within: Option<Length>,
        /// The window in which all steps lie.
        lookback: WindowRule,
    },
    /// Members of another segment.
    Segment(Box<str>),
    /// Members of an uploaded list.
    List(Box<str>),
    /// A random share that stays the same for a seed.
    Random {
        /// Which drawing.
        seed: Box<str>,
        /// Percent of all members, 0 to 100.
        percent: Number,
    },
    /// Not farther than some kilometres from a point.
    Near {
        /// Latitude in degrees, WGS-84.
        lat: Number,
        /// Longitude in degrees.
        lon: Number,
        /// Distance in kilometres.
        km: Number,
        /// Which place of the member, such as `last_scan`.
        of: Box<str>,
    },
}

/// Keys that lead to a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub Vec<Box<str>>);

/// An operator and what it compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The operator.
    pub op: Op,
    /// Its constants.
    pub value: Operand,
}

/// Constants of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// `exists`, `missing`.
    None,
    /// One.
    One(Const),
    /// Several; two for `between`.
    Many(Vec<Const>),
}

/// A constant as written. Whether a text is a day or an instant is decided by what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Const {
    /// Text.
    Text(Box<str>),
    /// Number.
    Number(Number),
    /// Yes or no.
    Bool(bool),
    /// A computed date.
    Date(DateExpr),
}

/// A date that is computed: `{"base":…,"shift":[[n,unit]…],"floor"|"ceil":…}`.
///
/// Shifts of days and more go along the wall clock, hours and less along the time line. Rounding comes last: down to the
/// boundary at or before, up to the boundary at or after. The result is a day if `base` is one and no shift is below a day,
/// otherwise an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateExpr {
    /// Where it begins.
    pub base: Base,
    /// Shifts, left to right.
    pub shift: Vec<(i32, Unit)>,
    /// Rounding.
    pub round: Option<(Round, RoundTo)>,
}

/// Where a computed date begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The instant of evaluation.
    Now,
    /// An instant.
    Instant(Time),
    /// A day: days since 1970-01-01.
    Day(i32),
}

/// Down or up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// To the boundary at or before.
    Floor,
    /// To the boundary at or after.
    Ceil,
}

/// Boundaries to round to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundTo {
    /// Beginnings of days.
    Day,
    /// Beginnings of months.
    Month,
}

/// A length of time with its unit, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// How many.
    pub n: u32,
    /// Of what.
    pub unit: Unit,
}

/// A condition on events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRule {
    /// Which events.
    pub event: EventNames,
    /// Conditions on their properties; all hold.
    pub conditions: Vec<Rule>,
    /// What is computed of them.
    pub agg: Aggregate,
    /// Of which property; `@time` and `@day` are the event's own.
    pub field: Option<Path>,
    /// What is asked of the result; `count >= 1` where nothing is written.
    pub ask: Ask,
    /// Of which time.
    pub window: WindowRule,
}

/// A step of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which events.
    pub event: EventNames,
    /// Conditions on their properties; all hold.
    pub conditions: Vec<Rule>,
}

/// Names of events. Compared after NFKC, exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventNames {
    /// One of these.
    Names(Vec<Box<str>>),
    /// All that begin so.
    Prefix(Box<str>),
    /// No events: orders as they stand, each once, at the time of the order. Written as [`EventNames::ORDERS`].
    Orders,
}

impl EventNames {
    /// The word for [`EventNames::Orders`]. What this word says of an order stands under [`actors::history::ORDER`].
    pub const ORDERS: &str = "@order";

    /// Names as written.
    pub fn written(names: Vec<Box<str>>) -> EventNames {
        match &*names {
            [one] if **one == *EventNames::ORDERS => EventNames::Orders,
            _ => EventNames::Names(names),
        }
    }
}

/// A window as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowRule {
    /// All history.
    All,
    /// `within`: days and months are calendar ones that include the present, hours and less slide.
    Within(Length),
    /// Both bounds included.
    Between(Const, Const),
    /// Whole days (or months) from the first ago to the second ago, both included.
    Ago(Length, Length),
}

/// Defines an enum of words: its JSON text and back.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The word in JSON.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// Of the word in JSON.
            pub fn parse(word: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|it| it.word() == word)
            }
        }
    };
}

words! {
    /// Operators.
    Op {
        /// Equal.
        Eq = "eq",
        /// Complement of `eq`.
        Ne = "ne",
        /// Greater.
        Gt = "gt",
        /// Greater or equal.
        Gte = "gte",
        /// Less.
        Lt = "lt",
        /// Less or equal.
        Lte = "lte",
        /// Between two bounds, both included.
        Between = "between",
        /// One of these.
        In = "in",
        /// Complement of `in`.
        NotIn = "not_in",
        /// Holds the text, in any case.
        Contains = "contains",
        /// Begins with the text, in any case.
        StartsWith = "starts_with",
        /// Ends with the text, in any case.
        EndsWith = "ends_with",
        /// Has a value.
        Exists = "exists",
        /// Complement of `exists`.
        Missing = "missing",
        /// The set holds one of these.
        HasAny = "has_any",
        /// The set holds all of these.
        HasAll = "has_all",
        /// Complement of `has_any`.
        HasNone = "has_none",
        /// Lies on the day.
        IsDay = "is_day",
        /// The whole value matches.
        Regex = "regex",
    }
}

words! {
    /// What is computed of events.
    Aggregate {
        /// How many events (with `field`: that have one).
        Count = "count",
        /// Sum of numbers; of nothing 0.
        Sum = "sum",
        /// Mean of numbers, rounded half away from zero to the ninth digit.
        Avg = "avg",
        /// Smallest number, otherwise first text.
        Min = "min",
        /// Largest number, otherwise last text.
        Max = "max",
        /// How many different values.
        Distinct = "distinct",
        /// Value of the first event that has one.
        First = "first",
        /// Value of the last event that has one.
        Last = "last",
        /// The value that came most often; of several the first in text order.
        MostFrequent = "most_frequent",
    }
}

words! {
    /// Units of time.
    Unit {
        /// Calendar years.
        Year = "y",
        /// Calendar months.
        Month = "mo",
        /// Seven days.
        Week = "w",
        /// Days.
        Day = "d",
        /// Hours.
        Hour = "h",
        /// Minutes.
        Minute = "m",
        /// Seconds.
        Second = "s",
    }
}

impl Unit {
    /// Milliseconds of the units that lie on the time line; `None` for calendar units.
    pub fn line_ms(self) -> Option<i64> {
        match self {
            Unit::Hour => Some(3_600_000),
            Unit::Minute => Some(60_000),
            Unit::Second => Some(1_000),
            Unit::Year | Unit::Month | Unit::Week | Unit::Day => None,
        }
    }
}

impl Path {
    /// The field of an event's own time.
    pub const TIME: &'static str = "@time";
    /// The field of an event's own day.
    pub const DAY: &'static str = "@day";

    /// Splits dotted text.
    pub fn dotted(text: &str) -> Path {
        Path(text.split('.').map(Box::from).collect())
    }

    /// The first key.
    pub fn root(&self) -> &str {
        self.0.first().map_or("", |key| key)
    }

    /// The keys behind the first.
    pub fn rest(&self) -> &[Box<str>] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Whether it is the one key `name`.
    pub fn is(&self, name: &str) -> bool {
        self.0.len() == 1 && *self.0[0] == *name
    }

    /// For people; not read back where keys hold dots.
    pub fn display(&self) -> String {
        self.0.join(".")
    }
}

impl Ask {
    /// What an event leaf asks when nothing is written: `>= 1`.
    pub fn at_least_one() -> Ask {
        Ask {
            op: Op::Gte,
            value: Operand::One(Const::Number(Number::new(1.into()))),
        }
    }
}

impl DateExpr {
    /// A base alone.
    pub fn of(base: Base) -> DateExpr {
        DateExpr {
            base,
            shift: Vec::new(),
            round: None,
        }
    }
}
