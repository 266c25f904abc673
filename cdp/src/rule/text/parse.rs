//! Tokens into a rule: recursive descent, the first error ends it.

use super::lex::{Token, error, tokens};
use super::{is_reserved, lex};
use crate::profile::value::Number;
use crate::rule::ast::{
    Aggregate, Ask, Base, Const, DateExpr, EventNames, EventRule, Length, Op, Operand, Path, Round,
    RoundTo, Rule, Step, Unit, WindowRule,
};
use crate::rule::error::RuleError;
use crate::rule::limits::{DEPTH_MAX, RULE_BYTES_MAX, SHIFT_MAX};
use crate::rule::scalar::When;

/// Reads a rule.
pub(super) fn parse(text: &str) -> Result<Rule, RuleError> {
    if text.len() > RULE_BYTES_MAX {
        let message = format!("a rule has at most {RULE_BYTES_MAX} bytes");
        return Err(RuleError::new("", "too_long", message));
    }
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
    };
    let rule = parser.rule()?;
    match parser.peek() {
        Token::End => Ok(rule),
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

type Read<T> = Result<T, RuleError>;

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        // The end is never passed.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn error(&self, message: impl Into<String>) -> RuleError {
        error(self.text, self.tokens[self.next].1, message)
    }

    fn expected(&self, what: &str) -> RuleError {
        self.error(format!("expected {what}, found {}", self.peek().what()))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(it) if it.eq_ignore_ascii_case(word))
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(it) if *it == sign)
    }

    fn try_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.take();
        }
        found
    }

    fn try_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.take();
        }
        found
    }

    fn word(&mut self, word: &str) -> Read<()> {
        match self.try_word(word) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{word}`"))),
        }
    }

    fn sign(&mut self, sign: &str) -> Read<()> {
        match self.try_sign(sign) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{sign}`"))),
        }
    }

    fn quoted(&mut self, what: &str) -> Read<Box<str>> {
        match self.peek() {
            Token::Text(_) => match self.take() {
                Token::Text(text) => Ok(text.into()),
                _ => Err(self.expected(what)),
            },
            _ => Err(self.expected(&format!("{what} in quotes"))),
        }
    }

    fn rule(&mut self) -> Read<Rule> {
        // Every level of a rule passes here at most twice: once for itself, once for its parentheses.
        self.depth += 1;
        if self.depth > 3 * DEPTH_MAX {
            let mut error = self.error(format!("a rule has at most {DEPTH_MAX} levels"));
            error.code = "too_deep";
            return Err(error);
        }
        let mut nodes = vec![self.and()?];
        while self.try_word("or") {
            nodes.push(self.and()?);
        }
        self.depth -= 1;
        Ok(one_or(nodes, Rule::Or))
    }

    fn and(&mut self) -> Read<Rule> {
        let mut nodes = vec![self.unary()?];
        while self.try_word("and") {
            nodes.push(self.unary()?);
        }
        Ok(one_or(nodes, Rule::And))
    }

    fn unary(&mut self) -> Read<Rule> {
        let mut complements = 0;
        while self.try_word("not") {
            complements += 1;
            if complements > DEPTH_MAX {
                let mut error = self.error(format!("a rule has at most {DEPTH_MAX} levels"));
                error.code = "too_deep";
                return Err(error);
            }
        }
        let mut rule = self.primary()?;
        for _ in 0..complements {
            rule = Rule::Not(Box::new(rule));
        }
        Ok(rule)
    }

    fn primary(&mut self) -> Read<Rule> {
        if self.try_sign("(") {
            let rule = self.rule()?;
            self.sign(")")?;
            return Ok(rule);
        }
        let Token::Word(word) = self.peek().clone() else {
            if matches!(self.peek(), Token::Key(_)) {
                return self.attribute();
            }
            return Err(self.expected("a condition"));
        };
        // `list exists` asks for an attribute of that name.
        let is_call = matches!(self.tokens.get(self.next + 1), Some((Token::Sign("("), _)));
        let word = word.to_ascii_lowercase();
        match &*word {
            "some" | "tags" => {}
            _ if is_call => {}
            _ => return self.attribute(),
        }
        match &*word {
            "all" | "any" => {
                self.take();
                let nodes = self.listed(Self::rule)?;
                Ok(match &*word {
                    "all" => Rule::And(nodes),
                    _ => Rule::Or(nodes),
                })
            }
            "some" => {
                self.take();
                let path = self.path()?;
                self.word("match")?;
                self.sign("(")?;
                let rule = Box::new(self.rule()?);
                self.sign(")")?;
                Ok(Rule::Some { path, rule })
            }
            "tags" => {
                self.take();
                self.sign(".")?;
                let code = self.key()?;
                let ask = self.ask()?;
                Ok(Rule::Tag { code, ask })
            }
            "segment" | "list" => {
                self.take();
                self.sign("(")?;
                let id = self.quoted("an id")?;
                self.sign(")")?;
                Ok(match &*word {
                    "segment" => Rule::Segment(id),
                    _ => Rule::List(id),
                })
            }
            "random" => {
                self.take();
                self.sign("(")?;
                let seed = self.quoted("a seed")?;
                self.sign(",")?;
                let percent = self.number("")?;
                self.sign("%")?;
                self.sign(")")?;
                Ok(Rule::Random { seed, percent })
            }
            "near" => {
                self.take();
                self.sign("(")?;
                let of = self.key()?;
                self.sign(",")?;
                let lat = self.number("")?;
                self.sign(",")?;
                let lon = self.number("")?;
                self.sign(",")?;
                let km = self.number("km")?;
                self.sign(")")?;
                Ok(Rule::Near { lat, lon, km, of })
            }
            "sequence" => self.sequence(),
            "event" => {
                self.take();
                self.sign("(")?;
                let (event, conditions, window) = self.events()?;
                self.sign(")")?;
                Ok(Rule::Event(EventRule {
                    event,
                    conditions,
                    agg: Aggregate::Count,
                    field: None,
                    ask: Ask::at_least_one(),
                    window,
                }))
            }
            _ => match Aggregate::parse(&word) {
                Some(agg) => self.aggregate(agg),
                None => self.attribute(),
            },
        }
    }

    fn attribute(&mut self) -> Read<Rule> {
        let path = self.path()?;
        let ask = self.ask()?;
        Ok(Rule::Attr { path, ask })
    }

    fn aggregate(&mut self, agg: Aggregate) -> Read<Rule> {
        self.take();
        self.sign("(")?;
        let field = match self.peek() {
            Token::Text(_) => None,
            _ if self.is_word("prefix") => None,
            _ => {
                let path = self.path()?;
                self.word("of")?;
                Some(path)
            }
        };
        let (event, conditions, window) = self.events()?;
        self.sign(")")?;
        let ask = self.ask()?;
        Ok(Rule::Event(EventRule {
            event,
            conditions,
            agg,
            field,
            ask,
            window,
        }))
    }

    fn events(&mut self) -> Read<(EventNames, Vec<Rule>, WindowRule)> {
        let Step { event, conditions } = self.step()?;
        let window = self.window()?.unwrap_or(WindowRule::All);
        Ok((event, conditions, window))
    }

    fn step(&mut self) -> Read<Step> {
        let event = if self.try_word("prefix") {
            EventNames::Prefix(self.quoted("the beginning of a name")?)
        } else {
            let mut names = vec![self.quoted("the name of an event")?];
            while self.try_sign(",") {
                names.push(self.quoted("the name of an event")?);
            }
            EventNames::written(names)
        };
        let mut conditions = Vec::new();
        if self.try_word("where") {
            conditions.push(self.rule()?);
            while self.try_sign(",") {
                conditions.push(self.rule()?);
            }
        }
        Ok(Step { event, conditions })
    }

    fn sequence(&mut self) -> Read<Rule> {
        self.take();
        self.sign("(")?;
        let mut steps = vec![self.step()?];
        while self.try_word("then") {
            steps.push(self.step()?);
        }
        let within = match self.try_word("within") {
            true => Some(self.length()?),
            false => None,
        };
        self.word("lookback")?;
        let lookback = match self.window()? {
            Some(window) => window,
            None => WindowRule::Within(self.length()?),
        };
        self.sign(")")?;
        Ok(Rule::Sequence {
            steps,
            within,
            lookback,
        })
    }

    fn window(&mut self) -> Read<Option<WindowRule>> {
        if self.try_word("within") {
            return Ok(Some(WindowRule::Within(self.length()?)));
        }
        if self.try_word("between") {
            let a = self.constant()?;
            self.word("and")?;
            return Ok(Some(WindowRule::Between(a, self.constant()?)));
        }
        if self.try_word("ago") {
            let a = self.length()?;
            self.word("to")?;
            return Ok(Some(WindowRule::Ago(a, self.length()?)));
        }
        Ok(None)
    }

    fn ask(&mut self) -> Read<Ask> {
        const SIGNS: [(&str, Op); 6] = [
            ("=", Op::Eq),
            ("!=", Op::Ne),
            (">=", Op::Gte),
            ("<=", Op::Lte),
            (">", Op::Gt),
            ("<", Op::Lt),
        ];
        for (sign, op) in SIGNS {
            if self.try_sign(sign) {
                let value = Operand::One(self.constant()?);
                return Ok(Ask { op, value });
            }
        }
        let Token::Word(word) = self.peek().clone() else {
            return Err(self.expected("an operator such as `=`"));
        };
        let start = self.next;
        self.take();
        let op = match &*word.to_ascii_lowercase() {
            "in" => Op::In,
            "not" if self.try_word("in") => Op::NotIn,
            "has" if self.try_word("any") => Op::HasAny,
            "has" if self.try_word("all") => Op::HasAll,
            "has" if self.try_word("none") => Op::HasNone,
            "between" => Op::Between,
            "contains" => Op::Contains,
            "starts" if self.try_word("with") => Op::StartsWith,
            "ends" if self.try_word("with") => Op::EndsWith,
            "matches" => Op::Regex,
            "is" if self.try_word("day") => Op::IsDay,
            "exists" => Op::Exists,
            "missing" => Op::Missing,
            _ => {
                self.next = start;
                let known = [
                    "in",
                    "not in",
                    "has any",
                    "has all",
                    "has none",
                    "between",
                    "contains",
                    "starts with",
                    "ends with",
                    "matches",
                    "is day",
                    "exists",
                    "missing",
                ];
                let mut error = self.expected("an operator").nearest(&word, known);
                error.code = "unknown_operator";
                return Err(match error.hint {
                    Some(_) => error,
                    None => error.hint(format!("= != > >= < <= {}", known.join(", "))),
                });
            }
        };
        let value = match op {
            Op::Exists | Op::Missing => Operand::None,
            Op::Between => {
                let a = self.constant()?;
                self.word("and")?;
                Operand::Many(vec![a, self.constant()?])
            }
            op if op.takes_several() => Operand::Many(self.listed(Self::constant)?),
            _ => Operand::One(self.constant()?),
        };
        Ok(Ask { op, value })
    }

    fn listed<T>(&mut self, each: fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.sign("(")?;
        let mut items = Vec::new();
        if self.try_sign(")") {
            return Ok(items);
        }
        loop {
            items.push(each(self)?);
            if self.try_sign(")") {
                return Ok(items);
            }
            if !self.try_sign(",") {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    fn constant(&mut self) -> Read<Const> {
        match self.peek().clone() {
            Token::Text(_) => Ok(Const::Text(self.quoted("a text")?)),
            Token::Number(..) | Token::Sign("-") => Ok(Const::Number(self.number("")?)),
            _ if self.try_word("true") => Ok(Const::Bool(true)),
            _ if self.try_word("false") => Ok(Const::Bool(false)),
            _ if self.try_word("now") => self.date(Base::Now),
            _ if self.try_word("date") => {
                let at = self.next;
                let text = self.quoted("a date")?;
                match When::parse(&text) {
                    Some(When::Day(day)) => self.date(Base::Day(day)),
                    Some(When::Instant(at)) => self.date(Base::Instant(at)),
                    None => {
                        self.next = at;
                        let mut error = self.error(format!("{text:?} is no date"));
                        error.code = "date_form";
                        Err(error.hint("\"2026-01-31\" or \"2026-01-31T10:00:00+08:00\""))
                    }
                }
            }
            _ => {
                let error = self.expected("a text in quotes, a number, true, false or a date");
                Err(match self.peek() {
                    Token::Word(word) if !is_reserved(word) => {
                        error.hint(format!("did you mean \"{word}\"?"))
                    }
                    _ => error,
                })
            }
        }
    }

    fn date(&mut self, base: Base) -> Read<Const> {
        let mut date = DateExpr::of(base);
        loop {
            let sign = match self.peek() {
                Token::Sign("+") => 1,
                Token::Sign("-") => -1,
                _ => break,
            };
            self.take();
            let at = self.next;
            let Length { n, unit } = self.length()?;
            match i32::try_from(n) {
                Ok(n) if i64::from(n) <= SHIFT_MAX => date.shift.push((sign * n, unit)),
                _ => {
                    self.next = at;
                    let mut error = self.error(format!("a shift is at most {SHIFT_MAX}"));
                    error.code = "number_range";
                    return Err(error);
                }
            }
        }
        for (word, round) in [("floor", Round::Floor), ("ceil", Round::Ceil)] {
            if self.try_word(word) {
                let to = if self.try_word("day") {
                    RoundTo::Day
                } else {
                    self.word("month")
                        .map_err(|_| self.expected("`day` or `month`"))?;
                    RoundTo::Month
                };
                date.round = Some((round, to));
                break;
            }
        }
        Ok(Const::Date(date))
    }

    fn length(&mut self) -> Read<Length> {
        let Token::Number(digits, unit) = self.peek().clone() else {
            return Err(self.expected("a length such as 7d"));
        };
        match Length::parse(&format!("{digits}{unit}")) {
            Ok(length) => {
                self.take();
                Ok(length)
            }
            Err(code) => {
                let mut error = self.error(format!("`{digits}{unit}` is no length of time"));
                error.code = code;
                let units: Vec<&str> = Unit::ALL.iter().map(|unit| unit.word()).collect();
                Err(error.hint(format!("a whole number and one of {}", units.join(", "))))
            }
        }
    }

    /// A number with this unit behind it.
    fn number(&mut self, unit: &str) -> Read<Number> {
        let negative = self.try_sign("-");
        let Token::Number(digits, found) = self.peek().clone() else {
            return Err(self.expected("a number"));
        };
        if found != unit {
            return Err(match unit {
                "" => self.expected("a number without unit"),
                unit => self.expected(&format!("a number and `{unit}`")),
            });
        }
        let text = format!("{}{digits}", if negative { "-" } else { "" });
        let Some(number) = Number::parse(&text) else {
            let mut error = self.error("a number has at most 28 digits");
            error.code = "number_range";
            return Err(error);
        };
        self.take();
        Ok(number)
    }

    fn path(&mut self) -> Read<Path> {
        if let Token::Word(word) = self.peek()
            && is_reserved(word)
        {
            let hint = format!("a key that is a word of the grammar stands in backticks: `{word}`");
            return Err(self.expected("a path").hint(hint));
        }
        let mut keys = vec![self.key()?];
        while self.try_sign(".") {
            keys.push(self.key()?);
        }
        Ok(Path(keys))
    }

    fn key(&mut self) -> Read<Box<str>> {
        match self.peek() {
            lex::Token::Word(_) | lex::Token::Key(_) => match self.take() {
                Token::Word(key) | Token::Key(key) => Ok(key.into()),
                _ => Err(self.expected("a key")),
            },
            _ => Err(self.expected("a key")),
        }
    }
}

fn one_or(mut nodes: Vec<Rule>, many: fn(Vec<Rule>) -> Rule) -> Rule {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => many(nodes),
    }
}
