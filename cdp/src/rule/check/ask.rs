//! Operators and constants against the type of what is compared.

use regex::RegexBuilder;

use super::{Checker, Subject};
use crate::definition::Basic;
use crate::rule::ast::{Ask, Base, Const, Op, Operand};
use crate::rule::condition::Test;
use crate::rule::constant::Constant;
use crate::rule::error::{RuleError, inside};
use crate::rule::limits::{REGEX_BYTES_MAX, REGEX_COMPILED_BYTES_MAX, SHIFTS_MAX, VALUES_MAX};
use crate::rule::scalar::{When, nfkc};

/// What operators need of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Any,
    Equality,
    Order,
    Text,
    Date,
}

fn needs(op: Op) -> Needs {
    match op {
        Op::Exists | Op::Missing => Needs::Any,
        Op::Eq | Op::Ne | Op::In | Op::NotIn | Op::HasAny | Op::HasAll | Op::HasNone => {
            Needs::Equality
        }
        Op::Gt | Op::Gte | Op::Lt | Op::Lte | Op::Between => Needs::Order,
        Op::Contains | Op::StartsWith | Op::EndsWith | Op::Regex => Needs::Text,
        Op::IsDay => Needs::Date,
    }
}

fn what(basic: Basic) -> &'static str {
    match basic {
        Basic::Text => "a text",
        Basic::Int | Basic::Number => "a number",
        Basic::Bool => "true or false",
        Basic::Date | Basic::Time => "a date",
        Basic::Object => "an object",
    }
}

impl Checker<'_> {
    /// The condition, typed. `place`: of the node; `op` and `value` lie inside.
    pub(super) fn test(&mut self, ask: &Ask, subject: Subject, place: &str) -> Option<Test> {
        let needs = needs(ask.op);
        let fits = match subject {
            Subject::Any => true,
            Subject::Typed(basic) => match needs {
                Needs::Any => true,
                Needs::Equality => basic != Basic::Object,
                Needs::Order => !matches!(basic, Basic::Object | Basic::Bool),
                Needs::Text => basic == Basic::Text,
                Needs::Date => matches!(basic, Basic::Date | Basic::Time),
            },
        };
        if let Subject::Typed(basic) = subject
            && !fits
        {
            let message = format!("`{}` does not go with {}", ask.op.word(), what(basic));
            return self.fail(RuleError::new(
                inside(place, "op"),
                "operator_type",
                message,
            ));
        }
        let at = inside(place, "value");
        let (constants, listed): (&[Const], bool) = match &ask.value {
            Operand::None => (&[], false),
            Operand::One(constant) => (std::slice::from_ref(constant), false),
            Operand::Many(constants) => (constants, true),
        };
        let expected = match (ask.op, listed) {
            (Op::Exists | Op::Missing, _) => constants.is_empty(),
            (Op::Between, _) => constants.len() == 2,
            (op, listed) => op.takes_several() == listed && (listed || constants.len() == 1),
        };
        if !expected {
            let message = format!("`{}` takes another number of values", ask.op.word());
            return self.fail(RuleError::new(at, "value_missing", message));
        }
        if constants.len() > VALUES_MAX {
            let message = format!("at most {VALUES_MAX} values");
            let error = RuleError::new(at, "too_many", message);
            return self.fail(error.hint("upload a list and use `list`"));
        }
        let typed: Vec<Option<Constant>> = (constants.iter().enumerate())
            .map(|(index, constant)| {
                let at = match listed {
                    true => format!("{at}[{index}]"),
                    false => at.clone(),
                };
                self.constant(constant, subject, needs, &at)
            })
            .collect();
        let constants: Vec<Constant> = typed.into_iter().collect::<Option<_>>()?;
        let regex = match (ask.op, constants.first()) {
            (Op::Regex, Some(Constant::Text(pattern))) => Some(self.regex(pattern, &at)?),
            _ => None,
        };
        Some(Test {
            op: ask.op,
            constants,
            regex,
        })
    }

    fn constant(
        &mut self,
        constant: &Const,
        subject: Subject,
        needs: Needs,
        place: &str,
    ) -> Option<Constant> {
        let is_date =
            matches!(subject, Subject::Typed(Basic::Date | Basic::Time)) || needs == Needs::Date;
        match (constant, subject) {
            (Const::Text(text), _) if is_date => self.date_text(text, place),
            (Const::Date(_), _) if is_date => self.date(constant, place),
            // The pattern stays as written: NFKC would make other signs of some of its letters.
            (Const::Text(text), Subject::Any | Subject::Typed(Basic::Text))
                if needs == Needs::Text =>
            {
                Some(Constant::Text(text.clone()))
            }
            (Const::Text(text), Subject::Typed(Basic::Text)) => {
                Some(Constant::Text(nfkc(text).into()))
            }
            // Nothing says that it is text, and it is written as a date: then it means one.
            (Const::Text(text), Subject::Any) => Some(match When::parse(text) {
                Some(When::Day(day)) => Constant::Day(day),
                Some(When::Instant(at)) => Constant::Instant(at),
                None => Constant::Text(nfkc(text).into()),
            }),
            (Const::Number(number), Subject::Typed(Basic::Int | Basic::Number)) => {
                Some(Constant::Number(*number))
            }
            (Const::Bool(yes), Subject::Typed(Basic::Bool)) => Some(Constant::Bool(*yes)),
            (Const::Number(number), Subject::Any)
                if matches!(needs, Needs::Equality | Needs::Order) =>
            {
                Some(Constant::Number(*number))
            }
            (Const::Bool(yes), Subject::Any) if needs == Needs::Equality => {
                Some(Constant::Bool(*yes))
            }
            (Const::Date(_), Subject::Any) if matches!(needs, Needs::Equality | Needs::Order) => {
                self.date(constant, place)
            }
            (_, subject) => {
                let wanted = match (needs, subject) {
                    (Needs::Text, _) => "a text",
                    (Needs::Date, _) => "a date",
                    (_, Subject::Typed(basic)) => what(basic),
                    (_, Subject::Any) => "a text, a number or a date",
                };
                let message = format!("expected {wanted}: types count, text never equals a number");
                self.fail(RuleError::new(place, "value_type", message))
            }
        }
    }

    fn date_text(&mut self, text: &str, place: &str) -> Option<Constant> {
        match When::parse(text) {
            Some(When::Day(day)) => Some(Constant::Day(day)),
            Some(When::Instant(at)) => Some(Constant::Instant(at)),
            None => {
                let error = RuleError::new(
                    place,
                    "date_form",
                    format!("`{text}` is no date or instant"),
                );
                self.fail(error.hint("use \"2026-01-31\" or \"2026-01-31T10:00:00+08:00\""))
            }
        }
    }

    /// A date constant, for bounds of windows too.
    pub(super) fn date(&mut self, constant: &Const, place: &str) -> Option<Constant> {
        match constant {
            Const::Text(text) => self.date_text(text, place),
            Const::Date(date) if date.shift.len() > SHIFTS_MAX => {
                let message = format!("at most {SHIFTS_MAX} shifts");
                self.fail(RuleError::new(inside(place, "shift"), "too_many", message))
            }
            Const::Date(date) => Some(match date.base {
                Base::Day(day) if date.shift.is_empty() && date.round.is_none() => {
                    Constant::Day(day)
                }
                Base::Instant(at) if date.shift.is_empty() && date.round.is_none() => {
                    Constant::Instant(at)
                }
                _ => Constant::Computed(date.clone()),
            }),
            Const::Number(_) | Const::Bool(_) => {
                self.fail(RuleError::new(place, "value_type", "expected a date"))
            }
        }
    }

    fn regex(&mut self, pattern: &str, place: &str) -> Option<regex::Regex> {
        if pattern.len() > REGEX_BYTES_MAX {
            let message = format!("a regular expression has at most {REGEX_BYTES_MAX} bytes");
            return self.fail(RuleError::new(place, "too_long", message));
        }
        let build = |pattern: &str| {
            RegexBuilder::new(pattern)
                .size_limit(REGEX_COMPILED_BYTES_MAX)
                .build()
        };
        // On its own first, so that `a)|(b` is not made right by what is put around it.
        match build(pattern).and_then(|_| build(&format!(r"\A(?:{pattern})\z"))) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let message = error.to_string();
                let last = message.lines().last().unwrap_or_default();
                self.fail(RuleError::new(place, "regex", last.trim().to_owned()))
            }
        }
    }
}
